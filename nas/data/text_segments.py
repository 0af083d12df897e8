"""A token stream in columns that are read side by side, a few time steps at once.

Truncated back-propagation through time goes down the columns segment by segment; the hidden state of each
column passes from one to the next. In training the lengths of the segments are drawn, so that the state is
not cut at the same tokens in every epoch (Merity et al., 2018, section 5); they depend on seed and epoch.

Shapes: N tokens of a stream, T rows, B columns, L time steps of a segment.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from nas.errors import require


class Segment(NamedTuple):
    """What one step of training reads.

    tokens_LB: input, int64 [L, B].
    targets_LB: the tokens that follow, int64 [L, B].
    rate: L over the usual number of time steps: the factor of the step's learning rate, because the loss is
        a mean over the segment and short segments would otherwise weigh more a token.
    first: whether an epoch starts here, so that hidden states have to be reset.
    """

    tokens_LB: Tensor
    targets_LB: Tensor
    rate: float
    first: bool


class SearchSegment(NamedTuple):
    """One step of a search: a segment for the weights, and one for the architecture."""

    weight: Segment
    architecture: Segment


@dataclass(frozen=True)
class SegmentLengths:
    """How many time steps the segments of training have.

    max(shortest, int(Normal(m, deviation))) and at most `longest`, where m is `steps`, or half of it with
    probability `half`. The search of DARTS has deviation 0, so that segments have 35 or 17 steps; its
    evaluation has deviation 5.

    Args:
        steps: the usual number of time steps
        half: probability of a segment about half as long
        deviation: standard deviation in time steps
        shortest: least number of steps, at least 2 (temporal activation regularisation takes differences)
        longest: greatest number of steps, which bounds the memory

    Raises:
        ConfigError: a number is out of range.
    """

    steps: int = 35
    half: float = 0.05
    deviation: float = 0.0
    shortest: int = 5
    longest: int = 55

    def __post_init__(self):
        require(
            2 <= self.shortest <= self.steps <= self.longest,
            "dataset.bptt: needs 2 <= shortest <= steps <= longest, not "
            f"shortest={self.shortest}, steps={self.steps}, longest={self.longest}",
        )
        require(0 <= self.half <= 1, f"dataset.bptt.half: must be from 0 to 1, not {self.half}")
        require(self.deviation >= 0, f"dataset.bptt.deviation: must be at least 0, not {self.deviation}")

    def draw(self, rng: np.random.RandomState) -> int:
        """Returns the length of the next segment."""
        mean = self.steps if rng.random_sample() >= self.half else self.steps / 2
        length = int(rng.normal(mean, self.deviation))
        return min(max(self.shortest, length), self.longest)


def columns(
    stream_N: Tensor, num_columns: int, num_replicas: int = 1, rank: int = 0, key: str = "dataset.batch_size"
) -> Tensor:
    """Cuts a stream into columns of equal length; what is left over at its end is dropped.

    With several replicas all their columns together make up the stream, and each gets its own neighbouring
    ones.

    Args:
        stream_N: the tokens [N]
        num_columns: B, columns of one replica
        num_replicas: processes that share the stream
        rank: number of this process, from 0
        key: the setting that `num_columns` came from

    Returns:
        int64 [T, B], contiguous: column b holds T consecutive tokens, and column b + 1 goes on from there.

    Raises:
        ConfigError: a number is out of range, or there are not 2 tokens for every column.
    """
    require(num_replicas >= 1, f"the number of processes must be at least 1, not {num_replicas}")
    require(0 <= rank < num_replicas, f"rank must be from 0 to {num_replicas - 1}, not {rank}")
    most = len(stream_N) // (2 * num_replicas)
    require(
        most >= 1,
        f"dataset.root: a part of the text has {len(stream_N)} tokens, and a column ({key}) of each of "
        f"{num_replicas} process(es) needs 2; more text is needed",
    )
    require(
        isinstance(num_columns, int) and 1 <= num_columns <= most,
        f"{key}: must be an integer from 1 to {most}, so that each column holds 2 of the {len(stream_N)} "
        f"tokens, not {num_columns!r}",
    )
    num_rows = len(stream_N) // (num_columns * num_replicas)
    start = rank * num_columns * num_rows
    own_N = stream_N[start : start + num_columns * num_rows]
    return own_N.view(num_columns, num_rows).t().contiguous()


class Segments(Dataset):
    """Segments of columns by (first row, number of time steps).

    Args:
        columns_TB: as `columns` returns them
        steps: the usual number of time steps, where the factor of the learning rate is 1
    """

    def __init__(self, columns_TB: Tensor, steps: int):
        self.columns_TB = columns_TB
        self.steps = steps

    def __getitem__(self, where: tuple[int, int]) -> Segment:
        start, length = where
        stop = start + length
        return Segment(
            self.columns_TB[start:stop],
            self.columns_TB[start + 1 : stop + 1],
            rate=length / self.steps,
            first=start == 0,
        )


class SearchSegments(Dataset):
    """Segments for the weights, with one for the architecture beside each.

    As in the DARTS code, the architecture's segment starts at the same row as the weights', modulo its own
    length, has the usual number of time steps whatever the weights' has, and is cut short by the end of its
    columns. Its `first` is that of the weights: its hidden state is reset with theirs, not where it wraps.

    Args:
        weight_TB: columns for the weights
        architecture_TB: columns for the architecture, of any length
        steps: the usual number of time steps
    """

    def __init__(self, weight_TB: Tensor, architecture_TB: Tensor, steps: int):
        self.weight = Segments(weight_TB, steps)
        self.architecture = Segments(architecture_TB, steps)

    def __getitem__(self, where: tuple[int, int]) -> SearchSegment:
        targets = len(self.architecture.columns_TB) - 1
        start = where[0] % targets
        architecture = self.architecture[start, min(self.architecture.steps, targets - start)]
        weight = self.weight[where]
        return SearchSegment(weight, architecture._replace(first=weight.first))


class SegmentSampler(Sampler[tuple[int, int]]):
    """Goes once down the rows, in segments whose lengths depend on seed, stream and epoch alone.

    A segment of one time step at the end is left out: temporal activation regularisation has no difference to
    take there. Otherwise every row but the last is read once, in order.

    The number of segments changes with the epoch. Lightning asks a loader for its length when it gets it, so
    let it ask for a new one every epoch (`reload_dataloaders_every_n_epochs=1`) and set the epoch first.

    Args:
        num_rows: T
        lengths: how they are drawn
        seed: of the run, 0 to 2**32 - 1
        stream: tells samplers of one run apart

    Raises:
        ConfigError: there are fewer than 3 rows, or the seed is out of range.
    """

    def __init__(self, num_rows: int, lengths: SegmentLengths, seed: int, stream: int = 0):
        require(
            num_rows >= 3,
            f"dataset.batch_size: leaves {num_rows} tokens a column, and training needs at least 3; use "
            "fewer columns or more text (dataset.fraction)",
        )
        valid_seed = isinstance(seed, int) and 0 <= seed < 2**32
        require(valid_seed, f"seed: must be an integer from 0 to {2**32 - 1}, not {seed!r}")
        self.num_rows = num_rows
        self.lengths = lengths
        self._numbers = (seed, stream)
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Makes the next pass that of `epoch`."""
        entropy = np.random.SeedSequence((*self._numbers, epoch))
        # NumPy promises that this generator's stream never changes.
        rng = np.random.RandomState(entropy.generate_state(8))
        self._segments = []
        start, targets = 0, self.num_rows - 1
        while targets - start >= 2:
            length = min(self.lengths.draw(rng), targets - start)
            self._segments.append((start, length))
            start += length

    def __len__(self) -> int:
        return len(self._segments)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(self._segments)


