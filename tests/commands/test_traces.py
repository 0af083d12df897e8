"""What did not run leaves nothing: neither refused settings, nor plans, nor prices."""

import sys

import pytest

FAST = ("debug=fast", "traceback=false", "dataset=digits")


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("search", ("seed=a",)),
        ("search", (*FAST, "method.warmup_epochs=99", "shorten_stages=false")),
        ("search", ("-m", "seed=0,a")),
        ("evaluate", ("dataset=digits",)),
        ("derive", ("run=nowhere",)),
        ("export", ("genotype=nowhere",)),
        ("predict", ("model=nowhere", "input=nowhere")),
        ("latency", ("latency.warmup=0",)),
        ("rank", ("measures=[none]",)),
        ("bench", ("bench.steps=[none]",)),
        ("cost", ("genotype=nowhere",)),
        ("blackbox", ("tabular.file=nowhere", "budget.queries=1")),
    ],
)
def test_a_refused_setting_leaves_nothing(command, words, run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NAS_OUTPUTS", "made/for/it")
    done = run(command, *words)
    assert done.status == 2, done.out + done.err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("words", [("seed=0",), ("-m", "seed=0,1")])
def test_a_plan_leaves_nothing(words, run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NAS_OUTPUTS", "outputs")
    done = run("search", *words, *FAST, "space=nasbench201", "plan=true")
    assert done.status == 0, done.err
    assert not list(tmp_path.iterdir())


def test_a_price_leaves_nothing_and_what_was_there_stays(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "empty").mkdir()
    assert run("cost", "genotype=DARTS_V2", "recipe.num_cells=3", "recipe.init_channels=2").status == 0
    for folder in (".", "empty"):
        assert run("search", "seed=a", f"hydra.run.dir={folder}").status == 2
    assert sorted(one.name for one in tmp_path.rglob("*")) == ["empty", "notes.txt"]


@pytest.mark.parametrize("name", ["tensorboard", "wandb"])
def test_a_logger_that_is_not_installed_is_told_with_the_command(name, run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)
    done = run("search", *FAST, f"logger={name}", f"hydra.run.dir={tmp_path / 'run'}")
    assert done.status == 2 and f"pip install 'nas-framework[{name}]'" in done.err
    assert done.err.count("\n") == 1 and not list(tmp_path.iterdir())
