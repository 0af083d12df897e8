"""What a stranger may do to a file on purpose: code in it, bombs, ways out of the folder, no file at all."""

import io
import json
import os
import pickle
import random
import socket
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
import yaml

from torture.rooms.mutators import changed, restructured

# What code of a stranger would leave behind; it lies where commands are started.
MODULE = "torture_stranger"
CODE = """
import pathlib
pathlib.Path({fired!r}).write_text("imported")

def fire(*arguments, **options):
    pathlib.Path({fired!r}).write_text("called")
    raise RuntimeError("this is the stranger's code")

class Fire:
    def __init__(self, *arguments, **options):
        fire()
"""


class Place:
    """Where a case is tried.

    Attributes:
        given: what the stranger has sent; it may be written to.
        outside: files and folders that are none of his.
        work: where the command is started.
        fired: what his code would write.
    """

    def __init__(self, folder: Path):
        self.given, self.outside, self.work = folder / "given", folder / "outside", folder / "work"
        self.fired = folder / "fired"
        for one in (self.given, self.outside / "below", self.work):
            one.mkdir(parents=True)
        (self.outside / "secret.txt").write_text("mine\n")
        (self.outside / "below" / "epoch=0009.ckpt").write_text("mine\n")
        (self.work / f"{MODULE}.py").write_text(CODE.format(fired=str(self.fired)))

    def untouched(self) -> list[str]:
        """What has changed that must not."""
        found = [f"the stranger's code has run: {self.fired.read_text()}"] if self.fired.exists() else []
        there = {str(path.relative_to(self.outside)) for path in self.outside.rglob("*")}
        found += [
            f"outside of the folder: {name}"
            for name in sorted(there ^ {"secret.txt", "below", "below/epoch=0009.ckpt"})
        ]
        for name in ("secret.txt", "below/epoch=0009.ckpt"):
            if not found and (self.outside / name).read_text() != "mine\n":
                found.append(f"outside of the folder: {name} has changed")
        beside = sorted(path.name for path in self.work.iterdir() if path.name != f"{MODULE}.py")
        return found + [f"where it was started: {name}" for name in beside]


class _Fires:
    """Its pickle writes a file as it is read."""

    def __init__(self, fired: Path):
        self.fired = fired

    def __reduce__(self) -> tuple:
        return (os.system, (f"echo unpickled > '{self.fired}'",))


def _pickled(place: Place, content: bytes) -> bytes:
    return pickle.dumps({"state_dict": _Fires(place.fired)})


def _torch_pickled(place: Place, content: bytes) -> bytes:
    buffer = io.BytesIO()
    torch.save({"state_dict": {"a": torch.zeros(1)}, "epoch": _Fires(place.fired)}, buffer)
    return buffer.getvalue()


def _old_torch_pickled(place: Place, content: bytes) -> bytes:
    buffer = io.BytesIO()
    torch.save({"state_dict": _Fires(place.fired)}, buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


def _objects(place: Place, content: bytes) -> bytes:
    buffer = io.BytesIO()
    objects = np.array([_Fires(place.fired)], dtype=object)
    np.savez(buffer, images=objects, labels=objects, config=objects)
    return buffer.getvalue()


def _tar(place: Place, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in ("pickle", "storages", "tensors", "../outside/escaped"):
            found = tarfile.TarInfo(name)
            data = pickle.dumps(_Fires(place.fired))
            found.size = len(data)
            archive.addfile(found, io.BytesIO(data))
    return buffer.getvalue()


def _bomb(place: Place, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("images.npy", "w", force_zip64=True) as member,
    ):
        header = (
            b"\x93NUMPY\x01\x00v\x00"
            + f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({3 << 30},), }}".encode()
        )
        member.write(header.ljust(128))
        for _ in range(192):
            member.write(bytes(16 << 20))
    return buffer.getvalue()


def _claims(place: Place, content: bytes) -> bytes:
    """An array whose header says more than there is."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in ("images", "labels"):
            header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (4000000000, 4000000000), }"
            archive.writestr(f"{name}.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header)
    return buffer.getvalue()


def _climbing(place: Place, content: bytes) -> bytes:
    """An archive whose members have ways out for names."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in ("../outside/escaped", str(place.outside / "escaped"), "archive/data.pkl", "images.npy"):
            archive.writestr(name, b"x" * 100)
    return buffer.getvalue()


