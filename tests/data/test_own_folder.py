"""Pictures of one's own: what is found in a folder, how it is divided, and what comes out."""

import os
import unicodedata

import numpy as np
import pytest
import torch
from PIL import Image

from nas.data.checks import check_images
from nas.data.declared import check_source
from nas.data.folder import ImageFolder
from nas.data.own_folder import OwnFolder
from nas.data.own_table import OwnTable
from nas.errors import ConfigError


def write(root, classes=("cat", "dog", "eel"), count=5, mode="RGB", size=(10, 7)):
    """`count` pictures of each class, each of a size and of pixels of its own."""
    rng = np.random.default_rng(len(str(root)))
    for name in classes:
        (root / name).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            pixels = rng.integers(0, 256, (size[1] + i, size[0], 3), dtype=np.uint8)
            Image.fromarray(pixels).convert(mode).save(root / name / f"{i}.png")
    return root


def test_an_undivided_folder_is_counted_and_divided_by_class(tmp_path):
    source = OwnFolder(write(tmp_path), image_size=8)
    check_source(source)
    train, test = source.train(), source.test()
    assert source.classes == ("cat", "dog", "eel") and source.num_classes == 3
    assert (len(train), len(test)) == (12, 3) and sorted(test.labels.tolist()) == [0, 1, 2]
    assert not set(train.names) & set(test.names)
    assert train.names[0].split("/")[0] == "cat"
    for part in ("train", "test"):
        check_images(source, getattr(source, part)(), part)
    # Another seed, another test part; the same seed the same, wherever the folder lies.
    assert OwnFolder(tmp_path, test_seed=1).test().names != test.names
    assert OwnFolder(write(tmp_path / "elsewhere")).test().names == test.names


@pytest.mark.parametrize("test", ["test", "val", "validation", None])
def test_a_divided_folder_stays_divided(test, tmp_path):
    write(tmp_path / "train")
    if test:
        write(tmp_path / test, count=2)
    source = OwnFolder(tmp_path)
    assert (len(source.train()), len(source.test())) == ((15, 6) if test else (12, 3))
    assert source.test().names[0].startswith(f"{test or 'train'}/cat/")


def test_a_part_that_is_not_read_and_a_class_called_train(tmp_path):
    for part in ("train", "test", "val"):
        write(tmp_path / "parts" / part, count=2)
    source = OwnFolder(tmp_path / "parts")
    assert source.test().names[0].startswith("test/")
    assert ("not read", "val") in source.found().rows and (
        "test pictures",
        "6, in test",
    ) in source.found().rows
    assert OwnFolder(write(tmp_path / "vehicles", ("bus", "train"))).classes == ("bus", "train")


def test_parts_are_known_in_capitals_and_refused_beside_other_folders(tmp_path):
    for part in ("Train", "TEST"):
        write(tmp_path / "parts" / part, count=2)
    source = OwnFolder(tmp_path / "parts")
    assert source.classes == ("cat", "dog", "eel")
    assert source.train().names[0].startswith("Train/") and source.test().names[0].startswith("TEST/")
    write(tmp_path / "parts", ("extra",))
    with pytest.raises(ConfigError, match="holds the parts Train and TEST, and beside them extra"):
        OwnFolder(tmp_path / "parts").train()
    # What holds pictures is a class, whatever its name.
    assert OwnFolder(write(tmp_path / "moods", ("test", "train", "x"))).classes == ("test", "train", "x")


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("RGB", 3), ("1", 1), ("P", 3)])
def test_grey_pictures_have_one_channel(mode, channels, tmp_path):
    source = OwnFolder(write(tmp_path, count=2, mode=mode), image_size=8, test_share=0.5)
    check_source(source)
    assert source.image_shape == (channels, 8, 8) and len(source.mean) == channels
    assert source.train()[0][0].shape == (channels, 8, 8)


def test_channels_mean_and_deviation_can_be_typed(tmp_path):
    source = OwnFolder(write(tmp_path, mode="L"), channels=3)
    assert source.train()[0][0].shape == (3, 32, 32) and len(set(source.mean)) == 1
    assert OwnFolder(write(tmp_path), channels=1, mean=[0.5], std=[0.2]).std == (0.2,)


