"""`nas.rank`: numbers of untrained networks, and how far they rank a table does; times are never asserted."""

import csv
import json

import pytest
from scipy.stats import kendalltau, spearmanr

from nas.analysis.sampling import every_architecture
from nas.genotype import load_all
from nas.measure.zero_cost import MEASURES, Measure
from nas.spaces.nasbench201 import NasBench201Space

TINY = ("space.cells_per_stage=1", "space.init_channels=2")
SMALL = ("dataset=digits", "dataset.batch_size=4")
OPERATIONS = ["none", "skip_connect", "nor_conv_1x1"]
FOUR = [
    "|nor_conv_3x3~0|+|skip_connect~0|none~1|+|skip_connect~0|none~1|nor_conv_3x3~2|",
    "|nor_conv_1x1~0|+|skip_connect~0|none~1|+|skip_connect~0|none~1|nor_conv_3x3~2|",
    "|nor_conv_1x1~0|+|skip_connect~0|none~1|+|skip_connect~0|none~1|avg_pool_3x3~2|",
    "|skip_connect~0|+|skip_connect~0|none~1|+|skip_connect~0|none~1|avg_pool_3x3~2|",
]
REACHED = [94.0, 93.5, 90.0, None]


@pytest.fixture
def table(tmp_path):
    """Three trained architectures, a line that leaves the fourth blank, and one that nobody asks for."""
    lines = [
        f"{one},{'' if reached is None else reached},80" for one, reached in zip(FOUR, REACHED, strict=True)
    ]
    path = tmp_path / "table.csv"
    path.write_text("\n".join(["arch,cifar10_test,other_test", *lines]) + "\n")
    return path


@pytest.fixture
def listed(tmp_path):
    """A file that holds the four among other text, one of them twice."""
    path = tmp_path / "cells.txt"
    path.write_text("what was found\n" + "\n".join(f"cell {one}" for one in (*FOUR, FOUR[0])) + "\n")
    return path


@pytest.fixture
def rank(run, tmp_path):
    """`rank("out", ...) -> (Done, folder)`."""

    def call(name, *overrides, sizes=TINY):
        folder = tmp_path / name
        return run("rank", *SMALL, *sizes, *overrides, f"hydra.run.dir={folder}"), folder

    return call


