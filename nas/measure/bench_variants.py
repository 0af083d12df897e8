"""Other networks of a search than its first, as `nas.bench` knows them: stages, and fewer connections."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from nas.analysis.cost.complexity import Cost
from nas.engine.stages import StageBuilder
from nas.measure.steps import Counts
from nas.methods.method import Method
from nas.spaces.space import Inputs, Space


def stage_supernet(space: Space, method: Method, inputs: Inputs, index: int) -> nn.Module:
    """The network of a stage, from 0; drops from the method what is dropped up to there.

    Which candidates go follows from the start of alpha: it makes no difference to the time.

    Raises:
        ConfigError: the stage's K does not divide the channels.
    """
    stages = StageBuilder(space, method, inputs, 0, lambda network: network)
    assert method.stages is not None
    for stage in method.stages.stages[: index + 1]:
        if stage.keep is not None:
            method.prune(stage.keep)
    return stages.supernet(index)


def about_stage(method: Method, index: int) -> dict[str, Any]:
    """What `bench.json` says of a stage whose candidates the method has."""
    masks = method.kept().values()
    assert method.stages is not None
    return {
        "stage": index + 1,
        "partial": method.stages[index].partial,
        "candidates": sum(int(mask_EO.sum()) for mask_EO in masks),
        "candidates_of": sum(mask_EO.numel() for mask_EO in masks),
    }


def about_share(share: float, alive: Mapping[str, Tensor]) -> dict[str, Any]:
    """What `bench.json` says of a share of connections."""
    return {
        "share": share,
        "connections": sum(int(mask_EO.sum()) for mask_EO in alive.values()),
        "connections_of": sum(mask_EO.numel() for mask_EO in alive.values()),
    }


def about_counts(cost: Cost, counts: Counts) -> dict[str, int]:
    """What `bench.json` says of the size of any of these networks."""
    return {
        "params": cost.params,
        "macs": cost.macs,
        "bytes_saved": counts.bytes_saved,
        "operators": counts.operators.computing,
    }


def share_out(
    seconds: Mapping[str, Any],
    names: Sequence[str],
    alive: Sequence[dict[str, Any]],
    stages: Sequence[dict[str, Any]],
) -> dict[str, Any]:
    """Gives shares and stages the seconds of their steps; returns those of the first network.

    Args:
        seconds: `<step>`, `alive_<index>_<step>`, `stage_<index>_<step>` -> seconds; the first stage's steps
            are those of the first network.
        names: of the steps.
        alive: what is said of every share; is added to.
        stages: likewise of every stage.
    """
    for kind, entries in (("alive", alive), ("stage", stages)):
        for index, entry in enumerate(entries):
            prefix = "" if kind == "stage" and index == 0 else f"{kind}_{index}_"
            entry |= {f"{name}_seconds": seconds[prefix + name] for name in names}
    return {name: value for name, value in seconds.items() if not name.startswith(("alive_", "stage_"))}
