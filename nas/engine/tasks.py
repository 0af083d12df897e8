"""What a network is trained for: the loss of a batch and the number that people read."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas.analysis.metrics import ACCURACY, OF_TASKS, TOP, Metric
from nas.errors import require

if TYPE_CHECKING:
    import torchmetrics

Images = tuple[Tensor, Tensor]


def _accuracy(logits_BK: Tensor, answers_B: Tensor, labels_B: Tensor) -> Tensor:
    return (answers_B == labels_B).float().mean()


def _among(k: int, logits_BK: Tensor, answers_B: Tensor, labels_B: Tensor) -> Tensor | None:
    if logits_BK.shape[1] <= k:
        return None
    return (logits_BK.topk(k, dim=1).indices == labels_B[:, None]).any(dim=1).float().mean()


# What computes a metric of a batch of images from its logits [B, K], answers [B] and labels [B]: a scalar, of
# which an epoch has the mean; None where it says nothing. What needs all images together is in `TOTALS`.
Score = Callable[[Tensor, Tensor, Tensor], Tensor | None]
SCORES: dict[str, Score] = {ACCURACY.name: _accuracy}


def _score(name: str) -> Score | None:
    """What computes a metric batch by batch; None where nothing does."""
    ranks = TOP.fullmatch(name)
    return SCORES.get(name) if ranks is None else partial(_among, int(ranks[1]))


class Result(NamedTuple):
    """One pass over a batch.

    loss: what the data say, a scalar; the mean cross-entropy in nats.
    penalty: what the weights are trained for besides, a scalar; None for nothing.
    size: how much the batch counts in an epoch's mean.
    scores: the metrics that are measured batch by batch, scalars by their names.
    answers: the class that each image is taken for, [B]; None where there are no classes.
    logits: what they follow from, [B, K], detached; the same.
    """

    loss: Tensor
    penalty: Tensor | None
    size: int
    scores: Mapping[str, Tensor] = {}
    answers: Tensor | None = None
    logits: Tensor | None = None

    @property
    def objective(self) -> Tensor:
        """The sum that the weights are trained for."""
        return self.loss if self.penalty is None else self.loss + self.penalty


class Task(Protocol):
    """A task.

    Attributes:
        domain: images or text.
        metrics: what is measured beside the loss.
    """

    domain: str
    metrics: tuple[Metric, ...]

    def run(self, network: nn.Module, batch, *op_weights, train: bool = True) -> Result:
        """A forward pass of a supernet, whose `op_weights` are given, or of a language model."""

    def train(self, network: nn.Module, batch, auxiliary_weight: float = 0.0) -> Result:
        """The training pass of an evaluation network; an auxiliary head's weighted loss is a penalty."""

    def measure(self, network: nn.Module, batch) -> Result:
        """The pass of an evaluation network that is measured."""

    def score(self, result: Result) -> Tensor:
        """What architectures are compared by on a batch, a scalar; the larger the better."""

    def totals(self, part: str) -> "dict[str, torchmetrics.Metric]":
        """What gathers the metrics that are not means over batches, on a part of the data."""

    def predictions(self, name: str, result: Result) -> Tensor | None:
        """What such a metric is told of a batch, beside its labels."""


