"""Holds a configuration against what is declared: kinds, ranges and keys, whether it was typed or saved.

`check_composed` looks at what Hydra composed, `check_saved` at the `config.yaml` of a run folder. The
signatures of what `_target_` names are read for it, and so their modules are imported: what a stranger's
folder names must have been allowed before.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from nas.errors import ConfigError, require
from nas.running.declared import HYDRA_KEYS, Declared, declared, ranged
from nas.running.idle import check_idle
from nas.running.kinds import Kind, either, kind, of_examples
from nas.running.layers import of_another_class, raw
from nas.running.parts import OF_RELAXATIONS, SHORT, WITH_ALL, compose, unread_keys
from nas.running.signatures import kinds_of, kinds_of_target, named, parameters_of, takes, target_of
from nas.running.trust import check_ours
from nas.running.typed_choices import refuse_climbing
from nas.running.words import key_of, near, shown, typed_again

# Choices that may be left out; every other group holds keys that a command reads.
OPTIONAL = ("experiment", "debug", "sweep")
# Hydra's keywords that anybody may set where an object is built that is not of this project.
FREE = ("_recursive_", "_convert_")
# Read wherever they stand, though not every file of the group has them.
READ = ("dataset.lists", "recipe.auxiliary_weight")


def check_composed(name: str, config: DictConfig, overrides: Sequence[str]) -> None:
    """Compares a composed configuration with what the files and the signatures of its objects declare.

    Args:
        name: the root configuration.
        config: the composed configuration.
        overrides: what was typed; choices of groups stay, values are taken back.

    Raises:
        ConfigError: a key that nothing reads, a key that is missing, or a value of another kind or size; or
            a typed key that another one switches off.
    """
    if HydraConfig.initialized():
        for group, option in (HydraConfig.get().runtime.choices or {}).items():
            refuse_climbing(group, option if isinstance(option, ListConfig) else [option])
    choices = _choices(overrides)
    for key, _, option in (one.partition("=") for one in choices):
        refuse_climbing(key, [option.strip("\"'")])
    chosen = compose(name, [*choices, *(one for one in overrides if key_of(one) == "run")])
    hold(declared(name), config, chosen)
    check_idle(config, overrides)


def hold(files: Declared, config: DictConfig, chosen: DictConfig) -> None:
    """Compares a configuration with what files declare, and with the same choices without any value typed.

    Args:
        files: what `declared` read; left as it is.
        config: the configuration.
        chosen: as composed from the choices alone.

    Raises:
        ConfigError: a key that nothing reads, a key that is missing, or a value of another kind or size.
    """
    known = files.copy()
    known.add(chosen)
    check_ours(config)
    _check_nodes(known, config, chosen)
    _check_unknown(known, config, chosen)
    _check_method(config)
    _check_values(known, config, chosen)


def check_saved(name: str, config: Any, where: str) -> None:
    """Compares a run folder's configuration with what the files and the signatures of its objects declare.

    Keys that are not known are let pass (nothing reads them; the run may be of another release, or have had
    files of its own), and so are missing ones below the first level.

    Args:
        name: the command that wrote it.
        config: as read from its file, once whatever its `_target_` keys name has been allowed.
        where: what led to the file, such as `resume=<folder>: config.yaml`; begins the message.

    Raises:
        ConfigError: it is no configuration, or a value is of another kind or size.
    """
    require(isinstance(config, DictConfig), f"{where}: is damaged (it holds no keys)")
    known = declared(name)
    try:
        _check_nodes(known, config)
        _check_values(known, config)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error


def _choices(overrides: Sequence[str]) -> list[str]:
    """The overrides that choose the option of a group, those that may be taken back by a `~` included."""
    groups = cache(GlobalHydra.instance().config_loader().list_groups)
    found = []
    for one in overrides:
        key = key_of(one).split("@", 1)[0]
        parent, _, last = key.rpartition("/")
        removed = one.startswith("~") and key not in OPTIONAL
        mapping = "=" in one and one.split("=", 1)[1].lstrip().startswith("{")
        if not removed and not mapping and last in groups(parent):
            found.append(one)
    return found


def _check_nodes(known: Declared, config: DictConfig, chosen: DictConfig | None = None) -> None:
    """That groups of keys are groups, before anything is resolved; and, if composed, that none is missing."""
    for path in known.examples:
        parent, _, key = path.rpartition(".")
        above = _node(config, parent)
        if not isinstance(above, DictConfig):
            continue
        if key not in above:
            if chosen is not None and _has(chosen, path) and not of_another_class(config, chosen, parent):
                _check_missing(above, path)
            continue
        node, kind = above._get_node(key), known.kind(path)
        assert node is not None
        if known.group(path) and kind is not None and not isinstance(node, DictConfig):
            given = node._value() if not isinstance(node, ListConfig) else list(node)
            interpolated = isinstance(given, str) and "${" in given
            annotated = kinds_of(above).get(key)
            require(
                interpolated or kind.fits(given) or (annotated is not None and annotated.fits(given)),
                f"{path}={shown(given)}: must be {kind.words()} ({', '.join(_children(known, path))})",
            )
        if not isinstance(node, DictConfig) or f"{path}._target_" not in known.examples:
            continue
        target = node.get("_target_")
        # A choice that builds nothing there, such as method=random, may be given numbers that others read.
        idle = "_target_" not in node and (
            above.get("update") in (None, "none") if chosen is None else not _has(chosen, f"{path}._target_")
        )
        require(
            idle or isinstance(target, str) or not known.group(path),
            f"{path}._target_={shown(target)}: must be the dotted name of what is to be built",
        )


def _check_missing(above: DictConfig, path: str) -> None:
    """A key that was taken out may be one that an object has a default for, or does not take."""
    key = path.rpartition(".")[2]
    parameters = parameters_of(above)
    needless = parameters is not None and key not in ("_target_", *HYDRA_KEYS)
    # A part's name is read by the commands, an object's below it by its class alone.
    if key == "name" and (path.count(".") == 1 or key in (parameters or ())):
        needless = False
    require(needless, f"~{path}: this key cannot be taken out; give it a value instead")


def _check_unknown(known: Declared, config: DictConfig, chosen: DictConfig) -> None:
    """Refuses keys that were typed and that nothing reads."""
    text = OmegaConf.to_yaml(config)
    for path, parent, key in _added(config, chosen):
        above = _node(config, parent)
        if re.search(r"\$\{(oc\.select:)?" + re.escape(path) + r"\b", text) or _takes(
            known, above, parent, key
        ):
            continue
        close = near(path, _siblings(known, above, chosen, parent))
        if key in HYDRA_KEYS:
            close = "; hydra's keywords stay as the files have them"
        raise ConfigError(
            f"{path}={shown(_plain(above._get_node(key)))}: unknown key, nothing reads it{close}"
        )


def _check_method(config: DictConfig) -> None:
    """Refuses keys of a file that nothing reads: what builds the method is handed those that are its own."""
    for key in unread_keys(config):
        others = (*SHORT, *(parameters_of(config.method) or ()))
        close = near(f"method.{key}", [f"method.{one}" for one in others])
        value = shown(_plain(config.method._get_node(key)))
        raise ConfigError(f"method.{key}={value}: unknown key, nothing reads it{close}")


def _added(config: DictConfig, chosen: Any, path: str = "") -> Iterator[tuple[str, str, str]]:
    """(path, parent, key) of every key that a configuration has and another lacks, the topmost alone."""
    for key in config:
        node = config._get_node(key)
        here = f"{path}.{key!s}".lstrip(".")
        if here == "hydra":
            continue
        if not isinstance(chosen, DictConfig) or key not in chosen:
            yield here, path, str(key)
        elif isinstance(node, DictConfig) and not (node._is_none() or node._is_interpolation()):
            below = chosen._get_node(key)
            if below is None or below._is_none():
                yield from _added(node, DictConfig({}), here)
            elif isinstance(below, DictConfig) and not below._is_interpolation():
                yield from _added(node, below, here)
            # A group of keys in place of a value is judged with the values.


def _takes(known: Declared, above: DictConfig, parent: str, key: str) -> bool:
    """Whether somebody reads a key that no file has: an object's signature, Lightning's Trainer, a space."""
    if f"{parent}.{key}" in READ:
        return True
    if parent in ("method.regularizers", "method.monitors", "method.perturbation"):
        # A part that the method's own file does not have.
        given = above.get(key)
        return (
            key == "_target_" or (isinstance(given, DictConfig) and "_target_" in given) or takes(above, key)
        )
    if parent == "method" and key in SHORT and above.get("_target_") == WITH_ALL:
        return True
    if parent == "trainer":
        from nas.engine.trainer import trainer_arguments

        return key in trainer_arguments()
    parameters = parameters_of(above)
    fixed = f"{parent}._target_" in known.examples
    if key == "_target_":
        kind = known.kind(parent)
        # A node that a file leaves open, such as a profiler, or an argument of something that is built.
        return fixed or (kind is not None and not known.group(parent)) or _argument(known, parent)
    if key in HYDRA_KEYS:
        ours = str(above.get("_target_")).split(".")[0] == "nas"
        return parameters is not None and (not fixed or (key in FREE and not ours))
    if parameters is not None:
        return takes(above, key)
    if parent == "recipe" and "space" in above._get_root():
        return key in _recipe_keys(above._get_root())
    # An argument that is a mapping is its owner's to read; groups of the files are not.
    return parent != "" and parent not in known.examples


def wants_plus(key: str) -> bool:
    """Whether a key that no file has is an argument of Lightning's Trainer."""
    group, _, argument = key.partition(".")
    if group != "trainer":
        return False
    from nas.engine.trainer import trainer_arguments

    return argument in trainer_arguments()


