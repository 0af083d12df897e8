"""Which domain a search or an evaluation belongs to: the one place where that is asked."""

from collections.abc import Mapping
from typing import Any

from nas.data.sources import domain_of
from nas.domains.domain import Domain
from nas.domains.images import Images
from nas.domains.text import Text
from nas.errors import require

DOMAINS: Mapping[str, Domain] = {one.name: one for one in (Images(), Text())}


def of_space(space: Any) -> Domain:
    """What the networks of a space read."""
    return DOMAINS[space.domain]


def choose(space: Any, source: Any) -> Domain:
    """The domain of both.

    Raises:
        ConfigError: a space of images meets a text, or the other way round.
    """
    wanted, found = DOMAINS[space.domain], DOMAINS[domain_of(source)]
    require(
        wanted is found,
        f"space={space.name}: its networks read {wanted.name}, but dataset={source.name} holds {found.name}; "
        f"choose {found.spaces} for it, or dataset={wanted.sets}",
    )
    return found


def check_recipe(domain: Domain, recipe: Mapping, source: Any) -> None:
    """Raises `ConfigError` where a recipe for images is to train on text, or the other way round."""
    written = next(name for name, one in DOMAINS.items() if one.written_for(recipe))
    require(
        written == domain.name,
        f"recipe={recipe['name']}: written for {written}, but dataset={source.name} holds {domain.name}",
    )
