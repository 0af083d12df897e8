"""The cell that a search stood at after an epoch, from its run folder."""

import os
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from torch import Tensor

from nas.engine.genotype_log import FILE, genotype_of_epoch
from nas.errors import ConfigError, require
from nas.genotype import Genotype, place_of
from nas.printable import shown
from nas.reading.csv_text import read_rows
from nas.running.config import instantiate
from nas.running.older import read_now
from nas.running.saved import check_parts, read_config

TABLE = "architecture.csv"


def genotype_at(config: DictConfig, space: Any, reference: Any, epoch: int) -> Genotype:
    """The cell of an epoch, which a search records; of an earlier version's from its op weights.

    Args:
        config: this command's own.
        space: of the genotype.
        reference: what `genotype=` names.
        epoch: from 0, as in the tables of the run folder.

    Raises:
        ConfigError: `reference` is no run folder of a search, has no such epoch, or op weights alone do not
            say what its method would have derived.
    """
    folder, _ = place_of(reference)
    if folder is None or not folder.is_dir():
        raise ConfigError(f"epoch={epoch}: genotype={shown(str(reference))} is no run folder of a search")
    if os.path.lexists(folder / FILE) or not os.path.lexists(folder / TABLE):
        return genotype_of_epoch(folder, epoch)
    where = f"genotype={folder}"
    saved = read_config(folder / "config.yaml", f"{where}: config.yaml")
    check_parts("search", saved, ("method",), config, folder, where)
    relaxation = instantiate(read_now(saved, where).method.relaxation)
    require(
        relaxation.ranks_strengths,
        f"epoch={epoch}: {folder} was written before searches recorded the cell of each epoch ({FILE}), and "
        f"its {TABLE} holds op weights, while derivation ranks something else here "
        f"({type(relaxation).__name__})",
    )
    return space.derive(strengths_at(folder, space, epoch))


def strengths_at(folder: Path, space: Any, epoch: int) -> dict[str, Tensor]:
    """The op weights of an epoch as `architecture.csv` has them: {group: [E, O]}.

    Raises:
        ConfigError: the table is damaged, has no such epoch, or is of another space's edges or operations.
    """
    table = folder / TABLE
    rows = read_rows(table)
    try:
        known = sorted({int(row["epoch"]) for row in rows})
        found = {
            (row["group"], int(row["source"]), int(row["target"]), row["operation"]): float(row["weight"])
            for row in rows
            if int(row["epoch"]) == epoch
        }
    except (KeyError, ValueError) as error:
        raise ConfigError(f"{table}: damaged ({type(error).__name__}: {shown(str(error))})") from error
    recorded = f"{known[0]} to {known[-1]}" if known else "none"
    require(bool(found), f"epoch={epoch}: {table} has epochs {recorded}, counted from 0")
    wanted = {
        name: [
            [(name, *edge, operation) for operation in operations]
            for edge, operations in zip(group.edges, group.operations, strict=True)
        ]
        for name, group in space.groups.items()
    }
    require(
        found.keys() == {key for rows in wanted.values() for row in rows for key in row},
        f"epoch={epoch}: {table} is of other edges or operations than space={space.name} has",
    )
    return {
        name: torch.tensor([[found[key] for key in row] for row in rows]) for name, rows in wanted.items()
    }
