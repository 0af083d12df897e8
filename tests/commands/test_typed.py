"""What is typed is taken as it was meant, or answered with what to type."""

import json
import re
import shlex

import pytest
from omegaconf import OmegaConf

from nas.errors import ConfigError
from nas.running.typed_values import with_texts
from tests.commands.test_bad_input import assert_refused
from tests.conftest import ROOT, TINY

SMALL = ("space=nasbench201", *TINY[5:])


@pytest.mark.parametrize(
    ("name", "typed", "read"),
    [
        ("export", ["checkpoint=a/epoch=0003.ckpt"], ['checkpoint="a/epoch=0003.ckpt"']),
        ("search", ["dataset.root=~/my [new] data (50%), é"], ['dataset.root="~/my [new] data (50%), é"']),
        ("search", ["resume=0"], ['resume="0"']),
        ("search", ["resume=1"], ["resume=1"]),
        ("search", ["hydra.run.dir=runs/a,b"], ['hydra.run.dir="runs/a,b"']),
        ("evaluate", ["genotype=Genotype(normal=[('a', 0)])"], ["genotype=\"Genotype(normal=[('a', 0)])\""]),
        ("evaluate", ["-m", "genotype=0,x=1"], ["-m", 'genotype="0","x=1"']),
        ("evaluate", ["genotype=0", "genotype=[1,2]"], ["genotype=0", 'genotype="[1,2]"']),
        ("search", ["space.operations=[a,b]", "trust=[a,b]"], ["space.operations=[a,b]", "trust=[a,b]"]),
        ("derive", ["run=x=1", "run=[a,b]"], ['run="x=1"', "run=[a,b]"]),
        ("evaluate", ["genotype=DARTS_V1,DARTS_V2"], ["genotype=DARTS_V1,DARTS_V2"]),
        ("evaluate", ['genotype="a=b"', "seed=range(1,3)"], ['genotype="a=b"', "seed=range(1,3)"]),
        (
            "search",
            ["--config-dir", "a=b", "hydra.run.dir=${x}=1"],
            ["--config-dir", "a=b", "hydra.run.dir=${x}=1"],
        ),
    ],
)
def test_keys_that_take_text_read_what_is_pasted(name, typed, read, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ("0", "x=1"):
        (tmp_path / folder).mkdir()
    assert with_texts(name, typed) == read
    assert with_texts(name, read) == read


@pytest.mark.parametrize(
    ("typed", "form"),
    [
        ("logger.tags=[a=b,c]", """'logger.tags=["a=b",c]'"""),
        ("hydra.searchpath=[file:///a=b]", """'hydra.searchpath=["file:///a=b"]'"""),
        ("+logger.note=it's", "note=\"it'"),
    ],
)
def test_other_keys_are_answered_with_the_form_to_type(typed, form):
    with pytest.raises(ConfigError, match=re.escape(form)):
        with_texts("search", [typed])


def test_a_run_lives_in_a_folder_of_any_name(run, tmp_path):
    folder = tmp_path / "a=b, [c] 50% ~é (1)/0"
    done = run("search", "space=nasbench201", "method=random", f"hydra.run.dir={folder}")
    assert done.status == 0, done.err
    assert_refused(run("search", f"resume={folder}", "seed=3"), "a resumed run keeps its settings")
    cost = run("cost", "space=nasbench201", "dataset=digits", f"genotype={folder}", "format=json")
    assert json.loads(cost.out)["params"] > 0
    assert "figures/sweep.png" in run("sweeps", f"folder={folder.parent}").out


@pytest.mark.parametrize(
    ("command", "override", "words"),
    [
        (
            "search",
            "experiment=darts/evaluate_cifar10",
            ["made for nas.evaluate", "python -m nas.evaluate exp"],
        ),
        ("evaluate", "experiment=darts/cifar10_small", ["made for nas.search", "python -m nas.search exp"]),
        ("search", "sweep=seeds", ["sweep=seeds: a multirun of seed", "type -m"]),
    ],
)
def test_what_is_of_another_command_is_refused(command, override, words, run):
    assert_refused(run(command, override), *words)


def test_experiments_say_of_which_command_they_are():
    for file in (ROOT / "conf/experiment").rglob("*.yaml"):
        command = re.search(r"^#   command +python -m nas\.(\w+) ", file.read_text(), re.MULTILINE)
        assert OmegaConf.load(file).made_for == command[1], file


def test_help_recommends_what_runs(run):
    lines = re.findall(r"python -m nas\.evaluate (.*)", run("evaluate", "--help").out)
    assert len(lines) > 3
    for line in lines:
        words = shlex.split(line)
        assert any(one.startswith(("genotype=", "run=")) for one in words), line
        if "<" not in line and "-m" not in words:
            assert run("evaluate", *words, "--cfg", "job").status == 0, line


@pytest.mark.parametrize(
    ("override", "words"),
    [
        (
            "method.update=joint method.xi=0.5",
            "method.xi=0.5: only for method.update=unrolled, not for joint",
        ),
        ("method.virtual_momentum=false", "only for method.update=unrolled, not for first_order"),
        ("method=random +method.lam=0.1", "method.lam=0.1: only for method.regularizers.anchor"),
        ("method.cost.of=macs", "method.cost.of=macs: without effect where method.cost.weight=0"),
        (
            "method=pdarts method.stages=null",
            "T_max=${method.stages[0].epochs}: refers to method.stages, which is null",
        ),
        ("method.widen=shared", "method.widen=shared: without effect where method.stages=null"),
        ("-m seed=0,1 method.xi=0.5", "job 0 (seed=0 method.xi=0.5): method.xi=0.5: only for"),
        (
            "-m method.update=first_order,unrolled method.xi=0.5",
            "job 1 (method.update=unrolled method.xi=0.5) takes it: start two multiruns, one with "
            "method.update=first_order and without method.xi, one with method.update=unrolled",
        ),
    ],
)
def test_an_option_that_would_have_no_effect_is_refused(override, words, run):
    assert_refused(run("search", *override.split()), words)


def test_callbacks_of_lightning_are_called(run, tmp_path):
    told = "{_target_: tests.commands.test_typed.told}"
    node = f"{{_target_: pytorch_lightning.callbacks.LambdaCallback, on_train_start: {told}}}"
    folder = tmp_path / "run"
    done = run("search", *SMALL, f"+trainer.callbacks=[{node}]", f"hydra.run.dir={folder}")
    assert done.status == 0, done.err
    assert "told by 1 epochs" in done.out
    (folder / "checkpoints/epoch=0001.ckpt").unlink()
    assert_refused(run("search", f"resume={folder}"), "trainer.callbacks", "trust=")
    wrong = run("search", *SMALL, "+trainer.callbacks=[{_target_: nas.data.digits.Digits}]")
    assert_refused(wrong, "trainer.callbacks: nas.data.digits.Digits is no callback")
    assert_refused(
        run("search", *SMALL, "+trainer.callbacks=[3]"), "trainer.callbacks: 3: must be a list of nodes"
    )
    stopping = "{_target_: pytorch_lightning.callbacks.EarlyStopping}"
    refused = run("search", *SMALL, f"+trainer.callbacks=[{node},{stopping}]")
    assert_refused(refused, "trainer.callbacks[1]: EarlyStopping", "'monitor'")
    assert_refused(run("search", *SMALL, f"trainer.callbacks=[{node}]"), "add it as +trainer.callbacks=")


def told():
    """A hook of a callback."""
    return lambda trainer, module: print(f"told by {trainer.max_epochs} epochs")
