"""A package outside of the project that brings an operation, a space, a method and a data set at once."""

import json
import shlex
import sys

import pytest

from nas import genotype as genotypes
from tests.conftest import TINY

CODE = """
from torch import nn
import nas.methods
import nas.spaces
from nas.data.digits import Digits
from nas.spaces.nasbench201 import NasBench201Space

class Conv(nas.spaces.Operation):
    def build(self, channels, stride, affine):
        return nn.Sequential(nn.ReLU(), nn.Conv2d(channels, channels, 3, stride, 1))

class Wide(Conv):
    pass

class Space(NasBench201Space):
    def __init__(self, name, operations, width):
        super().__init__(name, operations, cells_per_stage=1, init_channels=width)

class Relaxation(nas.methods.Relaxation):
    normalised = True

    def __init__(self, sharpness):
        self.sharpness = sharpness

    def op_weights(self, alpha_EO):
        return (self.sharpness * alpha_EO).softmax(-1)

    def strengths(self, alpha_EO):
        return self.op_weights(alpha_EO)

class Source(Digits):
    def __init__(self, root):
        super().__init__()
        print("read", root)
"""
FILES = {
    "space": "_target_: owner_nas.parts.Space\nwidth: 4\n"
    "operations: [owner_nas.parts.Conv, owner_nas.parts.Wide]\n",
    "method": "defaults: [darts1]\nrelaxation: {_target_: owner_nas.parts.Relaxation, sharpness: 2.0}\n",
    "dataset": "defaults: [digits, _self_]\n"
    "source: {_target_: owner_nas.parts.Source, root: '${dataset.root}'}\nroot: here\n",
    "recipe": "defaults: [nasbench201]\ncells_per_stage: 1\ninit_channels: 2\nbatch_size: 16\nepochs: 1\n",
    "experiment": "# @package _global_\nmade_for: search\ndefaults:\n  - override /space: owned\n"
    "  - override /method: owned\n  - override /dataset: owned\n  - override /recipe: owned\n",
}


@pytest.fixture
def package(tmp_path, monkeypatch):
    """The folder of the configurations of a package `owner_nas` on Python's path."""
    conf = tmp_path / "owner_nas/conf"
    conf.mkdir(parents=True)
    for name, text in {"__init__": "", "parts": CODE, "conf/__init__": ""}.items():
        (tmp_path / f"owner_nas/{name}.py").write_text(text)
    for group, text in FILES.items():
        (conf / group).mkdir()
        name = "" if group == "experiment" else "name: owned\n"
        (conf / group / "owned.yaml").write_text(text + name)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield conf
    for name in [one for one in sys.modules if one.split(".")[0] == "owner_nas"]:
        del sys.modules[name]


@pytest.mark.parametrize("way", ["--config-dir={}", "hydra.searchpath=[pkg://owner_nas.conf]"])
def test_a_package_brings_all_four(way, package, run, tmp_path):
    where, folder, trained = way.format(package), tmp_path / "run", tmp_path / "trained"
    short = [one for one in TINY if one.startswith("trainer.")]
    words = ["experiment=owned", "dataset.batch_size=16", *short, f"hydra.run.dir={folder}", where]
    done = run("search", *words)
    assert done.status == 0, done.err
    assert (
        genotypes.load(folder).operations <= {"owner_nas.parts.Conv", "owner_nas.parts.Wide"}
        and "read /" in done.out
    )
    summary = json.loads((folder / "summary.json").read_text())
    assert {summary[key] for key in ("space", "method", "dataset", "recipe")} == {"owned"}
    if "pkg" not in way:
        return
    line = next(one for one in done.out.splitlines() if one.startswith("evaluate:"))
    again = run(*_words(line), "test=false", *short, f"hydra.run.dir={trained}")
    assert again.status == 0, again.err
    named = [f"genotype={folder}", "space=owned", "dataset=owned", where]
    assert run("cost", *named, "format=json").status == 0
    refused = run("evaluate", "experiment=owned", where)
    assert refused.status == 2 and "made for nas.search" in refused.err


def _words(line):
    """A printed command as `run` takes it."""
    _, _, module, *words = shlex.split(line.partition(":")[2])
    return [module.removeprefix("nas."), *words]
