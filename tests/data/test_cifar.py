"""Both layouts of CIFAR, told apart and checked file by file, with tiny files of the same format."""

import hashlib
import os
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision import datasets

from nas.data import binary, download
from nas.data.cifar import Cifar
from nas.errors import ConfigError


def write_binary(folder: Path, layout: binary.BinaryFiles, num_images: int) -> binary.BinaryFiles:
    """Writes files of `num_images` each, and returns the layout with their sizes and md5s."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)

    def write(file: binary.BinaryFile) -> binary.BinaryFile:
        pixels = rng.integers(0, 256, (num_images, 3072), dtype=np.uint8)
        labels = np.arange(num_images, dtype=np.uint8) % layout.num_classes
        coarse = [labels[:, None] // 5] * (layout.num_labels - 1)
        content = np.concatenate([*coarse, labels[:, None], pixels], axis=1).tobytes()
        (folder / file.name).write_bytes(content)
        return replace(file, num_images=num_images, md5=file.md5 and hashlib.md5(content).hexdigest())

    return replace(layout, train=tuple(map(write, layout.train)), test=tuple(map(write, layout.test)))


@pytest.fixture
def cifar10(tmp_path: Path) -> Cifar:
    files = write_binary(tmp_path / "cifar-10-batches-bin", binary.CIFAR10, num_images=20)
    return Cifar("cifar10", tmp_path, download=False, files=files)


@pytest.fixture
def cifar100(tmp_path: Path) -> Cifar:
    files = write_binary(tmp_path / "cifar-100-binary", binary.CIFAR100, num_images=100)
    return Cifar("cifar100", tmp_path, download=False, files=files)


def test_binary_records_become_images_and_labels_in_order(cifar10):
    train, test = cifar10.train(), cifar10.test()
    raw = np.fromfile(cifar10.root / "cifar-10-batches-bin" / "data_batch_2.bin", np.uint8).reshape(20, 3073)
    image_CHW, label = train[20 + 7]
    assert (len(train), len(test)) == (100, 20)
    assert label == raw[7, 0] == 7
    assert np.array_equal(image_CHW.numpy(), raw[7, 1:].reshape(3, 32, 32))


def test_root_may_be_the_folder_itself_under_any_name(cifar10, tmp_path):
    expected = cifar10.test().images_NCHW
    folder = tmp_path / "cifar-10-batches-bin"
    assert torch.equal(Cifar("cifar10", folder, False, cifar10.files).test().images_NCHW, expected)
    renamed = folder.rename(tmp_path / "images")
    assert torch.equal(Cifar("cifar10", renamed, False, cifar10.files).test().images_NCHW, expected)


def test_cifar100_uses_the_fine_label(cifar100):
    assert cifar100.train().labels.tolist() == list(range(100))


def test_a_missing_file_is_named(cifar10):
    (cifar10.root / "cifar-10-batches-bin" / "data_batch_4.bin").unlink()
    with pytest.raises(ConfigError, match=r"dataset\.root: data_batch_4\.bin is missing from .*unpack https"):
        cifar10.test()


def test_a_truncated_file_is_named_with_both_sizes(cifar10):
    path = cifar10.root / "cifar-10-batches-bin" / "data_batch_3.bin"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ConfigError, match=r"data_batch_3\.bin has 61459 bytes instead of 61460"):
        cifar10.train()


def test_one_altered_bit_is_found(cifar10):
    path = cifar10.root / "cifar-10-batches-bin" / "data_batch_1.bin"
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"data_batch_1\.bin was altered: its md5 is \w{32} instead"):
        cifar10.train()


@pytest.mark.parametrize("label, complaint", [(100, "the label 100"), (1, "0 to 2 images per class instead")])
def test_cifar100_has_no_md5_but_its_labels_are_checked(cifar100, label, complaint):
    path = cifar100.root / "cifar-100-binary" / "train.bin"
    content = bytearray(path.read_bytes())
    content[1] = label
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=complaint):
        cifar100.train()


def test_nothing_there_and_no_download_says_both_ways_out(tmp_path):
    with pytest.raises(ConfigError) as caught:
        Cifar("cifar100", tmp_path, download=False).train()
    message = str(caught.value)
    for part in ("dataset.root", "cifar-100-python", "cifar-100-binary", "dataset.download=true"):
        assert part in message
    assert str(tmp_path) in message


def test_a_name_that_is_no_cifar_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"dataset\.name: must be one of cifar10, cifar100, not 'cifar'"):
        Cifar("cifar", tmp_path)


@pytest.fixture
def torchvision_cifar10(tmp_path: Path) -> type[datasets.CIFAR10]:
    """torchvision's class with the md5s of two tiny files, and an address where nothing listens."""
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()

    def write(name: str, content: dict) -> list[str]:
        (folder / name).write_bytes(pickle.dumps(content))
        return [name, hashlib.md5((folder / name).read_bytes()).hexdigest()]

    def batch(seed: int) -> dict:
        pixels = np.random.default_rng(seed).integers(0, 256, (4, 3072), dtype=np.uint8)
        return {"data": pixels, "labels": [3, 1, 4, 1]}

    name, md5 = write("batches.meta", {"label_names": [str(label) for label in range(10)]})
    listed = {
        "url": "http://127.0.0.1:9/nothing.tar.gz",
        "train_list": [write("data_batch_1", batch(0))],
        "test_list": [write("test_batch", batch(1))],
        "meta": {"filename": name, "key": "label_names", "md5": md5},
    }
    return type("Tiny", (datasets.CIFAR10,), listed)