def test_a_size_that_networks_cannot_take_is_rounded_up_and_said(tmp_path, caplog):
    source = OwnFolder(write(tmp_path), image_size=30)
    assert source.image_shape == (3, 32, 32) and "image_size=30: rounded up to 32" in caplog.text
    assert OwnFolder(tmp_path, image_size=33, multiple=32).image_shape == (3, 64, 64)


def test_nothing_is_drawn_unless_it_is_asked_for(tmp_path):
    """Pictures of digits and letters are not mirrored by surprise; each word switches one thing on."""
    write(tmp_path)

    def different(**settings):
        images = OwnFolder(tmp_path, image_size=8, **settings).train()
        return len({images[0][0].numpy().tobytes() for _ in range(12)}) > 1

    assert not different()
    assert different(flip=True) and different(crop=[0.3, 1.0]) and different(color_jitter=[0.4, 0, 0, 0])
    plain = OwnFolder(tmp_path, image_size=8, flip=True, crop=[0.1, 0.5])
    assert torch.equal(plain.train(augmented=False)[0][0], OwnFolder(tmp_path, image_size=8).train()[0][0])


def test_what_is_no_picture_is_said_once_and_hidden_folders_are_no_classes(tmp_path, caplog):
    write(tmp_path)
    write(tmp_path, (".ipynb_checkpoints", "__MACOSX"))
    (tmp_path / "dog/notes.txt").touch()
    (tmp_path / "cat/._0.png").touch()
    (tmp_path / "cat/gone.png").symlink_to(tmp_path / "nowhere")
    source = OwnFolder(tmp_path)
    for _ in range(2):
        assert len(source.train()) + len(source.test()) == 15 and source.num_classes == 3
    [said] = [one.getMessage() for one in caplog.records if one.levelname == "WARNING"]
    assert "5 entries below" in said
    assert all(
        name in said for name in (".ipynb_checkpoints", "__MACOSX", "notes.txt", "._0.png", "gone.png")
    )


def test_links_between_classes_give_no_picture_twice(tmp_path):
    write(tmp_path, ("a", "b"))
    for i in range(2):
        (tmp_path / f"a/link{i}").symlink_to("../b")
        (tmp_path / f"b/link{i}").symlink_to("../a")
    source = OwnFolder(tmp_path)
    names = [*source.train().names, *source.test().names]
    assert sorted(names) == [f"{name}/{i}.png" for name in "ab" for i in range(5)]
    (tmp_path / "c").symlink_to("b")
    with pytest.raises(ConfigError, match="/c is the folder of another class too"):
        OwnFolder(tmp_path).train()


@pytest.mark.parametrize("name", [b"\xff\xfe.png", b"a\nb.png", b"a\rb.png", b"\xff/1.png"])
def test_a_name_that_no_list_can_hold_is_refused_before_anything_is_written(name, run, tmp_path):
    place = os.path.join(os.fsencode(write(tmp_path / "own", count=4)), b"dog", name)
    os.makedirs(os.path.dirname(place), exist_ok=True)
    Image.new("RGB", (8, 8)).save(os.fsdecode(place))
    out = tmp_path / "out"
    words = [f"dataset.root={tmp_path / 'own'}", "dataset.source.image_size=8", "size=null"]
    done = run("search", "dataset=folder", *words, "method=random", f"hydra.run.dir={out}")
    assert done.status == 2 and "must be UTF-8 without line breaks" in done.err
    assert done.err.count("\n") == 1 and not out.exists()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"root": None}, "dataset.root=null: name the folder"),
        ({"channels": 2}, "dataset.source.channels=2"),
        ({"test_share": 1.0}, "dataset.source.test_share=1.0"),
        ({"test_share": 0.01}, "test_share=0.01: leaves 0 of 15 images"),
        ({"crop": [0.5, 2]}, "dataset.augment.crop"),
        ({"multiple": 0}, "dataset.source.multiple"),
    ],
)
def test_settings_out_of_range_are_refused(settings, words, tmp_path):
    with pytest.raises(ConfigError, match=words.replace(".", r"\.")):
        OwnFolder(**({"root": write(tmp_path)} | settings)).train()


