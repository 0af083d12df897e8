"""`nas.predict`: an evaluation's folder and its ONNX file say what the evaluation's test said."""

import csv
import json
import shutil

import numpy as np
import onnx
import pytest
from omegaconf import OmegaConf
from PIL import Image

from nas.commands import predict_model
from nas.errors import ConfigError
from nas.running.words import quoted
from tests.commands.test_bad_input import assert_refused

CLASSES = ("bright", "dark", "half")


def picture(label, number):
    """Colour, 12 rows and 16 columns, brighter where the label says so."""
    pixels = np.random.default_rng(number).integers(0, 110, (12, 16, 3), dtype=np.uint8)
    pixels[:, : (16, 0, 8)[CLASSES.index(label)]] += 130
    return pixels


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("predicted")


@pytest.fixture
def models(run, place):
    """`evaluation` and `model.onnx`, trained on pictures in `pets`, which lie elsewhere afterwards."""
    if not (place / "model.onnx").exists():
        pets = place / "pets"
        for part, count in (("train", 8), ("test", 5)):
            for label in CLASSES:
                (pets / part / label).mkdir(parents=True)
                for number in range(count):
                    name = pets / part / label / f"{number}.png"
                    Image.fromarray(picture(label, number + 100 * (part == "test"))).save(name)
        done = run(
            "evaluate", "genotype=DARTS_V2", "dataset=folder", f"dataset.root={pets}", "recipe.num_cells=3",
            "dataset.source.image_size=8", "recipe.init_channels=4", "dataset.batch_size=8",
            "trainer.max_epochs=2", "checkpoint.keep=1", f"hydra.run.dir={place / 'evaluation'}",
        )  # fmt: skip
        assert done.status == 0, done.err
        out = place / "export"
        done = run("export", f"run={place / 'evaluation'}", "format=onnx", "images=2", f"hydra.run.dir={out}")
        assert (done.status, done.err) == (0, "")
        (pets / "test").rename(place / "elsewhere")
        shutil.rmtree(pets)
        (out / "model.onnx").rename(place / "model.onnx")
    return place / "evaluation", place / "model.onnx"


@pytest.fixture
def predict(run, tmp_path):
    """`predict(model, input, ...) -> (Done, folder)`, a new folder each time."""

    def call(model, given, *overrides):
        folder = tmp_path / f"out{len(list(tmp_path.glob('out*')))}"
        named = (f"model={quoted(model)}", f"input={quoted(given)}")
        return run("predict", *named, *overrides, f"hydra.run.dir={folder}"), folder

    return call


