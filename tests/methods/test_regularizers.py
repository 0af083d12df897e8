"""The anchor: a term of the objective or the optimiser's decay, the same steps where they should be."""

import math

import pytest
import torch

from nas.errors import ConfigError
from nas.methods.updates import Bilevel
from tests.methods.flat import flat_method

SHAPES = {"cell": (4, 3), "other": (2, 3)}


def method_of(relaxation="dirichlet", optimizer=torch.optim.Adam, **settings):
    torch.manual_seed(0)
    return flat_method(
        "m",
        SHAPES,
        relaxation=relaxation,
        init_scale=1.0,
        architecture_optimizer=lambda p: optimizer(p, lr=0.05),
        **settings,
    ).double()


def problem_of(method):
    network = torch.nn.Linear(3, 1).double()
    with torch.no_grad():
        network.weight.copy_(torch.tensor([[1.0, -2.0, 0.5]]))
    sgd = torch.optim.SGD(network.parameters(), lr=0.1)

    def loss(batch):
        return sum((network(w_EO) - batch).square().mean() for w_EO in method.op_weights().values())

    return Bilevel(loss, network, list(network.parameters()), method.alphas(), sgd)


def trajectory(method, steps=6):
    """Alpha after each of some steps, all with the same draws."""
    optimizer, problem, found = method.architecture_optimizer(method.alphas()), problem_of(method), []
    torch.manual_seed(1)
    for _ in range(steps):
        gradient = method.gradient(problem, torch.tensor(0.5), torch.tensor(1.0))
        for alpha, g in zip(method.alphas(), gradient.gradients, strict=True):
            alpha.grad = g
        optimizer.step()
        found.append(torch.cat([a.detach().flatten().clone() for a in method.alphas()]))
    return torch.stack(found)


@pytest.mark.parametrize("update", ["first_order", "unrolled"])
@pytest.mark.parametrize("relaxation", ["softmax", "dirichlet"])
@pytest.mark.parametrize("optimizer", [torch.optim.Adam, torch.optim.SGD])
def test_l2_in_the_objective_is_the_optimisers_coupled_decay(relaxation, update, optimizer):
    settings = {"relaxation": relaxation, "update": update, "optimizer": optimizer, "lam": 0.3}
    one = trajectory(method_of(**settings))
    other = trajectory(method_of(**settings, anchor_form="optimizer"))
    torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)
    assert (one - trajectory(method_of(**settings | {"lam": 0.0}))).abs().max() > 1e-2


def test_kl_makes_other_steps():
    assert (trajectory(method_of(lam=0.3, anchor="kl")) - trajectory(method_of(lam=0.3))).abs().max() > 1e-2


@pytest.mark.parametrize("lam", [0.0, 0.7])
def test_l2_penalty(lam):
    method = method_of(lam=lam)
    expected = lam / 2 * sum(a.detach().square().sum().item() for a in method.alphas())
    assert method.penalty().item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("lam", [0.0, 0.7])
def test_norm_penalty_is_the_root_of_the_sum_over_every_number_of_every_group(lam):
    method = method_of(lam=lam, anchor="norm")
    numbers = [x for alpha in method.alphas() for row in alpha.tolist() for x in row]
    length = math.sqrt(sum(x * x for x in numbers))
    assert method.penalty().item() == pytest.approx(lam * length, rel=1e-12)
    if lam:
        found = torch.autograd.grad(method.penalty(), method.alphas())
        literal = [lam * x / length for x in numbers]
        torch.testing.assert_close(torch.cat([g.flatten() for g in found]).tolist(), literal)
        assert math.sqrt(sum(x * x for x in literal)) == pytest.approx(lam), "its pull does not weaken"


def test_norm_has_no_pull_where_eta_begins():
    method = method_of(lam=0.7, anchor="norm")
    with torch.no_grad():
        for eta in method.alphas():
            eta.zero_()
    assert all(not g.any() for g in torch.autograd.grad(method.penalty(), method.alphas()))


def test_norm_makes_other_steps_than_half_its_square():
    assert (trajectory(method_of(lam=0.3, anchor="norm")) - trajectory(method_of(lam=0.3))).abs().max() > 1e-2


