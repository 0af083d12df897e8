"""Jobs of a sweep side by side: whatever becomes of one, the others run and the table says what happened.

Most jobs here are the stand-in of `stand_in.py`, which ends within milliseconds.
"""

import importlib.util
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from nas.errors import ConfigError
from nas.running import launching
from tests.commands.stand_in import JOB, seen, summary
from tests.conftest import ROOT

needs_joblib, needs_submitit, needs_ray = (
    pytest.mark.skipif(
        importlib.util.find_spec("hydra_plugins") is None
        or importlib.util.find_spec(f"hydra_plugins.hydra_{name}_launcher") is None,
        reason=f"hydra-{name}-launcher is not installed (pip install 'nas-framework[{extra}]')",
    )
    for name, extra in (("joblib", "sweeps"), ("submitit", "sweeps"), ("ray", "ray"))
)
LAUNCHERS = [
    pytest.param(["hydra/launcher=workers"], marks=needs_joblib, id="workers"),
    pytest.param(
        ["hydra/launcher=local", "hydra.launcher.cpus_per_task=1"], marks=needs_submitit, id="local"
    ),
    pytest.param(["hydra/launcher=ray_cluster"], marks=needs_ray, id="ray"),
]


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_a_killed_job_costs_no_other_and_is_told_with_its_reason(launcher, beside, tmp_path):
    process = beside(*launcher, "seed=0,13,14,1")
    out, err = process.communicate(timeout=120)
    folder = tmp_path / "sweep"
    assert process.returncode == 1, err
    found = [summary(folder / str(job)) for job in range(4)]
    assert [one["status"] for one in found] == ["finished", "died", "failed", "finished"]
    assert [one.get("exit_status") for one in found] == [None, 1, 1, None]
    assert "2 of 4 runs did not finish" in out
    assert "- 1 (seed=13): died after 3 epochs: killed by SIGKILL" in out
    assert "- 2 (seed=14): failed: it ended with status 1 before it could say why: no such library" in out
    assert f"`python -m nas.search resume={folder / '1'}`" in out
    assert "a word of the job" in (folder / "1/error.txt").read_text()
    assert "a word of the job" in (folder / "0/output.txt").read_text()


