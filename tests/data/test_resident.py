"""Images that rest on a device come in the same batches; alternating loaders leave no image out."""

import pytest
import torch

from nas.data.loaders import EveryFew, ResidentBatches, ResidentImages, batches
from nas.data.sources import TensorImages


def images(count=23):
    """Images whose pixels and label are their number."""
    labels_N = torch.arange(count)
    return TensorImages(labels_N.to(torch.uint8)[:, None, None, None].expand(-1, 1, 2, 2).clone(), labels_N)


def both(**arguments):
    """The loader of images in memory, and that of the same images at rest on a device."""
    held = images()
    moved = ResidentImages(held, torch.device("cpu"))
    indices = torch.tensor([*range(20, 2, -1), 21, 22])
    chosen = {"batch_size": 4, "shuffle": True, "seed": 5} | arguments
    return [batches(dataset, indices, **chosen) for dataset in (held, moved)]


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"shuffle": False},
        {"batch_size": 19},  # the single image that would be left over is dropped
        {"batch_size": 3},
        {"num_replicas": 3, "rank": 2},
        {"num_replicas": 3, "rank": 1, "shuffle": False},
        {"seed": 6, "stream": 1},
        {"num_workers": 2},
    ],
)
def test_batches_at_rest_are_those_of_memory_bit_by_bit(arguments):
    memory, rest = both(**arguments)
    assert isinstance(rest, ResidentBatches) and not isinstance(memory, ResidentBatches)
    assert len(memory) == len(rest)
    for epoch in (0, 3):
        memory.sampler.set_epoch(epoch)
        rest.sampler.set_epoch(epoch)
        found = list(zip(memory, rest, strict=True))
        assert len(found) == len(rest)
        for (x_BCHW, y_B), (rest_BCHW, rest_B) in found:
            assert torch.equal(x_BCHW, rest_BCHW) and torch.equal(y_B, rest_B)


def test_batches_are_gathered_where_the_images_rest():
    moved = ResidentImages(images(), torch.device("meta"))
    loader = batches(moved, torch.arange(8), batch_size=4, shuffle=False, seed=0)
    assert [(x_BCHW.device.type, y_B.device.type) for x_BCHW, y_B in loader] == [("meta", "meta")] * 2


def test_reading_at_rest_draws_nothing_from_the_global_generator():
    _, rest = both()
    torch.manual_seed(0)
    before = torch.get_rng_state()
    list(rest)
    assert torch.equal(before, torch.get_rng_state())


def alternating(every, start=0, weight=8, architecture=5):
    """A loader whose weight batches are 0, 1, ... and whose architecture batches are 100, 101, ..."""
    loaders = [
        batches(images(count), torch.arange(count), batch_size=1, shuffle=True, seed=0, stream=stream)
        for stream, count in enumerate((weight, architecture))
    ]
    return EveryFew(*loaders, every, lambda: start), loaders


def labels(batch):
    return None if batch is None else int(batch[1])


@pytest.mark.parametrize("every", [1, 2, 4])
def test_the_second_loader_is_read_batch_by_batch_and_only_where_it_is_wanted(every):
    found, (weight, architecture) = alternating(every)
    found.sampler.set_epoch(2)
    steps = [(labels(step["weight"]), labels(step["architecture"])) for step in found]
    assert [step[0] for step in steps] == [int(y_B) for _, y_B in weight]
    assert [number for number, step in enumerate(steps) if step[1] is not None] == list(
        range(every - 1, 8, every)
    )
    order = [int(y_B) for _, y_B in architecture]
    given = [step[1] for step in steps if step[1] is not None]
    assert given == (order + order)[: len(given)]
    assert len(found) == 8


def test_a_pass_reads_every_image_of_the_second_where_both_fill_it():
    """4:1, as DSO-NAS on ImageNet: a fifth of the images, and every fourth step."""
    found, _ = alternating(every=4, weight=16, architecture=4)
    assert sorted(labels(step["architecture"]) for step in found if step["architecture"]) == [0, 1, 2, 3]


def test_counting_goes_on_from_epoch_to_epoch():
    found, _ = alternating(every=3, start=8)  # 8 steps before: the ninth is this epoch's first
    assert [number for number, step in enumerate(found) if step["architecture"]] == [0, 3, 6]


def test_both_samplers_take_the_epoch():
    found, loaders = alternating(every=2)
    found.sampler.set_epoch(7)
    assert [loader.sampler.epoch for loader in loaders] == [7, 7]
