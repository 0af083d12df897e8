"""Image sets that are read whole, and once."""

from abc import ABC, abstractmethod

from nas.data.sources import TensorImages


class CachedImages(ABC):
    """Both parts of an image set, each read on first use and kept.

    Splits, loaders and validation ask for the same images; reading and checking them takes seconds.
    """

    def __init__(self):
        self._loaded: dict[bool, TensorImages] = {}

    def train(self, augmented: bool = True) -> TensorImages:
        """Returns the training images, the same for either value of `augmented`."""
        return self._load(train=True)

    def test(self) -> TensorImages:
        """Returns the test images."""
        return self._load(train=False)

    def _load(self, train: bool) -> TensorImages:
        if train not in self._loaded:
            self._loaded[train] = self._read(train)
        return self._loaded[train]

    @abstractmethod
    def _read(self, train: bool) -> TensorImages:
        """Reads one part from the disk."""