@needs_joblib
def test_jobs_of_joblib_share_processors_and_gpus(beside, tmp_path):
    gpus = {"NAS_GPUS": "2,GPU-5f"}
    words = ("hydra/launcher=workers", "hydra.launcher.n_jobs=3", "seed=0,1,2,3,4")
    process = beside(*words, **gpus)
    assert process.communicate(timeout=120)[1].strip() == ""
    jobs = [seen(tmp_path / f"sweep/{job}") for job in range(5)]
    assert {job["CUDA_VISIBLE_DEVICES"] for job in jobs} == {"2", "GPU-5f"}
    assert {job["OMP_NUM_THREADS"] for job in jobs} == {str(max(1, launching.processors() // 3))}
    assert not meet(jobs)


def meet(jobs):
    """Pairs of jobs that had one GPU at one time."""
    return [
        (one, other)
        for one, other in itertools.combinations(jobs, 2)
        if one["CUDA_VISIBLE_DEVICES"] == other["CUDA_VISIBLE_DEVICES"]
        and one["begin"] < other["end"]
        and other["begin"] < one["end"]
    ]


@pytest.fixture
def apart(tmp_path, monkeypatch):
    """`apart(number, share, seed=..., gpu=...) -> reason`: one stand-in, without a launcher."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site/sitecustomize.py").write_text(JOB)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(launching, "POLL", 0.02)

    def call(number, share, seed=0, gpu=False, id="search_0"):
        folder = tmp_path / f"sweep/{number}"
        arguments = [f"seed={seed}", f"hydra.run.dir={folder}", f"hydra.job.num={number}"]
        job = launching.Job("search", id, folder, arguments[:1], arguments, str(ROOT))
        return launching.run_apart(job, share, gpu, tmp_path / "sweep")

    return call


@pytest.mark.parametrize(("gpus", "most"), [("0", 1), ("0,1", 2), ("0,0,1", 3)])
def test_a_gpu_has_one_job_at_a_time_or_as_many_as_it_is_named(apart, tmp_path, monkeypatch, gpus, most):
    monkeypatch.setenv("NAS_GPUS", gpus)
    share = launching.Share(gpus=True)
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda number: apart(number, share, gpu=True), range(4))) == [""] * 4
    jobs = [seen(tmp_path / f"sweep/{number}") for number in range(4)]
    assert {job["CUDA_VISIBLE_DEVICES"] for job in jobs} <= set(gpus.split(","))
    at_once = max(sum(job["begin"] <= other["begin"] < job["end"] for job in jobs) for other in jobs)
    assert at_once <= most
    assert len(set(gpus.split(","))) < most or not meet(jobs)


def test_no_more_jobs_run_at_a_time_than_fit_into_the_machine(apart, tmp_path):
    share = launching.Share(threads=3, at_a_time=1)
    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(lambda number: apart(number, share), range(3))) == [""] * 3
    jobs = sorted((seen(tmp_path / f"sweep/{number}") for number in range(3)), key=lambda job: job["begin"])
    assert all(one["end"] <= other["begin"] for one, other in itertools.pairwise(jobs))
    assert {(job["OMP_NUM_THREADS"], job["MKL_NUM_THREADS"]) for job in jobs} == {("3", "3")}


def test_a_job_that_a_cluster_starts_again_goes_on_from_where_it_was(apart, tmp_path, monkeypatch):
    monkeypatch.setenv("SUBMITIT_EXECUTOR", "slurm")
    assert "killed by SIGKILL" in apart(0, launching.Share(), seed=13, id="77_0")
    assert summary(tmp_path / "sweep/0")["status"] == "died"
    assert apart(0, launching.Share(), seed=13, id="77_0") == ""
    assert seen(tmp_path / "sweep/0")["resumed"]


def test_a_job_never_goes_on_with_the_run_of_another(apart, tmp_path):
    assert apart(0, launching.Share(), id="search_0") == ""
    before = (tmp_path / "sweep/0/summary.json").read_bytes()
    with pytest.raises(ConfigError, match="holds a run already"):
        apart(0, launching.Share(), id="search_0")
    assert (tmp_path / "sweep/0/summary.json").read_bytes() == before


def test_a_gpu_that_is_not_there_is_missed_before_the_job(apart, monkeypatch):
    monkeypatch.setenv("NAS_GPUS", "")
    with pytest.raises(ConfigError, match="NAS_GPUS=: no GPU for the jobs"):
        apart(0, launching.Share(gpus=True), gpu=True)
    assert apart(0, launching.Share(gpus=True)) == ""


@pytest.mark.parametrize(
    ("launcher", "cores", "threads", "at_a_time"),
    [
        ({"_target_": launching.JOBLIB, "n_jobs": 4}, 16, 4, None),
        ({"_target_": launching.JOBLIB, "n_jobs": 3}, 2, 1, None),
        ({"_target_": launching.JOBLIB, "n_jobs": -1}, 16, 1, None),
        ({"_target_": launching.JOBLIB, "n_jobs": -13}, 16, 4, None),
        ({"_target_": launching.SUBMITIT_LOCAL, "cpus_per_task": 3}, 16, 3, 5),
        ({"_target_": launching.SUBMITIT_LOCAL, "cpus_per_task": 8}, 2, 2, 1),
        ({"_target_": launching.SUBMITIT_SLURM, "cpus_per_task": 8}, 2, 8, None),
        ({"_target_": launching.RAY, "ray": {"remote": {"num_cpus": 6}}}, 2, 6, None),
        ({"_target_": launching.RAY, "ray": {"remote": {"num_cpus": 0.5}}}, 2, 1, None),
        ({"_target_": "hydra_plugins.of_somebody.Launcher"}, 16, None, None),
    ],
)
def test_processors_are_divided_by_the_jobs(monkeypatch, launcher, cores, threads, at_a_time):
    monkeypatch.setattr(launching, "processors", lambda: cores)
    share = launching.share_of(launcher)
    assert (share.threads, share.at_a_time) == (threads, at_a_time)
    assert share.gpus == (launcher["_target_"] in (launching.JOBLIB, launching.SUBMITIT_LOCAL))


@needs_joblib
def test_a_stopped_sweep_leaves_no_process_and_can_be_completed(beside, run, tmp_path):
    folder = tmp_path / "sweep"
    process = beside("hydra/launcher=workers", "hydra.launcher.n_jobs=1", "seed=15,1")
    deadline = time.monotonic() + 100
    while not (folder / "0/summary.json").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    pid = json.loads((folder / "0/job.json").read_text())["pid"]
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    done = run("sweeps", f"folder={folder}")
    assert "- 0 (seed=15): died after 3 epochs" in done.out
    assert f"resume={folder / '0'}" in done.out
    assert "- 1 (seed=1): not started" in done.out


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize(
    ("override", "module", "words"),
    [
        ("hydra/launcher=workers", "hydra_joblib_launcher", ["hydra-joblib-launcher", "[sweeps]"]),
        ("hydra/launcher=local", "hydra_submitit_launcher", ["hydra-submitit-launcher", "[sweeps]"]),
        ("hydra/launcher=slurm", "hydra_submitit_launcher", ["hydra-submitit-launcher", "[sweeps]"]),
        ("hydra/launcher=ray_cluster", "hydra_ray_launcher", ["hydra-ray-launcher", "[ray]"]),
        ("hydra/sweeper=tune", "hydra_optuna_sweeper", ["hydra-optuna-sweeper", "[sweeps]"]),
    ],
)
def test_a_missing_plugin_is_told_with_the_command_that_installs_it(
    run, monkeypatch, tmp_path, override, module, words
):
    monkeypatch.setitem(sys.modules, f"hydra_plugins.{module}", None)
    done = run("search", "-m", override, "seed=0,1", f"hydra.sweep.dir={tmp_path / 'sweep'}")
    assert done.status == 2
    assert done.err.count("error: ") == 1 and len(done.err.splitlines()) == 1
    assert all(word in done.err for word in ["pip install", *words])
    assert not (tmp_path / "sweep").exists()


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["hydra.launcher.n_jobs=0"], "hydra.launcher.n_jobs=0: must be a number of jobs"),
        (["plan=true"], "plan without hydra/launcher"),
        (["seed=0,abc"], "seed=abc: must be a whole number"),
        (
            ["hardware.devices=1,2"],
            "job 1 (seed=0 hardware.devices=2): hardware=cpu: a multirun cannot start several",
        ),
        (["hardware=ddp8"], "a multirun cannot start several processes"),
        (["resume=null,earlier"], "job 1 (seed=0 resume=earlier): resume=earlier: a multirun cannot resume"),
    ],
)
@needs_joblib
def test_what_is_wrong_is_told_before_the_first_job(run, tmp_path, overrides, words):
    place = f"hydra.sweep.dir={tmp_path / 'sweep'}"
    done = run("search", "-m", "hydra/launcher=workers", "seed=0,1", place, *overrides)
    assert done.status == 2
    assert words in done.err
    assert not (tmp_path / "sweep").exists()


@needs_joblib
def test_searches_side_by_side_find_what_they_find_alone(run, start, tmp_path):
    words = ("-m", "method=random", "seed=0,1")
    process = start("search", *words, "hydra/launcher=workers", f"hydra.sweep.dir={tmp_path / 'beside'}")
    out, err = process.communicate(timeout=280)
    assert process.returncode == 0, err
    assert run("search", *words, f"hydra.sweep.dir={tmp_path / 'alone'}").status == 0
    for name in ("0/genotype.json", "1/genotype.json", "0/overrides.yaml", "table.csv"):
        assert (tmp_path / "beside" / name).read_text() == (tmp_path / "alone" / name).read_text()
    assert (tmp_path / "beside/table.md").read_text().split("\n\n")[2] in out


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="only there is a process known to be unburied")
def test_a_job_that_is_dead_and_not_buried_is_dead(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    job = {"host": socket.gethostname(), "pid": process.pid}
    (tmp_path / launching.JOB).write_text(json.dumps(job))
    assert not launching.is_dead(tmp_path)
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert launching.is_dead(tmp_path)
    process.communicate()
