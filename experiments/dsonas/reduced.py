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

import statistics
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

import yaml

from experiments import pipeline
from experiments.dsonas.figures import draw_all
from experiments.dsonas.record import BASE, MODES, RANDOM, SETTINGS, collect, report, rows_of
from experiments.pipeline import Chain, Experiment
from experiments.records import read_run
from nas.running.config import CONF, quoted

PROTOCOL = "dsonas/cifar10_reduced"
EVALUATION = "dsonas/evaluate_reduced"
DEFAULT_SETTINGS = (BASE, "no_pretrain", "joint")


def parse(words: Sequence[str] | None = None) -> Namespace:
    """The command line; `words` in place of the process's own."""
    searched = [setting for setting in SETTINGS if setting != RANDOM]
    parser = pipeline.options(__doc__, "dsonas_reduced", seeds=(0, 1, 2))
    parser.add_argument("--modes", nargs="+", choices=MODES, default=list(MODES))
    parser.add_argument("--settings", nargs="+", choices=searched, default=list(DEFAULT_SETTINGS))
    parser.add_argument("--no-random", action="store_true", help="no random networks")
    pipeline.evaluation_option(parser)
    arguments = pipeline.parsed(parser, words, "every search: space.levels=2")
    if BASE not in arguments.settings and not arguments.no_random:
        parser.error(f"--settings: random networks are as dense as those of {BASE}; add it, or --no-random")
    return arguments


def places(arguments: Namespace) -> list[tuple[tuple[str, str], int]]:
    """What is searched and drawn, mode by mode and setting by setting."""
    settings = [*arguments.settings, *([] if arguments.no_random else [RANDOM])]
    return [((m, s), seed) for m in arguments.modes for s in settings for seed in arguments.seeds]


def plan(arguments: Namespace) -> list[Chain]:
    """The searches, a seed of all settings before the next seed, so that an early stop leaves whole seeds."""
    searched = [(place, seed) for place, seed in places(arguments) if place[1] != RANDOM]
    searched.sort(key=lambda item: arguments.seeds.index(item[1]))
    special = {setting: _special(setting, arguments.overrides) for setting in arguments.settings}
    return [_chain(arguments, place, seed, special[place[1]]) for place, seed in searched]


def plan_random(arguments: Namespace) -> list[Chain]:
    """The draws of the modes of which all searches have finished, with the mean density of what those found.

    A draw that has been made keeps the density that it was made with.
    """
    chains = []
    for mode in () if arguments.no_random else arguments.modes:
        folders = [pipeline.folder_of(arguments, (mode, BASE), seed) for seed in arguments.seeds]
        searches = [read_run(folder / "search") for folder in folders]
        if all(search.finished for search in searches):
            density = statistics.mean(search.last["alive"] for search in searches)
            special = ("method=dsonas_random", f"method.density={density:.4f}")
            chains += [_chain(arguments, (mode, RANDOM), seed, special) for seed in arguments.seeds]
    return chains


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


def _chain(arguments: Namespace, place: tuple[str, str], seed: int, special: Sequence[str]) -> Chain:
    mode, setting = place
    common, given = pipeline.every_run(arguments, seed), arguments.overrides
    if setting == RANDOM:
        # The budget is what draws have in common with searches.
        given = pipeline.for_draw(given, kept=("method.budget.",))
    # The setting last: it is what the comparison is about, whatever is overridden.
    search = (
        f"experiment={PROTOCOL}",
        *common,
        *given,
        f"space.share={str(mode == 'share').lower()}",
        *special,
    )
    evaluation = (f"experiment={EVALUATION}", *common, *arguments.evaluation)
    folder = pipeline.folder_of(arguments, place, seed)
    return Chain(place, seed, folder, search, {"evaluation": evaluation}, decided=found_network)


def found_network(folder: Path) -> tuple[str, ...]:
    """Overrides of an evaluation: the width and the blocks that a search chose, and what it found."""
    recipe = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))["recipe"]
    blocks = ",".join(map(str, recipe["blocks_per_stage"]))
    width = read_run(folder).summary.get("init_channels", recipe["init_channels"])
    sizes = (f"recipe.blocks_per_stage=[{blocks}]", f"recipe.init_channels={width}")
    return (*sizes, f"genotype={quoted(folder)}")


main = Experiment(parse, (plan, plan_random), places, collect, rows_of, report, draw_all).main

if __name__ == "__main__":
    main()
