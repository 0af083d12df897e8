"""The pipeline that all experiments declare: what runs, in which order, and what is told at its end."""

import json
import subprocess
from argparse import Namespace

import pytest

from experiments import pipeline
from experiments.pipeline import Chain, Experiment
from experiments.records import Found, Run, columns, markdown, table, value_of


def found(place, seed, path):
    """What a chain leaves, as far as this pipeline reads it: its name."""
    return {"place": place, "seed": seed} if (path / "search/summary.json").exists() else None


@pytest.fixture
def experiment(tmp_path):
    """Three chains of a search and an evaluation."""

    def parse(words):
        parser = pipeline.options("About it.", "nothing", seeds=(0, 1, 2))
        return pipeline.parsed(parser, ["--folder", str(tmp_path), *(words or ())], "every search")

    def places(arguments: Namespace):
        return [(("kind",), seed) for seed in arguments.seeds]

    def plan(arguments: Namespace):
        return [
            Chain(
                place,
                seed,
                pipeline.folder_of(arguments, place, seed),
                ("a=1", *pipeline.every_run(arguments, seed)),
                {"evaluation": ("b=2",)},
                decided=lambda folder: (f"genotype={folder}",),
            )
            for place, seed in places(arguments)
        ]

    return Experiment(
        parse, (plan,), places, found, list, lambda runs, planned: f"{len(runs)} of {planned}", lambda *_: ()
    )


@pytest.fixture
def commands(monkeypatch):
    """The commands that are started, each of which finishes at once, or as a test says by its folder."""
    started, statuses = [], {}

    def run(words, check):
        where = pipeline.Path(words[3].partition("=")[2])
        started.append(words[2:])
        status = statuses.get(where.relative_to(where.parents[2]).as_posix(), 0)
        if status == "stop":
            raise KeyboardInterrupt
        where.mkdir(parents=True, exist_ok=True)
        (where / "config.yaml").write_text("")
        (where / "summary.json").write_text(json.dumps({"status": "failed" if status else "finished"}))
        return subprocess.CompletedProcess(words, status)

    monkeypatch.setattr(pipeline.subprocess, "run", run)
    return started, statuses


def test_a_chain_that_failed_costs_no_other_and_goes_on_first(experiment, commands, tmp_path, capsys):
    started, statuses = commands
    statuses["kind/seed1/search"] = 1
    with pytest.raises(SystemExit, match=r"seed1/search: nas\.search ended with status 1; start again"):
        experiment.main([])
    assert "3 of 3" in capsys.readouterr().out and len(started) == 5
    folder = tmp_path / "kind/seed0"
    assert started[0] == [
        "nas.search", f"hydra.run.dir={folder}/search", "a=1", "seed=0", "hardware.threads=1",
        "trainer.enable_progress_bar=false",
    ]  # fmt: skip
    assert started[1] == [
        "nas.evaluate", f"hydra.run.dir={folder}/evaluation", "b=2", f"genotype={folder}/search",
    ]  # fmt: skip
    statuses.clear(), started.clear()
    experiment.main(["--seeds", "3", "1"])
    # What was begun goes on before the other begins, and is resumed.
    assert started[0] == ["nas.search", f"resume={tmp_path}/kind/seed1/search"]
    assert [command for command, *_ in started] == ["nas.search", "nas.evaluate"] * 2
    started.clear()
    experiment.main(["--seeds", "3", "1"])
    assert not started


def test_after_ctrl_c_nothing_begins_and_nothing_is_recorded(experiment, commands, tmp_path, capsys):
    commands[1]["kind/seed1/search"] = "stop"
    with pytest.raises(SystemExit) as stopped:
        experiment.main([])
    assert stopped.value.code == 130 and "the same command goes on" in capsys.readouterr().out
    assert not (tmp_path / "results").exists()
    experiment.main(["--record-only"])
    assert (tmp_path / "results/reduced.md").exists()


def test_there_is_no_record_of_nothing(experiment):
    with pytest.raises(SystemExit, match="no run has finished an epoch yet"):
        experiment.main(["--record-only"])
    with pytest.raises(SystemExit):
        experiment.main(["--jobs", "0"])


def test_columns_are_looked_up_and_scaled():
    search = Run({"params": 1500, "epochs": 2}, [{"epoch": 0.0, "loss": 3.0}, {"epoch": 1.0, "loss": 2.0}])
    evaluation = Run({"status": "finished", "test_accuracy": 0.25}, [])
    one = Found(("kind",), 7, search, evaluation)
    assert value_of(one, "search.params/1e3:.2f") == "1.50"
    assert value_of(one, "search.last.loss*10") == 20 and value_of(one, "evaluation.last.loss") is None
    assert value_of(one, "search.macs/1e6:.1f") is None
    words = columns("kind seed state=evaluation.status search.epochs accuracy minutes")
    (row,) = table([one], words)
    assert list(row) == ["kind", "seed", "state", "epochs", "accuracy", "minutes"]
    assert list(row.values()) == ["kind", 7, "finished", 2, 25.0, None]
    assert markdown([row]).splitlines()[-1] == "| kind | 7 | finished | 2 | 25.00 |  |"
    # A folder that was killed early does not say how long it took.
    for seconds, minutes in (({"seconds": 90}, 1.5), ({}, None)):
        learnt = Run(seconds, [{"weight_loss": 1.0}])
        assert Found(("kind",), 7, learnt, evaluation).minutes == minutes


def test_a_draw_gets_nothing_of_the_method():
    words = ["method=darts1", "method.gamma=1", "method.budget.params=2", "space.levels=2"]
    assert pipeline.for_draw(words) == ["space.levels=2"]
    assert pipeline.for_draw(words, kept=("method.budget.",)) == ["method.budget.params=2", "space.levels=2"]
