"""Weights of classes: what the setting stands for, and what the losses make of it, against sums by hand."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from nas.data.class_weights import class_weights, stand_in_weights
from nas.data.digits import Digits
from nas.data.embedded import WikiTextMini
from nas.engine.evaluation_module import EvaluationModule
from nas.engine.tasks import Classification
from nas.errors import ConfigError
from nas.measure.steps import EvaluationSteps, numerics

LABELS = torch.tensor([0, 0, 0, 0, 1, 1, 2, 2])


def test_balanced_is_the_inverse_of_the_share():
    weights_K = class_weights("balanced", LABELS, 3)
    assert weights_K.tolist() == pytest.approx([8 / (3 * 4), 8 / (3 * 2), 8 / (3 * 2)])
    # Every class counts alike in the sum, and an image counts 1 on average.
    assert (weights_K * LABELS.bincount()).tolist() == pytest.approx([8 / 3] * 3)


def test_balanced_agrees_with_scikit_learn():
    from sklearn.utils.class_weight import compute_class_weight

    labels_N = torch.randint(7, (200,), generator=torch.Generator().manual_seed(0)) // 2
    theirs = compute_class_weight("balanced", classes=np.arange(4), y=labels_N.numpy())
    assert class_weights("balanced", labels_N, 4).tolist() == pytest.approx(theirs.tolist(), rel=1e-12)


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("balansed", "balansed: must be null, balanced or 3 positive numbers"),
        (2, "2: must be null, balanced or 3 positive numbers"),
        ([1, 2], "must be 3 positive finite numbers"),
        ([1, 2, 0], "must be 3 positive finite numbers"),
        ([1, 2, -1], "must be 3 positive finite numbers"),
        ([1, 2, math.inf], "must be 3 positive finite numbers"),
        ([1, 2, math.nan], "must be 3 positive finite numbers"),
        ([1, 2, "3"], "must be 3 positive finite numbers"),
        ([1, 2, True], "must be 3 positive finite numbers"),
    ],
)
def test_what_no_weights_are(setting, words):
    with pytest.raises(ConfigError, match=rf"^dataset\.class_weights=.*{words}"):
        class_weights(setting, LABELS, 3)


def test_balanced_needs_every_class():
    with pytest.raises(ConfigError, match="balanced: the training part has no image of class 3"):
        class_weights("balanced", LABELS, 4)


def test_a_text_has_no_classes_and_made_up_images_have_no_sizes():
    assert stand_in_weights(None, WikiTextMini()) is None
    with pytest.raises(ConfigError, match="only for images"):
        stand_in_weights("balanced", WikiTextMini())
    assert stand_in_weights("balanced", Digits()).tolist() == [1.0] * 10


def by_hand(logits_BK, labels_B, weights, smoothing):
    """Torch's weighted mean, as its documentation writes it, in plain Python."""
    total, of = 0.0, 0.0
    for logits_K, label in zip(logits_BK.tolist(), labels_B.tolist(), strict=True):
        norm = math.log(sum(math.exp(one) for one in logits_K))
        surprise = [norm - one for one in logits_K]
        smooth = sum(w * s for w, s in zip(weights, surprise, strict=True)) / len(weights)
        total += (1 - smoothing) * weights[label] * surprise[label] + smoothing * smooth
        of += weights[label]
    return total / of


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_is_the_weighted_mean_in_training_and_the_plain_mean_in_measuring(smoothing):
    logits_BK = torch.randn(8, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    weights = [0.5, 2.0, 1.5]
    task = Classification(smoothing, torch.tensor(weights))
    expected = by_hand(logits_BK, LABELS, weights, smoothing)
    assert float(task.loss(logits_BK, LABELS)) == pytest.approx(expected, rel=1e-6)
    plain = by_hand(logits_BK, LABELS, [1.0] * 3, 0.0)
    assert float(task.loss(logits_BK, LABELS, train=False)) == pytest.approx(plain, rel=1e-12)


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "bf16-true", "64-true"])
def test_the_weights_follow_the_precision(precision):
    where = numerics({"precision": precision, "accelerator": "cpu", "channels_last": False})
    layer = nn.Linear(4, 3).to(where.dtype)
    task = Classification(0.1, torch.tensor([0.5, 2.0, 1.5], dtype=torch.float64))
    with where.cast():
        logits_BK = layer(torch.ones(8, 4, dtype=where.dtype))
        loss = task.loss(logits_BK, LABELS)
    loss.backward()
    expected = by_hand(logits_BK.detach().double(), LABELS, [0.5, 2.0, 1.5], 0.1)
    assert float(loss.detach()) == pytest.approx(expected, rel=2e-2 if "bf16" in precision else 1e-6)


class TwoHeads(nn.Module):
    """Logits and auxiliary logits that are what they were made with."""

    def __init__(self, logits_BK, auxiliary_BK):
        super().__init__()
        self.heads = nn.ParameterList([logits_BK, auxiliary_BK])

    def forward(self, images):
        return self.heads[0], self.heads[1]


def test_the_auxiliary_head_is_weighted_too():
    generator = torch.Generator().manual_seed(0)
    logits = [torch.randn(8, 3, generator=generator, dtype=torch.float64) for _ in range(2)]
    weights = [0.5, 2.0, 1.5]
    task = Classification(0.1, torch.tensor(weights))
    expected = by_hand(logits[0], LABELS, weights, 0.1) + 0.4 * by_hand(logits[1], LABELS, weights, 0.1)
    where = numerics({"precision": "64-true", "accelerator": "cpu", "channels_last": False})
    steps = EvaluationSteps(
        TwoHeads(*logits), lambda p: torch.optim.SGD(p, 0.1), task, None, (LABELS, LABELS), where, 0.4
    )
    assert float(steps.loss()) == pytest.approx(expected, rel=1e-6)
    module = EvaluationModule(TwoHeads(*logits), task, None, None, auxiliary_weight=0.4)
    # Without a Trainer there is nobody to record for.
    module.record_result = module.show = lambda *given: None
    module.trainer = SimpleNamespace(optimizers=[None], current_epoch=0, global_step=0)
    module.guard.watch = lambda *given: None
    assert float(module.training_step((LABELS, LABELS), 0)) == pytest.approx(expected, rel=1e-6)
