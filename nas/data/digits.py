"""1,797 real handwritten digits that come with scikit-learn: images without a download."""

import torch

from nas.data.draw_split import stratified
from nas.data.sources import TensorImages

NUM_TEST = 360
# Ink of 0..16 becomes 0..240: exact in uint8, and reversible.
SCALE = 15


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
        # Importing scikit-learn takes a second, which other sources should not pay.
        from sklearn.datasets import load_digits

        digits = load_digits()
        images_NCHW = torch.from_numpy(digits.images * SCALE).to(torch.uint8)[:, None]
        labels_N = torch.from_numpy(digits.target).to(torch.int64)
        test_indices, train_indices = stratified(labels_N, NUM_TEST, seed=self.test_seed, key="test_seed")
        indices = test_indices if test else train_indices
        return TensorImages(images_NCHW[indices], labels_N[indices])
