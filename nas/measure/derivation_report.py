"""What `nas.derive` leaves in its folder and prints: tables, genotypes, the Pareto front."""

from collections.abc import Callable, Mapping, Sequence

from rich.console import Console
from rich.table import Table

from nas.analysis import plots
from nas.analysis.plots.pareto import draw_pareto
from nas.analysis.sampling import LIMITS, PRICED, Architecture, Budget
from nas.engine.run_folder import RunFolder
from nas.files import subfolder, write_text
from nas.reading.csv_text import csv_table

COLUMNS = (
    "rank",
    "genotype",
    "log_probability",
    "count",
    "frequency",
    "params",
    "macs",
    "num_skip",
    "latency_ms",
    "latency_spread_ms",
    "latency_predicted_ms",
    "supernet_accuracy",
    "within_budget",
    "pareto",
    "derived",
)
# Parameters and multiply-adds are drawn in millions.
UNITS = {"params": 1e6, "macs": 1e6, "latency": 1.0}


def write_table(
    folder: RunFolder,
    ranked: Sequence[Architecture],
    found: Sequence[Architecture],
    budget: Budget,
    draws: int,
) -> None:
    """Writes `architectures.csv`: the ranked ones, then all others as given, without a rank."""
    placed = {one.genotype for one in ranked}
    rows = [_row(one, rank, budget, draws) for rank, one in enumerate(ranked, start=1)]
    rows += [_row(one, None, budget, draws) for one in found if one.genotype not in placed]
    # Last, and only where a measure ranks.
    more = ["measured"] if any(one.measured is not None for one in found) else []
    write_text(folder / "architectures.csv", csv_table([*COLUMNS, *more], rows))


def _row(one: Architecture, rank: int | None, budget: Budget, draws: int) -> dict[str, object]:
    return {
        "rank": rank,
        "genotype": str(one.genotype),
        "log_probability": f"{one.log_probability:.6f}",
        "count": one.count,
        "frequency": one.count / draws,
        "params": one.params,
        "macs": one.macs,
        "num_skip": one.skips,
        "latency_ms": None if one.latency is None else f"{one.latency:.4f}",
        "latency_spread_ms": None if one.latency_spread is None else f"{one.latency_spread:.4f}",
        "latency_predicted_ms": None if one.predicted is None else f"{one.predicted:.4f}",
        "supernet_accuracy": one.accuracy,
        "within_budget": within_budget(one, budget),
        "pareto": "yes" if one.front else "no",
        "derived": "yes" if one.derived else "no",
        "measured": None if one.measured is None else f"{one.measured:.10g}",
    }


def within_budget(one: Architecture, budget: Budget) -> str:
    """`yes`, `no`, `predicted` where a table alone says yes, or `unknown` where only a latency could tell."""
    if budget.keeps(one):
        return "predicted" if budget.latency is not None and one.latency is None else "yes"
    open_question = budget.keeps(one, PRICED) and one.cost("latency") is None
    return "unknown" if open_question else "no"


def write_genotypes(folder: RunFolder, best: Sequence[Architecture], caption: str) -> None:
    """Writes the best as `genotypes/rank_001.json` and on, and the first also as `genotype.json`."""
    genotypes = subfolder(folder / "genotypes")
    for rank, one in enumerate(best, start=1):
        write_text(genotypes / f"rank_{rank:03d}.json", one.genotype.to_json() + "\n")
    write_text(folder / "genotype.json", best[0].genotype.to_json() + "\n")
    plots.draw_genotype(best[0].genotype, folder.figures / "genotype.png", caption=caption)


def draw(
    folder: RunFolder,
    scored: Sequence[Architecture],
    derived: Architecture,
    budget: Budget,
    axis: str,
    cost: Callable[[Architecture], float],
    score: Callable[[Architecture], float],
    axes: Mapping[str, str],
    ylabel: str,
    caption: str,
) -> None:
    """Draws `figures/pareto.png` of the architectures whose cost and score are known."""
    unit = UNITS[axis]
    limit = getattr(budget, axis)
    draw_pareto(
        [cost(one) / unit for one in scored],
        [score(one) for one in scored],
        [one.front for one in scored],
        [budget.keeps(one) for one in scored],
        folder.figures / "pareto.png",
        axes[axis],
        ylabel,
        derived=(cost(derived) / unit, score(derived)) if derived in scored else None,
        limit=None if limit is None else limit / unit,
        caption=caption,
    )


