"""Sweeps that are figures of the papers: which runs they are, and the pictures that join those."""

import csv
import json
import re
import shlex

import pytest
import yaml

from nas.running import multirun

FULL = {
    "drnas_figure1": 3, "drnas_figure4": 12, "drnas_figure5": 28, "drnas_table1": 32,
    "drnas_table1_staged": 16, "drnas_table5": 28, "drnas_eigenvalues": 16,
}  # fmt: skip
REDUCED = {"drnas_figure4_reduced": 4, "drnas_figure5_reduced": 6, "drnas_anchor": 6}


@pytest.mark.parametrize(("name", "jobs"), (FULL | REDUCED).items())
def test_a_figure_is_one_override(name, jobs, run, monkeypatch, tmp_path):
    """Every job is composed and checked before the first begins; here the last check is where it ends."""
    found = []
    check = multirun.check_jobs

    def checked(config):
        check(config)
        found.extend(multirun.planned(config))
        raise ZeroDivisionError

    monkeypatch.setattr(multirun, "check_jobs", checked)
    # A table that is there, for figure 1: what is in it is read by the jobs alone.
    (tmp_path / "table.csv").write_text("arch,cifar10_test\n")
    table = [f"tabular.file={tmp_path / 'table.csv'}"] if name == "drnas_figure1" else []
    assert run("search", "-m", f"sweep={name}", *table).status == 1
    assert len(found) == jobs
    assert len({tuple(job) for job in found}) == jobs


def write_run(folder, number, seed, lam, exploration=True, eigenvalues=(0.2, 0.4)):
    place = folder / str(number)
    place.mkdir(parents=True)
    found = {"command": "search", "status": "finished", "epochs": 2, "seconds": 4.0, "params": 1000}
    found |= {"hessian_eigenvalue": eigenvalues[-1], "architecture_accuracy": 0.5}
    (place / "summary.json").write_text(json.dumps(found))
    (place / "overrides.yaml").write_text(yaml.safe_dump([f"seed={seed}", f"method.lam={lam}"]))
    rows = [{"epoch": epoch, "hessian_eigenvalue": value} for epoch, value in enumerate(eigenvalues)]
    write_csv(place / "metrics.csv", rows)
    if exploration:
        names = ("samples", "distinct", "min", "mean", "max", "derived", "best")
        values = dict(zip(names, (100, 90, 0.1, 0.5, 0.9, 0.8, 0.94), strict=True))
        write_csv(place / "exploration.csv", [{"epoch": epoch, **values} for epoch in (0, 1)])


def write_csv(path, rows):
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


@pytest.mark.pictures
def test_runs_that_drew_architectures_are_drawn_side_by_side(run, tmp_path):
    """Figure 1 of DrNAS, of any folder of runs; a damaged table costs its panel alone."""
    for number, (lam, seed) in enumerate([(0, 0), (0, 1), (1, 0)]):
        write_run(tmp_path, number, seed, lam)
    done = run("sweeps", f"folder={tmp_path}")
    assert (done.status, done.err) == (0, "")
    picture = tmp_path / "figures/exploration.png"
    assert f"drawn: {picture}" in done.out
    whole = picture.stat().st_size
    (tmp_path / "1/exploration.csv").write_text("epoch,nonsense\n0,1\n")
    assert run("sweeps", f"folder={tmp_path}").status == 0
    assert 10_000 < picture.stat().st_size < whole


def test_runs_that_drew_none_have_no_such_picture(run, tmp_path):
    write_run(tmp_path, 0, 0, 0, exploration=False)
    assert "drawn:" not in run("sweeps", f"folder={tmp_path}").out
    assert not (tmp_path / "figures/exploration.png").exists()


def test_eigenvalues_along_the_searches_are_drawn_by_a_command_that_is_printed(run, tmp_path):
    """Figures 4 and 5 of DrNAS; the command stands for itself."""
    folder = tmp_path / "two words"
    for number, (lam, seed) in enumerate([(0, 0), (0, 1), (1, 0), (1, 1)]):
        write_run(folder, number, seed, lam)
    done = run("sweeps", f"folder='{folder}'", "figure=hessian_eigenvalue")
    assert (done.status, done.err) == (0, "")
    assert f"curve: {folder / 'figures/anytime.png'}" in done.out
    words = shlex.split(re.search(r"^again: python -m nas.sweeps (.*)$", done.out, re.MULTILINE)[1])
    (folder / "figures/anytime.png").unlink()
    assert run("sweeps", *words).status == 0
    assert (folder / "figures/anytime.png").exists()


def test_a_sweep_draws_at_its_end_what_its_file_names(run, tiny, tmp_path):
    """And where no run has it, the first figure of the table, and says so."""
    for figure, drawn in (("params", True), ("hessian_eigenvalue", False)):
        folder = tmp_path / figure
        typed = ["method=random", "seed=0,1", f"hydra.sweep.dir={folder}"]
        done = run("search", "-m", *tiny, *typed, f"hydra.callbacks.sweep.figure={figure}")
        assert (done.status, done.err) == (0, "")
        assert (f"again: python -m nas.sweeps folder={folder} figure=params" in done.out) == drawn
        told = "warning: hydra.callbacks.sweep.figure=hessian_eigenvalue: no run has it; plots show "
        assert (told not in done.out) == drawn
        assert (folder / "figures/sweep.png").exists()
