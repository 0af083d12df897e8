"""Commands that are printed to be pasted: they repeat what shapes the network and names the data."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from nas.domains.networks import space_of, unread_sizes
from nas.engine.machine import processes
from nas.running import trust
from nas.running.config import CONF, plain
from nas.running.declared import read_file
from nas.running.parts import compose
from nas.running.places import PLACES, absolute
from nas.running.resuming import online
from nas.running.words import key_of, pasted, quoted, word

# Of a data set: how much of it is read and in which portions, which each command decides for itself.
SEARCHED = ("batch_size", "download", "fraction", "split", "split_ratio", "lists", "num_workers")
PARTS = ("space", "dataset", "recipe")


def again(config: DictConfig, folder: Path) -> str:
    """The command that continues a run."""
    before, after = words_of_caller(config, unlisted=True)
    return pasted(
        [*processes.starter(), f"nas.{config.command}", *before, f"resume={quoted(folder)}", *after]
        + _record(config)
        + _launcher(config)
    )


def _launcher(config: DictConfig) -> list[str]:
    """How a protocol starts its runs, which is for each command to say."""
    typed = map(str, HydraConfig.get().overrides.hydra) if config.command == "protocol" else ()
    return [one for one in typed if re.match(r"\+{0,2}hydra[./]launcher\b", one)]


def _record(config: DictConfig) -> list[str]:
    """The caller's word for a record that is sent off, which a run folder cannot give."""
    logger = plain(config.logger) if "logger" in config else {}
    if not online(logger):
        return []
    usual: Any = OmegaConf.to_container(read_file(CONF / "logger" / "wandb.yaml"), resolve=False)
    # What follows from other choices does not follow from `resume=`.
    usual |= {key: None for key, value in usual.items() if "${" in str(value)}
    changed = [f"logger.{key}={word(value)}" for key, value in logger.items() if value != usual.get(key)]
    return ["logger=wandb", *changed]


def words_of_caller(config: DictConfig, unlisted: bool = False) -> tuple[list[str], list[str]]:
    """What a further command of this caller's needs as well: options, and overrides such as `trust`.

    Args:
        config: of this run.
        unlisted: whether `trust` is to hold the modules of a typed `_target_` too: the command will read them
            from the run folder, whose word is not enough.
    """
    options, paths = [], []
    for source in HydraConfig.get().runtime.config_sources:
        if source.provider == trust.COMMAND_LINE:
            options.append(f"--config-dir={source.path}")
        elif source.provider == trust.SEARCH_PATH:
            where = Path(source.path).expanduser().absolute() if source.schema == "file" else source.path
            paths.append(f"{source.schema}://{where}")
    caller = trust.Caller(trust.modules(config.get("trust")), frozenset(trust.names_in_folders()))
    modules = [*caller.modules, *(trust.unlisted(config, caller) if unlisted else ())]
    overrides = [f"hydra.searchpath=[{','.join(map(word, paths))}]"] if paths else []
    if modules:
        overrides.append(f"trust={modules[0]}" if len(modules) == 1 else f"trust=[{','.join(modules)}]")
    return options, overrides


def command_for(
    name: str, config: DictConfig, first: Sequence[str] = (), last: Sequence[str] = (), hardware: bool = True
) -> str:
    """A command on the same space, data and recipe as a configuration.

    Args:
        name: the command, such as `evaluate`.
        config: whose space, data set and recipe it shall have, but for what that command decides by itself.
        first: overrides that come first, such as `genotype=...`.
        last: overrides that come last and win.
        hardware: whether it is to run on the same profile.

    Returns:
        One line for a shell, from `python -m nas.<name>`.
    """
    before, after = words_of_caller(config)
    choices = [f"{part}={choice}" for part in PARTS if (choice := _choice(part, config)) is not None]
    profile = _choice("hardware", config) if hardware else None
    if profile not in (None, "cpu"):
        choices.append(f"hardware={profile}")

    # Refused where they are typed: a recipe of another space has sizes that say nothing of these networks.
    decided = {*(key_of(one) for one in last), *unread_sizes(config, space_of(config))}
    # What an evaluation takes from its recipe, and refuses of the data set.
    decided |= {f"dataset.bptt.{key}" for key in config.recipe.get("bptt") or ()}
    settings = [one for one in _differences(name, config, choices) if key_of(one) not in decided]
    return pasted(["python", "-m", f"nas.{name}", *before, *first, *choices, *settings, *last, *after])


def _choice(group: str, config: DictConfig) -> str | None:
    """The option of a group that a configuration is most likely made from; None if none is like it.

    A good guess keeps a printed command short: whatever the option says otherwise is repeated after it.
    """
    known = GlobalHydra.instance().config_loader().get_group_options(group)
    chosen = HydraConfig.get().runtime.choices.get(group) if config.get("resume") is None else None
    for name in (chosen, config[group].name):
        if name in known:
            return name
    wanted = set(_built(OmegaConf.to_container(config[group], resolve=False)))
    alike = [
        file.stem
        for file in sorted((CONF / group).glob("*.yaml"))
        if set(_built(OmegaConf.to_container(OmegaConf.load(file), resolve=False))) == wanted
    ]
    return next((name for name in alike if name in known), None)


def _built(node: Any) -> Iterator[str]:
    """What a node names to be built."""
    return (value for key, value in _flat(node) if key[-1] == "_target_")


def _differences(name: str, config: DictConfig, choices: Sequence[str]) -> list[str]:
    """The overrides that make what `choices` alone compose the same as a configuration, part by part."""
    settings = list(_unlike(name, config, choices, derived=False))
    # What follows from a setting is known when the setting is there.
    return [*settings, *_unlike(name, config, [*choices, *settings], derived=True)]


def _unlike(name: str, config: DictConfig, overrides: Sequence[str], derived: bool) -> Iterator[str]:
    """Overrides for the leaves that differ: those that follow from other keys, or the others."""
    base, own = compose(name, overrides), read_file(CONF / f"{name}.yaml")
    for part in PARTS:
        decided = {*(own.get(part) or ()), *(SEARCHED if part == "dataset" else ())}
        target, usual = (_placed(OmegaConf.to_container(one[part], resolve=True)) for one in (config, base))
        raw = dict(_flat(OmegaConf.to_container(base[part], resolve=False)))
        for key in dict.fromkeys((*target, *usual)):
            text = str(raw.get(key, ""))
            # What is taken from elsewhere, such as the length of a schedule, is the command's own affair.
            foreign = "${" in text and not re.search(r"\$\{(dataset|space|recipe)\.", text)
            same = key in target and key in usual and target[key] == usual[key]
            if (
                key[0] in decided
                or key == ("source", "download")
                or foreign
                or same
                or ("${" in text) != derived
            ):
                continue
            path = ".".join((part, *key))
            if key in target:
                yield f"{'' if key in usual else '+'}{path}={word(target[key])}"
            else:
                yield f"~{path}"


def _flat(node: Any, key: tuple = ()) -> Iterator[tuple[tuple, Any]]:
    """(key, value) of every leaf; a list is one, and so is an empty mapping."""
    if isinstance(node, Mapping) and node:
        for name, inner in node.items():
            yield from _flat(inner, (*key, str(name)))
    elif key:
        yield key, node


def _placed(node: Any) -> dict[tuple, Any]:
    """The leaves of a part, places of data from the root of the file system."""
    leaves = dict(_flat(node))
    return {
        key: absolute(value) if key[-1] in PLACES and key[:-1] in ((), ("source",)) else value
        for key, value in leaves.items()
    }
