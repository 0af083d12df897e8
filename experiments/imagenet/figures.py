"""Pictures of `experiments.imagenet.reduced`: every run faint, the mean of a kind strong; the cells found."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from experiments.imagenet.record import ENLARGED, FOUND, KINDS, Found, Rows
from nas.analysis import plots
from nas.analysis.plots.names import FAINT, LINE_COLOURS
from nas.analysis.plots.style import markers, new_figure, save, styled, whole_numbers

COLOURS = dict(zip(KINDS, (LINE_COLOURS[0], FAINT, *LINE_COLOURS[1:]), strict=False))


def draw_all(runs: Sequence[Found], folder: Path) -> list[Path]:
    """Draws what the runs have: the searches, the evaluations, the accuracies, and the cells found.

    Returns:
        The pictures that were drawn.
    """
    found = []
    searches = [run for run in runs if run.search_epochs]
    if searches:
        found.append(_draw_searches(searches, folder / "search.png"))
    evaluations = [run for run in runs if run.epochs]
    if evaluations:
        found.append(_draw_evaluations(evaluations, folder / "evaluation.png"))
    # Images of another size in a narrower network belong beside nothing.
    tested = [run for run in runs if run.finished and run.kind != ENLARGED]
    if tested:
        found.append(_draw_tested(tested, folder / "tested.png"))
    for run in runs:
        if run.kind == FOUND:
            path = folder / f"cell_seed{run.seed}.png"
            plots.draw_genotype(run.genotype, path)
            found.append(path)
    return found


def _draw_searches(runs: Sequence[Found], path: Path) -> Path:
    """Accuracy on both parts, and how far the op weights have come from alike."""
    with styled():
        figure = new_figure(1000, 420)
        left, right = figure.subplots(1, 2)
        for place, (column, words) in enumerate(
            (("weight_accuracy", "weight part"), ("architecture_accuracy", "architecture part"))
        ):
            curves = [_curve(run.search_epochs, column, 100) for run in runs]
            _draw_group(left, curves, LINE_COLOURS[place], words)
        left.set(xlabel="epoch", ylabel="accuracy of the supernet (%)")
        for place, group in enumerate(("normal", "reduce")):
            curves = [_curve(run.search_epochs, f"{group}_entropy", 1) for run in runs]
            _draw_group(right, curves, LINE_COLOURS[place], f"{group} cell")
        right.set(xlabel="epoch", ylabel="mean entropy of an edge's op weights (nats)")
        for ax in (left, right):
            ax.legend()
            whole_numbers(ax)
        return save(figure, path)


def _draw_evaluations(runs: Sequence[Found], path: Path) -> Path:
    with styled():
        figure = new_figure(1000, 460)
        panels = figure.subplots(1, 2, sharey=True)
        for ax, column, words in (
            (panels[0], "train_accuracy", "training images, augmented"),
            (panels[1], "valid_accuracy", "images held out"),
        ):
            for kind in KINDS:
                curves = [_curve(run.epochs, column, 100) for run in runs if run.kind == kind]
                curves = [curve for curve in curves if curve[0]]
                if curves:
                    _draw_group(ax, curves, COLOURS[kind], f"{KINDS[kind]} (n = {len(curves)})")
            ax.set_title(words, loc="left")
            ax.set(xlabel="epoch")
            whole_numbers(ax)
        panels[0].set(ylabel="accuracy (%)")
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
        return save(figure, path)


def _draw_tested(runs: Sequence[Found], path: Path) -> Path:
    """Accuracy against multiply-adds: the cells are not of one size."""
    with styled():
        figure = new_figure(720, 460)
        ax = figure.subplots()
        for kind, words in KINDS.items():
            group = [run for run in runs if run.kind == kind]
            if group:
                x = [run.evaluation["macs"] / 1e6 for run in group]
                ax.plot(
                    x,
                    [run.accuracy for run in group],
                    "o",
                    color=COLOURS[kind],
                    label=f"{words} (n = {len(group)})",
                )
        ax.set(xlabel="multiply-adds (M)", ylabel="test accuracy (%)")
        figure.legend(loc="outside lower center", ncols=2)
        return save(figure, path)


def _curve(rows: Rows, column: str, scale: float) -> tuple[list[float], list[float]]:
    having = [row for row in rows if column in row]
    return [row["epoch"] + 1 for row in having], [scale * row[column] for row in having]


def _draw_group(ax: Axes, curves: Sequence[tuple[list[float], list[float]]], colour: str, label: str) -> None:
    """Each run faint; their mean over those that have come that far strong."""
    by_epoch: dict[float, list[float]] = {}
    for x, y in curves:
        ax.plot(x, y, color=colour, alpha=0.28, lw=1.0)
        for epoch, value in zip(x, y, strict=True):
            by_epoch.setdefault(epoch, []).append(value)
    epochs = sorted(by_epoch)
    means = [float(np.mean(by_epoch[epoch])) for epoch in epochs]
    ax.plot(epochs, means, color=colour, lw=2.4, label=label, **markers(len(epochs)))
