"""What stands beside the searches: all cells of the table exactly, and black-box searches on it.

Kept as `reference.json`, so that the page is made without the table.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.evidence.searches import FIGURE
from nas import algorithms
from nas.algorithms.algorithm import Draws
from nas.analysis.benchmark_table import LONGEST, BenchmarkTable, read_csv
from nas.analysis.blackbox import Budget, column_of, mean_std, search
from nas.analysis.statistics import expected_best
from nas.files import write_text
from nas.reading.files import read_bytes
from nas.reading.json_text import read_object
from nas.reading.yaml_text import read_mapping
from nas.running.declared import CONF
from nas.spaces.nasbench201.space import NasBench201Space

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
# How many cells are seen: one, as a search gives; as many as a row has seeds; and more.
COUNTS = (1, 4, 8, 25, 100)
REWARD = "cifar10_val"
SEEDS = 500
ALGORITHMS = ("random", "evolution", "local_search", "reinforce")


def make_reference(table_file: Path, search_file: Path | None, seeds: int = SEEDS) -> dict[str, Any]:
    """The distribution of a table's figure, and what black-box searches reach with so many queries.

    Args:
        table_file: CSV of the figures that count, `cifar10_test`.
        search_file: CSV of what black-box searches see, `cifar10_val`; None for no such searches.
        seeds: of each algorithm.

    Raises:
        ConfigError: a table cannot be read, or lacks an architecture.
    """
    table = read_csv(table_file, "--table")
    origin = origin_of(table_file, search_file)
    architectures = NasBench201Space("nasbench201").architectures()
    names = [str(architectures.genotype(code)) for code in architectures.all()]
    known = [value for value in table.column(FIGURE, names) if value is not None]
    values_N = np.array(known)
    result: dict[str, Any] = {
        "figure": FIGURE,
        **origin,
        "n": len(known),
        "mean": round(float(values_N.mean()), 4),
        "sd": round(float(values_N.std(ddof=1)), 4),
        "best": float(values_N.max()),
        "quantiles": {f"{q:g}": round(float(np.quantile(values_N, q)), 4) for q in QUANTILES},
        "expected_best": {str(k): round(expected_best(known, k, replacement=True), 4) for k in COUNTS},
    }
    if search_file is not None:
        result["blackbox"] = _blackbox(
            table, read_csv(search_file, "--search-table"), architectures, names, seeds
        )
        result |= {"reward": REWARD, "seeds": seeds}
    return result


def _blackbox(
    table: BenchmarkTable, rewards: BenchmarkTable, architectures: Any, names: Sequence[str], seeds: int
) -> dict[str, dict[str, list[float]]]:
    """Algorithm -> queries -> mean and deviation of the figure of what the seeds would return by then."""
    rewards_N = column_of(rewards, REWARD, "--search-table", names, rewards.accuracies)
    final_N = column_of(table, FIGURE, "--table", names, table.accuracies)
    result: dict[str, dict[str, list[float]]] = {}
    for name in ALGORITHMS:
        budget = Budget(queries=max(COUNTS))
        done = search(algorithm(name), architectures, Draws(range(seeds)), budget, rewards_N)
        incumbents_QS = done.incumbents()
        result[name] = {}
        for count in COUNTS:
            index_S = done.index_QS[incumbents_QS[count - 1], np.arange(seeds)]
            mean, spread = mean_std(final_N[index_S])
            result[name][str(count)] = [round(mean, 4), round(spread or 0.0, 4)]
    return result


def algorithm(name: str) -> algorithms.Algorithm:
    """A black-box algorithm with the numbers that nas.blackbox has by default."""
    given = read_mapping(CONF / "algorithm" / f"{name}.yaml")
    kind = getattr(algorithms, given.pop("_target_").rpartition(".")[2])
    given.pop("name")
    return kind(**given)


def origin_of(table_file: Path, search_file: Path | None) -> dict[str, str]:
    """Which tables they are, by name and content.

    Raises:
        ConfigError: one cannot be read.
    """
    origin = {}
    for key, path in (("table", table_file), ("search_table", search_file)):
        if path is not None:
            content = read_bytes(path, at_most=LONGEST)
            origin |= {key: path.name, f"{key}_sha256": hashlib.sha256(content).hexdigest()[:16]}
    return origin


def same_tables(kept: dict[str, Any], table_file: Path, search_file: Path | None) -> bool:
    """Whether what is kept was made of these tables."""
    origin = origin_of(table_file, search_file)
    return origin == {key: kept[key] for key in origin if key in kept}


def read_reference(folder: Path) -> dict[str, Any]:
    """What is kept in a folder; empty where nothing is."""
    path = folder / "reference.json"
    return read_object(path) if path.exists() else {}


def write_reference(folder: Path, reference: dict[str, Any]) -> None:
    """Keeps it in a folder."""
    write_text(folder / "reference.json", json.dumps(reference, indent=1) + "\n", parents=True)
