"""A run that was stopped and resumed ends as one that never stopped, bit by bit."""

import json
import shutil
import signal
import sys
import time

import pytest
import torch

from nas.engine.checkpoints import list_checkpoints
from tests.conftest import TINY, command_line, environment_of
from tests.forks import finish

SEARCH = (
    *TINY,
    "trainer.max_epochs=3",
    "trainer.limit_train_batches=4",
    "trainer.enable_progress_bar=false",
)
EVALUATE = (*(o for o in SEARCH if not o.startswith("space.")), "genotype=DARTS_V2", "recipe.drop_path=0.3")
TABLES = {"search": ("metrics.csv", "architecture.csv", "genotypes.jsonl"), "evaluate": ("metrics.csv",)}
# Ends this process by SIGKILL at the n-th call of a function; `half` first leaves half a checkpoint behind.
KILL = """
import importlib, os, signal, sys
module, owner, name, number, half = sys.argv[1:6]
holder = importlib.import_module(module)
for part in owner.split(".") if owner else ():
    holder = getattr(holder, part)
original, calls = getattr(holder, name), []
def patched(*args, **kwargs):
    calls.append(None)
    if len(calls) == int(number):
        if half == "half":
            open(args[1], "wb").write(b"PK" * 1000)
        os.kill(os.getpid(), signal.SIGKILL)
    return original(*args, **kwargs)
setattr(holder, name, patched)
sys.argv = sys.argv[6:]
importlib.import_module(sys.argv[0]).main()
"""
STEP = ("nas.engine.search_module", "SearchModule", "_weight_step")
MOMENTS = {
    "before the first checkpoint": (*STEP, 2, ""),
    "in mid-epoch": (*STEP, 7, ""),
    "between tables and checkpoint": ("nas.engine.checkpoints", "", "refuse_broken", 2, ""),
    "while a checkpoint is written": ("pytorch_lightning", "Trainer", "save_checkpoint", 3, "half"),
    "at the end": ("nas.commands.search_result", "", "draw_search", 1, ""),
}


def kill_at(tmp_path, moment, name, *overrides):
    done = finish(
        [sys.executable, "-c", KILL, *moment, f"nas.{name}", *overrides], env=environment_of(tmp_path)
    )
    assert done.returncode == -signal.SIGKILL, done.stderr


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """`whole("search", ...) -> folder` of a run that was never stopped; made once for equal overrides."""
    made = {}

    def make(name, *overrides):
        key = (name, *overrides)
        if key not in made:
            made[key] = tmp_path_factory.mktemp("whole") / "run"
            line = command_line(name, *overrides, f"hydra.run.dir={made[key]}")
            finish(line, env=environment_of(made[key].parent)).check_returncode()
        return made[key]

    return make


def assert_same_end(name, left, right):
    ours, theirs = (json.loads((run / "summary.json").read_text()) for run in (left, right))
    # Two kernels differ in the last digits, which would say nothing of stopping.
    assert ours.get("kernel") == theirs.get("kernel")
    for file in ("genotype.json", *TABLES[name]):
        assert (left / file).read_bytes() == (right / file).read_bytes(), file
    a, b = (torch.load(list_checkpoints(run / "checkpoints")[0], weights_only=True) for run in (left, right))
    assert a["epoch"] == b["epoch"]
    assert_equal(a["state_dict"], b["state_dict"])
    assert_equal(a["optimizer_states"], b["optimizer_states"])
    changing = ("seconds", "git_commit")
    assert {k: v for k, v in ours.items() if k not in changing} == {
        k: v for k, v in theirs.items() if k not in changing
    }
    assert ours["status"] == "finished"


def assert_equal(a, b):
    if isinstance(a, torch.Tensor):
        assert torch.equal(a, b)
    elif isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            assert_equal(a[key], b[key])
    elif isinstance(a, list | tuple):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            assert_equal(x, y)
    else:
        assert a == b


@pytest.mark.parametrize(
    ("method", "moment"),
    [
        ("darts2", "before the first checkpoint"),
        ("darts2", "in mid-epoch"),
        ("darts1", "in mid-epoch"),
        ("darts1", "between tables and checkpoint"),
        ("darts2", "while a checkpoint is written"),
        ("darts1", "at the end"),
        ("drnas method.warmup_epochs=0 method.evaluation_draw=sample", "in mid-epoch"),
    ],
)
def test_a_killed_search_ends_the_same(run, whole, tmp_path, method, moment):
    overrides = (*SEARCH, *f"method={method}".split())
    folder = tmp_path / "run"
    kill_at(tmp_path, MOMENTS[moment], "search", *overrides, f"hydra.run.dir={folder}")
    assert json.loads((folder / "summary.json").read_text())["status"] == "running"
    done = run("search", f"resume={folder}")
    assert (done.status, done.err) == (0, "")
    assert_same_end("search", folder, whole("search", *overrides))


