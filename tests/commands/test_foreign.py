"""An operation and a space in modules outside of the project, through every command."""

import json
import re
import shlex
import sys

import pytest
import torch
from omegaconf import OmegaConf

from nas import genotype as genotypes
from nas.errors import ConfigError
from nas.formats import load_safetensors
from nas.running.config import instantiate
from nas.spaces.darts import DartsSpace
from nas.spaces.nasbench201 import NasBench201Space
from nas.spaces.space import ImageInputs
from tests.commands.test_bad_input import assert_refused
from tests.conftest import TINY

INPUTS = ImageInputs((3, 8, 8), 10)
SIZES = [one for one in TINY if not one.startswith("space.")]
THEIRS = """
import pathlib
import torch
from torch import nn
import nas.spaces

pathlib.Path(__file__).with_name("imported").touch()

class Conv(nas.spaces.Operation):
    def build(self, channels, stride, affine):
        return nn.Sequential(
            nn.ReLU(), nn.Conv2d(channels, channels, 3, stride, 1), nn.BatchNorm2d(channels, affine=affine)
        )

class Square(nn.Module):
    def __init__(self, stride):
        super().__init__()
        self.stride = stride

    def forward(self, x):
        return x[:, :, ::self.stride, ::self.stride].square()

class Own(nas.spaces.Operation):
    def build(self, channels, stride, affine):
        return Square(stride)

class Known(Own):
    twice_differentiable = True

class NoOperation:
    pass
"""
CHAIN = """
import torch
from torch import nn
from nas.genotype import Cell, Edge, Genotype
from nas.spaces import Space
from nas.spaces.operations import DARTS
from nas.spaces.space import EdgeGroup, check_op_weights

class Mixed(nn.Module):
    def __init__(self, groups, image_shape, num_classes):
        super().__init__()
        self.groups = groups
        self.stem = nn.Conv2d(image_shape[0], 4, 1)
        rows = groups["cell"].operations
        self.edges = nn.ModuleList(nn.ModuleList(DARTS.build(name, 4) for name in row) for row in rows)
        self.classifier = nn.Linear(4, num_classes)

    def forward(self, x, op_weights):
        check_op_weights(self.groups, op_weights)
        h = self.stem(x)
        for edge, weights in zip(self.edges, op_weights["cell"]):
            h = sum(weight * one(h) for one, weight in zip(edge, weights))
        return self.classifier(h.mean((2, 3)))

class Network(nn.Module):
    def __init__(self, genotype, image_shape, num_classes):
        super().__init__()
        chosen = [edge.operation for _, edge in genotype["cell"].edges]
        self.layers = nn.Sequential(
            nn.Conv2d(image_shape[0], 4, 1), *(DARTS.build(name, 4) for name in chosen)
        )
        self.classifier = nn.Linear(4, num_classes)

    def set_drop_path(self, rate):
        pass

    def forward(self, x):
        return self.classifier(self.layers(x).mean((2, 3))), None

class Chain(Space):
    family = "chain"

    def __init__(self, name, operations, depth=2):
        self.name = name
        edges = tuple((i, i + 1) for i in range(depth))
        self.groups = {"cell": EdgeGroup(edges, (tuple(operations),) * depth)}

    def derive(self, scores):
        group = self.groups["cell"]
        best = scores["cell"].argmax(dim=-1).tolist()
        nodes = tuple((Edge(i, group.operations[i][column]),) for i, column in enumerate(best))
        return Genotype(self.family, (("cell", Cell(nodes, (len(nodes),), inputs=1)),))

    def supernet(self, inputs, partial=None, kept=None):
        return Mixed(self.groups, inputs.image_shape, inputs.num_classes)

    def network(self, genotype, inputs, auxiliary=False):
        self.check_genotype(genotype, "cell")
        return Network(genotype, inputs.image_shape, inputs.num_classes)

class Broken(Chain):
    def __init__(self, name, operations):
        raise ValueError("no operations,\\n    of which it needs some")
"""


@pytest.fixture
def theirs(tmp_path, monkeypatch):
    """A folder on Python's path with modules `theirs` and `chain`, of which nothing has been imported."""
    place = tmp_path / "theirs"
    place.mkdir()
    (place / "theirs.py").write_text(THEIRS)
    (place / "chain.py").write_text(CHAIN)
    monkeypatch.syspath_prepend(str(place))

    def forget():
        for name in ("theirs", "chain"):
            sys.modules.pop(name, None)
        (place / "imported").unlink(missing_ok=True)

    forget()
    yield forget
    forget()


def text(operation):
    """A cell of the DARTS space that holds the operation on both kinds of edges."""
    nodes = f"('{operation}', 0), ('skip_connect', 1), ('{operation}', 2), ('sep_conv_3x3', 1)"
    return f"Genotype(normal=[{nodes}], normal_concat=[2, 3], reduce=[{nodes}], reduce_concat=[2, 3])"


