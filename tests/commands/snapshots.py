"""What a kill leaves at each write of a run: copies of its folder, made while the run goes on."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nas import files
from nas.files import Writer, this_process


@contextmanager
def at_each_write(monkeypatch, run: Path, copies: Path) -> Iterator[list[tuple[str, Path]]]:
    """Inside the block a run folder is copied twice for each file in it: just before and after its renaming.

    Yields:
        (name of the file that was written, `before` or `after`, the copy of the folder), in order.
    """
    taken: list[tuple[str, str, Path]] = []
    rename = os.replace

    def replace(source, target):
        inside = Path(target).is_relative_to(run)
        if inside:
            take(target, "before")
        rename(source, target)
        if inside:
            take(target, "after")

    def take(target, when):
        copy = copies / f"{len(taken):03d}" / run.name
        shutil.copytree(run, copy)
        for path in copy.rglob(f"*{this_process()}*"):
            path.rename(path.with_name(path.name.replace(str(this_process()), str(dead()))))
        taken.append((Path(target).name, when, copy))

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "replace", replace)
        yield taken


def dead() -> Writer:
    """A process that had this one's id before it."""
    mine = this_process()
    return Writer(mine.host, mine.pid, mine.start - 1)


def left_behind(folder: Path) -> list[str]:
    """Files that should have gone: under temporary names, and a lock that nobody holds."""
    found = folder.rglob(".*")
    return sorted(str(path.relative_to(folder)) for path in found)
