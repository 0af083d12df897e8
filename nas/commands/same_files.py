"""The picture files of one's own that a run was started on, which whatever goes on from it is held to.

`files.json` of a run folder has the class and the length in bytes of every file of both parts. Names alone do
not tell two classes apart whose folders have changed places and whose files are called alike.
"""

import json
import logging
import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nas.errors import ConfigError, require
from nas.printable import listed
from nas.reading.files import MEBIBYTE
from nas.reading.json_text import read_object
from nas.reading.plain import is_whole

log = logging.getLogger(__name__)
FILE = "files.json"
PARTS = ("train", "test")
# More of them are not written down.
MOST = 100_000
# name -> (class, bytes), of each part.
Files = dict[str, dict[str, tuple[str, int]]]


def files_now(source: Any) -> Files | None:
    """The files of a data set of one's own; None where it has none, or too many."""
    if not hasattr(source, "settled") or not hasattr(source, "classes"):
        return None
    found: Files = {}
    for part in PARTS:
        images = getattr(source, part)()
        paths = getattr(images, "paths", None)
        if paths is None or len(paths) > MOST:
            return None
        classes = [source.classes[label] for label in images.labels.tolist()]
        rows = zip(images.names, classes, map(_length, paths), strict=True)
        found[part] = {name: (label, length) for name, label, length in rows}
    return found


def kept(found: Files | None) -> dict[str, str]:
    """The file of a run folder, as `Session.open` takes it."""
    return {} if found is None else {FILE: json.dumps(found, ensure_ascii=False) + "\n"}


def handed_on(folder: Path) -> dict[str, str]:
    """The same of a run that goes on from another one without its data, such as a derivation."""
    return kept(_read(folder))


def check_same(folder: Path, found: Files | None) -> None:
    """Refuses to continue a run where files have another class, or most of a class are other files.

    A few may have been mended since. Folders of earlier versions say nothing.

    Raises:
        ConfigError: they have, or `files.json` is damaged.
    """
    begun = _read(folder)
    if found is None or begun is None:
        return
    for part in PARTS:
        pairs = begun[part].items()
        common = [(name, before, found[part][name]) for name, before in pairs if name in found[part]]
        moved = [name for name, before, now in common if before[0] != now[0]]
        where = f"{folder / FILE}: the run was started on other files than the data set holds now"
        require(not moved, f"{where}: {listed(moved)}: of another class; begin a new run")
        known, other = Counter(before[0] for _, before, _ in common), Counter[str]()
        for _, before, now in common:
            other[before[0]] += before[1] != now[1]
        changed = [label for label, count in other.items() if count > 1 and 2 * count > known[label]]
        require(
            not changed,
            f"{where}: most files of class {listed(changed)} have another length; have classes changed "
            "places? Put the files back, or begin a new run",
        )


def tell_changed(folder: Path, named: str, found: Files | None) -> None:
    """Says how the data differ from those of an earlier run, whose cell or network is gone on from.

    Args:
        folder: of the earlier run.
        named: what was typed, such as `run=<folder>`.
        found: what the data set holds now.

    Raises:
        ConfigError: `files.json` is damaged.
    """
    begun = _read(folder)
    if found is None or begun is None:
        return
    before, now = ({**files["train"], **files["test"]} for files in (begun, found))
    if not before.keys() & now.keys():
        return  # other data, which were typed
    seen = sorted(begun["train"].keys() & found["test"].keys())
    facts = {
        "added": len(now.keys() - before.keys()),
        "gone": len(before.keys() - now.keys()),
        "of another class or length": sum(before[name] != now[name] for name in before.keys() & now.keys()),
    }
    told = ", ".join(f"{count:,} {what}" for what, count in facts.items() if count)
    if told or seen:
        log.warning(
            "warning: %s: its data have changed since (files: %s)%s",
            named,
            told or "in other parts",
            f"; {len(seen):,} pictures of the test part were training pictures there, so that the test is of "
            f"pictures that were seen ({listed(seen[:3])}{', ...' if len(seen) > 3 else ''})"
            if seen
            else "",
        )


def _length(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return -1


def _read(folder: Path) -> Files | None:
    path = folder / FILE
    if not os.path.lexists(path):
        return None
    read = read_object(path, at_most=64 * MEBIBYTE)
    for part in PARTS:
        rows = read.get(part)
        whole = isinstance(rows, Mapping) and all(map(_is_row, rows.values()))
        if not whole:
            raise ConfigError(f"{path}: damaged ({part} must be a mapping of names to class and bytes)")
    return {part: {name: (row[0], row[1]) for name, row in read[part].items()} for part in PARTS}


def _is_row(row: Any) -> bool:
    return isinstance(row, list) and len(row) == 2 and isinstance(row[0], str) and is_whole(row[1], -1)
