"""`python -m nas.sweeps`: the table of a folder of runs; a multirun makes it by itself when it ends.

Everything is read from the run folders, so it does not matter which process, or which machine, ran a job.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, ListConfig

from nas.analysis import sweeps
from nas.analysis.metrics import LOWER, metric_of
from nas.analysis.statistics import LEVEL
from nas.analysis.sweep_comparison import TESTS, Asked, compared, comparison_markdown, csv_columns
from nas.analysis.sweeps import Run
from nas.commands.sweep_courses import draw_courses
from nas.commands.sweep_exploration import draw_exploring
from nas.errors import ConfigError, require
from nas.files import failing
from nas.printable import printable, shown
from nas.reading.plain import is_number, read_key
from nas.reading.yaml_text import read_mapping
from nas.running import launching, multirun
from nas.running.config import FAILURE, USER_ERROR, RunFailed, plain, report
from nas.running.locks import FolderLock
from nas.running.own_files import check_table_folder
from nas.running.runs import Found, read_runs
from nas.running.words import pasted, quoted


class SweepReport(Callback):
    """Hydra's callback around a multirun: refuses wrong jobs before the first starts, sums up after the last.

    Ends the process (`SystemExit`) with 2 if a job is configured wrongly and with 1 if one did not finish.
    Hydra turns every other exception of a callback into a warning, and a failed sweep would end with 0.

    Args:
        objective: the figure, or figures, that a sweeper improves which looks at results; None for the one
            of `multirun.objectives`.
        figure: what the plots at the end show; None for the first figure there is.
    """

    def __init__(self, objective: str | Sequence[str] | None = None, figure: str | None = None):
        self.objective = objective
        self.figure = figure
        self._lock: FolderLock | None = None

    def __getstate__(self) -> dict[str, Any]:
        """What a launcher sends to its workers, who hold no lock."""
        return self.__dict__ | {"_lock": None}

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Composes every job and checks its values, which takes moments; a sweep takes days."""
        try:
            multirun.check_launcher(config)
            multirun.check_sweeper(config, self.objective)
            multirun.check_jobs(config)
            self._claim(config)
        except Exception as error:
            sys.exit(report(error, config.hydra.job.config_name))
        launching.own_gpus()
        # Where a launcher breaks down, this is how the end of the process finds the sweep.
        HydraConfig.instance().set_config(config)

    def _claim(self, config: DictConfig) -> None:
        """Takes the folder of all jobs: two multiruns at once would each start every job.

        Raises:
            ConfigError: another multirun is at work in it, or it cannot be written to.
        """
        if config.get("plan"):
            return
        folder = Path(config.hydra.sweep.dir).absolute()
        with failing(folder):
            folder.mkdir(parents=True, exist_ok=True)
        self._lock = FolderLock(folder, f"hydra.sweep.dir={config.hydra.sweep.dir}")

    def on_job_end(self, config: DictConfig, job_return: Any, **_: Any) -> None:
        """Gives the sweeper what it asked for; a job without it is a failed trial."""
        if multirun.looks_at_results(config):
            folder = Path(config.hydra.runtime.output_dir)
            job_return.return_value = multirun.objective_values(config, self.objective, folder)

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Prints and writes the table of the sweep's folder; ends the process if a run did not finish."""
        if config.get("plan"):
            return
        folder = Path(config.hydra.sweep.dir).absolute()
        try:
            found = read_runs(folder)
            known = sweeps.figure_names(found.runs)
            # Where all runs failed there is none, and the table says why.
            if self.figure is not None and known and self.figure not in known:
                print(
                    f"warning: hydra.callbacks.sweep.figure={shown(self.figure)}: no run has it; plots show "
                    f"{known[0]}, others are {', '.join(known[1:]) or 'none'}",
                    flush=True,
                )
            status = report_sweep(folder, figure=self.figure if self.figure in known else None, found=found)
        except Exception as error:
            sys.exit(report(error, config.hydra.job.config_name))
        finally:
            if self._lock is not None:
                self._lock.release()
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


