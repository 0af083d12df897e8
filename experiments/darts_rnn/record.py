"""What the runs of `experiments.darts_rnn.recurrent` gave: a `Run` a network and seed; CSV and Markdown."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from experiments.pipeline import markdown, read_summary, spread
from experiments.records import as_csv, blank, difference, effort, numbers, origin, several, told
from nas.genotype import Genotype, load

FOUND, RANDOM, LSTM = "found", "random", "lstm"
WARMUP, DRNAS, LONG = "warmup", "drnas", "long"
SEARCHES = {
    FOUND: "cell found",
    WARMUP: "found after warm-up",
    DRNAS: "found by DrNAS",
    LONG: "found in longer search",
}
NETWORKS = SEARCHES | {RANDOM: "random cell", LSTM: "LSTM"}
SEARCHED, TRANSFER = "wikitext_mini", "wikitext2"
TEXTS = {SEARCHED: "wikitext_mini", TRANSFER: "WikiText-2, a part"}
OPERATIONS = ("tanh", "relu", "sigmoid", "identity")
Rows = Sequence[Mapping[str, float]]


@dataclass(frozen=True)
class Evaluation:
    """An evaluation as far as it has come.

    Attributes:
        summary: its `summary.json`.
        epochs: rows of its `metrics.csv` as numbers.
    """

    summary: Mapping
    epochs: Rows

    @property
    def finished(self) -> bool:
        """Whether it has been tested."""
        return self.summary.get("status") == "finished"

    @property
    def valid(self) -> float | None:
        """Validation perplexity of the best epoch, whose weights are tested; None before the first."""
        found = [row["valid_perplexity"] for row in self.epochs if "valid_perplexity" in row]
        return min(found, default=None)

    @property
    def test(self) -> float | None:
        """Test perplexity; None before the end."""
        return self.summary["test_perplexity"] if self.finished else None


@dataclass(frozen=True)
class Run:
    """One network and seed.

    Attributes:
        network, seed: which one.
        search: `summary.json` of its search or draw; empty for an LSTM.
        epochs: rows of the search's `metrics.csv` as numbers; empty but for a search.
        genotype: what it found; None for an LSTM, and before the first epoch.
        evaluations: text -> evaluation, of those that have finished an epoch.
    """

    network: str
    seed: int
    search: Mapping
    epochs: Rows
    genotype: Genotype | None
    evaluations: Mapping[str, Evaluation]


def collect(network: str, seed: int, path: Path) -> Run | None:
    """Reads the run folders `search`, `wikitext2`, `wikitext_mini` below `path`; None if there is nothing."""
    evaluations = {
        text: Evaluation(read_summary(path / text), numbers(path / text / "metrics.csv")) for text in TEXTS
    }
    evaluations = {text: one for text, one in evaluations.items() if one.epochs}
    file = path / "search" / "genotype.json"
    genotype = load(file, "darts_rnn") if file.exists() else None
    if genotype is None and not evaluations:
        return None
    epochs = [row for row in numbers(path / "search" / "metrics.csv") if "weight_loss" in row]
    return Run(network, seed, read_summary(path / "search"), epochs, genotype, evaluations)


def rows_of(runs: Sequence[Run]) -> list[dict[str, object]]:
    """One flat row a network, seed and text."""
    rows = []
    for run in runs:
        for text in TEXTS:
            one = run.evaluations.get(text, Evaluation({}, ()))
            rows.append(
                {
                    "network": run.network,
                    "seed": run.seed,
                    "text": text,
                    "search": run.search.get("status", ""),
                    "evaluation": one.summary.get("status", ""),
                    "valid_perplexity": blank(one.valid),
                    "test_perplexity": blank(one.test),
                    "params": blank(one.summary.get("params")),
                    "epochs": blank(one.summary.get("epochs")),
                    "steps": blank(one.summary.get("steps")),
                    "search_epochs": blank(run.search.get("epochs")),
                    "search_steps": blank(run.search.get("steps")),
                    "search_seconds": blank(run.search.get("seconds")),
                    "evaluation_seconds": blank(one.summary.get("seconds")),
                    "genotype": blank(run.genotype),
                }
            )
    return rows


def runs_csv(runs: Sequence[Run]) -> str:
    """All runs as CSV, one evaluation a line."""
    return as_csv(rows_of(runs))


def report(runs: Sequence[Run], planned: int) -> str:
    """The record as Markdown: both texts, what was found against the others, every run, and how.

    Args:
        runs: what there is; only finished evaluations are averaged over.
        planned: how many evaluations there are to be.
    """
    done = sum(one.finished for run in runs for one in run.evaluations.values())
    parts = [f"{done} of {planned} evaluations finished. Perplexity: lower is better."]
    for text, title in TEXTS.items():
        summaries = _summaries(runs, text)
        if summaries:
            parts += [f"## {title}", _ABOUT[text], markdown(summaries)]
            against = _against(runs, text)
            if against:
                parts += [_AGAINST, markdown(against)]
    parts += ["## Each run", markdown(_each(runs)), "## How", _provenance(runs)]
    return "\n\n".join(part.strip() for part in parts) + "\n"


_ABOUT = {
    SEARCHED: "The text that was searched on. Mean +- standard deviation over seeds; a search is extra.",
    TRANSFER: "The same cells on a text that they were not searched on.",
}
_AGAINST = (
    "Mean test perplexity of a search's cells less that of the others, with its standard error, from the "
    "spread of both: negative where the search is better. `their worst` and `best other` are single runs."
)


def tests(runs: Sequence[Run], network: str, text: str) -> list[float]:
    """Test perplexities of a network's finished evaluations on a text."""
    found = [one.test for one in _of(runs, network, text)]
    return [value for value in found if value is not None]


