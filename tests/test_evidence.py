"""The evidence: rows that compose, records that are kept and not made anew, verdicts by the page's rules."""

import csv
import json
import shutil
import subprocess

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from experiments import pipeline
from experiments.evidence import __main__ as evidence
from experiments.evidence.page import page
from experiments.evidence.reference import make_reference, read_reference
from experiments.evidence.rows import read_plan
from experiments.evidence.searches import Point, Search, code, read_searches, take, write_searches
from nas.errors import ConfigError
from nas.running.config import CONF, register_resolvers
from nas.spaces.nasbench201.space import OPERATIONS
from tests.analysis.test_tabular import arch
from tests.conftest import ROOT

PLAN = read_plan()
BASE = PLAN.baseline
SKIP, CONV = str(OPERATIONS.index("skip_connect")), str(OPERATIONS.index("nor_conv_3x3"))
TINY = """\
protocol: [experiment=start/digits, debug=fast, tabular.metric=cifar10_test, analysis.hessian.every=1]
first_seed: 10
baseline: darts1
tiers:
  - title: one
    seeds: 2
    rows:
      darts1: {title: DARTS, overrides: [method=darts1], paper: [54.30, 0.00]}
  - title: two
    seeds: 1
    rows:
      drnas_nb201: {title: DrNAS, overrides: [method=drnas_nb201], paper: [94.36, 0.00]}
"""


def search(row, seed, accuracy=90.0, skips=2, course=(), **values):
    """A record as if it had been read."""
    known = {name: "" for name in ("hessian_basis", "device", "torch", "epochs", "dataset", "split_hash")}
    known |= {"git_commit": "", "threads": "", "seconds": "600", "settings": " ".join(row.settings)}
    known |= {"row": row.name, "seed": str(seed), "cifar10_test": str(accuracy), "num_skip": str(skips)}
    return Search(row.name, seed, known | values, course)


def run_folder(place, row, seed, architecture=None, status="finished", **summary):
    """What a search leaves, as far as a record is made of it: three epochs, two cells."""
    place.mkdir(parents=True)
    result = architecture or arch(*["skip_connect"] * 6)
    table = {"cifar10_test": 54.3, "cifar100_test": 39.0, "rank": 15000, "of": 15625, "best": 94.37}
    found = {
        "status": status, "seed": seed, "genotype": result, "num_skip": 6, "epochs": 3, "seconds": 700.5,
        "table": table, "versions": {"torch": "2.9"}, "git_commit": "abc", "device": "a CPU", "threads": 1,
        "hessian_basis": "alpha",
    } | summary  # fmt: skip
    (place / "summary.json").write_text(json.dumps(found))
    (place / "config.yaml").write_text("")
    aside = [f"seed={seed}", "hardware.threads=1", "dataset.root=/data", "tabular.file='a b.csv'"]
    (place / "overrides.yaml").write_text("".join(f"- {one}\n" for one in (*row.settings, *aside)))
    first = arch(*["nor_conv_3x3"] * 6)
    cells = (first, first, arch(*["skip_connect"] * 6))
    (place / "genotypes.jsonl").write_text(
        "".join(json.dumps({"epoch": epoch, "genotype": cell}) + "\n" for epoch, cell in enumerate(cells))
    )
    (place / "metrics.csv").write_text(
        "epoch,hessian_eigenvalue,table_accuracy\n0,,0.936\n1,,0.936\n2,1.25,0.543\n"
    )
    return place


@pytest.fixture(scope="module")
def composed():
    register_resolvers()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        yield lambda row: compose("search", list(row.settings))


@pytest.mark.parametrize("tier", range(1, 6))
def test_every_row_is_a_search_of_the_protocol(composed, tier):
    for row in (one for one in PLAN.rows if one.tier == tier):
        config = composed(row)
        (method,) = [one.partition("=")[2] for one in row.settings if one.startswith("method=")]
        assert config.method.name == method
        assert config.space.name == "nasbench201" and config.dataset.name == "cifar10"
        typed = {one.partition("=")[0] for one in row.settings}
        if "method.warmup_epochs" not in typed:
            assert (config.method.warmup_epochs, config.trainer.max_epochs) == (40, 120), row.name
        for stage in config.method.get("stages") or ():
            assert stage.epochs == config.trainer.max_epochs


def test_rows_count_no_seed_that_chose_the_setting():
    assert BASE.name == "darts1" and BASE.seeds == tuple(range(10, 18))
    assert all(seed >= 10 for row in PLAN.rows for seed in row.seeds)


def test_every_method_is_a_row_or_is_said_to_be_none():
    """But for those of other spaces: recurrent cells, sizes of the DARTS space, blocks."""
    other = {
        "darts1_rnn",
        "darts2_rnn",
        "drnas_rnn",
        "drnas_progressive",
        "drnas_progressive_paper",
        "pdarts",
    }
    other |= {"dsonas_random"}
    typed = {one.partition("=")[2] for row in PLAN.rows for one in row.settings if one.startswith("method=")}
    methods = {path.stem for path in (CONF / "method").glob("*.yaml")}
    assert typed | set(PLAN.left_out) == methods - other
    assert not typed & set(PLAN.left_out)


