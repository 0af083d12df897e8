"""The dominant eigenvalue of a Hessian that is known."""

import pytest
import torch

from nas.analysis.hessian import dominant_eigenvalue
from nas.errors import ConfigError


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
