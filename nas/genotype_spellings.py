"""Architectures of the same spaces as other frameworks spell them, and what cannot be told from a spelling.

- NAS-Bench-201: its index (`api[123]`), its list of nodes, NNI's dictionary of edges.
- DARTS: NNI's dictionaries, of its one-shot trainers (`normal_n2_p0`) and of its hub (`normal/op_2_0`).

Standard library only. Text is parsed with `ast`, never evaluated.
"""

import ast
import itertools
import json
import random
import re
import warnings
from collections.abc import Mapping
from functools import cache
from typing import Any

from nas.errors import ConfigError, require
from nas.genotype_text import NASBENCH201
from nas.printable import shown

Read = tuple[str, dict[str, dict]]
# In the order in which NAS-Bench-201 numbers and lists them.
OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
EDGES = tuple((source, target) for target in range(1, 4) for source in range(target))
# NNI's one-shot trainers: candidates in their order, by name or position, and what the literature calls them.
ONE_SHOT = {
    "maxpool": "max_pool_3x3",
    "avgpool": "avg_pool_3x3",
    "skipconnect": "skip_connect",
    "sepconv3x3": "sep_conv_3x3",
    "sepconv5x5": "sep_conv_5x5",
    "dilconv3x3": "dil_conv_3x3",
    "dilconv5x5": "dil_conv_5x5",
}
NODES = range(2, 6)


@cache
def _indexed() -> tuple[tuple[str, ...], ...]:
    """The operations of the six edges of every architecture, in the order of NAS-Bench-201's index.

    Its authors list all of them and shuffle the list with Python's generator, seeded 88.
    """
    every = list(itertools.product(OPERATIONS, repeat=len(EDGES)))
    random.Random(88).shuffle(every)
    return tuple(every)


def read_index(text: str) -> Read:
    """The architecture of an index of NAS-Bench-201, 0 to 15624."""
    known = _indexed()
    require(
        int(text) < len(known),
        f"genotype={text}: read as an index of NAS-Bench-201, which has 0 to {len(known) - 1}",
    )
    return _cell(dict(zip(EDGES, known[int(text)], strict=True)))


def operation_name(value: object) -> str:
    """The name itself.

    Raises:
        ConfigError: it is no text, such as None or b'none', or no text form could hold it.
    """
    if not isinstance(value, str):
        raise ConfigError(
            f"genotype: operation {shown(value, 60)} is a {type(value).__name__}; it must be a text"
        )
    require(
        re.fullmatch(r"[\w.]+", value) is not None,
        f"genotype: operation {shown(repr(value), 60)}: must be a name of letters, digits, _ and dots",
    )
    return value


def refuse_numbers(text: str) -> Read:
    """Raises `ConfigError`: numbers alone do not say what they number."""
    raise ConfigError(
        f"genotype: {shown(text, 60)} holds numbers alone; ENAS, NASLib and others number operations and "
        "edges each in an order of their own, so write the operations by their names"
    )


def read_list(text: str) -> Read:
    """The list form of NAS-Bench-201: for each node its [(operation, input), ...].

    Raises:
        ConfigError: it is something else.
    """
    nodes = _constants(text)
    try:
        pairs = [[(operation, source) for operation, source in node] for node in nodes]
    except (TypeError, ValueError):
        pairs = []
    wanted = [[source for source, target in EDGES if target == node] for node in (1, 2, 3)]
    require(
        [[source for _, source in node] for node in pairs] == wanted,
        f"genotype: {shown(text, 60)} is a list, but not that of NAS-Bench-201, which has 3 nodes of 1, 2 "
        "and 3 pairs (operation, input); lists of other spaces do not say which nodes make the output",
    )
    operations = [operation_name(operation) for node in pairs for operation, _ in node]
    return _cell(dict(zip(EDGES, operations, strict=True)))


def read_nni(text: str) -> Read:
    """A dictionary of NNI's.

    Raises:
        ConfigError: it is broken, or of another space.
    """
    found = _constants(text)
    if not isinstance(found, dict) or not all(isinstance(key, str) for key in found):
        raise ConfigError(f"genotype: {shown(text, 60)} is no dictionary of NNI's (its keys must be texts)")
    edges = {key.rpartition("/")[2]: value for key, value in found.items()}
    if {f"{source}_{target}" for source, target in EDGES} <= set(edges):
        names = {name.removeprefix("nor_"): name for name in OPERATIONS}
        chosen = {(i, j): operation_name(edges[f"{i}_{j}"]) for i, j in EDGES}
        return _cell({edge: names.get(name, name) for edge, name in chosen.items()})
    nodes = {
        int(node) for key in found for node in re.findall(r"^(?:normal|reduce)(?:/op_|_n)([0-9]{1,3})_", key)
    }
    require(
        nodes == set(NODES),
        f"genotype: a dictionary of NNI's with nodes {shown(sorted(nodes))}; of its spaces DARTS is read, "
        "with nodes 2 to 5, and NAS-Bench-201 (the others' dictionaries do not say which nodes make the "
        "output)",
    )
    read = _hub_edge if "normal/op_2_0" in found else _one_shot_edges
    cells = {}
    for cell in ("normal", "reduce"):
        try:
            edges_of = [read(found, cell, node) for node in NODES]
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise ConfigError(
                f"genotype: a dictionary of NNI's whose cell {cell} is malformed "
                f"({type(error).__name__}: {shown(str(error))})"
            ) from error
        cells[cell] = {"inputs": 2, "nodes": edges_of, "output": list(NODES)}
    return "darts", cells


def _hub_edge(found: Mapping[str, Any], cell: str, node: int) -> list[dict]:
    edges = []
    for position in (0, 1):
        source = found[f"{cell}/input_{node}_{position}"]
        (source,) = source if isinstance(source, list | tuple) else (source,)
        edges.append({"operation": operation_name(found[f"{cell}/op_{node}_{position}"]), "source": source})
    return edges


def _one_shot_edges(found: Mapping[str, Any], cell: str, node: int) -> list[dict]:
    edges = []
    switch = found[f"{cell}_n{node}_switch"]
    for one in switch:
        # The label of a candidate, or its position.
        label = one if isinstance(one, str) else f"{cell}_n{node}_p{_position(one)}"
        operation = found[label]
        name = operation if isinstance(operation, str) else list(ONE_SHOT)[_position(operation)]
        edges.append({"operation": ONE_SHOT.get(name, name), "source": int(label.rpartition("_p")[2])})
    if len(edges) != 2:
        raise ValueError(f"{cell}_n{node}_switch={switch!r} chooses {len(edges)} inputs, not 2")
    return edges


def _position(value: object) -> int:
    """A place in a list; refuses fractions, truth values and places from the end."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise TypeError(f"{shown(value)} is no position")
    return value


def expression(text: str) -> ast.expr:
    """The tree of one of Python's expressions.

    Of one that is spelt oddly, such as with an escape that stands for nothing, Python would warn.

    Raises:
        SyntaxError, ValueError, RecursionError, MemoryError: it is none.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(text, mode="eval").body


def _constants(text: str) -> Any:
    """Containers as JSON or Python writes them."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        return ast.literal_eval(expression(text))
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError) as error:
        raise ConfigError(
            f"genotype: {shown(text, 60)} is neither JSON nor a constant of Python's"
        ) from error


def _cell(operations: Mapping[tuple[int, int], str]) -> Read:
    nodes = [
        [{"operation": operations[source, target], "source": source} for source in range(target)]
        for target in range(1, 4)
    ]
    return NASBENCH201, {"cell": {"inputs": 1, "nodes": nodes, "output": [3]}}
