"""Inputs that are made of others: bytes, lines and containers, changed at places that a generator draws."""

import random
import re
from collections.abc import Callable, Sequence
from typing import Any

# Values that break a reader which expects a usual one; the last rows are those of texts and of places.
ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**53 + 1, 2**63 - 1, 2**63, -(2**63) - 1, 2**64, 10**30, 1.5, -0.0,
    float("nan"), float("inf"), float("-inf"), 1e308, 5e-324, [], {}, [[]], [None], {"": None}, [0] * 100,
    "", " ", "\0", "a\nb", "\ufeff", "\u202e", "\ud800", "0", "nan", "null", "true", "${seed}", "a" * 5000,
    "../../outside", "/dev/zero", "~", "\u0661", "\x1b[2J", "__class__", "=1+1", "e" * 200 + "\u0301" * 200,
)  # fmt: skip
# What numbers in a text become.
NUMBERS = (
    b"0", b"-1", b"1", b"255", b"256", b"65536", b"2147483648", b"9223372036854775808", b"1e309", b"-1e309",
    b"nan", b"inf", b"1_0", b"0x10", b"1e-400", b"9" * 400, b"9" * 5000, b"1.", b".5", b"\xd9\xa1", b"+1",
    b"1e5",
)  # fmt: skip
BYTES = (0x00, 0x01, 0x0A, 0x0D, 0x1A, 0x20, 0x22, 0x27, 0x2C, 0x5C, 0x7F, 0x80, 0xC0, 0xED, 0xFE, 0xFF)
# Bytes that an input may have; beyond it is cut off.
LONGEST = 1 << 16
_NUMBER = re.compile(rb"-?[0-9]+(?:\.[0-9]+)?")


def changed(
    rng: random.Random, content: bytes, others: Sequence[bytes], words: Sequence[bytes], most: int = 4
) -> bytes:
    """A content after one or several changes.

    Args:
        rng: draws them.
        content: what is changed.
        others: contents of the same kind, of which parts are taken.
        words: what its form is written with, such as keywords and brackets.
        most: how many changes there are at most.
    """
    for _ in range(rng.choice((1, 1, 2, most))):
        content = rng.choice(CHANGES)(rng, content, others, words)
    return content[:LONGEST]


def _span(rng: random.Random, length: int) -> tuple[int, int]:
    """A place and the one behind its end; short ones are the most frequent."""
    start = rng.randrange(length + 1)
    return start, min(length, start + rng.choice((1, 1, 2, 4, 8, 32, 256)))


def _set(rng: random.Random, content: bytes, others: Sequence[bytes], words: Sequence[bytes]) -> bytes:
    found = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 8))):
        if found:
            place = rng.randrange(len(found))
            found[place] = rng.choice(
                (found[place] ^ 1 << rng.randrange(8), rng.choice(BYTES), rng.randrange(256))
            )
    return bytes(found)


def _inserted(rng: random.Random, content: bytes, others: Sequence[bytes], words: Sequence[bytes]) -> bytes:
    place = rng.randrange(len(content) + 1)
    new = rng.choice((rng.choice(words), rng.choice(NUMBERS), bytes([rng.choice(BYTES)]), rng.randbytes(3)))
    return content[:place] + new + content[place:]


def _removed(rng: random.Random, content: bytes, others: Sequence[bytes], words: Sequence[bytes]) -> bytes:
    start, end = _span(rng, len(content))
    return content[:start] + content[end:]


def _repeated(rng: random.Random, content: bytes, others: Sequence[bytes], words: Sequence[bytes]) -> bytes:
    start, end = _span(rng, len(content))
    return content[:end] + content[start:end] * rng.choice((1, 1, 2, 10, 100, 2000)) + content[end:]


def _moved(rng: random.Random, content: bytes, others: Sequence[bytes], words: Sequence[bytes]) -> bytes:
    start, end = _span(rng, len(content))
    left = content[:start] + content[end:]
    place = rng.randrange(len(left) + 1)
    return left[:place] + content[start:end] + left[place:]


def _cut(rng: random.Random, content: bytes, others: Sequence[bytes], words: Sequence[bytes]) -> bytes:
    return content[: rng.randrange(len(content) + 1)]


def _joined(rng: random.Random, content: bytes, others: Sequence[bytes], words: Sequence[bytes]) -> bytes:
    other = rng.choice(others)
    return content[: rng.randrange(len(content) + 1)] + other[rng.randrange(len(other) + 1) :]


