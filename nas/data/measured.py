"""Numbers as they were measured: float images and signals, which are no pixels from 0 to 255.

They are kept as float32 in their own units, and networks see them less the mean of each channel, over its
deviation. Everything is read in pieces, so that arrays may be longer than the memory.

Shapes: N images or signals, C channels, H rows, W columns, L time steps (rows are 1, columns L).
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from nas.data.npz import as_pixels, is_unit
from nas.data.sources import Images
from nas.errors import require

PICTURES, FLOATS, SIGNALS = "pictures", "floats", "signals"
KINDS = (None, PICTURES, FLOATS, SIGNALS)
KEY = "dataset.source.kind"
# Numbers that are looked at in one piece.
PIECE = 1 << 22
LARGEST = float(np.finfo(np.float32).max)
# Signals whose numbers could be pixels are this much longer than they have channels, or it is not asked.
LONG = 4


def kind_of(array: np.ndarray, asked: str | None, where: str) -> str:
    """What an array holds: as asked, or else as its numbers and its shape say.

    A single row is a signal. Numbers from 0 to 255 and fractions from 0 to 1 are pixels; other [N, C, H, W]
    are float images, and other [N, C, L] signals.

    Raises:
        ConfigError: it holds no numbers, or has not the shape of what was asked for.
    """
    shape = list(array.shape)
    require(array.dtype.kind in "biuf", f"{where} are {array.dtype}; they must be numbers")
    require(
        array.ndim in (3, 4) and min(shape) > 0,
        f"{where} is {shape}; it must be [N, C, H, W], [N, H, W] for one channel, or [N, C, L] for signals",
    )
    if asked == SIGNALS:
        require(
            array.ndim == 3 or shape[2] == 1,
            f"{where} is {shape}; {KEY}=signals are [N, C, L] (or [N, C, 1, L])",
        )
    if asked is not None:
        return asked
    if array.ndim == 4 and shape[2] == 1:
        return SIGNALS
    if array.dtype.kind in "bu" and array.dtype.itemsize == 1:
        return PICTURES
    lowest, highest = _range(array)
    if lowest >= 0 and highest <= 255:
        return PICTURES
    return SIGNALS if array.ndim == 3 else FLOATS


def doubt(array: np.ndarray, kind: str, asked: str | None) -> str | None:
    """A line where [N, H, W] were taken for grey pictures and look like signals [N, C, L]; else None."""
    alike = array.ndim == 3 and array.dtype != np.uint8 and array.shape[2] >= LONG * array.shape[1]
    if asked is not None or kind != PICTURES or not alike:
        return None
    shape = list(array.shape)
    return f"images are {shape}, read as grey pictures; if they are signals [N, C, L], say {KEY}=signals"


@dataclass(frozen=True)
class Layout:
    """How stored arrays become what networks are given; it is called with a part of one.

    Attributes:
        kind: `pictures`, `floats` or `signals`.
        unit: whether pixels are fractions.
        last: whether channels stand last.
        size: (H, W) that comes out.
        fit: `pad` or `resize`.
        fill: of each channel, what is put around; 0 (black) for pictures, the mean for others.
        where: what messages begin with.
    """

    kind: str
    unit: bool
    last: bool
    size: tuple[int, int]
    fit: str
    fill: tuple[float, ...]
    where: str

    def __call__(self, array: np.ndarray) -> Tensor:
        """Stored [N, ...] -> uint8 or float32 [N, C, H, W]."""
        array = arranged(array, self.kind, self.last)
        if self.kind == PICTURES:
            return fitted(as_pixels(array, self.unit, self.where), self.size, self.fit)
        numbers_NCHW = torch.from_numpy(np.array(array, dtype=np.float32, order="C"))
        if tuple(numbers_NCHW.shape[2:]) == self.size or self.fit == "resize":
            return fitted(numbers_NCHW, self.size, self.fit)
        fill_C11 = torch.tensor(self.fill, dtype=torch.float32)[:, None, None]
        # In the middle of what becomes 0 for the network.
        around = fill_C11.expand(len(numbers_NCHW), -1, *self.size).contiguous()
        height, width = numbers_NCHW.shape[2:]
        top, left = (self.size[0] - height) // 2, (self.size[1] - width) // 2
        around[:, :, top : top + height, left : left + width] = numbers_NCHW
        return around


class MappedImages(Images):
    """Images of a file that is mapped into memory: read when they are asked for.

    Args:
        array: stored images [N, ...].
        labels_N: of those that belong to this part, int64.
        indices_N: which they are.
        layout: what is made of them.
    """

    def __init__(self, array: np.ndarray, labels_N: Tensor, indices_N: Tensor, layout: Layout):
        self.array, self.labels, self.indices, self.layout = array, labels_N, indices_N, layout

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        images_BCHW, labels_B = self.__getitems__([index])
        return images_BCHW[0], int(labels_B[0])

    def __getitems__(self, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Returns the batch ([B, C, H, W], int64 [B]) in the order of `indices`."""
        chosen_B = torch.as_tensor(indices, dtype=torch.int64)
        return self.layout(self.array[self.indices[chosen_B].numpy()]), self.labels[chosen_B]


