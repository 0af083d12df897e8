"""Folders of image files: what comes out, and what is said when a folder is not as it must be."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from nas.data.folder import ImageFolder
from nas.errors import ConfigError
from nas.reading.pictures import PLAIN
from tests.shared import shared


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two classes: one colour image of every size and one grey image each, in train and in val."""
    rng = np.random.default_rng(0)
    for part in ("train", "val"):
        for name in ("cat", "dog"):
            folder = tmp_path / part / name
            folder.mkdir(parents=True)
            Image.fromarray(rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)).save(folder / "a.png")
            Image.fromarray(rng.integers(0, 256, (41, 17), dtype=np.uint8)).save(folder / "b.png")
    return tmp_path


def test_every_image_comes_out_square_rgb_and_uint8(root):
    source = ImageFolder(root, image_size=16, num_classes=2)
    for images in (source.train(), source.test()):
        assert images.labels.tolist() == [0, 0, 1, 1]
        for image_CHW, label in images:
            assert image_CHW.shape == source.image_shape == (3, 16, 16)
            assert image_CHW.dtype == torch.uint8 and isinstance(label, int)


def test_only_augmented_training_images_are_drawn(root):
    source = ImageFolder(root, image_size=16, num_classes=2, color_jitter=None)
    plain, augmented = source.train(augmented=False), source.train()
    assert torch.equal(plain[0][0], plain[0][0])
    assert len({augmented[0][0].numpy().tobytes() for _ in range(5)}) > 1


def test_the_test_image_is_the_centre_at_256_over_224(root):
    source = ImageFolder(root, image_size=14, num_classes=2)
    pixels = np.zeros((32, 64, 3), np.uint8)
    pixels[:, 16:48] = 200
    Image.fromarray(pixels).save(root / "val" / "cat" / "a.png")
    image_CHW, _ = source.test()[0]
    assert (image_CHW == 200).all()


def test_colours_are_jittered_unless_switched_off(root):
    Image.new("RGB", (30, 30), (90, 120, 150)).save(root / "train" / "cat" / "a.png")
    jittered = ImageFolder(root, 16, 2).train()
    plain = ImageFolder(root, 16, 2, color_jitter=None).train()
    assert len({tuple(jittered[0][0][:, 0, 0].tolist()) for _ in range(5)}) > 1
    assert {tuple(plain[0][0][:, 0, 0].tolist()) for _ in range(5)} == {(90, 120, 150)}


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"dataset\.root: there is no folder .*train"):
        ImageFolder(tmp_path).train()


def test_another_number_of_classes_is_refused(root):
    with pytest.raises(
        ConfigError, match=r"train holds 2 class folders \(cat, dog\), but .*num_classes is 1000"
    ):
        ImageFolder(root).train()


def test_different_classes_are_refused_since_their_labels_would_shift(root):
    (root / "val" / "dog").rename(root / "val" / "eel")
    with pytest.raises(ConfigError, match="only one of them has dog, eel"):
        ImageFolder(root, 16, 2).train()


def test_an_empty_class_is_named(root):
    for path in (root / "train" / "dog").iterdir():
        path.unlink()
    with pytest.raises(ConfigError, match=r"dataset\.root: .*dog"):
        ImageFolder(root, 16, 2).train()


@pytest.mark.parametrize("jitter", [(0.4, 0.4, 0.4), (0.4, 0.4, 0.4, 0.6), (-0.1, 0, 0, 0)])
def test_a_jitter_out_of_range_is_refused(jitter):
    with pytest.raises(ConfigError, match=r"dataset\.augment\.jitter"):
        ImageFolder("nowhere", color_jitter=jitter)


def save(path: Path, size: tuple[int, int] = (30, 20)) -> None:
    """Writes random pixels."""
    pixels = np.random.default_rng(1).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def test_pictures_are_as_they_are_stored_as_in_the_papers_code(root):
    exif = Image.Exif()
    exif[0x0112] = 3
    pixels = np.zeros((16, 16, 3), np.uint8)
    pixels[:8] = 255
    Image.fromarray(pixels).save(root / "val/cat/a.png", exif=exif)
    source = ImageFolder(root, 16, 2)
    assert source.decoding == PLAIN and source.test()[0][0][0, 0, 8] == 255


