"""Accelerated proximal gradient: the three equations, lasso problems with a known answer, exact zeros."""

import copy
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Lasso
from torch import nn

from nas.errors import ConfigError
from nas.methods.proximal import AcceleratedProximalGradient

SIZE = 12


def soft(z, a):
    return np.sign(z) * np.maximum(np.abs(z) - a, 0.0)


def stepped(parameter, optimizer, gradient):
    """The parameter after one step, as numpy."""
    parameter.grad = torch.as_tensor(gradient, dtype=parameter.dtype)
    optimizer.step()
    return parameter.detach().clone().numpy()


def test_at_the_threshold_and_at_the_bound_of_the_clip():
    """|z| equal to the threshold is exactly 0, a gradient equal to the clip is taken whole."""
    parameter = nn.Parameter(torch.tensor([0.5, -0.5, 0.0, 2.0, -2.0], dtype=torch.float64))
    optimizer = AcceleratedProximalGradient([parameter], 1.0, 0.5, 0.0, nonnegative=False, clip=1.0)
    assert stepped(parameter, optimizer, [0.0, 0.0, 0.0, 1.0, -1.0]).tolist() == [0.0, 0.0, 0.0, 0.5, -0.5]


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    gamma=st.sampled_from([0.0, 0.01, 0.5, 3.0]),
    mu=st.sampled_from([0.0, 0.5, 0.9]),
    nonnegative=st.booleans(),
    clip=st.sampled_from([None, 0.3, 2.0]),
    scaled=st.sampled_from(["no", "scalar", "elements", "steps"]),
)
def test_it_is_the_three_equations(seed, gamma, mu, nonnegative, clip, scaled):
    """Bit by bit, at a learning rate that changes, from one literal line an equation (6 to 8)."""
    rng = np.random.default_rng(seed)
    lam, v = rng.normal(size=SIZE), np.zeros(SIZE)
    parameter = nn.Parameter(torch.tensor(lam))
    optimizer = AcceleratedProximalGradient([parameter], 0.1, gamma, mu, nonnegative, clip)
    scale = np.ones(())
    for step in range(40):
        eta = optimizer.param_groups[0]["lr"] = float(rng.choice([0.0, 0.02, 0.1, 0.7]))
        if scaled != "no" and (scaled == "steps" or step == 0):
            scale = rng.uniform(0, 2, size=() if scaled == "scalar" else SIZE)
            optimizer.set_scale(parameter, torch.as_tensor(scale))
        g = rng.normal(size=SIZE) * rng.choice([0.1, 1.0, 5.0])
        found = stepped(parameter, optimizer, g)
        if clip is not None:
            g = np.clip(g, -clip, clip)
        z = lam - eta * g
        v = soft(z, eta * gamma * scale) - lam + mu * v
        lam = soft(z, eta * gamma * scale) + mu * v
        if nonnegative:
            lam = np.maximum(lam, 0.0)
        assert np.array_equal(found, lam), step
        assert not np.signbit(found[found == 0]).any(), "no -0.0"


def test_the_velocity_is_not_projected():
    """A factor that was pressed against 0 first has to spend that before it rises."""
    parameter = nn.Parameter(torch.ones(1, dtype=torch.float64))
    optimizer = AcceleratedProximalGradient([parameter], lr=0.5, momentum=0.9)
    assert stepped(parameter, optimizer, [4.0])[0] == 0
    assert optimizer.state[parameter]["velocity"].item() == -2
    assert stepped(parameter, optimizer, [-1.0])[0] == 0, "0.5 - 0.9 * 1.3 < 0"
    while not parameter.item():
        stepped(parameter, optimizer, [-1.0])
    assert optimizer.state[parameter]["velocity"].item() > -0.6


