"""Whether an exported network still computes what the trained one does."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Comparison:
    """Logits of an exported network beside the trained one's.

    Attributes:
        compared: how many images or words.
        difference: largest difference of two logits / largest of the trained network's; nan if any is.
        same_top1: on how many of them both find the same class or next word.
    """

    compared: int
    difference: float
    same_top1: int


def predict(network: Callable[[Tensor], Tensor], batches: Iterable[Tensor], seed: int) -> Tensor:
    """Logits [N, K] of images in batches [B, C, H, W]; operations that draw begin at the same place."""
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return torch.cat([network(images_BCHW) for images_BCHW in batches])


def predict_text(step: Callable[..., tuple[Tensor, Tensor]], tokens_TB: Tensor, state_size: int) -> Tensor:
    """Logits [T * B, V] of the next words of a text in columns, read word by word from a state of zeros."""
    state_BS = torch.zeros(tokens_TB.shape[1], state_size)
    logits = []
    with torch.no_grad():
        for tokens_B in tokens_TB:
            logits_BV, state_BS = step(tokens_B, state_BS)
            logits.append(logits_BV)
    return torch.cat(logits)


def compare(expected_NK: Tensor, actual_NK: Tensor) -> Comparison:
    """Compares logits in float64, so that the comparison itself rounds nothing."""
    expected_NK, actual_NK = expected_NK.double(), actual_NK.double()
    scale = expected_NK.abs().max().clamp_min(torch.finfo(torch.float32).tiny)
    difference = float((expected_NK - actual_NK).abs().max() / scale)
    same = int((expected_NK.argmax(dim=1) == actual_NK.argmax(dim=1)).sum())
    return Comparison(len(expected_NK), difference, same)
