"""Keys that another key switches off: typed where they act on nothing, they are refused."""

from collections.abc import Iterable, Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf

from nas.errors import require
from nas.running.signatures import target_of
from nas.running.words import key_of, shown

# Key, or the group that it lies in -> the key that switches it, and the value with which nothing reads it.
SWITCHES: Mapping[str, tuple[str, Any]] = {
    "method.widen": ("method.stages", None),
    "method.learning_rate_at_stage": ("method.stages", None),
    "method.cost.of": ("method.cost.weight", 0),
    "method.cost.form": ("method.cost.weight", 0),
    "method.cost.table": ("method.cost.weight", 0),
    "method.cost.multiplier": ("method.cost.budget", None),
    "method.cost.rate": ("method.cost.budget", None),
    "analysis.hessian.mode": ("analysis.hessian.every", 0),
    "analysis.hessian.batches": ("analysis.hessian.every", 0),
    "analysis.hessian.weight_decay": ("analysis.hessian.every", 0),
    "rank_candidates": ("rank", "probability"),
    "supernet": ("rank", "probability"),
    **dict.fromkeys(("images", "pictures", "tolerance", "words"), ("check", False)),
    "bench.reference_target": ("bench.reference", False),
    "bench.reference_channels_last": ("bench.reference", False),
    "bench.reference_alpha_gradients": ("bench.reference", False),
    "bench.evaluation_batch_size": ("bench.evaluation", False),
    "bench.evaluation_drop_path": ("bench.evaluation", False),
    "bench.loop_steps": ("bench.loop", False),
    "bench.loop_rounds": ("bench.loop", False),
    "bench.data_seconds": ("bench.data", False),
}


def check_idle(config: DictConfig, overrides: Iterable[str]) -> None:
    """Refuses typed keys that have no effect with the other settings.

    Args:
        config: as composed.
        overrides: what was typed.

    Raises:
        ConfigError: names the key, and the one that switches it off.
    """
    if config.get("resume") is not None:
        return  # its folder says what the settings are
    for typed in map(key_of, overrides):
        switch = SWITCHES.get(typed) or SWITCHES.get(typed.partition(".")[0])
        if switch is None or OmegaConf.select(config, typed) is None:
            continue
        other, off = switch
        watched = typed.startswith("analysis.hessian.") and _measured_for_a_monitor(config)
        # A budget gives a price to a cost that has none at the start.
        watched |= (
            other == "method.cost.weight" and OmegaConf.select(config, "method.cost.budget") is not None
        )
        require(
            watched or OmegaConf.select(config, other) != off,
            f"{typed}={shown(OmegaConf.select(config, typed))}: without effect where {other}={shown(off)}",
        )


def _measured_for_a_monitor(config: DictConfig) -> bool:
    """Whether a monitor of the method has the eigenvalue measured, however often it is asked for."""
    nodes = OmegaConf.select(config, "method.monitors") or {}
    return any("hessian_eigenvalue" in getattr(target_of(one), "needs", ()) for one in nodes.values() if one)