def lasso(nonnegative, gamma=0.3, rows=60, columns=24, alive=7):
    """A, b, gamma and x that solves min 1/2 ||A x - b||^2 + gamma ||x||_1; A'A has condition number 1000.

    From the optimality condition A'(b - A x) = gamma u, u a subgradient of the norm at x.
    """
    rng = np.random.default_rng(3)
    left, right = (np.linalg.qr(rng.normal(size=(n, columns)))[0] for n in (rows, columns))
    a = left @ np.diag(np.logspace(0, -1.5, columns)) @ right.T
    x = np.zeros(columns)
    support = rng.permutation(columns)[:alive]
    x[support] = rng.uniform(0.5, 2, alive) * (1 if nonnegative else rng.choice([-1, 1], alive))
    # Where x may not be negative, a zero may be pulled below it by more than gamma.
    u = np.where(x == 0, rng.uniform(-3 if nonnegative else -0.8, 0.8, columns), np.sign(x))
    return a, a @ x + a @ np.linalg.solve(a.T @ a, gamma * u), gamma, x


def descend(problem, momentum, nonnegative, accuracy=1e-10, most=8000):
    """The optimiser from 1, at 1 / L: the answer and the steps that it took to be as accurate as that."""
    gamma = problem[2]
    a, b, x = (torch.as_tensor(t) for t in (problem[0], problem[1], problem[3]))
    parameter = nn.Parameter(torch.ones_like(x))
    optimizer = AcceleratedProximalGradient([parameter], 1.0, gamma, momentum, nonnegative)
    for step in range(1, most):
        optimizer.zero_grad()
        (0.5 * (a @ parameter - b).square().sum()).backward()
        optimizer.step()
        if (parameter.detach() - x).abs().max() < accuracy:
            return parameter.detach().numpy(), step
    raise AssertionError(f"not there after {most} steps: {(parameter.detach() - x).abs().max():g}")


@pytest.mark.parametrize("nonnegative", [False, True])
def test_a_lasso_is_solved_with_the_exact_support_and_faster_than_by_ista(nonnegative):
    problem = lasso(nonnegative)
    a, b, gamma, x = problem
    independent = Lasso(gamma / len(a), fit_intercept=False, positive=nonnegative, tol=1e-12, max_iter=100000)
    assert np.abs(independent.fit(a, b).coef_ - x).max() < 1e-8, "the construction is the lasso's solution"
    found, steps = descend(problem, 0.9, nonnegative)
    assert np.array_equal(found != 0, x != 0)
    plain, plain_steps = descend(problem, 0.0, nonnegative)
    assert np.array_equal(plain != 0, x != 0)
    assert steps * 2 < plain_steps, (steps, plain_steps)


def test_without_momentum_it_is_ista():
    a, b, gamma, _ = lasso(False)
    x = np.ones(a.shape[1])
    parameter = nn.Parameter(torch.tensor(x))
    optimizer = AcceleratedProximalGradient([parameter], 0.7, gamma, momentum=0.0, nonnegative=False)
    for _ in range(300):
        g = a.T @ (a @ x - b)
        x = soft(x - 0.7 * g, 0.7 * gamma)
        assert np.array_equal(stepped(parameter, optimizer, g), x)
    assert (x == 0).any() and (x != 0).any()


