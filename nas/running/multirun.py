"""What is checked before the first job of a multirun starts, and what its sweeper learns from a job.

Hydra's own sweeper knows its jobs beforehand, so all of them can be composed; Optuna chooses as it goes.
"""

import importlib.util
import math
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from itertools import islice
from pathlib import Path
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, read_write
from omegaconf.errors import OmegaConfBaseException

from nas.analysis.metrics import OF_TASKS, metric_of
from nas.analysis.summaries import COMMANDS, figures_of
from nas.engine.machine import processes
from nas.errors import ConfigError, installation, require
from nas.files import write_text
from nas.printable import shown
from nas.reading.yaml_text import read_mapping
from nas.running import launching
from nas.running.config import BASIC_LAUNCHER, instantiate, plain
from nas.running.config_checks import check_composed
from nas.running.parts import separate
from nas.running.saved import is_overrides
from nas.running.words import key_of, pasted, quoted

BASIC_SWEEPER = "hydra._internal.core_plugins.basic_sweeper.BasicSweeper"
# Jobs that are looked at to say why another one is refused.
NEIGHBOURS = 8
# Jobs of one multirun.
MANY = 100_000
OPTUNA = f"{launching.PLUGINS}.hydra_optuna_sweeper.optuna_sweeper.OptunaSweeper"


def planned(config: DictConfig) -> list[list[str]]:
    """The overrides of every job that a multirun's configuration stands for.

    Empty for sweepers other than Hydra's own, which choose their jobs as they go.

    Raises:
        ConfigError: it stands for too many.
    """
    if OmegaConf.select(config, "hydra.sweeper._target_") != BASIC_SWEEPER:
        return []
    typed = [f"{key}={value}" for key, value in (config.hydra.sweeper.params or {}).items()]
    return _jobs([*typed, *config.hydra.overrides.task])


def _jobs(typed: Sequence[str]) -> list[list[str]]:
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper

    hydra = GlobalHydra.instance()
    # Not there any more where a launcher broke down.
    parser = OverridesParser.create(hydra.config_loader() if hydra.is_initialized() else None)
    overrides = parser.parse_overrides(list(typed))
    number = 1
    for one in overrides:
        if one.is_sweep_override() and one.is_discrete_sweep():
            number *= _length(one)
        require(
            number <= MANY,
            f"{shown(one.input_line or '')}: a multirun of more than {MANY:,} jobs; sweep fewer",
        )
    (jobs,) = BasicSweeper.split_arguments(overrides, max_batch_size=None)
    return jobs


def _length(override: Override) -> int:
    """How many values are swept over, up to one more than a multirun may have jobs."""
    try:
        # A range may have no end that is reached in a lifetime.
        return sum(1 for _ in islice(override.sweep_string_iterator(), MANY + 1))
    except ArithmeticError as error:
        raise ConfigError(
            f"{shown(override.input_line or '')}: a range from, to or by something that is no number"
        ) from error


def read_jobs(path: Path) -> tuple[list[list[str]], bool, str]:
    """The jobs of a multirun that was, from its `multirun.yaml`.

    Args:
        path: of the file.

    Returns:
        The overrides of every job; whether their folders are their numbers; and which command they are of.
        No job where a sweeper other than Hydra's own chose them.

    Raises:
        ConfigError: the file is damaged, made by hand, or by another version of Hydra.
    """
    where = str(path)
    data = read_mapping(path)

    def text(value: object) -> bool:
        return isinstance(value, str)

    def at(key: str, fits: Callable[[Any], bool], allowed: str) -> Any:
        node: Any = data
        for part in key.split("."):
            node = node.get(part) if isinstance(node, Mapping) else None
        require(node is None or fits(node), f"{where}: {key}={shown(node)}: must be {allowed}")
        return node

    command = at("hydra.job.config_name", lambda one: one in COMMANDS, f"one of {', '.join(COMMANDS)}")
    subdir = at("hydra.sweep.subdir", text, "text")
    params = at("hydra.sweeper.params", lambda one: isinstance(one, Mapping), "a mapping") or {}
    typed = at("hydra.overrides.task", is_overrides, "a list of key=value, of bounded number and length")
    target = at("hydra.sweeper._target_", text, "text")
    require(
        None not in (command, subdir, typed, target),
        f"{where}: it lacks hydra.job.config_name, sweep.subdir, sweeper._target_ or overrides.task",
    )
    if target != BASIC_SWEEPER:
        return [], False, command
    given = [f"{key}={value}" for key, value in params.items()]
    require(is_overrides(given), f"{where}: hydra.sweeper.params: too many, or too long")
    try:
        return _jobs([*given, *typed]), subdir == "${hydra.job.num}", command
    except (HydraException, RecursionError, ValueError) as error:
        words = shown(" ".join(str(error).split()), 160)
        raise ConfigError(f"{where}: its overrides cannot be parsed ({words})") from error


