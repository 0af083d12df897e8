"""The memory of DrNAS's searches: table 1 of the paper (K = 1, 2, 4, 8, in stages) and section 4.1's K = 6.

    python -m experiments.drnas.memory --results experiments/drnas/results

No data is read and no GPU needed: the estimate is that of `plan=true`, made of the very steps of the search
on a few images, for the card of `--hardware`, without a plan's limit of half a minute. The accuracies of the
table come from searches: `sweep=partial`. Writes `memory.csv`, `memory.md` and `memory.png`.
"""

import contextlib
from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from experiments.drawing import legend_of, panels
from experiments.methods.matrix import configurations
from experiments.records import as_csv, keep_record, markdown, sections
from nas.analysis.plots.names import INK, LINE_COLOURS
from nas.commands.prices import method_of
from nas.domains.networks import source_of, space_of
from nas.engine.provenance import git_commit
from nas.measure.memory_fit import GIB, search_needs
from nas.running.config import plain
from nas.running.parts import compose

DATASETS = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100"}
# Table 1: K -> MB on CIFAR-10 and on CIFAR-100.
PUBLISHED = {1: (2437, 2439), 2: (1583, 1583), 4: (1159, 1161), 8: (949, 949)}
OURS = 949
GTX_1080_TI = "section 4.1, K = 6"
MB = 1e6

HEAD = """# The memory of DrNAS's searches

Made by `python -m experiments.drnas.memory`. The paper's megabytes are those of its GPU. Beside them are
**estimates, not measurements**: of `hardware={hardware}` with its {limit:.1f} GiB, at the batch of the
search, in MB of 10^6 bytes. *Step*: tensors that are alive at the peak of a step. *Device*: these with a
margin for the allocator, the libraries (an assumed constant) and the images that rest on the card."""
STAGED = """"Ours" has the accuracies of K = 1 with the memory of K = 8; the paper does not say which stages
those were. The authors' code begins with K = 4, `..._paper` with K = 8 (docs/rows.md). Section 4.1 sets K = 6
"to fit the super-network into a single GTX 1080Ti GPU with 11GB memory" and says that the second stage, wider
and with half the candidates, maintains "a consistent memory consumption"."""
END = """What K saves is seen in the difference to K = 1: on {dataset} the paper's K = 8 takes {published:,}
MB less, the estimate {estimated:,} MB."""


@dataclass(frozen=True)
class Case:
    """A search whose memory is asked for.

    Attributes:
        row: as the paper's table calls it.
        dataset: which images.
        experiment: of conf/experiment.
        partial: K where the search has one stage; None for an experiment in stages.
        published: MB in the paper; None where it says none.
    """

    row: str
    dataset: str
    experiment: str
    partial: int | None
    published: int | None


def cases() -> list[Case]:
    """Table 1, row by row, and the search of section 4.1."""
    found = []
    for place, (name, title) in enumerate(DATASETS.items()):
        experiment = f"drnas/nb201_{name}"
        found += [Case(f"K = {k}", title, experiment, k, mb[place]) for k, mb in PUBLISHED.items()]
        stages = {"4 -> 2": "progressive", "8 -> 4": "paper"}
        found += [Case(f"Ours, K {k}", title, f"{experiment}_{end}", None, OURS) for k, end in stages.items()]
    return [*found, Case(GTX_1080_TI, "CIFAR-10", "drnas/cifar10_search_paper", None, None)]


def estimate(case: Case, hardware: str) -> list[dict[str, object]]:
    """A row for each stage of the search, in MB; no row where the profile names no memory."""
    words = [f"experiment={case.experiment}", f"hardware={hardware}"]
    words += [] if case.partial is None else [f"space.partial={case.partial}"]
    config = compose("search", words)
    space, source = space_of(config), source_of(config)
    # Whether images rest on the card is the profile's choice; CIFAR has as many for both parts together.
    images = 50_000 if config.hardware.get("resident") else 0
    needs = search_needs(plain(config), space, method_of(config, space), source, images)
    return [
        {
            "row": case.row,
            "data": case.dataset,
            "stage": one.stage,
            "batch": config.dataset.batch_size,
            "paper (MB)": case.published,
            "step, estimated (MB)": round(one.step / MB),
            "device, estimated (MB)": round(one.device / MB),
            "fits": "yes" if one.device <= one.limit else "no",
            "limit": one.limit,
            "experiment": case.experiment,
            "partial": case.partial,
        }
        for one in needs
    ]