@pytest.mark.parametrize("space", ["darts", pytest.param("nasbench201", marks=pytest.mark.pictures)])
def test_an_operation_of_others_goes_all_the_way(space, theirs, run, tmp_path):
    names = "space.operations=[theirs.Conv,skip_connect]"
    sizes = [*TINY, f"space={space}", *(["recipe=nasbench201"] if space == "nasbench201" else [])]
    others = ("recipe.num_cells", "space.num_nodes")
    sizes = [one for one in sizes if not (space == "nasbench201" and one.startswith(others))]
    search, trained, out = tmp_path / "search", tmp_path / "evaluate", tmp_path / "export"
    done = run("search", *sizes, names, "method=darts2", f"hydra.run.dir={search}")
    assert done.status == 0, done.err
    assert "trust=theirs" in done.out  # of the printed commands, whose folder says the rest
    found = genotypes.load(search)
    assert found.operations <= {"theirs.Conv", "skip_connect"}
    assert genotypes.parse(found.to_text()) == found == genotypes.parse(found.to_json())
    assert (search / "figures/genotype.png").stat().st_size > 0

    theirs()
    refused = run("search", f"resume={search}", "trainer.max_epochs=2")
    assert_refused(refused, "theirs.Conv", "trust=theirs")
    refused = run("derive", f"run={search}")
    assert_refused(refused, "theirs.Conv", "trust=theirs")
    assert not (tmp_path / "theirs/imported").exists()
    derived = run("derive", f"run={search}", "trust=theirs", "samples=3", f"hydra.run.dir={tmp_path / 'd'}")
    assert derived.status == 0, derived.err

    file = tmp_path / "cell.json"
    cell = found if "theirs.Conv" in found.operations else genotypes.parse(text("theirs.Conv"))
    if space == "nasbench201":
        cell = genotypes.parse("|theirs.Conv~0|+|theirs.Conv~0|none~1|+|skip_connect~0|none~1|none~2|")
    file.write_text(cell.to_json())
    sizes = [one for one in sizes if not one.startswith("space.")]
    theirs()
    assert_refused(run("evaluate", f"genotype={file}", *sizes), "theirs.Conv", "trust=theirs")
    for command in ("cost", "latency"):
        refused = run(command, f"genotype={file}", f"space={space}")
        assert_refused(refused, "theirs.Conv", "trust=theirs")
    assert not (tmp_path / "theirs/imported").exists()
    done = run("evaluate", f"genotype={file}", "trust=theirs", *sizes, f"hydra.run.dir={trained}")
    assert done.status == 0, done.err
    assert (trained / "figures/genotype.png").stat().st_size > 0

    theirs()
    assert_refused(run("export", f"genotype={trained}"), "theirs.Conv", "trust=theirs")
    done = run("export", f"genotype={trained}", "trust=theirs", "images=2", f"hydra.run.dir={out}")
    assert done.status == 0, done.err
    theirs()
    with pytest.raises(ConfigError, match="trust=theirs, or in Python import theirs"):
        load_safetensors(out / "model.safetensors")
    __import__("theirs")
    assert load_safetensors(out / "model.safetensors")(torch.zeros(1, 1, 8, 8)).shape == (1, 10)


def test_its_cost_is_counted_on_its_module(theirs, run):
    file = text("theirs.Conv")
    sizes = ("recipe.num_cells=3", "recipe.init_channels=4", "format=json", "dataset=digits")
    with_it = json.loads(run("cost", f'genotype="{file}"', *sizes).out)  # typed, and so the caller's own
    without = json.loads(run("cost", f'genotype="{text("skip_connect")}"', *sizes).out)
    assert with_it["params"] > without["params"] and with_it["macs"] > without["macs"]


def test_second_derivatives_are_not_assumed_of_unknown_modules(theirs):
    __import__("theirs")
    x_BCHW = torch.randn(2, 3, 8, 8)
    for name, known in (("Conv", True), ("Own", False), ("Known", True)):
        space = NasBench201Space("nasbench201", [f"theirs.{name}", "skip_connect"], 1, 4)
        supernet = space.supernet(INPUTS)
        weights = {key: torch.ones(group.shape) for key, group in space.groups.items()}
        assert supernet(x_BCHW, weights).shape == (2, 10)
        if known:
            with supernet.execution.twice_differentiable():
                pass
        else:
            with pytest.raises(ConfigError, match=r"theirs\.Own"), supernet.execution.twice_differentiable():
                pass