def rows(folder):
    with (folder / "predictions.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def summary(folder):
    return json.loads((folder / "summary.json").read_text())


def shares(folder, classes=CLASSES):
    """Of each row the probability of each class."""
    ranks = ("", *(f"_{rank}" for rank in range(2, len(classes) + 1)))
    found = [
        {row[f"class{rank}"]: float(row[f"probability{rank}"]) for rank in ranks} for row in rows(folder)
    ]
    return [[one[name] for name in classes] for one in found]


def test_pictures_of_the_test_part_are_classified_as_in_the_test(models, predict, place):
    evaluation, _ = models
    done, folder = predict(evaluation, place / "elsewhere", "batch_size=4")
    assert (done.status, done.err) == (0, "")
    found, tested = summary(folder), summary(evaluation)
    assert found["accuracy"] == pytest.approx(tested["test_accuracy"])
    assert (found["pictures"], found["skipped"], sum(found["counts"].values())) == (15, 0, 15)
    assert f"accuracy {found['accuracy']:.2%}" in done.out
    logs = [
        np.log(one[CLASSES.index(row["label"])])
        for one, row in zip(shares(folder), rows(folder), strict=True)
    ]
    assert -np.mean(logs) == pytest.approx(tested["test_loss"], abs=1e-4)


def test_both_models_agree_on_every_kind_of_file_and_skip_damaged_ones(models, predict, tmp_path):
    odd = tmp_path / "odd pictures"
    odd.mkdir()
    colour = Image.fromarray(picture("half", 7))
    colour.save(odd / "colour.png")
    colour.convert("L").save(odd / "grey.png")
    colour.convert("RGBA").save(odd / "clear.png")
    wide = np.asarray(colour.convert("L")).astype(np.uint16) * 257
    Image.fromarray(wide).save(odd / "wide.png")
    turned = Image.Exif()
    turned[0x0112] = 6
    colour.save(odd / "turned.jpg", exif=turned)
    (odd / "broken.png").write_bytes((odd / "colour.png").read_bytes()[:80])
    (odd / "notes.txt").write_text("no picture")
    found = []
    for model in models:
        done, folder = predict(model, odd)
        assert done.status == 0 and "1 of 6 pictures skipped" in done.err + done.out
        assert "broken.png" in done.err + done.out and summary(folder)["skipped"] == 1
        assert [row["file"] for row in rows(folder)] == [
            "clear.png", "colour.png", "grey.png", "turned.jpg", "wide.png",
        ]  # fmt: skip
        assert "accuracy" not in summary(folder)
        found.append(np.array(shares(folder)))
    assert np.abs(found[0] - found[1]).max() < 1e-5
    # Sixteen bits are not clipped to white, and what is transparent nowhere is as it was.
    assert np.abs(found[0][2] - found[0][4]).max() < 1e-6
    assert np.abs(found[0][0] - found[0][1]).max() < 1e-6


def test_without_a_folder_named_it_lies_among_the_outputs(models, run, place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NAS_OUTPUTS", "outputs")
    done = run("predict", f"model={models[1]}", f"input={place / 'elsewhere' / 'dark' / '0.png'}")
    (folder,) = (tmp_path / "outputs" / "predict").iterdir()
    assert (done.status, done.err) == (0, "") and len(rows(folder)) == 1


def test_one_picture_gives_a_table(models, predict, place):
    name = place / "elsewhere" / "dark" / "0.png"
    done, folder = predict(models[0], name, "top=2")
    (row,) = rows(folder)
    assert f"\n{name}\n" in done.out  # whole, however narrow the table below it is
    assert done.status == 0 and f"{float(row['probability']):.2%}" in done.out
    assert set(row) == {"file", "class", "probability", "class_2", "probability_2"}


def test_lists_and_arrays_say_the_same_as_the_folder(models, predict, place, tmp_path):
    elsewhere = place / "elsewhere"
    _, folder = predict(models[0], elsewhere)
    given = rows(folder)
    lines = [f"{elsewhere / row['file']},{row['label']}" for row in given]
    (tmp_path / "list.csv").write_text(
        "\n".join(["path,label", *lines, f"{tmp_path / 'gone.png'},dark"]) + "\n"
    )
    done, listed = predict(models[0], tmp_path / "list.csv")
    assert done.status == 0 and "gone.png" in done.out + done.err
    assert shares(listed) == shares(folder) and summary(listed)["accuracy"] == summary(folder)["accuracy"]
    # As the network reads them: what the folder's resize and crop make.
    images = [
        np.asarray(Image.open(elsewhere / row["file"]).resize((10, 8), Image.BILINEAR))[:, 1:9]
        for row in given
    ]
    np.savez(tmp_path / "own.npz", images=np.stack(images), labels=np.array([row["label"] for row in given]))
    done, arrays = predict(models[0], tmp_path / "own.npz")
    assert (done.status, done.err) == (0, "")
    assert [row["file"] for row in rows(arrays)] == [str(index) for index in range(15)]
    assert np.abs(np.array(shares(arrays)) - np.array(shares(folder))).max() < 0.05
    assert summary(arrays)["accuracy"] == pytest.approx(summary(folder)["accuracy"], abs=0.2)


@pytest.mark.parametrize(
    ("heads", "cut", "judged"),
    [
        ("image_path;category", ";", True),
        ("\nFile\tTarget", "\t", True),
        ("path,label", ",", True),
        ("path,y", ",", True),
        ("path,y,x", ",", False),
    ],
)
def test_a_table_of_the_training_is_a_list_too(models, predict, place, tmp_path, heads, cut, judged):
    files = [place / "elsewhere" / label / "0.png" for label in CLASSES]
    # What is called `y` may be a place in the picture.
    pairs = zip(files, CLASSES if judged else "777", strict=True)
    lines = [cut.join((str(path), label, "4")[: 1 + heads.count(cut)]) for path, label in pairs]
    (tmp_path / "t.csv").write_text("\ufeff" + "\r\n".join([heads, *lines]) + "\r\n", encoding="utf-8")
    done, folder = predict(models[0], tmp_path / "t.csv")
    assert (done.status, done.err) == (0, "")
    assert [row["file"] for row in rows(folder)] == list(map(str, files))
    assert ("accuracy" in summary(folder)) == judged


def test_channels_that_were_said_to_stand_last_do_so_in_a_prediction_too(run, predict, tmp_path):
    """Images as high as they have channels, where either order would fit."""
    images = np.random.default_rng(0).integers(0, 255, (36, 3, 3, 3), dtype=np.uint8)
    labels, folder = np.arange(36) % 2, tmp_path / "trained"
    parts = {"images": images[12:], "labels": labels[12:]}
    tested = {"images": images[:12], "labels": labels[:12]}
    np.savez(tmp_path / "a.npz", **parts, **{f"test_{name}": one for name, one in tested.items()})
    np.savez(tmp_path / "t.npz", **tested)
    done = run(
        "evaluate", "genotype=DARTS_V2", "dataset=arrays", f"dataset.file={tmp_path / 'a.npz'}",
        "dataset.source.channels=last", "recipe.num_cells=3", "recipe.init_channels=4",
        "dataset.batch_size=8", "trainer.max_epochs=1", f"hydra.run.dir={folder}",
    )  # fmt: skip
    assert done.status == 0, done.err
    done, out = predict(folder, tmp_path / "t.npz", "top=2")
    assert (done.status, done.err) == (0, "")
    losses = -np.log(shares(out, ("0", "1")))[range(12), labels[:12]]
    assert losses.mean() == pytest.approx(summary(folder)["test_loss"], abs=1e-4)


def test_a_list_that_is_no_csv_is_refused_in_one_line(models, predict, tmp_path):
    (tmp_path / "long.csv").write_text("path,label\n" + "x" * 200_000 + ",dark\n")
    done, folder = predict(models[0], tmp_path / "long.csv")
    assert_refused(done, "line 2: no CSV (field larger than field limit")
    assert not folder.exists()


def test_input_that_is_none_is_refused(models, predict, place, tmp_path):
    (tmp_path / "bad.png").write_text("no picture")
    (tmp_path / "empty").mkdir()
    (tmp_path / "all bad").mkdir()
    for name in ("a.png", "b.jpg"):
        (tmp_path / "all bad" / name).write_text("no picture")
    (tmp_path / "words.txt").write_text("a b\n")
    (tmp_path / "list.csv").write_text("path,label\na.png,cat\n")
    (tmp_path / "heads.csv").write_text("a,b\n1,2\n")
    (tmp_path / "signs.csv").write_text(";\n;\n")
    np.savez(tmp_path / "deep.npz", images=np.zeros((2, 5, 8, 8), np.uint8))
    for name, said in (
        ("bad.png", "cannot be decoded: no image"),
        ("empty", "no picture in it"),
        ("words.txt", "neither a folder, a picture"),
        ("list.csv", "labels that are no class of this network: cat"),
        ("heads.csv", "no column is called file, path"),
        ("signs.csv", "none of 2 pictures can be read"),
        ("deep.npz", "this network reads [N, 3, H, W]"),
        ("nowhere", "there is no such file or folder"),
        ("all bad", "none of 2 pictures can be read; the first: "),
    ):
        done, folder = predict(models[0], tmp_path / name)
        assert_refused(done, said)
        assert not folder.exists()


def test_models_that_are_none_are_refused(models, predict, place, tmp_path):
    evaluation, exported = models
    search = tmp_path / "a search"
    shutil.copytree(evaluation, search)
    config = OmegaConf.load(search / "config.yaml")
    config.command = "search"
    OmegaConf.save(config, search / "config.yaml")
    (tmp_path / "damaged.onnx").write_bytes(exported.read_bytes()[:900])
    foreign = onnx.load(exported)
    del foreign.metadata_props[:]
    onnx.save(foreign, tmp_path / "foreign.onnx")
    outside = onnx.load(exported)
    onnx.save(
        outside, tmp_path / "outside.onnx", save_as_external_data=True, location="w.bin", size_threshold=0
    )
    other = onnx.load(exported)
    about = json.loads(other.metadata_props[0].value)
    other.metadata_props[0].value = json.dumps(about | {"num_classes": 2, "class_names": ["a", "b"]})
    onnx.save(other, tmp_path / "other.onnx")
    (tmp_path / "empty.onnx").write_bytes(b"")
    (tmp_path / "random.onnx").write_bytes(np.random.default_rng(0).bytes(4000))
    (tmp_path / "short.onnx").write_bytes(exported.read_bytes()[:2])
    for name, said in (
        ("empty.onnx", "not an ONNX file"),
        ("random.onnx", "not an ONNX file"),
        ("short.onnx", "not an ONNX file"),
        ("damaged.onnx", "not an ONNX file, or a damaged one"),
        ("foreign.onnx", "only files that nas.export wrote"),
        ("outside.onnx", "keeps weights in files beside it"),
        ("other.onnx", "not what its description says"),
        ("nowhere", "there is no such folder or file"),
    ):
        done, _ = predict(tmp_path / name, place / "elsewhere")
        assert_refused(done, said)
    done, _ = predict(search, place / "elsewhere")
    assert_refused(done, "python -m nas.evaluate", "a search")


def test_a_strangers_folder_runs_no_code(models, predict, place, tmp_path):
    shutil.copytree(models[0], tmp_path / "theirs")
    config = OmegaConf.load(tmp_path / "theirs" / "config.yaml")
    config.dataset.source._target_ = "theirs.Pictures"
    OmegaConf.save(config, tmp_path / "theirs" / "config.yaml")
    done, _ = predict(tmp_path / "theirs", place / "elsewhere")
    assert_refused(done, "theirs.Pictures", "trust=theirs")


def test_sizes_that_a_stranger_wrote_take_no_memory(models, predict, run, place, tmp_path):
    theirs = tmp_path / "theirs"
    shutil.copytree(models[0], theirs)
    file = theirs / "network.json"
    about = json.loads(file.read_text())
    huge = {**about["preprocessing"], "resize": 10**6, "crop": 10**6}
    for changed, said in (
        ({"sizes": about["sizes"] | {"init_channels": 4096}}, "by the sizes"),
        ({"sizes": about["sizes"] | {"num_cells": 10**9}}, "its sizes stand for more than"),
        ({"num_classes": 10**9, "class_names": None}, "num_classes=1000000000: must be at most 1,000,000"),
        ({"image_shape": [3, 10**6, 10**6], "preprocessing": huge}, "must be at most 4,096"),
    ):
        file.write_text(json.dumps(about | changed))
        assert_refused(predict(theirs, place / "elsewhere")[0], said)
    config = OmegaConf.load(theirs / "config.yaml")
    config.recipe.init_channels = 4096
    OmegaConf.save(config, theirs / "config.yaml")
    # Its pictures have gone, and others of the same classes do.
    given = (
        "format=safetensors",
        f"dataset.root={place / 'elsewhere'}",
        f"hydra.run.dir={tmp_path / 'export'}",
    )
    done = run("export", f"run={theirs}", *given)
    assert_refused(done, "its weights are those of another network", "by the sizes")
    # Where there are no weights to compare with, memory is what decides.
    given = ("genotype=DARTS_V2", "recipe.init_channels=4096", f"hydra.run.dir={tmp_path / 'run'}")
    assert_refused(run("evaluate", "dataset=digits", *given), "recipe=digits", "GiB, and this machine has")
    assert_refused(run("export", "untrained=true", "dataset=digits", *given), "GiB, and this machine has")
    assert not (tmp_path / "run").exists()


def test_a_missing_package_is_named_with_its_extra(models, monkeypatch):
    monkeypatch.setattr(predict_model, "NEEDED", ("onnx", "not_there"))
    with pytest.raises(ConfigError, match=r"needs not_there, not installed here; pip install .*\[export\]"):
        predict_model.open_model(OmegaConf.create({"model": str(models[1])}))


def test_an_older_folder_has_its_data_set_s_word(run, predict, tmp_path):
    evaluation = tmp_path / "old"
    done = run(
        "evaluate", "genotype=DARTS_V2", "dataset=digits", "recipe.num_cells=3", "recipe.init_channels=4",
        "trainer.max_epochs=1", "trainer.limit_train_batches=1", f"hydra.run.dir={evaluation}",
    )  # fmt: skip
    assert done.status == 0
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "zero.png")
    _, folder = predict(evaluation, tmp_path / "zero.png", "top=10")
    (evaluation / "network.json").unlink()
    done, older = predict(evaluation, tmp_path / "zero.png", "top=10")
    assert (done.status, done.err) == (0, "")
    assert rows(folder) == rows(older) and len(rows(folder)[0]) == 21
