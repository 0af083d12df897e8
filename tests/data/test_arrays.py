"""Images of one's own in an .npz file: what is read, what is refused, and that nothing is unpickled."""

import pickle
import zipfile

import numpy as np
import pytest
import torch

from nas.data.arrays import Arrays
from nas.data.checks import check_images
from nas.data.declared import check_source
from nas.data.npz import as_pixels
from nas.errors import ConfigError

RNG = np.random.default_rng(0)


def pixels(*shape):
    return RNG.integers(0, 256, shape, dtype=np.uint8)


def save(folder, **arrays):
    path = folder / "own data.npz"
    np.savez_compressed(path, **arrays)
    return path


def test_both_parts_as_they_are(tmp_path):
    given = {"images": pixels(12, 3, 8, 12), "test_images": pixels(6, 3, 8, 12)}
    labels = {"labels": np.arange(12) % 3, "test_labels": np.arange(6) % 3}
    source = Arrays(save(tmp_path, **given, **labels))
    check_source(source)
    assert source.image_shape == (3, 8, 12) and source.classes == ("0", "1", "2")
    for part, images, found in (("train", "images", source.train()), ("test", "test_images", source.test())):
        check_images(source, found, part)
        assert np.array_equal(found.images_NCHW.numpy(), given[images])
    channels = given["images"].transpose(1, 0, 2, 3).reshape(3, -1) / 255
    assert source.mean == pytest.approx(channels.mean(1), abs=1e-4)
    assert source.std == pytest.approx(channels.std(1), abs=1e-4)


def test_grey_images_of_odd_sides_are_padded_or_resized(tmp_path):
    images = pixels(10, 7, 9)
    path = save(tmp_path, images=images, labels=np.arange(10) % 2)
    padded = Arrays(path, test_share=0.4)
    assert padded.image_shape == (1, 8, 12) and (len(padded.train()), len(padded.test())) == (6, 4)
    inner = torch.cat([padded.train().images_NCHW, padded.test().images_NCHW])[:, 0, :7, 1:10]
    assert {one.numpy().tobytes() for one in inner} == {one.tobytes() for one in images}
    assert padded.train().images_NCHW[:, :, 7:].sum() == 0
    resized = Arrays(path, fit="resize", multiple=32)
    assert resized.image_shape == (1, 32, 32) and resized.train().images_NCHW.dtype == torch.uint8
    assert resized.train().images_NCHW[0].float().std() > 0


@pytest.mark.parametrize("labels", [np.array([[3], [7], [3], [7]]), np.array(["cat", "dog", "cat", "dog"])])
def test_labels_are_the_different_values(labels, tmp_path):
    path = save(
        tmp_path, images=pixels(4, 4, 4), labels=labels, test_images=pixels(1, 4, 4), test_labels=labels[1:2]
    )
    source = Arrays(path)
    assert source.train().labels.tolist() == [0, 1, 0, 1] and source.test().labels.tolist() == [1]
    assert source.classes == tuple(str(one) for one in labels.flatten()[:2])


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        (np.array([0.0, 0.5, 1.0], np.float64), [0, 128, 255]),
        (np.array([0.0, 16.4, 255.0], np.float32), [0, 16, 255]),
        (np.array([0, 16, 200], np.int32), [0, 16, 200]),
        (np.array([False, True, True]), [0, 255, 255]),
    ],
)
def test_numbers_of_other_types_become_pixels(images, expected, tmp_path):
    images = np.broadcast_to(images[:, None, None], (3, 4, 4))
    path = save(tmp_path, images=images, labels=[0, 1, 2], test_images=images, test_labels=[0, 1, 2])
    assert Arrays(path).train().images_NCHW[:, 0, 0, 0].tolist() == expected


