"""The runs that a protocol is made of: which command each is, and with which words it is started.

A protocol's configuration has up to three phases: searches, the selection among their cells, the trainings of
what was kept. Each is a number of ordinary runs, in folders of their own below the protocol's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from nas.analysis.metrics import OF_TASKS, columns
from nas.analysis.tabular import SURROGATE
from nas.domains.choose import of_space
from nas.domains.networks import space_of
from nas.errors import ConfigError, require, require_one_of
from nas.printable import shown
from nas.running.config import plain
from nas.running.config_checks import check_composed, check_saved
from nas.running.from_run import check_words
from nas.running.parts import compose
from nas.running.places import make_absolute, placed
from nas.running.repeating import refusal, spread
from nas.running.saved import read_config, read_overrides
from nas.running.trust import check_saved as check_trusted
from nas.running.words import key_of, quoted, word

# Phase -> the command whose runs it is made of, in the order in which they are run.
PHASES: Mapping[str, str] = {"search": "search", "select": "evaluate", "evaluate": "evaluate"}
# What a phase is described by; see conf/protocol.
KEYS: Mapping[str, Sequence[str]] = {
    "search": ("experiment", "seeds", "overrides", "grid"),
    "select": ("experiment", "epochs", "valid", "figure", "among", "overrides"),
    "evaluate": ("experiment", "seeds", "width", "overrides"),
}  # fmt: skip
# What a phase says itself, and where that is said.
OWN: Mapping[str, str] = {
    "experiment": "<phase>.experiment", "debug": "debug", "seed": "seed", "resume": "resume", "plan": "plan",
    "genotype": "nothing: the cell of a search", "trust": "trust", "tabular": "tabular",
    "tabular.file": "tabular.file",
}  # fmt: skip
OF_SELECTION: Mapping[str, str] = {
    "trainer.max_epochs": "select.epochs", "dataset.valid": "select.valid", "test": "nothing: it stays false",
}  # fmt: skip
# What a protocol that goes on may be told anew.
RESUMABLE = ("traceback", "plan")
# Debug mode -> the most searches, settings and trainings.
FEW: Mapping[str, int] = {"fast": 2}
# Runs of a phase; more is a slip, or a stranger's.
MOST = 10_000
# Keys that reach beyond a folder with the caller's rights or key, so that a folder's word is not enough.
REACHING = ("logger", "dataset.download", "dataset.source.download")


@dataclass(frozen=True)
class Step:
    """One run of a protocol.

    Attributes:
        phase: `search`, `select` or `evaluate`.
        number: within its phase, from 0; its folder is `<phase>/<number>`.
        seed: of the run.
        words: the overrides that it is started with.
        setting: those of them that are its setting of the grid.
        found: the number of the search whose cell is trained; None for a search.
    """

    phase: str
    number: int
    seed: int
    words: tuple[str, ...]
    setting: tuple[str, ...] = ()
    found: int | None = None

    @property
    def shared(self) -> tuple[str, ...]:
        """Its words without those in which runs of one phase and setting differ: seed and cell."""
        return (self.phase, *(one for one in self.words if not one.startswith(("seed=", "genotype="))))

    @property
    def command(self) -> str:
        """The command that it is a run of."""
        return PHASES[self.phase]

    @property
    def name(self) -> str:
        """Its folder below the protocol's."""
        return f"{self.phase}/{self.number}"


