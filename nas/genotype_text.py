"""The text form of cells that are mostly empty: a line of plain words for the blocks of DSO-NAS.

    DSO(block:16[1=sep_conv_3x3(0) 6=max_pool_3x3(1,2)]>1,6; reduce_1:2[1=conv_1x1(0)]>1)

For each cell its name, the number of its nodes, in brackets the nodes that are alive with their operation and
the nodes that feed it, and after `>` the nodes that make the output. A node of several operations joins them
by `+`, and a cell of several inputs has their number before that of its nodes: `cell:2+4[...]`.

Standard library only, and the plain containers of `Genotype.to_dict()["cells"]`.
"""

import re
from collections.abc import Mapping

from nas.errors import ConfigError, require

_NUMBER = "[0-9]{1,4}"
_NUMBERS = f"{_NUMBER}(?:,{_NUMBER})*"
_WORD = "[A-Za-z0-9_]+"
_TERM = rf"{_WORD}\({_NUMBERS}\)"
_CELL = re.compile(rf"({_WORD}):(?:({_NUMBER})\+)?({_NUMBER})\[([^\]]*)\]>({_NUMBERS})")
_NODE = re.compile(rf"({_NUMBER})=({_TERM}(?:\+{_TERM})*)")


def write_dso(cells: Mapping[str, Mapping]) -> str:
    """The text of cells as `Genotype.to_dict` holds them."""
    return f"DSO({'; '.join(_cell_text(name, **cell) for name, cell in cells.items())})"


def _cell_text(name: str, inputs: int, nodes: list[list[dict]], output: list[int]) -> str:
    alive = []
    for node, edges in enumerate(nodes, start=inputs):
        sources: dict[str, list[str]] = {}
        for edge in edges:
            sources.setdefault(edge["operation"], []).append(str(edge["source"]))
        if sources:
            terms = (f"{operation}({','.join(found)})" for operation, found in sources.items())
            alive.append(f"{node}={'+'.join(terms)}")
    before = "" if inputs == 1 else f"{inputs}+"
    return f"{name}:{before}{len(nodes)}[{' '.join(alive)}]>{','.join(map(str, output))}"


def read_dso(text: str) -> dict[str, dict]:
    """Reads what `write_dso` writes; white space between cells and between nodes may be any.

    Whether sources and outputs make sense is left to whoever builds the cells.

    Raises:
        ConfigError: the text is malformed, or a cell or node is there twice or a node outside of its cell.
    """
    whole = re.fullmatch(r"DSO\s*\((.*)\)", text.strip(), re.DOTALL)
    if whole is None:
        raise ConfigError(f"genotype: expected DSO(name:nodes[...]>output; ...), found {text[:60]!r}")
    cells: dict[str, dict] = {}
    for part in whole[1].split(";"):
        name, cell = _read_cell(part.strip())
        require(name not in cells, f"genotype: cell {name[:60]!r} is there twice")
        cells[name] = cell
    return cells


def _read_cell(text: str) -> tuple[str, dict]:
    found = _CELL.fullmatch(text)
    if found is None:
        raise ConfigError(f"genotype: malformed cell {text[:60]!r}, expected name:nodes[...]>output")
    name, inputs, count = found[1], int(found[2] or 1), int(found[3])
    nodes: list[list[dict]] = [[] for _ in range(count)]
    for item in found[4].split():
        match = _NODE.fullmatch(item)
        if match is None:
            raise ConfigError(f"genotype: malformed node {item[:60]!r} of {name}, expected 1=name(0,...)")
        node = int(match[1])
        require(
            inputs <= node < inputs + count,
            f"genotype: {name} has nodes {inputs} to {inputs + count - 1}, but {item[:60]!r} is none of them",
        )
        require(not nodes[node - inputs], f"genotype: node {node} of {name} is there twice")
        for term in match[2].split("+"):
            operation, _, sources = term[:-1].partition("(")
            nodes[node - inputs] += [{"operation": operation, "source": int(s)} for s in sources.split(",")]
    output = [int(node) for node in found[5].split(",")]
    return name, {"inputs": inputs, "nodes": nodes, "output": output}
