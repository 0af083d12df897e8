"""Files and folders of a stranger, as commands meet them: no code, nothing written elsewhere, one line."""

import json
import os
import random
import re
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any
from unittest import mock

import torch

from nas.errors import ConfigError
from torture.commands import Ended, Failed, finish, held, start
from torture.kinds import in_turn
from torture.room import Case, Outcome, Plant
from torture.rooms.attacks import ATTACKS, Place, attack, drawn_of
from torture.rooms.goods import WARES, Goods, Ware, words_of
from torture.rooms.kills import in_place

# Seconds of a processor that a command may take, and on the clock of a machine that does other things too.
PATIENCE, CLOCK = 10.0, 100.0
# Bytes of memory, with those of Python, torch and all other packages.
MEMORY = 1 << 30
# An exception that is none of this project's, as a command tells it; where it wrote how it came to one.
FOREIGN = re.compile(r"error: [\w.]*(Error|Exception|Warning|Exit)\b")
TRACEBACK = re.compile(r"The traceback is in (.*?); ")
# What a run may break down by.
FORESEEN = ("nas.engine.divergence.Diverged", "nas.files.WriteFailed", "nas.errors.ConfigError")
# Mutants of each file.
MUTANTS = 20


class Hostile:
    """The room."""

    name = "hostile"
    about = "genotypes, run folders, tables, archives, pictures, texts and exported files of a stranger"
    holds = (
        "no code of his run, nothing written outside of the folder, 10 s and 1 GiB at most, "
        "one line and status 2 (or 1 of a run), or read"
    )

    def __init__(self, folder: Path):
        self.goods = Goods(folder)

    @property
    def plants(self) -> Mapping[str, Plant]:
        """What would let code in, and what would let a traceback out."""
        return PLANTS

    def cases(self, seed: int) -> Iterator[Case]:
        """Each attack on each file of each ware by each command that reads it; then mutants."""
        yield from in_turn(*(self._attacks(name, ware) for name, ware in WARES.items()))
        for number in range(MUTANTS):
            for name, ware in WARES.items():
                for file, commands in ware.files.items():
                    for way in drawn_of(file):
                        command = commands[number % len(commands)]
                        yield _case(name, command, file, way, f"{seed}.{number}", f".{number:03d}")

    def _attacks(self, name: str, ware: Ware) -> Iterator[Case]:
        found = [
            _case(name, command, file, way)
            for file, commands in ware.files.items()
            for way in ATTACKS
            for command in commands
        ]
        # So that a few of them are of several kinds.
        random.Random(name).shuffle(found)
        yield from found

    def run(self, case: Case, folder: Path) -> Outcome:
        """Sends a ware that something was done to, and looks at the command and at what lies around."""
        options: Mapping[str, Any] = case.options
        ware, place = WARES[options["cell"]], Place(folder)
        ware.make(place.given, self.goods)
        path = place.given / options["file"]
        held(path.is_file(), f"{options['cell']} has no {options['file']}")
        attack(place, path, options["way"], random.Random(case.name + options["seed"]))
        name, *words = words_of(ware, options["command"], place.given, self.goods, folder)
        ended, memory = watched(name, *words, place=folder, cwd=place.work)
        line = f"nas.{name} {' '.join(words)[:200]}"
        changed = place.untouched()
        held(not changed, f"{'; '.join(changed)} ({line})")
        held(memory <= MEMORY, f"{memory / 2**20:.0f} MiB of memory ({line})")
        wrong = unlike_a_refusal(ended)
        held(wrong is None, f"{wrong} ({line})")
        return Outcome("held", "read" if ended.status == 0 else "")


def _case(ware: str, command: int, file: str, way: str, seed: str = "", mark: str = "") -> Case:
    options = {"cell": ware, "command": command, "file": file, "way": way, "seed": seed}
    return Case(f"{ware}.{command}.{file.replace('/', '_')}.{way}{mark}", options)


def unlike_a_refusal(ended: Ended) -> str | None:
    """What is wrong with how a command ended; None where it is right.

    It may have read what it was given. Otherwise it says one line, begun by `error:`; of a run that broke
    down, where the traceback is and how to go on too.
    """
    if "Traceback" in ended.err + ended.out:
        return f"a traceback: {ended.last}"
    if ended.status == 0:
        return None
    if ended.status not in (1, 2):
        return f"status {ended.status}: {ended.last}"
    lines = ended.err.strip().split("\n")
    errors = [line for line in lines if line.startswith("error: ")]
    if len(errors) != 1:
        return f"{len(errors)} errors in {len(lines)} lines: {ended.last}"
    if not all(line.isprintable() for line in lines):
        return f"not printable: {ended.err[:200]!r}"
    if ended.status == 2 and lines[-1] != errors[0]:
        return f"more than one line: {lines[-1][:200]}"
    return _unforeseen(ended.err, errors[0]) if ended.status == 1 else None


