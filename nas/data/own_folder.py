"""Pictures of one's own in a folder: classes, colours, the test part, mean and deviation are found there."""

import logging
from collections.abc import Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from torchvision.transforms import v2

from nas.data.folder import FolderImages, ImageFolder, centre_steps
from nas.data.found import Found, class_rows, look_rows
from nas.data.listing import Listing, class_folders, list_files
from nas.data.own import check_test_share, rounded_up
from nas.data.parts import Parts, drawn, readable
from nas.data.pixel_moments import LOOKED_AT, Moments, counts_of, of_counts, spread, words
from nas.data.readable import HINT, Flaw, each_of, refuse, told
from nas.data.single import random_steps
from nas.errors import ConfigError, require, require_one_of
from nas.printable import listed
from nas.reading.folders import visible
from nas.reading.pictures import DECODINGS, UPRIGHT, decode, header

log = logging.getLogger(__name__)
TRAIN, TESTS = "train", ("test", "val", "valid", "validation")
MEASURED, IMAGENET = "measured", "imagenet"
# Files whose header says whether the pictures are grey: so many, evenly spread.
LOOKED_AT_FOR_COLOUR = 64


class OwnFolder:
    """Pictures in `root/<class>/*`, or in `root/train/<class>/*` and `root/test/<class>/*`.

    A root whose only folders are `train` and parts beside it (`test`, or else `val`, `valid` or
    `validation`), in small or capital letters, is divided already; of any other the folders are classes, and
    a test part is drawn from the pictures of every class alike. So it is where there is `train` alone. The
    test part may lack classes of the training part.
    Pictures are scaled so that the shorter side fits and cut to a square in the centre; training images are
    drawn from as `crop`, `flip` and `color_jitter` say, which is not at all unless asked for.

    Args:
        root: the folder; a relative one is relative to the current working directory
        name: what the data set is called in reports
        image_size: height and width of the images that come out, in pixels
        multiple: number that networks need both to be a multiple of; another `image_size` is rounded up
        channels: 3 for colour, 1 for grey; None for 1 where all files are grey (64 of them are looked at)
        mean: of each channel, on the scale where a pixel of 255 is 1; None for what `normalisation` says
        std: the same
        test_share: share of the pictures that is the test part, in (0, 1), where root has none
        test_seed: of that draw, which does not depend on the seeds of a run; 0 to 2**32 - 1
        color_jitter: as for `ImageFolder`
        flip: the same
        crop: the same
        decoding: how files become pixels, see `nas.reading.pictures`
        normalisation: whose mean and deviation: `measured` of the training pictures as they come out without
            a draw (of very many of 2,048, evenly spread), or `imagenet`
        check: whether every file is decoded once before anything runs
        skip_corrupt: whether files that cannot be decoded are left out, for which every file is decoded once
        skipped: names of files that are left out, as lists have them; None for what `skip_corrupt` finds. The
            test part is drawn before they are

    Attributes:
        classes: names of the class folders, sorted; their places are the labels.
        resize: pixels of the shorter side before the centre is cut out.
        augments: that `dataset.augment` is done here, but for `pad`.

    Raises:
        ConfigError: an argument is out of range. From the attributes and methods: there is no such folder, it
            holds no image, the test part holds further classes, it holds parts and other folders, or a file
            that is looked at cannot be decoded.
    """

    augments = True
    key = "dataset.root"

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
        decoding: str = UPRIGHT,
        normalisation: str = MEASURED,
        check: bool = False,
        skip_corrupt: bool = False,
        skipped: Sequence[str] | None = None,
    ):
        if root is None:
            raise ConfigError(
                "dataset.root=null: name the folder of your pictures, such as dataset.root=pets"
            )
        require(channels in (None, 1, 3), f"dataset.source.channels={channels}: must be 1, 3 or null")
        require(image_size >= 1, f"dataset.source.image_size: must be at least 1, not {image_size}")
        require_one_of("dataset.source.decoding", decoding, DECODINGS)
        require_one_of("dataset.normalisation", normalisation, (MEASURED, IMAGENET))
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
        self.decoding = decoding
        self._channels, self._mean, self._std, self._normalisation = channels, mean, std, normalisation
        self._check, self._skip, self._skipped = check, skip_corrupt, skipped
        centre = centre_steps(self.resize, self.size)
        random = random_steps((self.size, self.size), crop, flip, color_jitter)
        self._steps = {False: centre, True: [*(centre if crop is None else []), *random]}

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes."""
        return self._parts.train.classes

    @property
    def num_classes(self) -> int:
        """How many class folders there are."""
        return len(self.classes)

    @cached_property
    def channels(self) -> int:
        """1 for grey, 3 for colour."""
        if self._channels is not None:
            return self._channels
        paths = self._parts.train.paths
        picked = spread(len(paths), LOOKED_AT_FOR_COLOUR)
        return 1 if all(header(paths[i], self.key, HINT).grey for i in picked) else 3

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of what comes out."""
        return (self.channels, self.size, self.size)

    @property
    def mean(self) -> tuple[float, ...]:
        """Of each channel."""
        return self._moments[0] if self._mean is None else tuple(self._mean)

    @property
    def std(self) -> tuple[float, ...]:
        """Of each channel."""
        return self._moments[1] if self._std is None else tuple(self._std)

    def at_hand(self) -> bool:
        """Whether the files are there to be counted."""
        return self.root.expanduser().is_dir()

    def train(self, augmented: bool = True) -> FolderImages:
        """Returns the training images; `augmented=False` prepares them as `test` does."""
        return self._images(self._parts.train, augmented)

    def test(self) -> FolderImages:
        """Returns the test images."""
        return self._images(self._parts.test, augmented=False)

    def settled(self) -> dict[str, Any]:
        """What was found out here and stands for itself from now on; see `nas.data.sources.ImageSource`."""
        measured = self._normalisation == MEASURED
        found: dict[str, Any] = {
            name: list(getattr(self, name))
            for name, given in (("mean", self._mean), ("std", self._std))
            if given is None and measured
        }
        if self._channels is None:
            # The numbers above are one for each, whatever lies there later.
            found["channels"] = self.channels
        if self._check:
            found["check"] = False
        if self._skip and self._skipped is None:
            found["skipped"] = [one.name for one in self._parts.skipped]
        return found

    def found(self) -> Found:
        """What lies there: parts, classes, sizes, colours, what is left out, mean and deviation."""
        parts, grey = self._parts, self.channels == 1
        both = {"training": parts.train, "test": parts.test}
        rows = [
            (f"{word} pictures", f"{len(one.paths):,}, {origin}")
            for (word, one), origin in zip(both.items(), parts.origins, strict=True)
        ]
        if parts.unread:
            rows.append(("not read", listed(parts.unread)))
        rows += class_rows(self.classes, parts.train.labels, parts.test.labels)
        nested = sorted({*parts.train.nested, *parts.test.nested})
        if nested:
            rows.append(("  with inner folders", listed(nested)))
        rows += look_rows([*parts.train.paths, *parts.test.paths], self.key)
        how = f"the shorter side scaled to {self.resize}, the centre cut out"
        rows.append(("read as", f"{'grey' if grey else 'colour'} {list(self.image_shape)}: {how}"))
        skipped = f"{len(parts.skipped):,}: {told(parts.skipped)}" if parts.skipped else "none"
        rows.append(("left out", skipped))
        of_mean, of_std = (
            "as configured" if one is not None else self._whose() for one in (self._mean, self._std)
        )
        rows.append(("mean", f"{words(self.mean)} ({of_mean})"))
        rows.append(("std", words(self.std) + ("" if of_std == of_mean else f" ({of_std})")))
        return Found(f"dataset {self.name}: {self._place()}", tuple(rows))

    def _place(self) -> Path:
        return self.root.expanduser().resolve()

    def _whose(self) -> str:
        if self._normalisation == IMAGENET:
            return "ImageNet's"
        count = len(self._parts.train.paths)
        number = f"{count:,}" if count <= LOOKED_AT else f"{LOOKED_AT:,} of {count:,}"
        return f"measured on {number} training pictures"

    def example(self) -> str | None:
        """The first file of the test part."""
        return self._parts.test.paths[0]

    def _images(self, listing: Listing, augmented: bool) -> FolderImages:
        transform = v2.Compose([*self._steps[augmented], v2.PILToTensor()])
        color = "L" if self.channels == 1 else "RGB"
        read = partial(decode, color=color, key=self.key, decoding=self.decoding, hint=HINT)
        return FolderImages(listing, transform, read)

    @cached_property
    def _moments(self) -> Moments:
        """Mean and deviation of each channel, as `normalisation` says."""
        if self._normalisation == IMAGENET:
            return _of_imagenet(ImageFolder.mean, self.channels), _of_imagenet(ImageFolder.std, self.channels)
        images = self.train(augmented=False)
        picked = spread(len(images))
        found = each_of(picked, lambda index: counts_of(images[index][0]))
        flaws = [
            Flaw(images.names[index], reason)
            for index, (_, reason) in zip(picked, found, strict=True)
            if reason is not None
        ]
        refuse(flaws, len(picked), self.key, HINT)
        return of_counts(torch.stack([counts_CV for counts_CV, _ in found]).sum(0))

    @cached_property
    def _parts(self) -> Parts:
        """Both parts, without the files that are left out."""
        # Grey or colour, the same bytes are read.
        read = partial(decode, color="RGB", key=self.key, decoding=self.decoding)
        parts = readable(self._divided(), read, self.key, self._check, self._skip, self._skipped)
        present = {*parts.train.labels.tolist()}
        lost = [name for i, name in enumerate(parts.train.classes) if i not in present]
        require(
            not lost,
            f"{self.key}: the only picture of class {listed(lost)} is in the test part; add pictures, name a "
            "test part of your own, or leave the class out",
        )
        if len(parts.train.classes) == 1:
            log.warning(
                "warning: %s: there is one class alone (%s), and nothing to tell apart%s",
                self._place(),
                parts.train.classes[0],
                "; if its folders are the classes, name it as dataset.root" if parts.train.nested else "",
            )
        return parts

    def _divided(self) -> Parts:
        """The files of the training and of the test part, whether they can be decoded or not."""
        root = self._place()
        names = class_folders(root)[0]
        first, test = _division(root, names)
        train = list_files(root, root if first is None else root / first)
        if test is None:
            return drawn(train, self.test_share, self.test_seed, "" if first is None else f" of {first}")
        tested = list_files(root, root / test, train.classes)
        unread = sorted(set(names) - {first, test})
        return Parts(train, tested, (f"in {first}", f"in {test}"), tuple(unread))


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


def _of_imagenet(colour: tuple[float, ...], channels: int) -> tuple[float, ...]:
    """Those of colours, or the brightness of their mean (ITU-R BT.601)."""
    if channels == 3:
        return colour
    weights = torch.tensor([0.299, 0.587, 0.114])
    return (round(float(weights @ torch.tensor(colour)), 4),)
