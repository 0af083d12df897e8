"""What the runs of `experiments.darts_rnn.recurrent` gave: a `Run` a network and seed; CSV and Markdown."""

import csv
import io
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from experiments.pipeline import markdown, read_summary, spread
from nas.engine.run_folder import read_table
from nas.genotype import Genotype, load

FOUND, RANDOM, LSTM = "found", "random", "lstm"
NETWORKS = {FOUND: "cell found", RANDOM: "random cell", LSTM: "LSTM"}
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
    evaluations = {text: Evaluation(read_summary(path / text), _numbers(path / text)) for text in TEXTS}
    evaluations = {text: one for text, one in evaluations.items() if one.epochs}
    file = path / "search" / "genotype.json"
    genotype = load(file, "darts_rnn") if file.exists() else None
    if genotype is None and not evaluations:
        return None
    epochs = [row for row in _numbers(path / "search") if "weight_loss" in row]
    return Run(network, seed, read_summary(path / "search"), epochs, genotype, evaluations)


def _numbers(folder: Path) -> list[dict[str, float]]:
    rows = read_table(folder / "metrics.csv")
    return [{name: float(text) for name, text in row.items() if text != ""} for row in rows]


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
                    "valid_perplexity": _blank(one.valid),
                    "test_perplexity": _blank(one.test),
                    "params": _blank(one.summary.get("params")),
                    "epochs": _blank(one.summary.get("epochs")),
                    "steps": _blank(one.summary.get("steps")),
                    "search_epochs": _blank(run.search.get("epochs")),
                    "search_steps": _blank(run.search.get("steps")),
                    "search_seconds": _blank(run.search.get("seconds")),
                    "evaluation_seconds": _blank(one.summary.get("seconds")),
                    "genotype": _blank(run.genotype),
                }
            )
    return rows


def _blank(value: object) -> object:
    return "" if value is None else value


def runs_csv(runs: Sequence[Run]) -> str:
    """All runs as CSV, one evaluation a line."""
    rows = rows_of(runs)
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


def report(runs: Sequence[Run], planned: int) -> str:
    """The record as Markdown: both texts, found against the others, every run, and how.

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
    "Mean test perplexity of the found cells less that of the others, with its standard error, from the "
    "spread of both: negative where the found are better. `worst found` and `best other` are single runs."
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
            "steps": _several(one.summary.get("steps") for one in done),
            "training (minutes)": spread([one.summary["seconds"] / 60 for one in done]),
        }
        if text == SEARCHED:
            searched = [run.search for run in runs if run.network == network and run.epochs]
            ended = [one["seconds"] / 60 for one in searched if one.get("status") == "finished"]
            row["search (minutes)"] = spread(ended)
        rows.append(row)
    return rows


def _several(values) -> str:
    return ", ".join(sorted({str(value) for value in values if value is not None})) or "not recorded"


def _against(runs: Sequence[Run], text: str) -> list[dict[str, str]]:
    found = tests(runs, FOUND, text)
    rows = []
    for network in (RANDOM, LSTM):
        other = tests(runs, network, text)
        if found and other:
            rows.append(
                {
                    "found against": NETWORKS[network],
                    "difference": _difference(found, other),
                    "n": f"{len(found)} and {len(other)}",
                    "worst found": f"{max(found):.2f}",
                    "best other": f"{min(other):.2f}",
                }
            )
    return rows


def _difference(these: Sequence[float], those: Sequence[float]) -> str:
    text = f"{statistics.mean(these) - statistics.mean(those):+.2f}"
    if min(len(these), len(those)) < 2:
        return text
    error = math.sqrt(sum(statistics.variance(values) / len(values) for values in (these, those)))
    return f"{text} (s.e. {error:.2f})"


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

    def told(key: str, chosen: Sequence[Mapping]) -> str:
        return _several(one.get(key) for one in chosen)

    torch_versions = _several((one.get("versions") or {}).get("torch") for one in summaries)
    hours = sum(one.get("seconds") or 0 for one in summaries) / 3600
    trained = [run.search for run in runs if run.epochs]
    of_texts = "; ".join(f"{text} {told('epochs', found)}" for text, found in evaluations.items() if found)
    return "\n".join(
        [
            f"- commit: {told('git_commit', summaries)}",
            f"- device: {told('device', summaries)}; torch {torch_versions}",
            f"- epochs of searches {told('epochs', trained)}, steps {told('steps', trained)}; "
            f"epochs of evaluations: {of_texts or 'none yet'}",
            f"- {hours:.1f} hours of one thread in all; seeds "
            f"{', '.join(map(str, sorted({run.seed for run in runs})))}",
        ]
    )
