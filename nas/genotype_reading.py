"""The architectures that a text holds: the one place that says what is read as one.

A text is one architecture as it was written (see `nas.genotype_text`), or anything that has some in it: lines
of a log, assignments of a Python file, a table. Text is parsed with a tokeniser or `ast`, never evaluated.
Whether sources and outputs make sense is left to whoever builds the cells.

Standard library only.
"""

import ast
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from nas.errors import ConfigError, require
from nas.genotype_spellings import (
    Read,
    expression,
    operation_name,
    read_index,
    read_list,
    read_nni,
    refuse_numbers,
)
from nas.genotype_text import DSO, FORMS, NASBENCH201, form_of
from nas.printable import shown

# What stands around a text that was copied: a byte-order mark, quotes, the end of a line of Python.
WRAPPING = "\ufeff \t\r\n'\"`,;"
# A number of numpy's, as logs of today show it.
_NUMPY = re.compile(r"\b(?:np|numpy)\.int(?:8|16|32|64)\(([0-9]{1,4})\)")
_NUMBER = "[0-9]{1,4}"
_NUMBERS = f"{_NUMBER}(?:,{_NUMBER})*"
_WORD = "[A-Za-z0-9_]+"
_OPERATION = "[A-Za-z0-9_.]+"  # an import path has dots
_TERM = rf"{_OPERATION}\({_NUMBERS}\)"
_CELL = re.compile(rf"({_WORD}):(?:({_NUMBER})\+)?({_NUMBER})\[([^\]]*)\]>({_NUMBERS})")
_NODE = re.compile(rf"({_NUMBER})=({_TERM}(?:\+{_TERM})*)")
# Bounded, so that no text takes long.
_EDGES = rf"\|(?>(?:[ \t]{{0,9}}{_OPERATION}[ \t]{{0,9}}~[ \t]{{0,9}}{_NUMBER}[ \t]{{0,9}}\|){{1,16}})"
_BEGINNING = re.compile(
    r"(?<![\w.])(?:"
    r"(?P<literature>(?:\w+\.)?Genotype\s*\()"
    rf"|(?P<named>DSO\s*\(|[A-Za-z_]\w*\(\s*{_WORD}:{_NUMBER})"
    r"|(?P<nni>\{\s*[\"'](?:(?:normal|reduce)(?:/|_n)|(?:\w+/)?0_1[\"']))"
    rf"|(?<![+|~])(?P<string>(?>{_EDGES}(?:\s{{0,9}}\+\s{{0,9}}{_EDGES}){{0,15}}))"
    r"(?!\s{0,9}\+|[ \t]{0,9}[|\w~]))"
)
_ASSIGNED = re.compile(r"([A-Za-z_]\w*)[\"']?\s*(?::\s*\w+\s*)?[:=]\s*[\"'(\[]*$")
_PAIRS = {"(": ")", "[": "]", "{": "}"}


@dataclass(frozen=True)
class Found:
    """One architecture in a text.

    Attributes:
        name: what it is assigned to; None for nothing.
        line: in which it begins, from 1.
        text: how it is written there.
        read: text -> its space and cells, as `Genotype.to_dict` holds them; raises `ConfigError`.
    """

    name: str | None
    line: int
    text: str
    read: Callable[[str], Read]


def find(text: str) -> list[Found]:
    """The architectures in a text, in order; none where there are none. None of them has been read.

    JSON of this project is not among them: that is `nas.genotype`'s.
    """
    found = _search(text)
    if found:
        return found
    whole = text.strip(WRAPPING)
    if whole.startswith("|"):
        return [Found(None, 1, whole, _read_nasbench201)]
    if re.fullmatch(r"[0-9]{1,5}", whole):
        return [Found(None, 1, whole, read_index)]
    if re.fullmatch(r"[\s0-9,()\[\]]{1,2000}", whole):
        return [Found(None, 1, whole, refuse_numbers)]
    if whole.startswith(("[", "(")):
        return [Found(None, 1, whole, read_list)]
    return []


def _search(text: str) -> list[Found]:
    found, place, line, counted = [], 0, 1, 0
    while (match := _BEGINNING.search(text, place)) is not None:
        kind, start = str(match.lastgroup), match.start()
        place = match.end() if kind == "string" else _end(text, start)
        line += text.count("\n", counted, start)
        counted = start
        before = text[max(0, start - 100) : start]
        if re.search(r"\b(?:class|def)\s+$", before) is None:
            name = _ASSIGNED.search(before)
            found.append(Found(name[1] if name else None, line, text[start:place], _READERS[kind]))
    return found


def _end(text: str, start: int) -> int:
    """The place behind the bracket that closes the first one from `start` on; of the text, if none does."""
    waiting: list[str] = []
    quote = ""
    for place in range(start, len(text)):
        one = text[place]
        if quote:
            quote = "" if one == quote else quote
        elif one in "'\"":
            quote = one
        elif one == "#":
            quote = "\n"
        elif one in _PAIRS:
            waiting.append(_PAIRS[one])
        elif waiting and one == waiting[-1]:
            waiting.pop()
            if not waiting:
                return place + 1
    return len(text)


