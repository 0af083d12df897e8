"""Draws become distinct architectures with probabilities, costs are exact, and the front is the front."""

import math
import random
import time
from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.image import imread
from torch import nn

from nas.analysis.cost.complexity import count_cost
from nas.analysis.cost.latency import measure_latency
from nas.analysis.cost.pricing import EdgePrices, WholePrices, terms_of
from nas.analysis.plots.pareto import draw_pareto
from nas.analysis.sampling import (
    Architecture,
    Budget,
    choices_of,
    draw_architectures,
    every_architecture,
    log_probability,
    one_hot,
    pareto_front,
)
from nas.errors import ConfigError
from nas.genotype import Cell, Edge, Genotype
from nas.spaces.darts.space import DartsSpace
from nas.spaces.nasbench201 import NasBench201Space
from nas.spaces.space import EdgeGroup, ImageInputs

OPERATIONS = ("none", "skip_connect", "sep_conv_3x3", "max_pool_3x3")
DARTS = DartsSpace("darts", list(OPERATIONS))
CHAIN = {"cell": EdgeGroup(((0, 1), (1, 2)), (("a", "b", "c"), ("a", "b", "d")))}
CHAIN_LOGITS = torch.tensor([[1.0, 0.0, -1.0], [0.5, 0.5, -2.0]], dtype=torch.float64)


def chain(strengths):
    """Derivation of a space that keeps every edge."""
    columns = strengths["cell"].argmax(-1).tolist()
    nodes = tuple((Edge(i, CHAIN["cell"].operations[i][c]),) for i, c in enumerate(columns))
    return Genotype("chain", {"cell": Cell(nodes, (2,), inputs=1)})


def gumbel(logits, groups, seed):
    """Draws whose argmax follows softmax(logits)."""
    generator = torch.Generator().manual_seed(seed)

    def sample(count):
        noise = {
            name: torch.empty(count, *group.shape, dtype=torch.float64).exponential_(generator=generator)
            for name, group in groups.items()
        }
        return {name: (logits[name] - noise[name].log()).softmax(-1) for name in groups}

    return sample


def random_darts(seed, space=DARTS):
    generator = torch.Generator().manual_seed(seed)
    return space.derive({n: torch.rand(g.shape, generator=generator) for n, g in space.groups.items()})


@given(st.integers(0, 2**31))
@settings(max_examples=30, deadline=None)
def test_the_choices_of_an_architecture_derive_it_again(seed):
    genotype = random_darts(seed)
    weights = one_hot(genotype, DARTS.groups)
    assert DARTS.derive(weights) == genotype
    assert all(w.sum() == 8 and set(w.unique().tolist()) == {0.0, 1.0} for w in weights.values())
    assert sum(len(pairs) for pairs in choices_of(genotype, DARTS.groups).values()) == 16


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        (Cell(((Edge(0, "d"),), (Edge(1, "a"),)), (2,), inputs=1), "'d' on edge 0->1"),
        (Cell(((Edge(0, "a"),), (Edge(0, "a"),)), (2,), inputs=1), "'a' on edge 0->2"),
        (Cell(((Edge(0, "a"), Edge(0, "b")), (Edge(1, "a"),)), (2,), inputs=1), "two operations"),
    ],
)
def test_architectures_of_another_space_are_refused(cell, words):
    with pytest.raises(ConfigError, match=words):
        choices_of(Genotype("chain", {"cell": cell}), CHAIN)


def test_where_every_edge_is_kept_the_probability_is_exact():
    table = {"cell": CHAIN_LOGITS.log_softmax(-1)}
    every = [
        chain({"cell": nn.functional.one_hot(torch.tensor(columns), 3)})
        for columns in product(range(3), repeat=2)
    ]
    probabilities = {one: math.exp(log_probability(one, CHAIN, table)) for one in every}
    assert len(probabilities) == 9
    assert sum(probabilities.values()) == pytest.approx(1, abs=1e-12)
    draws = draw_architectures(gumbel({"cell": CHAIN_LOGITS}, CHAIN, 0), chain, CHAIN, 4000, chunk=999)
    assert draws.edgewise
    assert sum(draws.counts.values()) == draws.total == 4000
    for one, p in probabilities.items():
        # Five standard errors of a binomial share.
        assert draws.counts.get(one, 0) / 4000 == pytest.approx(p, abs=5 * math.sqrt(p * (1 - p) / 4000))


def test_where_edges_are_chosen_too_it_is_said_not_to_be():
    logits = {name: torch.zeros(group.shape, dtype=torch.float64) for name, group in DARTS.groups.items()}
    sample = gumbel(logits, DARTS.groups, 1)
    assert not draw_architectures(sample, DARTS.derive, DARTS.groups, 20).edgewise
    table = {name: logit.log_softmax(-1) for name, logit in logits.items()}
    assert log_probability(random_darts(3), DARTS.groups, table) == pytest.approx(16 * math.log(1 / 4))


@pytest.mark.parametrize("count", [0, -1, 2.5, True])
def test_numbers_of_draws_that_are_none_are_refused(count):
    with pytest.raises(ConfigError, match="samples="):
        draw_architectures(gumbel({"cell": CHAIN_LOGITS}, CHAIN, 0), chain, CHAIN, count)


SMALL = st.integers(0, 6).map(float)


