"""One run at a time is at work in a folder, and a dead one is at work in none."""

import os
import shutil
import signal
import subprocess
import sys

import pytest

from nas.errors import ConfigError
from nas.files import WriteFailed
from nas.running.locks import FILE, FolderLock

HOLD = """
import os, sys, time
from pathlib import Path
from nas.running.locks import FolderLock
lock = FolderLock(Path(sys.argv[1]), "resume=x")
if os.fork() == 0:  # as a worker of a loader, which outlives its parent for a moment
    time.sleep(60)
print(os.getpid(), flush=True)
time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """A process that holds the lock of `tmp_path / "run"`, with a worker."""
    (tmp_path / "run").mkdir()
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "run")],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert int(process.stdout.readline()) == process.pid
    yield process
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def test_a_second_run_is_refused_until_the_first_is_gone_however_it_went(tmp_path, holder):
    folder = tmp_path / "run"
    with pytest.raises(ConfigError, match=rf"^resume=run: process {holder.pid} on .*is at work in this run"):
        FolderLock(folder, "resume=run")
    holder.kill()
    holder.wait()
    # Its worker is still there, and so is the file.
    assert (folder / FILE).exists()
    lock = FolderLock(folder, "resume=run")
    lock.check()
    lock.release()
    lock.release()
    assert list(folder.iterdir()) == []


def test_a_lock_that_nobody_knows_any_more_is_let_go(tmp_path):
    FolderLock(tmp_path, "resume=x")
    assert list(tmp_path.iterdir()) == []


def test_a_stranger_s_lock_that_leads_elsewhere_is_not_followed(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "precious").write_text("kept")
    (tmp_path / "run" / FILE).symlink_to(tmp_path / "precious")
    with pytest.raises(ConfigError, match="no regular file"):
        FolderLock(tmp_path / "run", "resume=x")
    assert (tmp_path / "precious").read_text() == "kept"


def test_a_folder_that_has_gone_or_is_another_is_noticed(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    lock = FolderLock(folder, "resume=run")
    shutil.copytree(folder, tmp_path / "copy")
    folder.rename(tmp_path / "moved")
    with pytest.raises(WriteFailed, match="has gone"):
        lock.check()
    (tmp_path / "copy").rename(folder)
    with pytest.raises(WriteFailed, match="another one is in its place"):
        lock.check()
    lock.release()
    assert (folder / FILE).exists(), "the lock of another run is not this one's to remove"
    with pytest.raises(WriteFailed, match="cannot write it"):
        FolderLock(tmp_path / "nowhere", "resume=x")
