"""Fixtures for tests that search, evaluate and price as a user does."""

import contextlib
import gc
import importlib
import io
import itertools
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from tests import cheap
from tests.forks import SKETCHES, Fork, finish, launch

ROOT = Path(__file__).resolve().parent.parent
# (where, name, function) of what draws, as it was imported.
DRAWN = [(where, name, getattr(where, name)) for where, name, _ in cheap.sketches()]
# A search of seconds: as debug=fast, but without its tracebacks.
TINY = (
    "space.num_cells=3",
    "space.num_nodes=2",
    "space.init_channels=2",
    "recipe.num_cells=3",
    "recipe.init_channels=2",
    "dataset.batch_size=16",
    "trainer.max_epochs=1",
    "trainer.limit_train_batches=2",
    "trainer.limit_val_batches=1",
)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Marks what tests/slow.txt names, and refuses a name that no test has."""
    named = [line for line in (ROOT / "tests/slow.txt").read_text().splitlines() if line[:1] not in ("#", "")]
    found = set()
    for item in items:
        name = item.nodeid.removeprefix("tests/")
        for one in {name, name.partition("[")[0]} & set(named):
            found.add(one)
            item.add_marker(pytest.mark.slow)
    # A file that was collected as a whole has all of its tests here.
    whole = {item.nodeid.partition("::")[0].removeprefix("tests/") for item in items}
    lost = [one for one in named if one not in found and one.partition("::")[0] in whole]
    if lost and not any("::" in one for one in config.args):
        raise pytest.UsageError(f"tests/slow.txt names what is no test: {', '.join(lost)}")


def pytest_collection_finish() -> None:
    """What has been imported and collected stays: it need not be looked through again and again."""
    gc.collect()
    gc.freeze()


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    status: int
    out: str
    err: str


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """One thread, so that numbers repeat bit by bit and tests do not fight for cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session", autouse=True)
def remembered():
    """Configurations that are composed again are not composed anew."""
    cheap.remember()


@pytest.fixture(scope="session")
def outputs(tmp_path_factory):
    """Folders for the outputs of one test each, which are made where there are any."""
    folder = tmp_path_factory.mktemp("outputs")
    return (folder / str(number) for number in itertools.count())


@pytest.fixture(autouse=True)
def outputs_elsewhere(outputs, monkeypatch):
    """Keeps runs whose folder a test does not name out of the checkout."""
    monkeypatch.setenv("NAS_OUTPUTS", str(next(outputs)))


@pytest.fixture(scope="module", autouse=True)
def sketches():
    """Pictures are one white pixel, here and in commands that are forks, and for a module's fixtures too.

    `tests/analysis`, where each kind of picture is looked at, has another one.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(SKETCHES, "1")
        for where, name, sketch in cheap.sketches():
            patch.setattr(where, name, sketch)
        yield


@pytest.fixture(autouse=True)
def pictures_where_marked(request, monkeypatch):
    """`pytest.mark.pictures`: what the test itself runs draws its pictures."""
    if request.node.get_closest_marker("pictures") is not None:
        monkeypatch.delenv(SKETCHES, raising=False)
        for where, name, drawn in DRAWN:
            monkeypatch.setattr(where, name, drawn)


@pytest.fixture
def tiny():
    """Overrides of a search (or, without those of the space, an evaluation) of a second or two."""
    return TINY


@pytest.fixture
def run(monkeypatch):
    """`run("search", "seed=1", ...) -> Done`: a command in this process, which imports torch once."""

    def call(name: str, *overrides: str) -> Done:
        module = importlib.import_module(f"nas.{name}")
        out, err = io.StringIO(), io.StringIO()
        status = 0
        monkeypatch.setattr(sys, "argv", [f"nas.{name}", *map(str, overrides)])
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                module.main()
            except SystemExit as end:
                status = end.code or 0
        return Done(status, out.getvalue(), err.getvalue())

    return call


@pytest.fixture
def shell(tmp_path):
    """`shell("search", ...) -> Done`: a command as a process of its own."""

    def call(name: str, *overrides: str, **environment: str) -> Done:
        done = finish(command_line(name, *overrides), env=environment_of(tmp_path) | environment)
        return Done(done.returncode, done.stdout, done.stderr)

    return call


@pytest.fixture
def start(tmp_path):
    """`start("search", ...) -> Popen` with output as text; whatever still runs at the end is killed."""
    processes = []

    def call(name: str, *overrides: str) -> subprocess.Popen | Fork:
        processes.append(launch(command_line(name, *overrides), env=environment_of(tmp_path)))
        return processes[-1]

    yield call
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.communicate()


def command_line(name: str, *overrides: str) -> list[str]:
    """`python -m nas.<name> ...` with this interpreter."""
    return [sys.executable, "-m", f"nas.{name}", *map(str, overrides)]


def environment_of(folder: Path) -> dict[str, str]:
    """This process's environment with one thread, and outputs in `folder`."""
    return os.environ | {
        "OMP_NUM_THREADS": "1",
        "NAS_OUTPUTS": str(folder / "outputs"),
        "WANDB_SILENT": "true",
    }
