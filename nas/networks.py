"""What the commands share: the evaluation network that a configuration sizes, its cost, and its budget."""

from typing import Any

from omegaconf import DictConfig

from nas.config import instantiate
from nas.errors import require


def source_of(config: DictConfig) -> Any:
    """The data set of a configuration, whose declared numbers can be; nothing is read yet."""
    from nas.data.declared import check_source

    source = instantiate(config.dataset.source)
    check_source(source)
    return source


def sizes_of(config: DictConfig, space: Any) -> dict[str, Any]:
    """The recipe's sizes of an evaluation network, as `space.network` takes them.

    A recipe that lacks one of them was written for the networks of another space, and what else it says of
    sizes means theirs: then the space's own hold.
    """
    names = space.recipe_sizes
    recipe = config.recipe
    if not all(name in recipe for name in names):
        return {}
    options = [name for name in space.recipe_options if name in recipe]
    return {name: recipe[name] for name in (*names, *options)}


def size_overrides(config: DictConfig, space: Any) -> list[str]:
    """The overrides that size another command's evaluation network as this configuration does."""
    sizes = sizes_of(config, space)
    if sizes:
        return [f"recipe.{name}={_typed(sizes[name])}" for name in space.recipe_sizes]
    return [f"space.{name}={_typed(getattr(space, name))}" for name in space.recipe_sizes]


def _typed(value: Any) -> Any:
    if isinstance(value, tuple):
        return list(value)
    return "null" if value is None else value


def network_of(config: DictConfig, space: Any, genotype: Any, source: Any) -> Any:
    """The evaluation network that a genotype stands for, under this configuration's recipe."""
    return _network(config, space, genotype, source, config.recipe.get("auxiliary_weight", 0) > 0)


def cost_of(config: DictConfig, space: Any, genotype: Any) -> Any:
    """The cost of that network; a recipe of another space's does not say that it has an auxiliary head."""
    from nas.analysis.complexity import count_cost, one_word
    from nas.data.sources import domain_of

    source = source_of(config)
    if domain_of(source) == "text":
        return count_cost(lambda: _network(config, space, genotype, source, False), one_word)
    auxiliary = config.recipe.get("auxiliary_weight", 0) > 0 and bool(sizes_of(config, space))
    return count_cost(lambda: _network(config, space, genotype, source, auxiliary), source.image_shape)


def check_budget(config: DictConfig, space: Any, budget: Any, key: str = "method.budget") -> None:
    """Raises `ConfigError` where a width is to be chosen and the recipe sizes no networks of this space."""
    require(
        not budget or "init_channels" in sizes_of(config, space),
        f"{key}: recipe {config.recipe.name} does not size networks of space {config.space.name}, "
        f"so no width can be chosen; a recipe that does has the keys {', '.join(space.recipe_sizes)}",
    )


def fitted(
    config: DictConfig, space: Any, genotype: Any, budget: Any, key: str = "method.budget"
) -> DictConfig:
    """The configuration with the largest `recipe.init_channels` whose network is within the budget.

    Args:
        config: whose recipe has that key.
        space: builds the networks.
        genotype: what they are built from.
        budget: `macs` and `params`, either or both.
        key: the setting that it came from.

    Raises:
        ConfigError: the narrowest network is above it.
    """
    from nas.analysis.width import fitting_width

    config = config.copy()

    def price(width: int) -> Any:
        config.recipe.init_channels = width
        return cost_of(config, space, genotype)

    # Stems and reductions of some spaces halve the width.
    config.recipe.init_channels = fitting_width(price, **budget, least=2, step=2, key=key)
    return config


def sized(
    config: DictConfig, space: Any, genotype: Any, choose: bool = True
) -> tuple[DictConfig, dict[str, Any]]:
    """The configuration of an evaluation at the width that its `budget` allows, and what its summary says.

    Without a budget the recipe's own width stands, and there is nothing to say.

    Args:
        config: of an evaluation.
        space: builds the networks.
        genotype: what they are built from.
        choose: whether to choose the width; else it has been chosen, and is the recipe's.

    Raises:
        ConfigError: the recipe sizes no networks of this space, or no network is that small.
    """
    budget = {name: value for name, value in config.budget.items() if value is not None}
    if not budget:
        return config, {}
    check_budget(config, space, budget, "budget")
    if choose:
        config = fitted(config, space, genotype, budget, "budget")
    found = {f"budget_{name}": value for name, value in budget.items()}
    return config, found | {"init_channels": config.recipe.init_channels}


def _network(config: DictConfig, space: Any, genotype: Any, source: Any, auxiliary: bool) -> Any:
    from nas.data.sources import domain_of, inputs_of

    sizes = sizes_of(config, space)
    if domain_of(source) == "text":
        return space.network(genotype, *inputs_of(source), **sizes)
    return space.network(genotype, source.image_shape, source.num_classes, auxiliary=auxiliary, **sizes)
