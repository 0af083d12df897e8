"""What a run was asked for: its choices and the settings that differ from what its command has by itself.

What follows from another key is left out, so that a person reads what a person decided.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from nas.errors import ConfigError
from nas.running.config import CONF
from nas.running.differences import PARTS
from nas.running.parts import compose
from nas.running.words import key_of

# Where a run lies and what says how it is composed: nothing that was asked of it.
NOT_ASKED = ("command", "hydra", "outputs", "resume", "restarts", "made_for", "traceback", "trust")
# What a command finds out where it is not typed.
FOUND_OUT = ("hardware.threads",)
TYPED, FILE, RUN = "typed", "a file", "the run"


@dataclass(frozen=True)
class Asked:
    """A setting that is not the usual one.

    Attributes:
        key: dotted.
        value: what the run had; None stands for null.
        usual: what the command has by itself, or, below a group, the option that was chosen.
        by: what set it: it was typed, an experiment or another file says so, or the run that it goes on from.
        known: whether the command has such a key by itself.
    """

    key: str
    value: Any
    usual: Any
    by: str
    known: bool = True


def asked(command: str, saved: Mapping[Any, Any], overrides: Sequence[str]) -> list[Asked]:
    """What a saved configuration has that its command does not have by itself.

    Args:
        command: whose configuration it is; one with a file in conf/.
        saved: the containers of its `config.yaml`.
        overrides: what was typed.

    Raises:
        ConfigError: the command's own configuration cannot be composed beside it.
    """
    typed = {key_of(one).split("@", 1)[0] for one in overrides}
    usual = _usual(command, [])
    # A command that goes on from a run has that run's parts, of which its own configuration says nothing.
    goes_on = "run" in usual and saved.get("run") is not None
    found, choices = [], []
    groups = _groups(command)
    for group in saved:
        name = _name(saved[group])
        if name is None or (group not in groups and not goes_on):
            continue
        if name != _name(usual.get(group)):
            taken = goes_on and group in PARTS
            by = TYPED if group in typed else FILE if group in groups and not taken else RUN
            found.append(Asked(group, name, _name(usual.get(group)), by, group in groups))
        if group in groups and _known(group, name):
            choices.append(f"{group}={name}")
    # A choice that was typed says nothing of who set a single key of it.
    chosen = {group for group in saved if _name(saved[group]) is not None}
    try:
        base = compose(command, choices)
    except (HydraException, OmegaConfBaseException, ConfigError, ValueError):
        base = compose(command, [])
    raw = dict(_flat(OmegaConf.to_container(base, resolve=False)))
    plain = dict(_flat(OmegaConf.to_container(base, resolve=True, throw_on_missing=False)))
    for key, value in _flat(saved):
        path = ".".join(key)
        same = key in plain and plain[key] == value and type(plain[key]) is type(value)
        if key[0] in NOT_ASKED or key[-1] == "name" or same:
            continue
        was_typed = any(path == one or path.startswith(f"{one}.") for one in typed - chosen)
        follows = "${" in str(raw.get(key, "")) or path in FOUND_OUT or goes_on
        if was_typed or not follows:
            found.append(Asked(path, value, plain.get(key), TYPED if was_typed else FILE, key in plain))
    return found


def _usual(command: str, choices: Sequence[str]) -> Mapping[Any, Any]:
    found = OmegaConf.to_container(compose(command, choices), resolve=True, throw_on_missing=False)
    assert isinstance(found, dict)
    return found


def _groups(command: str) -> list[str]:
    """The groups of a command that a run keeps, in the order of its file."""
    text = (CONF / f"{command}.yaml").read_text(encoding="utf-8")
    named = re.findall(r"^ *- (\w+):", text, re.MULTILINE)
    return [group for group in named if group not in ("experiment", "sweep", "debug", "paths")]


def _known(group: str, name: str) -> bool:
    return name in GlobalHydra.instance().config_loader().get_group_options(group)


def _name(node: Any) -> str | None:
    name = node.get("name") if isinstance(node, Mapping) else None
    return name if isinstance(name, str) else None


def _flat(node: Any, key: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """(key, value) of every leaf; a list is one, and so is an empty mapping."""
    if isinstance(node, Mapping) and node:
        for name, inner in node.items():
            yield from _flat(inner, (*key, str(name)))
    elif key:
        yield key, node
