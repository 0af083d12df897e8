"""A genotype as graphviz text, for those who want to lay it out themselves."""

from nas.analysis.plots.names import FAMILIES, family
from nas.genotype import Genotype


def input_names(inputs: int) -> list[str]:
    """What the inputs of a cell are called: `x`, or `c_{k-2}`, `c_{k-1}` and so on."""
    return ["x"] if inputs == 1 else [f"c_{{k-{inputs - index}}}" for index in range(inputs)]


# The word of this time step and the output of the one before, which make the first state of a recurrent cell.
RECURRENT_INPUTS = ("x_t", "h_{t-1}")
RECURRENT_OUTPUT = "h_t"
# What the first state is made by; it is given and no choice of a search.
FIRST_STATE = "tanh"


def is_recurrent(genotype: Genotype) -> bool:
    """Whether its cell is run through step by step, and its node 0 is a state rather than an input."""
    alone = genotype.operations == {"lstm"}
    return genotype.form.drawing == "steps" and not alone and all(c.inputs == 1 for _, c in genotype.cells)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "")
    return f'"{escaped}"'


def to_dot(genotype: Genotype) -> str:
    """The graph in the DOT language: one cluster per cell, one line per edge, operation names in full."""
    lines = ["digraph genotype {", "  rankdir=LR;", '  node [shape=circle, fontname="Helvetica"];']
    lines.append('  edge [fontname="Helvetica", fontsize=11];')
    recurrent = is_recurrent(genotype)
    output = f"{RECURRENT_OUTPUT} (mean)" if recurrent else "output"
    for number, (name, cell) in enumerate(genotype.cells):

        def key(node: int | str, name: str = name) -> str:
            return _quoted(f"{name}/{node}")

        lines.append(f"  subgraph {_quoted(f'cluster_{number}')} {{")
        lines.append(f"    label={_quoted(name)};")
        inputs: dict[int | str, str] = dict(enumerate(input_names(cell.inputs)))
        if recurrent:
            inputs = {label: label for label in RECURRENT_INPUTS}
        for item, label in inputs.items():
            lines.append(f"    {key(item)} [label={_quoted(label)}, shape=box, style=rounded];")
        for index in range(0 if recurrent else cell.inputs, cell.inputs + len(cell.nodes)):
            lines.append(f"    {key(index)} [label={_quoted(str(index))}];")
        lines.append(f"    {key('output')} [label={_quoted(output)}, shape=box, style=rounded];")
        for item in RECURRENT_INPUTS if recurrent else ():
            lines.append(f'    {key(item)} -> {key(0)} [label={_quoted(FIRST_STATE)}, color="#9a9a9a"];')
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
