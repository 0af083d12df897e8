"""DARTS on a text at a reduced scale: searches, random cells, LSTMs of equal size, and a transfer.

    python -m experiments.darts_rnn.recurrent --data data --seeds 0 1 2 --jobs 2

For every seed three networks: the cell that a search finds (`experiment=darts/wikitext_reduced`), a cell
drawn at random from the same space, and an LSTM with as many parameters as their networks have. Each is
trained from new weights on the text of the search (`darts/evaluate_wikitext_reduced`) and on another one
(`darts/evaluate_transfer_reduced`): the same recipe, the same pieces of text, as many steps. `--arms` adds
searches that differ in one thing each, whose cells are trained on the text of the search alone:

    python -m experiments.darts_rnn.recurrent --data data --arms found warmup drnas long

One thread each, every run in a folder of its own. Stop it and start it again: finished runs are kept, stopped
ones go on at their last epoch, and then the others begin. Writes `recurrent.csv`, `recurrent.md` and figures
into `--results`, at the end and with `--record-only` at any time.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from omegaconf import OmegaConf

from experiments.darts_rnn.figures import draw_all
from experiments.darts_rnn.record import (
    DRNAS,
    FOUND,
    LONG,
    LSTM,
    NETWORKS,
    RANDOM,
    SEARCHED,
    TRANSFER,
    WARMUP,
    collect,
    report,
    runs_csv,
)
from experiments.pipeline import finish, read_summary, run_all, run_step
from experiments.records import keep_record
from nas.analysis.cost.complexity import Cost
from nas.analysis.cost.width import fitting_width
from nas.domains.networks import cost_of
from nas.genotype import load
from nas.running.config import instantiate, quoted

SEARCH = "darts/wikitext_reduced"
EVALUATIONS = {SEARCHED: "darts/evaluate_wikitext_reduced", TRANSFER: "darts/evaluate_transfer_reduced"}
# Overrides by which the searches differ. A warm-up comes on top, so that the architecture learns as long.
ARMS = {
    FOUND: (),
    WARMUP: ("method.warmup_epochs=3", "trainer.max_epochs=9"),
    DRNAS: ("method=drnas_rnn",),
    LONG: ("trainer.max_epochs=18",),
}


@dataclass(frozen=True)
class Chain:
    """A search or a draw, or neither, and evaluations on one text or both.

    Attributes:
        network: of `ARMS`, or `random` or `lstm`.
        seed: of all runs.
        folder: holds `search`, `wikitext2` and `wikitext_mini`.
        search: overrides of the search or the draw; empty for an LSTM.
        evaluations: text -> overrides of the evaluation.
    """

    network: str
    seed: int
    folder: Path
    search: tuple[str, ...]
    evaluations: dict[str, tuple[str, ...]]


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line; `words` in place of the process's own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of WikiText-2 (dataset.root)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--arms", nargs="+", default=[FOUND], choices=list(ARMS), help="searches (found)")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time, one thread each")
    parser.add_argument("--no-transfer", action="store_true", help="no evaluations on the other text")
    parser.add_argument("--folder", type=Path, default=Path("outputs/experiments/darts_rnn"))
    parser.add_argument("--results", type=Path, help="where the record goes (default: FOLDER/results)")
    parser.add_argument("--record-only", action="store_true", help="sums up what there is, runs nothing")
    for name, text in (("evaluation", "the text of the search"), ("transfer", "the other text")):
        parser.add_argument(
            f"--{name}",
            nargs="+",
            default=[],
            metavar="KEY=VALUE",
            help=f"more overrides of every evaluation on {text}",
        )
    parser.add_argument("overrides", nargs="*", help="more overrides of every search: trainer.max_epochs=5")
    arguments = parser.parse_args(words)
    arguments.arms = list(dict.fromkeys(arguments.arms))
    if arguments.jobs < 1:
        parser.error(f"--jobs {arguments.jobs}: must be at least 1")
    return arguments


def plan(arguments: argparse.Namespace) -> list[Chain]:
    """The searches and the draws, seed by seed, so that an early stop leaves whole seeds."""
    return [_chain(arguments, name, seed) for seed in arguments.seeds for name in (*arguments.arms, RANDOM)]


def plan_lstm(arguments: argparse.Namespace) -> list[Chain]:
    """The LSTMs of the seeds whose found cell has been evaluated: what they are equal to is known then."""
    chains = []
    for seed in arguments.seeds:
        chain, equal = _chain(arguments, LSTM, seed), _folder(arguments, FOUND, seed)
        if all(read_summary(equal / text).get("status") == "finished" for text in chain.evaluations):
            # Last, as what the evaluations have in common holds for the other networks.
            sized = {
                text: (*overrides, f"recipe.hidden_size={lstm_size(equal / text)}")
                for text, overrides in chain.evaluations.items()
            }
            chains.append(replace(chain, evaluations=sized))
    return chains


def _folder(arguments: argparse.Namespace, network: str, seed: int) -> Path:
    return arguments.folder.resolve() / network / f"seed{seed}"


def _chain(arguments: argparse.Namespace, network: str, seed: int) -> Chain:
    common = [f"seed={seed}", "hardware.threads=1", "trainer.enable_progress_bar=false"]
    root = [] if arguments.data is None else [f"dataset.root={quoted(arguments.data.resolve())}"]
    folder = _folder(arguments, network, seed)
    search: list[str] = []
    if network != LSTM:
        search = [f"experiment={SEARCH}", *common, *ARMS.get(network, ()), *arguments.overrides]
    if network == RANDOM:
        # How a search learns means nothing to a draw, whose configuration lacks most of it.
        search = [word for word in search if not word.startswith("method")] + ["method=random"]
    genotype = "LSTM" if network == LSTM else quoted(folder / "search")
    given = {SEARCHED: arguments.evaluation, TRANSFER: [*root, *arguments.transfer]}
    evaluations = {
        text: (f"experiment={EVALUATIONS[text]}", *common, *given[text], f"genotype={genotype}")
        for text in _texts(arguments, network)
    }
    return Chain(network, seed, folder, tuple(search), evaluations)


def _texts(arguments: argparse.Namespace, network: str) -> list[str]:
    """What a network is evaluated on."""
    transfers = network in (FOUND, RANDOM, LSTM) and not arguments.no_transfer
    return [SEARCHED, TRANSFER] if transfers else [SEARCHED]


def run_chain(chain: Chain) -> None:
    """Searches and evaluates, each unless it has finished.

    Raises:
        SystemExit: a step failed.
    """
    if chain.search:
        run_step("search", chain.folder / "search", chain.search)
    for text, overrides in chain.evaluations.items():
        run_step("evaluate", chain.folder / text, overrides)


def lstm_size(folder: Path) -> int:
    """The largest hidden size of an LSTM that has no more parameters than an evaluated cell's network.

    The embedding grows with it where it is tied to the decoder, so the two networks differ little in width
    where the vocabulary is large.

    Args:
        folder: run folder of that evaluation.
    """
    config = OmegaConf.load(folder / "config.yaml")
    space = instantiate(config.space)
    params = cost_of(config, space, load(folder, space.family)).params
    lstm = load("LSTM", space.family)

    def price(size: int) -> Cost:
        config.recipe.hidden_size = size
        return cost_of(config, space, lstm)

    return fitting_width(price, params=params)


def _begun(chain: Chain) -> bool:
    return chain.folder.exists()


def record(arguments: argparse.Namespace) -> None:
    """Sums up what there is, searches among it that this command did not name."""
    named = {*arguments.arms, RANDOM, LSTM}
    places = [
        (name, seed)
        for name in NETWORKS
        for seed in arguments.seeds
        if name in named or _folder(arguments, name, seed).exists()
    ]
    runs = [collect(*place, _folder(arguments, *place)) for place in places]
    runs = [run for run in runs if run is not None]
    if not runs:
        raise SystemExit(f"{arguments.folder}: no run has finished an epoch yet")
    results = arguments.results or arguments.folder / "results"
    text = report(runs, sum(len(_texts(arguments, name)) for name, _ in places))
    keep_record(results, "recurrent", runs_csv(runs), text, lambda: draw_all(runs, results))


def main(words: Sequence[str] | None = None) -> None:
    """Searches, draws, evaluates, then sums up; status 1 if a run failed, 130 after Ctrl-C."""
    arguments = parse(words)

    def run() -> list[str]:
        if arguments.record_only:
            return []
        failed = run_all(plan(arguments), run_chain, _begun, arguments.jobs)
        failed += run_all(plan_lstm(arguments), run_chain, _begun, arguments.jobs)
        return failed

    finish(arguments.folder, run, lambda: record(arguments))


if __name__ == "__main__":
    main()
