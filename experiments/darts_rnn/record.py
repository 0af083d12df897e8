"""What the runs of `experiments.darts_rnn.recurrent` gave: a `Network` a kind and seed; CSV and Markdown."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from experiments.records import Run, difference, means, provenance, read_run, sections, spread, titled, told
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
MEANS = {"valid perplexity": "valid", "test perplexity": "test", "parameters (k)": "params/1e3"}
OPERATIONS = ("tanh", "relu", "sigmoid", "identity")


class Evaluation(Run):
    """An evaluation as far as it has come."""

    @property
    def valid(self) -> float | None:
        """Validation perplexity of the best epoch, whose weights are tested; None before the first."""
        values = [row["valid_perplexity"] for row in self.rows if "valid_perplexity" in row]
        return min(values, default=None)

    @property
    def test(self) -> float | None:
        """Test perplexity; None before the end."""
        return self.summary["test_perplexity"] if self.finished else None


@dataclass(frozen=True)
class Network:
    """One kind of network and seed.

    Attributes:
        network, seed: which one.
        search: its search or draw; empty for an LSTM.
        genotype: what it found; None for an LSTM, and before the first epoch.
        evaluations: text -> evaluation, empty before its first epoch.
    """

    network: str
    seed: int
    search: Run
    genotype: Genotype | None
    evaluations: Mapping[str, Evaluation]


def collect(network: str, seed: int, path: Path) -> Network | None:
    """Reads the run folders `search`, `wikitext2`, `wikitext_mini` below `path`; None if there is nothing."""
    evaluations = {text: read_run(path / text, Evaluation) for text in TEXTS}
    file = path / "search" / "genotype.json"
    genotype = load(file, "darts_rnn") if file.exists() else None
    evaluations = {text: e if e.rows else Evaluation({}, ()) for text, e in evaluations.items()}
    if genotype is None and not any(e.rows for e in evaluations.values()):
        return None
    return Network(network, seed, read_run(path / "search"), genotype, evaluations)


def rows_of(runs: Sequence[Network]) -> list[dict[str, object]]:
    """One flat row per network, seed and text."""
    return [
        {"network": run.network, "seed": run.seed, "text": text}
        | {"search": run.search.get("status"), "evaluation": evaluation.get("status")}
        | {"valid_perplexity": evaluation.valid, "test_perplexity": evaluation.test}
        | {name: evaluation.get(name) for name in ("params", "epochs", "steps")}
        | {f"search_{name}": run.search.get(name) for name in ("epochs", "steps", "seconds")}
        | {"evaluation_seconds": evaluation.get("seconds"), "genotype": run.genotype}
        for run in runs
        for text, evaluation in run.evaluations.items()
    ]


def report(runs: Sequence[Network], planned: int) -> str:
    """The record as Markdown: both texts, what was found against the others, every run, and how."""
    done = sum(e.finished for run in runs for e in run.evaluations.values())
    parts = [f"{done} of {planned} evaluations finished. Perplexity: lower is better."]
    for text, title in TEXTS.items():
        parts += titled(f"## {title}", _summaries(runs, text), _ABOUT[text])
        parts += titled(_AGAINST, _against(runs, text))
    return sections(*parts, *titled("## Each run", _each(runs)), "## How", _provenance(runs))


_ABOUT = {
    SEARCHED: "The text that was searched on. Mean +- standard deviation over seeds; a search is extra.",
    TRANSFER: "The same cells on a text that they were not searched on.",
}
_AGAINST = (
    "Mean test perplexity of a search's cells less that of the others, with its standard error, from the "
    "spread of both: negative where the search is better. `their worst` and `best other` are single runs."
)


def tests(runs: Sequence[Network], network: str, text: str) -> list[float]:
    """Test perplexities of a network's finished evaluations on a text."""
    return [evaluation.test for evaluation in _of(runs, network, text) if evaluation.finished]


def _of(runs: Sequence[Network], network: str, text: str) -> list[Evaluation]:
    return [run.evaluations[text] for run in runs if run.network == network]


def _summaries(runs: Sequence[Network], text: str) -> list[dict[str, str]]:
    rows = []
    for network, name in NETWORKS.items():
        done = [evaluation for evaluation in _of(runs, network, text) if evaluation.finished]
        if not done:
            continue
        row = {"network": name, **means(done, MEANS), "steps": told(done, "steps")}
        row |= means(done, {"training (minutes)": "seconds/60"})
        if text == SEARCHED:
            searched = [run.search for run in runs if run.network == network and run.search.trained]
            row["search (minutes)"] = spread(run.get("seconds") / 60 for run in searched if run.finished)
            row["search (steps)"] = told(searched, "steps") if searched else "none"
        rows.append(row)
    return rows


def _against(runs: Sequence[Network], text: str) -> list[dict[str, str]]:
    rows = []
    for search, network in itertools.product(SEARCHES, (FOUND, RANDOM, LSTM)):
        searched, other = tests(runs, search, text), tests(runs, network, text)
        if searched and other and network != search:
            row = {"cells": NETWORKS[search], "against": NETWORKS[network]}
            row |= {"difference": difference(searched, other), "n": f"{len(searched)} and {len(other)}"}
            rows.append(row | {"their worst": f"{max(searched):.2f}", "best other": f"{min(other):.2f}"})
    return rows


def _each(runs: Sequence[Network]) -> list[dict[str, object]]:
    rows = []
    for run in runs:
        row: dict[str, object] = {"network": NETWORKS[run.network], "seed": run.seed}
        for text, evaluation in run.evaluations.items():
            row |= {f"{text} valid": evaluation.valid, f"{text} test": evaluation.test}
        counts = [run.genotype["recurrent"].count(name) for name in OPERATIONS] if run.genotype else []
        rows.append(row | {" / ".join(OPERATIONS): " / ".join(map(str, counts))})
    return rows


def _provenance(runs: Sequence[Network]) -> str:
    evaluations = {text: [run.evaluations[text] for run in runs] for text in TEXTS}
    trained = [run.search for run in runs if run.search.trained]
    of_texts = "; ".join(
        f"{text} {told(group, 'epochs')}" for text, group in evaluations.items() if any(e.rows for e in group)
    )
    return provenance(
        [*(run.search for run in runs), *itertools.chain(*evaluations.values())],
        (run.seed for run in runs),
        f"- epochs of searches {told(trained, 'epochs')}, steps {told(trained, 'steps')}; "
        f"epochs of evaluations: {of_texts or 'none yet'}",
    )
