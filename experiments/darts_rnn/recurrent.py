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

from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path

from omegaconf import OmegaConf

from experiments import pipeline
from experiments.darts_rnn import record
from experiments.darts_rnn.figures import draw_all
from experiments.darts_rnn.record import FOUND, LSTM, RANDOM, SEARCHED, TRANSFER
from experiments.pipeline import Chain, Experiment
from experiments.records import read_run
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
    record.WARMUP: ("method.warmup_epochs=3", "trainer.max_epochs=9"),
    record.DRNAS: ("method=drnas_rnn",),
    record.LONG: ("trainer.max_epochs=18",),
}


def parse(words: Sequence[str] | None = None) -> Namespace:
    """The command line; `words` in place of the process's own."""
    parser = pipeline.options(__doc__, "darts_rnn", seeds=(0, 1, 2), data="WikiText-2")
    parser.add_argument("--arms", nargs="+", default=[FOUND], choices=list(ARMS), help="searches (found)")
    parser.add_argument("--no-transfer", action="store_true", help="no evaluations on the other text")
    pipeline.evaluation_option(parser, of="every evaluation on the text of the search")
    pipeline.evaluation_option(parser, "--transfer", "every evaluation on the other text")
    arguments = pipeline.parsed(parser, words, "every search: trainer.max_epochs=5")
    arguments.arms = list(dict.fromkeys(arguments.arms))
    return arguments


def places(arguments: Namespace) -> list[tuple[tuple[str], int]]:
    """What is recorded: searches among it that this command did not name."""
    named = {*arguments.arms, RANDOM, LSTM}
    return [
        ((name,), seed)
        for name in record.NETWORKS
        for seed in arguments.seeds
        if name in named or pipeline.folder_of(arguments, (name,), seed).exists()
    ]


def plan(arguments: Namespace) -> list[Chain]:
    """The searches and the draws, seed by seed, so that an early stop leaves whole seeds."""
    return [_chain(arguments, name, seed) for seed in arguments.seeds for name in (*arguments.arms, RANDOM)]


def plan_lstm(arguments: Namespace) -> list[Chain]:
    """The LSTMs of the seeds whose found cell has been evaluated: what they are equal to is known then."""
    chains = []
    for seed in arguments.seeds:
        equal = pipeline.folder_of(arguments, (FOUND,), seed)
        folders = {text: equal / text for text in _texts(arguments, LSTM)}
        if all(read_run(folder).finished for folder in folders.values()):
            # Last, as what the evaluations have in common holds for the other networks.
            sizes = {text: (f"recipe.hidden_size={lstm_size(path)}",) for text, path in folders.items()}
            chains.append(_chain(arguments, LSTM, seed, sizes))
    return chains


def _chain(
    arguments: Namespace, network: str, seed: int, sizes: Mapping[str, tuple[str, ...]] | None = None
) -> Chain:
    """A search or a draw, or neither, and evaluations on one text or both, with `sizes` of their networks."""
    folder = pipeline.folder_of(arguments, (network,), seed)
    search: list[str] = []
    if network != LSTM:
        common = pipeline.every_run(arguments, seed, data=False)
        search = [f"experiment={SEARCH}", *common, *ARMS.get(network, ()), *arguments.overrides]
    if network == RANDOM:
        search = [*pipeline.for_draw(search), "method=random"]
    genotype = "LSTM" if network == LSTM else quoted(folder / "search")
    given = {SEARCHED: arguments.evaluation, TRANSFER: arguments.transfer}
    evaluations = {}
    for text in _texts(arguments, network):
        common = pipeline.every_run(arguments, seed, data=text == TRANSFER)
        words = (f"experiment={EVALUATIONS[text]}", *common, *given[text], f"genotype={genotype}")
        evaluations[text] = (*words, *(sizes or {}).get(text, ()))
    return Chain((network,), seed, folder, tuple(search), evaluations)


def _texts(arguments: Namespace, network: str) -> list[str]:
    """What a network is evaluated on."""
    transfers = network in (FOUND, RANDOM, LSTM) and not arguments.no_transfer
    return [SEARCHED, TRANSFER] if transfers else [SEARCHED]


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


main = Experiment(
    parse,
    (plan, plan_lstm),
    places,
    record.collect,
    record.rows_of,
    record.report,
    draw_all,
    name="recurrent",
    planned=lambda arguments, place: len(_texts(arguments, *place)),
).main

if __name__ == "__main__":
    main()
