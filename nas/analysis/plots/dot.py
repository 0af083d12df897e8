"""A genotype as graphviz text, for those who want to lay it out themselves."""

from nas.analysis.plots.names import FAMILIES, family
from nas.genotype import Genotype


def input_names(inputs: int) -> list[str]:
    """What the inputs of a cell are called: `x`, or `c_{k-2}`, `c_{k-1}` and so on."""
    return ["x"] if inputs == 1 else [f"c_{{k-{inputs - index}}}" for index in range(inputs)]


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "")
    return f'"{escaped}"'


def to_dot(genotype: Genotype) -> str:
    """The graph in the DOT language: one cluster a cell, one line an edge, operation names in full."""
    lines = ["digraph genotype {", "  rankdir=LR;", '  node [shape=circle, fontname="Helvetica"];']
    lines.append('  edge [fontname="Helvetica", fontsize=11];')
    for number, (name, cell) in enumerate(genotype.cells):

        def key(node: int | str, name: str = name) -> str:
            return _quoted(f"{name}/{node}")

        lines.append(f"  subgraph {_quoted(f'cluster_{number}')} {{")
        lines.append(f"    label={_quoted(name)};")
        for index, label in enumerate(input_names(cell.inputs)):
            lines.append(f"    {key(index)} [label={_quoted(label)}, shape=box, style=rounded];")
        for index in range(cell.inputs, cell.inputs + len(cell.nodes)):
            lines.append(f"    {key(index)} [label={_quoted(str(index))}];")
        lines.append(f'    {key("output")} [label="output", shape=box, style=rounded];')
        for target, edge in cell.edges:
            kind = family(edge.operation)
            dotted = ", style=dotted" if kind == "none" else ""
            lines.append(
                f"    {key(edge.source)} -> {key(target)} "
                f'[label={_quoted(edge.operation)}, color="{FAMILIES[kind]}"{dotted}];'
            )
        for node in cell.output:
            lines.append(f'    {key(node)} -> {key("output")} [color="#9a9a9a"];')
        lines.append("  }")
    return "\n".join([*lines, "}"]) + "\n"