def _argument(known: Declared, path: str) -> bool:
    """Whether a path lies below something that is built, and is none of the files' own groups."""
    parents = [path.rsplit(".", count)[0] for count in range(1, path.count(".") + 1)]
    return not known.group(path) and any(f"{one}._target_" in known.examples for one in parents)


def _recipe_keys(config: Any) -> Sequence[str]:
    """The keys of a recipe that size the networks of the configuration's space, or tune their training."""
    target = target_of(config.space)
    return (*getattr(target, "recipe_sizes", ()), *getattr(target, "recipe_options", ()))


def _siblings(known: Declared, above: DictConfig, chosen: DictConfig, parent: str) -> Iterable[str]:
    """The keys that would have been taken where an unknown one stands."""
    found = [str(key) for key in above if _has(chosen, f"{parent}.{key!s}".lstrip("."))]
    found += [name for name in parameters_of(above) or () if name != "self"]
    if parent == "recipe":
        found += _recipe_keys(above._get_root())
    if parent == "trainer":
        from nas.engine.trainer import trainer_arguments

        found += trainer_arguments()
    return [f"{parent}.{key!s}".lstrip(".") for key in found if not key.startswith("_")]


def _check_values(known: Declared, config: DictConfig, chosen: DictConfig | None = None) -> None:
    """Compares every value with its kind, what was written before what refers to it."""
    for referring in (False, True):
        _check_below(known, config, "", chosen, referring)