def test_copies_of_a_pruned_supernet_are_some_of_the_whole_ones(theirs):
    __import__("theirs")
    space = DartsSpace("darts", ["theirs.Conv", "skip_connect"], num_cells=3, init_channels=4)
    kept = {name: torch.ones(group.shape, dtype=torch.bool) for name, group in space.groups.items()}
    kept["normal"][1, 0] = False
    whole, pruned = space.supernet(INPUTS), space.supernet(INPUTS, kept=kept)
    missing = pruned.load_state_dict(
        {name: value for name, value in whole.state_dict().items() if name in pruned.state_dict()}
    )
    assert not missing.missing_keys
    weights = {name: mask.float() for name, mask in kept.items()}
    x_BCHW = torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(whole.eval()(x_BCHW, weights), pruned.eval()(x_BCHW, weights))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("theirs.Missing", "not a class derived from nas.spaces.Operation"),
        ("theirs.NoOperation", "not a class derived from nas.spaces.Operation"),
        ("nowhere.at_all", "cannot be imported"),
        ("conv", "unknown operations"),
    ],
)
def test_what_is_no_operation_is_refused(name, words, theirs, run):
    assert_refused(run("search", *TINY, f"space.operations=[{name},skip_connect]"), name, words)


@pytest.mark.parametrize("space", ["dso_small", "darts_rnn"])
def test_spaces_that_take_none_say_what_they_take(space, theirs, run):
    more = ["dataset=wikitext_mini"] if space == "darts_rnn" else ["dataset=digits"]
    assert_refused(
        run("search", f"space={space}", *more, "space.operations=[theirs.Conv]"), "theirs.Conv", "known are"
    )


@pytest.mark.pictures
def test_a_space_of_others_is_searched_drawn_and_evaluated(theirs, run, tmp_path):
    own = tmp_path / "own/space"
    own.mkdir(parents=True)
    operations = "[sep_conv_3x3, skip_connect, max_pool_3x3]"
    (own / "chain.yaml").write_text(f"_target_: chain.Chain\nname: chain\noperations: {operations}\n")
    short = [one for one in TINY if not one.startswith(("space.", "recipe."))]
    search, trained = tmp_path / "search", tmp_path / "evaluate"
    where = f"--config-dir={tmp_path / 'own'}"
    done = run("search", "space=chain", "dataset=digits", *short, f"hydra.run.dir={search}", where)
    assert done.status == 0, done.err
    found = genotypes.load(search)
    assert found.space == "chain" and str(found).startswith("chain(cell:2[1=")
    assert genotypes.parse(str(found)) == found
    assert (search / "figures/genotype.png").stat().st_size > 0
    words = ["space=chain", "dataset=digits", f"genotype={search}"]
    done = run("derive", f"run={search}", "samples=2", f"hydra.run.dir={tmp_path / 'd'}", where)
    assert done.status == 0, done.err
    done = run("cost", *words, "format=json", where)
    assert json.loads(done.out)["params"] > 0
    done = run("evaluate", *words, *short, "recipe.auxiliary_weight=0", f"hydra.run.dir={trained}", where)
    assert done.status == 0, done.err
    assert json.loads((trained / "summary.json").read_text())["genotype"] == str(found)
    assert_refused(run("export", f"genotype={trained}", "format=timm", where), "from outside of this project")
    out = tmp_path / "export"
    done = run("export", f"genotype={trained}", "format=torch_export", f"hydra.run.dir={out}", where)
    assert done.status == 0 and "8/8" in done.out, done.err


def test_what_a_foreign_class_says_is_one_line_and_a_family_is_a_word(theirs):
    broken = OmegaConf.create({"space": {"_target_": "chain.Broken", "name": "broken", "operations": []}})
    with pytest.raises(ConfigError, match=r"^space: no operations, of which it needs some$"):
        instantiate(broken.space)
    chain = __import__("chain").Chain
    with pytest.raises(ConfigError, match="class Mine: family='my-chain': must be a word"):
        type("Mine", (chain,), {"family": "my-chain"})


def test_a_stopped_evaluation_of_a_typed_genotype_goes_on_as_printed(theirs, run, tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    folder = tmp_path / "evaluate"
    typed = f'genotype="{text("theirs.Conv")}"'
    with monkeypatch.context() as patched:
        patched.setattr("nas.commands.evaluate.fit", interrupt)
        done = run("evaluate", typed, *SIZES, "dataset=digits", f"hydra.run.dir={folder}")
    assert done.status == 130
    printed = shlex.split(re.search("continue with: (.*)", done.out)[1])
    assert printed[2] == "nas.evaluate" and "trust=theirs" in printed
    theirs()
    done = run("evaluate", *printed[3:])
    assert done.status == 0, done.err
    assert json.loads((folder / "summary.json").read_text())["status"] == "finished"
