"""What the runs of `experiments.dsonas.reduced` found: one `Network` a search or draw."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from experiments.records import (
    Found,
    columns,
    difference,
    means,
    provenance,
    read_run,
    sections,
    spread,
    table,
    titled,
    told,
)
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
RECORD = columns("""
    mode setting seed search=search.status evaluation=evaluation.status test_accuracy=accuracy
    search.params search.macs search.init_channels alive=share reductions_3x3=reductions
    search_macs=search.last.macs_alive search.last.architecture_accuracy search.epochs search.steps
    search_seconds=search.seconds evaluation_seconds=evaluation.seconds search.genotype
""")
NAMES = {"factors": "mode", "setting": "name"}
SHOWN = NAMES | {
    "seed": "seed",
    "test accuracy (%)": "accuracy",
    "parameters (k)": "search.params/1e3:.1f",
    "multiply-adds (M)": "search.macs/1e6",
    "width": "search.init_channels",
    "alive (%)": "alive*100:.1f",
    "epochs": "search.epochs",
    "search (minutes)": "search.seconds/60:.1f",
}
MEANS = {
    "test accuracy (%)": "accuracy",
    "parameters (k)": "search.params/1e3",
    "multiply-adds (M)": "search.macs/1e6",
    "connections alive (%)": "alive*100",
    "reductions with 3x3": "reductions",
    "search (minutes)": "minutes",
}


@dataclass(frozen=True)
class Network(Found):
    """A search or a draw as far as it has come, and the evaluation of what it found.

    Attributes:
        sparsity: rows of its `sparsity.csv`; empty for a draw.
        alive: share of connections of the network found.
        reductions: how many of its reduction blocks have the 3x3 branch.
    """

    sparsity: Sequence[Mapping[str, str]]
    alive: float
    reductions: int

    @property
    def mode(self) -> str:
        """One of `MODES`."""
        return self.place[0]

    @property
    def setting(self) -> str:
        """One of `SETTINGS`."""
        return self.place[1]

    @property
    def share(self) -> float:
        """The share of connections as the table gives it."""
        return round(self.alive, 6)

    @property
    def name(self) -> str:
        """The setting in words."""
        return SETTINGS[self.setting]


def collect(mode: str, setting: str, seed: int, path: Path) -> Network | None:
    """Reads the run folders `search` and `evaluation` below `path`; None if nothing has been found yet."""
    folder, search = RunFolder(path / "search"), read_run(path / "search")
    if not search.rows or not (folder / "genotype.json").exists():
        return None
    config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))["space"]
    space = DsoSpace(**{key: value for key, value in config.items() if key != "_target_"})
    genotype = load(folder / "genotype.json", space.family)
    return Network(
        (mode, setting),
        seed,
        search,
        read_run(path / "evaluation"),
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


def rows_of(runs: Sequence[Network]) -> list[dict[str, object]]:
    """One flat row per run: what was found, how well it does, what it took."""
    return table(runs, RECORD)


def report(runs: Sequence[Network], planned: int) -> str:
    """The record as Markdown: settings, found against random, table 3's question, every run, and how."""
    done = [run for run in runs if run.accuracy is not None]
    finished = [run for run in runs if run.search.finished]
    groups = [_of(finished, mode, setting) for mode in MODES for setting in SETTINGS]
    summaries = [table(group, NAMES)[0] | means(group, MEANS) for group in groups if group]
    return sections(
        f"{len(done)} of {planned} networks found or drawn, and evaluated.",
        *titled("Mean +- sample standard deviation over seeds.", summaries),
        *titled("## Found against random", _against_random(done), _AGAINST),
        *titled("## Do the split and the pretraining help?", _ablation(done), _ABLATION),
        *titled("## Each run", table(runs, SHOWN)),
        *("## How", _provenance(runs)),
    )


_AGAINST = (
    "Test accuracy of networks of the same budget from the same space, trained alike; the difference "
    "with its standard error, from the spread of both."
)
_ABLATION = (
    "Test accuracy less that of `split, pretraining`, in points, with its standard error; beside it what the "
    "paper's table 3 says of the test error at full length, with the sign of an accuracy."
)


def _of(runs: Sequence[Network], mode: str, setting: str) -> list[Network]:
    return [run for run in runs if run.place == (mode, setting)]


def _accuracies(runs: Sequence[Network], mode: str, setting: str) -> list[float]:
    return [run.accuracy for run in _of(runs, mode, setting) if run.accuracy is not None]


def _against_random(runs: Sequence[Network]) -> list[dict[str, str]]:
    rows = []
    for mode in MODES:
        searched, drawn = (_accuracies(runs, mode, setting) for setting in (BASE, RANDOM))
        if searched and drawn:
            row = {"factors": mode, "found (%)": spread(searched), "random (%)": spread(drawn)}
            row |= {"difference": difference(searched, drawn)}
            rows.append(row | {"worst found": f"{min(searched):.2f}", "best random": f"{max(drawn):.2f}"})
    return rows


def _ablation(runs: Sequence[Network]) -> list[dict[str, str]]:
    rows = []
    for mode in MODES:
        base = _accuracies(runs, mode, BASE)
        for setting in SETTINGS:
            values = _accuracies(runs, mode, setting)
            if setting in (BASE, RANDOM) or not base or not values:
                continue
            row = {"factors": mode, "setting": SETTINGS[setting], "difference": difference(values, base)}
            known = (mode, setting) in PAPER
            paper = f"{PAPER[mode, BASE] - PAPER[mode, setting]:+.2f}" if known else "no row"
            rows.append(row | {"n": f"{len(values)} and {len(base)}", "paper": paper})
    return rows


def _provenance(runs: Sequence[Network]) -> str:
    everything = [item for run in runs for item in (run.search, run.evaluation)]
    trained = [run.search for run in runs if run.setting != RANDOM]
    return provenance(
        everything,
        (run.seed for run in runs),
        f"- data: {told(everything, 'dataset')}; epochs of searches {told(trained, 'epochs')}, of "
        f"evaluations {told([run.evaluation for run in runs], 'epochs')}",
        f"- budget: parameters {told(trained, 'budget_params')}, "
        f"multiply-adds {told(trained, 'budget_macs')}",
    )
