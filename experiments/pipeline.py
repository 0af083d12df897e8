"""One pipeline for every experiment: chains of steps from several seeds, each done once, then a record.

A folder declares an `Experiment`: its options, its chains, and what is recorded and drawn of them. A pipeline
that is started again goes on: finished steps are kept, stopped ones go on at their last epoch.
"""

import os
import subprocess
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path

from experiments.records import as_csv, keep_record, read_summary
from nas.running.config import quoted


def run_step(command: str, folder: Path, overrides: Sequence[str]) -> dict:
    """Runs `python -m nas.<command>` into `folder` unless it has finished there, resuming it if it was
    stopped.

    Returns:
        The run's summary.

    Raises:
        SystemExit: the step failed; what it printed has been shown.
    """
    summary = read_summary(folder)
    if summary.get("status") == "finished":
        return summary
    arguments = (
        [f"resume={folder}"] if (folder / "config.yaml").exists() else [f"hydra.run.dir={folder}", *overrides]
    )
    print(f"{folder}: python -m nas.{command} {' '.join(arguments)}", flush=True)
    done = subprocess.run([sys.executable, "-m", f"nas.{command}", *arguments], check=False)
    if done.returncode:
        raise SystemExit(
            f"{folder}: nas.{command} ended with status {done.returncode}; start again to continue"
        )
    return read_summary(folder)


@dataclass(frozen=True)
class Chain:
    """Steps that build on one another: a search or a draw or neither, and evaluations of what it found.

    Attributes:
        place: which one, in words that are the names of the folders it lies in.
        seed: of all steps.
        folder: its own; holds a run folder per step.
        search: overrides of the search or the draw; empty where there is none.
        evaluations: run folder -> overrides.
        found: the run folder of the search.
        decided: run folder of the search -> more overrides of every evaluation, known when it has ended.
    """

    place: tuple[str, ...]
    seed: int
    folder: Path
    search: tuple[str, ...] = ()
    evaluations: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    found: str = "search"
    decided: Callable[[Path], tuple[str, ...]] = lambda _: ()

    def run(self) -> None:
        """Searches and evaluates, each unless it has finished.

        Raises:
            SystemExit: a step failed.
        """
        searched = self.folder / self.found
        if self.search:
            run_step("search", searched, self.search)
        decided = self.decided(searched)
        for name, overrides in self.evaluations.items():
            run_step("evaluate", self.folder / name, (*overrides, *decided))


def folder_of(arguments: Namespace, place: Iterable[str], seed: int) -> Path:
    """The folder of a chain."""
    return arguments.folder.resolve().joinpath(*place, f"seed{seed}")


def every_run(arguments: Namespace, seed: int, data: bool = True) -> list[str]:
    """Overrides of every run from a seed: one thread, and the folder of the data where one was named."""
    words = [f"seed={seed}", "hardware.threads=1", "trainer.enable_progress_bar=false"]
    if data and arguments.data is not None:
        words.append(f"dataset.root={quoted(arguments.data.resolve())}")
    return words


def for_draw(words: Iterable[str], kept: tuple[str, ...] = ()) -> list[str]:
    """The overrides of searches that hold for a draw too: how a search learns means nothing to it.

    Args:
        words: the overrides.
        kept: how those of the method begin that draws have in common with searches.
    """
    return [word for word in words if word.startswith(kept) or not word.startswith(("method.", "method="))]


def options(about: str, folder: str, seeds: Sequence[int] | None, data: str = "the images") -> ArgumentParser:
    """A parser of the options that experiments have in common.

    Args:
        about: the docstring of the experiment's module.
        folder: where runs go by default, below outputs/experiments.
        seeds: used by default; None if the experiment counts them in another way and has data of its own.
        data: what `--data` holds.
    """
    parser = ArgumentParser(description=about.splitlines()[0])
    if seeds is not None:
        parser.add_argument("--data", type=Path, help=f"folder of {data} (dataset.root)")
        parser.add_argument("--seeds", type=int, nargs="+", default=list(seeds))
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time, one thread each")
    parser.add_argument("--folder", type=Path, default=Path("outputs/experiments") / folder)
    parser.add_argument("--results", type=Path, help="where the record goes (default: FOLDER/results)")
    parser.add_argument("--record-only", action="store_true", help="sums up what there is, runs nothing")
    return parser


