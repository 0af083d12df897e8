"""The Dirichlet relaxation: draws, their gradient against independent derivatives, second-order updates."""

import math

import numpy as np
import pytest
import torch
from scipy import integrate, stats
from torch import nn

from nas.errors import ConfigError
from nas.methods.functional import Trial
from nas.methods.relaxations import Dirichlet
from nas.methods.relaxations.dirichlet import SMALLEST_CONCENTRATION
from nas.methods.updates import Bilevel, Unrolled, exact_product, finite_difference_product
from tests.methods.flat import flat_method, relaxation_of
from tests.shared import shared


def method_of(eta=None, shapes=None, **settings):
    """A Dirichlet method in float64, its eta set if given."""
    shapes = shapes or {"cell": tuple(eta.shape)}
    method = flat_method("drnas", shapes, relaxation="dirichlet", **settings).double()
    if eta is not None:
        with torch.no_grad():
            method.alpha["cell"].copy_(eta)
    return method


def test_concentrations_are_elu_plus_one():
    eta = torch.linspace(-12, 6, 101, dtype=torch.float64)
    torch.testing.assert_close(Dirichlet().concentration(eta), nn.functional.elu(eta) + 1, rtol=0, atol=1e-15)


@pytest.mark.parametrize("zero", [0.0, -0.0])
def test_at_zero_the_derivative_is_that_of_elu(zero):
    """eta = 0 is where `init_scale=0` starts: first and second derivatives of concentration and mean."""
    relaxation, small = Dirichlet(), math.exp(-0.4)
    eta = torch.tensor([[zero, 0.7, zero, -0.4]], dtype=torch.float64, requires_grad=True)
    (first,) = torch.autograd.grad(relaxation.concentration(eta).sum(), eta, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), eta)
    assert first[0].tolist() == pytest.approx([1, 1, 1, small], rel=1e-15)
    # It jumps at 0, from 1 to 0; the one from the left is taken.
    assert second[0].tolist() == pytest.approx([1, 0, 1, small], rel=1e-15)
    at = eta.detach()
    jacobian = torch.autograd.functional.jacobian(lambda e: relaxation.strengths(e)[0], at)[:, 0]
    beta, eye = relaxation.concentration(at)[0], torch.eye(4, dtype=torch.float64)
    closed = (eye * beta.sum() - beta[:, None]) / beta.sum() ** 2 * first[0].detach()
    torch.testing.assert_close(jacobian, closed, rtol=1e-12, atol=0)
    for o in range(4):
        plus, minus = (relaxation.strengths(at + step * eye[o])[0] for step in (1e-6, -1e-6))
        torch.testing.assert_close((plus - minus) / 2e-6, jacobian[:, o], rtol=0, atol=1e-6)


def test_a_search_that_starts_at_zero_learns():
    """Draws at eta = 0 exactly: the mean pathwise gradient of E[theta_0] is its closed form, 2/9 and -1/9."""
    torch.manual_seed(0)
    method = method_of(shapes={"cell": (20_000, 3)}, init_scale=0.0)
    assert float(method.alpha["cell"].detach().abs().max()) == 0
    theta = method.op_weights()["cell"]
    (found,) = torch.autograd.grad(theta[:, 0].sum(), method.alpha["cell"])
    error = found.std(0) / math.sqrt(len(found))
    expected = torch.tensor([2 / 9, -1 / 9, -1 / 9], dtype=torch.float64)
    assert ((found.mean(0) - expected).abs() < 4 * error).all() and (error < 0.01).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_very_negative_eta_keeps_draws_and_gradients_finite(dtype):
    eta = torch.tensor([[-200.0, -30.0, -17.0, -1.0], [-90.0] * 4, [200.0, -200.0, 0.0, 1.0]], dtype=dtype)
    eta.requires_grad_()
    relaxation = Dirichlet()
    assert (relaxation.concentration(eta) >= SMALLEST_CONCENTRATION * 0.99).all()
    for _ in range(50):
        theta = relaxation.op_weights(eta)
        assert theta.dtype == dtype
        torch.testing.assert_close(theta.sum(-1).double(), torch.ones(3).double(), atol=1e-2, rtol=0)
        (gradient,) = torch.autograd.grad(theta.float().square().sum(), eta)
        assert gradient.isfinite().all()


