"""A table of trained architectures answers look-ups, and refuses what it cannot read in words."""

import gzip
import itertools
import sys
import types

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.analysis.benchmark_table import SIZE, BenchmarkTable, read_csv
from nas.analysis.natsbench import FIGURES
from nas.analysis.tabular import open_tabular
from nas.errors import ConfigError
from nas.genotype import parse
from tests.shared import shared

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
DRNAS = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_3x3~2|"


def arch(*operations):
    """The architecture string of six operations, edge by edge; one operation stands for six."""
    a, b, c, d, e, f = operations if len(operations) == 6 else operations * 6
    return f"|{a}~0|+|{b}~0|{c}~1|+|{d}~0|{e}~1|{f}~2|"


SKIPS, CONVS, POOLS, EMPTY = (arch(o) for o in ("skip_connect", "nor_conv_3x3", "avg_pool_3x3", "none"))
TEXT = f"""arch,params,cifar10_test,cifar100_test,cifar10_val
{SKIPS},0.1,54.3,39,
{CONVS},1.2,94,73.5,91.5
{POOLS},,54.3,30,

{EMPTY},0.1,10,1,
"""


def table_file(tmp_path, text=TEXT, name="table.csv"):
    path = tmp_path / name
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def settings(file, **changes):
    return {"name": "csv", "file": None if file is None else str(file), "metric": "auto"} | changes


@pytest.mark.parametrize("name", ["table.csv", "table.csv.gz"])
def test_a_csv_file_answers_look_ups(tmp_path, name, caplog):
    table = read_csv(table_file(tmp_path, name=name))
    assert "holds 4 of 15,625 architectures" in caplog.text
    assert len(table) == 4 and CONVS in table and DRNAS not in table
    assert table.accuracies == ("cifar100_test", "cifar10_test", "cifar10_val")
    assert table.lookup(CONVS) == {
        "params": 1.2, "cifar10_test": 94, "cifar100_test": 73.5, "cifar10_val": 91.5,
    }  # fmt: skip
    assert table.lookup(POOLS) == {"cifar10_test": 54.3, "cifar100_test": 30}
    assert table.best("cifar10_test") == 94
    assert table.gap(SKIPS, "cifar10_test") == pytest.approx(39.7)


def test_a_table_of_a_spreadsheet_is_read(tmp_path):
    """It begins with a byte-order mark, ends lines its own way, and has blanks behind commas."""
    lines = f"\ufeffarch, cifar10_test\r\n{arch(*['none'] * 6)}, 93.5\r\n"
    (tmp_path / "table.csv").write_bytes(lines.encode())
    assert read_csv(tmp_path / "table.csv").best("cifar10_test") == 93.5


def test_equals_share_the_better_rank_and_blanks_have_none(tmp_path):
    table = read_csv(table_file(tmp_path))
    ranks = [table.rank(a, "cifar10_test") for a in (CONVS, SKIPS, POOLS, EMPTY)]
    assert ranks == [1, 2, 2, 4]
    assert (table.count("cifar10_val"), table.rank(CONVS, "cifar10_val")) == (1, 1)
    assert table.rank(SKIPS, "cifar10_val") is None and table.gap(SKIPS, "cifar10_val") is None


@given(st.lists(st.floats(2, 100), min_size=1, max_size=30), st.data())
def test_rank_is_one_more_than_the_number_of_better_ones(values, data):
    archs = [arch(*ops) for ops in itertools.islice(itertools.product(OPERATIONS, repeat=6), len(values))]
    table = BenchmarkTable(
        {a: {"x_test": value} for a, value in zip(archs, values, strict=True)}, "tabular.file=x"
    )
    index = data.draw(st.integers(0, len(values) - 1))
    assert table.rank(archs[index], "x_test") == 1 + sum(value > values[index] for value in values)
    assert table.gap(archs[index], "x_test") == max(values) - values[index]


