"""What `run=<folder>` stands for: the settings of an earlier run, on which a command goes on.

Space, data set, recipe and split of the folder become overrides that come before those that were typed, so
that what is typed wins and need not be in any file of the command's own. They are no typed keys: this
command line does not vouch for them, and `check` holds them against the lists of `nas.running.trust`.

The hardware profile is never the folder's: whoever types a command knows the machine that it runs on.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra._internal import hydra as loading
from hydra._internal.config_loader_impl import ConfigLoaderImpl, get_overrides_dirname
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Override, QuotedString
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, ListConfig, OmegaConf

from nas.errors import ConfigError, require
from nas.printable import shown
from nas.reading.json_text import read_object
from nas.reading.plain import is_whole, walk
from nas.running.beside_resume import check_uncomposed
from nas.running.differences import PARTS, choice_of, differences
from nas.running.older import read_now
from nas.running.parts import compose
from nas.running.places import absolute
from nas.running.saved import check_parts, read_config
from nas.running.words import key_of
from nas.running.words import word as written

# The commands that take all of their settings from a run, and what that may be a run of.
COMPLETED = ("evaluate", "export")
RUNS = ("search", "derive", "evaluate")
# What a source has found out and a run keeps as plain values -> what finds it out anew where it is typed.
FOUND_ANEW: Mapping[str, tuple[str, ...]] = {
    "mean": ("normalisation", "channels"),
    "std": ("normalisation", "channels"),
    "skipped": ("skip_corrupt", "root", "file"),
    "check": ("check",),
}
# Of an evaluation: which weights it starts from, and what it is otherwise.
START: Mapping[str, Any] = {"init": None, "init_head": "names", "freeze_epochs": 0}
# The keys of recipes that size networks; spaces name theirs (`recipe_sizes`).
SIZES = (
    "num_cells", "cells_per_stage", "blocks_per_stage", "init_channels", "stem", "hidden_size",
    "embedding_size",
)  # fmt: skip


class Loader(ConfigLoaderImpl):
    """Hydra's loader, for which `run=<folder>` stands for the settings of that run."""

    def load_configuration(
        self,
        config_name: str | None,
        overrides: list[str],
        run_mode: RunMode,
        from_shell: bool = True,
        validate_sweep_overrides: bool = True,
    ) -> DictConfig:
        """As Hydra's; what came from a folder is not among the overrides that it notes down."""
        words = self.words_of_run(config_name, overrides)

        def composed() -> DictConfig:
            return super(Loader, self).load_configuration(
                config_name, [*words, *overrides], run_mode, from_shell, validate_sweep_overrides
            )

        try:
            config = composed()
        except HydraException:
            if run_mode != RunMode.MULTIRUN:
                check_uncomposed(config_name, overrides)
            raise
        if not words and config_name in COMPLETED and "run" not in map(key_of, overrides):
            words = self._words_of_file(config_name, config, overrides)
            config = composed() if words else config
        if words:
            noted, job = config.hydra.overrides.task, config.hydra.job
            config.hydra.overrides.task = [str(one) for one in noted][len(words) :]
            typed = OverridesParser.create().parse_overrides(list(overrides))
            job.override_dirname = get_overrides_dirname(
                [one for one in typed if not one.is_hydra_override()], **job.config.override_dirname
            )
        return config

    def words_of_run(self, name: str | None, overrides: Sequence[str]) -> list[str]:
        """The overrides that `run=` among others stands for, which come before them; none without it.

        Args:
            name: the command.
            overrides: what was typed.

        Raises:
            ConfigError: the folder holds no run that the command can go on from.
        """
        if name not in COMPLETED or "run" not in map(key_of, overrides):
            return []
        parsed = OverridesParser.create().parse_overrides(list(overrides))
        given = {one.key_or_group: one for one in parsed}
        named, resume = _folder(given.get("run")), given.get("resume")
        if named is None or (resume is not None and resume.value() is not None):
            return []
        chosen = given["experiment"].value() if "experiment" in given else None
        require(
            chosen is None,
            f"experiment={shown(str(chosen))}: says which data and recipe, and so does run={named}; leave "
            "one of the two out, or name the cell alone with genotype=<folder>",
        )
        _, saved = read_run(named, f"run={named}", RUNS)
        return list(_words(name, saved, given, [one for one in overrides if "hydra.searchpath=" in one]))

    def _words_of_file(self, name: str, config: DictConfig, overrides: Sequence[str]) -> list[str]:
        """The same where a file of the caller's says `run:`, beside which what that file says wins.

        Raises:
            ConfigError: as `words_of_run`.
        """
        named, resume = config.get("run"), config.get("resume")
        option = config.hydra.runtime.choices.get("experiment")
        if named is None or resume is not None or option is None:
            return []
        _, saved = read_run(named, f"run={named}", RUNS)
        file = self.repository.load_config(f"experiment/{option}")
        said, groups = ([], []) if file is None else _said_by(file)
        parsed = OverridesParser.create().parse_overrides([*groups, *overrides])
        given = {one.key_or_group: one for one in parsed}
        words = _words(name, saved, given, [one for one in overrides if "hydra.searchpath=" in one])
        anew = [*_found_anew({key: OmegaConf.select(config, key) for key in said}, saved)]
        anew += START if "init" in said else ()
        return [one for one in words if not any(_within(key_of(one), key) for key in (*said, *anew))]


