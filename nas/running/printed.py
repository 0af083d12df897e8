"""Commands that are printed to be pasted: they repeat what shapes the network and names the data."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from nas.domains.networks import space_of, unread_sizes
from nas.engine.divergence import Diverged
from nas.engine.machine import processes
from nas.running import held, trust
from nas.running.config import CONF, plain
from nas.running.declared import read_file
from nas.running.differences import PARTS, choice_of, differences
from nas.running.resuming import online
from nas.running.words import key_of, pasted, quoted, shown, word

# Of the commands that train: the learning rate and the norm that gradients are clipped to.
STEPS = {
    "search": ("method.weight_optimizer.lr", "method.clip"),
    "evaluate": ("recipe.optimizer.lr", "recipe.clip"),
}


def again(config: DictConfig, folder: Path) -> str:
    """The command that continues a run, or the call in Python where objects of its process are part of it."""
    if held.of_python(config):
        return held.python_call("resume", config, folder)
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
    choices += _profile(config) if hardware else []
    # Refused where they are typed: a recipe of another space has sizes that say nothing of these networks.
    decided = {*(key_of(one) for one in last), *unread_sizes(config, space_of(config))}
    # What an evaluation takes from its recipe, and refuses of the data set.
    decided |= {f"dataset.bptt.{key}" for key in config.recipe.get("bptt") or ()}
    settings = [one for one in differences(name, config, choices) if key_of(one) not in decided]
    return pasted(["python", "-m", f"nas.{name}", *before, *first, *choices, *settings, *last, *after])


def command_of(
    name: str, config: DictConfig, folder: Path, last: Sequence[str] = (), hardware: bool = True
) -> str:
    """A command that goes on from a run folder, whose space, data, recipe and split it takes from there.

    Args:
        name: the command, such as `evaluate`.
        config: of the run; its hardware profile and the words of its caller are repeated, as no folder has
            a say in these.
        folder: of the run.
        last: overrides that come last.
        hardware: whether it is to run on the same profile.

    Returns:
        One line for a shell, from `python -m nas.<name>`.
    """
    # An export needs no picture, and a folder says what the pictures were.
    if held.of_python(config) and name != "export":
        return held.python_call(name, config, folder)
    before, after = words_of_caller(config, unlisted=True)
    words = [f"run={quoted(folder)}", *(_profile(config) if hardware else []), *last, *after]
    return pasted(["python", "-m", f"nas.{name}", *before, *words])


def command_with(config: DictConfig, folder: Path, given: str) -> str | None:
    """The command that asks a trained network about something.

    Args:
        config: of the evaluation; the words of its caller are repeated.
        folder: of the evaluation.
        given: a file, or words in angle brackets that say what is to be named.

    Returns:
        One line for a shell; None where the network's space is an object of a Python process.
    """
    if "space" in held.of_python(config):
        return None
    before, after = words_of_caller(config, unlisted=True)
    words = [f"model={quoted(folder)}", f"input={quoted(given)}"]
    return pasted(["python", "-m", "nas.predict", *before, *words, *after])


def _profile(config: DictConfig) -> list[str]:
    profile = _choice("hardware", config)
    return [] if profile in (None, "cpu") else [f"hardware={profile}"]


def _choice(group: str, config: DictConfig) -> str | None:
    chosen = HydraConfig.get().runtime.choices.get(group) if config.get("resume") is None else None
    return choice_of(group, config, chosen)


def to_try(error: BaseException, config: DictConfig) -> str:
    """What helps where numbers became nan or infinite, with what is set now; nothing of any other error."""
    if not isinstance(error, Diverged) or config.command not in STEPS:
        return ""
    found = [(key, OmegaConf.select(config, key)) for key in STEPS[config.command]]
    words = [f"{'a' if value is None else 'a lower'} {key} (now {shown(value)})" for key, value in found]
    precision = config.hardware.precision
    if not str(precision).startswith(("32", "64")):
        words.append(f"hardware.precision=32-true (now {shown(precision)})")
    return f"\nin a new run try {', '.join(words[:-1])} or {words[-1]}"
