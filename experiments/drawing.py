"""What the pictures of experiments have in common: every run faint, a mean strong; dots beside a mean."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.records import Rows
from nas.analysis.plots.names import INK
from nas.analysis.plots.style import markers, new_figure, save, styled, whole_numbers

Curve = tuple[Sequence[float], Sequence[float]]


@contextmanager
def picture(path: Path, width: float, height: float) -> Iterator[Figure]:
    """A figure in the look of all, of so many pixels, saved at the end of the block."""
    with styled():
        figure = new_figure(width, height)
        yield figure
        save(figure, path)


@contextmanager
def panels(
    path: Path, titles: Sequence[str], width: float, height: float, label: str = "", sharey: bool = True
) -> Iterator[tuple[Figure, Sequence[Axes]]]:
    """A picture of panels side by side, each with its title; the label is that of their common y axis."""
    with picture(path, width, height) as figure:
        axes = figure.subplots(1, len(titles), squeeze=False, sharey=sharey)[0]
        axes[0].set_ylabel(label)
        for ax, title in zip(axes, titles, strict=True):
            ax.set_title(title, loc="left", fontsize=11)
        yield figure, axes


def drawn(folder: Path, *pictures: tuple[str, Callable, Sequence]) -> list[Path]:
    """Draws the pictures that have anything to show.

    Args:
        folder: where they go.
        pictures: (name, function of runs and path, runs).

    Returns:
        The pictures that were drawn.
    """
    paths = []
    for name, draw, runs in pictures:
        if runs:
            draw(runs, folder / f"{name}.png")
            paths.append(folder / f"{name}.png")
    return paths


def curve(rows: Rows, column: str, factor: float = 1) -> Curve:
    """A column over the epochs from 1 that have it."""
    having = [row for row in rows if column in row]
    return [row["epoch"] + 1 for row in having], [factor * row[column] for row in having]


def draw_mean(
    ax: Axes,
    curves: Iterable[Curve],
    colour: str,
    label: str,
    dash: str = "-",
    width: float = 2.4,
    alpha: float = 0.28,
) -> None:
    """Each curve faint; their mean over those that have come that far strong. Nothing without curves."""
    by_epoch: dict[float, list[float]] = {}
    for x, y in curves:
        if len(x):
            ax.plot(x, y, dash, color=colour, alpha=alpha, lw=1.0)
        for epoch, value in zip(x, y, strict=True):
            by_epoch.setdefault(epoch, []).append(value)
    if by_epoch:
        epochs = sorted(by_epoch)
        means = [float(np.mean(by_epoch[epoch])) for epoch in epochs]
        ax.plot(epochs, means, dash, color=colour, lw=width, label=label, **markers(len(epochs)))
    whole_numbers(ax)


def draw_dots(ax: Axes, groups: Sequence[Sequence[float]], colours: Sequence[str]) -> None:
    """Every value of a group a dot, their mean a line, a place a group."""
    for place, (own, colour) in enumerate(zip(groups, colours, strict=True)):
        if own:
            # Side by side, so that equal ones do not hide each other.
            at = place + 0.12 * (np.arange(len(own)) - (len(own) - 1) / 2)
            ax.plot(at, own, "o", color=colour, ms=7, mec="white", mew=0.6)
            ax.hlines(np.mean(own), place - 0.32, place + 0.32, color=INK, lw=1.6)
    ax.set_xlim(-0.6, len(groups) - 0.4)
    ax.grid(False, axis="x")


def draw_rows(
    groups: Mapping[str, Sequence[float]], path: Path, label: str, title: str, around: float = 0.14
) -> Path:
    """Values of a group as dots on a row of its own, with mean and sample deviation; the best mean on top."""
    rows = sorted(groups.items(), key=lambda item: float(np.mean(item[1])))
    with picture(path, 900, 150 + 26 * len(rows)) as figure:
        ax = figure.subplots()
        for row, (_, values) in enumerate(rows):
            mean = float(np.mean(values))
            spread = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
            ax.plot(values, [row + around] * len(values), "o", color=INK, alpha=0.45, ms=5, mec="none")
            ax.errorbar(mean, row - around, xerr=spread, fmt="D", color=INK, ms=5, capsize=3, lw=1.2)
        ax.set_yticks(range(len(rows)), [f"{name} (n = {len(values)})" for name, values in rows])
        ax.set_ylim(-0.7, len(rows) - 0.3)
        ax.set_xlabel(label)
        ax.set_title(title, loc="left", fontsize=11)
        ax.grid(False, axis="y")
    return path


def legend_of(figure: Figure, panels: Iterable[Axes], columns: int) -> None:
    """One legend below of what any panel has."""
    labels = [ax.get_legend_handles_labels() for ax in panels]
    handles = {name: handle for pair in labels for handle, name in zip(*pair, strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=columns)
