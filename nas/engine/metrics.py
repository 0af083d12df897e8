"""What is measured over an epoch: means over batches and processes, and the balanced accuracy.

Shapes: B images, K classes.
"""

import pytorch_lightning as pl
import torch
from torch import Tensor
from torchmetrics import Metric


def log_mean(module: pl.LightningModule, name: str, value: Tensor, size: int) -> None:
    """Logs a batch's mean, to be averaged over the batches of all processes by their sizes."""
    # Times their number, because Lightning's mean of a whole number over processes is rounded down.
    size *= module.trainer.world_size
    # The epoch's row goes to the loggers as a whole, once it is on disk.
    module.log(name, value, logger=False, on_step=False, on_epoch=True, batch_size=size, sync_dist=True)


class BalancedAccuracy(Metric):
    """What accuracy would be if all classes had as many images.

    The mean over classes of the share of their images that were given the right class (mean recall).

    Counts are summed over batches and processes before anything is divided, so neither a smaller last batch
    nor unequal processes move the result. A class without an image is left out, as in scikit-learn's
    `balanced_accuracy_score`; torchmetrics' own macro average counts such a class as 0 once an image was
    taken for it.

    Args:
        num_classes: K.
    """

    right_K: Tensor
    images_K: Tensor
    full_state_update = False
    higher_is_better = True

    def __init__(self, num_classes: int):
        super().__init__()
        for name in ("right_K", "images_K"):
            self.add_state(name, torch.zeros(num_classes, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, answers_B: Tensor, labels_B: Tensor) -> None:
        """Counts a batch: the classes that were answered, and the true ones."""
        # Adding to indices needs no look at the values, for which a GPU would have to be waited for.
        self.images_K.index_add_(0, labels_B, torch.ones_like(labels_B))
        self.right_K.index_add_(0, labels_B, (answers_B == labels_B).to(torch.int64))

    def compute(self) -> Tensor:
        """The mean recall, 0 to 1; nan before the first image."""
        there_K = self.images_K > 0
        return (self.right_K[there_K].float() / self.images_K[there_K].float()).mean()
