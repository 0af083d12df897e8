"""Checkpoints with flipped bits, of every length, of other runs, and things in their place that are none."""

import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import torch

from torture.commands import command, held
from torture.kinds import CELLS, CELLS201, FEW, KINDS, Kind, drawn, in_turn
from torture.room import Case, Outcome, Plant
from torture.same import fingerprint
from torture.wholes import Wholes, same_end

PARTS = 64
SEARCH, EVALUATE = KINDS[0], next(kind for kind in KINDS if kind.name == "evaluate")
# Runs whose newest checkpoint is put in the place of another's: what is typed for them.
STRANGERS = {
    "another-method": Kind(
        "another-method", "search", ("method=gdas", *CELLS, "trainer.max_epochs=2"), resumes=True
    ),
    "another-space": Kind(
        "another-space", "search", ("method=darts1", *CELLS201, *FEW, "trainer.max_epochs=2"), resumes=True
    ),
    "another-width": Kind(
        "another-width", "search", ("method=darts1", *CELLS, "space.init_channels=4", "trainer.max_epochs=2"),
        resumes=True,
    ),
    "another-precision": Kind(
        "another-precision", "search",
        ("method=darts1", *CELLS, "hardware.precision=64-true", "trainer.max_epochs=2"), resumes=True,
    ),
    "another-command": EVALUATE,
}  # fmt: skip
INSTEAD = ("missing", "folder", "pipe", "link-loop", "link-away", "empty", "text", "pickle")
# What stands in a checkpoint of another version, or of nobody's.
ODD = {
    "no-state": lambda one: one.pop("state_dict"),
    "epoch-as-text": lambda one: one.update(epoch="1"),
    "negative-epoch": lambda one: one.update(epoch=-1),
    "huge-epoch": lambda one: one.update(epoch=10**12),
    "no-optimizers": lambda one: one.pop("optimizer_states"),
    "optimizers-as-text": lambda one: one.update(optimizer_states="none"),
    "fewer-optimizers": lambda one: one.update(optimizer_states=one["optimizer_states"][:-1]),
    "no-loops": lambda one: one.pop("loops"),
    "weights-as-integers": lambda one: one.update(
        state_dict={
            key: value.long() if torch.is_tensor(value) else value for key, value in one["state_dict"].items()
        }
    ),
    "a-weight-more": lambda one: one["state_dict"].update(more=torch.zeros(2)),
    "a-weight-less": lambda one: one["state_dict"].pop(next(iter(one["state_dict"]))),
    "nan-weights": lambda one: one.update(
        state_dict={
            key: value * float("nan") if torch.is_tensor(value) and value.is_floating_point() else value
            for key, value in one["state_dict"].items()
        }
    ),
    "another-lightning": lambda one: one.update({"pytorch-lightning_version": "99.0.0"}),
}


