"""The result of a search: an immutable description of a network's cells, with JSON and text forms.

Standard library only, so that a genotype can be read, compared and sent anywhere without torch. Text is
parsed with a tokeniser or `ast`, never evaluated.

A cell is a list of nodes in order of computation. Node indices count the cell's inputs first: in a DARTS
cell 0 is the output of cell k-2, 1 that of cell k-1, and 2.. are the intermediate nodes; in NAS-Bench-201 and
recurrent cells 0 is the only input.
"""

import ast
import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from types import MappingProxyType

from nas.errors import ConfigError, require
from nas.genotype_text import read_dso, write_dso
from nas.printable import shown
from nas.reading.files import read_text
from nas.reading.json_text import parse_json

SCHEMA = 1


@dataclass(frozen=True, order=True)
class Edge:
    """One operation applied to the state of one earlier node."""

    source: int
    operation: str


@dataclass(frozen=True)
class Cell:
    """A cell: for every node its incoming edges, and the nodes that make the output.

    Edges of a node are summed, so their order means nothing: they are sorted on construction, as are the
    output nodes, and two equal architectures compare equal.

    Raises:
        ConfigError: an edge starts at its own node or later, or an output node does not exist.
    """

    nodes: tuple[tuple[Edge, ...], ...]
    output: tuple[int, ...]
    inputs: int = 2

    def __post_init__(self):
        object.__setattr__(self, "nodes", tuple(tuple(sorted(edges)) for edges in self.nodes))
        object.__setattr__(self, "output", tuple(sorted(self.output)))
        require(self.inputs >= 1, f"genotype: a cell needs at least one input, not {self.inputs}")
        require(len(self.nodes) >= 1, "genotype: a cell needs at least one node")
        require(len(self.output) >= 1, "genotype: a cell needs at least one output node")
        for target, edges in enumerate(self.nodes, start=self.inputs):
            for edge in edges:
                require(
                    0 <= edge.source < target,
                    f"genotype: node {target} takes input from {edge.source}, but only nodes 0 to "
                    f"{target - 1} come before it",
                )
        last = self.inputs + len(self.nodes) - 1
        for node in self.output:
            require(0 <= node <= last, f"genotype: output node {node} does not exist (0 to {last})")

    @property
    def edges(self) -> tuple[tuple[int, Edge], ...]:
        """All edges with their target node, in order of computation."""
        return tuple((t, e) for t, edges in enumerate(self.nodes, start=self.inputs) for e in edges)

    @property
    def operations(self) -> frozenset[str]:
        """The names of the operations that occur in the cell."""
        return frozenset(edge.operation for _, edge in self.edges)

    def count(self, operation: str) -> int:
        """How many edges carry `operation`."""
        return sum(edge.operation == operation for _, edge in self.edges)


@dataclass(frozen=True)
class Genotype:
    """An architecture: the space that it belongs to and one cell for every edge group of that space.

    Spaces whose candidates differ only in their lists (`s1` to `s4` of `darts`) share the space name of the
    family.
    """

    space: str
    cells: tuple[tuple[str, Cell], ...]

    def __post_init__(self):
        cells = self.cells.items() if isinstance(self.cells, Mapping) else self.cells
        object.__setattr__(self, "cells", tuple(sorted((str(name), cell) for name, cell in cells)))
        names = [name for name, _ in self.cells]
        require(len(names) >= 1, "genotype: no cells")
        require(len(set(names)) == len(names), f"genotype: a cell name occurs twice in {names}")

    def __getitem__(self, group: str) -> Cell:
        return dict(self.cells)[group]

    def __contains__(self, group: str) -> bool:
        return group in dict(self.cells)

    @property
    def operations(self) -> frozenset[str]:
        """The names of all operations that occur."""
        return frozenset().union(*(cell.operations for _, cell in self.cells))

    def to_dict(self) -> dict:
        """Plain containers, as stored in `genotype.json`."""
        cells = {
            name: {
                "inputs": cell.inputs,
                "nodes": [
                    [{"operation": e.operation, "source": e.source} for e in node] for node in cell.nodes
                ],
                "output": list(cell.output),
            }
            for name, cell in self.cells
        }
        return {"schema": SCHEMA, "space": self.space, "cells": cells}

    def to_json(self) -> str:
        """The JSON form, one edge a line."""
        text = json.dumps(self.to_dict(), indent=1)
        return re.sub(
            r"\{\s*\"operation\": (\"[^\"]*\"),\s*\"source\": (\d+)\s*\}",
            r'{"operation": \1, "source": \2}',
            text,
        )

    def to_text(self) -> str:
        """The space's text form: `Genotype(normal=[('op', input), ...], ...)`, `|op~0|+...`, `DSO(...)`."""
        if self.space == "nasbench201":
            return nasbench201_text(self)
        if self.space == "dso":
            return write_dso(self.to_dict()["cells"])
        fields = []
        for name, cell in self.cells:
            pairs = [(edge.operation, edge.source) for _, edge in cell.edges]
            concat = "concat" if name == "recurrent" else f"{name}_concat"
            fields.append(f"{name}={pairs!r}, {concat}={list(cell.output)!r}")
        return f"Genotype({', '.join(fields)})"

    def __str__(self) -> str:
        return self.to_text()


