"""What the architecture of a run costs, whether that is within a budget, and how far from the best it is."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nas.analysis.constrained import Front
from nas.genotype import Genotype

COST, MET, REGRET, DISTANCE = "cost", "budget_met", "regret_constrained", "front_distance"


@dataclass(frozen=True)
class Costed:
    """A cost as a run reads it.

    Attributes:
        of: what it is: `params`, `macs`, `latency`, or a column of `tabular.costs`.
        price: architecture -> its cost; None where that is not known.
        unit: of the cost; None where nobody has said.
        budget: what it may cost at most; None for any number.
        front: accuracies and costs of all architectures of the space; None without a table of accuracies.
        accuracy: architecture -> its accuracy in that table, in per cent; None where that is not known.
        proxy: another cost that the search was held to in its place, such as multiply-adds; None for none.
        predicted: whether a surrogate says so, and no table or count.
        met: the key of whether it is within; not `budget_met` where another budget is told by that.
        fit: where candidates were given costs by a fit, its R2 and median relative error on others.
        rank: cost -> its rank among all, and how many share it; None where they are not known.
    """

    of: str
    price: Callable[[Genotype], float | None]
    unit: str | None = None
    budget: float | None = None
    front: Front | None = None
    accuracy: Callable[[Genotype], float | None] = lambda genotype: None
    rank: Callable[[float], tuple[int, int]] | None = None
    proxy: "Costed | None" = None
    fit: tuple[float, float] | None = None
    met: str = MET
    predicted: bool = False

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of `metrics.csv` that `row` fills."""
        of_budget = () if self.budget is None else (self.met,)
        of_table = () if self.front is None else ((DISTANCE,) if self.budget is None else (REGRET, DISTANCE))
        return (COST, *of_budget, *of_table)

    def row(self, genotype: Genotype) -> dict[str, float | int | None]:
        """An architecture as columns of `metrics.csv`; None where something is not known."""
        found = self.report(genotype)
        met = found[self.met]
        values: dict[str, float | int | None] = {
            COST: found[COST], self.met: None if met is None else int(met),
            REGRET: found[REGRET], DISTANCE: found[DISTANCE],
        }  # fmt: skip
        return {name: values[name] for name in self.columns}

    def report(self, genotype: Genotype) -> dict[str, Any]:
        """What `summary.json` says; null where it is not known.

        The regret is in percentage points, to the best accuracy within the budget, of an architecture that
        is within it itself; the distance is to the best accuracy at its own cost or less.
        """
        cost, accuracy = self.price(genotype), self.accuracy(genotype)
        known = cost is not None and accuracy is not None and self.front is not None
        met = None if self.budget is None else cost is not None and cost <= self.budget
        best = self.front.best(self.budget) if self.front is not None and self.budget is not None else None
        found: dict[str, Any] = {
            "cost_of": self.of,
            COST: cost,
            "cost_unit": self.unit,
            "cost_budget": self.budget,
            self.met: met,
            REGRET: None,
            DISTANCE: None,
        }
        if known:
            assert cost is not None and accuracy is not None and self.front is not None
            found[DISTANCE] = round(self.front.distance(cost, accuracy), 6)
            if met and best is not None:
                found[REGRET] = round(best - accuracy, 6)
        if self.rank is not None:
            found["cost_rank"], found["cost_equals"] = (None, None) if cost is None else self.rank(cost)
        if self.fit is not None:
            found["cost_fit_r2"], found["cost_fit_error"] = self.fit
        if self.proxy is not None:
            own = self.proxy.report(genotype)
            found |= {f"proxy_{key}": own[key] for key in ("cost_of", COST, "cost_unit", "cost_budget", MET)}
        return found

    def words(self, genotype: Genotype) -> str:
        """The same in one line for a person."""
        found = self.report(genotype)
        cost, met = found[COST], found[self.met]
        unit = f" {self.unit}" if self.unit else ""
        if cost is None:
            line = f"{self.of}: not known of this architecture"
        else:
            line = f"{self.of} {cost:,.6g}{unit}{' (predicted)' if self.predicted else ''}"
        if self.budget is not None:
            where = "within" if met else "not known to be within" if cost is None else "ABOVE"
            line += f", {where} the budget of {self.budget:,.6g}"
        if found[REGRET] is not None:
            line += f"; {found[REGRET]:.2f} points below the best within it"
        if found[DISTANCE] is not None:
            line += f"; {found[DISTANCE]:.2f} below the best at this cost or less"
        return line if self.proxy is None else f"{line}. Held to {self.proxy.words(genotype)}"