class Checkpoints:
    """The newest checkpoint of a run is spoilt: it is refused, or the one before is taken and that is said.

    Args:
        folder: beside that of the runs that others are held against.
    """

    name = "checkpoints"
    about = (
        "each of 64 ranges flipped and each of 64 lengths, of other methods, spaces, widths, precisions "
        "and commands, odd content; missing, a folder, a pipe, links"
    )
    holds = "refused in one line, nothing changed; or the one before is taken and said, with the same end"

    def __init__(self, folder: Path):
        self.wholes = Wholes(folder.parent / "wholes")

    @property
    def plants(self) -> Mapping[str, Plant]:
        """Faults that it must see."""
        return PLANTS

    def cases(self, seed: int) -> Iterator[Case]:
        """For a search and an evaluation, all that is done to their newest checkpoint and to both."""
        return in_turn(*(self._of(kind) for kind in (SEARCH, EVALUATE)))

    def _of(self, kind: Kind) -> Iterator[Case]:
        what = {"kind": kind.name}
        order = [(part * 37) % PARTS for part in range(PARTS)]
        flipped = [
            Case(f"{kind.name}_flipped={part:02d}", what | {"cell": "flipped", "do": "flip", "part": part})
            for part in order
        ]
        cut = [
            Case(f"{kind.name}_cut={part:02d}", what | {"cell": "cut", "do": "cut", "part": part})
            for part in order
        ]
        instead = [
            Case(f"{kind.name}_{name}", what | {"cell": "something else", "do": name}) for name in INSTEAD
        ]
        both = [
            Case(f"{kind.name}_{name}_all", what | {"cell": "something else", "do": name, "all": True})
            for name in INSTEAD
        ]
        strangers = [
            Case(f"{kind.name}_{name}", what | {"cell": "of another run", "do": "stranger", "from": name})
            for name in STRANGERS
            if STRANGERS[name] is not kind
        ]
        odd = [
            Case(f"{kind.name}_{name}", what | {"cell": "odd content", "do": "odd", "odd": name})
            for name in ODD
        ]
        yield from in_turn(flipped, cut, instead, strangers, odd, both)

    def run(self, case: Case, folder: Path) -> Outcome:
        """Spoils a copy of a finished run so that its last epoch is lost, and resumes it."""
        kind = next(one for one in (SEARCH, EVALUATE) if one.name == case.options["kind"])
        whole = self.wholes.of(kind)
        run = Path(shutil.copytree(whole.run, folder / "run"))
        # It says where it lies; one that is finished already would go on to say so of the other folder.
        config = run / "config.yaml"
        config.write_text(config.read_text().replace(str(whole.run.parent), str(folder)))
        found = sorted((run / "checkpoints").glob("epoch=*.ckpt"), reverse=True)
        held(len(found) == 2, f"{len(found)} checkpoints, and not 2")
        for path in found if case.options.get("all") else found[:1]:
            self._spoil(path, case, folder)
        kept = {name: content for name, content in fingerprint(run).items() if not name.endswith(".log")}
        begun = _listing(run)
        done = command(kind.command, f"resume={run}", place=folder, timeout=300)
        held("Traceback" not in done.err + done.out, f"a traceback: {done.last}")
        held(not (folder / "canary").exists(), "code in a checkpoint was run")
        if done.status == 0:
            said = done.out + done.err
            if case.options["do"] == "flip" and "falling back" not in said:
                # A bit that nothing reads, such as one of a name's padding.
                same_end(kind, whole, run)
                return Outcome("held")
            gone = case.options["do"] == "missing" or case.options.get("odd") == "another-lightning"
            held(gone or re.search("falling back|finished already", said), f"nothing was said: {done.last}")
            if case.options.get("odd") == "another-lightning":
                # It had finished, so that its last checkpoint stays as it is.
                shutil.copyfile(whole.run / "checkpoints" / found[0].name, found[0])
            if case.options.get("from") == "another-precision":
                # A precision may be changed where a run goes on, so that it is said and not refused.
                held(": converted" in said, f"nothing was said: {done.last}")
                return Outcome("held", "converted")
            same_end(kind, whole, run)
            return Outcome("held")
        held(done.status == 2, f"status {done.status}: {done.last}")
        held(len(re.findall("^error: ", done.err, re.MULTILINE)) == 1, f"not one message: {done.err[:300]!r}")
        after = {name: content for name, content in fingerprint(run).items() if not name.endswith(".log")}
        held(after == kept and _listing(run) == begun, "it was refused, and the folder has changed")
        return Outcome("held")

    def _spoil(self, path: Path, case: Case, folder: Path) -> None:
        do, content = case.options["do"], path.read_bytes()
        if do == "flip":
            step = len(content) / PARTS
            place = drawn(0, path.name, case.name).randrange(
                int(case.options["part"] * step), int((case.options["part"] + 1) * step)
            )
            path.write_bytes(content[:place] + bytes([content[place] ^ 0x10]) + content[place + 1 :])
        elif do == "cut":
            path.write_bytes(content[: len(content) * case.options["part"] // PARTS])
        elif do == "odd":
            checkpoint = torch.load(path, weights_only=True)
            ODD[case.options["odd"]](checkpoint)
            torch.save(checkpoint, path)
        elif do == "stranger":
            theirs = self.wholes.of(STRANGERS[case.options["from"]]).run / "checkpoints" / path.name
            shutil.copyfile(theirs, path)
        else:
            path.unlink()
            _instead(path, do, folder)


def _instead(path: Path, do: str, folder: Path) -> None:
    if do == "folder":
        path.mkdir()
    elif do == "pipe":
        os.mkfifo(path)
    elif do == "link-loop":
        path.symlink_to(path.name)
    elif do == "link-away":
        path.symlink_to("/dev/zero")
    elif do == "empty":
        path.write_bytes(b"")
    elif do == "text":
        path.write_text("epoch: 2\n" * 1000)
    elif do == "pickle":
        torch.save({"state_dict": _Canary(str(folder / "canary"))}, path)


class _Canary:
    """Makes a file where it is unpickled."""

    def __init__(self, path: str):
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (self.path,))


def _listing(run: Path) -> list[str]:
    return sorted(str(path.relative_to(run)) for path in run.rglob("*"))


def _unchecked() -> AbstractContextManager[Any]:
    import zipfile

    return mock.patch.object(zipfile.ZipFile, "testzip", lambda archive: None)


def _trusting() -> AbstractContextManager[Any]:
    load = torch.load

    def trusting(*given: Any, **options: Any) -> Any:
        return load(*given, **options | {"weights_only": False})

    return mock.patch.object(torch, "load", trusting)


def _quiet() -> AbstractContextManager[Any]:
    from nas.engine import checkpoints

    return mock.patch.object(checkpoints.log, "warning", lambda *given: None)


@contextmanager
def _removed() -> Iterator[None]:
    from nas.engine import checkpoints
    from nas.errors import ConfigError

    load = checkpoints.load

    def removing(path: Path) -> dict[str, Any]:
        try:
            return load(path)
        except ConfigError:
            path.unlink()
            raise

    with mock.patch.object(checkpoints, "load", removing):
        yield


def _of_anybody() -> AbstractContextManager[Any]:
    from nas.engine import checkpoints

    return mock.patch.object(checkpoints, "check_fits", lambda *given: None)


PLANTS = {
    "sums": Plant(
        "the checksums in a checkpoint are not looked at", "differences", _unchecked,
        ("search-darts1_flipped=*",),
    ),
    "pickles": Plant(
        "a checkpoint may hold any object", "code in a checkpoint was run", _trusting,
        ("search-darts1_pickle",),
    ),
    "quiet": Plant(
        "nobody says that a checkpoint was passed over", "nothing was said", _quiet, ("search-darts1_cut=*",)
    ),
    "removed": Plant(
        "a checkpoint that cannot be read is removed", "the folder has changed", _removed,
        ("search-darts1_text_all", "search-darts1_empty_all"),
    ),
    "strangers": Plant(
        "nobody looks whether a checkpoint fits before the run begins",
        "differences|the folder has changed|a traceback|status 1", _of_anybody, ("search-darts1_another-*",),
    ),
}  # fmt: skip


def room(folder: Path) -> Checkpoints:
    """Makes the room."""
    return Checkpoints(folder)
