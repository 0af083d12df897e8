"""Which images a search and an evaluation use: disjoint, balanced, repeatable, storable."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nas.data.draw_split import split, stratified, subset
from nas.data.split import Split
from nas.errors import ConfigError

labels_lists = st.lists(st.integers(0, 3), min_size=12, max_size=80).map(lambda labels: [3, *labels, 0])
modes = st.sampled_from(["ordered", "random", "stratified"])
shares = st.floats(0.2, 0.8)


@given(labels_lists, modes, shares, st.floats(0.5, 1.0), st.integers(0, 2**32 - 1))
def test_parts_are_disjoint_sorted_and_as_large_as_asked(labels, mode, ratio, fraction, seed):
    parts = split(torch.tensor(labels), mode, ratio, fraction, seed)
    both = torch.cat([parts.weight, parts.architecture])
    assert len(both.unique()) == len(both)
    assert int(both.min()) >= 0 and int(both.max()) < len(labels)
    first = int(len(labels) * ratio + 1e-9)
    assert len(parts.weight) == int(first * fraction + 1e-9)
    assert len(parts.architecture) == int((len(labels) - first) * fraction + 1e-9)


@given(labels_lists, modes, shares, st.floats(0.5, 1.0), st.integers(0, 99))
def test_a_smaller_fraction_never_moves_an_image_to_the_other_part(labels, mode, ratio, fraction, seed):
    whole = split(torch.tensor(labels), mode, ratio, 1.0, seed)
    part = split(torch.tensor(labels), mode, ratio, fraction, seed)
    assert set(part.weight.tolist()) <= set(whole.weight.tolist())
    assert set(part.architecture.tolist()) <= set(whole.architecture.tolist())


@given(labels_lists, st.floats(0.0, 1.0), st.integers(0, 99))
def test_stratified_keeps_every_class_within_one_image_of_its_share(labels, share, seed):
    labels_N = torch.tensor(labels)
    count = int(share * len(labels))
    chosen, rest = stratified(labels_N, count, seed)
    assert len(chosen) == count and len(rest) == len(labels) - count
    exact = labels_N.bincount(minlength=4) * count / len(labels)
    assert ((labels_N[chosen].bincount(minlength=4) - exact).abs() < 1).all()


def test_ordered_is_the_papers_first_and_second_half():
    parts = split(torch.arange(50_000) % 10)
    assert torch.equal(parts.weight, torch.arange(25_000))
    assert torch.equal(parts.architecture, torch.arange(25_000, 50_000))


def test_ordered_takes_the_first_share_of_each_half():
    parts = split(torch.arange(100) % 10, fraction=0.1)
    assert (parts.weight.tolist(), parts.architecture.tolist()) == ([*range(5)], [*range(50, 55)])


def test_drnas_on_imagenet_is_ten_and_two_and_a_half_percent_of_every_class():
    labels_N = torch.arange(5).repeat_interleave(1000)
    parts = split(labels_N, "stratified", ratio=0.8, fraction=0.125, seed=3)
    assert labels_N[parts.weight].bincount().tolist() == [100] * 5
    assert labels_N[parts.architecture].bincount().tolist() == [25] * 5


def test_shares_are_not_lost_to_binary_rounding():
    assert len(split(torch.arange(100) % 7, ratio=0.29).weight) == 29


@pytest.mark.parametrize("mode", ["random", "stratified"])
def test_a_draw_depends_on_its_seed_alone(mode):
    labels_N = torch.arange(60) % 3
    assert split(labels_N, mode, seed=1) == split(labels_N, mode, seed=1)
    assert split(labels_N, mode, seed=1) != split(labels_N, mode, seed=2)


def test_hashes_are_the_same_on_every_machine_and_version():
    labels_N = torch.arange(60) % 3
    hashes = {mode: split(labels_N, mode, seed=1).hash[:12] for mode in ("ordered", "random", "stratified")}
    assert hashes == {
        "ordered": "d2f91e0b5f07",
        "random": "f3f5d69f988c",
        "stratified": "43a4dd9424fd",
    }


def test_runs_are_stored_as_start_and_stop():
    parts = Split(weight=torch.tensor([0, 1, 2, 5, 7, 8]), architecture=torch.tensor([3]))
    assert parts.to_dict()["weight"] == [[0, 3], 5, [7, 9]]


@pytest.mark.parametrize(
    "arguments, complaint",
    [
        ({"mode": "halves"}, "dataset.split: must be one of ordered, random, stratified, not 'halves'"),
        ({"ratio": 1.0}, "dataset.split_ratio: .* not 1.0"),
        ({"fraction": 0.0}, "dataset.fraction: .* not 0.0"),
        ({"fraction": 1.5}, "dataset.fraction: .* not 1.5"),
        ({"fraction": 0.01}, "leave 0 of 20 images for the weights and 0 for"),
        ({"seed": -1}, "split_seed: .* not -1"),
    ],
)
def test_arguments_out_of_range_are_named(arguments, complaint):
    with pytest.raises(ConfigError, match=complaint):
        split(torch.arange(20) % 3, **arguments)


def test_ordered_halves_of_a_set_sorted_by_class_would_share_no_class():
    with pytest.raises(ConfigError, match="use stratified or random"):
        split(torch.tensor([0, 0, 1, 1]), "ordered")


def test_an_evaluation_trains_on_everything_unless_told_otherwise():
    train, valid = subset(torch.arange(30) % 3)
    assert torch.equal(train, torch.arange(30)) and len(valid) == 0


@pytest.mark.parametrize("mode", ["ordered", "random", "stratified"])
def test_a_validation_share_is_held_out_of_the_chosen_images(mode):
    train, valid = subset(torch.arange(60) % 3, fraction=0.5, mode=mode, valid=0.2)
    assert (len(train), len(valid)) == (24, 6)
    assert not set(train.tolist()) & set(valid.tolist())


@pytest.mark.parametrize(
    "arguments", [{"valid": 1.0}, {"valid": -0.1}, {"valid": 0.001}, {"fraction": 0.001}]
)
def test_an_evaluation_needs_images(arguments):
    with pytest.raises(ConfigError, match=r"dataset\.(valid|fraction)"):
        subset(torch.arange(30) % 3, **arguments)
