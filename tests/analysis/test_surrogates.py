"""A surrogate is asked once for each architecture, refused where it says nonsense, and costs no search."""

import random

import numpy as np
import pytest
import torch

from nas.analysis.summaries import check_summary, figures_of
from nas.analysis.surrogates import Predicted, generators_kept
from nas.errors import ConfigError
from nas.genotype import parse
from tests.analysis.test_tabular import CONVS, DRNAS, EMPTY, SKIPS

SOME = [parse(one) for one in (CONVS, SKIPS, EMPTY)]


def counted(genotype):
    convolutions = sum(edge.operation == "nor_conv_3x3" for _, edge in genotype["cell"].edges)
    return {"cifar10_test": 80 + convolutions, "digits_val": np.float32(50.5), "phone": 1 + convolutions}


def predicted(call=counted, metric="auto", dataset="cifar10"):
    return Predicted(call, "mine.Surrogate", SOME, metric, dataset)


def test_what_it_predicts_is_logged_without_a_rank():
    found, drnas = predicted(), parse(DRNAS)
    assert (found.accuracies, found.prices, found.metric) == (
        ("cifar10_test", "digits_val"), ("phone",), "cifar10_test",
    )  # fmt: skip
    assert found.columns == ("table_accuracy",) and found.row(drnas) == {"table_accuracy": 0.85}
    assert (found.accuracy(drnas), found.price(drnas, "phone"), found.best) == (85, 6, None)
    report = found.report(drnas)
    assert report == {
        "cifar10_test": 85, "digits_val": 50.5, "phone": 6, "metric": "cifar10_test", "rank": None,
        "of": None, "gap": None, "best": None, "predicted_by": "mine.Surrogate",
    }  # fmt: skip
    assert found.words(drnas) == (
        "cifar10_test 85.00, digits_val 50.50 (predicted by mine.Surrogate, not trained)"
    )
    summary = {"status": "finished", "table": report}
    check_summary(summary, "summary.json")
    assert figures_of(summary)["table_accuracy"] == 85


@pytest.mark.parametrize(
    ("metric", "dataset", "judges"),
    [("auto", "digits", "digits_val"), ("auto", "svhn", None), (None, "cifar10", None),
     ("digits_val", "cifar10", "digits_val")],
)  # fmt: skip
def test_what_judges_belongs_to_the_data_set_or_is_named(metric, dataset, judges):
    found = predicted(metric=metric, dataset=dataset)
    assert found.metric == judges
    if judges is None:
        assert found.columns == ("table_cifar10_test_accuracy", "table_digits_val_accuracy")
        assert list(found.row(SOME[1]).values()) == [0.8, 0.505] and found.accuracy(SOME[1]) is None


def changing(genotype):
    """Another column for every architecture."""
    return {"x_test": 90, f"cost_{genotype['cell'].count('none')}": 1}


def broken(genotype):
    raise ValueError("no model\nof this version")


BAD = {
    "not callable": (3, "builds a int, which is not called"),
    "raises": (broken, "fails: ValueError: no model of this version (of |nor_conv_3x3~0|"),
    "exits": (lambda genotype: exit(3), "fails: SystemExit: 3"),
    "no mapping": (lambda genotype: 94.0, "returned a float of |nor_conv_3x3~0|"),
    "no accuracy": (lambda genotype: {"phone": 1}, "no column of accuracies"),
    "nothing": (lambda genotype: {}, "it returns nothing"),
    "not finite": (lambda genotype: {"x_test": float("nan")}, "x_test is nan of"),
    "text": (lambda genotype: {"x_test": "94"}, "x_test is 94 of |nor_conv_3x3~0|"),
    "a list": (lambda genotype: {"x_test": [94]}, "must be a finite number"),
    "true": (lambda genotype: {"x_test": True}, "must be a finite number"),
    "more than all": (lambda genotype: {"x_test": 101}, "accuracies must be in percent, from 0 to 100"),
    "a fraction": (
        lambda genotype: {"x_test": 0.94},
        "'x_test' is 0.94 at most; accuracies must be in percent",
    ),
    "no cost": (lambda genotype: {"x_test": 94, "phone": 0}, "phone is 0 of"),
    "a name that is taken": (lambda genotype: {"x_test": 94, "macs": 1}, "'macs' has a name that means"),
    "a name that stands": (lambda genotype: {"x_test": 94, "rank": 1}, "'rank' has a name that means"),
    "a name of no letters": (lambda genotype: {"x_test": 94, "a,b": 1}, "is no name of letters"),
    "a number for a name": (lambda genotype: {"x_test": 94, 3: 1}, "is no name of letters"),
    "other columns": (changing, "must return the same columns for every architecture, not cost_0, x_test"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_one_is_refused_in_one_line(case):
    call, words = BAD[case]
    with pytest.raises(ConfigError) as refused:
        predicted(call)
    said = str(refused.value)
    assert said.startswith("tabular.surrogate=mine.Surrogate: ") and words in said and "\n" not in said


def test_a_column_that_it_lacks_cannot_judge():
    with pytest.raises(ConfigError, match=r"tabular\.metric=phone: .*it returns cifar10_test, digits_val"):
        predicted(metric="phone")


def test_one_that_fails_later_leaves_blanks_and_says_so_once(caplog):
    asked = []

    def fails_later(genotype):
        asked.append(genotype)
        return counted(genotype) if len(asked) <= len(SOME) else {"cifar10_test": float("inf")}

    found = predicted(fails_later)
    others = [parse(DRNAS), parse(DRNAS.replace("skip_connect", "none"))]
    for one in (*others, *others):
        assert found.row(one) == {"table_accuracy": None} and found.price(one, "phone") is None
        assert found.report(one)["metric"] == "cifar10_test" and "cifar10_test" not in found.report(one)
        assert found.words(one) == "mine.Surrogate predicts nothing"
    assert [record.message for record in caplog.records] == [
        f"tabular.surrogate=mine.Surrogate: cifar10_test is inf of {DRNAS}; must be a finite number; "
        "what it fails on is left blank, which is said once"
    ]
    assert len(asked) == len(SOME) + 2, "an architecture is asked for once"
    assert found.row(SOME[0]) == {"table_accuracy": 0.86}


def test_what_is_drawn_inside_changes_nothing_outside():
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    with pytest.raises(ValueError), generators_kept():
        random.seed(3), np.random.seed(3), torch.manual_seed(3)
        raise ValueError
    assert before == (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())
