"""Figure 4 of DSO-NAS, blocks found on two data sets side by side, of the pictures that searches have drawn.

    python -m nas.search experiment=dsonas/cifar10_share hardware=gpu hydra.run.dir=cifar10
    python -m nas.search experiment=dsonas/imagenet_share hardware=gpu hydra.run.dir=imagenet
    python -m experiments.dsonas.figure4 --runs cifar10 imagenet --output figure4.png

The paper's blocks are those of the shared space; any two or more searches of blocks will do.
"""

import json
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from experiments.drawing import panels

FOUND = "figures/genotype.png"
# Pixels of a panel: a run's picture keeps its shape within them.
WIDTH, TALLEST = 760, 1400


def draw(runs: Sequence[Path], path: Path) -> Path:
    """Draws the blocks of each run in a panel of its own, headed by data set and seed.

    Args:
        runs: run folders of finished searches.
        path: of the picture.
    """
    titles, pictures = [], []
    for run in runs:
        summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
        titles.append(f"{summary.get('dataset', run.name)}, seed {summary.get('seed', '?')}")
        with Image.open(run / FOUND) as found:
            pictures.append(np.asarray(found.convert("RGB")))
    # One scale for all: each has the paper of the widest and of the tallest.
    tall, wide = (max(pixels.shape[side] for pixels in pictures) for side in (0, 1))
    pictures = [
        np.pad(
            pixels,
            ((0, tall - pixels.shape[0]), (0, wide - pixels.shape[1]), (0, 0)),
            constant_values=255,
        )
        for pixels in pictures
    ]
    height = WIDTH * tall / wide
    with panels(path, titles, WIDTH * len(runs), min(TALLEST, height + 60), sharey=False) as (_, axes):
        for ax, pixels in zip(axes, pictures, strict=True):
            ax.imshow(pixels, interpolation="antialiased")
            ax.set_axis_off()
    return path


def main(words: Sequence[str] | None = None) -> None:
    """Joins the pictures and prints the path."""
    parser = ArgumentParser(prog="python -m experiments.dsonas.figure4", description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=Path, nargs="+", required=True, help="run folders of searches")
    parser.add_argument("--output", type=Path, required=True, help="the picture")
    given = parser.parse_args(words)
    for run in given.runs:
        lacking = [name for name in ("summary.json", FOUND) if not (run / name).is_file()]
        if lacking:
            parser.error(f"--runs {run}: it has no {lacking[0]}, which a finished search writes")
    print(draw(given.runs, given.output))


if __name__ == "__main__":
    main()
