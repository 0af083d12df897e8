"""What the commands share: the evaluation network that a configuration sizes, and its cost."""

import importlib
import logging
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.utils import get_class
from omegaconf import DictConfig, OmegaConf, open_dict

from nas.analysis.cost.complexity import count_cost
from nas.data.declared import check_source
from nas.data.sources import domain_of
from nas.domains.choose import DOMAINS, choose
from nas.domains.epochs import genotype_at
from nas.engine.machine.limits import free_memory
from nas.errors import ConfigError, require
from nas.genotype import Genotype, load, load_all
from nas.printable import shown
from nas.running import trust
from nas.running.config import instantiate, plain, typed_keys
from nas.running.targets import SPACES
from nas.spaces.outline import bounded, check_memory, outline_of
from nas.spaces.space import check_family, network_sizes, recipe_fits

log = logging.getLogger(__name__)


def space_of(config: DictConfig) -> Any:
    """The space of a configuration; operations of others that it names are imported.

    Raises:
        ConfigError: it refuses its arguments, or an operation cannot be imported.
    """
    operations = OmegaConf.select(config, trust.OPERATIONS)
    if OmegaConf.is_config(operations):
        _import(trust.import_paths(plain(operations)), trust.OPERATIONS)
    space = instantiate(config.space)
    check_family(space.family, f"space={space.name}")
    return space


def genotype_of(config: DictConfig, space: Any, reference: Any, epoch: int | None = None) -> Genotype:
    """The genotype at a reference (`nas.genotype.load`), with the operations of others that it names.

    Args:
        config: whose caller must name the operations of others.
        space: that it must belong to.
        reference: what `genotype=` names.
        epoch: of a search's run folder, the epoch whose cell is meant, from 0; None for its last.

    Raises:
        ConfigError: it cannot be read, is of another space, or names an operation of others that the caller
            does not name.
    """
    genotype = load(reference, space.family)
    if epoch is not None:
        genotype = genotype_at(config, space, reference, epoch)
    _import_operations(genotype.operations, config, f"genotype={shown(str(reference), 80)}")
    return genotype


def genotypes_in(config: DictConfig, space: Any, file: Path) -> list[Genotype]:
    """Every architecture in a file, with the operations of others that they name; raises as `genotype_of`."""
    found = load_all(file, space.family)
    operations = {name for genotype in found for name in genotype.operations}
    _import_operations(operations, config, f"genotypes={shown(str(file), 80)}")
    return found


def _import_operations(names: Collection[str], config: DictConfig, where: str) -> None:
    trust.check_foreign(names, config, where)
    _import(trust.import_paths(sorted(names)), where)


def _import(names: Iterable[str], where: str) -> None:
    for name in names:
        try:
            importlib.import_module(trust.module_of(name))
        except ImportError as error:
            raise ConfigError(f"{where}: {name} cannot be imported ({error})") from error
        except (Exception, SystemExit) as error:
            # Whatever somebody's module does while it is imported.
            said = " ".join(f"{type(error).__name__}: {error}".split())
            raise ConfigError(f"{where}: {name} cannot be imported ({said})") from error


def source_of(config: DictConfig) -> Any:
    """The data set of a configuration, whose declared numbers can be; nothing more than these is read yet.

    What it has found out by itself stands in the configuration afterwards, as plain values.
    """
    source = instantiate(config.dataset.source)
    check_source(source)
    settled = getattr(source, "settled", None)
    if settled is not None:
        with open_dict(config):
            for name, value in settled().items():
                config.dataset.source[name] = value
    return source


def sizes_of(config: DictConfig, space: Any) -> dict[str, Any]:
    """The sizes of an evaluation network, as `space.network` takes them: the recipe's, or the space's own."""
    return network_sizes(space, config.recipe)


def fits(config: DictConfig, space: Any) -> bool:
    """Whether the recipe sizes evaluation networks of this space."""
    return recipe_fits(space, config.recipe)