def settle(config: DictConfig) -> None:
    """Cuts the counts of a debug mode and makes places absolute, in place, as the run folder will hold it.

    Raises:
        ConfigError: an override of a phase says what the protocol says itself, or a phase lacks another.
    """
    require(config.get("search") is not None, "search=null: a protocol begins with its searches")
    require(
        config.select is None or config.evaluate is not None,
        "evaluate=null: a selection is for the trainings that follow; set select=null too",
    )
    require(
        config.evaluate is not None or looks_up(config),
        "tabular.file=null: where nothing is trained the cells are looked up in a table, tabular.file=<file> "
        "(or predicted, tabular=surrogate)",
    )
    for place in ("overrides", *(f"{phase}.overrides" for phase in PHASES if config[phase] is not None)):
        words = OmegaConf.select(config, place)
        for one in words:
            _check_word(place, one, place, looks_up(config))
        OmegaConf.update(config, place, [placed(one) for one in words])
    for setting in config.search.grid:
        for one in setting:
            _check_word("search.grid", one)
    config.search.grid = [[placed(one) for one in setting] for setting in config.search.grid]
    make_absolute(config)
    table = config.tabular.get("file")
    require(table is None or Path(table).exists(), f"tabular.file={shown(table)}: there is no such file")
    if config.select is not None:
        require_one_of("select.among", config.select.among, ("all", "seed"))
        valid = config.select.valid
        require(
            valid is None or 0 < valid < 1,
            f"select.valid={valid}: must be a share above 0 and below 1, or null for the experiment's",
        )
        require(
            config.search.seeds * max(1, len(config.search.grid)) > 1,
            "select: there is one search, and so nothing to select; set select=null, or search.seeds higher",
        )
    few = FEW.get(config.debugging)
    if few is not None:
        config.search.seeds = min(few, config.search.seeds)
        config.search.grid = config.search.grid[:few]
        if config.evaluate is not None:
            config.evaluate.seeds = min(few, config.evaluate.seeds)


def looks_up(config: DictConfig) -> bool:
    """Whether searches say what their cells reach, by a table or a surrogate."""
    return config.tabular.name == SURROGATE or config.tabular.get("file") is not None


def _check_word(about: str, override: str, place: str = "", tabled: bool = False) -> None:
    """Refuses an override that no run can have, or that the protocol says itself.

    Args:
        about: what the message begins with.
        override: as it was typed.
        place: the list that has it.
        tabled: whether the protocol looks cells up.
    """
    key, about = key_of(override), f"{about}: {shown(override)}"
    own = {**OWN, **(OF_SELECTION if place == "select.overrides" else {})}
    require("=" in override or override.startswith("~"), f"{about}: must be key=value")
    # A protocol that looks up hands its own table to every search, after the words of a phase; but the cache.
    of_table = tabled and key.startswith("tabular.") and key != "tabular.cache"
    said = own.get(key, key if of_table and place.endswith("overrides") else None)
    require(said is None, f"{about}: said by the protocol itself ({said})")
    mine = key.startswith(("hydra.", "hydra/", "-"))
    require(not mine, f"{about}: hydra's own settings are not for single runs of a protocol")


def looked_up(config: DictConfig) -> list[str]:
    """The overrides by which searches say what their cells reach; none where they do not."""
    table = config.tabular
    if not looks_up(config):
        return []
    # What a surrogate is built with, its own file has not.
    return [
        f"tabular={'csv' if table.name == 'none' else table.name}",
        *(
            f"{'++' if key == 'surrogate' else ''}tabular.{key}={word(value)}"
            for key, value in plain(table).items()
            if key not in ("name", "cache")
        ),
    ]


def searches(config: DictConfig) -> list[Step]:
    """The searches: every seed with every setting of the grid."""
    given = config.search
    _check_number("search.seeds", given.seeds, max(1, len(given.grid)), "settings")
    steps: list[Step] = []
    for seed in range(config.seed, config.seed + given.seeds):
        for setting in plain(given.grid) or [[]]:
            words = (*_head(config, "search"), *looked_up(config), *setting, f"seed={seed}")
            steps.append(Step("search", len(steps), seed, words, tuple(setting)))
    return steps


