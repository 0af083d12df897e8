"""The configuration of a command that goes on from a search: its own, completed by that of the run folder."""

from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf

from nas.domains.networks import fits, space_of
from nas.errors import require
from nas.running import trust
from nas.running.config import typed_keys
from nas.running.from_run import check_taken, read_run
from nas.running.saved import set_places


def with_run(config: DictConfig) -> DictConfig:
    """The configuration of this command, completed by that of the search whose folder it names.

    Raises:
        ConfigError: the folder holds no search, or its config.yaml is damaged.
    """
    where = f"run={config.run}"
    folder, saved = read_run(config.run, where, ["search"])
    parts = ("space", "method", "dataset", "recipe", "split_seed", "seed")
    saved = check_taken(saved, config, folder, where, parts)
    merged: Any = OmegaConf.create(OmegaConf.to_container(config, resolve=True))
    merged.run = str(folder)
    for key in parts[:-1]:
        merged[key] = saved[key]
    # What a relaxation is in an epoch depends on how many there are.
    length = saved.trainer.get("max_epochs") if isinstance(saved.get("trainer"), DictConfig) else None
    merged.epochs = length if type(length) is int else None
    trust.fetch_nothing(merged)
    for key, value in config.dataset.items():
        if value is not None:
            merged.dataset[key] = value
    set_places(merged.dataset, config.dataset, typed_keys())
    resize(merged, {key: value for key, value in config.recipe.items() if value is not None})
    return merged


def resize(config: DictConfig, sizes: Mapping[str, Any]) -> None:
    """Gives the recipe other sizes of the evaluation network.

    Raises:
        ConfigError: networks of the run's space do not have such a size.
    """
    space = space_of(config)
    known = getattr(space, "recipe_sizes", ("num_cells", "init_channels"))
    for key, value in sizes.items():
        require(key in known, f"recipe.{key}={value}: space {space.name} is sized by {', '.join(known)}")
    if sizes and not fits(config, space):
        # A recipe for another space: what it calls channels are not these, so the space's own are the base;
        # what it does not tell, a null leaves to it.
        for key in known:
            config.recipe[key] = getattr(space, key, None)
    for key, value in sizes.items():
        config.recipe[key] = value