@contextmanager
def completing() -> Iterator[None]:
    """Inside the block Hydra composes with `Loader`; it has no public way to be given one."""
    before = loading.ConfigLoaderImpl
    loading.ConfigLoaderImpl = Loader  # type: ignore[misc]
    try:
        yield
    finally:
        loading.ConfigLoaderImpl = before  # type: ignore[misc]


def _said_by(file: Any) -> tuple[list[str], list[str]]:
    """The dotted keys that a file of settings has, and the options of groups that it chooses as overrides."""
    chosen = [(getattr(one, "group", None), getattr(one, "value", None)) for one in file.defaults_list or ()]
    groups = [f"{group.lstrip('/')}={option}" for group, option in chosen if group and option]
    left: list[tuple[str, Any]] = [("", OmegaConf.to_container(file.config, resolve=False))]
    said = []
    while left:
        place, value = left.pop()
        if isinstance(value, dict) and value:
            left += [(f"{place}.{key}".lstrip("."), below) for key, below in value.items()]
        elif place:
            said.append(place)
    return said, [one for one in groups if one.partition("=")[0] in PARTS]


def _within(key: str, other: str) -> bool:
    """Whether one of two dotted keys is the other or lies below it."""
    return f"{key}.".startswith(f"{other}.") or f"{other}.".startswith(f"{key}.")


def _folder(override: Override | None) -> str | None:
    """The folder that `run=` names; of a multirun's choices the first, while no job is composed."""
    return None if override is None else _text(override)


def _text(override: Override) -> str | None:
    """A value as it was typed; of a multirun's choices the first, of null none."""
    value: Any = override.value()
    if isinstance(value, ChoiceSweep):
        value = value.list[0]
    text = value.text if isinstance(value, QuotedString) else value
    return None if text is None else str(text)


def _found_anew(typed: Mapping[str, Any], saved: DictConfig) -> set[str]:
    """The keys of what a run's source has found out that no longer holds beside what is typed.

    Args:
        typed: dotted keys and their values.
        saved: the configuration of the run.
    """
    looked = OmegaConf.select(saved, "dataset.source.skip_corrupt")

    def differs(key: str) -> bool:
        if key not in typed or key.rpartition(".")[2] not in ("root", "file"):
            return key in typed
        # The same place named again has been looked at; a list of the caller's own may have moved with it.
        return bool(looked) and absolute(typed[key]) != absolute(OmegaConf.select(saved, key))

    return {
        f"dataset.source.{name}"
        for name, keys in FOUND_ANEW.items()
        if any(differs(f"dataset.{inner}{key}") for key in keys for inner in ("", "source."))
    }


