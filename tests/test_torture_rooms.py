"""Rooms of the torture chamber for what people send and type: a few cases of each, a fault that is seen."""

import re
import shutil
from fnmatch import filter as matching

import pytest

from torture.room import Case
from torture.rooms import planted, room_of

# A few cases of each room that are quick, and one that sees the planted fault.
FEW = {
    "fuzz": (
        "genotype.bytes.000", "genotype.followed.000", "genotype-json.plain.000", "latency.written.000",
        "summary.plain.000", "npz.bytes.000", "checkpoint.bytes.000", "override.bytes.000",
    ),
    "hostile": (
        "genotype.0.cell.json.number", "table.0.costs.csv.pipe", "configurations.0.experiment_mine.yaml.tag",
    ),
    "keys": ("search.trainer.max_epochs.list", "search.recipe.num_cells.minus", "search.seed.other"),
    "numbers": ("data.nan", "data.duplicates", "darts1.weight.nan.0"),
    "exports": ("nasbench201.safetensors.000", "darts_rnn.timm.000", "dso.onnx.000"),
}  # fmt: skip
PLANTS = {
    "fuzz": ("order", "genotype.bytes.000"),
    "hostile": ("json", "genotype.0.cell.json.number"),
    "keys": ("dropped", "search.seed.other"),
    "numbers": ("guards", "darts1.weight.nan.0"),
    "exports": ("weights", "nasbench201.safetensors.000"),
}
CASES = [(name, case) for name, cases in FEW.items() for case in cases]
INPUTS = 200  # of a batch


@pytest.fixture(scope="module")
def chamber(tmp_path_factory):
    return tmp_path_factory.mktemp("chamber")


def named(room, name):
    """The case of a name; of a batch fewer inputs."""
    case = next(case for case in room.cases(0) if case.name == name)
    fewer = {"inputs": min(case.options["inputs"], INPUTS)} if "inputs" in case.options else {}
    return Case(case.name, case.options | fewer)


def tried(room, name, folder):
    """What became of a case, as the chamber tells it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        return room.run(named(room, name), folder)
    except Exception as error:  # as the chamber does
        return error


@pytest.mark.parametrize(("name", "case"), CASES, ids=[f"{name} {case}" for name, case in CASES])
def test_a_case_holds(name, case, chamber, tmp_path):
    found = tried(room_of(name, chamber), case, tmp_path / "case")
    assert getattr(found, "verdict", None) == "held", found


@pytest.mark.parametrize("name", PLANTS)
def test_a_planted_fault_is_seen(name, chamber, tmp_path):
    room, (plant, case) = room_of(name, chamber), PLANTS[name]
    with planted(room, plant, chamber):
        found = tried(room, case, tmp_path / "case")
    assert getattr(found, "verdict", "failed") == "failed", found
    assert re.search(room.plants[plant].says, getattr(found, "said", None) or str(found)), found


@pytest.mark.parametrize("name", FEW)
def test_cases_of_a_room_have_names_of_their_own_that_files_can_have(name, chamber):
    names = [case.name for case in room_of(name, chamber).cases(0)]
    assert len(set(names)) == len(names) > 100
    assert all(
        one.replace(".", "").replace("-", "").replace("_", "").replace("=", "").isalnum() for one in names
    )
    assert names == [case.name for case in room_of(name, chamber).cases(0)]


def test_every_plant_is_looked_for_with_a_case_that_there_is(chamber):
    for name in FEW:
        room = room_of(name, chamber)
        known = [case.name for case in room.cases(0)]
        for plant in room.plants.values():
            assert all(matching(known, one) for one in plant.cases), (name, plant.about)
