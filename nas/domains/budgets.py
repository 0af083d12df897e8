"""Budgets of evaluation networks: the width that keeps one, and which sizes would where none does."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from omegaconf import DictConfig

from nas.analysis.cost.width import fitting_width, largest_fitting
from nas.domains.networks import cost_of, fits, sizes_of
from nas.errors import require


def check_budget(config: DictConfig, space: Any, budget: Any, key: str = "method.budget") -> None:
    """Raises `ConfigError` where a width is to be chosen and the recipe sizes no networks of this space."""
    require(
        not budget or (fits(config, space) and "init_channels" in sizes_of(config, space)),
        f"{key}: recipe {config.recipe.name} does not size networks of space {config.space.name}, "
        f"so no width can be chosen; a recipe that does has the keys {', '.join(space.recipe_sizes)}",
    )


def fitted(
    config: DictConfig, space: Any, genotype: Any, budget: Any, key: str = "method.budget", source: Any = None
) -> DictConfig:
    """The configuration with the largest `recipe.init_channels` whose network is within the budget.

    Args:
        config: whose recipe has that key.
        space: builds the networks.
        genotype: what they are built from.
        budget: `macs` and `params`, either or both.
        key: the setting that it came from.
        source: the data set, where it has been made.

    Raises:
        ConfigError: the narrowest network is above it.
    """
    config = config.copy()

    def price(width: int) -> Any:
        config.recipe.init_channels = width
        return cost_of(config, space, genotype, source=source)

    def mend() -> str:
        # Of the narrowest network, which was priced last.
        sizes = {name: size for name, size in sizes_of(config, space).items() if name != "init_channels"}
        found = what_fits(sizes, lambda changed: _within(config, space, genotype, budget, changed, source))
        return f", or make the network shallower: {found} would fit at that width" if found else ""

    # Stems and reductions of some spaces halve the width.
    config.recipe.init_channels = fitting_width(price, **budget, least=2, step=2, key=key, mend=mend)
    return config


def _within(
    config: DictConfig,
    space: Any,
    genotype: Any,
    budget: Mapping[str, float],
    changed: Mapping[str, Any],
    source: Any,
) -> bool:
    smaller = config.copy()
    for name, size in changed.items():
        smaller.recipe[name] = size
    cost = cost_of(smaller, space, genotype, source=source)
    return all(getattr(cost, name) <= limit for name, limit in budget.items())


def sized(
    config: DictConfig, space: Any, genotype: Any, choose: bool = True, source: Any = None
) -> tuple[DictConfig, dict[str, Any]]:
    """The configuration of an evaluation at the width that its `budget` allows, and what its summary says.

    Without a budget the recipe's own width stands, and there is nothing to say.

    Args:
        config: of an evaluation.
        space: builds the networks.
        genotype: what they are built from.
        choose: whether to choose the width; else it has been chosen, and is the recipe's.
        source: the data set, where it has been made.

    Raises:
        ConfigError: the recipe sizes no networks of this space, or no network is that small.
    """
    budget = {name: value for name, value in config.budget.items() if value is not None}
    if not budget:
        return config, {}
    check_budget(config, space, budget, "budget")
    if choose:
        config = fitted(config, space, genotype, budget, "budget", source)
    found = {f"budget_{name}": value for name, value in budget.items()}
    return config, found | {"init_channels": config.recipe.init_channels}


def what_fits(sizes: Mapping[str, Any], within: Callable[[Mapping[str, Any]], bool]) -> str:
    """Which smaller width or depth alone would keep a budget, as overrides in words; empty where none would.

    Args:
        sizes: what sizes the network, by the keys of a recipe.
        within: sizes that are changed -> whether that network keeps the budget; `ConfigError` where there is
            no such network.
    """
    found = []
    for name, size in sizes.items():
        smaller = _smaller(name, size)
        largest = largest_fitting(smaller, lambda one, name=name: within({name: one}))  # type: ignore[misc]
        if largest is not None:
            found.append(f"recipe.{name}={largest}".replace(" ", ""))
    return " or ".join(found)


def _smaller(name: str, size: Any) -> Sequence[Any]:
    """Smaller values of a size, growing; nothing for what is no number."""
    if isinstance(size, int) and not isinstance(size, bool):
        # Stems and reductions halve a number of channels.
        return range(2, size, 2) if name == "init_channels" else range(1, size)
    if isinstance(size, Sequence) and not isinstance(size, str):
        return [[min(most, each) for each in size] for most in range(1, max(size))]
    return ()