def _unforeseen(said: str, error: str) -> str | None:
    """Why a run broke down, where nobody has foreseen that."""
    if FOREIGN.match(error):
        return f"broke down by {error[:300]}"
    told = TRACEBACK.search(said)
    if told is None or not Path(told[1]).is_file():
        return None
    last = Path(told[1]).read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1]
    return None if last.startswith(FORESEEN) else f"broke down by {last[:300]}"


def watched(name: str, *words: object, place: Path, **options: Any) -> tuple[Ended, int]:
    """Runs a command; the most memory that it has had, in bytes.

    Raises:
        Failed: it took too long.
    """
    begun = time.monotonic()
    process = start(name, *words, place=place, **options)
    watch = Watch(process)
    watch.start()
    ended = finish(process, begun, CLOCK + 20)
    watch.join()
    if watch.over:
        raise Failed(f"{watch.over}: nas.{name} {' '.join(map(str, words))[:200]}")
    return ended, watch.memory


class Watch(threading.Thread):
    """Looks at a process and ends it where it takes too long.

    Attributes:
        memory: the most that it has had.
        over: why it was ended; empty where it was not.
    """

    def __init__(self, process: Any):
        super().__init__(daemon=True)
        self.process, self.memory, self.over = process, 0, ""
        self._begun, self._ticks = time.monotonic(), os.sysconf("SC_CLK_TCK")

    def run(self) -> None:
        """Until the process ends."""
        pid = self.process.pid
        while not self.over:
            try:
                status = Path(f"/proc/{pid}/status").read_text()
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                return
            if fields[0] == "Z":
                return
            for line in status.splitlines():
                if line.startswith("VmHWM:"):
                    self.memory = max(self.memory, 1024 * int(line.split()[1]))
            seconds = (int(fields[11]) + int(fields[12])) / self._ticks
            if seconds > PATIENCE:
                self.over = f"above {PATIENCE:.0f} s of a processor"
            elif time.monotonic() - self._begun > CLOCK:
                self.over = f"hangs: above {CLOCK:.0f} s, of which {seconds:.1f} s of a processor"
            time.sleep(0.02)
        with suppress(ProcessLookupError, subprocess.SubprocessError):
            self.process.kill()


def _unpickles() -> AbstractContextManager[Any]:
    load = torch.load
    return mock.patch.object(
        torch, "load", lambda *given, **options: load(*given, **options | {"weights_only": False})
    )


def _parsed(parse: Callable[[str], Any]) -> AbstractContextManager[Any]:
    from nas import genotype

    return mock.patch.object(genotype, "parse_json", lambda text, where: parse(text))


def _in_lines(text: str) -> Any:
    raise ConfigError(f"damaged:\n{text[:100]}")


def _busy(text: str) -> Any:
    end = time.process_time() + 2 * PATIENCE
    while time.process_time() < end:
        pass
    raise ConfigError("damaged")


def _large(text: str) -> Any:
    held_on = b"x" * (MEMORY + 1)
    raise ConfigError(f"damaged: {len(held_on)}")


@contextmanager
def _through_links() -> Iterator[None]:
    from nas.running import config, session

    with (
        in_place(),
        mock.patch.object(session, "check_folder", lambda folder, where: None),
        mock.patch.object(config, "check_folder", lambda folder, where: None),
    ):
        yield


READ = ("genotype.0.cell.json.number",)
PLANTS: Mapping[str, Plant] = MappingProxyType(
    {
        "pickles": Plant(
            "checkpoints are unpickled", "the stranger's code has run", _unpickles,
            ("search-run.0.checkpoints_epoch=0002.ckpt.torch-pickle",),
        ),
        "json": Plant(
            "broken JSON is not caught", "broke down by", lambda: _parsed(json.loads), READ
        ),
        "lines": Plant("a refusal has two lines", "more than one line", lambda: _parsed(_in_lines), READ),
        "links": Plant(
            "what is written goes where links in a run folder lead", "outside of the folder", _through_links,
            ("search-run.0.*.link-*", "search-run.0.*.parent"),
        ),
        "slow": Plant(
            "a file is read for 20 s of a processor", "s of a processor", lambda: _parsed(_busy), READ
        ),
        "memory": Plant("a file is read into 1 GiB", "MiB of memory", lambda: _parsed(_large), READ),
    }
)  # fmt: skip


def room(folder: Path) -> Hostile:
    """The room; its folder keeps runs that nothing is wrong with."""
    return Hostile(folder)