def report_sweep(
    folder: Path,
    over: Sequence[str] = sweeps.SEEDS,
    figure: str | None = None,
    baseline: str | None = None,
    test: str = "permutation",
    level: float = LEVEL,
    found: Found | None = None,
) -> int:
    """Prints the table of a folder of runs and writes it there.

    Args:
        folder: holds run folders at any depth.
        over: keys that are averaged over.
        figure: what the plots show and rows are compared by; None for the first figure there is.
        baseline: overrides of the row that the others are compared with; None for none.
        test: of the comparison, one of `TESTS`.
        level: of the intervals.
        found: the runs of the folder, where they have been read.

    Returns:
        An exit status: 0 if all runs finished, 2 if one was configured wrongly, else 1.

    Raises:
        ConfigError: there is no run, no run has `figure`, no row is the baseline, or the folder cannot be
            written to.
    """
    from nas.files import sweep, write_text

    found = read_runs(folder) if found is None else found
    runs = found.runs
    require(len(runs) > 0, f"folder={folder}: no run folder there or below")
    check_table_folder(folder, f"folder={folder}")
    main_figure = sweeps.main_figure(runs, figure)
    require(
        main_figure is not None or baseline is None,
        f"baseline={baseline}: no finished run has a figure to compare",
    )
    table, missing = sweeps.table_markdown(runs, over), sweeps.unfinished_markdown(runs)
    shown_further, columns = "", None
    if main_figure is not None:
        comparison = compared(runs, Asked(main_figure, over, baseline, test, level))
        every = [run.figures[main_figure] for run in runs if run.finished and main_figure in run.figures]
        shown_further, columns = (
            comparison_markdown(comparison, sweeps.unit(main_figure, every)),
            csv_columns(comparison),
        )
    left = sum(not run.finished for run in runs)
    note = f"\n\n{shown_further}" if shown_further else ""
    if left:
        note += f"\n\n{left} of {len(runs)} runs did not finish and count nowhere above:\n\n{missing}"
    note += "".join(f"\n\nwarning: {one}" for one in found.warnings)
    title = f"# {printable(folder.name)}"
    head = f"{title}\n\nMean ± sample standard deviation over {', '.join(over) or 'nothing'}.\n\n"
    for place in (folder, folder / "figures"):
        sweep(place)
    write_text(folder / "sweep.csv", sweeps.runs_csv(runs))
    write_text(folder / "table.csv", sweeps.table_csv(runs, over, columns or ((), ())))
    write_text(folder / "table.md", f"{head}{table}{note}\n")
    print(f"\n{table}{note}\n")
    print(f"table: {folder / 'table.md'}, table.csv; each run: sweep.csv", flush=True)
    _print_best(folder / "optimization_results.yaml")
    if main_figure:
        print(f"plot:  {_draw(folder, runs, main_figure, over)}", flush=True)
        curves = draw_courses(folder, found, main_figure, over, level, _caption(folder, runs))
        if curves is not None:
            print(f"curve: {curves}", flush=True)
    explored = draw_exploring(folder, found, over, _caption(folder, runs))
    if explored is not None:
        print(f"drawn: {explored}", flush=True)
    if figure is not None:
        print(f"again: {_again(folder, over, figure, baseline, test, level)}", flush=True)
    print(f"page:  {_page(folder, over, figure, baseline, test, level)}", flush=True)
    if found.refused:
        return USER_ERROR
    return FAILURE if left else 0


def _again(
    folder: Path, over: Sequence[str], figure: str, baseline: str | None, test: str, level: float
) -> str:
    """The command that makes the table again, as it is pasted."""
    words = ["python", "-m", "nas.sweeps", f"folder={quoted(folder)}", f"figure={quoted(figure)}"]
    words += [] if tuple(over) == tuple(sweeps.SEEDS) else [f"over=[{','.join(map(quoted, over))}]"]
    words += [] if baseline is None else [f"baseline={quoted(baseline)}"]
    words += [] if test == next(iter(TESTS)) else [f"test={test}"]
    words += [] if level == LEVEL else [f"level={level}"]
    return pasted(words)