def _check_below(
    known: Declared, config: DictConfig, path: str, chosen: DictConfig | None, referring: bool
) -> None:
    signature = _signature(known, path, config)
    for key in config:
        here = f"{path}.{key!s}".lstrip(".")
        if here == "hydra" or OmegaConf.is_missing(config, key):
            continue
        try:
            value = config[key]
            given = _plain(value)
        except OmegaConfBaseException:
            _check_index(config, key, here)
            continue  # refers to what only the running job knows, or is told where it is read
        if key == "_partial_" and path in known.examples:
            right = known.examples.get(here, [False])
            require(given in right, f"{here}={shown(given)}: must be {shown(right[0])} here")
        kind = known.by_hand(here) or ranged(here, signature.get(str(key))) or known.kind(here)
        held = isinstance(value, DictConfig) and kind is not None and "map" in kind.types
        theirs = signature.get(str(key))
        takes_one = theirs is not None and "map" in theirs.types
        if held and not takes_one and known.by_hand(here) is None and "_target_" not in value:
            # Where files have a number a node may build one; a group of keys is none.
            usual_kind = of_examples(known.examples.get(here, ()))
            plain_one = usual_kind is None or "map" in usual_kind.types
            require(plain_one, f"{here}={shown(given)}: must be {usual_kind.words() if usual_kind else ''}")
        node = config._get_node(key)
        assert node is not None
        if kind is not None and node._is_interpolation() == referring and not held:
            usual = _usual(chosen, here)
            about = f" (it is {shown(usual)} by default)" if usual is not None else ""
            named = re.fullmatch(r"\$\{([\w.]+)\}", str(node._value()))
            typed = named[1] if named else here
            require(kind.fits(given), f"{typed}={typed_again(given)}: must be {kind.words()}{about}")
        if isinstance(value, DictConfig):
            _check_below(known, value, here, chosen, referring)


