"""The compiled kernel is built once for all checkouts and processes, and never changed under any of them."""

import os
import sys

import pytest

from nas.spaces.native import library
from nas.spaces.native.building import place_of
from nas.spaces.native.failures import note_of, noted
from tests.forks import launch

SOURCE = 'extern "C" int answer() { return 42; }\n'
BUILD = """
import os, sys
from pathlib import Path
os.environ["TORCH_EXTENSIONS_DIR"] = sys.argv[1]
import ctypes
from nas.spaces.native.building import build, place_of
sources = [Path(sys.argv[2])]
place = place_of(sources, [], ["-O0"])
if not place.exists():
    build(place, sources, ["-O0"])
print(place, place.stat().st_ino, ctypes.CDLL(str(place)).answer())
"""


def test_two_checkouts_and_two_processes_at_once_have_one_library(tmp_path):
    cache, checkouts = tmp_path / "cache", [tmp_path / name / "kernel.cpp" for name in ("one", "other")]
    for source in checkouts:
        source.parent.mkdir()
        source.write_text(SOURCE)

    def start(source):
        return launch([sys.executable, "-c", BUILD, cache, source])

    at_once = [start(source) for source in checkouts]
    told = [process.communicate(timeout=60) for process in at_once]
    assert [process.returncode for process in at_once] == [0, 0], told
    assert told[0][0] == told[1][0] and told[0][0].split()[2] == "42"
    place = told[0][0].split()[0]
    [folder] = [one for one in cache.iterdir() if one.is_dir()]
    assert [str(one) for one in folder.iterdir()] == [place], "nothing but the library is left"
    before = (folder.stat().st_mtime_ns, (folder / "kernel.so").stat().st_mtime_ns)
    assert start(checkouts[1]).communicate(timeout=60)[0] == told[0][0]
    assert before == (folder.stat().st_mtime_ns, (folder / "kernel.so").stat().st_mtime_ns)


def test_whatever_the_library_depends_on_names_its_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path))
    source, header = tmp_path / "kernel.cpp", tmp_path / "kernel.h"
    source.write_text(SOURCE), header.write_text("")
    found = {place_of([source], [header], flags) for flags in (["-O0"], ["-O3"])}
    header.write_text("// edited\n")
    found.add(place_of([source], [header], ["-O3"]))
    monkeypatch.setattr("torch.__version__", "another")
    found.add(place_of([source], [header], ["-O3"]))
    assert len(found) == 4 and {place.parent.parent for place in found} == {tmp_path}


def test_a_failed_compilation_is_remembered_and_the_line_says_how_to_try_again(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path / "cache"))
    broken, tools = tmp_path / "broken.cpp", tmp_path / "tools"
    broken.write_text("#error out of order\n")
    monkeypatch.setattr(library, "SOURCES", (broken,))
    assert library.load_library.__wrapped__() is None
    [line] = [one.getMessage() for one in caplog.records if one.levelname == "WARNING"]
    assert "#error out of order" in line and "\n" not in line
    place = place_of([broken], library.HEADERS, library.FLAGS)
    # The next process asks no compiler, and says which file to delete.
    monkeypatch.setattr(library, "build", lambda *_: pytest.fail("compiled again"))
    caplog.clear()
    assert library.load_library.__wrapped__() is None
    [line] = [one.getMessage() for one in caplog.records if one.levelname == "WARNING"]
    assert "#error out of order" in line and f"to try again delete {note_of(place)} " in line
    # Another compiler may do better.
    tools.mkdir()
    (tools / "other").write_text("#!/bin/sh\nexit 1\n")
    os.chmod(tools / "other", 0o755)
    monkeypatch.setenv("CXX", str(tools / "other"))
    assert noted(place) is None
    monkeypatch.delenv("CXX")
    assert noted(place) is not None
    note_of(place).unlink()
    assert noted(place) is None
