"""What a command looks architectures up in: a table, or a surrogate of the user's that predicts."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from omegaconf import DictConfig, open_dict

from nas.analysis.surrogates import KEY, LookUp, Predicted, generators_kept
from nas.analysis.tabular import SURROGATE, open_tabular
from nas.commands.cost_ranges import drawn
from nas.errors import require
from nas.genotype import Genotype
from nas.running.config import instantiate, plain
from nas.running.signatures import parameters_of, target_of

# Architectures that a surrogate is tried on before anything else is done.
TRIED = 3


def look_up_of(config: DictConfig, space: Any, dataset: str) -> LookUp | None:
    """What the group `tabular` asks for; None if it asks for nothing.

    Args:
        config: of the command.
        space: whose architectures are looked up.
        dataset: the name of the data set; decides what `metric: auto` means.

    Raises:
        ConfigError: the table cannot be used (`open_tabular`), or the surrogate (`Predicted`).
    """
    if config.tabular.name != SURROGATE:
        return open_tabular(plain(config.tabular), space.family, dataset)
    by = config.tabular.surrogate.get("_target_")
    require(
        isinstance(by, str),
        f"{KEY}._target_={by}: which? the import path of a callable, such as mypackage.Surrogate",
    )
    # Neither what it is made of nor what it is tried on is to change the search.
    with generators_kept():
        call = _built(config.tabular.surrogate)
    return Predicted(call, by, drawn(space, count=TRIED), config.tabular.metric, dataset)


def _built(node: DictConfig) -> Callable[[Genotype], Mapping[str, float]]:
    """What a node builds: a class or function is called with the node's other keys.

    A function that lacks one argument more, which is the architecture, is itself what is asked.
    """
    target = target_of(node)
    if target is None or inspect.isclass(target) or "_partial_" in node:
        return instantiate(node)
    needed = [
        name
        for name, one in (parameters_of(node) or {}).items()
        if one.default is one.empty and one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)
    ]
    if len([name for name in needed if name not in node]) != 1:
        return instantiate(node)
    itself = node.copy()
    itself._set_parent(node._get_parent())
    with open_dict(itself):
        itself["_partial_"] = True
    return instantiate(itself)
