"""Files that cannot be decoded: named before a run, or left out in a way that repeats itself."""

import errno
import shutil

import pytest
from PIL import Image

from nas.data.own_folder import OwnFolder
from nas.data.own_table import OwnTable
from nas.errors import ConfigError


@pytest.fixture
def pets(tmp_path):
    """Ten pictures of each of two classes; three of them are damaged."""
    root = tmp_path / "pets"
    for number, name in enumerate(("cat", "dog")):
        (root / name).mkdir(parents=True)
        for i in range(10):
            Image.new("RGB", (12, 8 + i), (20 * i, 100 * number, 7)).save(root / name / f"{i}.png")
    for name in DAMAGED:
        path = root / name
        path.write_bytes(path.read_bytes()[:40] if name != "dog/7.png" else b"")
    return root


DAMAGED = ("cat/3.png", "cat/8.png", "dog/7.png")


def names(source):
    return [source.train().names, source.test().names]


def test_a_check_names_every_one_and_what_can_be_done(pets):
    with pytest.raises(ConfigError) as caught:
        OwnFolder(pets, check=True).train()
    told = str(caught.value)
    assert told.startswith("dataset.root: 3 of 20 files cannot be decoded: ") and "\n" not in told
    assert all(f"{name}: " in told for name in DAMAGED) and "dog/7.png: no image" in told
    assert told.endswith("replace or delete them, or leave them out with dataset.skip_corrupt=true")
    # Measuring mean and deviation meets those of the training part; a run that measures nothing, one by one.
    with pytest.raises(
        ConfigError, match=r"of 16 files cannot be decoded: .*dataset\.check=true names them all"
    ):
        _ = OwnFolder(pets).mean
    images = OwnFolder(pets, normalisation="imagenet", channels=3).train()
    with pytest.raises(ConfigError, match=r"cat/\d\.png cannot be decoded: .*dataset\.skip_corrupt=true"):
        _ = [images[i] for i in range(len(images))]


def test_of_many_ten_are_named(pets):
    for i in range(10):
        (pets / "dog" / f"{i}.png").write_bytes(b"x")
    with pytest.raises(ConfigError, match=r"12 of 20 files .*dog/1\.png: no image.*; and 2 more; replace"):
        OwnFolder(pets, check=True).train()


def test_what_is_left_out_leaves_all_others_in_their_parts(pets, tmp_path):
    source = OwnFolder(pets, image_size=8, skip_corrupt=True)
    found = names(source)
    assert not {*found[0], *found[1]} & {*DAMAGED} and sum(map(len, found)) == 17
    assert source.train()[0][0].shape == (3, 8, 8)
    kept = source.settled()
    assert kept["skipped"] == sorted(DAMAGED) and len(kept["mean"]) == 3
    [left_out] = [words for what, words in source.found().rows if what == "left out"]
    assert left_out.startswith("3: ") and all(f"{name}: " in left_out for name in DAMAGED)
    # The same again; a run that goes on reads none of them, even where one has been mended since.
    assert names(OwnFolder(pets, skip_corrupt=True)) == found
    shutil.copy(pets / "cat/0.png", pets / "cat/3.png")
    again = OwnFolder(pets, skip_corrupt=True, **kept)
    assert names(again) == found and again.settled() == {}
    assert "cat/3.png: left out as before; it can be decoded now" in again.found().text()
    # Mended or not, the test part is the same draw.
    for name in DAMAGED:
        shutil.copy(pets / "cat/0.png", pets / name)
    whole = names(OwnFolder(pets))
    assert [[one for one in part if one not in DAMAGED] for part in whole] == found


def test_what_was_left_out_may_not_go(pets):
    kept = OwnFolder(pets, skip_corrupt=True).settled()
    (pets / "dog/7.png").unlink()
    with pytest.raises(ConfigError) as caught:
        OwnFolder(pets, skip_corrupt=True, **kept).test()
    assert str(caught.value) == (
        "dataset.root: dataset.source.skipped names dog/7.png, which has gone; put any file there, so that "
        "the parts stay what they were, or begin a new run with dataset.source.skipped=null, which divides "
        "them anew"
    )
    (pets / "dog/7.png").touch()
    assert names(OwnFolder(pets, **kept)) == names(OwnFolder(pets, skip_corrupt=True))
    with pytest.raises(ConfigError, match=r"skipped names cat/nothere\.png, which has gone"):
        OwnFolder(pets, skipped=["cat/nothere.png"]).train()


