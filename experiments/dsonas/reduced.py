"""DSO-NAS on a part of CIFAR-10 at a reduced scale: searches, random networks as dense, evaluations.

    python -m experiments.dsonas.reduced --data data --seeds 0 1 2 --jobs 2

For every seed, for one block (`share`) and for blocks of their own (`full`), and for every setting: a search
(`experiment=dsonas/cifar10_reduced`), then the evaluation of what it found (`dsonas/evaluate_reduced`) at the
width that the search chose for its budget. After them random networks, whose connections are drawn with the
mean density of the found ones, at the same budget and evaluated alike. One thread each, every run in a folder
of its own. Stop it and start it again: finished runs are kept, stopped ones go on at their last epoch, and
then the others begin. Writes `reduced.csv`, `reduced.md` and figures into `--results`, at the end and with
`--record-only` at any time.
"""

import argparse
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from experiments.dsonas.figures import draw_all
from experiments.dsonas.record import BASE, MODES, RANDOM, SETTINGS, collect, report, runs_csv
from experiments.pipeline import finish, read_summary, run_all, run_step
from experiments.records import keep_record
from nas.engine.run_folder import read_table
from nas.running.config import CONF, quoted

PROTOCOL = "dsonas/cifar10_reduced"
EVALUATION = "dsonas/evaluate_reduced"
DEFAULT_SETTINGS = (BASE, "no_pretrain", "joint")


@dataclass(frozen=True)
class Chain:
    """A search, or a draw, and the evaluation of what it found.

    Attributes:
        mode: `share` or `full`.
        setting: a key of `record.SETTINGS`.
        seed: of both runs.
        folder: holds `search` and `evaluation`.
        search: overrides of the search.
        evaluation: overrides of the evaluation, without what the search decides.
    """

    mode: str
    setting: str
    seed: int
    folder: Path
    search: tuple[str, ...]
    evaluation: tuple[str, ...]


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line; `words` in place of the process's own."""
    searched = [setting for setting in SETTINGS if setting != RANDOM]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of the images (dataset.root)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--modes", nargs="+", choices=MODES, default=list(MODES))
    parser.add_argument("--settings", nargs="+", choices=searched, default=list(DEFAULT_SETTINGS))
    parser.add_argument("--no-random", action="store_true", help="no random networks")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time, one thread each")
    parser.add_argument("--folder", type=Path, default=Path("outputs/experiments/dsonas_reduced"))
    parser.add_argument("--results", type=Path, help="where the record goes (default: FOLDER/results)")
    parser.add_argument("--record-only", action="store_true", help="sums up what there is, runs nothing")
    parser.add_argument(
        "--evaluation", nargs="+", default=[], metavar="KEY=VALUE", help="more overrides of every evaluation"
    )
    parser.add_argument("overrides", nargs="*", help="more overrides of every search: space.levels=2")
    arguments = parser.parse_args(words)
    if arguments.jobs < 1:
        parser.error(f"--jobs {arguments.jobs}: must be at least 1")
    if BASE not in arguments.settings and not arguments.no_random:
        parser.error(f"--settings: random networks are as dense as those of {BASE}; add it, or --no-random")
    return arguments


def plan(arguments: argparse.Namespace) -> list[Chain]:
    """The searches, a seed of all settings before the next seed, so that an early stop leaves whole seeds."""
    return [
        _chain(arguments, mode, setting, seed, _special(setting, arguments.overrides))
        for seed in arguments.seeds
        for mode in arguments.modes
        for setting in arguments.settings
    ]


def plan_random(arguments: argparse.Namespace) -> list[Chain]:
    """The draws of the modes of which all searches have finished, with the mean density of what those found.

    A draw that has been made keeps the density that it was made with.
    """
    chains = []
    for mode in arguments.modes:
        found = [density(_folder(arguments, mode, BASE, seed) / "search") for seed in arguments.seeds]
        if None in found:
            continue
        special = ("method=dsonas_random", f"method.density={statistics.mean(found):.4f}")
        chains += [_chain(arguments, mode, RANDOM, seed, special) for seed in arguments.seeds]
    return chains


