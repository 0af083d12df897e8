"""Pictures of a program: which kinds there are, what is found of them, and what is refused."""

import json
import re
import shlex

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import TensorDataset

import nas
from nas.data import given as module
from nas.domains.networks import source_of
from nas.running.declared import CONF
from tests.api.small import SIZES, STEPS, WORDS, Pictures, evaluate, search

PAIR = (Pictures(48), Pictures(24, seed=1))


class Changed(Pictures):
    """The pictures, as another kind."""

    def __init__(self, change, **options):
        super().__init__(**options)
        self.change = change

    def __getitem__(self, index):
        pixels, label = super().__getitem__(index)
        return self.change(pixels), label


KINDS = {
    "uint8": lambda pixels: pixels,
    "float": lambda pixels: pixels.float() / 255,
    "PIL": lambda pixels: Image.fromarray(pixels.permute(1, 2, 0).numpy()),
    "numpy, channels last": lambda pixels: pixels.permute(1, 2, 0).numpy(),
    "numpy fractions": lambda pixels: pixels.numpy() / 255,
}


@pytest.mark.parametrize("change", KINDS.values(), ids=list(KINDS))
def test_every_kind_of_picture_is_the_same_picture(change):
    data = nas.datasets.given(Changed(change), PAIR[1])
    first, label = data.pair.train[5]
    assert first.dtype == torch.uint8 and torch.equal(first, PAIR[0].pixels[5]) and label == 5 % 3
    assert data.notes["image_shape"] == [3, 8, 8] and data.notes["num_classes"] == 3
    assert data.notes["num_images"] == [48, 24]


def test_arrays_and_tensors_are_taken_whole():
    pixels, labels = PAIR[0].pixels, torch.tensor(PAIR[0].labels)
    for train in (
        (pixels, labels),
        (pixels.numpy(), labels.numpy()),
        (pixels.float() / 255, PAIR[0].labels and labels),
        TensorDataset(pixels, labels),
    ):
        data = nas.datasets.given(train, PAIR[1])
        assert torch.equal(torch.stack([data.pair.train[i][0] for i in range(48)]), pixels)
        assert data.pair.train.labels.tolist() == PAIR[0].labels
    grey = nas.datasets.given((pixels[:, 0], labels), (pixels[:6, 0], labels[:6]))
    assert grey.notes["image_shape"] == [1, 8, 8]


def test_mean_and_deviation_are_those_of_the_training_pictures():
    data = nas.datasets.given(*PAIR)
    pixels = PAIR[0].pixels.double() / 255
    assert data.notes["mean"] == pytest.approx(pixels.mean((0, 2, 3)).tolist(), abs=1e-4)
    assert data.notes["std"] == pytest.approx(pixels.std((0, 2, 3), correction=0).tolist(), abs=1e-4)
    assert nas.datasets.given(*PAIR, mean=[0.5] * 3).notes["mean"] == [0.5] * 3
    arrays = {"mean": np.full(3, 0.5, np.float32), "std": torch.full((3,), 0.25)}
    for given in (arrays, {"mean": arrays["mean"]}, {"std": arrays["std"]}):
        notes = nas.datasets.given(*PAIR, **given).notes
        assert all(notes[name] == values.tolist() for name, values in given.items())


def test_random_transforms_are_asked_each_time_and_labels_but_once():
    asked = []
    train = Changed(lambda pixels: asked.append(1) or pixels)
    train.targets = train.labels
    data = nas.datasets.given(train, PAIR[1])
    count = len(asked)
    data.pair.train[0], data.pair.train[0]
    assert len(asked) == count + 2
    # Whoever changes labels says so, and then `targets` are not the labels.
    train.target_transform = lambda label: 1 - label
    assert nas.datasets.given(train, PAIR[1]).pair.train.labels.tolist() == train.labels


def test_sides_are_padded_to_what_networks_can_take():
    data = nas.datasets.given(Pictures(shape=(1, 6, 9)), Pictures(12, shape=(1, 6, 9)))
    assert data.notes["image_shape"] == [1, 8, 12] and data.notes["padded_from"] == [6, 9]
    image, _ = data.pair.train[0]
    assert (
        torch.equal(image[:, 1:7, 1:10], Pictures(shape=(1, 6, 9)).pixels[0]) and int(image[:, 0].sum()) == 0
    )


