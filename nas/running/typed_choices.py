"""What a command line chooses of the groups of files, looked at before Hydra composes it."""

import importlib.util
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import OmegaConf

from nas.engine.machine.processes import MULTIRUN
from nas.errors import require
from nas.running.declared import CONF, read_file
from nas.running.extensions import check_single, installed
from nas.running.kinds import type_of
from nas.running.parts import RUNS
from nas.running.repeating import climbs
from nas.running.words import key_of, shown

SWEEPS = re.compile(r"\+{0,2}hydra(/|\.)(sweeper|launcher|sweep)\b")


def check_choices(name: str, arguments: Sequence[str]) -> None:
    """Refuses a number, null or the like for the option of a group, an experiment of another command, and a
    multirun of a protocol.

    Args:
        name: the command.
        arguments: the command line, before Hydra reads it; what it cannot parse is left for Hydra to refuse.

    Raises:
        ConfigError: with the options that there are.
    """
    require(
        name != "protocol" or not any(one in MULTIRUN for one in arguments),
        "-m: a protocol starts its runs itself, side by side with hydra/launcher=workers; leave it out",
    )
    folders = _folders(arguments)
    for text in arguments:
        key = re.match(r"\+{0,2}([\w/-]+)(@[\w.]*)?=", text)
        if key is None or not ("/" in key[1] or any((one / key[1]).is_dir() for one in folders)):
            continue
        try:
            value = OverridesParser.create().parse_override(text).value()
        except HydraException:
            continue
        names = (
            value.list if isinstance(value, ChoiceSweep) else value if isinstance(value, list) else [value]
        )
        refuse_climbing(key[1], names)
        for one in names:
            check_single(key[1], str(getattr(one, "text", one)), CONF)
        if key[1] == "experiment":
            _check_made_for(name, [getattr(one, "text", one) for one in names], folders)
        if not (CONF / key[1]).is_dir():
            continue
        plain = value is None or isinstance(value, int | float | list)
        wrong = plain and not all(isinstance(one, str) or type_of(one) == "QuotedString" for one in names)
        known = sorted(path.stem for path in (CONF / key[1]).glob("*.yaml"))
        ways = f"one of {', '.join(known)}" if known else "the name of a file of this group"
        require(not wrong, f"{key[1]}={shown(value)}: must be {ways}")


def _check_made_for(name: str, options: Iterable[Any], folders: Iterable[Path]) -> None:
    """An experiment of a search would search as usual in an evaluation, and the other way round.

    Other commands borrow the sizes of both; a whole procedure has none.
    """
    for option in options:
        files = [folder / "experiment" / f"{option}.yaml" for folder in folders]
        for file in filter(Path.is_file, files):
            made_for = read_file(file).get("made_for")
            borrowed = name not in RUNS and made_for != "protocol"
            require(
                made_for in (None, name) or borrowed,
                f"experiment={option}: made for nas.{made_for}, not for nas.{name}; "
                f"python -m nas.{made_for} experiment={option}",
            )


def _folders(arguments: Sequence[str]) -> list[Path]:
    """The folders of configurations: this project's, and those that a command line names."""
    found = [CONF, *(one.folder for one in installed())]
    for before, text in zip(("", *arguments), arguments, strict=False):
        if before in ("--config-dir", "-cd"):
            found.append(Path(text).expanduser())
        elif text.startswith("--config-dir="):
            found.append(Path(text.split("=", 1)[1]).expanduser())
        elif text.lstrip("+").startswith("hydra.searchpath="):
            found += [Path(one).expanduser() for one in re.findall(r"file://([^\]\"',]+)", text)]
            for name in re.findall(r"pkg://([\w./]+)", text):
                found += _places(name.replace("/", "."))
    return found


def _places(package: str) -> list[Path]:
    """The folders of a package; none where it is missing, which Hydra tells."""
    try:
        spec = importlib.util.find_spec(package)
    except ModuleNotFoundError:
        return []
    return [Path(one) for one in (spec.submodule_search_locations or () if spec else ())]


def refuse_climbing(group: str, options: Iterable[Any]) -> None:
    """Options are files of the folders of configurations; what lies elsewhere may be anybody's."""
    for one in options:
        option = getattr(one, "text", one)
        require(
            not (isinstance(option, str) and climbs(option)),
            f"{group}={shown(option)}: leads out of the folders of configurations; name one of its options, "
            "or a folder of your own with --config-dir=<folder>",
        )


def check_swept(name: str, overrides: Iterable[str]) -> None:
    """Refuses a stored sweep without -m, where no multirun gives its keys their values.

    Args:
        name: the command; one of many runs takes a launcher without -m, and no -m.
        overrides: what was typed for this job.

    Raises:
        ConfigError: names the sweep and the keys.
    """
    job = HydraConfig.get()
    chosen, typed = job.runtime.choices.get("sweep"), set(map(key_of, overrides))
    left = [str(key) for key in job.sweeper.get("params") or () if key_of(str(key)) not in typed]
    if name == "protocol":
        return
    swept = [one for one in map(str, job.overrides.hydra) if SWEEPS.match(one)]
    # A job that a launcher starts by itself has a number, and words of its sweep among its own.
    single = job.mode == RunMode.RUN and OmegaConf.is_missing(job.job, "num")
    require(not (single and swept), f"{' '.join(swept)}: of a multirun, and this is a single run; type -m")
    require(
        job.mode == RunMode.MULTIRUN or not chosen or not left,
        f"sweep={chosen}: a multirun of {', '.join(left)}, and this is a single run; type -m before it",
    )
