"""Anytime curves: what runs would have given, had they been stopped by then; per epoch or per second.

Runs of different lengths are never mixed silently: a run that came to its end keeps its last result for the
rest of the time, since that is what its user would have; one that is unfinished counts as far as it has come
and no further. How many runs a point is made of is part of the curve.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nas.analysis.resampling import RESAMPLES
from nas.analysis.statistics import LEVEL
from nas.errors import require

# Points of a curve over seconds.
POINTS = 200


@dataclass(frozen=True)
class Course:
    """What one run had after each step.

    Attributes:
        x: epochs (from 1) or seconds when each value was there, rising.
        y: the values; NaN where one is not known.
        ended: whether the run came to its end, so that its last value is its result.
    """

    x: Sequence[float]
    y: Sequence[float]
    ended: bool = True

    def at(self, points_P: np.ndarray) -> np.ndarray:
        """The value that was there at each point, [P]; NaN before the first and beyond an unfinished end."""
        x_N, y_N = np.asarray(self.x, dtype=float), np.asarray(self.y, dtype=float)
        if len(x_N) == 0:
            return np.full(len(points_P), np.nan)
        place_P = np.searchsorted(x_N, points_P, side="right") - 1
        values_P = np.where(place_P >= 0, y_N[np.maximum(place_P, 0)], np.nan)
        return values_P if self.ended else np.where(points_P > x_N[-1], np.nan, values_P)


@dataclass(frozen=True)
class Band:
    """Mean of several runs at each point and an interval of that mean.

    Attributes:
        x: the points; those alone that some run has a value at.
        mean: of the runs that have one there.
        low, high: pointwise percentile bootstrap interval of the mean; NaN where n is below 2.
        n: how many runs that is.
        runs: how many there are in all.
    """

    x: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    n: np.ndarray
    runs: int


def band(
    courses: Sequence[Course], points: Sequence[float] | None = None, level: float = LEVEL, seed: int = 0
) -> Band:
    """Mean and interval of runs along their way.

    Whole runs are drawn again, so that the intervals of neighbouring points are of the same draws.

    Args:
        courses: one per run.
        points: where; None for all there are, or 200 evenly from 0 on where there are more than that.
        level: of the interval.
        seed: of the draws.

    Raises:
        ConfigError: the level is none, or a course has not as many x as y or falls back.
    """
    require(0 < level < 1, f"level={level}: must be between 0 and 1, such as {LEVEL}")
    for course in courses:
        rising = all(a < b for a, b in zip(course.x, course.x[1:], strict=False))
        require(len(course.x) == len(course.y) and rising, "courses: x must rise, with one y each")
    points_P = _points(courses) if points is None else np.asarray(points, dtype=float)
    values_RP = np.array([course.at(points_P) for course in courses]).reshape(len(courses), len(points_P))
    n_P = np.isfinite(values_RP).sum(0)
    points_P, values_RP, n_P = points_P[n_P > 0], values_RP[:, n_P > 0], n_P[n_P > 0]
    low_P, high_P = np.full(len(points_P), np.nan), np.full(len(points_P), np.nan)
    if n_P.max(initial=0) > 1:
        low_P, high_P = _interval(values_RP, level, seed)
        low_P[n_P < 2], high_P[n_P < 2] = np.nan, np.nan
    mean_P = np.nansum(values_RP, 0) / np.maximum(n_P, 1)
    return Band(points_P, mean_P, low_P, high_P, n_P, len(courses))


def spread_evenly(seconds: float, steps: int) -> list[float]:
    """When each of a run's steps ended if all took as long, where its total alone is known."""
    return [seconds * (step + 1) / steps for step in range(steps)]


def _points(courses: Sequence[Course]) -> np.ndarray:
    every = np.array(sorted({float(x) for course in courses for x in course.x}))
    if len(every) <= POINTS:
        return every
    return np.linspace(0, every[-1], POINTS + 1)[1:]


def _interval(values_RP: np.ndarray, level: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """By the same draws of runs at all points; a run without a value at a point is not drawn there."""
    from scipy import stats

    low_P, high_P = np.empty(values_RP.shape[1]), np.empty(values_RP.shape[1])
    known_RP = np.isfinite(values_RP)
    sets, which_P = np.unique(known_RP.T, axis=0, return_inverse=True)
    which_P = which_P.reshape(-1)
    for number, known_R in enumerate(sets):
        here_P = which_P == number
        values_RS = values_RP[known_R][:, here_P]
        if len(values_RS) < 2:
            continue
        interval = stats.bootstrap(
            (values_RS,),
            np.mean,
            n_resamples=RESAMPLES // 10,
            batch=100,
            axis=0,
            vectorized=True,
            confidence_level=level,
            method="percentile",
            rng=np.random.default_rng(seed),
        ).confidence_interval
        low_P[here_P], high_P[here_P] = interval.low, interval.high
    return low_P, high_P