def test_the_kept_records_give_the_page_byte_by_byte(tmp_path, capsys):
    kept = ROOT / "experiments/evidence/results"
    shutil.copytree(kept, tmp_path / "kept")
    evidence.main(
        ["--record-only", "--results", str(tmp_path / "kept"), "--page", str(tmp_path / "evidence.md")]
    )
    assert (tmp_path / "evidence.md").read_bytes() == (ROOT / "docs/evidence.md").read_bytes()
    assert str(tmp_path / "evidence.md") in capsys.readouterr().out
    for path in kept.iterdir():
        assert (tmp_path / "kept" / path.name).read_bytes() == path.read_bytes(), "nor are they changed"


def test_a_finished_folder_is_taken_and_read_back(tmp_path):
    found = take(run_folder(tmp_path / "run", BASE, 10), BASE, 10)
    assert (found.accuracy, found.skips, found.collapsed) == (54.3, 6, True)
    assert found.course == (Point(1, CONV * 6, 93.6), Point(3, SKIP * 6, 54.3, 1.25)), "changes and the last"
    assert (found.collapse_epoch(), found.best_on_the_way, found.eigenvalue_at(3)) == (3, 93.6, 1.25)
    assert found.eigenvalue_at(2) is None
    write_searches(tmp_path / "kept", [found], PLAN)
    (again,) = read_searches(tmp_path / "kept")
    assert again == found
    assert (tmp_path / "kept/searches.csv").read_text().count("\n") == 2


def test_a_search_that_a_monitor_ended_gives_the_earlier_cell(tmp_path):
    earlier = arch(*["nor_conv_3x3"] * 6)
    place = run_folder(tmp_path / "run", BASE, 10, earlier, num_skip=0, result_epoch=1)
    found = take(place, BASE, 10)
    assert [point.cell for point in found.course] == [CONV * 6, CONV * 6]
    assert not found.collapsed and found.collapse_epoch() is None


def test_what_has_not_finished_is_no_record(tmp_path):
    assert take(tmp_path / "nothing", BASE, 10) is None
    assert take(run_folder(tmp_path / "run", BASE, 10, status="running"), BASE, 10) is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"row": PLAN.row("drnas_nb201")},
            "method=drnas_nb201; row darts1 is experiment=drnas/nb201_collapse",
        ),
        ({"seed": 11}, "a search from seed 11, not 10"),
        ({"table": None}, "its cell was not looked up in a table with cifar10_test"),
    ],
)
def test_a_run_of_something_else_is_refused(tmp_path, change, words):
    given = {"row": BASE, "seed": 10} | change
    place = run_folder(tmp_path / "run", given.pop("row"), given.pop("seed"), **given)
    with pytest.raises(ConfigError, match=words):
        take(place, BASE, 10)


