"""What `experiments.drnas.bound` found: a table of every case, a report and a picture."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from experiments.drawing import panels
from experiments.drnas.bound import Sides
from experiments.records import as_csv, keep_record, markdown, sections
from nas.analysis.plots.names import INK, LINE_COLOURS

HEAD = """# The bound of proposition 1, in numbers

Made by `python -m experiments.drnas.bound`. The expected loss over a Dirichlet against the right side of
proposition 1 of Chen et al. 2021. It is said of Hessians without negative eigenvalues, and only
approximately; the other cases are shown too. *Gap*: how far the expected loss is above the loss at the mean,
over how far the right side is; from 1 on the inequality holds.

Strongly convex quadratic losses of one edge with 5 candidates, the expectation in closed form:"""
DIGITS = """A search on the digits, 6 edges of 5 candidates, epochs: {epochs}. Delta is over all edges, the
expectation a mean over draws. One seed, so an example. The inequality counts as held where the mean is above
the right side; the standard error is beside it."""


def gap(one: Sides) -> float:
    """What is expected above the loss at the mean, over what the bound has above it."""
    return (one.expected - one.centre) / (one.bound - one.centre)


def _row(delta: float, found: Sequence[Sides]) -> dict[str, object]:
    within = [one for one in found if one.semidefinite]
    beside = [one for one in found if not one.semidefinite]
    gaps = [gap(one) for one in within]
    return {
        "delta": delta,
        "no negative eigenvalue": len(within),
        "of them holds": sum(one.holds for one in within),
        "smallest gap": min(gaps, default=None),
        "median gap": float(np.median(gaps)) if gaps else None,
        "others": len(beside),
        "of these holds": sum(one.holds for one in beside),
    }


def _epoch(epoch: int, one: Sides) -> dict[str, object]:
    return {
        "epoch": epoch,
        "delta": one.delta,
        "loss at the mean": f"{one.centre:.4f}",
        "right side": f"{one.bound:.4f}",
        "expected": f"{one.expected:.4f} +- {one.error:.4f}",
        "smallest eigenvalue": f"{one.least:.4f}",
        "holds": "yes" if one.holds else "no",
    }


def record(folder: Path, quadratics: Mapping[float, Sequence[Sides]], digits: Sequence[Sides]) -> None:
    """Writes `bound.csv`, `bound.md` and `bound.png`.

    Args:
        folder: where they go; made if it is not there.
        quadratics: the distance of the concentrations from 1 -> cases.
        digits: after every epoch of a search.
    """
    cases = [("quadratic", number, one) for found in quadratics.values() for number, one in enumerate(found)]
    cases += [("digits", epoch, one) for epoch, one in enumerate(digits, 1)]
    table = [{"of": of, "number": number, **vars(one)} for of, number, one in cases]
    report = sections(
        HEAD,
        markdown([_row(delta, found) for delta, found in quadratics.items()]),
        DIGITS.format(epochs=len(digits)),
        markdown([_epoch(epoch, one) for epoch, one in enumerate(digits, 1)]),
    )
    folder.mkdir(parents=True, exist_ok=True)
    keep_record(folder, "bound", as_csv(table), report, lambda: [_draw(folder, quadratics, digits)])


def _draw(folder: Path, quadratics: Mapping[float, Sequence[Sides]], digits: Sequence[Sides]) -> Path:
    path = folder / "bound.png"
    with panels(path, ("quadratic losses", "a search on the digits"), 900, 360, sharey=False) as (_, axes):
        left, right = axes
        for delta, found in quadratics.items():
            gaps = [gap(one) for one in found if one.semidefinite]
            left.plot([delta] * len(gaps), gaps, ".", color=LINE_COLOURS[0], alpha=0.25)
        left.axhline(1, color=INK, lw=1, ls="--")
        left.set_xscale("log")
        left.set_xlabel("distance of the concentrations from 1")
        left.set_ylabel("gap: expected over bound")
        epochs = range(1, 1 + len(digits))
        above = [one.expected - one.centre for one in digits]
        error = [2 * one.error for one in digits]
        right.errorbar(epochs, above, yerr=error, fmt="-o", color=LINE_COLOURS[0], label="expected (2 s.e.)")
        bounds = [one.bound - one.centre for one in digits]
        right.plot(epochs, bounds, "--", color=LINE_COLOURS[1], label="right side")
        right.set_ylim(bottom=0)
        right.set_xlabel("epoch")
        right.set_ylabel("above the loss at the mean")
        right.legend()
    return path
