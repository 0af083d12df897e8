"""Drawn paths: what is not drawn is not run and does not move; edges that are fixed."""

import copy

import pytest
import torch
from torch.nn import functional as F

from nas.methods.relaxations import OneHot
from nas.op_weights import OpWeights
from tests.methods.composed import SPACES, batch, step_of, twins

SAMPLED = ("gdas", "rsps", "dsnas", "proxyless", "parsec", "enas")
FEW = {"parsec": ["method.update.children=2"], "enas": ["method.update.samples=2"]}


@pytest.fixture(params=SPACES)
def space(request):
    return SPACES[request.param]()


# --- one path per edge ---------------------------------------------------------------------------------


def test_candidates_of_their_own_compute_what_shared_ones_do(space):
    shared, separate = twins(space)
    images, labels = batch()
    torch.manual_seed(1)
    weights = {g: torch.rand(group.shape).double().requires_grad_() for g, group in space.groups.items()}
    found = []
    for network in (shared, separate):
        loss = F.cross_entropy(network(images, weights), labels)
        found.append([loss, *torch.autograd.grad(loss, list(weights.values()))])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_a_drawn_path_gives_what_all_candidates_give_at_its_op_weights(space, seed):
    """With the test of one-hot supernets against evaluation networks: the loss of the stand-alone network."""
    shared, separate = twins(space)
    images, _ = batch()
    torch.manual_seed(seed)
    weights = {g: OneHot().op_weights(torch.zeros(group.shape).double()) for g, group in space.groups.items()}
    drawn = OpWeights(weights, {group: value != 0 for group, value in weights.items()})
    torch.testing.assert_close(separate(images, drawn), shared(images, weights), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("method", SAMPLED)
def test_what_is_not_drawn_does_not_move(space, method):
    """No gradient, no weight decay, no momentum, no statistics; and what is drawn has all of it."""
    step = step_of(method, space, *FEW.get(method, []))
    step.method.begin_epoch(0, 4)
    step.weight(batch())  # momentum
    before = {name: value.clone() for name, value in step.supernet.state_dict().items()}
    drawn = []
    own = step.method.op_weights
    step.method.op_weights = lambda *args: drawn.append(own(*args)) or drawn[-1]
    step.weight(batch(1))
    after = step.supernet.state_dict()
    seen = set()
    for place, module in step.supernet.named_modules():
        if ".edges." not in place or not hasattr(module, "holders"):
            continue
        group = place_group(step.supernet, space, place)
        for row, name in rows_of(space, group, place, module):
            column = space.groups[group].operations[row].index(name)
            runs = any(bool(one.run[group][row, column]) for one in drawn)
            module_of = module.candidates[name]
            for key, parameter in module_of.named_parameters():
                moved = not torch.equal(before[f"{place}.candidates.{name}.{key}"], parameter)
                assert moved == runs
                assert (parameter.grad is not None) == runs
                seen.add(runs)
            for key, _ in module_of.named_buffers():
                full = f"{place}.candidates.{name}.{key}"
                if full in before:
                    assert torch.equal(before[full], after[full]) != runs
    assert seen == {True, False}


def place_group(supernet, space, place):
    index = int(place.split(".")[1])
    return supernet.kinds[index] if hasattr(supernet, "kinds") else "cell"


def rows_of(space, group, place, module):
    source, edge = int(place.split(".")[3]), int(place.split(".")[5])
    rows = [row for row, pair_ in enumerate(space.groups[group].edges) if pair_[0] == source]
    return [(rows[edge], name) for name in module.holders]


@pytest.mark.parametrize("method", SAMPLED)
def test_a_step_of_alpha_leaves_the_weights(space, method):
    step = step_of(method, space, *FEW.get(method, []))
    step.method.begin_epoch(0, 4)
    before = [value.clone() for value in step.supernet.parameters()]
    start = [alpha.detach().clone() for alpha in step.alphas]
    if step.method.learns and not step.method.joint:
        step.architecture(batch(), batch(1))
    elif step.method.joint:
        step.joint(batch())
    moved = any(not torch.equal(a, b) for a, b in zip(start, step.alphas, strict=True))
    assert moved == step.method.learns
    if not step.method.joint:
        assert all(torch.equal(a, b) for a, b in zip(before, step.supernet.parameters(), strict=True))


# --- edges that are fixed ------------------------------------------------------------------------------


def test_an_edge_with_a_clear_lead_is_fixed_and_stays_so_in_a_checkpoint():
    step = step_of("dsnas", SPACES["nasbench201"]())
    method = step.method
    with torch.no_grad():
        method.alpha["cell"][2] = torch.tensor([0.0, 0.0, 3.0, 0.0, 0.0])
    method.begin_epoch(1, 4)
    assert method.decided.rows("cell", method.alpha["cell"]).tolist() == [False, False, True] + [False] * 3
    with torch.no_grad():
        method.alpha["cell"][2] = torch.tensor([9.0, 0.0, 0.0, 0.0, 0.0])
    other = copy.deepcopy(step_of("dsnas", SPACES["nasbench201"]()).method)
    other.load_state_dict(method.state_dict())
    for one in (method, other):
        one.begin_epoch(2, 4)
        for _ in range(5):
            assert one.op_weights()["cell"][2].tolist() == [0, 0, 1, 0, 0]
        assert one.scores()["cell"][2].argmax() == 2
    found = step.method.gradient(step.bilevel(), batch(), batch(1))
    assert not found.gradients[0][2].any() and found.gradients[0].any()
