"""A search in a tabular space says each epoch what its architecture would reach, and is not changed by it."""

import csv
import itertools
import json

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from nas.analysis.benchmark_table import SIZE
from nas.engine.checkpoints import list_checkpoints
from tests.analysis.test_plots import picture
from tests.analysis.test_tabular import OPERATIONS, arch
from tests.commands.test_resume import kill_at
from tests.shared import shared

TINY = (
    "space=nasbench201", "space.cells_per_stage=1", "space.init_channels=2",
    "recipe=nasbench201", "recipe.cells_per_stage=1", "recipe.init_channels=2",
    "dataset.batch_size=16", "trainer.max_epochs=3", "trainer.limit_train_batches=2",
    "trainer.limit_val_batches=1", "method.architecture_optimizer.lr=0.3",
)  # fmt: skip
DIRICHLET = ("method=drnas_nb201", *TINY)
# CIFAR-10 is not there for a test, so the digits are judged by its column.
WATCHED = ("tabular.metric=cifar10_test", "analysis.exploration.samples=30")


def accuracy(operations):
    """A made-up accuracy in percent, different for most architectures."""
    return 10 + sum(OPERATIONS.index(name) * (3 + edge) for edge, name in enumerate(operations)) * 84 / 132


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A whole table as `tabular.file=...`, and its rows: {architecture: accuracy}."""
    figures = {
        arch(*operations): round(accuracy(operations), 4)
        for operations in itertools.product(OPERATIONS, repeat=6)
    }
    path = tmp_path_factory.mktemp("table") / "made_up.csv"
    lines = [f"{a},{value},{value / 2}\n" for a, value in figures.items()]
    path.write_text("arch,cifar10_test,in16_test\n" + "".join(lines))
    return f"tabular.file={path}", figures


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def summary(folder):
    return json.loads((folder / "summary.json").read_text())


def search(run, folder, *overrides):
    done = run("search", *overrides, f"hydra.run.dir={folder}")
    assert (done.status, done.err) == (0, "")
    return done


def derived(folder):
    """The architecture of every epoch, from the op weights that were written."""
    found = {}
    for row in rows(folder / "architecture.csv"):
        edge = found.setdefault(int(row["epoch"]), {}).setdefault((row["target"], row["source"]), {})
        edge[row["operation"]] = float(row["weight"])
    return [arch(*(max(edge, key=edge.get) for edge in epoch.values())) for epoch in found.values()]


@pytest.mark.pictures
def test_every_epoch_is_looked_up_and_the_end_is_ranked(run, table, tmp_path):
    override, figures = table
    done = search(run, tmp_path, *DIRICHLET, *WATCHED, override)
    metrics, explored, archs = (
        rows(tmp_path / "metrics.csv"),
        rows(tmp_path / "exploration.csv"),
        derived(tmp_path),
    )
    assert len(metrics) == len(explored) == len(archs) == 3
    best = max(figures.values())
    for epoch, (metric, sample, one) in enumerate(zip(metrics, explored, archs, strict=True)):
        assert float(metric["table_accuracy"]) == pytest.approx(figures[one] / 100)
        assert int(metric["table_rank"]) == 1 + sum(value > figures[one] for value in figures.values())
        assert (int(sample["epoch"]), sample["samples"]) == (epoch, "30")
        assert sample["derived"] == metric["table_accuracy"]
        assert float(sample["best"]) == pytest.approx(best / 100)
        assert float(sample["min"]) < float(sample["mean"]) < float(sample["max"])
        assert 20 < int(sample["distinct"]) <= 30
    found = summary(tmp_path)
    assert found["genotype"] == archs[-1]
    assert found["table"] == {
        "cifar10_test": figures[archs[-1]],
        "in16_test": figures[archs[-1]] / 2,
        "metric": "cifar10_test",
        "rank": int(metrics[-1]["table_rank"]),
        "of": SIZE,
        "gap": pytest.approx(best - figures[archs[-1]], abs=1e-6),
        "best": best,
    }
    assert not [key for key in found if key.startswith("table_")]
    assert f"table:      cifar10_test {figures[archs[-1]]:.2f}, rank " in done.out
    assert "table acc " in done.out
    picture(tmp_path / "figures/exploration.png")


def test_looking_up_and_sampling_do_not_change_the_search(run, table, tmp_path):
    blind, watched = tmp_path / "blind", tmp_path / "watched"
    search(run, blind, *DIRICHLET)
    search(run, watched, *DIRICHLET, *WATCHED, table[0], "analysis.hessian.every=3")
    assert (blind / "architecture.csv").read_bytes() == (watched / "architecture.csv").read_bytes()
    for left, right in zip(rows(blind / "metrics.csv"), rows(watched / "metrics.csv"), strict=True):
        assert left == {key: right[key] for key in left} | {"hessian_eigenvalue": ""}
    states = [
        torch.load(list_checkpoints(folder / "checkpoints")[0], weights_only=True)["state_dict"]
        for folder in (blind, watched)
    ]
    for key, value in states[0].items():
        assert not isinstance(value, torch.Tensor) or torch.equal(value, states[1][key]), key
    assert "table" not in summary(blind)
    assert not (blind / "exploration.csv").exists() and not (blind / "figures/exploration.png").exists()


def test_a_resumed_search_has_the_same_rows(run, table, tmp_path):
    overrides = (*DIRICHLET, *WATCHED, table[0], "trainer.enable_progress_bar=false")
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    search(run, whole, *overrides)
    # The tables of the second epoch are written, its checkpoint is not.
    moment = ("nas.engine.checkpoints", "", "refuse_broken", 2, "")
    kill_at(tmp_path, moment, "search", *overrides, f"hydra.run.dir={killed}")
    assert len(rows(killed / "exploration.csv")) == 2
    assert summary(killed)["table"]["of"] == SIZE, "a killed run has told what it stood at"
    done = run("search", f"resume={killed}")
    assert (done.status, done.err) == (0, "")
    for name in ("metrics.csv", "exploration.csv", "architecture.csv", "genotype.json"):
        assert (whole / name).read_bytes() == (killed / name).read_bytes(), name
    assert summary(whole)["table"] == summary(killed)["table"]


def test_a_drawn_architecture_is_looked_up_in_every_test_column(run, table, tmp_path):
    override, figures = table
    drawn = [override for override in TINY if not override.startswith("method.")]
    done = search(run, tmp_path, *drawn, "method=random", override)
    found = summary(tmp_path)
    value = figures[found["genotype"]]
    [row] = rows(tmp_path / "metrics.csv")
    assert float(row["table_cifar10_test_accuracy"]) == pytest.approx(value / 100)
    assert (found["table"]["in16_test"], found["table"]["metric"]) == (value / 2, None)
    assert f"table:      cifar10_test {value:.2f}, in16_test {value / 2:.2f}\n" in done.out


def test_curvature_is_recorded_in_every_basis_of_the_method(run, tmp_path):
    for method, basis, columns in (
        ("drnas_nb201", "mu", ["hessian_eigenvalue", "hessian_eigenvalue_eta"]),
        ("darts1", "alpha", ["hessian_eigenvalue"]),
    ):
        folder = tmp_path / method
        search(run, folder, *TINY, f"method={method}", "analysis.hessian.every=1", "trainer.max_epochs=1")
        [row] = rows(folder / "metrics.csv")
        assert [name for name in row if name.startswith("hessian")] == columns
        found = summary(folder)
        assert [found[name] for name in columns] == [pytest.approx(float(row[name])) for name in columns]
        assert (found["hessian_basis"], found["hessian_mode"]) == (basis, "exact")


def test_loggers_get_the_same_numbers(run, table, tmp_path):
    search(run, tmp_path, *DIRICHLET, *WATCHED, table[0], "logger=tensorboard")
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    logged = [event.value for event in events.Scalars("exploration_mean")]
    assert logged == pytest.approx([float(row["mean"]) for row in rows(tmp_path / "exploration.csv")])
    logged = [event.value for event in events.Scalars("table_rank")]
    assert logged == [float(row["table_rank"]) for row in rows(tmp_path / "metrics.csv")]
    assert events.Scalars("summary/table/of")[0].value == SIZE


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["tabular.file={table}"], "use space=nasbench201"),
        (["tabular=csv"], "use space=nasbench201"),
        ([*TINY, "tabular=csv"], "tabular.file must say where the table is"),
        ([*TINY, "tabular.file={table}.gz"], "no such file"),
        ([*TINY, "tabular.file={table}", "tabular.metric=cifar9_test"], "tabular.metric"),
        ([*TINY, "analysis.exploration.samples=100"], "set tabular.file"),
        ([*TINY, "tabular.file={table}", "analysis.exploration.samples=100"], "set tabular.metric"),
        (
            [*TINY, "tabular.file={table}", "analysis.exploration.samples=-1"],
            "analysis.exploration.samples=-1: must be",
        ),
        (["tabular=sql"], "natsbench"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused_before_anything_is_trained(
    run, table, tmp_path, overrides, words
):
    path = table[0].removeprefix("tabular.file=")
    filled = [override.replace("{table}", path) for override in overrides]
    done = run("search", *filled, f"hydra.run.dir={tmp_path / 'a'}")
    assert done.status == 2 and words in done.err
    assert not (tmp_path / "a/config.yaml").exists()


def test_the_published_table_serves_a_search_on_cifar10s_column(run, tmp_path):
    file = shared("data/nasbench201/nb201.csv.gz")
    search(run, tmp_path, *TINY, f"tabular.file={file}", "tabular=csv", *WATCHED, "trainer.max_epochs=1")
    found = summary(tmp_path)["table"]
    assert (found["of"], found["best"]) == (SIZE, 94.3733)
    assert found["gap"] == pytest.approx(found["best"] - found["cifar10_test"], abs=1e-6)
