"""`nas.latency`, and who looks its tables up: `nas.derive` and sparse searches. Times are never asserted."""

import csv
import json

import pytest

from nas.analysis.cost.latency_table import read_table
from nas.genotype import load

FILES = ("latency.json", "latency.csv", "networks.csv", "summary.json", "config.yaml", "overrides.yaml")
CELLS = ("recipe.num_cells=3", "recipe.init_channels=4")
OPERATIONS = "space.operations=[none,skip_connect,sep_conv_3x3]"
FAST = ("dataset=digits", "latency.rounds=2", "latency.warmup=1")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("latency")


@pytest.fixture
def table(run, place):
    """The folder of a table for `searched`, the same for all tests."""
    folder = place / "table"
    if not folder.exists():
        done = run("latency", *FAST, *CELLS, OPERATIONS, f"hydra.run.dir={folder}")
        assert (done.status, done.err) == (0, "")
    return folder


@pytest.fixture
def searched(run, tiny, place):
    folder = place / "searched"
    if not folder.exists():
        sizes = [one for one in tiny if not one.startswith("space.num_nodes")]
        done = run("search", *sizes, *CELLS, OPERATIONS, f"hydra.run.dir={folder}")
        assert (done.status, done.err) == (0, "")
    return folder


@pytest.fixture
def derive(run, searched, tmp_path):
    def call(name, *overrides):
        folder = tmp_path / name
        done = run("derive", f"run={searched}", "samples=100", *overrides, f"hydra.run.dir={folder}")
        return done, folder

    return call


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def summary(folder):
    return json.loads((folder / "summary.json").read_text())


def test_debug_fast_leaves_a_complete_folder(run, tmp_path):
    arguments = ["debug=fast", "dataset=digits", "genotype=DARTS_V2", "latency.validate=3"]
    done = run("latency", *arguments, f"hydra.run.dir={tmp_path / 'a'}")
    assert done.status == 0, done.err
    folder = tmp_path / "a"
    assert all((folder / name).stat().st_size > 0 for name in FILES)
    assert all((folder / "figures" / f"{name}.png").stat().st_size > 0 for name in ("operations", "networks"))
    table, found = read_table(folder), summary(folder)
    assert {"sep_conv_3x3", "stem_cifar", "preprocess", "add", "concat", "classifier"} <= {
        piece.name for piece in table.entries
    }
    assert all(one.median > 0 and one.repeats == 2 for one in table.entries.values())
    assert found["status"] == "finished" and found["pieces"] == len(table.entries) == len(
        rows(folder / "latency.csv")
    )
    assert (table.conditions.threads, table.conditions.batch_size) == (1, 1)
    assert table.about["sizes"] == {"num_cells": 3, "init_channels": 4, "stem": "cifar"}
    networks = rows(folder / "networks.csv")
    assert len(networks) == 4 and networks[-1]["genotype"] == found["genotype"] == str(load("DARTS_V2"))
    for row in networks:
        total, measured = float(row["sum_ms"]), float(row["measured_ms"])
        assert float(row["error"]) == pytest.approx(total / measured - 1, abs=1e-3)
        assert float(row["fitted_ms"]) == pytest.approx(table.line(total), abs=1e-3)
    assert (found["networks"], found["slope"]) == (3, table.line.slope)
    assert "3 random networks: Kendall" in done.out and "where the sum comes from" in done.out


@pytest.mark.parametrize("space", ["nasbench201", "dso_small"])
def test_other_spaces(run, tmp_path, space):
    done = run("latency", *FAST, f"space={space}", "space.num_cells=3", f"hydra.run.dir={tmp_path / 'a'}")
    assert (done.status, done.err) == (0, "")
    table = read_table(tmp_path / "a")
    assert table.line is None and not (tmp_path / "a/networks.csv").exists()
    expected = {"nasbench201": "residual", "dso_small": "max_pool_3x3"}[space]
    assert expected in {piece.name for piece in table.entries}


@pytest.mark.parametrize(
    "overrides, words",
    [
        (["space=darts_rnn"], "space=darts_rnn: there is no table of its operations"),
        (["dataset=wikitext_mini"], "space=darts: its networks read images"),
        (["latency.rounds=1"], "latency.rounds=1: must be a whole number of at least 2"),
        (["latency.warmup=0"], "latency.warmup=0"),
        (["latency.batch_size=0"], "latency.batch_size=0"),
        (["latency.validate=2"], "latency.validate=2: must be 0 or at least 3"),
        (["latency.clock=sun"], "latency.clock=sun"),
        (["hardware.compile=true", "hardware.native=false"], "hardware.compile=true: a compiled network"),
        (["genotype=nothing"], "genotype=nothing"),
    ],
)
def test_settings_that_are_refused(run, tmp_path, overrides, words):
    done = run("latency", *FAST, *overrides, f"hydra.run.dir={tmp_path / 'a'}")
    assert done.status == 2 and words in done.err
    assert not (tmp_path / "a/config.yaml").exists()


def test_a_table_predicts_all_draws_and_the_kept_ones_are_measured(derive, table, run):
    done, folder = derive("all", f"latency.table={table}", "keep=2")
    assert (done.status, done.err) == (0, "")
    found = rows(folder / "architectures.csv")
    assert all(float(row["latency_predicted_ms"]) > 0 for row in found)
    measured = [row for row in found if row["latency_ms"]]
    # Both kept ones, and what derivation gives without a draw.
    assert [row["rank"] for row in measured if row["rank"]][:2] == ["1", "2"] and len(measured) in (2, 3)
    assert summary(folder)["latency_predicted"] == pytest.approx(
        float(found[0]["latency_predicted_ms"]), 1e-3
    )
    assert f"latency of {len(found)} predicted from {table}" in done.out
    # As much as nas.latency says of that network.
    times = {piece.key: one.median for piece, one in read_table(table).entries.items()}
    assert min(map(float, (row["latency_predicted_ms"] for row in found))) > times["stem_cifar@1x8x8>12"]


