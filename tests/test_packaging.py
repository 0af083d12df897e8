"""The container and the workflows name what there is; what they run is composed here.

The lines of the container run, too, in a fresh environment: there need be no docker, and nothing is fetched.
"""

import ast
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest
import torch
import yaml

from nas.analysis.cost import timing

ROOT = Path(__file__).resolve().parent.parent
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
COMMANDS = {path.stem for path in (ROOT / "conf").glob("*.yaml")}
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
DOCKERFILE = (ROOT / "Dockerfile").read_text()


def instructions():
    """(word, rest) of each instruction of the Dockerfile."""
    lines = [line for line in DOCKERFILE.replace("\\\n", " ").splitlines() if line and line[0] != "#"]
    return [tuple(line.split(" ", 1)) for line in lines]


def ours(line):
    """The commands of this project in a line for a shell, as `run` takes them."""
    words = [shlex.split(one) for one in re.split(r"&&|;", line)]
    return [
        (one[0].removeprefix("nas-"), *one[1:]) for one in words if one and one[0].startswith("nas-")
    ]  # fmt: skip


def test_the_container_copies_what_is_there_and_nothing_that_is_left_out():
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line[0] == "!"}
    copied = [one for word, rest in instructions() if word == "COPY" for one in rest.split()[:-1]]
    assert copied and all((ROOT / one).exists() for one in copied) and set(copied) == let_in
    # What builds the wheel in tests/test_installed.py is what is copied here.
    assert {"pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE", "nas", "conf"} == set(copied)


def test_the_container_runs_the_job_of_make_search(run):
    ((_, command),) = [one for one in instructions() if one[0] == "CMD"]
    shell, option, line = json.loads(command)
    assert (shell, option) == ("sh", "-c")
    search, evaluate = ours(line)
    make = (ROOT / "Makefile").read_text()
    for name, *words in (search, evaluate):
        assert f"nas.{name} {words[0]}" in make
    name, *words = search
    done = run(name, *words, "--cfg", "job")
    assert done.status == 0, done.err
    name, *words = evaluate
    done = run(name, *words, "--cfg", "job")
    assert done.status == 0, done.err


def test_the_container_can_be_built_for_a_gpu(run):
    """By the lines of its head: their build argument is one of the file's, their commands are composed."""
    assert ("ARG", "TORCH_INDEX=https://download.pytorch.org/whl/cpu") in instructions()
    assert '--index-url "$TORCH_INDEX"' in DOCKERFILE
    head = [line[1:].strip() for line in DOCKERFILE.splitlines() if line.startswith("#")]
    lines = [shlex.split(one) for line in head if line.startswith("docker") for one in line.split("&&")]
    builds, runs = ([words for words in lines if words[1] == name] for name in ("build", "run"))
    given = [words[words.index("--build-arg") + 1] for words in builds if "--build-arg" in words]
    assert given == ["TORCH_INDEX=https://pypi.org/simple"]
    known = [rest.partition("=")[0] for word, rest in instructions() if word == "ARG"]
    assert [one.partition("=")[0] for one in given] == known
    images = [words[words.index("-t") + 1] for words in builds]
    started = [words[words.index("-v") + 2 :] for words in runs]
    assert [image for image, *_ in started] == images
    (mounted,) = {words[words.index("-v") + 1].partition(":")[2] for words in runs}
    assert ("ENV", f"NAS_OUTPUTS={mounted}") in instructions()
    ((name, *rest),) = ours(shlex.join(started[-1][1:]))
    assert "--gpus" in runs[-1] and "hardware=gpu" in rest
    done = run(name, *rest, "--cfg", "job")
    assert done.status == 0, done.err


# What apt-get would install is there already, by the command of its name.
APT_GET = """#!/bin/sh
[ "$1" = update ] && exit 0
[ "$1" = install ] || exit 1
shift
for one in "$@"; do
  case "$one" in -*) ;; *) command -v "$one" >/dev/null || { echo "no $one" >&2; exit 100; } ;; esac
done
"""


def in_place(line, root):
    """A line of the container with its folders below another root, in which nothing is fetched."""
    moved = re.sub(r"(?<![\w.:/])/(?=(?:app|outputs|var)\b)", f"{root}/", line)
    # Neither does building fetch anything, and addresses are not asked.
    return moved.replace("pip install ", "pip install --no-index --no-build-isolation --no-compile ")


