"""`python -m nas.protocol plan=true`: how many runs there would be, and what they would take here."""

from collections.abc import Mapping, Sequence

from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table

from nas.analysis.protocols import CALLED
from nas.commands.prices import search_price, training_price
from nas.running.procedure import Step


def print_plan(
    name: str, phases: Sequence[tuple[str, Sequence[Step]]], configs: Mapping[str, DictConfig]
) -> None:
    """Prints the number of runs of each phase times the hours of one, and the sum.

    Of the settings of a grid one is measured: they change no shape.

    Args:
        name: of the protocol, or its row.
        phases: with their runs, in their order.
        configs: name of a run -> its configuration.

    Raises:
        ConfigError: a setting cannot be used.
    """
    table = Table(title=f"plan: {name}")
    for heading in ("phase", "runs", "hours of one", "hours in all", "how that is known"):
        table.add_column(heading, justify="right" if "hours" in heading or heading == "runs" else "left")
    total, known = 0.0, True
    for phase, steps in phases:
        config = configs[steps[0].name]
        seconds, why = search_price(config) if phase == "search" else training_price(config)
        one = whole = ""
        if seconds is None:
            known = False
        else:
            total += len(steps) * seconds
            one, whole = (f"{value / 3600:,.2f}" for value in (seconds, len(steps) * seconds))
        table.add_row(CALLED[phase][1], f"{len(steps):,}", one, whole, why)
    runs = sum(len(steps) for _, steps in phases)
    table.add_section()
    how = "one after the other" if known else "one after the other, without what is not known"
    table.add_row("in all", f"{runs:,}", "", f"{total / 3600:,.2f}", how)
    Console().print(table)
