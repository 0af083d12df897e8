"""What `experiments.devices` found: rows, tables, a picture, and the page that is made of them."""

from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from experiments.devices.targets import QUERIES, Standing, Tables
from experiments.drawing import picture
from experiments.evidence.reference import ALGORITHMS, algorithm
from experiments.records import Run, between, provenance, read_run, sections, spread, titled
from nas.analysis.plots.names import FAINT, LINE_COLOURS
from nas.files import write_bytes, write_text

HERE = Path(__file__).resolve().parent
PAGE = HERE.parents[1] / "docs" / "devices.md"
BEGIN, END = "<!-- python -m experiments.devices --keep -->", "<!-- end of the record -->"
ANY, PROXY = "any", "macs"


@dataclass(frozen=True)
class Found:
    """A finished search.

    Attributes:
        device: the column that it was held to; `any` for no budget, `macs` for the proxy.
        share: of the architectures that are within its budget.
        method: of the search.
        seed: of the search.
        search: its run.
    """

    device: str
    share: float
    method: str
    seed: int
    search: Run

    @property
    def arch(self) -> str:
        """The architecture that it gives."""
        return str(self.search.get("genotype"))


def collect(device: str, share: str, method: str, seed: int, folder: Path, *_) -> Found | None:
    """A search that has finished; None if it has not."""
    run = read_run(folder)
    return Found(device, float(share), method, seed, run) if run.finished else None


def rows_of(runs: Sequence[Found]) -> list[dict[str, object]]:
    """A row a search, with what its own command said of the budget."""
    names = (
        "cost_of",
        "cost",
        "cost_budget",
        "budget_met",
        "regret_constrained",
        "front_distance",
        "seconds",
    )
    return [
        {"device": run.device, "share": f"{run.share:g}", "method": run.method, "seed": run.seed}
        | {name: run.search.get(name) for name in names}
        | {"genotype": run.arch}
        for run in runs
    ]


def report(runs: Sequence[Found], planned: int, tables: Tables, arguments: Namespace) -> str:
    """Tables device by device."""
    shares = list(arguments.shares)
    parts = [f"{len(runs)} of {planned} searches are finished."]
    for device in arguments.devices:
        rows = [
            _row(
                f"`{method}`", [_of(runs, device, method, share) for share in shares], tables, device, shares
            )
            for method in arguments.methods
        ]
        for method in arguments.methods:
            proxy = [_of(runs, PROXY, method, share) for share in shares]
            free = [_of(runs, ANY, method, 1.0)] * len(shares)
            rows.append(_row(f"`{method}`, multiply-adds as the proxy", proxy, tables, device, shares))
            rows.append(_row(f"`{method}`, no budget", free, tables, device, shares))
        if arguments.search_table is not None:
            rows += [_blackbox_row(name, tables, device, arguments) for name in ALGORITHMS]
        parts += titled(f"### {device}", rows, _about(tables, device, shares))
    own = [run.search for run in runs]
    return sections(*parts, provenance(own, [run.seed for run in runs]))


def _about(tables: Tables, device: str, shares: Sequence[float]) -> str:
    front = tables.front(device)
    budgets = [(share, front.quantile(share)) for share in shares]
    listed = "; ".join(
        f"{share:.0%}: {budget:g} (best {front.best(budget):.2f})" for share, budget in budgets
    )
    return (
        f"Budgets, the cost that so many architectures do not exceed, and the best accuracy within: {listed}."
    )


def _of(runs: Sequence[Found], device: str, method: str, share: float) -> list[Found]:
    return [r for r in runs if (r.device, r.method) == (device, method) and abs(r.share - share) < 1e-9]


def _row(
    title: str, groups: Sequence[Sequence[Found]], tables: Tables, device: str, shares: Sequence[float]
) -> dict[str, object]:
    row: dict[str, object] = {"search": title}
    for share, group in zip(shares, groups, strict=True):
        found = [tables.standing(run.arch, device, share) for run in group]
        row |= {f"within, {share:.0%}": _met(found), f"regret, {share:.0%}": _regrets(found)}
    return row


def _met(found: Sequence[Standing]) -> str:
    return f"{sum(one.met for one in found)} of {len(found)}" if found else "not run"


def _regrets(found: Sequence[Standing]) -> str:
    return spread(one.regret for one in found) if found else ""


def _blackbox_row(name: str, tables: Tables, device: str, arguments: Namespace) -> dict[str, object]:
    row: dict[str, object] = {"search": f"`{name}`, {QUERIES} queries"}
    for share in arguments.shares:
        regrets_S = tables.blackbox(algorithm(name), device, share, arguments.blackbox_seeds)
        known_S = regrets_S[~np.isnan(regrets_S)]
        row |= {f"within, {share:.0%}": f"{len(known_S)} of {len(regrets_S)}"}
        row |= {f"regret, {share:.0%}": spread(known_S.tolist())}
    return row


def draw(runs: Sequence[Found], folder: Path, tables: Tables, arguments: Namespace) -> list[Path]:
    """A panel a device: the exact front, the budgets, and what was found within them."""
    path = folder / "devices.png"
    devices = [one for one in arguments.devices if any(run.device == one for run in runs)]
    if not devices:
        return []
    columns = min(3, len(devices))
    with picture(path, 420 * columns, 360 * -(-len(devices) // columns)) as figure:
        axes = figure.subplots(-(-len(devices) // columns), columns, squeeze=False).flatten()
        for ax in axes[len(devices) :]:
            ax.remove()
        for ax, device in zip(axes, devices, strict=False):
            front = tables.front(device)
            ax.step(*zip(*front.points(), strict=True), where="post", color=FAINT, label="exact front")
            for share in arguments.shares:
                ax.axvline(front.quantile(share), color=FAINT, lw=0.8, ls=":")
            for place, method in enumerate(arguments.methods):
                found = [
                    tables.standing(run.arch, device, run.share)
                    for run in runs
                    if (run.device, run.method) == (device, method)
                ]
                known = [(one.cost, one.accuracy) for one in found if one.cost is not None]
                if known:
                    ax.scatter(*zip(*known, strict=True), s=30, lw=0, color=LINE_COLOURS[place], label=method)
            ax.set_title(device, loc="left", fontsize=11)
            ax.set(xlabel="cost", ylabel="test accuracy (%)")
            ax.set_ylim(bottom=80)
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return [path]


def keep(arguments: Namespace) -> None:
    """Puts the record into the page, its rows beside this file, and the picture beside the page."""
    results = arguments.results or arguments.folder / "results"
    before, _, behind = between(PAGE.read_text(encoding="utf-8"), BEGIN, END)
    text = (results / "devices.md").read_text(encoding="utf-8")
    write_text(PAGE, f"{before}\n\n{text}\n{behind}")
    write_text(HERE / "results" / "devices.csv", (results / "devices.csv").read_text(encoding="utf-8"), True)
    drawn = results / "devices.png"
    if drawn.exists():
        write_bytes(PAGE.parent / "pictures" / "devices.png", drawn.read_bytes())
