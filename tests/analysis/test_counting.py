"""Operators and saved bytes of toys small enough to count by hand."""

import torch
from torch import nn
from torch.nn import functional as F

from nas.analysis.cost.counting import count_operators, count_saved_bytes, supernet_cost
from nas.spaces.darts.space import DartsSpace
from nas.spaces.space import ImageInputs


def test_operators_of_a_linear_layer_forward_and_backward():
    layer = nn.Linear(3, 2)
    x = torch.randn(4, 3)
    forward = count_operators(lambda: layer(x))
    # A transpose, which is a view, and one addmm.
    assert (forward.total, forward.computing) == (2, 1)
    both = count_operators(lambda: layer(x).sum().backward())
    # Forward: addmm, sum. Backward: ones_like for the seed, mm for the weight, sum for the bias.
    assert both.computing == 5
    assert both.total > both.computing


def test_views_are_not_computing():
    x = torch.randn(4, 6)
    views = count_operators(lambda: x.view(2, 12).t().unsqueeze(0).expand(3, 12, 2).split(4, dim=1))
    assert (views.total, views.computing) == (5, 0)
    in_place = count_operators(lambda: x.view(-1).add_(1.0))
    assert (in_place.total, in_place.computing) == (2, 1)


def test_saved_bytes_of_relu_and_linear():
    layer = nn.Linear(5, 3)
    x = torch.randn(7, 5)
    # ReLU keeps its result, which the linear layer keeps too: one storage, counted once.
    inputs = x.clone().requires_grad_()
    run = lambda: layer(F.relu(inputs))  # noqa: E731
    assert count_saved_bytes(run, layer.parameters()) == 7 * 5 * 4
    # The layer's weight is kept for the gradient of its input.
    assert count_saved_bytes(run) == 7 * 5 * 4 + 3 * 5 * 4


def test_a_saved_view_counts_its_whole_storage_once():
    x = torch.randn(6, 4, requires_grad=True)

    def run():
        base = x * 2.0
        first, second = base[:3], base[3:]
        return first * first, second * second

    assert count_saved_bytes(run) == 6 * 4 * 4


def test_nothing_is_saved_where_nothing_needs_a_gradient():
    layer = nn.Linear(5, 3).requires_grad_(False)
    assert count_saved_bytes(lambda: layer(torch.randn(7, 5))) == 0


def test_cost_of_a_supernet_is_that_of_its_convolutions():
    space = DartsSpace("darts", ["skip_connect"], num_cells=3, init_channels=4)
    cost = supernet_cost(space, ImageInputs((3, 8, 8), 10))
    supernet = space.supernet(ImageInputs((3, 8, 8), 10))
    assert cost.params == sum(p.numel() for p in supernet.parameters())
    stem = 3 * 9 * 12 * 64
    assert cost.macs > stem
    bigger = supernet_cost(space, ImageInputs((3, 16, 16), 10))
    classifier = supernet.classifier.weight.numel()
    assert bigger.macs - classifier == 4 * (cost.macs - classifier)
