"""Pictures of the evidence, drawn from the kept records."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.drawing import draw_dots, picture
from experiments.evidence.rows import Plan, Row
from experiments.evidence.searches import Search
from nas.analysis.anytime import Course, band
from nas.analysis.plots.anytime import SERIES, draw_anytime
from nas.analysis.plots.names import FAINT, INK, LINE_COLOURS
from nas.analysis.plots.style import whole_numbers


def draw_all(
    plan: Plan, by_row: Mapping[str, Sequence[Search]], reference: Mapping[str, Any], folder: Path
) -> list[Path]:
    """Draws `evidence_<what>.png` into a folder; nothing without a finished search.

    Returns:
        The pictures.
    """
    rows = [row for row in plan.rows if by_row[row.name]]
    if not rows:
        return []
    paths = [folder / f"evidence_{name}.png" for name in ("accuracy", "anytime", "eigenvalues")]
    _draw_accuracies(rows, by_row, reference, paths[0])
    _draw_anytime(rows[:SERIES], by_row, paths[1])
    measured = [
        row for row in rows if any(p.eigenvalue is not None for s in by_row[row.name] for p in s.course)
    ]
    if measured:
        _draw_eigenvalues(measured[:SERIES], by_row, paths[2])
    return [path for path in paths if path.exists()]


def _draw_accuracies(
    rows: Sequence[Row], by_row: Mapping[str, Sequence[Search]], reference: Mapping[str, Any], path: Path
) -> None:
    with picture(path, max(760, 110 * len(rows) + 240), 520) as figure:
        ax = figure.subplots()
        if reference:
            middle = reference["quantiles"]
            ax.axhspan(
                middle["0.25"],
                middle["0.75"],
                color=FAINT,
                alpha=0.18,
                lw=0,
                label="middle half of all cells",
            )
            ax.axhline(
                reference["best"], color=INK, ls=":", lw=1.2, label=f"best of all ({reference['best']:.2f})"
            )
            ax.axhline(
                reference["mean"],
                color=FAINT,
                ls="--",
                lw=1.2,
                label=f"mean of all ({reference['mean']:.2f})",
            )
        groups = [[search.accuracy for search in by_row[row.name]] for row in rows]
        draw_dots(ax, groups, [LINE_COLOURS[i % len(LINE_COLOURS)] for i in range(len(rows))])
        names = [f"{row.name}\n(n = {len(by_row[row.name])})" for row in rows]
        ax.set_xticks(range(len(rows)), names, rotation=0 if len(rows) <= 5 else 30, fontsize=9)
        ax.set_ylabel("table accuracy of the result (%)")
        if reference:
            figure.legend(loc="outside lower center", ncols=3)


def _draw_anytime(rows: Sequence[Row], by_row: Mapping[str, Sequence[Search]], path: Path) -> None:
    epochs, seconds = {}, {}
    for row in rows:
        courses = [_course(search) for search in by_row[row.name]]
        epochs[row.name] = band(courses)
        timed = [
            Course([epoch * search.number("seconds") / course.x[-1] for epoch in course.x], course.y)
            for search, course in zip(by_row[row.name], courses, strict=True)
            if search.number("seconds") and course.x
        ]
        seconds[row.name] = band(timed)
    draw_anytime(
        {"epoch": epochs, "seconds of one core": seconds},
        path,
        "table accuracy of the present cell (%)",
        "mean and its 95 % interval; seconds spread evenly over a search's epochs, on machines "
        "that did other work too",
    )


def _course(search: Search) -> Course:
    """At every epoch, though only changes are kept."""
    if not search.course:
        return Course([], [])
    last = search.course[-1].epoch
    known = {point.epoch: point.accuracy for point in search.course}
    values, value = [], None
    for epoch in range(1, last + 1):
        value = known.get(epoch, value)
        values.append(np.nan if value is None else value)
    return Course(list(range(1, last + 1)), values)


def _draw_eigenvalues(rows: Sequence[Row], by_row: Mapping[str, Sequence[Search]], path: Path) -> None:
    with picture(path, 900, 520) as figure:
        ax = figure.subplots()
        for number, row in enumerate(rows):
            for search in by_row[row.name]:
                points = [
                    (p.epoch, p.eigenvalue)
                    for p in search.course
                    if p.eigenvalue is not None and p.eigenvalue > 0
                ]
                if points:
                    x, y = zip(*points, strict=True)
                    style = "--" if search.collapsed else "-"
                    ax.plot(x, y, style, color=LINE_COLOURS[number], lw=1.4, alpha=0.75)
            basis = next((search.values["hessian_basis"] for search in by_row[row.name]), "")
            label = f"{row.name}, in {basis} (n = {len(by_row[row.name])})"
            ax.plot([], [], "-", color=LINE_COLOURS[number], lw=1.8, label=label)
        ax.plot([], [], "--", color=INK, lw=1.4, label="collapsed at the end")
        ax.set_yscale("log")
        ax.set(xlabel="epoch", ylabel="dominant eigenvalue of the Hessian")
        whole_numbers(ax)
        figure.legend(loc="outside lower center", ncols=2)
