"""How far one device's costs stand for another's: the columns of `tabular.costs` against each other."""

from pathlib import Path

import numpy as np
from omegaconf import DictConfig
from rich.table import Table

from nas.analysis.cost_table import operations_of
from nas.analysis.plots.transfer import draw_transfer
from nas.analysis.tabular import open_tabular
from nas.analysis.transfer import SHARES, SUFFICES, Transfer, fewest, in_order_of_likeness, transfer
from nas.domains.networks import space_of
from nas.engine.progress import console, watch
from nas.errors import require
from nas.files import write_text
from nas.reading.csv_text import csv_table
from nas.running.config import plain, typed_keys
from nas.running.session import Session

# What this analysis reads of what can be typed.
READ = ("tabular", "space", "dataset", "recipe", "trust", "traceback", "outputs")


def run_devices(config: DictConfig, path: Path) -> None:
    """Correlates the columns of `tabular.costs` as configured; see `conf/rank.yaml`.

    Raises:
        ConfigError: a setting cannot be used, or there are no two columns.
    """
    idle = sorted(key for key in typed_keys() if key.split(".")[0] not in READ)
    idle += [f"tabular.{key}" for key in ("cost", "cost_unit", "budget") if config.tabular[key] is not None]
    require(
        not idle,
        f"{', '.join(idle)}: without effect with tabular.costs, whose columns are ranked against each other",
    )
    space = space_of(config)
    tabular = open_tabular(plain(config.tabular), space.family, config.dataset.name)
    assert tabular is not None and tabular.costs is not None  # tabular.costs has been named
    require(
        tabular.metric is not None,
        "tabular.metric=auto: no column of the table belongs to this data set; set it to one of "
        f"{', '.join(tabular.table.accuracies)}",
    )
    operations = {one for group in space.groups.values() for row in group.operations for one in row}
    archs = [arch for arch in tabular.table.archs if operations_of(arch) <= operations]
    require(len(archs) > 1, f"{tabular.table.source}: has no two architectures of this space to be ranked")
    columns = {
        name: np.array([one.values.get(arch, np.nan) for arch in archs])
        for name, one in tabular.costs.columns.items()
    }
    require(len(columns) >= 2, f"{tabular.costs.source}: has no two columns of costs to be compared")
    heights_N = np.array(tabular.table.column(str(tabular.metric), archs), dtype=float)
    session = Session(config, path)
    session.open(None)

    def work() -> None:
        pairs = [
            transfer(known, target, columns, heights_N)
            for known in watch("comparing", list(columns))
            for target in columns
            if known != target
        ]
        _sum_up(session, list(columns), pairs)

    session.run(work)


def _sum_up(session: Session, names: list[str], pairs: list[Transfer]) -> None:
    """Writes `devices.csv`, draws and prints."""
    percent = [f"{share:.0%}".rstrip("%") for share in SHARES]
    rows = [
        {"known": one.known, "target": one.target, "n": one.n, "spearman": one.spearman}
        | {f"overrun_p{p}": round(value, 6) for p, value in zip(percent, one.overruns, strict=True)}
        | {
            f"regret_p{p}": None if value is None else round(value, 6)
            for p, value in zip(percent, one.regrets, strict=True)
        }
        for one in pairs
    ]
    write_text(session.folder / "devices.csv", csv_table(tuple(rows[0]), rows))
    order, groups = in_order_of_likeness(names, pairs), fewest(names, pairs)
    spearman = {(one.known, one.target): one.spearman for one in pairs}
    draw_transfer(order, spearman, session.folder.figures / "devices.png", session.caption)
    known = sorted(value for value in spearman.values() if value is not None)
    session.summary |= {
        "devices": len(names),
        "spearman_least": known[0] if known else None,
        "spearman_median": known[len(known) // 2] if known else None,
        "tables_needed": len(groups),
    }
    table = Table(title=f"tables that suffice (Spearman at least {SUFFICES})")
    table.add_column("measure this")
    table.add_column("it stands for")
    for name, stands in groups.items():
        table.add_row(name, ", ".join(one for one in stands if one != name) or "itself alone")
    console().print(table)
    met = [regret is not None for one in pairs for regret in one.regrets]
    middle = "" if not known else (
        f" Spearman {known[0]:.2f} to {known[-1]:.2f}, median {known[len(known) // 2]:.2f};"
    )  # fmt: skip
    print(
        f"{len(names)} devices:{middle} what another's table would choose is within the budget in "
        f"{sum(met):,} of {len(met):,} cases"
    )
    print(f"run folder: {session.folder.path}", flush=True)
