"""Files of a stranger, as commands meet them: one printable line and status 2, at once."""

import importlib
import json
import os
import shutil
import zipfile

import pytest
import torch

from nas.engine import checkpoints
from nas.engine.run_folder import RunFolder, read_table, split_hash
from nas.errors import ConfigError
from nas.spaces.space import EdgeGroup
from tests.conftest import TINY

CONFIGS = {
    "nested": ("\n".join(" " * n + "a:" for n in range(1000)), "nested more than 64 levels deep"),
    "an alias to itself": ("a: &x [*x]", "aliases (& and *) are not read"),
    "a bomb": ("\n".join(["a0: &a0 [x]", *(f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, 40))]), "aliases"),
    "a tag": ("seed: !!python/name:os.system", "tags are not read"),
    "an interpolation": ("seed: ${oc.env:HOME}", "holds values, no interpolations"),
    "a list": ("- 1", "it holds no keys, but [1]"),
    "not UTF-8": (b"\xff\xfe\x00", "not UTF-8 text"),
    "a long list": (f"space: {{operations: [{'none,' * 100_000}]}}", "holds more than 10,000 values"),
    "long lists": ("space: [" + ("[" + "x," * 300 + "],") * 40 + "]", "holds more than 10,000 values"),
    "a million lines": ("a: 1\n" * 1_000_000, "at most 1,048,576 are read"),
}


def one_line(done, *words):
    assert done.status == 2
    (line,) = done.err.strip().split("\n")
    assert line.startswith("error: ")
    assert line.isprintable()
    assert len(line) < 600
    for word in words:
        assert word in line


@pytest.mark.parametrize("case", CONFIGS.values(), ids=CONFIGS)
def test_a_hostile_configuration_is_refused_by_every_command_that_reads_one(run, tmp_path, case):
    content, words = case
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "config.yaml").write_bytes(content if isinstance(content, bytes) else content.encode())
    for command, override in (
        ("search", f"resume={folder}"),
        ("evaluate", f"resume={folder}"),
        ("derive", f"run={folder}"),
        ("export", f"genotype={folder}"),
        ("predict", f"model={folder}"),
    ):
        one_line(run(command, override), f"{override}: config.yaml", words)


GENOTYPES = {
    "nested": ("{" * 50_000, "broken JSON"),
    "a huge number": ('{"schema": 1, "cells": %s}' % ("9" * 400), "whole numbers go"),
    "NaN": ('{"schema": NaN}', "NaN is no number"),
    "an escape": ('{"schema": 1, "space": "\\u001b[2J", "cells": {}}', "no cells"),
    "a huge file": ("x" * 2_000_000, "at most 1,048,576 are read"),
}


@pytest.mark.parametrize("case", GENOTYPES.values(), ids=GENOTYPES)
def test_a_hostile_genotype_is_refused(run, tmp_path, case):
    text, words = case
    (tmp_path / "genotype.json").write_text(text)
    one_line(run("cost", f"genotype={tmp_path}"), words)


def test_pipes_and_devices_are_not_waited_for(run, tmp_path):
    os.mkfifo(tmp_path / "genotype.json")
    one_line(run("cost", f"genotype={tmp_path}"), "a named pipe; only regular files are read")
    one_line(run("cost", "genotype=/dev/zero"), "a device; only regular files are read")
    os.mkfifo(tmp_path / "epoch=0001.ckpt")
    for read, name in ((checkpoints.load, "epoch=0001.ckpt"), (read_table, "genotype.json")):
        with pytest.raises(ConfigError, match="a named pipe; only regular files are read"):
            read(tmp_path / name)
    (tmp_path / "summary.json").symlink_to("/dev/zero")
    with pytest.raises(ConfigError, match="a device"):
        RunFolder(tmp_path).read_json("summary.json")


WRITTEN = ("search.log", "checkpoints", "figures", "metrics.csv", "summary.json", "tensorboard/hparams.yaml")


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """The folder of a search that can be continued."""
    folder = tmp_path_factory.mktemp("stopped") / "run"
    patch = pytest.MonkeyPatch()
    patch.setattr("sys.argv", ["nas.search", *TINY, f"hydra.run.dir={folder}"])
    importlib.import_module("nas.search").main()
    patch.undo()
    file = folder / "summary.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"status": "stopped"}))
    return folder


def planted(stopped, tmp_path, name, plant):
    """A copy of a run with something else under one of its names; and a victim outside of it."""
    folder, victim = tmp_path / "run", tmp_path / "victim"
    shutil.copytree(stopped, folder)
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    if path.exists():
        path.rename(victim)
    else:
        victim.write_text("theirs")
    plant(path, victim)
    return folder, victim


