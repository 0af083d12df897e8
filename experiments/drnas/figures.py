"""Pictures of `experiments.drnas.reduced`: every search faint, the mean of a method strong."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from experiments.drnas.record import Found, accuracies_of
from nas.analysis.benchmark_table import BenchmarkTable
from nas.analysis.plots.names import FAINT, INK, LINE_COLOURS, LINE_DASHES
from nas.analysis.plots.style import markers, new_figure, save, styled, whole_numbers

Curve = tuple[Sequence[float], Sequence[float]]
Colours = Mapping[str, str]


def draw_all(runs: Sequence[Found], table: BenchmarkTable, metric: str, folder: Path) -> list[Path]:
    """Draws what the runs have: accuracy, skip connections, eigenvalues, exploration.

    Args:
        runs: of any methods; those without epochs (`random`) have no curves.
        table: of the accuracies; gives the random baseline.
        metric: their column.
        folder: where the pictures go.

    Returns:
        The pictures that were drawn.
    """
    runs = [run for run in runs if len(run.accuracies) > 1]
    if not runs:
        return []
    # One colour a method in all pictures.
    colours = dict(zip(dict.fromkeys(run.method for run in runs), LINE_COLOURS, strict=False))
    every = accuracies_of(table, metric)
    found = [_draw_accuracies(runs, colours, every, metric, folder / "accuracy.png")]

    def skips(run: Found) -> Curve:
        return range(1, len(run.skips) + 1), run.skips

    with styled():
        figure = new_figure(900, 500)
        ax = figure.subplots()
        _draw_methods(ax, runs, colours, skips)
        ax.set(xlabel="epoch", ylabel="skip connections (of 6 edges)", ylim=(-0.2, 6.2))
        figure.legend(loc="outside lower center", ncols=4)
        found.append(save(figure, folder / "skips.png"))
    if any(run.eigenvalues for run in runs):
        found.append(_draw_eigenvalues(runs, colours, folder / "eigenvalues.png"))
    explored = [run for run in runs if len(run.exploration) > 1]
    if explored:
        found.append(_draw_exploration(explored, folder / "exploration.png"))
    return found


def _draw_accuracies(
    runs: Sequence[Found], colours: Colours, every: np.ndarray, metric: str, path: Path
) -> Path:
    with styled():
        figure = new_figure(900, 560)
        ax = figure.subplots()
        low, middle, high = np.quantile(every, (0.25, 0.5, 0.75))
        ax.axhspan(low, high, color=FAINT, alpha=0.18, lw=0, label="middle half of all architectures")
        ax.axhline(middle, color=FAINT, ls="--", lw=1.2, label=f"their median ({middle:.2f})")
        ax.axhline(every.max(), color=INK, ls=":", lw=1.2, label=f"best ({every.max():.2f})")
        _draw_methods(ax, runs, colours, lambda run: (range(1, len(run.accuracies) + 1), run.accuracies))
        ax.set(xlabel="epoch", ylabel=f"table accuracy of the derived cell (%), {metric}")
        figure.legend(loc="outside lower center", ncols=3)
        return save(figure, path)


def _draw_eigenvalues(runs: Sequence[Found], colours: Colours, path: Path) -> Path:
    with styled():
        figure = new_figure(900, 540)
        ax = figure.subplots()
        bases = list(dict.fromkeys(basis for run in runs for basis in run.eigenvalues))
        values = [value for run in runs for _, curve in run.eigenvalues.values() for value in curve]
        for basis in bases:
            having = [run for run in runs if basis in run.eigenvalues]
            # A method's second basis keeps its colour and gets another dash.
            place = max(list(run.eigenvalues).index(basis) for run in having)
            dash = LINE_DASHES[place % len(LINE_DASHES)]
            curve = partial(_eigenvalues, basis=basis)
            _draw_methods(ax, having, colours, curve, dash, f", {basis}")
        if min(values) > 0:
            ax.set_yscale("log")
        ax.set(xlabel="epoch", ylabel="dominant eigenvalue of the Hessian")
        figure.legend(loc="outside lower center", ncols=2)
        return save(figure, path)


def _eigenvalues(run: Found, basis: str) -> Curve:
    return run.eigenvalues[basis]


def _draw_exploration(runs: Sequence[Found], path: Path) -> Path:
    """One panel a search: the band of its samples and the derived cell, as in figure 1 of DrNAS."""
    runs = sorted(runs, key=lambda run: (run.method, run.seed))
    columns = min(4, len({run.seed for run in runs}))
    rows = math.ceil(len(runs) / columns)
    with styled():
        figure = new_figure(max(480, 300 * columns), 270 * rows + 60)
        panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel()
        for ax, run in zip(panels, runs, strict=False):
            epochs = [row["epoch"] + 1 for row in run.exploration]
            curve = {
                name: [100 * row.get(name, math.nan) for row in run.exploration]
                for name in ("min", "mean", "max", "derived")
            }
            ax.fill_between(
                epochs,
                curve["min"],
                curve["max"],
                color=LINE_COLOURS[0],
                alpha=0.18,
                lw=0,
                label="samples: min to max",
            )
            ax.plot(epochs, curve["mean"], color=FAINT, ls="--", lw=1.4, label="samples: mean")
            ax.plot(epochs, curve["derived"], color=LINE_COLOURS[0], lw=2.0, label="derived")
            ax.set_title(f"{run.name}, seed {run.seed}", loc="left", fontsize=10)
            whole_numbers(ax)
        for ax in panels[len(runs) :]:
            ax.set_axis_off()
        for ax in panels[: len(runs)][-columns:]:
            ax.set_xlabel("epoch")
            ax.tick_params(labelbottom=True)
        for ax in panels[::columns]:
            ax.set_ylabel("accuracy in the searches'\ntable (%)")
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
        return save(figure, path)


def _draw_methods(
    ax: Axes,
    runs: Sequence[Found],
    colours: Colours,
    curve: Callable[[Found], Curve],
    dash: str = "-",
    suffix: str = "",
) -> None:
    """Each search faint; a method's mean over the searches that have come that far."""
    for method in dict.fromkeys(run.method for run in runs):
        group = [run for run in runs if run.method == method]
        by_epoch: dict[float, list[float]] = {}
        for run in group:
            x, y = curve(run)
            ax.plot(x, y, dash, color=colours[method], alpha=0.28, lw=1.0)
            for epoch, value in zip(x, y, strict=True):
                by_epoch.setdefault(epoch, []).append(value)
        epochs = sorted(by_epoch)
        means = [float(np.mean(by_epoch[epoch])) for epoch in epochs]
        label = f"{group[0].name}{suffix} (n = {len(group)})"
        ax.plot(epochs, means, dash, color=colours[method], lw=2.6, label=label, **markers(len(epochs)))
    whole_numbers(ax)
