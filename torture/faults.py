"""Faults of the disk in a command that is started: a preloaded library (faults.c), armed by variables."""

import errno
import hashlib
import os
import shutil
import struct
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

SOURCE = Path(__file__).with_suffix(".c")
PRELOAD = "LD_PRELOAD"
# What each process of a run reads as it starts, or as its fork begins.
FOLDER, COUNTER, LOG = "TORTURE_FOLDER", "TORTURE_COUNTER", "TORTURE_LOG"
AT, ACTION, ERRNO, LASTING = "TORTURE_AT", "TORTURE_ACTION", "TORTURE_ERRNO", "TORTURE_LASTING"
Action = Literal["kill", "kill-after", "tear", "fail", "short", "stop", "clock"]


@dataclass(frozen=True)
class Fault:
    """What happens at the n-th write below a folder.

    Attributes:
        at: which write it is, from 1.
        action: `kill` just before it, `kill-after`, `tear` (half of the bytes are written, then a kill),
            `fail` (with an error), `short` (half of the bytes are written, then the disk is full),
            `stop` (the process waits there for SIGCONT), `clock` (set back by a day from there on).
        error: the name of the error of a failing write (`ENOSPC`).
        lasting: whether all later writes fail too.
    """

    at: int
    action: Action
    error: str = "EIO"
    lasting: bool = False


def prepare(folder: Path) -> str | None:
    """Has all processes that this one starts from now on load the library; says why that cannot be.

    Args:
        folder: where the compiled library is kept.
    """
    if not sys.platform.startswith("linux"):
        return "faults of the disk need Linux"
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        return "faults of the disk need a C compiler (cc)"
    digest = hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:16]
    library = folder.absolute() / f"faults-{digest}.so"
    if not library.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as place:
            built = Path(place) / library.name
            line = [compiler, "-O2", "-shared", "-fPIC", "-o", str(built), str(SOURCE), "-ldl"]
            done = subprocess.run(line, capture_output=True, text=True)
            if done.returncode:
                return f"{compiler} does not compile {SOURCE.name}: {done.stderr.strip().splitlines()[:1]}"
            built.rename(library)
    if " " in str(library):
        return f"{PRELOAD} takes no path with a blank: {library}"
    if str(library) not in os.environ.get(PRELOAD, "").split(":"):
        os.environ[PRELOAD] = ":".join(filter(None, (os.environ.get(PRELOAD), str(library))))
    return None


def armed(folder: Path, notes: Path, fault: Fault | None = None) -> dict[str, str]:
    """The variables of a command whose writes below a folder are counted, and of which one may fail.

    Args:
        folder: whose files are meant; resolved.
        notes: a folder for the count and the list of the writes, outside of `folder`.
        fault: None where they are counted alone.
    """
    notes.mkdir(parents=True, exist_ok=True)
    found = {FOLDER: str(folder), COUNTER: str(notes / "count"), LOG: str(notes / "writes.txt")}
    if fault is not None:
        found |= {AT: str(fault.at), ACTION: fault.action, ERRNO: str(getattr(errno, fault.error))}
        found |= {LASTING: "1"} if fault.lasting or fault.action == "short" else {}
        if fault.action == "short":
            found[ERRNO] = str(errno.ENOSPC)
    return found


def counted(notes: Path) -> int:
    """How many writes there were so far, of all processes together."""
    content = (notes / "count").read_bytes()
    return struct.unpack("l", content[: struct.calcsize("l")])[0]


def listed(notes: Path) -> list[str]:
    """The writes in order, `<operation> <path below the folder>` each."""
    lines = (notes / "writes.txt").read_text(encoding="utf-8", errors="replace").splitlines()
    return [line.partition(" ")[2] for line in lines]
