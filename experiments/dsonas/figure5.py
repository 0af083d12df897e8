"""Figure 5 of DSO-NAS, of the runs of a protocol: with and without adaptive FLOPs.

    python -m nas.protocol experiment=dsonas/figure5_reduced overrides=[dataset.root=<folder>]
    python -m experiments.dsonas.figure5 --folder <run folder of the protocol>

(a) multiply-adds of every block at the end of the search, at the largest gamma that both curves have;
(b) test error over multiply-adds, (c) over parameters. Writes `figure5.png` into the folder,
or to `--output`.
"""

from argparse import ArgumentParser
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from experiments.drawing import legend_of, picture
from nas.analysis.plots.names import LINE_COLOURS
from nas.engine.run_folder import read_table
from nas.reading.csv_text import read_rows

TITLES = {"flops": "adaptive FLOPs", "none": "one gamma for all"}


@dataclass(frozen=True)
class Point:
    """A network of the figure.

    Attributes:
        adaptive: `flops` or `none`.
        gamma: the weight of the L1 norm.
        error: on the test set, in per cent.
        macs, params: of the network, in millions.
        blocks: group -> multiply-adds at the end of its search, in millions.
    """

    adaptive: str
    gamma: float
    error: float
    macs: float
    params: float
    blocks: Mapping[str, float]


def read(folder: Path) -> list[Point]:
    """The networks of a protocol that have been trained; others are left out."""
    points = []
    for row in read_rows(folder / "table.csv"):
        words = dict(word.partition("=")[::2] for word in row["setting"].split())
        adaptive, gamma = words.get("method.adaptive"), words.get("method.gamma")
        if row["phase"] != "evaluate" or row["status"] != "finished" or adaptive not in TITLES or not gamma:
            continue
        error = 100 * (1 - float(row["test_accuracy"]))
        macs, params = (float(row[name]) / 1e6 for name in ("macs", "params"))
        points.append(Point(adaptive, float(gamma), error, macs, params, _blocks(folder / row["of"])))
    return points


def _blocks(search: Path) -> dict[str, float]:
    """The last epoch of each group, the blocks before the reductions."""
    last = {row["group"]: float(row["macs"]) / 1e6 for row in read_table(search / "sparsity.csv")}
    return dict(sorted(last.items(), key=lambda item: item[0].startswith("reduce")))


def draw(points: Sequence[Point], path: Path) -> Path:
    """Draws the three panels; a curve is a line over its gammas.

    Raises:
        ValueError: no network of the figure has been trained.
    """
    if not points:
        raise ValueError("no finished training with method.adaptive and method.gamma in its setting")
    curves = {name: [one for one in points if one.adaptive == name] for name in TITLES}
    curves = {name: sorted(own, key=lambda one: one.gamma) for name, own in curves.items() if own}
    common = set.intersection(*({one.gamma for one in own} for own in curves.values()))
    shown = max(common, default=None)
    with picture(path, 1320, 440) as figure:
        axes = figure.subplots(1, 3, width_ratios=(1.3, 1, 1))
        for number, (name, own) in enumerate(curves.items()):
            colour = LINE_COLOURS[number]
            for ax, key in ((axes[1], "macs"), (axes[2], "params")):
                along = [getattr(one, key) for one in own]
                ax.plot(along, [one.error for one in own], "o-", color=colour, label=TITLES[name])
                for at, one in zip(along, own, strict=True):
                    ax.annotate(
                        f"{one.gamma:g}", (at, one.error), (4, 4), textcoords="offset points", fontsize=8
                    )
            ends = [one.blocks for one in own if one.gamma == shown]
            names = list(dict.fromkeys(group for one in ends for group in one))
            if names:
                means = [float(np.mean([one.get(group, 0.0) for one in ends])) for group in names]
                width = 0.8 / len(curves)
                places = np.arange(len(names)) + (number - (len(curves) - 1) / 2) * width
                axes[0].bar(places, means, 0.9 * width, color=colour, label=TITLES[name])
                words = [group.replace("_", " ") for group in names]
                axes[0].set_xticks(range(len(names)), words, rotation=40, ha="right", fontsize=8)
        of = "" if shown is None else f", gamma {shown:g}"
        for ax, title in zip(axes, (f"(a) every block{of}", "(b)", "(c)"), strict=True):
            ax.set_title(title, loc="left", fontsize=11)
        axes[0].set_ylabel("multiply-adds at the end (M)")
        axes[1].set(xlabel="multiply-adds (M)", ylabel="test error (%), beside it gamma")
        axes[2].set_xlabel("parameters (M)")
        legend_of(figure, axes[1:2], 2)
    return path


def main(words: Sequence[str] | None = None) -> None:
    """Reads the protocol's folder, draws and prints the path."""
    parser = ArgumentParser(prog="python -m experiments.dsonas.figure5", description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True, help="run folder of nas.protocol")
    parser.add_argument("--output", type=Path, help="the picture; figure5.png in the folder without it")
    given = parser.parse_args(words)
    if not (given.folder / "table.csv").is_file():
        parser.error(f"--folder {given.folder}: it has no table.csv, which nas.protocol writes")
    points = read(given.folder)
    if not points:
        parser.error(
            f"--folder {given.folder}: it has no finished training with method.adaptive and method.gamma"
        )
    print(draw(points, given.output or given.folder / "figure5.png"))


if __name__ == "__main__":
    main()
