"""Equations as MathML, which browsers draw themselves; a code host draws the same blocks."""

from typing import Any

from latex2mathml.converter import convert


def fence(source: str, *_: Any, **__: Any) -> str:
    """A block ```math of a page as HTML."""
    return f'<div class="equation">{convert(source, display="block")}</div>'
