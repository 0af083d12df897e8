r"""The step of the multiplier (`method.cost.rate`) that each method gets, chosen on a device not reported.

    python -m experiments.devices.tuning --data <CIFAR-10> --table nb201.csv --costs latencies.csv --jobs 2

Searches with other seeds than those that are reported, within the same shares. Of each method the rate is
taken whose results are within their budgets most often, of equals the one with the least mean regret, then
the smallest. Writes `rates.json`, which `python -m experiments.devices --rates` reads, and a table beside it.
Start it again when it was stopped: it goes on.
"""

import json
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from experiments import pipeline
from experiments.devices.__main__ import DEVICES, METHODS, SHARES, words_of
from experiments.devices.targets import Standing, Tables
from experiments.pipeline import Chain, Experiment
from experiments.records import Run, provenance, read_run, sections, spread, titled
from nas.analysis.benchmark_table import read_csv
from nas.analysis.cost_table import read_costs
from nas.files import write_text

DEVICE = "1080ti_32"
RATES = (0.02, 0.1, 0.5)


@dataclass(frozen=True)
class Tried:
    """A finished search.

    Attributes:
        rate: that was tried.
        method: of the search.
        standing: of what it gives.
        search: its run.
        seed: of the search.
    """

    rate: float
    method: str
    standing: Standing
    search: Run
    seed: int


def parse(words: Sequence[str] | None = None) -> Namespace:
    """The command line; `words` in place of the process's own."""
    parser = pipeline.options(str(__doc__), "devices_tuning", seeds=(100, 101))
    parser.add_argument("--table", type=Path, required=True, help="CSV table that judges: 200 epochs")
    parser.add_argument("--costs", type=Path, nargs="+", required=True, help="CSV tables of costs")
    parser.add_argument("--device", default=DEVICE, help="a column that is not reported")
    parser.add_argument("--rates", type=float, nargs="+", default=list(RATES), help="that are tried")
    parser.add_argument("--shares", type=float, nargs="+", default=list(SHARES), help="of the architectures")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), help="choices of method=")
    arguments = pipeline.parsed(parser, words, "every search: trainer.max_epochs=2")
    if arguments.device in DEVICES:
        parser.error(f"--device {arguments.device}: is reported; choose a column that is not")
    return arguments


def places(arguments: Namespace) -> list[tuple[tuple[str, ...], int]]:
    """(rate, share, method) and seed of every search."""
    return [
        ((f"{rate:g}", f"{share:g}", method), seed)
        for seed in arguments.seeds
        for rate in arguments.rates
        for share in arguments.shares
        for method in arguments.methods
    ]


def plan(arguments: Namespace) -> list[Chain]:
    """The searches, a chain of one each."""
    (tables,) = given(arguments)
    chains = []
    for (rate, share, method), seed in places(arguments):
        words = words_of(arguments, tables, method, seed, (arguments.device, float(share)), float(rate))
        folder = pipeline.folder_of(arguments, (rate, share, method), seed)
        chains.append(Chain((rate, share, method), seed, folder, words, found=""))
    return chains


def given(arguments: Namespace) -> tuple[Tables]:
    """The tables."""
    costs = read_costs(list(arguments.costs), key="--costs")
    return (Tables(read_csv(arguments.table, "--table"), costs),)


def chosen(tried: Sequence[Tried]) -> dict[str, float]:
    """The rate of each method, by the rule above."""

    def worth(method: str, rate: float) -> tuple[float, float, float]:
        found = [one.standing for one in tried if (one.method, one.rate) == (method, rate)]
        regrets = [one.regret for one in found if one.regret is not None]
        within = sum(one.met for one in found) / len(found)
        return -within, sum(regrets) / len(regrets) if regrets else float("inf"), rate

    methods = dict.fromkeys(one.method for one in tried)
    return {
        method: min({one.rate for one in tried if one.method == method}, key=lambda rate: worth(method, rate))
        for method in methods
    }


def rows(tried: Sequence[Tried]) -> list[dict[str, object]]:
    """A row a method and rate."""
    taken, found = chosen(tried), []
    for method, rate in dict.fromkeys((one.method, one.rate) for one in tried):
        here = [one.standing for one in tried if (one.method, one.rate) == (method, rate)]
        found.append({
            "method": f"`{method}`", "rate": f"{rate:g}",
            "within": f"{sum(one.met for one in here)} of {len(here)}",
            "regret": spread(one.regret for one in here), "taken": "yes" if taken[method] == rate else "",
        })  # fmt: skip
    return found


def main(words: Sequence[str] | None = None) -> None:
    """Runs what is missing, and chooses where every search has finished."""
    arguments = parse(words)

    def collect(rate: str, share: str, method: str, seed: int, folder: Path, tables: Tables) -> Tried | None:
        run = read_run(folder)
        if not run.finished:
            return None
        standing = tables.standing(str(run.get("genotype")), arguments.device, float(share))
        return Tried(float(rate), method, standing, run, seed)

    def report(tried: Sequence[Tried], planned: int, *_: object) -> str:
        said = [f"{len(tried)} of {planned} searches are finished.", *titled("### Rates", rows(tried))]
        return sections(*said, provenance([one.search for one in tried], [one.seed for one in tried]))

    def draw(tried: Sequence[Tried], folder: Path, *_: object) -> list[Path]:
        """No picture: the choice, once there is all that it is made of."""
        if len(tried) == len(places(arguments)):
            write_text(folder / "rates.json", json.dumps(chosen(tried), indent=1) + "\n")
        return []

    Experiment(lambda _: arguments, [plan], places, collect, rows, report, draw, "tuning", given=given).main(
        words
    )


if __name__ == "__main__":
    main()