def test_folders_that_hold_no_classes_are_refused_in_words(tmp_path):
    with pytest.raises(ConfigError, match="there is no folder"):
        OwnFolder(tmp_path / "no").train()
    write(tmp_path / "flat", ("only",))
    with pytest.raises(ConfigError, match="holds no folder of images"):
        OwnFolder(tmp_path / "flat/only").train()
    (tmp_path / "flat/empty").mkdir()
    (tmp_path / "flat/void").mkdir()
    words = (
        r"class folder .*empty holds no image file \(\.jpg.*, and neither does that of void; fill or delete"
    )
    with pytest.raises(ConfigError, match=words):
        OwnFolder(tmp_path / "flat").train()
    write(tmp_path / "parts/train")
    write(tmp_path / "parts/test", ("cat", "dog", "elk"))
    with pytest.raises(ConfigError, match=r"training part has not: elk \(and lacks eel\)"):
        OwnFolder(tmp_path / "parts").test()


def test_mean_and_deviation_are_those_of_the_training_pictures_or_imagenets(tmp_path):
    write(tmp_path / "train", count=4)
    for i in range(2):
        (tmp_path / "test/cat").mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (9, 9)).save(tmp_path / f"test/cat/{i}.png")
    source = OwnFolder(tmp_path, image_size=8, flip=True)
    images = source.train(augmented=False)
    pixels = torch.stack([images[i][0] for i in range(len(images))]).double() / 255
    assert source.mean == pytest.approx(pixels.mean((0, 2, 3)).tolist(), abs=6e-5)
    assert source.std == pytest.approx(pixels.std((0, 2, 3), correction=0).tolist(), abs=6e-5)
    # What a configuration keeps is all that another run needs.
    kept = source.settled()
    assert kept == {"mean": list(source.mean), "std": list(source.std), "channels": 3}
    again = OwnFolder(tmp_path, image_size=8, **kept)
    assert (again.mean, again.std, again.settled()) == (source.mean, source.std, {})
    usual = OwnFolder(tmp_path, normalisation="imagenet")
    assert (usual.mean, usual.std, usual.settled()) == (
        ImageFolder.mean,
        ImageFolder.std,
        {"channels": 3},
    )
    assert OwnFolder(tmp_path, channels=1, normalisation="imagenet").mean == (0.459,)
    with pytest.raises(
        ConfigError, match=r"dataset\.normalisation=none: unknown; known are measured, imagenet"
    ):
        OwnFolder(tmp_path, normalisation="none")


def test_pictures_that_never_change_have_a_deviation(tmp_path):
    for i in range(4):
        (tmp_path / "a").mkdir(exist_ok=True)
        Image.new("L", (8, 8), 51).save(tmp_path / f"a/{i}.png")
    source = OwnFolder(tmp_path, image_size=8, test_share=0.25)
    assert source.mean == (0.2,) and source.std == (1 / 255,)


def test_training_and_test_turn_pictures_and_earlier_networks_do_not(tmp_path):
    write(tmp_path)
    exif = Image.Exif()
    exif[0x0112] = 3
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[:4] = 255
    for i in range(5):
        Image.fromarray(pixels).save(tmp_path / f"cat/{i}.png", exif=exif)
    for decoding, expected in (("upright", 0), ("plain", 255)):
        source = OwnFolder(tmp_path, image_size=8, decoding=decoding)
        assert source.decoding == decoding
        assert source.train()[0][0][0, 0, 4] == source.test()[0][0][0, 0, 4] == expected
    with pytest.raises(
        ConfigError, match=r"dataset\.source\.decoding=raw: unknown; known are upright, plain"
    ):
        OwnFolder(tmp_path, decoding="raw")


