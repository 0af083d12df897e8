"""`python -m nas.sweeps`: the table of a folder of runs; a multirun makes it by itself when it ends.

Everything is read from the run folders, so it does not matter which process, or which machine, ran a job.
"""

import json
import os
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from nas import launching, multirun
from nas.analysis import sweeps
from nas.analysis.sweeps import Run
from nas.config import FAILURE, USER_ERROR, RunFailed, command, plain, quoted, report
from nas.errors import require

# Not entered when runs are looked for: nothing in them is a run, and a logger may keep many files there.
CLOSED = {"checkpoints", "figures", "wandb", "tensorboard"}


class SweepReport(Callback):
    """Hydra's callback around a multirun: refuses wrong jobs before the first starts, sums up after the last.

    Ends the process (`SystemExit`) with 2 if a job is configured wrongly and with 1 if one did not finish.
    Hydra turns every other exception of a callback into a warning, and a failed sweep would end with 0.

    Args:
        objective: the figure, or figures, that a sweeper improves which looks at results; None for the one
            of `multirun.objectives`.
    """

    def __init__(self, objective: str | Sequence[str] | None = None):
        self.objective = objective

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Composes every job and checks its values, which takes moments; a sweep takes days."""
        try:
            multirun.check_launcher(config)
            multirun.check_sweeper(config, self.objective)
            multirun.check_jobs(config)
        except Exception as error:
            sys.exit(report(error, config.hydra.job.config_name))
        launching.own_gpus()
        # Where a launcher breaks down, this is how the end of the process finds the sweep.
        HydraConfig.instance().set_config(config)

    def on_job_end(self, config: DictConfig, job_return: Any, **_: Any) -> None:
        """Gives the sweeper what it asked for; a job without it is a failed trial."""
        if multirun.looks_at_results(config):
            folder = Path(config.hydra.runtime.output_dir)
            job_return.return_value = multirun.objective_values(config, self.objective, folder)

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Prints and writes the table of the sweep's folder; ends the process if a run did not finish."""
        if config.get("plan"):
            return
        try:
            status = report_sweep(Path(config.hydra.sweep.dir).absolute())
        except Exception as error:
            sys.exit(report(error, config.hydra.job.config_name))
        if status:
            sys.exit(status)

    def on_breakdown(self, config: DictConfig, error: BaseException) -> int:
        """Reports what broke a multirun between its jobs, and then all the same its table.

        Returns:
            An exit status: the worse of the error's and the jobs'.
        """
        folder = Path(config.hydra.sweep.dir).absolute()
        found = [launching.read(path).get("status") for path in folder.glob("*/summary.json")]
        if multirun.looks_at_results(config) and found and "finished" not in found:
            error = RunFailed("no job finished, so there is no best one")
        status = report(error, config.hydra.job.config_name)
        try:
            self.on_multirun_end(config)
        except SystemExit as end:
            return max(status, int(end.code or 0))
        return status


def report_sweep(folder: Path, over: Sequence[str] = sweeps.SEEDS, figure: str | None = None) -> int:
    """Prints the table of a folder of runs and writes it there.

    Args:
        folder: holds run folders at any depth.
        over: keys that are averaged over.
        figure: what the plot shows; None for the first figure there is.

    Returns:
        An exit status: 0 if all runs finished, 2 if one was configured wrongly, else 1.

    Raises:
        ConfigError: there is no run, no run has `figure`, or the folder cannot be written to.
    """
    from nas.files import write_text

    runs, refused = read_runs(folder)
    require(len(runs) > 0, f"folder={folder}: no run folder there or below")
    main_figure = sweeps.main_figure(runs, figure)
    table, missing = sweeps.table_markdown(runs, over), sweeps.unfinished_markdown(runs)
    left = sum(not run.finished for run in runs)
    note = (
        f"\n\n{left} of {len(runs)} runs did not finish and count nowhere above:\n\n{missing}" if left else ""
    )
    head = f"# {folder.name}\n\nMean ± sample standard deviation over {', '.join(over) or 'nothing'}.\n\n"
    write_text(folder / "sweep.csv", sweeps.runs_csv(runs))
    write_text(folder / "table.csv", sweeps.table_csv(runs, over))
    write_text(folder / "table.md", f"{head}{table}{note}\n")
    print(f"\n{table}{note}\n")
    print(f"table: {folder / 'table.md'}, table.csv; each run: sweep.csv", flush=True)
    best = _load(folder / "optimization_results.yaml")
    if isinstance(best, DictConfig) and "best_params" in best:
        found = " ".join(f"{key}={value}" for key, value in plain(best.best_params).items())
        print(f"best:  {found} ({best.best_value:.6g})", flush=True)
    if main_figure:
        print(f"plot:  {_draw(folder, runs, main_figure, over)}", flush=True)
    if refused:
        return USER_ERROR
    return FAILURE if left else 0


