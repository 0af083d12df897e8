"""Architecture gradients of first and second order on a problem small enough to check by hand."""

import pytest
import torch
from torch import nn

from nas.errors import ConfigError
from nas.methods.agreement import implicit_agreement
from nas.methods.functional import Trial, frozen
from nas.methods.updates import Bilevel, FirstOrder, Unrolled, finite_difference_product
from tests.methods.flat import update_of


class Smooth(nn.Module):
    """Two weighted branches without kinks, a BN whose statistics move, and noise from torch's generator."""

    def __init__(self, noise=0.0):
        super().__init__()
        self.first = nn.Linear(3, 4)
        self.second = nn.Linear(3, 4)
        self.norm = nn.BatchNorm1d(4, affine=False)
        self.head = nn.Linear(4, 1)
        self.noise = noise

    def forward(self, x, alpha):
        h = alpha[0].sigmoid() * torch.tanh(self.first(x)) + alpha[1].sigmoid() * torch.sin(self.second(x))
        return self.head(self.norm(h + self.noise * torch.randn_like(h)))


def make(noise=0.0, momentum=0.9, weight_decay=1e-2, nesterov=False, steps=2):
    torch.manual_seed(0)
    network = Smooth(noise).double()
    alpha = torch.tensor([0.3, -0.2], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.SGD(
        network.parameters(), lr=0.1, momentum=momentum, weight_decay=weight_decay, nesterov=nesterov
    )

    def loss(batch):
        return (network(batch[0], alpha) - batch[1]).pow(2).mean()

    batches = [(torch.randn(8, 3).double(), torch.randn(8, 1).double()) for _ in range(2)]
    for _ in range(steps):  # fill the momentum buffers
        optimizer.zero_grad()
        with frozen([alpha]):
            loss(batches[0]).backward()
        optimizer.step()
    problem = Bilevel(loss, network, list(network.parameters()), [alpha], optimizer)
    return problem, batches[0], batches[1]


def unrolled_by_autograd(problem, weight_batch, architecture_batch):
    """The definition: differentiate L_val(w - step(grad L_train(w, alpha)), alpha) through the step."""
    network, (alpha,) = problem.network, problem.alphas
    names = [name for name, _ in network.named_parameters()]
    weights = dict(network.named_parameters())
    group = problem.optimizer.param_groups[0]

    def loss(parameters, batch):
        out = torch.func.functional_call(network, parameters, (batch[0], alpha))
        return (out - batch[1]).pow(2).mean()

    gradients = torch.autograd.grad(
        loss(weights, weight_batch), [weights[n] for n in names], create_graph=True
    )
    moved = {}
    for name, gradient in zip(names, gradients, strict=True):
        step = gradient + group["weight_decay"] * weights[name].detach()
        if group["momentum"]:
            buffer = problem.optimizer.state[weights[name]]["momentum_buffer"]
            velocity = group["momentum"] * buffer + step
            step = step + group["momentum"] * velocity if group["nesterov"] else velocity
        moved[name] = weights[name].detach() - group["lr"] * step
    return torch.autograd.grad(loss(moved, architecture_batch), alpha)[0]


@pytest.mark.parametrize(
    ("momentum", "nesterov", "weight_decay"), [(0.0, False, 0.0), (0.9, False, 1e-2), (0.9, True, 1e-2)]
)
def test_unrolled_equals_the_derivative_through_one_step(momentum, nesterov, weight_decay):
    problem, train, valid = make(momentum=momentum, nesterov=nesterov, weight_decay=weight_decay)
    expected = unrolled_by_autograd(problem, train, valid)
    exact = Unrolled(implicit="exact").gradient(problem, train, valid)
    torch.testing.assert_close(exact.gradients[0], expected, rtol=1e-9, atol=1e-14)
    difference = Unrolled(epsilon=1e-5).gradient(problem, train, valid)
    torch.testing.assert_close(difference.gradients[0], expected, rtol=1e-6, atol=1e-12)


def test_second_order_differs_from_first_order():
    problem, train, valid = make()
    first = FirstOrder().gradient(problem, train, valid).gradients[0]
    second = Unrolled().gradient(problem, train, valid).gradients[0]
    assert (second - first).norm() > 1e-3 * first.norm()


def test_xi_zero_is_first_order():
    problem, train, valid = make()
    first = FirstOrder().gradient(problem, train, valid).gradients[0]
    torch.testing.assert_close(Unrolled(xi=0.0).gradient(problem, train, valid).gradients[0], first)


def test_the_papers_virtual_step_ignores_momentum_and_decay():
    problem, train, valid = make()
    plain, other_train, other_valid = make()
    plain.optimizer.param_groups[0].update(momentum=0.0, weight_decay=0.0)
    ours = Unrolled(momentum=False).gradient(problem, train, valid).gradients[0]
    torch.testing.assert_close(ours, Unrolled().gradient(plain, other_train, other_valid).gradients[0])


@pytest.mark.parametrize("update", [FirstOrder(), Unrolled(), Unrolled(implicit="exact")])
def test_a_step_leaves_what_one_forward_pass_would_leave(update):
    problem, train, valid = make(noise=0.1)
    weights = [w.detach().clone() for w in problem.weights]
    torch.manual_seed(5)
    update.gradient(problem, train, valid)
    after = torch.get_rng_state()
    assert all(torch.equal(a, b) for a, b in zip(weights, problem.weights, strict=True))
    assert all(p.requires_grad for p in [*problem.weights, *problem.alphas])
    assert int(problem.network.norm.num_batches_tracked) == 3  # two steps of `make`, one architecture step
    torch.manual_seed(5)
    torch.randn(8, 4, dtype=torch.float64)
    assert torch.equal(after, torch.get_rng_state())


def test_noise_is_the_same_in_all_passes():
    """A difference quotient of two noisy losses with independent draws would be enormous; this one is not."""
    problem, train, valid = make(noise=0.5)
    torch.manual_seed(7)
    exact = Unrolled(implicit="exact").gradient(problem, train, valid)
    torch.manual_seed(7)
    difference = Unrolled(epsilon=1e-5).gradient(problem, train, valid)
    torch.testing.assert_close(difference.implicit, exact.implicit, rtol=1e-5, atol=1e-10)


def test_weights_come_back_when_a_pass_fails():
    problem, train, valid = make()
    weights = [w.detach().clone() for w in problem.weights]
    buffers = [b.clone() for b in problem.network.buffers()]
    calls, honest = [], problem.loss

    def failing(batch):
        calls.append(batch)
        if len(calls) == 3:
            raise RuntimeError("out of memory")
        return honest(batch)

    problem.loss = failing
    with pytest.raises(RuntimeError, match="out of memory"):
        Unrolled().gradient(problem, train, valid)
    assert all(torch.equal(a, b) for a, b in zip(weights, problem.weights, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(buffers, problem.network.buffers(), strict=True))
    assert all(p.requires_grad for p in [*problem.weights, *problem.alphas])


def test_a_vanishing_vector_gives_a_zero_product():
    problem, train, _ = make()
    perfect = (train[0], problem.network.eval()(train[0], problem.alphas[0]).detach())
    found = Unrolled(xi=0.0).gradient(problem, train, perfect)
    assert all(torch.isfinite(g).all() for g in found.gradients)
    assert torch.equal(found.implicit[0], torch.zeros(2).double())


def test_the_difference_that_the_host_does_not_read_is_the_one_with_numbers_of_the_host():
    problem, train, _ = make()
    vector = [torch.randn_like(w) for w in problem.weights]
    with Trial(problem.network, problem.weights) as trial:
        (ours,) = finite_difference_product(problem, trial, train, vector, 0.01)
        radius = 0.01 / float(torch.cat([v.flatten() for v in vector]).norm())
        sides = []
        for sign in (1.0, -1.0):
            trial.restore_weights()
            trial.rewind()
            with torch.no_grad():
                for weight, v in zip(problem.weights, vector, strict=True):
                    weight.add_(v, alpha=sign * radius)
            sides.append(problem.gradients(problem.loss(train), problem.alphas)[0])
    torch.testing.assert_close(ours, (sides[0] - sides[1]) / (2 * radius), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("value", [0.0, torch.nan])
def test_a_vector_without_a_direction_gives_zeros(value):
    problem, train, _ = make()
    vector = [torch.full_like(w, value) for w in problem.weights]
    with Trial(problem.network, problem.weights) as trial:
        (found,) = finite_difference_product(problem, trial, train, vector, 0.01)
    assert torch.equal(found, torch.zeros_like(found))


def test_the_optimiser_is_read_and_not_written():
    problem, train, valid = make()
    before = [problem.optimizer.state[w]["momentum_buffer"].clone() for w in problem.weights]
    Unrolled().gradient(problem, train, valid)
    after = [problem.optimizer.state[w]["momentum_buffer"] for w in problem.weights]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_agreement_is_one_without_kinks_and_changes_nothing():
    problem, train, valid = make()
    weights = [w.detach().clone() for w in problem.weights]
    found = implicit_agreement(problem, train, valid, epsilon=1e-5)
    assert found["cosine"] > 1 - 1e-8
    assert found["relative_error"] < 1e-5
    assert all(torch.equal(a, b) for a, b in zip(weights, problem.weights, strict=True))


def test_trial_keeps_the_pass_it_is_told_to():
    problem, train, valid = make()
    with Trial(problem.network, problem.weights) as trial:
        problem.loss(train)
        trial.rewind()
        problem.loss(valid)
        trial.keep()
        expected = problem.network.norm.running_mean.clone()
        trial.rewind()
        problem.loss(train)
    assert torch.equal(problem.network.norm.running_mean, expected)


def test_only_sgd_can_be_unrolled():
    problem, train, valid = make()
    problem.optimizer = torch.optim.Adam(problem.weights)
    with pytest.raises(ConfigError, match="Adam"):
        Unrolled().gradient(problem, train, valid)


@pytest.mark.parametrize(
    ("arguments", "key"),
    [
        (("third_order", None, "exact", 0.01, True), "method.update=third_order"),
        (("unrolled", -1.0, "exact", 0.01, True), "method.xi=-1.0"),
        (("unrolled", None, "guess", 0.01, True), "method.implicit=guess"),
        (("unrolled", None, "exact", 0.0, True), "method.epsilon=0.0"),
    ],
)
def test_bad_settings_name_their_key(arguments, key):
    with pytest.raises(ConfigError, match=key):
        update_of(
            arguments[0],
            **dict(zip(("xi", "implicit", "epsilon", "virtual_momentum"), arguments[1:], strict=True)),
        )
