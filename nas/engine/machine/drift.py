"""Whether all processes of a search hold the same architecture."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from nas.errors import require


class Drifted(RuntimeError):
    """Processes hold different architecture parameters; the message says which, of what group and when."""


class DriftCheck(pl.Callback):
    """Compares the architecture parameters of all processes after every step, or every few steps.

    They start alike and step with averaged gradients, so they stay alike bit by bit. What is gathered is one
    whole number per group: the bits of its values, each times an odd number of its own, added modulo 2^64.
    Any single bit that differs shows.

    Args:
        every: steps between two looks; 0 for never. On a GPU a look waits for the device.

    Raises:
        ConfigError: `every` is no whole number from 0.
    """

    def __init__(self, every: int = 1):
        require(
            isinstance(every, int) and not isinstance(every, bool) and every >= 0,
            f"processes.drift_check_every={every}: must be a whole number of steps, 0 for never",
        )
        self.every = every

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: Any,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Looks, where there is more than one process.

        Raises:
            Drifted: in all processes alike, since all see the same numbers.
        """
        step = pl_module.iteration
        if trainer.world_size == 1 or not self.every or step % self.every:
            return
        method = pl_module.method
        groups = dict(method.alpha.items())
        if method.edges is not None:
            groups |= {f"edges of {node}": beta_1E for node, beta_1E in method.edges.beta.items()}
        own_G = torch.stack([fingerprint(alpha_EO) for alpha_EO in groups.values()])
        all_NG = trainer.strategy.all_gather(own_G)
        if bool((all_NG == all_NG[0]).all()):
            return
        words = [
            words
            for group, values in zip(groups, all_NG.T.tolist(), strict=True)
            if (words := _difference(group, values))
        ]
        raise Drifted(
            f"after step {step} (epoch {trainer.current_epoch}) the processes hold different "
            f"architecture parameters: {'; '.join(words)}"
        )


@torch.no_grad()
def fingerprint(values: Tensor) -> Tensor:
    """A number, int64, that depends on every bit and place of the values, on their device."""
    bits_N = values.detach().double().flatten().view(torch.int64)
    odd_N = 2 * torch.arange(len(bits_N), device=bits_N.device) + 1
    return (bits_N * odd_N).sum()


def _difference(group: str, values: Sequence[int]) -> str:
    """Which processes of a group differ from what most have, from process 0 where that is undecided."""
    counts = Counter(values)
    usual = max(counts.values())
    reference = values[0] if counts[values[0]] == usual else counts.most_common(1)[0][0]
    drifted = [str(rank) for rank, value in enumerate(values) if value != reference]
    if not drifted:
        return ""
    alike = next(rank for rank, value in enumerate(values) if value == reference)
    differ = (
        f"process {drifted[0]} differs" if len(drifted) == 1 else f"processes {', '.join(drifted)} differ"
    )
    return f"group {group}: {differ} from process {alike}"
