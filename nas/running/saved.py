"""What a run folder says of how it was made, which may be a stranger's: `config.yaml`, `overrides.yaml`."""

from collections.abc import Container, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from nas.errors import ConfigError, require
from nas.printable import shown
from nas.reading.json_text import read_object
from nas.reading.yaml_text import read_mapping, read_yaml
from nas.running import trust
from nas.running.config_checks import check_saved
from nas.running.places import PLACES

# Of `summary.json`: grows when what a run folder holds changes in a way that earlier versions cannot read.
SCHEMA = 1
# Of the overrides of one run.
MANY, LONG = 1000, 10_000
# Values of one configuration; it has some hundreds, and OmegaConf needs a second for ten thousand.
VALUES = 10_000


def read_config(path: Path, where: str) -> DictConfig:
    """The configuration of a run.

    Args:
        path: of its `config.yaml`.
        where: what a message begins with: the setting that named the folder, and the file.

    Raises:
        ConfigError: there is no such file, it is no plain YAML with keys, or holds too many values. Also
            where it has an interpolation: they are resolved when a run writes it, and one can read this
            user's environment. Also where a later version of this project wrote the folder.
    """
    _refuse_newer(path.parent / "summary.json", where)
    found = read_mapping(path, where)
    _check_values(found, where)
    try:
        return OmegaConf.create(found)
    except (OmegaConfBaseException, ValueError, RecursionError) as error:
        raise ConfigError(f"{where}: damaged ({shown(' '.join(str(error).split()), 160)})") from error


def check_parts(
    command: str, saved: DictConfig, parts: Sequence[str], config: DictConfig, folder: Path, where: str
) -> None:
    """Refuses parts of a run's configuration that another command cannot take over.

    Args:
        command: that wrote it.
        saved: the configuration.
        parts: the groups and keys that are taken over.
        config: this command's own.
        folder: the run folder.
        where: what the caller typed, such as `run=<folder>`.

    Raises:
        ConfigError: one is missing, is what `trust.check_saved` refuses, or has a value that cannot be.
    """
    missing = [key for key in parts if key not in saved]
    require(not missing, f"{where}: config.yaml is damaged (it lacks {', '.join(missing)})")
    used = {key: saved[key] for key in parts}
    trust.check_saved(OmegaConf.create(used), config, folder, where)
    check_saved(command, OmegaConf.create(used), f"{where}: config.yaml")


def set_places(dataset: DictConfig, typed: DictConfig, keys: Container[str]) -> None:
    """Gives a saved data set the places that were typed, which its source has taken over by value.

    Args:
        dataset: the saved one, in place.
        typed: the `dataset` of this command.
        keys: what was typed, such as `dataset.root`.
    """
    for key in (one for one in PLACES if f"dataset.{one}" in keys and typed[one] is not None):
        dataset[key] = typed[key]
        if key in dataset.source:
            dataset.source[key] = typed[key]


def _refuse_newer(summary: Path, where: str) -> None:
    if not summary.exists():
        return
    try:
        found = read_object(summary).get("schema", SCHEMA)
    except ConfigError:
        return  # whoever needs the summary says what is wrong with it
    require(
        not isinstance(found, int) or found <= SCHEMA,
        f"{where}: written by a later version (schema {shown(found)}; this one reads up to {SCHEMA}); update "
        "nas-framework",
    )


def _check_values(data: Any, where: str) -> None:
    left, count = [data], 0
    while left:
        value = left.pop()
        count += 1
        longest = isinstance(value, dict | list) and len(value) > VALUES
        require(
            count <= VALUES and not longest,
            f"{where}: holds more than {VALUES:,} values; only so many are read",
        )
        if isinstance(value, dict):
            left += [*value.keys(), *value.values()]
        elif isinstance(value, list):
            left += value
        else:
            require(
                not (isinstance(value, str) and "${" in value),
                f"{where}: {shown(value)}: a run folder holds values, no interpolations",
            )


def read_overrides(path: Path) -> list[str]:
    """What was typed for a run, from its `overrides.yaml`.

    Raises:
        ConfigError: there is no such file, or it holds no list of texts, or too much of it.
    """
    where = str(path)
    found = read_yaml(path)
    require(
        is_overrides(found),
        f"{where}: {shown(found)}: must be a list of at most {MANY:,} texts key=value of at most {LONG:,} "
        "characters",
    )
    return found


def is_overrides(value: object) -> bool:
    """Whether a value is a list of overrides, neither too many nor too long."""
    return (
        isinstance(value, list)
        and len(value) <= MANY
        and all(isinstance(one, str) and len(one) <= LONG for one in value)
    )
