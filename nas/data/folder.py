"""ImageNet and other sets of image files sorted into one folder per class."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from PIL import Image, UnidentifiedImageError
from torch import Tensor
from torchvision.transforms import InterpolationMode, v2

from nas.data.listing import Listing, check_same_classes, class_folders, list_files
from nas.data.single import random_steps
from nas.data.sources import Images
from nas.errors import ConfigError, require
from nas.printable import listed
from nas.reading.files import check_regular


class FolderImages(Images):
    """Image files, each decoded and transformed when it is asked for.

    Args:
        listing: the files and their classes.
        transform: PIL image -> uint8 [C, H, W].
        read: path -> PIL image.

    Raises:
        ConfigError: an image that is asked for cannot be decoded; the file is named.
    """

    def __init__(self, listing: Listing, transform: Callable, read: Callable[[str], Image.Image]):
        self._listing = listing
        self._transform = transform
        self._read = read
        self.labels = listing.labels

    @cached_property
    def names(self) -> list[str]:
        """The files relative to the folder of the data set, with forward slashes, in the order of indices.

        One that lies elsewhere, as a table may name it, has its whole path.
        """
        folder = os.path.join(self._listing.root, "")
        return [path.removeprefix(folder).replace(os.sep, "/") for path in self._listing.paths]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self._transform(self._read(self._listing.paths[index])), int(self.labels[index])


def read_rgb(path: str, key: str = "dataset.root") -> Image.Image:
    """Decodes a whole image file to RGB: grey, palette and CMYK are converted, transparency is dropped.

    Sixteen bits per channel are brought to eight by their high byte, which PIL's own conversion would clip.

    Args:
        path: the file.
        key: what named it, for the message.

    Raises:
        ConfigError: the file is damaged, truncated or no image.
    """
    return _decoded(path, "RGB", key)


def read_grey(path: str, key: str = "dataset.root") -> Image.Image:
    """The same in one channel, of which colours give their brightness; raises as `read_rgb`."""
    return _decoded(path, "L", key)


def is_grey(path: str) -> bool:
    """Whether a file holds one channel (and perhaps transparency), by its header; raises as `read_rgb`."""
    with _opened(path, "dataset.root") as image:
        return image.mode in ("1", "L", "LA", "La", "F") or image.mode.startswith("I")


def _decoded(path: str, mode: str, key: str) -> Image.Image:
    with _opened(path, key) as image:
        if image.mode.startswith("I;16") or image.mode == "I":
            return image.convert("I").point(lambda value: value / 256).convert("L").convert(mode)
        return image.convert(mode)


@contextmanager
def _opened(path: str, key: str) -> Iterator[Image.Image]:
    check_regular(path, f"{key}: {path}")
    try:
        with Image.open(path) as image:
            yield image
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        kind = "no image" if isinstance(error, UnidentifiedImageError) else f"damaged ({error})"
        raise ConfigError(f"{key}: {path} cannot be decoded: {kind}; replace or delete the file") from error


class ImageFolder:
    """Images in `root/train/<class>/*` and `root/val/<class>/*`; the test images are those of `val`.

    Training images are cropped, mirrored and colour-jittered one by one, as in the DARTS code; test images
    are resized to 256/224 of `image_size` and cropped in the centre, and so are training images without a
    random part. Grey, palette and CMYK images become RGB. Decoding is the cost, so `dataset.num_workers`
    matters.

    `mean` and `std` are ImageNet's.

    Args:
        root: folder that holds `train` and `val`; a relative one is relative to the current working directory
        image_size: height and width of the images that come out, in pixels
        num_classes: number of class folders in `train` and in `val`
        name: what the data set is called in reports
        color_jitter: brightness, contrast, saturation, hue; None switches it off
        num_images: files of `train` and of `val`, for plans made where they are not at hand; None for
            unknown. Where they are they are counted, and this is not looked at
        flip: whether to mirror every other training image, on average
        crop: least and greatest share of the area of a random part; None for none

    Attributes:
        resize: pixels of the shorter side before the centre of a test image is cut out.
        augments: that `dataset.augment` is done here, but for `pad`.

    Raises:
        ConfigError: `image_size`, `num_classes`, `crop` or `color_jitter` is out of range. From `train` and
            `test`: a folder is missing or empty, the number of classes differs, or `train` and `val` hold
            different classes.
    """

    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    augments = True

    def __init__(
        self,
        root: str | Path,
        image_size: int = 224,
        num_classes: int = 1000,
        name: str = "imagenet",
        color_jitter: Sequence[float] | None = (0.4, 0.4, 0.4, 0.2),
        num_images: Sequence[int] | None = None,
        flip: bool = True,
        crop: Sequence[float] | None = (0.08, 1.0),
    ):
        require(root is not None, "dataset.root: must name the folder that holds train and val, not null")
        require(image_size >= 1, f"dataset.source.image_size: must be at least 1, not {image_size}")
        require(num_classes >= 1, f"dataset.source.num_classes: must be at least 1, not {num_classes}")
        self.name = name
        self.num_classes = num_classes
        self.image_shape = (3, image_size, image_size)
        self.resize = int(image_size * 256 / 224)
        self.root = Path(root)
        self.num_images = num_images
        self._random = random_steps(self.image_shape[1:], crop, flip, color_jitter)
        self._whole = crop is None
        self._listings: dict[str, Listing] = {}

    @property
    def classes(self) -> tuple[str, ...] | None:
        """The names of the classes in the order of the labels; None where the files are not at hand."""
        return class_folders(self._folder("train"))[0] if self.at_hand() else None

    def at_hand(self) -> bool:
        """Whether the training files are there to be counted."""
        return self._folder("train").is_dir()

    def train(self, augmented: bool = True) -> FolderImages:
        """Returns the training images; `augmented=False` prepares them as `test` does."""
        return self._load("train", augmented)

    def test(self) -> FolderImages:
        """Returns the images of `val`."""
        return self._load("val", augmented=False)

    def _folder(self, part: str) -> Path:
        return self.root.expanduser().resolve() / part

    def _load(self, part: str, augmented: bool) -> FolderImages:
        if part not in self._listings:
            train, val = (self._checked_classes(self._folder(name)) for name in ("train", "val"))
            check_same_classes(train, val, self._folder("train"), self._folder("val"))
            self._listings[part] = list_files(self._folder(part).parent, self._folder(part))
        centre = centre_steps(self.resize, self.image_shape[1])
        steps = centre if not augmented else [*(centre if self._whole else []), *self._random]
        return FolderImages(self._listings[part], v2.Compose([*steps, v2.PILToTensor()]), read_rgb)

    def _checked_classes(self, folder: Path) -> tuple[str, ...]:
        classes, _ = class_folders(folder)
        require(
            len(classes) == self.num_classes,
            f"dataset.root: {folder} holds {len(classes)} class folders ({listed(classes)}), but "
            f"dataset.source.num_classes is {self.num_classes}",
        )
        return classes


def centre_steps(resize: int, crop: int) -> list[Any]:
    """The centre of a picture, without a draw: the shorter side to `resize`, a square of `crop` cut out."""
    return [
        v2.Resize(resize, interpolation=InterpolationMode.BILINEAR, antialias=True),
        v2.CenterCrop(crop),
    ]