def selections(config: DictConfig, folder: Path, found: Sequence[Step]) -> list[Step]:
    """A short training of every cell, all from one seed, of which the test part is left alone."""
    given = config.select
    words = [*_head(config, "select"), "test=false"]
    if given.epochs is not None and config.debugging is None:
        words.append(f"trainer.max_epochs={given.epochs}")
    if given.valid is not None:
        words.append(f"dataset.valid={given.valid}")
    return [
        Step(
            "select", number, config.seed, (*words, f"seed={config.seed}", _genotype(folder, one)),
            one.setting, one.number,
        )
        for number, one in enumerate(found)
    ]  # fmt: skip


def evaluations(
    config: DictConfig, folder: Path, kept: Sequence[Step], widths: Mapping[int, int] | None = None
) -> list[Step]:
    """The trainings from scratch of every cell that was kept.

    Args:
        config: of the protocol.
        folder: of the protocol.
        kept: the searches that found them.
        widths: number of a search -> what it chose for its budget; None before that is known.
    """
    _check_number("evaluate.seeds", config.evaluate.seeds, len(kept), "cells")
    steps: list[Step] = []
    for one in kept:
        wide = () if widths is None else (f"recipe.init_channels={widths[one.number]}",)
        for seed in range(config.seed, config.seed + config.evaluate.seeds):
            words = (*_head(config, "evaluate"), *wide, f"seed={seed}", _genotype(folder, one))
            steps.append(Step("evaluate", len(steps), seed, words, one.setting, one.number))
    return steps


def _check_number(key: str, seeds: int, each: int, what: str) -> None:
    """Refuses what would fill the memory with runs before the first has begun."""
    require(
        seeds * each <= MOST, f"{key}={seeds}: with {each:,} {what} must be at most {MOST:,} runs of a phase"
    )


def _head(config: DictConfig, phase: str) -> list[str]:
    given = config[phase]
    choices = {"experiment": given.experiment, "debug": config.debugging}
    chosen = [f"{key}={option}" for key, option in choices.items() if option is not None]
    return [*chosen, *config.overrides, *given.overrides]


def _genotype(folder: Path, found: Step) -> str:
    return f"genotype={quoted(folder / found.name)}"


def composed(step: Step) -> DictConfig:
    """The configuration of a step, composed and checked as its own command does it.

    Raises:
        ConfigError: a word of it cannot be used; names the phase and the run.
    """
    try:
        config = compose(step.command, step.words)
        check_composed(step.command, config, step.words)
    except Exception as error:
        said = " ".join(str(error.__cause__ or error).split())
        raise ConfigError(f"{step.name} (nas.{step.command} {' '.join(step.words)}): {said}") from error
    return config


def continued(config: DictConfig, folder: Path, overrides: Sequence[str]) -> DictConfig:
    """The configuration of a protocol that goes on: its own, whatever may be a stranger's looked at.

    Args:
        config: of this command.
        folder: of the protocol.
        overrides: what was typed.

    Raises:
        ConfigError: the folder holds no protocol, an override would change it, or its overrides name code,
            or what takes more than a folder's word.
    """
    where = f"resume={config.resume}"
    saved = read_config(folder / "config.yaml", f"{where}: config.yaml")
    same = saved.get("command")
    require(same is not None, f"{where}: config.yaml is damaged (it names no command)")
    require(same == "protocol", f"{where}: it is a run of nas.{shown(same)}, not of nas.protocol")
    before = folder / "overrides.yaml"
    given = read_overrides(before) if before.is_file() else []
    for one in overrides:
        key = key_of(one)
        require(
            key in ("resume", "trust", *RESUMABLE) or one in given,
            f"{one}: a protocol that goes on keeps its settings; hydra/launcher, trust and traceback can "
            "change",
        )
    check_trusted(saved, config, folder, where, [key_of(one) for one in overrides])
    check_saved("protocol", saved, f"{where}: config.yaml")
    for key in ("resume", "trust", "outputs", *RESUMABLE):
        saved[key] = config[key]
    saved.pop("hydra", None)
    check_words(OmegaConf.to_container(saved, resolve=False), f"{where}: config.yaml")
    missing = [str(key) for key in config if key not in saved]
    given_phases = [phase for phase in PHASES if saved.get(phase) is not None]
    missing += [f"{phase}.{key}" for phase in given_phases for key in KEYS[phase] if key not in saved[phase]]
    require(not missing, f"{where}: config.yaml is damaged (it lacks {', '.join(missing)})")
    typed = {key_of(one) for one in overrides}
    _check_words(saved, {one for one in typed if _typed_alike(one, config, saved)}, where)
    return saved


