"""Pictures that are drawn as the site is built: cells by their published names, and records as curves.

Nothing is trained for them, and torch is not imported.
"""

import math
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from nas import genotype
from nas.analysis import plots
from nas.reading.csv_text import read_rows

KEPT = Path(__file__).resolve().parents[1]
COURSE = KEPT / "darts/results/cifar10_small/metrics.csv"
FIDELITY = KEPT / "darts/results/implicit_accuracy/implicit.csv"
DIGITS = KEPT / "start/results/digits.csv"
PUBLISHED = (
    ("DARTS_V2", "darts", "DARTS, second order (Liu et al. 2019)"),
    ("DrNAS_cifar10", "darts", "DrNAS, found on CIFAR-10 (Chen et al. 2021)"),
    ("PC_DARTS_cifar", "darts", "PC-DARTS, found on CIFAR-10 (Xu et al. 2020)"),
    ("DARTS_V2", "darts_rnn", "the recurrent cell of DARTS, second order (Liu et al. 2019)"),
)

# What is seen on the pictures of docs/pictures, and the command whose run wrote each.
RUNS = {
    "confusion_digits.png": (
        "Which digits a network of three epochs takes for which: rows are true classes, columns predictions.",
        "python -m nas.evaluate dataset=digits",
    ),
    "cost_devices.png": (
        "Whether latencies on one device rank cells of NAS-Bench-201 as those on another do.",
        "python -m nas.rank space=nasbench201 dataset=cifar10 tabular.file=nb201.csv "
        "tabular.costs=latencies.csv",
    ),
    "evidence_accuracy.png": (
        "Accuracy of each result, by methods; the band is the middle half of all cells of the table.",
        "make evidence",
    ),
    "evidence_anytime.png": (
        "Mean accuracy of the cell of each moment with its 95 % interval, per epoch and per second.",
        "make evidence",
    ),
    "evidence_eigenvalues.png": (
        "The dominant eigenvalue along the searches; those that collapsed are dashed.",
        "make evidence",
    ),
    "genotype.png": (
        "The cell of NAS-Bench-201's space that a first search on the digits finds, seed 0.",
        "python -m nas.search experiment=start/digits",
    ),
    "latency_networks.png": (
        "Latency of twenty random networks of the DARTS space, measured and as the sum of their pieces.",
        "python -m nas.latency space=darts latency.validate=20",
    ),
    "report_search.png": (
        "The page of a search on the digits: cells, op weights of every epoch, curves.",
        "python -m nas.report folder=<run>",
    ),
    "report_sweep.png": (
        "The page of a sweep of three methods and four seeds: means, intervals, differences from random.",
        "python -m nas.report folder=<sweep> baseline=method=random",
    ),
}


@dataclass(frozen=True)
class Picture:
    """A picture of the gallery.

    Attributes:
        name: of its file, without the ending.
        part: the heading that it stands under.
        words: what it shows.
        draw: writes it to a path.
    """

    name: str
    part: str
    words: str
    draw: Callable[[Path], object]


def pictures() -> list[Picture]:
    """All of them, in the order of the page."""
    cells = [
        Picture(f"{space}_{name}", "Cells", f"`genotype={name}`: {words}.", partial(_published, name, space))
        for name, space, words in PUBLISHED
    ]
    return [
        *cells,
        Picture(
            "digits_best",
            "Cells",
            "The best of the ten cells that `experiment=start/digits` has found (NAS-Bench-201's space).",
            _best,
        ),
        Picture(
            "course", "Curves", "A short search on CIFAR-10 by `method=darts1`, after every epoch.", _course
        ),
        Picture(
            "fidelity",
            "Curves",
            "How far the finite difference of second-order DARTS points where the exact product does.",
            _fidelity,
        ),
        Picture(
            "digits",
            "Curves",
            "Searched and random cells of the digits, each trained once; beside them mean and deviation.",
            _digits,
        ),
    ]


def drawn() -> dict[str, bytes]:
    """Name of a file -> its content, for every picture."""
    with tempfile.TemporaryDirectory() as folder:
        found = {}
        for one in pictures():
            path = Path(folder, f"{one.name}.svg")
            one.draw(path)
            found[path.name] = path.read_bytes()
    return found


def page(others: Sequence[str]) -> str:
    """The page; `others` are the names of pictures in docs/pictures, which `RUNS` knows."""
    parts = ["# Gallery", "Drawn by the functions that draw a run's pictures, as this site was built."]
    heading = ""
    for one in pictures():
        if one.part != heading:
            heading = one.part
            parts.append(f"## {heading}")
        parts += [one.words, f"![{one.words.replace('`', '')}](gallery/{one.name}.svg)"]
    parts += ["## From runs", "Pictures that runs and experiments of this project have written."]
    for name in others:
        words, command = RUNS[name]
        parts += [f"![{words}](pictures/{name})", f"{words} By `{command}`."]
    return "\n\n".join(parts) + "\n"


def _published(name: str, space: str, path: Path) -> None:
    plots.draw_genotype(genotype.load(name, space), path)


def _best(path: Path) -> None:
    rows = [row for row in read_rows(DIGITS) if row["cells"] == "searched"]
    best = max(rows, key=lambda row: float(row["test_accuracy"]))
    plots.draw_genotype(genotype.parse(best["genotype"]), path)


def _course(path: Path) -> None:
    rows = [{key: float(value or math.nan) for key, value in row.items()} for row in read_rows(COURSE)]
    plots.draw_curves(rows, path)


def _fidelity(path: Path) -> None:
    rows = read_rows(FIDELITY)
    points = [float(row["step"]) for row in rows], [float(row["cosine"]) for row in rows]
    plots.draw_lines({"cosine": points}, path, "search step", "cosine with the exact product", "")


def _digits(path: Path) -> None:
    groups: dict[str, list[float]] = {}
    for row in read_rows(DIGITS):
        groups.setdefault(row["cells"], []).append(100 * float(row["test_accuracy"]))
    plots.draw_comparison(groups, path, "test accuracy (%)", "", (0, 100))