def _draw(folder: Path, runs: Sequence[Run], figure: str, over: Sequence[str]) -> Path:
    from nas.analysis.plots.sweep import draw_sweep

    along, series = sweeps.curves(runs, figure, over)
    every = [value for points in series.values() for _, values in points for value in values]
    unit = sweeps.unit(figure, every)
    scaled = {
        name: [(x, [value * unit.factor for value in values]) for x, values in points]
        for name, points in series.items()
    }
    # Beside pictures of accuracies the better end of this axis would be mistaken.
    direction = " (lower is better)" if figure.endswith("perplexity") else ""
    label = unit.heading.replace("_", " ") + direction
    return draw_sweep(scaled, folder / "figures/sweep.png", along, label)


def read_runs(folder: Path) -> tuple[list[Run], bool]:
    """All runs below a folder, in the order of their jobs, and whether one was refused for its settings.

    Jobs of a multirun (`multirun.yaml`) that left nothing are among them.
    """
    places = sorted(_run_folders(folder), key=lambda place: _natural(place.relative_to(folder).as_posix()))
    summaries = {place: _summary(place) for place in places}
    runs = [_read_run(folder, place, summary) for place, summary in summaries.items()]
    for sweep in sorted({folder, *(place.parent for place in places)}):
        runs += _not_started(folder, sweep, runs)
    runs.sort(key=lambda run: _natural(run.folder))
    commands = {summary.get("command") for summary in summaries.values()} - {None}
    keys = list(dict.fromkeys(key for run in runs for key in run.overrides))
    filled = []
    for run in runs:
        place = folder / run.folder
        overrides = dict(run.overrides)
        if any(key not in overrides for key in keys):
            overrides = _configured(place, [key for key in keys if key not in overrides]) | overrides
        if len(commands) > 1:
            overrides = {"command": str(summaries.get(place, {}).get("command", ""))} | overrides
        # One order of keys for all runs, that in which they were typed first.
        ordered = {key: overrides[key] for key in ("command", *keys) if key in overrides}
        filled.append(Run(run.folder, ordered, run.status, run.reason, run.again, run.figures))
    return filled, any(summary.get("exit_status") == USER_ERROR for summary in summaries.values())


def _natural(text: str) -> list[tuple[int, int, str]]:
    """A key that sorts folder 10 after folder 2."""
    parts = re.split(r"(\d+)", text)
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts if part]


def _run_folders(folder: Path) -> list[Path]:
    found = []
    for place, below, files in os.walk(folder):
        if Path(place) != folder and {"summary.json", "config.yaml"} & set(files):
            found.append(Path(place))
            below.clear()
        below[:] = [name for name in below if name not in CLOSED and not name.startswith(".")]
    return found


