"""Statistics of few runs: intervals, comparisons with a baseline, and what a number of seeds can show at all.

Plain numbers in, plain numbers out; scipy computes, and nothing here knows of runs or files. What a test at
small n cannot show is said along with what it shows (`Comparison.smallest_p`).
"""

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nas.analysis.resampling import (
    RESAMPLES,
    TIE,
    bootstrap_ends,
    finite,
    goes_through,
    mean,
    mean_difference,
    permuted_p,
    ranks,
    scaled,
    signed_ranks,
    total,
    total_difference,
    unscaled,
)
from nas.errors import require

LEVEL = 0.95
PAIRED = ("permutation", "wilcoxon")
UNPAIRED = ("permutation", "mannwhitney")


@dataclass(frozen=True)
class Interval:
    """A confidence interval of a mean, or of a difference of means.

    Attributes:
        low, high: its ends.
        level: how often such intervals hold the true mean, if they are made of many values; those of few are
            too narrow.
        method: `BCa bootstrap` or `percentile bootstrap`.
        n: values that it is made of; of two groups, of the smaller.
    """

    low: float
    high: float
    level: float
    method: str
    n: int


@dataclass(frozen=True)
class Comparison:
    """One group of runs against a baseline.

    Attributes:
        test: what gave `p`, in words.
        paired: whether runs of the same seed were compared.
        exact: whether `p` counts all rearrangements, or a random sample of them.
        n: pairs; of two groups, the values of the smaller one.
        of: (values of these, values of the baseline) that took part.
        difference: mean of these less that of the baseline; None without values.
        deviation: standard deviation of the differences of pairs; of two groups, the pooled one; None below
            two values.
        interval: of the difference; None below n = 2.
        effect: its size, None where it is not defined (n below 2, or no spread).
        effect_name: what `effect` is.
        p: of two sides; None without values.
        smallest_p: the smallest that these numbers of values could give, whatever the values are.
        left_out: seeds that only one of the two has; empty without pairs.
    """

    test: str
    paired: bool
    exact: bool
    n: int
    of: tuple[int, int]
    difference: float | None
    deviation: float | None
    interval: Interval | None
    effect: float | None
    effect_name: str
    p: float | None
    smallest_p: float | None
    left_out: tuple[Hashable, ...] = ()


def bootstrap(values: Sequence[float], level: float = LEVEL, seed: int = 0) -> Interval | None:
    """A confidence interval of the mean; None below two values.

    BCa (Efron 1987, bias-corrected and accelerated); the percentile interval where BCa is not defined, as of
    equal values.

    Args:
        values: of independent runs, finite.
        level: between 0 and 1.
        seed: of the draws.

    Raises:
        ConfigError: the level is none, or a value is not finite.
    """
    numbers, scale = scaled(values)
    _check_level(level)
    if len(numbers) < 2:
        return None
    low, high, method = bootstrap_ends((numbers,), mean, level, seed)
    return Interval(unscaled(low, scale), unscaled(high, scale), level, method, len(numbers))


def compare(
    these: Mapping[Any, float],
    baseline: Mapping[Any, float],
    test: str = "permutation",
    level: float = LEVEL,
    seed: int = 0,
) -> Comparison:
    """Compares runs with those of a baseline that have the same seeds, pair by pair, on two sides.

    `permutation` flips the signs of the differences; `wilcoxon` those of their ranks (midranks for ties,
    differences of 0 left out), which an outlier moves less. Both go through all 2^n signs up to n = 16, and
    draw 9,999 of them beyond.

    Args:
        these: seed -> value.
        baseline: the same of the baseline.
        test: one of `PAIRED`.
        level: of the interval of the difference.
        seed: of the draws.

    Raises:
        ConfigError: another test, another level, or a value is not finite.
    """
    require(test in PAIRED, f"test={test}: must be one of {', '.join(PAIRED)}")
    _check_level(level)
    both = [key for key in these if key in baseline]
    left_out = tuple(
        dict.fromkeys(key for key in (*these, *baseline) if key not in these or key not in baseline)
    )
    every, scale = scaled([these[key] for key in both] + [baseline[key] for key in both])
    n = len(both)
    differences = every[:n] - every[n:]
    differences[np.abs(differences) <= TIE * np.abs(every).max(initial=0)] = 0
    interval = None
    if n > 1:
        low, high, method = bootstrap_ends((differences,), mean, level, seed)
        interval = Interval(unscaled(low, scale), unscaled(high, scale), level, method, n)
    shifted = differences if test == "permutation" else signed_ranks(differences)
    exact = goes_through(len(shifted))
    p = permuted_p((shifted,), total, "samples", seed) if len(shifted) else (1.0 if n else None)
    effect, name = _paired_effect(differences, shifted, test)
    return Comparison(
        ("permutation of signs" if test == "permutation" else "Wilcoxon signed-rank")
        + (", exact" if exact else ""),
        True,
        exact,
        n,
        (n, n),
        unscaled(float(differences.mean()), scale) if n else None,
        unscaled(float(differences.std(ddof=1)), scale) if n > 1 else None,
        interval,
        effect,
        name,
        p,
        smallest_p(n) if n else None,
        left_out,
    )


