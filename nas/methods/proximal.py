"""The optimiser of scaling factors: accelerated proximal gradient, one forward and backward pass per step.

Zhang et al. 2019, equations 6 to 8, after Huang & Wang 2018 (sparse structure selection). The two things that
only the authors' code has, the projection and the clip, are keys.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from nas.errors import require


class AcceleratedProximalGradient(torch.optim.Optimizer):
    """Minimises G(lambda) + gamma ||lambda||_1, given the gradient of G alone.

    With g the gradient at the stored lambda, eta the learning rate, mu the momentum and S_a the soft
    threshold sign(z) max(|z| - a, 0), a step is

        z      = lambda - eta g                          (equation 6)
        v      = S_{eta gamma}(z) - lambda + mu v        (equation 7)
        lambda = S_{eta gamma}(z) + mu v                 (equation 8)

    The stored lambda is the look-ahead value, S(z) plus the momentum, at which the next gradient is wanted
    anyway: that is what saves accelerated proximal gradient a second variable and a second pass. v starts at
    0. Without momentum the step is that of ISTA. A factor whose z stays below the threshold is exactly 0.0
    after two steps, the second of which spends the momentum; it comes back when its gradient outweighs gamma.

    Args:
        params: scaling factors, or groups of them with settings of their own.
        lr: eta, at least 0; the learning rate of the weights in the paper.
        gamma: weight of the L1 norm, at least 0; the authors' code has 0.001 for CIFAR, 0.01 for ImageNet.
        momentum: mu, in [0, 1).
        nonnegative: whether the new lambda is projected to [0, inf) (code only). v is left as it is, so a
            factor that was pressed against 0 needs a while to come back.
        clip: bound of every element of the gradient before the step, 2.0 in the authors' search; None for
            no bound.

    Raises:
        ConfigError: a value is out of range.
    """

    def __init__(
        self,
        params: Iterable,
        lr: float,
        gamma: float = 0.0,
        momentum: float = 0.9,
        nonnegative: bool = True,
        clip: float | None = None,
    ):
        self._scales: dict[Tensor, Tensor] = {}
        super().__init__(
            params,
            {"lr": lr, "gamma": gamma, "momentum": momentum, "nonnegative": nonnegative, "clip": clip},
        )

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """As in torch, with the settings checked.

        Raises:
            ConfigError: a value is out of range.
        """
        _check({**self.defaults, **param_group})
        super().add_param_group(param_group)

    def set_scale(self, parameter: Tensor, scale: Tensor | None) -> None:
        """Makes gamma differ from element to element: from now on it is the group's times `scale`.

        Scales are no part of the checkpoint: whoever computes them from lambda sets them before each step.

        Args:
            parameter: one of this optimiser's.
            scale: at least 0 (not checked: that would make each step wait for a GPU), of a shape that
                broadcasts to the parameter's; None for 1.

        Raises:
            ConfigError: the parameter is not this optimiser's, or the shapes do not fit.
        """
        require(
            any(parameter is p for group in self.param_groups for p in group["params"]),
            "method.architecture_optimizer: a scale of gamma for a parameter that it does not step",
        )
        if scale is None:
            self._scales.pop(parameter, None)
            return
        padded = (1,) * (parameter.dim() - scale.dim()) + tuple(scale.shape)
        require(
            len(padded) == parameter.dim()
            and all(s in (1, p) for s, p in zip(padded, parameter.shape, strict=True)),
            f"method.architecture_optimizer: a scale of gamma of shape {tuple(scale.shape)} for a parameter "
            f"of shape {tuple(parameter.shape)}",
        )
        self._scales[parameter] = scale.detach().to(parameter.device, parameter.dtype)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step of every parameter that has a gradient.

        Args:
            closure: computes the loss and its gradients anew, as for other optimisers.

        Returns:
            The closure's loss.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._step(parameter, parameter.grad, group)
        return loss

    def _step(self, parameter: Tensor, gradient: Tensor, group: Mapping[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state["velocity"] = torch.zeros_like(parameter, memory_format=torch.preserve_format)
        velocity = state["velocity"]
        if group["clip"] is not None:
            gradient = gradient.clamp(-group["clip"], group["clip"])
        moved = parameter - group["lr"] * gradient
        threshold = group["lr"] * group["gamma"]
        if parameter in self._scales:
            threshold = threshold * self._scales[parameter]
        shrunk = moved.sign() * (moved.abs() - threshold).clamp_min(0)
        # mu v is rounded before it is added and not fused with the sum: a zero in the next step is exact only
        # if what is subtracted then is what was added here.
        velocity.mul_(group["momentum"]).add_(shrunk - parameter)
        ahead = shrunk + velocity * group["momentum"]
        if group["nonnegative"]:
            ahead.clamp_min_(0)
        # Adding 0 turns -0.0 into 0.0.
        parameter.copy_(ahead.add_(0.0))

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        # Torch copies and pickles an optimiser without the attributes that it does not know.
        if not hasattr(self, "_scales"):
            self._scales = {}


def _check(settings: Mapping[str, Any]) -> None:
    key = "method.architecture_optimizer"
    lr, gamma, momentum, clip = (settings[name] for name in ("lr", "gamma", "momentum", "clip"))
    require(0 <= lr < math.inf, f"{key}.lr={lr}: must be at least 0 and finite")
    require(0 <= gamma < math.inf, f"{key}.gamma={gamma}: must be at least 0 and finite")
    require(0 <= momentum < 1, f"{key}.momentum={momentum}: must be at least 0 and below 1")
    require(clip is None or clip > 0, f"{key}.clip={clip}: must be null or positive")
    require(
        isinstance(settings["nonnegative"], bool),
        f"{key}.nonnegative={settings['nonnegative']}: must be true or false",
    )
