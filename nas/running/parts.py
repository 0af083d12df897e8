"""The parts of a method in a configuration, and the short words and keys that stand for them.

A part is a node with a `_target_` and its options: `method.relaxation`, `method.update`, `method.schedule`
and each of `method.regularizers`. People type short keys (`method.xi`, `method.lam`), which lie beside the
parts and which the options of a part refer to, and a single word (`method.update=joint`) for a part of this
project with the short keys as its options. Here one becomes the other.
"""

import copy
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import hydra
from omegaconf import DictConfig, OmegaConf, open_dict

from nas.errors import require
from nas.running.layers import keep_own_options, raw, searched
from nas.running.signatures import takes, target_of
from nas.running.targets import SOURCES
from nas.running.words import key_of, shown


@dataclass(frozen=True)
class Named:
    """A part of this project's.

    Attributes:
        target: its class.
        options: option -> the short key that stands for it.
    """

    target: str
    options: Mapping[str, str] = field(default_factory=dict)


# Role -> word -> part.
NAMED: Mapping[str, Mapping[str, Named]] = {
    "relaxation": {
        "softmax": Named("nas.methods.relaxations.Softmax"),
        "dirichlet": Named(
            "nas.methods.relaxations.Dirichlet",
            {"evaluation_draw": "evaluation_draw", "ranking": "ranking", "draws": "draws"},
        ),
        "scaling": Named("nas.methods.relaxations.ScalingFactors"),
        "connections": Named("nas.methods.relaxations.Connections", {"density": "density"}),
        "concrete": Named("nas.methods.relaxations.Concrete"),
        "sigmoid": Named("nas.methods.relaxations.Sigmoid"),
        "simplex": Named("nas.methods.relaxations.Simplex"),
    },
    "update": {
        "first_order": Named("nas.methods.updates.FirstOrder"),
        "joint": Named("nas.methods.updates.Joint"),
        "coordinate_descent": Named("nas.methods.updates.CoordinateDescent"),
        "mixed_level": Named("nas.methods.updates.MixedLevel"),
        "unrolled": Named(
            "nas.methods.updates.Unrolled",
            {
                "xi": "xi",
                "implicit": "implicit",
                "epsilon": "epsilon",
                "momentum": "virtual_momentum",
                "clip": "virtual_clip",
            },
        ),
    },
    "regularizers.anchor": {
        "anchor": Named(
            "nas.methods.regularizers.Anchor", {"kind": "anchor", "form": "anchor_form", "lam": "lam"}
        )
    },
    "schedule": {
        "stages": Named(
            "nas.methods.schedules.Schedule",
            {
                "warmup_epochs": "warmup_epochs",
                "stages": "stages",
                "learning_rate_at_stage": "learning_rate_at_stage",
                "widen": "widen",
            },
        )
    },
}
# The commands that an experiment is a whole of; others borrow its sizes.
RUNS = ("search", "evaluate", "protocol")
# What conf/debug sets of spaces.
SIZES = ("num_cells", "init_channels")
# What a configuration that does not say has: folders of runs from before there were parts say none.
USUAL = {"regularizers.anchor": "anchor", "schedule": "stages"}
# Classes whose parts these are; DSO-NAS's has but the first two.
WITH_ALL = "nas.methods.method.Method"
BY_TARGET = {part.target: (role, word) for role, parts in NAMED.items() for word, part in parts.items()}
# Short key -> the class and the argument that it stands for.
SHORT = {
    key: (part.target, option)
    for parts in NAMED.values()
    for part in parts.values()
    for option, key in part.options.items()
}
# Null leaves them at the relaxation's own default.
OF_RELAXATIONS = {key for part in NAMED["relaxation"].values() for key in part.options.values()}


def update_word(root: Any) -> str:
    """The word for the update of a configuration, `first_order` where there is no method."""
    method = raw(root, "method")
    if not isinstance(method, DictConfig) or "update" not in method:
        return "first_order"
    update = raw(method, "update")
    target = raw(update, "_target_") if isinstance(update, DictConfig) else None
    word = BY_TARGET.get(str(target), ("", "another"))[1] if isinstance(update, DictConfig) else update
    return "none" if word is None else str(word)


def compose(name: str, overrides: Sequence[str]) -> DictConfig:
    """What a command composes to, with the folders that this command line named and parts in order."""
    config = hydra.compose(name, [*searched(), *overrides])
    separate(name, config, overrides)
    return config