def _check_index(config: DictConfig, key: Any, here: str) -> None:
    """Refuses `${a.b[0].c}` where a.b is null, of which OmegaConf would say that it is no container."""
    found = raw(config, str(key))
    for inner in found if isinstance(found, DictConfig) else ():
        _check_index(found, inner, f"{here}.{inner!s}")
    named = re.fullmatch(r"\$\{([\w.]+)\[\d+\][\w.]*\}", found) if isinstance(found, str) else None
    if named is not None and raw(config._get_root(), named[1]) is None:
        raise ConfigError(
            f"{here}={found}: refers to {named[1]}, which is null; set {here} to a value of its own"
        )


def _signature(known: Declared, path: str, node: DictConfig) -> dict[str, Kind]:
    """The kinds of a node's keys as the signature of what takes them has it."""
    if path == "method":
        # A key that a part's option refers to is of that option's kind, whichever part the method has.
        of_parts = {str(key): _of_short_key(str(key)) for key in node}
        return kinds_of(node) | {key: one for key, one in of_parts.items() if one is not None}
    if path != "trainer":
        return kinds_of(node)
    from nas.engine.trainer import trainer_class

    # What the files set has the kind that it has there: Lightning takes null for most, our code does not.
    found = kinds_of_target(trainer_class())
    return {key: kind for key, kind in found.items() if f"trainer.{key}" not in known.examples}


def _of_short_key(key: str) -> Kind | None:
    target, option = SHORT.get(key, (None, ""))
    owner = None if target is None else named(target)
    found = None if owner is None else kinds_of_target(owner).get(option)
    return found if found is None or key not in OF_RELAXATIONS else either((found, kind("null")))


def _usual(chosen: DictConfig | None, path: str) -> Any:
    try:
        return None if chosen is None else OmegaConf.select(chosen, path)
    except OmegaConfBaseException:
        return None


def _node(config: DictConfig, path: str) -> Any:
    """The node at a dotted path as it stands, not resolved; no group of keys where there is none."""
    return raw(config, path) if path else config


def _has(config: DictConfig, path: str) -> bool:
    parent, _, key = path.rpartition(".")
    above = _node(config, parent)
    return isinstance(above, DictConfig) and key in above


def _plain(value: Any) -> Any:
    if isinstance(value, DictConfig | ListConfig):
        return OmegaConf.to_container(value, resolve=True)
    return value._value() if hasattr(value, "_value") else value


def _children(known: Declared, path: str) -> list[str]:
    depth = path.count(".") + 1
    below = [one for one in known.examples if one.startswith(f"{path}.") and one.count(".") == depth]
    return [one.rsplit(".", 1)[-1] for one in below]
