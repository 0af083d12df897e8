"""A run says which kernel computed it, and where it goes on with another one."""

import json
import os
from pathlib import Path

import pytest
from torch.utils import cpp_extension

from nas.engine.machine import execution
from nas.spaces.native.building import build
from nas.spaces.native.library import load_library

# The learning rate's cosine was made for one epoch.
LONGER = "resume_schedule=restart"


def kernel(folder):
    return json.loads((folder / "summary.json").read_text())["kernel"]


def test_which_kernel_is_recorded_and_a_change_is_said(run, tiny, tmp_path, monkeypatch):
    library = load_library()
    if library is None:
        pytest.skip("the compiled kernel cannot be built here")
    folder = tmp_path / "run"
    with monkeypatch.context() as patch:
        # As after a compiler that has failed in this process.
        patch.setattr(execution, "load_library", lambda: None)
        done = run("search", *tiny, "method=darts1", f"hydra.run.dir={folder}")
    assert done.status == 0, done.err
    assert "kernel:     torch's own convolutions, since the compiled kernel is not at hand" in done.out
    assert kernel(folder) == "torch"
    done = run("search", f"resume={folder}", "trainer.max_epochs=2", LONGER)
    assert done.status == 0 and f"began with the kernel torch and goes on with {library.name}" in done.out
    assert kernel(folder) == library.name
    done = run("search", f"resume={folder}", "trainer.max_epochs=3", LONGER)
    assert (done.status, done.err) == (0, "") and "kernel:" not in done.out
    done = run("search", *tiny, "hardware.native=false", f"hydra.run.dir={tmp_path / 'plain'}")
    assert (done.status, done.err) == (0, "") and "kernel:" not in done.out
    assert kernel(tmp_path / "plain") == "torch"


def test_compilers_that_fail_side_by_side_are_tried_one_after_another(tmp_path, monkeypatch):
    calls = []

    def load(name, sources, build_directory, **options):
        calls.append((name, os.environ.get("MAX_JOBS")))
        if len(calls) == 1:
            raise RuntimeError("Error building extension: Killed signal terminated program cc1plus")
        (made := Path(build_directory) / "made.so").write_text("library")
        return str(made)

    monkeypatch.setattr(cpp_extension, "load", load)
    monkeypatch.delenv("MAX_JOBS", raising=False)
    place = tmp_path / "nas_kernel_0" / "kernel.so"
    build(place, [tmp_path / "a.cpp"], ["-O3"])
    assert place.read_text() == "library" and "MAX_JOBS" not in os.environ
    assert calls == [("nas_kernel_0", None), ("nas_kernel_0_again", "1")]


def test_the_linker_finds_torch_where_its_path_has_a_blank(tmp_path, monkeypatch):
    seen = []

    def load(name, sources, build_directory, **options):
        seen.append(cpp_extension.TORCH_LIB_PATH)
        (made := Path(build_directory) / "made.so").write_text("library")
        return str(made)

    monkeypatch.setattr(cpp_extension, "load", load)
    monkeypatch.setattr(cpp_extension, "TORCH_LIB_PATH", "/a folder/lib")
    build(tmp_path / "nas_kernel_0" / "kernel.so", [tmp_path / "a.cpp"], ["-O3"])
    assert seen == ["'/a folder/lib'"] and cpp_extension.TORCH_LIB_PATH == "/a folder/lib"
