"""Run folders that earlier versions wrote: killed in the middle, they go on, and what they hold is read.

`tests/old_runs/<version>/<kind>.tar.xz` holds one folder of each kind as that version left it.
"""

import csv
import json
import tarfile
from pathlib import Path

import pytest

from tests.conftest import ROOT

VERSIONS = sorted(path.name for path in (ROOT / "tests/old_runs").iterdir())
COMMANDS = {
    "darts": "search",
    "drnas": "search",
    "dsonas": "search",
    "words": "search",
    "evaluation": "evaluate",
    "evaluated_words": "evaluate",
}


def unpacked(version: str, kind: str, place: Path) -> Path:
    with tarfile.open(ROOT / "tests/old_runs" / version / f"{kind}.tar.xz") as archive:
        archive.extractall(place, filter="data")
    return place / kind


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", COMMANDS)
def test_a_folder_of_an_earlier_version_goes_on_and_is_read(run, version, kind, tmp_path):
    folder = unpacked(version, kind, tmp_path)
    kept = rows(folder)
    done = run(COMMANDS[kind], f"resume={folder}")
    assert done.status == 0, done.err
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["status"] == "finished" and summary["command"] == COMMANDS[kind]
    # A later version may record more, of later epochs alone.
    gone_on = [{key: row[key] for key in kept[0]} for row in rows(folder)]
    assert kept and len(gone_on) > len(kept) and gone_on[: len(kept)] == kept
    evaluated = (f"genotype={folder}", "debug=fast", f"hydra.run.dir={tmp_path / 'evaluated'}")
    if kind == "drnas":
        derived = run("derive", f"run={folder}", "samples=20", f"hydra.run.dir={tmp_path / 'derived'}")
        assert derived.status == 0, derived.err
        evaluated += ("space=nasbench201", "dataset=digits", "recipe=nasbench201")
    elif kind == "darts":
        evaluated += ("dataset=digits",)
    if kind in ("drnas", "darts"):
        found = run("evaluate", *evaluated)
        assert found.status == 0, found.err
    summed = run("sweeps", f"folder={tmp_path}")
    assert summed.status == 0 and kind in (tmp_path / "sweep.csv").read_text(), summed.out + summed.err


def test_a_folder_of_a_later_version_is_refused_in_one_line(run, tmp_path):
    folder = unpacked(VERSIONS[0], "drnas", tmp_path)
    summary = json.loads((folder / "summary.json").read_text())
    (folder / "summary.json").write_text(json.dumps(summary | {"schema": 99}))
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    for command, override in (("search", f"resume={folder}"), ("derive", f"run={folder}")):
        refused = run(command, override)
        assert refused.status == 2 and refused.err.count("\n") == 1, refused.err
        assert "written by a later version (schema 99; this one reads up to 1)" in refused.err
    assert before == {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