def separate(name: str, config: DictConfig, overrides: Sequence[str]) -> None:
    """Puts the parts of a composed method, and somebody else's source of data, in order, in place.

    Args:
        name: the root configuration.
        config: as composed.
        overrides: what was typed.

    Raises:
        ConfigError: a word stands for no part, or a short key is set that no part reads.
    """
    with open_dict(config):
        made_for = config.pop("made_for", None)
    require(
        made_for is None or name not in RUNS or made_for == name,
        f"experiment: what was chosen is made for nas.{made_for}, not for nas.{name}",
    )
    _leave_out_sizes(config, overrides)
    method = raw(config, "method")
    paths = [f"method.{path}" for path in part_paths(method)] if isinstance(method, DictConfig) else []
    source = raw(config, "dataset.source._target_")
    if source is not None and source not in SOURCES:
        paths.append("dataset.source")
    nodes = {path: raw(config, path) for path in paths}
    foreign = {
        path: node for path, node in nodes.items() if isinstance(node, DictConfig) and not _is_plain(node)
    }
    keep_own_options(name, config, overrides, foreign)
    if isinstance(method, DictConfig):
        spell_out(config)
        _refuse_unread(config, method, overrides)


def _leave_out_sizes(config: DictConfig, overrides: Sequence[str]) -> None:
    """Takes out the sizes that a debug mode gives every space, where somebody else's class has none such."""
    space, typed = raw(config, "space"), {key_of(one) for one in overrides}
    if "debug" not in typed or not isinstance(space, DictConfig) or target_of(space) is None:
        return
    with open_dict(space):
        for key in SIZES:
            if key in space and f"space.{key}" not in typed and not takes(space, key):
                space.pop(key)


def spell_out(config: DictConfig) -> None:
    """Makes nodes of the words that stand for parts, in place.

    Raises:
        ConfigError: a word stands for no part, or a key is set that is another relaxation's.
    """
    method = raw(config, "method")
    if isinstance(method, DictConfig):
        _spell_out(method)


def _spell_out(method: DictConfig) -> None:
    with open_dict(method):
        for role in ("relaxation", "update"):
            if role in method:
                method[role] = _spelled(role, raw(method, role), method)
        if method.get("_target_") == WITH_ALL:
            for role, word in USUAL.items():
                part = NAMED[role][word]
                if raw(method, role) is None and any(key in method for key in part.options.values()):
                    OmegaConf.update(method, role, _node_of(part, method), force_add=True)
        for path in part_paths(method):
            _drop_dangling(raw(method, path), method)
    _refuse_others_keys(method)


def link(saved: DictConfig) -> None:
    """Lets the options of a saved configuration's parts follow their short keys again, in place.

    A run folder holds values and no interpolations, the same one twice.
    """
    method = raw(saved, "method")
    if not isinstance(method, DictConfig):
        return
    for path in part_paths(method):
        node = raw(method, path)
        part = _known(node)
        for option, key in (part.options if part else {}).items():
            if option in node and key in method and node[option] == method[key]:
                node[option] = f"${{method.{key}}}"


def ready(node: DictConfig) -> DictConfig:
    """The node of a method as its class is built from it: parts spelt out, without their short keys."""
    if node._key() != "method" or not isinstance(node.get("_target_"), str):
        return node
    own = copy.deepcopy(node)
    # What refers to a short key finds it in the whole configuration, where it stays.
    own._set_parent(node._get_parent())
    _spell_out(own)
    with open_dict(own):
        for key in _borrowed(own):
            own.pop(key)
    return own


def without_borrowed(config: DictConfig) -> DictConfig:
    """A configuration as a run folder keeps it, without the keys that somebody else's part has referred to.

    Interpolations are resolved there, and nothing would say any more that a part reads them.
    """
    method = raw(config, "method")
    if isinstance(method, DictConfig) and isinstance(method.get("_target_"), str):
        gone = [key for key in _borrowed(method) if key not in SHORT]
        OmegaConf.resolve(config)
        with open_dict(method):
            for key in gone:
                method.pop(key)
    return config


def _borrowed(method: DictConfig) -> list[str]:
    """The keys that parts refer to, anybody's, and that the class of the method does not take."""
    parts = OmegaConf.to_yaml(OmegaConf.create({path: raw(method, path) for path in part_paths(method)}))
    free = [str(key) for key in method if not str(key).startswith("_") and not takes(method, str(key))]
    return [key for key in free if key in SHORT or _referred(key, parts)]


def unread_keys(config: DictConfig) -> list[str]:
    """The keys of a composed method that neither its class nor a part reads, whoever wrote them."""
    method = raw(config, "method")
    if not isinstance(method, DictConfig) or not isinstance(method.get("_target_"), str):
        return []
    text = OmegaConf.to_yaml(config)
    return [
        str(key)
        for key in method
        if not str(key).startswith("_")
        and key not in SHORT
        and not takes(method, str(key))
        and not _referred(str(key), text)
    ]


