"""Prices of scaling factors, and the rule that keeps some of them alive."""

from dataclasses import dataclass

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.errors import ConfigError
from nas.methods.sparsity import Sparsity, guard


@dataclass
class Costs:
    """A group whose connections cost as much as `macs_EO` says, each on its own."""

    macs_EO: torch.Tensor

    def share(self, alive_EO):
        return (self.macs_EO * alive_EO).sum() / self.macs_EO.sum()

    def count(self, alive_EO):
        return (alive_EO.sum() + 1) / 7

    @property
    def memory_EO(self):
        return self.macs_EO / self.macs_EO.max()


@dataclass(frozen=True)
class Rule:
    rows: tuple[int, ...]
    least: int = 1


COSTS = {"block": Costs(torch.tensor([[4.0], [3.0], [1.0]], dtype=torch.float64))}
ALPHA = {"block": torch.tensor([[0.5], [0.0], [1e-30]])}


@pytest.mark.parametrize(
    ("adaptive", "expected"),
    [("none", 1.0), ("flops", 5 / 8), ("count", 3 / 7), ("memory", [[1.0], [0.75], [0.25]])],
)
def test_what_gamma_is_multiplied_with(adaptive, expected):
    scale = Sparsity(0.1, adaptive).scales(ALPHA, COSTS)["block"]
    torch.testing.assert_close(scale.double(), torch.tensor(expected, dtype=torch.float64))


def test_latency_goes_from_half_to_one_among_the_alive_of_a_group():
    alpha = {"a": torch.tensor([[1.0, 2.0], [0.0, 3.0]]), "b": torch.ones(2, 1), "c": torch.zeros(2, 1)}
    seconds = {
        "a": torch.tensor([[1e-3, 2e-3], [9e-3, 5e-3]]),
        "b": torch.full((2, 1), 1e-3),
        "c": torch.tensor([[1.0], [2.0]]),
    }
    scales = Sparsity(0.1, "latency").scales(alpha, seconds=seconds)
    torch.testing.assert_close(scales["a"], torch.tensor([[0.5, 0.625], [1.0, 1.0]]))
    assert (scales["b"] == 1).all() and (scales["c"] == 1).all()


@pytest.mark.parametrize("adaptive", ["flops", "count", "memory", "latency"])
def test_what_is_missing_is_named(adaptive):
    for known in (None, {}):
        with pytest.raises(ConfigError, match=f"method.adaptive={adaptive}: .* group block"):
            Sparsity(0.1, adaptive).scales(ALPHA, known, known)


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"gamma": -0.1}, "gamma=-0.1"),
        ({"gamma": float("nan")}, "gamma=nan"),
        ({"adaptive": "mac"}, "adaptive=mac"),
        ({"prune_every": 0}, "prune_every=0"),
    ],
)
def test_bad_settings_name_their_key(settings, key):
    with pytest.raises(ConfigError, match=rf"method\.{key}"):
        Sparsity(**{"gamma": 0.1} | settings)


def test_the_larger_of_two_dying_branches_is_given_back():
    before = {"reduce_1": torch.tensor([[0.01], [0.02]]), "block": torch.tensor([[0.01]])}
    dead = {name: torch.zeros_like(values) for name, values in before.items()}
    after = guard(before, dead, {"reduce_1": [Rule((0, 1))], "block": []})
    assert after["reduce_1"].tolist() == [[0.0], [before["reduce_1"][1].item()]]
    assert after["block"].tolist() == [[0.0]]
    assert dead["reduce_1"].tolist() == [[0.0], [0.0]], "the argument is left alone"


def test_a_living_branch_is_enough_however_small():
    after = {"reduce_1": torch.tensor([[0.0], [1e-9]])}
    found = guard({"reduce_1": torch.tensor([[5.0], [0.1]])}, after, {"reduce_1": [Rule((0, 1))]})
    assert torch.equal(found["reduce_1"], after["reduce_1"])


values = st.sampled_from([0.0, 0.0, 0.0, -2.0, -0.5, 0.25, 0.5, 1.0])


@st.composite
def steps(draw):
    """Factors before and after a step, and rules of which none was broken before it."""
    edges, operations = draw(st.integers(1, 6)), draw(st.integers(1, 3))
    row = st.lists(values, min_size=operations, max_size=operations)
    before, after = (torch.tensor(draw(st.lists(row, min_size=edges, max_size=edges))) for _ in range(2))
    rules = []
    for _ in range(draw(st.integers(0, 2))):
        rows = draw(st.lists(st.integers(0, edges - 1), min_size=1, unique=True))
        living = int((before[rows] != 0).any(1).sum())
        if living:
            rules.append(Rule(tuple(rows), draw(st.integers(1, living))))
    return before, after, rules


@settings(max_examples=300, deadline=None)
@given(steps())
def test_a_rule_that_held_holds_and_no_more_than_that_is_given_back(step):
    before, after, rules = step
    found = guard({"g": before}, {"g": after}, {"g": rules})["g"]
    back = (found != after).any(1)
    for rule in rules:
        assert (found[list(rule.rows)] != 0).any(1).sum() >= rule.least
    assert not after[back].any(), "only a dead row changes"
    for row in back.nonzero().flatten().tolist():
        (kept,) = found[row][found[row] != 0]
        assert kept.abs() == before[row].abs().max() and kept in before[row]
    if len(rules) == 1:
        rows, least = list(rules[0].rows), rules[0].least
        living = int((after[rows] != 0).any(1).sum())
        assert int(back.sum()) == max(0, least - living)
        sizes = before[rows].abs().amax(1)
        dead = ~(after[rows] != 0).any(1)
        refused = sizes[dead & ~back[rows]]
        assert not len(refused) or not back.any() or refused.max() <= sizes[back[rows]].min()
    else:
        assert rules or torch.equal(found, after)


@pytest.mark.parametrize("adaptive", ["none", "flops", "memory", "latency"])
def test_nothing_waits_for_the_device(adaptive):
    """Meta tensors hold no values, so that looking at one raises."""
    alpha = {"g": torch.ones(3, 1, device="meta")}
    costs = {"g": Costs(torch.ones(3, 1, device="meta"))}
    scale = Sparsity(0.1, adaptive).scales(alpha, costs, {"g": torch.ones(3, 1)})["g"]
    assert torch.broadcast_shapes(scale.shape, (3, 1)) == (3, 1)
    assert guard(alpha, alpha, {"g": [Rule((0, 2))]})["g"].is_meta
