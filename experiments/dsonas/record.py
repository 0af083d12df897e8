"""What the runs of `experiments.dsonas.reduced` found: one `Found` a search or draw, as CSV and Markdown."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from experiments.pipeline import markdown, read_summary, spread
from experiments.records import as_csv, blank, difference, effort, numbers, origin, told
from nas.engine.run_folder import RunFolder, read_table
from nas.genotype import Genotype, load
from nas.spaces.dso.space import DsoSpace

MODES = ("share", "full")
BASE, RANDOM = "base", "random"
SETTINGS = {
    BASE: "split, pretraining",
    "no_pretrain": "split, no pretraining",
    "joint": "no split, pretraining",
    "plain": "split, pretraining, one gamma for all",
    RANDOM: "random",
}
# Test errors of table 3 (Zhang et al. 2018), in per cent.
PAPER = {
    ("share", BASE): 2.86,
    ("share", "no_pretrain"): 3.07,
    ("share", "joint"): 3.14,
    ("full", BASE): 3.02,
    ("full", "no_pretrain"): 3.26,
    ("full", "joint"): 3.20,
}


@dataclass(frozen=True)
class Found:
    """A search or a draw as far as it has come, and the evaluation of what it found.

    Attributes:
        mode, setting, seed: which one.
        search: its `summary.json`.
        evaluation: that of its evaluation; empty if there is none yet.
        epochs: rows of its `metrics.csv` as numbers; without losses for a draw.
        sparsity: rows of its `sparsity.csv`; empty for a draw.
        alive: share of connections of the network found.
        reductions: how many of its reduction blocks have the 3x3 branch.
    """

    mode: str
    setting: str
    seed: int
    search: Mapping
    evaluation: Mapping
    epochs: Sequence[Mapping[str, float]]
    sparsity: Sequence[Mapping[str, str]]
    alive: float
    reductions: int

    @property
    def finished(self) -> bool:
        """Whether the search has ended."""
        return self.search.get("status") == "finished"

    @property
    def accuracy(self) -> float | None:
        """Test accuracy of the evaluated network in per cent; None before its end."""
        done = self.evaluation.get("status") == "finished"
        return 100 * self.evaluation["test_accuracy"] if done else None


def collect(mode: str, setting: str, seed: int, path: Path) -> Found | None:
    """Reads the run folders `search` and `evaluation` below `path`; None if nothing has been found yet."""
    folder = RunFolder(path / "search")
    rows = numbers(folder / "metrics.csv")
    if not rows or not (folder / "genotype.json").exists():
        return None
    config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))["space"]
    space = DsoSpace(**{key: value for key, value in config.items() if key != "_target_"})
    genotype = load(folder / "genotype.json", space.family)
    return Found(
        mode,
        setting,
        seed,
        read_summary(folder.path),
        read_summary(path / "evaluation"),
        rows,
        read_table(folder / "sparsity.csv"),
        alive_share(space, genotype),
        sum("conv_3x3" in cell.operations for _, cell in genotype.cells),
    )


def alive_share(space: DsoSpace, genotype: Genotype) -> float:
    """The connections of a genotype over those of its space, in [0, 1]: what `metrics.csv` calls `alive`."""
    alive = total = 0
    for name, group in space.groups.items():
        cell = genotype[name]
        feeds = {(edge.source, target) for target, edge in cell.edges}
        feeds |= {(node, len(cell.nodes) + 1) for node in cell.output}
        alive += sum(edge in feeds for edge in group.edges)
        total += len(group.edges)
    return alive / total


def rows_of(runs: Sequence[Found]) -> list[dict[str, object]]:
    """One flat row a run: what was found, how well it does, what it took."""
    rows = []
    for run in runs:
        last = run.epochs[-1]
        rows.append(
            {
                "mode": run.mode,
                "setting": run.setting,
                "seed": run.seed,
                "search": run.search.get("status"),
                "evaluation": run.evaluation.get("status", ""),
                "test_accuracy": blank(run.accuracy),
                "params": run.search.get("params"),
                "macs": run.search.get("macs"),
                "init_channels": run.search.get("init_channels"),
                "alive": round(run.alive, 6),
                "reductions_3x3": run.reductions,
                "search_macs": blank(last.get("macs_alive")),
                "architecture_accuracy": blank(last.get("architecture_accuracy")),
                "epochs": run.search.get("epochs"),
                "steps": run.search.get("steps"),
                "search_seconds": run.search.get("seconds"),
                "evaluation_seconds": blank(run.evaluation.get("seconds")),
                "genotype": run.search.get("genotype"),
            }
        )
    return rows


def runs_csv(runs: Sequence[Found]) -> str:
    """All runs as CSV, one a line."""
    return as_csv(rows_of(runs))


def report(runs: Sequence[Found], planned: int) -> str:
    """The record as Markdown: settings, found against random, table 3's question, every run, and how.

    Args:
        runs: what there is; only finished searches and evaluations are averaged over.
        planned: how many there are to be.
    """
    done = [run for run in runs if run.accuracy is not None]
    parts = [f"{len(done)} of {planned} networks found or drawn, and evaluated."]
    finished = [run for run in runs if run.finished]
    if finished:
        parts += ["Mean +- sample standard deviation over seeds.", markdown(_summaries(finished))]
    against = _against_random(done)
    if against:
        parts += ["## Found against random", _AGAINST, markdown(against)]
    ablation = _ablation(done)
    if ablation:
        parts += ["## Do the split and the pretraining help?", _ABLATION, markdown(ablation)]
    parts += ["## Each run", markdown(_each(runs)), "## How", _provenance(runs)]
    return "\n\n".join(part.strip() for part in parts) + "\n"


_AGAINST = (
    "Test accuracy of networks of the same budget from the same space, trained alike; the difference "
    "with its standard error, from the spread of both."
)
_ABLATION = (
    "Test accuracy less that of `split, pretraining`, in points, with its standard error; beside it what the "
    "paper's table 3 says of the test error at full length, with the sign of an accuracy."
)


def _of(runs: Sequence[Found], mode: str, setting: str) -> list[Found]:
    return [run for run in runs if (run.mode, run.setting) == (mode, setting)]


def _groups(runs: Sequence[Found]) -> list[list[Found]]:
    found = [_of(runs, mode, setting) for mode in MODES for setting in SETTINGS]
    return [group for group in found if group]


def _summaries(runs: Sequence[Found]) -> list[dict[str, str]]:
    rows = []
    for group in _groups(runs):
        minutes = [run.search["seconds"] / 60 for run in group if run.setting != RANDOM]
        rows.append(
            {
                "factors": group[0].mode,
                "setting": SETTINGS[group[0].setting],
                "test accuracy (%)": spread([run.accuracy for run in group if run.accuracy is not None]),
                "parameters (k)": spread([run.search["params"] / 1e3 for run in group]),
                "multiply-adds (M)": spread([run.search["macs"] / 1e6 for run in group]),
                "connections alive (%)": spread([100 * run.alive for run in group]),
                "reductions with 3x3": spread([run.reductions for run in group]),
                "search (minutes)": spread(minutes),
            }
        )
    return rows


def _against_random(runs: Sequence[Found]) -> list[dict[str, str]]:
    rows = []
    for mode in MODES:
        found, drawn = (_accuracies(_of(runs, mode, setting)) for setting in (BASE, RANDOM))
        if found and drawn:
            row = {"factors": mode, "found (%)": spread(found), "random (%)": spread(drawn)}
            rows.append(row | {"difference": difference(found, drawn), "worst found": f"{min(found):.2f}"})
            rows[-1]["best random"] = f"{max(drawn):.2f}"
    return rows


def _ablation(runs: Sequence[Found]) -> list[dict[str, str]]:
    rows = []
    for mode in MODES:
        base = _accuracies(_of(runs, mode, BASE))
        for setting in SETTINGS:
            found = _accuracies(_of(runs, mode, setting))
            if setting in (BASE, RANDOM) or not base or not found:
                continue
            row = {"factors": mode, "setting": SETTINGS[setting], "difference": difference(found, base)}
            known = (mode, setting) in PAPER
            paper = f"{PAPER[mode, BASE] - PAPER[mode, setting]:+.2f}" if known else "no row"
            rows.append(row | {"n": f"{len(found)} and {len(base)}", "paper": paper})
    return rows


def _accuracies(runs: Sequence[Found]) -> list[float]:
    return [run.accuracy for run in runs if run.accuracy is not None]


def _each(runs: Sequence[Found]) -> list[dict[str, object]]:
    rows = []
    for run in runs:
        params, macs = run.search.get("params"), run.search.get("macs")
        accuracy, seconds = run.accuracy, run.search.get("seconds") or 0
        rows.append(
            {
                "factors": run.mode,
                "setting": SETTINGS[run.setting],
                "seed": run.seed,
                "test accuracy (%)": "" if accuracy is None else f"{accuracy:.2f}",
                "parameters (k)": "" if params is None else f"{params / 1e3:.1f}",
                "multiply-adds (M)": "" if macs is None else f"{macs / 1e6:.2f}",
                "width": run.search.get("init_channels", ""),
                "alive (%)": f"{100 * run.alive:.1f}",
                "epochs": run.search.get("epochs", ""),
                "search (minutes)": f"{seconds / 60:.1f}",
            }
        )
    return rows


def _provenance(runs: Sequence[Found]) -> str:
    summaries = [summary for run in runs for summary in (run.search, run.evaluation) if summary]
    trained = [run.search for run in runs if run.setting != RANDOM]
    return "\n".join(
        [
            *origin(summaries),
            f"- data: {told(summaries, 'dataset')}; epochs of searches {told(trained, 'epochs')}, of "
            f"evaluations {told([run.evaluation for run in runs], 'epochs')}",
            f"- budget: parameters {told(trained, 'budget_params')}, "
            f"multiply-adds {told(trained, 'budget_macs')}",
            effort(summaries, (run.seed for run in runs)),
        ]
    )
