"""What evaluations measure against scikit-learn's, over ragged batches and unequal processes."""

import math
import warnings

import numpy as np
import pytest
import sklearn.metrics as oracles
import torch
from sklearn.metrics import balanced_accuracy_score

from nas.analysis.metrics import ASKED, OF_TASKS, with_asked, without_missing
from nas.engine.confusion import Counted
from nas.engine.metrics import BalancedAccuracy
from nas.engine.tasks import Classification, Language

GENERATOR = torch.Generator().manual_seed(0)
# Class 3 has no image but is answered, class 4 neither: both are left out.
LABELS = torch.randint(3, (101,), generator=GENERATOR) // torch.randint(1, 3, (101,), generator=GENERATOR)
ANSWERS = torch.where(
    torch.rand(101, generator=GENERATOR) < 0.6, LABELS, torch.randint(4, (101,), generator=GENERATOR)
)


def oracle():
    with pytest.warns(UserWarning, match="not in y_true"):
        return balanced_accuracy_score(LABELS.numpy(), ANSWERS.numpy())


def counted(*slices):
    found = BalancedAccuracy(5)
    for one in slices:
        found.update(ANSWERS[one], LABELS[one])
    return found


def test_ragged_batches_do_not_matter():
    assert len(LABELS.unique()) == 3 and LABELS.bincount().min() < LABELS.bincount().max() / 2
    expected = pytest.approx(oracle(), rel=1e-6)
    assert float(counted(slice(None)).compute()) == expected
    assert float(counted(slice(0, 64), slice(64, 100), slice(100, 101)).compute()) == expected


def test_unequal_processes_add_up():
    one, other = counted(slice(0, 90)), counted(slice(90, 101))
    # What torchmetrics does with what it gathers: the sum of every state.
    for name, reduction in one._reductions.items():
        setattr(one, name, reduction(torch.stack([getattr(one, name), getattr(other, name)])))
    assert float(one.compute()) == pytest.approx(oracle(), rel=1e-6)


def test_it_leaves_nothing_in_a_checkpoint_and_words_have_none():
    assert counted(slice(None)).state_dict() == {} == Counted("test", 5).state_dict()
    every = task_of([one.name for one in ASKED], 4).totals("test")
    assert len(every) == 9 and all(one.state_dict() == {} for one in every.values())
    assert Language().totals("valid") == Classification().totals("valid") == {}
    assert Classification(num_classes=4).totals("train") == {}
    found = Classification(num_classes=4).totals("valid")
    assert found["balanced_accuracy"].images_K.tolist() == [0] * 4


def task_of(names, classes):
    return Classification(num_classes=classes, metrics=with_asked(OF_TASKS["images"], names, classes))


def merged(one, other):
    """One metric of two processes, as torchmetrics puts together what it gathers."""
    for name, reduction in one._reductions.items():
        mine, theirs = getattr(one, name), getattr(other, name)
        both = [*mine, *theirs] if isinstance(mine, list) else reduction(torch.stack([mine, theirs]))
        setattr(one, name, both)
        one._update_count = one._update_count + other._update_count
    return one


def measured(logits_NK, labels_N, names):
    """The figures of two processes that have read their parts in batches of odd sizes."""
    task, half = task_of(names, logits_NK.shape[1]), 2 * len(labels_N) // 3
    totals = []
    scores = {}
    for part in (slice(0, half), slice(half, None)):
        totals.append(task.totals("test"))
        for logits_BK, labels_B in zip(logits_NK[part].split(7), labels_N[part].split(7), strict=True):
            result = task.measure(lambda images: (images, None), (logits_BK, labels_B))
            for name, total in totals[-1].items():
                total.update(task.predictions(name, result), labels_B)
            for name, value in result.scores.items():
                scores[name] = scores.get(name, 0.0) + float(value) * len(labels_B) / len(labels_N)
    return scores | {name: float(merged(one, totals[1][name]).compute()) for name, one in totals[0].items()}


