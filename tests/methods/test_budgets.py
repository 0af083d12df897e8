"""A cost that is told, and a price that moves until what is derived is within a budget."""

import itertools
import math

import pytest
import torch

from nas.errors import ConfigError
from nas.methods.cost import ExpectedCost
from nas.methods.layout import layout_of
from nas.methods.monitors import Seen
from nas.spaces.nasbench201.space import NasBench201Space
from tests.methods.flat import flat_method

SPACE = NasBench201Space("nasbench201", ["none", "skip_connect", "nor_conv_3x3"], 1, 4)
GROUP = SPACE.groups["cell"]
SHAPES = {"cell": GROUP.shape}
COSTS = torch.arange(18, dtype=torch.float64).view(6, 3) ** 2


def method_of(**cost):
    torch.manual_seed(0)
    keys = {"layout": layout_of(SPACE.groups), "init_scale": 1.0}
    return flat_method("m", SHAPES, cost=cost, **keys).double()


def derived_cost(scores):
    """What the strongest candidate of every edge costs."""
    return float(COSTS.gather(1, scores["cell"].argmax(1, keepdim=True)).sum())


@pytest.mark.parametrize("form", ["linear", "log"])
def test_the_gradient_is_that_of_the_mean_over_all_architectures(form):
    """Over all 729 architectures, each as likely as the product of its softmax weights says."""
    method = method_of(of="device", weight=0.7, form=form)
    method.cost.told({"cell": COSTS})
    alpha = method.alpha["cell"]
    logs = alpha.log_softmax(1)
    mean = alpha.new_zeros(())
    for columns in itertools.product(range(3), repeat=6):
        chosen = torch.stack([logs[row, column] for row, column in enumerate(columns)]).sum().exp()
        mean = mean + chosen * sum(float(COSTS[row, column]) for row, column in enumerate(columns))
    uniform = float(COSTS.mean(1).sum())
    term = 0.7 * (mean / uniform).log() if form == "log" else 0.7 * mean / uniform
    [expected] = torch.autograd.grad(term, [alpha])
    torch.testing.assert_close(method.penalty(), term, atol=1e-12, rtol=1e-12)
    torch.testing.assert_close(method.anchor_gradients()[0], expected, atol=1e-12, rtol=1e-12)


def test_the_price_climbs_above_the_budget_and_falls_within_it():
    cost = ExpectedCost("device", weight=0.2, budget=100.0, rate=0.1)
    seen, price = [], 0.2
    for paid in (150.0, 1000.0, 100.0, 90.0, 10.0, 10.0, 10.0):
        cost.measure = lambda scores, paid=paid: paid
        cost.move({})
        price = max(0.0, price + 0.1 * max(-1.0, min(1.0, paid / 100 - 1)))
        seen.append(cost.price)
        assert cost.price == pytest.approx(price)
        assert cost.within({}) is (paid <= 100)
    assert (
        seen[0] == pytest.approx(0.25) and seen[1] == pytest.approx(0.35) and seen[-1] == pytest.approx(0.07)
    )
    cost.measure = lambda scores: None
    cost.move({})
    assert cost.price == seen[-1] and not cost.within({})
    # Where the table does not know an architecture the fit does; it is not known to be within all the same.
    cost.estimate = lambda scores: 200.0
    cost.move({})
    assert cost.price == pytest.approx(seen[-1] + 0.1) and not cost.within({})


def test_the_adaptive_price_follows_the_share_of_the_budget():
    cost = ExpectedCost("device", weight=0.2, budget=100.0, multiplier="adaptive")
    for paid in (150.0, 50.0):
        cost.measure = lambda scores, paid=paid: paid
        cost.move({})
        assert cost.price == pytest.approx(0.2 * paid / 100)


@pytest.mark.parametrize("multiplier", ["lagrangian", "adaptive"])
def test_steps_that_only_pay_come_within_the_budget(multiplier):
    method = method_of(of="device", weight=0.1, budget=550.0, multiplier=multiplier)
    method.cost.told({"cell": COSTS})
    method.cost.measure = derived_cost
    optimizer = torch.optim.Adam(method.alphas(), lr=0.05)
    with torch.no_grad():
        method.alpha["cell"][:, 2] += 2.0
    before = derived_cost(method.scores())
    assert before > 550 and not method.within_budget()
    prices = []
    for _ in range(200):
        for alpha, gradient in zip(method.alphas(), method.anchor_gradients(), strict=True):
            alpha.grad = gradient
        with method.stepping(optimizer):
            optimizer.step()
        prices.append(method.spending()["cost_multiplier"])
        if method.within_budget():
            break
    assert method.within_budget() and derived_cost(method.scores()) <= 550
    rises = multiplier == "lagrangian"
    assert (prices[1] > prices[0] > 0.1) if rises else prices[0] == pytest.approx(0.1 * before / 550)


def test_the_price_is_part_of_a_checkpoint():
    method, other = method_of(of="device", budget=200.0), method_of(of="device", budget=200.0)
    method.cost.price = 1.75
    other.load_state_dict(method.state_dict())
    assert other.cost.price == 1.75
    without = method_of(of="device", weight=1.0)
    assert "cost_price" not in without.get_extra_state()
    # One of before there was a budget.
    other.load_state_dict(without.state_dict())
    assert other.cost.price == 1.75


def test_the_result_is_the_last_epoch_within_the_budget_in_which_alpha_moved():
    method = method_of(of="device", budget=200.0)
    monitor = method.monitors["budget"]
    decided = []
    for epoch, (paid, moves) in enumerate([(9, False), (9, True), (300, True), (200, True), (201, True)]):
        method.cost.measure = lambda scores, paid=paid: float(paid)
        monitor.active = lambda epoch, moves=moves: moves
        decision = monitor.end_epoch(Seen(epoch, False, {}))
        decided.append(None if decision is None else decision.result)
    assert decided == [None, 1, None, 3, None]
    assert list(monitor.keeps()) == [3]
    again = method_of(of="device", budget=200.0).monitors["budget"]
    again.restore(monitor.state())
    assert again.last == 3


def test_what_means_nothing_is_refused():
    for cost, words in (
        ({"budget": 0}, "must be null or a positive number"),
        ({"budget": math.inf}, "must be null or a positive number"),
        ({"budget": 5, "multiplier": "newton"}, r"method\.cost\.multiplier='?newton"),
        ({"budget": 5, "rate": 0}, r"method\.cost\.rate=0"),
        ({"budget": 5, "multiplier": "adaptive"}, "which moves nothing"),
        ({"budget": 5, "table": "a.json"}, r"read by method\.cost\.of=latency alone"),
    ):
        with pytest.raises(ConfigError, match=words):
            method_of(**cost)
    with pytest.raises(ConfigError, match=r"method\.cost\.budget: alpha of method m never moves"):
        flat_method("m", SHAPES, cost={"budget": 5}, update="none")
    best = {"best": {"_target_": "nas.methods.monitors.BestEpoch"}}
    with pytest.raises(ConfigError, match=r"method\.monitors\.best: may name another epoch"):
        flat_method("m", SHAPES, cost={"budget": 5}, monitors=best)
    method = method_of(of="device", weight=1.0)
    with pytest.raises(ConfigError, match=r"method\.cost\.of=device: nobody has said"):
        method.attach(lambda: {}, {})
    method.needs_no_times()
    method.attach(lambda: {}, {})
    assert not any(one.any() for one in method.anchor_gradients())
