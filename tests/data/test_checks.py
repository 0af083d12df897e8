"""What a source declares against what it holds: one message that names class, number and what is allowed."""

import logging
import time
from types import SimpleNamespace

import pytest
import torch
from PIL import Image

from nas.data.checks import check_images, check_parts, read_images, read_tokens
from nas.data.declared import check_source
from nas.data.digits import Digits
from nas.data.folder import ImageFolder
from nas.data.sources import TensorImages
from nas.errors import ConfigError


def source(**changed):
    """Declares two classes of [1, 4, 6]."""
    declared = {
        "name": "own",
        "num_classes": 2,
        "image_shape": (1, 4, 6),
        "mean": (0.5,),
        "std": (0.2,),
        "train": None,
        "test": None,
    }
    found = SimpleNamespace(**(declared | changed))
    for name in [name for name, value in changed.items() if value is ...]:
        delattr(found, name)
    return found


def arrays(shape=(1, 4, 6), labels=(0, 1, 0, 1)):
    return TensorImages(torch.zeros(len(labels), *shape, dtype=torch.uint8), torch.tensor(labels))


class Files:
    """Images that are fetched one by one."""

    def __init__(self, image, labels, count=None, come=None):
        self.image = image
        self.labels = labels
        self.count = len(labels) if count is None else count
        self.come = labels if come is None else come

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        return self.image(index) if callable(self.image) else self.image, int(self.come[index])


GOOD = torch.zeros(1, 4, 6, dtype=torch.uint8)
LABELS = torch.tensor([0, 1] * 8)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"mean": ...}, "lacks mean"),
        ({"train": ...}, "lacks train"),
        ({"image_shape": ...}, "lacks image_shape"),
        ({"num_classes": 0}, "num_classes must be a whole number above 0, not 0"),
        ({"num_classes": 2.0}, "num_classes must be a whole number above 0, not 2.0"),
        ({"num_classes": True}, "num_classes .* not True"),
        ({"image_shape": (0, 4, 6), "mean": (), "std": ()}, r"image_shape must be three .* not \(0, 4, 6\)"),
        ({"image_shape": (4, 6)}, r"image_shape must be three .* not \(4, 6\)"),
        ({"image_shape": 28}, "image_shape must be three .* not 28"),
        ({"mean": (0.5, 0.5)}, "mean must be a finite number for each of the 1 channels"),
        ({"mean": 0.5}, "mean must be a finite number for each of the 1 channels"),
        ({"std": (float("nan"),)}, "std must be a finite number for each of the 1 channels"),
        ({"std": (0.0,)}, r"std must be above 0 in every channel, not \[0.0\]"),
        ({"num_images": (10,)}, r"num_images must be whole numbers above 0 \(train, test\) or None"),
        ({"name": None}, "name must be a text, not None"),
        ({"vocabulary_size": 0, "valid": None}, "vocabulary_size must be a whole number above 0, not 0"),
        ({"vocabulary_size": 5, "valid": ...}, "lacks valid"),
    ],
)
def test_declared_numbers_that_cannot_be(changed, words):
    with pytest.raises(ConfigError, match=rf"^dataset\.source=types\.SimpleNamespace: .*{words}"):
        check_source(source(**changed))


def test_sound_declarations():
    for one in (source(), source(num_images=(10, 5)), source(image_shape=[1, 4, 6]), Digits()):
        check_source(one)


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (arrays((1, 6, 4)), r"training images are \[1, 6, 4\] .* image_shape declares \[1, 4, 6\]"),
        (arrays((3, 4, 6)), r"training images are \[3, 4, 6\]"),
        (arrays(labels=(0, 1, 2, 1)), "training images run from 0 to 2, but num_classes=2 allows 0 to 1"),
        (arrays(labels=(0, 1, -1, 1)), "run from -1 to 1"),
        (arrays(labels=(1, 1, 1, 1)), "no training image is of class 0"),
        (Files(GOOD, LABELS.tolist()), "train.. must have labels, an int64 tensor .* not <class 'list'>"),
        (Files(GOOD, LABELS.float()), r"not torch.float32 \[16\]"),
        (Files(GOOD, LABELS[:, None]), r"not torch.int64 \[16, 1\]"),
        (Files(GOOD, LABELS[:0]), "there are no training images"),
        (Files(GOOD, LABELS, count=15), "15 training images have 16 labels"),
        (Files(GOOD.float(), LABELS), "image 0 of the training images is torch.float32; pixels must be"),
        (Files(GOOD.numpy(), LABELS), "image 0 of the training images is uint8; pixels must be torch.uint8"),
        (Files(GOOD[:, :2], LABELS), r"image 0 of the training images is \[1, 2, 6\]"),
        (
            Files(lambda index: GOOD if index < 15 else GOOD[:, :2], LABELS),
            r"image 15 of the training images is \[1, 2, 6\]",
        ),
        (Files(GOOD, LABELS, come=1 - LABELS), r"image 0 .* comes with label 1, but labels\[0\] is 0"),
        (Files(lambda index: 1 / 0, LABELS), "image 0 .* cannot be fetched .* ZeroDivisionError"),
    ],
)  # fmt: skip
def test_images_that_are_not_what_was_declared(images, words):
    with pytest.raises(ConfigError, match=words):
        check_images(source(), images, "train")


