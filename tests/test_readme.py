"""What the documents promise: commands of the README run, make targets exist, no link points to nothing."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from nas.running.beside_resume import RESUMABLE
from tests.forks import finish

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
USING = (ROOT / "docs/using.md").read_text(encoding="utf-8")
RESULTS = (ROOT / "docs/results.md").read_text(encoding="utf-8")
SKIPPED_FOLDERS = {".venv", ".git", "outputs", "node_modules"}
DOCUMENTS = sorted(p for p in ROOT.rglob("*.md") if not SKIPPED_FOLDERS & set(p.relative_to(ROOT).parts))
# Data sets whose images are not there on a fresh machine: such commands are composed, not run.
ABSENT = re.compile(r"dataset=(cifar|imagenet)|experiment=darts/")
needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


def commands(text: str) -> list[str]:
    """The lines of all bash blocks that call one of our commands, without their comments."""
    blocks = re.findall(r"^```bash\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return [
        shlex.join(shlex.split(line, comments=True)) for line in lines if line.startswith("python -m nas.")
    ]


def shrunk(command: str, folder: Path) -> list[str]:
    """Arguments of the command after `python`, made to end within a minute and to write below `folder`."""
    arguments = shlex.split(command)[1:]
    if "--cfg" in arguments or "--help" in arguments or arguments[1] == "nas.cost":
        return arguments
    if ABSENT.search(command):
        return [*arguments, "--cfg", "job"]
    place = f"hydra.run.dir={folder / 'run'}" if "-m" not in arguments[2:] else f"hydra.sweep.dir={folder}"
    # Debugging does not shorten what is typed.
    typed = [one for one in ("method.warmup_epochs", "trainer.max_epochs") if f"{one}=" in command]
    short = [f"{one}={number}" for number, one in enumerate(typed, start=1)]
    return [*arguments, "debug=fast", *short, "hardware.threads=1", place]


def run(arguments: list[str], folder: Path) -> subprocess.CompletedProcess:
    environment = os.environ | {"NAS_OUTPUTS": str(folder), "OMP_NUM_THREADS": "1", "CI": "1"}
    return finish([sys.executable, *arguments], timeout=300, env=environment)


def test_the_readme_is_short():
    assert len(README.splitlines()) <= 150


def test_the_path_of_the_readme_is_made_of_commands_and_their_keys():
    (path,) = re.findall(r"^```sh\nsource [^\n]*\n(nas-search .*?)^```", README, re.MULTILINE | re.DOTALL)
    lines = [shlex.split(line, comments=True) for line in path.splitlines()]
    assert [line[0] for line in lines] == [
        f"nas-{one}" for one in ("search", "derive", "evaluate", "export", "predict")
    ]
    for name, *words in lines:
        text = (ROOT / f"conf/{name.removeprefix('nas-')}.yaml").read_text(encoding="utf-8")
        for key in (word.partition("=")[0] for word in words):
            assert re.search(rf"^[ -]*{key.split('.')[0]}:", text, re.MULTILINE), (name, key)


def test_the_readme_has_commands():
    assert len(commands(USING)) >= 5


@pytest.mark.parametrize("command", commands(README) + commands(USING))
def test_readme_command(command, tmp_path):
    done = run(shrunk(command, tmp_path), tmp_path)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize("form, status", [("experiment=start/digits", 0), ("+experiment=start/digits", 2)])
def test_experiments_are_chosen_without_a_plus(form, status, tmp_path):
    assert run(["-m", "nas.search", form, "--cfg", "job"], tmp_path).returncode == status


def test_the_cost_table_is_what_the_command_prints():
    from nas import genotype
    from nas.analysis.cost.complexity import count_cost
    from nas.spaces.darts.space import DartsSpace
    from nas.spaces.space import ImageInputs

    sizes = {
        "cifar10": ((3, 32, 32), 10, {"num_cells": 20, "init_channels": 36, "stem": "cifar"}),
        "imagenet": ((3, 224, 224), 1000, {"num_cells": 14, "init_channels": 48, "stem": "imagenet"}),
    }
    space = DartsSpace("darts", ["skip_connect", "sep_conv_3x3"])
    rows = re.findall(
        r"^\| `(\w+)` \| ([\d,]+) \| ([\d,]+) \| ([\d,]+) \| ([\d,]+) \|$", RESULTS, re.MULTILINE
    )
    assert len(rows) >= 8
    for name, *numbers in rows:
        found = []
        cell = genotype.load(name, "darts")
        for shape, classes, size in sizes.values():
            cost = count_cost(partial(space.network, cell, ImageInputs(shape, classes), **size), shape)
            found += [f"{cost.params:,}", f"{cost.macs:,}"]
        assert found == numbers, name


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


def test_make_targets_that_documents_name_exist():
    named = {
        target
        for name in ("README.md", "CONTRIBUTING.md")
        for words in re.findall(
            r"(?:`|^)make ([a-z -]+)", (ROOT / name).read_text(encoding="utf-8"), re.MULTILINE
        )
        for target in words.split()
    }
    assert {"setup", "search", "test", "help"} <= named <= make_targets()


@needs_make
def test_make_help_is_the_default_and_lists_every_target():
    outputs = []
    for goal in ([], ["help"]):
        done = subprocess.run(["make", *goal], cwd=ROOT, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        outputs.append(done.stdout)
    assert outputs[0] == outputs[1]
    for target in make_targets():
        assert re.search(rf"^  {target}\s+\S", outputs[0], re.MULTILINE), f"{target} is not in make help"


@needs_make
def test_make_refuses_an_old_python_in_words(tmp_path):
    old = tmp_path / "python"
    old.write_text('#!/bin/sh\n[ "$1" = -V ] && echo "Python 3.9.1"\nexit 1\n')
    old.chmod(0o755)
    done = subprocess.run(
        ["make", "setup", f"PYTHON={old}", f"VENV={tmp_path / 'venv'}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode != 0
    assert "Python 3.11 or newer is needed" in done.stderr and "3.9.1" in done.stderr
    assert not (tmp_path / "venv").exists()


def anchors(path: Path) -> set[str]:
    """The anchors of a document's headings, as code hosts make them."""
    titles = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path):
    text = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = (path.parent / name).resolve() if name else path
        if not file.exists() or (anchor and file.suffix == ".md" and anchor not in anchors(file)):
            broken.append(target)
    assert not broken


def test_every_document_is_in_the_index():
    index = ROOT / "docs/README.md"
    named = set(re.findall(r"\]\(([\w]+\.md)\)", index.read_text(encoding="utf-8")))
    assert named == {path.name for path in index.parent.glob("*.md")} - {index.name}


def test_the_continuous_integration_script_is_executable():
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert "make test" in script.read_text(encoding="utf-8")


def test_the_readme_names_every_key_that_a_resumed_run_may_change():
    told = USING.partition("**Resume**")[2].partition("**Folders of others**")[0]
    assert not [key for key in RESUMABLE if key not in told]