def expected(logits_NK, labels_N):
    """The same by scikit-learn; what it has no function for by hand."""
    probabilities_NK = logits_NK.softmax(dim=1).numpy()
    labels_N, answers_N = labels_N.numpy(), logits_NK.argmax(dim=1).numpy()
    given, found = (labels_N, answers_N), np.union1d(labels_N, answers_N)
    options = {"average": "macro", "zero_division": 0}
    numbers = {
        name: getattr(oracles, f"{name}_score")(*given, **options) for name in ("f1", "precision", "recall")
    }
    both_K22 = oracles.multilabel_confusion_matrix(*given, labels=found)
    numbers["specificity"] = (both_K22[:, 0, 0] / both_K22[:, 0].sum(axis=1)).mean()
    there = [one for one in np.unique(labels_N) if len(np.unique(labels_N)) > 1]
    areas = [oracles.roc_auc_score(labels_N == one, probabilities_NK[:, one]) for one in there]
    numbers["auroc"] = np.mean(areas) if areas else math.nan
    numbers["kappa"] = oracles.cohen_kappa_score(*given)
    numbers["mcc"] = oracles.matthews_corrcoef(*given)
    confidences_N, right_N = probabilities_NK.max(axis=1), labels_N == answers_N
    places_N = np.minimum((confidences_N * 15).astype(int), 14)
    gaps = [abs(right_N[places_N == i].sum() - confidences_N[places_N == i].sum()) for i in range(15)]
    return numbers | {"ece": sum(gaps) / len(labels_N)}


def drawn(classes, absent=(), count=211, seed=0):
    """Logits float64 [N, K] that are right now and then, and labels of all classes but the absent ones."""
    generator = torch.Generator().manual_seed(seed)
    kept = torch.tensor([one for one in range(classes) if one not in absent])
    labels_N = kept[(torch.rand(count, generator=generator).square() * len(kept)).long()]
    logits_NK = torch.randn(count, classes, generator=generator, dtype=torch.float64)
    return logits_NK + 1.5 * torch.nn.functional.one_hot(labels_N, classes), labels_N


@pytest.mark.parametrize(
    ("classes", "absent", "ranks"), [(2, (), ()), (3, (), (2,)), (20, (), (2, 3, 5, 19)), (9, (2, 8), (5,))]
)
def test_what_is_asked_for_is_scikit_learns(classes, absent, ranks):
    logits_NK, labels_N = drawn(classes, absent)
    found = measured(logits_NK, labels_N, [*(one.name for one in ASKED), *(f"top{k}" for k in ranks)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        numbers = expected(logits_NK, labels_N)
        for k in ranks:
            numbers[f"top{k}_accuracy"] = oracles.top_k_accuracy_score(
                labels_N.numpy(), logits_NK.numpy(), k=k, labels=range(classes)
            )
    if not absent and classes > 2:
        whole = logits_NK.softmax(dim=1).numpy()
        assert numbers["auroc"] == pytest.approx(
            oracles.roc_auc_score(labels_N.numpy(), whole, multi_class="ovr", average="macro"), abs=1e-12
        )
    assert numbers["f1"] < 0.95 and set(numbers) < set(found)
    for name, value in numbers.items():
        assert found[name] == pytest.approx(value, abs=2e-6), name


def test_where_all_images_are_of_one_class_what_has_no_value_is_left_out():
    names = [one.name for one in ASKED]
    labels_N = torch.ones(30, dtype=torch.int64)
    for classes in (2, 4):
        logits_NK, _ = drawn(classes, count=30)
        for right in (False, True):
            given_NK = logits_NK + 100 * right * torch.nn.functional.one_hot(labels_N, classes)
            found = measured(given_NK, labels_N, names)
            assert found["mcc"] == 0
            lost = {name for name, value in found.items() if math.isnan(value)}
            assert lost == ({"auroc", "kappa"} if right else {"auroc"})
            kept = without_missing({f"test_{name}": value for name, value in found.items()})
            assert set(kept) == {f"test_{name}" for name in set(found) - lost}
    # Whatever else is nan is a run that has diverged.
    assert set(without_missing({"valid_loss": math.nan, "valid_f1": math.nan})) == {"valid_loss", "valid_f1"}


def test_probabilities_of_half_precision_and_of_a_lost_network():
    task = task_of(["ece", "auroc"], 3)
    logits_BK, labels_B = torch.tensor([[9.0, 0, 0], [math.nan] * 3]).bfloat16(), torch.tensor([0, 1])
    result = task.measure(lambda images: (images, None), (logits_BK, labels_B))
    probabilities_BK = task.predictions("ece", result)
    assert probabilities_BK.dtype == torch.float32 and probabilities_BK[1].tolist() == [0, 0, 0]
    total = task.totals("test")["ece"]
    total.update(probabilities_BK, labels_B)
    assert math.isfinite(float(total.compute()))
