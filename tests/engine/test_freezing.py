"""Candidates whose weights rest: which tensors and slices are theirs, and that nothing moves them."""

import copy

import pytest
import torch
from torch.nn import functional as F

from nas.engine.freezing import Freezing
from nas.errors import ConfigError
from nas.methods.monitors import Monitor
from nas.spaces.darts.space import DartsSpace
from nas.spaces.space import ImageInputs
from nas.spaces.supernet.slices import candidate_weights

OPERATIONS = ["none", "skip_connect", "avg_pool_3x3", "sep_conv_3x3"]


class Notes(Monitor):
    """Keeps the cosines."""

    compares_gradients = True

    def end_step(self, cosine_N):
        self.cosine_N = cosine_N


@pytest.fixture(scope="module")
def supernet():
    torch.manual_seed(0)
    space = DartsSpace("darts", OPERATIONS, num_nodes=2, num_cells=3, init_channels=2)
    return space.supernet(ImageInputs((1, 8, 8), 4)).double()


def step_of(supernet, freezing, optimizer, seed):
    generator = torch.Generator().manual_seed(seed)
    for weight in supernet.parameters():
        weight.grad = torch.randn(weight.shape, generator=generator).double()
    freezing.note([torch.randn(one.shape, generator=generator).double() for one in freezing.weights])
    noted = freezing._other
    with freezing.holding(optimizer):
        torch.nn.utils.clip_grad_norm_(supernet.parameters(), 5.0)
        optimizer.step()
    return noted


def test_the_weights_of_candidates_are_told_apart(supernet):
    """One entry per edge that holds a convolution or a reduction; the cells' own layers are no candidates."""
    found = candidate_weights(supernet)
    names = [name for one in found for name in one.names]
    # 5 edges a cell with sep_conv, 3 cells; a factorised reduction on the 4 edges of the two reduction cells
    # that halve the resolution.
    assert len(names) == len(set(names)) == 3 * 5 + 2 * 4
    inside = [weight for name, weight in supernet.named_parameters() if ".candidates." in name]
    assert {id(one) for entry in found for one in entry.tensors} == {id(one) for one in inside}


@pytest.mark.parametrize("build", [
    lambda weights: torch.optim.SGD(weights, 0.1, momentum=0.9, weight_decay=0.1),
    lambda weights: torch.optim.Adam(weights, 0.1, weight_decay=0.1),
])  # fmt: skip
def test_nothing_moves_what_rests_and_the_rest_moves_as_without_it(supernet, build):
    supernet = copy.deepcopy(supernet)
    freezing, optimizer = Freezing(supernet, [Notes()]), build(supernet.parameters())
    step_of(supernet, freezing, optimizer, 0)
    mask_N = torch.arange(len(freezing.names)) % 3 == 0
    freezing.freeze(mask_N)
    assert freezing.frozen() == freezing.names[::3]
    before = {id(weight): weight.detach().clone() for weight in freezing.weights}
    states = {id(weight): copy.deepcopy(dict(optimizer.state[weight])) for weight in freezing.weights}
    for seed in (1, 2):
        step_of(supernet, freezing, optimizer, seed)
    flags = iter(mask_N.tolist())
    for one in freezing.candidates:
        for position, rests in [(position, next(flags)) for position in range(len(one.names))]:
            for weight in one.tensors:
                rows = position if one.stacked else slice(None)
                same = torch.equal(weight[rows], before[id(weight)][rows])
                assert same == rests
                for key, value in optimizer.state[weight].items():
                    if value is not None and value.shape == weight.shape:
                        assert torch.equal(value[rows], states[id(weight)][key][rows]) == rests
    again = Freezing(supernet, [Notes()])
    again.restore([*freezing.frozen(), "a candidate of another network"])
    assert torch.equal(again.frozen_N, freezing.frozen_N)


def test_a_candidate_that_rests_from_the_first_step_gathers_no_momentum(supernet):
    supernet = copy.deepcopy(supernet)
    freezing = Freezing(supernet, [Notes()])
    optimizer = torch.optim.SGD(supernet.parameters(), 0.1, momentum=0.9, weight_decay=0.1)
    freezing.freeze(torch.ones(len(freezing.names), dtype=torch.bool))
    before = [weight.detach().clone() for weight in freezing.weights]
    step_of(supernet, freezing, optimizer, 0)
    for weight, was in zip(freezing.weights, before, strict=True):
        assert torch.equal(weight, was) and not optimizer.state[weight]["momentum_buffer"].any()


def test_the_cosine_is_that_of_all_weights_of_a_candidate_on_an_edge(supernet):
    supernet, notes = copy.deepcopy(supernet), Notes()
    freezing = Freezing(supernet, [notes])
    optimizer = torch.optim.SGD(supernet.parameters(), 0.0)
    noted = step_of(supernet, freezing, optimizer, 3)
    # The gradients as they were before clipping, of which a cosine knows nothing.
    expected, left = [], iter(noted)
    for one in freezing.candidates:
        pairs = [(weight.grad, next(left)) for weight in one.tensors]
        for position in range(len(one.names)):
            a, b = (
                torch.cat([(side[position] if one.stacked else side).flatten() for side in sides])
                for sides in zip(*pairs, strict=True)
            )
            expected.append(F.cosine_similarity(a, b, dim=0))
    torch.testing.assert_close(notes.cosine_N, torch.stack(expected))


def test_a_space_without_weights_of_candidates_is_refused():
    with pytest.raises(ConfigError, match="this space has none with weights of their own"):
        Freezing(torch.nn.Linear(2, 2), [Notes()])
