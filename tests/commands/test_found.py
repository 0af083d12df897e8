"""Runs on pictures of one's own: what they say of these, what they leave out, and what they leave behind."""

import json
import shlex
import warnings

import numpy as np
import pytest
from omegaconf import OmegaConf
from PIL import Image

from nas.commands.auto_size import is_wanted
from nas.errors import ConfigError
from nas.formats.description import Preprocessing
from nas.running.in_process import call
from nas.running.older import read_now
from tests.commands.test_bad_input import assert_refused

SIZES = (
    "dataset=folder", "dataset.source.image_size=8", "dataset.batch_size=4", "recipe.num_cells=3",
    "recipe.init_channels=2", "trainer.max_epochs=1", "trainer.enable_progress_bar=false",
    "size=null",
)  # fmt: skip
SEARCH = ("space.num_cells=3", "space.num_nodes=2", "space.init_channels=2")


@pytest.fixture
def pets(tmp_path):
    """Twelve pictures of each of two classes in a folder with a blank in its name."""
    rng = np.random.default_rng(0)
    for i in range(24):
        place = tmp_path / "my pets" / ["cat", "dog"][i % 2]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (9, 12, 3), dtype=np.uint8)).save(place / f"{i:02}.png")
    return tmp_path / "my pets"


def given(pets, folder):
    return (*SIZES, f"dataset.root='{pets}'", f"hydra.run.dir='{folder}'")


def config_of(folder):
    return OmegaConf.load(folder / "config.yaml")


def test_a_search_says_once_what_it_found_and_an_evaluation_goes_by_it(run, pets, tmp_path):
    searched, evaluated = tmp_path / "search", tmp_path / "evaluation"
    damaged = pets / "cat" / "04.png"
    damaged.write_bytes(damaged.read_bytes()[:50])
    words = (*given(pets, searched), *SEARCH, "dataset.skip_corrupt=true")
    done = run("search", *words)
    assert done.status == 0, done.err
    text = (searched / "found.txt").read_text()
    assert done.out.count(text) == 1 and done.out.count("dataset folder: ") == 1
    assert done.out.index(text) < done.out.index("search: space")
    assert "1: cat/04.png: damaged" in text and " for the weights, " in text and "split_seed=0" in text
    assert "dataset folder: " in (searched / "search.log").read_text()
    source = config_of(searched).dataset.source
    assert source.skipped == ["cat/04.png"] and len(source.mean) == 3 and source.mean != [0.485, 0.456, 0.406]
    names = [(searched / f"{part}.txt").read_text() for part in ("weight", "architecture")]
    # It goes on as it began where the file has been mended, and says it no more.
    damaged.write_bytes((pets / "cat" / "00.png").read_bytes())
    done = run("search", f"resume={searched}", "trainer.max_epochs=2", "resume_schedule=restart")
    assert done.status == 0 and "dataset folder: " not in done.out, done.err
    assert names == [(searched / f"{part}.txt").read_text() for part in ("weight", "architecture")]
    # What is evaluated knows the same pictures and numbers, though both are typed nowhere.
    done = run("evaluate", f"run={searched}", "trainer.max_epochs=1", "dataset.batch_size=4",
               f"hydra.run.dir={evaluated}")  # fmt: skip
    assert done.status == 0 and "cat/04.png: left out as before" in done.out, done.err
    assert config_of(evaluated).dataset.source == source
    prepared = json.loads((evaluated / "network.json").read_text())["preprocessing"]
    assert prepared["mean"] == source.mean and (prepared["exif"], prepared["background"]) == (True, "white")


def test_what_cannot_be_decoded_is_refused_and_leaves_no_folder(run, pets, tmp_path):
    files = sorted(pets.glob("*/*.png"))
    words = (*given(pets, tmp_path / "out"), "method=random")
    files[3].write_bytes(b"x")
    assert_refused(
        run("search", *words, "dataset.check=true"), "1 of 24 files cannot be decoded", "skip_corrupt"
    )
    for file in files:
        file.write_bytes(file.read_bytes()[:50])
    for more in ((), ("dataset.skip_corrupt=true",), ("dataset.normalisation=imagenet",)):
        done = run("search", *given(pets, tmp_path / "out"), *SEARCH, *more)
        assert_refused(done, "cannot be decoded", ".png")
    assert not (tmp_path / "out").exists()


