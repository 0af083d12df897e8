"""Whole runs, and what they leave in their folder."""

import csv
import json

import pytest

COMMON = {
    "schema", "command", "status", "space", "method", "dataset", "hardware", "seed", "epochs", "steps",
    "seconds", "device", "versions", "git_commit", "params", "macs", "genotype",
}  # fmt: skip
SEARCH = COMMON | {"split_hash", "weight_loss", "architecture_loss", "architecture_accuracy", "num_skip"}
EVALUATE = COMMON | {"split_hash", "test_accuracy", "test_top5_accuracy", "test_loss"}


def summary(folder):
    return json.loads((folder / "summary.json").read_text())


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_search_then_evaluate_as_typed(shell, tmp_path):
    found, tested = tmp_path / "found", tmp_path / "tested"
    done = shell("search", "debug=fast", f"hydra.run.dir={found}")
    assert (done.status, done.err) == (0, "")
    assert f"nas.evaluate run={found}" in done.out
    for name in [
        "config.yaml",
        "overrides.yaml",
        "genotype.json",
        "summary.json",
        "metrics.csv",
        "architecture.csv",
        "genotypes.jsonl",
        "split.json",
        "figures/genotype.png",
        "figures/op_weights.png",
        "figures/curves.png",
        "checkpoints/epoch=0001.ckpt",
    ]:
        assert (found / name).stat().st_size > 0, name
    numbers = summary(found)
    assert set(numbers) >= SEARCH
    assert (numbers["status"], numbers["epochs"], numbers["steps"]) == ("finished", 1, 2)
    assert len(rows(found / "architecture.csv")) == 2 * 14 * 8
    assert "left 0s" in done.out

    done = shell("evaluate", f"genotype={found}", "debug=fast", f"hydra.run.dir={tested}")
    assert (done.status, done.err) == (0, "")
    assert set(summary(tested)) >= EVALUATE
    assert (tested / "genotype.json").read_bytes() == (found / "genotype.json").read_bytes()
    assert summary(tested)["params"] == numbers["params"]
    assert summary(tested)["test_top5_accuracy"] >= summary(tested)["test_accuracy"]
    assert float(rows(tested / "metrics.csv")[0]["learning_rate"]) == 0.05
    assert not list(found.rglob("*.tmp")) + list(found.rglob(".*"))


@pytest.mark.parametrize("space", ["s1", "s2", "s3", "s4"])
def test_every_space_with_second_order(run, tiny, tmp_path, space):
    sizes = [one for one in tiny if not one.startswith("space.num_nodes")]
    done = run("search", *sizes, "method=darts2", f"space={space}", f"hydra.run.dir={tmp_path / 'a'}")
    assert (done.status, done.err) == (0, "")
    assert summary(tmp_path / "a")["space"] == space


def test_random_draws_by_seed(run, tiny, tmp_path):
    genotypes = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        done = run("search", *tiny, "method=random", f"seed={seed}", f"hydra.run.dir={tmp_path / name}")
        assert (done.status, done.err) == (0, "")
        genotypes.append((tmp_path / name / "genotype.json").read_text())
    assert genotypes[0] == genotypes[1] != genotypes[2]
    numbers = summary(tmp_path / "a")
    assert (numbers["status"], numbers["epochs"], numbers["method"]) == ("finished", 0, "random")
    assert (tmp_path / "a/figures/genotype.png").exists()


def test_an_experiment_is_one_override(run, tiny, tmp_path):
    sizes = [one for one in tiny if not one.startswith(("recipe.num_cells=", "space.num_nodes="))]
    done = run("search", "experiment=start/digits", *sizes, f"hydra.run.dir={tmp_path / 'a'}")
    assert (done.status, done.err) == (0, "")
    assert "lr: 0.03" in (tmp_path / "a/config.yaml").read_text()


def test_evaluation_with_a_validation_part(run, tiny, tmp_path):
    sizes = [override for override in tiny if not override.startswith("space.")]
    done = run(
        "evaluate", *sizes, "genotype=DARTS_V2", "dataset.valid=0.2", f"hydra.run.dir={tmp_path / 'a'}"
    )
    assert (done.status, done.err) == (0, "")
    assert {"valid_accuracy", "valid_loss"} <= set(summary(tmp_path / "a"))


def test_overfit_lowers_the_loss(run, tiny, tmp_path):
    done = run(
        "search", *tiny[:6], "debug=overfit", "trainer.max_epochs=25", "space.init_channels=4",
        "method.weight_optimizer.lr=0.1", f"hydra.run.dir={tmp_path / 'a'}",
    )  # fmt: skip
    assert done.status == 0
    losses = [float(row["weight_loss"]) for row in rows(tmp_path / "a/metrics.csv")]
    assert losses[-1] < losses[0] / 3


def test_profile_writes_its_table(run, tiny, tmp_path):
    done = run(
        "search",
        "debug=profile",
        *tiny[:6],
        "trainer.limit_train_batches=5",
        f"hydra.run.dir={tmp_path / 'a'}",
    )
    assert done.status == 0
    tables = [path.read_text() for path in (tmp_path / "a").glob("*profile*.txt")]
    assert any("conv" in table for table in tables)


def test_multirun_gives_every_job_its_folder(run, tiny, tmp_path):
    done = run("search", *tiny, "method=random", "seed=0,1", f"hydra.sweep.dir={tmp_path}", "-m")
    assert done.status == 0
    assert [summary(tmp_path / name)["seed"] for name in "01"] == [0, 1]


def test_stored_sweep(run, tiny, tmp_path):
    done = run("search", *tiny, "method=random", "sweep=seeds", f"hydra.sweep.dir={tmp_path}", "-m")
    assert done.status == 0
    assert [summary(tmp_path / name)["seed"] for name in "0123"] == [0, 1, 2, 3]


def test_a_failed_job_does_not_stop_a_multirun(run, tiny, tmp_path):
    lr = "method.weight_optimizer.lr=1e30,-1,0.02"
    done = run("search", *tiny, "trainer.limit_train_batches=3", lr, f"hydra.sweep.dir={tmp_path}", "-m")
    assert done.status in (1, 2)
    assert [summary(tmp_path / name)["status"] for name in "012"] == ["failed", "failed", "finished"]
    assert "nan or infinite" in (tmp_path / "0/error.txt").read_text()
    assert "learning rate" in summary(tmp_path / "1")["error"]
    assert "job 0 failed" in done.err
    assert "job 1 failed" in done.err
    assert "Traceback" not in done.err


def test_two_runs_of_one_second_get_two_folders(run, tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("NAS_OUTPUTS", str(tmp_path))
    for _ in range(2):
        assert run("search", *tiny, "method=random").status == 0
    assert len(list(tmp_path.rglob("genotype.json"))) == 2
