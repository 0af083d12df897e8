"""ImageNet's protocol on 20 classes of real pictures: a search, and cells found, random and published.

    python -m experiments.imagenet.reduced --data data/tiny-imagenet-20 --seeds 0 1 --jobs 1

For every seed a search (`experiment=drnas/imagenet_reduced`) or a draw (`drnas/imagenet_reduced_random`),
then the evaluation of its cell (`darts/evaluate_imagenet_reduced`); beside them the paper's own cell, trained
alike, and with `--kinds enlarged` once at 224x224 with the auxiliary head, for which 64x64 is too small. One
thread each, every run in its own folder. Stop it and start it again: finished runs are kept, stopped ones
go on at their last epoch, and then the others begin. Writes `reduced.csv`, `reduced.md` and figures into
`--results`, at the end and with `--record-only` at any time.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from experiments.imagenet.figures import draw_all
from experiments.imagenet.record import ENLARGED, FOUND, KINDS, PUBLISHED, RANDOM, collect, report, runs_csv
from experiments.pipeline import finish, read_summary, run_all, run_step
from experiments.records import keep_record
from nas.running.config import quoted

SEARCHES = {FOUND: "drnas/imagenet_reduced", RANDOM: "drnas/imagenet_reduced_random"}
EVALUATION = "darts/evaluate_imagenet_reduced"
CELL = "DrNAS_imagenet"
# What 224x224 costs an image is paid for by a narrower network and fewer epochs.
LARGE = (
    "dataset.source.image_size=224",
    "recipe.auxiliary_weight=0.4",
    "recipe.init_channels=16",
    "recipe.epochs=12",
    "recipe.scheduler.warmup=2",
    "recipe.scheduler.tail=2",
)


@dataclass(frozen=True)
class Chain:
    """A cell and its evaluation.

    Attributes:
        kind: one of `record.KINDS`.
        seed: of its runs.
        folder: holds `search`, but for a published cell, and `evaluation`.
        search: overrides of the search; empty for a published cell.
        evaluation: overrides of the evaluation.
    """

    kind: str
    seed: int
    folder: Path
    search: tuple[str, ...]
    evaluation: tuple[str, ...]


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line; `words` in place of the process's own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of the images (dataset.root)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=[FOUND, RANDOM, PUBLISHED])
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time, one thread each")
    parser.add_argument("--folder", type=Path, default=Path("outputs/experiments/imagenet_reduced"))
    parser.add_argument("--results", type=Path, help="where the record goes (default: FOLDER/results)")
    parser.add_argument("--record-only", action="store_true", help="sums up what there is, runs nothing")
    parser.add_argument(
        "--evaluation", nargs="+", default=[], metavar="KEY=VALUE", help="more overrides of every evaluation"
    )
    parser.add_argument("overrides", nargs="*", help="more overrides of every search and draw")
    arguments = parser.parse_args(words)
    if arguments.jobs < 1:
        parser.error(f"--jobs {arguments.jobs}: must be at least 1")
    return arguments


def plan(arguments: argparse.Namespace) -> list[Chain]:
    """The cells, a seed of all kinds before the next seed, so that an early stop leaves whole seeds.

    Enlarged images come last and from the first seed alone: they show that the whole recipe runs, and are
    compared with nothing.
    """
    kinds = [kind for kind in arguments.kinds if kind != ENLARGED]
    places = [(kind, seed) for seed in arguments.seeds for kind in kinds]
    if ENLARGED in arguments.kinds:
        places.append((ENLARGED, arguments.seeds[0]))
    return [_chain(arguments, *place) for place in places]


def _chain(arguments: argparse.Namespace, kind: str, seed: int) -> Chain:
    common = [f"seed={seed}", "hardware.threads=1", "trainer.enable_progress_bar=false"]
    if arguments.data is not None:
        common.append(f"dataset.root={quoted(arguments.data.resolve())}")
    folder = arguments.folder.resolve() / kind / f"seed{seed}"
    given = arguments.overrides
    if kind == RANDOM:
        # How a search learns means nothing to a draw, whose configuration lacks it.
        given = [word for word in given if not word.startswith("method.")]
    search = (f"experiment={SEARCHES[kind]}", *common, *given) if kind in SEARCHES else ()
    cell = quoted(folder / "search") if search else CELL
    special = LARGE if kind == ENLARGED else ()
    evaluation = (f"experiment={EVALUATION}", *common, *special, *arguments.evaluation, f"genotype={cell}")
    return Chain(kind, seed, folder, search, evaluation)


def run_chain(chain: Chain) -> None:
    """Searches and evaluates, each unless it has finished.

    Raises:
        SystemExit: a step failed.
    """
    if chain.search:
        run_step("search", chain.folder / "search", chain.search)
    run_step("evaluate", chain.folder / "evaluation", chain.evaluation)


def _begun(chain: Chain) -> bool:
    return any(read_summary(chain.folder / step) for step in ("search", "evaluation"))


def record(arguments: argparse.Namespace, chains: Sequence[Chain]) -> None:
    """Sums up what there is."""
    runs = [collect(chain.kind, chain.seed, chain.folder) for chain in chains]
    runs = [run for run in runs if run is not None]
    if not runs:
        raise SystemExit(f"{arguments.folder}: no run has finished an epoch yet")
    results = arguments.results or arguments.folder / "results"
    text = report(runs, len(chains))
    keep_record(results, "reduced", runs_csv(runs), text, lambda: draw_all(runs, results))


def main(words: Sequence[str] | None = None) -> None:
    """Searches, draws, evaluates, then sums up; status 1 if a run failed, 130 after Ctrl-C."""
    arguments = parse(words)
    chains = plan(arguments)
    finish(
        arguments.folder,
        lambda: [] if arguments.record_only else run_all(chains, run_chain, _begun, arguments.jobs),
        lambda: record(arguments, chains),
    )


if __name__ == "__main__":
    main()
