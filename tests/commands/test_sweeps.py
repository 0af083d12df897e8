"""A multirun sums itself up, and ends with the status of its worst job; `nas.sweeps` does it again later."""

import csv
import json
import re
import shlex
import signal
import time

import pytest

from nas.engine.checkpoints import newest_readable


def table(folder):
    with (folder / "table.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def summary(folder):
    return json.loads((folder / "summary.json").read_text())


@pytest.fixture
def sweep(run, tiny, tmp_path):
    """`sweep("seed=0,1", command=...) -> Done`: a multirun into `tmp_path / "sweep"`."""

    def call(*overrides, command="search"):
        sizes = tiny if command == "search" else [o for o in tiny if not o.startswith("space.")]
        return run(command, "-m", *sizes, *overrides, f"hydra.sweep.dir={tmp_path / 'sweep'}")

    return call


@pytest.mark.pictures
def test_a_search_of_several_settings(sweep, tmp_path):
    done = sweep("method=random", "recipe.init_channels=2,4", "seed=0,1")
    assert (done.status, done.err) == (0, "")
    folder = tmp_path / "sweep"
    assert {"sweep.csv", "table.csv", "table.md"} < {path.name for path in folder.iterdir()}
    assert (folder / "figures/sweep.png").stat().st_size > 5000
    rows = table(folder)
    assert [(row["recipe.init_channels"], row["n"]) for row in rows] == [("2", "2"), ("4", "2")]
    for number, row in enumerate(rows):
        params = [summary(folder / str(2 * number + seed))["params"] for seed in (0, 1)]
        assert float(row["params_mean"]) == pytest.approx(sum(params) / 2)
        assert float(row["params_sd"]) == pytest.approx(abs(params[0] - params[1]) / 2**0.5)
    printed = (folder / "table.md").read_text().split("\n\n")[2]
    assert printed in done.out
    assert "did not finish" not in done.out


def test_an_evaluation_of_several_cells(sweep, tmp_path):
    done = sweep("genotype=DARTS_V1,DARTS_V2", command="evaluate")
    assert done.status == 0
    assert [row["genotype"] for row in table(tmp_path / "sweep")] == ["DARTS_V1", "DARTS_V2"]
    assert "test_accuracy_mean" in table(tmp_path / "sweep")[0]


def test_a_search_of_recurrent_cells_is_summed_up_by_perplexity(run, tmp_path):
    sizes = ("space.num_nodes=2", "space.hidden_size=4", "recipe.hidden_size=4", "trainer.max_epochs=1")
    limits = ("trainer.limit_train_batches=2", "trainer.limit_val_batches=1", "seed=0,1")
    texts = ("space=darts_rnn", "dataset=wikitext_mini", "method=darts1_rnn")
    done = run("search", "-m", *texts, *sizes, *limits, f"hydra.sweep.dir={tmp_path / 'sweep'}")
    assert (done.status, done.err) == (0, "")
    (row,) = table(tmp_path / "sweep")
    found = [summary(tmp_path / "sweep" / name)["architecture_perplexity"] for name in "01"]
    assert float(row["architecture_perplexity_mean"]) == pytest.approx(sum(found) / 2)
    # No worse than one that takes each of the 3,867 words for as likely, after a step down.
    assert all(1 < perplexity < 3867 for perplexity in found)
    assert f"{sum(found) / 2:.2f} ± " in done.out
    assert (tmp_path / "sweep/figures/sweep.png").exists()


def test_a_failed_run_costs_no_other_and_is_told_with_its_reason(sweep, tmp_path):
    lr = "method.weight_optimizer.lr=1e30,0.02"
    # In batches of one job, of which Hydra would start no other after a failure.
    done = sweep("trainer.limit_train_batches=3", lr, "hydra.sweeper.max_batch_size=1")
    assert done.status == 1
    assert [(row["n"], row["runs"]) for row in table(tmp_path / "sweep")] == [("0", "1"), ("1", "1")]
    assert "1 of 2 runs did not finish" in done.out
    assert re.search(
        r"- 0 \(method.weight_optimizer.lr=1e\+30\): failed: Diverged: .*nan or infinite", done.out
    )
    assert f"python -m nas.search resume={tmp_path / 'sweep/0'}" in done.out


def test_a_job_that_is_refused_when_it_begins_makes_status_2(sweep, run, tmp_path):
    done = sweep("method=random", "recipe.init_channels=5,4")
    assert done.status == 2
    assert [summary(tmp_path / "sweep" / name)["status"] for name in "01"] == ["failed", "finished"]
    assert "- 0 (recipe.init_channels=5): failed: " in done.out
    assert sum(int(row["n"]) for row in table(tmp_path / "sweep")) == 1
    # The command that is printed starts this job again, in its place.
    again = re.search(r"`python -m nas.search (.*)`", done.out)[1].replace(
        "recipe.init_channels=5", "recipe.init_channels=6"
    )
    assert run("search", *shlex.split(again)).status == 0
    assert run("sweeps", f"folder={tmp_path / 'sweep'}").status == 0
    assert sum(int(row["n"]) for row in table(tmp_path / "sweep")) == 2


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["seed=0,abc"], ["job 1 (", "seed=abc: must be a whole number"]),
        (["method=random,dartz"], ["darts2"]),
        (["space.num_cels=3,4"], ["did you mean 'space.num_cells'?"]),
        (["seed=0,1", "hydra.sweep.subdir=same"], ["jobs 0 and 1 share it"]),
    ],
)
def test_what_composing_tells_is_refused_before_the_first_job(sweep, tmp_path, overrides, words):
    done = sweep("method=random", *overrides)
    assert done.status == 2
    assert done.err.count("error: ") == 1
    for word in words:
        assert word in done.err
    assert not (tmp_path / "sweep").exists()


