"""The last layer of weights that a training starts from: by the names of its classes."""

import pytest
import torch

from nas.engine.heads import Head, check_head, sides_of
from nas.errors import ConfigError

WEIGHTS = {
    "stem": torch.ones(2, 2),
    "last.weight": torch.arange(6.0).view(3, 2),
    "last.bias": torch.arange(3.0),
}
SIDES = {"last.weight": 0, "last.bias": 0}
ABC = ("a", "b", "c")


def fitted(ours, theirs, rule="names"):
    return Head(SIDES, ours, theirs, rule).fitted(WEIGHTS)


@pytest.mark.parametrize("theirs", [ABC, None, ("a", "b")])
def test_nothing_is_decided_where_names_agree_are_unknown_or_not_as_many(theirs):
    weights, left, told = fitted(ABC, theirs)
    assert (left, told) == (frozenset(), "")
    assert all(weights[name] is one for name, one in WEIGHTS.items())


def test_the_same_names_in_another_order_move_the_rows():
    weights, left, told = fitted(("c", "a", "b"), ABC)
    assert left == frozenset() and "in the order" in told
    assert weights["last.bias"].tolist() == [2, 0, 1]
    assert weights["last.weight"].tolist() == [[4, 5], [0, 1], [2, 3]]
    assert weights["stem"] is WEIGHTS["stem"]


def test_other_names_begin_anew_and_are_said():
    _, left, told = fitted(("a", "b", "x"), ABC)
    assert left == set(SIDES) and "the weights know c, this network x" in told
    assert fitted(("a", "b", "x"), ABC, "take")[1:] == (frozenset(), "")
    assert fitted(ABC, ABC, "anew")[1] == set(SIDES)


def test_a_rule_that_is_none_is_refused():
    with pytest.raises(ConfigError, match="init_head=some: unknown; known are names, take, anew"):
        check_head("some")


def test_the_sides_are_those_that_one_class_more_makes_longer():
    own = {"a": (3, 4), "b": (2, 3), "c": (3,), "d": (7, 7)}
    wider = {"a": (4, 4), "b": (2, 4), "c": (4,), "d": (7, 7)}
    assert sides_of(own, wider) == {"a": 0, "b": 1, "c": 0}