def test_a_second_look_refuses_what_a_run_did_not_leave_out(pets):
    kept = OwnFolder(pets, skip_corrupt=True).settled()
    assert OwnFolder(pets, skip_corrupt=True, check=True, **kept).settled() == {"check": False}
    (pets / "dog/0.png").write_bytes(b"x")
    with pytest.raises(ConfigError, match=r"1 of 17 files .*dog/0\.png.*dataset\.source\.skipped=null"):
        OwnFolder(pets, skip_corrupt=True, check=True, **kept).train()


def test_what_cannot_go_without_is_refused(pets):
    for i in range(10):
        (pets / "dog" / f"{i}.png").write_bytes(b"x")
    with pytest.raises(ConfigError, match="no training picture of class dog is left"):
        OwnFolder(pets, skip_corrupt=True).train()
    for i in range(10):
        (pets / "cat" / f"{i}.png").write_bytes(b"x")
    with pytest.raises(ConfigError, match=r"20 of 20 files cannot be decoded.*and not all"):
        OwnFolder(pets, skip_corrupt=True).train()


def test_no_test_picture_may_be_left(pets):
    test = names(OwnFolder(pets, skip_corrupt=True))[1]
    for name in test:
        (pets / name).write_bytes(b"x")
    with pytest.raises(ConfigError, match="no test picture is left"):
        OwnFolder(pets, skip_corrupt=True).test()


def test_a_name_that_no_configuration_holds_is_not_left_out(pets):
    (pets / "cat/${oc.env:HOME}.png").write_bytes(b"x")
    with pytest.raises(ConfigError, match=r"\$\{oc\.env:HOME\}\.png cannot be decoded, nor be left out"):
        OwnFolder(pets, skip_corrupt=True).train()


def test_a_name_that_a_configuration_takes_for_a_missing_value_is_not_left_out(pets):
    (pets / "???").write_bytes(b"x")
    rows = [
        "file,label",
        "???,cat",
        *(f"cat/{i}.png,cat" for i in (0, 1, 2)),
        "dog/0.png,dog",
        "dog/1.png,dog",
    ]
    (pets / "t.csv").write_text("\n".join(rows))
    with pytest.raises(ConfigError, match=r"\?\?\? cannot be decoded, nor be left out.* missing value"):
        OwnTable(pets / "t.csv", skip_corrupt=True).train()


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (
            PermissionError(errno.EACCES, "Permission denied"),
            ConfigError,
            r"cat/1\.png: cannot be read \(Perm",
        ),
        (OSError(errno.EIO, "Input/output error"), ConfigError, r"cat/1\.png: cannot be read \(Input"),
        (MemoryError("no room"), MemoryError, "no room"),
    ],
)
def test_what_the_system_does_not_give_is_not_taken_for_damaged(pets, monkeypatch, error, kind, words):
    opened = Image.open

    def failing(path):
        if str(path).endswith("cat/1.png"):
            raise error
        return opened(path)

    monkeypatch.setattr(Image, "open", failing)
    with pytest.raises(kind, match=words) as caught:
        OwnFolder(pets, skip_corrupt=True).train()
    assert type(caught.value) is kind


def test_a_table_is_looked_through_alike(pets):
    rows = [f"{label}/{i}.png,{label}" for label in ("cat", "dog") for i in range(10)]
    (pets / "t.csv").write_text("\n".join(["file,label", *rows]))
    with pytest.raises(ConfigError, match=r"^dataset\.file: 3 of 20 files cannot be decoded: cat/3\.png"):
        OwnTable(pets / "t.csv", check=True).train()
    assert names(OwnTable(pets / "t.csv", skip_corrupt=True)) == names(OwnFolder(pets, skip_corrupt=True))