@given(st.lists(st.sampled_from(OPERATIONS), min_size=6, max_size=6))
def test_the_table_knows_a_genotype_by_its_text(operations):
    text = arch(*operations)
    table = BenchmarkTable({text: {"cifar10_test": 90.0}}, "tabular.file=x")
    assert str(parse(text)) in table


def test_what_is_not_in_the_table_is_refused(tmp_path):
    table = read_csv(table_file(tmp_path))
    with pytest.raises(ConfigError, match=r"tabular\.file=.*holds no architecture"):
        table.lookup(DRNAS)
    with pytest.raises(ConfigError, match=r"'in16_test'; it has cifar100_test, .*tabular\.metric"):
        table.rank(SKIPS, "in16_test")


BAD_TABLES = {
    "no header": (f"{SKIPS},1\n", "first line must name the columns"),
    "empty": ("", "first line must name the columns"),
    "a column twice": ("arch,x_test,x_test\n", "each once"),
    "no rows": ("arch,cifar10_test\n", "holds no architecture"),
    "a fraction": (f"arch,x_test\n{SKIPS},0.54\n{CONVS},0.94\n", "must be in percent"),
    "more than all": (f"arch,x_test\n{SKIPS},101\n", "must be in percent"),
    "negative": (f"arch,x_test\n{SKIPS},-1\n{CONVS},94\n", "must be in percent"),
    "a word": (f"arch,x_test\n{SKIPS},high\n", r"line 2: column 'x_test' holds 'high'"),
    "not finite": (f"arch,x_test\n{SKIPS},nan\n", "not a number"),
    "too few fields": (f"arch,a,x_test\n{SKIPS},1\n", "line 2 has 2 fields for 3 columns"),
    "twice": (f"arch,x_test\n{SKIPS},50\n{SKIPS},50\n", "line 3 repeats"),
    "another space": ("arch,x_test\n|sep_conv_3x3~0|,50\n", "not a NAS-Bench-201 architecture"),
    "no accuracy": (f"arch,params\n{SKIPS},50\n", "no column of accuracies"),
    "an open quote": (f'arch,x_test\n"{SKIPS},50\n', "has 1 fields"),
}


@pytest.mark.parametrize("case", BAD_TABLES)
def test_a_file_that_is_no_table_is_refused_in_words(case, tmp_path):
    text, words = BAD_TABLES[case]
    path = table_file(tmp_path, text)
    with pytest.raises(ConfigError, match=words) as found:
        read_csv(path)
    assert str(found.value).startswith(f"tabular.file={path}")