def evaluation_option(
    parser: ArgumentParser, name: str = "--evaluation", of: str = "every evaluation"
) -> None:
    """Adds an option of more overrides for evaluations."""
    parser.add_argument(name, nargs="+", default=[], metavar="KEY=VALUE", help=f"more overrides of {of}")


def parsed(parser: ArgumentParser, words: Sequence[str] | None, of: str, **least: int) -> Namespace:
    """The command line with more overrides at its end; `words` in place of the process's own.

    Args:
        parser: of the experiment.
        words: the command line; None for the process's own.
        of: which steps get the overrides.
        least: option -> its smallest value, besides `jobs`.
    """
    parser.add_argument("overrides", nargs="*", help=f"more overrides of {of}")
    arguments = parser.parse_args(words)
    for name, smallest in {"jobs": 1, **least}.items():
        if getattr(arguments, name) < smallest:
            parser.error(f"--{name} {getattr(arguments, name)}: must be at least {smallest}")
    return arguments


@dataclass(frozen=True)
class Experiment:
    """What an experiment is made of.

    Attributes:
        parse: words -> command line.
        plans: command line -> chains. Those of a plan begin when all of the plan before it have ended, a
            chain that was begun before the others.
        places: command line -> (place, seed) of the chains in the order of the record.
        collect: (*place, seed, folder, *given) -> what a chain found; None if it has nothing to show yet.
        rows: what was found -> rows of the record's CSV.
        report: (what was found, number planned, *given) -> the record as Markdown.
        draw: (what was found, folder, *given) -> the pictures drawn.
        name: of the record's files.
        planned: (command line, place) -> how much of the number planned it is.
        given: command line -> what is read before anything runs, and needed for the record.
        check: (command line, what was found) -> None, before the record is written.
    """

    parse: Callable[[Sequence[str] | None], Namespace]
    plans: Sequence[Callable[[Namespace], Sequence[Chain]]]
    places: Callable[[Namespace], Sequence[tuple[tuple[str, ...], int]]]
    collect: Callable
    rows: Callable[[Sequence], list[dict[str, object]]]
    report: Callable[..., str]
    draw: Callable[..., Sequence[Path]]
    name: str = "reduced"
    planned: Callable[[Namespace, tuple[str, ...]], int] = lambda *_: 1
    given: Callable[[Namespace], tuple] = lambda _: ()
    check: Callable[[Namespace, Sequence], None] = lambda *_: None

    def main(self, words: Sequence[str] | None = None) -> None:
        """Runs all chains, then sums up what there is.

        Raises:
            SystemExit: with status 130 after Ctrl-C, when nothing is summed up, and with the lines of what
                failed, or if there is nothing to sum up.
        """
        arguments = self.parse(words)
        given = self.given(arguments)
        # Libraries below torch have threads of their own, and two runs share the cores.
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        failed = []
        try:
            for plan in () if arguments.record_only else self.plans:
                failed += run_all(plan(arguments), arguments.jobs)
        except KeyboardInterrupt:
            print(f"{arguments.folder}: stopped; the same command goes on", flush=True)
            raise SystemExit(130) from None
        self._record(arguments, given)
        if failed:
            raise SystemExit("\n".join(failed))

    def _record(self, arguments: Namespace, given: tuple) -> None:
        places = self.places(arguments)
        runs = [
            self.collect(*place, seed, folder_of(arguments, place, seed), *given) for place, seed in places
        ]
        runs = [run for run in runs if run is not None]
        if not runs:
            raise SystemExit(f"{arguments.folder}: no run has finished an epoch yet")
        self.check(arguments, runs)
        results = arguments.results or arguments.folder / "results"
        text = self.report(runs, sum(self.planned(arguments, place) for place, _ in places), *given)
        table = as_csv(self.rows(runs))
        keep_record(results, self.name, table, text, lambda: self.draw(runs, results, *given))


def run_all(chains: Sequence[Chain], jobs: int) -> list[str]:
    """Runs what has not finished, several at a time; what has begun goes first.

    Returns:
        One line for each that failed. The others run all the same.
    """
    ordered = sorted(chains, key=lambda chain: not chain.folder.exists())
    failed = []
    with ThreadPoolExecutor(jobs) as pool:
        waiting = [pool.submit(chain.run) for chain in ordered]
        try:
            for future in as_completed(waiting):
                error = future.exception()
                if isinstance(error, SystemExit):
                    failed.append(str(error))
                elif error is not None:
                    raise error
        except BaseException:
            # After Ctrl-C, which the runs get too, nothing new begins.
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    return failed