def _vast(place: Place, content: bytes) -> bytes:
    """A picture of ten thousand million pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes(1 << 24))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def _weights(place: Place, content: bytes) -> bytes:
    """A safetensors file whose header is longer than any file."""
    return struct.pack("<Q", 1 << 62) + b"{}"


def _tensors(place: Place, content: bytes) -> bytes:
    described = {"a": {"dtype": "F32", "shape": [1 << 40, 1 << 20], "data_offsets": [0, 1 << 62]}}
    header = json.dumps(described).encode()
    return struct.pack("<Q", len(header)) + header


def _node(place: Place) -> dict[str, Any]:
    return {"_target_": f"{MODULE}.fire", "path": str(place.outside / "escaped")}


def _target(place: Place, content: bytes, rng: random.Random) -> bytes:
    """Code named at a place of a configuration or of JSON that builds something, or might."""
    data = _plain(content)
    places = [path for path in _mappings(data)]
    path = rng.choice(places)
    node = data
    for key in path:
        node = node[key]
    if rng.random() < 0.5 and node:
        node[rng.choice(list(node))] = _node(place)
    else:
        node |= rng.choice((_node(place), {"_target_": "os.mkdir", "path": str(place.outside / "escaped")}))
    return _text(data, content)


def _operation(place: Place, content: bytes, rng: random.Random) -> bytes:
    """A stranger's class in the place of an operation."""
    words = (b"sep_conv_3x3", b"skip_connect", b"max_pool_3x3", b"none", b"dil_conv_5x5", b"nor_conv_3x3")
    for one in words:
        content = content.replace(one, f"{MODULE}.Fire".encode(), rng.choice((1, 100)))
    return content


def _elsewhere(place: Place, content: bytes, rng: random.Random) -> bytes:
    """Places outside of the folder, for texts of a configuration or of JSON."""
    data = _plain(content)
    texts = [
        (path, key)
        for path in _mappings(data)
        for key, value in _at(data, path).items()
        if isinstance(value, str)
    ]
    for path, key in rng.sample(texts, min(len(texts), rng.choice((1, 3, 1000)))):
        _at(data, path)[key] = rng.choice(
            (str(place.outside / "escaped"), "../outside/escaped", f"{place.outside}")
        )
    return _text(data, content)


def _at(data: Any, path: tuple) -> Any:
    for key in path:
        data = data[key]
    return data


def _mappings(data: Any, path: tuple = ()) -> Any:
    if isinstance(data, dict):
        yield path
        for key, value in data.items():
            yield from _mappings(value, (*path, key))
    elif isinstance(data, list):
        for index, value in enumerate(data[:5]):
            yield from _mappings(value, (*path, index))


def _plain(content: bytes) -> Any:
    """The containers of a text; a mapping that holds it where it is none."""
    try:
        found = yaml.load(content, Loader=yaml.CSafeLoader)
    except yaml.YAMLError:
        found = None
    return found if isinstance(found, dict) else {"found": found}


def _text(data: Any, content: bytes) -> bytes:
    if content.lstrip()[:1] == b"{":
        return json.dumps(data).encode()
    return yaml.safe_dump(data, sort_keys=False).encode()


def _restructured(place: Place, content: bytes, rng: random.Random) -> bytes:
    data = restructured(rng, _plain(content))
    if content.lstrip()[:1] == b"{":
        return json.dumps(data).encode("utf-8", "surrogatepass")
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=False).encode("utf-8", "surrogatepass")


def _bytes(place: Place, content: bytes, rng: random.Random) -> bytes:
    # Of long files the beginning and the end say what they are.
    head, middle, tail = content[:4096], content[4096:-2048], content[-2048:] if len(content) > 6144 else b""
    middle = middle if tail else content[4096:]
    words = (
        b"\0",
        b"\n",
        b",",
        b"{",
        b"}",
        b"'",
        b'"',
        b"PK",
        b"9" * 30,
        b"nan",
        b"[" * 2000,
        b"\xff\xfe",
        b"\xef\xbb\xbf",
    )
    if tail and rng.random() < 0.5:
        return head + middle + changed(rng, tail, [head, tail], words)
    return changed(rng, head, [head, tail or head], words) + middle + tail