def part_paths(method: DictConfig) -> list[str]:
    """The keys below `method` at which a part may lie."""
    several = {role: raw(method, role) for role in ("regularizers", "monitors")}
    named = [
        f"{role}.{key!s}" for role, nodes in several.items() if isinstance(nodes, DictConfig) for key in nodes
    ]
    return ["relaxation", "edges", "update", "perturbation", "selection", "schedule", *named]


def _known(node: Any) -> Named | None:
    found = BY_TARGET.get(raw(node, "_target_")) if isinstance(node, DictConfig) else None
    return NAMED[found[0]][found[1]] if found else None


def _is_plain(node: DictConfig) -> bool:
    """Whether a part has no option, or is one of this project's whose options are its short keys.

    Nothing in it is of another class, so that the files need not be read once more, one by one.
    """
    part = _known(node)
    short = {option: f"${{method.{key}}}" for option, key in part.options.items()} if part else {}
    return all(key == "_target_" or (key in short and raw(node, str(key)) == short[key]) for key in node)


def _spelled(role: str, given: Any, method: DictConfig) -> Any:
    if isinstance(given, DictConfig):
        return given
    if role == "update" and given in (None, "none"):
        return None
    words = NAMED[role]
    known = [*words, *(("none",) if role == "update" else ())]
    require(
        isinstance(given, str) and given in words,
        f"method.{role}={shown(given)}: unknown {role}; known are {', '.join(known)}, and a node whose "
        "_target_ names a class",
    )
    return _node_of(words[given], method)


def _node_of(part: Named, method: DictConfig) -> DictConfig:
    options = {option: f"${{method.{key}}}" for option, key in part.options.items() if key in method}
    return OmegaConf.create({"_target_": part.target, **options})


def _drop_dangling(node: Any, method: DictConfig) -> None:
    """An option whose short key was taken out has its usual value; of a relaxation's a null does it too."""
    for key in list(node) if isinstance(node, DictConfig) else ():
        named = re.fullmatch(r"\$\{method\.(\w+)\}", str(node._get_node(key)._value()))
        if named is None or named[1] not in SHORT:
            continue
        if named[1] not in method or (named[1] in OF_RELAXATIONS and raw(method, named[1]) is None):
            node.pop(key)


def _refuse_others_keys(method: DictConfig) -> None:
    """A short key of one relaxation is not silently without effect in another."""
    node = raw(method, "relaxation")
    found = BY_TARGET.get(raw(node, "_target_")) if isinstance(node, DictConfig) else None
    if found is None or found[0] != "relaxation":
        return
    for owner, part in NAMED["relaxation"].items():
        for key in part.options.values():
            value = raw(method, key)
            require(
                owner == found[1] or value is None,
                f"method.{key}={shown(value)}: only for method.relaxation={owner}, not for {found[1]}",
            )


def _refuse_unread(config: DictConfig, method: DictConfig, overrides: Sequence[str]) -> None:
    """Short keys that no part reads: a file's may stay, for the word that calls for them; typed act."""
    if config.get("resume") is not None:
        return  # its folder says which parts there are
    trains = raw(method, "update") is not None
    if not trains:
        # A draw beside searches is given the numbers that these read, where a file has them.
        overrides = [one for one in overrides if one.startswith("+")]
    text, typed = OmegaConf.to_yaml(method), set(map(key_of, overrides))
    for role, words in NAMED.items():
        node = raw(method, role)
        acts = trains or role == "relaxation"
        for owner, part in words.items():
            for key in part.options.values():
                value = raw(method, key)
                require(
                    f"method.{key}" not in typed
                    or value is None
                    or (acts and (_referred(key, text) or takes(method, key))),
                    f"method.{key}={shown(value)}: only for method.{role}={owner}, not for {_called(node)}",
                )


def _called(node: Any) -> str:
    """A part as it may be typed."""
    if not isinstance(node, DictConfig):
        return "none"
    target = raw(node, "_target_")
    return BY_TARGET[target][1] if target in BY_TARGET else shown(target)


def _referred(key: str, text: str) -> bool:
    return re.search(r"\$\{(oc\.select:)?method\." + re.escape(key) + r"\b", text) is not None


def full_key(node: DictConfig) -> str:
    """Where a node stands; asked itself, one in a list gives its place without brackets."""
    above = node._get_parent()
    return "" if above is None else above._get_full_key(node._key())
