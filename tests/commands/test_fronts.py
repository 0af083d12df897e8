"""`nas.derive` of several searches: what they found against cost, with the exact front and hypervolume."""

import csv
import json

import pytest
from omegaconf import OmegaConf

from nas.analysis.sampling import pareto_front
from nas.commands.derive_front import _has_found, folders_of
from tests.analysis.test_plots import picture
from tests.commands.test_costs import tables
from tests.commands.test_tabular import TINY

__all__ = ["tables"]
DRAWN = [override for override in TINY if not override.startswith("method.")]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("searches")


@pytest.fixture
def searches(run, place):
    """The folder of a few drawn architectures, as a multirun leaves its jobs."""
    folder = place / "sweep"
    for seed in range(4):
        if not (folder / str(seed)).exists():
            done = run(
                "search", *DRAWN, "method=random", f"seed={seed}", f"hydra.run.dir={folder / str(seed)}"
            )
            assert (done.status, done.err) == (0, "")
    return folder


def beaten_area(points, corner):
    """Column by column of width 1, which the whole costs of the made-up table allow."""
    return sum(max([height for cost, height in points if cost <= x], default=0) for x in range(corner))


@pytest.mark.pictures
def test_the_front_of_a_folder_of_searches_beside_the_exact_one(run, searches, tables, tmp_path):
    overrides, figures = tables
    given = (*overrides, "front=phone", "tabular.cost_unit=ms", f"hydra.run.dir={tmp_path / 'out'}")
    done = run("derive", f"run={searches}", *given)
    assert (done.status, done.err) == (0, "")
    with (tmp_path / "out/front.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    found = [json.loads((searches / str(seed) / "summary.json").read_text())["genotype"] for seed in range(4)]
    assert [row["genotype"] for row in rows] == found
    points = [(figures[one][1], figures[one][0]) for one in found]
    assert [(float(row["phone"]), float(row["cifar10_test"])) for row in rows] == points
    front = pareto_front(*zip(*points, strict=True))
    assert [row["front"] for row in rows] == ["yes" if on else "no" for on in front]
    numbers = json.loads((tmp_path / "out/summary.json").read_text())
    everything = [(price, value) for value, price in figures.values()]
    corner = max(price for price, _ in everything)
    assert numbers["reference_cost"] == corner and numbers["on_front"] == sum(front)
    assert numbers["hypervolume"] == pytest.approx(beaten_area(points, corner), abs=1e-3)
    assert numbers["hypervolume_exact"] == pytest.approx(beaten_area(everything, corner), abs=1e-3)
    share = numbers["hypervolume"] / numbers["hypervolume_exact"]
    assert f"{share:.1%} of the exact front's" in done.out
    best = max(on * height for on, (_, height) in zip(front, points, strict=True))
    assert figures[numbers["genotype"]][0] == best
    assert (tmp_path / "out/genotypes/rank_001.json").read_bytes() == (
        tmp_path / "out/genotype.json"
    ).read_bytes()
    picture(tmp_path / "out/figures/front.png")


def test_a_list_of_searches_by_the_size_of_their_networks(run, searches, tables, tmp_path):
    runs = f"run=[{searches}/0,{searches}/2]"
    done = run("derive", runs, *tables[0][:2], "front=params", f"hydra.run.dir={tmp_path / 'out'}")
    assert (done.status, done.err) == (0, "")
    with (tmp_path / "out/front.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for seed, row in zip((0, 2), rows, strict=True):
        summary = json.loads((searches / str(seed) / "summary.json").read_text())
        assert (int(row["params"]), row["genotype"]) == (summary["params"], summary["genotype"])


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["tabular.file=null", "tabular.costs=null"], "compared by a table of accuracies"),
        (["front=watch"], "front=watch"),
        (["front=latency", "~costs"], "latency.table=null: latency is read from a table"),
        (["rank=supernet"], "without effect where run= names several searches"),
        (["tabular.metric=auto"], "tabular.metric=auto: no column of the table"),
        (["tabular.cost=phone"], "front=<column> says which cost"),
    ],
)
def test_what_cannot_be_compared_is_refused(run, searches, tables, tmp_path, overrides, words):
    given = [one for one in tables[0] if "~costs" not in overrides or not one.startswith("tabular.costs")]
    given += [one for one in overrides if one != "~costs"]
    done = run("derive", f"run={searches}", *given, f"hydra.run.dir={tmp_path / 'out'}")
    assert done.status == 2 and words in done.err
    assert not (tmp_path / "out/config.yaml").exists()


def test_folders_that_hold_no_searches_are_refused(run, searches, tables, tmp_path):
    (tmp_path / "empty").mkdir()
    for given, words in (
        (f"run={tmp_path / 'empty'}", "no search that has found a cell below"),
        ("run=[]", "run=[]: name the run folders"),
        (f"run=[{tmp_path / 'nowhere'}]", "no run folder there"),
    ):
        done = run("derive", given, *tables[0], f"hydra.run.dir={tmp_path / 'out'}")
        assert done.status == 2 and words in done.err
    # A table is no use to the derivation from one search.
    done = run("derive", f"run={searches}/0", tables[0][0], f"hydra.run.dir={tmp_path / 'out'}")
    assert done.status == 2 and "read where run= names several searches" in done.err


def test_what_belongs_to_another_cost_is_refused_and_a_strangers_folder_left_out(
    run, searches, tables, tmp_path
):
    overrides, _ = tables
    given = (f"run={searches}", *overrides, f"hydra.run.dir={tmp_path / 'out'}")
    for front, idle in (("params", "tabular.cost_unit=ms"), ("phone", "latency.table=/nowhere")):
        done = run("derive", *given, f"front={front}", idle)
        assert done.status == 2 and idle.split("=")[0] in done.err and f"front={front}" in done.err
    folder = tmp_path / "strange"
    folder.mkdir()
    (folder / "config.yaml").write_bytes(b"\xff\xfecommand: search")
    (folder / "genotype.json").write_text("{}")
    assert not _has_found(folder)
    assert folders_of(OmegaConf.create([str(folder), str(folder)])) == [folder]
