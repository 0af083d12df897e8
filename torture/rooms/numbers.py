"""Numbers that are none, amid a run and in its data: said where it was, the state before is kept."""

import json
import os
import random
import re
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any
from unittest import mock

import numpy as np
import torch

from nas.engine import checkpoints, divergence, recording
from nas.running.words import quoted
from tests.forks import SKETCHES, launch
from torture.commands import ROOT, Ended, command, finish, held
from torture.kinds import CELLS, CELLS201, FEW, RECIPE, SPARSE, TEXT, Kind, in_turn
from torture.record import revision
from torture.room import Case, Outcome, Plant
from torture.rooms.goods import OWN
from torture.rooms.hostile import unlike_a_refusal
from torture.rooms.injecting import VALUES, VARIABLE
from torture.rooms.kills import optimizers_forgotten
from torture.rooms.samples import saved
from torture.same import differences

START = "import torture.rooms.injecting; torture.rooms.injecting.main()"
EPOCHS, STEPS = 3, 2
THREE = f"trainer.max_epochs={EPOCHS}"
# Which numbers are spoilt of which runs.
SEARCHED = ("weight", "alpha", "gradient", "architecture-gradient", "data", "statistics")
READ = ("weight", "alpha", "gradient", "architecture-gradient")
PLACES = {"evaluate": ("weight", "gradient", "data", "statistics"), "evaluate-text": ("weight", "gradient")}
RUNS: Mapping[str, Kind] = MappingProxyType(
    {
        "darts1": Kind("darts1", "search", ("method=darts1", *CELLS, THREE)),
        "darts2": Kind("darts2", "search", ("method=darts2", *CELLS201, *FEW, THREE)),
        "drnas": Kind("drnas", "search", ("method=drnas_nb201", *CELLS201, *FEW, THREE)),
        "gdas": Kind("gdas", "search", ("method=gdas", *CELLS201, *FEW, THREE)),
        "enas": Kind("enas", "search", ("method=enas", *CELLS201, *FEW, THREE)),
        "bayesnas": Kind("bayesnas", "search", ("method=bayesnas", *CELLS201, *FEW, THREE)),
        "dsonas": Kind("dsonas", "search", ("method=dsonas", *SPARSE, THREE)),
        "rsps": Kind("rsps", "search", ("method=rsps", *CELLS201, *FEW, THREE)),
        "text": Kind("text", "search", ("method=darts1_rnn", *TEXT, "space.hidden_size=8", THREE)),
        "evaluate": Kind("evaluate", "evaluate", ("genotype=DARTS_V2", "dataset.valid=0.2", *RECIPE, *FEW,
        THREE)),
        "evaluate-text": Kind(
            "evaluate-text", "evaluate",
            ("genotype=DARTS_V2", *TEXT, "recipe.hidden_size=8", "trainer.limit_test_batches=4", THREE),
        ),
    }
)  # fmt: skip
# These run but the candidates that are drawn: a number that another one holds is met when that is drawn.
SAMPLED = ("gdas", "enas", "rsps")
# What an advice names that helps.
TRY = re.compile(r"\btry\b.*\b(lr|clip|precision)\b")
# Rounds of all places, values and runs, each at steps of its own.
ROUNDS = 6


