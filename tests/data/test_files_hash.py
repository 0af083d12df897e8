"""An evaluation is held to the names of its files, not to their places alone."""

import json
from types import SimpleNamespace

import pytest
from PIL import Image

from nas.commands.same_files import check_same, files_now, kept
from nas.data.own_folder import OwnFolder
from nas.data.own_table import OwnTable
from nas.domains.images import _files_hash
from nas.engine.data_module import evaluation_indices
from nas.engine.run_folder import RunFolder
from nas.errors import ConfigError
from nas.running.session import Session


def split_of(root):
    source = OwnFolder(root, mean=[0.5] * 3, std=[0.5] * 3)
    indices, found = evaluation_indices(source, "stratified", 1.0, 0, valid=0.25)
    return {"hash": found, **_files_hash(source, *indices, True)}


def test_another_file_of_the_same_place_is_refused(tmp_path):
    root, folder = tmp_path / "pets", tmp_path / "run"
    folder.mkdir()
    for name in ("cat", "dog"):
        (root / name).mkdir(parents=True)
        for i in range(10):
            Image.new("RGB", (8, 8), (20 * i, 9, 7)).save(root / name / f"{name}{i}.png")
    session = SimpleNamespace(folder=RunFolder(folder))
    begun = split_of(root)
    (folder / "split.json").write_text(json.dumps(begun))
    Session.check_split(session, begun["hash"], split_of(root)["files_hash"])
    # Every place is taken as before, by a picture of the other class.
    (root / "cat").rename(root / "x")
    (root / "dog").rename(root / "cat")
    (root / "x").rename(root / "dog")
    now = split_of(root)
    assert now["hash"] == begun["hash"]
    with pytest.raises(ConfigError, match=r"split\.json: the run was started on other files than") as caught:
        Session.check_split(session, now["hash"], now["files_hash"])
    assert "\n" not in str(caught.value)
    # A folder of an earlier version does not say.
    (folder / "split.json").write_text(json.dumps({"hash": begun["hash"]}))
    Session.check_split(session, now["hash"], now["files_hash"])


def test_labels_of_a_table_that_changed_are_refused_and_a_damaged_record_is_named(tmp_path):
    for i in range(12):
        Image.new("RGB", (8, 8), (20 * i, 9, 7)).save(tmp_path / f"{i:02}.png")
    table, folder = tmp_path / "table.csv", tmp_path / "run"
    folder.mkdir()

    def label(*words):
        rows = [f"{i:02}.png,{words[i % 2]}" for i in range(12)]
        table.write_text("\n".join(["file,label", *rows]) + "\n")
        return files_now(OwnTable(table, mean=[0.5] * 3, std=[0.5] * 3))

    check_same(folder, label("cat", "dog"))  # a folder of an earlier version has no record
    for name, text in kept(label("cat", "dog")).items():
        (folder / name).write_text(text)
    check_same(folder, label("cat", "dog"))
    with pytest.raises(ConfigError, match=r"files\.json: the run was started on other files .*another class"):
        check_same(folder, label("dog", "cat"))
    (folder / "files.json").write_text('{"train": {"a": ["cat", -2.5]}, "test": {}}')
    with pytest.raises(ConfigError, match=r"files\.json: damaged \(train must be"):
        check_same(folder, label("cat", "dog"))