def test_a_diverged_eta_is_not_hidden_by_the_sampler():
    assert Dirichlet().op_weights(torch.tensor([[float("nan"), 0.0]])).isnan().any()


def test_one_draw_a_group_and_call_follows_the_distribution():
    """Kolmogorov-Smirnov of one component against its Beta marginal; bound at p = 1e-4."""
    torch.manual_seed(0)
    eta = torch.tensor([[0.5, -0.7, 0.1]], dtype=torch.float64).expand(4000, 3)
    theta = method_of(eta).op_weights()["cell"][:, 1].detach().numpy()
    beta = [1.5, math.exp(-0.7), 1.1]
    assert stats.kstest(theta, stats.beta(beta[1], beta[0] + beta[2]).cdf).pvalue > 1e-4


def test_the_start_is_normal_with_the_scale():
    torch.manual_seed(0)
    eta = method_of(shapes={"cell": (2000, 5)}, init_scale=1e-3).alpha["cell"]
    assert float(eta.detach().std()) == pytest.approx(1e-3, rel=0.05)


def test_evaluation_draws_what_the_key_says():
    eta = torch.tensor([[0.5, -0.7, 0.1]], dtype=torch.float64)
    mean, sampling = method_of(eta).eval(), method_of(eta, evaluation_draw="sample").eval()
    beta = torch.tensor([[1.5, math.exp(-0.7), 1.1]], dtype=torch.float64)
    torch.testing.assert_close(mean.op_weights()["cell"], beta / beta.sum())
    assert not torch.equal(sampling.op_weights()["cell"], sampling.op_weights()["cell"])
    assert not torch.equal(mean.train().op_weights()["cell"], mean.op_weights()["cell"])


def test_the_key_decides_which_edge_is_stronger_and_never_which_candidate_is():
    # Best by softmax: e^3 / (e^3 + 2) = 0.909 and 1 / (1 + 2 e^-2) = 0.787; by mean: 4 / 6 and 0.787.
    eta = torch.tensor([[0.0, 3.0, 0.0], [-2.0, -2.0, 0.0]], dtype=torch.float64)
    by_softmax, by_mean = (method_of(eta, ranking=r).scores()["cell"] for r in ("softmax", "mean"))
    assert by_softmax.argmax(-1).tolist() == by_mean.argmax(-1).tolist() == [1, 2]
    assert by_softmax.max(-1).values.tolist() == pytest.approx([0.9094, 0.7870], abs=1e-4)
    assert by_mean.max(-1).values.tolist() == pytest.approx([0.6667, 0.7870], abs=1e-4)
    assert torch.equal(by_mean, method_of(eta).strengths()["cell"])


def quadrature_gradient(eta, f, step=1e-4):
    """d E[f(theta_0)] / d eta for two candidates: central difference of an integral over the Beta density."""

    def expectation(values):
        a, b = (v + 1 if v > 0 else math.exp(v) for v in values)
        density = stats.beta(a, b).pdf
        return integrate.quad(lambda x: f(x) * density(x), 0, 1, epsabs=1e-12, epsrel=1e-12)[0]

    found = []
    for o in range(2):
        sides = [expectation([v + s * step * (i == o) for i, v in enumerate(eta)]) for s in (1, -1)]
        found.append((sides[0] - sides[1]) / (2 * step))
    return found


@pytest.mark.parametrize("eta", [(0.4, 1.1), (-0.3, 0.6), (0.8, -0.5)])
def test_pathwise_gradient_is_the_derivative_of_the_expectation(eta):
    """Mean of 40,000 pathwise gradients against quadrature, within 4 standard errors (about 0.5 %)."""
    torch.manual_seed(1)
    count = 40_000
    leaf = torch.tensor([eta], dtype=torch.float64).expand(count, 2).clone().requires_grad_()
    theta = Dirichlet().op_weights(leaf)
    (each,) = torch.autograd.grad(torch.sin(3 * theta[:, 0]).exp().sum(), leaf)
    expected = quadrature_gradient(eta, lambda x: math.exp(math.sin(3 * x)))
    error = each.std(0) / math.sqrt(count)
    assert (error < 0.02 * max(abs(e) for e in expected)).all()
    for o in range(2):
        assert abs(float(each[:, o].mean()) - expected[o]) < 4 * float(error[o])


