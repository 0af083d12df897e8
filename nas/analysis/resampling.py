"""What intervals and tests by resampling are made of (`nas.analysis.statistics`)."""

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from nas.errors import require

# Draws of a bootstrap, and of a permutation test that is too large to be exact.
RESAMPLES = 9_999
# Rearrangements up to which a permutation test goes through all of them.
EXACT = 2**16
# Numbers of resamples that are held at a time, 8 bytes each.
HELD = 1_000_000
# Sums that differ by less, relative to what is summed, are ties: 0.1 + 0.2 is 0.3 here.
TIE = 1e-12


def finite(values: Sequence[float]) -> np.ndarray:
    """The values as an array.

    Raises:
        ConfigError: one is no finite number.
    """
    array = np.asarray(list(values), dtype=float)
    require(bool(np.isfinite(array).all()), "values: every one must be a finite number")
    return array


def scaled(values: Sequence[float]) -> tuple[np.ndarray, int]:
    """Values over a power of two, which changes no digit, so that squares are numbers; and the power."""
    array = finite(values)
    largest = float(np.abs(array).max(initial=0))
    shift = math.frexp(largest)[1] if largest > 1e100 or 0 < largest < 1e-100 else 0
    return np.ldexp(array, -shift), shift


def unscaled(value: float, shift: int) -> float:
    """A value times a power of two; infinite where that is beyond all numbers."""
    with np.errstate(over="ignore"):
        return float(np.ldexp(value, shift))


def mean(x: np.ndarray, axis: int = -1) -> np.ndarray:
    """The mean along an axis."""
    return np.mean(x, axis=axis)


def total(x: np.ndarray, axis: int = -1) -> np.ndarray:
    """The sum along an axis."""
    return np.sum(x, axis=axis)


def mean_difference(x: np.ndarray, y: np.ndarray, axis: int = -1) -> np.ndarray:
    """How far the mean of x is above that of y."""
    return np.mean(x, axis=axis) - np.mean(y, axis=axis)


def total_difference(x: np.ndarray, y: np.ndarray, axis: int = -1) -> np.ndarray:
    """The difference of means times both sizes, which has no rounding where the values are ranks."""
    return np.sum(x, axis=axis) * y.shape[axis] - np.sum(y, axis=axis) * x.shape[axis]


def bootstrap_ends(
    samples: tuple[np.ndarray, ...], statistic: Any, level: float, seed: int
) -> tuple[float, float, str]:
    """The ends of a bootstrap interval and its name: BCa, or where that has none, percentile.

    Args:
        samples: each with two values or more; resampled independently of each other.
        statistic: of as many arrays and an axis.
        level: of the interval.
        seed: of the draws.
    """
    from scipy import stats

    if all(np.ptp(sample) == 0 for sample in samples):
        value = float(statistic(*(sample[:1] for sample in samples)))
        return value, value, "percentile bootstrap"
    for method in ("BCa", "percentile"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            interval = stats.bootstrap(
                samples,
                statistic,
                n_resamples=RESAMPLES,
                batch=_batch(samples),
                confidence_level=level,
                method=method,
                rng=np.random.default_rng(seed),
            ).confidence_interval
        if np.isfinite([interval.low, interval.high]).all():
            break
    return float(interval.low), float(interval.high), f"{method} bootstrap"


def _batch(samples: tuple[np.ndarray, ...]) -> int:
    """How many resamples are held at a time."""
    return max(1, HELD // sum(map(len, samples)))


def goes_through(n: int, other: int | None = None) -> bool:
    """Whether a permutation test looks at every rearrangement.

    Args:
        n: pairs, or values of one group.
        other: values of the other group; None for pairs. One value has as many places as there are values.
    """
    return (2**n if other is None else math.comb(n + other, n)) <= EXACT or (
        other is not None and 1 in (n, other)
    )


def permuted_p(samples: tuple[np.ndarray, ...], statistic: Any, kind: str, seed: int) -> float:
    """The p of two sides of a permutation test, exact where there are few rearrangements.

    Args:
        samples: one sample whose signs are flipped (`samples`), or two that exchange values (`independent`).
        statistic: of as many arrays and an axis; a sum, so that ties are found by the size of what is summed.
        kind: as scipy calls it.
        seed: of the draws where there are too many rearrangements.
    """
    sizes = [len(sample) for sample in samples]
    every = np.concatenate(samples)
    many = 2 ** sizes[0] if kind == "samples" else math.comb(sum(sizes), sizes[0])
    observed = float(statistic(*samples))
    if min(sizes) > 1:
        null_P = _null(samples, statistic, kind, many, seed)
    elif kind == "samples":
        null_P = np.array([observed, -observed])
    else:
        # scipy takes no sample of one value; the difference of means times both sizes has a closed form here.
        apart = len(every) * every - every.sum()
        null_P = apart if sizes[0] == 1 else -apart
    # scipy's own tolerance is relative to the statistic, which may be the small difference of large sums.
    tie = TIE * float(np.abs(every).max()) * sum(sizes) ** len(samples)
    drawn = int(not goes_through(*sizes))
    counts = [int(np.sum(null_P <= observed + tie)), int(np.sum(null_P >= observed - tie))]
    return min(1.0, 2 * (min(counts) + drawn) / (len(null_P) + drawn))


def _null(samples: tuple[np.ndarray, ...], statistic: Any, kind: str, many: int, seed: int) -> np.ndarray:
    from scipy import stats

    test = stats.permutation_test(
        samples,
        statistic,
        permutation_type=kind,
        vectorized=True,
        n_resamples=many if goes_through(*map(len, samples)) else RESAMPLES,
        batch=_batch(samples),
        rng=np.random.default_rng(seed),
    )
    return np.asarray(test.null_distribution)


def ranks(values: np.ndarray) -> np.ndarray:
    """Midranks, of values that count as ties where they differ by rounding alone."""
    from scipy.stats import rankdata

    order = np.argsort(values, kind="stable")
    steps = np.diff(values[order], prepend=values[order][:1]) > TIE * np.abs(values).max(initial=0)
    groups = np.empty(len(values))
    groups[order] = np.cumsum(steps)
    return np.asarray(rankdata(groups))


def signed_ranks(differences: np.ndarray) -> np.ndarray:
    """Midranks of the sizes of the differences, with their signs; those of 0 are left out (Wilcoxon 1945)."""
    kept = differences[differences != 0]
    return np.sign(kept) * ranks(np.abs(kept))
