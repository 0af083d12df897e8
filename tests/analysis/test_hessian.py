"""The dominant eigenvalue of a Hessian that is known."""

import pytest
import torch

from nas.analysis.hessian import dominant_eigenvalue, dominant_in_basis
from nas.errors import ConfigError
from tests.methods.flat import flat_method


def quadratic(eigenvalues, seed=0):
    """A loss 0.5 a' H a over two parameter groups, with H of the given eigenvalues."""
    generator = torch.Generator().manual_seed(seed)
    size = len(eigenvalues)
    basis, _ = torch.linalg.qr(torch.randn(size, size, generator=generator, dtype=torch.float64))
    hessian = basis @ torch.diag(torch.tensor(eigenvalues, dtype=torch.float64)) @ basis.T
    alphas = [torch.randn(size // 2, dtype=torch.float64), torch.randn(size - size // 2, dtype=torch.float64)]
    alphas = [a.requires_grad_() for a in alphas]

    def loss():
        a = torch.cat(alphas)
        return 0.5 * a @ hessian @ a

    return loss, alphas


@pytest.mark.parametrize("mode", ["exact", "lanczos"])
def test_finds_the_largest_not_the_largest_in_magnitude(mode):
    loss, alphas = quadratic([-9.0, 3.0, 1.0, 0.5, 0.0, -2.0])
    found = dominant_eigenvalue([loss], alphas, mode)
    assert found.mode == mode
    assert found.value == pytest.approx(3.0, rel=1e-4)


def test_all_negative_gives_the_one_nearest_to_zero():
    loss, alphas = quadratic([-9.0, -3.0, -1.0, -0.5])
    assert dominant_eigenvalue([loss], alphas, "lanczos").value == pytest.approx(-0.5, rel=1e-3)


def test_auto_says_what_it_did():
    assert dominant_eigenvalue(*_args(10)).mode == "exact"
    assert dominant_eigenvalue(*_args(100)).mode == "lanczos"


def _args(size):
    loss, alphas = quadratic([float(i) for i in range(size)])
    return [loss], alphas, "auto"


def test_modes_agree_on_a_network():
    torch.manual_seed(0)
    alphas = [torch.randn(5, 3, dtype=torch.float64, requires_grad=True)]
    layer = torch.nn.Linear(3, 1).double()

    def loss():
        return torch.tanh(layer(alphas[0].softmax(-1))).pow(2).sum() + alphas[0].pow(3).mean()

    exact = dominant_eigenvalue([loss], alphas, "exact")
    assert dominant_eigenvalue([loss], alphas, "lanczos").value == pytest.approx(exact.value, rel=1e-4)


def test_averages_batches_and_adds_the_decay():
    one, alphas = quadratic([4.0, 1.0])
    found = dominant_eigenvalue([one, lambda: 3 * one()], alphas, "exact", weight_decay=0.25)
    assert found.value == pytest.approx(8.25)


def test_unknown_mode():
    loss, alphas = quadratic([1.0, 2.0])
    with pytest.raises(ConfigError, match=r"analysis\.hessian\.mode=guess"):
        dominant_eigenvalue([loss], alphas, "guess")


def tiny(relaxation, keep=None):
    """A method in float64, and a smooth loss of its op weights."""
    torch.manual_seed(0)
    method = flat_method(
        "m", {"cell": (3, 4), "other": (2, 4)}, relaxation=relaxation, init_scale=1.0
    ).double()
    if keep is not None:
        method.prune(keep)
    layer = torch.nn.Linear(4, 5).double()

    def loss(op_weights, slope=1.0):
        return sum(torch.tanh(slope * layer(w_EO)).pow(3).sum() for w_EO in op_weights.values())

    return method, loss


def by_torch(method, loss, function):
    """The largest eigenvalue by torch's own Hessian; `function` maps raw values [E, O] to op weights."""
    values = [a.detach() for a in method.alphas()]
    sizes = [v.numel() for v in values]

    def of_vector(vector):
        parts = [p.view_as(v) for p, v in zip(vector.split(sizes), values, strict=True)]
        return loss({g: function(p) for g, p in zip(method.alpha, parts, strict=True)})

    return of_vector, torch.cat([v.flatten() for v in values])


def elu_mean(eta):
    beta = torch.nn.functional.elu(eta) + 1
    return beta / beta.sum(-1, keepdim=True)


@pytest.mark.parametrize("mode", ["exact", "lanczos"])
@pytest.mark.parametrize(
    ("relaxation", "label", "function"),
    [
        ("softmax", "alpha", lambda alpha: alpha.softmax(-1)),
        ("dirichlet", "eta", elu_mean),
        ("dirichlet", "mu", lambda mu: mu.softmax(-1)),
    ],
)
def test_bases_give_the_eigenvalue_of_torchs_hessian(relaxation, label, function, mode):
    method, loss = tiny(relaxation)
    of_vector, at = by_torch(method, loss, function)
    if label == "mu":
        logs = [torch.log(torch.nn.functional.elu(a.detach()) + 1) for a in method.alphas()]
        at = torch.cat([(v - v.mean(-1, keepdim=True)).flatten() for v in logs])
    expected = torch.linalg.eigvalsh(torch.autograd.functional.hessian(of_vector, at))[-1]
    found = dominant_in_basis([loss], method.bases()[label], mode)
    assert found.value == pytest.approx(float(expected), rel=1e-4)
    assert found.mode == mode


def test_the_bases_of_a_method_and_that_looking_leaves_it_alone():
    assert list(tiny("softmax")[0].bases()) == ["alpha"]
    method, loss = tiny("dirichlet")
    assert list(method.bases()) == ["mu", "eta"]
    before, state = [a.detach().clone() for a in method.alphas()], torch.get_rng_state()
    for mu_EO in method.bases()["mu"][0]:
        torch.testing.assert_close(mu_EO.detach().sum(-1), torch.zeros(len(mu_EO)).double())
    for basis in method.bases().values():
        for group, weights in basis[1]().items():
            torch.testing.assert_close(weights.detach(), method.strengths()[group])
        dominant_in_basis([loss], basis)
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(a, b) and a.grad is None for a, b in zip(method.alphas(), before, strict=True))


@pytest.mark.parametrize(("relaxation", "label"), [("softmax", "alpha"), ("dirichlet", "mu")])
def test_dropped_candidates_are_no_directions(relaxation, label):
    """The eigenvalue is that of a softmax over the kept columns alone, the others at 0."""
    method, loss = tiny(relaxation, keep=2)
    basis = method.bases()[label]
    at = torch.cat([p.detach().flatten() for p in basis[0]])
    assert at.numel() == 10
    kept = method.kept()

    def of_vector(vector):
        parts = dict(zip(kept, vector.split([6, 4]), strict=True))
        full = {g: torch.zeros_like(m, dtype=at.dtype).masked_scatter(m, parts[g]) for g, m in kept.items()}
        weights = {
            g: (f.exp() * kept[g]) / (f.exp() * kept[g]).sum(-1, keepdim=True) for g, f in full.items()
        }
        return loss(weights)

    expected = torch.linalg.eigvalsh(torch.autograd.functional.hessian(of_vector, at))[-1]
    assert dominant_in_basis([loss], basis, "exact").value == pytest.approx(float(expected), rel=1e-8)


def test_batches_are_averaged_in_a_basis():
    method, loss = tiny("dirichlet")
    basis = method.bases()["mu"]
    losses = [loss, lambda w: loss(w, 2.0)]
    mean = dominant_in_basis([lambda w: (loss(w) + loss(w, 2.0)) / 2], basis, "exact", weight_decay=0.5)
    assert dominant_in_basis(losses, basis, "exact").value == pytest.approx(mean.value - 0.5)