def test_channels_may_stand_last(tmp_path):
    images = pixels(6, 8, 4, 3)
    path = save(tmp_path, images=images, labels=np.arange(6) % 2)
    with pytest.raises(ConfigError, match=r"\[6, 8, 4, 3\], which looks like .*channels=last"):
        Arrays(path).train()
    assert Arrays(path, channels="last").image_shape == (3, 8, 4)
    assert Arrays(path, channels="first").image_shape == (8, 4, 4)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"x": [1]}, "lacks images, labels; it holds x"),
        ({"images": pixels(2, 4, 4), "labels": [0, 1], "test_labels": [0]}, "lacks test_images"),
        ({"images": pixels(2, 4), "labels": [0, 1]}, r"images is \[2, 4\]; it must be"),
        ({"images": pixels(0, 4, 4).astype(float), "labels": []}, r"images is \[0, 4, 4\]"),
        ({"images": pixels(2, 4, 4), "labels": [0, 1, 1]}, "2 images, but labels 3 labels"),
        ({"images": pixels(2, 4, 4), "labels": [0.5, 1]}, "labels is float64"),
        ({"images": np.full((2, 4, 4), np.nan), "labels": [0, 1]},
         r"images holds .*: 32 NaN, the first at \[0, 0, 0\]"),
        ({"images": np.full((2, 4, 4), 1 + 2j), "labels": [0, 1]},
         "images are complex128; they must be numbers"),
        ({"images": pixels(2, 4, 4), "labels": [0, 1], "test_images": pixels(1, 4, 4), "test_labels": [5]},
         "test_labels has 5, which labels has not"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_in_words(arrays, words, tmp_path):
    with pytest.raises(ConfigError, match=rf"dataset\.file=.*{words}"):
        Arrays(save(tmp_path, **arrays)).train()


class Trap:
    """Writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_nothing_is_unpickled(tmp_path):
    trap, sprung = Trap(tmp_path / "sprung"), tmp_path / "sprung"
    objects = np.empty(2, object)
    objects[:] = [trap, trap]
    inside = save(tmp_path, images=pixels(2, 4, 4), labels=objects)
    bare = tmp_path / "bare.npz"
    bare.write_bytes(pickle.dumps(trap))
    hidden = tmp_path / "hidden.npz"
    with zipfile.ZipFile(hidden, "w") as archive:
        for name in ("images", "labels.npy"):
            archive.writestr(name, pickle.dumps(trap))
    for path, words in (
        (inside, "holds pickled objects"),
        (bare, "no .npz archive"),
        (hidden, "dataset.file"),
    ):
        with pytest.raises(ConfigError, match=words):
            Arrays(path).train()
    assert not sprung.exists()


def test_damaged_and_missing_files_are_refused(tmp_path):
    path = save(tmp_path, images=pixels(40, 8, 8), labels=np.arange(40) % 2)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"dataset\.file=.* cannot be read"):
        Arrays(path).train()
    for wrong, words in ((tmp_path / "no.npz", "no such file"), (tmp_path, "a folder")):
        with pytest.raises(ConfigError, match=words):
            Arrays(wrong).train()
    with pytest.raises(ConfigError, match=r"dataset\.file=null: name the \.npz file"):
        Arrays(None)
    with pytest.raises(ConfigError, match=r"dataset\.source\.fit=cut: unknown; known are pad, resize"):
        Arrays(path, fit="cut")


def test_one_class_alone_is_said(tmp_path, caplog):
    source = Arrays(save(tmp_path, images=pixels(10, 8, 8), labels=np.full(10, "cat")))
    assert source.num_classes == 1 and "there is one class alone (cat)" in caplog.text


def test_pixels_that_are_no_numbers_are_told_from_pixels_of_another_range():
    with pytest.raises(ConfigError, match="images are not all finite numbers"):
        as_pixels(np.array([0.5, np.nan]), True, "images")
    with pytest.raises(ConfigError, match="images run from 0 to 2"):
        as_pixels(np.array([0.0, 2.0]), True, "images")
