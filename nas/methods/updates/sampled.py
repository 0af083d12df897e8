"""Architecture gradients for op weights that are drawn: gates, score function, importance weights, none."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from nas.errors import require, require_one_of, require_whole
from nas.methods.functional import frozen
from nas.methods.relaxations import OneHot, Relaxation
from nas.methods.updates.base import ArchitectureGradient, Bilevel, Update


class WeightsAlone(Update):
    """Alpha rests: the weights learn on whatever is drawn (Li and Talwalkar 2019)."""

    name = "weights_alone"
    moves = False

    def gradient(self, problem: Bilevel, weight_batch: Any, architecture_batch: Any) -> ArchitectureGradient:
        """Zeros, at the loss of a draw."""
        with torch.no_grad():
            loss = problem.loss(architecture_batch)
        return ArchitectureGradient(loss, [torch.zeros_like(alpha_EO) for alpha_EO in problem.alphas])


class Gates(Update):
    """The gradient through binary gates of ProxylessNAS (Cai et al. 2019, section 3.2).

    Args:
        paths: `all` runs every candidate on the drawn path's states to learn what each gate is worth (their
            `full_v2`); `two` draws two candidates per edge, compares these, and leaves the probabilities of
            the others as they are.

    Raises:
        ConfigError: it is another word.
    """

    name = "gates"

    def __init__(self, paths: str = "two"):
        require_one_of("method.update.paths", paths, ("all", "two"))
        self.paths = paths
        self.alike = paths == "two"
        self._pairs: list[Tensor] = []

    def check(self, relaxation: Relaxation) -> None:
        """Raises `ConfigError` where op weights are no gates."""
        require(
            isinstance(relaxation, OneHot) and relaxation.gradient == "gates",
            "method.update=gates: opens and shuts the gates of "
            "method.relaxation._target_=nas.methods.relaxations.OneHot with method.relaxation.gradient=gates "
            "alone",
        )

    def gradient(self, problem: Bilevel, weight_batch: Any, architecture_batch: Any) -> ArchitectureGradient:
        """One forward and one backward pass, the latter for alpha alone; `weight_batch` is not looked at."""
        op_weights = problem.draw(self.paths)
        self._pairs = [op_weights.run[group] for group in sorted(op_weights.run)]
        with frozen(problem.weights):
            loss = problem.loss(architecture_batch, op_weights)
            return ArchitectureGradient(loss.detach(), problem.gradients(loss, problem.alphas))

    @contextmanager
    def stepping(self, alphas: Sequence[Tensor]) -> Iterator[None]:
        """Moves the two candidates of every edge back together by what their step changed for the others."""
        if self.paths == "all" or not self._pairs:
            yield
            return
        # Edge weights, which come after the groups' alphas, have no pairs.
        pairs = list(zip(alphas, self._pairs, strict=False))
        before = [_log_sum(alpha_EO, pair_EO) for alpha_EO, pair_EO in pairs]
        yield
        with torch.no_grad():
            for (alpha_EO, pair_EO), before_E1 in zip(pairs, before, strict=True):
                moved_EO = alpha_EO - (_log_sum(alpha_EO, pair_EO) - before_E1)
                alpha_EO.copy_(torch.where(pair_EO, moved_EO, alpha_EO))


def _log_sum(alpha_EO: Tensor, pair_EO: Tensor) -> Tensor:
    return alpha_EO.detach().masked_fill(~pair_EO, -torch.inf).logsumexp(-1, keepdim=True)


class ScoreFunction(nn.Module, Update):
    """REINFORCE: what a drawn architecture is worth times the gradient of its log probability.

    The network runs without a gradient, in evaluation mode (Williams 1992; Pham et al. 2018, section 2.2).

    Args:
        reward: `score` (the metric of the task, such as the accuracy; where a lower one is better its
            negative) or `loss` (its negative).
        samples: architectures drawn per step, each on the batch of that step.
        decay: of the moving average of rewards that is subtracted, in [0, 1); the first reward begins it.
        entropy: weight of the drawn architecture's entropy in its reward, in nats; it has no gradient of its
            own (as in the original code of ENAS).

    Raises:
        ConfigError: a value is unknown or out of range.
    """

    name = "score_function"
    by_probability = True
    alike = True
    baseline: Tensor
    rewarded: Tensor

    def __init__(self, reward: str = "score", samples: int = 1, decay: float = 0.95, entropy: float = 0.0):
        super().__init__()
        require_one_of("method.update.reward", reward, ("score", "loss"))
        require_whole("method.update.samples", samples, 1)
        require(0 <= decay < 1, f"method.update.decay={decay}: must be at least 0 and below 1")
        require(entropy >= 0, f"method.update.entropy={entropy}: must be at least 0")
        self.reward = reward
        self.samples = samples
        self.decay = decay
        self.entropy = entropy
        self.register_buffer("baseline", torch.zeros((), dtype=torch.float64))
        self.register_buffer("rewarded", torch.tensor(False))  # whether there has been a first reward

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "ScoreFunction":
        """Moves it to a device, and leaves it in double precision whatever the network's is."""
        value = self.baseline
        super()._apply(fn, recurse)
        self.baseline = value.to(self.baseline.device)
        return self

    def gradient(self, problem: Bilevel, weight_batch: Any, architecture_batch: Any) -> ArchitectureGradient:
        """The mean over the samples of -(reward - baseline) d log p; `weight_batch` is not looked at."""
        objective, losses = torch.zeros((), device=problem.alphas[0].device), []
        for _ in range(self.samples):
            op_weights = problem.draw("own")
            loss, score = problem.judge(architecture_batch, op_weights)
            losses.append(loss)
            worth = (score if self.reward == "score" else -loss).double().reshape(1)
            if self.entropy:
                worth = worth + self.entropy * problem.entropy(op_weights).detach().double()
            if problem.average is not None:
                problem.average([worth])
            baseline = torch.where(self.rewarded, self.baseline, worth[0])
            self.rewarded.fill_(True)
            advantage = worth[0] - baseline
            self.baseline.copy_(self.decay * baseline + (1 - self.decay) * worth[0])
            logs = problem.log_probability(op_weights)
            objective = objective - advantage.to(logs.dtype) * logs / self.samples
        gradients = problem.gradients(objective, problem.alphas)
        return ArchitectureGradient(torch.stack(losses).mean(), gradients)