@given(st.lists(st.tuples(SMALL, SMALL), max_size=25))
def test_the_front_is_what_nobody_beats(points):
    costs, scores = [p[0] for p in points], [p[1] for p in points]
    beaten = [
        any(c <= cost and s >= score and (c, s) != (cost, score) for c, s in points) for cost, score in points
    ]
    assert pareto_front(costs, scores) == [not one for one in beaten]


def test_budgets():
    one = Architecture(random_darts(0), -1.0, params=100, macs=10)
    assert Budget().keeps(one) and Budget(params=100, macs=10).keeps(one)
    assert not Budget(params=99).keeps(one) and not Budget(params=100, macs=9).keeps(one)
    # A latency that nobody measured keeps no limit, unless that limit is not asked about.
    assert not Budget(latency=5).keeps(one) and Budget(latency=5).keeps(one, ("params", "macs"))
    assert str(Budget(params=3.3e6)) == "budget.params=3.3e+06"
    for bad in (0, -1.0, True, "many"):
        with pytest.raises(ConfigError, match=r"budget\.macs"):
            Budget(macs=bad)


@given(st.integers(0, 2**31))
@settings(max_examples=20, deadline=None)
def test_sums_over_edges_are_exact_and_need_few_networks(seed):
    rng = random.Random(seed)
    worth: dict[tuple, tuple[int, int]] = {}

    def price(genotype):
        for term in terms_of(genotype):
            worth.setdefault(term, (rng.randrange(10**9), rng.randrange(10**9)))
        return tuple(int(sum(n * worth[term][i] for term, n in terms_of(genotype).items())) for i in (0, 1))

    prices = EdgePrices(price)
    genotypes = [random_darts(rng.randrange(2**31)) for _ in range(60)]
    assert [prices(one) for one in genotypes] == [price(one) for one in genotypes]
    # 2 cells x 3 operations x (input or not), of which one combination a cell is the fixed number of edges.
    assert prices.built <= 11
    prices.check(genotypes[-1])


@pytest.mark.parametrize("stem", ["cifar", "imagenet"])
def test_sums_over_edges_are_those_of_real_networks(stem):
    size = {"cifar": 16, "imagenet": 32}[stem]

    def price(genotype):
        cost = count_cost(
            lambda: DARTS.network(
                genotype, ImageInputs((3, size, size), 10), num_cells=3, init_channels=4, stem=stem
            ),
            (3, size, size),
        )
        return cost.params, cost.macs

    prices = EdgePrices(price)
    for seed in range(20):
        prices(random_darts(seed))
    for seed in range(100, 106):
        prices.check(random_darts(seed))
    assert prices.built <= 11


def test_costs_that_do_not_add_up_are_found_out():
    def price(genotype):
        return genotype["normal"].count("skip_connect") ** 2, genotype["reduce"].count("skip_connect")

    prices = EdgePrices(price)
    for seed in range(40):
        prices(random_darts(seed))
    with pytest.raises(ConfigError, match="cost=whole"):
        for seed in range(40, 80):
            prices.check(random_darts(seed))
    whole = WholePrices(price)
    assert [whole(random_darts(seed)) for seed in (1, 2, 1)] == [
        price(random_darts(seed)) for seed in (1, 2, 1)
    ]
    assert whole.built == 2


class Slow(nn.Module):
    """Takes 3 ms, 30 ms in its first two calls, and counts them."""

    calls = 0

    def forward(self, x):
        assert not self.training
        self.calls += 1
        time.sleep(0.03 if self.calls <= 2 else 0.003)
        return x


def test_latency_is_the_median_after_the_warm_up():
    network = Slow()
    found = measure_latency(network, torch.zeros(1), warmup=2, repeats=5)
    assert network.calls == 7
    assert 3 <= found.median < 25
    assert 0 <= found.spread < 25
    for key in ("warmup", "repeats"):
        with pytest.raises(ConfigError, match=f"latency.{key}=0"):
            measure_latency(network, torch.zeros(1), **{key: 0})


def test_the_picture_shows_front_budget_and_derived_one(tmp_path):
    costs, scores = [1.0, 2.0, 3.0, 2.5], [0.1, 0.5, 0.6, 0.2]
    front = pareto_front(costs, scores)
    path = draw_pareto(
        costs,
        scores,
        front,
        [True, True, False, True],
        tmp_path / "pareto.png",
        "parameters (M)",
        "accuracy (%)",
        derived=(3.0, 0.6),
        limit=2.6,
    )
    pixels = (imread(path)[..., :3] * 255).round().astype(int)
    for colour, opacity in (("0072B2", 0.7), ("009E73", 1), ("D55E00", 1), ("444444", 1)):
        rgb = [opacity * int(colour[i : i + 2], 16) + (1 - opacity) * 255 for i in (0, 2, 4)]
        assert (abs(pixels - rgb).max(axis=-1) < 20).any(), colour
    with pytest.raises(ConfigError, match="front"):
        draw_pareto(costs, scores, front[:2], [True] * 4, path, "x", "y")


def test_every_architecture_comes_once_where_every_edge_is_kept():
    space = NasBench201Space("nasbench201", ["none", "skip_connect"], cells_per_stage=1, init_channels=2)
    found = every_architecture(space, "sample=all")
    assert len(set(found)) == len(found) == 2**6
    with pytest.raises(ConfigError, match="sample=all: space nasbench201 holds 64 choices; at most 63"):
        every_architecture(space, "sample=all", at_most=63)
    darts = DartsSpace("darts", ["skip_connect"])
    with pytest.raises(ConfigError, match="sample=all: derivation in space darts also chooses among edges"):
        every_architecture(darts, "sample=all")