def _print_best(path: Path) -> None:
    """Prints what Optuna found to be best, where it wrote that down for a single objective."""
    if not os.path.lexists(path):
        return
    try:
        best = read_mapping(path)
        params = read_key(best, "best_params", lambda value: isinstance(value, dict), "a mapping", str(path))
        value = read_key(best, "best_value", is_number, "a number", str(path))
    except ConfigError as error:
        print(f"warning: {error}", flush=True)
        return
    if params is not None and value is not None:
        words = " ".join(f"{key}={shown(given)}" for key, given in params.items())
        print(f"best:  {shown(words, 1000)} ({value:.6g})", flush=True)


def _draw(folder: Path, runs: Sequence[Run], figure: str, over: Sequence[str]) -> Path | str:
    from nas.analysis.plots.sweep import LARGEST, draw_sweep

    along, series = sweeps.curves(runs, figure, over)
    every = [value for points in series.values() for _, values in points for value in values]
    if not any(abs(value) < LARGEST for value in every):
        return f"none, no {figure} is below {LARGEST:g}"
    unit = sweeps.unit(figure, every)
    scaled = {
        name: [(x, [value * unit.factor for value in values]) for x, values in points]
        for name, points in series.items()
    }
    _, metric = metric_of(figure)
    direction = f" ({LOWER})" if metric is not None and metric.axis == LOWER else ""
    label = unit.heading.replace("_", " ") + direction
    return draw_sweep(scaled, folder / "figures/sweep.png", along, label, _caption(folder, runs))


def _page(
    folder: Path, over: Sequence[str], figure: str | None, baseline: str | None, test: str, level: float
) -> Path | str:
    """Writes the page of the runs; what keeps it from being written is said and costs nothing else."""
    from nas.commands.report_group import write_group
    from nas.commands.report_run import PAGE

    try:
        return write_group(folder, folder / PAGE, over, figure, baseline, test, level)[0]
    except Exception as error:  # a sweep of days does not fail for its page
        return f"none, {shown(str(error) or type(error).__name__, 300)}"


def _caption(folder: Path, runs: Sequence[Run]) -> str:
    """Which runs a picture shows, with what was typed for them of what says which they are."""
    finished = [run.overrides for run in runs if run.finished]
    words = [f"{len(finished)} runs in {folder.name}"]
    for key in ("experiment", "space", "method", "dataset", "seed"):
        values = dict.fromkeys(one[key] for one in finished if key in one)
        if values:
            words.append(f"{key} {shown(', '.join(values))}")
    return ", ".join(words)


def run(config: DictConfig, path: Path) -> None:
    """Makes the table as configured; see `conf/sweeps.yaml`. Runs that did not finish are no error here.

    Raises:
        ConfigError: the folder holds no run, or a key has a value that cannot be used.
    """
    require(config.folder is not None, "folder=null: name a multirun's folder, or one that holds run folders")
    folder = Path(str(config.folder)).expanduser().absolute()
    require(folder.is_dir(), f"folder={config.folder}: there is no such folder")
    # Its table.md and table.csv would be lost.
    require(
        launching.read(folder / "summary.json").get("command") != "protocol",
        f"folder={config.folder}: it is the folder of a protocol, which has its own table.md; its page: "
        f"{pasted(['python', '-m', 'nas.report', f'folder={quoted(folder)}'])}; of several protocols the "
        "folder that holds them makes a table",
    )
    over = plain(config.over) if isinstance(config.over, ListConfig) else config.over
    require(
        isinstance(over, list) and all(isinstance(key, str) for key in over),
        f"over={over}: must be a list of keys, such as [seed,split_seed]",
    )
    require(config.test in TESTS, f"test={shown(str(config.test))}: must be one of {', '.join(TESTS)}")
    require(0 < config.level < 1, f"level={config.level}: must be between 0 and 1, such as {LEVEL}")
    report_sweep(folder, over, config.figure, config.baseline, str(config.test), float(config.level))
