"""The memory of a step is counted before it is run, and a run that cannot fit says what would."""

import re
from functools import partial

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import ConstantLR

from nas import genotype as genotypes
from nas.data.cifar import Cifar
from nas.data.digits import Digits
from nas.engine.tasks import Classification
from nas.errors import ConfigError
from nas.measure import memory_fit as fit
from nas.measure.footprint import Footprint, LiveBytes, measure_footprint
from nas.measure.memory_fit import (
    GIB,
    LIBRARIES,
    SLACK,
    Demand,
    Room,
    check_evaluation,
    check_search,
    fit_rows,
)
from nas.measure.shapes import primed
from nas.methods.layout import layout_of
from nas.methods.proximal import AcceleratedProximalGradient
from nas.spaces.darts.space import DartsSpace
from nas.spaces.dso.space import DsoSpace
from nas.spaces.space import ImageInputs
from tests.methods.flat import flat_method, flat_sparse

HARDWARE = {
    "name": "small", "accelerator": "cpu", "devices": 1, "num_nodes": 1, "precision": "32-true",
    "native": False, "wide": True, "recompute": True, "compile": False, "channels_last": True,
    "resident": False,
    "memory_gib": 11, "check_memory": True,
}  # fmt: skip
OPERATIONS = ["none", "skip_connect", "sep_conv_3x3", "dil_conv_5x5"]


def darts(**sizes):
    chosen = {"num_nodes": 1, "num_cells": 3, "init_channels": 4} | sizes
    return DartsSpace("darts", operations=OPERATIONS, **chosen)


def method_of(space, kind=flat_method, **settings):
    optimizer = partial(AcceleratedProximalGradient, lr=0.1) if kind is flat_sparse else torch.optim.Adam
    return kind(
        "method",
        {name: group.shape for name, group in space.groups.items()},
        layout=layout_of(space.groups),
        weight_optimizer=partial(torch.optim.SGD, lr=0.1, momentum=0.9),
        weight_scheduler=partial(ConstantLR, factor=1.0),
        architecture_optimizer=optimizer,
        **settings,
    )


def config_of(batch_size=16, **hardware):
    return {"hardware": HARDWARE | hardware, "dataset": {"batch_size": batch_size}}


def footprint_of(space, method, **hardware):
    return next(iter(fit._search_demands(config_of(**hardware), space, method, Digits()))).footprint


def test_bytes_are_alive_from_the_operator_that_makes_them_until_nobody_holds_them():
    x = torch.ones(100)
    with LiveBytes([x]) as live:
        y = x + 1
        z = y.view(10, 10)  # shares y's storage
        del y
        w = z * 2
        del z
        w.add_(1)
    assert live.moments == [800, 800, 1200, 800]
    assert live.alive == 800


def test_a_forward_and_backward_pass_by_hand():
    """A linear layer of 3 to 5 without bias, loss the sum: what is alive when its gradient is made."""
    layer = nn.Linear(3, 5, bias=False)

    def prepare(batch):
        x_BC = torch.randn(batch, 3)

        def run():
            layer(x_BC).sum().backward()

        layer.weight.grad = None
        return [x_BC, layer.weight], run

    found = measure_footprint(prepare)
    # Weight, its gradient, the loss and its gradient (expanded, one number); input, and 5 outputs an image
    # only until the sum is taken.
    weight, number = 4 * 15, 4
    for batch in (2, 10, 1000):
        forward = weight + number + batch * 4 * (3 + 5)
        backward = 2 * weight + 2 * number + batch * 4 * 3
        assert max(forward, backward) <= found.peak(batch) <= max(forward, backward) + weight + 2 * number


def test_the_peak_is_that_of_a_real_step_of_that_batch():
    space = darts()
    method = method_of(space)
    found = footprint_of(space, method)
    where, options = fit._on_cpu(HARDWARE)
    for batch in (5, 16):
        torch.manual_seed(0)
        steps = fit.SearchSteps(
            fit.apply_hardware(space.supernet(ImageInputs((1, 8, 8), 10)), options),
            method_of(space),
            *(where.batch(batch, ImageInputs((1, 8, 8), 10), seed) for seed in (1, 2)),
            where,
        )
        known = [*primed(steps.supernet, steps.optimizer), *steps.alphas]
        with LiveBytes([*known, *steps.weight_batch, *steps.architecture_batch]) as live:
            steps.search()
        assert found.peak(batch) == max(live.moments)


