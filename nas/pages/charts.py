"""Charts in Vega-Lite, built with Altair: lines, bands, dots and points.

Names that a file gave are values of the data and never fields or expressions, which Vega would interpret.
Ink is `currentColor`, so that a dark page and a printed one need no other chart.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from typing import Any

from nas.analysis.plots.names import LINE_COLOURS
from nas.pages.blocks import Chart, Column, Table, number, words
from nas.pages.forms import digits

# Points of all lines of a chart; beyond, every so many are left out.
POINTS = 6000
# Rows of the table behind a chart.
ROWS = 400
TICKS = 7
HEIGHT = 220
# Classes of a map whose fields have their counts.
NUMBERED = 20
INK = "currentColor"
# Vega measures texts on a canvas, which knows no inherited font.
FONT = "system-ui, -apple-system, Segoe UI, Roboto, Helvetica Neue, Arial, sans-serif"
DASHES = ([1, 0], [6, 3], [2, 2], [8, 3, 2, 3])

Series = Mapping[str, Sequence[tuple[float, float]]]


def _config() -> dict[str, Any]:
    axis = {
        "domainColor": INK, "domainOpacity": 0.5, "gridColor": INK, "gridOpacity": 0.12, "labelColor": INK,
        "tickColor": INK, "tickOpacity": 0.5, "titleColor": INK, "titleFontWeight": "normal",
        "labelFontSize": 11, "titleFontSize": 12, "labelLimit": 260,
    }  # fmt: skip
    return {
        "background": "transparent",
        "font": FONT,
        "axis": axis,
        "legend": {
            "labelColor": INK, "titleColor": INK, "orient": "top", "labelFontSize": 12, "title": None,
            "labelLimit": 300, "columns": 2, "symbolStrokeWidth": 2.5,
        },
        "view": {"stroke": None},
        "range": {"category": list(LINE_COLOURS)},
    }  # fmt: skip


def _spec(chart: Any, height: int = HEIGHT) -> dict[str, Any]:
    import altair as alt

    sized = chart.properties(
        width="container", height=height, autosize=alt.AutoSizeParams(type="fit-x", contains="padding")
    )
    # Altair has checked each part as it was made.
    spec = sized.to_dict(validate=False)
    spec["config"] = _config()
    spec.pop("$schema", None)
    return spec


def _data(rows: Sequence[Mapping[str, Any]]) -> Any:
    import altair as alt

    return alt.Data(values=list(rows))


def _thinned(points: Sequence[tuple[float, float]], most: int) -> list[tuple[float, float]]:
    step = -(-len(points) // max(most, 2))
    kept = list(points[::step]) if step > 1 else list(points)
    return kept if not points or kept[-1] == points[-1] else [*kept, points[-1]]


def _scale(log: bool, values: Sequence[float]) -> Any:
    import altair as alt

    if log:
        return alt.Scale(type="log")
    if values and min(values) == max(values):
        # An axis of one number has no ticks that say which.
        room = abs(values[0]) / 2 or 1.0
        return alt.Scale(domain=[values[0] - room, values[0] + room])
    return alt.Scale(zero=False)


def _whole(places: Sequence[float]) -> Any:
    """An axis that ticks at a few whole numbers."""
    import altair as alt

    low, high = math.floor(min(places, default=0)), math.ceil(max(places, default=0))
    step = next(step for step in _steps() if (high - low) / step <= TICKS)
    first = -(-low // step) * step
    return alt.Axis(values=list(range(first, high + 1, step)), format="d")


def _steps() -> Iterator[int]:
    """1, 2, 5, 10, 20, ..."""
    return (factor * 10**power for power in count() for factor in (1, 2, 5))


def _colours(names: Sequence[str], colours: Sequence[str] | None) -> dict[str, Any]:
    import altair as alt

    given = colours or [LINE_COLOURS[i % len(LINE_COLOURS)] for i in range(len(names))]
    legend = None if len(names) < 2 else alt.Legend(symbolType="stroke", symbolSize=260, symbolOpacity=1)
    sort = list(names)
    encodings: dict[str, Any] = {
        "color": alt.Color("s:N", scale=alt.Scale(domain=sort, range=list(given)), legend=legend)
    }
    if len(names) > 1:
        dashes = [DASHES[i % len(DASHES)] for i in range(len(names))]
        scale = alt.Scale(domain=sort, range=dashes)
        encodings["strokeDash"] = alt.StrokeDash("s:N", scale=scale, legend=legend)
    return encodings


def lines(
    title: str,
    series: Series,
    x: str,
    y: str,
    log: bool = False,
    colours: Sequence[str] | None = None,
    whole: bool = True,
    table: bool = True,
) -> Chart:
    """Values over epochs or steps, a line for each name.

    Args:
        title: of the chart, with its unit.
        series: name -> (x, y) in order; finite.
        x: what runs along.
        y: what is shown, with its unit.
        log: whether y is logarithmic.
        colours: one for each name; None for the usual ones.
        whole: whether x ticks at whole numbers only.
        table: whether the numbers are to be had as a table.
    """
    import altair as alt

    names = list(series)
    most = POINTS // max(1, len(names))
    kept = {name: _thinned(points, most) for name, points in series.items()}
    rows: list[dict[str, Any]] = [
        {"x": a, "y": b, "s": name, "v": digits(b)}
        for name, points in kept.items()
        for a, b in points
        if not log or b > 0
    ]
    ends = max((len(points) for points in kept.values()), default=0)
    axis = _whole([a for points in kept.values() for a, _ in points]) if whole else alt.Axis()
    tips = [
        alt.Tooltip("s:N", title="of"),
        alt.Tooltip("x:Q", title=x),
        alt.Tooltip("v:N", title="value"),
    ]
    base = alt.Chart(_data(rows)).encode(
        x=alt.X("x:Q", title=x, axis=axis, scale=alt.Scale(zero=False, nice=False)),
        y=alt.Y("y:Q", title=y, scale=_scale(log, [row["y"] for row in rows])),
        **_colours(names, colours),
    )
    points = base.mark_point(filled=True, size=28 if ends <= 40 else 12, opacity=1).encode(
        tooltip=tips, strokeDash=alt.value([1, 0])
    )
    chart = base.mark_line(strokeWidth=2) + points
    numbers = _line_table(title, kept, x) if table else None
    return Chart(title, _spec(chart), f"{title} over {x}: {_ends(kept)}", numbers)


def bands(
    title: str,
    series: Mapping[str, Sequence[tuple[float, float, float, float]]],
    x: str,
    y: str,
    whole: bool = True,
) -> Chart:
    """Means over several runs with a band around them.

    Args:
        title: of the chart.
        series: name -> (x, mean, lower, upper) in order.
        x: what runs along.
        y: what is shown, with its unit.
        whole: whether x ticks at whole numbers only.
    """
    import altair as alt

    names = list(series)
    rows = [
        {
            "x": a,
            "y": mean,
            "l": low,
            "u": up,
            "s": name,
            "v": f"{digits(mean)} ({digits(low)} to {digits(up)})",
        }
        for name, points in series.items()
        for a, mean, low, up in points
    ]
    axis = _whole([a for points in series.values() for a, *_ in points]) if whole else alt.Axis()
    x_axis = alt.X("x:Q", title=x, axis=axis, scale=alt.Scale(zero=False, nice=False))
    coded = _colours(names, None)
    base = alt.Chart(_data(rows)).encode(x=x_axis, **coded)
    area = {"x": x_axis, "color": coded["color"]}
    band = (
        alt.Chart(_data(rows))
        .mark_area(opacity=0.16)
        .encode(y=alt.Y("l:Q", title=y, scale=alt.Scale(zero=False)), y2="u:Q", **area)
    )
    tips = [alt.Tooltip("s:N", title="of"), alt.Tooltip("x:Q", title=x), alt.Tooltip("v:N", title="mean")]
    line = base.mark_line(strokeWidth=2).encode(y=alt.Y("y:Q", title=y))
    points = base.mark_point(filled=True, size=28, opacity=1).encode(
        y=alt.Y("y:Q", title=y), tooltip=tips, strokeDash=alt.value([1, 0])
    )
    means = {name: [(a, b) for a, b, _, _ in points] for name, points in series.items()}
    return Chart(
        title,
        _spec(band + line + points, 260),
        f"{title} over {x}: {_ends(means)}",
        _line_table(title, means, x),
    )


def dots(
    title: str,
    values: Mapping[str, Sequence[tuple[float, str]]],
    spans: Mapping[str, tuple[float, float, float]],
    x: str,
) -> Chart:
    """Every single value in a row for each setting, with the mean and its interval.

    Args:
        title: of the chart.
        values: setting -> (value, what it is of).
        spans: setting -> (mean, lower, upper).
        x: what is shown, with its unit.
    """
    import altair as alt

    names = list(values)
    rows = [
        {"s": name, "x": value, "of": of, "v": digits(value)}
        for name, pairs in values.items()
        for value, of in pairs
    ]
    ends = [
        {"s": name, "x": mean, "l": low, "u": up, "v": f"{digits(mean)} ({digits(low)} to {digits(up)})"}
        for name, (mean, low, up) in spans.items()
    ]
    y = alt.Y("s:N", sort=names, title=None, axis=alt.Axis(labelLimit=150, grid=True))
    place = alt.X("x:Q", title=x, scale=alt.Scale(zero=False), axis=alt.Axis(tickCount=8))
    every = (
        alt.Chart(_data(rows))
        .mark_point(filled=True, size=46, opacity=0.75, color=LINE_COLOURS[0])
        .encode(x=place, y=y, tooltip=[alt.Tooltip("of:N", title="run"), alt.Tooltip("v:N", title="value")])
    )
    if not ends:
        return Chart(
            title, _spec(every, 34 * max(len(names), 2) + 10), f"{title}, {len(rows)} values", None, wide=True
        )
    spread = alt.Chart(_data(ends)).encode(y=y)
    tips = [alt.Tooltip("s:N", title="of"), alt.Tooltip("v:N", title="mean")]
    rule = spread.mark_rule(strokeWidth=2, color=INK).encode(x=alt.X("l:Q", title=x), x2="u:Q")
    mean = spread.mark_tick(thickness=3, size=18, color=INK).encode(x=alt.X("x:Q", title=x), tooltip=tips)
    means = "; ".join(f"{name} {digits(span[0])}" for name, span in list(spans.items())[:12])
    spec = _spec(every + rule + mean, 34 * max(len(names), 2) + 10)
    return Chart(title, spec, f"{title}, means: {means}", None, wide=True)


def points(
    title: str,
    groups: Mapping[str, Sequence[tuple[float, float, str]]],
    x: str,
    y: str,
    colours: Sequence[str] | None = None,
    line: Sequence[tuple[float, float]] = (),
) -> Chart:
    """Points of two numbers each, coloured by group.

    Args:
        title: of the chart.
        groups: name -> (x, y, what it is of).
        x: the number along, with its unit.
        y: the other one.
        colours: one for each group.
        line: a line through the chart, such as that of equal numbers.
    """
    import altair as alt

    names = list(groups)
    rows = [
        {"x": a, "y": b, "s": name, "of": of, "a": digits(a), "b": digits(b)}
        for name, group in groups.items()
        for a, b, of in group[: POINTS // max(1, len(names))]
    ]
    encoded = _colours(names, colours)
    encoded.pop("strokeDash", None)
    if len(names) > 1:
        encoded["shape"] = alt.Shape("s:N", scale=alt.Scale(domain=names), legend=alt.Legend())
    tips = [alt.Tooltip("of:N", title="of"), alt.Tooltip("a:N", title=x), alt.Tooltip("b:N", title=y)]
    chart: Any = (
        alt.Chart(_data(rows))
        .mark_point(filled=True, size=40, opacity=0.8)
        .encode(
            x=alt.X("x:Q", title=x, scale=alt.Scale(zero=False), axis=alt.Axis(tickCount=8)),
            y=alt.Y("y:Q", title=y, scale=alt.Scale(zero=False)),
            tooltip=tips,
            **encoded,
        )
    )
    if line:
        ends = [{"x": a, "y": b} for a, b in line]
        rule = alt.Chart(_data(ends)).mark_line(color=INK, opacity=0.5, strokeDash=[4, 4])
        chart = rule.encode(x=alt.X("x:Q", title=x), y=alt.Y("y:Q", title=y)) + chart
    return Chart(title, _spec(chart, 300), f"{title}: {len(rows):,} points, {y} over {x}", None, wide=True)


def pairs(
    title: str,
    names: Sequence[str],
    counts: Sequence[Sequence[int]],
    shares: Sequence[Sequence[float | None]],
    table: Table,
) -> Chart:
    """A map of counts of pairs of classes, coloured by the share of their row.

    Args:
        title: of the chart.
        names: of the classes, each another.
        counts: a row for each true class.
        shares: the same as shares of their row; None in a row without an image.
        table: the numbers.
    """
    import altair as alt

    rows = [
        {
            "t": true,
            "p": predicted,
            "n": count,
            "c": shares[i][j],
            "v": f"{digits(100 * (shares[i][j] or 0))} %",
        }
        for i, true in enumerate(names)
        for j, predicted in enumerate(names)
        if (count := counts[i][j])
    ]
    sort = list(names)
    axis = alt.Axis(labelLimit=150, labelOverlap=False)
    tips = [
        alt.Tooltip("t:N", title="class"),
        alt.Tooltip("p:N", title="taken for"),
        alt.Tooltip("n:Q", title="images"),
        alt.Tooltip("v:N", title="of the class"),
    ]
    scale = alt.Scale(domain=sort)
    base = alt.Chart(_data(rows)).encode(
        x=alt.X("p:N", sort=sort, scale=scale, title="predicted", axis=axis),
        y=alt.Y("t:N", sort=sort, scale=scale, title="true", axis=axis),
        tooltip=tips,
    )
    numbered = len(names) <= NUMBERED
    # Opacity, no scheme of colours: light on a light page, dark on a dark one, and numbers stand out from it.
    ends = [0.06, 0.55 if numbered else 1]
    shade = alt.Opacity("c:Q", scale=alt.Scale(domain=[0, 1], range=ends), legend=None)
    chart: Any = base.mark_rect(color=LINE_COLOURS[0]).encode(opacity=shade)
    if numbered:
        chart = chart + base.mark_text(fontSize=11, color=INK).encode(text="n:Q")
    right, total = sum(counts[i][i] for i in range(len(names))), sum(map(sum, counts))
    spec = _spec(chart, max(160, 22 * len(names)))
    return Chart(title, spec, f"{title}: {right:,} of {total:,} right", table, wide=True)


def _ends(series: Series) -> str:
    told = [f"{name} from {digits(p[0][1])} to {digits(p[-1][1])}" for name, p in series.items() if p]
    more = f" and {len(told) - 6} more" if len(told) > 6 else ""
    return "; ".join(told[:6]) + more


def _line_table(title: str, series: Series, x: str) -> Table:
    """The numbers of lines, a row for each x."""
    places = sorted({a for points in series.values() for a, _ in points})
    by_name = {name: dict(points) for name, points in series.items()}
    rows = [
        [
            number(place, digits(place)),
            *(
                number(line.get(place), digits(line[place])) if place in line else words("")
                for line in by_name.values()
            ),
        ]
        for place in places[:ROWS]
    ]
    note = f"The first {ROWS} of {len(places):,} rows." if len(places) > ROWS else ""
    columns = [Column(x, True), *(Column(name, True) for name in series)]
    return Table(title, columns, rows, note, folded=True)
