"""Perturbation-based selection: what is taken out, what stays, and when."""

import copy

import pytest
import torch

from nas.engine.learning import check_selection
from nas.errors import ConfigError
from nas.methods.selections import Projection
from tests.methods.composed import SPACES, batch, step_of


@pytest.fixture(params=SPACES)
def space(request):
    return SPACES[request.param]()


def decisions_of(method, worths, last, op_weights=None):
    """Decides by a table in place of a supernet: what each candidate [E, O] adds to the worth."""
    asked = []

    def score(op_weights):
        asked.append(op_weights)
        worth = sum((weights != 0).double().mul(worths[group]).sum() for group, weights in op_weights.items())
        return float(worth), 10

    selection = method.selection
    selection.begin(None)
    selection.observe(0, score)
    selection.decide(method, op_weights or method.op_weights, last)
    return asked


def test_the_candidate_that_is_missed_most_stays(space):
    method = step_of("darts_pt", space).method
    torch.manual_seed(0)
    worths = {group: torch.rand(alpha.shape).double() for group, alpha in method.alpha.items()}
    asked = decisions_of(method, worths, last=True)
    scores = method.scores()
    for group, rows in space.groups.items():
        allowed = worths[group].clone()
        if "none" in rows.operations[0] and space.name == "darts":
            allowed[:, 0] = -1.0  # which stands in no cell
        columns = allowed.argmax(-1)
        for target in {edge[1] for edge in rows.edges}:
            inside = [row for row, edge in enumerate(rows.edges) if edge[1] == target]
            kept = sorted(inside, key=lambda row: -worths[group][row, columns[row]])
            kept = kept[:2] if space.name == "darts" else kept
            for row in inside:
                expected = torch.zeros(allowed.shape[1]).double()
                expected[columns[row]] = float(row in kept)
                assert torch.equal(scores[group][row], expected)
    # One at a time is out, and the others stay as they were.
    whole = step_of("darts_pt", space).method.op_weights()
    first = asked[0]
    out = {group: first[group] != whole[group] for group in first}
    assert sum(int(value.sum()) for value in out.values()) == 1
    assert all(not first[group][mask].any() for group, mask in out.items())
    assert str(space.derive(scores)) == str(space.derive(method.derived(scores)))


@pytest.mark.parametrize("batches", [None, 2])
def test_its_passes_are_counted_before_it_takes_them(space, batches):
    override = [] if batches is None else [f"method.selection.batches={batches}"]
    method = step_of("darts_pt", space, *override).method
    asked, selection = [], method.selection
    selection.begin(None)
    for index in range(3):
        selection.observe(index, lambda one: (asked.append(one) or float(len(asked)), 10))
    selection.decide(method, method.op_weights, True)
    assert selection.passes(50, 3) == {"validation": len(asked)}


def test_one_decision_an_event_in_an_order_of_its_own_and_resumed_alike(space):
    step = step_of("darts_pt", space, "method.selection.seed=3")
    method = step.method
    worths = {group: torch.rand(alpha.shape).double() for group, alpha in method.alpha.items()}
    for number in range(1, method.selection.decisions + 1):
        if number == 2:
            # As from a checkpoint: what has been decided says what is next.
            other = step_of("darts_pt", space, "method.selection.seed=3").method
            other.load_state_dict(copy.deepcopy(method.state_dict()))
            method = other
        decisions_of(method, worths, last=False)
        rows = method.decided.rows(next(iter(space.groups)), next(iter(method.alpha.values())))
        assert int(rows.sum()) == min(number, len(rows))
    through = method.scores()
    again = step_of("darts_pt", space, "method.selection.seed=3").method
    decisions_of(again, worths, last=True)
    assert all(torch.equal(value, through[group]) for group, value in again.scores().items())
    assert not decisions_of(again, worths, last=True)


def test_decided_edges_do_not_learn_and_what_is_dropped_is_not_compared(space):
    step = step_of("darts_pt", space)
    step.method.prune(2)
    worths = {group: torch.rand(alpha.shape).double() for group, alpha in step.method.alpha.items()}
    decisions_of(step.method, worths, last=False, op_weights=step.op_weights)
    found = step.method.gradient(step.bilevel(), batch(), batch(1))
    for gradient, (group, alpha) in zip(found.gradients, step.method.alpha.items(), strict=True):
        rows = step.method.decided.rows(group, alpha)
        chosen = step.method.scores()[group][rows] == 1
        assert chosen.sum() == 1 and step.method.kept()[group][rows][chosen].all()
        assert int(rows.sum()) == 1 and not gradient[rows].any() and gradient[~rows].any()


@pytest.mark.parametrize(
    ("tuning", "epochs", "expected"),
    [
        (5, 40, [14, 19, 24, 29, 34, 39]), (0, 4, [3]), (1, 6, [0, 1, 2, 3, 4, 5]),
        (None, 50, [24, 29, 34, 39, 44, 49]), (None, 2, [1]), (None, 10, [4, 5, 6, 7, 8, 9]),
    ],
)  # fmt: skip
def test_decisions_end_with_the_search(tuning, epochs, expected):
    selection = step_of_six(tuning)
    selection.check(epochs)
    assert [epoch for epoch in range(epochs) if selection.due(epoch, epochs)] == expected


def step_of_six(tuning):
    """A selection among six edges, of which all stay."""
    selection = Projection(tuning)
    selection._nodes = {"cell": [([0], 1), ([1, 2], 2), ([3, 4, 5], 3)]}
    return selection


def test_what_cannot_be_is_refused():
    with pytest.raises(ConfigError, match=r"tuning=5: 6 decisions so many epochs apart take 26 epochs"):
        step_of_six(5).check(20)
    with pytest.raises(ConfigError, match="method gdas runs one candidate of each edge"):
        step_of(
            "gdas", SPACES["nasbench201"](), "method.selection={_target_:nas.methods.selections.Projection}"
        )
    method = step_of("darts_pt", SPACES["nasbench201"]()).method
    trainer = {"max_epochs": 12, "check_val_every_n_epoch": 2, "limit_val_batches": 1.0}
    with pytest.raises(ConfigError, match=r"check_val_every_n_epoch=2: .* \(6, 8, 10, from 0"):
        check_selection({"trainer": trainer}, method)