@pytest.mark.parametrize(
    ("train", "options", "told"),
    [
        (
            Changed(lambda pixels: pixels.float()),
            {},
            "train: picture 0 runs from 0 to 25.*leave Normalize out",
        ),
        (Changed(lambda pixels: pixels.int()), {}, "train: picture 0 is torch.int32"),
        (Changed(lambda pixels: "a picture"), {}, "train: picture 0 is str"),
        (Pictures(shape=(3, 12, 8)), {}, r"test: pictures are \[3, 8, 8\].*those of train \[3, 12, 8\]"),
        ((torch.zeros(3, 3, 8, 8), torch.zeros(3)), {}, "labels are torch.float32"),
        ((torch.zeros(3, 3, 8, 8), torch.zeros(2).long()), {}, "3 pictures have 2 labels"),
        (Pictures(0), {}, "train: holds no picture"),
        (iter([]), {}, "train: must be a torch data set"),
        (PAIR[0], {"classes": ["one"]}, "1 names, but labels run up to 2"),
        (PAIR[0], {"classes": 3}, "classes=3: must be a list of names"),
        (PAIR[0], {"classes": "abc"}, "classes='abc': must be a list of names"),
        (PAIR[0], {"classes": ["a", "b", "a"]}, "a name stands for two classes"),
        (PAIR[0], {"mean": 0.5}, "mean=0.5: must be 3 numbers, one for each channel"),
        (PAIR[0], {"std": np.ones(2)}, r"std=\[1. 1.\]: must be 3 numbers"),
        (PAIR[0], {"mean": [0.5, 0.5, float("nan")]}, r"mean=\[0.5, 0.5, nan\]: must be 3 numbers"),
        (PAIR[0], {"image_siz": 8}, "image_siz=8: dataset=given has no such setting; the nearest known"),
        (PAIR[0], {"plain": Pictures(24)}, "plain: must hold the pictures of train"),
    ],
)
def test_what_cannot_be_used_is_refused_in_words(train, options, told):
    with pytest.raises(nas.ConfigError, match=told):
        nas.datasets.given(train, PAIR[1], **options)


class Raising(Pictures):
    """Pictures that fail in places where none fails by itself."""

    def __init__(self, **fails):
        super().__init__()
        self.fails = fails

    def __len__(self):
        if "length" in self.fails:
            raise OSError("the disk is gone")
        return super().__len__()

    @property
    def classes(self):
        if "classes" in self.fails:
            raise KeyError("names")
        return None

    def __getitem__(self, index):
        pixels, label = super().__getitem__(index)
        if "picture" in self.fails:
            # What has a gradient is no array.
            return pixels, torch.tensor(float(label), requires_grad=True)
        return pixels, label


@pytest.mark.parametrize(
    ("fails", "told"),
    [
        ("length", "given: the data cannot be read: OSError: the disk is gone"),
        ("classes", "given: the data cannot be read: KeyError: 'names'"),
        ("picture", "RuntimeError|labels"),
    ],
)
def test_data_that_fail_by_themselves_are_refused_in_words(fails, told):
    with pytest.raises(nas.ConfigError, match=told):
        nas.datasets.given(Raising(**{fails: True}), PAIR[1])


def test_pictures_are_read_in_no_mode_of_the_callers_and_change_none_of_its_random_numbers():
    class Flipping(Pictures):
        def __getitem__(self, index):
            pixels, label = super().__getitem__(index)
            return (pixels.flip(2) if torch.rand(()) < 0.5 else pixels), label

    arrays, flipping = (PAIR[0].pixels, torch.tensor(PAIR[0].labels)), Flipping()
    before = torch.get_rng_state()
    with torch.inference_mode(), torch.device("meta"):
        taken, asked = nas.datasets.given(arrays, PAIR[1]), nas.datasets.given(flipping, PAIR[1])
    assert torch.equal(torch.get_rng_state(), before)
    for data in (taken, asked):
        picture, _ = data.pair.train[0]
        assert picture.device.type == data.pair.train.labels.device.type == "cpu"
        assert not data.pair.train.labels.is_inference()
    assert not taken.pair.train[0][0].is_inference()


def test_a_picture_that_is_of_another_shape_ends_the_run_in_words():
    class Uneven(Pictures):
        def __getitem__(self, index):
            pixels, label = super().__getitem__(index)
            return (pixels if index < 40 else pixels[:, :4]), label

    with pytest.raises(nas.ConfigError, match=r"train: picture 40 is \[3, 4, 8\].*others are \[3, 8, 8\]"):
        search((Uneven(), PAIR[1]))


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """A stopped search on pictures of this program."""
    folder = tmp_path_factory.mktemp("given") / "run"
    return search(
        PAIR, epochs=2, method="drnas", more=["method.warmup_epochs=0"], folder=folder, time_limit=1e-4
    )