def test_a_sweep_into_the_folder_of_another_is_refused_and_touches_nothing(sweep, tmp_path):
    assert sweep("method=random", "seed=0,1").status == 0
    before = {path: path.read_bytes() for path in (tmp_path / "sweep").rglob("*.*") if path.is_file()}
    done = sweep("method=random", "seed=2,3")
    assert done.status == 2
    assert f"python -m nas.sweeps folder={tmp_path / 'sweep'}" in done.err
    assert before == {path: path.read_bytes() for path in (tmp_path / "sweep").rglob("*.*") if path.is_file()}


def test_two_sweeps_do_not_work_in_one_folder(sweep, start, tiny, tmp_path):
    """Their jobs are others, so that nothing else keeps them apart."""
    folder = tmp_path / "sweep"
    more = ("trainer.max_epochs=200", "trainer.enable_progress_bar=false", "seed=0,1")
    process = start("search", "-m", *tiny, *more, f"hydra.sweep.dir={folder}")
    deadline = time.monotonic() + 100
    while not list(folder.glob("0/checkpoints/*.ckpt")) and time.monotonic() < deadline:
        time.sleep(0.1)
    done = sweep("method=random", "seed=5,6", "hydra.sweep.subdir=${seed}")
    assert done.status == 2 and f"hydra.sweep.dir={folder}: process {process.pid} on" in done.err, done.err
    assert not (folder / "5").exists() and not (folder / "table.md").exists()
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    assert sweep("method=random", "seed=5,6", "hydra.sweep.subdir=${seed}").status == 1
    assert not (folder / ".lock").exists()


def test_a_plan_has_no_table(sweep, tmp_path):
    done = sweep("plan=true", "seed=0,1")
    assert done.status == 0
    assert not (tmp_path / "sweep/table.md").exists()


def test_a_stopped_sweep_says_what_is_missing_and_can_be_completed(start, run, tiny, tmp_path):
    folder = tmp_path / "sweep"
    more = ("trainer.max_epochs=200", "trainer.enable_progress_bar=false", "seed=0,1")
    process = start("search", "-m", *tiny, *more, f"hydra.sweep.dir={folder}")
    deadline = time.monotonic() + 100
    while not list(folder.glob("0/checkpoints/*.ckpt")) and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert f"python -m nas.sweeps folder={folder}" in out

    done = run("sweeps", f"folder={folder}")
    assert done.status == 0
    assert "2 of 2 runs did not finish" in done.out
    resume, begin = re.findall(r"`python -m nas.search (.*)`", done.out)
    assert resume == f"resume={folder / '0'}"
    assert re.search(r"- 1 \(seed=1\): not started", done.out)
    length = newest_readable(folder / "0/checkpoints")[1] + 1
    shorter = (f"trainer.max_epochs={length}", "resume_schedule=restart")
    assert run("search", *shlex.split(resume), *shorter).status == 0
    assert run("search", *shlex.split(begin), "trainer.max_epochs=1").status == 0
    assert "did not finish" not in run("sweeps", f"folder={folder}", "over=[seed,trainer.max_epochs]").out
    assert table(folder)[0]["n"] == "2"


def test_any_folder_of_runs_makes_a_table(run, tiny, tmp_path):
    for number, overrides in enumerate((["space=s1"], ["space=s2", "seed=1"], [])):
        place = f"hydra.run.dir={tmp_path / f'runs/{number}'}"
        sizes = [one for one in tiny if not one.startswith("space.num_nodes")]
        assert run("search", *sizes, "method=random", *overrides, place).status == 0
    (tmp_path / "runs/10").mkdir()
    (tmp_path / "runs/10/summary.json").write_text("{")
    done = run("sweeps", f"folder={tmp_path / 'runs'}")
    assert (done.status, done.err) == (0, "")
    # The third run was not given a space: its config.yaml knows.
    assert [row["space"] for row in table(tmp_path / "runs")] == ["s1", "s2", "darts"]
    assert "- 10: damaged: summary.json: damaged (" in done.out


def test_sweeps_refuses(run, tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    assert run("search", *tiny, "method=random", "hydra.run.dir=runs/0").status == 0
    for override, words in (
        ("folder=null", "folder=null"),
        ("folder=nowhere", "no such folder"),
        ("folder=empty", "no run folder there or below"),
        ("over=seed", "must be a list"),
        ("figure=foo", "there are num_skip, params, macs"),
    ):
        done = run("sweeps", *(["folder=runs"] if "folder" not in override else []), override)
        assert done.status == 2
        assert words in done.err
        assert "Traceback" not in done.err
    assert not (tmp_path / "runs/table.md").exists()