def _words(
    name: str, saved: DictConfig, given: dict[str, Override], searched: Sequence[str]
) -> Iterator[str]:
    again = saved.command == name
    taken = read_now(OmegaConf.create({part: saved[part] for part in PARTS}), "")
    # A recipe is a data set's: one that is typed brings its own along.
    parts = [
        part
        for part in PARTS
        if part not in given and not (part == "recipe" and given.get("dataset") is not None)
    ]
    choices = [f"{part}={choice}" for part in parts if (choice := choice_of(part, taken)) is not None]
    yield from choices
    added = {key for key, one in given.items() if one.is_add()}
    anew = _found_anew({key: _text(one) for key, one in given.items()}, saved)
    for word in differences(name, taken, [*searched, *choices], parts, whole=again):
        if key_of(word) not in {*added, *anew} and _says(taken, word):
            yield word
    if "dataset" in parts and "download" in {*taken.dataset, *compose(name, [*searched, *choices]).dataset}:
        # Nothing is fetched to a place that a folder names.
        yield "++dataset.download=false"
    if name != "evaluate":
        return
    if "size" not in given:
        # The numbers of the run, on any machine.
        yield "size=null"
    if "dataset" in parts and type(saved.get("split_seed")) is int:
        yield f"split_seed={saved.split_seed}"
    measured = saved.get("metrics")
    if again and "dataset" in parts and "metrics" not in given and isinstance(measured, ListConfig):
        yield f"metrics={written(list(measured))}"
    if again and len(parts) == len(PARTS):
        yield from _start(saved, given)
    epochs = OmegaConf.select(saved, "trainer.max_epochs")
    own_length = type(epochs) is int and epochs != saved.recipe.get("epochs")
    if again and own_length and "recipe" in parts and "recipe.epochs" not in given:
        yield f"trainer.max_epochs={epochs}"


def _start(saved: DictConfig, given: Mapping[str, Override]) -> Iterator[str]:
    """What the weights of an evaluation were at its start, where they were others' and it is repeated.

    Nothing where a start is typed, or a size: those weights would fit no other network.
    """
    sized = any(key.startswith("budget.") or key.removeprefix("recipe.") in SIZES for key in given)
    if saved.get("init") is None or "init" in given or sized:
        return
    for key, usual in START.items():
        value = saved.get(key, usual)
        kind = int if key == "freeze_epochs" else str
        require(type(value) is kind, f"run: config.yaml is damaged ({key}={shown(str(value))})")
        if key not in given and value != usual:
            yield f"{key}={written(value)}"


def _says(taken: DictConfig, word: str) -> bool:
    """Whether a folder means a difference: a key that an older run lacks has its usual value.

    An object is built from no more than it was built from; the name of a part is no argument of it.
    """
    parent, _, key = key_of(word).rpartition(".")
    built = OmegaConf.select(taken, f"{parent}._target_") is not None
    return not word.startswith("~") or (built and (key != "name" or "." in parent))


def read_run(named: Any, where: str, commands: Collection[str]) -> tuple[Path, DictConfig]:
    """The folder of a run and its configuration, nothing of which has been allowed yet.

    Args:
        named: what the caller typed.
        where: the same with its key, such as `run=<folder>`.
        commands: what it may be a run of.

    Raises:
        ConfigError: it is none of them, its `config.yaml` is damaged, or lacks a part.
    """
    folder = Path(str(named)).expanduser().absolute()
    file = folder / "config.yaml"
    require(file.is_file(), f"{where}: no run folder there (config.yaml is missing)")
    saved = read_config(file, f"{where}: config.yaml")
    found = saved.get("command")
    *others, last = [f"nas.{one}" for one in commands]
    known = f"{', '.join(others)} or {last}" if others else last
    require(found in commands, f"{where}: it is a run of nas.{shown(str(found))}, not of {known}")
    for part in PARTS:
        node = saved.get(part)
        require(isinstance(node, DictConfig), f"{where}: config.yaml is damaged (it lacks {part})")
        check_words(OmegaConf.to_container(node, resolve=False), f"{where}: config.yaml: {part}")
    _narrow(saved, folder)
    return folder, saved


