"""`nas.sweeps` on folders that a stranger, or a broken disk, made: a damaged run costs no other run."""

import csv
import json
import os
import shlex
import subprocess
import time

import pytest

from nas.running.runs import read_runs
from tests.conftest import ROOT

ESCAPE = "\x1b[2J\x1b]0;owned\x07"
GOOD = {"schema": 1, "command": "search", "status": "finished", "architecture_accuracy": 0.5, "params": 1000}


def make(folder, name, summary=None, overrides="- seed=0\n", config="command: search\nseed: 0\n"):
    """A run folder with whatever its files are to hold; None for no such file."""
    place = folder / name
    place.mkdir(parents=True)
    summary = GOOD if summary is None else summary
    for file, content in (("summary.json", summary), ("overrides.yaml", overrides), ("config.yaml", config)):
        if content is not None:
            text = content if isinstance(content, str | bytes) else json.dumps(content)
            (place / file).write_bytes(text if isinstance(text, bytes) else text.encode())
    return place


def planned(folder, task="[seed=0]", **hydra):
    found = {
        "sweeper": "{_target_: hydra._internal.core_plugins.basic_sweeper.BasicSweeper, params: null}",
        "sweep": "{dir: x, subdir: '${hydra.job.num}'}",
        "job": "{config_name: search}",
        "overrides": f"{{task: {task}}}",
    } | hydra
    (folder / "multirun.yaml").write_text("hydra:\n" + "".join(f"  {k}: {v}\n" for k, v in found.items()))


SUMMARIES = {
    "a huge whole number": ('{"status": "finished", "params": %s}' % ("9" * 400), "params=a whole number of"),
    "more digits than are read": ('{"status": "finished", "params": %s}' % ("9" * 5000), "4300 digits"),
    "an accuracy of 1e308": (
        GOOD | {"test_accuracy": 1e308},
        "test_accuracy=1e+308: must be a number from 0 to 1",
    ),
    "a number beyond all": ('{"status": "finished", "weight_loss": 1e999}', "1e999 is beyond"),
    "a list for a number": (GOOD | {"params": [1]}, "params=[1]: must be a number from 0 to 2^63"),
    "a text for a number": (GOOD | {"test_loss": "low"}, "test_loss=low: must be a number"),
    "a list for a table": (GOOD | {"table": [1]}, "table=[1]: must be a mapping"),
    "a rank of a half": (GOOD | {"table": {"rank": 0.5}}, "table.rank=0.5: must be a whole number above 0"),
    "a list for a status": (GOOD | {"status": ["finished"]}, "status=['finished']: must be one of"),
    "a command that is none": (GOOD | {"command": f"x{ESCAPE}"}, "command=x\\x1b[2J"),
    "epochs in words": (GOOD | {"status": "stopped", "epochs": {}}, "epochs={}: must be a whole number"),
    "no object": ("[1, 2]", "no JSON object, but [1, 2]"),
    "nesting": ("[" * 100_000, "nested"),
    "not UTF-8": (b"\xff\xfe", "not UTF-8 text (byte 0xff at 0)"),
    "NaN": ('{"status": "finished", "test_loss": NaN}', "NaN is no number of JSON"),
}


@pytest.fixture
def folder(tmp_path):
    """A folder of two runs that nothing is wrong with."""
    for seed in (0, 1):
        make(tmp_path / "sweep", f"good{seed}", overrides=f"- seed={seed}\n- lr=0.1\n")
    return tmp_path / "sweep"


def test_every_damaged_summary_is_told_in_one_line_and_costs_no_other_run(folder, run):
    for number, (summary, _) in enumerate(SUMMARIES.values()):
        make(folder, f"bad{number:02}", summary)
    os.mkfifo(make(folder, "pipe") / "pipe")
    (folder / "pipe/summary.json").unlink()
    (folder / "pipe/pipe").rename(folder / "pipe/summary.json")
    done = run("sweeps", f"folder={folder}")
    assert (done.status, done.err) == (0, "")
    lines = done.out.splitlines()
    for number, (_, words) in enumerate(SUMMARIES.values()):
        (line,) = [line for line in lines if line.startswith(f"- bad{number:02}")]
        assert ": damaged: summary.json: " in line
        assert words in line
        assert line.isprintable()
        assert len(line) < 400
    assert "- pipe (seed=0): damaged: summary.json: a named pipe; only regular files are read" in done.out
    with (folder / "table.csv").open(newline="") as file:
        counts = {row["n"] for row in csv.DictReader(file)}
    assert "2" in counts
    with (folder / "sweep.csv").open(newline="") as file:
        statuses = [row["status"] for row in csv.DictReader(file)]
    assert statuses.count("finished") == 2
    assert statuses.count("damaged") == len(SUMMARIES) + 1


