"""What the sources of one's own images share: a test part that is drawn, sides that networks can take.

Shapes: N images.
"""

from torch import Tensor

from nas.data.draw_split import stratified
from nas.data.split import share_of
from nas.errors import require


def rounded_up(size: int, multiple: int) -> int:
    """The smallest multiple that is not below a size.

    Raises:
        ConfigError: the multiple is below 1.
    """
    require(multiple >= 1, f"dataset.source.multiple: must be at least 1, not {multiple}")
    return -(-size // multiple) * multiple


def check_test_share(share: float) -> None:
    """Refuses a share of test images that is not strictly between 0 and 1."""
    require(0 < share < 1, f"dataset.source.test_share={share}: must be between 0 and 1, both excluded")


def draw_test(labels_N: Tensor, share: float, seed: int) -> tuple[Tensor, Tensor]:
    """Indices of a training and a test part, with the share of every class, both ascending.

    Raises:
        ConfigError: a part would be empty, or the seed is out of range.
    """
    count = share_of(len(labels_N), share)
    require(
        0 < count < len(labels_N),
        f"dataset.source.test_share={share}: leaves {count} of {len(labels_N)} images for the test",
    )
    test, train = stratified(labels_N, count, seed, "dataset.source.test_seed")
    return train, test
