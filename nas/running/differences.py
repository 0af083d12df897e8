"""How a configuration differs from what a command composes: the overrides that lead from one to the other."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf

from nas.running import held
from nas.running.declared import CONF, read_file
from nas.running.parts import compose
from nas.running.places import PLACES, absolute
from nas.running.words import word

# Of a data set: how much of it is read and in which portions, which each command decides for itself.
SEARCHED = ("batch_size", "check", "download", "fraction", "split", "split_ratio", "lists", "num_workers")
PARTS = ("space", "dataset", "recipe")


def choice_of(group: str, config: DictConfig, chosen: str | None = None) -> str | None:
    """The option of a group that a configuration is most likely made from; None if none is like it.

    A good guess keeps a printed command short: whatever the option says otherwise is repeated after it.

    Args:
        group: such as `dataset`.
        config: has it.
        chosen: what is known to have been chosen.
    """
    known = GlobalHydra.instance().config_loader().get_group_options(group)
    for name in (held.option_of(group, config), chosen, config[group].get("name")):
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


def differences(
    name: str, config: DictConfig, choices: Sequence[str], parts: Collection[str] = PARTS, whole: bool = False
) -> list[str]:
    """The overrides that make what `choices` alone compose the same as a configuration, part by part.

    Args:
        name: the command that is to compose them.
        config: has the parts, and may lack everything else.
        choices: overrides that come before.
        parts: which ones are compared.
        whole: whether what the command decides by itself counts too, as where it is to do the same again.
    """
    settings = list(_unlike(name, config, choices, parts, whole, derived=False))
    # What follows from a setting is known when the setting is there.
    return [*settings, *_unlike(name, config, [*choices, *settings], parts, whole, derived=True)]


def _unlike(
    name: str,
    config: DictConfig,
    overrides: Sequence[str],
    parts: Collection[str],
    whole: bool,
    derived: bool,
) -> Iterator[str]:
    """Overrides for the leaves that differ: those that follow from other keys, or the others."""
    base, own = compose(name, overrides), read_file(CONF / f"{name}.yaml")
    for part in parts:
        decided = {*(own.get(part) or ()), *(SEARCHED if part == "dataset" else ())}
        decided = {"download"} if whole else decided
        target = _placed(dict(_flat(OmegaConf.to_container(config[part], resolve=True))))
        raw = dict(_flat(OmegaConf.to_container(base[part], resolve=False)))
        usual = _placed(_resolved(base[part], raw))
        for key in dict.fromkeys((*target, *usual)):
            text = str(raw.get(key, ""))
            same = key in target and key in usual and target[key] == usual[key]
            if (
                key[0] in decided
                or key == ("source", "download")
                or _is_foreign(text)
                or same
                or ("${" in text) != derived
            ):
                continue
            path = ".".join((part, *key))
            if key in target:
                yield f"{'' if key in usual else '+'}{path}={word(target[key])}"
            elif usual[key] is not None:
                # Hydra finds no key to delete where its value is null, which is as good as none.
                yield f"~{path}"


def _is_foreign(text: str) -> bool:
    """Whether a value is taken from elsewhere, such as the length of a schedule: the command's own affair."""
    return "${" in text and not re.search(r"\$\{(oc\.select:)?(dataset|space|recipe)\.", text)


def _resolved(node: DictConfig, raw: Mapping[tuple, Any]) -> dict[tuple, Any]:
    """The leaves of a composed part with their values; a command may lack what one refers to elsewhere."""
    found = {}
    for key, value in raw.items():
        if "${" in str(value):
            value = None if _is_foreign(str(value)) else OmegaConf.select(node, ".".join(key))
        found[key] = OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
    return found


def _flat(node: Any, key: tuple = ()) -> Iterator[tuple[tuple, Any]]:
    """(key, value) of every leaf; a list is one, and so is an empty mapping."""
    if isinstance(node, Mapping) and node:
        for name, inner in node.items():
            yield from _flat(inner, (*key, str(name)))
    elif key:
        yield key, node


def _placed(leaves: Mapping[tuple, Any]) -> dict[tuple, Any]:
    """The leaves of a part, places of data from the root of the file system."""
    return {
        key: absolute(value) if key[-1] in PLACES and key[:-1] in ((), ("source",)) else value
        for key, value in leaves.items()
    }
