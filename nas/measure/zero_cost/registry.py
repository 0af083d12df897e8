"""Measures by name, or by import path for those of others."""

import importlib
from collections.abc import Mapping, Sequence

from nas.errors import ConfigError, require
from nas.genotype_text import is_import_path
from nas.measure.zero_cost.base import Measure
from nas.measure.zero_cost.jacov import Jacov
from nas.measure.zero_cost.naswot import Naswot
from nas.measure.zero_cost.saliency import GradNorm, Grasp, Snip, Zico
from nas.measure.zero_cost.size import Macs, Params
from nas.measure.zero_cost.synflow import Synflow
from nas.printable import shown

MEASURES: Mapping[str, type[Measure]] = {
    "synflow": Synflow,
    "naswot": Naswot,
    "snip": Snip,
    "grasp": Grasp,
    "jacov": Jacov,
    "zico": Zico,
    "grad_norm": GradNorm,
    "params": Params,
    "macs": Macs,
}
# Reported beside every other measure: they cost nothing and are hard to beat.
SIZES = ("params", "macs")


def find_measure(name: str, key: str, others: Sequence[str] = ()) -> Measure:
    """A measure.

    Args:
        name: of `MEASURES`, or the import path of a class that derives from `Measure`, which is imported.
        key: the setting that names it, for the message.
        others: what else that setting takes.

    Raises:
        ConfigError: there is none of that name, it cannot be imported or made, or it is no measure.
    """
    where = f"{key}={shown(name)}"
    if name in MEASURES:
        return MEASURES[name]()
    require(
        is_import_path(name),
        f"{where}: unknown; known are {', '.join([*others, *MEASURES])}, and import paths such as "
        "mypackage.MyMeasure",
    )
    module, _, attribute = name.rpartition(".")
    try:
        kind = getattr(importlib.import_module(module), attribute, None)
    except (Exception, SystemExit) as error:
        # Whatever somebody's module does while it is imported.
        raise ConfigError(f"{where}: cannot be imported ({_said(error)})") from error
    if not (isinstance(kind, type) and issubclass(kind, Measure)):
        raise ConfigError(f"{where}: must be a class that derives from nas.measure.zero_cost.Measure")
    try:
        return kind()
    except Exception as error:
        # As of the import: somebody's class may ask for arguments, lack its `score`, or do anything.
        raise ConfigError(f"{where}: cannot be made without arguments ({_said(error)})") from error


def _said(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())
