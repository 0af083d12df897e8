"""A page as one HTML file that needs nothing else: style, script and the charts' library are in it.

Charts are Vega-Lite's, whose library vl-convert-python brings as one piece of JavaScript; a page without
charts has none of it. A policy in the page itself allows no request and no script but those two, so that
what a run folder says stays text even where a mistake of ours let it through.
"""

import base64
import hashlib
import re
from collections.abc import Iterator
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from nas.analysis.plots.names import FAMILIES
from nas.errors import require
from nas.pages.blocks import Chart, Charts, Heat, Heats, Page
from nas.pages.heat import level
from nas.pages.library import library

# Bytes of a page; beyond, a phone has trouble.
LARGEST = 3_000_000
# Of FAMILIES, as a dark page has them: each stands out from a dark ground.
ON_DARK = {
    "separable": "#56B4E9",
    "dilated": "#F0844A",
    "pooling": "#35C79A",
    "skip": "#C8CDD3",
    "convolution": "#E79AC6",
    "tanh": "#F0844A",
    "relu": "#35C79A",
    "sigmoid": "#E79AC6",
    "identity": "#56B4E9",
    "activation": "#9AD4F5",
    "other": "#D9A63A",
    "none": "#7d858e",
}


def render(page: Page, template: str = "page.html.j2") -> str:
    """The page as HTML.

    Args:
        page: what it shows.
        template: `page.html.j2`, or `index.html.j2`.

    Raises:
        ConfigError: the page is too large.
    """
    charts = list(_charts(page))
    scripts = [asset("page.js")]
    if charts:
        scripts.insert(0, library())
    numbered = {id(chart): f"chart-{number}" for number, chart in enumerate(charts)}
    text = (
        _environment()
        .get_template(template)
        .render(
            page=page,
            style=Markup(asset("page.css")),
            # Ours, and named by their digests in the page's own policy.
            scripts=[Markup(script) for script in scripts],
            policy=_policy(scripts),
            chart_id=lambda chart: numbered[id(chart)],
            level=_level,
            shown=_shown,
            packed=_packed,
            colours=FAMILIES,
            dark=ON_DARK,
        )
    )
    size = len(text.encode())
    require(
        size <= LARGEST,
        f"report: the page of {page.title} would have {size:,} bytes; at most {LARGEST:,} are written",
    )
    return text


def _level(heat: Heat, row: int, column: int) -> int | None:
    values = heat.values[-1][row]
    return level(heat, values[column], sum(value is not None for value in values))


def _shown(value: float | None) -> str:
    """A field of a map, as the page writes it where the slider moves."""
    if value is None or value == 0:
        return "" if value is None else "0"
    if abs(value) >= 100:
        return f"{value:.0f}"
    if abs(value) < 0.001:
        return re.sub(r"e([-+])0*", r"e\1", f"{value:.0e}")
    return re.sub(r"^(-?)0\.", r"\1.", f"{value:.3f}")


def _packed(heats: Heats) -> dict[str, Any]:
    """What the slider needs."""
    maps = [
        {"values": heat.values, "chosen": heat.chosen, "scale": heat.scale, "end": heat.end}
        for heat in heats.items
    ]
    return {"epochs": list(heats.epochs), "maps": maps}


def _policy(scripts: list[str]) -> str:
    digests = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _charts(page: Page) -> Iterator[Chart]:
    for section in page.sections:
        for block in section.blocks:
            if isinstance(block, Chart):
                yield block
            elif isinstance(block, Charts):
                yield from block.items


def asset(name: str) -> str:
    """A file beside the templates."""
    return _templates().joinpath(name).read_text(encoding="utf-8")


def _templates() -> Any:
    return resources.files("nas.pages").joinpath("templates")


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: asset(Path(name).name)),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["slug"] = lambda text: re.sub(r"[^a-z0-9]+", "-", str(text).lower()).strip("-")
    return environment