def test_the_declared_number_of_images_is_compared():
    with pytest.raises(ConfigError, match="num_images declares 5 training images, but there are 4"):
        check_images(source(num_images=(5, 4)), arrays(), "train")
    check_images(source(num_images=(5, 4)), arrays(), "test")


def test_labels_that_are_no_whole_numbers_are_not_rounded():
    with pytest.raises(ConfigError, match=r"not torch\.float64"):
        TensorImages(torch.zeros(2, 1, 4, 6, dtype=torch.uint8), torch.tensor([0.4, 0.6]).double())


def test_a_class_without_a_test_image_is_said(caplog):
    with caplog.at_level(logging.WARNING):
        check_images(source(), arrays(labels=(1, 1)), "test")
    assert [record.getMessage() for record in caplog.records] == ["warning: no test image is of class 0"]


def test_looking_at_images_draws_nothing():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    check_images(
        source(), Files(lambda index: GOOD + torch.randint(9, (1,)).to(torch.uint8), LABELS), "train"
    )
    assert torch.equal(torch.get_rng_state(), before)


def test_a_source_that_breaks_is_named():
    def broken(augmented):
        raise KeyError("images")

    with pytest.raises(ConfigError, match=r"train\(\) failed: KeyError: 'images'"):
        read_images(source(train=broken))


def test_a_damaged_file_is_named(tmp_path):
    for part in ("train", "val"):
        for label in ("a", "b"):
            (tmp_path / part / label).mkdir(parents=True)
            Image.new("RGB", (9, 9)).save(tmp_path / part / label / "1.png")
    (tmp_path / "val/b/1.png").write_bytes(b"")
    folder = ImageFolder(tmp_path, image_size=8, num_classes=2)
    read_images(folder)
    with pytest.raises(ConfigError, match=r"val.b.1\.png cannot be decoded"):
        read_images(folder, "test")


def test_parts_that_lost_a_class(caplog):
    labels_N = torch.tensor([0, 0, 0, 0, 1])
    parts = {"weight": torch.tensor([0, 4]), "architecture": torch.tensor([1, 2]), "valid": torch.tensor([])}
    words = "the architecture part has none of the 1 images of class 1, too few for a share in every part"
    with pytest.raises(ConfigError, match=f"dataset.split=stratified: {words}; raise dataset.fraction=0.5"):
        check_parts(labels_N, parts, 2, True, "dataset.fraction=0.5")
    with caplog.at_level(logging.WARNING):
        check_parts(labels_N, parts, 2, False, "dataset.fraction=0.5")
    (said,) = [record.getMessage() for record in caplog.records]
    assert said == "warning: the architecture part has no image of class 1 (dataset.fraction=0.5)"


@pytest.mark.parametrize(
    ("tokens", "words"),
    [
        (
            torch.tensor([0, 1, 5]),
            r"tokens of valid\(\) run from 0 to 5, but vocabulary_size=5 allows 0 to 4",
        ),
        (torch.tensor([0, -1]), "run from -1 to 0"),
        (torch.tensor([0.0, 1.0]), r"must return tokens, an int64 tensor \[N\], not torch.float32 \[2\]"),
        (torch.tensor([[0, 1]]), r"not torch.int64 \[1, 2\]"),
        ([0, 1], "not <class 'list'>"),
        (torch.tensor([], dtype=torch.int64), r"valid\(\) returns no token"),
        (torch.tensor([0, 1]), "num_tokens declares 3 tokens of valid, but there are 2"),
    ],
)
def test_streams_that_are_not_what_was_declared(tokens, words):
    text = SimpleNamespace(vocabulary_size=5, num_tokens=(9, 3, 3), valid=lambda: tokens)
    with pytest.raises(ConfigError, match=words):
        read_tokens(text, "valid")


def test_the_check_of_cifar_costs_nothing_to_speak_of():
    labels_N = torch.arange(50_000) % 10
    images = TensorImages(torch.zeros(50_000, 3, 32, 32, dtype=torch.uint8), labels_N)
    cifar = source(num_classes=10, image_shape=(3, 32, 32))
    began = time.perf_counter()
    check_images(cifar, images, "train")
    # Three milliseconds on an idle core; reading the files takes a second.
    assert time.perf_counter() - began < 1