def test_a_killed_evaluation_ends_the_same(run, whole, tmp_path):
    folder = tmp_path / "run"
    moment = ("nas.engine.evaluation_module", "EvaluationModule", "training_step", 7, "")
    kill_at(tmp_path, moment, "evaluate", *EVALUATE, f"hydra.run.dir={folder}")
    done = run("evaluate", f"resume={folder}")
    assert (done.status, done.err) == (0, "")
    assert_same_end("evaluate", folder, whole("evaluate", *EVALUATE))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_search_is_usable_and_ends_the_same(run, start, whole, tmp_path, number):
    folder = tmp_path / "run"
    overrides = (*SEARCH, "method=darts2")
    process = start("search", *overrides, "trainer.max_epochs=3", f"hydra.run.dir={folder}")
    deadline = time.monotonic() + 60
    while not list(folder.glob("checkpoints/epoch*")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, (out, err)
    assert "Traceback" not in err
    assert f"resume={folder}" in out
    assert json.loads((folder / "summary.json").read_text())["status"] == "stopped"
    assert (folder / "genotype.json").exists()
    assert (folder / "metrics.csv").exists()
    assert run("search", f"resume={folder}").status == 0
    assert_same_end("search", folder, whole("search", *SEARCH, "method=darts2"))


@pytest.fixture
def finished(whole, tmp_path):
    """A finished search, copied so that it may be spoilt."""
    return shutil.copytree(whole("search", *SEARCH, "method=darts2"), tmp_path / "finished")


def test_resuming_a_finished_run_is_harmless(run, finished):
    before = {path.name: path.read_bytes() for path in finished.iterdir() if path.is_file()}
    done = run("search", f"resume={finished}")
    assert done.status == 0
    assert "finished already" in done.out
    after = {path.name: path.read_bytes() for path in finished.iterdir() if path.is_file()}
    after["search.log"] = before["search.log"]
    assert after == before


STAGED = (
    *SEARCH,
    "space.init_channels=4",
    "method=drnas_progressive",
    "method.stages=[{epochs: 1, partial: 2}, {epochs: 2, partial: 1, keep: 3}]",
)


@pytest.mark.parametrize("step", [2, 7, 11], ids=["first stage", "start of the second", "in the second"])
def test_a_search_killed_in_a_stage_ends_the_same(run, whole, tmp_path, step):
    expected = whole("search", *STAGED)
    kill_at(tmp_path, (*STEP, step, ""), "search", *STAGED, f"hydra.run.dir={tmp_path / 'run'}")
    done = run("search", f"resume={tmp_path / 'run'}")
    assert done.status == 0, done.err
    assert_same_end("search", expected, tmp_path / "run")


def test_what_a_resumed_run_may_change(run, finished):
    for refused in (
        "method.xi=0.1",
        "method=darts1",
        "seed=1",
        "trainer.limit_train_batches=3",
        "overfit=true",
    ):
        done = run("search", f"resume={finished}", refused)
        assert done.status == 2, refused
        assert done.err.count("\n") == 1
        assert refused in done.err
    allowed = ("trainer.enable_progress_bar=false", "hardware.threads=1", "hardware=cpu")
    repeated = ("method=darts2", "dataset.batch_size=16")
    assert run("search", f"resume={finished}", *allowed, *repeated).status == 0
    done = run("search", f"resume={finished}", "hardware=gpu")
    assert done.status == 2
    assert "hardware=gpu" in done.err
    done = run("search", f"resume={finished}", "trainer.max_epochs=4", "resume_schedule=restart")
    assert done.status == 0
    assert len((finished / "metrics.csv").read_text().splitlines()) == 5
    assert run("search", f"resume={finished}").out.count("4 epochs") == 1


def test_a_damaged_checkpoint_falls_back(run, finished, whole):
    newest = list_checkpoints(finished / "checkpoints")[0]
    newest.write_bytes(newest.read_bytes()[:5000])
    done = run("search", f"resume={finished}")
    assert done.status == 0
    assert newest.name in done.out
    assert "falling back" in done.out
    assert_same_end("search", finished, whole("search", *SEARCH, "method=darts2"))


def test_damaged_folders_are_refused(run, finished):
    genotype = (finished / "genotype.json").read_bytes()
    config = (finished / "config.yaml").read_text()

    def refused(*words):
        done = run("search", f"resume={finished}")
        assert done.status == 2
        assert "Traceback" not in done.err
        for word in words:
            assert word in done.err
        assert (finished / "genotype.json").read_bytes() == genotype

    (finished / "config.yaml").write_text(config.replace("- skip_connect", "- swap").replace("- none", "- x"))
    refused("space.operations")
    swapped = (
        config.replace("- skip_connect", "- swap")
        .replace("- none", "- skip_connect")
        .replace("- swap", "- none")
    )
    (finished / "config.yaml").write_text(swapped)
    refused("other edges or operations", "row 0")
    (finished / "config.yaml").write_text(config.replace("num_cells: 3", "num_cells: 4"))
    refused("does not fit")
    (finished / "config.yaml").write_text(config.replace("split_seed: 0", "split_seed: 1"))
    refused("split.json")
    for broken in ("a: [", "just text", "command: search\n"):
        (finished / "config.yaml").write_text(broken)
        refused("config.yaml")
    (finished / "config.yaml").write_text(config)
    for path in (finished / "checkpoints").iterdir():
        path.write_bytes(b"")
    refused("none of its 2 checkpoint(s)")
    (finished / "summary.json").write_text("{")
    refused("summary.json")


def changed(path, change):
    """Changes what a checkpoint holds."""
    content = torch.load(path, weights_only=True)
    change(content)
    torch.save(content, path)


def doubled(content):
    state = content["state_dict"]
    content["state_dict"] = {
        name: value.double() if torch.is_tensor(value) and value.is_floating_point() else value
        for name, value in state.items()
    }


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda content: content.pop("optimizer_states"), "falling back"),
        (lambda content: content.pop("loops"), "falling back"),
        (lambda content: content.update(epoch=7), "falling back"),
        (lambda content: content["optimizer_states"].pop(), "the states of 1 optimisers, not of 2"),
        (lambda content: content["state_dict"]["supernet.stem.conv.weight"].fill_(float("nan")), "nan"),
    ],
)
def test_a_checkpoint_that_is_not_the_run_s_goes_on_with_nothing_of_its_own(run, finished, change, words):
    newest = list_checkpoints(finished / "checkpoints")[0]
    changed(newest, change)
    done = run("search", f"resume={finished}")
    assert done.status == (0 if words == "falling back" else 2), done.err
    assert words in done.out + done.err
    if done.status:
        assert (done.err.count("\n"), newest.name in done.err) == (1, True)


