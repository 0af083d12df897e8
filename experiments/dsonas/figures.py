"""Pictures of `experiments.dsonas.reduced`: every search faint, the mean of a setting strong."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from experiments.drawing import Curve, curve, draw_dots, draw_mean, drawn, legend_of, panels, picture
from experiments.dsonas.record import BASE, RANDOM, SETTINGS, Network
from nas.analysis.plots.names import FAINT, INK, LINE_COLOURS

COLOURS = dict(zip(SETTINGS, LINE_COLOURS, strict=False)) | {RANDOM: FAINT}
TITLES = {"share": "one block for all (share)", "full": "every block its own (full)"}


def draw_all(runs: Sequence[Network], folder: Path) -> list[Path]:
    """Draws what the runs have: the searches epoch by epoch, the blocks at their end, the evaluations.

    Returns:
        The pictures that were drawn.
    """
    searches = [run for run in runs if run.setting != RANDOM]
    # Without a split these images train the weights too, and their accuracy says something else.
    split = [run for run in searches if run.setting != "joint"] or searches
    own = [run for run in searches if run.mode == "full" and run.search.finished]
    return drawn(
        folder,
        ("sparsity", _searches("connections alive (%)", "alive", 100), searches),
        ("macs", _searches("multiply-adds in search (M)", "macs_alive", 1e-6), searches),
        (
            "architecture_accuracy",
            _searches("accuracy on the architecture split (%)", "architecture_accuracy", 100),
            split,
        ),
        ("seconds", partial(_draw_searches, _seconds, "seconds per epoch"), searches),
        ("blocks", _draw_blocks, [run for run in own if run.setting in (BASE, "plain")]),
        ("evaluated", _draw_evaluated, [run for run in runs if run.accuracy is not None]),
    )


def _searches(label: str, column: str, factor: float) -> Callable:
    return partial(_draw_searches, lambda run: curve(run.search.rows, column, factor), label)


def _seconds(run: Network) -> Curve:
    # Every group has a row per epoch, with the same time.
    by_epoch = {int(row["epoch"]) + 1: float(row["seconds"]) for row in run.sparsity}
    return list(by_epoch), list(by_epoch.values())


def _settings(runs: Sequence[Network]) -> list[str]:
    return [setting for setting in SETTINGS if any(run.setting == setting for run in runs)]


def _modes(runs: Sequence[Network]) -> dict[str, str]:
    return {mode: title for mode, title in TITLES.items() if any(run.mode == mode for run in runs)}


def _draw_searches(
    points: Callable[[Network], Curve], label: str, runs: Sequence[Network], path: Path
) -> None:
    modes = _modes(runs)
    with panels(path, [*modes.values()], 520 * len(modes), 440, label) as (figure, axes):
        for mode, ax in zip(modes, axes, strict=True):
            for setting in SETTINGS:
                own = [points(run) for run in runs if run.place == (mode, setting)]
                draw_mean(ax, own, COLOURS[setting], SETTINGS[setting])
            ax.set(xlabel="epoch")
            ax.set_ylim(bottom=0)
        legend_of(figure, axes, columns=3)


def _draw_blocks(runs: Sequence[Network], path: Path) -> None:
    """Multiply-adds of every block at the end of the search, as in figure 5a; reductions after the blocks."""
    ends = [{row["group"]: row for row in run.sparsity} for run in runs]  # the last epoch of each group
    names = sorted(ends[0], key=lambda name: (name.startswith("reduce"), name))
    settings = _settings(runs)
    width = 0.8 / len(settings)
    with picture(path, max(640, 60 * len(names) * len(settings)), 440) as figure:
        ax = figure.subplots()
        places = np.arange(len(names))
        whole = [int(ends[0][name]["macs_of"]) / 1e6 for name in names]
        ax.bar(places, whole, 0.9, color=FAINT, alpha=0.25, label="fully connected")
        for number, setting in enumerate(settings):
            own = [
                [int(end[name]["macs"]) / 1e6 for name in names]
                for run, end in zip(runs, ends, strict=True)
                if run.setting == setting
            ]
            at = places + (number - (len(settings) - 1) / 2) * width
            label = f"{SETTINGS[setting]} (n = {len(own)})"
            ax.bar(at, np.mean(own, axis=0), 0.9 * width, color=COLOURS[setting], label=label)
            for values in own:
                ax.plot(at, values, "o", color=INK, ms=3, alpha=0.6)
        ax.set_xticks(places, [name.replace("_", " ") for name in names], rotation=30, ha="right")
        ax.set_ylabel("multiply-adds at the end (M)")
        ax.grid(False, axis="x")
        figure.legend(loc="outside lower center")


def _draw_evaluated(runs: Sequence[Network], path: Path) -> None:
    """Every evaluated network a dot, the mean of a setting a line."""
    settings, modes = _settings(runs), _modes(runs)
    words = [SETTINGS[setting].replace(", ", ",\n") for setting in settings]
    width = max(520, 130 * len(settings) * len(modes))
    with panels(path, [*modes.values()], width, 460, "test accuracy (%)") as (_, axes):
        for mode, ax in zip(modes, axes, strict=True):
            own = [[run.accuracy for run in runs if run.place == (mode, setting)] for setting in settings]
            draw_dots(ax, own, [COLOURS[setting] for setting in settings])
            ax.set_xticks(range(len(settings)), words, fontsize=9)
