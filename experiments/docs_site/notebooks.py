"""A notebook as a page: its text as it is, its code in blocks."""

import json

FENCE = "```"


def as_markdown(text: str, path: str) -> str:
    """The page of a notebook that is stored without outputs.

    Args:
        text: of the .ipynb file.
        path: from the root of the repository, which the page names.
    """
    cells = json.loads(text)["cells"]
    first, *others = (_cell(one) for one in cells)
    return "\n\n".join([first, f"*To run it: `jupyter lab {path}`.*", *others]) + "\n"


def _cell(cell: dict) -> str:
    source = "".join(cell["source"])
    return f"{FENCE}python\n{source}\n{FENCE}" if cell["cell_type"] == "code" else source
