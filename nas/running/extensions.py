"""Packages of others that bring configurations: every command finds the options of those that are installed.

A distribution names a folder of its package under the entry point `nas.configurations` (docs/extend.md). The
folder is found without importing anything; what its files name is imported where an option is chosen.
"""

import importlib.metadata
import importlib.util
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.plugins import Plugins
from hydra.plugins.search_path_plugin import SearchPathPlugin

from nas.errors import ConfigError, require
from nas.genotype_text import is_import_path
from nas.printable import shown
from nas.running.declared import GLOBAL
from nas.running.targets import ROLES, VOUCHED, role

GROUP = "nas.configurations"
# Where a space lists its candidates, which may be import paths.
OPERATIONS = "space.operations"


@dataclass(frozen=True)
class Extension:
    """A folder of configurations that an installed distribution brings.

    Attributes:
        name: of its entry point.
        distribution: its name and version.
        folder: laid out as `conf/` is.
    """

    name: str
    distribution: str
    folder: Path

    def files(self) -> Iterator[tuple[str, Path]]:
        """Every YAML file and the group that it is an option of, such as `space` or `experiment/mine`."""
        for path in sorted(self.folder.rglob("*.yaml")):
            yield path.parent.relative_to(self.folder).as_posix(), path

    def options(self) -> list[str]:
        """What can be typed of it, such as `space=theirs`."""
        return [f"{group}={path.stem}" for group, path in self.files() if group != "."]


@cache
def installed() -> tuple[Extension, ...]:
    """The extensions that Python's path holds, by the names of their entry points.

    Raises:
        ConfigError: an entry point names no folder.
    """
    # With `python -m` the working folder stands on the path, and it may be a stranger's: it installs nothing.
    here = os.path.realpath(os.getcwd())
    places = [place for place in sys.path if place and os.path.realpath(place) != here]
    found: dict[str, list[Extension]] = {}
    for one in importlib.metadata.distributions(path=places):
        points = one.entry_points.select(group=GROUP)
        # Of two copies the first on the path counts, as it does for imports.
        if points:
            found.setdefault(one.name.lower().replace("_", "-"), [_extension(point, one) for point in points])
    return tuple(sorted((one for ones in found.values() for one in ones), key=lambda one: one.name))


def _extension(point: importlib.metadata.EntryPoint, owner: importlib.metadata.Distribution) -> Extension:
    distribution = f"{owner.name} {owner.version}"
    top, *below = point.value.split(".")
    try:
        # Of a package at the top of its path nothing is imported.
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        spec = None
    for place in spec.submodule_search_locations or () if spec else ():
        folder = Path(place, *below)
        if below and folder.is_dir():
            return Extension(point.name, distribution, folder)
    raise ConfigError(
        f"the installed package {shown(distribution)} names {shown(point.value)} as its folder of "
        f"configurations (entry point {GROUP}: {shown(point.name)}), and there is none; mend the package or "
        "uninstall it"
    )


class InstalledConfigurations(SearchPathPlugin):
    """Puts the folders of extensions behind this project's own on Hydra's search path."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        for one in installed():
            search_path.append(f"{GROUP}: {one.name}", f"file://{one.folder}")


def register_extensions() -> None:
    """Makes the options of extensions known to Hydra; may be called again."""
    Plugins.instance().register(InstalledConfigurations)


def check_single(group: str, option: str, own: Path) -> None:
    """Refuses an option that two packages bring, of which Hydra would read the first without a word.

    Args:
        group: such as `space`.
        option: such as `theirs`.
        own: this project's folder of configurations.

    Raises:
        ConfigError: names both.
    """
    name = f"{option.removesuffix('.yaml')}.yaml"
    folders = {"this project": own, **{one.distribution: one.folder for one in installed()}}
    owners = [owner for owner, folder in folders.items() if (folder / group / name).is_file()]
    require(
        len(owners) < 2,
        f"{group}={shown(option)}: {' and '.join(map(shown, owners))} both have an option of this name; "
        "uninstall one of them, or rename its file",
    )


def listed(key: str) -> frozenset[str]:
    """What a key of a run folder may name: this project's list, and what the files of extensions name there.

    Args:
        key: as `nas.running.targets.role` has it, or `space.operations`.
    """
    if key in VOUCHED:
        return frozenset()
    return frozenset(ROLES.get(key, ())) | _named().get(key, frozenset())


@cache
def _named() -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for extension in installed():
        for group, path in extension.files():
            start = [] if group == "." or group.split("/")[0] in GLOBAL else group.split("/")
            for key, name in _names_of(path.read_text(encoding="utf-8")):
                place = OPERATIONS if key is None else role((*start, *key))
                found.setdefault(place, set()).add(name)
    return {key: frozenset(names) for key, names in found.items()}


def _names_of(text: str) -> Iterator[tuple[tuple | None, str]]:
    """(key, import path) of what a YAML file names, of which nothing is built; operations have no key."""
    try:
        waiting: list[tuple[tuple, Any]] = [((), one) for one in yaml.safe_load_all(text)]
    except (yaml.YAMLError, ValueError):
        return
    while waiting:
        key, value = waiting.pop()
        if isinstance(value, dict):
            waiting += [((*key, name), inner) for name, inner in value.items()]
        elif isinstance(value, list):
            waiting += [((*key, place), inner) for place, inner in enumerate(value)]
        elif isinstance(value, str) and key and key[-1] == "_target_":
            yield key[:-1], value
        elif isinstance(value, str) and "operations" in key and is_import_path(value):
            yield None, value
