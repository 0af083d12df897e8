"""Op weights over the epochs of a search, read from `architecture.csv` and made into maps with a slider."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from nas.analysis.plots.names import short_name
from nas.errors import require
from nas.genotype import Genotype, parse
from nas.pages.blocks import Heat, Heats
from nas.pages.folder import as_number
from nas.printable import shown
from nas.reading.json_text import parse_json
from nas.reading.plain import is_whole

# Values of all maps of a page; of longer searches every so many epochs are left out.
VALUES = 120_000
# Groups that are shown: as many have the spaces of the papers.
GROUPS = 24
# Fields of one map.
FIELDS = 4096
# Ends of the colours around uniform, in powers of 2, as in the pictures of a run folder.
NARROWEST_WIDEST = (0.1, 4.0)


@dataclass
class Group:
    """The op weights of an edge group.

    Attributes:
        name: of the group.
        edges: (source, target) in the order of the file.
        operations: the names of each edge's candidates, in that order.
        weights: epoch -> (row, place in its operations) -> op weight.
    """

    name: str
    edges: list[tuple[int, int]] = field(default_factory=list)
    operations: list[list[str]] = field(default_factory=list)
    weights: dict[int, dict[tuple[int, int], float]] = field(default_factory=dict)

    @property
    def single(self) -> bool:
        """Whether each edge has one candidate, which has nothing to be compared with but other edges."""
        return all(len(names) == 1 for names in self.operations)


def read_groups(rows: Sequence[Mapping[str, str]]) -> list[Group]:
    """The groups of `architecture.csv`.

    Raises:
        ConfigError: a row lacks a column, or holds no numbers where it should.
    """
    result: dict[str, Group] = {}
    places: dict[tuple, tuple[int, int]] = {}
    rows_of: dict[tuple, int] = {}
    for number, row in enumerate(rows, start=2):
        name, operation = row.get("group"), row.get("operation")
        numbers = [as_number(row.get(key) or "") for key in ("epoch", "source", "target", "weight")]
        require(
            name is not None and operation is not None and None not in numbers[:3],
            f"architecture.csv: line {number}: must have epoch, group, source, target, operation and weight",
        )
        epoch, source, target = (int(value or 0) for value in numbers[:3])
        group = result.setdefault(str(name), Group(str(name)))
        edge = (source, target)
        if (name, edge) not in rows_of:
            rows_of[name, edge] = len(group.edges)
            group.edges.append(edge)
            group.operations.append([])
        at = rows_of[name, edge]
        if (name, edge, operation) not in places:
            places[name, edge, operation] = (at, len(group.operations[at]))
            group.operations[at].append(str(operation))
        if numbers[3] is not None:
            group.weights.setdefault(epoch, {})[places[name, edge, operation]] = numbers[3]
    return list(result.values())


def strengths_at(groups: Sequence[Group], epoch: int | None) -> dict[tuple[str, int, int], dict[str, float]]:
    """(group, source, target) -> operation -> op weight, at an epoch; None for the last."""
    strengths: dict[tuple[str, int, int], dict[str, float]] = {}
    for group in groups:
        at = max(group.weights, default=0) if epoch is None else epoch
        for (row, place), value in group.weights.get(at, {}).items():
            edge = strengths.setdefault((group.name, *group.edges[row]), {})
            edge[group.operations[row][place]] = value
    return strengths


def derived(lines: Sequence[str]) -> dict[int, Genotype]:
    """Epoch -> architecture, of `genotypes.jsonl`: a line stands for all epochs until the next one.

    Raises:
        ConfigError: a line holds something else.
    """
    genotypes = {}
    for number, line in enumerate(lines, start=1):
        where = f"genotypes.jsonl: line {number}"
        if number == len(lines) and not line.endswith("}"):
            break  # cut off when the process that wrote it was killed
        given = parse_json(line, where)
        fits = isinstance(given, dict) and is_whole(given.get("epoch"))
        require(
            fits and isinstance(given.get("genotype"), str), f"{where}: must have an epoch and a genotype"
        )
        genotypes[given["epoch"]] = parse(given["genotype"])
    return genotypes


def maps(groups: Sequence[Group], genotypes: Mapping[int, Genotype]) -> Heats | None:
    """Maps of all groups over the epochs; None where there is nothing to show.

    Args:
        groups: of `architecture.csv`.
        genotypes: what each epoch derives; of an epoch without one, that of the epoch before.
    """
    kept = [group for group in groups if group.weights][:GROUPS]
    every = sorted({epoch for group in kept for epoch in group.weights})
    if not every:
        return None
    size = sum(sum(map(len, group.operations)) for group in kept)
    step = max(1, -(-size * len(every) // VALUES))
    epochs = sorted({*every[::step], every[-1]})
    at_epochs = [_before(genotypes, epoch) for epoch in epochs]
    items = [_map(group, epochs, at_epochs) for group in kept]
    scale = "uniform" if all(item.scale == "uniform" for item in items) else "factor"
    legend = (
        "In the middle is the equal share of all candidates of an edge; red is above it, blue below."
        if scale == "uniform"
        else "The stronger the colour, the further the number is from 0: red above, blue below."
    )
    notes = []
    if step > 1:
        notes.append(f"every {step}th of {len(every):,} epochs")
    if len(groups) > len(kept):
        notes.append(f"{len(kept)} of {len(groups)} groups")
    note = f"Shown are {' and '.join(notes)}; all are in architecture.csv." if notes else ""
    return Heats(items, epochs, legend, note)


def _before(genotypes: Mapping[int, Genotype], epoch: int) -> Genotype | None:
    earlier = [e for e in genotypes if e <= epoch]
    return genotypes[max(earlier)] if earlier else None


def _map(group: Group, epochs: Sequence[int], genotypes: Sequence[Genotype | None]) -> Heat:
    if group.single and len(group.edges) > 1:
        return _factors(group, epochs)
    alike = all(names == group.operations[0] for names in group.operations)
    wide = max(len(names) for names in group.operations)
    columns = [short_name(op) for op in group.operations[0]] if alike else [str(i + 1) for i in range(wide)]
    names = None if alike else [[short_name(op) for op in row] for row in group.operations]
    values = [
        [
            [group.weights.get(epoch, {}).get((row, place)) for place in range(wide)]
            for row in range(len(group.edges))
        ]
        for epoch in epochs
    ]
    chosen = [_chosen(group, genotype) for genotype in genotypes]
    scale, end = _scale(values)
    rows = [f"{source}→{target}" for source, target in group.edges]
    return Heat(_title(group.name), rows, columns, names, epochs, _rounded(values), chosen, scale, end)


def _title(name: str) -> str:
    return shown(name.replace("_", " "))


def _factors(group: Group, epochs: Sequence[int]) -> Heat:
    """Factors of connections: a row for each target, a column for each source."""
    sources = sorted({source for source, _ in group.edges})
    targets = sorted({target for _, target in group.edges})
    require(
        len(sources) * len(targets) <= FIELDS,
        f"architecture.csv: {shown(group.name)} has {len(targets)} targets and {len(sources)} sources",
    )
    fed = {target: short_name(group.operations[row][0]) for row, (_, target) in enumerate(group.edges)}
    place = {edge: row for row, edge in enumerate(group.edges)}
    values = []
    for epoch in epochs:
        weights = group.weights.get(epoch, {})
        values.append(
            [[weights.get((place[s, t], 0)) if (s, t) in place else None for s in sources] for t in targets]
        )
    scale, end = _scale(values, factors=True)
    last = targets[-1] if len(sources) > 1 else None
    rows = ["output" if target == last else f"{target} {fed[target]}" for target in targets]
    columns = ["x" if source == 0 else str(source) for source in sources]
    return Heat(
        _title(group.name), rows, columns, None, epochs, _rounded(values), [[] for _ in epochs], scale, end
    )


def _chosen(group: Group, genotype: Genotype | None) -> list[tuple[int, int]]:
    """The fields that the architecture of an epoch has."""
    if genotype is None or group.name not in genotype:
        return []
    place = {edge: row for row, edge in enumerate(group.edges)}
    fields = []
    for target, edge in genotype[group.name].edges:
        row = place.get((edge.source, target))
        if row is not None and edge.operation in group.operations[row]:
            fields.append((row, group.operations[row].index(edge.operation)))
    return fields


def _scale(values: Sequence[Sequence[Sequence[float | None]]], factors: bool = False) -> tuple[str, float]:
    """How the values are coloured, and the end of the colours."""
    flat = [value for epoch in values for row in epoch for value in row if value is not None]
    rows = [[value for value in row if value is not None] for epoch in values for row in epoch]
    shares = not factors and all(
        abs(sum(row) - 1) < 1e-3 and min(row) >= 0 and len(row) > 1 for row in rows if row
    )
    if shares and flat:
        logs = [abs(math.log2(v * len(row))) for row in rows for v in row if v > 0]
        low, high = NARROWEST_WIDEST
        return "uniform", min(max(max(logs, default=0.0), low), high)
    largest = max((abs(value) for value in flat), default=0.0) or 1.0
    return ("signed" if min(flat, default=0.0) < 0 else "positive"), largest


def _rounded(values: Sequence[Sequence[Sequence[float | None]]]) -> list[list[list[float | None]]]:
    """Four digits: what colours and labels show."""
    return [
        [[None if value is None else float(f"{value:.4g}") for value in row] for row in epoch]
        for epoch in values
    ]


def level(heat: Heat, value: float | None, of: int) -> int | None:
    """The step of the colours that a value has, -8 to 8; None for no value.

    The page does the same where the slider moves.
    """
    if value is None:
        return None
    if heat.scale == "uniform":
        ratio = math.log2(value * of) / heat.end if value > 0 else -1.0
    else:
        ratio = value / heat.end
    return round(8 * min(max(ratio, -1.0), 1.0))


def leaders(groups: Sequence[Group]) -> dict[str, list[tuple[float, float]]]:
    """Group -> (epoch, mean over its edges of the largest op weight): how sure the search is."""
    leading: dict[str, list[tuple[float, float]]] = {}
    for group in groups:
        if group.single:
            continue
        points = []
        for epoch, weights in sorted(group.weights.items()):
            best: dict[int, float] = {}
            for (row, _), value in weights.items():
                best[row] = max(best.get(row, value), value)
            if best:
                points.append((float(epoch), sum(best.values()) / len(best)))
        leading[_title(group.name)] = points
    return leading
