"""What a run from Python is given as data: overrides, and pictures that a program holds."""

import html
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nas.errors import ConfigError, require, require_one_of
from nas.running.declared import CONF, read_file
from nas.running.words import near, word

GIVEN = "given"
# What divides the training pictures of a search, and what it is if nobody says so.
PARTS = {"split_ratio": 0.5, "fraction": 1.0}


@dataclass(frozen=True)
class Data:
    """Data for a run.

    Attributes:
        name: of the data set, as `dataset=` has it.
        words: the overrides that stand for it, as they can be typed behind a command.
        pair: the pictures themselves, where the program holds them.
        notes: what is known of these without reading more.
    """

    name: str
    words: tuple[str, ...]
    pair: Any = field(default=None, repr=False, compare=False)
    notes: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def source(self) -> Any:
        """What the framework reads: `classes`, `image_shape`, `train()`, `test()` (of text
        `vocabulary_size`).

        Raises:
            ConfigError: the data are not there, or not what they should be.
        """
        from nas.domains.networks import source_of
        from nas.running.in_process import composed
        from nas.running.parts import compose

        with composed(data=self.pair):
            return source_of(compose("search", ["method=random", *self.words]))

    @property
    def classes(self) -> tuple[str, ...] | None:
        """Names of the classes in the order of the labels; None where they are not known."""
        found = self.notes.get("classes") or getattr(self.source, "classes", None)
        return None if found is None else tuple(found)

    def _repr_html_(self) -> str:
        shown = {key: value for key, value in self.notes.items() if value is not None}
        rows = {"data": self.name, **shown, "as typed": " ".join(self.words)}
        texts = ((html.escape(key), html.escape(str(value))) for key, value in rows.items())
        cells = (f"<tr><th>{key}</th><td>{value}</td></tr>" for key, value in texts)
        return f"<table>{''.join(cells)}</table>"


def path_of(given: Any, what: str) -> Path:
    """A path as the caller gives it, whose `~` is the home folder.

    Raises:
        ConfigError: it is none.
    """
    require(isinstance(given, str | Path), f"{what}={given!r}: must be a path")
    return Path(given).expanduser()


def place(path: str | Path, what: str) -> str:
    """A path from the root of the file system.

    Raises:
        ConfigError: nothing is there.
    """
    found = path_of(path, what).absolute()
    require(found.exists(), f"{what}={path}: there is no such file or folder")
    return str(found)


def chosen(name: str, own: Mapping[str, Any], settings: Mapping[str, Any]) -> Data:
    """The data set of a file below `conf/dataset`, with what was set of its keys.

    Args:
        name: of the file.
        own: values of its keys; None for what the file says.
        settings: the same, by the caller's words, where None is a value.

    Raises:
        ConfigError: there is no such file, or key in it.
    """
    file = CONF / "dataset" / f"{name}.yaml"
    given = {key: value for key, value in own.items() if value is not None} | dict(settings)
    keys = _keys(file) if file.is_file() else _keys_elsewhere(name)
    return Data(name, (f"dataset={name}", *words_of(name, keys, given)))


def held(
    train: Any,
    test: Any,
    plain: Any,
    facts: Mapping[str, Any],
    own: Mapping[str, Any],
    settings: Mapping[str, Any],
) -> Data:
    """Pictures of this program; see `nas.datasets.given`."""
    from nas.running.untouched import untouched

    try:
        # Pictures are somebody's code, and tensors as a run needs them: neither is the caller's mode a part
        # of them (inference, a default device), nor do they change the caller's random numbers.
        with untouched():
            pair, shape, inner, names, highest, (mean, std) = _read(train, test, plain, facts)
    except ConfigError:
        raise
    except Exception as error:
        said = " ".join(str(error).split())[:300]
        raise ConfigError(f"given: the data cannot be read: {type(error).__name__}: {said}") from error
    known = {
        "image_shape": list(shape),
        "num_classes": highest if names is None else len(names),
        "mean": _of_channels("mean", mean, shape[0]),
        "std": _of_channels("std", std, shape[0]),
        "classes": names,
        "num_images": [len(pair.train), len(pair.test)],
        "padded_from": None if inner is None else list(inner),
    }
    given = {key: value for key, value in own.items() if value is not None}
    words = words_of(
        GIVEN, _keys(_conf() / "dataset" / f"{GIVEN}.yaml"), {"name": facts["name"], **given, **settings}
    )
    of_source = [f"dataset.source.{key}={word(value)}" for key, value in known.items() if value is not None]
    return Data(GIVEN, (f"dataset={GIVEN}", *of_source, *words), pair, {"name": facts["name"], **known})


def _read(train: Any, test: Any, plain: Any, facts: Mapping[str, Any]) -> tuple:
    """The pictures, their shape, what it is padded from, names of classes or None, how many classes labels
    speak of, and (mean, deviation).
    """
    from nas.data.given import moments, pair_of

    pair, shape, inner = pair_of(train, test, plain)
    classes = facts["classes"] or getattr(train, "classes", None)
    highest = int(pair.train.labels.max()) + 1
    listed = classes is None or (isinstance(classes, Iterable) and not isinstance(classes, str))
    require(listed, f"classes={classes!r}: must be a list of names, in the order of the labels")
    names = None if classes is None else [str(one) for one in classes]
    require(
        names is None or len(set(names)) == len(names),
        f"classes={names}: a name stands for two classes, whose probabilities could not be told apart",
    )
    require(
        names is None or len(names) >= highest,
        f"classes: {len(names or ())} names, but labels run up to {highest - 1}",
    )
    mean, std = facts["mean"], facts["std"]
    if mean is None or std is None:
        found = moments(pair.train)
        mean, std = (one if given is None else given for given, one in zip((mean, std), found, strict=True))
    return pair, shape, inner, names, highest, (mean, std)