def test_odd_names_endings_and_folders_within_classes(tmp_path, caplog):
    """As archives, cameras and other systems leave them."""
    odd = ("Café au lait", "猫", "\U0001f431 cats", "-rf $HOME; 'x'")
    write(tmp_path, odd, count=4)
    (tmp_path / odd[1] / "siamese 1").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / odd[1] / "siamese 1" / "A.JPG")
    Image.new("RGB", (8, 8)).save(tmp_path / odd[0] / "B b.JPEG")
    for name in ("Thumbs.db", "desktop.ini", ".DS_Store"):
        (tmp_path / odd[0] / name).write_bytes(b"x")
    (tmp_path / odd[2] / "round").symlink_to(tmp_path / odd[2])
    (tmp_path / "notes.txt").touch()
    source = OwnFolder(tmp_path, image_size=8)
    assert source.classes == tuple(sorted(odd))
    names = [*source.train().names, *source.test().names]
    assert len(names) == 18 and f"{odd[1]}/siamese 1/A.JPG" in names and f"{odd[0]}/B b.JPEG" in names
    assert "5 entries below" in caplog.text
    text = source.found().text()
    assert ("  with inner folders", odd[1]) in source.found().rows
    assert all(one in text for one in odd[:3])


def test_the_test_part_may_lack_classes_and_have_empty_folders(tmp_path):
    write(tmp_path / "train")
    write(tmp_path / "test", ("cat",), count=2)
    (tmp_path / "test/eel").mkdir()
    source = OwnFolder(tmp_path)
    assert source.test().labels.tolist() == [0, 0] and source.test().names[0] == "test/cat/0.png"
    assert ("  not in the test part", "dog, eel") in source.found().rows
    (tmp_path / "test/cat").rename(tmp_path / "test/eel/cat")
    assert OwnFolder(tmp_path).test().labels.tolist() == [2, 2]
    for file in (tmp_path / "test/eel/cat").iterdir():
        file.unlink()
    with pytest.raises(ConfigError, match=r"class folder .*test/eel holds no image file"):
        OwnFolder(tmp_path).test()


def test_accents_of_two_encodings_are_two_names_and_said_so(tmp_path):
    one, other = (unicodedata.normalize(form, "caf\u00e9") for form in ("NFC", "NFD"))
    write(tmp_path / "train", (one, "x"))
    write(tmp_path / "test", (other, "x"))
    if len(os.listdir(tmp_path / "test")) == 2 and one != other:
        with pytest.raises(ConfigError, match="encoded in another way there"):
            OwnFolder(tmp_path).test()


def test_one_class_alone_is_said_with_what_may_be_meant(tmp_path, caplog):
    write(tmp_path / "pets")
    assert OwnFolder(tmp_path).num_classes == 1
    assert "one class alone (pets)" in caplog.text and "name it as dataset.root" in caplog.text


def test_a_run_keeps_its_channels_whatever_lies_there_later(tmp_path):
    kept = OwnFolder(write(tmp_path, mode="L")).settled()
    assert kept["channels"] == len(kept["mean"]) == 1
    for name in ("cat", "dog"):
        write(tmp_path, (name,))
    again = OwnFolder(tmp_path, **kept)
    check_source(again)
    assert (again.channels, again.mean, again.settled()) == (1, (*kept["mean"],), {})
    assert again.train()[0][0].shape[0] == 1 and OwnFolder(tmp_path).channels == 3


def test_mean_and_deviation_are_each_said_to_be_whose_they_are(tmp_path):
    def rows(**given):
        found = dict(OwnFolder(write(tmp_path), normalisation="imagenet", **given).found().rows)
        return found["mean"].partition(" (")[2], found["std"].partition(" (")[2]

    assert rows() == ("ImageNet's)", "")
    assert rows(mean=[0.1] * 3) == ("as configured)", "ImageNet's)")
    assert rows(mean=[0.1] * 3, std=[0.1] * 3) == ("as configured)", "")


@pytest.mark.parametrize("kind", ["folder", "table"])
def test_a_class_of_one_picture_that_the_test_part_takes_is_said(kind, tmp_path):
    root = write(tmp_path / "pets", count=1)
    rows = [f"{file.relative_to(tmp_path)},{file.parent.name}" for file in sorted(root.glob("*/*.png"))]
    (tmp_path / "t.csv").write_text("\n".join(["file,label", *rows]))
    share = {"test_share": 0.4}
    source = OwnFolder(root, **share) if kind == "folder" else OwnTable(tmp_path / "t.csv", **share)
    start = rf"{source.key}: the only picture of class (cat|dog|eel) is in the test part; add pictures"
    with pytest.raises(ConfigError, match=start):
        source.train()