def rows(folder):
    with (folder / "ranks.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def summary(folder):
    return json.loads((folder / "summary.json").read_text())


def test_a_list_is_measured_and_held_against_the_table(rank, table, listed, run):
    given = (f"genotypes={listed}", f"tabular.file={table}", "tabular.metric=cifar10_test")
    done, folder = rank("all", *given)
    assert (done.status, done.err) == (0, "")
    found, numbers = rows(folder), summary(folder)
    assert [row["genotype"] for row in found] == FOUR
    assert list(found[0]) == ["genotype", *MEASURES, "table_accuracy"]
    assert [row["table_accuracy"] for row in found] == ["0.94", "0.935", "0.9", ""]
    for name in MEASURES:
        assert (folder / "figures" / f"{name}.png").stat().st_size > 0
        values = [float(row[name]) for row in found[:3]]
        assert numbers[f"n_{name}"] == 3
        assert numbers[f"spearman_{name}"] == pytest.approx(spearmanr(values, REACHED[:3]).statistic)
        assert numbers[f"kendall_{name}"] == pytest.approx(kendalltau(values, REACHED[:3]).statistic)
        assert numbers[f"seconds_{name}"] >= 0
        assert name in done.out
    expected = ("finished", 4, "cifar10_test", 4, 2, 0, 0)
    named = ("status", "architectures", "metric", "batch_size", "batches", "seed", "init_seed")
    assert tuple(numbers[one] for one in named) == expected
    assert numbers["network"] == list(TINY)
    assert numbers["split_hash"] == json.loads((folder / "split.json").read_text())["hash"]
    price = run("cost", f"genotype='{FOUR[0]}'", "space=nasbench201", "dataset=digits", *TINY, "format=json")
    assert json.loads(price.out)["params"] == int(found[0]["params"])
    assert json.loads(price.out)["macs"] == int(found[0]["macs"])

    # The numbers of an architecture depend on the seeds alone, and not on what is measured beside it.
    done, alone = rank("one", "measures=[zico,snip]", f"genotypes=['{FOUR[2]}']")
    assert done.status == 0, done.err
    assert "no table to correlate with" in done.out
    assert rows(alone) == [{name: found[2][name] for name in ("genotype", "zico", "snip", "params", "macs")}]
    again = [rows(rank(name, "measures=[snip]", "sample=1", *seeds)[1])[0] for name, seeds in
             (("a", ()), ("b", ()), ("c", ("init_seed=1",)), ("d", ("seed=1",)))]  # fmt: skip
    assert again[0] == again[1] != again[2]
    assert again[2]["genotype"] == again[0]["genotype"] != again[3]["genotype"]


@pytest.mark.parametrize(
    ("space", "sizes"),
    [
        ("darts", ("recipe.num_cells=1", "recipe.init_channels=2")),
        ("dso_small", ("space.blocks_per_stage=[1,1,1]", "space.init_channels=2")),
    ],
)
def test_other_spaces_of_images(rank, space, sizes):
    done, folder = rank("a", f"space={space}", "sample=1", sizes=sizes)
    assert (done.status, done.err) == (0, "")
    (row,) = rows(folder)
    assert list(row) == ["genotype", *MEASURES]


class Depth(Measure):
    """Somebody else's measure, which reads no images."""

    batches = 0

    def score(self, network, probe):
        return len(list(network.parameters()))


def test_a_measure_of_others_needs_no_data_where_it_reads_none(rank, listed, monkeypatch):
    own = f"{__name__}.Depth"
    lost = ("dataset=cifar10", "dataset.root=nowhere", "dataset.download=false")
    done, folder = rank("a", *lost, f"measures=[{own},synflow]", f"genotypes={listed}")
    assert (done.status, done.err) == (0, "")
    assert all(int(row[own]) > 0 for row in rows(folder))
    assert not (folder / "split.json").exists() and "batch_size" not in summary(folder)


def test_texts_have_sizes_alone(run, tmp_path):
    words = ("space=darts_rnn", "dataset=wikitext_mini", "recipe.hidden_size=4", "recipe.embedding_size=4")
    given = (*words, "sample=2", f"hydra.run.dir={tmp_path / 'a'}")
    done = run("rank", *given, "measures=[params,macs]")
    assert (done.status, done.err) == (0, "")
    assert all(int(row["params"]) > 0 for row in rows(tmp_path / "a"))
    done = run("rank", *given[:-1], f"hydra.run.dir={tmp_path / 'b'}")
    assert done.status == 2 and not (tmp_path / "b").exists()
    assert "measures=synflow: it measures networks that read images" in done.err
    assert "of which there are params, macs" in done.err


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["measures=[snp]"], "measures=snp: unknown; known are synflow, naswot"),
        (["measures=snip"], "measures=snip: must be a list"),
        (["sample=0"], "sample=0: must be a whole number from 1"),
        (["sample=some"], "sample=some: must be a whole number of at least 1"),
        (["sample=3", "genotypes=[x]"], "sample=3: without effect beside genotypes="),
        (["genotypes=[]"], "genotypes=[]: it names no architecture"),
        (["genotypes=nowhere"], "genotype=nowhere: no such run folder"),
        (["batches=1"], "batches=1: zico needs at least 2"),
        (["batches=3", "measures=[snip]"], "batches=3: without effect"),
        (["batches=400"], "batches=400: batches of dataset.batch_size=4 need 1,600 images"),
        (["dataset.batch_size=1"], "dataset.batch_size=1: a measure compares images"),
        (["hardware.precision=bf16-mixed"], "hardware.precision=bf16-mixed: zero-cost measures compute"),
        (["hardware.compile=true", "hardware.native=false"], "hardware.compile=true: measures look into"),
        (["dataset=wikitext_mini"], "space=nasbench201: its networks read images"),
        (["resume=here"], "resume=here: a ranking cannot be continued"),
    ],
    ids=lambda one: " ".join(one) if isinstance(one, list) else "",
)
def test_settings_that_are_refused(rank, overrides, words):
    done, folder = rank("a", *overrides)
    assert done.status == 2 and words in done.err and "Traceback" not in done.err
    assert not folder.exists()


def test_a_table_that_says_nothing_of_the_data_is_refused(rank, table):
    done, folder = rank("a", f"tabular.file={table}")
    assert done.status == 2 and "tabular.metric=auto: no column" in done.err and "cifar10_test" in done.err
    assert not folder.exists()


def test_what_was_measured_before_a_stop_is_kept(rank, listed, monkeypatch):
    calls = []

    def stopped(self, network, probe):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return 0.0

    monkeypatch.setattr(Depth, "score", stopped)
    done, folder = rank("a", f"measures=[{__name__}.Depth]", f"genotypes={listed}")
    assert done.status == 130 and "start it anew" in done.out + done.err
    assert [row["genotype"] for row in rows(folder)] == FOUR[:2]
    assert summary(folder)["status"] == "stopped"


def test_files_of_architectures(tmp_path):
    space = NasBench201Space("nasbench201", OPERATIONS, cells_per_stage=1, init_channels=2)
    found = every_architecture(space, "sample=all")[:3]
    path = tmp_path / "found.csv"
    path.write_text("rank,genotype\n" + "".join(f"{n},{one}\n" for n, one in enumerate(found)))
    assert load_all(path, "nasbench201") == found
    path.write_text(found[0].to_json())
    assert load_all(path, "nasbench201") == found[:1]
