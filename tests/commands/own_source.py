"""A data set of somebody else's, for tests: it declares one thing and may hold another."""

import torch

from nas.data.sources import TensorImages


class OwnImages:
    """Random images whose mean tells the class, in a few unequal classes.

    Args:
        shape: what `image_shape` declares
        held: the shape that the arrays have
        sizes: training images of each class
        test_label: added to every test label
        std: of the only channel
    """

    name = "own"
    mean = (0.5,)

    def __init__(self, shape=(1, 8, 8), held=None, sizes=(60, 20, 10), test_label=0, std=0.25):
        self.image_shape = tuple(shape)
        self.held = self.image_shape if held is None else tuple(held)
        self.sizes = sizes
        self.num_classes = len(sizes)
        self.test_label = test_label
        self.std = (std,)

    def train(self, augmented=True):
        """The training images, classes mixed."""
        labels_N = torch.repeat_interleave(torch.arange(len(self.sizes)), torch.tensor(self.sizes))
        return self._images(
            labels_N[torch.randperm(len(labels_N), generator=torch.Generator().manual_seed(0))]
        )

    def test(self):
        """As many again, in a fixed order."""
        images = self.train()
        return TensorImages(images.images_NCHW, images.labels + self.test_label)

    def _images(self, labels_N):
        generator = torch.Generator().manual_seed(1)
        noise_NCHW = torch.randint(0, 60, (len(labels_N), *self.held), generator=generator)
        return TensorImages((noise_NCHW + 60 * labels_N[:, None, None, None]).to(torch.uint8), labels_N)
