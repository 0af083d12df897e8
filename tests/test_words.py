"""What is printed to be pasted is read back as the value that it stands for."""

import os
import shlex
import subprocess
import sys

import numpy as np
import pytest
import torch
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import QuotedString
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nas.errors import ConfigError
from nas.running.from_run import SIZES
from nas.running.words import pasted, quoted, word
from nas.spaces.darts.space import DartsSpace
from nas.spaces.dso.space import DsoSpace
from nas.spaces.nasbench201.space import NasBench201Space
from nas.spaces.recurrent.space import RecurrentSpace

PARSER = OverridesParser.create()
LETTERS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
# What grammars trip over, together.
SYNTAX = st.text("\\\"'.,:=[]{}()$*?|@~#% \t\n0123456789eE+-_aün/")
TEXTS = LETTERS | SYNTAX
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.from_regex(r"[a-zA-Z_][a-zA-Z0-9_]{0,5}", fullmatch=True), inner, max_size=3)
    ),
    max_leaves=8,
)


def read(text):
    """The value that Hydra reads, once a shell has taken the line apart."""
    (typed,) = shlex.split(pasted([f"key={text}"])) if text.isprintable() else (f"key={text}",)
    return unquoted(PARSER.parse_override(typed).value())


def unquoted(value):
    if isinstance(value, QuotedString):
        return value.text
    if isinstance(value, list):
        return [unquoted(one) for one in value]
    if isinstance(value, dict):
        return {unquoted(key): unquoted(one) for key, one in value.items()}
    return value


@settings(deadline=None, max_examples=300)
@given(TEXTS)
@example(".5")
@example("")
@example("1_000")
@example("NaN")
@example("/tmp/ü/b\\\\c\\")
@example('\\"')
@example("a ${USER}")
@example("/home/my own/pets and dogs")
@example("C:\\Users\\my own\\runs\\new")
@example("D:\\data\\")
@example("E:/data/pets, dogs")
@example("\\\\server\\share\\a b")
def test_every_text_is_read_back(text):
    found = read(quoted(text))
    assert type(found) is str
    assert found == text


@settings(deadline=None, max_examples=200)
@given(VALUES)
def test_every_value_is_read_back(value):
    found = read(word(value))
    assert repr(found) == repr(value)


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (np.int64(3), 3),
        (np.float32(0.5), 0.5),
        (np.bool_(True), True),
        (np.str_("a b"), "a b"),
        (torch.tensor(4), 4),
        (np.arange(3), [0, 1, 2]),
        (torch.tensor([0.5, 1.5]), [0.5, 1.5]),
    ],
)
def test_a_number_of_another_library_is_a_number(value, plain):
    found = read(word(value))
    assert type(found) is type(plain) and found == plain


@pytest.mark.parametrize("text", ["a\nb", "\x1b[2J", "tab\there", "it's", "b\\", "ü", "\udcff", "$HOME `id`"])
def test_a_shell_reads_the_very_word(text):
    done = subprocess.run(
        ["bash", "-c", f"printf %s {pasted([quoted(text)])}"], capture_output=True, check=True
    )
    assert done.stdout.decode("utf-8", "surrogateescape") == quoted(text)


@pytest.mark.parametrize(
    ("program", "printed"),
    [
        ("nas-search", "{}nas-derive run=x"),
        ("nas", "{}nas-derive run=x"),
        ("other", "python -m nas.derive run=x"),
        ("nas/search.py", "python -m nas.derive run=x"),
    ],
)
def test_a_printed_command_is_a_script_where_one_started_the_process(program, printed, monkeypatch, tmp_path):
    """In a folder with a blank: by its name where the shell finds it, else by its place."""
    place = tmp_path / "my own"
    place.mkdir()
    for name in ("nas", "nas-search", "nas-derive"):
        (place / name).touch(0o755)
    monkeypatch.setattr(sys, "argv", [str(place / program)])
    words = ["python", "-m", "nas.derive", "run=x"]
    monkeypatch.setenv("PATH", os.fspath(tmp_path))
    assert shlex.split(pasted(words)) == shlex.split(printed.format(shlex.quote(f"{place}{os.sep}")))
    monkeypatch.setenv("PATH", os.fspath(place))
    assert pasted(words) == printed.format("")
    (place / "nas-derive").unlink()
    assert pasted(words) == "python -m nas.derive run=x"


@pytest.mark.parametrize("key", ["a:b", "a,b", "a}", "a b", "a=b", ""])
def test_a_key_that_could_be_read_as_more_is_no_word(key):
    with pytest.raises(ConfigError, match="is no plain word"):
        word({"outer": {key: 1}})


def test_sizes_of_networks_are_those_that_spaces_name():
    spaces = (DartsSpace, NasBench201Space, DsoSpace, RecurrentSpace)
    assert set(SIZES) == {name for one in spaces for name in one.recipe_sizes}