CONFIGS = {
    "nested": "\n".join(" " * n + "a:" for n in range(1000)),
    "an alias to itself": "command: &x [*x]\n",
    "a bomb": "\n".join(["a0: &a0 [x]", *(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 40))]),
    "a list": "- 1\n",
    "a tag": "lr: !!python/name:os.system\n",
}


def test_a_configuration_that_cannot_be_read_damages_its_run_alone(folder):
    for number, config in enumerate(CONFIGS.values()):
        make(folder, f"config{number}", config=config)
        make(folder, f"overrides{number}", overrides=config if number != 3 else "a: 1")
    found = {one.folder: one for one in read_runs(folder).runs}
    assert [found[f"good{seed}"].status for seed in (0, 1)] == ["finished"] * 2
    for name in ("config", "overrides"):
        for number in range(len(CONFIGS)):
            run = found[f"{name}{number}"]
            assert (run.status, run.reason.startswith("damaged: ")) == ("damaged", True)
            assert run.reason.isprintable()
            assert len(run.reason) < 400


PLANS = {
    "nested": ("[" * 1000, "nest"),
    "no keys of hydra's": ("hydra: 3\n", "it lacks hydra.job.config_name"),
    "a list for a mapping": (
        "hydra: {sweeper: {params: [1]}}\n",
        "hydra.sweeper.params=[1]: must be a mapping",
    ),
    "overrides that are numbers": (
        "hydra: {overrides: {task: [1, 2]}}\n",
        "hydra.overrides.task=[1, 2]: must be",
    ),
    "a command that is none": (
        "hydra: {job: {config_name: ../x}}\n",
        "hydra.job.config_name=../x: must be one of",
    ),
    "a list": ("- 1\n", "it holds no keys"),
}


@pytest.mark.parametrize("case", PLANS.values(), ids=PLANS)
def test_an_odd_multirun_yaml_is_a_warning(folder, case):
    text, words = case
    (folder / "multirun.yaml").write_text(text)
    found = read_runs(folder)
    (warning,) = found.warnings
    assert warning.startswith(f"{folder / 'multirun.yaml'}: ")
    assert words in warning
    assert warning.isprintable()
    assert [one.status for one in found.runs] == ["finished"] * 2


@pytest.mark.parametrize(
    ("task", "words"),
    [
        ("['seed=range(1000000000)']", "more than 100,000 jobs"),
        ("['seed=range(0,1,0.0000000001)']", "more than 100,000 jobs"),
        (f"['seed={'[' * 3000}']", "cannot be parsed"),
        ("['seed=0,,']", "cannot be parsed"),
        ("['seed=range(nan)']", "a range from, to or by something that is no number"),
    ],
)
def test_a_multirun_of_jobs_without_end_is_a_warning(folder, task, words):
    planned(folder, task)
    began = time.monotonic()
    (warning,) = read_runs(folder).warnings
    assert words in warning
    assert time.monotonic() - began < 20


def test_jobs_that_left_nothing_are_told(folder):
    planned(folder, "['seed=0,1,2', lr=0.10]")
    found = read_runs(folder)
    assert found.warnings == []
    (missing,) = [one for one in found.runs if one.status == "missing"]
    assert missing.overrides["seed"] == "2"
    assert missing.again == f"python -m nas.search seed=2 lr=0.1 hydra.run.dir={folder / '2'}"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("best_params: [1]\nbest_value: 1\n", "best_params=[1]: must be a mapping"),
        ("best_params: {lr: 1}\nbest_value: low\n", "best_value=low: must be a number"),
        ("best_params: &a {lr: *a}\n", "aliases"),
        ("- 1\n", "it holds no keys"),
        (f'best_params: {{"a\\e[2Jb": 1}}\nbest_value: {"9" * 400}\n', "whole numbers"),
    ],
)
def test_odd_results_of_an_optimisation_are_a_warning(folder, run, text, words):
    (folder / "optimization_results.yaml").write_text(text)
    done = run("sweeps", f"folder={folder}")
    assert (done.status, done.err) == (0, "")
    assert f"warning: {folder / 'optimization_results.yaml'}: " in done.out
    assert words in done.out
    assert all(line.isprintable() for line in done.out.splitlines())


