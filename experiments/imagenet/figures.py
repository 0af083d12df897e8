"""Pictures of `experiments.imagenet.reduced`: every run faint, the mean of a kind strong; the cells found."""

from collections.abc import Sequence
from pathlib import Path

from experiments.drawing import curve, draw_mean, drawn, picture
from experiments.imagenet.record import ENLARGED, FOUND, KINDS, Cell
from nas.analysis.plots import draw_genotype
from nas.analysis.plots.names import FAINT, LINE_COLOURS

COLOURS = dict(zip(KINDS, (LINE_COLOURS[0], FAINT, *LINE_COLOURS[1:]), strict=False))


def draw_all(runs: Sequence[Cell], folder: Path) -> list[Path]:
    """Draws what the runs have: the searches, the evaluations, the accuracies, and the cells found.

    Returns:
        The pictures that were drawn.
    """
    # Images of another size in a narrower network belong beside nothing.
    tested = [run for run in runs if run.evaluation.finished and run.kind != ENLARGED]
    paths = drawn(
        folder,
        ("search", _draw_searches, [run for run in runs if run.search.trained]),
        ("evaluation", _draw_evaluations, [run for run in runs if run.evaluation.rows]),
        ("tested", _draw_tested, tested),
    )
    for run in runs:
        if run.kind == FOUND:
            paths.append(folder / f"cell_seed{run.seed}.png")
            draw_genotype(run.genotype, paths[-1])
    return paths


def _draw_searches(runs: Sequence[Cell], path: Path) -> None:
    """Accuracy on both parts, and how far the op weights have come from alike."""
    panels = (
        ("accuracy of the supernet (%)", 100, "{}_accuracy", "{} part", ("weight", "architecture")),
        ("mean entropy of an edge's op weights (nats)", 1, "{}_entropy", "{} cell", ("normal", "reduce")),
    )
    with picture(path, 1000, 420) as figure:
        for ax, (label, factor, column, words, names) in zip(figure.subplots(1, 2), panels, strict=True):
            for name, colour in zip(names, LINE_COLOURS, strict=False):
                curves = [curve(run.search.rows, column.format(name), factor) for run in runs]
                draw_mean(ax, curves, colour, words.format(name))
            ax.set(xlabel="epoch", ylabel=label)
            ax.legend()


def _draw_evaluations(runs: Sequence[Cell], path: Path) -> None:
    parts = {"train": "training images, augmented", "valid": "images held out"}
    with picture(path, 1000, 460) as figure:
        panels = figure.subplots(1, 2, sharey=True)
        for ax, (part, title) in zip(panels, parts.items(), strict=True):
            for kind, words in KINDS.items():
                curves = [
                    curve(run.evaluation.rows, f"{part}_accuracy", 100) for run in runs if run.kind == kind
                ]
                curves = [points for points in curves if points[0]]
                draw_mean(ax, curves, COLOURS[kind], f"{words} (n = {len(curves)})")
            ax.set_title(title, loc="left")
            ax.set(xlabel="epoch")
        panels[0].set(ylabel="accuracy (%)")
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)


def _draw_tested(runs: Sequence[Cell], path: Path) -> None:
    """Accuracy against multiply-adds: the cells are not of one size."""
    with picture(path, 720, 460) as figure:
        ax = figure.subplots()
        for kind, words in KINDS.items():
            group = [run for run in runs if run.kind == kind]
            if group:
                macs, label = (
                    [run.evaluation.get("macs") / 1e6 for run in group],
                    f"{words} (n = {len(group)})",
                )
                ax.plot(macs, [run.accuracy for run in group], "o", color=COLOURS[kind], label=label)
        ax.set(xlabel="multiply-adds (M)", ylabel="test accuracy (%)")
        figure.legend(loc="outside lower center", ncols=2)
