"""Compilations that have failed, noted beside where the library would be: the next run waits for none."""

import contextlib
import os
import shutil
from pathlib import Path

from nas.printable import printable

# Characters of a compiler's message.
LONGEST = 160


def noted(place: Path) -> str | None:
    """What this compiler said of these sources before; None where it has not been tried, or is another now.

    Args:
        place: where the library would be (`nas.spaces.native.building.place_of`).
    """
    try:
        compiler, _, reason = note_of(place).read_text(encoding="utf-8").partition("\n")
    except (OSError, ValueError):
        return None
    return printable(reason.strip()[:LONGEST]) if compiler == _compiler() else None


def note(place: Path, error: Exception) -> str:
    """Notes that sources cannot be compiled; returns why, in one line."""
    reason = why(error)
    # A cache that cannot be written costs the next run a few seconds, and this one nothing.
    with contextlib.suppress(OSError):
        whole = place.parent.with_name(f".{place.parent.name}.{os.getpid()}")
        whole.write_text(f"{_compiler()}\n{reason}\n", encoding="utf-8")
        os.replace(whole, note_of(place))
    return reason


def forget(place: Path) -> None:
    """Removes the note of a library that could be built."""
    note_of(place).unlink(missing_ok=True)


def note_of(place: Path) -> Path:
    """The file of the note, named as the library's folder is: after sources, flags, processor and torch."""
    return place.parent.with_name(f"{place.parent.name}.failed")


def why(error: Exception) -> str:
    """The line of a compiler's output that says what is wrong, else its first."""
    lines = [one.strip() for one in str(error).splitlines() if one.strip()] or [type(error).__name__]
    return printable(next((one for one in lines if "error:" in one), lines[0])[:LONGEST])


def _compiler() -> str:
    """Which compiler torch takes, and which state of it."""
    named = os.environ.get("CXX") or "c++"
    found = shutil.which(named) or shutil.which("g++")
    if found is None:
        return named
    path = os.path.realpath(found)
    about = os.stat(path)
    return f"{path} {about.st_size} {about.st_mtime_ns}"