def compare_unpaired(
    these: Sequence[float],
    baseline: Sequence[float],
    test: str = "permutation",
    level: float = LEVEL,
    seed: int = 0,
) -> Comparison:
    """Compares two groups of runs whose seeds have nothing to do with each other, on two sides.

    `permutation` exchanges runs between the groups and looks at the difference of means, `mannwhitney` at
    that of ranks (midranks for ties). Both go through all exchanges where there are at most 65,536, as of 9
    against 9, and draw 9,999 of them beyond.

    Args:
        these: values of one group.
        baseline: of the other.
        test: one of `UNPAIRED`.
        level: of the interval of the difference.
        seed: of the draws.

    Raises:
        ConfigError: another test, another level, or a value is not finite.
    """
    require(test in UNPAIRED, f"test={test}: must be one of {', '.join(UNPAIRED)}")
    _check_level(level)
    every, scale = scaled([*these, *baseline])
    sizes = len(these), len(baseline)
    first, second = every[: sizes[0]], every[sizes[0] :]
    n = min(sizes)
    interval = None
    if n > 1:
        low, high, method = bootstrap_ends((first, second), mean_difference, level, seed)
        interval = Interval(unscaled(low, scale), unscaled(high, scale), level, method, n)
    compared = every if test == "permutation" else ranks(every)
    exact = goes_through(*sizes)
    p = None
    if n:
        p = permuted_p((compared[: sizes[0]], compared[sizes[0] :]), total_difference, "independent", seed)
    effect, name = _unpaired_effect(first, second, test)
    words = "permutation of runs" if test == "permutation" else "Mann-Whitney U"
    return Comparison(
        words + (", exact" if exact else ""),
        False,
        exact,
        n,
        sizes,
        unscaled(float(first.mean() - second.mean()), scale) if n else None,
        unscaled(_pooled(first, second), scale) if n > 1 else None,
        interval,
        effect,
        name,
        p,
        smallest_p(*sizes) if n else None,
    )


def smallest_p(n: int, other: int | None = None) -> float:
    """The smallest p of two sides that a test by permutation can give, however large the difference.

    Args:
        n: pairs, or values of one group.
        other: values of the other group; None for pairs.
    """
    many = 2**n if other is None else math.comb(n + other, n)
    return min(1.0, 2 / many if goes_through(n, other) else 2 / (RESAMPLES + 1))


def holm(ps: Sequence[float | None]) -> list[float | None]:
    """The p of a family of tests, adjusted such that one false finding in all of them is as rare as they say.

    Holm's step-down procedure (1979). None is no test and stays None.

    Raises:
        ConfigError: one is no probability.
    """
    for p in ps:
        require(p is None or 0 <= p <= 1, f"p={p}: must be a number from 0 to 1")
    order = sorted((i for i, p in enumerate(ps) if p is not None), key=lambda i: (ps[i], i))
    adjusted: list[float | None] = [None] * len(ps)
    highest = 0.0
    for place, i in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - place) * float(ps[i] or 0)))
        adjusted[i] = highest
    return adjusted


def seeds_needed(
    difference: float, deviation: float, power: float = 0.8, level: float = 0.05, paired: bool = True
) -> int | None:
    """How many seeds would show a difference of this size; None if no number of them would.

    By the power of Student's t test on two sides, and at least as many as a permutation test needs to reach
    `level` at all (6 pairs, or 4 against 4, for 0.05). A deviation that is estimated from few runs makes it a
    rough number.

    Args:
        difference: of the means.
        deviation: standard deviation of the differences of pairs; without pairs, of the values of a group.
        power: the probability with which a true difference is found.
        level: p below which it counts as found.
        paired: whether the same seeds run both; else the answer counts the runs of each group.

    Raises:
        ConfigError: power or level is not between 0 and 1, or the deviation is below 0.
    """
    for name, value in (("power", power), ("level", level)):
        require(0 < value < 1, f"{name}={value}: must be between 0 and 1")
    require(deviation >= 0, f"deviation={deviation}: must not be below 0")
    if difference == 0 or not math.isfinite(difference) or not math.isfinite(deviation):
        return None
    least = 2
    while _least_p(least, paired) > level:
        least += 1
    size = abs(difference) / deviation if deviation > 0 else math.inf
    if size > 100 or _power(least, size, level, paired) >= power:
        return least
    if size < 1e-6:
        return None
    low, high = least, 2 * least
    while _power(high, size, level, paired) < power:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _power(middle, size, level, paired) >= power else (middle, high)
    return high


