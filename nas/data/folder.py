"""ImageNet and other sets of image files sorted into one folder a class."""

import os
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path

import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from torchvision import datasets
from torchvision.transforms import InterpolationMode, v2

from nas.data.sources import Images
from nas.errors import ConfigError, require
from nas.reading.files import check_regular


class FolderImages(Images):
    """Image files, each decoded and transformed when it is asked for.

    Args:
        folder: one folder of image files a class.
        transform: PIL image in RGB -> uint8 [3, H, W].

    Raises:
        ConfigError: an image that is asked for cannot be decoded; the file is named.
    """

    def __init__(self, folder: Path, transform: Callable):
        self._images = datasets.ImageFolder(folder, transform=transform, loader=read_rgb)
        self._root = folder.parent
        self.labels = torch.tensor(self._images.targets, dtype=torch.int64)

    @cached_property
    def names(self) -> list[str]:
        """The files relative to the folder of the data set, with forward slashes, in the order of indices."""
        start = len(os.path.join(self._root, ""))
        return [path[start:].replace(os.sep, "/") for path, _ in self._images.samples]

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self._images[index]


def read_rgb(path: str) -> Image.Image:
    """Decodes a whole image file to RGB: grey, palette and CMYK are converted, transparency is dropped.

    Sixteen bits a channel are brought to eight by their high byte, which PIL's own conversion would clip.

    Raises:
        ConfigError: the file is damaged, truncated or no image.
    """
    check_regular(path, f"dataset.root: {path}")
    try:
        with Image.open(path) as image:
            if image.mode.startswith("I;16") or image.mode == "I":
                return image.convert("I").point(lambda value: value / 256).convert("L").convert("RGB")
            return image.convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        kind = "no image" if isinstance(error, UnidentifiedImageError) else f"damaged ({error})"
        raise ConfigError(
            f"dataset.root: {path} cannot be decoded: {kind}; replace or delete the file"
        ) from error


class ImageFolder:
    """Images in `root/train/<class>/*` and `root/val/<class>/*`; the test images are those of `val`.

    Training images are cropped (area 8 to 100%, aspect 3/4 to 4/3), mirrored and colour-jittered one by
    one, as in the DARTS code; test images are resized to 256/224 of `image_size` and cropped in the centre.
    Grey, palette and CMYK images become RGB. Decoding is the cost, so `dataset.num_workers` matters.

    `mean` and `std` are ImageNet's.

    Args:
        root: folder that holds `train` and `val`; a relative one is relative to the current working directory
        image_size: height and width of the images that come out, in pixels
        num_classes: number of class folders in `train` and in `val`
        name: what the data set is called in reports
        color_jitter: brightness, contrast, saturation, hue; None switches it off
        num_images: files of `train` and of `val`, for plans made where they are not at hand; None for
            unknown. Where they are they are counted, and this is not looked at

    Raises:
        ConfigError: `image_size`, `num_classes` or `color_jitter` is out of range. From `train` and `test`:
            a folder is missing or empty, the number of classes differs, or `train` and `val` hold different
            classes.
    """

    mean = (0.485, 0.456, 0.406)
    std = (0.229, 0.224, 0.225)

    def __init__(
        self,
        root: str | Path,
        image_size: int = 224,
        num_classes: int = 1000,
        name: str = "imagenet",
        color_jitter: Sequence[float] | None = (0.4, 0.4, 0.4, 0.2),
        num_images: Sequence[int] | None = None,
    ):
        require(root is not None, "dataset.root: must name the folder that holds train and val, not null")
        require(image_size >= 1, f"dataset.source.image_size: must be at least 1, not {image_size}")
        require(num_classes >= 1, f"dataset.source.num_classes: must be at least 1, not {num_classes}")
        if color_jitter is not None:
            in_range = len(color_jitter) == 4 and min(color_jitter) >= 0 and color_jitter[3] <= 0.5
            require(
                in_range,
                "dataset.source.color_jitter: must be null or four numbers >= 0 (brightness, contrast, "
                f"saturation, hue) of which hue is at most 0.5, not {list(color_jitter)}",
            )
        self.name = name
        self.num_classes = num_classes
        self.image_shape = (3, image_size, image_size)
        self.root = Path(root)
        self.color_jitter = color_jitter
        self.num_images = num_images

    def at_hand(self) -> bool:
        """Whether the training files are there to be counted."""
        return (self.root.expanduser() / "train").is_dir()

    def train(self, augmented: bool = True) -> FolderImages:
        """Returns the training images; `augmented=False` prepares them as `test` does."""
        return self._load("train", self._train_transform() if augmented else self._test_transform())

    def test(self) -> FolderImages:
        """Returns the images of `val`."""
        return self._load("val", self._test_transform())

    def _load(self, part: str, transform: Callable) -> FolderImages:
        root = self.root.expanduser().resolve()
        classes = {name: self._classes(root / name) for name in ("train", "val")}
        # A class is numbered by the place of its folder, so one extra folder would shift every label after
        # it.
        different = sorted(classes["train"] ^ classes["val"])
        require(
            not different,
            f"dataset.root: train and val in {root} must hold the same classes, but only one of them has "
            f"{', '.join(different[:5])}",
        )
        try:
            return FolderImages(root / part, transform)
        except FileNotFoundError as error:
            raise ConfigError(f"dataset.root: a class folder holds no image file. {error}") from error

    def _classes(self, folder: Path) -> set[str]:
        require(
            folder.is_dir(),
            f"dataset.root: there is no folder {folder}; it must hold one folder of images per class",
        )
        classes = {entry.name for entry in folder.iterdir() if entry.is_dir()}
        require(
            len(classes) == self.num_classes,
            f"dataset.root: {folder} holds {len(classes)} class folders, but dataset.source.num_classes is "
            f"{self.num_classes}",
        )
        return classes

    def _train_transform(self) -> v2.Compose:
        size = self.image_shape[1:]
        steps = [
            v2.RandomResizedCrop(size, interpolation=InterpolationMode.BILINEAR, antialias=True),
            v2.RandomHorizontalFlip(),
        ]
        if self.color_jitter is not None:
            steps.append(v2.ColorJitter(*self.color_jitter))
        return v2.Compose([*steps, v2.PILToTensor()])

    def _test_transform(self) -> v2.Compose:
        size = self.image_shape[1]
        resize = v2.Resize(int(size * 256 / 224), interpolation=InterpolationMode.BILINEAR, antialias=True)
        return v2.Compose([resize, v2.CenterCrop(size), v2.PILToTensor()])
