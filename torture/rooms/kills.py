"""Kills: at every write of a run, in the middle of one, twice, and at any moment; then it goes on."""

import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from torture import faults
from torture.commands import command, finish, guarded, held, start
from torture.faults import Fault
from torture.kinds import KINDS, Kind, drawn, in_turn, others, spread
from torture.room import Case, Outcome, Plant
from torture.same import fingerprint
from torture.wholes import Whole, Wholes, again, goes_on, same_end

MOMENTS = 10
TWICE = 10
# The bytes of half a write are on the disk.
TORN = "tear"


class Kills:
    """A run is killed and goes on: it ends as the one that was not, with nothing left over.

    Args:
        folder: where the runs are kept that others are held against.
    """

    name = "kills"
    about = "SIGKILL at every write of a run, in the middle of one, twice in a row, at random moments"
    holds = (
        "it goes on, or is repeated into a fresh folder, and ends as the one that was not killed, times apart"
    )

    def __init__(self, folder: Path):
        self.wholes = Wholes(folder.parent / "wholes")
        self.main, self.others = {kind.name: kind for kind in KINDS}, {kind.name: kind for kind in others()}

    @property
    def plants(self) -> Mapping[str, Plant]:
        """Faults that it must see."""
        return PLANTS

    def cases(self, seed: int) -> Iterator[Case]:
        """One of each kind in turn, spread over its writes; methods of a few moments are one kind here."""
        further = in_turn(*(self._of(kind, seed) for kind in self.others.values()))
        return in_turn(*(self._of(kind, seed) for kind in self.main.values()), further)

    def _of(self, kind: Kind, seed: int) -> Iterator[Case]:
        cell = {"kind": kind.name, "cell": kind.name}
        random = drawn(seed, kind.name)
        moments = [
            Case(f"{kind.name}_moment={number}", cell | {"moment": round(random.random(), 3)})
            for number in range(MOMENTS)
        ]
        whole = [Case(f"{kind.name}_whole", cell)]
        if not kind.every:
            yield from moments + whole
            return
        writes = self.wholes.of(kind).writes
        order = spread(len(writes))
        kills = [Case(f"{kind.name}_k={at:03d}", cell | {"at": at, "action": "kill"}) for at in order]
        torn = [
            Case(f"{kind.name}_k={at:03d}_torn", cell | {"at": at, "action": TORN})
            for at in order
            if writes[at - 1].startswith("write")
        ]
        twice = []
        for number in range(TWICE if kind.resumes else 0):
            at, then = random.randint(1, len(writes)), random.randint(1, len(writes))
            name = f"{kind.name}_twice={number}"
            twice.append(Case(name, cell | {"at": at, "action": "kill", "then": then}))
        yield from in_turn(kills, torn, twice, moments, whole)

    def run(self, case: Case, folder: Path) -> Outcome:
        """Kills a run as the case says and goes on with it."""
        kind = (self.main | self.others)[case.options["kind"]]
        whole, sources = self.wholes.of(kind), self.wholes.sources(kind)
        before = {name: fingerprint(path) for name, path in sources.items()}
        run = folder / "run"
        if case.name.endswith("_whole"):
            done = command(kind.command, *kind.typed(sources, run), place=folder)
            held(done.status == 0, f"status {done.status}: {done.last}")
        else:
            self._killed(case, kind, whole, sources, folder)
            run = goes_on(kind, whole, sources, run, folder)
        same_end(kind, whole, run)
        after = {name: fingerprint(path) for name, path in sources.items()}
        held(before == after, "the run that it goes on from has changed")
        return Outcome("held")

    def _killed(self, case: Case, kind: Kind, whole: Whole, sources: dict[str, Path], folder: Path) -> None:
        run, words = folder / "run", kind.typed(sources, folder / "run")
        if "moment" in case.options:
            begun = time.monotonic()
            process = start(kind.command, *words, place=folder)
            with guarded(process):
                time.sleep(case.options["moment"] * whole.seconds)
            process.send_signal(signal.SIGKILL)
            done = finish(process, begun)
            held(done.status in (-signal.SIGKILL, 0), f"status {done.status} of what was killed: {done.last}")
            return
        fault = Fault(case.options["at"], case.options["action"])
        armed = faults.armed(run, folder / "first", fault)
        done = command(kind.command, *words, place=folder, variables=armed)
        held(done.status == -signal.SIGKILL, f"status {done.status} and not killed: {done.last}")
        if "then" in case.options and (run / "config.yaml").is_file():
            armed = faults.armed(run, folder / "second", Fault(case.options["then"], "kill"))
            done = again(kind, run, folder, sources, variables=armed)
            held(done.status in (-signal.SIGKILL, 0), f"status {done.status} of the second kill: {done.last}")


@contextmanager
def in_place() -> Iterator[None]:
    """A plant: files are written where they are read."""
    from nas import files

    @contextmanager
    def replacing(path: Path, parents: bool = False) -> Iterator[Path]:
        if parents:
            path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f".{path.name}.{files.this_process()}.tmp")
        yield beside
        path.write_bytes(beside.read_bytes())
        beside.unlink()

    with mock.patch.object(files, "replacing", replacing):
        yield


def _nothing_swept() -> AbstractContextManager[Any]:
    from nas.running import locks

    return mock.patch.object(locks, "sweep", lambda folder, own=False: [])


def optimizers_forgotten() -> AbstractContextManager[Any]:
    """A plant: a run does not go on to the same end."""
    from pytorch_lightning.trainer.connectors.checkpoint_connector import _CheckpointConnector

    return mock.patch.object(_CheckpointConnector, "restore_optimizers", lambda connector: None)


@contextmanager
def _tables_not_cut() -> Iterator[None]:
    from nas.engine.run_folder import Table

    begin = Table.__init__

    def whole(table: Table, path: Path, columns: Any, first_epoch: int = 0, append: bool = False) -> None:
        begin(table, path, columns, 10**9, append)

    with mock.patch.object(Table, "__init__", whole):
        yield


# Of one kind: each of its writes has its turn soon.
FIRST = (f"{KINDS[0].name}_*",)
PLANTS = {
    "in-place": Plant(
        "what was written beside a file is copied over it, not renamed",
        "does not go on|goes on with other words|differences", in_place, FIRST,
    ),
    "leftovers": Plant("what a killed run has left is not swept away", r"\.tmp", _nothing_swept, FIRST),
    "optimizers": Plant(
        "a resumed run begins with fresh optimisers", "differences", optimizers_forgotten, FIRST
    ),
    "tables": Plant(
        "tables are not cut back to the checkpoint", r"differences.*\.(csv|jsonl)", _tables_not_cut, FIRST
    ),
}  # fmt: skip


def room(folder: Path) -> Kills:
    """Makes the room."""
    return Kills(folder)
