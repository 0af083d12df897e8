"""What is drawn from a searched method: samples, and the probability of every candidate to be the argmax."""

import numpy as np
import pytest
import torch
from scipy import integrate, special, stats

from nas.methods.probabilities import dirichlet_argmax_log_probabilities
from tests.methods.flat import flat_method

ETA = torch.tensor([[0.3, -0.8, 0.9, -0.2], [-3.0, 0.5, 2.5, -9.0]])


def method_of(relaxation):
    method = flat_method("m", {"cell": (2, 4)}, relaxation=relaxation)
    with torch.no_grad():
        method.alpha["cell"].copy_(ETA)
    return method


@pytest.mark.parametrize("relaxation", ["softmax", "dirichlet"])
def test_samples_repeat_themselves_and_leave_the_global_generator_alone(relaxation):
    method = method_of(relaxation)
    before = torch.get_rng_state()
    one, other = (method.sample_strengths(7, torch.Generator().manual_seed(3))["cell"] for _ in range(2))
    generator = torch.Generator().manual_seed(3)
    method.sample_strengths(7, generator)
    more = method.sample_strengths(7, generator)["cell"]
    assert torch.equal(before, torch.get_rng_state())
    assert one.shape == (7, 2, 4)
    assert one.dtype == torch.float64
    assert torch.equal(one, other)
    assert not torch.equal(one, more)
    torch.testing.assert_close(one.sum(-1), torch.ones(7, 2).double())


def test_dirichlet_samples_follow_their_marginals():
    draws = method_of("dirichlet").sample_strengths(4000, torch.Generator().manual_seed(0))["cell"]
    beta = torch.where(ETA > 0, ETA + 1, ETA.exp())
    for edge in range(2):
        for o in range(3):
            marginal = stats.beta(beta[edge, o], beta[edge].sum() - beta[edge, o])
            assert stats.kstest(draws[:, edge, o], marginal.cdf).pvalue > 1e-4


@pytest.mark.parametrize("relaxation", ["softmax", "dirichlet"])
def test_the_table_is_how_often_a_candidate_is_the_argmax(relaxation):
    """Monte Carlo with 200,000 draws: chi-square over all candidates of both edges, p > 1e-4."""
    method, count = method_of(relaxation), 200_000
    best = method.sample_strengths(count, torch.Generator().manual_seed(1))["cell"].argmax(-1)
    expected = method.log_probability_table()["cell"].exp() * count
    for edge in range(2):
        seen = torch.bincount(best[:, edge], minlength=4).double()
        assert stats.chisquare(seen, expected[edge], sum_check=False).pvalue > 1e-4


def test_softmax_table_is_the_log_softmax():
    torch.testing.assert_close(
        method_of("softmax").log_probability_table()["cell"], ETA.double().log_softmax(-1)
    )


@pytest.mark.parametrize("scale", [1e-6, 1e-3, 0.05, 1.0, 12.0, 300.0])
def test_probabilities_sum_to_one_at_every_scale(scale):
    beta = scale * (0.2 + np.random.default_rng(0).random((14, 8)))
    found = np.exp(dirichlet_argmax_log_probabilities(beta))
    np.testing.assert_allclose(found.sum(1), 1, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    "pair", [(1e-6, 1e-6), (1e-6, 3.0), (0.05, 0.3), (1.0, 1.0), (2.5, 7.0), (80.0, 95.0)]
)
def test_of_two_candidates_it_is_the_incomplete_beta_function(pair):
    """P(theta_0 > 1/2) for theta_0 ~ Beta(a, b)."""
    a, b = pair
    found = np.exp(dirichlet_argmax_log_probabilities(np.array([[a, b]])))[0]
    np.testing.assert_allclose(found, [special.betainc(b, a, 0.5), special.betainc(a, b, 0.5)], atol=1e-9)


def test_of_equal_candidates_all_are_as_likely_and_one_alone_is_certain():
    found = np.exp(dirichlet_argmax_log_probabilities(np.full((3, 5), [[0.01], [1.0], [40.0]])))
    np.testing.assert_allclose(found, 0.2, atol=1e-10)
    np.testing.assert_allclose(dirichlet_argmax_log_probabilities(np.array([[0.3]])), 0, atol=1e-10)


def test_three_candidates_against_adaptive_quadrature():
    beta = [0.4, 1.7, 3.0]

    def density(x, o):
        others = [special.gammainc(b, x) for j, b in enumerate(beta) if j != o]
        return stats.gamma(beta[o]).pdf(x) * np.prod(others)

    expected = [
        sum(integrate.quad(density, *r, args=(o,), epsabs=1e-12)[0] for r in ((0, 1), (1, 8), (8, 80)))
        for o in range(3)
    ]
    found = np.exp(dirichlet_argmax_log_probabilities(np.array([beta])))[0]
    np.testing.assert_allclose(found, expected, atol=1e-9)
