"""What a method does to the passes of a supernet beside its op weights, against the sums that define it."""

import pytest
import torch

from nas.errors import ConfigError
from nas.spaces.darts.space import DartsSpace
from nas.spaces.nasbench201.space import NasBench201Space
from nas.spaces.native.library import load_library
from nas.spaces.operations import DARTS
from nas.spaces.space import ImageInputs
from nas.spaces.supernet.candidate import Execution
from nas.spaces.supernet.fan_out import AUXILIARY_SKIP, DROP_PATH, SKIP_DROPOUT, FanOut
from nas.spaces.supernet.rates import share_rates

LISTS = [["none", "skip_connect", "sep_conv_3x3"], ["max_pool_3x3", "skip_connect", "avg_pool_3x3"], ["none"]]
INPUTS = ImageInputs((3, 8, 8), 4)


def fan_out(stride=1, execution=None, lists=LISTS):
    torch.manual_seed(0)
    built = FanOut(4, stride, (1, 0, 2)[: len(lists)], lists, execution or Execution(), DARTS.stacked)
    return built.double()


def passed(module, rates, x_BCHW, scales, start):
    module.rates = rates
    sums = [None if one is None else one.clone() for one in start]
    torch.manual_seed(3)
    module(x_BCHW, scales, sums)
    return sums


@pytest.fixture
def data():
    torch.manual_seed(1)
    x_BCHW = torch.randn(6, 4, 8, 8).double().contiguous(memory_format=torch.channels_last)
    start = [torch.randn_like(x_BCHW), None, None]
    scales = {name: torch.rand(len(held)).double() for name, held in fan_out().holders.items()}
    return x_BCHW, scales, start


def executions():
    native = load_library()
    return [Execution(), Execution(wide=True), *([] if native is None else [Execution(native=native)])]


@pytest.mark.parametrize("stride", [1, 2])
def test_drop_path_masks_what_an_edge_gives_image_by_image(data, stride):
    x_BCHW, scales, start = data
    start = [one if one is None else one[:, :, ::stride, ::stride] for one in start]
    mixed = passed(fan_out(stride), {}, x_BCHW, scales, [None] * 3)
    torch.manual_seed(3)
    masks = [torch.empty(6, 1, 1, 1).double().bernoulli_(0.75) / 0.75 for _ in range(2)]
    # Edge 0 leads to node 1 and edge 1 to node 0; the third has nothing to give.
    expected = [start[0] + mixed[0] * masks[1], mixed[1] * masks[0], None]
    assert 0 < sum(float((one == 0).sum()) for one in masks) < 12
    for execution in executions():
        found = passed(fan_out(stride, execution), {DROP_PATH: 0.25}, x_BCHW, scales, start)
        torch.testing.assert_close(found[:2], expected[:2])
        assert found[2] is None or not found[2].any()


def test_rates_of_zero_compute_what_is_computed_without_bit_by_bit_and_draw_nothing(data):
    for execution in executions():
        usual = passed(fan_out(1, execution), {}, *data)
        state = torch.get_rng_state()
        zeros = dict.fromkeys((DROP_PATH, SKIP_DROPOUT, AUXILIARY_SKIP), 0.0)
        found = passed(fan_out(1, execution), zeros, *data)
        assert all(torch.equal(a, b) for a, b in zip(usual[:2], found[:2], strict=True))
        assert torch.equal(state, torch.get_rng_state())


def test_evaluation_drops_nothing(data):
    module = fan_out().eval()
    usual = passed(module, {}, *data)
    found = passed(module, {DROP_PATH: 0.5, SKIP_DROPOUT: 0.5}, *data)
    assert all(torch.equal(a, b) for a, b in zip(usual[:2], found[:2], strict=True))


def test_skip_dropout_lies_on_the_identity_of_every_edge_and_on_no_reduction(data):
    x_BCHW, scales, _ = data
    usual = passed(fan_out(), {}, *data)
    torch.manual_seed(3)
    dropped = [torch.nn.functional.dropout(x_BCHW, 0.5) - x_BCHW for _ in range(2)]
    expected = [
        usual[0] + scales["skip_connect"][1] * dropped[1],
        usual[1] + scales["skip_connect"][0] * dropped[0],
    ]
    for execution in executions():
        found = passed(fan_out(1, execution), {SKIP_DROPOUT: 0.5}, *data)
        torch.testing.assert_close(found[:2], expected)
    halves = [None, None, None]
    usual = passed(fan_out(2), {}, x_BCHW, scales, halves)
    found = passed(fan_out(2), {SKIP_DROPOUT: 0.5}, x_BCHW, scales, halves)
    assert all(torch.equal(a, b) for a, b in zip(usual[:2], found[:2], strict=True))


@pytest.mark.parametrize("train", [True, False])
def test_an_auxiliary_skip_is_beta_times_the_source_candidate_or_not(data, train):
    x_BCHW = data[0]
    usual = passed(fan_out().train(train), {}, *data)
    for execution in executions():
        found = passed(fan_out(1, execution).train(train), {AUXILIARY_SKIP: 0.3}, *data)
        torch.testing.assert_close(found[:2], [one + 0.3 * x_BCHW for one in usual[:2]])
        torch.testing.assert_close(found[2], 0.3 * x_BCHW)


def test_at_stride_2_the_auxiliary_skip_is_the_candidate_with_a_larger_weight(data):
    x_BCHW, scales, _ = data
    lists = LISTS[:2]
    larger = scales | {"skip_connect": scales["skip_connect"] + 0.3}
    usual = passed(fan_out(2, lists=lists), {}, x_BCHW, larger, [None] * 2)
    found = passed(fan_out(2, lists=lists), {AUXILIARY_SKIP: 0.3}, x_BCHW, scales, [None] * 2)
    assert all(torch.equal(a, b) for a, b in zip(usual, found, strict=True))


def test_what_a_supernet_cannot_do_is_refused():
    network = NasBench201Space("nasbench201", cells_per_stage=1, init_channels=4).supernet(INPUTS)
    share_rates(network, {AUXILIARY_SKIP: 1.0})
    assert all(one.rates == {AUXILIARY_SKIP: 1.0} for one in network.modules() if isinstance(one, FanOut))
    with pytest.raises(ConfigError, match=r"unknown rates \['typo'\]"):
        share_rates(network, {"typo": 1.0})
    share_rates(torch.nn.Linear(1, 1), {})
    with pytest.raises(ConfigError, match="drop_path acts on the edges of image cells"):
        share_rates(torch.nn.Linear(1, 1), {DROP_PATH: 0.1})
    network = DartsSpace("s", ["noise", "sep_conv_3x3"], num_cells=3, init_channels=4).supernet(INPUTS)
    share_rates(network, {DROP_PATH: 0.1})
    with pytest.raises(ConfigError, match="auxiliary_skip has the weights of skip_connect"):
        share_rates(network, {AUXILIARY_SKIP: 1.0})