def check_jobs(config: DictConfig) -> None:
    """Refuses a multirun if a job cannot be composed, has wrong values or several processes, or no folder.

    Raises:
        ConfigError: one job's values are wrong, or the folder it would write to holds a run.
        HydraException: one job names a key or choice that does not exist.
    """
    loader, name = GlobalHydra.instance().config_loader(), config.hydra.job.config_name
    folders: dict[Path, int] = {}

    def checked(number: int, overrides: list[str]) -> DictConfig:
        job = loader.load_sweep_config(config, overrides)
        job.hydra.job.num = job.hydra.job.id = number
        separate(name, job, overrides)
        check_composed(name, job, overrides)
        check_one_process(job)
        return job

    jobs = list(planned(config))
    for number, overrides in enumerate(jobs):
        try:
            job = checked(number, overrides)
        except ConfigError as error:
            apart = _apart(str(error), number, jobs, checked)
            raise ConfigError(f"job {number} ({' '.join(overrides)}): {error}{apart}") from error
        try:
            folder = Path(job.hydra.sweep.dir, str(job.hydra.sweep.subdir)).absolute()
        except OmegaConfBaseException:
            continue  # named after something that only the running job knows
        require(
            folder not in folders,
            f"hydra.sweep.subdir={job.hydra.sweep.subdir}: jobs {folders.get(folder)} and {number} share it",
        )
        folders[folder] = number
        require(
            not (folder / "config.yaml").exists(),
            f"hydra.sweep.dir={job.hydra.sweep.dir}: job {number} has been there already; choose another "
            "folder, or see what is missing there and how to go on: "
            + pasted(
                ["python", "-m", "nas.sweeps", f"folder={quoted(Path(job.hydra.sweep.dir).absolute())}"]
            ),
        )


def _apart(
    message: str, number: int, jobs: Sequence[list[str]], checked: Callable[[int, list[str]], Any]
) -> str:
    """How to sweep an option and a setting of one of its choices, where another job takes the setting."""
    refused, words = key_of(message.split(":")[0]), jobs[number]
    if refused not in map(key_of, words):
        return ""
    tried = [index for index in range(len(jobs)) if index != number][:NEIGHBOURS]
    for index in tried:
        others = [one for one in words if one not in jobs[index]]
        if not others or refused in map(key_of, others):
            continue  # the two do not differ by an option that the setting belongs to
        try:
            checked(index, jobs[index])
        except (ConfigError, HydraException):
            continue
        theirs = [one for one in jobs[index] if one not in words]
        return (
            f"; job {index} ({' '.join(jobs[index])}) takes it: start two multiruns, one with "
            f"{' '.join(others)} and without {refused}, one with {' '.join(theirs)}"
        )
    return ""


def check_one_process(job: DictConfig) -> None:
    """Refuses a job of a multirun that is to have several processes, or to continue a run.

    Raises:
        ConfigError: says what can be done instead.
    """
    if "hardware" in job:
        devices, nodes = job.hardware.devices, job.hardware.num_nodes
        require(
            processes.is_one(devices, nodes) is not False,
            f"hardware={job.hardware.name}: a multirun cannot start several processes per job "
            f"(hardware.devices={devices}, num_nodes={nodes}), since each would run the whole sweep; "
            f"{processes.WAY_OUT}",
        )
    require(
        job.get("resume") is None,
        f"resume={job.get('resume')}: a multirun cannot resume; continue its jobs one at a time",
    )


def check_launcher(config: DictConfig) -> None:
    """Refuses launchers and sweepers whose plugin is missing, and numbers of jobs that cannot be.

    Raises:
        ConfigError: says what to install, or which value is wrong.
    """
    for kind in ("sweeper", "launcher"):
        _check_plugin(kind, str(OmegaConf.select(config, f"hydra.{kind}._target_")))
    launcher = config.hydra.launcher._target_
    if launcher == BASIC_LAUNCHER:
        return
    launching.share_of(plain(config.hydra.launcher))
    require(
        not config.get("plan"),
        "plan=true: jobs side by side would print over each other; plan without hydra/launcher",
    )


def _check_plugin(kind: str, target: str) -> None:
    parts = target.split(".")
    if parts[0] != launching.PLUGINS:
        return
    # find_spec of what lies in a package imports the package.
    known = importlib.util.find_spec(parts[0]) and importlib.util.find_spec(".".join(parts[:2]))
    distribution = parts[1].replace("_", "-")
    extra = "ray" if "ray" in parts[1] else "sweeps"
    require(
        known is not None,
        f"hydra/{kind}: {distribution} is not installed; {installation(extra)}",
    )