class Classification:
    """Cross-entropy and accuracy.

    With weights w_k of the classes (in training only) the mean over a batch is torch's weighted mean,
    sum_i w[y_i] * nll_i / sum_i w[y_i] (images i, labels y_i). Label smoothing's uniform part is weighted
    too, -sum_i sum_k w_k * log p_ik / K over the same denominator. Each process divides by the sum of its own
    batch. What is measured (`train=False`) is the plain mean, so that losses of runs compare.

    Args:
        label_smoothing: share of probability spread over all classes; in training only.
        class_weights: how much an image of each class counts [K]; None for all alike.
        num_classes: K; None where nobody asks for accuracies by class.
        metrics: what is measured; None for what all runs on images measure.
    """

    domain = "images"

    def __init__(
        self,
        label_smoothing: float = 0.0,
        class_weights: Tensor | None = None,
        num_classes: int | None = None,
        metrics: Sequence[Metric] | None = None,
    ):
        require(
            0 <= label_smoothing <= 1,
            f"recipe.label_smoothing={label_smoothing}: must be from 0 to 1",
        )
        self.label_smoothing = label_smoothing
        self.class_weights = class_weights
        self.num_classes = num_classes
        self.metrics = tuple(OF_TASKS[self.domain] if metrics is None else metrics)
        self._placed_K: Tensor | None = None

    def run(
        self, network: nn.Module, batch: Images, *op_weights: dict[str, Tensor], train: bool = True
    ) -> Result:
        """Images and labels through a supernet, whose logits [B, classes] are all it returns."""
        return self._result(network(batch[0], *op_weights), batch[1], train)

    def score(self, result: Result) -> Tensor:
        """The accuracy, 0 to 1."""
        return result.scores[ACCURACY.name]

    def train(self, network: nn.Module, batch: Images, auxiliary_weight: float = 0.0) -> Result:
        """Images and labels through an evaluation network: logits, and auxiliary logits or None."""
        logits_BK, auxiliary_BK = network(batch[0])
        penalty = None if auxiliary_BK is None else auxiliary_weight * self.loss(auxiliary_BK, batch[1])
        return self._result(logits_BK, batch[1])._replace(penalty=penalty)

    def measure(self, network: nn.Module, batch: Images) -> Result:
        """What an evaluation network is worth, auxiliary head aside."""
        return self._result(network(batch[0])[0], batch[1], train=False)

    def _result(self, logits_BK: Tensor, labels_B: Tensor, train: bool = True) -> Result:
        given_BK = logits_BK.detach()
        answers_B = given_BK.argmax(dim=1)
        scores = {
            metric.name: value
            for metric in self.metrics
            if (compute := _score(metric.name)) is not None
            and (not train or "train" in metric.parts)
            and (value := compute(given_BK, answers_B, labels_B)) is not None
        }
        loss = self.loss(logits_BK, labels_B, train)
        return Result(loss, None, len(labels_B), scores, answers_B, given_BK)

    def totals(self, part: str) -> "dict[str, torchmetrics.Metric]":
        """Those of so many classes, where their number is known."""
        if self.num_classes is None:
            return {}
        # What a whole epoch is measured by brings torchmetrics and Lightning, which no step needs.
        from nas.engine.metrics import TOTALS

        here = [metric.name for metric in self.metrics if part in metric.parts]
        return {name: TOTALS[name](self.num_classes) for name in here if name in TOTALS}

    def predictions(self, name: str, result: Result) -> Tensor | None:
        """The answers [B], or the probabilities of all classes [B, K]."""
        from nas.engine.metrics import OF_PROBABILITIES

        if name not in OF_PROBABILITIES or result.logits is None:
            return result.answers
        logits_BK = result.logits
        # Half of float32 would make ties of what differs. A lost network's nan, which the guard of losses
        # stops, has no place in any bin.
        logits_BK = logits_BK if logits_BK.dtype in (torch.float32, torch.float64) else logits_BK.float()
        return logits_BK.softmax(dim=1).nan_to_num()

    def loss(self, logits_BK: Tensor, labels_B: Tensor, train: bool = True) -> Tensor:
        """Mean cross-entropy in nats; in training smoothed and weighted."""
        if not train:
            return F.cross_entropy(logits_BK, labels_B)
        weights_K = self._weights(logits_BK)
        return F.cross_entropy(logits_BK, labels_B, weights_K, label_smoothing=self.label_smoothing)

    def _weights(self, logits_BK: Tensor) -> Tensor | None:
        """The weights where the logits are and in their type, copied there once."""
        if self.class_weights is None:
            return None
        placed_K = self._placed_K
        if placed_K is None or (placed_K.device, placed_K.dtype) != (logits_BK.device, logits_BK.dtype):
            self._placed_K = self.class_weights.to(logits_BK)
        return self._placed_K


@dataclass
class TextBatch:
    """A segment of text with the state that it is read on from.

    Attributes:
        tokens_LB: input, L steps of B columns.
        targets_LB: the tokens that follow.
        hidden_1BH: state before the first step; None for the start of a text.
        rate: factor of the learning rate, for a segment that is shorter or longer than usual.
        next_1BH: state after the last step, detached; set by the pass that reads it.
    """

    tokens_LB: Tensor
    targets_LB: Tensor
    hidden_1BH: Tensor | None = None
    rate: float = 1.0
    next_1BH: Tensor | None = None


class Language:
    """Cross-entropy of the next word, with the regularisers of activations (Merity et al. 2017).

    Args:
        ar: weight of the mean square of the outputs after dropout.
        tar: weight of the mean square of the change of outputs from step to step, before dropout.
    """

    domain = "text"

    def __init__(self, ar: float = 0.0, tar: float = 0.0):
        for key, value in {"ar": ar, "tar": tar}.items():
            require(value >= 0, f"recipe.{key}={value}: must be at least 0")
        self.metrics = tuple(OF_TASKS[self.domain])
        self.ar = ar
        self.tar = tar

    def run(
        self, network: nn.Module, batch: TextBatch, *op_weights: dict[str, Tensor], train: bool = True
    ) -> Result:
        """Reads a segment; leaves the state after it in the batch."""
        logits_LBV, hidden_1BH, extras = network(batch.tokens_LB, *op_weights, batch.hidden_1BH)
        batch.next_1BH = hidden_1BH.detach()
        loss = F.cross_entropy(logits_LBV.flatten(0, 1), batch.targets_LB.flatten())
        penalty = self._penalty(extras) if train else None
        return Result(loss, penalty, batch.tokens_LB.numel())

    def score(self, result: Result) -> Tensor:
        """1 / perplexity, 0 to 1 (Pham et al. 2018, section 2.2, up to its constant)."""
        return (-result.loss).exp()

    def train(self, network: nn.Module, batch: TextBatch, auxiliary_weight: float = 0.0) -> Result:
        """Reads a segment; language models have no auxiliary head."""
        return self.run(network, batch)

    def measure(self, network: nn.Module, batch: TextBatch) -> Result:
        """Reads a segment; the penalties are no part of what is measured."""
        return self.run(network, batch, train=False)

    def totals(self, part: str) -> "dict[str, torchmetrics.Metric]":
        """None: all follows from the loss."""
        return {}

    def predictions(self, name: str, result: Result) -> Tensor | None:
        """None, for the same reason."""
        return None

    def _penalty(self, extras) -> Tensor | None:
        penalty = None
        if self.ar:
            penalty = self.ar * extras.dropped_TBH.square().mean()
        if self.tar and len(extras.raw_TBH) > 1:
            slow = self.tar * extras.raw_TBH.diff(dim=0).square().mean()
            penalty = slow if penalty is None else penalty + slow
        return penalty
