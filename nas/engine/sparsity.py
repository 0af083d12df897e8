"""What a sparse search counts after every epoch."""

from typing import Any

from nas.methods.method import Method
from nas.spaces.space import Space

ALIVE = ("alive", "macs_alive")
SPARSITY = ("epoch", "group", "alive", "of", "macs", "macs_of", "seconds")


def sparsity_rows(space: Space, method: Method, epoch: int) -> list[dict[str, Any]]:
    """What is alive in each group after the cleaning passes, as rows of `sparsity.csv` without `seconds`.

    `alive` of `of` candidates count; `macs` are the multiply-adds of all blocks or cells that share the
    group, of the `macs_of` that they have with every candidate.
    """
    rows = []
    assert method.costs is not None  # `attach` has asked for them
    for name, alive_EO in space.clean(method.alive()).items():
        costs = method.costs[name]
        whole = costs.macs(alive_EO.new_ones(alive_EO.shape))
        rows.append(
            {
                "epoch": epoch,
                "group": name,
                "alive": int(alive_EO.sum()),
                "of": alive_EO.numel(),
                "macs": costs.macs(alive_EO),
                "macs_of": whole,
            }
        )
    return rows


def totals(rows: list[dict[str, Any]]) -> tuple[float, int]:
    """Share of candidates alive, and multiply-adds, of all groups: the values of `ALIVE`."""
    alive, of, macs = (sum(row[key] for row in rows) for key in ("alive", "of", "macs"))
    return alive / of, macs
