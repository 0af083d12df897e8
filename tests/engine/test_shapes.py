"""Shapes that cannot be trained are found before the first step, and memory is told without a byte."""

import functools
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from nas import genotype as genotypes
from nas.engine.stages import StageBuilder
from nas.engine.tasks import Classification, Language
from nas.errors import ConfigError
from nas.measure.bench_text import text_batch
from nas.measure.footprint import LiveBytes
from nas.measure.shapes import check_network, check_supernet, price_step
from nas.spaces.darts.space import DartsSpace
from nas.spaces.recurrent.space import RecurrentSpace
from nas.spaces.space import ImageInputs, TextInputs

SPACE = DartsSpace("darts", ["none", "skip_connect", "sep_conv_3x3"], num_cells=3, init_channels=4)
PLAIN = SimpleNamespace(
    supernet_options={},
    stages=None,
    update=None,
    kept=lambda: {},
    weight_optimizer=functools.partial(torch.optim.SGD, lr=0.1, momentum=0.9),
)


def images(inputs):
    return lambda where, size: where.batch(size, inputs, 1)


def test_one_image_on_maps_of_one_pixel_is_refused_with_the_key():
    tiny, small = (ImageInputs((1, side, side), 10) for side in (4, 8))
    with pytest.raises(
        ConfigError, match=r"dataset\.batch_size=1: .*dataset\.batch_size=2 at least.*num_cells"
    ):
        check_supernet(SPACE, PLAIN, tiny, Classification(), images(tiny), 1)
    check_supernet(SPACE, PLAIN, tiny, Classification(), images(tiny), 2)
    check_supernet(SPACE, PLAIN, small, Classification(), images(small), 1)


def test_one_column_of_text_is_refused_with_the_key():
    space, inputs = RecurrentSpace("darts_rnn", num_nodes=2, hidden_size=4), TextInputs(7)

    def batch(where, size):
        return text_batch(where, 3, size, 7, 1)

    with pytest.raises(ConfigError, match=r"dataset\.batch_size=1"):
        check_supernet(space, PLAIN, inputs, Language(), batch, 1)
    check_supernet(space, PLAIN, inputs, Language(), batch, 2)


def test_the_maps_of_an_auxiliary_head_count():
    """5x5 pooling and a 2x2 convolution leave one pixel of 8x8."""
    inputs = ImageInputs((3, 32, 32), 10)
    network = SPACE.network(genotypes.load("DARTS_V2"), inputs, 3, 4, auxiliary=True)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(ConfigError, match=r"dataset\.batch_size=1.*sizes of the recipe"):
        check_network(network, inputs, Classification(), images(inputs), 1, 0.4)
    check_network(network, inputs, Classification(), images(inputs), 64, 0.4)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_code_that_looks_at_numbers_is_tried_on_them():
    class Looks(nn.Module):
        def forward(self, x_BCHW):
            assert x_BCHW.abs().sum() > 0
            return x_BCHW.flatten(1)[:, :3], None

    class Fails(nn.Module):
        def forward(self, x_BCHW):
            raise RuntimeError("no such maps")

    inputs = ImageInputs((1, 128, 128), 3)
    check_network(Looks(), inputs, Classification(), images(inputs), 8)
    with pytest.raises(ConfigError, match=r"cannot be trained .*dataset\.batch_size=8 \(no such maps\)"):
        check_network(Fails(), inputs, Classification(), images(inputs), 8)


def test_the_memory_of_shapes_is_that_of_a_step():
    """The bytes alive in a real forward and backward pass of another batch size."""
    inputs, size = ImageInputs((3, 8, 8), 10), 9
    stages = StageBuilder(SPACE, PLAIN, inputs, 0, lambda network: network)
    priced = price_step(stages, 0, lambda where, size: (where.batch(size, inputs, 1),), torch.float32)
    network = stages.supernet(0)
    optimizer = PLAIN.weight_optimizer(network.parameters())
    for weight in network.parameters():
        weight.grad = torch.zeros_like(weight)
    optimizer.step()
    gradients = [weight.grad for weight in network.parameters()]
    momentum = [state["momentum_buffer"] for state in optimizer.state.values()]
    batch = (torch.randn(size, 3, 8, 8), torch.zeros(size, dtype=torch.int64))
    weights = {name: torch.ones(group.shape, requires_grad=True) for name, group in SPACE.groups.items()}
    known = [*network.parameters(), *network.buffers(), *gradients, *momentum, *batch]
    with LiveBytes(known) as live:
        Classification().run(network, batch, weights).objective.backward()
    assert priced.peak(size) == pytest.approx(max(live.moments), rel=0.05)
    assert priced.peak(10**6) > 10**9
