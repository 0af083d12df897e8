"""What the searches say of the papers' claims, in words that follow from the numbers by fixed rules.

The rules are written on the page (`texts.RULES`), so that nobody has to trust the author of a sentence.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from experiments.evidence.rows import Plan, Row
from experiments.evidence.searches import Search
from nas.analysis.statistics import Comparison, compare, compare_unpaired, holm, seeds_needed

LEVEL = 0.95
ALPHA = 0.05
LEAST = 4
# With fewer no binomial test has a p of at most `ALPHA`.
LEAST_OF_SIGNS = 6
# The eigenvalue after it is asked what it says of the end: half of the way.
EPOCH = 60


@dataclass(frozen=True)
class Share:
    """How many of some searches did something, with the exact interval of the share."""

    k: int
    n: int
    low: float
    high: float

    @property
    def words(self) -> str:
        """`3 of 8 (interval 0.09 to 0.76)`."""
        return f"{self.k} of {self.n} ({100 * self.low:.0f} to {100 * self.high:.0f} %)"

    @property
    def verdict(self) -> str:
        """What may be said of most searches."""
        if self.n < LEAST:
            return "too few"
        if self.low > 0.5:
            return "most"
        return "fewer than half" if self.high < 0.5 else "open whether most or fewer than half"


def share(k: int, n: int) -> Share:
    """A share with Clopper and Pearson's interval; of nothing it is all that is possible."""
    from scipy.stats import binomtest

    if n == 0:
        return Share(0, 0, 0.0, 1.0)
    interval = binomtest(k, n).proportion_ci(LEVEL, "exact")
    return Share(k, n, float(interval.low), float(interval.high))


def collapsed(searches: Sequence[Search]) -> Share:
    """The share of searches that collapsed."""
    return share(sum(search.collapsed for search in searches), len(searches))


@dataclass(frozen=True)
class Against:
    """A row beside the baseline."""

    row: Row
    comparison: Comparison
    p_holm: float | None
    needed: int | None

    @property
    def verdict(self) -> str:
        """What may be said."""
        comparison = self.comparison
        if comparison.n < LEAST or comparison.difference is None or comparison.smallest_p is None:
            return f"too few ({comparison.n} pairs)"
        if self.p_holm is not None and self.p_holm <= ALPHA:
            return "above" if comparison.difference > 0 else "below"
        needed = "no number of pairs shows a difference of 0"
        if self.needed is not None:
            needed = f"about {self.needed:,} pairs would show a difference of this size"
        return f"not shown ({comparison.n} pairs, smallest possible p {comparison.smallest_p:.2g}; {needed})"


def against_baseline(plan: Plan, by_row: Mapping[str, Sequence[Search]]) -> list[Against]:
    """All rows with a seed in common with the baseline, in the order of the plan."""
    base = {search.seed: search.accuracy for search in by_row.get(plan.baseline.name, ())}
    pairs = []
    for row in plan.rows:
        these = {search.seed: search.accuracy for search in by_row.get(row.name, ())}
        if row != plan.baseline and these.keys() & base.keys():
            pairs.append((row, compare(these, base)))
    # What is not yet concluded from costs the others nothing.
    counted = [comparison.p if comparison.n >= LEAST else None for _, comparison in pairs]
    result = []
    for (row, comparison), p_holm in zip(pairs, holm(counted), strict=True):
        needed = None
        if comparison.difference is not None and comparison.deviation is not None:
            needed = seeds_needed(comparison.difference, comparison.deviation)
        result.append(Against(row, comparison, p_holm, needed))
    return result


@dataclass(frozen=True)
class Foretold:
    """Whether the eigenvalue at an epoch tells searches that will collapse from those that will not.

    Attributes:
        row: of which row's searches.
        apart: searches that collapsed later against those that did not; None where one of the two is empty.
        p_holm: adjusted for all rows that are asked.
    """

    row: Row
    apart: Comparison | None
    p_holm: float | None

    @property
    def verdict(self) -> str:
        """What may be said."""
        apart = self.apart
        if apart is None:
            return "too few: both collapsed and other searches are needed"
        if apart.smallest_p is not None and apart.smallest_p > ALPHA:
            return f"too few ({apart.of[0]} against {apart.of[1]}: no p below {apart.smallest_p:.2g})"
        if self.p_holm is not None and self.p_holm <= ALPHA and apart.effect is not None:
            return f"it is {'larger' if apart.effect > 0.5 else 'smaller'} before a collapse"
        return "not shown"


def foretold(
    rows: Sequence[Row], by_row: Mapping[str, Sequence[Search]], epoch: int = EPOCH
) -> list[Foretold]:
    """By the ranks of the last eigenvalue measured up to an epoch (Mann-Whitney), row by row.

    Searches whose cell was all skip connections by then are left out: there nothing is foretold.
    """
    comparisons = []
    for row in rows:
        groups: tuple[list[float], list[float]] = ([], [])
        for search in by_row[row.name]:
            value, since = search.eigenvalue_at(epoch), search.collapse_epoch()
            if value is not None and (since is None or since > epoch):
                groups[0 if search.collapsed else 1].append(value)
        comparisons.append(compare_unpaired(groups[0], groups[1], "mannwhitney") if all(groups) else None)
    able = [c.p if c and c.smallest_p and c.smallest_p <= ALPHA else None for c in comparisons]
    return [Foretold(*parts) for parts in zip(rows, comparisons, holm(able), strict=True)]


@dataclass(frozen=True)
class BesideRandom:
    """How many results of a row are better than the median of all cells, as half of random cells are.

    Attributes:
        row: which row.
        better: how many are above the median; those that are equal to it are left out.
        of: of how many.
        p_holm: of the binomial test, adjusted for all rows that are asked.
    """

    row: Row
    better: int
    of: int
    p_holm: float | None

    @property
    def verdict(self) -> str:
        """What may be said."""
        if self.of < LEAST_OF_SIGNS:
            return f"too few (n = {self.of}, at least {LEAST_OF_SIGNS})"
        if self.p_holm is not None and self.p_holm <= ALPHA:
            return "better than random cells" if self.better > self.of / 2 else "worse than random cells"
        return "not told apart from random cells"


def beside_random(
    rows: Sequence[Row], by_row: Mapping[str, Sequence[Search]], median: float
) -> list[BesideRandom]:
    """By an exact binomial test on two sides: a random cell is above the median with probability one half."""
    from scipy.stats import binomtest

    counts = []
    for row in rows:
        values = [search.accuracy for search in by_row[row.name] if search.accuracy != median]
        counts.append((sum(value > median for value in values), len(values)))
    ps = [float(binomtest(k, n, 0.5).pvalue) if n >= LEAST_OF_SIGNS else None for k, n in counts]
    return [BesideRandom(row, k, n, p) for row, (k, n), p in zip(rows, counts, holm(ps), strict=True)]
