"""What is measured over an epoch: means over batches and processes, and what needs all images together.

Shapes: B images, K classes, N images of an epoch.
"""

import warnings
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType

import pytorch_lightning as pl
import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.classification import (
    MulticlassAUROC,
    MulticlassCalibrationError,
    MulticlassCohenKappa,
    MulticlassF1Score,
    MulticlassMatthewsCorrCoef,
    MulticlassPrecision,
    MulticlassRecall,
    MulticlassSpecificity,
)
from torchmetrics.utilities import dim_zero_cat

from nas.analysis.metrics import BALANCED


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


class AreaUnderCurves(MulticlassAUROC):
    """The mean over classes of the area under the curve of each class against all others.

    A class without an image, or with all of them, has no curve and is left out; torchmetrics counts it as 0.
    All probabilities of an epoch are kept for it, N * K numbers, in each process those of all.

    Args:
        num_classes: K.
    """

    def __init__(self, num_classes: int):
        super().__init__(num_classes, average="none", validate_args=False)

    def compute(self) -> Tensor:  # type: ignore[override]  # as in torchmetrics, whose base has curves
        """The mean area, 0 to 1; nan where all images are of one class."""
        with warnings.catch_warnings():
            # Of the classes that are left out.
            warnings.simplefilter("ignore", UserWarning)
            areas_K = super().compute()
        labels_N = dim_zero_cat(self.target)
        images_K = labels_N.bincount(minlength=len(areas_K))
        return areas_K[(images_K > 0) & (images_K < len(labels_N))].mean()


class Correlation(MulticlassMatthewsCorrCoef):
    """Matthews' correlation coefficient, 0 where labels or answers are all of one class.

    There it is 0 / 0. scikit-learn says 0; torchmetrics has limits of its own for two classes, up to 1.

    Args:
        num_classes: K.
    """

    def __init__(self, num_classes: int):
        super().__init__(num_classes, validate_args=False)

    def compute(self) -> Tensor:
        """The coefficient, -1 to 1."""
        several = [int((self.confmat.sum(axis) > 0).sum()) > 1 for axis in (0, 1)]
        return super().compute().float() if all(several) else self.confmat.new_zeros((), dtype=torch.float32)


def _mean(kind: Callable[..., Metric]) -> Callable[[int], Metric]:
    """A metric of each class, and its mean over the classes that have an image or are answered."""
    return partial(kind, average="macro", validate_args=False)


# Name of a metric -> what gathers it, made from the number of classes. Validity of labels and answers is not
# looked at again with every batch: data are checked before the first.
TOTALS: Mapping[str, Callable[[int], Metric]] = MappingProxyType(
    {
        BALANCED.name: BalancedAccuracy,
        "f1": _mean(MulticlassF1Score),
        "precision": _mean(MulticlassPrecision),
        "recall": _mean(MulticlassRecall),
        "specificity": _mean(MulticlassSpecificity),
        "auroc": AreaUnderCurves,
        "kappa": partial(MulticlassCohenKappa, validate_args=False),
        "mcc": Correlation,
        # Fifteen bins, as Guo et al. 2017 have them.
        "ece": partial(MulticlassCalibrationError, n_bins=15, norm="l1", validate_args=False),
    }
)
# Those that are told the probabilities of all classes; others the answers.
OF_PROBABILITIES = frozenset({"auroc", "ece"})
