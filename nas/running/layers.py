"""A part of a configuration without what files said of the class that stood there before it.

Hydra merges the node of a part with those of the files before it. Where a file, or the command line, names
another class than the files before it, their options are not this class's.
"""

import copy
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Override
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict

from nas.running.signatures import takes


def keep_own_options(
    name: str, config: DictConfig, overrides: Sequence[str], nodes: Mapping[str, Any]
) -> None:
    """Takes out of parts what is of another class, in place.

    Args:
        name: the root configuration.
        config: as composed.
        overrides: what was typed.
        nodes: path -> part.
    """
    if nodes:
        layers, typed = _layers(name, overrides)
        with open_dict(config):
            for path, node in nodes.items():
                _keep_own(node, layers, typed, path)


def searched() -> list[str]:
    """The folders of configurations that this command line named, as it named them."""
    if not HydraConfig.initialized():
        return []
    typed = HydraConfig.get().overrides.hydra
    return [str(one) for one in typed if str(one).lstrip("+").startswith("hydra.searchpath=")]


def raw(config: Any, path: str) -> Any:
    """A node or value at a dotted path, not resolved; None where there is none."""
    for key in path.split("."):
        if not isinstance(config, DictConfig) or config._is_none() or config._is_interpolation():
            return None
        config = config._get_node(key, validate_access=False)
    if isinstance(config, DictConfig) and not (config._is_none() or config._is_interpolation()):
        return config
    return None if config is None else config._value()


def of_another_class(config: DictConfig, chosen: DictConfig, path: str) -> bool:
    """Whether a mapping is an option of a class that was typed in the place of the files' own."""
    while "." in path:
        path = path.rpartition(".")[0]
        ours, theirs = (OmegaConf.select(one, f"{path}._target_") for one in (config, chosen))
        if ours != theirs:
            return True
    return False


def _layers(name: str, overrides: Sequence[str]) -> tuple[list[DictConfig], list[Override]]:
    """The files that a command line is composed of, in the order in which they are merged; what was typed."""
    loader = GlobalHydra.instance().config_loader()
    of_run = getattr(loader, "words_of_run", None)
    texts = [*searched(), *(of_run(name, overrides) if of_run else ()), *overrides]
    found = loader.compute_defaults_list(name, texts, RunMode.RUN)
    # Hydra has no public way to one of its files as it merges it.
    inner: Any = loader
    _, files = inner._parse_overrides_and_create_caching_repo(name, texts)
    ours = [one for one in found.defaults if not str(one.config_path).startswith("hydra/")]
    return [inner._load_single_config(one, files).config for one in ours], list(found.config_overrides)


def _keep_own(node: DictConfig, layers: Sequence[DictConfig], typed: Sequence[Override], path: str) -> None:
    """Takes out of a part what files said of another class."""
    own = _merged(layers, path)
    given = dict(_typed_below(typed, path))
    if "_target_" in given and given["_target_"] != raw(own, "_target_"):
        own = OmegaConf.create({})
    own = own if isinstance(own, DictConfig) else OmegaConf.create({})
    for key in [str(key) for key in node if key != "_target_"]:
        theirs = own._get_node(key) if key in own else None
        if key in given:
            if isinstance(raw(node, key), DictConfig):
                node[key] = _retyped(theirs, typed, path, key)
        elif key not in own:
            # What a data set says of itself, such as its root, any source that has such an argument reads.
            if not (_refers_to_data(raw(node, key)) and takes(node, key)):
                node.pop(key)
        elif isinstance(theirs, DictConfig):
            node[key] = theirs


def _refers_to_data(value: Any) -> bool:
    return re.fullmatch(r"\$\{dataset\.\w+\}", str(value)) is not None


def _retyped(base: Any, typed: Sequence[Override], path: str, key: str) -> DictConfig:
    """An option that is a mapping: what the files say of it, and over it what was typed of it."""
    made: Any = copy.deepcopy(base) if isinstance(base, DictConfig) else OmegaConf.create({})
    for override in typed:
        where, value = override.key_or_group, override.value()
        if where == path and isinstance(value, dict) and isinstance(value.get(key), dict):
            made = OmegaConf.merge(made, value[key])
        elif where == f"{path}.{key}" and isinstance(value, dict):
            made = OmegaConf.merge(made, value)
        elif where.startswith(f"{path}.{key}.") and not override.is_delete():
            OmegaConf.update(made, where.removeprefix(f"{path}.{key}."), value, force_add=True)
    return made


def _merged(layers: Sequence[DictConfig], path: str) -> Any:
    """What files make of a part if one that names another class begins anew."""
    found: Any = None
    for layer in layers:
        given = raw(layer, path)
        if given is None:
            continue
        target = raw(given, "_target_") if isinstance(given, DictConfig) else None
        goes_on = isinstance(found, DictConfig) and target in (None, raw(found, "_target_"))
        found = OmegaConf.merge(found, given) if goes_on and isinstance(given, DictConfig) else given
    return found


def _typed_below(typed: Sequence[Override], path: str) -> Iterator[tuple[str, Any]]:
    """(option, value) of what was typed of a part."""
    for override in typed:
        key, value = override.key_or_group, override.value()
        if key == path and isinstance(value, dict):
            yield from value.items()
        elif key.startswith(f"{path}."):
            yield key.removeprefix(f"{path}.").partition(".")[0], value
