"""The table of docs/performance.md by one command: rows are run once, what is missing is said."""

import json
import shlex

import pytest

from experiments.performance import __main__ as performance
from experiments.performance.rows import ROWS
from nas.commands.bench import STEPS
from tests.conftest import command_line
from tests.forks import finish


def spread(median):
    return {"median": median, "min": median / 2, "max": median * 2, "n": 3}


def measured(**more):
    about = {"device": "a processor", "threads": 2, "precision": "32-true", "versions": {"torch": "2.14.1"}}
    return about | {"gflops_matmul": 100.0} | more


def finished(folder, **more):
    folder.mkdir(parents=True)
    (folder / "bench.json").write_text(json.dumps(measured(**more)))
    (folder / "summary.json").write_text(json.dumps({"command": "bench", "status": "finished"}))


def folder_in(words):
    (word,) = (word for word in words if word.startswith("hydra.run.dir="))
    return performance.Path(word.partition("=")[2])


def test_finished_rows_are_kept_and_those_that_end_badly_are_tried_again(tmp_path):
    calls = []

    def execute(words):
        calls.append(folder_in(words).name)
        if calls.count("recurrent") == 1 and calls[-1] == "recurrent":
            return 137
        finished(folder_in(words), weight_seconds=spread(1.0), weight_ratio=2.0)
        return 0

    given = performance.parse(["--row", "evaluation", "recurrent", "--folder", str(tmp_path), "--", "seed=1"])
    performance.run_rows(given, execute)
    assert "recurrent (ended with status 137)" in performance.record(tmp_path, keep=False)
    performance.run_rows(given, execute)
    assert calls == ["evaluation", "recurrent", "recurrent"]
    text = performance.record(tmp_path, keep=False)
    assert text == (tmp_path / "results" / "performance.md").read_text()
    assert "recurrent (" not in text and "nasbench201 (not run)" in text


def test_a_table_says_ratio_spread_and_where(tmp_path):
    stage = {"stage": 2, "weight_seconds": spread(3.0)}
    seconds = {"weight_seconds": spread(1.0), "reference_weight_seconds": spread(5.0)}
    finished(tmp_path / "drnas", **seconds, weight_ratio=5.0, gflops=40.0, stages=[{}, stage])
    seconds = {"evaluation_seconds": spread(1.0), "reference_evaluation_seconds": spread(4.0)}
    other = {"reference_evaluation_channels_last_seconds": spread(3.0)}
    finished(tmp_path / "evaluation", **seconds, **other, evaluation_ratio=3.0)
    text = performance.record(tmp_path, keep=False)
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if "|" in line]
    assert lines[2][1:] == ["weight", "1 (0.5 to 2, 3)", "5 (2.5 to 10, 3)", "", "5", "40"]
    assert lines[3][0].endswith("stage 2") and lines[3][2:] == ["3 (1.5 to 6, 3)", "", "", "", ""]
    assert lines[4][2:] == ["1 (0.5 to 2, 3)", "4 (2 to 8, 3)", "3 (1.5 to 6, 3)", "3", ""]
    assert "Device: a processor; threads: 2; precision 32-true." in text and "torch 2.14.1" in text
    assert "drnas, reference of stage 2" in text


def test_what_is_kept_stands_between_the_markers(tmp_path):
    finished(tmp_path / "runs" / "darts_batch1", weight_seconds=spread(1.0))
    page = tmp_path / "page.md"
    page.write_text(f"before\n{performance.BEGIN}old\n{performance.END}\nafter\n")
    performance.record(tmp_path / "runs", True, tmp_path / "kept", page)
    text = page.read_text()
    assert text.startswith("before\n") and text.endswith(f"{performance.END}\nafter\n") and "old" not in text
    assert "batch 1 | weight" in text
    assert json.loads((tmp_path / "kept" / "darts_batch1.json").read_text())["threads"] == 2


def test_the_page_of_the_project_has_a_place_for_it():
    text = performance.PAGE.read_text()
    assert text.count(performance.BEGIN) == text.count(performance.END) == 1


def test_somebody_elses_folder_is_left_alone(tmp_path):
    (tmp_path / "evaluation").mkdir()
    (tmp_path / "evaluation" / "thesis.tex").write_text("mine")
    given = performance.parse(["--row", "evaluation", "--folder", str(tmp_path)])
    with pytest.raises(SystemExit, match="choose another --folder"):
        performance.run_rows(given, lambda words: 0)
    assert (tmp_path / "evaluation" / "thesis.tex").exists()


@pytest.mark.parametrize("name", ROWS)
def test_every_row_is_a_command(run, name):
    """Its words compose, and its steps are known; nothing is measured."""
    done = run("bench", *shlex.split(ROWS[name].words), "--cfg", "job")
    assert done.status == 0, done.err
    steps = [word for word in ROWS[name].words.split() if word.startswith("bench.steps=[")]
    assert all(step in STEPS for word in steps for step in word[13:-1].split(",") if step)


def test_a_row_as_a_user_types_it(tmp_path):
    small = (
        "debug=fast",
        "dataset=digits",
        "bench.matmul_size=64",
        "space.cells_per_stage=1",
        "bench.steps=[weight]",
    )
    words = ["-m", "experiments.performance", "--row", "nasbench201", "--folder", str(tmp_path), "--", *small]
    done = finish([command_line("bench")[0], *words], timeout=300)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "nasbench201" / "bench.json").read_text())
    assert found["weight_ratio"] > 0 and f"| {found['weight_ratio']:.3g} |" in done.stdout
    assert "Missing: darts_batch16 (not run)" in done.stdout