def test_a_budget_filters_every_draw(derive, table):
    _, everything = derive("every", f"latency.table={table}", "keep=1")
    predicted = sorted(float(row["latency_predicted_ms"]) for row in rows(everything / "architectures.csv"))
    assert len(set(predicted)) > 10
    # Between two of them, because the file holds four digits.
    split = next(i for i in range(len(predicted) // 2, len(predicted)) if predicted[i] < predicted[i + 1])
    limit = (predicted[split] + predicted[split + 1]) / 2
    # Measured times depend on the moment; those of another device are budgeted for, and none is measured.
    there = json.loads((table / "latency.json").read_text())
    there["conditions"]["device"] = "another one"
    other = everything / "other.json"
    other.write_text(json.dumps(there))
    refused, _ = derive("no", f"latency.table={other}")
    assert refused.status == 2
    assert "measured under other conditions: device another one, not " in refused.err
    given = (f"latency.table={other}", "latency.any_device=true", f"budget.latency={limit}", "front=latency")
    done, folder = derive("some", *given, "keep=3")
    assert (done.status, done.err) == (0, "")
    found = rows(folder / "architectures.csv")
    assert not any(row["latency_ms"] for row in found)
    for row in found:
        inside = float(row["latency_predicted_ms"]) < limit
        assert row["within_budget"] == ("predicted" if inside else "no") and bool(row["rank"]) == inside
    assert len([row for row in found if row["rank"]]) == split + 1
    done, folder = derive("none", *given[:2], "budget.latency=1e-6")
    assert done.status == 2 and "shortest predicted latency" in done.err


def test_kept_ones_that_take_longer_than_the_table_said_are_left_out(derive, table, tmp_path):
    # A table that promises next to nothing: every draw is within the budget until it is measured.
    text = json.loads((table / "latency.json").read_text())
    for row in text["pieces"]:
        row["milliseconds"] = 1e-9
    (tmp_path / "lies.json").write_text(json.dumps(text))
    given = (f"latency.table={tmp_path / 'lies.json'}", "budget.latency=1e-3", "latency.candidates=3")
    done, folder = derive("lies", *given)
    assert done.status == 2 and "shortest latency" in done.err
    found = rows(folder / "architectures.csv")
    measured = [row for row in found if row["latency_ms"]]
    assert len(measured) in (3, 4) and {row["within_budget"] for row in measured} == {"no"}
    assert {row["within_budget"] for row in found if not row["latency_ms"]} == {"predicted"}
    assert not (folder / "genotype.json").exists()


def test_a_table_of_other_sizes_is_refused_with_the_command(derive, table):
    done, _ = derive("wide", f"latency.table={table}", "recipe.init_channels=6")
    assert done.status == 2 and "the table lacks stem_cifar@1x8x8>18" in done.err
    assert "python -m nas.latency space=darts dataset=digits recipe=digits " in done.err
    assert "++recipe.num_cells=3 ++recipe.init_channels=6" in done.err


SPARSE = (
    "space=dso_small", "method=dsonas", "dataset=digits", "space.init_channels=4", "method.adaptive=latency",
    "dataset.batch_size=16", "method.warmup_epochs=0", "trainer.max_epochs=1",
    "trainer.limit_train_batches=2", "trainer.limit_val_batches=1",
)  # fmt: skip


def test_a_sparse_search_reads_its_times_from_a_table(run, tmp_path):
    lacking = run("search", *SPARSE, "method.latency_table=nowhere", f"hydra.run.dir={tmp_path / 'no'}")
    assert lacking.status == 2 and "method.latency_table=nowhere" in lacking.err
    sizes = ("++recipe.blocks_per_stage=[1,1,1]", "++recipe.init_channels=4", "++recipe.stem=cifar")
    of_evaluation, of_supernet = tmp_path / "evaluation", tmp_path / "supernet"
    for folder, given in ((of_evaluation, ("space.init_channels=8",)), (of_supernet, sizes)):
        done = run("latency", *FAST, "space=dso_small", *given, f"hydra.run.dir={folder}")
        assert (done.status, done.err) == (0, "")
    table = f"method.latency_table={of_evaluation}"
    done = run("search", *SPARSE, table, f"hydra.run.dir={tmp_path / 'other'}")
    assert done.status == 2 and "lacks avg_pool_3x3@4x8x8; it has avg_pool_3x3 at 8x8x8" in done.err
    assert "Measure it with: python -m nas.latency space=dso_small dataset=digits" in done.err
    for word in ("++recipe.blocks_per_stage=[1, 1, 1]", "++recipe.init_channels=4", "++recipe.stem=cifar"):
        assert word in done.err
    searched = tmp_path / "searched"
    table = f"method.latency_table={of_supernet}"
    done = run("search", *SPARSE, table, f"hydra.run.dir={searched}")
    assert (done.status, done.err) == (0, "")
    kept = json.loads((searched / "operation_times.json").read_text())["milliseconds"]
    times = {piece.key: one.median for piece, one in read_table(of_supernet).entries.items()}
    assert kept == {key: times[key] for key in kept} and "conv_3x3@4x8x8>8/2" in kept
    # The copy kept with the run is what counts from now on.
    (of_supernet / "latency.json").unlink()
    again = run("search", f"resume={searched}", "trainer.max_epochs=2")
    assert (again.status, again.err) == (0, "")
    done = run("search", *SPARSE, "method.adaptive=flops", table, f"hydra.run.dir={tmp_path / 'flops'}")
    assert done.status == 2 and "method.adaptive=latency alone" in done.err