def test_a_file_that_cannot_be_read_is_refused(tmp_path):
    for name, content in (
        ("a.csv.gz", b"arch,x_test\n"),
        ("b.csv", b"\xff\xfe\x00"),
        ("c.csv.gz", b"\x1f\x8b"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ConfigError, match="not a readable CSV file"):
            read_csv(tmp_path / name)
    for path, words in ((tmp_path, "a folder"), (tmp_path / "nothing.csv", "no such file")):
        with pytest.raises(ConfigError, match=rf"tabular\.file=.*{words}"):
            read_csv(path)


def test_the_metric_follows_the_data_set(tmp_path):
    file = table_file(tmp_path)
    cifar = open_tabular(settings(file), "nasbench201", "cifar100")
    assert cifar.metric == "cifar100_test"
    assert cifar.row(parse(POOLS)) == {"table_accuracy": pytest.approx(0.3), "table_rank": 3}
    assert cifar.row(parse(DRNAS)) == {"table_accuracy": None, "table_rank": None}
    assert cifar.report(parse(POOLS)) == {
        "cifar10_test": 54.3, "cifar100_test": 30,
        "metric": "cifar100_test", "rank": 3, "of": 4, "gap": 43.5, "best": 73.5,
    }  # fmt: skip
    assert cifar.report(parse(DRNAS)) == {
        "metric": "cifar100_test", "rank": None, "of": 4, "gap": None, "best": 73.5,
    }  # fmt: skip
    assert cifar.words(parse(POOLS)) == (
        "cifar100_test 30.00, rank 3 of 4, 43.50 below the best (73.50); cifar10_test 54.30"
    )
    assert cifar.words(parse(DRNAS)) == "this architecture is not in it"
    chosen = open_tabular(settings(file, metric="cifar10_val"), "nasbench201", "cifar100")
    assert chosen.row(parse(SKIPS)) == {"table_accuracy": None, "table_rank": None}
    assert chosen.words(parse(SKIPS)) == "cifar100_test 39.00, cifar10_test 54.30"


def test_other_data_sets_get_every_test_column(tmp_path):
    digits = open_tabular(settings(table_file(tmp_path)), "nasbench201", "digits")
    assert digits.metric is None
    assert digits.row(parse(SKIPS)) == {
        "table_cifar100_test_accuracy": 0.39, "table_cifar10_test_accuracy": 0.543,
    }  # fmt: skip
    assert digits.report(parse(SKIPS))["rank"] is None and digits.report(parse(SKIPS))["cifar10_test"] == 54.3
    assert digits.words(parse(SKIPS)) == "cifar100_test 39.00, cifar10_test 54.30"


def test_naming_a_file_is_enough_and_naming_nothing_opens_nothing(tmp_path):
    assert open_tabular(settings(None, name="none"), "darts", "cifar10") is None
    named = open_tabular(settings(table_file(tmp_path), name="none"), "nasbench201", "cifar10")
    assert named.metric == "cifar10_test"


@pytest.mark.parametrize(
    ("changes", "family", "words"),
    [
        ({}, "darts", "nothing to say about this space"),
        ({"name": "csv", "file": None}, "darts", "nothing to say about this space"),
        ({"file": None}, "nasbench201", "tabular.file must say where"),
        ({"name": "natsbench", "file": None}, "nasbench201", "NATS-tss"),
        ({"name": "sql"}, "nasbench201", "known are none, csv, natsbench"),
        ({"metric": "params"}, "nasbench201", "no accuracies in a column 'params'"),
        ({"metric": "in16_test"}, "nasbench201", "tabular.metric"),
    ],
)
def test_a_choice_that_cannot_be_served_is_refused(tmp_path, changes, family, words):
    with pytest.raises(ConfigError, match=words):
        open_tabular(settings(table_file(tmp_path)) | changes, family, "cifar10")


class FakeBenchmark:
    """The documented interface of `nats_bench`: 12 and 200 epochs of three architectures."""

    ARCHS = (SKIPS, CONVS, POOLS)

    def __init__(self):
        self.created = []

    def create(self, file_path_or_dict, search_space, fast_mode=False, verbose=True):
        self.created.append((file_path_or_dict, search_space, fast_mode, verbose))
        return self

    def __len__(self):
        return len(self.ARCHS)

    def arch(self, index):
        return self.ARCHS[index]

    def get_more_info(self, index, dataset, iepoch=None, hp="12", is_random=True):
        assert not is_random, "seeds are to be averaged"
        value = {"12": 10.0, "200": 50.0}[hp] + 10 * index + len(dataset) / 100
        valid = {} if dataset == "cifar10" else {"valid-accuracy": value - 1}
        times = {"train-all-time": 100.0 + index, "valid-per-time": 2.5 if valid else None}
        return {"train-accuracy": 99.0, "test-accuracy": value, **valid, **times}


@pytest.fixture
def natsbench(monkeypatch):
    package = FakeBenchmark()
    module = types.ModuleType("nats_bench")
    module.create = package.create
    monkeypatch.setitem(sys.modules, "nats_bench", module)
    return package


def natsbench_settings(folder, **changes):
    return settings(folder, name="natsbench", epochs=200, cache=None) | changes


@pytest.mark.parametrize(("epochs", "accuracy"), [(12, 20.07), (200, 60.07)])
def test_natsbench_is_read_through_its_package(tmp_path, natsbench, epochs, accuracy):
    folder = tmp_path / "NATS-tss-v1_0-3ffb9-simple"
    folder.mkdir()
    wanted = natsbench_settings(folder, epochs=epochs)
    found = open_tabular(wanted, "nasbench201", "cifar10")
    assert natsbench.created == [(str(folder), "tss", True, False)]
    assert set(found.table.accuracies) == set(FIGURES)
    assert found.table.lookup(CONVS)["cifar10_test"] == pytest.approx(accuracy)
    assert found.report(parse(CONVS))["rank"] == 2
    assert found.table.lookup(CONVS)["cifar10_seconds"] == 103.5


def test_natsbench_is_read_once_and_then_from_its_copy(tmp_path, natsbench, monkeypatch):
    folder = tmp_path / "NATS-tss-v1_0-3ffb9-simple"
    folder.mkdir()
    wanted = natsbench_settings(folder, cache=str(tmp_path / "cache"))
    open_tabular(wanted, "nasbench201", "imagenet16_120")
    assert not (tmp_path / "cache").exists(), "half a benchmark is not kept"
    natsbench.created.clear()
    monkeypatch.setattr("nas.analysis.natsbench.SIZE", len(natsbench.ARCHS))
    first = open_tabular(wanted, "nasbench201", "imagenet16_120")
    second = open_tabular(wanted, "nasbench201", "imagenet16_120")
    assert len(natsbench.created) == 1
    assert [first.report(a) for a in natsbench.ARCHS] == [second.report(a) for a in natsbench.ARCHS]
    assert [p.name for p in (tmp_path / "cache").iterdir()] == ["NATS-tss-v1_0-3ffb9-simple_200epochs.csv"]
    open_tabular(wanted | {"epochs": 12}, "nasbench201", "imagenet16_120")
    assert len(natsbench.created) == 2, "another schedule is another copy"


def test_natsbench_without_package_or_files_is_refused(tmp_path, natsbench, monkeypatch):
    with pytest.raises(ConfigError, match=r"tabular\.file=.*no such folder or file"):
        open_tabular(natsbench_settings(tmp_path / "nothing"), "nasbench201", "cifar10")
    with pytest.raises(ConfigError, match=r"tabular\.epochs=90"):
        open_tabular(natsbench_settings(tmp_path, epochs=90), "nasbench201", "cifar10")
    monkeypatch.setattr(natsbench, "get_more_info", lambda *args, **kwargs: {}["200"])
    with pytest.raises(ConfigError, match="not the files that tabular=natsbench reads"):
        open_tabular(natsbench_settings(tmp_path), "nasbench201", "cifar10")
    monkeypatch.setitem(sys.modules, "nats_bench", None)
    with pytest.raises(ConfigError, match=r"nats_bench is not installed; pip install .*natsbench"):
        open_tabular(natsbench_settings(tmp_path), "nasbench201", "cifar10")


def test_the_published_figures_at_200_epochs(caplog):
    table = read_csv(shared("data/nasbench201/nb201.csv.gz"))
    assert len(table) == SIZE and not caplog.records
    tests = ("cifar10_test", "cifar100_test", "in16_test")
    assert [table.lookup(DRNAS)[name] for name in tests] == [94.3633, 73.5133, 46.3444]
    assert [table.best(name) for name in tests] == [94.3733, 73.5133, 47.3111]
    assert table.lookup(SKIPS)["cifar10_test"] == 54.2967
    assert table.rank(DRNAS, "cifar100_test") == 1
    assert table.rank(DRNAS, "cifar10_test") > 1
    assert table.count("cifar10_val") == 200


def test_other_files_of_the_benchmark_are_told_apart():
    with pytest.raises(ConfigError, match="column 'unique'"):
        read_csv(shared("data/nasbench201/nb201_isomorphism.csv.gz"))
    with pytest.raises(ConfigError, match="no column of accuracies"):
        read_csv(shared("data/nasbench201/nb201_cost_derived.csv.gz"))
    with pytest.raises(ConfigError, match="not a number"):
        read_csv(shared("data/nasbench201/nb201_cifar10valid_curves_200archs.csv.gz"))
    assert read_csv(shared("data/nasbench201/nb201_12epochs.csv.gz")).count("cifar10_val") == SIZE
