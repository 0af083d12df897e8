"""The front of a protocol's searches: what came of each budget, accuracy against cost."""

import logging
from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig

from nas.analysis.protocols import Row
from nas.commands.cost_ranges import LATENCY
from nas.commands.derive_front import Fronts
from nas.errors import ConfigError
from nas.files import subfolder
from nas.reading.json_text import read_object
from nas.running.parts import compose
from nas.running.procedure import Step, looked_up
from nas.running.words import word

log = logging.getLogger(__name__)
# Of the group `tabular`: which cost is the front's is said otherwise.
OTHERWISE = ("tabular.cost", "tabular.cost_unit", "tabular.budget")


def front_of(
    config: DictConfig, folder: Path, rows: Sequence[Row], searches: Sequence[Step], configs: dict
) -> tuple[dict, list[list[str]]] | None:
    """Draws the front of the searches that have finished, where they log one cost and look one accuracy up.

    Writes `front.csv` and `figures/front.png`. A front that cannot be drawn is told, and costs no result.

    Args:
        config: of the protocol.
        folder: of the protocol.
        rows: its runs.
        searches: its searches.
        configs: name of a step -> its configuration.

    Returns:
        What `summary.json` says, and a table whose first row are the headings; None without a front.
    """
    finished = {row.run for row in rows if row.phase == "search" and row.status == "finished"}
    folders = [folder / one.name for one in searches if one.name in finished]
    try:
        told = [read_object(one / "summary.json") for one in folders]
    except ConfigError as error:
        log.warning("no front: %s", error)
        return None
    costs = {str(one.get("cost_of")) for one in told if one.get("cost_of") is not None}
    table = [one.get("table") for one in told]
    judged = all(isinstance(one, dict) and one.get("metric") is not None for one in table)
    if len(folders) < 2 or len(costs) != 1 or not judged:
        return None
    (axis,), unit = costs, told[0].get("cost_unit")
    words = [one for one in looked_up(config) if one.partition("=")[0] not in OTHERWISE]
    words += [f"front={word(axis)}"]
    if isinstance(unit, str):
        words.append(f"tabular.cost_unit={word(unit)}")
    if axis == LATENCY:
        tables = {str(configs[one.name].method.cost.table) for one in searches if one.name in finished}
        if len(tables) > 1:
            log.warning("no front: latencies of %d devices have no common scale", len(tables))
            return None
        words += [f"latency.table={word(one)}" for one in tables]
    try:
        given = compose("derive", words)
        given.trust = config.trust
        fronts = Fronts(given, folders, ())
        caption = f"protocol {config.protocol}: {len(folders)} searches, space {fronts.space.name}"
        numbers = fronts.drawn(folder, subfolder(folder / "figures") / "front.png", caption)
    except ConfigError as error:
        log.warning("no front: %s", error)
        return None
    return numbers, fronts.rows()