def test_another_precision_goes_on_and_is_said(run, finished):
    changed(list_checkpoints(finished / "checkpoints")[0], doubled)
    done = run("search", f"resume={finished}", "trainer.max_epochs=4", "resume_schedule=restart")
    assert done.status == 0, done.err
    assert "its weights are float64, and hardware.precision=32-true keeps float32: converted" in done.out


def test_a_folder_in_the_place_of_a_checkpoint_is_refused(run, finished):
    newest = list_checkpoints(finished / "checkpoints")[0]
    newest.unlink()
    newest.mkdir()
    done = run("search", f"resume={finished}")
    assert (done.status, done.err.count("\n")) == (2, 1)
    assert f"{newest}: a folder" in done.err


def test_a_resume_needs_a_run_of_the_same_command(run, finished, tmp_path):
    done = run("evaluate", f"resume={finished}")
    assert (done.status, "nas.search" in done.err) == (2, True)
    done = run("search", f"resume={tmp_path / 'typo'}")
    assert (done.status, "no run folder" in done.err) == (2, True)
    assert not (tmp_path / "typo").exists()
    done = run("search", f"hydra.run.dir={finished}")
    assert (done.status, "holds a run already" in done.err) == (2, True)


def test_checkpoints_hold_plain_containers(finished):
    def plain(node):
        if isinstance(node, dict):
            return all(isinstance(key, str | int) and plain(value) for key, value in node.items())
        if isinstance(node, list | tuple):
            return all(map(plain, node))
        return node is None or isinstance(node, torch.Tensor | int | float | str | bool)

    for path in list_checkpoints(finished / "checkpoints"):
        checkpoint = torch.load(path, weights_only=True)
        assert plain(checkpoint)
        layout = checkpoint["state_dict"]["method._extra_state"]["layout"]
        assert layout["normal"]["operations"][0][3] == "skip_connect"


DROPPING = "+method.regularizers.drop_path={_target_:nas.methods.regularizers.DropPath,probability:0.4}"
FRESH = "method.stages=[{epochs: 1, cells: 3}, {epochs: 2, cells: 4, keep: 3, fresh: true, freeze: 1}]"
CELL = ("space.num_cells=3", "space.init_channels=4")
SCHEDULES = {
    "in a fresh stage": (
        2,
        "method=pdarts",
        FRESH,
        "method.regularizers.skip_dropout.probabilities=[0.3,0.5]",
    ),
    "before a fresh stage": (
        1,
        "method=pdarts",
        FRESH,
        "method.regularizers.skip_dropout.probabilities=[0.3,0.5]",
    ),
    "while a skip fades": (1, "method=darts_minus", DROPPING),
}


@pytest.fixture(scope="module")
def known():
    """Finished runs by their overrides."""
    return {}


@pytest.mark.parametrize("where", SCHEDULES)
def test_a_schedule_of_the_passes_goes_on(run, known, tmp_path_factory, tmp_path, where):
    """What came after an epoch is lost, and done again."""
    epochs, *method = SCHEDULES[where]
    small = [one for one in SEARCH if not one.startswith(("space.", "recipe."))]
    overrides = (*small, "space=nasbench201", *CELL, "checkpoint.keep=9", *method)
    if overrides not in known:
        known[overrides] = tmp_path_factory.mktemp("whole") / "run"
        done = run("search", *overrides, f"hydra.run.dir={known[overrides]}")
        assert done.status == 0, done.err
    folder = shutil.copytree(known[overrides], tmp_path / "run")
    for later in list_checkpoints(folder / "checkpoints")[: 3 - epochs]:
        later.unlink()
    done = run("search", f"resume={folder}")
    assert done.status == 0, done.err
    assert_same_end("search", known[overrides], folder)