def test_from_a_search_to_a_model(searched, tmp_path):
    """What needs no picture works from the folder alone, in another process too."""
    result = nas.resume(searched.folder, PAIR, overrides=["time_limit=null"], verbose=False)
    assert result.status == "finished" and len(result.metrics) == 2
    cell = result.derive(samples=10, verbose=False)
    found = evaluate(cell)
    assert 0 <= found.accuracy <= 1 and found.data is result.data
    model = nas.load(found.folder).model
    assert model.image_shape == (3, 8, 8) and model.classes == ("0", "1", "2")
    images, logits = PAIR[1].pixels[:4], model(PAIR[1].pixels[:4])
    source = nas.datasets.given(*PAIR)
    mean, std = (torch.tensor(source.notes[name])[:, None, None] for name in ("mean", "std"))
    assert torch.allclose(logits, model.network((images / 255 - mean) / std))
    assert [one.index for one in model.predict(images)] == logits.argmax(1).tolist()


@pytest.mark.parametrize("shape", [(3, 3, 3), (3, 4, 4), (3, 1, 9), (1, 3, 3)])
def test_a_low_picture_of_pillow_keeps_its_colours(shape):
    pixels = Pictures(1, shape).pixels[0]
    found = module.as_uint8(Image.fromarray(pixels.permute(1, 2, 0).squeeze(2).numpy()), "picture")
    assert torch.equal(found, pixels)


def test_a_model_puts_black_around_pictures_as_the_training_did():
    pair = (Pictures(shape=(3, 6, 9)), Pictures(12, shape=(3, 6, 9), seed=1))
    found = evaluate("DARTS_V2", pair, more=SIZES)
    model, pixels = found.model, pair[1].pixels
    assert model.image_shape == (3, 8, 12) and model.description.inner == (6, 9)
    pictures = [Image.fromarray(one.permute(1, 2, 0).numpy()) for one in pixels]
    larger = [one.resize((23, 17), Image.NEAREST) for one in pictures]
    scaled = [torch.tensor(np.array(one.resize((9, 6), Image.BILINEAR))).permute(2, 0, 1) for one in larger]
    for given, within in ((pixels, pixels), (pictures, pixels), (larger, torch.stack(scaled))):
        expected = model(torch.nn.functional.pad(within, (1, 2, 1, 1))).softmax(1)
        said = torch.tensor([list(one.probabilities.values()) for one in model.predict(given)])
        assert torch.allclose(said, expected, atol=1e-6)
    right = sum(one.index == label for one, label in zip(model.predict(pixels), pair[1].labels, strict=True))
    assert right / 12 == pytest.approx(found.accuracy)


def test_a_shell_is_told_where_the_pictures_are(searched, run):
    log = (searched.folder / "search.log").read_text()
    again = log.partition("continue with: ")[2].splitlines()[0]
    assert again == f"nas.resume({str(searched.folder)!r}, data)"
    done = run("search", f"resume={json.dumps(str(searched.folder))}")
    assert done.status == 2 and done.err.count("\n") == 1, done.err
    assert "objects of a Python program" in done.err and "nas.resume" in done.err
    with pytest.raises(nas.ConfigError, match="objects of a Python program"):
        nas.resume(searched.folder, verbose=False)
    with pytest.raises(nas.ConfigError, match="image_shape declares"):
        nas.resume(searched.folder, (Pictures(shape=(3, 12, 8)), Pictures(shape=(3, 12, 8))), verbose=False)