def _of_channels(what: str, given: Any, channels: int) -> list[float]:
    """Numbers of a sequence, an array or a tensor, one for each channel.

    Raises:
        ConfigError: they are something else, or others in number.
    """
    try:
        numbers = [float(one) for one in given]
    except (TypeError, ValueError):
        numbers = []
    told = f"{what}={' '.join(str(given).split())}: must be {channels} numbers, one for each channel"
    require(len(numbers) == channels and all(map(math.isfinite, numbers)), told)
    return numbers


def words_of(name: str, keys: Mapping[str, str], settings: Mapping[str, Any]) -> list[str]:
    """The overrides that set keys of a data set.

    Args:
        name: of the data set.
        keys: setting -> its key, such as `dataset.source.image_size`.
        settings: their values.

    Raises:
        ConfigError: it has no such key.
    """
    found = []
    for key, value in settings.items():
        near_to = near(key, keys)
        require(key in keys, f"{key}={value!r}: dataset={name} has no such setting{near_to}")
        found.append(f"{keys[key]}={word(str(value) if isinstance(value, Path) else value)}")
    return found


def _keys(file: Path) -> dict[str, str]:
    """Setting -> its key, of a file and those that it is made from."""
    found: dict[str, str] = {}
    waiting = [file]
    while waiting:
        node: Any = read_file(waiting.pop(0))
        for base in node.pop("defaults", None) or ():
            if isinstance(base, str) and base != "_self_":
                waiting.append(file.parent / f"{base}.yaml")
        found |= _keys_of(node)
    return found


def _keys_elsewhere(name: str) -> dict[str, str]:
    """The same of a data set that an installed package brings.

    Raises:
        ConfigError: none does.
    """
    from hydra.core.global_hydra import GlobalHydra

    from nas.running.in_process import composed
    from nas.running.parts import compose

    with composed():
        known = GlobalHydra.instance().config_loader().get_group_options("dataset")
        require_one_of("data", name, [one for one in known if one != GIVEN])
        return _keys_of(compose("search", ["method=random", f"dataset={name}"]).dataset)


def _keys_of(node: Any) -> dict[str, str]:
    """Those of `dataset.source`, and of `dataset`, to which some of these refer."""
    found, source = {}, node.get("source")
    for key in source if source is not None else ():
        inner = source._get_node(key)
        raw = inner._value() if inner is not None else None
        if not str(key).startswith("_") and not (isinstance(raw, str) and "${" in raw):
            found[str(key)] = f"dataset.source.{key}"
    return found | {str(key): f"dataset.{key}" for key in node if key not in ("source", "_target_")}


def data_of(given: Any) -> Data:
    """What the caller means by data: itself, a name, or a pair of data sets.

    Raises:
        ConfigError: it is none of these.
    """
    if isinstance(given, Data):
        return given
    if isinstance(given, str):
        return chosen(given, {}, {})
    if isinstance(given, tuple | list) and len(given) == 2:
        facts = {"classes": None, "mean": None, "std": None, "name": GIVEN}
        return held(given[0], given[1], None, facts, {}, {})
    raise ConfigError(
        f"data={type(given).__name__}: must be one of nas.datasets (folder, arrays, corpus, given, named), "
        "the name "
        "of a data set, or a pair (train, test) of torch data sets"
    )


def small_batch(data: Data, overrides: Sequence[str]) -> list[str]:
    """The override that a search on few pictures of a program needs, none of whose parts fills a batch."""
    if data.pair is None:
        return []
    said = {one.partition("=")[0]: one.partition("=")[2] for one in (*data.words, *overrides)}
    if "dataset.batch_size" in said:
        return []
    try:
        ratio, share = (float(said.get(f"dataset.{key}", usual)) for key, usual in PARTS.items())
    except ValueError:
        return []  # told where it is read
    usual = read_file(_conf() / "dataset" / f"{GIVEN}.yaml").batch_size
    least = int(len(data.pair.train) * share * min(ratio, 1 - ratio))
    return [f"dataset.batch_size={max(1, least)}"] if least < usual else []


def _conf() -> Path:
    from nas.running.in_process import CONF as OF_PYTHON

    return OF_PYTHON


def typed(settings: Mapping[str, Any]) -> list[str]:
    """Overrides of the keys that have a value."""
    return [f"{key}={word(value)}" for key, value in settings.items() if value is not None]


def joined(explicit: Sequence[str], overrides: Sequence[str]) -> list[str]:
    """The words of a call: its own arguments, then the caller's overrides.

    Raises:
        ConfigError: overrides are no list of texts, or say once more what an argument says.
    """
    from nas.running.words import key_of

    require(
        not isinstance(overrides, str) and all(isinstance(one, str) for one in overrides),
        f"overrides={overrides!r}: must be a list of texts such as ['method.xi=0.1']",
    )
    said = {key_of(one) for one in explicit}
    for one in overrides:
        twice = key_of(one) in said
        require(not twice, f"overrides: {one}: said by an argument already; leave one of them out")
    return [*explicit, *overrides]