def _typed_alike(key: str, config: DictConfig, saved: DictConfig) -> bool:
    """Whether a folder's config.yaml has at a key what was typed: its overrides.yaml may say otherwise."""
    place = "debugging" if key == "debug" else key
    found = [OmegaConf.select(one, place) for one in (config, saved)]
    typed, kept = (plain(one) if OmegaConf.is_config(one) else one for one in found)
    if place == "search.grid" and isinstance(kept, list):
        # As far as a debug mode has left them.
        typed = typed[: len(kept)]
        return len(typed) == len(kept) and all(map(_words_alike, typed, kept))
    return _words_alike(typed, kept) if isinstance(typed, list) else typed == kept


def _words_alike(typed: list, kept: Any) -> bool:
    """Whether a list of overrides was kept as it was typed; earlier versions left some places relative."""
    return (
        isinstance(kept, list)
        and len(typed) == len(kept)
        and all(found in (one, placed(one)) for one, found in zip(typed, kept, strict=True))
    )


def _check_words(saved: DictConfig, vouched: set[str], where: str) -> None:
    """Refuses what a folder's lists of overrides would make of a run, unless the list was typed again."""
    lists: dict[str, list[str]] = {"overrides": plain(saved.overrides)}
    choices = {"debug": saved.debugging}
    for phase in PHASES:
        if saved[phase] is not None:
            lists[f"{phase}.overrides"] = plain(saved[phase].overrides)
            choices[f"{phase}.experiment"] = saved[phase].experiment
    lists["search.grid"] = [one for setting in plain(saved.search.grid) for one in setting]
    for place, option in choices.items():
        group = place.rpartition(".")[2]
        why = None if option is None or place in vouched else refusal([f"{group}={option}"])
        require(why is None, f"{where}: {place} in its config.yaml: {why}; if that is yours, type it again")
    for place, words in lists.items():
        mend = f"if that is yours, type {place}=[...] again"
        for one in words:
            _check_word(f"{where}: {place} in its config.yaml", one, place, looks_up(saved))
        why = None if place in vouched else refusal(words) or _reaches(words)
        require(why is None, f"{where}: {place} in its config.yaml: {why}; {mend}")


def _reaches(words: Sequence[str]) -> str | None:
    """Why an override takes more than a folder's word; None if none does."""
    harmless = ("logger=csv", "logger=tensorboard", "dataset.download=false")
    for one in (single for text in words for single in (text, *spread(text))):
        key = key_of(one).split("@")[0].replace("/", ".")
        if one not in harmless and any(key == name or key.startswith(f"{name}.") for name in REACHING):
            return f"{shown(one)} takes more than a folder's word"
    return None


def figure_of(config: DictConfig, step_config: Any) -> str:
    """The column that decides a selection: what was named, or that of the task.

    Raises:
        ConfigError: it is none of the validation part, or nothing is held out.
    """
    domain = of_space(space_of(step_config))
    require(
        domain.validates(step_config.dataset),
        "select.valid=null: no images are held out of the trainings that are to decide; set select.valid=0.5",
    )
    metrics, named = OF_TASKS[domain.name], config.select.figure
    if named is None:
        return metrics[0].column("valid")
    known = columns(metrics, "valid")
    require(
        named in known,
        f"select.figure={shown(named)}: must be a figure of the validation part, one of {', '.join(known)}",
    )
    return named
