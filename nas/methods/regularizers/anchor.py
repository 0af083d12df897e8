"""The anchor: a price on architecture parameters that leave their start, beta = 1 (Chen et al. 2021, 2.2).

It keeps the concentrations from growing or vanishing, and with them exploration from ending early.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, distributions

from nas.errors import require, require_one_of
from nas.methods.regularizers.base import Regularizer
from nas.methods.relaxations import Dirichlet, Relaxation


class Anchor(Regularizer):
    """lam times a distance of eta from 0.

    Args:
        kind: `l2`, (lam / 2) ||eta||^2, whose gradient lam * eta is what Adam's coupled decay adds; `norm`,
            lam ||eta||, the distance itself over all edges of all groups, whose gradient has the length lam
            wherever eta is not 0, and none there; `kl`, lam * KL(Dirichlet(beta) || Dirichlet(1)) summed over
            edges; or `none`, whatever lam is.
        form: `objective` adds the gradient of that term to the architecture gradient; `optimizer` (authors'
            code) hands lam to the architecture optimiser as its coupled weight decay. With a first-order
            optimiser both make the same steps.
        lam: weight of the term, at least 0.

    Raises:
        ConfigError: a value is unknown or out of range, or the combination has no meaning.
    """

    def __init__(self, kind: str = "l2", form: str = "objective", lam: float = 0.0):
        require_one_of("method.anchor", kind, ("l2", "norm", "kl", "none"))
        require_one_of("method.anchor_form", form, ("objective", "optimizer"))
        require(lam >= 0, f"method.lam={lam}: must be at least 0")
        require(
            kind not in ("kl", "norm") or form == "objective",
            f"method.anchor_form={form}: an optimiser's weight decay is half the square of the l2 norm and "
            f"not method.anchor={kind}; use method.anchor_form=objective",
        )
        self.kind = kind
        self.form = form
        self.lam = 0.0 if kind == "none" else float(lam)
        self.explicit = self.lam > 0 and form == "objective"

    def check(self, relaxation: Relaxation) -> None:
        """Raises `ConfigError` where the distance is one of distributions and there are none."""
        require(
            self.kind != "kl" or isinstance(relaxation, Dirichlet),
            "method.anchor=kl: a distance between Dirichlet distributions, so it needs "
            "method.relaxation=dirichlet",
        )

    def penalty(self, relaxation: Relaxation, alphas: Sequence[Tensor]) -> Tensor:
        """The term of the objective, a scalar; 0 in the optimiser's form."""
        zero = alphas[0].new_zeros(())
        if not self.explicit:
            return zero
        if self.kind == "l2":
            return self.lam / 2 * sum((alpha_EK.square().sum() for alpha_EK in alphas), zero)
        if self.kind == "norm":
            # Of the joined vector: torch gives a norm the gradient 0 at 0, where a root's is infinite.
            return self.lam * torch.cat([alpha_EK.flatten() for alpha_EK in alphas]).norm()
        return self.lam * sum((self._divergence(relaxation, alpha_EK) for alpha_EK in alphas), zero)

    def _divergence(self, relaxation: Relaxation, alpha_EK: Tensor) -> Tensor:
        assert isinstance(relaxation, Dirichlet)  # `check` lets no other in
        wide = torch.promote_types(alpha_EK.dtype, torch.float32)
        beta_EK = relaxation.concentration(alpha_EK).to(wide)
        learnt, uniform = (
            distributions.Dirichlet(b, validate_args=False) for b in (beta_EK, torch.ones_like(beta_EK))
        )
        return distributions.kl_divergence(learnt, uniform).sum()

    def optimizer(self, build: Callable) -> Callable:
        """Parameters -> the architecture optimiser, with lam as its weight decay if that is the form.

        Raises:
            ConfigError: (when called) the optimiser has a decay of its own, or a decoupled one, or none.
        """

        def built(parameters: Sequence[Tensor]) -> torch.optim.Optimizer:
            optimizer = build(parameters)
            for group in optimizer.param_groups:
                name = type(optimizer).__name__
                require(
                    "weight_decay" in group and not group.get("decoupled_weight_decay"),
                    f"method.anchor_form=optimizer: {name} has no coupled weight decay; use "
                    "torch.optim.Adam, or method.anchor_form=objective",
                )
                require(
                    not group["weight_decay"],
                    f"method.architecture_optimizer.weight_decay={group['weight_decay']}: "
                    "method.anchor_form=optimizer puts method.lam in its place; set it to 0",
                )
                group["weight_decay"] = self.lam
            return optimizer

        return built if self.lam > 0 and self.form == "optimizer" else build
