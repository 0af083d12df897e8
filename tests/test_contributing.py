"""The recipes of CONTRIBUTING.md, followed as a contributor would, and the Python of all documents."""

import ast
import importlib
import os
import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.forks import finish

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
DOCUMENTS = sorted([ROOT / "CONTRIBUTING.md", ROOT / "README.md", *(ROOT / "docs").glob("*.md")])


def blocks(text: str, language: str) -> list[str]:
    """The code blocks of a language, in their order."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def recipe(title: str) -> str:
    """The text below a heading."""
    return re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", TEXT, re.MULTILINE | re.DOTALL)[1]


def commands(text: str) -> list[list[str]]:
    """What is to be typed, without the interpreter."""
    lines = "".join(blocks(text, "sh")).splitlines()
    return [shlex.split(line)[1:] for line in lines]


def follow(words: list[str], folder: Path) -> None:
    """Runs a command in a folder."""
    last = [] if words[-1][0] != "-" else [words[-1]]
    line = [sys.executable, *words[: len(words) - len(last)], "hardware.threads=1", *last]
    environment = os.environ | {"NAS_OUTPUTS": str(folder / "outputs"), "CI": "1"}
    done = finish(line, timeout=300, cwd=folder, env=environment)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "run folder:" in done.stdout


def test_an_operation_is_added_as_the_recipe_says(tmp_path):
    """In a file outside of the project."""
    text = recipe("Add an operation")
    (code,) = blocks(text, "python")
    assert "`theirs.py`" in text
    (tmp_path / "theirs.py").write_text(code, encoding="utf-8")
    (words,) = commands(text)
    follow(words, tmp_path)


def test_a_method_is_added_as_the_recipe_says(tmp_path):
    """In files outside of the project; every command of the recipe runs."""
    text = recipe("Add a method")
    for code, name in zip(blocks(text, "python"), ("cooling.py", "both.py"), strict=True):
        assert f"`{name}`" in text
        (tmp_path / name).write_text(code, encoding="utf-8")
    (tmp_path / "own/method").mkdir(parents=True)
    (yaml,) = blocks(text, "yaml")
    (tmp_path / "own/method/cooling.yaml").write_text(yaml, encoding="utf-8")
    typed = commands(text)
    assert len(typed) == 3
    for words in typed:
        follow(words, tmp_path)


def test_a_space_is_added_as_the_recipe_says(tmp_path):
    """In files outside of the project; the command of the recipe runs."""
    text = recipe("Add a space")
    write_own(text, "chain.py", "space/chain.yaml", tmp_path)
    (words,) = commands(text)
    follow(words, tmp_path)


def test_a_data_set_is_added_as_the_recipe_says(tmp_path):
    """In files outside of the project; the command of the recipe runs."""
    text = recipe("Add a data set")
    write_own(text, "pixels.py", "dataset/pixels.yaml", tmp_path)
    (tmp_path / "numbers").mkdir()
    rng = np.random.default_rng(0)
    for part in ("train", "test"):
        images, labels = rng.integers(0, 256, (120, 1, 8, 8), dtype=np.uint8), np.arange(120) % 3
        np.savez(tmp_path / "numbers" / part, images=images, labels=labels)
    (words,) = commands(text)
    follow(words, tmp_path)


def write_own(text: str, module: str, config: str, folder: Path) -> None:
    """Writes the one Python and the one YAML block of a recipe to the files that it names."""
    (code,), (yaml,) = blocks(text, "python"), blocks(text, "yaml")
    assert f"`{module}`" in text and f"`own/{config}`" in text
    (folder / module).write_text(code, encoding="utf-8")
    (folder / "own" / config).parent.mkdir(parents=True)
    (folder / "own" / config).write_text(yaml, encoding="utf-8")


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_python_of_the_documents_is_python_and_names_what_there_is(path):
    for code in blocks(path.read_text(encoding="utf-8"), "python"):
        tree = ast.parse(code)
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and str(node.module).split(".")[0] == "nas":
                module = importlib.import_module(node.module)
                assert all(hasattr(module, alias.name) for alias in node.names), ast.unparse(node)
            elif isinstance(node, ast.Import):
                for alias in node.names:
                    if alias.name.split(".")[0] == "nas":
                        importlib.import_module(alias.name)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_files_that_the_documents_name_are_there(path):
    named = re.findall(
        r"`((?:nas|conf|tests|experiments)/[\w/.-]+\.(?:py|yaml|cpp))`", path.read_text("utf-8")
    )
    # Examples of files that are to be written.
    new = set(re.findall(r"example\s+`([\w/.-]+)`", path.read_text("utf-8")))
    assert not [name for name in named if not (ROOT / name).exists() and name not in new]


def test_functions_that_the_pitfalls_name_are_there():
    text = (ROOT / "docs/pitfalls.md").read_text(encoding="utf-8")
    pairs = [*re.findall(r"\(`(nas/[\w/]+\.py)`, `(\w+)`\)", text)]
    pairs += [(file, name) for name, file in re.findall(r"`([\w.]+)` in `(nas/[\w/]+\.py)`", text)]
    assert pairs
    for file, name in pairs:
        assert name.split(".")[-1] in (ROOT / file).read_text(encoding="utf-8"), (file, name)
    sources = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "nas").rglob("*.py"))
    for owner, member in re.findall(r"\(`([A-Z]\w+)\.(\w+)`\)", text):
        assert re.search(rf"^class {owner}\b", sources, re.MULTILINE), owner
        assert re.search(rf"\b{member}\b", sources), (owner, member)
