"""Searches for devices: what is run within which budget, and how what they find is judged."""

import csv
import json

import numpy as np
import pytest

from experiments.devices.__main__ import ANY, PROXY, main, parse, places, plan
from experiments.devices.targets import Tables
from experiments.evidence.reference import algorithm
from nas.analysis.benchmark_table import read_csv
from nas.analysis.cost_table import read_costs
from nas.spaces.nasbench201 import NasBench201Space

CELLS = NasBench201Space("nasbench201").architectures()
NAMES = [str(CELLS.genotype(code)) for code in CELLS.all()]
RANDOM = np.random.default_rng(0)
COSTS_N = 1 + RANDOM.uniform(0, 1, (6, 5))[np.arange(6), CELLS.all()].sum(1).round(3)
FINAL_N = 50 + RANDOM.uniform(0, 8, (6, 5))[np.arange(6), CELLS.all()].sum(1).round(3)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Made-up tables of all architectures, as options."""
    folder = tmp_path_factory.mktemp("tables")
    for name, columns in {
        "final": {"cifar10_test": FINAL_N},
        "early": {"cifar10_val": FINAL_N - 10},
        "costs": {"phone": COSTS_N, "macs_32x32_10cls": COSTS_N[::-1] * 1e6 + 7},
    }.items():
        with (folder / f"{name}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["arch", *columns])
            writer.writerows(zip(NAMES, *columns.values(), strict=True))
    return [
        "--table", str(folder / "final.csv"), "--search-table", str(folder / "early.csv"),
        "--costs", str(folder / "costs.csv"), "--devices", "phone", "--blackbox-seeds", "5",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def tables(files):
    final, early, costs = (files[place] for place in (1, 3, 5))
    return Tables(read_csv(final), read_costs([costs]), read_csv(early))


def test_a_budget_is_what_a_share_of_all_do_not_exceed_and_regret_is_to_the_best_within_it(tables):
    for share in (0.1, 0.3, 0.6):
        budget = tables.budget("phone", share)
        assert (budget >= COSTS_N).mean() == pytest.approx(share, abs=1e-3)
        for place in (0, 77, 15_624, int(COSTS_N.argmin())):
            found = tables.standing(NAMES[place], "phone", share)
            within = COSTS_N[place] <= budget
            assert (found.cost, found.met) == (COSTS_N[place], within)
            best = FINAL_N[budget >= COSTS_N].max()
            assert found.regret == (pytest.approx(best - FINAL_N[place], abs=1e-4) if within else None)


def test_black_box_searches_stay_within_the_budget(tables):
    regrets_S = tables.blackbox(algorithm("evolution"), "phone", 0.3, 5)
    within = tables.budget("phone", 0.3) >= COSTS_N
    possible = FINAL_N[within].max() - FINAL_N[within]
    assert all(np.isclose(possible, regret).any() for regret in regrets_S)


def test_every_search_has_its_own_budget_and_a_device_is_complete_before_the_next(files, tables, tmp_path):
    arguments = parse([*files, "--folder", str(tmp_path), "--seeds", "0", "1"])
    assert [place[0] for place, _ in places(arguments)] == [ANY] * 4 + [PROXY] * 12 + ["phone"] * 12
    (free, *_), (proxy, *_), (own, *_) = (plan(device, arguments) for device in (ANY, PROXY, "phone"))
    assert not any("cost" in word for word in free.search)
    assert "method.cost.of=macs_32x32_10cls" in proxy.search
    # As exact as the table: so many architectures cost just the budget.
    for chain, column in ((proxy, "macs_32x32_10cls"), (own, "phone")):
        (word,) = (one for one in chain.search if one.startswith("method.cost.budget="))
        assert float(word.partition("=")[2]) == tables.budget(column, 0.1)


@pytest.mark.pictures
def test_what_is_there_is_judged_on_each_device(files, tmp_path, capsys):
    cheap, dear = NAMES[int(COSTS_N.argmin())], NAMES[int(COSTS_N.argmax())]
    for place, arch in (
        ("phone/0.1/drnas_nb201", cheap), ("phone/0.1/darts1", dear), ("any/1/drnas_nb201", dear),
    ):  # fmt: skip
        folder = tmp_path / "runs" / place / "seed0"
        folder.mkdir(parents=True)
        summary = {"status": "finished", "genotype": arch, "seed": 0, "seconds": 60}
        (folder / "summary.json").write_text(json.dumps(summary))
    main([*files, "--folder", str(tmp_path / "runs"), "--seeds", "0", "--record-only"])
    text = (tmp_path / "runs/results/devices.md").read_text()
    rows = {line.split("|")[1].strip(): line for line in text.splitlines() if line.startswith("| ")}
    assert "3 of 14 searches are finished." in text
    assert "| 1 of 1 |" in rows["`drnas_nb201`"] and "| 0 of 1 | none |" in rows["`darts1`"]
    assert rows["`drnas_nb201`, no budget"].count("0 of 1") == 3
    assert "5 of 5" in rows["`evolution`, 100 queries"]
    assert (tmp_path / "runs/results/devices.png").stat().st_size > 1000
    assert "not run" in rows["`darts1`, multiply-adds as the proxy"]
    capsys.readouterr()