def check_sweeper(config: DictConfig, objective: str | Sequence[str] | None) -> None:
    """Refuses what a sweeper that looks at results cannot work with, and prepares its folder.

    Raises:
        ConfigError: objective and direction do not fit, the folder holds jobs, or a number cannot be.
    """
    if not looks_at_results(config):
        return
    require(
        not config.get("plan"), "plan=true: a sweeper that looks at results has none; plan one of its jobs"
    )
    check_one_process(config)
    names = objectives(config, objective)
    _choose_direction(config, names)
    directions = config.hydra.sweeper.direction
    directions = [directions] if isinstance(directions, str) else plain(directions)
    require(
        len(directions) == len(names),
        f"hydra.sweeper.direction={directions}: must be one for each of hydra.callbacks.sweep.objective="
        f"{names}",
    )
    for name, direction in zip(names, directions, strict=True):
        require(
            direction in ("maximize", "minimize"),
            f"hydra.sweeper.direction={direction}: must be maximize or minimize",
        )
        better = better_end(name)
        require(
            better in (direction, None),
            f"hydra.sweeper.direction={direction}: the better {name} ({better} it) would be avoided",
        )
    for key in ("n_trials", "n_jobs"):
        value = config.hydra.sweeper[key]
        require(
            isinstance(value, int) and value >= 1,
            f"hydra.sweeper.{key}={value}: must be a whole number above 0 (n_jobs follows "
            "hydra.launcher.n_jobs unless it is set)",
        )
    typed = [*(config.hydra.sweeper.params or {}), *map(str, config.hydra.overrides.task)]
    unseen = [name for name in names if metric_of(name)[0] == "valid" and config.command == "evaluate"]
    require(
        not unseen or "dataset.valid" in map(key_of, typed) or _domain(config).validates(config.dataset),
        f"hydra.callbacks.sweep.objective={unseen}: no images are held out of the training; set "
        "dataset.valid=0.1",
    )
    folder = Path(config.hydra.sweep.dir).absolute()
    require(
        not any(folder.glob("*/config.yaml")),
        f"hydra.sweep.dir={folder}: jobs have been there already; choose another folder, and to go on with "
        f"its study hydra.sweeper.storage=sqlite:///{folder / 'optuna.db'}",
    )
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "multirun.yaml", OmegaConf.to_yaml(config))


def _choose_direction(config: DictConfig, names: Sequence[str]) -> None:
    """Sets what is better where nobody has: the plugin's own file minimises whatever figure it is."""
    sweeper = config.hydra.sweeper
    typed = any(key_of(str(one)) == "hydra.sweeper.direction" for one in config.hydra.overrides.hydra)
    if typed or not (sweeper.direction is None or isinstance(sweeper.direction, Enum)):
        return
    ends = [better_end(name) for name in names]
    for name, end in zip(names, ends, strict=True):
        require(
            end is not None,
            f"hydra.sweeper.direction=null: it is not known which {name} is better; say maximize or minimize",
        )
    with read_write(config.hydra):
        sweeper.direction = ends[0] if len(ends) == 1 else ends


def looks_at_results(config: DictConfig) -> bool:
    """Whether the sweeper of a multirun is one of ours to choose that needs what its jobs reach."""
    return OmegaConf.select(config, "hydra.sweeper._target_") == OPTUNA


def _domain(config: DictConfig) -> Any:
    """What the jobs are about; asked only of sweeps that look at results, since it brings torch along."""
    from nas.domains.choose import of_space

    return of_space(instantiate(config.space))


def objectives(config: DictConfig, objective: str | Sequence[str] | None) -> list[str]:
    """The figures that a sweeper improves: those that are named, or the one that no test set has seen."""
    if objective is None:
        main, *_ = OF_TASKS[_domain(config).name]
        return [main.column("valid" if config.command == "evaluate" else "architecture")]
    return [objective] if isinstance(objective, str) else list(objective)


def better_end(name: str) -> str | None:
    """`maximize` or `minimize`, as is better for a figure; None where that depends."""
    _, metric = metric_of(name)
    return None if metric is None or metric.higher is None else "maximize" if metric.higher else "minimize"


def objective_values(
    config: DictConfig, objective: str | Sequence[str] | None, folder: Path
) -> float | list[float] | None:
    """What a job reached, for its sweeper; None if it did not finish or has no such figure.

    Args:
        config: the job's configuration.
        objective: the figures that are wanted; see `objectives`.
        folder: the job's run folder.
    """
    summary = launching.read(folder / "summary.json")
    if summary.get("status") != "finished":
        return None
    names, found = objectives(config, objective), _numbers(summary)
    missing = [name for name in names if name not in found]
    if missing:
        print(
            f"{folder}: no {', '.join(missing)} in summary.json, so no result for the sweeper; there are "
            f"{', '.join(found)} (hydra.callbacks.sweep.objective)",
            flush=True,
        )
        return None
    values = [found[name] for name in names]
    return values[0] if len(values) == 1 else values


def _numbers(summary: Mapping[str, Any]) -> dict[str, float]:
    # The rest of the summary too, such as seconds.
    plain_numbers = {
        name: float(value)
        for name, value in summary.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    }
    return plain_numbers | figures_of(summary)
