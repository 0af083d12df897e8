"""Pictures of `experiments.drnas.reduced`: every search faint, the mean of a method strong."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from experiments.drawing import Curve, draw_mean, drawn, picture
from experiments.drnas.record import METRIC, Found, accuracies_of
from nas.analysis.benchmark_table import BenchmarkTable
from nas.analysis.plots.names import FAINT, INK, LINE_COLOURS, LINE_DASHES
from nas.analysis.plots.style import whole_numbers


def draw_all(
    runs: Sequence[Found], folder: Path, table: BenchmarkTable, second: BenchmarkTable | None = None
) -> list[Path]:
    """Draws what the runs have: accuracy, skip connections, eigenvalues, exploration.

    Args:
        runs: of any methods; those without epochs (`random`) have no curves.
        folder: where the pictures go.
        table: of the accuracies; gives the random baseline.
        second: not shown.

    Returns:
        The pictures that were drawn.
    """
    runs = [run for run in runs if len(run.accuracies) > 1]
    # One colour per method in all pictures.
    colours = dict(zip(dict.fromkeys(run.method for run in runs), LINE_COLOURS, strict=False))
    methods = partial(_draw_methods, colours=colours)
    return drawn(
        folder,
        ("accuracy", partial(_draw_accuracies, methods, accuracies_of(table, METRIC)), runs),
        ("skips", partial(_draw_skips, methods), runs),
        ("eigenvalues", partial(_draw_eigenvalues, methods), [run for run in runs if run.eigenvalues]),
        ("exploration", _draw_exploration, [run for run in runs if len(run.exploration) > 1]),
    )


def _draw_accuracies(methods: Callable, every: np.ndarray, runs: Sequence[Found], path: Path) -> None:
    with picture(path, 900, 560) as figure:
        ax = figure.subplots()
        low, middle, high = np.quantile(every, (0.25, 0.5, 0.75))
        ax.axhspan(low, high, color=FAINT, alpha=0.18, lw=0, label="middle half of all architectures")
        ax.axhline(middle, color=FAINT, ls="--", lw=1.2, label=f"their median ({middle:.2f})")
        ax.axhline(every.max(), color=INK, ls=":", lw=1.2, label=f"best ({every.max():.2f})")
        methods(ax, runs, lambda run: (range(1, len(run.accuracies) + 1), run.accuracies))
        ax.set(xlabel="epoch", ylabel=f"table accuracy of the derived cell (%), {METRIC}")
        figure.legend(loc="outside lower center", ncols=3)


def _draw_skips(methods: Callable, runs: Sequence[Found], path: Path) -> None:
    with picture(path, 900, 500) as figure:
        ax = figure.subplots()
        methods(ax, runs, lambda run: (range(1, len(run.skips) + 1), run.skips))
        ax.set(xlabel="epoch", ylabel="skip connections (of 6 edges)", ylim=(-0.2, 6.2))
        figure.legend(loc="outside lower center", ncols=4)


def _draw_eigenvalues(methods: Callable, runs: Sequence[Found], path: Path) -> None:
    with picture(path, 900, 540) as figure:
        ax = figure.subplots()
        for basis in dict.fromkeys(basis for run in runs for basis in run.eigenvalues):
            having = [run for run in runs if basis in run.eigenvalues]
            # A method's second basis keeps its colour and gets another dash.
            place = max(list(run.eigenvalues).index(basis) for run in having)
            dash = LINE_DASHES[place % len(LINE_DASHES)]
            methods(
                ax, having, lambda run, basis=basis: run.eigenvalues[basis], dash=dash, suffix=f", {basis}"
            )
        if min(value for run in runs for _, values in run.eigenvalues.values() for value in values) > 0:
            ax.set_yscale("log")
        ax.set(xlabel="epoch", ylabel="dominant eigenvalue of the Hessian")
        figure.legend(loc="outside lower center", ncols=2)


def _draw_methods(
    ax: Axes,
    runs: Sequence[Found],
    curve: Callable[[Found], Curve],
    colours: dict[str, str],
    dash: str = "-",
    suffix: str = "",
) -> None:
    """Each search faint; a method's mean over the searches that have come that far."""
    for method in dict.fromkeys(run.method for run in runs):
        group = [run for run in runs if run.method == method]
        label = f"{group[0].name}{suffix} (n = {len(group)})"
        draw_mean(ax, map(curve, group), colours[method], label, dash, width=2.6)


def _draw_exploration(runs: Sequence[Found], path: Path) -> None:
    """One panel per search: the band of its samples and the derived cell, as in figure 1 of DrNAS."""
    runs = sorted(runs, key=lambda run: (run.method, run.seed))
    columns = min(4, len({run.seed for run in runs}))
    rows = math.ceil(len(runs) / columns)
    with picture(path, max(480, 300 * columns), 270 * rows + 60) as figure:
        panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel()
        for ax, run in zip(panels, runs, strict=False):
            epochs = [row["epoch"] + 1 for row in run.exploration]
            names = ("min", "max", "mean", "derived")
            low, high, mean, derived = (
                [100 * row.get(name, math.nan) for row in run.exploration] for name in names
            )
            look = {"color": LINE_COLOURS[0], "alpha": 0.18, "lw": 0}
            ax.fill_between(epochs, low, high, label="samples: min to max", **look)
            ax.plot(epochs, mean, color=FAINT, ls="--", lw=1.4, label="samples: mean")
            ax.plot(epochs, derived, color=LINE_COLOURS[0], lw=2.0, label="derived")
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
