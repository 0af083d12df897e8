"""The torture chamber as it is started: cases held, a planted fault seen, what was tried not tried again."""

import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path

import pytest

from experiments.records import between
from tests.forks import finish, launch
from torture import faults, keeping
from torture.kinds import spread
from torture.record import Record, Tried, row
from torture.rooms import ROOMS, room_of
from torture.same import unlike

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux") or shutil.which("cc") is None, reason="needs Linux and a C compiler"
)
CASE = "search-darts1_k=064"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("torture")


def chamber(folder, *words, timeout=900):
    # Not a fork: it preloads its library into what it starts.
    return finish(
        [sys.executable, "-X", "utf8", "-m", "torture", "--folder", str(folder), *words], timeout=timeout
    )


def tried(folder):
    return [json.loads(line) for line in (folder / "cases.jsonl").read_text().splitlines()]


def test_a_kill_is_tried_by_its_name_and_written_down(folder):
    done = chamber(folder, "--room", "kills", "--case", CASE)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"kills {CASE}: held" in done.stdout
    (one,) = tried(folder)
    assert (one["room"], one["case"], one["verdict"]) == ("kills", CASE, "held")
    assert not (folder / "cases/kills" / CASE).exists()
    done = chamber(folder, "--room", "checkpoints", "--case", "no-such")
    assert done.returncode == 2 and "--case no-such" in done.stderr


def test_a_fault_that_is_planted_in_the_code_is_seen(folder):
    found = chamber(folder, "--plants", "--room", "checkpoints")
    assert found.returncode == 0, found.stdout + found.stderr
    assert "checkpoints sums: caught" in found.stdout and "checkpoints pickles: caught" in found.stdout


def test_a_chamber_that_is_stopped_leaves_no_command_behind(tmp_path):
    line = [sys.executable, "-m", "torture", "--folder", tmp_path, "--room", "long", "--case", "steps_10000"]
    process = launch(line)
    lock, end = tmp_path / "cases/long/steps_10000/run/.lock", time.monotonic() + 300
    while not (lock.is_file() and lock.read_text()):
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.1)
    second = chamber(tmp_path, "--room", "long")
    assert (second.returncode, second.stderr.count("\n")) == (2, 1) and "is at work" in second.stderr
    pid = int(lock.read_text().strip().rsplit("-", 2)[1])
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130 and "stopped; the same command goes on" in out, err
    with pytest.raises(ProcessLookupError):
        while time.monotonic() < end:
            os.kill(pid, 0)
            time.sleep(0.1)


def test_two_minutes_of_every_room(tmp_path):
    """What `make torture TORTURE=2` does: a case of each room, and further ones while there is time."""
    done = chamber(tmp_path, "--minutes", "2", timeout=3000)
    assert done.returncode == 0, done.stdout + done.stderr
    assert {one["room"] for one in tried(tmp_path)} == set(ROOMS)


def test_what_was_tried_is_known_of_a_commit_and_half_a_line_is_not(tmp_path):
    record = Record(tmp_path / "cases.jsonl")
    one = Tried("kills", "a", "search", 0, "held", "", 1.0, 1, "c1", "2026-01-01")
    for other in (one, one, Tried("kills", "b", "search", 0, "failed", "why", 2.0, 3, "c1", "2026-01-01")):
        record.add(other)
    with record.path.open("a") as file:
        file.write('{"room": "ki')
    again = Record(record.path)
    assert [one.case for one in again.of(["c1"], 0)] == ["a", "b"] and again.of(["c2"], 0) == []
    total = row("kills", "", again.of(["c1"], 0), 7)
    assert (total.cases, total.held, total.failed, total.not_reached, total.inputs) == (2, 1, 1, 7, 4)


def test_the_first_cases_are_spread_over_all():
    assert sorted(spread(100)) == list(range(1, 101))
    assert spread(100)[:4] == [64, 32, 96, 16]


def test_times_are_no_difference_and_all_else_is():
    one = {"seconds": 1, "epoch": [1, {"loss": 0.5, "step_seconds": 3}]}
    assert list(unlike(one, {"seconds": 2, "epoch": [1, {"loss": 0.5, "step_seconds": 4}]})) == []
    assert list(unlike(one, {"seconds": 1, "epoch": [1, {"loss": 0.25}]})) == [
        ".epoch[1].loss: '0.5' and '0.25'"
    ]


def test_a_write_is_counted_refused_or_cut_in_half_by_its_number(tmp_path, monkeypatch):
    monkeypatch.setenv(faults.PRELOAD, "")
    assert faults.prepare(tmp_path / "kept") is None
    run = tmp_path / "run"
    run.mkdir()
    code = "import sys; p = sys.argv[1]; [open(f'{p}/{n}', 'wb', 0).write(b'12345678') for n in 'ab']"
    for fault, status, left in (
        (None, 0, ["12345678", "12345678"]),
        (faults.Fault(4, "kill"), -9, ["12345678", ""]),
        (faults.Fault(4, "tear"), -9, ["12345678", "1234"]),
        (faults.Fault(3, "fail", "ENOSPC"), 1, ["12345678"]),
    ):
        notes = tmp_path / f"notes {status} {fault and fault.action}"
        environment = {"PATH": "/usr/bin:/bin", faults.PRELOAD: str(next((tmp_path / "kept").glob("*.so")))}
        done = finish([sys.executable, "-S", str(script(tmp_path, code)), str(run)],
                      env=environment | faults.armed(run, notes, fault))  # fmt: skip
        assert done.returncode == status, done.stderr
        assert [path.read_text() for path in sorted(run.iterdir())] == left
        assert faults.listed(notes)[:2] == ["open /a", "write /a"]
        assert faults.counted(notes) == (3 if fault and fault.action == "fail" else 4)
        assert status != 1 or "No space left on device" in done.stderr
        for path in run.iterdir():
            path.unlink()


def script(folder: Path, code: str) -> Path:
    file = folder / "script.py"
    file.write_text(code)
    return file


def test_the_page_has_the_figures_of_the_record():
    """They are not typed: `--keep` writes both."""
    _, inside, _ = between(keeping.PAGE.read_text(), keeping.BEGIN, keeping.END)
    assert inside.strip() and (keeping.RESULTS / "cells.csv").is_file()
    names = {line.split(",")[0] for line in (keeping.RESULTS / "cells.csv").read_text().splitlines()[1:]}
    assert names and all(f"| {name} |" in inside for name in names)


def test_the_page_has_every_plant_with_what_is_recorded_of_it(tmp_path):
    _, inside, _ = between(keeping.PAGE.read_text(), keeping.BEGIN_PLANTS, keeping.END_PLANTS)
    rooms = [room_of(name, tmp_path) for name in ROOMS]
    assert inside.strip() == keeping.text_of_plants(rooms, keeping.plants_kept()).strip()
    assert all(room.plants for room in rooms)
    assert {one["room"] for one in keeping.plants_kept() if one["seen"] == "yes"} == set(ROOMS)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--keep", "--room", "kills"), "leave --room and --case out"),
        (("--plants", "--case", CASE), "leave --case out"),
        (("--plants", "nothing", "--room", "long"), "--plants nothing: unknown; known are memory (long)"),
        (("--since", "nothing", "--room", "long"), "--since nothing: no commit that the present one follows"),
    ],
)
def test_what_cannot_be_tried_is_refused_in_a_line(folder, words, told):
    done = chamber(folder, *words)
    assert done.returncode == 2 and told in done.stderr.splitlines()[-1], done.stderr
