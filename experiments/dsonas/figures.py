"""Pictures of `experiments.dsonas.reduced`: every search faint, the mean of a setting strong."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from experiments.dsonas.record import BASE, MODES, RANDOM, SETTINGS, Found
from nas.analysis.plots.names import FAINT, INK, LINE_COLOURS
from nas.analysis.plots.style import markers, new_figure, save, styled, whole_numbers

Curve = tuple[Sequence[float], Sequence[float]]
COLOURS = dict(zip(SETTINGS, LINE_COLOURS, strict=False)) | {RANDOM: FAINT}
TITLES = {"share": "one block for all (share)", "full": "every block its own (full)"}


def draw_all(runs: Sequence[Found], folder: Path) -> list[Path]:
    """Draws what the runs have: the searches epoch by epoch, the blocks at their end, the evaluations.

    Returns:
        The pictures that were drawn.
    """
    searches = [run for run in runs if run.setting != RANDOM]
    found = []
    if searches:
        found = [
            _draw_searches(searches, _column("alive", 100), "connections alive (%)", folder / "sparsity.png"),
            _draw_searches(
                searches,
                _column("macs_alive", 1e-6),
                "multiply-adds in search (M)",
                folder / "macs.png",
            ),
            _draw_searches(
                # Without a split these images train the weights too, and their accuracy says something else.
                [run for run in searches if run.setting != "joint"] or searches,
                _column("architecture_accuracy", 100),
                "accuracy on the architecture split (%)",
                folder / "architecture_accuracy.png",
            ),
            _draw_searches(searches, _seconds, "seconds an epoch", folder / "seconds.png"),
        ]
    own = [run for run in searches if run.mode == "full" and run.finished and run.setting in (BASE, "plain")]
    if own:
        found.append(_draw_blocks(own, folder / "blocks.png"))
    evaluated = [run for run in runs if run.accuracy is not None]
    if evaluated:
        found.append(_draw_evaluated(evaluated, folder / "evaluated.png"))
    return found


def _column(name: str, factor: float) -> Callable[[Found], Curve]:
    def curve(run: Found) -> Curve:
        rows = [row for row in run.epochs if name in row]
        return [row["epoch"] + 1 for row in rows], [factor * row[name] for row in rows]

    return curve


def _seconds(run: Found) -> Curve:
    # Every group has a row an epoch, with the same time.
    by_epoch = {int(row["epoch"]) + 1: float(row["seconds"]) for row in run.sparsity}
    return list(by_epoch), list(by_epoch.values())


def _modes(runs: Sequence[Found]) -> list[str]:
    return [mode for mode in MODES if any(run.mode == mode for run in runs)]


def _draw_searches(runs: Sequence[Found], curve: Callable[[Found], Curve], label: str, path: Path) -> Path:
    modes = _modes(runs)
    with styled():
        figure = new_figure(520 * len(modes), 440)
        panels = figure.subplots(1, len(modes), squeeze=False, sharey=True)[0]
        for ax, mode in zip(panels, modes, strict=True):
            _draw_settings(ax, [run for run in runs if run.mode == mode], curve)
            ax.set_title(TITLES[mode], loc="left", fontsize=11)
            ax.set(xlabel="epoch")
            ax.set_ylim(bottom=0)
        panels[0].set_ylabel(label)
        handles = {text: handle for ax in panels for handle, text in zip(*_legend(ax), strict=True)}
        figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=3)
        return save(figure, path)


def _legend(ax: Axes) -> tuple[list, list[str]]:
    return ax.get_legend_handles_labels()


def _draw_settings(ax: Axes, runs: Sequence[Found], curve: Callable[[Found], Curve]) -> None:
    """Each search faint; a setting's mean over the searches that have come that far."""
    for setting in SETTINGS:
        by_epoch: dict[float, list[float]] = {}
        for run in runs:
            if run.setting != setting:
                continue
            x, y = curve(run)
            ax.plot(x, y, color=COLOURS[setting], alpha=0.28, lw=1.0)
            for epoch, value in zip(x, y, strict=True):
                by_epoch.setdefault(epoch, []).append(value)
        if by_epoch:
            epochs = sorted(by_epoch)
            means = [float(np.mean(by_epoch[epoch])) for epoch in epochs]
            style = {"color": COLOURS[setting], "lw": 2.4, **markers(len(epochs))}
            ax.plot(epochs, means, label=SETTINGS[setting], **style)
    whole_numbers(ax)


def _draw_blocks(runs: Sequence[Found], path: Path) -> Path:
    """Multiply-adds of every block at the end of the search, as in figure 5a; reductions after the blocks."""
    ends = [{row["group"]: row for row in run.sparsity} for run in runs]  # the last epoch of each group
    names = list(ends[0])
    names.sort(key=lambda name: (name.startswith("reduce"), name))
    settings = [setting for setting in SETTINGS if any(run.setting == setting for run in runs)]
    width = 0.8 / len(settings)
    with styled():
        figure = new_figure(max(640, 60 * len(names) * len(settings)), 440)
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
        return save(figure, path)


def _draw_evaluated(runs: Sequence[Found], path: Path) -> Path:
    """Every evaluated network a dot, the mean of a setting a line."""
    modes = _modes(runs)
    settings = [setting for setting in SETTINGS if any(run.setting == setting for run in runs)]
    with styled():
        figure = new_figure(max(520, 130 * len(settings) * len(modes)), 460)
        panels = figure.subplots(1, len(modes), squeeze=False, sharey=True)[0]
        for ax, mode in zip(panels, modes, strict=True):
            for place, setting in enumerate(settings):
                own = [run.accuracy for run in runs if (run.mode, run.setting) == (mode, setting)]
                if not own:
                    continue
                # Side by side, so that equal ones do not hide each other.
                at = place + 0.12 * (np.arange(len(own)) - (len(own) - 1) / 2)
                ax.plot(at, own, "o", color=COLOURS[setting], ms=7, mec="white", mew=0.6)
                ax.hlines(np.mean(own), place - 0.32, place + 0.32, color=INK, lw=1.6)
            words = [SETTINGS[setting].replace(", ", ",\n") for setting in settings]
            ax.set_xticks(range(len(settings)), words, fontsize=9)
            ax.set_xlim(-0.6, len(settings) - 0.4)
            ax.set_title(TITLES[mode], loc="left", fontsize=11)
            ax.grid(False, axis="x")
        panels[0].set_ylabel("test accuracy (%)")
        return save(figure, path)
