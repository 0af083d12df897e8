"""Whatever a file holds, it is read as plain containers or refused in one printable line, and at once."""

import json
import math
import os
import socket
import time
import unicodedata

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st
from omegaconf._utils import get_omega_conf_dumper

from nas.errors import ConfigError
from nas.printable import printable, shown
from nas.reading.csv_text import parse_csv, read_rows
from nas.reading.files import decompress, read_bytes, read_text
from nas.reading.json_text import parse_json, read_object
from nas.reading.plain import DEPTH
from nas.reading.yaml_text import parse_yaml, read_mapping, read_yaml

PARSERS = (parse_json, parse_yaml, parse_csv)
WHOLE = st.integers(-(2**63), 2**63 - 1)
PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | WHOLE
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)
# Pieces that parsers stumble over, in any order.
PIECES = st.lists(
    st.sampled_from(
        [
            "{",
            "}",
            "[",
            "]",
            ":",
            ": ",
            ",",
            "\n",
            "  ",
            "- ",
            "&a ",
            "*a",
            "!!python/name:os.system ",
            "? ",
            "|",
        ]
        + [
            '"',
            "'",
            "\\u0000",
            "\x1b[2J",
            "\0",
            "\u202e",
            "#",
            "---\n",
            "<<: ",
            "a",
            "0",
            "1e999",
            "NaN",
            ".nan",
        ]
        + ["9" * 5000, "1_0", "0x", "%", "`", "@", "\ud800", "\ufeff", "\t", "\r", "null", "true"]
    ),
    max_size=40,
).map("".join)


def refused(read, *arguments) -> str:
    with pytest.raises(ConfigError) as caught:
        read(*arguments)
    message = str(caught.value)
    assert message.isprintable()
    assert len(message) < 400
    return message


@given(PIECES | st.text(max_size=200))
def test_any_text_is_read_or_refused_in_one_line(text):
    for parse in PARSERS:
        try:
            parse(text, "here")
        except ConfigError as error:
            assert str(error).startswith("here")
            assert str(error).isprintable()
            assert len(str(error)) < 400


@given(content=st.binary(max_size=300))
def test_any_bytes_are_read_or_refused_in_one_line(content, tmp_path_factory):
    path = tmp_path_factory.mktemp("any") / "file"
    path.write_bytes(content)
    for read in (read_object, read_yaml, read_rows):
        try:
            read(path)
        except ConfigError as error:
            assert str(error).startswith(str(path))
            assert str(error).isprintable()


@given(PLAIN)
def test_what_json_writes_is_read_back(data):
    assert parse_json(json.dumps(data), "here") == data


@given(PLAIN)
@example({"0E0": None})
def test_what_yaml_writes_is_read_as_omegaconf_reads_it(data):
    # Its writer puts texts in quotes that only it reads as numbers, such as 0E0.
    text = yaml.dump(data, Dumper=get_omega_conf_dumper())
    if not any(word in text for word in ("&id", "!!")):  # an alias for one value in two places
        assert parse_yaml(text, "here") == data


def test_every_file_of_conf_is_read_as_omegaconf_reads_it():
    from omegaconf import OmegaConf

    from nas.running.config import CONF

    for path in sorted(CONF.rglob("*.yaml")):
        text = path.read_text()
        assert (read_yaml(path) or {}) == OmegaConf.to_container(OmegaConf.create(text) or OmegaConf.create())


def bomb() -> str:
    lines = ["a0: &a0 [x, x]", *(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 40))]
    return "\n".join(lines)


HOSTILE = {
    "json nested deeply": (parse_json, "[" * 100_000, "nested"),
    "json nested a little too deeply": (parse_json, "[" * (DEPTH + 1) + "]" * (DEPTH + 1), "64 levels"),
    "json with a huge number": (
        parse_json,
        '{"a": {"b": [1, %s]}}' % ("9" * 400),
        r"a\.b\[1\]=a whole .* 2\^63",
    ),
    "json with more digits than python reads": (parse_json, '{"a": %s}' % ("9" * 5000), "4300 digits"),
    "json with 1e999": (parse_json, '{"a": 1e999}', "1e999 is beyond"),
    "json with NaN": (parse_json, '{"a": NaN}', "NaN is no number"),
    "json with a key twice": (parse_json, '{"a": 1, "a": 2}', "'a' is there twice"),
    "yaml nested deeply": (parse_yaml, "\n".join(" " * n + "a:" for n in range(1000)), "64 levels"),
    "yaml nested in a row": (parse_yaml, "[" * 100_000, "nest"),
    "yaml with an alias to itself": (parse_yaml, "a: &x [*x]", "aliases"),
    "yaml with a bomb": (parse_yaml, bomb(), "aliases"),
    "yaml with a tag": (parse_yaml, "a: !!python/object/apply:os.system [id]", "tags are not read"),
    "yaml with a huge number": (parse_yaml, "a: " + "9" * 50, "a=9+: whole numbers"),
    "yaml with more digits than python reads": (parse_yaml, "a: " + "9" * 5000, "4300 digits"),
    "yaml with a key twice": (parse_yaml, "a: 1\na: 2", "'a' is there twice, line 2"),
    "yaml with a key of no name": (parse_yaml, "~: 1", "must be text or a number"),
    "yaml with a list as key": (parse_yaml, "? [1]\n: 2", "unhashable"),
    "yaml with two documents": (parse_yaml, "a: 1\n---\nb: 2", "another document"),
    "csv with NUL": (parse_csv, "a,b\n1,\0\n", "NUL"),
    "csv with an endless field": (parse_csv, "a,b\n1," + "x" * 200_000, "line 2"),
    "csv with a column twice": (parse_csv, "a,b,a\n", "each once.*a"),
}