def test_nothing_of_a_folder_reaches_the_terminal_as_it_is(folder, run):
    make(folder, f"run{ESCAPE}", GOOD | {"status": "failed", "error": f"{ESCAPE}\u202egone"}, "- a\\b=1\n")
    make(folder, "values", overrides=json.dumps([f"lr={ESCAPE}0.1", f"{ESCAPE}=\nforged: 1"]))
    make(folder, "surrogate", GOOD | {"status": "failed", "error": "\ud800"})
    make(os.fsencode(folder) and folder, os.fsdecode(b"bytes\xff"), GOOD | {"status": "stopped", "epochs": 3})
    planned(folder, json.dumps([f"lr='{ESCAPE}'"]))
    done = run("sweeps", f"folder={folder}")
    assert (done.status, done.err) == (0, "")
    for text in (done.out, *(path.read_text() for path in (folder / "table.md", folder / "sweep.csv"))):
        assert all(line.isprintable() for line in text.split("\n"))
    assert "run\\x1b[2J" in done.out
    # What is pasted into bash names the very folder.
    (again,) = [line.strip(" `") for line in done.out.splitlines() if "bytes" in line and "resume=" in line]
    words = subprocess.run(
        ["bash", "-c", f"python() {{ printf '%s\\n' \"$@\"; }}; {again}"], capture_output=True, check=True
    )
    assert words.stdout.splitlines()[-1] == b'resume="' + os.fsencode(folder) + b'/bytes\xff"'


@pytest.mark.parametrize("pid", [10**30, 2**31, -1, 0, "1", 1.5, True, [1]])
def test_a_process_that_cannot_be_is_not_looked_for(folder, pid):
    import socket

    place = make(folder, "running", GOOD | {"status": "running", "epochs": 2})
    (place / "job.json").write_text(json.dumps({"host": socket.gethostname(), "pid": pid}))
    (found,) = [one for one in read_runs(folder).runs if one.folder == "running"]
    assert (found.status, found.reason) == ("running", "still running, or killed after 2 epochs")


def test_numbers_at_the_end_of_the_range_have_a_mean(folder, run):
    for seed in (2, 3, 4):
        make(
            folder,
            f"large{seed}",
            GOOD | {"weight_loss": 1.7e308 if seed < 4 else -1.7e308},
            f"- seed={seed}\n",
        )
    done = run("sweeps", f"folder={folder}", "figure=weight_loss")
    assert (done.status, done.err) == (0, "")
    assert "5.66667e+307" in done.out
    assert "plot:  none, no weight_loss is below 1e+100" in done.out


@pytest.fixture
def deep(tmp_path):
    """A run below more folders than Python calls itself; pytest could not remove them."""
    place = tmp_path / "deep"
    for _ in range(1200):
        os.mkdir(place)
        place = place / "a"
    make(place.parent, "0")
    yield tmp_path / "deep"
    subprocess.run(["rm", "-rf", tmp_path / "deep"], check=True)


def test_folders_deeper_than_python_calls_itself_are_looked_through(deep):
    assert [one.status for one in read_runs(deep).runs] == ["finished"]


def test_two_thousand_runs_are_summed_up_in_moments(tmp_path):
    """Ten minutes were not enough where every run had keys of its own."""
    for number in range(2000):
        make(tmp_path, str(number), overrides=f"- seed={number}\n- k{number}=1\n", config=None)
    planned(tmp_path, "['seed=range(2000)']")
    began = time.monotonic()
    from nas.analysis import sweeps

    found = read_runs(tmp_path)
    assert sum(one.finished for one in found.runs) == 2000
    assert sweeps.table_csv(found.runs).count("\n") > 1
    assert time.monotonic() - began < 60


