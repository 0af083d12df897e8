"""Pictures of `experiments.darts_rnn.recurrent`: every run faint, the mean over seeds strong."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from experiments.darts_rnn.record import (
    DRNAS,
    FOUND,
    LONG,
    LSTM,
    NETWORKS,
    RANDOM,
    SEARCHES,
    TEXTS,
    WARMUP,
    Rows,
    Run,
    tests,
)
from nas.analysis.plots import draw_genotype
from nas.analysis.plots.names import FAINT, INK, LINE_COLOURS
from nas.analysis.plots.style import markers, new_figure, save, styled, whole_numbers

COLOURS = dict(zip((FOUND, LSTM, WARMUP, DRNAS, LONG), LINE_COLOURS, strict=False)) | {RANDOM: FAINT}


def draw_all(runs: Sequence[Run], folder: Path) -> list[Path]:
    """Draws what the runs have: searches and evaluations epoch by epoch, tests, and the cells found.

    Returns:
        The pictures that were drawn.
    """
    found = []
    if any(run.epochs for run in runs):
        found.append(_draw_searches(runs, folder / "search.png"))
    if any(run.evaluations for run in runs):
        found.append(_draw_evaluations(runs, folder / "valid.png"))
    if any(tests(runs, network, text) for network in NETWORKS for text in TEXTS):
        found.append(_draw_tests(runs, folder / "test.png"))
    for run in runs:
        if run.network in SEARCHES and run.genotype is not None:
            title = f"{NETWORKS[run.network].capitalize()}, seed {run.seed}"
            name = "cell" if run.network == FOUND else f"cell_{run.network}"
            found.append(draw_genotype(run.genotype, folder / f"{name}_seed{run.seed}.png", title))
    return found


def _draw_searches(runs: Sequence[Run], path: Path) -> Path:
    """Perplexity of the supernet on both streams, a panel a search."""
    streams = {"weight_perplexity": "weights' text", "architecture_perplexity": "architecture's text"}
    names = [name for name in SEARCHES if any(run.network == name and run.epochs for run in runs)]
    columns = min(len(names), 2)
    rows = -(-len(names) // columns)
    with styled():
        figure = new_figure(max(620, 480 * columns), 440 if rows == 1 else 340 * rows)
        panels = figure.subplots(rows, columns, squeeze=False, sharey=True)
        for ax in panels.flat[len(names) :]:
            ax.set_axis_off()
        for ax, name in zip(panels.flat, names, strict=False):
            searches = [run.epochs for run in runs if run.network == name and run.epochs]
            for (column, label), colour in zip(streams.items(), LINE_COLOURS, strict=False):
                _draw_curves(ax, searches, column, colour, label)
            _finish(ax, "perplexity of the supernet" if ax in panels[:, 0] else "")
            if len(names) > 1:
                ax.set_title(SEARCHES[name], loc="left", fontsize=11)
        _legend(figure, panels.flat, columns=2)
        return save(figure, path)


def _draw_evaluations(runs: Sequence[Run], path: Path) -> Path:
    """Validation perplexity of every network, a panel a text."""
    texts = [text for text in TEXTS if any(text in run.evaluations for run in runs)]
    with styled():
        figure = new_figure(520 * len(texts), 440)
        panels = figure.subplots(1, len(texts), squeeze=False)[0]
        for ax, text in zip(panels, texts, strict=True):
            for network, name in NETWORKS.items():
                own = [run.evaluations.get(text) for run in runs if run.network == network]
                curves = [one.epochs for one in own if one is not None]
                _draw_curves(ax, curves, "valid_perplexity", COLOURS[network], name)
            ax.set_title(TEXTS[text], loc="left", fontsize=11)
            _finish(ax, "validation perplexity")
        _legend(figure, panels, columns=3)
        return save(figure, path)


def _legend(figure: Figure, panels: Iterable[Axes], columns: int) -> None:
    """One legend below of what any panel has."""
    labels = [ax.get_legend_handles_labels() for ax in panels]
    handles = {name: handle for pair in labels for handle, name in zip(*pair, strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=columns)


def _draw_curves(ax: Axes, curves: Sequence[Rows], column: str, colour: str, label: str) -> None:
    """Each run faint; the mean over those that have come that far strong."""
    by_epoch: dict[int, list[float]] = {}
    for rows in curves:
        points = [(int(row["epoch"]) + 1, row[column]) for row in rows if column in row]
        if points:
            ax.plot(*zip(*points, strict=True), color=colour, alpha=0.35, lw=1.0)
        for epoch, value in points:
            by_epoch.setdefault(epoch, []).append(value)
    if by_epoch:
        epochs = sorted(by_epoch)
        means = [float(np.mean(by_epoch[epoch])) for epoch in epochs]
        ax.plot(epochs, means, color=colour, lw=2.4, label=label, **markers(len(epochs)))


def _finish(ax: Axes, label: str) -> None:
    ax.set(xlabel="epoch", ylabel=label, yscale="log")
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5, 7)))
    ax.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    ax.yaxis.set_minor_formatter(NullFormatter())
    whole_numbers(ax)


def _draw_tests(runs: Sequence[Run], path: Path) -> Path:
    """Every tested network a dot, the mean of a kind a line."""
    networks = [name for name in NETWORKS if any(tests(runs, name, text) for text in TEXTS)]
    texts = [text for text in TEXTS if any(tests(runs, network, text) for network in networks)]
    with styled():
        figure = new_figure(max(420, max(380, 110 * len(networks)) * len(texts)), 440)
        panels = figure.subplots(1, len(texts), squeeze=False)[0]
        for ax, text in zip(panels, texts, strict=True):
            for place, network in enumerate(networks):
                own = tests(runs, network, text)
                if own:
                    # Side by side, so that equal ones do not hide each other.
                    at = place + 0.12 * (np.arange(len(own)) - (len(own) - 1) / 2)
                    ax.plot(at, own, "o", color=COLOURS[network], ms=7, mec="white", mew=0.6)
                    ax.hlines(np.mean(own), place - 0.32, place + 0.32, color=INK, lw=1.6)
            ax.set_xticks(range(len(networks)), [NETWORKS[name].replace(" ", "\n") for name in networks])
            ax.set_xlim(-0.6, len(networks) - 0.4)
            ax.set_title(TEXTS[text], loc="left", fontsize=11)
            ax.grid(False, axis="x")
        panels[0].set_ylabel("test perplexity")
        return save(figure, path)
