"""DrNAS as a user types it: rows of the paper on the digits, tables, stages, other spaces and updates."""

import csv
import itertools
import json

import pytest
from omegaconf import OmegaConf

from experiments.drnas import reduced
from experiments.drnas.record import accuracies_of, collect
from nas.analysis.benchmark_table import read_csv
from tests.analysis.test_tabular import OPERATIONS, arch

SMALL = ("dataset=digits", "debug=fast")
ROWS = [
    f"nb201_{data}{suffix}"
    for data in ("cifar10", "cifar100", "imagenet16")
    for suffix in ("", "_darts1", "_darts2", "_random")
]


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A table of the whole space: each convolution 3x3 is worth 10 %, each skip connection 5 %."""
    path = tmp_path_factory.mktemp("table") / "made_up.csv"
    lines = ["arch,cifar10_test,cifar100_test,in16_test"]
    for chosen in itertools.product(OPERATIONS, repeat=6):
        value = 10 + 10 * chosen.count("nor_conv_3x3") + 5 * chosen.count("skip_connect")
        lines.append(f"{arch(*chosen)},{value},{value / 2},{value / 4}")
    path.write_text("\n".join(lines) + "\n")
    return path


def summary(folder):
    return json.loads((folder / "summary.json").read_text())


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def search(run, folder, *overrides):
    done = run("search", *overrides, f"hydra.run.dir={folder}")
    assert (done.status, done.err) == (0, "")
    return summary(folder)


def test_a_row_of_table_4_without_a_table(run, tmp_path):
    found = search(run, tmp_path, "experiment=drnas/nb201_cifar10", *SMALL)
    assert (found["method"], found["space"], found["recipe"]) == ("drnas_nb201", "nasbench201", "nasbench201")
    assert found["genotype"].startswith("|") and "table" not in found
    assert not (tmp_path / "exploration.csv").exists()


def test_a_row_of_table_4_with_a_table_and_the_paper_s_analyses(run, table, tmp_path):
    given = (f"tabular.file={table}", "tabular.metric=cifar10_test", "analysis.exploration.samples=20")
    found = search(
        run, tmp_path, "experiment=drnas/nb201_cifar10", *SMALL, *given, "analysis.hessian.every=1"
    )
    assert found["table"]["of"] == 15_625 and found["table"]["best"] == 70
    (row,) = rows(tmp_path / "metrics.csv")
    assert float(row["table_accuracy"]) == pytest.approx(found["table"]["cifar10_test"] / 100)
    assert float(row["hessian_eigenvalue"]) == pytest.approx(found["hessian_eigenvalue"])
    assert float(row["hessian_eigenvalue_eta"]) == pytest.approx(found["hessian_eigenvalue_eta"])
    assert found["hessian_basis"] == "mu"
    assert rows(tmp_path / "exploration.csv")[0]["samples"] == "20"


@pytest.mark.parametrize("name", ROWS)
def test_every_row_is_the_same_protocol_with_another_method(name, run):
    done = run("search", f"experiment=drnas/{name}", "--cfg", "job", "-p", "method")
    assert done.status == 0
    method = {"darts1": "darts1", "darts2": "darts2", "random": "random"}.get(name.rpartition("_")[2])
    assert f"name: {method or 'drnas_nb201'}\n" in done.out
    trainer = run("search", f"experiment=drnas/{name}", "--cfg", "job", "-p", "trainer").out
    assert "max_epochs: 100\n" in trainer


def test_progressive_stages_prune_and_widen(run, tmp_path):
    stages = "method.stages=[{epochs: 1, partial: 4, freeze: 1}, {epochs: 2, partial: 2, keep: 3, freeze: 1}]"
    progressive = ("experiment=drnas/nb201_cifar10_progressive", *SMALL, "trainer.max_epochs=3", stages)
    found = search(run, tmp_path, *progressive)
    assert (found["epochs"], found["method"]) == (3, "drnas_nb201_progressive")
    weights = {}
    for row in rows(tmp_path / "architecture.csv"):
        edge = weights.setdefault(int(row["epoch"]), {}).setdefault((row["source"], row["target"]), [])
        edge.append(float(row["weight"]))
    kept = {epoch: {sum(w > 0 for w in edge) for edge in edges.values()} for epoch, edges in weights.items()}
    assert kept == {0: {5}, 1: {3}, 2: {3}}
    # Epochs from the experiment's stages do not fit a shorter search, and say so.
    longer = ("experiment=drnas/nb201_cifar10_progressive", "dataset=digits", "trainer.max_epochs=3")
    done = run("search", *longer, f"hydra.run.dir={tmp_path / 'refused'}")
    assert done.status == 2 and "sum to 100" in done.err


@pytest.mark.parametrize(
    ("method", "channels", "kept"),
    [
        # As many channels as K = 6 and 4 divide; K = 4 and 2 divide the four of debug=fast.
        ("drnas_progressive", 12, (8, 4)),
        pytest.param("drnas_nb201_progressive space=nasbench201", 4, (5, 3), marks=pytest.mark.pictures),
    ],
)
def test_debug_fast_goes_through_every_stage(method, channels, kept, run, tmp_path):
    method, *space = method.split()
    found = search(run, tmp_path, "debug=fast", f"method={method}", *space)
    assert (found["status"], found["epochs"], found["steps"]) == ("finished", 2, 4)
    config = OmegaConf.load(tmp_path / "config.yaml")
    assert (config.trainer.max_epochs, config.space.init_channels) == (2, channels)
    assert [(stage.epochs, stage.freeze) for stage in config.method.stages] == [(1, 0), (1, 0)]
    left = {}
    for row in rows(tmp_path / "architecture.csv"):
        edges = left.setdefault(int(row["epoch"]), {})
        edge = (row["group"], row["source"], row["target"])
        edges[edge] = edges.get(edge, 0) + (float(row["weight"]) > 0)
    assert [set(left[epoch].values()) for epoch in (0, 1)] == [{kept[0]}, {kept[1]}]
    assert {path.name for path in (tmp_path / "figures").glob("*.png")} >= {"curves.png", "genotype.png"}


def test_s1_records_the_curvature_in_both_bases(run, tmp_path):
    two = ("trainer.max_epochs=2", "recipe=digits", "analysis.hessian.mode=lanczos")
    found = search(run, tmp_path, "experiment=drnas/s1", *SMALL, *two)
    assert found["space"] == "s1" and found["genotype"].startswith("Genotype(")
    assert [row["hessian_eigenvalue"] != "" for row in rows(tmp_path / "metrics.csv")] == [False, True]
    assert isinstance(found["hessian_eigenvalue_eta"], float)


def test_drnas_with_an_unrolled_update(run, tmp_path):
    unrolled = ("space=nasbench201", "method=drnas", "method.update=unrolled", "method.warmup_epochs=0")
    found = search(run, tmp_path, *unrolled, *SMALL, "recipe=nasbench201")
    assert found["status"] == "finished" and found["steps"] == 2


@pytest.mark.parametrize(
    ("sweep", "jobs"), [("sweep=lambda", 28), ("sweep=partial", 16), ("sweep=seeds", 4), ("seed=0,1", 2)]
)
def test_the_ablations_compose(sweep, jobs, run, monkeypatch):
    """Every job is composed and checked before the first begins; here the first is where it ends."""
    from nas.running import multirun

    found = []
    jobs_of = multirun.planned
    monkeypatch.setattr(multirun, "check_jobs", lambda config: found.extend(jobs_of(config)) or 1 / 0)
    assert run("search", "-m", "experiment=drnas/nb201_cifar10", sweep).status == 1
    assert len(found) == jobs


def test_the_reduced_pipeline_searches_once_and_looks_up_afterwards(table, tmp_path, capsys):
    methods = ["drnas_nb201", "random"]
    tiny = [
        "dataset=digits", "tabular.metric=cifar10_test", "trainer.max_epochs=2", "dataset.batch_size=8",
        "trainer.limit_train_batches=1", "trainer.limit_val_batches=1", "space.init_channels=2",
        "analysis.hessian.every=0", "method.warmup_epochs=0",
    ]  # fmt: skip
    words = ["--table", str(table), "--folder", str(tmp_path), "--seeds", "0", "--jobs", "2"]
    words += ["--", *tiny]
    # A search that cannot begin costs no other, and is told at the end.
    with pytest.raises(SystemExit, match="nonsense/seed0"):
        reduced.main(["--methods", "nonsense", *methods, *words])
    assert "2 of 3 searches finished" in capsys.readouterr().out
    folder = tmp_path / "drnas_nb201/seed0"
    assert "table" not in summary(folder)
    written = {row["method"]: row for row in rows(tmp_path / "results/reduced.csv")}
    assert set(written) == {"drnas_nb201", "random"}
    chosen = written["drnas_nb201"]
    assert chosen["architecture"] == summary(folder)["genotype"]
    known = read_csv(table)
    assert float(chosen["cifar10_test"]) == known.lookup(chosen["architecture"])["cifar10_test"]
    assert int(chosen["rank"]) == known.rank(chosen["architecture"], "cifar10_test")
    assert int(chosen["num_skip"]) == summary(folder)["num_skip"]
    assert len(collect("drnas_nb201", 0, folder, known).accuracies) == 2
    assert {path.name for path in (tmp_path / "results").glob("*.png")} == {"accuracy.png", "skips.png"}
    before = (folder / "summary.json").read_bytes()
    reduced.main(["--methods", *methods, *words])
    assert (folder / "summary.json").read_bytes() == before
    again = capsys.readouterr().out
    assert "2 of 2 searches finished" in again and "python -m nas.search" not in again


def test_the_baseline_is_the_mean_over_the_whole_table(table):
    values = accuracies_of(read_csv(table), "cifar10_test")
    assert len(values) == 15_625
    # Six edges with five equally likely operations each.
    assert values.mean() == pytest.approx(10 + 6 * (10 + 5) / 5)
