"""Loaders: the order of an epoch, the last batch, replicas, and per-image data sets."""

import random

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

from nas.data.loaders import batches
from nas.data.sources import TensorImages
from nas.errors import ConfigError


class OneByOne(Dataset):
    """Image files in miniature: images that come one at a time, augmented at random on the way."""

    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return torch.randint(0, 256, (1, 2, 2), dtype=torch.uint8), index


def numbered(count: int) -> TensorImages:
    """Images whose label is their index and whose every pixel is, too."""
    labels_N = torch.arange(count)
    return TensorImages(labels_N.to(torch.uint8)[:, None, None, None].expand(-1, 1, 2, 2), labels_N)


def load(count: int = 20, indices: torch.Tensor | None = None, **arguments):
    defaults = {"batch_size": 4, "shuffle": True, "seed": 0}
    everything = torch.arange(count)
    return batches(numbered(count), everything if indices is None else indices, **(defaults | arguments))


def order(loader, epoch: int = 0) -> list[int]:
    loader.sampler.set_epoch(epoch)
    return torch.cat([labels_B for _, labels_B in loader]).tolist()


def test_batches_are_uint8_images_with_their_own_labels():
    for images_BCHW, labels_B in load():
        assert images_BCHW.shape == (4, 1, 2, 2) and images_BCHW.dtype == torch.uint8
        assert torch.equal(images_BCHW[:, 0, 0, 0].to(torch.int64), labels_B)


def test_only_the_given_indices_come_and_in_order_unless_shuffled():
    indices = torch.tensor([3, 5, 8, 13, 1])
    assert order(load(indices=indices, shuffle=False)) == [3, 5, 8, 13, 1]
    assert sorted(order(load(indices=indices, batch_size=5))) == [1, 3, 5, 8, 13]


def test_an_epoch_has_the_same_order_after_a_resume():
    running, resumed = load(), load()
    orders = [order(running, epoch) for epoch in range(3)]
    assert order(resumed, epoch=2) == orders[2]
    assert orders[0] != orders[1] != orders[2]


def test_seeds_epochs_and_streams_all_give_their_own_order():
    orders = [
        tuple(order(load(seed=seed, stream=stream), epoch))
        for seed in range(3)
        for stream in range(2)
        for epoch in range(3)
    ]
    assert len(set(orders)) == len(orders)


@pytest.mark.parametrize(
    "count, shuffle, sizes",
    [(9, True, [4, 4]), (9, False, [4, 4, 1]), (10, True, [4, 4, 2]), (8, True, [4, 4])],
)
def test_a_last_single_image_is_dropped_only_when_shuffling(count, shuffle, sizes):
    loader = load(count, shuffle=shuffle)
    assert [len(labels_B) for _, labels_B in loader] == sizes
    assert len(loader) == len(sizes)


def test_batches_of_one_image_are_allowed_when_asked_for():
    assert len(load(5, batch_size=1)) == 5


def test_replicas_share_the_images_and_make_equally_many_steps():
    parts = [order(load(10, batch_size=3, num_replicas=4, rank=rank)) for rank in range(4)]
    assert {len(part) for part in parts} == {3}
    assert set().union(*parts) == set(range(10))


def test_drawing_a_batch_leaves_torchs_global_generator_alone():
    state = torch.get_rng_state()
    order(load())
    assert torch.equal(torch.get_rng_state(), state)


def test_images_that_come_one_by_one_are_collated():
    for images_BCHW, labels_B in batches(OneByOne(), torch.arange(8), batch_size=4, shuffle=False, seed=0):
        assert images_BCHW.shape == (4, 1, 2, 2) and images_BCHW.dtype == torch.uint8
        assert labels_B.dtype == torch.int64


class Drawing(OneByOne):
    """Draws from each of the generators that people draw from."""

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        numbers = [random.randrange(256), np.random.randint(256), int(torch.randint(256, ())), index]
        return torch.tensor(numbers, dtype=torch.uint8).view(1, 2, 2), index


class DrawingWhole(Drawing):
    """The same, read as whole batches."""

    def __getitems__(self, indices: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
        images = [self[index][0] for index in indices]
        return torch.stack(images), torch.tensor(indices)


def drawn(loader, epoch: int) -> dict[int, list[int]]:
    """What was drawn for every image of an epoch, by image."""
    loader.sampler.set_epoch(epoch)
    return {
        int(label): image.flatten().tolist()
        for images_BCHW, labels_B in loader
        for image, label in zip(images_BCHW, labels_B, strict=True)
    }


@pytest.mark.parametrize("dataset", [Drawing(), DrawingWhole()], ids=["one by one", "whole batches"])
@pytest.mark.parametrize("shuffle", [True, False])
def test_what_is_drawn_for_an_image_does_not_depend_on_workers_or_a_resume(dataset, shuffle):
    arguments = {"batch_size": 4, "shuffle": shuffle, "seed": 0}

    def epochs(num_workers: int, numbers: list[int]) -> list[dict[int, list[int]]]:
        loader = batches(dataset, torch.arange(12), num_workers=num_workers, **arguments)
        return [drawn(loader, epoch) for epoch in numbers]

    whole = epochs(0, [0, 1, 2])
    assert whole[0] != whole[1] != whole[2]
    for num_workers in (1, 2, 4):
        assert epochs(num_workers, [0, 1, 2]) == whole
    assert epochs(2, [2]) == epochs(0, [2]) == whole[2:]


def test_an_epoch_that_is_passed_over_twice_is_drawn_anew():
    loader = batches(Drawing(), torch.arange(12), batch_size=4, shuffle=True, seed=0)
    first, second = drawn(loader, 0), drawn(loader, 0)
    assert first != second
    again = batches(Drawing(), torch.arange(12), batch_size=4, shuffle=True, seed=0, num_workers=1)
    assert [drawn(again, 0), drawn(again, 0)] == [first, second]


def test_drawing_images_leaves_the_generators_alone():
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    expected = random.random(), np.random.rand(), float(torch.rand(()))
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    drawn(batches(Drawing(), torch.arange(12), batch_size=4, shuffle=True, seed=0), 0)
    assert (random.random(), np.random.rand(), float(torch.rand(()))) == expected


@pytest.mark.parametrize(
    "arguments, complaint",
    [
        ({"batch_size": 0}, r"dataset\.batch_size: must be an integer from 1 to 20, .* not 0"),
        ({"batch_size": 21}, r"dataset\.batch_size: must be an integer from 1 to 20, .* not 21"),
        ({"batch_size": 6, "num_replicas": 4}, r"dataset\.batch_size: must be an integer from 1 to 5"),
        ({"batch_size": 2.5, "key": "recipe.batch_size"}, r"recipe\.batch_size: .* not 2\.5"),
        ({"seed": -1}, "seed: .* not -1"),
        ({"num_workers": -1}, r"dataset\.num_workers: .* not -1"),
        ({"rank": 1}, "rank must be from 0 to 0, not 1"),
        ({"indices": torch.tensor([20])}, "indices run from 20 to 20, but the data set holds 20 images"),
        ({"indices": torch.tensor([], dtype=torch.int64)}, "holds no image"),
    ],
)
def test_settings_out_of_range_are_named(arguments, complaint):
    with pytest.raises(ConfigError, match=complaint):
        load(**arguments)