def main(words: Sequence[str] | None = None) -> None:
    """Estimates and writes `memory.csv`, `memory.md` and `memory.png`."""
    parser = ArgumentParser(prog="python -m experiments.drnas.memory", description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, required=True, help="the folder that is written into")
    parser.add_argument(
        "--hardware", default="gtx1080ti", help="a profile of conf/hardware that names its memory_gib"
    )
    parser.add_argument("--only", nargs="+", metavar="ROW", help='rows of the table, such as "K = 8"')
    given = parser.parse_args(words)
    every = cases()
    wrong = set(given.only or ()) - {case.row for case in every}
    if wrong:
        known = ", ".join(dict.fromkeys(case.row for case in every))
        parser.error(f"--only: {', '.join(sorted(wrong))}: no such row; there are {known}")
    rows = []
    # What is known when it is stopped is kept.
    with contextlib.suppress(KeyboardInterrupt), configurations():
        for case in every:
            if not given.only or case.row in given.only:
                found = estimate(case, given.hardware)
                rows += found
                for row in found:
                    print(*list(row.values())[:8], sep=", ", flush=True)
    if not rows:
        parser.error(f"--hardware {given.hardware}: it names no memory_gib to hold an estimate against")
    report = _report(rows, given.hardware)
    table = [{**row, "commit": git_commit() or "unknown"} for row in rows]
    keep_record(given.results, "memory", as_csv(table), report, lambda: _draw(rows, given.results))


def _report(rows: Sequence[dict], hardware: str) -> str:
    shown = [{name: row[name] for name in list(row)[:8]} for row in rows]
    parts = [HEAD.format(hardware=hardware, limit=rows[0]["limit"] / GIB), markdown(shown), STAGED]
    for dataset in DATASETS.values():
        ends = [_at(rows, dataset, f"K = {k}") for k in (1, 8)]
        if None not in ends:
            less = {name: ends[0][name] - ends[1][name] for name in ("paper (MB)", "device, estimated (MB)")}
            published, estimated = less.values()
            parts.append(END.format(dataset=dataset, published=published, estimated=estimated))
    return sections(*parts)


def _at(rows: Sequence[dict], dataset: str, name: str) -> dict | None:
    return next((row for row in rows if (row["row"], row["data"]) == (name, dataset)), None)


def _draw(rows: Sequence[dict], folder: Path) -> list[Path]:
    """Memory over K, the paper's and the estimates, a panel for each data set; nothing without such rows."""
    kept = {
        title: [row for row in rows if row["data"] == title and row["partial"]] for title in DATASETS.values()
    }
    kept = {title: own for title, own in kept.items() if own}
    if not kept:
        return []
    path = folder / "memory.png"
    columns = ("paper (MB)", "device, estimated (MB)", "step, estimated (MB)")
    names = ("paper, of a GPU", "estimate of the device", "of it tensors of a step")
    looks = ((INK, "o-"), (LINE_COLOURS[0], "s--"), (LINE_COLOURS[1], "^:"))
    with panels(path, [*kept], 460 * len(kept), 400, "memory of the search (MB)") as (figure, axes):
        for ax, own in zip(axes, kept.values(), strict=True):
            places = range(len(own))
            for column, name, (colour, look) in zip(columns, names, looks, strict=True):
                ax.plot(places, [row[column] for row in own], look, color=colour, label=name)
            ax.set_xticks(places, [row["row"] for row in own])
            ax.set_ylim(bottom=0)
        legend_of(figure, axes, 3)
    return [path]


if __name__ == "__main__":
    main()
