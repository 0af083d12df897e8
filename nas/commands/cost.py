"""`python -m nas.cost`: parameters and multiply-adds of a genotype's network, without training or data."""

import json
from pathlib import Path

from omegaconf import DictConfig

from nas.domains.choose import of_space
from nas.domains.networks import check_sizes, cost_of, genotype_of, size_overrides, space_of
from nas.errors import require, require_one_of


def run(config: DictConfig, path: Path) -> None:
    """Prints the cost as a table or as one JSON object.

    Raises:
        ConfigError: the genotype or a size cannot be used.
    """
    require(config.genotype is not None, "genotype=null: name a run folder, a file or a published genotype")
    require_one_of("format", config.format, ("table", "json"))

    space = space_of(config)
    genotype = genotype_of(config, space, config.genotype, config.epoch)
    check_sizes(config, space)
    cost = cost_of(config, space, genotype)
    if config.format == "json":
        print(
            json.dumps({"params": cost.params, "params_auxiliary": cost.params_auxiliary, "macs": cost.macs})
        )
        return
    from rich.console import Console
    from rich.table import Table

    title = ", ".join([config.dataset.name, *size_overrides(config, space)])
    table = Table(title=title, show_footer=True)
    table.add_column("part", footer="total without auxiliary head")
    table.add_column("parameters", justify="right", footer=f"{cost.params:,}")
    table.add_column(f"multiply-adds per {of_space(space).unit}", justify="right", footer=f"{cost.macs:,}")
    for name, params, macs in cost.parts:
        note = " (training only)" if name == "auxiliary" else ""
        table.add_row(name + note, f"{params:,}", f"{macs:,}")
    console = Console()
    console.print(str(genotype), highlight=False, soft_wrap=True)
    console.print(table)
