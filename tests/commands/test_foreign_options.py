"""What is typed or written of somebody else's class reaches it; what was of another class does not."""

import json
import shlex

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from nas.running import trust
from tests.commands.test_bad_input import assert_refused
from tests.conftest import TINY

SOURCES = """
import json, os
from nas.data.digits import Digits

class Rooted(Digits):
    def __init__(self, root, download=None, name="digits"):
        super().__init__()
        print("BUILT", json.dumps([root, download, name]))

class Named(Rooted):
    pass

class Deep(Digits):
    def __init__(self, opt):
        super().__init__()
        print("BUILT", json.dumps(dict(opt)))

class Deeper(Deep):
    pass
"""
SPACE = """
from nas.spaces.darts import DartsSpace

class Fixed(DartsSpace):
    def __init__(self, name, operations):
        super().__init__(name, operations, num_cells=3, init_channels=4)
"""
PARTS = """
from nas.methods.updates import FirstOrder
from nas.methods.regularizers import Anchor

class Update(FirstOrder):
    pass

class Term(Anchor):
    pass
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Modules of somebody else's on Python's path, and a folder of configurations."""
    (tmp_path / "owner_sources.py").write_text(SOURCES)
    (tmp_path / "owner_parts.py").write_text(PARTS)
    (tmp_path / "owner_space.py").write_text(SPACE)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "own/dataset").mkdir(parents=True)
    return tmp_path / "own"


def built(done):
    """What the first object was built with."""
    return json.loads(next(line for line in done.out.splitlines() if line.startswith("BUILT "))[6:])


def plan(run, *words):
    return run("search", "debug=fast", "traceback=false", "plan=true", *words)


def test_a_typed_source_reads_the_root_of_its_data_set(run, own):
    done = plan(run, "dataset=cifar10", "dataset.root=/mine", "dataset.source._target_=owner_sources.Rooted")
    assert built(done) == ["/mine", True, "cifar10"], done.err


def test_a_source_of_a_file_reads_the_root_of_its_data_set(run, own):
    (own / "dataset/mine.yaml").write_text(
        "defaults: [cifar10, _self_]\nsource: {_target_: owner_sources.Named, name: other}\n"
    )
    where = f"--config-dir={own}"
    done = plan(run, "dataset=mine", "dataset.root=/mine", "dataset.download=false", "recipe=cifar10", where)
    assert built(done) == ["/mine", False, "other"], done.err


def test_a_nested_option_begins_anew_with_its_class(run, own):
    (own / "dataset/deep.yaml").write_text(
        "defaults: [digits, _self_]\nsource: {_target_: owner_sources.Deep, opt: {lr: 1, momentum: 0.9}}\n"
    )
    words, where = ("dataset=deep", "recipe=digits"), f"--config-dir={own}"
    assert built(plan(run, *words, "dataset.source.opt.lr=3", where)) == {"lr": 3, "momentum": 0.9}
    deeper = "dataset.source._target_=owner_sources.Deeper"
    assert built(plan(run, *words, deeper, "dataset.source.opt.lr=3", where)) == {"lr": 3}


def test_a_size_that_a_space_does_not_take_is_refused_unless_a_debug_mode_gave_it(run, own):
    (own / "space").mkdir()
    text = "_target_: owner_space.Fixed\nname: fixed\noperations: [skip_connect, sep_conv_3x3]\n"
    for name, more in (("fixed", ""), ("sized", "num_cells: 7\n")):
        (own / f"space/{name}.yaml").write_text(text + more)
    words, where = ("dataset=digits",), f"--config-dir={own}"
    assert plan(run, "space=fixed", *words, where).status == 0
    assert_refused(run("search", "plan=true", "space=sized", *words, where), "num_cells")


def test_the_printed_evaluation_has_the_options_of_a_source_of_others(run, own, tmp_path):
    """As printed, and cut short."""
    source = "dataset.source._target_=owner_sources.Rooted"
    typed = (source, "dataset.source.name=mine", "dataset.root=/mine", "dataset.download=false")
    folder = f"hydra.run.dir={tmp_path / 'run'}"
    done = run("search", "dataset=cifar10", *TINY, "recipe=digits", *typed, "method=random", folder)
    assert done.status == 0, done.err
    line = next(one for one in done.out.splitlines() if one.startswith("evaluate:"))
    words = shlex.split(line.removeprefix("evaluate:"))
    short = ("trainer.max_epochs=1", "trainer.limit_train_batches=2", "test=false")
    again = run("evaluate", *words[3:], *short, f"hydra.run.dir={tmp_path / 'evaluated'}")
    assert again.status == 0, (words, again.err)
    assert built(again)[0] == "/mine" and built(again)[2] == "mine"


@pytest.mark.parametrize(
    ("part", "key"),
    [
        ("method.update={_target_: owner_parts.Update}", "method.xi"),
        ("method.regularizers.anchor={_target_: owner_parts.Term}", "method.lam"),
    ],
)
def test_a_key_that_the_part_of_others_does_not_read_is_refused(run, own, part, key):
    done = plan(run, "dataset=digits", "method=darts2", part, f"{key}=0.5")
    assert_refused(done, f"{key}=0.5", "owner_parts")


def test_what_a_sweep_prints_of_a_folder_refers_to_no_other_key(run, tmp_path):
    job = tmp_path / "0"
    job.mkdir()
    (job / "summary.json").write_text(
        json.dumps({"command": "search", "status": "failed", "error": "x", "schema": 1})
    )
    given = ["space.name=owner.Conv", 'space.operations=["${space.name}",skip_connect]', *TINY]
    OmegaConf.save(OmegaConf.create(given), job / "overrides.yaml")
    done = run("sweeps", f"folder={tmp_path}")
    assert "not printed" in done.out + done.err and "refers to another key" in done.out + done.err


@pytest.mark.parametrize("genotype", ["{a: 1}", "a,b"])
def test_a_genotype_that_is_no_text_costs_no_table(run, tmp_path, genotype):
    job = tmp_path / "0"
    job.mkdir()
    (job / "summary.json").write_text(
        json.dumps({"command": "evaluate", "status": "failed", "error": "x", "schema": 1})
    )
    OmegaConf.save(OmegaConf.create([f"genotype={genotype}"]), job / "overrides.yaml")
    assert "TypeError" not in run("sweeps", f"folder={tmp_path}").err


@pytest.mark.parametrize(
    ("override", "names"),
    [
        ("genotype='best(owner.Conv)'", set()),
        ("genotype=runs/best", set()),
        ("genotype=DARTS_V1,DARTS_V2", set()),
        ("genotype='chain(cell:1[1=owner.Conv(0)]>1)'", {"owner.Conv"}),
        ("space.operations=[owner.Conv,skip_connect],[other.Conv]", {"owner.Conv", "other.Conv"}),
        ("space={operations:{owner.Conv:1}}", {"owner.Conv"}),
        ("dataset.source._target_=owner.Named", {"owner.Named"}),
    ],
)
def test_what_a_typed_word_names(override, names):
    given = OverridesParser.create().parse_override(override)
    assert set(trust.named_by(given.key_or_group, given.value())) == names