def test_the_largest_batch_is_the_last_that_fits():
    found = Footprint(torch.tensor([100.0, 500.0, 0.0]), torch.tensor([10.0, 1.0, 0.0]))
    for limit in (501, 502, 600, 601, 1100):
        batch = found.largest_batch(limit)
        assert found.peak(batch) <= limit < found.peak(batch + 1)
    assert found.largest_batch(500.9) == 0


@pytest.fixture(scope="module")
def plain_peak():
    """Bytes of the tiny search at batch 64 with the options above."""
    space = darts()
    return footprint_of(space, method_of(space)).peak(64)


@pytest.mark.parametrize(
    ("changed", "more"),
    [
        ({"recompute": False}, True),
        ({"wide": False, "recompute": False}, True),
        ({"precision": "bf16-mixed"}, False),
        ({"devices": 2}, True),
        ({"accelerator": "gpu", "compile": True}, True),
    ],
)
def test_options_of_the_profile_count(changed, more, plain_peak):
    space = darts()
    method = method_of(space)
    there = footprint_of(space, method, **changed).peak(64)
    assert (there > plain_peak) if more else (there < plain_peak)


def test_second_order_holds_copies_of_the_weights():
    space = darts(init_channels=16)
    first, second = (
        footprint_of(space, method_of(space, update=update)) for update in ("first_order", "unrolled")
    )
    weights = 4 * sum(p.numel() for p in space.supernet(ImageInputs((1, 8, 8), 10)).parameters())
    # The weights as they were, and the gradient at the virtual weights.
    assert second.peak(2) - first.peak(2) >= weights


def test_steps_of_both_on_one_batch_are_followed_too():
    space = DsoSpace("dso", levels=1, blocks_per_stage=[1, 1], init_channels=4)
    turns, joint = (
        footprint_of(space, method_of(space, flat_sparse, update=update))
        for update in ("first_order", "joint")
    )
    # In turn each keeps what its own gradient needs, and together the sum.
    assert joint.peak(64) >= turns.peak(64)
    convolutions = ["sep_conv_3x3", "sep_conv_5x5"]
    fewer = DsoSpace("dso", levels=1, operations=convolutions, blocks_per_stage=[1, 1], init_channels=4)
    assert footprint_of(fewer, method_of(fewer, flat_sparse)).peak(64) < turns.peak(64)


def room_for(footprint, batch):
    """GiB in which a step on this many images just fits."""
    return (LIBRARIES["cpu"] + SLACK * footprint.peak(batch)) / GIB


@pytest.fixture(scope="module")
def tight():
    """A space, and the GiB that 32 images need at K=4, which is less than they need at K=1 or 2."""
    return darts(), room_for(footprint_of(darts(partial=4), method_of(darts())), 32)


def test_a_search_that_does_not_fit_says_what_would(tight):
    space, memory = tight
    with pytest.raises(ConfigError) as error:
        check_search(config_of(32, memory_gib=memory), space, method_of(space), Digits(), 0)
    for words in (
        "hardware=small", "dataset.batch_size=32", "at most", f"hardware.memory_gib={memory}",
        "space.partial=4 at least", "hardware.check_memory=false",
    ):  # fmt: skip
        assert words in str(error.value)
    largest = int(re.search(r"batch_size=(\d+) at most", str(error.value))[1])
    check_search(config_of(largest, memory_gib=memory), space, method_of(space), Digits(), 0)


def test_a_plan_gives_the_numbers(tight):
    space, memory = tight
    rows = dict(fit_rows(config_of(32, memory_gib=memory), space, method_of(space), Digits(), 0))
    assert 1 < int(rows["largest dataset.batch_size that fits"]) < 32
    assert rows["smallest space.partial that fits"] == "4"
    assert "does not fit" in rows["device memory at batch 32, estimated"]