def test_a_file_that_is_damaged_in_mid_run_is_named_with_the_key(run, pets, tmp_path, monkeypatch):
    from nas.commands import evaluate

    before = evaluate.tell

    def damage(found):
        before(found)
        for file in pets.glob("*/*.png"):
            file.write_bytes(file.read_bytes()[:50])

    monkeypatch.setattr(evaluate, "tell", damage)
    words = (*given(pets, tmp_path / "out"), "genotype=DARTS_V2", "dataset.num_workers=1")
    done = run("evaluate", *words)
    assert_refused(done, "dataset.root: ", ".png cannot be decoded: damaged", "dataset.skip_corrupt=true")
    assert json.loads((tmp_path / "out/summary.json").read_text())["status"] == "failed"


def older(folder):
    """Makes of a run folder what an earlier version wrote of the same network."""
    config, described = config_of(folder), json.loads((folder / "network.json").read_text())
    for key in ("decoding", "normalisation", "check", "skip_corrupt", "skipped"):
        config.dataset.source.pop(key)
        config.dataset.pop(key, None)
    assert config.dataset.source.mean is None
    OmegaConf.save(config, folder / "config.yaml")
    for key in ("exif", "background"):
        described["preprocessing"].pop(key)
    (folder / "network.json").write_text(json.dumps(described))


def test_an_earlier_network_goes_on_seeing_pictures_as_they_are_stored(run, pets, tmp_path):
    trained, exif = tmp_path / "trained", Image.Exif()
    ways = ("dataset.source.decoding=plain", "dataset.normalisation=imagenet")
    done = run("evaluate", *given(pets, trained), "genotype=DARTS_V2", *ways)
    assert done.status == 0, done.err
    older(trained)
    exif[0x0112] = 3
    with Image.open(pets / "cat/00.png") as image:
        image.save(tmp_path / "stored.png")
        image.save(tmp_path / "turned.png", exif=exif)
    exported = tmp_path / "exported"
    done = run("export", f"run={trained}", "format=onnx", "images=2", f"hydra.run.dir={exported}")
    assert done.status == 0, done.err
    # What is printed runs as it is pasted; nothing is drawn, so that no seed heads it.
    printed = next(one for one in done.out.splitlines() if one.startswith("predict: "))
    pasted = shlex.split(printed.removeprefix("predict:"))[3:]
    done = run("predict", *pasted, f"hydra.run.dir={tmp_path / 'pasted'}")
    assert done.status == 0 and f"predict: model {exported / 'model.onnx'}, input {pets}" in done.out, (
        done.err
    )
    assert "seed" not in done.out
    for model in (trained, exported / "model.onnx"):
        tables = []
        for name in ("stored", "turned"):
            out = tmp_path / f"{model.name} {name}"
            done = run("predict", f"model={model}", f"input={tmp_path / name}.png", f"hydra.run.dir='{out}'")
            assert done.status == 0, done.err
            tables.append((out / "predictions.csv").read_text().replace(name, ""))
        assert tables[0] == tables[1]
    again = tmp_path / "again"
    done = run("evaluate", f"run={trained}", "dataset.batch_size=4", f"hydra.run.dir={again}")
    assert done.status == 0 and "0.485, 0.456, 0.406 (ImageNet's)" in done.out, done.err
    assert config_of(again).dataset.source.decoding == "plain"


def test_earlier_run_folders_keep_pictures_and_numbers_as_they_were():
    for target in ("nas.data.own_folder.OwnFolder", "nas.data.own_table.OwnTable"):
        saved = OmegaConf.create({"dataset": {"source": {"_target_": target, "mean": None}}})
        source = read_now(saved, "run=old").dataset.source
        assert (source.decoding, source.normalisation) == ("plain", "imagenet")
        now = {"_target_": target, "decoding": "upright", "normalisation": "measured"}
        source = read_now(OmegaConf.create({"dataset": {"source": now}}), "run=new").dataset.source
        assert (source.decoding, source.normalisation) == ("upright", "measured")
        assert "check" not in source
    folder = OmegaConf.create({"dataset": {"source": {"_target_": "nas.data.folder.ImageFolder"}}})
    taken = read_now(folder, "run=old").dataset
    assert taken.check is taken.source.check is False
    assert Preprocessing(8, 8, (0.5,), (0.5,)).to_dict()["exif"] is False


