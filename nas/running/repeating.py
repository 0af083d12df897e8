"""Which overrides of a run folder may be printed to be pasted: what a shell is given is the caller's word.

So a stranger's overrides must not become it unseen: they may name neither code, nor files that say what is
composed, nor whom to talk to.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import OmegaConf

from nas.printable import shown
from nas.running import trust
from nas.running.declared import CONF
from nas.running.extensions import listed
from nas.running.targets import role
from nas.running.words import key_of
from nas.running.words import word as written

# Keys that import something without a `_target_`.
IMPORTING = ("trust", "bench.reference_target")
# Keys that say where something is sent.
SENDING = ("logger.entity",)
OPTION = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)*", re.ASCII)


def is_group(key: str) -> bool:
    """Whether a key chooses files: of conf/, or of the folders of configurations that the caller typed."""
    if (CONF / key).is_dir():
        return True
    parent, _, last = key.rpartition("/")
    return GlobalHydra.instance().is_initialized() and last in _loader().list_groups(parent)


def climbs(option: object) -> bool:
    """Whether the option of a group leads out of the folders of configurations."""
    parts = re.split(r"[/\\\\]", str(option))
    return ".." in parts or (len(parts) > 1 and (not parts[0] or parts[0].endswith(":")))


def refusal(overrides: Sequence[str]) -> str | None:
    """Why a folder's overrides are not printed to be pasted, in words; None if they can be.

    What this command line says itself, as a multirun that sums itself up does, is no stranger's.
    """
    started = HydraConfig.initialized()
    word = trust.caller(OmegaConf.create({})) if started else trust.Caller()
    typed = {key_of(one) for one in HydraConfig.get().overrides.task} if started else set()
    for text in overrides:
        try:
            found = (
                _refusal(OverridesParser.create().parse_override(one), one, word, typed, overrides)
                for one in (text, *spread(text))
            )
            why = next((one for one in found if one is not None), None)
        except (HydraException, RecursionError, ValueError):
            why = "cannot be parsed"
        if why is not None:
            return f"{shown(text, 200)} {why}"
    return None


def spread(text: str) -> list[str]:
    """The single keys that an override with a mapping sets: `a.b=1` of `a={b:1}`; nothing of any other.

    Raises:
        HydraException: it cannot be parsed.
    """
    override = OverridesParser.create().parse_override(text)
    value = override.value()
    if not isinstance(value, dict):
        return []
    key = override.key_or_group.replace("/", ".")
    return [f"{key}.{path}={written(leaf)}" for path, leaf in _leaves(value)]


def _leaves(value: Mapping) -> Iterator[tuple[str, Any]]:
    for name, inner in value.items():
        if isinstance(inner, Mapping) and inner:
            yield from ((f"{name}.{path}", leaf) for path, leaf in _leaves(inner))
        else:
            yield str(name), inner


def _refusal(
    override: Override, text: str, word: trust.Caller, typed: Iterable[str], others: Sequence[str]
) -> str | None:
    key, value = override.key_or_group, override.value()
    if re.match(r"hydra\b", key) or key in IMPORTING:
        return "names code"
    named = set(re.findall(r"_target_[\"']?\s*[:=]\s*[\"']?([^,}\"'\s]*)", text)) | set(
        trust.named_by(key, value)
    )
    known = listed(role(key.removesuffix("._target_").split("."))) | listed(trust.OPERATIONS)
    if not all(one in known or word.vouches(one) for one in named):
        return "names code"
    if re.match(r"(space|genotype|measures|rank)\b", key) and "${" in text:
        return "refers to another key, which may name code"
    if is_group(key) or "/" in key or override.package is not None:
        return None if _chooses(override) else "is no choice of this command's own configurations"
    if key in typed:
        return None
    if re.search(r"\$\{(?![\w.]+\})", text):
        return "holds a resolver, which can make anything of it"
    if key in SENDING:
        return "says where a record is sent"
    if re.match(r"tabular\b", key) and not _reads_csv(others):
        return "may name a table that is unpickled"
    if key.startswith("trainer.") and re.search(r"[/\\\\]", text):
        return "names a place"
    return None


def _chooses(override: Override) -> bool:
    """Whether an override names files that the caller has."""
    key, value = override.key_or_group, override.value()
    if not is_group(key) or override.package is not None:
        return False
    if override.is_delete() or value is None or isinstance(value, dict):
        return True
    options = value if isinstance(value, list) else [value]
    return all(isinstance(one, str) and _is_option(key, one) for one in options)


def _is_option(group: str, name: str) -> bool:
    if not OPTION.fullmatch(name):
        return False
    if (CONF / group / f"{name.removesuffix('.yaml')}.yaml").is_file():
        return True
    folder, _, last = f"{group}/{name}".rpartition("/")
    return GlobalHydra.instance().is_initialized() and last in _loader().get_group_options(folder)


def _reads_csv(overrides: Sequence[str]) -> bool:
    chosen = [one.split("=", 1)[1] for one in overrides if one.startswith("tabular=")]
    renamed = any(key_of(one) in ("tabular.name", "tabular._target_") for one in overrides)
    return bool(chosen) and not renamed and all(one in trust.READ_AS_DATA for one in chosen)


def _loader():
    return GlobalHydra.instance().config_loader()