def density(folder: Path) -> float | None:
    """The share of connections that a finished search left alive; None if it has not finished."""
    if read_summary(folder).get("status") != "finished":
        return None
    return float(read_table(folder / "metrics.csv")[-1]["alive"])


def _special(setting: str, overrides: Sequence[str]) -> tuple[str, ...]:
    if setting == "no_pretrain":
        # As long a search as the others have after their pretraining.
        length = _number("trainer.max_epochs", overrides) - _number("method.warmup_epochs", overrides)
        return ("method.warmup_epochs=0", f"trainer.max_epochs={length}")
    return {BASE: (), "joint": ("method.update=joint",), "plain": ("method.adaptive=none",)}[setting]


def _number(key: str, overrides: Sequence[str]) -> int:
    """A number of the protocol, unless an override gives another."""
    given = [word.partition("=")[2] for word in overrides if word.partition("=")[0] == key]
    group, name = key.split(".")
    protocol = yaml.safe_load((CONF / "experiment" / f"{PROTOCOL}.yaml").read_text(encoding="utf-8"))
    return int(given[-1] if given else protocol[group][name])


def _folder(arguments: argparse.Namespace, mode: str, setting: str, seed: int) -> Path:
    return arguments.folder.resolve() / mode / setting / f"seed{seed}"


def _chain(
    arguments: argparse.Namespace, mode: str, setting: str, seed: int, special: Sequence[str]
) -> Chain:
    common = [f"seed={seed}", "hardware.threads=1", "trainer.enable_progress_bar=false"]
    if arguments.data is not None:
        common.append(f"dataset.root={quoted(arguments.data.resolve())}")
    given = arguments.overrides
    if setting == RANDOM:
        # How a search learns means nothing to a draw, whose configuration lacks most of it.
        # The budget is what both have in common.
        given = [word for word in given if word.startswith("method.budget.") or word[:7] != "method."]
    share = f"space.share={str(mode == 'share').lower()}"
    return Chain(
        mode,
        setting,
        seed,
        _folder(arguments, mode, setting, seed),
        # The setting last: it is what the comparison is about, whatever is overridden.
        (f"experiment={PROTOCOL}", *common, *given, share, *special),
        (f"experiment={EVALUATION}", *common, *arguments.evaluation),
    )


def run_chain(chain: Chain) -> None:
    """Searches and evaluates, each unless it has finished, at the width and with the blocks of the search.

    Raises:
        SystemExit: a step failed.
    """
    folder = chain.folder / "search"
    summary = run_step("search", folder, chain.search)
    recipe = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))["recipe"]
    blocks = ",".join(map(str, recipe["blocks_per_stage"]))
    width = summary.get("init_channels", recipe["init_channels"])
    sizes = (f"recipe.blocks_per_stage=[{blocks}]", f"recipe.init_channels={width}")
    found = f"genotype={quoted(folder)}"
    run_step("evaluate", chain.folder / "evaluation", (*chain.evaluation, *sizes, found))


def _begun(chain: Chain) -> bool:
    return bool(read_summary(chain.folder / "search"))


def record(arguments: argparse.Namespace) -> None:
    """Sums up what there is."""
    settings = [*arguments.settings, *([] if arguments.no_random else [RANDOM])]
    places = [(m, s, seed) for m in arguments.modes for s in settings for seed in arguments.seeds]
    runs = [collect(*place, _folder(arguments, *place)) for place in places]
    runs = [run for run in runs if run is not None]
    if not runs:
        raise SystemExit(f"{arguments.folder}: no search has finished an epoch yet")
    results = arguments.results or arguments.folder / "results"
    text = report(runs, len(places))
    keep_record(results, "reduced", runs_csv(runs), text, lambda: draw_all(runs, results))


def main(words: Sequence[str] | None = None) -> None:
    """Searches, draws, evaluates, then sums up; status 1 if a run failed, 130 after Ctrl-C."""
    arguments = parse(words)

    def run() -> list[str]:
        if arguments.record_only:
            return []
        failed = run_all(plan(arguments), run_chain, _begun, arguments.jobs)
        if not arguments.no_random:
            failed += run_all(plan_random(arguments), run_chain, _begun, arguments.jobs)
        return failed

    finish(arguments.folder, run, lambda: record(arguments))


if __name__ == "__main__":
    main()
