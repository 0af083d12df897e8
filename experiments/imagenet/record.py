"""What the runs of `experiments.imagenet.reduced` found: one `Found` a cell, as CSV and as Markdown."""

import csv
import io
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from experiments.pipeline import markdown, read_summary, spread
from nas.engine.rows import count_skips
from nas.engine.run_folder import RunFolder, read_table
from nas.genotype import Genotype, load

FOUND, RANDOM, PUBLISHED, ENLARGED = "found", "random", "published", "enlarged"
KINDS = {
    FOUND: "found by the search",
    RANDOM: "random",
    PUBLISHED: "DrNAS's published cell",
    ENLARGED: "DrNAS's published cell, 224x224, auxiliary head",
}
Rows = Sequence[Mapping[str, float]]


@dataclass(frozen=True)
class Found:
    """A cell as far as its runs have come.

    Attributes:
        kind: one of `KINDS`.
        seed: of its runs.
        search: `summary.json` of its search or draw; empty for a published cell.
        evaluation: that of its evaluation; empty if there is none yet.
        search_epochs: rows of the search's `metrics.csv`; empty unless it trained.
        epochs: rows of the evaluation's `metrics.csv`.
        genotype: the cell.
    """

    kind: str
    seed: int
    search: Mapping
    evaluation: Mapping
    search_epochs: Rows
    epochs: Rows
    genotype: Genotype

    @property
    def finished(self) -> bool:
        """Whether its network has been tested."""
        return self.evaluation.get("status") == "finished"

    @property
    def accuracy(self) -> float | None:
        """Test accuracy in per cent; None before the evaluation's end."""
        return 100 * self.evaluation["test_accuracy"] if self.finished else None


def collect(kind: str, seed: int, path: Path) -> Found | None:
    """Reads the run folders `search` and `evaluation` below `path`; None if there is no cell yet."""
    search, evaluation = RunFolder(path / "search"), RunFolder(path / "evaluation")
    cells = [folder / "genotype.json" for folder in (evaluation, search)]
    cell = next((cell for cell in cells if cell.exists()), None)
    if cell is None:
        return None
    rows = _numbers(search / "metrics.csv")
    return Found(
        kind,
        seed,
        read_summary(search.path),
        read_summary(evaluation.path),
        rows if any("weight_loss" in row for row in rows) else [],
        _numbers(evaluation / "metrics.csv"),
        load(cell, "darts"),
    )


def _numbers(path: Path) -> Rows:
    return [{k: float(text) for k, text in row.items() if text != ""} for row in read_table(path)]


def rows_of(runs: Sequence[Found]) -> list[dict[str, object]]:
    """One flat row a cell: how well its network does, what it costs, what the runs took."""
    rows = []
    for run in runs:
        last = run.search_epochs[-1] if run.search_epochs else {}
        row = {
            "kind": run.kind,
            "seed": run.seed,
            "search": run.search.get("status"),
            "evaluation": run.evaluation.get("status"),
            "test_accuracy": run.accuracy,
            "valid_accuracy": _per_cent(run.evaluation.get("valid_accuracy")),
            "train_accuracy": _per_cent(run.evaluation.get("train_accuracy")),
            "params": run.evaluation.get("params"),
            "macs": run.evaluation.get("macs"),
            "num_skip": count_skips(run.genotype),
            "search_epochs": run.search.get("epochs"),
            "search_architecture_accuracy": _per_cent(last.get("architecture_accuracy")),
            "search_seconds": run.search.get("seconds"),
            "epochs": run.evaluation.get("epochs"),
            "seconds": run.evaluation.get("seconds"),
            "genotype": str(run.genotype),
        }
        rows.append({name: "" if value is None else value for name, value in row.items()})
    return rows


def _per_cent(share: float | None) -> float | None:
    return None if share is None else 100 * share


def runs_csv(runs: Sequence[Found]) -> str:
    """All cells as CSV, one a line."""
    rows = rows_of(runs)
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


