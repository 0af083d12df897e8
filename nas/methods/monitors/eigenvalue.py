"""The dominant eigenvalue of the architecture loss's Hessian, which grows where a search goes astray.

Zela et al. 2020 (RobustDARTS). Which batches it is measured on, and how, is `analysis.hessian`'s to say.
"""

import logging
import math
from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import nn

from nas.errors import require, require_whole
from nas.methods.monitors.base import Decision, Monitor, Seen, compare_epochs

log = logging.getLogger(__name__)
EIGENVALUE = "hessian_eigenvalue"


class DominantEigenvalue(Monitor):
    """Stops when the eigenvalue has grown, and returns the architecture from before it did (DARTS-ES).

    The mean of the last `window` measurements stands for the middle one of them. It is compared with the mean
    `back` measurements earlier; where it is more than `ratio` times that, the result is the epoch that the
    earlier mean stands for. As in the authors' code nothing is decided after the last epoch.

    Args:
        every: epochs between measurements, from epoch 0 on; code 2.
        window: measurements in a mean, odd; paper and code 5. There are fewer at the start, and half of them
            at least.
        ratio: paper and code 1.3.
        back: measurements between the two means; code 4.
        start: the first epoch that may be the result; code 10.

    Raises:
        ConfigError: a value is out of range.
    """

    needs: tuple[str, ...] = (EIGENVALUE,)

    def __init__(self, every: int = 2, window: int = 5, ratio: float = 1.3, back: int = 4, start: int = 10):
        for key, value, least in (("every", every, 1), ("window", window, 1), ("back", back, 1)):
            require_whole(f"method.monitors: {key}", value, least)
        require_whole("method.monitors: start", start, 0)
        require(window % 2 == 1, f"method.monitors: window={window}: must be odd, to have a middle")
        require(ratio > 0, f"method.monitors: ratio={ratio}: must be above 0")
        self.every, self.window, self.ratio, self.back, self.start = every, window, ratio, back, start
        self.epochs: list[int] = []
        self.eigenvalues: list[float] = []

    def check(self, method: Any) -> None:
        """Raises `ConfigError` where a stage begins anew: its epochs are not to be compared with others."""
        compare_epochs(self, method)

    def due(self, epoch: int) -> bool:
        """Every `every`-th epoch, the first one too."""
        return epoch % self.every == 0

    def end_epoch(self, seen: Seen) -> Decision | None:
        """Takes the new eigenvalue in, if it is finite, and compares."""
        if not self.due(seen.epoch):
            return None
        if not math.isfinite(seen.values[EIGENVALUE]):
            log.warning(
                "epoch %d: %s=%s is no number to compare, so the monitor leaves this measurement out",
                seen.epoch,
                EIGENVALUE,
                seen.values[EIGENVALUE],
            )
            return None
        self.epochs.append(seen.epoch)
        self.eigenvalues.append(seen.values[EIGENVALUE])
        index = len(self.epochs) - 1 - self._behind
        if seen.last or index < 0 or self.epochs[index] < self.start:
            return None
        now, earlier = self._mean(len(self.epochs)), self._mean(len(self.epochs) - self.back)
        if not (earlier > 0 and now > self.ratio * earlier):
            return None
        words = f"eigenvalue {now:.3g}, {now / earlier:.3g} times that of epoch {self.epochs[index]}"
        return self.decide(seen, self.epochs[index], words)

    def decide(self, seen: Seen, epoch: int, words: str) -> Decision | None:
        """What is done where the eigenvalue has grown since `epoch`."""
        return Decision(stop=words, result=epoch)

    @property
    def _behind(self) -> int:
        """Measurements from the one that the earlier mean stands for to the last."""
        return self.window // 2 + self.back

    def _mean(self, end: int) -> float:
        values = self.eigenvalues[max(0, end - self.window) : end]
        return sum(values) / len(values)

    def keeps(self) -> Collection[int]:
        """Those that the next measurements may go back to."""
        return [epoch for epoch in self.epochs[-self._behind :] if epoch >= self.start]

    def state(self) -> dict[str, Any]:
        """The measurements."""
        return {"epochs": list(self.epochs), "eigenvalues": list(self.eigenvalues)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Goes on measuring."""
        epochs = [int(epoch) for epoch in state["epochs"]]
        eigenvalues = [float(value) for value in state["eigenvalues"]]
        if len(epochs) != len(eigenvalues) or epochs != sorted(set(epochs)) or min(epochs, default=0) < 0:
            raise ValueError("epochs ascending from 0, with an eigenvalue each")
        self.epochs, self.eigenvalues = epochs, eigenvalues


class AdaptiveRegularization(DominantEigenvalue):
    """Goes back to that epoch instead, and on from there with a larger weight decay (DARTS-ADA).

    Weights, momentum, alpha, its optimiser, the position of the learning rate and the measurements are those
    of that epoch. Once the weight decay is at its maximum the search goes on to its end.

    Args:
        factor: what the weight decay is multiplied with; code's default 3, its scripts 10.
        maximum: largest weight decay; 0.03 in the authors' runs.
        every, window, ratio, back, start: as of `DominantEigenvalue`.

    Raises:
        ConfigError: a value is out of range, or the weights have no decay that could grow.
    """

    needs = (EIGENVALUE, "weight_decay")

    def __init__(
        self,
        factor: float = 10.0,
        maximum: float = 0.03,
        every: int = 2,
        window: int = 5,
        ratio: float = 1.3,
        back: int = 4,
        start: int = 10,
    ):
        super().__init__(every, window, ratio, back, start)
        require(factor > 1, f"method.monitors: factor={factor}: must be above 1")
        require(maximum > 0, f"method.monitors: maximum={maximum}: must be above 0")
        self.factor, self.maximum = factor, maximum

    def check(self, method: Any) -> None:
        """As above, and where the weights have no decay, or one that is at the maximum already."""
        super().check(method)
        groups = method.weight_optimizer([nn.Parameter(torch.zeros(1))]).param_groups
        decay = max(group.get("weight_decay", 0) for group in groups)
        require(
            0 < decay < self.maximum,
            f"method.weight_optimizer.weight_decay={decay}: is to be multiplied with {self.factor} up to "
            f"{self.maximum}; must be between 0 and that",
        )

    def decide(self, seen: Seen, epoch: int, words: str) -> Decision | None:
        """Back, while there is room for more weight decay."""
        decay = seen.values["weight_decay"]
        larger = min(decay * self.factor, self.maximum)
        # As the authors, who compare rounded logarithms: what the product of floats leaves is no room.
        if larger <= decay * (1 + 1e-6):
            return None
        return Decision(back_to=epoch, scale={"weight_decay": larger / decay})