@pytest.mark.parametrize("nonnegative", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_zeros_are_exact_though_the_momentum_is_not_spent(dtype, nonnegative):
    """A threshold that swallows everything: gone in a step, what the momentum carries on in the next."""
    torch.manual_seed(0)
    parameter = nn.Parameter(torch.randn(1001, dtype=dtype))
    optimizer = AcceleratedProximalGradient([parameter], 0.01, 0.0, nonnegative=nonnegative)
    for _ in range(5):
        stepped(parameter, optimizer, torch.randn(1001))
    optimizer.param_groups[0]["gamma"] = 1e4
    for _ in range(2):
        found = stepped(parameter, optimizer, torch.randn(1001))
    assert (found == 0).all() and not np.signbit(found).any()
    assert (stepped(parameter, optimizer, torch.zeros(1001)) == 0).all()


def test_a_zero_comes_back_when_its_gradient_outweighs_gamma():
    parameter = nn.Parameter(torch.zeros(2, dtype=torch.float64))
    optimizer = AcceleratedProximalGradient([parameter], 0.1, gamma=1.0)
    found = stepped(parameter, optimizer, [-0.99, -1.01])
    assert found[0] == 0 and found[1] > 0


def problem_of(seed=0, **settings):
    torch.manual_seed(seed)
    parameters = [nn.Parameter(torch.rand(4, 3)), nn.Parameter(torch.rand(5))]
    optimizer = AcceleratedProximalGradient(
        [{"params": parameters[:1]}, {"params": parameters[1:], "gamma": 2.0}], **{"lr": 0.05} | settings
    )
    return parameters, optimizer


def run(parameters, optimizer, first, last):
    for step in range(first, last):
        generator = torch.Generator().manual_seed(step)
        optimizer.set_scale(parameters[0], torch.rand(4, 1, generator=generator, dtype=torch.float64))
        for p in parameters:
            p.grad = torch.randn(p.shape, generator=generator)
        optimizer.step()


def test_a_resumed_run_is_the_one_that_did_not_stop(tmp_path):
    whole, optimizer = problem_of(gamma=0.3)
    run(whole, optimizer, 0, 30)
    first, stopped = problem_of(gamma=0.3)
    run(first, stopped, 0, 13)
    torch.save([[p.detach() for p in first], stopped.state_dict()], tmp_path / "state")
    tensors, state = torch.load(tmp_path / "state")
    resumed, other = problem_of(seed=5, lr=1.0)
    with torch.no_grad():
        for p, saved in zip(resumed, tensors, strict=True):
            p.copy_(saved)
    other.load_state_dict(state)
    run(resumed, other, 13, 30)
    assert all(torch.equal(a, b) for a, b in zip(whole, resumed, strict=True))
    for a, b in zip(whole, resumed, strict=True):
        assert torch.equal(optimizer.state[a]["velocity"], other.state[b]["velocity"])
    assert {name for kept in other.state_dict()["state"].values() for name in kept} == {"velocity"}


def test_scales_stay_when_a_state_is_loaded_and_are_lost_in_a_copy():
    (parameter, _), optimizer = problem_of(gamma=1e6)
    optimizer.set_scale(parameter, torch.zeros(()))
    optimizer.load_state_dict(optimizer.state_dict())
    start = parameter.detach().clone().numpy()
    assert np.array_equal(stepped(parameter, optimizer, torch.zeros(4, 3)), start)
    for other in (copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer))):
        (copied,) = other.param_groups[0]["params"]
        assert (stepped(copied, other, torch.zeros(4, 3)) == 0).all()
    optimizer.set_scale(parameter, None)
    optimizer.set_scale(parameter, None)
    assert (stepped(parameter, optimizer, torch.zeros(4, 3)) == 0).all()


def test_a_parameter_without_gradient_rests_and_a_closure_is_called():
    (parameter, resting), optimizer = problem_of()
    before = resting.detach().clone()

    def closure():
        optimizer.zero_grad()
        loss = parameter.square().sum()
        loss.backward()
        return loss

    losses = [optimizer.step(closure).item() for _ in range(20)]
    assert losses[-1] < 0.1 * losses[0]
    assert torch.equal(resting, before) and resting not in optimizer.state


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"lr": -0.1}, "lr=-0.1"),
        ({"lr": float("nan")}, "lr=nan"),
        ({"gamma": -1e-3}, "gamma=-0.001"),
        ({"gamma": float("inf")}, "gamma=inf"),
        ({"momentum": 1.0}, "momentum=1.0"),
        ({"momentum": -0.1}, "momentum=-0.1"),
        ({"clip": 0.0}, "clip=0.0"),
        ({"nonnegative": "yes"}, "nonnegative=yes"),
    ],
)
def test_bad_settings_name_their_key(settings, key):
    parameter = nn.Parameter(torch.ones(2))
    with pytest.raises(ConfigError, match=f"method.architecture_optimizer.{key}"):
        AcceleratedProximalGradient([parameter], **{"lr": 0.1} | settings)
    with pytest.raises(ConfigError, match=key):
        AcceleratedProximalGradient([{"params": [parameter], **settings}], lr=0.1)


def test_scales_that_fit_nothing_are_refused():
    (parameter, _), optimizer = problem_of()
    for shape in ((3, 4), (1, 4, 3), (4,)):
        with pytest.raises(ConfigError, match=r"for a parameter of shape \(4, 3\)"):
            optimizer.set_scale(parameter, torch.ones(shape))
    with pytest.raises(ConfigError, match="that it does not step"):
        optimizer.set_scale(nn.Parameter(torch.ones(4, 3)), torch.ones(4, 3))