def expected_best(values: Sequence[float], k: int, higher: bool = True, replacement: bool = False) -> float:
    """The mean of the best of `k` that are drawn from `values`, exactly: no draws are made.

    Of a table of all architectures it is what random search with so many evaluations finds on average.

    Args:
        values: a sample, or a whole table's column.
        k: how many are drawn, from 1 on.
        higher: whether higher is better.
        replacement: whether one may be drawn twice, as by independent draws; else k is at most their number.

    Raises:
        ConfigError: there are fewer values, or one is not finite.
    """
    ordered = np.sort(finite(values) * (1 if higher else -1))
    n = len(ordered)
    require(k >= 1, f"k={k}: must be at least 1")
    require(n > 0, "expected_best: there is no value")
    require(replacement or k <= n, f"k={k}: {n} values are there; more cannot be drawn without replacement")
    if replacement:
        below = (np.arange(n + 1) / n) ** k
        weights = np.diff(below)
    else:
        # C(i - 1, k - 1) / C(n, k) for the i-th smallest, from the largest downwards.
        i = np.arange(n, 1, -1)
        weights = (k / n * np.cumprod(np.concatenate([[1.0], np.maximum(i - k, 0) / (i - 1)])))[::-1]
    best = float(weights @ ordered / weights.sum())
    return best if higher else -best


def rank(value: float, among: Sequence[float], higher: bool = True) -> int:
    """1 + how many of a table's figures are strictly better, so that equals share the better rank."""
    table = finite(among)
    return 1 + int(np.sum(table > value if higher else table < value))


def regret(value: float, among: Sequence[float], higher: bool = True) -> float:
    """How far a figure is from the best of a table's: 0 for the best itself, above 0 for all others."""
    table = finite(among)
    require(len(table) > 0, "regret: there is no figure to compare with")
    return float(table.max() - value if higher else value - table.min())


def _check_level(level: float) -> None:
    require(0 < level < 1, f"level={level}: must be between 0 and 1, such as {LEVEL}")


def _paired_effect(differences: np.ndarray, compared: np.ndarray, test: str) -> tuple[float | None, str]:
    if test == "wilcoxon":
        every = float(np.abs(compared).sum())
        # Kerby 2014: favourable less unfavourable share of the ranks.
        return (float(compared.sum()) / every if every else None), "matched-pairs rank-biserial correlation"
    spread = float(differences.std(ddof=1)) if len(differences) > 1 else 0.0
    flat = spread <= TIE * float(np.abs(differences).max(initial=0))
    return (None if flat else float(differences.mean()) / spread), "Cohen's d of the differences (d_z)"


def _unpaired_effect(first: np.ndarray, second: np.ndarray, test: str) -> tuple[float | None, str]:
    sizes = len(first), len(second)
    if test == "mannwhitney":
        name = "probability of superiority (Vargha and Delaney's A)"
        if min(sizes) == 0:
            return None, name
        # The rank sum of these, less its least, over its range.
        these = ranks(np.concatenate([first, second]))[: sizes[0]]
        return float((these.sum() - sizes[0] * (sizes[0] + 1) / 2) / (sizes[0] * sizes[1])), name
    name = "Hedges' g"
    if min(sizes) < 2:
        return None, name
    pooled = _pooled(first, second)
    if pooled <= TIE * max(np.abs(first).max(), np.abs(second).max()):
        return None, name
    free = sum(sizes) - 2
    return float((first.mean() - second.mean()) / pooled * (1 - 3 / (4 * free - 1))), name


def _pooled(first: np.ndarray, second: np.ndarray) -> float:
    """The standard deviation within two groups together."""
    squares = sum(float(((group - group.mean()) ** 2).sum()) for group in (first, second))
    return math.sqrt(squares / (len(first) + len(second) - 2))


def _least_p(n: int, paired: bool) -> float:
    return 2 / 2**n if paired else 2 / math.comb(2 * n, n)


def _power(n: int, size: float, level: float, paired: bool) -> float:
    """Of the t test of two sides, for a difference of `size` standard deviations."""
    from scipy import stats

    free = n - 1 if paired else 2 * n - 2
    away = size * math.sqrt(n if paired else n / 2)
    if free > 100_000:
        return float(stats.norm.cdf(away - stats.norm.isf(level / 2)))
    limit = stats.t.isf(level / 2, free)
    power = float(stats.nct.sf(limit, free, away) + stats.nct.cdf(-limit, free, away))
    # Far in the tail scipy's noncentral t has no number; the normal distribution is there.
    return power if math.isfinite(power) else float(stats.norm.cdf(away - limit))