def check_sizes(config: DictConfig, space: Any) -> None:
    """Refuses sizes that were asked for and that networks of this space do not take; nothing on a resume.

    The recipe that a data set brings along may be another space's: then one line says whose sizes hold.

    Raises:
        ConfigError: a recipe was chosen, or a size of a recipe typed, that this space's networks do not have.
    """
    if config.get("resume") is not None:
        return
    choices, suits = HydraConfig.get().runtime.choices, fits(config, space)
    names, own = ", ".join(space.recipe_sizes), [f"space.{name}" for name in space.recipe_sizes]
    require(
        suits or choices.get("recipe") == choices.get("dataset"),
        f"recipe={choices.get('recipe')}: sizes networks of another space; those of space={space.name} are "
        f"sized by recipes with the keys {names}, or without recipe= by {', '.join(own)}",
    )
    taken = ", ".join(f"recipe.{name}" for name in (*space.recipe_sizes, *space.recipe_options))
    for key in sorted(typed_keys() & unread_sizes(config, space)):
        require(
            False,
            f"{key}={OmegaConf.select(config, key)}: networks of space={space.name} are sized by "
            + (taken if suits else f"{', '.join(own)}, since recipe={config.recipe.name} is another space's"),
        )
    if not suits and "sizing" in config.dataset:
        # Data of one's own have one recipe for all spaces.
        log.info(
            "sizes: those of space %s hold (%s), and recipe %s says how its networks are trained",
            space.name,
            ", ".join(size_overrides(config, space)),
            config.recipe.name,
        )
    elif not suits:
        log.warning(
            "recipe %s sizes networks of another space: the sizes of space %s hold (%s)",
            config.recipe.name,
            space.name,
            ", ".join(size_overrides(config, space)),
        )


def unread_sizes(config: DictConfig, space: Any) -> set[str]:
    """The keys, such as `recipe.num_cells`, that size networks of other spaces and not of this one."""
    spaces: list[Any] = [get_class(one) for one in SPACES]
    known = {name for one in spaces for name in (*one.recipe_sizes, *one.recipe_options)}
    read = {*space.recipe_sizes, *space.recipe_options} if fits(config, space) else set()
    return {f"recipe.{name}" for name in known - read}


def size_overrides(config: DictConfig, space: Any) -> list[str]:
    """The overrides that size another command's evaluation network as this configuration does."""
    sizes = sizes_of(config, space)
    if fits(config, space):
        return [f"recipe.{name}={_typed(sizes[name])}" for name in space.recipe_sizes]
    return [f"space.{name}={_typed(getattr(space, name))}" for name in space.recipe_sizes]


def batch_overrides(config: DictConfig, source: Any) -> list[str]:
    """The override that an evaluation needs where a recipe's batch is larger than the training part."""
    most = DOMAINS[domain_of(source)].largest_batch(config, source)
    return [f"recipe.batch_size={most}"] if most and config.recipe.batch_size > most else []


def _typed(value: Any) -> Any:
    if isinstance(value, tuple):
        return list(value)
    return "null" if value is None else value


def network_of(config: DictConfig, space: Any, genotype: Any, source: Any) -> Any:
    """The evaluation network that a genotype stands for, under this configuration's recipe."""
    return _network(config, space, genotype, source, config.recipe.get("auxiliary_weight", 0) > 0)


def outline_for(config: DictConfig, space: Any, genotype: Any, source: Any, more: int = 0) -> dict:
    """Names and shapes of that network's tensors, if there were so many more classes or words."""
    auxiliary = config.recipe.get("auxiliary_weight", 0) > 0
    return outline_of(lambda: _network(config, space, genotype, _Wider(source, more), auxiliary))


class _Wider:
    """A source with more classes or words, which nobody reads."""

    def __init__(self, source: Any, more: int):
        self._source, self._more = source, more

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._source, name)
        return found + self._more if name in ("num_classes", "vocabulary_size") else found


def cost_of(
    config: DictConfig, space: Any, genotype: Any, auxiliary: bool | None = None, source: Any = None
) -> Any:
    """The cost of that network.

    Args:
        config: with a recipe.
        space: builds the network.
        genotype: what it is built from.
        auxiliary: whether it has an auxiliary head; None for what a recipe of this space says, since that of
            another says nothing of these networks.
        source: the data set, where it has been made; one that counts what it holds reads it.
    """
    source = source_of(config) if source is None else source
    if auxiliary is None:
        auxiliary = config.recipe.get("auxiliary_weight", 0) > 0 and fits(config, space)
    example = choose(space, source).inputs(source).example

    def build() -> Any:
        with bounded(where=f"genotype={shown(str(genotype))}, recipe={config.recipe.name}: "):
            return _network(config, space, genotype, source, auxiliary)

    return count_cost(build, example)


def built(config: DictConfig, space: Any, genotype: Any, source: Any, cost: Any) -> Any:
    """The network of `network_of`, if this machine's memory can hold it; `cost` is that of `cost_of`.

    Raises:
        ConfigError: its parameters alone take more than is free.
    """
    parameters = cost.params + cost.params_auxiliary
    check_memory(parameters, free_memory(), f"recipe={config.recipe.name}: the sizes of its network")
    return network_of(config, space, genotype, source)


def _network(config: DictConfig, space: Any, genotype: Any, source: Any, auxiliary: bool) -> Any:
    return choose(space, source).network(space, genotype, source, auxiliary, sizes_of(config, space))
