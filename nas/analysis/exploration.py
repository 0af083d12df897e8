"""How widely a search still explores: the table's accuracy of architectures sampled from its op weights.

Chen et al. 2021 (DrNAS, figure 1): after each epoch architectures are drawn from the learnt distribution; the
range of their accuracies beside the derived architecture's shows exploration turn into exploitation.
"""

from collections.abc import Mapping
from statistics import fmean

from torch import Tensor

from nas.analysis.benchmark_table import fraction
from nas.analysis.surrogates import LookUp
from nas.errors import ConfigError, require, require_whole
from nas.spaces.space import Space

COLUMNS = ("epoch", "samples", "distinct", "min", "mean", "max", "derived", "best")


def check_exploration(samples: int, tabular: LookUp | None, trains: bool = True) -> None:
    """Refuses what cannot be looked up.

    Raises:
        ConfigError: the number is none, or there is no table, no metric, or no distribution that is learnt.
    """
    require_whole("analysis.exploration.samples", samples, 0)
    key = f"analysis.exploration.samples={samples}"
    if samples == 0:
        return
    if tabular is None:
        raise ConfigError(
            f"{key}: needs a table to look the samples up in; set tabular.file (or a surrogate)"
        )
    require(
        tabular.metric is not None,
        f"{key}: no column of the table belongs to this data set; set tabular.metric to one of "
        f"{', '.join(tabular.accuracies)}",
    )
    require(trains, f"{key}: this method only draws and learns no distribution")


def explore(
    space: Space, scores: Mapping[str, Tensor], samples: Mapping[str, Tensor], tabular: LookUp
) -> dict[str, float | int | None]:
    """Derives every sample and looks it up.

    Args:
        space: derives one architecture from one sample.
        scores: what derivation ranks at present, {group: [E, O]}.
        samples: draws of the op weights, {group: [S, E, O]}.
        tabular: the table, with a metric.

    Returns:
        `samples`, the number of `distinct` architectures among them, `min`, `mean` and `max` of their
        accuracies (over samples, not over distinct architectures), the `derived` architecture's and the
        table's `best`; accuracies are fractions. None where the table has no figure.
    """
    count = len(next(iter(samples.values())))
    archs = [
        space.derive({group: draws_SEO[i] for group, draws_SEO in samples.items()}) for i in range(count)
    ]
    values = [value for value in map(tabular.accuracy, archs) if value is not None]
    return {
        "samples": count,
        "distinct": len(set(archs)),
        "min": fraction(min(values, default=None)),
        "mean": fraction(fmean(values) if values else None),
        "max": fraction(max(values, default=None)),
        "derived": fraction(tabular.accuracy(space.derive(scores))),
        "best": fraction(tabular.best),
    }
