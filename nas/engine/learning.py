"""Whether a search learns an architecture: refused before it starts if it cannot, said when it has not."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from nas.errors import require, require_whole
from nas.methods.method import Method

log = logging.getLogger(__name__)
LEARNT, UNCHANGED, DRAWN = "learnt", "unchanged", "drawn, not learnt"
SELECTED = "selected by the supernet"


def check_epochs(config: Mapping, method: Method) -> None:
    """Refuses a new search that learns an architecture and leaves no epoch to it. Nothing is read.

    Raises:
        ConfigError: warm-up or frozen epochs fill the search, alpha's learning rate is 0, or the method has
            no optimisers.
    """
    if not method.trains or config["resume"] is not None:
        return
    number = config["trainer"]["max_epochs"]
    require_whole("trainer.max_epochs", number, 1)
    require(
        method.weight_optimizer is not None,
        f"method.update: method {method.name} brings no optimisers, so it can only draw (none); "
        "choose a method that learns",
    )
    method.changes(number)  # what is wrong with the epochs of stages is said in its own words
    if not method.learns:
        require(
            method.selection is not None,
            f"method.selection=null: with method.update={method.update.name if method.update else None} the "
            "architecture never moves, so that something is to choose one; as in method=rsps",
        )
        return
    if not any(method.active(epoch) for epoch in range(number)):
        require(
            method.stages is not None and method.warmup_epochs == 0,
            f"method.warmup_epochs={method.warmup_epochs}: the architecture would never move, since warm-up "
            f"fills all of trainer.max_epochs={number}{_frozen(method)}; set it to at most {number - 1}, or "
            f"trainer.max_epochs to at least {method.warmup_epochs + 1}",
        )
        require(
            False,
            f"method.stages: the architecture would never move, since freeze fills all of "
            f"trainer.max_epochs={number}{_frozen(method)}; freeze fewer epochs than a stage has",
        )
    _check_rate(method)
    _warn_of_blind_pruning(method)


def check_steps(config: Mapping, method: Method, steps: Sequence[int] | None) -> None:
    """Refuses a new search that takes no architecture step in the epochs that it has for it.

    Args:
        config: the whole configuration of `nas.search` as plain containers.
        method: the search method.
        steps: search steps of every epoch; None where nobody knows, and nothing is refused.

    Raises:
        ConfigError: there are no steps, or too few for one step of alpha.
    """
    if not method.learns or config["resume"] is not None or steps is None:
        return
    trainer = config["trainer"]
    limit = trainer["limit_train_batches"]
    require(
        sum(steps) > 0,
        f"trainer.limit_train_batches={limit}: leaves no batch in any epoch; a share (1.0) or a number (10)",
    )
    first = 0
    for epoch, number in enumerate(steps):
        iterations = range(first, first + number)
        if method.active(epoch) and any(method.moves(epoch, iteration) for iteration in iterations):
            return
        first += number
    require(
        False,
        f"method.weight_steps={method.weight_steps}: the architecture would never move: it steps with every "
        f"{method.weight_steps}th step of the search, which has {first} (trainer.max_epochs={len(steps)}, "
        f"method.warmup_epochs={method.warmup_epochs} without the architecture, "
        f"trainer.limit_train_batches={limit})",
    )


def check_selection(config: Mapping, method: Method) -> None:
    """Refuses a search in which architectures would not be compared; the method knows its space.

    Raises:
        ConfigError: it is too short, or an epoch that is to be validated is not.
    """
    if method.selection is None:
        return
    number, every = config["trainer"]["max_epochs"], config["trainer"]["check_val_every_n_epoch"]
    limit = config["trainer"]["limit_val_batches"]
    require(
        limit is None or limit > 0,
        f"trainer.limit_val_batches={limit}: method.selection compares architectures in the validation, "
        "which has no batch then; 1.0, or method.selection=null",
    )
    method.selection.check(number)
    missed = [epoch for epoch in range(number) if method.selection.due(epoch, number) and (epoch + 1) % every]
    require(
        not missed,
        f"trainer.check_val_every_n_epoch={every}: method.selection compares architectures in the validation "
        f"of epochs that have none ({', '.join(map(str, missed[:3]))}, from 0, of "
        f"trainer.max_epochs={number}); 1",
    )


def undecided(method: Method) -> bool:
    """Whether a search has no architecture to show yet: alpha never moves, and its selection is to come."""
    return method.trains and not method.learns and method.selection is not None and not method.selected


def check_compile(config: Any) -> None:
    """Refuses what a compiled network cannot do.

    Raises:
        ConfigError: second derivatives are asked of a compiled network.
    """
    analysis = config.analysis
    wanted = {
        "method.implicit=exact": _exact(config.method),
        "analysis.hessian.every": analysis.hessian.every,
        "analysis.implicit.every": analysis.implicit.every,
    }
    asked = [key for key, value in wanted.items() if value]
    require(
        not (config.hardware.compile and asked),
        "hardware.compile=true: a compiled network has no second derivatives, but "
        f"{', '.join(asked)} needs them",
    )


def _exact(method: Any) -> bool:
    update = method.get("update")
    return "exact" in (method.get("implicit"), hasattr(update, "get") and update.get("implicit"))


def check_precision(precision: str) -> None:
    """Refuses precisions that a search cannot be run in.

    Raises:
        ConfigError: architecture gradients would be lost in it.
    """
    known = ("32-true", "64-true", "bf16-mixed")
    require(
        str(precision) in known,
        f"hardware.precision={precision}: a search runs in {', '.join(known)}; float16 scales the loss, "
        "which the gradients of alpha, the finite difference and the clipping of weights do not survive",
    )


class StartValues:
    """The architecture parameters of a search as they were drawn, to be compared with what it ends with.

    They come from the seed, so that a resumed run has them too: make this before a checkpoint is loaded.

    Args:
        method: owns alpha, with its start values.
    """

    def __init__(self, method: Method):
        self.alpha = _alphas(method)
        self.strengths = _on_cpu(method.strengths())
        self.kept = method.kept()

    def verdict(self, method: Method) -> str:
        """What `summary.json` says under `architecture`.

        Returns:
            `drawn, not learnt` of a method whose alpha never moves, `selected by the supernet` where its
            selection has spoken, `learnt`, `unchanged` where no group of edges
            has moved, and `unchanged: reduce` where only some have not.
        """
        if method.selection is not None and method.selected:
            return SELECTED
        if not method.learns:
            return DRAWN if method.selection is None else UNCHANGED
        groups = [group for group, alpha_EO in self.alpha.items() if self._learnable(method, alpha_EO)]
        rest = self._unmoved(method, groups)
        if not rest:
            return LEARNT
        return UNCHANGED if len(rest) == len(groups) else f"{UNCHANGED}: {', '.join(rest)}"

    @staticmethod
    def _learnable(method: Method, alpha_EO: Tensor) -> bool:
        # The single candidate of an edge always has weight 1 where weights are normalised.
        return alpha_EO.shape[1] > 1 or not method.relaxation.normalised

    def _unmoved(self, method: Method, groups: Sequence[str]) -> list[str]:
        """Groups whose op weights are bit by bit what they were, of the candidates that are kept."""
        ended, strengths, kept = _alphas(method), _on_cpu(method.strengths()), method.kept()
        unmoved = []
        for group in groups:
            mask_EO = kept[group].cpu()
            same_mask = torch.equal(mask_EO, self.kept[group].cpu())
            compared_EO = method.compared(mask_EO)
            same_alpha = torch.equal(ended[group][compared_EO], self.alpha[group][compared_EO])
            if same_alpha or (same_mask and torch.equal(strengths[group], self.strengths[group])):
                unmoved.append(group)
        return unmoved


def tell(verdict: str) -> None:
    """Says, as a closing word of a run, that its architecture has not moved; nothing where it has."""
    if verdict.startswith(UNCHANGED):
        groups = verdict.partition(": ")[2]
        which = f"the op weights of {groups}" if groups else "all op weights"
        log.info(
            "not learnt: %s are what they were at the start, so what is derived from them is no result of "
            "this search",
            which,
        )


def _frozen(method: Method) -> str:
    if method.stages is None:
        return ""
    parts = (f"{stage.freeze} of {stage.epochs}" for stage in method.stages.stages)
    return f" (frozen epochs of method.stages: {', '.join(parts)})"


def _check_rate(method: Method) -> None:
    """Raises `ConfigError` where alpha's optimiser has a learning rate of 0."""
    build, key = method.architecture_optimizer, "method.architecture_optimizer.lr"
    if method.tied_rate:
        build, key = method.weight_optimizer, "method.weight_optimizer.lr (method.tied_rate=true)"
    if build is None:
        return  # said where optimisers are checked
    try:
        rates = [float(group["lr"]) for group in build([nn.Parameter(torch.zeros(1))]).param_groups]
    except (ValueError, TypeError):
        return  # said where optimisers are checked
    require(any(rates), f"{key}={rates[0]:g}: the architecture would never move; must be above 0")


def _warn_of_blind_pruning(method: Method) -> None:
    """Says where a stage drops candidates before alpha has moved at all."""
    first = 0
    for index, stage in enumerate(() if method.stages is None else method.stages.stages):
        if stage.keep is not None and not any(method.active(epoch) for epoch in range(first)):
            log.warning(
                "method.stages[%d].keep=%d: drops candidates by their start values, before the architecture "
                "has moved",
                index,
                stage.keep,
            )
        first += stage.epochs


def _alphas(method: Method) -> dict[str, Tensor]:
    return _on_cpu(dict(method.alpha.items()))


def _on_cpu(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}