def _constant(content: bytes) -> Callable[[Place, bytes], bytes]:
    return lambda place, given: content


def _link(target: Callable[[Place], Path]) -> Callable[[Place, Path], None]:
    def plant(place: Place, path: Path) -> None:
        path.unlink()
        path.symlink_to(target(place))

    return plant


def _pipe(place: Place, path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _socket(place: Place, path: Path) -> None:
    path.unlink()
    with socket.socket(socket.AF_UNIX) as one:
        # Names of sockets are short.
        here = os.getcwd()
        try:
            os.chdir(path.parent)
            one.bind(path.name)
        finally:
            os.chdir(here)


def _folder(place: Place, path: Path) -> None:
    path.unlink()
    path.mkdir()


def _huge(place: Place, path: Path) -> None:
    os.truncate(path, 1 << 36)


def _parent_link(place: Place, path: Path) -> None:
    """The folder that a file lies in is a link out of what was sent."""
    if path.parent == place.given:
        path.unlink()
        path.symlink_to(place.outside)
        return
    for one in path.parent.iterdir():
        one.unlink()
    path.parent.rmdir()
    path.parent.symlink_to(place.outside / "below")


def _gone(place: Place, path: Path) -> None:
    path.unlink()


# What a file's content becomes.
CONTENTS: Mapping[str, Callable[[Place, bytes], bytes]] = MappingProxyType(
    {
        "pickle": _pickled, "torch-pickle": _torch_pickled, "old-pickle": _old_torch_pickled,
        "objects": _objects,
        "tar": _tar, "bomb": _bomb, "claims": _claims, "climbing": _climbing, "vast": _vast,
        "weights": _weights,
        "tensors": _tensors, "empty": _constant(b""), "nul": _constant(bytes(1000)),
        "bom": _constant(b"\xff\xfe\x00"),
        "newlines": _constant(b"\n" * 100_000), "nested": _constant(b"[" * 200_000),
        "nested-yaml": _constant(b"\n".join(b" " * n + b"a:" for n in range(500))),
        "aliases": _constant(b"\n".join([b"a0: &a0 [x]",
        *(f"a{n}: &a{n} [*a{n - 1},*a{n - 1}]".encode() for n in range(1, 40))])),
        "tag": _constant(b"seed: !!python/object/apply:os.system ['echo > /dev/null']\n"),
        "number": _constant(b'{"schema": 1, "epoch": ' + b"9" * 100_000 + b"}"),
        "escapes": _constant(b'{"schema": 1, "space": "\\u001b[2J\\ud800", "cells": {}, "status": "a"}'),
    }
)  # fmt: skip
# What a file becomes that is none any more.
PLANTED: Mapping[str, Callable[[Place, Path], None]] = MappingProxyType(
    {
        "link-out": _link(lambda place: place.outside / "secret.txt"),
        "link-new": _link(lambda place: place.outside / "escaped"),
        "link-loop": _link(lambda place: Path("loop")), "link-zero": _link(lambda place: Path("/dev/zero")),
        "link-folder": _link(lambda place: place.outside), "pipe": _pipe, "socket": _socket,
        "folder": _folder,
        "huge": _huge, "parent": _parent_link, "gone": _gone,
    }
)  # fmt: skip
# What is drawn: a content at a place of its own each time.
DRAWN: Mapping[str, Callable[[Place, bytes, random.Random], bytes]] = MappingProxyType(
    {
        "target": _target,
        "operation": _operation,
        "elsewhere": _elsewhere,
        "structure": _restructured,
        "bytes": _bytes,
    }
)
# Attacks of which there is one of a kind.
ATTACKS = (*CONTENTS, *PLANTED)
TEXTS = (".json", ".yaml", ".yml")


def drawn_of(name: str) -> list[str]:
    """The attacks on a file of that name that are drawn."""
    if name.endswith(TEXTS):
        return list(DRAWN)
    return ["operation", "bytes"] if name.endswith((".txt", ".jsonl", ".csv")) else ["bytes"]


def attack(place: Place, path: Path, name: str, rng: random.Random) -> None:
    """Does it to a file."""
    if name in PLANTED:
        PLANTED[name](place, path)
        return
    content = path.read_bytes()
    path.write_bytes(DRAWN[name](place, content, rng) if name in DRAWN else CONTENTS[name](place, content))