def test_every_file_can_be_looked_at_before_anything_runs(root):
    assert ImageFolder(root, 16, 2, check=True).settled() == {"check": False}
    assert ImageFolder(root, 16, 2).settled() == {}
    for name in ("train/dog/a.png", "val/cat/b.png"):
        (root / name).write_bytes((root / name).read_bytes()[:60])
    with pytest.raises(
        ConfigError, match=r"2 of 8 files cannot be decoded: train/dog/a\.png: .*val/cat/b\.png"
    ):
        ImageFolder(root, 16, 2, check=True).train()
    assert len(ImageFolder(root, 16, 2).train()) == 4


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (300, 2)])
def test_tiny_and_narrow_pictures_are_enlarged(root, size):
    save(root / "train" / "cat" / "a.png", size)
    source = ImageFolder(root, image_size=16, num_classes=2)
    for images in (source.train(), source.train(augmented=False)):
        assert images[0][0].shape == (3, 16, 16)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_a_truncated_file_is_named(root, share):
    path = root / "train" / "cat" / "a.jpg"
    save(path, (60, 60))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    images = ImageFolder(root, image_size=16, num_classes=2).train()
    words = rf"dataset\.root: {path} cannot be decoded: (no image|damaged).*dataset\.check=true"
    with pytest.raises(ConfigError, match=words):
        images[0]


def test_names_are_relative_and_in_the_order_of_labels(root):
    images = ImageFolder(root, 16, 2).train()
    assert images.names == [
        f"train/{label}/{file}" for label in ("cat", "dog") for file in ("a.png", "b.png")
    ]


def test_imagenets_own_pictures_decode_and_keep_their_colours(tmp_path):
    """Full-size originals of odd shapes, some grey: the shorter side to 256, then the centre, as DARTS."""
    folder = shared("data/imagenet-originals")
    files = sorted(folder.glob("*.JPEG"))[:12]
    for part in ("train", "val"):
        for file in files:
            label = tmp_path / part / file.name.split("_")[0]
            label.mkdir(parents=True)
            (label / file.name).symlink_to(file)
    source = ImageFolder(tmp_path, image_size=224, num_classes=12)
    train, test = source.train(), source.test()
    for index, file in enumerate(files):
        assert train[index][0].shape == (3, 224, 224)
        with Image.open(file) as original:
            width, height = original.size
            short = min(width, height)
            image = original.convert("RGB").resize(
                (256 * width // short, 256 * height // short), Image.Resampling.BILINEAR
            )
        left, top = (round((side - 224) / 2) for side in image.size)
        expected = np.asarray(image.crop((left, top, left + 224, top + 224)))
        assert np.array_equal(test[index][0].permute(1, 2, 0).numpy(), expected)


def test_hidden_folders_and_links_to_nowhere_are_no_classes_and_no_pictures(root, caplog):
    for part in ("train", "val"):
        (root / part / ".ipynb_checkpoints").mkdir()
        (root / part / "dog/gone.png").symlink_to(root / "nowhere")
    (root / "train/cat/.ipynb_checkpoints").mkdir()
    (root / "train/cat/a.png").rename(root / "train/cat/.ipynb_checkpoints/a-checkpoint.png")
    source = ImageFolder(root, 16, 2)
    for _ in range(2):
        assert source.train().names == ["train/cat/b.png", "train/dog/a.png", "train/dog/b.png"]
    assert source.classes == ("cat", "dog")
    [said] = [one.getMessage() for one in caplog.records]
    assert "3 entries below" in said and "cat/.ipynb_checkpoints" in said and "dog/gone.png" in said


def test_mirroring_and_parts_are_off_by_one_word(root):
    plain = ImageFolder(root, 16, 2, color_jitter=None, flip=False, crop=None)
    for index in range(4):
        assert torch.equal(plain.train()[index][0], plain.train(augmented=False)[index][0])
    mirrored = ImageFolder(root, 16, 2, color_jitter=None, crop=None).train()
    assert len({mirrored[0][0].numpy().tobytes() for _ in range(12)}) == 2
    with pytest.raises(ConfigError, match=r"dataset\.augment\.crop"):
        ImageFolder(root, 16, 2, crop=(0.0, 1.0))
