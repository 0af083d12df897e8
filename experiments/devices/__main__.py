"""Searches within budgets for six unlike devices, beside the true optimum, a proxy, and black-box searches.

    python -m experiments.devices --data <CIFAR-10> --table nb201.csv --search-table nb201_12epochs.csv \
        --costs latencies.csv derived.csv --jobs 2

Each search is `experiment=drnas/nb201_device` on one thread within the latency that 10, 30 and 60 % of all
architectures do not exceed on a device. A device is complete before the next begins. What needs no device,
the search without a budget and those within multiply-adds as the proxy, runs once and is judged on each.
Start it again when it was stopped: it goes on. Writes `devices.csv`, `devices.md` and a picture into
`--results`; with `--keep` the page docs/devices.md is made of them.
"""

import json
import subprocess
import sys
from argparse import Namespace
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from experiments import pipeline
from experiments.devices.record import ANY, PROXY, collect, draw, keep, report, rows_of
from experiments.devices.targets import Tables
from experiments.pipeline import Chain, Experiment
from nas.analysis.benchmark_table import read_csv
from nas.analysis.cost_table import read_costs
from nas.running.config import quoted

# A GPU at two batch sizes, a server's processor, two phones and the Raspberry Pi.
DEVICES = ("raspi4", "titan_rtx_1", "titan_rtx_256", "gold_6226", "samsung_a50", "pixel3")
SHARES = (0.1, 0.3, 0.6)
METHODS = ("drnas_nb201", "dsonas", "darts1")
# Of the multiplier, where no file of rates is named: that of conf/method.
RATE = 0.05


def parse(words: Sequence[str] | None = None) -> Namespace:
    """The command line; `words` in place of the process's own."""
    parser = pipeline.options(str(__doc__), "devices", seeds=(0, 1, 2))
    parser.add_argument("--table", type=Path, required=True, help="CSV table that judges: 200 epochs")
    parser.add_argument("--search-table", type=Path, help="CSV table that black-box searches see: 12 epochs")
    parser.add_argument("--costs", type=Path, nargs="+", required=True, help="CSV tables of costs")
    parser.add_argument("--devices", nargs="+", default=list(DEVICES), help=f"default: {' '.join(DEVICES)}")
    parser.add_argument("--shares", type=float, nargs="+", default=list(SHARES), help="of the architectures")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), help="choices of method=")
    parser.add_argument("--proxy", default="macs_32x32_10cls", help="column of multiply-adds among the costs")
    parser.add_argument("--rates", type=Path, help="rates.json of experiments.devices.tuning")
    parser.add_argument("--blackbox-seeds", type=int, default=500)
    parser.add_argument("--plan", action="store_true", help="what one search of each method takes; runs none")
    parser.add_argument(
        "--keep", action="store_true", help="writes docs/devices.md, its data and its picture"
    )
    return pipeline.parsed(parser, words, "every search: trainer.max_epochs=2", blackbox_seeds=1)


def places(arguments: Namespace) -> list[tuple[tuple[str, ...], int]]:
    """The searches, a device before the next, a seed of all before the next seed."""
    targets = [(device, f"{share:g}") for device in (PROXY, *arguments.devices) for share in arguments.shares]
    return [
        ((*target, method), seed)
        for device in (ANY, PROXY, *arguments.devices)
        for seed in arguments.seeds
        for target in ([(ANY, "1")] if device == ANY else [one for one in targets if one[0] == device])
        for method in arguments.methods
    ]


def plan(device: str, arguments: Namespace) -> list[Chain]:
    """The searches of a device, a chain of one each."""
    tables, rates = given(arguments)[0], rates_of(arguments)
    chains = []
    for place, seed in places(arguments):
        if place[0] != device:
            continue
        column = arguments.proxy if device == PROXY else device
        within = None if device == ANY else (column, float(place[1]))
        words = words_of(arguments, tables, place[2], seed, within, rates[place[2]])
        folder = pipeline.folder_of(arguments, place, seed)
        chains.append(Chain(place, seed, folder, words, found=""))
    return chains


def words_of(
    arguments: Namespace,
    tables: Tables,
    method: str,
    seed: int,
    within: tuple[str, float] | None,
    rate: float,
) -> tuple[str, ...]:
    """The overrides of a search.

    Args:
        arguments: the command line.
        tables: that budgets are of.
        method: of the search.
        seed: of the search.
        within: the column of a budget, and the share of all architectures that do not exceed it; None for no
            budget.
        rate: of the multiplier.
    """
    words = ["experiment=drnas/nb201_device", f"method={method}", *pipeline.every_run(arguments, seed)]
    words.append(f"tabular.file={quoted(arguments.table.resolve())}")
    if within is not None:
        costs = ",".join(quoted(path.resolve()) for path in arguments.costs)
        words += [
            f"tabular.costs=[{costs}]",
            f"method.cost.of={within[0]}",
            f"method.cost.budget={tables.budget(*within)!r}",
            f"method.cost.rate={rate:g}",
        ]
    return (*words, *arguments.overrides)


def rates_of(arguments: Namespace) -> dict[str, float]:
    """The step of each method's multiplier, as `experiments.devices.tuning` has chosen it.

    Raises:
        SystemExit: there is no such file, it is no JSON object, or it lacks a method.
    """
    if arguments.rates is None:
        return dict.fromkeys(arguments.methods, RATE)
    if not arguments.rates.is_file():
        raise SystemExit(
            f"--rates {arguments.rates}: no such file; python -m experiments.devices.tuning makes it"
        )
    try:
        found = json.loads(arguments.rates.read_text(encoding="utf-8"))
    except ValueError as error:  # of the text's encoding too
        raise SystemExit(f"--rates {arguments.rates}: is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise SystemExit(f"--rates {arguments.rates}: must be a JSON object, a rate for each method")
    lacking = [one for one in arguments.methods if not isinstance(found.get(one), float)]
    if lacking:
        raise SystemExit(f"--rates {arguments.rates}: has no rate of {', '.join(lacking)}")
    return found


def show_plan(arguments: Namespace) -> None:
    """Prints the plan of one search of each method, and how many there are.

    Raises:
        SystemExit: a plan cannot be made.
    """
    for method in arguments.methods:
        (chain, *_) = [one for one in plan(arguments.devices[0], arguments) if one.place[2] == method]
        words = [sys.executable, "-m", "nas.search", *chain.search, "plan=true"]
        if subprocess.run(words, check=False).returncode:
            raise SystemExit(f"--plan: nas.search of method={method} has no plan")
    counts = Counter(place[2] for place, _ in places(arguments))
    print("searches: " + ", ".join(f"{count} of {method}" for method, count in counts.items()))


def given(arguments: Namespace) -> tuple[Tables, Namespace]:
    """The tables, and the command line that the record is made for."""
    rewards = None if arguments.search_table is None else read_csv(arguments.search_table, "--search-table")
    costs = read_costs(list(arguments.costs), key="--costs")
    return Tables(read_csv(arguments.table, "--table"), costs, rewards), arguments


def main(words: Sequence[str] | None = None) -> None:
    """Runs what is missing and writes the record."""
    arguments = parse(words)
    if arguments.plan:
        show_plan(arguments)
        return
    plans = [partial(plan, device) for device in (ANY, PROXY, *arguments.devices)]
    experiment = Experiment(
        lambda _: arguments, plans, places, collect, rows_of, report, draw, "devices", given=given
    )
    experiment.main(words)
    if arguments.keep:
        keep(arguments)


if __name__ == "__main__":
    main()
