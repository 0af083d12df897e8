"""Balanced accuracy against scikit-learn's, over ragged batches and unequal processes."""

import pytest
import torch
from sklearn.metrics import balanced_accuracy_score

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
    assert counted(slice(None)).state_dict() == {}
    assert Language().totals("valid") == Classification().totals("valid") == {}
    assert Classification(num_classes=4).totals("train") == {}
    found = Classification(num_classes=4).totals("valid")
    assert found["balanced_accuracy"].images_K.tolist() == [0] * 4
