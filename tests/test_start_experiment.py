"""The start experiment: what the README says of it, and the random cells its evaluation is compared with."""

import csv
import json
import re
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from experiments.pipeline import Chain
from experiments.start import digits
from nas.analysis.random_cells import conditions_of, read_random_cells
from nas.domains.networks import size_overrides
from nas.engine.data_module import evaluation_indices
from nas.running.config import CONF, instantiate, plain, register_resolvers

ROOT = Path(__file__).resolve().parent.parent
CELL = "|skip_connect~0|+|none~0|nor_conv_1x1~1|+|skip_connect~0|none~1|nor_conv_3x3~2|"


@pytest.fixture(scope="module")
def evaluation():
    """The start experiment's evaluation as it is composed today."""
    register_resolvers()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        yield compose("evaluate", [f"experiment={digits.EVALUATION}", "seed=7"])
    GlobalHydra.instance().clear()


def conditions(config) -> dict:
    given = config.dataset
    source = instantiate(given.source)
    drawn = (given.split, given.fraction, config.split_seed, given.valid)
    split_hash = evaluation_indices(source, *drawn)[1]
    return conditions_of(plain(config), size_overrides(config, instantiate(config.space)), split_hash)


def test_the_record_was_made_by_the_recipe_and_on_the_images_of_today(evaluation):
    """Fails when a setting that decides an accuracy changes: run `experiments.start.digits --keep`."""
    known = read_random_cells(evaluation.random_cells)
    assert known.differences(conditions(evaluation)) == []
    assert len(known.cells) >= 30
    assert len({cell["seed"] for cell in known.cells}) == len(known.cells)


def test_a_cell_does_not_depend_on_the_number_of_cores(evaluation):
    assert evaluation.hardware.threads == 1


def test_the_readme_shows_the_record():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = re.search(r"<!-- results:digits -->\n(.*)<!-- /results:digits -->", readme, re.DOTALL)[1]
    assert (digits.HERE / "results/digits.md").read_text(encoding="utf-8").strip() in shown


def test_the_record_and_the_table_of_all_runs_agree():
    with (digits.HERE / "results/digits.csv").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["cells"] == digits.RANDOM]
    cells = read_random_cells(digits.RECORD).cells
    assert [(row["genotype"], float(row["test_accuracy"])) for row in rows] == [
        (cell["genotype"], cell["test_accuracy"]) for cell in cells
    ]


def write_cell(cell: Chain, accuracy: float, config) -> None:
    """What a search and an evaluation of it leave."""
    for name in ("search", "evaluate"):
        (cell.folder / name).mkdir(parents=True)
    search = {"status": "finished", "num_skip": 2, "seconds": 10.4}
    evaluate = {
        "status": "finished", "test_accuracy": accuracy, "test_loss": 0.2, "params": 20_000, "macs": 300_000,
        "genotype": CELL, "seconds": 4.6, "git_commit": "abc", "device": "a processor", "split_hash": "def",
        "versions": {"torch": "2.14.1"},
    }  # fmt: skip
    (cell.folder / "search" / "summary.json").write_text(json.dumps(search))
    (cell.folder / "evaluate" / "summary.json").write_text(json.dumps(evaluate))
    OmegaConf.save(config, cell.folder / "evaluate" / "config.yaml", resolve=True)


@pytest.fixture
def record(tmp_path, evaluation):
    """`record("--seeds", "2", ...)`: sums up two searched and three random cells."""
    words = ["--folder", str(tmp_path), "--record-only", "--seeds", "2", "--random", "3"]
    accuracies = iter([0.95, 0.9, 0.8, 0.9, 0.85])
    for cell in digits.plan(digits.parse(words)):
        write_cell(cell, next(accuracies), evaluation)
    return lambda *more: digits.main([*words, *more])


def test_cells_are_placed_among_the_random_ones(record, tmp_path, capsys):
    record()
    text = (tmp_path / "results/digits.md").read_text(encoding="utf-8")
    assert "| random (`experiment=start/digits method=random`) | 85.00 +- 5.00 % (n = 3) |" in text
    assert "| 85.00 % | 80.00 to 90.00 % |" in text
    # 92.5 and 85 on average; variances 12.5 of two and 25 of three.
    assert "+7.50 (s.e. 3.82) points" in text
    words = " ".join(text.split())
    assert "95.00, 90.00 %; percentiles among the 3 random cells: 100, 83; on average 92" in words
    assert (
        "a processor; threads: 1; torch 2.14.1; test images: 360 of digits, of which one is 0.28 %" in words
    )
    assert text in capsys.readouterr().out
    with (tmp_path / "results/digits.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["percentile"] for row in rows] == ["100.0", "83.33", "", "", ""]
    assert (tmp_path / "results/digits.png").stat().st_size > 0


def test_the_random_cells_become_a_record(record, tmp_path, evaluation, monkeypatch):
    monkeypatch.setattr(digits, "HERE", tmp_path / "here")
    monkeypatch.setattr(digits, "SHIPPED", tmp_path / "shipped")
    record("--keep")
    found = read_random_cells(str(tmp_path / "shipped/start_digits.json"))
    assert (tmp_path / "here/results/digits.md").exists()
    assert (found.standing(0.9).worse, found.standing(0.9).equal) == (2, 1)
    assert found.origin["threads"] == "1"
    assert found.differences(conditions(evaluation) | {"split_hash": "def"}) == []


def test_a_record_with_gaps_is_not_kept(record, tmp_path, monkeypatch):
    monkeypatch.setattr(digits, "HERE", tmp_path / "here")
    monkeypatch.setattr(digits, "SHIPPED", tmp_path / "shipped")
    (tmp_path / "random/seed32/evaluate/summary.json").unlink()
    with pytest.raises(SystemExit, match="whole records"):
        record("--keep")
    assert not (tmp_path / "shipped").exists() and not (tmp_path / "here").exists()
