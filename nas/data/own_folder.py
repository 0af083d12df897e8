"""Pictures of one's own in a folder: classes, colours and the test part are found there."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import torch
from torchvision.transforms import v2

from nas.data.folder import FolderImages, ImageFolder, centre_steps, is_grey, read_grey, read_rgb
from nas.data.listing import Listing, check_same_classes, class_folders, list_files
from nas.data.own import check_test_share, draw_test, rounded_up
from nas.data.single import random_steps
from nas.errors import ConfigError, require
from nas.printable import listed
from nas.reading.folders import visible

log = logging.getLogger(__name__)
TRAIN, TESTS = "train", ("test", "val", "valid", "validation")
# Files whose header says whether the pictures are grey: so many, evenly spread.
LOOKED_AT = 64


class OwnFolder:
    """Pictures in `root/<class>/*`, or in `root/train/<class>/*` and `root/test/<class>/*`.

    A root whose only folders are `train` and parts beside it (`test`, or else `val`, `valid` or
    `validation`), in small or capital letters, is divided already; of any other the folders are classes, and
    a test part is drawn from the pictures of every class alike. So it is where there is `train` alone.
    Pictures are scaled so that the shorter side fits and cut to a square in the centre; training images are
    drawn from as `crop`, `flip` and `color_jitter` say, which is not at all unless asked for.

    Args:
        root: the folder; a relative one is relative to the current working directory
        name: what the data set is called in reports
        image_size: height and width of the images that come out, in pixels
        multiple: number that networks need both to be a multiple of; another `image_size` is rounded up
        channels: 3 for colour, 1 for grey; None for 1 where all files are grey (64 of them are looked at)
        mean: of each channel, on the scale where a pixel of 255 is 1; None for ImageNet's
        std: the same
        test_share: share of the pictures that is the test part, in (0, 1), where root has none
        test_seed: of that draw, which does not depend on the seeds of a run; 0 to 2**32 - 1
        color_jitter: as for `ImageFolder`
        flip: the same
        crop: the same

    Attributes:
        classes: names of the class folders, sorted; their places are the labels.
        resize: pixels of the shorter side before the centre is cut out.
        augments: that `dataset.augment` is done here, but for `pad`.

    Raises:
        ConfigError: an argument is out of range. From the attributes and methods: there is no such folder, it
            holds no image, parts of it hold different classes, or it holds parts and other folders.
    """

    augments = True

    def __init__(
        self,
        root: str | Path | None,
        name: str = "folder",
        image_size: int = 32,
        multiple: int = 4,
        channels: int | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        test_share: float = 0.2,
        test_seed: int = 0,
        color_jitter: Sequence[float] | None = None,
        flip: bool = False,
        crop: Sequence[float] | None = None,
    ):
        if root is None:
            raise ConfigError(
                "dataset.root=null: name the folder of your pictures, such as dataset.root=pets"
            )
        require(channels in (None, 1, 3), f"dataset.source.channels={channels}: must be 1, 3 or null")
        require(image_size >= 1, f"dataset.source.image_size: must be at least 1, not {image_size}")
        check_test_share(test_share)
        self.name = name
        self.root = Path(root)
        self.size = rounded_up(image_size, multiple)
        if self.size != image_size:
            log.warning(
                "dataset.source.image_size=%d: rounded up to %d, a multiple of dataset.source.multiple=%d",
                image_size,
                self.size,
                multiple,
            )
        self.resize = self.size
        self.test_share = test_share
        self.test_seed = test_seed
        self._channels, self._mean, self._std = channels, mean, std
        centre = centre_steps(self.resize, self.size)
        random = random_steps((self.size, self.size), crop, flip, color_jitter)
        self._steps = {False: centre, True: [*(centre if crop is None else []), *random]}

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes."""
        return self._parts[0].classes

    @property
    def num_classes(self) -> int:
        """How many class folders there are."""
        return len(self.classes)

    @cached_property
    def channels(self) -> int:
        """1 for grey, 3 for colour."""
        if self._channels is not None:
            return self._channels
        paths = self._parts[0].paths
        count = min(LOOKED_AT, len(paths))
        return 1 if all(is_grey(paths[i * len(paths) // count]) for i in range(count)) else 3

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of what comes out."""
        return (self.channels, self.size, self.size)

    @property
    def mean(self) -> tuple[float, ...]:
        """Of each channel."""
        return _given(self._mean, ImageFolder.mean, self.channels)

    @property
    def std(self) -> tuple[float, ...]:
        """Of each channel."""
        return _given(self._std, ImageFolder.std, self.channels)

    def at_hand(self) -> bool:
        """Whether the files are there to be counted."""
        return self.root.expanduser().is_dir()

    def train(self, augmented: bool = True) -> FolderImages:
        """Returns the training images; `augmented=False` prepares them as `test` does."""
        return self._images(self._parts[0], augmented)

    def test(self) -> FolderImages:
        """Returns the test images."""
        return self._images(self._parts[1], augmented=False)

    def _images(self, listing: Listing, augmented: bool) -> FolderImages:
        transform = v2.Compose([*self._steps[augmented], v2.PILToTensor()])
        return FolderImages(listing, transform, read_grey if self.channels == 1 else read_rgb)

    @cached_property
    def _parts(self) -> tuple[Listing, Listing]:
        """The files of the training and of the test part; says once what was found."""
        root = self.root.expanduser().resolve()
        names = class_folders(root)[0]
        first, test = _division(root, names)
        train = list_files(root, root if first is None else root / first)
        if test is None:
            parts = drawn(train, self.test_share, self.test_seed)
            how = f"drawn by test_share={self.test_share}, test_seed={self.test_seed}"
        else:
            parts = train, list_files(root, root / test)
            check_same_classes(train.classes, parts[1].classes, root / str(first), root / test)
            unread = sorted(set(names) - {first, test})
            how = f"{root / test}" + (f"; not read: {', '.join(unread)}" if unread else "")
        counts = tuple(len(one.paths) for one in parts)
        log.info(
            "%s: %d classes (%s), %d training and %d test images (%s)",
            root, len(train.classes), listed(train.classes), *counts, how,
        )  # fmt: skip
        return parts


def _division(root: Path, names: Sequence[str]) -> tuple[str | None, str | None]:
    """The folders of the training and of the test part among those of a root; None where there is none.

    Raises:
        ConfigError: it cannot be told which folders are parts and which are classes.
    """
    parts = [name for name in names if name.lower() in (TRAIN, *TESTS)]
    others = [name for name in names if name not in parts]
    found = {name.lower(): name for name in parts}
    first = found.get(TRAIN)
    test = next((found[name] for name in TESTS if name in found), None)
    if first is None or (others and test is None):
        return None, None
    # Folders of classes hold pictures; what holds folders beside a training part is a part.
    if others and not all(_holds_folders(root / name) for name in (first, test) if name):
        return None, None
    require(
        not others,
        f"dataset.root: {root} holds the parts {first} and {test}, and beside them {listed(others)}; leave "
        "the parts alone there, or rename them if they are classes",
    )
    require(
        len(found) == len(parts),
        f"dataset.root: {root} holds {listed(parts)}, of which some differ in capitals alone; rename them",
    )
    return first, test


def _holds_folders(folder: Path) -> bool:
    return any(entry.is_dir() for entry in visible(folder)[0])


def drawn(listing: Listing, share: float, seed: int) -> tuple[Listing, Listing]:
    """A training and a test part with the share of every class; raises as `draw_test`."""
    train, test = (
        replace(listing, paths=tuple(listing.paths[i] for i in part.tolist()), labels=listing.labels[part])
        for part in draw_test(listing.labels, share, seed)
    )
    return train, test


def _given(values: Sequence[float] | None, colour: tuple[float, ...], channels: int) -> tuple[float, ...]:
    """The values that were given; else those of colours, or the brightness of their mean (ITU-R BT.601)."""
    if values is not None:
        return tuple(values)
    if channels == 3:
        return colour
    weights = torch.tensor([0.299, 0.587, 0.114])
    return (round(float(weights @ torch.tensor(colour)), 4),)
