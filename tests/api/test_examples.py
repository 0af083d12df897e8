"""The examples of a loop and a network of one's own: they run, and compute what the framework computes."""

import importlib.util
import runpy
import sys

import pytest
import torch
from pytorch_lightning import Callback

import nas
from nas.genotype import load
from nas.spaces.darts import DartsSpace
from nas.spaces.space import ImageInputs
from tests.conftest import ROOT


def example(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "examples" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Sees(Callback):
    """What a search of the framework starts from, reads, and comes to."""

    def __init__(self):
        self.pairs = []

    @staticmethod
    def state(module):
        alphas = [alpha_EO.detach().clone() for alpha_EO in module.method.alphas()]
        return {
            name: value.clone() for name, value in module.search_step.supernet.state_dict().items()
        }, alphas

    def on_train_start(self, trainer, pl_module):
        self.start = self.state(pl_module)

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.pairs.append((batch["weight"], batch["architecture"]))

    def on_train_end(self, trainer, pl_module):
        self.end = self.state(pl_module)


def test_an_own_loop_takes_the_framework_s_steps():
    own, sees = example("own_loop"), Sees()
    words = ["space.cells_per_stage=1", "space.init_channels=4", "trainer.limit_train_batches=3"]
    plain = ["hardware.native=false", "hardware.channels_last=false", "trainer.limit_val_batches=1"]
    found = nas.run_search(
        "digits", space="nasbench201", epochs=1, batch_size=16, callbacks=[sees], verbose=False,
        overrides=[*words, *plain],
    )  # fmt: skip
    assert len(sees.pairs) == 3
    space, step = own.build(ImageInputs((1, 8, 8), 10))
    weights, alphas = sees.start
    step.supernet.load_state_dict(weights)
    with torch.no_grad():
        for mine, theirs in zip(step.alphas, alphas, strict=True):
            mine.copy_(theirs)
    assert len(list(own.search(step, sees.pairs))) == 3
    weights, alphas = sees.end
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(step.alphas, alphas, strict=True))
    assert not all(torch.equal(one, two) for one, two in zip(alphas, sees.start[1], strict=True))
    for name, value in step.supernet.state_dict().items():
        assert torch.equal(value, weights[name]), name
    assert space.derive(step.method.scores()) == found.genotype


def test_a_cell_as_a_layer_is_that_of_the_framework_s_network():
    module, genotype = example("cell_as_layer"), load("DARTS_V2", "darts")
    torch.manual_seed(0)
    space = DartsSpace("darts", ["none", "skip_connect", "sep_conv_3x3"])
    inputs = ImageInputs((3, 8, 8), 10)
    theirs = space.network(genotype, inputs, num_cells=3, init_channels=4, stem="cifar").eval()
    first = theirs.cells[0]
    layer = module.CellLayer(genotype["normal"], 12, 4).eval()
    layer.cell.load_state_dict(first.state_dict())
    with torch.no_grad():
        x_BCHW = theirs.stem(torch.randn(2, 3, 8, 8))[1]
        # The first cell of a network reads its stem twice.
        assert torch.equal(layer(x_BCHW), first(x_BCHW, x_BCHW))
    assert module.network(genotype)(torch.randn(2, 3, 8, 8)).shape == (2, 10)


@pytest.mark.parametrize(("name", "words"), [("own_loop", ()), ("cell_as_layer", ("PC_DARTS_cifar",))])
def test_the_examples_run_from_any_folder(name, words, tmp_path, monkeypatch, capsys):
    file = str(ROOT / "examples" / f"{name}.py")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [file, *words])
    runpy.run_path(file, run_name="__main__")
    lines = capsys.readouterr().out.splitlines()
    losses = [float(one.rpartition(" ")[2]) for one in lines if one.startswith("step ")]
    assert len(losses) >= 3 and losses[-1] < losses[0]
    assert name == "cell_as_layer" or lines[-1].startswith("|")


def test_the_loop_takes_forty_lines():
    text = (ROOT / "examples" / "own_loop.py").read_text()
    body = text[text.index("OPERATIONS = ") :].splitlines()
    assert sum(bool(line.strip()) for line in body) <= 40
