"""What holds of every method of conf/method; the next one is in these tests by being there."""

import pytest
import torch

from experiments.methods.matrix import configurations, names
from tests.methods.small_search import EPOCHS, SMALLEST, SmallSearch, smallest

METHODS = names("method")
# Methods that draw and train nothing have no steps to repeat.
DRAWING = ("random", "dsonas_random")
LEARNING = [name for name in METHODS if name not in DRAWING]


@pytest.fixture(scope="module")
def configs():
    with configurations(*SMALLEST) as found:
        yield found


def assert_equal(one, other, where=""):
    """Containers are equal, and the tensors in them bit by bit."""
    assert type(one) is type(other), where
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other), where
    elif isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            assert_equal(one[key], other[key], f"{where}.{key}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), where
        for index, (ours, theirs) in enumerate(zip(one, other, strict=True)):
            assert_equal(ours, theirs, f"{where}[{index}]")
    else:
        assert one == other, where


@pytest.mark.parametrize("method", LEARNING)
def test_a_search_that_is_resumed_goes_on_bit_by_bit(method, configs, tmp_path):
    """In the middle of every schedule: all weights, alpha, optimisers, monitors and what is decided."""
    config = smallest(configs, method)
    whole = SmallSearch(config).run(tmp_path, save=(EPOCHS // 2,))
    resumed = SmallSearch(config)
    resumed.go_on(tmp_path / f"{EPOCHS // 2}.ckpt", EPOCHS // 2)
    resumed.run(tmp_path)
    assert resumed.done == whole.done == EPOCHS
    assert_equal(whole.state(), resumed.state(), method)
    assert_equal(whole.method.scores(), resumed.method.scores(), method)
