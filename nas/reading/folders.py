"""Folders as people have them, without what systems and notebooks leave in them. Standard library only."""

import os
from collections import deque
from collections.abc import Sequence
from pathlib import Path

# Beside what begins with a dot (.DS_Store, .ipynb_checkpoints, ._a.jpg): folders of macOS's and Windows's
# archives and bins, of Linux's file checks, and of a common network disk's thumbnails.
LEFT_BEHIND = ("__MACOSX", "$RECYCLE.BIN", "System Volume Information", "lost+found", "@eaDir")


def visible(folder: str | Path) -> tuple[list[os.DirEntry[str]], list[str]]:
    """The entries of a folder that somebody put there, by name; and the paths of what is passed over.

    Passed over is what is hidden (its name begins with a dot), what systems leave (`LEFT_BEHIND`), a link to
    nowhere, and a link to a folder that the link itself lies in.
    """
    with os.scandir(folder) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    kept, passed = [], []
    for entry in found:
        if _passed_over(entry, folder):
            passed.append(entry.path)
        else:
            kept.append(entry)
    return kept, passed


def files_below(folder: str | Path) -> tuple[list[str], list[str]]:
    """The files of a folder and its sub-folders, folder by folder, each by name; and what is passed over.

    Folders and files come in the order of their paths, as `sorted(os.walk(folder))` has them. A folder that
    links lead to again is read once.
    """
    [found], passed = files_below_each([folder])
    return found, passed


def files_below_each(folders: Sequence[str | Path]) -> tuple[list[list[str]], list[str]]:
    """`files_below` of several folders, where none is read twice, be it below one of them or below two.

    A folder belongs to the one that holds it, whatever links there are to it; one that only links lead to
    belongs to the first of them. Every further way is passed over.
    """
    found: list[list[tuple[str, str]]] = [[] for _ in folders]
    passed: list[str] = []
    read = set()
    own = deque((os.fspath(folder), files) for folder, files in zip(folders, found, strict=True))
    linked: deque[tuple[str, list[tuple[str, str]]]] = deque()
    while own or linked:
        place, files = (own or linked).popleft()
        status = os.stat(place)
        if (status.st_dev, status.st_ino) in read:
            passed.append(place)
            continue
        read.add((status.st_dev, status.st_ino))
        entries, more = visible(place)
        passed += more
        for entry in entries:
            if not entry.is_dir():
                files.append((place, entry.name))
            elif entry.is_symlink():
                linked.append((entry.path, files))
            else:
                own.append((entry.path, files))
    return [[os.path.join(*one) for one in sorted(files)] for files in found], sorted(passed)


def _passed_over(entry: os.DirEntry[str], folder: str | Path) -> bool:
    if entry.name.startswith(".") or entry.name in LEFT_BEHIND:
        return True
    if not entry.is_symlink():
        return False
    if not os.path.exists(entry.path):
        return True
    place, target = os.path.realpath(folder), os.path.realpath(entry.path)
    return os.path.commonpath([place, target]) == target
