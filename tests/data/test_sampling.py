"""Even draws of uneven classes: how often each comes, on how many processes, and from which seeds."""

import pytest
import torch

from nas.data.loaders import ResidentImages, batches
from nas.data.sampling import EvenClasses
from nas.data.sources import TensorImages
from tests.data.test_loaders import OneByOne, order

LABELS_N = torch.tensor([2] * 30 + [0] * 600 + [1] * 70)


def uneven() -> TensorImages:
    return TensorImages(torch.zeros(700, 1, 1, 1, dtype=torch.uint8), LABELS_N)


def test_every_class_comes_equally_often_and_every_image_of_it():
    drawn = torch.tensor(EvenClasses(LABELS_N).draw(30_000, seed=3))
    assert LABELS_N[drawn].bincount() / 30_000 == pytest.approx(torch.full((3,), 1 / 3).numpy(), abs=0.01)
    # 10,000 draws of 30 images: 333 of each, with a deviation of 18.
    counts_N = drawn.bincount(minlength=700)[:30]
    assert counts_N.min() > 250 and counts_N.max() < 420
    assert (drawn.bincount(minlength=700) > 0).float().mean() > 0.99


def test_a_class_that_is_not_there_is_not_drawn():
    assert set(EvenClasses(torch.tensor([5, 0, 5])).draw(50, seed=0)) == {0, 1, 2}


@pytest.mark.parametrize("count", [700, 699])
def test_processes_share_one_draw_of_an_epoch(count):
    settings = {"batch_size": 10, "shuffle": True, "seed": 4, "balanced": True}
    alone = batches(uneven(), torch.arange(count), **settings)
    pair = [batches(uneven(), torch.arange(count), num_replicas=2, rank=rank, **settings) for rank in (0, 1)]
    for loader in (alone, *pair):
        loader.sampler.set_epoch(2)
    whole, first, second = (list(loader.sampler) for loader in (alone, *pair))
    # Of an odd number one more is drawn, so that both make as many steps.
    assert len(whole) == count and len(first) == len(second) == 350
    assert whole[0::2] == first and whole[1::2] == second[: count // 2] and first != second


def test_an_epoch_depends_on_seed_stream_and_epoch_alone():
    def loader(**changed):
        return batches(
            uneven(), torch.arange(700), **({"batch_size": 10, "shuffle": True, "seed": 0} | changed)
        )

    even = loader(balanced=True)
    third = order(even, 0) and order(even, 1) and order(even, 2)
    assert third == order(loader(balanced=True), 2)
    others = [loader(balanced=True, **changed) for changed in ({"seed": 1}, {"stream": 1})]
    assert third not in [order(even, 1), *(order(other, 2) for other in others)]
    assert sorted(order(loader(), 2)) == sorted(LABELS_N.tolist())
    assert abs(third.count(2) - 233) < 60
    resident = batches(
        ResidentImages(uneven(), torch.device("cpu")), torch.arange(700),
        batch_size=10, shuffle=True, seed=0, balanced=True,
    )  # fmt: skip
    assert order(resident, 2) == third


def test_what_is_measured_comes_once_and_in_order():
    loader = batches(uneven(), torch.arange(700), batch_size=50, shuffle=False, seed=0, balanced=True)
    assert order(loader) == LABELS_N.tolist()


@pytest.mark.parametrize("workers", [0, 2])
def test_an_image_that_comes_twice_is_augmented_in_two_ways(workers):
    files = OneByOne()
    files.labels = torch.tensor([0] + [1] * 11)
    loader = batches(
        files, torch.arange(12), batch_size=4, shuffle=True, seed=0, balanced=True, num_workers=workers
    )
    images = []
    for images_BCHW, labels_B in loader:
        images += [tuple(image.flatten().tolist()) for image in images_BCHW[labels_B == 0]]
    assert len(images) > 2 and len(set(images)) == len(images)