def _summary(place: Path) -> dict:
    try:
        found = json.loads((place / "summary.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {"status": "lost", "error": "it has no summary.json: it was killed as it began"}
    except (OSError, ValueError) as error:
        return {"status": "lost", "error": f"summary.json is damaged ({error})"}
    return found if isinstance(found, dict) else {"status": "lost", "error": "summary.json holds no object"}


def _read_run(folder: Path, place: Path, summary: dict) -> Run:
    overrides = _load(place / "overrides.yaml")
    typed = [str(override) for override in overrides] if isinstance(overrides, ListConfig) else []
    status = str(summary.get("status", "lost"))
    name = place.relative_to(folder).as_posix()
    found = sweeps.parse_overrides(typed)
    if status == "finished":
        return Run(name, found, status, figures=sweeps.figures_of(summary))
    # The rest of a longer message is in the run's error.txt.
    error = str(summary.get("error") or "").strip().partition("\n")[0]
    epochs = summary.get("epochs")
    after = f" after epoch {epochs}" if epochs is not None and status != "failed" else ""
    if status == "running":
        status = "died" if launching.is_dead(place) else status
    words = "still running, or killed" if status == "running" else status
    reason = f"{words}{after}: {error}" if error else f"{words}{after}"
    if (place / "config.yaml").exists() and summary.get("command", "search") in ("search", "evaluate"):
        words = [f"resume={quoted(place)}"]
    else:
        words = [*typed, f"hydra.run.dir={quoted(place)}"]
    again = shlex.join(["python", "-m", f"nas.{summary.get('command', 'search')}", *words])
    return Run(name, found, status, reason, again)


def _not_started(folder: Path, sweep: Path, runs: Sequence[Run]) -> list[Run]:
    """The jobs of a multirun whose folder is `sweep` that no run there stands for."""
    config = _load(sweep / "multirun.yaml")
    if not isinstance(config, DictConfig):
        return []
    places = [folder / run.folder for run in runs]
    there = [
        _meaning(run.overrides) for run, place in zip(runs, places, strict=True) if sweep in place.parents
    ]
    found = []
    try:
        jobs = multirun.planned(config)
        numbered = OmegaConf.to_container(config.hydra.sweep, resolve=False)["subdir"] == "${hydra.job.num}"
        name = config.hydra.job.config_name
    except (HydraException, OmegaConfBaseException):
        return []  # made by hand, or by another version of Hydra
    for number, overrides in enumerate(jobs):
        parsed = sweeps.parse_overrides(overrides)
        place = sweep / (str(number) if numbered else f"job_{number}")
        if place in places or _meaning(parsed) in there:
            continue
        again = shlex.join(["python", "-m", f"nas.{name}", *overrides, f"hydra.run.dir={quoted(place)}"])
        found.append(Run(place.relative_to(folder).as_posix(), parsed, "missing", "not started", again))
    return found


def _meaning(overrides: dict) -> dict:
    return {key: sweeps.canonical(value) for key, value in overrides.items()}


def _load(path: Path) -> DictConfig | ListConfig | None:
    import yaml

    try:
        return OmegaConf.load(path)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, OmegaConfBaseException):
        return None


def _configured(place: Path, keys: Sequence[str]) -> dict[str, str]:
    """What a run had for keys that it was not given; a choice of a group is its `name`, "" what it never had.

    Empty where the run has no `config.yaml` to tell.
    """
    config = _load(place / "config.yaml")
    if not isinstance(config, DictConfig):
        return {}
    found = {}
    for key in keys:
        try:
            value = OmegaConf.select(config, key.replace("/", "."))
        except OmegaConfBaseException:
            value = None  # no key, as `~key` is none
        if isinstance(value, DictConfig):
            value = value.get("name")
        if OmegaConf.is_config(value):
            value = plain(value)
        found[key] = "" if value is None else str(value)
    return found


def run(config: DictConfig, path: Path) -> None:
    """Makes the table as configured; see `conf/sweeps.yaml`. Runs that did not finish are no error here.

    Raises:
        ConfigError: the folder holds no run, or a key has a value that cannot be used.
    """
    require(config.folder is not None, "folder=null: name a multirun's folder, or one that holds run folders")
    folder = Path(str(config.folder)).expanduser().absolute()
    require(folder.is_dir(), f"folder={config.folder}: there is no such folder")
    over = plain(config.over) if isinstance(config.over, ListConfig) else config.over
    require(
        isinstance(over, list) and all(isinstance(key, str) for key in over),
        f"over={over}: must be a list of keys, such as [seed,split_seed]",
    )
    report_sweep(folder, over, config.figure)


main = command("sweeps", run)

if __name__ == "__main__":
    main()
