"""How the architectures of each family are written and drawn: the published forms, and one for others.

    Genotype(normal=[('sep_conv_3x3', 0), ...], normal_concat=[2, 3, 4, 5], reduce=..., reduce_concat=...)
    |nor_conv_3x3~0|+|nor_conv_3x3~0|skip_connect~1|+...
    DSO(block:16[1=sep_conv_3x3(0) 6=max_pool_3x3(1,2)]>1,6; reduce_1:2[1=conv_1x1(0)]>1)

The last one serves any family under its name, `DSO` standing for `dso`: for each cell its name, the number of
its nodes, in brackets the nodes that are alive with their operation and the nodes that feed it, and after `>`
the nodes that make the output. A node of several operations joins them by `+`, and a cell of several inputs
has their number before that of its nodes: `cell:2+4[...]`.

Standard library only, and the plain containers of `Genotype.to_dict()["cells"]`. Text is parsed with a
tokeniser or `ast`, never evaluated. Whether sources and outputs make sense is left to whoever builds the
cells.
"""

import ast
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

from nas.errors import ConfigError, require

Cells = Mapping[str, Mapping]

_NUMBER = "[0-9]{1,4}"
_NUMBERS = f"{_NUMBER}(?:,{_NUMBER})*"
_WORD = "[A-Za-z0-9_]+"
_OPERATION = "[A-Za-z0-9_.]+"  # an import path has dots
_TERM = rf"{_OPERATION}\({_NUMBERS}\)"
_CELL = re.compile(rf"({_WORD}):(?:({_NUMBER})\+)?({_NUMBER})\[([^\]]*)\]>({_NUMBERS})")
_NODE = re.compile(rf"({_NUMBER})=({_TERM}(?:\+{_TERM})*)")
_NAMED = re.compile(rf"(DSO)\s*\(|([A-Za-z_]\w*)\(\s*{_WORD}:{_NUMBER}")
DSO, NASBENCH201 = "dso", "nasbench201"
REDUCTION = "reduce_"  # what the names of DSO-NAS's reductions begin with


@dataclass(frozen=True)
class Form:
    """What is said of a family's architectures where there is no space, only a genotype.

    Attributes:
        write: cells as `Genotype.to_dict` holds them -> text.
        drawing: what pictures show: `cells`, whose every edge has a label; `steps`, cells whose node 0 is a
            state that a word and the output of the step before make; `blocks`, level by level.
        heading: of a cell in a picture, its name in place of `{}`.
        reduction: what the names of cells begin with that halve the resolution and, as blocks, have no
            shortcut beside them; None where no cell is told from others by its name.
        tabular: whether the tables of benchmarks list architectures by this text.
    """

    write: Callable[[Cells], str]
    drawing: str = "cells"
    heading: str = "{}"
    reduction: str | None = None
    tabular: bool = False

    def reduces(self, cell: str) -> bool:
        """Whether a cell of that name is a reduction."""
        return self.reduction is not None and cell.startswith(self.reduction)


def is_import_path(operation: str) -> bool:
    """Whether an operation is somebody else's, named by the import path of its class."""
    return "." in operation and all(part.isidentifier() for part in operation.split("."))


def form_of(space: str) -> Form:
    """The form of a family's architectures; under its own name where none was published."""
    return FORMS.get(space) or Form(partial(write_named, space))


def read_form(text: str) -> tuple[str, dict[str, dict]] | None:
    """The space and the cells that a text stands for; None for a text of no form.

    Raises:
        ConfigError: the text is malformed.
    """
    if text.startswith("|"):
        return NASBENCH201, _read_nasbench201(text)
    if re.match(r"Genotype\s*\(", text):
        return _read_literature(text)
    named = _NAMED.match(text)
    return None if named is None else (DSO if named[1] else named[2], read_named(text))


def _write_literature(concat: str, cells: Cells) -> str:
    fields = []
    for name, cell in cells.items():
        pairs = [(edge["operation"], edge["source"]) for node in cell["nodes"] for edge in node]
        fields.append(f"{name}={pairs!r}, {concat.format(name)}={cell['output']!r}")
    return f"Genotype({', '.join(fields)})"


def _read_literature(text: str) -> tuple[str, dict[str, dict]]:
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
        space, pairs_of, inputs, per_node = "darts_rnn", {"recurrent": "concat"}, 1, 1
    else:
        space, inputs, per_node = "darts", 2, 2
        pairs_of = {"normal": "normal_concat", "reduce": "reduce_concat"}
    allowed = {*pairs_of, *pairs_of.values()}
    require(set(fields) == allowed, f"genotype: fields {sorted(fields)} where {sorted(allowed)} are expected")
    cells = {}
    for name, concat in pairs_of.items():
        try:
            edges = [{"operation": str(operation), "source": source} for operation, source in fields[name]]
            output = list(fields[concat])
        except (TypeError, ValueError) as error:
            raise ConfigError(
                f"genotype: {name} must be a list of ('operation', input) pairs ({error})"
            ) from error
        require(len(edges) % per_node == 0, f"genotype: {name} has {len(edges)} edges, not {per_node} a node")
        nodes = [edges[i : i + per_node] for i in range(0, len(edges), per_node)]
        cells[name] = {"inputs": inputs, "nodes": nodes, "output": output}
    return space, cells


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


def _write_nasbench201(cells: Cells) -> str:
    require("cell" in cells, "genotype: a NAS-Bench-201 string is of one cell named 'cell'")
    return "+".join(
        "|" + "".join(f"{edge['operation']}~{edge['source']}|" for edge in node)
        for node in cells["cell"]["nodes"]
    )


def _read_nasbench201(text: str) -> dict[str, dict]:
    nodes = []
    for target, part in enumerate(text.split("+"), start=1):
        match = re.fullmatch(rf"\|((?:{_OPERATION}~{_NUMBER}\|)+)", part)
        if match is None:
            raise ConfigError(f"genotype: malformed NAS-Bench-201 node {part!r}")
        pairs = [item.split("~") for item in match[1][:-1].split("|")]
        require(
            [int(source) for _, source in pairs] == list(range(target)),
            f"genotype: NAS-Bench-201 node {target} must list inputs 0 to {target - 1} in order: {part!r}",
        )
        nodes.append([{"operation": operation, "source": int(source)} for operation, source in pairs])
    return {"cell": {"inputs": 1, "nodes": nodes, "output": [len(nodes)]}}


def write_named(name: str, cells: Cells) -> str:
    """The text of cells under the name of their family."""
    return f"{name}({'; '.join(_cell_text(cell_name, **cell) for cell_name, cell in cells.items())})"


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


def read_named(text: str) -> dict[str, dict]:
    """Reads what `write_named` writes; white space between cells and between nodes may be any.

    Raises:
        ConfigError: the text is malformed, or a cell or node is there twice or a node outside of its cell.
    """
    whole = re.fullmatch(r"\w+\s*\((.*)\)", text.strip(), re.DOTALL)
    family = text.partition("(")[0].strip()
    if whole is None:
        raise ConfigError(f"genotype: expected {family}(name:nodes[...]>output; ...), found {text[:60]!r}")
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


# Space -> how its architectures are written and drawn.
FORMS: Mapping[str, Form] = MappingProxyType(
    {
        "darts": Form(partial(_write_literature, "{}_concat"), heading="{} cell"),
        "darts_rnn": Form(partial(_write_literature, "concat"), drawing="steps", heading="{} cell"),
        DSO: Form(partial(write_named, "DSO"), drawing="blocks", reduction=REDUCTION),
        NASBENCH201: Form(_write_nasbench201, tabular=True),
    }
)
