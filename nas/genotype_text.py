"""How the architectures of each family are written and drawn: the published forms, and one for others.

    Genotype(normal=[('sep_conv_3x3', 0), ...], normal_concat=[2, 3, 4, 5], reduce=..., reduce_concat=...)
    |nor_conv_3x3~0|+|nor_conv_3x3~0|skip_connect~1|+...
    DSO(block:16[1=sep_conv_3x3(0) 6=max_pool_3x3(1,2)]>1,6; reduce_1:2[1=conv_1x1(0)]>1)

The last one serves any family under its name, `DSO` standing for `dso`: for each cell its name, the number of
its nodes, in brackets the nodes that are alive with their operation and the nodes that feed it, and after `>`
the nodes that make the output. A node of several operations joins them by `+`, and a cell of several inputs
has their number before that of its nodes: `cell:2+4[...]`.

Standard library only, and the plain containers of `Genotype.to_dict()["cells"]`. `nas.genotype_reading` reads
what is written here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

from nas.errors import require

Cells = Mapping[str, Mapping]

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
        example: of such a text, for messages.
    """

    write: Callable[[Cells], str]
    example: str
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
    return FORMS.get(space) or Form(partial(write_named, space), f"{space}(cell:1[1=operation(0)]>1)")


def _write_literature(concat: str, per_node: int, cells: Cells) -> str:
    fields = []
    for name, cell in cells.items():
        nodes = [[(edge["operation"], edge["source"]) for edge in node] for node in cell["nodes"]]
        flat = all(len(node) == per_node for node in nodes)
        pairs = [pair for node in nodes for pair in node] if flat else nodes
        fields.append(f"{name}={pairs!r}, {concat.format(name)}={cell['output']!r}")
    return f"Genotype({', '.join(fields)})"


def _write_nasbench201(cells: Cells) -> str:
    require("cell" in cells, "genotype: a NAS-Bench-201 string is of one cell named 'cell'")
    return "+".join(
        "|" + "".join(f"{edge['operation']}~{edge['source']}|" for edge in node)
        for node in cells["cell"]["nodes"]
    )


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


_EXAMPLES = {
    "darts": "Genotype(normal=[('sep_conv_3x3', 0), ('skip_connect', 1), ...], normal_concat=[2, 3, 4, 5], "
    "reduce=[...], reduce_concat=[2, 3, 4, 5])",
    "darts_rnn": "Genotype(recurrent=[('tanh', 0), ('relu', 1), ...], concat=[1, 2, ...])",
    DSO: "DSO(block:16[1=sep_conv_3x3(0) 6=max_pool_3x3(1)]>6; reduce_1:2[1=conv_1x1(0)]>1)",
    NASBENCH201: "|nor_conv_3x3~0|+|none~0|nor_conv_1x1~1|+|skip_connect~0|none~1|avg_pool_3x3~2|",
}
# Space -> how its architectures are written and drawn.
FORMS: Mapping[str, Form] = MappingProxyType(
    {
        "darts": Form(partial(_write_literature, "{}_concat", 2), _EXAMPLES["darts"], heading="{} cell"),
        "darts_rnn": Form(
            partial(_write_literature, "concat", 1),
            _EXAMPLES["darts_rnn"],
            drawing="steps",
            heading="{} cell",
        ),
        DSO: Form(partial(write_named, "DSO"), _EXAMPLES[DSO], drawing="blocks", reduction=REDUCTION),
        NASBENCH201: Form(_write_nasbench201, _EXAMPLES[NASBENCH201], tabular=True),
    }
)