def print_table(
    best: Sequence[Architecture], derived: Architecture, budget: Budget, draws: int, score: str
) -> None:
    """Prints the best and, marked, the architecture that is derived without a draw; `score` is what ranks."""
    table = Table(title=f"best within {budget}" if str(budget) != "no budget" else "best, no budget")
    latency = any(one.latency is not None for one in [*best, derived])
    predicted = derived.predicted is not None
    accuracy = any(one.accuracy is not None for one in [*best, derived])
    measured = any(one.measured is not None for one in best)
    names = ["rank", "log P", "draws", "params", "multiply-adds"]
    skips = budget.skips is not None
    shown = {"skips": skips, "predicted ms": predicted, "latency ms": latency, "accuracy": accuracy}
    shown[score] = measured
    for name in [*names, *(name for name, there in shown.items() if there), "front"]:
        table.add_column(name, justify="right")
    for rank, one in enumerate(best, start=1):
        table.add_row(
            *_cells(
                one, f"{rank} *" if one.derived else str(rank), skips, predicted, latency, accuracy, measured
            )
        )
    if not any(one.derived for one in best):
        kept = within_budget(derived, budget)
        mark = "*" if kept == "yes" else f"* ({kept})"
        table.add_row(*_cells(derived, mark, skips, predicted, latency, accuracy, measured))
    console = Console()
    console.print(table)
    over = [name for name in LIMITS if not budget.keeps(derived, (name,))]
    note = f"; over the budget in {', '.join(over)}" if over else ""
    console.print(f"* what derivation gives without a draw{note}; {draws:,} draws", highlight=False)


def _cells(
    one: Architecture,
    rank: str,
    skips: bool,
    predicted: bool,
    latency: bool,
    accuracy: bool,
    measured: bool,
) -> list[str]:
    cells = [rank, f"{one.log_probability:.3f}", f"{one.count:,}", f"{one.params:,}", f"{one.macs:,}"]
    if skips:
        cells.append(str(one.skips))
    if predicted:
        cells.append(f"{one.predicted:.3g}")
    if latency:
        spread = one.latency_spread
        cells.append("" if spread is None else f"{one.latency:.3g} ± {spread / 2:.2g}")
    if accuracy:
        cells.append("" if one.accuracy is None else f"{100 * one.accuracy:.2f}%")
    if measured:
        cells.append("" if one.measured is None else f"{one.measured:.6g}")
    return [*cells, "yes" if one.front else ""]


def cheapest(found: Sequence[Architecture], budget: Budget) -> Architecture:
    """The architecture that is nearest to the budget's parameters and multiply-adds."""
    limits = {name: limit for name in ("params", "macs") if (limit := getattr(budget, name)) is not None}
    return min(found, key=lambda one: max(getattr(one, name) / limit for name, limit in limits.items()))


def nothing_left(
    found: Sequence[Architecture],
    budget: Budget,
    affordable: Sequence[Architecture],
    folder: RunFolder,
    fitting: str,
) -> str:
    """Why there is no architecture to keep, how far away the budget is, and which sizes would keep it.

    Args:
        found: all that were drawn.
        budget: what none of them keeps.
        affordable: those that keep what is known without measuring.
        folder: where the table is.
        fitting: sizes with which the cheapest of them would keep the budget; empty for none.
    """
    smallest = [
        f"fewest {name} {min(getattr(one, key) for one in found):,}"
        for key, name in (("params", "parameters"), ("macs", "multiply-adds"), ("skips", "skip connections"))
        if getattr(budget, key) is not None
    ]
    measured = [one.latency for one in affordable if one.latency is not None]
    predicted = [one.predicted for one in found if one.predicted is not None]
    if budget.latency is not None and predicted:
        smallest.append(f"shortest predicted latency {min(predicted):.3g} ms")
    if budget.latency is not None and measured:
        smallest.append(f"shortest latency {min(measured):.3g} ms of {len(measured)} measured")
    if budget.latency is not None and measured:
        # What a table says is too slow is not measured; what may keep the budget is, up to a number.
        may = (one.predicted is None or one.predicted <= budget.latency for one in affordable)
        unmeasured = sum(one.latency is None and so for one, so in zip(affordable, may, strict=True))
        if unmeasured:
            return (
                f"{budget}: of {len(measured)} measured none keeps it ({', '.join(smallest)}), and "
                f"{unmeasured:,} more were not measured; raise latency.candidates or the budget. All are in "
                f"{folder / 'architectures.csv'}"
            )
    joint = "" if len(smallest) < 2 else " (not necessarily of one architecture)"
    return (
        f"{budget}: none of {len(found):,} distinct architectures keeps it; "
        f"{', '.join(smallest)}{joint}. "
        f"All are in {folder / 'architectures.csv'}; "
        + (f"the cheapest of them would keep it with {fitting}; else " if fitting else "")
        + "raise the budget, or draw more samples"
    )


def numbers_of(best: Architecture, derived: Architecture, budget: Budget) -> dict[str, object]:
    """What `summary.json` says of the best, and of what derivation gives without a draw."""
    predicted = {} if best.predicted is None else {"latency_predicted": best.predicted}
    measured = {} if best.measured is None else {"measured": best.measured}
    return {
        "genotype": str(best.genotype),
        "params": best.params,
        "macs": best.macs,
        "num_skip": best.skips,
        "log_probability": best.log_probability,
        "latency": best.latency,
        **predicted,
        "supernet_accuracy": best.accuracy,
        **measured,
        "derived_genotype": str(derived.genotype),
        "derived_params": derived.params,
        "derived_macs": derived.macs,
        "derived_within_budget": budget.keeps(derived),
    }