@pytest.mark.skipif(shutil.which("g++") is None or shutil.which("git") is None, reason="no g++ or no git")
def test_the_lines_of_the_container_run_in_a_fresh_environment(tmp_path):
    """COPY, RUN, ENV, WORKDIR and CMD, with packages lent by this interpreter in the place of an index."""
    root, place = tmp_path / "root", tmp_path / "venv"
    venv.create(place, with_pip=True)
    (site,) = place.glob("lib/python*/site-packages")
    # That of a new environment may be older than what is built with; the container's Python brings none.
    subprocess.run([place / "bin/pip", "uninstall", "--quiet", "--yes", "setuptools"], check=True)
    (site / "lent.pth").write_text(sysconfig.get_path("purelib") + "\n")
    (place / "bin/apt-get").write_text(APT_GET)
    (place / "bin/apt-get").chmod(0o755)
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PIP_", "PYTHON", "NAS_"))}
    environment |= {
        "PATH": f"{place / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PIP_CONFIG_FILE": os.devnull,
        "OMP_NUM_THREADS": "1",
    }
    arguments, folder = {}, root
    root.mkdir()
    for word, rest in instructions():
        if word == "FROM":
            (version,) = re.findall(r"^python:(3\.\d+)-slim$", rest)
            assert f'"Programming Language :: Python :: {version}"' in (ROOT / "pyproject.toml").read_text()
        elif word == "ARG":
            arguments |= [rest.split("=", 1)]
        elif word == "ENV":
            environment |= [in_place(rest, root).split("=", 1)]
        elif word == "WORKDIR":
            folder = Path(in_place(rest, root))
            folder.mkdir(parents=True, exist_ok=True)
        elif word == "COPY":
            *sources, target = rest.split()
            for one in sources:
                copied(ROOT / one, folder / target)
        elif word in ("RUN", "CMD"):
            line = ["sh", "-c", rest] if word == "RUN" else json.loads(rest)
            line[-1] = in_place(line[-1], root)
            known = environment | (arguments if word == "RUN" else {})
            done = subprocess.run(line, cwd=folder, env=known, capture_output=True, text=True, timeout=600)
            assert done.returncode == 0, (line, done.stdout, done.stderr)
        else:
            raise AssertionError(f"{word}: a word that this test does not know")
    # What ran is what was installed, in the folder that is mounted.
    assert (site / "nas/conf/search.yaml").is_file() and "test accuracy" in done.stdout
    for name in ("search", "evaluate"):
        summary = json.loads((root / "outputs" / name / "summary.json").read_text())
        assert (summary["status"], summary["git_commit"]) == ("finished", None)
    assert sorted(one.name for one in root.iterdir()) == ["app", "outputs"]


def copied(source, target):
    """As COPY does: a folder's content, or a file into a folder."""
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(source, target)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_names_what_there_is(path, run):
    jobs = yaml.safe_load(path.read_text())["jobs"]
    lines = [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]
    assert lines
    for line in lines:
        words = shlex.split(line)
        if words[0] == "make":
            assert {word for word in words[1:] if "=" not in word} <= TARGETS, line
        elif words[0].startswith("nas-"):
            ((name, *rest),) = ours(line)
            assert name in COMMANDS
            done = run(name, *rest, "--cfg", "job")
            assert done.status == 0, done.err
        else:
            assert words[:3] in (["python", "-m", "pip"],), line


def test_the_workflow_has_the_versions_and_systems_that_are_promised():
    (path,) = WORKFLOWS
    jobs = yaml.safe_load(path.read_text())["jobs"]
    assert {"lint", "test", "whole", "torture", "docs", "wheel", "other-systems"} == set(jobs)
    told = re.findall(r"Python :: (3\.\d+)\"", (ROOT / "pyproject.toml").read_text())
    assert jobs["test"]["strategy"]["matrix"]["python"] == told
    assert jobs["other-systems"]["strategy"]["matrix"]["system"] == ["macos-latest", "windows-latest"]


# Modules of Python's that there are on Unix alone.
OF_UNIX = {"fcntl", "grp", "posix", "pty", "pwd", "resource", "syslog", "termios", "tty"}


def test_a_module_of_unix_is_imported_where_it_is_used():
    """The workflow has Windows in its matrix: there each module of this project is to be importable."""
    for path in (ROOT / "nas").rglob("*.py"):
        body = ast.parse(path.read_text(encoding="utf-8")).body
        named = {one.name for node in body if isinstance(node, ast.Import) for one in node.names}
        named |= {node.module for node in body if isinstance(node, ast.ImportFrom)}
        assert not named & OF_UNIX, path


def test_where_a_system_does_not_say_its_memory_that_is_no_failure(monkeypatch):
    monkeypatch.setitem(sys.modules, "resource", None)
    monkeypatch.setattr(timing, "STATUS", ROOT / "nowhere")
    monkeypatch.setattr(timing, "CLEAR_REFS", ROOT / "nowhere/else")
    memory = timing.PeakMemory(torch.device("cpu"))
    memory.reset()
    assert memory.read() == 0
