"""What a network is trained for: the loss of a batch and the number that people read."""

from torch import Tensor
from torch.nn import functional as F

from nas.errors import require


class Classification:
    """Cross-entropy and accuracy.

    Args:
        label_smoothing: share of probability spread over all classes; in training only.
    """

    metric = "accuracy"

    def __init__(self, label_smoothing: float = 0.0):
        require(
            0 <= label_smoothing <= 1,
            f"recipe.label_smoothing={label_smoothing}: must be from 0 to 1",
        )
        self.label_smoothing = label_smoothing

    def loss(self, logits_BK: Tensor, labels_B: Tensor, train: bool = True) -> Tensor:
        """Mean cross-entropy in nats."""
        smoothing = self.label_smoothing if train else 0.0
        return F.cross_entropy(logits_BK, labels_B, label_smoothing=smoothing)

    def score(self, logits_BK: Tensor, labels_B: Tensor) -> Tensor:
        """Share of right answers, 0 to 1."""
        return (logits_BK.argmax(dim=1) == labels_B).float().mean()
