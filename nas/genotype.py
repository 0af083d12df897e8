"""The result of a search: an immutable description of a network's cells, with JSON and text forms.

Standard library only, so that a genotype can be read, compared and sent anywhere without torch. Text is
parsed, never evaluated.

A cell is a list of nodes in order of computation. Node indices count the cell's inputs first: in a DARTS
cell 0 is the output of cell k-2, 1 that of cell k-1, and 2.. are the intermediate nodes; in NAS-Bench-201 and
recurrent cells 0 is the only input.
"""

import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from types import MappingProxyType

from nas.errors import ConfigError, require
from nas.genotype_reading import WRAPPING, Found, find, listed, named
from nas.genotype_text import Form, form_of
from nas.printable import shown
from nas.reading.files import MEBIBYTE, read_text
from nas.reading.json_text import parse_json
from nas.reading.plain import WHOLE

SCHEMA = 1
# Bytes of a table of architectures; all of NAS-Bench-201 takes 2 MB.
LONGEST = 64 * MEBIBYTE


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

    @property
    def form(self) -> Form:
        """How architectures of this space are written and drawn."""
        return form_of(self.space)

    def to_text(self) -> str:
        """The space's text form: `Genotype(normal=[('op', input), ...], ...)`, `|op~0|+...`, `DSO(...)`."""
        return self.form.write(self.to_dict()["cells"])

    def __str__(self) -> str:
        return self.to_text()


def _index(value: object) -> int:
    """A node index; refuses fractions, words and truth values rather than rounding them."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{shown(value)} is not a whole number")
    if abs(value) >= WHOLE:
        # Python refuses to write down very long numbers, and so would every message about it.
        raise TypeError(f"{shown(value)} is beyond every node")
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


def parse(text: str, which: str | None = None) -> Genotype:
    """Reads the architecture that a text holds: JSON, or whatever `nas.genotype_reading` finds.

    Args:
        text: one architecture, or something that has some in it, such as a log.
        which: where there are several, the name that it is assigned to or the number of its line.

    Raises:
        ConfigError: there is none, it is malformed, or there are several and none was chosen.
    """
    whole = text.strip(WRAPPING)
    found = [] if whole.startswith("{") and '"cells"' in whole else find(text)
    if not found:
        require(
            whole.startswith("{"),
            f"genotype: {whole[:60]!r} holds no architecture: neither JSON, Genotype(...), DSO(...), the "
            "name of another space with (...) nor a NAS-Bench-201 string",
        )
        return from_dict(parse_json(whole, "genotype: broken JSON"))
    return _one_of(found if which is None else named(found, text, which))


def _one_of(found: Sequence[Found]) -> Genotype:
    """The one architecture among them; what cannot be read counts only where nothing can."""
    different: dict[Genotype, Found] = {}
    refused: ConfigError | None = None
    for one in found:
        try:
            space, cells = one.read(one.text)
            different.setdefault(from_dict({"schema": SCHEMA, "space": space, "cells": cells}), one)
        except ConfigError as error:
            refused = refused or error
    if refused is not None and not different:
        raise refused
    require(
        len(different) == 1,
        f"genotype: {len(different)} architectures, {listed(list(different.values()))}; name the one that is "
        "meant by its name or line, after the file and a colon (genotypes.py:DARTS_V2, search.log:120)",
    )
    return next(iter(different))


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
    """Finds a genotype: a run folder, a file, a published name, or the text itself.

    A file with several architectures takes a name or a line after a colon, `genotypes.py:DARTS_V2`.

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
            f"genotype={shown(text)}: it belongs to space {genotype.space!r}, but space={space} was asked "
            f"for, which takes {_taken(space)}"
        )
    return genotype


def load_all(file: str | Path, space: str) -> list[Genotype]:
    """Every architecture in a file, such as a table or a log, each once, in the order of the file.

    Args:
        file: a text with architectures of one space.
        space: name of the space that they must belong to.

    Raises:
        ConfigError: the file holds none, or one that is malformed or of another space.
    """
    where = f"genotypes={file}"
    content = read_text(file, where, LONGEST)
    written = find(content)
    if not written:
        try:
            only = parse(content)
        except ConfigError as error:
            raise ConfigError(f"{where}: {error}") from error
        return [_of_space(only, space, where)]
    found: dict[Genotype, None] = {}
    for one in written:
        line = f"{where}: line {one.line}"
        try:
            family, cells = one.read(one.text)
            genotype = from_dict({"schema": SCHEMA, "space": family, "cells": cells})
        except ConfigError as error:
            raise ConfigError(f"{line}: {error}") from error
        found[_of_space(genotype, space, line)] = None
    return list(found)


def _of_space(genotype: Genotype, space: str, where: str) -> Genotype:
    require(
        genotype.space == space,
        f"{where}: it belongs to space {genotype.space!r}, but space={space} was asked for",
    )
    return genotype


def place_of(reference: str | Path) -> tuple[Path | None, str | None]:
    """What a reference names on this machine, and which of its architectures; (None, None) for nothing.

    Returns:
        The path of a file or folder, as it was written but for `~`; and the name or line after a colon.
    """
    text = os.path.expanduser(str(reference).strip())
    # A genotype's text is no path, whose parts have at most 255 bytes.
    too_long = any(len(part.encode(errors="replace")) > 255 for part in text.split("/"))
    if too_long or "\n" in text or "\0" in text:
        return None, None
    if os.path.lexists(text):
        return Path(text), None
    path, _, which = text.rpartition(":")
    named_in = re.fullmatch(r"\w+", which) is not None and os.path.isfile(path)
    return (Path(path), which) if named_in else (None, None)


def _find(text: str, space: str | None) -> Genotype:
    entries = published().get(text)
    if entries is not None:
        return entries.get(space or "") or next(iter(entries.values()))
    path, which = place_of(text)
    if path is not None:
        return _read(path, which)
    try:
        if find(text) or text.strip(WRAPPING).startswith("{"):
            return parse(text)
    except ConfigError as error:
        raise ConfigError(f"{error}; {_takes(space)}") from error
    raise ConfigError(
        f"genotype={shown(text, 200)}: no such run folder, file or published name; {_takes(space)}"
    )


def _takes(space: str | None) -> str:
    return f"taken are {_taken(None)}" if space is None else f"space={space} takes {_taken(space)}"


def _taken(space: str | None) -> str:
    """What `genotype=` may be for a space, in words."""
    names = [name for name, entries in published().items() if space is None or space in entries]
    known = f", a published name ({', '.join(names)})" if names else ""
    return f"a run folder, a file{known}, or a text such as {form_of(space or 'darts').example}"


def _read(path: Path, which: str | None) -> Genotype:
    file = path / "genotype.json" if path.is_dir() else path
    where = f"genotype={path}"
    require(
        not path.is_dir() or os.path.lexists(file),
        f"{where}: no such run folder, there is no genotype.json in it",
    )
    content = read_text(file, where)
    try:
        return parse(content, which)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error


def check_operations(genotype: Genotype, known: Iterable[str]) -> None:
    """Raises `ConfigError` if the genotype uses an operation that is not among `known`."""
    unknown = sorted(genotype.operations - set(known))
    require(not unknown, f"genotype: unknown operations {unknown}; known are {sorted(known)}")
