"""The container and the workflows name what there is; what they run is composed here."""

import json
import re
import shlex
from pathlib import Path

import pytest
import yaml

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


def test_the_container_can_be_built_for_a_gpu():
    assert ("ARG", "TORCH_INDEX=https://download.pytorch.org/whl/cpu") in instructions()
    assert '--index-url "$TORCH_INDEX"' in DOCKERFILE


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_names_what_there_is(path, run):
    jobs = yaml.safe_load(path.read_text())["jobs"]
    lines = [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]
    assert lines
    for line in lines:
        words = shlex.split(line)
        if words[0] == "make":
            assert set(words[1:]) <= TARGETS, line
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
    assert {"lint", "test", "docs", "wheel", "other-systems"} == set(jobs)
    told = re.findall(r"Python :: (3\.\d+)\"", (ROOT / "pyproject.toml").read_text())
    assert jobs["test"]["strategy"]["matrix"]["python"] == told
    assert jobs["other-systems"]["strategy"]["matrix"]["system"] == ["macos-latest", "windows-latest"]
