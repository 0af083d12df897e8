"""ImageNet-16-120 from tiny files of the same format: which images are kept, and what is not unpickled."""

import hashlib
import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from nas.data.imagenet16 import OFFICIAL, ImageNet16, PickledFiles, unpickle
from nas.errors import ConfigError

LABELS = [1, 120, 121, 1000, 7]  # three of five are of the first 120 classes


def batch(seed, labels=LABELS):
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (len(labels), 3 * 16 * 16), dtype=np.uint8)
    return {"data": pixels, "labels": labels, "mean": rng.random(3 * 16 * 16)}


def written(folder: Path, train, test, protocol=2) -> PickledFiles:
    """Writes the batches and returns the list of files with their md5s."""
    folder.mkdir(exist_ok=True)

    def write(name, content):
        (folder / name).write_bytes(pickle.dumps(content, protocol))
        return name, hashlib.md5((folder / name).read_bytes()).hexdigest()

    return PickledFiles(
        train=tuple(write(f"train_data_batch_{i}", one) for i, one in enumerate(train, start=1)),
        test=(write("val_data", test),),
        num_train=3 * len(train),
        num_test=3,
    )


@pytest.fixture
def source(tmp_path):
    files = written(tmp_path / "ImageNet16", [batch(0), batch(1)], batch(2))
    return ImageNet16(tmp_path, files)


@pytest.mark.parametrize("protocol", [0, 2, 3, 4])
def test_images_of_the_first_120_classes_are_kept_in_order(tmp_path, protocol):
    source = ImageNet16(tmp_path, written(tmp_path, [batch(0), batch(1)], batch(2), protocol))
    train, test = source.train(), source.test()
    assert train.labels.tolist() == [0, 119, 6] * 2
    assert (len(train), len(test)) == (6, 3)
    expected = batch(1)["data"][4].reshape(3, 16, 16)
    assert np.array_equal(train[5][0].numpy(), expected)


def test_labels_may_be_numpys_numbers(tmp_path):
    content = batch(0, [np.int64(label) for label in LABELS])
    source = ImageNet16(tmp_path, written(tmp_path, [batch(0)], content))
    assert source.test().labels.tolist() == [0, 119, 6]


def test_root_may_be_the_folder_itself(source, tmp_path):
    same = ImageNet16(tmp_path / "ImageNet16", source.files)
    assert same.test().images_NCHW.equal(source.test().images_NCHW)


def test_the_official_list_is_complete():
    names = [name for name, _ in OFFICIAL.train + OFFICIAL.test]
    assert names == [f"train_data_batch_{i}" for i in range(1, 11)] + ["val_data"]
    assert len({md5 for _, md5 in OFFICIAL.train + OFFICIAL.test}) == 11


def test_missing_files_are_named_with_a_way_out(source, tmp_path):
    (tmp_path / "ImageNet16" / "train_data_batch_2").unlink()
    with pytest.raises(ConfigError, match=r"dataset\.root: train_data_batch_2 missing from .*image-net\.org"):
        source.test()


def test_one_altered_byte_is_found_before_anything_is_unpickled(source, tmp_path):
    path = tmp_path / "ImageNet16" / "val_data"
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    with pytest.raises(ConfigError, match=r"val_data was altered: its md5 is \w{32} instead of"):
        source.test()


class Shell:
    """What an attacker would pickle."""

    def __reduce__(self):
        return os.system, ("touch attacked",)


@pytest.mark.parametrize(
    "content, complaint",
    [
        (pickle.dumps(Shell()), r"asks for (posix|nt|os)\.system"),
        (pickle.dumps(np.array([Shell(), Shell()])), r"asks for (posix|nt|os)\.system|not of numbers"),
        (pickle.dumps(np.array([{}])), "holds an array of type 'O8', not of numbers"),
        (pickle.dumps(np.random.default_rng(0)), r"asks for numpy\.random"),
        (b"c_codecs\nencode\n(Vab\nVzip\ntR.", "holds bytes in the encoding 'zip'"),
        (pickle.dumps(batch(0))[:-40], "cannot be unpickled"),
        (b"", "cannot be unpickled"),
    ],
)
def test_nothing_but_arrays_and_containers_is_unpickled(content, complaint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=complaint):
        unpickle(content, tmp_path / "val_data")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "content",
    [
        [1, 2],
        {"data": np.zeros((1, 768)), "labels": [1]},
        {"data": np.zeros((1, 3072), np.uint8), "labels": [1]},
        {"data": np.zeros((2, 768), np.uint8), "labels": [1]},
        {"data": np.zeros((1, 768), np.uint8), "labels": ["1"]},
    ],
)
def test_a_pickle_of_something_else_is_refused(content, tmp_path):
    source = ImageNet16(tmp_path, written(tmp_path, [batch(0)], content))
    with pytest.raises(ConfigError, match=r"val_data holds no uint8 'data' \[N, 768\]"):
        source.test()


def test_files_with_too_few_images_of_these_classes_are_refused(tmp_path):
    files = written(tmp_path, [batch(0), batch(1, [500, 1])], batch(2))
    with pytest.raises(ConfigError, match="hold 4 images of the first 120 classes instead of 6"):
        ImageNet16(tmp_path, files).train()


@pytest.mark.skipif("NAS_TEST_IMAGENET16" not in os.environ, reason="NAS_TEST_IMAGENET16 names no real data")
def test_the_real_files_have_the_documented_numbers():
    source = ImageNet16(os.environ["NAS_TEST_IMAGENET16"])
    assert len(source.train()) == 151_700
    assert source.test().labels.bincount().tolist() == [50] * 120