def test_torchvisions_layout_gives_the_same_form(torchvision_cifar10, tmp_path):
    content = pickle.loads((tmp_path / "cifar-10-batches-py" / "data_batch_1").read_bytes())
    for root in (tmp_path, tmp_path / "cifar-10-batches-py"):
        train = download.load(torchvision_cifar10, root, train=True, download=False, other="another")
        assert np.array_equal(train.images_NCHW.numpy(), content["data"].reshape(4, 3, 32, 32))
        assert train.labels.tolist() == [3, 1, 4, 1]


def test_a_damaged_download_is_named_when_it_cannot_be_mended(torchvision_cifar10, tmp_path):
    (tmp_path / "cifar-10-batches-py" / "test_batch").write_bytes(b"short")
    (tmp_path / "cifar-10-batches-py" / "batches.meta").unlink()
    with pytest.raises(ConfigError, match=r"test_batch was altered \(md5 .* batches\.meta is missing"):
        download.load(torchvision_cifar10, tmp_path, train=True, download=False, other="another")


def test_a_refused_download_is_the_users_to_solve(torchvision_cifar10, tmp_path):
    (tmp_path / "cifar-10-batches-py" / "test_batch").unlink()
    with pytest.raises(ConfigError, match=r"dataset\.root: .*the download failed \(.*refused"):
        download.load(torchvision_cifar10, tmp_path, train=True, download=True, other="another")


@pytest.mark.skipif("NAS_TEST_DATA" not in os.environ, reason="NAS_TEST_DATA names no folder of real data")
def test_the_real_files_have_the_documented_statistics():
    source = Cifar("cifar10", os.environ["NAS_TEST_DATA"], download=False)
    train = source.train()
    assert train.labels.bincount().tolist() == [5000] * 10
    pixels_CN = train.images_NCHW.transpose(0, 1).reshape(3, -1)
    counts_CV = torch.stack([pixels.bincount(minlength=256) for pixels in pixels_CN]).double()
    counts_CV /= pixels_CN.shape[1]
    values_V = torch.arange(256, dtype=torch.float64) / 255
    mean_C = counts_CV @ values_V
    std_C = (counts_CV @ values_V**2 - mean_C**2).sqrt()
    assert mean_C.tolist() == pytest.approx(source.mean, abs=1e-4)
    assert std_C.tolist() == pytest.approx(source.std, abs=1e-4)


@pytest.mark.parametrize("there", [False, True])
def test_a_download_that_fails_leaves_no_folder(tmp_path, monkeypatch, there):
    def unreachable(url, root, **options):
        Path(root).mkdir(parents=True, exist_ok=True)
        raise OSError("no route to host")

    monkeypatch.setattr("torchvision.datasets.cifar.download_and_extract_archive", unreachable)
    root = tmp_path / "data/images"
    if there:
        root.mkdir(parents=True)
    with pytest.raises(ConfigError, match=r"the download failed \(no route to host\)"):
        Cifar("cifar10", root, download=True).train()
    assert root.exists() == (tmp_path / "data").exists() == there
