"""Pictures as a network is given them: the transform of the test images of `nas.data.folder`."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode, v2

from nas.errors import ConfigError, require
from nas.formats.description import Preprocessing
from nas.reading.folders import files_below
from nas.reading.pictures import SUFFIXES, decode


def list_pictures(folder: str | Path) -> list[Path]:
    """The image files in a folder and its sub-folders, sorted by path, but for hidden ones and the like.

    Raises:
        ConfigError: there is no such folder, or no image file in it.
    """
    folder = Path(folder).expanduser()
    require(folder.is_dir(), f"pictures={folder}: there is no such folder")
    found = sorted(Path(path) for path in files_below(folder)[0] if Path(path).suffix.lower() in SUFFIXES)
    require(len(found) > 0, f"pictures={folder}: no image file in it ({', '.join(SUFFIXES)})")
    return found


def read_pictures(paths: Sequence[Path], preprocessing: Preprocessing) -> Tensor:
    """The prepared pictures, float32 [B, C, H, W].

    Raises:
        ConfigError: a file is no picture, or pictures have not as many channels.
    """
    color = preprocessing.color
    if color is None:
        raise ConfigError(
            f"pictures: this network reads {len(preprocessing.mean)} channels, and pictures have 1 or 3"
        )
    steps = v2.Compose(
        [
            v2.Resize(preprocessing.resize, interpolation=InterpolationMode.BILINEAR, antialias=True),
            v2.CenterCrop(preprocessing.crop),
            v2.PILToTensor(),
        ]
    )
    images = [steps(decode(str(path), color, "pictures", preprocessing.decoding)) for path in paths]
    return normalise(torch.stack(images), preprocessing)


def normalise(images_BCHW: Tensor, preprocessing: Preprocessing) -> Tensor:
    """Pictures of 0 to 255 [B, C, H, W] as the network's input, float32, in torchvision's three steps."""
    mean_C11, std_C11 = (
        torch.tensor(values)[:, None, None] for values in (preprocessing.mean, preprocessing.std)
    )
    return images_BCHW.float().div_(255).sub_(mean_C11).div_(std_C11)