class InOrder(Sampler[tuple[int, int]]):
    """Goes once down the rows in segments of equal length; the last is as long as what is left.

    Args:
        num_rows: T
        steps: time steps of a segment
    """

    def __init__(self, num_rows: int, steps: int):
        self.num_rows = num_rows
        self.steps = steps

    def __len__(self) -> int:
        return len(range(0, self.num_rows - 1, self.steps))

    def __iter__(self) -> Iterator[tuple[int, int]]:
        targets = self.num_rows - 1
        return ((start, min(self.steps, targets - start)) for start in range(0, targets, self.steps))


def training_segments(columns_TB: Tensor, lengths: SegmentLengths, seed: int, stream: int = 0) -> DataLoader:
    """Returns a loader of `Segment` for an evaluation network's training.

    Call `loader.sampler.set_epoch(epoch)` before every epoch (see `SegmentSampler`).
    """
    return _loader(
        Segments(columns_TB, lengths.steps), SegmentSampler(len(columns_TB), lengths, seed, stream)
    )


def search_segments(
    weight_TB: Tensor, architecture_TB: Tensor, lengths: SegmentLengths, seed: int, stream: int = 0
) -> DataLoader:
    """Returns a loader of `SearchSegment`; an epoch is one pass down the columns for the weights.

    Call `loader.sampler.set_epoch(epoch)` before every epoch (see `SegmentSampler`).
    """
    segments = SearchSegments(weight_TB, architecture_TB, lengths.steps)
    return _loader(segments, SegmentSampler(len(weight_TB), lengths, seed, stream))


def segments_in_order(columns_TB: Tensor, steps: int) -> DataLoader:
    """Returns a loader of `Segment` that reads every target once, for validation and test.

    Raises:
        ConfigError: `steps` is below 1.
    """
    require(steps >= 1, f"dataset.bptt.steps: must be at least 1, not {steps}")
    return _loader(Segments(columns_TB, steps), InOrder(len(columns_TB), steps))


def _loader(segments: Dataset, sampler: Sampler) -> DataLoader:
    # A segment is a batch already. Slices of one tensor need no worker processes.
    # A generator of its own: starting to read must not move the one that dropout draws from.
    return DataLoader(segments, batch_size=None, sampler=sampler, generator=torch.Generator())