def test_cells_are_six_digits():
    assert code(arch("none", "skip_connect", *["nor_conv_3x3"] * 4))[1] == SKIP
    with pytest.raises(ConfigError, match=r"no cell of NAS-Bench-201"):
        code("|none~0|")


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Every cell: a skip connection costs a convolution's worth."""
    path = tmp_path_factory.mktemp("table") / "nb201.csv"
    lines = ["arch,cifar10_test,cifar10_val"]
    for number in range(5**6):
        chosen = [OPERATIONS[number // 5**place % 5] for place in range(6)]
        value = 50 + 7 * chosen.count("nor_conv_3x3") + number / 1e5
        lines.append(f"{arch(*chosen)},{value},{value - 1}")
    path.write_text("\n".join(lines) + "\n")
    return path


def test_the_table_gives_random_cells_exactly_and_searches_on_it(table):
    found = make_reference(table, table, seeds=8)
    assert found["n"] == 15_625
    assert found["mean"] == pytest.approx(found["expected_best"]["1"], abs=1e-3)
    assert found["mean"] < found["expected_best"]["8"] < found["expected_best"]["100"] < found["best"]
    assert list(found["blackbox"]) == ["random", "evolution", "local_search", "reinforce"]
    assert found["blackbox"]["evolution"]["100"][0] > found["blackbox"]["evolution"]["4"][0]


def test_the_best_of_k_stands_for_rows_and_random_cells_alike(table):
    accuracies = [90.0, 92.0, 91.0, 54.3, 93.0]
    found = [search(BASE, seed, one) for seed, one in enumerate(accuracies, start=10)]
    found.append(search(PLAN.row("drnas_nb201"), 10, 94.0))
    text = page(PLAN, found, make_reference(table, table, seeds=4)).partition("## The best of so many cells")[
        2
    ]
    (line,) = (one for one in text.splitlines() if one.startswith("| `darts1`, of 5 searches"))
    # Of the five choices of four, four have the best and one has the second.
    assert line == f"| `darts1`, of 5 searches | 84.06 | {(4 * 93 + 92) / 5:.2f} |  |  |  |"
    assert "`drnas_nb201`, of" not in text, "one search has no best of several"
    assert "| random cells, exactly |" in text and "algorithm=evolution" in text


@pytest.fixture
def words(tmp_path, table):
    """The command line of a plan of three tiny searches, all of it below a folder."""
    (tmp_path / "rows.yaml").write_text(TINY)
    places = {"--rows": "rows.yaml", "--folder": "runs", "--results": "kept", "--page": "evidence.md"}
    given = [word for key, name in places.items() for word in (key, str(tmp_path / name))]
    return [*given, "--table", str(table)]


@pytest.fixture
def started(monkeypatch, tmp_path):
    """The searches that are begun, each of which finishes at once or fails where it is told to."""
    found, failing = [], set()
    plan = tmp_path / "rows.yaml"

    def run(command, check):
        place = pipeline.Path(command[3].partition("=")[2])
        found.append(place.relative_to(place.parents[1]).as_posix())
        if found[-1] not in failing:
            run_folder(place, read_plan(plan).row(place.parent.name), int(place.name.removeprefix("seed")))
        return subprocess.CompletedProcess(command, int(found[-1] in failing))

    monkeypatch.setattr(pipeline.subprocess, "run", run)
    return found, failing


def test_what_is_kept_is_not_repeated_and_a_tier_waits_for_the_one_before(words, started, tmp_path, capsys):
    found, failing = started
    failing.add("darts1/seed11")
    with pytest.raises(SystemExit) as end:
        evidence.main(words)
    assert end.value.code == 1 and found == ["darts1/seed10", "darts1/seed11"]
    assert "1 of 3 searches are finished" in (tmp_path / "evidence.md").read_text()
    assert "tier 1 is not complete, so the next does not begin" in capsys.readouterr().err
    failing.clear()
    evidence.main(words)
    assert found[2:] == ["darts1/seed11", "drnas_nb201/seed10"]
    with (tmp_path / "kept/searches.csv").open(newline="") as file:
        assert [(row["row"], row["seed"]) for row in csv.DictReader(file)] == [
            ("darts1", "10"), ("darts1", "11"), ("drnas_nb201", "10")
        ]  # fmt: skip
    assert read_reference(tmp_path / "kept")["n"] == 15_625
    before = (tmp_path / "evidence.md").read_bytes()
    evidence.main([*words, "--record-only"])
    assert (tmp_path / "evidence.md").read_bytes() == before and len(found) == 4
    # Run folders may be gone: the records are what counts.
    (tmp_path / "runs").rename(tmp_path / "elsewhere")
    evidence.main(words)
    assert len(found) == 4
    capsys.readouterr()
    evidence.main([*words, "--row", "drnas_nb201", "--anew"])
    assert found[4:] == ["drnas_nb201/seed10"]
    assert "drnas_nb201, seed 10: 54.30 as kept, 54.30 anew" in capsys.readouterr().out


def test_searches_of_another_machine_are_taken(words, tmp_path, capsys):
    row = read_plan(tmp_path / "rows.yaml").row("darts1")
    for seed, status in ((10, "finished"), (11, "running")):
        run_folder(tmp_path / f"theirs/darts1/seed{seed}", row, seed, status=status)
    evidence.main([*words, "--take", str(tmp_path / "theirs")])
    assert f"1 searches taken from {tmp_path / 'theirs'}" in capsys.readouterr().out
    assert [one.seed for one in read_searches(tmp_path / "kept")] == [10]
    evidence.main([*words, "--plan"])
    told = capsys.readouterr().out
    assert "tier 1  darts1                1 searches     0.2 hours\n" in told
    assert "2 searches, 0.4 hours of one core at least" in told


@pytest.mark.parametrize(
    ("more", "words_"),
    [
        (["--row", "dart"], "--row dart: no such row; there are darts1, drnas_nb201"),
        (["--take", "nowhere"], "--take nowhere: there is no such folder"),
        (["--rows", "nowhere.yaml"], "nowhere.yaml"),
    ],
)
def test_mistakes_end_with_one_message(words, more, words_, capsys):
    with pytest.raises(SystemExit) as end:
        evidence.main([*words, *more])
    assert end.value.code == 2 and words_ in capsys.readouterr().err


def test_options_that_do_not_go_together(words, capsys):
    with pytest.raises(SystemExit) as end:
        evidence.main([*words, "--anew"])
    assert end.value.code == 2 and "--anew: name the rows" in capsys.readouterr().err
    with pytest.raises(SystemExit) as end:
        evidence.main([word for word in words if "nb201.csv" not in word and word != "--table"])
    assert end.value.code == 2 and "--table: 3 searches are missing" in capsys.readouterr().err


@pytest.mark.pictures
def test_real_searches_go_all_the_way(words, tmp_path, capfd):
    evidence.main(words)
    kept = read_searches(tmp_path / "kept")
    assert [(one.row, one.seed) for one in kept] == [("darts1", 10), ("darts1", 11), ("drnas_nb201", 10)]
    assert all(one.course and one.eigenvalue_at(100) is not None for one in kept)
    assert {path.name for path in (tmp_path / "pictures").iterdir()} == {
        f"evidence_{name}.png" for name in ("accuracy", "anytime", "eigenvalues")
    }
    assert "3 of 3 searches are finished." in (tmp_path / "evidence.md").read_text()