class ImportanceWeights(Update):
    """PARSEC: drawn children share one likelihood, and each learns by its share of it (Casale et al. 2019).

    Of either batch the objective is the log of the children's mean likelihood; its gradient gives child k the
    weight omega_k = softmax_k(-sharpness * loss_k). The likelihood of a batch of images is a product over
    them, by which one child would take all: `sharpness` stands for their number.

    Args:
        children: architectures drawn per step, of the weights and of alpha; at least 2, since one alone has
            no weight to learn from.
        sharpness: what the mean loss of a batch is multiplied by; not stated in the paper.

    Raises:
        ConfigError: a value is out of range.
    """

    name = "importance_weights"
    by_probability = True
    alike = True

    def __init__(self, children: int = 4, sharpness: float = 64.0):
        require_whole("method.update.children", children, 2)
        require(sharpness > 0, f"method.update.sharpness={sharpness}: must be positive")
        self.num_children = children
        self.sharpness = sharpness

    def mixture(self, losses_K: Tensor) -> Tensor:
        """The children's losses [K] as one: -log mean exp(-sharpness * loss) / sharpness."""
        return -((-self.sharpness * losses_K).logsumexp(0) - math.log(len(losses_K))) / self.sharpness

    def gradient(self, problem: Bilevel, weight_batch: Any, architecture_batch: Any) -> ArchitectureGradient:
        """-sum_k omega_k d log p(child k); `weight_batch` is not looked at."""
        drawn = [problem.draw("own") for _ in range(self.num_children)]
        with torch.no_grad():
            losses_K = torch.stack([problem.loss(architecture_batch, child) for child in drawn])
        if problem.average is not None:
            problem.average([losses_K])
        shares_K = (-self.sharpness * losses_K).softmax(0)
        logs_K = torch.stack([problem.log_probability(child) for child in drawn])
        gradients = problem.gradients(-(shares_K.to(logs_K.dtype) * logs_K).sum(), problem.alphas)
        return ArchitectureGradient(self.mixture(losses_K), gradients)
