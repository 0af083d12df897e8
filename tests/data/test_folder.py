"""Folders of image files: what comes out, and what is said when a folder is not as it must be."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from nas.data.folder import ImageFolder
from nas.errors import ConfigError


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
    with pytest.raises(ConfigError, match=r"train holds 2 class folders, but .*num_classes is 1000"):
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
    with pytest.raises(ConfigError, match=r"dataset\.source\.color_jitter"):
        ImageFolder("nowhere", color_jitter=jitter)
