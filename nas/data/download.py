"""CIFAR in torchvision's layout: read where it is, downloaded where it is not."""

import hashlib
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path

import torch
from torchvision.datasets import CIFAR10

from nas.data.sources import TensorImages
from nas.errors import ConfigError


def load(dataset: type[CIFAR10], root: Path, train: bool, download: bool, other: str) -> TensorImages:
    """Reads the images through torchvision, which checks every file's md5 before it unpickles one.

    Args:
        dataset: torchvision's class for the data set
        root: the folder that holds the download folder, or that folder itself
        train: whether to read the training or the test images
        download: whether to fetch files that are missing or damaged
        other: the other folder that was looked for, for the message

    Raises:
        ConfigError: files are missing or damaged and were not, or could not be, downloaded; folders that were
            made for a download of which nothing came are removed.
    """
    if root.name == dataset.base_folder:
        root = root.parent
    # torchvision makes them before it fetches anything.
    missing = [one for one in (root, *root.parents) if not one.exists()]
    try:
        loaded = dataset(root, train=train, download=download)
    except (OSError, RuntimeError, HTTPException) as error:
        with suppress(OSError):
            for one in missing:
                one.rmdir()
        # torchvision says that something is wrong, not which file it is.
        failure = f"the download failed ({error})" if download else "dataset.download is false"
        raise ConfigError(
            f"dataset.root: {_state(dataset, root)} (nor is {other} there), and {failure}. Either set "
            f"dataset.download=true on a machine with internet access, or unpack {dataset.url} so that "
            f"{root / dataset.base_folder} exists, and set dataset.root={root}"
        ) from error
    images_NHWC = torch.from_numpy(loaded.data)
    return TensorImages(images_NHWC.permute(0, 3, 1, 2).contiguous(), torch.tensor(loaded.targets))


def _state(dataset: type[CIFAR10], root: Path) -> str:
    folder = root / dataset.base_folder
    if not folder.is_dir():
        return f"there is no folder {folder}"
    listed = [*dataset.train_list, *dataset.test_list, (dataset.meta["filename"], dataset.meta["md5"])]
    problems = []
    for name, expected in listed:
        path = folder / name
        if not path.is_file():
            problems.append(f"{name} is missing")
            continue
        found = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
        if found != expected:
            problems.append(f"{name} was altered (md5 {found} instead of {expected})")
    return f"in {folder} " + (" and ".join(problems) or "every file is as published")