@pytest.mark.parametrize("case", HOSTILE.values(), ids=HOSTILE)
def test_hostile_texts_are_refused_at_once(case):
    parse, text, words = case
    began = time.monotonic()
    with pytest.raises(ConfigError, match=f"^here.*{words}"):
        parse(text, "here")
    refused(parse, text, "here")
    assert time.monotonic() - began < 2


def test_dates_are_texts_and_numbers_what_omegaconf_takes_them_for():
    found = parse_yaml("a: 2001-01-01\nb: 1e-3\nc: .inf\nd: on\ne: ${x}\nf: 0x1f", "here")
    assert found == {"a": "2001-01-01", "b": 0.001, "c": math.inf, "d": True, "e": "${x}", "f": 31}


@pytest.fixture
def odd(tmp_path):
    """What may lie where a file is expected: {kind as the message names it: path}."""
    pipe, folder, loop = tmp_path / "pipe", tmp_path / "folder", tmp_path / "loop"
    os.mkfifo(pipe)
    folder.mkdir()
    loop.symlink_to(loop)
    (tmp_path / "to_pipe").symlink_to(pipe)
    unix = socket.socket(socket.AF_UNIX)
    unix.bind(str(tmp_path / "socket"))
    yield {
        "a named pipe; only regular files are read": pipe,
        "a folder": folder,
        "a socket": tmp_path / "socket",
        "a device": "/dev/zero",
        "cannot be read": loop,
        "a named pipe": tmp_path / "to_pipe",
        "there is no such file": tmp_path / "nothing",
    }
    unix.close()


@pytest.mark.parametrize("read", [read_bytes, read_text, read_object, read_yaml, read_mapping, read_rows])
def test_only_regular_files_are_opened(odd, read):
    for words, path in odd.items():
        assert f"{path}: {words}" in refused(read, path)


def test_a_file_beyond_its_bound_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "large.json"
    with path.open("wb") as file:
        file.truncate(2**40)
    for read in (read_bytes, read_object, read_yaml, read_rows):
        assert "1,099,511,627,776 bytes long; at most" in refused(read, path)


def test_a_compressed_bomb_is_unpacked_up_to_a_bound():
    import gzip

    packed = gzip.compress(bytes(3_000_000))
    assert len(decompress(packed, "here", 3_000_000)) == 3_000_000
    assert "unpacks to more" in refused(decompress, packed, "here", 2_999_999)
    assert "damaged gzip" in refused(decompress, packed[:-20], "here", 10_000_000)
    # A broken deflate stream raises something that is no OSError.
    assert "damaged gzip" in refused(decompress, packed[:12] + b"\xff" * 40, "here", 10_000_000)


@given(st.text() | st.text(alphabet="a\x1b\x00\x9b\u202e\ud800\n\x7f"))
def test_nothing_printable_text_holds_moves_a_terminal(text):
    found = printable(text)
    assert not {unicodedata.category(one) for one in found} & {"Cc", "Cf", "Cs", "Zl", "Zp"}
    found.encode("utf-8")
    assert text.isprintable() == (found == text)
    assert len(shown(text, 20)) <= 20


def test_errors_hold_nothing_that_a_terminal_acts_on():
    assert str(ConfigError("a\x1b[2Jb\nc\u202e")) == "a\\x1b[2Jb\nc\\u202e"


@given(st.integers() | st.just(10**5000) | st.just([16**5000]) | st.lists(st.text()) | st.floats())
def test_any_value_can_be_shown(value):
    assert len(shown(value)) <= 80
    assert shown(value).isprintable()
