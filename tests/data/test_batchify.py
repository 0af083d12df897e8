"""Columns, segments and their lengths: what is read, in which order, and that an epoch can be repeated."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nas.data.text_segments import (
    SegmentLengths,
    columns,
    search_segments,
    segments_in_order,
    training_segments,
)
from nas.errors import ConfigError

SEARCH = SegmentLengths()
EVALUATION = SegmentLengths(deviation=5.0)


@given(num_tokens=st.integers(2, 500), num_columns=st.integers(1, 40), replicas=st.integers(1, 3))
def test_columns_hold_each_token_once_and_in_order(num_tokens, num_columns, replicas):
    stream_N = torch.arange(num_tokens)
    if num_tokens < 2 * num_columns * replicas:
        with pytest.raises(ConfigError):
            columns(stream_N, num_columns, replicas)
        return
    parts = [columns(stream_N, num_columns, replicas, rank) for rank in range(replicas)]
    for part_TB in parts:
        assert part_TB.shape[1] == num_columns
        assert part_TB.is_contiguous()
        assert bool((part_TB[1:] == part_TB[:-1] + 1).all()), "a column is a run of the stream"
    read_N = torch.cat([part_TB.t().reshape(-1) for part_TB in parts])
    assert torch.equal(read_N, stream_N[: len(read_N)])
    assert num_tokens - len(read_N) < num_columns * replicas


lengths = st.builds(
    SegmentLengths,
    steps=st.integers(5, 40),
    half=st.floats(0, 1),
    deviation=st.floats(0, 8),
    shortest=st.integers(2, 5),
    longest=st.integers(40, 60),
)


@given(lengths=lengths, num_rows=st.integers(3, 300), seed=st.integers(0, 2**32 - 1), epoch=st.integers(0, 9))
def test_training_reads_the_rows_in_order_and_targets_are_one_ahead(lengths, num_rows, seed, epoch):
    columns_TB = columns(torch.arange(num_rows * 2), 2)
    loader = training_segments(columns_TB, lengths, seed)
    loader.sampler.set_epoch(epoch)
    segments = list(loader)
    assert len(segments) == len(loader)
    tokens_TB = torch.cat([segment.tokens_LB for segment in segments])
    assert torch.equal(tokens_TB, columns_TB[: len(tokens_TB)])
    assert num_rows - 1 - len(tokens_TB) in (0, 1), "all but a single last target"
    assert torch.equal(torch.cat([segment.targets_LB for segment in segments]), tokens_TB + 1)
    sizes = [len(segment.tokens_LB) for segment in segments]
    assert all(lengths.shortest <= size <= lengths.longest for size in sizes[:-1])
    assert 2 <= sizes[-1] <= lengths.longest
    assert [segment.rate for segment in segments] == [size / lengths.steps for size in sizes]
    assert [segment.first for segment in segments] == [True] + [False] * (len(segments) - 1)


@given(num_rows=st.integers(2, 200), steps=st.integers(1, 50))
def test_validation_reads_every_target_once(num_rows, steps):
    columns_TB = columns(torch.arange(num_rows * 3), 3)
    loader = segments_in_order(columns_TB, steps)
    segments = list(loader)
    assert len(segments) == len(loader)
    assert torch.equal(torch.cat([segment.targets_LB for segment in segments]), columns_TB[1:])
    assert torch.equal(torch.cat([segment.tokens_LB for segment in segments]), columns_TB[:-1])
    assert {len(segment.tokens_LB) for segment in segments[:-1]} <= {steps}


def sizes(
    lengths: SegmentLengths, seed: int, epoch: int, stream: int = 0, num_rows: int = 20_000
) -> list[int]:
    loader = training_segments(torch.zeros(num_rows, 1, dtype=torch.int64), lengths, seed, stream)
    loader.sampler.set_epoch(epoch)
    return [length for _, length in loader.sampler]


def test_a_search_has_pieces_of_35_steps_and_a_twentieth_of_them_half_as_long():
    drawn = sizes(SEARCH, seed=0, epoch=0)[:-1]
    assert set(drawn) == {35, 17}
    assert drawn.count(17) / len(drawn) == pytest.approx(0.05, abs=0.02)


def test_an_evaluation_draws_lengths_around_these():
    drawn = torch.tensor(sizes(EVALUATION, seed=0, epoch=0, num_rows=200_000)[:-1], dtype=torch.float64)
    assert 5 <= drawn.min() < 17
    assert 45 < drawn.max() <= 55
    # int() takes half a step off both means, and a twentieth of the segments is around the lower one.
    mean = 0.95 * 34.5 + 0.05 * 17.0
    variance = 5.0**2 + 0.95 * 0.05 * 17.5**2
    assert float(drawn.mean()) == pytest.approx(mean, abs=0.25)
    assert float(drawn.std()) == pytest.approx(variance**0.5, abs=0.25)


def test_lengths_stay_within_their_bounds():
    wild = SegmentLengths(steps=10, deviation=50.0, shortest=3, longest=12)
    assert {min(drawn := sizes(wild, 0, 0)[:-1]), max(drawn)} == {3, 12}


def test_an_epoch_depends_on_seed_stream_and_number_alone():
    first = sizes(EVALUATION, seed=3, epoch=7)
    loader = training_segments(torch.zeros(20_000, 1, dtype=torch.int64), EVALUATION, seed=3)
    for epoch in (0, 2, 9, 7):
        loader.sampler.set_epoch(epoch)
        list(loader.sampler)
    assert [length for _, length in loader.sampler] == first
    others = [sizes(EVALUATION, 3, 8), sizes(EVALUATION, 4, 7), sizes(EVALUATION, 3, 7, stream=1)]
    assert first not in others
    assert sizes(EVALUATION, seed=0, epoch=1) != sizes(EVALUATION, seed=1, epoch=0)


def test_the_lengths_of_a_seed_never_change():
    assert sizes(EVALUATION, seed=0, epoch=0)[:8] == [33, 35, 35, 30, 32, 36, 33, 27]


@pytest.mark.parametrize("architecture_rows", [20, 41, 500])
def test_the_architecture_reads_beside_the_weights_and_starts_again_at_its_end(architecture_rows):
    weight_TB = columns(torch.arange(2 * 200), 2)
    architecture_TB = columns(torch.arange(1000, 1000 + 2 * architecture_rows), 2)
    targets = architecture_rows - 1
    row = 0
    for step in search_segments(weight_TB, architecture_TB, SEARCH, seed=0):
        start = row % targets
        stop = min(start + 35, targets)
        assert torch.equal(step.weight.tokens_LB[0], weight_TB[row])
        assert torch.equal(step.architecture.tokens_LB, architecture_TB[start:stop])
        assert torch.equal(step.architecture.targets_LB, architecture_TB[start + 1 : stop + 1])
        assert step.weight.first == step.architecture.first == (row == 0)
        row += len(step.weight.tokens_LB)
    assert row == 199


@pytest.mark.parametrize("num_columns", [0, 51, 2.0, None])
def test_a_number_of_columns_that_the_stream_cannot_fill_is_refused(num_columns):
    with pytest.raises(
        ConfigError, match=r"dataset\.valid_batch_size: must be an integer from 1 to 50, so that"
    ):
        columns(torch.arange(100), num_columns, key="dataset.valid_batch_size")


@pytest.mark.parametrize(
    "settings, complaint",
    [
        ({"shortest": 1}, "2 <= shortest <= steps <= longest, not shortest=1, steps=35, longest=55"),
        ({"steps": 60}, "steps=60, longest=55"),
        ({"half": 1.5}, r"dataset\.bptt\.half: must be from 0 to 1, not 1\.5"),
        ({"deviation": -1.0}, r"dataset\.bptt\.deviation: must be at least 0, not -1\.0"),
    ],
)
def test_bad_lengths_are_named(settings, complaint):
    with pytest.raises(ConfigError, match=complaint):
        SegmentLengths(**settings)


def test_too_short_a_text_and_a_bad_seed_are_named():
    with pytest.raises(ConfigError, match="leaves 2 tokens a column, and training needs at least 3"):
        training_segments(torch.zeros(2, 4, dtype=torch.int64), SEARCH, seed=0)
    with pytest.raises(ConfigError, match="seed: must be an integer"):
        training_segments(torch.zeros(9, 4, dtype=torch.int64), SEARCH, seed=-1)
    with pytest.raises(ConfigError, match=r"dataset\.bptt\.steps: must be at least 1, not 0"):
        segments_in_order(torch.zeros(9, 4, dtype=torch.int64), 0)
