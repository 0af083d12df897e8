"""A run that can no longer write ends at once, with status 1 and one message that says what is kept."""

import errno
import json
import os
import re
import shutil
from pathlib import Path

import pytest

from nas import files
from tests.commands.test_bench import FAST as BENCH
from tests.commands.test_kills import EVALUATE, SEARCH
from tests.commands.test_latency import FAST as LATENCY

FULL = "No space left on device"
GROWING = ("method=darts1", "trainer.max_epochs=2")
COMMANDS = {
    "search": (*SEARCH, *GROWING),
    "evaluate": (*EVALUATE, "trainer.max_epochs=2"),
}


def failing_from(patch, name, which=0):
    """From a file's write on (the first is 0) every write fails as on a full disk."""
    rename, seen, full = os.replace, [], []

    def replace(source, target):
        seen.extend([target] if Path(target).name == name else [])
        if full or len(seen) > which:
            full.append(target)
            raise OSError(errno.ENOSPC, FULL, str(source))
        rename(source, target)

    patch.setattr(files.os, "replace", replace)
    return full


def assert_one_message(done, *words):
    assert done.status == 1, done.err
    assert len(re.findall("^error: ", done.err, re.MULTILINE)) == 1
    assert "Traceback" not in done.err + done.out
    for word in words:
        assert word in done.err


@pytest.mark.parametrize(
    ("name", "file", "which", "kept"),
    [
        ("search", "summary.json", 0, "before the first checkpoint"),
        ("search", "epoch=0002.ckpt", 0, "checkpoints/epoch=0001.ckpt"),
        ("search", "genotype.png", 0, "checkpoints/epoch=0002.ckpt"),
        ("evaluate", "metrics.csv", 2, "checkpoints/epoch=0001.ckpt"),
        ("evaluate", "curves.png", 0, "checkpoints/epoch=0002.ckpt"),
    ],
)
def test_a_full_disk_ends_a_run_and_what_is_kept_goes_on(run, monkeypatch, tmp_path, name, file, which, kept):
    folder = tmp_path / "run"
    with monkeypatch.context() as patch:
        full = failing_from(patch, file, which)
        done = run(name, *COMMANDS[name], f"hydra.run.dir={folder}")
        # The file itself; then the summary, and the pictures of what there is.
        assert len(full) <= 3
    assert_one_message(done, f"{file}: cannot write it ({FULL})", kept, "config.yaml", f"resume={folder}")
    assert "Traceback" not in (folder / f"{name}.log").read_text()
    assert run(name, f"resume={folder}").status == 0
    found = json.loads((folder / "summary.json").read_text())
    assert (found["status"], "error" in found) == ("finished", False)


@pytest.mark.parametrize("instead", ["nothing", "a file", "another folder"])
def test_a_folder_that_has_gone_in_mid_run_is_not_made_anew(run, monkeypatch, tmp_path, instead):
    folder = tmp_path / "run"
    rename = os.replace

    def replace(source, target):
        rename(source, target)
        if Path(target).name == "epoch=0001.ckpt":
            folder.rename(tmp_path / "moved")
            if instead == "a file":
                folder.write_text("")
            elif instead == "another folder":
                shutil.copytree(tmp_path / "moved", folder)

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "replace", replace)
        done = run("search", *COMMANDS["search"], f"hydra.run.dir={folder}")
    if instead == "another folder":
        assert_one_message(done, "another one is in its place", "checkpoints/epoch=0001.ckpt")
        return
    assert_one_message(done, "cannot write it" if instead == "a file" else "No such file", "nothing is kept")
    assert folder.is_file() if instead == "a file" else not folder.exists()
    assert (tmp_path / "moved" / "config.yaml").exists()


def test_a_log_that_cannot_be_written_ends_the_run(run, tmp_path):
    log = "hydra.job_logging.handlers.file.filename=/dev/full"
    done = run("search", *COMMANDS["search"], log, f"hydra.run.dir={tmp_path / 'run'}")
    assert_one_message(done, f"/dev/full: cannot write it ({FULL})")


def test_other_commands_end_the_same(run, monkeypatch, tmp_path):
    searched = tmp_path / "searched"
    assert (
        run("search", *SEARCH, "method=darts1", "trainer.max_epochs=1", f"hydra.run.dir={searched}").status
        == 0
    )
    evaluated = tmp_path / "evaluated"
    given = (*EVALUATE, "trainer.max_epochs=1", f"hydra.run.dir={evaluated}")
    assert run("evaluate", *given).status == 0
    commands = {
        "derive": ("architectures.csv", f"run={searched}", "samples=4", "keep=2"),
        "export": ("model.safetensors", f"genotype={evaluated}", "format=safetensors", "images=2"),
        "latency": ("latency.csv", "debug=fast", *LATENCY, "traceback=false"),
        "rank": ("ranks.csv", "dataset=digits", "measures=[params]", "sample=1"),
        "bench": ("bench.json", *BENCH, "traceback=false"),
        "sweeps": ("table.csv", f"folder={tmp_path}"),
    }
    for name, (file, *overrides) in commands.items():
        folder = tmp_path / name
        with monkeypatch.context() as patch:
            failing_from(patch, file)
            place = [] if name == "sweeps" else [f"hydra.run.dir={folder}"]
            done = run(name, *overrides, *place)
        assert_one_message(done, f"{file}: cannot write it ({FULL})")
        if name != "sweeps":
            assert re.search(rf"{folder} keeps .*config.yaml.*; start the run anew", done.err)
