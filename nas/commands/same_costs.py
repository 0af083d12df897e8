"""The costs that a search's objective has, which whatever resumes it is held to.

`costs.json` of a run folder has what each candidate costs, as the method was told by a table of the user's.
That table may lie elsewhere when the search goes on, and hold something else.
"""

import json
import math
import os
from pathlib import Path
from typing import Any

import torch

from nas.errors import ConfigError, require
from nas.methods.cost import COUNTED, ExpectedCost
from nas.reading.json_text import read_object

FILE = "costs.json"
# A fit to a table ends a rounding elsewhere on another machine.
CLOSE = 1e-4


def kept(method: Any) -> dict[str, str]:
    """The file of a run folder, as `Session.open` takes it; none where no table says what candidates cost."""
    cost = _told(method)
    if cost is None:
        return {}
    shares = {group: share_EO.tolist() for group, share_EO in cost.shares.items()}
    return {FILE: json.dumps({"of": cost.of, "scale": cost.scale, "shares": shares}) + "\n"}


def check_same(folder: Path, method: Any) -> None:
    """Refuses to continue a search whose candidates cost something else now.

    Folders of earlier versions say nothing.

    Raises:
        ConfigError: they do, or `costs.json` is damaged.
    """
    path = folder / FILE
    cost = _told(method)
    if cost is None or not os.path.lexists(path):
        return
    begun = read_object(path)
    try:
        scale = float(begun["scale"])
        before = {str(group): torch.tensor(rows).double() for group, rows in begun["shares"].items()}
    except (KeyError, AttributeError, TypeError, ValueError, RuntimeError) as error:
        raise ConfigError(f"{path}: damaged ({error}); shares must be numbers [E, O] a group") from error
    alike = begun.get("of") == cost.of and math.isclose(scale, cost.scale or 0.0, rel_tol=CLOSE)
    same = (
        alike
        and before.keys() == cost.shares.keys()
        and all(
            before[group].shape == now_EO.shape
            and torch.allclose(before[group], now_EO.cpu(), rtol=CLOSE, atol=CLOSE)
            for group, now_EO in cost.shares.items()
        )
    )
    where = "method.cost.table" if cost.of == "latency" else "tabular"
    require(
        same,
        f"{path}: the search began with other costs of {cost.of!r} than {where} holds now, and they are its "
        "objective; name the table (or surrogate) that it began with, or begin a new run",
    )


def _told(method: Any) -> ExpectedCost | None:
    """The cost of the objective where a table has said it; what is counted is the space's own."""
    cost = getattr(method, "cost", None)
    return cost if cost is not None and cost.of not in COUNTED and cost.shares else None