@pytest.mark.parametrize(
    "override",
    [
        "dataset.source._target_=strangers.Source",
        "dataset.source={_target_: strangers.Source}",
        "method.weight_optimizer._target_=torch.load",
        "trust=strangers",
        "hydra.searchpath=[file:///tmp/strangers]",
        "hydra/launcher=strangers",
        "--config-dir=/tmp/strangers",
        "bench.reference_target=strangers.Net",
        "measures=[naswot,strangers.Measure]",
        "measures.0=strangers.Measure",
        "measures=['strangers.Measure'],[naswot]",
        "rank=strangers.Measure",
        "rank=choice('strangers.Measure',naswot)",
        "rank=${dataset.name}",
        "experiment=../../../strangers/evil",
        "experiment=/tmp/strangers/evil",
        "experiment='../../strangers/evil'",
        "+experiment/darts=../../strangers/evil",
        "experiment=[start/../../evil]",
        "experiment=a,../evil",
        "experiment=${dataset.name}",
        "dataset=nowhere",
        "dataset@hydra=digits",
        "method@hydra.callbacks.x=darts1",
        "strangers/group=evil",
        "dataset.source=${oc.decode:'{_tar${dataset.name}_:strangers.run}'}",
        "dataset.name=${oc.env:HOME}",
        "tabular.file=/tmp/strangers/table",
        "logger.entity=stranger",
        "trainer.default_root_dir=/tmp/strangers",
        "a=[",
    ],
)
def test_commands_to_paste_name_no_code_of_a_stranger(override, tmp_path):
    """What a shell is given is the caller's word; so a folder's own overrides must not become it unseen."""
    place = make(tmp_path, "a", GOOD | {"status": "failed"}, json.dumps(["seed=1", override]), None)
    make(
        tmp_path,
        "b",
        GOOD | {"status": "failed"},
        "- method.weight_optimizer._target_=torch.optim.Adam\n",
        None,
    )
    again = {run.folder: run.again for run in read_runs(tmp_path).runs}
    assert again["a"].startswith("not printed: ") and "python" not in again["a"], place
    assert again["b"].startswith("python -m nas.search method.weight_optimizer._target_=torch.optim.Adam")


@pytest.mark.parametrize(
    "overrides",
    [
        ["experiment=start/digits", "debug=fast", "dataset=digits", "logger=tensorboard"],
        ["experiment=null", "~sweep", "recipe.clip=${method.clip}"],
        ["tabular=csv", "tabular.file=/tmp/table.csv", "dataset.root='/tmp/my pictures'"],
    ],
)
def test_plain_choices_are_repeated(overrides, tmp_path):
    make(tmp_path, "a", GOOD | {"status": "failed"}, json.dumps(overrides), None)
    (found,) = read_runs(tmp_path).runs
    assert shlex.split(found.again)[:-1] == ["python", "-m", "nas.search", *overrides]


@pytest.mark.parametrize(
    "words",
    [
        ["experiment=../{place}/evil"],
        ["experiment={place}/evil"],
        ["experiment='../{place}/evil'"],
        ["+experiment/darts=../../{place}/evil"],
        ["debug=[fast,../{place}/evil]"],
        ["-m", "experiment=start/digits,../{place}/evil"],
        ["--config-dir={own}", "mine=../{place}/evil"],
    ],
)
def test_choices_that_lead_out_of_the_configurations_are_refused(words, run, tmp_path, monkeypatch):
    """Typed ones too, before Hydra builds anything that such a file names."""
    (tmp_path / "evilmod.py").write_text(
        "import pathlib\npathlib.Path(__file__).with_name('imported').touch()\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "own/mine").mkdir(parents=True)
    (tmp_path / "evil.yaml").write_text(
        "# @package _global_\nhydra:\n  callbacks:\n    x:\n      _target_: evilmod.run\n"
    )
    place = os.path.relpath(tmp_path, ROOT / "conf")
    done = run("search", *(one.format(place=place, own=tmp_path / "own") for one in words))
    assert done.status == 2
    assert done.err.startswith("error: ")
    assert done.err.count("\n") == 1
    assert "leads out of the folders of configurations" in done.err
    assert not (tmp_path / "imported").exists()
