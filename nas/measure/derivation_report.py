"""What `nas.derive` leaves in its folder and prints: tables, genotypes, the Pareto front."""

from collections.abc import Callable, Mapping, Sequence

from rich.table import Table

from nas.analysis import plots
from nas.analysis.plots.pareto import draw_pareto
from nas.analysis.sampling import LIMITS, PRICED, Architecture, Budget
from nas.engine.progress import console
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
    drawn: Sequence[Architecture],
    budget: Budget,
    draws: int,
) -> None:
    """Writes `architectures.csv`: the ranked ones, then all others as given, without a rank."""
    placed = {arch.genotype for arch in ranked}
    rows = [_row(arch, rank, budget, draws) for rank, arch in enumerate(ranked, start=1)]
    rows += [_row(arch, None, budget, draws) for arch in drawn if arch.genotype not in placed]
    # Last, and only where a measure ranks.
    more = ["measured"] if any(arch.measured is not None for arch in drawn) else []
    write_text(folder / "architectures.csv", csv_table([*COLUMNS, *more], rows))


def _row(arch: Architecture, rank: int | None, budget: Budget, draws: int) -> dict[str, object]:
    return {
        "rank": rank,
        "genotype": str(arch.genotype),
        "log_probability": f"{arch.log_probability:.6f}",
        "count": arch.count,
        "frequency": arch.count / draws,
        "params": arch.params,
        "macs": arch.macs,
        "num_skip": arch.skips,
        "latency_ms": None if arch.latency is None else f"{arch.latency:.4f}",
        "latency_spread_ms": None if arch.latency_spread is None else f"{arch.latency_spread:.4f}",
        "latency_predicted_ms": None if arch.predicted is None else f"{arch.predicted:.4f}",
        "supernet_accuracy": arch.accuracy,
        "within_budget": within_budget(arch, budget),
        "pareto": "yes" if arch.front else "no",
        "derived": "yes" if arch.derived else "no",
        "measured": None if arch.measured is None else f"{arch.measured:.10g}",
    }


def within_budget(arch: Architecture, budget: Budget) -> str:
    """`yes`, `no`, `predicted` where a table alone says yes, or `unknown` where only a latency could tell."""
    if budget.keeps(arch):
        return "predicted" if budget.latency is not None and arch.latency is None else "yes"
    open_question = budget.keeps(arch, PRICED) and arch.cost("latency") is None
    return "unknown" if open_question else "no"


def write_genotypes(folder: RunFolder, best: Sequence[Architecture], caption: str) -> None:
    """Writes the best as `genotypes/rank_001.json` and on, and the first also as `genotype.json`."""
    genotypes = subfolder(folder / "genotypes")
    for rank, arch in enumerate(best, start=1):
        write_text(genotypes / f"rank_{rank:03d}.json", arch.genotype.to_json() + "\n")
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
        [cost(arch) / unit for arch in scored],
        [score(arch) for arch in scored],
        [arch.front for arch in scored],
        [budget.keeps(arch) for arch in scored],
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
    latency = any(arch.latency is not None for arch in [*best, derived])
    predicted = derived.predicted is not None
    accuracy = any(arch.accuracy is not None for arch in [*best, derived])
    measured = any(arch.measured is not None for arch in best)
    names = ["rank", "log P", "draws", "params", "multiply-adds"]
    skips = budget.skips is not None
    shown = {"skips": skips, "predicted ms": predicted, "latency ms": latency, "accuracy": accuracy}
    shown[score] = measured
    for name in [*names, *(name for name, there in shown.items() if there), "front"]:
        table.add_column(name, justify="right")
    for rank, arch in enumerate(best, start=1):
        mark = f"{rank} *" if arch.derived else str(rank)
        table.add_row(*_cells(arch, mark, skips, predicted, latency, accuracy, measured))
    if not any(arch.derived for arch in best):
        kept = within_budget(derived, budget)
        mark = "*" if kept == "yes" else f"* ({kept})"
        table.add_row(*_cells(derived, mark, skips, predicted, latency, accuracy, measured))
    screen = console()
    screen.print(table)
    over = [name for name in LIMITS if not budget.keeps(derived, (name,))]
    note = f"; over the budget in {', '.join(over)}" if over else ""
    screen.print(f"* what derivation gives without a draw{note}; {draws:,} draws", highlight=False)


def _cells(
    arch: Architecture,
    rank: str,
    skips: bool,
    predicted: bool,
    latency: bool,
    accuracy: bool,
    measured: bool,
) -> list[str]:
    cells = [rank, f"{arch.log_probability:.3f}", f"{arch.count:,}", f"{arch.params:,}", f"{arch.macs:,}"]
    if skips:
        cells.append(str(arch.skips))
    if predicted:
        cells.append(f"{arch.predicted:.3g}")
    if latency:
        spread = arch.latency_spread
        cells.append("" if spread is None else f"{arch.latency:.3g} ± {spread / 2:.2g}")
    if accuracy:
        cells.append("" if arch.accuracy is None else f"{100 * arch.accuracy:.2f}%")
    if measured:
        cells.append("" if arch.measured is None else f"{arch.measured:.6g}")
    return [*cells, "yes" if arch.front else ""]


def cheapest(drawn: Sequence[Architecture], budget: Budget) -> Architecture:
    """The architecture that is nearest to the budget's parameters and multiply-adds."""
    limits = {name: limit for name in ("params", "macs") if (limit := getattr(budget, name)) is not None}
    return min(drawn, key=lambda arch: max(getattr(arch, name) / limit for name, limit in limits.items()))


def nothing_left(
    drawn: Sequence[Architecture],
    budget: Budget,
    affordable: Sequence[Architecture],
    folder: RunFolder,
    fitting: str,
) -> str:
    """Why there is no architecture to keep, how far away the budget is, and which sizes would keep it.

    Args:
        drawn: all that there were.
        budget: what none of them keeps.
        affordable: those that keep what is known without measuring.
        folder: where the table is.
        fitting: sizes with which the cheapest of them would keep the budget; empty for none.
    """
    smallest = [
        f"fewest {name} {min(getattr(arch, key) for arch in drawn):,}"
        for key, name in (("params", "parameters"), ("macs", "multiply-adds"), ("skips", "skip connections"))
        if getattr(budget, key) is not None
    ]
    measured = [arch.latency for arch in affordable if arch.latency is not None]
    predicted = [arch.predicted for arch in drawn if arch.predicted is not None]
    if budget.latency is not None and predicted:
        smallest.append(f"shortest predicted latency {min(predicted):.3g} ms")
    if budget.latency is not None and measured:
        smallest.append(f"shortest latency {min(measured):.3g} ms of {len(measured)} measured")
    if budget.latency is not None and measured:
        # What a table says is too slow is not measured; what may keep the budget is, up to a number.
        may = (arch.predicted is None or arch.predicted <= budget.latency for arch in affordable)
        unmeasured = sum(arch.latency is None and so for arch, so in zip(affordable, may, strict=True))
        if unmeasured:
            return (
                f"{budget}: of {len(measured)} measured none keeps it ({', '.join(smallest)}), and "
                f"{unmeasured:,} more were not measured; raise latency.candidates or the budget. All are in "
                f"{folder / 'architectures.csv'}"
            )
    joint = "" if len(smallest) < 2 else " (not necessarily of one architecture)"
    return (
        f"{budget}: none of {len(drawn):,} distinct architectures keeps it; "
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
