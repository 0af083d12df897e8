"""ImageNet's protocol on 20 classes of real pictures: a search, and cells found, random and published.

    python -m experiments.imagenet.reduced --data data/tiny-imagenet-20 --seeds 0 1 --jobs 1

For every seed a search (`experiment=drnas/imagenet_reduced`) or a draw (`drnas/imagenet_reduced_random`),
then the evaluation of its cell (`darts/evaluate_imagenet_reduced`); beside them the paper's own cell, trained
alike, and with `--kinds enlarged` once at 224x224 with the auxiliary head, for which 64x64 is too small. One
thread each, every run in its own folder. Stop it and start it again: finished runs are kept, stopped ones
go on at their last epoch, and then the others begin. Writes `reduced.csv`, `reduced.md` and figures into
`--results`, at the end and with `--record-only` at any time.
"""

from argparse import Namespace
from collections.abc import Sequence

from experiments import pipeline
from experiments.imagenet.figures import draw_all
from experiments.imagenet.record import ENLARGED, FOUND, KINDS, PUBLISHED, RANDOM, collect, report, rows_of
from experiments.pipeline import Chain, Experiment
from nas.running.config import quoted

SEARCHES = {FOUND: "drnas/imagenet_reduced", RANDOM: "drnas/imagenet_reduced_random"}
EVALUATION = "darts/evaluate_imagenet_reduced"
CELL = "DrNAS_imagenet"
# What 224x224 costs per image is paid for by a narrower network and fewer epochs.
LARGE = (
    "dataset.source.image_size=224",
    "recipe.auxiliary_weight=0.4",
    "recipe.init_channels=16",
    "recipe.epochs=12",
    "recipe.scheduler.warmup=2",
    "recipe.scheduler.tail=2",
)


def parse(words: Sequence[str] | None = None) -> Namespace:
    """The command line; `words` in place of the process's own."""
    parser = pipeline.options(__doc__, "imagenet_reduced", seeds=(0, 1))
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=[FOUND, RANDOM, PUBLISHED])
    pipeline.evaluation_option(parser)
    return pipeline.parsed(parser, words, "every search and draw")


def places(arguments: Namespace) -> list[tuple[tuple[str], int]]:
    """The cells, a seed of all kinds before the next seed, so that an early stop leaves whole seeds.

    Enlarged images come last and from the first seed alone: they show that the whole recipe runs, and are
    compared with nothing.
    """
    kinds = [kind for kind in arguments.kinds if kind != ENLARGED]
    cells = [((kind,), seed) for seed in arguments.seeds for kind in kinds]
    return [*cells, *([((ENLARGED,), arguments.seeds[0])] if ENLARGED in arguments.kinds else [])]


def plan(arguments: Namespace) -> list[Chain]:
    """The chains of the cells; a published one has no search."""
    return [_chain(arguments, *place, seed) for place, seed in places(arguments)]


def _chain(arguments: Namespace, kind: str, seed: int) -> Chain:
    common, folder = pipeline.every_run(arguments, seed), pipeline.folder_of(arguments, (kind,), seed)
    given = pipeline.for_draw(arguments.overrides) if kind == RANDOM else arguments.overrides
    search = (f"experiment={SEARCHES[kind]}", *common, *given) if kind in SEARCHES else ()
    cell = quoted(folder / "search") if search else CELL
    special = LARGE if kind == ENLARGED else ()
    evaluation = (f"experiment={EVALUATION}", *common, *special, *arguments.evaluation, f"genotype={cell}")
    return Chain((kind,), seed, folder, search, {"evaluation": evaluation})


main = Experiment(parse, (plan,), places, collect, rows_of, report, draw_all).main

if __name__ == "__main__":
    main()