def test_where_nothing_fits_it_says_so():
    room, large = Room(100.0, 0.0), Footprint(torch.tensor([1000.0]), torch.tensor([1.0]))
    demand = Demand("", large, "space.partial", [2, 4], lambda partial: large)
    with pytest.raises(ConfigError, match=r"not even dataset\.batch_size=1, and no space\.partial with"):
        fit._check(HARDWARE, room, demand, 16, "dataset.batch_size")


@pytest.mark.parametrize(("limit", "found"), [(99, None), (100, 16), (199, 16), (200, 8), (450, 4), (800, 2)])
def test_the_smallest_k_that_fits_is_named(limit, found):
    """A network of 1600 / K thousand bytes; a byte or two are lost in rounding."""
    sizes = {k: 1.6e6 / k / SLACK for k in (1, 2, 4, 8, 16)}
    halved = {k: Footprint(torch.tensor([size]), torch.tensor([0.0])) for k, size in sizes.items()}
    demand = Demand("", halved[1], "space.partial", [2, 4, 8, 16], halved.__getitem__)
    assert demand.smallest_partial(Room(1000 * limit + 2, 0.0), 64) == found


def test_each_stage_is_looked_at():
    space = darts(init_channels=8)
    method = method_of(space, stages=[{"epochs": 1, "partial": 8}, {"epochs": 1, "partial": 1, "keep": 2}])
    before = {name: value.clone() for name, value in method.state_dict().items() if torch.is_tensor(value)}
    first, second = fit._search_demands(config_of(), space, method, Digits())
    assert first.footprint.peak(16) < second.footprint.peak(16)
    memory = max(room_for(second.with_partial(2), 16), room_for(first.footprint, 16))
    with pytest.raises(ConfigError, match=r"stage 2 needs .*method\.stages\[1\]\.partial=2 at least"):
        check_search(config_of(16, memory_gib=memory), space, method, Digits(), 0)
    for name, value in method.state_dict().items():
        assert not torch.is_tensor(value) or torch.equal(value, before[name])


def test_what_is_skipped_is_skipped():
    space = darts()
    method = method_of(space)
    for hardware in ({"memory_gib": None}, {"memory_gib": 0.01, "check_memory": False}):
        check_search(config_of(10**6, **hardware), space, method, Digits(), 0)
        assert fit_rows(config_of(10**6, **hardware), space, method, Digits(), 0) == []


def test_the_gpu_at_hand_is_the_limit_unless_the_profile_has_less(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    card = type("Card", (), {"total_memory": 8 * GIB})()
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda number: card)
    for given, limit in ((None, 8), (11, 8), (6, 6)):
        hardware = HARDWARE | {"accelerator": "gpu", "memory_gib": given}
        assert fit._room({"hardware": hardware}, Digits(), 0).limit == limit * GIB


def test_images_that_rest_on_the_device_count():
    on, off = (fit._room({"hardware": HARDWARE}, Cifar(), images).taken for images in (50_000, 0))
    assert on - off == 50_000 * (3 * 32 * 32 + 8)


def test_a_check_draws_nothing():
    space = darts()
    method = method_of(space)
    torch.manual_seed(3)
    before = torch.get_rng_state()
    check_search(config_of(4), space, method, Digits(), 0)
    assert torch.equal(before, torch.get_rng_state())


def test_an_evaluation_is_checked_with_its_auxiliary_head():
    space = DartsSpace("darts", operations=OPERATIONS)
    network = space.network(
        genotypes.load("DARTS_V2", "darts"), ImageInputs((3, 32, 32), 10), num_cells=3, init_channels=4,
        stem="cifar", auxiliary=True,
    )  # fmt: skip
    recipe = {"drop_path": 0.2, "auxiliary_weight": 0.4, "clip": 5.0}
    optimizer = partial(torch.optim.SGD, lr=0.1, momentum=0.9)
    arguments = (network, Cifar(), 0, Classification(), optimizer)
    check_evaluation(config_of(16) | {"recipe": recipe}, *arguments)
    with pytest.raises(
        ConfigError, match=r"a step needs about .* with dataset\.batch_size=4096.*dataset\.batch_size=\d"
    ):
        check_evaluation(config_of(4096, memory_gib=0.5) | {"recipe": recipe}, *arguments)
