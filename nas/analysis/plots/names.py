"""How an operation is called and coloured in a picture."""

import re
from typing import Any

from nas.genotype_text import is_import_path

INK = "#222222"
FAINT = "#9a9a9a"

# Okabe and Ito's palette, which stays distinct under the common kinds of colour blindness.
FAMILIES = {
    "separable": "#0072B2",
    "dilated": "#D55E00",
    "pooling": "#009E73",
    "skip": "#444444",
    "convolution": "#CC79A7",
    "tanh": "#D55E00",
    "relu": "#009E73",
    "sigmoid": "#CC79A7",
    "identity": "#0072B2",
    "activation": "#56B4E9",
    "other": "#B8860B",
    "none": FAINT,
}

LINE_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#444444", "#8A6D00")
LINE_DASHES = ("-", "--", ":", "-.")

TIMES = "\u00d7"

_PREFIXES = (("sep_conv", "separable"), ("dil_sep", "dilated"), ("dil_conv", "dilated"))
# The candidates of recurrent cells: few enough to have a colour each, in every picture the same.
_CANDIDATES = frozenset({"tanh", "relu", "sigmoid", "identity"})
_ACTIVATIONS = frozenset({"elu", "gelu", "silu", "swish", "leaky_relu"})


def family(operation: str) -> str:
    """The family (a key of `FAMILIES`) that decides an operation's colour."""
    if is_import_path(operation):
        return "other"
    name = operation.lower()
    if name in {"none", "zero", "zeroize"}:
        return "none"
    if name.startswith("skip"):
        return "skip"
    if name in _CANDIDATES:
        return name
    if name in _ACTIVATIONS:
        return "activation"
    for prefix, kind in _PREFIXES:
        if name.startswith(prefix):
            return kind
    if "pool" in name:
        return "pooling"
    if "sep" in name.split("_"):
        return "separable"
    return "convolution" if "conv" in name else "other"


def short_name(operation: str) -> str:
    """A name that fits on an arrow: "sep 3x3" for `sep_conv_3x3`; unknown names keep their words.

    Of an import path it is the name of the class.
    """
    if is_import_path(operation):
        return operation.rpartition(".")[2]
    if operation == "skip_connect":
        return "skip"
    # An escaped dollar sign keeps matplotlib from reading a name as a formula.
    words = re.sub(r"(?<=\d)x(?=\d)", TIMES, operation.replace("$", r"\$")).split("_")
    kept = [word for word in words if word not in {"conv", "pool"}]
    sized = any(TIMES in word for word in words)
    if kept and kept[0] == "nor":
        kept[0] = "conv"
    if not sized or not kept[0].isalpha():
        kept = words
    return " ".join(kept)


def line_style(index: int, operation: str) -> dict[str, Any]:
    """Line keywords for the `index`-th operation of a legend; `none` is always the faint dotted line."""
    if family(operation) == "none":
        return {"color": FAINT, "linestyle": ":"}
    if family(operation) in _CANDIDATES:
        return {"color": FAMILIES[family(operation)], "linestyle": "-"}
    dash = LINE_DASHES[index // len(LINE_COLOURS) % len(LINE_DASHES)]
    return {"color": LINE_COLOURS[index % len(LINE_COLOURS)], "linestyle": dash}