def named(found: Sequence[Found], text: str, which: str) -> list[Found]:
    """Those that bear a name, or begin in the line of that number; `A = B` in the text is followed.

    Raises:
        ConfigError: there is none.
    """
    chosen = which
    for _ in range(8):
        taken = [one for one in found if chosen in (one.name, str(one.line))]
        alias = re.search(
            rf"^[ \t]*{re.escape(chosen)}[ \t]*=[ \t]*([A-Za-z_]\w*)[ \t]*(?:#.*)?$", text, re.MULTILINE
        )
        if taken or alias is None:
            break
        chosen = alias[1]
    require(
        bool(taken), f"genotype: none is called {which} or begins in that line; there are {listed(found)}"
    )
    return taken


def listed(found: Sequence[Found], most: int = 10) -> str:
    """Architectures by name and line."""
    words = [f"line {one.line}" if one.name is None else f"{one.name} (line {one.line})" for one in found]
    left = len(words) - most
    return ", ".join(words) if left <= 0 else f"{', '.join(words[: most - 1])}, ... {words[-1]}"


def _read_literature(text: str) -> Read:
    try:
        call = expression(_NUMPY.sub(r"\1", text))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ConfigError(f"genotype: cannot parse {text[:60]!r} ({error})") from error
    if not isinstance(call, ast.Call) or call.args:
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
            nodes, output = _nodes(fields[name], per_node, name), list(fields[concat])
        except (TypeError, ValueError) as error:
            raise ConfigError(
                f"genotype: {name} must be a list of ('operation', input) pairs ({error})"
            ) from error
        cells[name] = {"inputs": inputs, "nodes": nodes, "output": output}
    return space, cells


def _nodes(pairs: Any, per_node: int, name: str) -> list[list[dict]]:
    """The edges of every node: of a list of pairs so many each, or of a list of such lists."""
    nested = len(pairs) > 0 and all(
        isinstance(one, list | tuple) and not any(isinstance(part, str) for part in one) for one in pairs
    )
    if nested:
        return [[_edge(*pair) for pair in node] for node in pairs]
    edges = [_edge(*pair) for pair in pairs]
    require(len(edges) % per_node == 0, f"genotype: {name} has {len(edges)} edges, not {per_node} per node")
    return [edges[i : i + per_node] for i in range(0, len(edges), per_node)]


def _edge(operation: object, source: object) -> dict:
    return {"operation": operation_name(operation), "source": source}


def _literal(node: ast.expr):
    """A constant expression, where `range(a, b)` is allowed as the literature writes output nodes."""
    if (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in ("range", "list")
        and not node.keywords
    ):
        bounds = [_literal(argument) for argument in node.args]
        if node.func.id == "list" and len(bounds) == 1 and isinstance(bounds[0], list):
            return bounds[0]
        require(
            1 <= len(bounds) <= 2 and all(isinstance(b, int) and abs(b) <= 1000 for b in bounds),
            "genotype: range(...) takes one or two small integers",
        )
        return list(range(*bounds))
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError) as error:
        raise ConfigError(f"genotype: only constants are allowed, found a {type(node).__name__}") from error


def _read_nasbench201(text: str) -> Read:
    nodes = []
    for target, part in enumerate(re.sub(r"[ \t\r\n]+", "", text).split("+"), start=1):
        match = re.fullmatch(rf"\|((?:{_OPERATION}~{_NUMBER}\|)+)", part)
        if match is None:
            raise ConfigError(f"genotype: malformed NAS-Bench-201 node {part[:200]!r}")
        pairs = [item.split("~") for item in match[1][:-1].split("|")]
        require(
            [int(source) for _, source in pairs] == list(range(target)),
            f"genotype: NAS-Bench-201 node {target} must list inputs 0 to {target - 1} in order: {part!r}",
        )
        nodes.append([{"operation": operation, "source": int(source)} for operation, source in pairs])
    return NASBENCH201, {"cell": {"inputs": 1, "nodes": nodes, "output": [len(nodes)]}}


def _read_named(text: str) -> Read:
    """What `nas.genotype_text.write_named` writes; white space between cells and between nodes may be any.

    Raises:
        ConfigError: the text is malformed, of a family of another form, or a cell or node is there twice or a
            node outside of its cell.
    """
    whole = re.fullmatch(r"\w+\s*\((.*)\)", text.strip(), re.DOTALL)
    family = text.partition("(")[0].strip()
    if whole is None:
        raise ConfigError(f"genotype: expected {family}(name:nodes[...]>output; ...), found {text[:60]!r}")
    space = {"DSO": DSO}.get(family, family)
    # Else it would be written in that form, which holds less.
    require(
        space == DSO or space not in FORMS,
        f"genotype: {shown(text, 60)}: architectures of {family} have a form of their own, such as "
        f"{form_of(space).example}",
    )
    cells: dict[str, dict] = {}
    for part in whole[1].split(";"):
        name, cell = _read_cell(part.strip())
        require(name not in cells, f"genotype: cell {name[:60]!r} is there twice")
        cells[name] = cell
    return space, cells


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


_READERS = {
    "literature": _read_literature,
    "named": _read_named,
    "nni": read_nni,
    "string": _read_nasbench201,
}