def test_pathwise_gradient_of_four_candidates():
    """f = theta_0^2 theta_1 + 2 theta_2^3, whose expectation is known by moments; 4 standard errors."""
    torch.manual_seed(2)
    eta = torch.tensor([0.3, -0.6, 0.9, -1.2], dtype=torch.float64)
    count = 100_000
    leaf = eta.expand(count, 4).clone().requires_grad_()
    theta = Dirichlet().op_weights(leaf)
    value = theta[:, 0].square() * theta[:, 1] + 2 * theta[:, 2].pow(3)
    (each,) = torch.autograd.grad(value.sum(), leaf)

    def expectation(e):
        b = torch.where(e > 0, e + 1, e.exp())
        total = b.sum()
        below = total * (total + 1) * (total + 2)
        return float((b[0] * (b[0] + 1) * b[1] + 2 * b[2] * (b[2] + 1) * (b[2] + 2)) / below)

    unit = 1e-5 * torch.eye(4, dtype=torch.float64)
    expected = torch.tensor([(expectation(eta + u) - expectation(eta - u)) / 2e-5 for u in unit])
    error = each.std(0) / math.sqrt(count)
    assert ((each.mean(0) - expected).abs() < 4 * error).all()
    assert (error < 0.03 * expected.abs().max()).all()


class Mixture(nn.Module):
    """A smooth network whose branches are weighted by the first row of its op weights."""

    def __init__(self):
        super().__init__()
        self.branches = nn.ModuleList(nn.Linear(3, 4) for _ in range(3))
        self.head = nn.Linear(4, 1)

    def forward(self, x, op_weights):
        h = sum(w * torch.tanh(b(x)) for w, b in zip(op_weights["cell"][0], self.branches, strict=True))
        return self.head(h)


def bilevel(**settings):
    torch.manual_seed(3)
    network = Mixture().double()
    method = method_of(torch.tensor([[0.4, -0.3, 0.2]], dtype=torch.float64), update="unrolled", **settings)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)

    def loss(batch):
        return (network(batch[0], method.op_weights()) - batch[1]).pow(2).mean()

    batches = [(torch.randn(8, 3).double(), torch.randn(8, 1).double()) for _ in range(2)]
    problem = Bilevel(loss, network, list(network.parameters()), method.alphas(), optimizer)
    return method, problem, batches


def test_the_finite_difference_converges_to_the_exact_product_of_one_draw():
    """All passes of one step see the same theta, or the difference would not converge at all."""
    _, problem, (train, valid) = bilevel()
    found = {}
    for name, update in {
        "exact": Unrolled(implicit="exact"),
        1e-1: Unrolled(epsilon=1e-1),
        1e-2: Unrolled(epsilon=1e-2),
        1e-3: Unrolled(epsilon=1e-3),
    }.items():
        torch.manual_seed(11)
        found[name] = update.gradient(problem, train, valid).implicit[0]
    errors = [float((found[e] - found["exact"]).norm() / found["exact"].norm()) for e in (1e-1, 1e-2, 1e-3)]
    assert errors[0] < 0.1
    # A central difference: a tenth of the step is a hundredth of the error.
    assert errors[1] == pytest.approx(errors[0] / 100, rel=0.1)
    assert errors[2] == pytest.approx(errors[0] / 10_000, rel=0.2)


def test_the_exact_product_is_the_mixed_derivative_pulled_back_through_the_draw():
    """By hand: d^2 L / d theta dw . v at a fixed theta, then the draw's own first derivative."""
    method, problem, (train, _) = bilevel()
    vector = [torch.randn_like(w) for w in problem.weights]
    torch.manual_seed(12)
    with Trial(problem.network, problem.weights) as trial:
        (product,) = exact_product(problem, trial, train, vector)
        (difference,) = finite_difference_product(problem, trial, train, vector, 1e-4)
    torch.manual_seed(12)
    drawn = method.op_weights()["cell"]
    theta = drawn.detach().requires_grad_()
    loss = (problem.network(train[0], {"cell": theta}) - train[1]).pow(2).mean()
    first = torch.autograd.grad(loss, problem.weights, create_graph=True)
    inner = sum((g * v).sum() for g, v in zip(first, vector, strict=True))
    (pulled,) = torch.autograd.grad(inner, theta)
    (expected,) = torch.autograd.grad(drawn, method.alphas(), pulled)
    torch.testing.assert_close(product, expected, rtol=1e-12, atol=1e-15)
    torch.testing.assert_close(difference, expected, rtol=1e-5, atol=1e-10)


