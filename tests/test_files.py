"""Files are whole or not there, and what dead writers left behind is told from what live ones are writing."""

import os
import subprocess
import sys
import time

import pytest

from nas import files
from nas.errors import ConfigError
from nas.files import WriteFailed, Writer, sweep, this_process, write_failure


def dead_writer() -> Writer:
    """A process of this machine that was there and is gone."""
    code = "from nas.files import this_process; print(this_process())"
    text = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    host, pid, start = text.strip().rsplit("-", 2)
    return Writer(host, int(pid), int(start))


def leave(folder, writer, name="summary.json"):
    path = folder / f".{name}.{writer}.tmp"
    path.write_text("half of it")
    return path


def age(path, seconds):
    os.utime(path, (time.time() - seconds,) * 2)


def test_a_file_is_replaced_whole_and_its_temporary_name_says_who_writes_it(tmp_path):
    path = tmp_path / "summary.json"
    files.write_text(path, "old")
    with files.replacing(path) as temporary:
        temporary.write_text("new")
        assert files.TEMPORARY.fullmatch(temporary.name)["pid"] == str(os.getpid())
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["summary.json"]


def test_a_write_that_breaks_off_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "summary.json"
    files.write_text(path, "old")
    full = pytest.raises(WriteFailed, match=r"summary\.json: cannot write it \(No space left on device\)")
    with full, files.replacing(path), open("/dev/full", "wb", buffering=0) as device:
        device.write(b"new")
    with pytest.raises(KeyboardInterrupt), files.replacing(path) as temporary:
        temporary.write_text("ne")
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["summary.json"]


def test_a_folder_that_has_gone_is_not_made_anew(tmp_path):
    folder = tmp_path / "run"
    with pytest.raises(WriteFailed, match="No such file or directory"):
        files.write_text(folder / "summary.json", "{}")
    with pytest.raises(WriteFailed, match="No such file or directory"):
        files.subfolder(folder / "figures")
    with pytest.raises(WriteFailed, match="No such file or directory"):
        files.append_text(folder / "metrics.csv", "1,2\n")
    assert not folder.exists()
    files.write_text(folder / "figures/one.csv", "1", parents=True)
    with pytest.raises(WriteFailed, match="No such file or directory"):
        files.append_text(folder / "metrics.csv", "1,2\n")
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteFailed, match="Not a directory"):
        files.write_text(tmp_path / "file/summary.json", "{}")


def test_a_failed_write_is_found_among_the_causes_of_an_error(tmp_path):
    try:
        try:
            with open("/dev/full", "wb", buffering=0) as full:
                full.write(b"x")
        except OSError as error:
            raise RuntimeError("the logger broke down") from error
    except RuntimeError as error:
        assert "No space left" in str(files.write_failure(error))
    assert files.write_failure(RuntimeError("other")) is None
    assert files.write_failure(ConfigError("other")) is None
    assert files.write_failure(FileNotFoundError(2, "a data set is missing")) is None


def test_what_a_dead_writer_left_is_swept_away_and_what_a_live_one_writes_is_not(tmp_path):
    mine, dead = this_process(), dead_writer()
    parent = Writer(mine.host, os.getppid(), files._start(os.getppid()))
    assert dead.gone() and not mine.gone() and not parent.gone()
    # Its id may have been given to another process since.
    assert Writer(mine.host, os.getpid(), mine.start - 1).gone()
    left = [leave(tmp_path, dead), leave(tmp_path, Writer(mine.host, os.getpid(), mine.start - 1))]
    kept = [leave(tmp_path, mine), leave(tmp_path, parent), leave(tmp_path, Writer("elsewhere", 1, 1))]
    for path in kept:
        age(path, 1e6)
    assert sorted(sweep(tmp_path)) == sorted(left)
    assert sorted(tmp_path.iterdir()) == sorted(kept)


def test_who_holds_the_lock_also_sweeps_what_no_process_here_can_have_left(tmp_path):
    names = (
        ".summary.json.12.tmp",
        ".genotype.png.12.tmp",
        ".epoch=0003.partial",
        "stage.host.12.partial",
        ".best.pt.partial",
        ".op_weights_12.png",
    )
    old = [tmp_path / name for name in names] + [leave(tmp_path, Writer("elsewhere", 1, 1))]
    for path in old:
        path.write_text("half of it")
        age(path, 1e6)
    # Another process of this run, on another machine.
    new = leave(tmp_path, Writer("elsewhere", 2, 2))
    age(new, -5)
    ours = [tmp_path / name for name in ("summary.json", "epoch=0003.ckpt", ".hidden", "genotype.png")]
    for path in ours:
        path.write_text("")
        age(path, 1e6)
    assert sweep(tmp_path) == []
    assert sorted(sweep(tmp_path, own=True)) == sorted(old)
    assert sorted(tmp_path.iterdir()) == sorted([new, *ours])
    assert sweep(tmp_path / "nowhere", own=True) == []


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="only there is it known when a process began")
def test_a_process_that_is_dead_but_not_buried_is_gone():
    process = subprocess.Popen([sys.executable, "-c", "pass"])
    writer = Writer(this_process().host, process.pid, files._start(process.pid))
    deadline = time.monotonic() + 20
    while not writer.gone() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert writer.gone()
    process.wait()


def test_an_error_raised_from_its_own_cause_is_looked_at_once():
    """Which closes a circle: whoever follows it without looking never comes back."""
    cause = ConfigError("refused")
    try:
        try:
            raise cause
        except ConfigError as error:
            raise RuntimeError("wrapped") from error
    except RuntimeError as wrapped:
        try:
            raise cause from wrapped
        except ConfigError as error:
            assert write_failure(error) is None
