"""ImageNet and other sets of image files sorted into one folder per class."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor
from torchvision.transforms import InterpolationMode, v2

from nas.data.found import Found, class_rows, look_rows
from nas.data.listing import Listing, check_same_classes, class_folders, list_files
from nas.data.pixel_moments import words
from nas.data.readable import CHECK_HINT, flaws_of, refuse
from nas.data.single import random_steps
from nas.data.sources import Images
from nas.errors import require
from nas.printable import listed
from nas.reading.pictures import PLAIN, decode


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

    @property
    def names(self) -> list[str]:
        """The files as lists name them (`Listing.names`), in the order of indices."""
        return self._listing.names

    @property
    def paths(self) -> tuple[str, ...]:
        """Where they lie, in the order of indices."""
        return self._listing.paths

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self._transform(self._read(self._listing.paths[index])), int(self.labels[index])


class ImageFolder:
    """Images in `root/train/<class>/*` and `root/val/<class>/*`; the test images are those of `val`.

    Training images are cropped, mirrored and colour-jittered one by one, as in the DARTS code; test images
    are resized to 256/224 of `image_size` and cropped in the centre, and so are training images without a
    random part. Grey, palette and CMYK images become RGB, and are not turned as EXIF says, as nowhere in the
    papers' code. Decoding is the cost, so `dataset.num_workers` matters.

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
        check: whether every file is decoded once before anything runs

    Attributes:
        decoding: how files are decoded, see `nas.reading.pictures`.
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
    decoding = PLAIN

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
        check: bool = False,
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
        self._check = check
        self._read = partial(decode, color="RGB", key="dataset.root", decoding=PLAIN, hint=CHECK_HINT)

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

    def settled(self) -> dict[str, Any]:
        """What need not be done again: see `nas.data.sources.ImageSource`."""
        if not self._check:
            return {}
        self._listed("train")
        return {"check": False}

    def found(self) -> Found:
        """What lies in both parts."""
        parts = {part: self._listed(part) for part in ("train", "val")}
        train, test = parts.values()
        rows = [
            *((f"{part} pictures", f"{len(one.paths):,}") for part, one in parts.items()),
            *class_rows(train.classes, train.labels, test.labels),
            *look_rows([*train.paths, *test.paths], "dataset.root"),
            ("read as", f"colour {list(self.image_shape)}"),
            ("mean", f"{words(self.mean)} (ImageNet's)"),
            ("std", words(self.std)),
        ]
        return Found(f"dataset {self.name}: {self._place()}", tuple(rows))

    def _place(self) -> Path:
        return self.root.expanduser().resolve()

    def example(self) -> str | None:
        """The first file of `val`; None where that has not been read."""
        return self._listings["val"].paths[0] if "val" in self._listings else None

    def _folder(self, part: str) -> Path:
        return self._place() / part

    def _load(self, part: str, augmented: bool) -> FolderImages:
        centre = centre_steps(self.resize, self.image_shape[1])
        steps = centre if not augmented else [*(centre if self._whole else []), *self._random]
        return FolderImages(self._listed(part), v2.Compose([*steps, v2.PILToTensor()]), self._read)

    def _listed(self, part: str) -> Listing:
        if not self._listings:
            train, val = (self._checked_classes(self._folder(name)) for name in ("train", "val"))
            check_same_classes(train, val, self._folder("train"), self._folder("val"))
        if self._check and not self._listings:
            both = {name: list_files(self._place(), self._folder(name)) for name in ("train", "val")}
            flaws = flaws_of(list(both.values()), self._read, "dataset.check=true")
            refuse(flaws, sum(len(one.paths) for one in both.values()), "dataset.root", "")
            self._listings = both
        if part not in self._listings:
            self._listings[part] = list_files(self._place(), self._folder(part))
        return self._listings[part]

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