def arranged(array: np.ndarray, kind: str, last: bool) -> np.ndarray:
    """Stored images as [N, C, H, W]."""
    if array.ndim == 3:
        return array[:, :, None] if kind == SIGNALS else array[:, None]
    return array.transpose(0, 3, 1, 2) if last else array


def fitted(images_NCHW: Tensor, size: Sequence[int], fit: str) -> Tensor:
    """Images [N, C, H', W'] of another size, padded around with 0 or scaled."""
    more = size[0] - images_NCHW.shape[2], size[1] - images_NCHW.shape[3]
    if more == (0, 0):
        return images_NCHW
    if fit == "resize":
        return F.interpolate(images_NCHW, tuple(size), mode="bilinear")
    top, left = more[0] // 2, more[1] // 2
    return F.pad(images_NCHW, (left, more[1] - left, top, more[0] - top))


def check_finite(array: np.ndarray, kind: str, where: str) -> None:
    """Refuses what no network can learn from, with how much of it there is and where it begins.

    Raises:
        ConfigError: there are numbers that are none, infinite, or beyond what float32 holds.
    """
    if array.dtype.kind != "f":
        return
    missing = infinite = beyond = 0
    first: list[int] | None = None
    for start, piece in _pieces(array):
        with np.errstate(invalid="ignore"):
            wrong = ~(np.abs(piece) <= LARGEST)
        if not wrong.any():
            continue
        nan, inf = int(np.isnan(piece).sum()), int(np.isinf(piece).sum())
        missing, infinite, beyond = missing + nan, infinite + inf, beyond + int(wrong.sum()) - nan - inf
        if first is None:
            place = np.unravel_index(int(wrong.argmax()), wrong.shape)
            first = [int(one) for one in (place[0] + start, *place[1:])]
    counts = ((missing, "NaN"), (infinite, "infinite"), (beyond, "beyond float32"))
    found = ", ".join(f"{count:,} {word}" for count, word in counts if count)
    item, axes = ("signal", "channel, time step") if kind == SIGNALS else ("image", "and the place in it")
    require(
        first is None,
        f"{where} holds numbers that cannot be learnt from: {found}, the first at {first} ({item}, {axes}); "
        "fill or leave out what was not measured",
    )


def check_pixels(array: np.ndarray, layout: Layout) -> None:
    """Looks at all pixels of a file now, which are read in the midst of a run; raises as `as_pixels`."""
    if layout.kind == PICTURES and array.dtype != np.uint8:
        for _, piece in _pieces(array):
            as_pixels(piece, layout.unit, layout.where)


def moments(array_NCHW: np.ndarray, indices_N: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel of some images, in two passes of float64.

    Args:
        array_NCHW: all images, as `arranged`.
        indices_N: which of them.

    Returns:
        Of each channel six significant digits; the deviation of one that never changes is 1.
    """
    count, channels = len(indices_N) * math.prod(array_NCHW.shape[2:]), array_NCHW.shape[1]
    total_C, apart_C = np.zeros(channels), np.zeros(channels)
    for piece in _chosen(array_NCHW, indices_N):
        total_C += piece.sum((0, 2, 3), dtype=np.float64)
    mean_C = total_C / count
    for piece in _chosen(array_NCHW, indices_N):
        apart_C += ((piece.astype(np.float64) - mean_C[:, None, None]) ** 2).sum((0, 2, 3))
    std_C = np.sqrt(apart_C / count)
    # What rounding alone leaves of a constant is no deviation.
    std_C = np.where(std_C <= 1e-12 * np.abs(mean_C), 1.0, std_C)
    means, deviations = ([float(f"{one:.6g}") for one in row.tolist()] for row in (mean_C, std_C))
    return tuple(means), tuple(deviations)


def unit_of(array: np.ndarray, kind: str) -> bool:
    """Whether pixels are fractions; numbers that are no pixels are as they are."""
    return kind == PICTURES and is_unit(array)


def _range(array: np.ndarray) -> tuple[float, float]:
    """Least and greatest; what is no number is neither."""
    both = [(np.nanmin(piece), np.nanmax(piece)) for _, piece in _pieces(array) if not np.isnan(piece).all()]
    return float(min((one for one, _ in both), default=0)), float(max((one for _, one in both), default=0))


def _step(array: np.ndarray) -> int:
    return max(1, PIECE // max(1, math.prod(array.shape[1:])))


def _pieces(array: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    step = _step(array)
    for start in range(0, len(array), step):
        yield start, array[start : start + step]


def _chosen(array: np.ndarray, indices_N: Tensor) -> Iterator[np.ndarray]:
    for part in indices_N.split(_step(array)):
        yield array[part.numpy()]