def _narrow(saved: DictConfig, folder: Path) -> None:
    """Gives the recipe the width that a search has found to keep its budget, as its summary has it."""
    if saved.command != "search" or OmegaConf.select(saved, "method.budget") is None:
        return
    try:
        summary = read_object(folder / "summary.json")
    except ConfigError:
        return  # killed as it began; the recipe's own width holds
    if summary.get("budget_met") is True and is_whole(summary.get("init_channels")):
        saved.recipe.init_channels = summary["init_channels"]


def check_words(node: Any, where: str) -> None:
    """Refuses keys that are no words: they would become parts of overrides."""
    for is_key, one in walk(node):
        fits = not is_key or re.fullmatch(r"[\w-]+", str(one)) is not None
        require(fits, f"{where}: damaged (key {shown(str(one))})")


def check(config: DictConfig) -> None:
    """Refuses a run whose settings this command line must not take over; to be called before any is built.

    Args:
        config: of this command, with its `run`.

    Raises:
        ConfigError: see `nas.running.trust.check_saved`.
    """
    if config.command not in COMPLETED or config.run is None or config.resume is not None:
        return
    folder, saved = read_run(config.run, f"run={config.run}", RUNS)
    check_taken(saved, config, folder, f"run={config.run}", PARTS)


def check_taken(
    saved: DictConfig, config: DictConfig, folder: Path, where: str, parts: Sequence[str]
) -> DictConfig:
    """Refuses parts of a run that cannot be taken over; returns its configuration as this version reads it.

    Raises:
        ConfigError: see `nas.running.saved.check_parts`.
    """
    # A derivation's are those of its search.
    command = "search" if saved.command == "derive" else saved.command
    check_parts(command, saved, parts, config, folder, where)
    return read_now(saved, where)


def name_cell(config: DictConfig) -> str | None:
    """Makes `run=` and `choice=` the cell that they stand for, `genotype=`, in place.

    Returns:
        The command that `run=` is a run of; None where the command goes on from none.

    Raises:
        ConfigError: a cell is named as well, or there is none in the folder, or no such choice.
    """
    require(
        config.choice is None or config.run is not None,
        f"choice={config.choice}: one of the architectures of a derivation, whose folder run= names",
    )
    if config.run is None:
        return None
    require(
        config.genotype is None,
        f"genotype={shown(str(config.genotype))}: run={config.run} names the cell too; leave one of the two "
        "out",
    )
    folder, saved = read_run(config.run, f"run={config.run}", RUNS)
    config.run, config.genotype = str(folder), str(folder)
    if saved.command == "derive" and config.choice is not None:
        config.genotype = str(_chosen(folder, config.choice))
    require(
        saved.command == "derive" or config.choice is None,
        f"choice={config.choice}: run={folder} is a run of nas.{saved.command}, which has one; only one of "
        "nas.derive has several",
    )
    require(
        (folder / "genotype.json").exists(),
        f"run={folder}: it has no genotype.json: it was stopped before its first epoch ended, or has found "
        "no architecture",
    )
    return str(saved.command)


def _chosen(folder: Path, choice: int) -> Path:
    file = rank_file(folder, choice)
    kept = len(list(file.parent.glob("rank_*.json")))
    require(
        file.is_file(),
        f"choice={choice}: run={folder} has kept the best {kept} (genotypes/), counted from 1; derive again "
        f"with keep={choice} for more",
    )
    return file


def rank_file(folder: Path, rank: int) -> Path:
    """Where a derivation writes the architecture of a rank, counted from 1."""
    return folder / "genotypes" / f"rank_{rank:03d}.json"