def _numbered(rng: random.Random, content: bytes, others: Sequence[bytes], words: Sequence[bytes]) -> bytes:
    found = list(_NUMBER.finditer(content))
    if not found:
        return _inserted(rng, content, others, words)
    one = rng.choice(found)
    return content[: one.start()] + rng.choice(NUMBERS) + content[one.end() :]


def _worded(rng: random.Random, content: bytes, others: Sequence[bytes], words: Sequence[bytes]) -> bytes:
    """One of the form's words in the place of another."""
    there = [one for one in words if one in content]
    if not there:
        return _inserted(rng, content, others, words)
    old, new = rng.choice(there), rng.choice(words)
    start = content.find(old, rng.randrange(len(content)))
    start = content.find(old) if start < 0 else start
    return content[:start] + new + content[start + len(old) :]


def _lines(rng: random.Random, content: bytes, others: Sequence[bytes], words: Sequence[bytes]) -> bytes:
    lines = content.split(b"\n")
    one, other = rng.randrange(len(lines)), rng.randrange(len(lines))
    lines[one], lines[other] = lines[other], lines[one]
    if rng.random() < 0.3:
        lines.insert(other, lines[one])
    return rng.choice((b"\n", b"\n", b"\r\n", b"\r")).join(lines)


Change = Callable[[random.Random, bytes, Sequence[bytes], Sequence[bytes]], bytes]
CHANGES: tuple[Change, ...] = (
    _set, _inserted, _removed, _repeated, _moved, _cut, _joined, _numbered, _numbered, _worded, _worded,
    _lines,
)  # fmt: skip


def restructured(rng: random.Random, data: Any, most: int = 3) -> Any:
    """Containers after one or several changes of a key, a value or the nesting; the given ones stay."""
    for _ in range(rng.choice((1, 1, 2, most))):
        places = list(_places(data))
        path = rng.choice(places)
        data = _with(data, path, lambda value: _other(rng, value))
    return data


def _places(data: Any, path: tuple = ()) -> Any:
    yield path
    if isinstance(data, dict):
        for key, value in data.items():
            yield from _places(value, (*path, key))
    elif isinstance(data, list):
        # Of long lists the ends alone.
        for index in sorted({*range(min(4, len(data))), *range(max(0, len(data) - 2), len(data))}):
            yield from _places(data[index], (*path, index))


def _with(data: Any, path: tuple, change: Callable[[Any], Any]) -> Any:
    if not path:
        return change(data)
    key, *rest = path
    copied = dict(data) if isinstance(data, dict) else list(data)
    copied[key] = _with(copied[key], tuple(rest), change)
    return copied


def _other(rng: random.Random, value: Any) -> Any:
    choice = rng.randrange(8)
    if choice == 0 and isinstance(value, dict) and value:
        left = dict(value)
        left.pop(rng.choice(list(left)))
        return left
    if choice == 0 and isinstance(value, list) and value:
        place = rng.randrange(len(value))
        return [*value[:place], *value[place + 1 :]]
    if choice == 1 and isinstance(value, dict):
        return {
            **value,
            rng.choice(("", "extra", "schema", "_target_", "\0", "a.b", "__init__")): rng.choice(ODD),
        }
    if choice == 1 and isinstance(value, list) and value:
        return [*value, rng.choice(value)] * rng.choice((1, 1, 50))
    if choice == 2:
        return [value]
    if choice == 3:
        return {rng.choice(("", "a", "0", "name")): value}
    if choice == 4 and isinstance(value, dict) and value:
        left = dict(value)
        old = rng.choice(list(left))
        left[rng.choice(("", f"{old}_", str(old).upper(), "\ud800"))] = left.pop(old)
        return left
    if choice == 5:
        for _ in range(rng.choice((2, 3, 70))):
            value = [value]
        return value
    return rng.choice(ODD)


def shrunk(content: bytes, fails: Callable[[bytes], bool], attempts: int = 400) -> bytes:
    """A shorter content that fails too: spans are left out as long as that is so."""
    size = max(1, len(content) // 2)
    while size and attempts:
        place = 0
        while place < len(content) and attempts:
            shorter = content[:place] + content[place + size :]
            attempts -= 1
            if fails(shorter):
                content = shorter
            else:
                place += size
        size //= 2
    return content
