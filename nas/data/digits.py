"""1,797 real handwritten digits that come with scikit-learn: images without a download."""

import gzip
from importlib.util import find_spec
from pathlib import Path

import numpy
import torch
from torch import Tensor

from nas.data.draw_split import stratified
from nas.data.sources import TensorImages

NUM_TEST = 360
# Ink of 0..16 becomes 0..240: exact in uint8, and reversible.
SCALE = 15
# Where scikit-learn keeps them, inside its package.
FILE = "datasets/data/digits.csv.gz"


def read_digits() -> tuple[Tensor, Tensor]:
    """Counts of dark pixels [N, 64] and labels [N], int64, of all 1,797.

    From scikit-learn's file where it lies in its place, without importing the package: that takes seconds.
    """
    spec = find_spec("sklearn")
    for folder in () if spec is None else spec.submodule_search_locations or ():
        file = Path(folder) / FILE
        if file.is_file():
            with gzip.open(file, "rt", encoding="ascii") as lines:
                table = torch.from_numpy(numpy.loadtxt(lines, delimiter=",", dtype=numpy.int64))
            return table[:, :-1], table[:, -1].contiguous()
    from sklearn.datasets import load_digits

    digits = load_digits()
    return torch.from_numpy(digits.data).long(), torch.from_numpy(digits.target).long()


class Digits:
    """The UCI handwritten digits [1, 8, 8] in 10 classes: 1,437 training and 360 test images.

    Alpaydin and Kaynak (1998), as bundled by scikit-learn: counts of 0 to 16 dark pixels in blocks of 4 x
    4, stored here as uint8 after multiplication by 15. The test set is drawn class by class with
    `test_seed`, which does not depend on the seed of a run, and is held out of everything else.

    `mean` and `std` are those of the training part for `test_seed=0`, of all its pixels together and
    rounded to four decimals; another `test_seed` moves them by about 0.001.

    Args:
        test_seed: which 360 images are the test set; an integer from 0 to 2**32 - 1
    """

    name = "digits"
    num_classes = 10
    image_shape = (1, 8, 8)
    mean = (0.2878,)
    std = (0.3544,)

    def __init__(self, test_seed: int = 0):
        self.test_seed = test_seed

    def train(self, augmented: bool = True) -> TensorImages:
        """Returns the 1,437 training images, the same for either value of `augmented`."""
        return self._part(test=False)

    def test(self) -> TensorImages:
        """Returns the 360 test images."""
        return self._part(test=True)

    def _part(self, test: bool) -> TensorImages:
        counts_NP, labels_N = read_digits()
        images_NCHW = (counts_NP * SCALE).to(torch.uint8).view(-1, *self.image_shape)
        test_indices, train_indices = stratified(labels_N, NUM_TEST, seed=self.test_seed, key="test_seed")
        indices = test_indices if test else train_indices
        return TensorImages(images_NCHW[indices], labels_N[indices])
