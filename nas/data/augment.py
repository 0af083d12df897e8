"""Augmentation of whole batches, on whatever device the batch is on.

Shapes: B images, C channels, H rows, W columns.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from nas.data.sources import is_signal
from nas.errors import require

PIXELS = (torch.uint8, torch.float32)
SIGNALS_BEAR = (
    "; dataset.augment.pad=<steps> shifts a signal along time, dataset.cutout=<steps> leaves a piece out"
)


@dataclass(frozen=True)
class Draw:
    """What was drawn for a batch; a part that is switched off is None.

    Attributes:
        top_B, left_B: corner of the crop in the padded image, 0 to 2 * pad [B]
        flip_B: whether to mirror the crop left to right [B]
        row_B, column_B: centre of the square that is cut out, anywhere in the image [B]
    """

    top_B: Tensor | None = None
    left_B: Tensor | None = None
    flip_B: Tensor | None = None
    row_B: Tensor | None = None
    column_B: Tensor | None = None


class BatchAugment(nn.Module):
    """Turns images into a network's input: crop, mirror, scale to [0, 1], normalise, cut out.

    Every image gets its own draws, so a batch is distributed as torchvision's RandomCrop(padding),
    RandomHorizontalFlip, ToTensor and Normalize would make it image by image, followed by the Cutout of the
    DARTS code: one square, centred on any pixel, that may leave the image; zero after normalisation.
    Padding is black before normalisation. A random part and other colours, where they are asked for, come
    first and image by image: torchvision's own, drawn from torch's own generator.

    Images of float32 are in units of their own: they are not scaled, and what pads them is the mean. Signals
    [B, C, 1, L] are padded, and so shifted, along time alone.

    A module only so that `.to` moves and casts mean and std, whose type the result has; they are not in
    checkpoints.

    Args:
        mean, std: one number a channel, on the scale where a pixel of 255 is 1
        pad: pixels added on each of the four sides before cropping back to the old size; 0 for no crop
        flip: whether to mirror every other image, on average
        crop: least and greatest share of an image's area that a random part has, which is scaled to the whole
            size; None for no part
        jitter: brightness, contrast, saturation, hue, as in torchvision's ColorJitter; None for none
        cutout: side of the square in pixels, an even number; 0 for none
        channels_last: whether the result is laid out in memory as [B, H, W, C]; its shape is the same

    Raises:
        ConfigError: a number is out of range, `cutout` is odd, mean and std differ in length, or images of
            other than 1 or 3 channels are to be jittered.
    """

    mean_C11: Tensor
    std_C11: Tensor

    def __init__(
        self,
        mean: Sequence[float],
        std: Sequence[float],
        pad: int = 0,
        flip: bool = False,
        cutout: int = 0,
        channels_last: bool = False,
        crop: Sequence[float] | None = None,
        jitter: Sequence[float] | None = None,
    ):
        super().__init__()
        require(len(mean) == len(std) > 0, f"mean has {len(mean)} channels, but std has {len(std)}")
        require(min(std) > 0, f"std must be above 0 in every channel, not {list(std)}")
        require(pad >= 0, f"dataset.augment.pad: must be at least 0, not {pad}")
        # The square reaches cutout / 2 to either side of its centre: an odd side would lose a pixel.
        require(cutout >= 0 and cutout % 2 == 0, f"dataset.cutout: must be even and at least 0, not {cutout}")
        self.pad = pad
        self.flip = flip
        self.cutout = cutout
        self.crop = crop
        self.jitter = jitter
        require(
            jitter is None or len(mean) in (1, 3),
            f"dataset.augment.jitter: needs images of 1 or 3 channels, not {len(mean)}; set it to null",
        )
        self.single_steps((1, 1))
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        for name, values in (("mean_C11", mean), ("std_C11", std)):
            column = torch.tensor(list(values), dtype=torch.float32)[:, None, None]
            self.register_buffer(name, column, persistent=False)

    def forward(self, images_BCHW: Tensor, train: bool, generator: Generator | None = None) -> Tensor:
        """Returns the network's input [B, C, H, W].

        Args:
            images_BCHW: uint8, or float32 in the units of mean and std
            train: False only scales and normalises, and draws nothing
            generator: source of the draws, on the images' device; None for torch's global one

        Raises:
            ConfigError: the images are not uint8 or float32 [B, C, H, W] with as many channels as `mean`.
        """
        channels = len(self.mean_C11)
        require(
            images_BCHW.dtype in PIXELS and images_BCHW.ndim == 4 and images_BCHW.shape[1] == channels,
            f"expected uint8 (or float32) images [B, {channels}, H, W], not {images_BCHW.dtype} "
            f"{list(images_BCHW.shape)}",
        )
        if not train:
            return self.apply_draw(images_BCHW, Draw())
        single = self.single_steps(images_BCHW.shape[2:])
        if single:
            images_BCHW = torch.stack([_through(single, image_CHW) for image_CHW in images_BCHW])
        return self.apply_draw(images_BCHW, self.draw(images_BCHW, generator))

    def single_steps(self, size: Sequence[int]) -> list[Any]:
        """What is done image by image to images of (H, W), as transforms of torchvision's; mostly nothing."""
        if self.crop is None and self.jitter is None:
            return []
        # Takes a second to import, which other settings should not pay.
        from nas.data.single import random_steps

        return random_steps(size, self.crop, jitter=self.jitter)

    def draw(self, images_BCHW: Tensor, generator: Generator | None = None) -> Draw:
        """Draws for every image of the batch, on its device, what is switched on."""
        num_images, _, height, width = images_BCHW.shape

        def integers(stop: int) -> Tensor:
            return torch.randint(stop, (num_images,), generator=generator, device=images_BCHW.device)

        top_B = left_B = None
        if self.pad:
            # The only row of a signal stays where it is.
            top_B = torch.zeros_like(integers(1)) if _along_time(images_BCHW) else integers(2 * self.pad + 1)
            left_B = integers(2 * self.pad + 1)
        flip_B = integers(2).bool() if self.flip else None
        row_B, column_B = (integers(height), integers(width)) if self.cutout else (None, None)
        return Draw(top_B, left_B, flip_B, row_B, column_B)

    def apply_draw(self, images_BCHW: Tensor, draw: Draw) -> Tensor:
        """Applies given draws: the deterministic half of `forward`."""
        # Divided and subtracted as torchvision does, in three steps, for results equal to the last bit.
        if images_BCHW.dtype == torch.uint8:
            x_BCHW = self._crop(images_BCHW, draw).to(self.mean_C11.dtype)
            x_BCHW.div_(255).sub_(self.mean_C11).div_(self.std_C11)
        else:
            # Before it is padded, with 0.
            x_BCHW = images_BCHW.to(self.mean_C11.dtype).sub(self.mean_C11).div_(self.std_C11)
            x_BCHW = self._crop(x_BCHW, draw)
        # After the arithmetic, which a CPU does four times slower with three channels innermost.
        x_BCHW = x_BCHW.contiguous(memory_format=self.memory_format)
        if draw.row_B is None or draw.column_B is None:
            return x_BCHW
        height, width = x_BCHW.shape[2:]
        hole_BHW = self._reach(draw.row_B, height)[:, :, None] & self._reach(draw.column_B, width)[:, None, :]
        return x_BCHW.masked_fill_(hole_BHW[:, None], 0)

    def _crop(self, images_BCHW: Tensor, draw: Draw) -> Tensor:
        """Crops and mirrors by one gather of pixels, with the same map for all channels of an image."""
        if draw.top_B is None and draw.flip_B is None:
            return images_BCHW
        num_images, channels, height, width = images_BCHW.shape
        device = images_BCHW.device
        rows = torch.arange(height, device=device).expand(num_images, height)
        columns = torch.arange(width, device=device).expand(num_images, width)
        if draw.flip_B is not None:
            columns = torch.where(draw.flip_B[:, None], width - 1 - columns, columns)
        if draw.top_B is not None and draw.left_B is not None:
            rows_around = 0 if _along_time(images_BCHW) else self.pad
            images_BCHW = F.pad(images_BCHW, (self.pad, self.pad, rows_around, rows_around))
            rows = rows + draw.top_B[:, None]
            columns = columns + draw.left_B[:, None]
        pixels = (rows[:, :, None] * images_BCHW.shape[3] + columns[:, None, :]).view(num_images, 1, -1)
        cropped = images_BCHW.flatten(2).gather(2, pixels.expand(-1, channels, -1))
        return cropped.view(num_images, channels, height, width)

    def _reach(self, centre_B: Tensor, length: int) -> Tensor:
        """Returns which of `length` rows or columns the square covers [B, length]."""
        first_B1 = centre_B[:, None] - self.cutout // 2
        place = torch.arange(length, device=centre_B.device)
        return (place >= first_B1) & (place < first_B1 + self.cutout)


def _along_time(images_BCHW: Tensor) -> bool:
    """Whether they are signals: numbers in a single row."""
    return images_BCHW.is_floating_point() and images_BCHW.shape[2] == 1


def of_batches(source: Any, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of `dataset.augment` that batches of a source are to be augmented by.

    Args:
        source: one that `augments` mirrors, crops and jitters by itself, image by image.
        settings: `dataset.augment`.

    Raises:
        ConfigError: something is to be done to signals or float images that only pictures bear.
    """
    if getattr(source, "floats", False):
        kind, names = "float images", ["jitter"]
        if is_signal(source):
            kind, names = "signals", ["flip", "crop", "jitter"]
        for name in names:
            require(
                not settings.get(name),
                f"dataset.augment.{name}={settings.get(name)}: for pictures only, and {source.name} holds "
                f"{kind}; leave it off" + (SIGNALS_BEAR if kind == "signals" else ""),
            )
    single = getattr(source, "augments", False)
    return {key: value for key, value in settings.items() if key == "pad" or not single}


def _through(steps: Sequence[Any], image_CHW: Tensor) -> Tensor:
    for step in steps:
        image_CHW = step(image_CHW)
    return image_CHW
