"""Proposition 1 of Chen et al. 2021 in numbers: both sides against literal ones, and what a user types."""

import csv
import math

import pytest
import torch

from experiments.drnas import bound
from experiments.drnas.bound import coefficient, quadratics, right_side


def test_the_coefficient_is_the_least_variance_of_the_proof():
    """sigma_o = (1 - 2 / O) / beta_o + sum(1 / beta) / O^2, and no beta is above 1 + delta."""
    generator = torch.Generator().manual_seed(0)
    for operations in (2, 5, 8):
        for _ in range(20):
            beta_O = 3 * torch.rand(operations, generator=generator, dtype=torch.float64) + 0.1
            delta = (beta_O - 1).norm().item()
            sigma_O = (1 - 2 / operations) / beta_O + (1 / beta_O).sum() / operations**2
            assert sigma_O.min().item() >= coefficient(delta, operations) - 1e-12
    assert coefficient(0.0, 5) == pytest.approx(0.8)
    assert coefficient(1.0, 2) == pytest.approx(0.25)


def test_the_right_side_of_a_linear_loss_of_two_candidates_is_that_of_paper_and_pencil():
    """L = theta_1 at mu = (a, -a) is the logistic function of 2 a: trace 2 s (1 - s) (1 - 2 s)."""
    beta_EO = torch.tensor([[2.0, 1.0]], dtype=torch.float64)
    delta, centre, right, least = right_side(lambda theta_EO: theta_EO[0, 0], beta_EO)
    s = 1 / (1 + math.exp(-math.log(2)))
    second = s * (1 - s) * (1 - 2 * s)
    assert (delta, centre) == (pytest.approx(1.0), pytest.approx(s))
    assert right == pytest.approx(s + coefficient(1.0, 2) / 2 * 2 * second)
    assert least == pytest.approx(2 * second)


def test_the_expectation_of_a_quadratic_is_that_of_many_draws(monkeypatch):
    """The closed form against the sampler of torch, with the very loss that the bound is made of."""
    seen = []

    def spied(loss, beta_EO):
        seen.append((loss, beta_EO))
        return right_side(loss, beta_EO)

    monkeypatch.setattr(bound, "right_side", spied)
    torch.manual_seed(0)
    for delta in (0.25, 2.0):
        one = bound.quadratic(torch.Generator().manual_seed(3), delta)
        loss, beta_EO = seen.pop()
        assert one.delta == pytest.approx(delta)
        draws_N = torch.stack(
            [loss(theta_EO) for theta_EO in torch.distributions.Dirichlet(beta_EO).sample((8_000,))]
        )
        assert one.expected == pytest.approx(draws_N.mean().item(), abs=4 * draws_N.std().item() / 89)


def test_the_bound_holds_wherever_the_hessian_has_no_negative_eigenvalue():
    for found in quadratics(30).values():
        within = [one for one in found if one.semidefinite]
        assert len(within) >= 15
        assert all(one.holds for one in within)


def test_the_bound_is_no_matter_of_course():
    """With the variance that beta = 1 would have, whatever beta is, it fails far from there."""
    far = [one for one in quadratics(30, [4.0])[4.0] if one.semidefinite]
    assert any(one.expected < one.centre + (one.bound - one.centre) * (1 + one.delta) for one in far)


def test_the_command_records_every_case_and_draws(tmp_path, capsys):
    bound.main(f"--results {tmp_path} --count 2 --epochs 1 --draws 2 --images 16".split())
    rows = list(csv.DictReader((tmp_path / "bound.csv").read_text().splitlines()))
    assert [row["of"] for row in rows] == ["quadratic"] * 12 + ["digits"]
    assert rows[-1]["expected"] and (tmp_path / "bound.png").exists()
    assert (tmp_path / "bound.md").read_text() in capsys.readouterr().out