def _index(value: object) -> int:
    """A node index; refuses fractions, words and truth values rather than rounding them."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{shown(value)} is not a whole number")
    return value


def from_dict(data: Mapping) -> Genotype:
    """Reads the containers that `Genotype.to_dict` writes.

    Raises:
        ConfigError: a field is missing, of the wrong kind, or of a newer schema.
    """
    require(isinstance(data, Mapping), f"genotype: expected a JSON object, found {type(data).__name__}")
    require(
        "cells" in data and "space" in data, "genotype: not a genotype file (it lacks 'space' or 'cells')"
    )
    require(
        data.get("schema") == SCHEMA,
        f"genotype: schema {data.get('schema')!r} is unknown, this version reads {SCHEMA}",
    )
    try:
        cells = {
            name: Cell(
                nodes=tuple(
                    tuple(Edge(_index(e["source"]), str(e["operation"])) for e in node)
                    for node in cell["nodes"]
                ),
                output=tuple(_index(node) for node in cell["output"]),
                inputs=_index(cell["inputs"]),
            )
            for name, cell in data["cells"].items()
        }
    except (KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"genotype: malformed cell ({type(error).__name__}: {shown(str(error), 160)})"
        ) from error
    return Genotype(str(data["space"]), tuple(cells.items()))


def parse(text: str) -> Genotype:
    """Reads any text form: JSON, `Genotype(normal=[...], ...)`, `DSO(...)`, or a NAS-Bench-201 string.

    Raises:
        ConfigError: the text is none of them.
    """
    text = text.strip()
    if text.startswith("{"):
        return from_dict(parse_json(text, "genotype: broken JSON"))
    if text.startswith("|"):
        return parse_nasbench201(text)
    if re.match(r"Genotype\s*\(", text):
        return _parse_literature(text)
    if re.match(r"DSO\s*\(", text):
        return from_dict({"schema": SCHEMA, "space": "dso", "cells": read_dso(text)})
    raise ConfigError(
        f"genotype: {text[:60]!r} is neither JSON, Genotype(...), DSO(...) nor a NAS-Bench-201 string"
    )


def _literal(node: ast.expr):
    """A constant expression, where `range(a, b)` is allowed as the literature writes output nodes."""
    if (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "range"
        and not node.keywords
    ):
        bounds = [_literal(argument) for argument in node.args]
        require(
            1 <= len(bounds) <= 2 and all(isinstance(b, int) and abs(b) <= 1000 for b in bounds),
            "genotype: range(...) takes one or two small integers",
        )
        return list(range(*bounds))
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError) as error:
        raise ConfigError(f"genotype: only constants are allowed, found a {type(node).__name__}") from error


def _parse_literature(text: str) -> Genotype:
    try:
        call = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ConfigError(f"genotype: cannot parse {text[:60]!r} ({error})") from error
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.args:
        raise ConfigError("genotype: expected Genotype(name=[...], ...) with keywords only")
    names = [keyword.arg for keyword in call.keywords]
    require(None not in names and len(set(names)) == len(names), f"genotype: fields {names} repeat or unpack")
    fields = {keyword.arg: _literal(keyword.value) for keyword in call.keywords if keyword.arg}
    if "recurrent" in fields:
        allowed, pairs_of, inputs, per_node = {"recurrent", "concat"}, {"recurrent": "concat"}, 1, 1
        space = "darts_rnn"
    else:
        allowed = {"normal", "normal_concat", "reduce", "reduce_concat"}
        pairs_of, inputs, per_node = {"normal": "normal_concat", "reduce": "reduce_concat"}, 2, 2
        space = "darts"
    require(set(fields) == allowed, f"genotype: fields {sorted(fields)} where {sorted(allowed)} are expected")
    cells = {}
    for name, concat in pairs_of.items():
        try:
            edges = [Edge(_index(source), str(operation)) for operation, source in fields[name]]
            output = tuple(_index(node) for node in fields[concat])
        except (TypeError, ValueError) as error:
            raise ConfigError(
                f"genotype: {name} must be a list of ('operation', input) pairs ({error})"
            ) from error
        require(len(edges) % per_node == 0, f"genotype: {name} has {len(edges)} edges, not {per_node} a node")
        nodes = tuple(tuple(edges[i : i + per_node]) for i in range(0, len(edges), per_node))
        cells[name] = Cell(nodes, output, inputs)
    return Genotype(space, tuple(cells.items()))


def parse_nasbench201(text: str) -> Genotype:
    """Reads `|op~0|+|op~0|op~1|+|op~0|op~1|op~2|` (any number of nodes).

    Raises:
        ConfigError: the string is malformed, or a node does not list every earlier node once.
    """
    nodes = []
    for target, part in enumerate(text.strip().split("+"), start=1):
        match = re.fullmatch(r"\|((?:[A-Za-z0-9_]+~[0-9]{1,4}\|)+)", part)
        if match is None:
            raise ConfigError(f"genotype: malformed NAS-Bench-201 node {part!r}")
        edges = [
            Edge(int(source), operation)
            for operation, source in (item.split("~") for item in match[1][:-1].split("|"))
        ]
        require(
            [edge.source for edge in edges] == list(range(target)),
            f"genotype: NAS-Bench-201 node {target} must list inputs 0 to {target - 1} in order: {part!r}",
        )
        nodes.append(tuple(edges))
    return Genotype("nasbench201", (("cell", Cell(tuple(nodes), (len(nodes),), inputs=1)),))


def nasbench201_text(genotype: Genotype) -> str:
    """The NAS-Bench-201 architecture string of a genotype of that space."""
    require("cell" in genotype, f"genotype: space {genotype.space!r} has no NAS-Bench-201 string")
    return "+".join(
        "|" + "".join(f"{edge.operation}~{edge.source}|" for edge in node) for node in genotype["cell"].nodes
    )


@cache
def published() -> Mapping[str, Mapping[str, Genotype]]:
    """The architectures of the literature: name -> space -> genotype (a name may exist in two spaces)."""
    data = json.loads(resources.files("nas").joinpath("published.json").read_text(encoding="utf-8"))
    return MappingProxyType(
        {
            name: MappingProxyType({space: from_dict(entry) for space, entry in entries.items()})
            for name, entries in data.items()
        }
    )


def load(reference: str | Path, space: str | None = None) -> Genotype:
    """Finds a genotype: a run folder, a JSON or text file, a published name, or the text itself.

    Args:
        reference: what the user wrote after `genotype=`.
        space: name of the space that it must belong to; None accepts any (and prefers the convolutional one
            where a published name exists twice).

    Raises:
        ConfigError: nothing is found under that reference, the file is not a genotype, or it is of another
            space.
    """
    text = str(reference).strip()
    genotype = _find(text, space)
    if space is not None and genotype.space != space:
        raise ConfigError(
            f"genotype={text[:80]}: it belongs to space {genotype.space!r}, but space={space} was asked for"
        )
    return genotype


def _find(text: str, space: str | None) -> Genotype:
    entries = published().get(text)
    if entries is not None:
        return entries.get(space or "") or next(iter(entries.values()))
    if text.startswith(("{", "|", "Genotype(", "DSO(")):
        return parse(text)
    try:
        path = Path(text).expanduser()
        if path.is_dir():
            path = path / "genotype.json"
        if os.path.lexists(path):
            return _read(path)
    except (OSError, RuntimeError, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"genotype={text[:80]}: cannot read it ({error})") from error
    names = ", ".join(published())
    raise ConfigError(
        f"genotype={text[:200]}: no such run folder, file or published name (published: {names})"
    )


def _read(path: Path) -> Genotype:
    content = read_text(path, f"genotype={path}")
    try:
        return parse(content)
    except ConfigError as error:
        raise ConfigError(f"genotype={path}: {error}") from error


def check_operations(genotype: Genotype, known: Iterable[str]) -> None:
    """Raises `ConfigError` if the genotype uses an operation that is not among `known`."""
    unknown = sorted(genotype.operations - set(known))
    require(not unknown, f"genotype: unknown operations {unknown}; known are {sorted(known)}")