def report(runs: Sequence[Found], planned: int) -> str:
    """The record as Markdown: kinds, found against random, every cell, and how.

    Args:
        runs: what there is; only finished evaluations are averaged over.
        planned: how many cells there are to be.
    """
    done = [run for run in runs if run.finished]
    parts = [f"{len(done)} of {planned} cells evaluated."]
    if done:
        parts += ["Mean +- sample standard deviation over seeds.", markdown(_summaries(done))]
    found, drawn = ([run.accuracy for run in done if run.kind == kind] for kind in (FOUND, RANDOM))
    if found and drawn:
        parts += ["## Found against random", _against(found, drawn)]
    parts += ["## Each cell", markdown(_each(runs)), "## How", _provenance(runs)]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _summaries(runs: Sequence[Found]) -> list[dict[str, str]]:
    rows = []
    for kind, words in KINDS.items():
        group = [run for run in runs if run.kind == kind]
        if not group:
            continue
        searches = [run.search["seconds"] / 60 for run in group if run.search_epochs]
        rows.append(
            {
                "cell": words,
                "test accuracy (%)": spread([run.accuracy for run in group]),
                "parameters (k)": spread([run.evaluation["params"] / 1e3 for run in group]),
                "multiply-adds (M)": spread([run.evaluation["macs"] / 1e6 for run in group]),
                "search (minutes)": spread(searches),
                "evaluation (minutes)": spread([run.evaluation["seconds"] / 60 for run in group]),
            }
        )
    return rows


def _against(found: Sequence[float], drawn: Sequence[float]) -> str:
    difference = f"{statistics.mean(found) - statistics.mean(drawn):+.2f} points"
    if min(len(found), len(drawn)) > 1:
        error = math.sqrt(sum(statistics.variance(values) / len(values) for values in (found, drawn)))
        difference += f" (standard error {error:.2f}, from the spread of both)"
    return (
        f"Test accuracy of cells found less that of random ones: {difference}; n = {len(found)} and "
        f"{len(drawn)}. Worst found {min(found):.2f} %, best random {max(drawn):.2f} %. The cells differ in "
        "size, and a difference of this experiment says nothing about ImageNet."
    )


def _each(runs: Sequence[Found]) -> list[dict[str, object]]:
    rows = []
    for run, flat in zip(runs, rows_of(runs), strict=True):
        row = {"cell": KINDS[run.kind], "seed": run.seed}
        row |= {"evaluation": run.evaluation.get("status", "not begun")}
        for column, title, scale in (
            ("test_accuracy", "test accuracy (%)", 1),
            ("valid_accuracy", "validation (%)", 1),
            ("train_accuracy", "training (%)", 1),
            ("params", "parameters (k)", 1e-3),
            ("macs", "multiply-adds (M)", 1e-6),
        ):
            row[title] = "" if flat[column] == "" else f"{flat[column] * scale:.2f}"
        row |= {"skip connections": flat["num_skip"], "epochs": flat["epochs"]}
        rows.append(row)
    return rows


def _provenance(runs: Sequence[Found]) -> str:
    summaries = [summary for run in runs for summary in (run.search, run.evaluation) if summary]

    def told(key: str, summaries: Sequence[Mapping] = tuple(summaries)) -> str:
        values = {str(one[key]) for one in summaries if one.get(key) is not None}
        return ", ".join(sorted(values)) or "not recorded"

    torch_versions = {str((one.get("versions") or {}).get("torch")) for one in summaries}
    hours = sum(one.get("seconds") or 0 for one in summaries) / 3600
    trained = [run.search for run in runs if run.search_epochs]
    evaluated = [run.evaluation for run in runs if run.evaluation]
    return "\n".join(
        [
            f"- commit: {told('git_commit')}",
            f"- device: {told('device')}; torch {', '.join(sorted(torch_versions))}",
            f"- data: {told('dataset')}; split of the searches {told('split_hash', trained)}, images of the "
            f"evaluations {told('split_hash', evaluated)}",
            f"- epochs of searches {told('epochs', trained)}, of evaluations {told('epochs', evaluated)}",
            f"- {hours:.1f} hours of one thread in all; seeds "
            f"{', '.join(map(str, sorted({run.seed for run in runs})))}",
        ]
    )