def test_an_earlier_run_on_grey_pictures_keeps_their_channel(run, pets, tmp_path):
    evaluated = tmp_path / "evaluated"
    for file in pets.glob("*/*.png"):
        with Image.open(file) as image:
            image.convert("L").save(file)
    assert run("evaluate", *given(pets, evaluated), "genotype=DARTS_V2").status == 0
    config = config_of(evaluated)
    assert config.dataset.source.channels == len(config.dataset.source.mean) == 1
    # Earlier versions kept the mean, and counted channels anew.
    config.dataset.source.channels = None
    OmegaConf.save(config, evaluated / "config.yaml")
    (evaluated / "files.json").unlink()
    for file in pets.glob("*/*.png"):
        with Image.open(file) as image:
            image.convert("RGB").save(file)
    done = run("evaluate", f"resume={evaluated}", "trainer.max_epochs=2", "resume_schedule=restart")
    assert done.status == 0 and config_of(evaluated).dataset.source.channels == 1, done.err
    done = run("evaluate", f"run={evaluated}", "dataset.source.mean=[0.5,0.5,0.5]")
    told = "mean must be a finite number for each of the 1 channels, not (0.5, 0.5, 0.5)"
    assert_refused(done, told, "dataset.source.mean=null finds it out")


def test_what_a_run_has_found_is_found_anew_where_that_is_typed(pets, tmp_path):
    def composed(name, *words, look=lambda config: OmegaConf.to_container(config, resolve=True)):
        return call(name, words, job=lambda config, folder: look(config)).value

    saved = composed(
        "search", *given(pets, tmp_path / "s"), "dataset.skip_corrupt=true", "dataset.check=true"
    )
    kept = {"mean": [0.1, 0.2, 0.3], "std": [1.0, 1.0, 1.0], "skipped": ["cat/04.png"], "check": False}
    saved["dataset"]["source"] |= kept
    (tmp_path / "s").mkdir()
    OmegaConf.save(OmegaConf.create(saved), tmp_path / "s" / "config.yaml")
    run = f"run='{tmp_path / 's'}'"
    anew = {
        None: (),
        f"dataset.root='{pets}'": (),
        "dataset.normalisation=imagenet": ("mean", "std"),
        "dataset.skip_corrupt=false": ("skipped",),
        "dataset.root=elsewhere": ("skipped",),
        "dataset.check=true": ("check",),
    }
    for word, keys in anew.items():
        source = composed("evaluate", run, *([word] if word else []))["dataset"]["source"]
        assert {key for key in kept if source[key] != kept[key]} == set(keys), word
    # A list of the caller's own moves with the pictures.
    saved["dataset"]["skip_corrupt"] = saved["dataset"]["source"]["skip_corrupt"] = False
    OmegaConf.save(OmegaConf.create(saved), tmp_path / "s" / "config.yaml")
    assert composed("evaluate", run, "dataset.root=elsewhere")["dataset"]["source"]["skipped"] == [
        "cat/04.png"
    ]
    for word, wanted in (("dataset.sizing=null", False), ("size=auto", True)):
        assert composed("evaluate", run, word, look=is_wanted) is wanted
    with pytest.raises(ConfigError, match=r"dataset\.sizing=auto: without effect beside .* say size=auto"):
        composed("evaluate", run, "dataset.sizing=auto", look=is_wanted)


def test_a_resumed_run_whose_picture_was_damaged_says_what_works(run, pets, tmp_path):
    searched = tmp_path / "search"
    assert run("search", *given(pets, searched), *SEARCH).status == 0
    stored = {file: file.read_bytes() for file in pets.glob("*/*.png")}
    for file, found in stored.items():
        file.write_bytes(found[:50])
    more = (f"resume={searched}", "trainer.max_epochs=2", "resume_schedule=restart")
    done = run("search", *more)
    assert_refused(
        done,
        "cannot be decoded: damaged",
        "skip_corrupt=true in a new run",
        "when the file has been replaced",
    )
    # The key of another data set than the command's own: no unknown one, and not taken either.
    done = run("search", *more, "dataset.skip_corrupt=true")
    assert_refused(done, "dataset.skip_corrupt=true: a resumed run keeps its settings; only hardware, ")
    for file, found in stored.items():
        file.write_bytes(found)
    done = run("search", *more)
    assert done.status == 0, done.err


