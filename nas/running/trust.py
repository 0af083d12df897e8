"""What a run folder may name: `_target_` of a saved configuration is built only if its key's list has it.

A run folder may come from a stranger, and whatever stands at `_target_` is imported and called. So each key
that may hold one has a closed list (`nas.running.targets`); for everything else the caller's own word on
this command line is needed: `trust=<module>`, a typed `_target_`, or a typed `--config-dir` or
`hydra.searchpath` whose files name it. The files of an installed extension add to the lists, key by key.
Nothing that the folder names is imported here, and nothing of the folder is resolved.
"""

import contextlib
import importlib.resources
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, QuotedString
from omegaconf import DictConfig, ListConfig, OmegaConf

from nas.errors import ConfigError, require
from nas.genotype import parse
from nas.genotype_text import is_import_path
from nas.running.extensions import OPERATIONS, listed
from nas.running.targets import OURS, VOUCHED, role
from nas.running.words import key_of, word

# Words of Hydra's that may say how a node is built; others that begin and end with an underscore are refused.
BUILDING = ("_target_", "_partial_", "_convert_", "_recursive_")
# Names of arguments below `trainer` that say where something is written, or whom to talk to.
PLACES = re.compile(
    r"(^|_)(dir|dirs|dirpath|directory|path|paths|file|filename|files|folder|root|host|hostname|port|url|uri|"
    r"address|addr|endpoint|server|socket)$"
)
# Where zero-cost measures are named, by their import paths too.
MEASURES = re.compile(r"(measures|rank)\b")
# Choices of `tabular` of which no file is unpickled here; the import path of a surrogate is judged as such.
READ_AS_DATA = ("none", "csv", "surrogate")
COMMAND_LINE = "command-line"
SEARCH_PATH = "hydra.searchpath in command-line"


@dataclass(frozen=True)
class Caller:
    """What the caller vouches for on this command line.

    Attributes:
        modules: of `trust=`; each covers what lies below it.
        names: every `_target_` and operation that was typed, or that a YAML file in a typed folder of
            configurations holds.
    """

    modules: tuple[str, ...] = ()
    names: frozenset[str] = frozenset()

    def vouches(self, target: str) -> bool:
        """Whether a `_target_` needs no list, and an operation can be imported."""
        return target in self.names or any(
            target == module or target.startswith(f"{module}.") for module in self.modules
        )


def caller(config: DictConfig) -> Caller:
    """What this command line vouches for.

    Args:
        config: as composed, whose `trust` is a module, a list of them, or null.

    Raises:
        ConfigError: `trust` is something else.
    """
    names: set[str] = set()
    typed = list(HydraConfig.get().overrides.task)
    for override in OverridesParser.create().parse_overrides(typed):
        names |= set(named_by(override.key_or_group, override.value()))
    return Caller(modules(config.get("trust")), frozenset(names | names_in_folders()))


def named_by(key: str, value: Any) -> Iterator[str]:
    """Every `_target_`, operation and measure that `key=value` names, a genotype's text among them."""
    if isinstance(value, ChoiceSweep):
        for one in value.list:
            yield from named_by(key, _unquoted(one))
        return
    if MEASURES.match(key):
        yield from import_paths(value)
    if key.endswith("._target_"):
        value = {"_target_": value}
    elif key.startswith(OPERATIONS):
        value = {"operations": value}
    elif key == "genotype" and isinstance(value, str):
        with contextlib.suppress(ConfigError):
            yield from import_paths(sorted(parse(value).operations))
    yield from targets_in(value)


def _unquoted(value: Any) -> Any:
    """A choice of a sweep as plain texts and containers, which Hydra leaves as it was typed."""
    if isinstance(value, QuotedString):
        return value.text
    if isinstance(value, list):
        return [_unquoted(one) for one in value]
    if isinstance(value, dict):
        return {_unquoted(key): _unquoted(one) for key, one in value.items()}
    return value


def modules(trust: Any) -> tuple[str, ...]:
    """`trust=` as a tuple of module names.

    Raises:
        ConfigError: it is no dotted name, and no list of such.
    """
    given = [] if trust is None else list(trust) if isinstance(trust, list | ListConfig) else [trust]
    for name in given:
        require(
            isinstance(name, str) and re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", name) is not None,
            f"trust={name}: must be the name of a module, such as trust=mypackage, or a list of them",
        )
    return tuple(given)


def names_in_folders() -> set[str]:
    """Every `_target_` and operation in the typed folders of configurations."""
    return {
        name
        for source in HydraConfig.get().runtime.config_sources
        if source.provider in (COMMAND_LINE, SEARCH_PATH)
        for name in _named_in(source.schema, source.path)
    }


