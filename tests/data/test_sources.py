"""What is promised of every source, and of images held in memory."""

import pytest
import torch

from nas.data.cifar import Cifar
from nas.data.digits import Digits
from nas.data.folder import ImageFolder
from nas.data.sources import TensorImages
from nas.errors import ConfigError


@pytest.mark.parametrize("source", [Digits(), Cifar("cifar10", "nowhere"), ImageFolder("nowhere")])
def test_a_source_is_known_without_being_read(source):
    channels = source.image_shape[0]
    assert len(source.mean) == len(source.std) == channels
    assert source.num_classes >= 10 and source.name


def test_a_batch_is_the_images_one_by_one():
    images = TensorImages(torch.arange(5 * 3 * 2 * 2, dtype=torch.uint8).view(5, 3, 2, 2), torch.arange(5))
    images_BCHW, labels_B = images.__getitems__([3, 0, 3])
    assert torch.equal(images_BCHW, torch.stack([images[i][0] for i in (3, 0, 3)]))
    assert labels_B.tolist() == [3, 0, 3] and labels_B.dtype == torch.int64


@pytest.mark.parametrize(
    "images, labels",
    [
        (torch.zeros(2, 3, 4, 4), torch.zeros(2)),
        (torch.zeros(2, 4, 4, dtype=torch.uint8), torch.zeros(2)),
        (torch.zeros(2, 3, 4, 4, dtype=torch.uint8), torch.zeros(3)),
    ],
)
def test_images_of_another_type_shape_or_number_are_refused(images, labels):
    with pytest.raises(ConfigError):
        TensorImages(images, labels)