def test_kl_penalty_is_the_closed_form_and_zero_at_the_start():
    """KL(Dir(b) || Dir(1)) = ln G(B) - sum ln G(b) - ln G(n) + sum (b - 1) (psi(b) - psi(B)), B = sum b."""
    method = method_of(lam=0.5, anchor="kl")
    expected = 0.0
    for eta in method.alphas():
        b = method.relaxation.concentration(eta.detach())
        total = b.sum(-1)
        expected += (torch.lgamma(total) - torch.lgamma(b).sum(-1) - math.lgamma(3)).sum()
        expected += ((b - 1) * (torch.digamma(b) - torch.digamma(total)[:, None])).sum()
    assert method.penalty().item() == pytest.approx(0.5 * expected.item(), rel=1e-10)
    with torch.no_grad():
        for eta in method.alphas():
            eta.zero_()
    penalty = method.penalty()
    assert penalty.item() == pytest.approx(0, abs=1e-12)
    assert all(g.abs().max() < 1e-12 for g in torch.autograd.grad(penalty, method.alphas()))


@pytest.mark.parametrize("anchor", ["l2", "norm", "kl"])
@pytest.mark.parametrize("update", ["first_order", "unrolled"])
def test_the_gradient_is_that_of_the_update_plus_the_anchors(anchor, update):
    plain, anchored = (method_of(update=update, anchor=anchor, lam=lam) for lam in (0.0, 0.4))
    found = []
    for method in (plain, anchored):
        torch.manual_seed(2)
        found.append(method.gradient(problem_of(method), torch.tensor(0.5), torch.tensor(1.0)))
    expected = torch.autograd.grad(anchored.penalty(), anchored.alphas())
    for without, within, anchor_gradient in zip(
        found[0].gradients, found[1].gradients, expected, strict=True
    ):
        torch.testing.assert_close(within - without, anchor_gradient)
    assert torch.equal(found[0].loss, found[1].loss), "the loss that is reported has no anchor in it"


def test_the_anchor_is_added_after_the_average_over_processes():
    method = method_of(lam=0.4)
    problem = problem_of(method)
    problem.average = lambda tensors: [t.zero_() for t in tensors]
    found = method.gradient(problem, torch.tensor(0.5), torch.tensor(1.0))
    for g, eta in zip(found.gradients, method.alphas(), strict=True):
        torch.testing.assert_close(g, 0.4 * eta.detach())


def test_none_switches_it_off_whatever_lam_is():
    assert torch.equal(trajectory(method_of(lam=0.3, anchor="none")), trajectory(method_of()))
    method = method_of(lam=0.3, anchor="none", anchor_form="optimizer")
    assert method.architecture_optimizer(method.alphas()).param_groups[0]["weight_decay"] == 0


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"lam": -1e-3}, "method.lam=-0.001"),
        ({"anchor": "l1"}, "method.anchor=l1"),
        ({"anchor_form": "both"}, "method.anchor_form=both"),
        ({"anchor": "kl", "anchor_form": "optimizer"}, "method.anchor_form=optimizer"),
        ({"anchor": "norm", "anchor_form": "optimizer"}, "not method.anchor=norm"),
        ({"anchor": "kl", "relaxation": "softmax"}, "method.anchor=kl"),
    ],
)
def test_bad_settings_name_their_key(settings, key):
    with pytest.raises(ConfigError, match=key):
        method_of(**settings)


@pytest.mark.parametrize(
    ("optimizer", "key"),
    [
        (lambda p, lr: torch.optim.Adam(p, lr, weight_decay=0.1), "architecture_optimizer.weight_decay=0.1"),
        (lambda p, lr: torch.optim.AdamW(p, lr, weight_decay=0.0), "AdamW has no coupled weight decay"),
        (
            lambda p, lr: torch.optim.Adam(p, lr, decoupled_weight_decay=True),
            "Adam has no coupled weight decay",
        ),
    ],
)
def test_the_optimisers_form_needs_a_coupled_decay_of_its_own(optimizer, key):
    method = method_of(lam=1e-3, anchor_form="optimizer", optimizer=optimizer)
    with pytest.raises(ConfigError, match=key):
        method.architecture_optimizer(method.alphas())