def test_pictures_that_are_too_large_are_told_in_one_line_everywhere(run, pets, tmp_path, monkeypatch):
    # Of 9 x 12 pixels pillow warns, which would be an error here; of 15 x 15 it refuses.
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    warnings.simplefilter("error", Image.DecompressionBombWarning)
    trained, large = tmp_path / "trained", pets / "cat" / "large.png"
    words = ("genotype=DARTS_V2", "dataset.check=true")
    done = run("evaluate", *given(pets, trained), *words)
    assert done.status == 0, done.err
    Image.new("L", (15, 15)).save(large)
    told = "too large (225 pixels, and at most 200 are read; scale it down)"
    done = run("evaluate", *given(pets, tmp_path / "refused"), *words)
    assert_refused(done, f"1 of 25 files cannot be decoded: cat/large.png: {told}", "skip_corrupt")
    done = run("predict", f"model={trained}", f"input='{large}'", f"hydra.run.dir={tmp_path / 'one'}")
    assert_refused(done, told)
    done = run("predict", f"model={trained}", f"input='{pets}'", f"hydra.run.dir={tmp_path / 'all'}")
    assert (done.status, done.err) == (0, "") and told in done.out
    words = (f"run={trained}", "format=onnx", f"pictures='{large.parent}'", "images=20")
    done = run("export", *words, f"hydra.run.dir={tmp_path / 'exported'}")
    assert_refused(done, told)


def test_classes_that_have_changed_places_and_seen_test_pictures_are_told(run, pets, tmp_path):
    for place in pets.iterdir():
        for number, file in enumerate(sorted(place.iterdir())):
            # Files of both classes are called alike; those of one are longer.
            with Image.open(file) as image:
                image.resize((9, 12) if place.name == "cat" else (20, 20)).save(place / f"p{number:02}.png")
            file.unlink()
    searched, derived, trained = tmp_path / "search", tmp_path / "derived", tmp_path / "trained"
    assert run("search", *given(pets, searched), *SEARCH).status == 0
    assert run("derive", f"run={searched}", f"hydra.run.dir={derived}").status == 0
    again = ("trainer.max_epochs=1", "dataset.batch_size=4", f"hydra.run.dir={trained}")
    done = run("evaluate", f"run={derived}", *again)
    assert done.status == 0 and "its data have changed" not in done.out + done.err
    more = ("trainer.max_epochs=2", "resume_schedule=restart")
    # One file that was mended is no reason; two classes that have changed places are.
    first = pets / "cat" / "p00.png"
    stored = first.read_bytes()
    first.write_bytes((pets / "dog" / "p00.png").read_bytes())
    assert run("evaluate", f"resume={trained}", *more).status == 0
    first.write_bytes(stored)
    swap(pets)
    for name, folder in (("search", searched), ("evaluate", trained)):
        done = run(name, f"resume={folder}", "trainer.max_epochs=3", "resume_schedule=restart")
        assert_refused(done, "files.json: the run was started on other files", "most files of class cat")
    swap(pets)
    # With more files another test part is drawn, of which the search has seen some.
    for number in range(30):
        (pets / "cat" / f"a{number:02}.png").write_bytes(stored)
    done = run("evaluate", f"run={derived}", *again[:2], f"hydra.run.dir={tmp_path / 'other'}")
    assert done.status == 0 and "its data have changed since (files: 30 added)" in done.out + done.err
    assert "pictures of the test part were training pictures there" in done.out + done.err
    # Folders of earlier versions have no such file.
    (trained / "files.json").unlink()
    for place in pets.glob("*/a*.png"):
        place.unlink()
    swap(pets)
    assert run("evaluate", f"resume={trained}", "trainer.max_epochs=3", more[1]).status == 0


def swap(pets):
    for before, now in (("cat", "x"), ("dog", "cat"), ("x", "dog")):
        (pets / before).rename(pets / now)
