"""Searches for devices: what is run within which budget, and how what they find is judged."""

import csv
import json

import numpy as np
import pytest

from experiments.devices import tuning
from experiments.devices.__main__ import ANY, PROXY, main, parse, places, plan
from experiments.devices.targets import Standing, Tables
from experiments.devices.tuning import Tried
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
    assert [place[0] for place, _ in places(arguments)] == [ANY] * 6 + [PROXY] * 18 + ["phone"] * 18
    (free, *_), (proxy, *_), (own, *_) = (plan(device, arguments) for device in (ANY, PROXY, "phone"))
    assert not any("cost" in word for word in free.search)
    assert "method.cost.of=macs_32x32_10cls" in proxy.search
    # As exact as the table: so many architectures cost just the budget.
    for chain, column in ((proxy, "macs_32x32_10cls"), (own, "phone")):
        (word,) = (one for one in chain.search if one.startswith("method.cost.budget="))
        assert float(word.partition("=")[2]) == tables.budget(column, 0.1)
        assert "method.cost.rate=0.05" in chain.search
    # A rate for each method, where a file has them.
    file = tmp_path / "rates.json"
    file.write_text('{"drnas_nb201": 0.5, "dsonas": 0.02, "darts1": 0.1}')
    arguments = parse([*files, "--folder", str(tmp_path), "--rates", str(file)])
    found = {chain.place[2]: chain.search for chain in plan("phone", arguments)}
    for method, rate in (("drnas_nb201", 0.5), ("dsonas", 0.02), ("darts1", 0.1)):
        assert f"method.cost.rate={rate}" in found[method]
    file.write_text('{"drnas_nb201": 0.5}')
    with pytest.raises(SystemExit, match="has no rate of dsonas, darts1"):
        plan("phone", arguments)
    for text, said in (("{", "is no JSON: "), ("[0.5]", "must be a JSON object"), ("0.5", "must be a JSON")):
        file.write_text(text)
        with pytest.raises(SystemExit) as refused:
            plan("phone", arguments)
        told = str(refused.value)
        assert told.startswith(f"--rates {file}: {said}") and "\n" not in told


def test_a_rate_is_chosen_by_what_is_met_then_by_the_regret_where_nothing_is_reported(
    files, tmp_path, capsys
):
    def tried(rate, *regrets):
        met = [Standing(1.0, regret is not None, regret, 90.0) for regret in regrets]
        return [Tried(rate, "dsonas", one, None, 0) for one in met]

    often, rarely = tried(0.5, 3.0, 2.0), tried(0.02, 0.1, None)
    assert tuning.chosen([*rarely, *often]) == {"dsonas": 0.5}
    assert tuning.chosen([*often, *tried(0.1, 1.0, 2.0), *rarely]) == {"dsonas": 0.1}
    assert tuning.chosen([*often, *tried(0.1, 2.0, 3.0)]) == {"dsonas": 0.1}
    assert tuning.chosen([*tried(0.5, None), *tried(0.1, None)]) == {"dsonas": 0.1}
    with pytest.raises(SystemExit):
        tuning.parse([*files[:2], *files[4:6], "--device", "raspi4"])
    assert "--device raspi4: is reported" in capsys.readouterr().err


def test_the_choice_is_written_when_all_have_been_tried(files, tmp_path, capsys):
    given = [*files[:2], *files[4:6], "--device", "phone", "--folder", str(tmp_path), "--seeds", "9",
             "--methods", "dsonas", "--shares", "0.3", "--rates", "0.1", "0.5"]  # fmt: skip
    dear, cheap = NAMES[int(COSTS_N.argmax())], NAMES[int(COSTS_N.argmin())]
    for rate, arch in (("0.1", dear), ("0.5", cheap)):
        assert not (tmp_path / "results/rates.json").exists()
        folder = tmp_path / rate / "0.3/dsonas/seed9"
        folder.mkdir(parents=True)
        summary = {"status": "finished", "genotype": arch, "seed": 9, "seconds": 60}
        (folder / "summary.json").write_text(json.dumps(summary))
        tuning.main([*given, "--record-only"])
    assert json.loads((tmp_path / "results/rates.json").read_text()) == {"dsonas": 0.5}
    assert "| 1 of 1 |" in (tmp_path / "results/tuning.md").read_text()
    (chain, other) = tuning.plan(tuning.parse(given))
    assert ["method.cost.rate=0.1" in one.search for one in (chain, other)] == [True, False]
    assert "method.cost.of=phone" in chain.search
    capsys.readouterr()


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
    assert "3 of 21 searches are finished." in text
    assert "| 1 of 1 |" in rows["`drnas_nb201`"] and "| 0 of 1 | none |" in rows["`darts1`"]
    assert rows["`drnas_nb201`, no budget"].count("0 of 1") == 3
    assert "5 of 5" in rows["`evolution`, 100 queries"]
    assert (tmp_path / "runs/results/devices.png").stat().st_size > 1000
    assert "not run" in rows["`darts1`, multiply-adds as the proxy"]
    capsys.readouterr()