def contents(path):
    files = sorted(one for one in path.rglob("*") if one.is_file()) if path.is_dir() else [path]
    return [(one.name, one.read_bytes()) for one in files]


@pytest.mark.parametrize("name", WRITTEN)
def test_a_link_in_a_run_folder_leads_no_writing_out_of_it(stopped, run, tmp_path, name):
    folder, victim = planted(stopped, tmp_path, name, lambda path, victim: path.symlink_to(victim))
    before = contents(victim)
    for command, word in (("search", f"resume={folder}"), ("derive", f"hydra.run.dir={folder}")):
        words = [word] if command == "search" else [word, f"run={stopped}", "samples=20"]
        one_line(run(command, *words), str(folder), f"{name.rpartition('/')[2]} in ", "is a link")
        assert contents(victim) == before


@pytest.mark.parametrize("name", ["search.log", "metrics.csv", "checkpoints"])
def test_a_pipe_in_a_run_folder_is_not_waited_for(stopped, run, tmp_path, name):
    folder, _ = planted(stopped, tmp_path, name, lambda path, _: os.mkfifo(path))
    one_line(run("search", f"resume={folder}"), str(folder), f"{name} in ", "is a named pipe")
    words = ("hydra/job_logging=stdout", f"resume={folder}", f"hydra.run.dir={folder}")
    one_line(run("search", *words), f"{name} in ", "is a named pipe")


def test_a_run_folder_that_is_reached_through_a_link_is_continued(stopped, run, tmp_path):
    shutil.copytree(stopped, tmp_path / "run")
    (tmp_path / "link").symlink_to(tmp_path / "run")
    done = run("search", f"resume={tmp_path / 'link'}")
    assert (done.status, done.err) == (0, "")


@pytest.mark.parametrize("name", ["figures", "table.md"])
def test_a_table_of_runs_is_written_through_no_link(stopped, run, tmp_path, name):
    shutil.copytree(stopped, tmp_path / "sweep/0")
    (tmp_path / "victim").mkdir()
    (tmp_path / "sweep" / name).symlink_to(tmp_path / "victim")
    one_line(run("sweeps", f"folder={tmp_path / 'sweep'}"), f"{name} in ", "is a link")
    assert not list((tmp_path / "victim").iterdir())


@pytest.mark.parametrize("value", [3, ["a"], {"a": 1}, True])
def test_a_split_of_another_kind_is_refused(tmp_path, value):
    (tmp_path / "split.json").write_text(json.dumps({"hash": value}))
    with pytest.raises(ConfigError, match=r"split\.json: hash=.*: must be a hash as text"):
        split_hash(RunFolder(tmp_path), "abc")


def test_a_checkpoint_that_unpacks_to_more_than_it_is_is_refused(tmp_path):
    path = tmp_path / "epoch=0001.ckpt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(10_000_000))
    with pytest.raises(ConfigError, match="unpacks to more"):
        checkpoints.load(path)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("epoch", "one"),
        ("epoch", -1),
        ("optimizer_states", {}),
        ("lr_schedulers", [1]),
        ("loops", []),
        ("callbacks", 1),
    ],
)
def test_a_checkpoint_with_something_else_under_a_key_is_refused(tmp_path, key, value):
    path = tmp_path / "epoch=0001.ckpt"
    torch.save({"state_dict": {"w": torch.zeros(1)}, key: value}, path)
    with pytest.raises(ConfigError, match=rf"{key}=.*: must be a "):
        checkpoints.load(path)


def test_tables_of_a_run_drop_what_no_run_wrote(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text(f"epoch,loss\n0,1\n\u00b2,2\n{'9' * 5000},3\n1,4\n2\n")
    assert [row["epoch"] for row in read_table(path)] == ["0", "1"]
    path.write_text("epoch,loss\n0,\0\n")
    with pytest.raises(ConfigError, match="NUL"):
        read_table(path)


def test_no_message_is_longer_than_a_page(run):
    text = str(ConfigError(f"a key: {'x' * 10**6} must be shorter"))
    assert len(text) < 4100
    assert text.startswith("a key: xxx")
    assert text.endswith("must be shorter")
    done = run("search", f"nothing.{'x' * 10**6}=1")
    assert done.status == 2
    assert len(done.err) < 25_000
    with pytest.raises(ConfigError, match="lists an operation twice") as error:
        EdgeGroup(((0, 1),), (("none",) * 5000,))
    assert len(str(error.value)) < 1000