def _of(runs: Sequence[Run], network: str, text: str) -> list[Evaluation]:
    return [run.evaluations[text] for run in runs if run.network == network and text in run.evaluations]


def _summaries(runs: Sequence[Run], text: str) -> list[dict[str, str]]:
    rows = []
    for network, name in NETWORKS.items():
        done = [one for one in _of(runs, network, text) if one.finished]
        if not done:
            continue
        row = {
            "network": name,
            "valid perplexity": spread([one.valid for one in done if one.valid is not None]),
            "test perplexity": spread([one.test for one in done]),
            "parameters (k)": spread([one.summary["params"] / 1e3 for one in done]),
            "steps": several(one.summary.get("steps") for one in done),
            "training (minutes)": spread([one.summary["seconds"] / 60 for one in done]),
        }
        if text == SEARCHED:
            searched = [run.search for run in runs if run.network == network and run.epochs]
            ended = [one["seconds"] / 60 for one in searched if one.get("status") == "finished"]
            row["search (minutes)"] = spread(ended)
            row["search (steps)"] = several(one.get("steps") for one in searched) if searched else "none"
        rows.append(row)
    return rows


def _against(runs: Sequence[Run], text: str) -> list[dict[str, str]]:
    rows = []
    for search, name in SEARCHES.items():
        found = tests(runs, search, text)
        for network in (FOUND, RANDOM, LSTM):
            other = tests(runs, network, text)
            if found and other and network != search:
                rows.append(
                    {
                        "cells": name,
                        "against": NETWORKS[network],
                        "difference": difference(found, other),
                        "n": f"{len(found)} and {len(other)}",
                        "their worst": f"{max(found):.2f}",
                        "best other": f"{min(other):.2f}",
                    }
                )
    return rows


def _each(runs: Sequence[Run]) -> list[dict[str, object]]:
    rows = []
    for run in runs:
        row: dict[str, object] = {"network": NETWORKS[run.network], "seed": run.seed}
        for text in TEXTS:
            one = run.evaluations.get(text, Evaluation({}, ()))
            row[f"{text} valid"] = "" if one.valid is None else f"{one.valid:.2f}"
            row[f"{text} test"] = "" if one.test is None else f"{one.test:.2f}"
        counts = [run.genotype["recurrent"].count(name) for name in OPERATIONS] if run.genotype else []
        row[" / ".join(OPERATIONS)] = " / ".join(map(str, counts))
        rows.append(row)
    return rows


def _provenance(runs: Sequence[Run]) -> str:
    searches = [run.search for run in runs if run.search]
    evaluations = {
        text: [run.evaluations[text].summary for run in runs if text in run.evaluations] for text in TEXTS
    }
    summaries = [*searches, *(one for found in evaluations.values() for one in found)]
    trained = [run.search for run in runs if run.epochs]
    of_texts = "; ".join(f"{text} {told(found, 'epochs')}" for text, found in evaluations.items() if found)
    return "\n".join(
        [
            *origin(summaries),
            f"- epochs of searches {told(trained, 'epochs')}, steps {told(trained, 'steps')}; "
            f"epochs of evaluations: {of_texts or 'none yet'}",
            effort(summaries, (run.seed for run in runs)),
        ]
    )