def test_other_forms_of_data(tmp_path):
    assert nas.datasets.named("digits").source.image_shape == (1, 8, 8)
    for index in range(12):
        place = tmp_path / "pets" / ["cat", "dog"][index % 2]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((9, 9, 3), 20 * index, np.uint8)).save(place / f"{index}.png")
    data = nas.datasets.folder(tmp_path / "pets", image_size=8, augment={"flip": True}, split_ratio=0.6)
    assert data.classes == ("cat", "dog") and data.source.image_shape == (3, 8, 8)
    assert "dataset.split_ratio=0.6" in data.words and "dataset.augment={flip:true}" in data.words
    assert "cat" not in data._repr_html_() and "pets" in data._repr_html_()
    rows = [
        f"pets/{['cat', 'dog'][index % 2]}/{index}.png,{['purrs', 'barks'][index % 2]}" for index in range(12)
    ]
    (tmp_path / "pets.csv").write_text("\n".join(["file,label", *rows]))
    assert nas.datasets.csv(tmp_path / "pets.csv", image_size=8).classes == ("barks", "purrs")
    np.savez(tmp_path / "a.npz", images=PAIR[0].pixels.numpy(), labels=np.array(PAIR[0].labels))
    assert nas.datasets.arrays(tmp_path / "a.npz", test_share=0.5).source.num_classes == 3
    for part in ("train", "valid", "test"):
        (tmp_path / f"{part}.txt").write_text("one two three\n")
    assert nas.datasets.corpus(tmp_path).source.vocabulary_size == 4
    wrong = {
        "folder": lambda: nas.datasets.folder(tmp_path / "nowhere"),
        "setting": lambda: nas.datasets.folder(tmp_path, imagesize=8),
        "name": lambda: nas.datasets.named("cifar11"),
        "data": lambda: search(3),
    }
    told = {
        "folder": "no such file",
        "setting": "nearest known is image_size",
        "name": "digits",
        "data": "pair",
    }
    for name, call in wrong.items():
        with pytest.raises(nas.ConfigError, match=told[name]):
            call()


def test_few_pictures_need_no_setting():
    """The usual batch of 64 is larger than what there is; an argument says something else."""
    quiet = {"epochs": 1, "verbose": False}
    found = nas.run_search(PAIR, overrides=WORDS, **quiet)
    kept = (found.folder / "overrides.yaml").read_text()
    assert "dataset.batch_size=24" in kept
    trained = nas.run_evaluation(found, **quiet)
    assert "recipe.batch_size=48" in (trained.folder / "overrides.yaml").read_text()
    data = nas.datasets.given(*PAIR, batch_size=7)
    told = nas.run_evaluation("DARTS_V2", data, batch_size=12, overrides=[*SIZES, *STEPS], **quiet)
    assert "batch_size: 12\n" in (told.folder / "config.yaml").read_text()
    assert "dataset.batch_size" not in (told.folder / "overrides.yaml").read_text()


def test_evaluating_a_published_cell_on_given_pictures(run, tmp_path):
    found = evaluate("DARTS_V2", nas.datasets.given(*PAIR, classes=["a", "b", "c"]), more=SIZES)
    assert found.model.classes == ("a", "b", "c") and found.summary["params"] > 0
    assert STEPS[0] in (found.folder / "overrides.yaml").read_text()
    # Its folder is enough for a shell, which needs a file of its own.
    log = (found.folder / "evaluate.log").read_text()
    (line,) = re.findall(r"predict: +python -m nas\.predict (.*)$", log, re.MULTILINE)
    (exporting,) = re.findall(r"export: +python -m nas\.export (.*)$", log, re.MULTILINE)
    place = f"hydra.run.dir={tmp_path / 'e'}"
    done = run("export", *shlex.split(exporting), "format=safetensors", "images=1", place)
    assert done.status == 0 and (tmp_path / "e" / "model.safetensors").is_file(), done.err
    picture = tmp_path / "one.png"
    Image.fromarray(PAIR[1].pixels[0].permute(1, 2, 0).numpy()).save(picture)
    words = [one.replace('"<your picture>"', str(picture)) for one in shlex.split(line)]
    done = run("predict", *words, f"hydra.run.dir={tmp_path / 'p'}")
    assert done.status == 0 and found.model.predict(picture)[0].label in done.out, done.err


def test_a_source_is_known_from_its_folder_alone(searched):
    from nas.running.saved import read_config

    source = source_of(read_config(searched.folder / "config.yaml", "here"))
    assert isinstance(source, module.Given) and source.num_images == (48, 24)


def test_a_data_set_of_a_folder_of_configurations(tmp_path):
    """What a package or a folder of one's own brings is data as well, by the words of the command line."""
    (tmp_path / "dataset").mkdir()
    digits = (CONF / "dataset" / "digits.yaml").read_text().replace("name: digits", "name: mine")
    (tmp_path / "dataset" / "mine.yaml").write_text(digits)
    data = nas.Data("mine", ("dataset=mine", "recipe=digits", f"hydra.searchpath=[file://{tmp_path}]"))
    found = search(data)
    assert found.summary["dataset"] == "mine" and found.metrics
