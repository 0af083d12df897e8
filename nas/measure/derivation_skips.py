"""Derivation with at most so many operations that only pass on."""

import copy
import functools
import logging
import math
from collections.abc import Callable, Mapping

from torch import Tensor

from nas.analysis.sampling import choices_of
from nas.engine.rows import PASSING, count_skips, counted_cell
from nas.errors import ConfigError, require
from nas.genotype import Genotype
from nas.spaces.space import EdgeGroup, Space

log = logging.getLogger(__name__)


def derive_with_skips(
    derive: Callable[[Mapping[str, Tensor]], Genotype],
    scores: Mapping[str, Tensor],
    groups: Mapping[str, EdgeGroup],
    most: int,
    kept: Mapping[str, Tensor],
) -> Genotype:
    """The architecture that scores stand for where at most `most` operations only pass on.

    As long as there are more, the weakest of them leaves the candidates and the rest is derived again (as in
    P-DARTS, Chen et al. 2019, section 3.3.2).

    Args:
        derive: scores {group: [E, O]} -> architecture.
        scores: what derivation ranks.
        groups: what rows and columns mean.
        most: as `count_skips` counts them.
        kept: {group: bool [E, O]}, which candidates the search has not dropped; no other one is chosen.

    Raises:
        ConfigError: edges have nothing else to choose from.
    """
    if count_skips(genotype := derive(scores)) <= most:
        return genotype
    # A dropped candidate has a finite score, which would beat that of a skip that has left.
    left = {
        name: scores_EO.detach().masked_fill(~kept[name], -math.inf) for name, scores_EO in scores.items()
    }
    while count_skips(genotype := derive(left)) > most:
        name = counted_cell(genotype)
        weakest, row, column = min(
            (float(left[name][row, column]), row, column)
            for row, column in choices_of(genotype, groups)[name]
            if groups[name].operations[row][column] in PASSING
        )
        require(weakest > -math.inf, _nothing_else(most, name))
        left[name][row, column] = -math.inf
    for name, choices in choices_of(genotype, groups).items():
        chosen = [float(left[name][row, column]) for row, column in choices]
        require(min(chosen, default=0.0) > -math.inf, _nothing_else(most, name))
    return genotype


def _nothing_else(most: int, name: str) -> str:
    return f"budget.skips={most}: the edges of cell {name} have no other candidates to choose instead"


def limit_skips(space: Space, most: int | None) -> Space:
    """The space, whose `derive` leaves at most `most` operations that only pass on; itself for None.

    Where edges have nothing else to choose from they are as few as can be.
    """
    if most is None:
        return space
    limited = copy.copy(space)
    # An object of the space's own class, as those who build networks and look at its sizes expect.
    limited.derive = functools.partial(_limited, space, most)  # type: ignore[method-assign]
    return limited


def tell_other_limits(space: Space, scores: Mapping[str, Tensor], chosen: Genotype, most: int | None) -> None:
    """Says what other limits than `most` would have derived, the largest first."""
    if most is None:
        return
    seen = {chosen}
    unlimited = functools.partial(type(space).derive, space)
    for limit in range(count_skips(unlimited(scores)), -1, -1):
        try:
            derived = derive_with_skips(unlimited, scores, space.groups, limit, _kept(scores))
        except ConfigError:
            return  # edges have nothing else to choose from
        if derived not in seen:
            seen.add(derived)
            log.info("with %d that only pass on, not %d: %s", count_skips(derived), most, derived)


def _limited(space: Space, most: int, scores: Mapping[str, Tensor]) -> Genotype:
    plain = space.derive(scores)
    for limit in range(most, count_skips(plain)):
        try:
            return derive_with_skips(space.derive, scores, space.groups, limit, _kept(scores))
        except ConfigError:
            log.debug("method.max_skips: %d skips cannot be kept to", limit)
    return plain


def _kept(scores: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Scores are at least 0, and those of dropped candidates below."""
    return {group: scores_EO >= 0 for group, scores_EO in scores.items()}
