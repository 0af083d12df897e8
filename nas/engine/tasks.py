"""What a network is trained for: the loss of a batch and the number that people read."""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

from torch import Tensor, nn
from torch.nn import functional as F

from nas.errors import require

Images = tuple[Tensor, Tensor]


class Result(NamedTuple):
    """One pass over a batch.

    loss: what the data say, a scalar; the mean cross-entropy in nats.
    penalty: what the weights are trained for besides, a scalar; None for nothing.
    score: the number that people read, a scalar; None where it follows from the loss of a whole epoch.
    size: how much the batch counts in an epoch's mean.
    answers: the class that each image is taken for, [B]; None where there are no classes.
    """

    loss: Tensor
    penalty: Tensor | None
    score: Tensor | None
    size: int
    answers: Tensor | None = None

    @property
    def objective(self) -> Tensor:
        """The sum that the weights are trained for."""
        return self.loss if self.penalty is None else self.loss + self.penalty


class Task(Protocol):
    """A task.

    Attributes:
        metric: `accuracy`, or `perplexity`, which is the exponential of the loss.
    """

    metric: str

    def run(self, network: nn.Module, batch, *op_weights, train: bool = True) -> Result:
        """A forward pass of a supernet, whose `op_weights` are given, or of a language model."""

    def train(self, network: nn.Module, batch, auxiliary_weight: float = 0.0) -> Result:
        """The training pass of an evaluation network; an auxiliary head's weighted loss is a penalty."""


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
    """

    metric = "accuracy"

    def __init__(
        self,
        label_smoothing: float = 0.0,
        class_weights: Tensor | None = None,
        num_classes: int | None = None,
    ):
        require(
            0 <= label_smoothing <= 1,
            f"recipe.label_smoothing={label_smoothing}: must be from 0 to 1",
        )
        self.label_smoothing = label_smoothing
        self.class_weights = class_weights
        self.num_classes = num_classes
        self._placed_K: Tensor | None = None

    def run(
        self, network: nn.Module, batch: Images, *op_weights: dict[str, Tensor], train: bool = True
    ) -> Result:
        """Images and labels through a supernet, whose logits [B, classes] are all it returns."""
        logits_BK = network(batch[0], *op_weights)
        answers_B = logits_BK.detach().argmax(dim=1)
        score = (answers_B == batch[1]).float().mean()
        return Result(self.loss(logits_BK, batch[1], train), None, score, len(batch[1]), answers_B)

    def train(self, network: nn.Module, batch: Images, auxiliary_weight: float = 0.0) -> Result:
        """Images and labels through an evaluation network: logits, and auxiliary logits or None."""
        logits_BK, auxiliary_BK = network(batch[0])
        loss = self.loss(logits_BK, batch[1])
        penalty = None if auxiliary_BK is None else auxiliary_weight * self.loss(auxiliary_BK, batch[1])
        answers_B = logits_BK.detach().argmax(dim=1)
        score = (answers_B == batch[1]).float().mean()
        return Result(loss, penalty, score, len(batch[1]), answers_B)

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

    def score(self, logits_BK: Tensor, labels_B: Tensor, top: int = 1) -> Tensor:
        """Share of right answers, 0 to 1: images whose class is among the `top` likeliest."""
        if top == 1:
            return (logits_BK.argmax(dim=1) == labels_B).float().mean()
        return (logits_BK.topk(top, dim=1).indices == labels_B[:, None]).any(dim=1).float().mean()


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

    metric = "perplexity"

    def __init__(self, ar: float = 0.0, tar: float = 0.0):
        for key, value in {"ar": ar, "tar": tar}.items():
            require(value >= 0, f"recipe.{key}={value}: must be at least 0")
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
        return Result(loss, penalty, None, batch.tokens_LB.numel())

    def train(self, network: nn.Module, batch: TextBatch, auxiliary_weight: float = 0.0) -> Result:
        """Reads a segment; language models have no auxiliary head."""
        return self.run(network, batch)

    def _penalty(self, extras) -> Tensor | None:
        found = None
        if self.ar:
            found = self.ar * extras.dropped_TBH.square().mean()
        if self.tar and len(extras.raw_TBH) > 1:
            slow = self.tar * extras.raw_TBH.diff(dim=0).square().mean()
            found = slow if found is None else found + slow
        return found
