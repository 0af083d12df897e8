"""What a step would take on a GPU follows from its operators: counts that can be done by hand."""

import pytest
import torch
from torch.nn import functional as F

from experiments.gpu_check.cases import cases
from experiments.performance.roofline import Run, search_steps, table
from nas.measure.roofline import CARDS, Assumed, Card, Operator, Step, stream_of

CARD = Card("a card", bandwidth=100.0, single=10.0, matrix=1000.0, bytes_per_number=2)
PLAIN = Assumed(memory=0.5, matrix=0.1, depthwise=0.1, kernel=1.0, launch=3.0)


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_bytes_and_operations_of_known_operators(device):
    a, b = torch.ones(4, 5, device=device), torch.ones(5, 6, device=device)
    step = stream_of(lambda: (a @ b).t().relu())
    product, relu = step.operators
    assert (product.numbers, product.flops) == (20 + 30 + 24, 2 * 4 * 5 * 6)
    assert (relu.numbers, relu.flops) == (24 + 24, 0)
    assert step.launches == 2 and step.moved(CARD) == 2 * (74 + 48)


def test_depthwise_convolutions_are_told_from_dense_ones():
    x, depthwise, dense = torch.ones(2, 4, 8, 8), torch.ones(4, 1, 3, 3), torch.ones(6, 4, 1, 1)
    step = stream_of(lambda: F.conv2d(F.conv2d(x, depthwise, padding=1, groups=4), dense))
    assert [one.depthwise for one in step.operators] == [True, False]
    assert [one.flops for one in step.operators] == [2 * 2 * 4 * 64 * 9, 2 * 2 * 6 * 64 * 4]


@pytest.mark.parametrize("groups", [1, 4, 16])
def test_a_gradient_of_a_convolution_takes_what_the_convolution_does(groups):
    """Of the input, and of the weights, which torch's own counter takes for `groups` times as much."""
    conv = torch.nn.Conv2d(16, 16, 3, padding=1, groups=groups, bias=False)
    out = conv(torch.randn(2, 16, 8, 8, requires_grad=True))
    (backward,) = [
        one
        for one in stream_of(lambda: out.backward(torch.ones_like(out))).operators
        if "backward" in one.name
    ]
    assert backward.flops == 2 * (2 * 2 * 16 * 64 * 9 * (16 // groups))


@pytest.mark.parametrize(
    ("operator", "seconds"),
    [
        (Operator("small", 1, 0, 0, False), 1.0),  # the shortest kernel
        (Operator("memory", 200, 100, 0, False), (200 * 2 + 100) / 50),
        (Operator("product", 1, 0, 500, False), 500 / 100),
        (Operator("depthwise", 1, 0, 20, True), 20 / 1),
    ],
)
def test_an_operator_takes_the_longest_of_what_it_needs(operator, seconds):
    assert operator.seconds(CARD, PLAIN) == pytest.approx(seconds)


def test_a_step_takes_at_least_what_the_host_takes_to_hand_it_in():
    step = Step((Operator("small", 1, 0, 0, False),) * 4)
    assert step.seconds(CARD, PLAIN, graph=False) == 12.0
    assert step.seconds(CARD, PLAIN, graph=True) == 4.0


def test_counting_on_no_device_is_counting_on_a_processor():
    case = next(case for case in cases(True) if case.name == "nasbench201")
    on_meta = search_steps(case)
    assert on_meta["weight"].launches > on_meta["validation"].launches > 0
    assert on_meta["weight"].flops > 2 * on_meta["validation"].flops
    run = Run("a run, short", on_meta, dict.fromkeys(on_meta, 10), 5)
    words = table([run], Assumed())
    assert all(card.name in words for card in CARDS) and "a run, short" in words
    slow, fast = (run.minutes(CARDS[1], Assumed(), graph) for graph in (False, True))
    assert slow >= fast > 0