def _named_in(schema: str, path: str) -> Iterator[str]:
    """Every `_target_` in the YAML files of a folder, without composing any of them."""
    if schema == "pkg":
        package, *below = path.split("/")
        root = importlib.resources.files(package).joinpath(*below)
    else:
        root = Path(path).expanduser()
    for file in _yaml_files(root):
        yield from _targets_of(file.read_text(encoding="utf-8"))


def _targets_of(text: str) -> Iterator[str]:
    """What `targets_in` finds in a YAML text, of which nothing is built; nothing where it is no YAML."""
    import yaml

    try:
        yield from targets_in(list(yaml.safe_load_all(text)))
    except (yaml.YAMLError, ValueError):
        return


def _yaml_files(folder: Any) -> Iterator[Any]:
    if not folder.is_dir():
        return
    for entry in sorted(folder.iterdir(), key=lambda one: one.name):
        if entry.is_dir():
            yield from _yaml_files(entry)
        elif entry.is_file() and entry.name.endswith((".yaml", ".yml")):
            yield entry


def targets_in(value: Any) -> Iterator[str]:
    """Every `_target_` of plain containers, and every import path among `operations`."""
    if isinstance(value, dict):
        if isinstance(value.get("_target_"), str):
            yield value["_target_"]
        yield from import_paths(value.get("operations"))
        for inner in value.values():
            yield from targets_in(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from targets_in(inner)


def import_paths(value: Any) -> Iterator[str]:
    """Every import path among the texts of plain containers, keys included."""
    if isinstance(value, str) and is_import_path(value):
        yield value
    elif isinstance(value, dict | list | tuple):
        for inner in (*value, *value.values()) if isinstance(value, dict) else value:
            yield from import_paths(inner)


def check_foreign(names: Iterable[str], config: DictConfig, where: str) -> None:
    """Refuses operations of others that the caller has not named; nothing is imported.

    Args:
        names: of operations, import paths among them.
        config: this command's own.
        where: what names them.

    Raises:
        ConfigError: the caller does not vouch for one.
    """
    known = caller(config)
    for name in sorted(set(import_paths(list(names)))):
        require(
            name in listed(OPERATIONS) or known.vouches(name),
            f"{where}: operation {_short(name)} was not imported: it is none of this project's, so it could "
            f"be anybody's code. If you know it and want it to run, say trust={module_of(name)}",
        )


def check_saved(
    saved: Any, config: DictConfig, folder: Path, where: str, replaced: Sequence[str] = ()
) -> None:
    """Refuses a saved configuration that would build, write or reach what the caller has not named.

    Args:
        saved: as read from the folder, nothing of it resolved; whole, or the parts that are used.
        config: this command's own.
        folder: the run folder, the one place that it may name.
        where: what the caller typed, such as `resume=<folder>`.
        replaced: keys whose values the caller's take the place of, whole.

    Raises:
        ConfigError: a `_target_` that is not on its key's list, an interpolation, a place outside of the
            folder, or a table that is unpickled.
    """
    known = caller(config)
    check_ours(saved, f"{where}: its config.yaml has ")
    operations = OmegaConf.select(saved, OPERATIONS)
    if OmegaConf.is_config(operations):
        named = import_paths(OmegaConf.to_container(operations, resolve=False))
        check_foreign(named, config, f"{where}: {OPERATIONS} in its config.yaml")
    for key, value, node in _leaves(OmegaConf.to_container(saved, resolve=False)):
        path = ".".join(str(part) for part in key)
        about = f"{where}: {path}={_short(value)} in its config.yaml"
        if any(path == typed or path.startswith(f"{typed}.") for typed in replaced):
            continue
        if key[-1] == "_target_":
            _check_target(key[:-1], value, known, about)
            continue
        require(
            not (isinstance(value, str) and "${" in value),
            f"{about} is an interpolation; a run writes plain values",
        )
        if re.fullmatch(r"_\w+_", str(key[-1])) and key[-1] not in BUILDING:
            require(
                isinstance(node.get("_target_"), str) and known.vouches(node["_target_"]),
                f"{about}: a folder's node is built from {', '.join(BUILDING)} and named arguments alone",
            )
        if key[0] == "trainer":
            _check_place(key, value, node, folder, about)
    table = saved.get("tabular")
    unpickled = isinstance(table, dict | DictConfig) and table.get("name") not in (None, *READ_AS_DATA)
    require(
        not unpickled or "tabular.file" in replaced or known.vouches("nats_bench"),
        f"{where}: the files of tabular.name={_short(table.get('name') if unpickled else '')} in its "
        "config.yaml are unpickled, which may run code; name them yourself, tabular.file=<folder>, or say "
        "trust=nats_bench",
    )


def check_ours(config: Any, about: str = "") -> None:
    """Refuses arguments of Lightning's Trainer that nobody but this project gives.

    Raises:
        ConfigError: names the key, and what to type instead.
    """
    trainer = config.get("trainer")
    for key, instead in OURS.items() if isinstance(trainer, dict | DictConfig) else ():
        if key in trainer:
            typed = f"trainer.{key}={_short(word(trainer[key]))}"
            raise ConfigError(f"{about}{typed}: unknown key, this project sets it itself; {instead}")


def fetch_nothing(saved: DictConfig, but: bool = False) -> None:
    """Images are looked for where the run had them; nothing is fetched to a place that a folder names.

    Args:
        saved: has a `dataset`; its `download` keys change.
        but: whether the caller has asked for it.
    """
    for key in ("dataset.download", "dataset.source.download"):
        if OmegaConf.select(saved, key) is not None:
            OmegaConf.update(saved, key, but)


def _leaves(tree: Any) -> Iterator[tuple[tuple, Any, Any]]:
    """(key, value, mapping that holds it) of all but mappings and lists, and of each word of Hydra's."""
    waiting: list[tuple[tuple, Any, Any]] = [((), tree, None)]
    while waiting:
        key, value, node = waiting.pop()
        word = bool(key) and re.fullmatch(r"_\w+_", str(key[-1])) is not None
        if word or not isinstance(value, dict | list):
            yield key, value, node
        if isinstance(value, dict):
            waiting += [((*key, name), inner, value) for name, inner in value.items()]
        elif isinstance(value, list):
            waiting += [((*key, index), inner, node) for index, inner in enumerate(value)]


def _check_target(key: Sequence, target: Any, vouched: Caller, about: str) -> None:
    require(
        isinstance(target, str) and re.fullmatch(r"[A-Za-z_][\w.]*", target) is not None,
        f"{about}: must be the dotted name of a class",
    )
    known = listed(role(key))
    usual = "it is none of those that this key may name" if known else "this key names no class"
    usual = "this key names what is the caller's own" if role(key) in VOUCHED else usual
    require(
        target in known or vouched.vouches(target),
        f"{about} was not built: {usual}, so it could be anybody's code. If you know it and want it to run, "
        f"say trust={module_of(target)}",
    )


def _check_place(key: Sequence, value: Any, node: Any, folder: Path, about: str) -> None:
    """Below `trainer` strings are words, and what names a place names one in the run folder."""
    name = next((part for part in reversed(key) if isinstance(part, str)), "")
    if value is None or isinstance(value, bool | dict | list):
        return
    mend = f"type it yourself, or {'.'.join(str(part) for part in key[:2])}=null"
    if not PLACES.search(name):
        text = value if isinstance(value, str) else ""
        plain = re.fullmatch(r"[\w.,:*= -]{0,200}", text) is not None and ".." not in text
        require(plain, f"{about}: must be a plain word; {mend}")
    elif name.endswith("name"):
        beside = isinstance(value, str) and re.fullmatch(r"[\w-]+", value) and node.get("dirpath") is not None
        require(bool(beside), f"{about}: must be a plain name beside a dirpath in the run folder; {mend}")
    else:
        require(
            isinstance(value, str) and os.path.isabs(value) and _within(folder, value),
            f"{about} lies outside of the run folder; {mend}",
        )


def _within(folder: Path, value: str) -> bool:
    home, place = os.path.realpath(folder), os.path.realpath(value)
    return place == home or place.startswith(home + os.sep)


def _short(value: Any) -> str:
    text = "".join(letter if letter.isprintable() else "?" for letter in str(value))
    return text if len(text) <= 100 else f"{text[:97]}..."


def unlisted(config: Any, vouched: Caller) -> list[str]:
    """The modules that a folder with this configuration would need `trust=` for, beside the caller's word."""
    tree: Any = OmegaConf.to_container(config, resolve=False)
    found = [
        value
        for key, value, _ in _leaves(tree)
        if key[-1] == "_target_" and isinstance(value, str) and value not in listed(role(key[:-1]))
    ]
    found += import_paths((tree.get("space") or {}).get("operations"))
    found += named_by("genotype", tree.get("genotype"))
    ours = listed(OPERATIONS)
    return sorted({module_of(value) for value in found if value not in ours and not vouched.vouches(value)})


def module_of(target: str) -> str:
    """What `trust=` is to name for a `_target_`: the module that holds it, and not the whole package."""
    return target.rpartition(".")[0] or target


def without_trust(overrides: Iterable[str]) -> list[str]:
    """Overrides as a folder keeps them: `trust` is a word for one command and is never written down."""
    return [one for one in overrides if key_of(one) != "trust"]
