"""Pictures of `experiments.darts_rnn.recurrent`: every run faint, the mean over seeds strong."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from experiments.darts_rnn import record
from experiments.darts_rnn.record import FOUND, NETWORKS, SEARCHES, TEXTS, Network, tests
from experiments.drawing import curve, draw_dots, draw_mean, drawn, legend_of, panels, picture
from experiments.records import Run
from nas.analysis.plots import draw_genotype
from nas.analysis.plots.names import FAINT, LINE_COLOURS

NAMES = (FOUND, record.LSTM, record.WARMUP, record.DRNAS, record.LONG)
COLOURS = dict(zip(NAMES, LINE_COLOURS, strict=False)) | {record.RANDOM: FAINT}


def draw_all(runs: Sequence[Network], folder: Path) -> list[Path]:
    """Draws what the runs have: searches and evaluations epoch by epoch, tests, and the cells found.

    Returns:
        The pictures that were drawn.
    """
    evaluations = [evaluation for run in runs for evaluation in run.evaluations.values()]
    paths = drawn(
        folder,
        ("search", _draw_searches, [run for run in runs if run.search.trained]),
        ("valid", _draw_evaluations, runs if any(e.rows for e in evaluations) else ()),
        ("test", _draw_tests, runs if any(e.finished for e in evaluations) else ()),
    )
    for run in runs:
        if run.network in SEARCHES and run.genotype is not None:
            title = f"{NETWORKS[run.network].capitalize()}, seed {run.seed}"
            name = "cell" if run.network == FOUND else f"cell_{run.network}"
            paths.append(draw_genotype(run.genotype, folder / f"{name}_seed{run.seed}.png", title))
    return paths


def _draw_searches(runs: Sequence[Network], path: Path) -> None:
    """Perplexity of the supernet on both streams, a panel per search."""
    streams = {"weight_perplexity": "weights' text", "architecture_perplexity": "architecture's text"}
    names = [name for name in SEARCHES if any(run.network == name for run in runs)]
    columns = min(len(names), 2)
    rows = -(-len(names) // columns)
    with picture(path, max(620, 480 * columns), 440 if rows == 1 else 340 * rows) as figure:
        axes = figure.subplots(rows, columns, squeeze=False, sharey=True)
        for ax in axes.flat[len(names) :]:
            ax.set_axis_off()
        for ax, name in zip(axes.flat, names, strict=False):
            searches = [run.search for run in runs if run.network == name]
            for (column, label), colour in zip(streams.items(), LINE_COLOURS, strict=False):
                _draw_curves(ax, searches, column, colour, label)
            _finish(ax, "perplexity of the supernet" if ax in axes[:, 0] else "")
            if len(names) > 1:
                ax.set_title(SEARCHES[name], loc="left", fontsize=11)
        legend_of(figure, axes.flat, columns=2)


def _draw_evaluations(runs: Sequence[Network], path: Path) -> None:
    """Validation perplexity of every network, a panel per text."""
    texts = [text for text in TEXTS if any(run.evaluations[text].rows for run in runs)]
    titles = [TEXTS[text] for text in texts]
    with panels(path, titles, 520 * len(texts), 440, sharey=False) as (figure, axes):
        for ax, text in zip(axes, texts, strict=True):
            for network, name in NETWORKS.items():
                own = [run.evaluations[text] for run in runs if run.network == network]
                _draw_curves(ax, own, "valid_perplexity", COLOURS[network], name)
            _finish(ax, "validation perplexity")
        legend_of(figure, axes, columns=3)


def _draw_curves(ax: Axes, runs: Iterable[Run], column: str, colour: str, label: str) -> None:
    draw_mean(ax, [curve(run.rows, column) for run in runs], colour, label, alpha=0.35)


def _finish(ax: Axes, label: str) -> None:
    ax.set(xlabel="epoch", ylabel=label, yscale="log")
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5, 7)))
    ax.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    ax.yaxis.set_minor_formatter(NullFormatter())


def _draw_tests(runs: Sequence[Network], path: Path) -> None:
    """Every tested network a dot, the mean of a kind a line."""
    networks = [name for name in NETWORKS if any(tests(runs, name, text) for text in TEXTS)]
    texts = [text for text in TEXTS if any(tests(runs, network, text) for network in networks)]
    width, titles = max(380, 110 * len(networks)) * len(texts), [TEXTS[text] for text in texts]
    with panels(path, titles, max(420, width), 440, "test perplexity", sharey=False) as (_, axes):
        for ax, text in zip(axes, texts, strict=True):
            own = [tests(runs, network, text) for network in networks]
            draw_dots(ax, own, [COLOURS[network] for network in networks])
            ax.set_xticks(range(len(networks)), [NETWORKS[name].replace(" ", "\n") for name in networks])
