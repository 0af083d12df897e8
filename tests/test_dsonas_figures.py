"""Figures 4 and 5 of DSO-NAS: the protocol of 5 has both curves, and pictures are made of what runs left."""

import csv
import json

import pytest
from PIL import Image

from experiments.dsonas import figure4, figure5
from nas.analysis.plots import draw_genotype
from nas.genotype import load
from nas.running.config import CONF
from nas.running.declared import read_file


def write(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture
def folder(tmp_path):
    """A protocol's: two curves of two gammas; one training has failed."""
    rows, number = [], 0
    for gamma in ("1e-3", "1e-2"):
        for adaptive in ("flops", "none"):
            setting = f"method.adaptive={adaptive} method.gamma={gamma}"
            base = {"run": f"search/{number}", "of": "", "setting": setting, "status": "finished"}
            rows.append({"phase": "search", **base, "test_accuracy": "", "macs": 9e6, "params": 9e5})
            groups = [{"epoch": epoch, "group": group, "macs": 1e6 * (epoch + 1 + number)}
                      for epoch in (0, 1) for group in ("reduce_0", "block_0")]  # fmt: skip
            write(tmp_path / f"search/{number}/sparsity.csv", groups)
            status = "failed" if number == 2 else "finished"
            figures = {"test_accuracy": 0.75 + number / 100, "macs": 2e6 + number, "params": 3e5}
            trained = {"run": f"evaluate/{number}", "of": f"search/{number}", "status": status}
            rows.append({"phase": "evaluate", **base, **trained, **figures})
            number += 1
    write(tmp_path / "table.csv", rows)
    return tmp_path


def test_every_finished_training_is_a_point(folder):
    points = figure5.read(folder)
    assert [(one.adaptive, one.gamma) for one in points] == [("flops", 1e-3), ("none", 1e-3), ("none", 1e-2)]
    assert [one.error for one in points] == pytest.approx([25.0, 24.0, 22.0])
    assert points[0].macs == pytest.approx(2.0) and points[0].params == pytest.approx(0.3)
    # The last epoch of each group, reductions last.
    assert points[1].blocks == {"block_0": 3.0, "reduce_0": 3.0}
    assert list(points[1].blocks) == ["block_0", "reduce_0"]


@pytest.mark.pictures
def test_the_command_draws_beside_the_table(folder, capsys):
    figure5.main(["--folder", str(folder)])
    assert capsys.readouterr().out.strip() == str(folder / "figure5.png")
    assert (folder / "figure5.png").stat().st_size > 10_000


def test_a_folder_without_points_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        figure5.main(["--folder", str(tmp_path)])
    assert end.value.code == 2 and "no table.csv" in capsys.readouterr().err


@pytest.mark.parametrize(("name", "points"), [("figure5", 8), ("figure5_reduced", 6)])
def test_both_curves_have_the_same_gammas(name, points):
    grid = read_file(CONF / f"experiment/dsonas/{name}.yaml")["search"]["grid"]
    settings = [tuple(setting) for setting in grid]
    assert len(set(settings)) == points
    gammas = {word: [gamma for adaptive, gamma in settings if adaptive == word] for word, _ in settings}
    assert sorted(gammas) == ["method.adaptive=flops", "method.adaptive=none"]
    assert gammas["method.adaptive=flops"] == gammas["method.adaptive=none"]


@pytest.mark.pictures
def test_blocks_of_two_searches_are_joined(tmp_path, capsys):
    runs = [tmp_path / name for name in ("one search", "another")]
    for number, run in enumerate(runs):
        (run / "figures").mkdir(parents=True)
        (run / "summary.json").write_text(json.dumps({"dataset": f"data{number}"}))
        draw_genotype(load("DARTS_V1", "darts"), run / "figures/genotype.png")
    output = tmp_path / "figure4.png"
    figure4.main(["--runs", *map(str, runs), "--output", str(output)])
    assert capsys.readouterr().out.strip() == str(output)
    with Image.open(output) as joined, Image.open(runs[0] / "figures/genotype.png") as single:
        assert joined.width / joined.height > 1.3 * single.width / single.height


def test_a_run_without_a_picture_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        figure4.main(["--runs", str(tmp_path), "--output", str(tmp_path / "x.png")])
    assert end.value.code == 2 and "no summary.json" in capsys.readouterr().err