class Numbers:
    """The room."""

    name = "numbers"
    about = "nan, inf, overflow in weights, alpha, gradients, statistics and data at a random step; odd data"
    holds = (
        "said with the step at which it happened or the one after it and with what to try; no such number is "
        "kept; goes on from the state before to the same end"
    )

    def __init__(self, folder: Path):
        self.folder = folder

    @cached_property
    def _commit(self) -> str:
        return revision()

    @property
    def plants(self) -> Mapping[str, Plant]:
        """What would let such numbers pass."""
        return PLANTS

    def cases(self, seed: int) -> Iterator[Case]:
        """Each run with each number at each place; and each odd data set."""
        yield from in_turn(
            self._injections(seed), (Case(f"data.{name}", {"cell": "data", "name": name}) for name in DATA)
        )

    def _injections(self, seed: int) -> Iterator[Case]:
        for number in range(ROUNDS):
            found = []
            for run in RUNS:
                for what in PLACES.get(run, READ if run == "text" else SEARCHED):
                    for value in VALUES:
                        name = f"{run}.{what}.{value}.{number}"
                        at = random.Random(f"{seed} {name}").randrange(EPOCHS * STEPS)
                        options = {
                            "cell": run,
                            "what": what,
                            "value": value,
                            "at": at,
                            "seed": f"{seed} {name}",
                        }
                        found.append(Case(name, options))
            random.Random(f"{seed} {number}").shuffle(found)
            # One that its plant is looked for with is the first.
            yield from sorted(found, key=lambda case: case.name != "darts1.weight.nan.0")

    def run(self, case: Case, folder: Path) -> Outcome:
        """Spoils a run, looks at what it says and keeps, and goes on with it."""
        if case.options["cell"] == "data":
            return self._with_data(case.options["name"], folder)
        kind, run = RUNS[case.options["cell"]], folder / "run"
        whole = self._whole(kind)
        asked = {key: case.options[key] for key in ("what", "value", "at", "seed")}
        note = folder / "done"
        ended = injected(kind, run, folder, {VARIABLE: json.dumps(asked | {"note": str(note)})})
        wrong = unlike_a_refusal(ended)
        held(wrong is None, str(wrong))
        check_finite(run)
        if not note.exists():
            # Alpha rests in a warm-up, and a controller in three steps of four.
            held(case.options["what"] == "architecture-gradient", "it was not put in")
            return Outcome("held", "no step of alpha")
        if ended.status == 0:
            # Written over before anybody read it, left out by the method, or gone back from.
            held(case.options["value"] != "nan" or _gone_back(ended), "nan was not noticed")
            return Outcome("held", "without effect")
        at, sampled = case.options["at"], case.options["cell"] in SAMPLED
        self._said(ended, at, late=sampled)
        again = command(kind.command, f"resume={quoted(run)}", place=folder)
        if case.options["value"] == "overflow" and again.status == 1 and "nan or infinite" in again.err:
            # It is a number, if a large one, and checkpoints have kept it before it was met.
            return Outcome("held", "met later")
        held(again.status == 0, f"does not go on: {again.last}")
        found = differences(whole, run, ("error.txt",))
        held(not found, f"goes on to another end: {'; '.join(found[:3])}")
        return Outcome("held")

    def _said(self, ended: Ended, at: int, late: bool) -> None:
        told = ended.err.strip().splitlines()[0]
        held("nan or infinite" in told, f"said otherwise: {told[:300]}")
        epoch = re.search(r"epoch (\d+)", told)
        assert epoch is not None, told
        step = re.search(r"step (\d+)", told)
        last = at % STEPS == STEPS - 1
        fits = int(epoch[1]) == at // STEPS and (
            step is None or "validation" in told or int(step[1]) in (at, at + 1)
        )
        late = late and int(epoch[1]) >= at // STEPS
        held(
            fits or late or (last and int(epoch[1]) == at // STEPS + 1),
            f"it happened in step {at}, and is said so: {told[:300]}",
        )
        held(TRY.search(ended.err.replace("\n", " ")), f"no word of what to try: {told[:300]}")

    def _whole(self, kind: Kind) -> Path:
        place = self.folder / kind.name
        done = place / "commit.txt"
        if not (done.is_file() and done.read_text() == self._commit):
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir(parents=True)
            ended = command(kind.command, *kind.typed({}, place / "run"), place=place, plant=False)
            held(ended.status == 0, f"{kind.name} does not run: {ended.last}")
            done.write_text(self._commit)
        return place / "run"

    def _with_data(self, name: str, folder: Path) -> Outcome:
        arrays = {key: np.asarray(value) for key, value in DATA[name]().items()}
        (folder / "a.npz").write_bytes(saved(np.savez, arrays))
        ended = command(
            "search", "dataset=arrays", f"dataset.file={quoted(folder / 'a.npz')}", *OWN,
            f"hydra.run.dir={quoted(folder / 'run')}", place=folder,
        )  # fmt: skip
        wrong = unlike_a_refusal(ended)
        held(wrong is None, str(wrong))
        held(ended.status != 1, f"it broke down: {ended.last}")
        if ended.status == 2:
            held("dataset" in ended.err, f"the data set is not named: {ended.last}")
            return Outcome("held", "refused")
        held(name not in REFUSED, "accepted")
        check_finite(folder / "run")
        return Outcome("held")


def _gone_back(ended: Ended) -> bool:
    return "nan or infinite" in ended.err + ended.out


def injected(kind: Kind, run: Path, place: Path, variables: Mapping[str, str]) -> Ended:
    """Runs a command with a number put in."""
    environment = os.environ | {
        "NAS_OUTPUTS": str(place / "outputs"),
        SKETCHES: "1",
        "OMP_NUM_THREADS": "1",
        **variables,
    }
    line = [sys.executable, "-c", START, f"nas.{kind.command}", *kind.typed({}, run)]
    begun = time.monotonic()
    return finish(launch(line, cwd=ROOT, env=environment, start_new_session=True), begun)


def check_finite(run: Path) -> None:
    """Holds what a run has kept.

    Raises:
        Failed: a checkpoint, a table or the summary has a number that is none.
    """
    for path in sorted((run / "checkpoints").glob("*.ckpt")):
        state = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
        broken = [
            name for name, one in state.items() if isinstance(one, torch.Tensor) and not one.isfinite().all()
        ]
        held(not broken, f"{path.name} keeps {broken[:1]} that is no number")
    for name in ("summary.json", "metrics.csv"):
        path = run / name
        text = path.read_text() if path.is_file() else ""
        held(
            re.search(r"[:,]\s*-?(nan|inf|NaN|Infinity)\b", text) is None, f"{name} has a number that is none"
        )


def _images(count: int = 40, channels: int = 3, side: int = 8) -> np.ndarray:
    return np.random.default_rng(0).random((count, channels, side, side)).astype(np.float32) * 4 - 2


def _with(value: float) -> dict[str, Any]:
    images = _images()
    images[7, 1, 2, 3] = value
    return {"images": images, "labels": np.arange(40) % 3}


def _channel(value: float) -> dict[str, Any]:
    images = _images()
    images[:, 1] = value
    return {"images": images, "labels": np.arange(40) % 3}


DATA: Mapping[str, Any] = MappingProxyType(
    {
        "nan": lambda: _with(float("nan")), "inf": lambda: _with(float("inf")),
        "-inf": lambda: _with(float("-inf")),
        "overflow": lambda: _with(3e38), "large": lambda: _with(1e20), "doubles": lambda: {
            "images": _images().astype(np.float64) * 1e300, "labels": np.arange(40) % 3},
        "constant": lambda: {"images": np.full((40, 3, 8, 8), 0.5, np.float32), "labels": np.arange(40) % 3},
        "black": lambda: {"images": np.zeros((40, 3, 8, 8), np.uint8), "labels": np.arange(40) % 3},
        "white": lambda: {"images": np.full((40, 3, 8, 8), 255, np.uint8), "labels": np.arange(40) % 3},
        "empty-channel": lambda: _channel(0.0), "constant-channel": lambda: _channel(1e-30),
        "one-class": lambda: {"images": _images(), "labels": np.zeros(40, np.int64)},
        "duplicates": lambda: {"images": np.repeat(_images(2), 20, 0), "labels": np.arange(40) % 2},
        "contradiction": lambda: {"images": np.repeat(_images(1), 40, 0), "labels": np.arange(40) % 2},
        "rare-class": lambda: {"images": _images(), "labels": np.array([0] * 39 + [1])},
        "tiny": lambda: {"images": _images() * np.float32(1e-38), "labels": np.arange(40) % 3},
        "denormal": lambda: {"images": np.full((40, 3, 8, 8), 1e-45, np.float32),
        "labels": np.arange(40) % 3},
        "none": lambda: {"images": _images(0), "labels": np.zeros(0, np.int64)},
        "one": lambda: {"images": _images(1), "labels": np.zeros(1, np.int64)},
        "nan-labels": lambda: {"images": _images(), "labels": np.full(40, np.nan)},
        "negative-labels": lambda: {"images": _images(), "labels": np.arange(40) % 3 - 1},
        "nan-test": lambda: {"images": _images(), "labels": np.arange(40) % 3,
                             "test_images": np.full((6, 3, 8, 8), np.nan, np.float32),
                             "test_labels": np.arange(6) % 3},
        "half": lambda: {"images": (_images() * 60000).astype(np.float16), "labels": np.arange(40) % 3},
    }
)  # fmt: skip
# Data that no run can learn from, and none may accept.
REFUSED = ("nan", "inf", "-inf", "none", "nan-labels")


@contextmanager
def _unguarded() -> Iterator[None]:
    with ExitStack() as held_open:
        patches: list[AbstractContextManager[Any]] = [
            mock.patch.object(divergence.FiniteGuard, "watch", lambda *given: None),
            mock.patch.object(checkpoints, "refuse_broken", lambda *given: None),
            mock.patch.object(recording, "first_broken", lambda *given: None),
            mock.patch.object(recording, "refuse_numbers", lambda *given: None),
        ]
        for one in patches:
            held_open.enter_context(one)
        yield


@contextmanager
def _elsewhere() -> Iterator[None]:
    watch = divergence.FiniteGuard.watch

    def later(guard: divergence.FiniteGuard, name: str, loss: torch.Tensor, epoch: int, step: int) -> None:
        watch(guard, name, loss, epoch, step + 1000)

    with mock.patch.object(divergence.FiniteGuard, "watch", later):
        yield


def _unadvised() -> AbstractContextManager[Any]:
    from nas.running import printed

    return mock.patch.object(printed, "to_try", lambda error, config: "")


def _unread() -> AbstractContextManager[Any]:
    from nas.data import arrays

    return mock.patch.object(arrays, "check_finite", lambda array, kind, where: None)


PLANTS: Mapping[str, Plant] = MappingProxyType(
    {
        "guards": Plant(
            "nobody looks for numbers that are none", "that is no(ne| number)|was not noticed", _unguarded,
            ("darts1.weight.nan.0",),
        ),
        "elsewhere": Plant(
            "the step that is named is another one", "and is said so", _elsewhere, ("darts1.weight.nan.?",)
        ),
        "unadvised": Plant("nothing is said of what to try", "no word of what to try", _unadvised,
                           ("darts1.weight.nan.0",)),
        "data": Plant(
            "data are not looked at for numbers that are none", "accepted|broke down", _unread,
            ("data.nan", "data.inf"),
        ),
        "optimizers": Plant(
            "a resumed run begins with fresh optimisers", "goes on to another end", optimizers_forgotten,
            ("darts1.*",),
        ),
    }
)  # fmt: skip


def room(folder: Path) -> Numbers:
    """The room; its folder keeps runs into which nothing was put."""
    return Numbers(folder)