@pytest.mark.parametrize("implicit", ["exact", "finite_difference"])
def test_a_second_order_step_uses_up_the_random_numbers_of_one_draw(implicit):
    method, problem, (train, valid) = bilevel(implicit=implicit)
    torch.manual_seed(13)
    method.gradient(problem, train, valid)
    after = torch.get_rng_state()
    torch.manual_seed(13)
    method.op_weights()
    assert torch.equal(after, torch.get_rng_state())


@pytest.mark.parametrize(
    ("arguments", "key"),
    [
        (("dirichlet", "mode"), "method.evaluation_draw=mode"),
        (("dirichlet", None, "alphabet"), "method.ranking=alphabet"),
        (("softmax", "mean"), "method.evaluation_draw=mean: only for"),
        (("softmax", None, "mean"), "method.ranking=mean: only for"),
    ],
)
def test_bad_settings_name_their_key(arguments, key):
    with pytest.raises(ConfigError, match=key):
        relaxation_of(arguments[0], **dict(zip(("evaluation_draw", "ranking"), arguments[1:], strict=False)))


GROUPS = ("normal", "reduce")


@pytest.fixture(scope="module")
def reference():
    return {k: v for k, v in np.load(shared("goldens/drnas_cnn_tiny.npz")).items() if ".state" not in k}


def from_reference(reference, case, **settings):
    eta = {g: torch.from_numpy(reference[f"{case}.beta_{g}"]) for g in GROUPS}
    method = method_of(shapes={g: tuple(e.shape) for g, e in eta.items()}, **settings)
    with torch.no_grad():
        for group in GROUPS:
            method.alpha[group].copy_(eta[group])
    return method


@pytest.mark.parametrize("case", ["k1", "k2", "k2mask"])
def test_concentrations_of_the_reference(reference, case):
    for group in GROUPS:
        found = Dirichlet().concentration(torch.from_numpy(reference[f"{case}.beta_{group}"]))
        np.testing.assert_allclose(found, reference[f"{case}.conc_{group}"], rtol=0, atol=1e-15)


def test_pathwise_gradient_of_the_reference(reference, monkeypatch):
    """The reference's draw is put in the sampler's place, and its gradient goes back to eta."""
    method = from_reference(reference, "k1")
    theta = torch.from_numpy(reference["k1.dirichlet_normal"])
    monkeypatch.setattr(torch, "_sample_dirichlet", lambda concentration: theta.clone())
    drawn = method.op_weights()["normal"]
    torch.testing.assert_close(drawn.detach(), theta, rtol=0, atol=0)
    (gradient,) = torch.autograd.grad(
        drawn, method.alpha["normal"], torch.from_numpy(reference["k1.grad_dirichlet_normal"])
    )
    eta = reference["k1.beta_normal"]
    slope = np.where(eta > 0, 1.0, np.exp(eta))
    expected = reference["k1.pathwise_grad_conc_normal"] * slope
    np.testing.assert_allclose(gradient, expected, rtol=1e-12, atol=1e-15)


def test_anchor_of_the_reference(reference):
    method = from_reference(reference, "k1", anchor="kl", lam=1e-3)
    penalty = method.penalty()
    gradients = dict(zip(GROUPS, torch.autograd.grad(penalty, method.alphas()), strict=True))
    assert penalty.item() == pytest.approx(float(reference["k1.kl_reg_1e-3"]), rel=1e-12)
    for group in GROUPS:
        np.testing.assert_allclose(
            gradients[group], reference[f"k1.kl_grad_beta_{group}"], rtol=1e-10, atol=1e-16
        )


def test_pruning_of_the_reference(reference):
    method = from_reference(reference, "k2")
    method.prune(4)
    for group in GROUPS:
        np.testing.assert_array_equal(method.kept()[group], reference[f"k2mask.mask_{group}"])
        np.testing.assert_array_equal(method.alpha[group].detach(), reference[f"k2mask.beta_{group}"])
