"""`docs/evidence.md`: rows, claims and verdicts, made of the kept records alone."""

from collections.abc import Mapping, Sequence
from typing import Any

from experiments.evidence.claims import EPOCH, LEAST, against_baseline, collapsed
from experiments.evidence.rows import Plan, Row
from experiments.evidence.searches import FIGURE, Search
from experiments.evidence.texts import HEAD, KNOWN, RULES
from experiments.evidence.verdicts import claim_sections, span
from experiments.records import markdown, sections
from nas.analysis.conditions import condition_words, conditions_of, sentence, unequal
from nas.analysis.statistics import bootstrap, expected_best
from nas.analysis.sweep_comparison import p_text
from nas.analysis.sweeps import Run

PICTURES = "pictures/evidence_{}.png"


def page(plan: Plan, searches: Sequence[Search], reference: Mapping[str, Any]) -> str:
    """The page as Markdown.

    Args:
        plan: what is to be run.
        searches: the records.
        reference: all cells of the table and black-box searches; empty if there is none yet.
    """
    by_row = {row.name: counted(row, searches) for row in plan.rows}
    done = sum(len(own) for own in by_row.values())
    planned = sum(len(row.seeds) for row in plan.rows)
    left_out = len(searches) - done
    note = f" {left_out} more records are of other settings or seeds and count nowhere." if left_out else ""
    return sections(
        HEAD,
        f"{done} of {planned} searches are finished.{note}",
        "## How verdicts are made\n\n" + RULES,
        "## Claims",
        *claim_sections(plan, by_row, reference),
        "## Rows",
        "Every row that is planned is here, with the seeds that are missing.",
        *(_tier(plan, number, title, by_row, reference) for number, title in enumerate(plan.tiers, 1)),
        _left_out(plan),
        *_unequal(plan, by_row),
        "## Against the first row",
        _comparisons(plan, by_row),
        *_beside(plan, by_row, reference),
        *_pictures(by_row),
        "## What is known and stands beside any claim",
        KNOWN,
        "## Run it again",
        _again(plan),
    )


def counted(row: Row, searches: Sequence[Search]) -> list[Search]:
    """The records that count: of the row's settings and planned seeds."""
    settings = " ".join(row.settings)
    return [
        search
        for search in searches
        if search.row == row.name and search.seed in row.seeds and search.values["settings"] == settings
    ]


def _tier(
    plan: Plan, number: int, title: str, by_row: Mapping[str, list[Search]], reference: Mapping[str, Any]
) -> str:
    best = reference.get("best")
    rows = [_line(row, by_row[row.name], best) for row in plan.rows if row.tier == number]
    if number == 1 and reference:
        rows.append(_random_line(reference))
    return f"### {number}. {title[0].upper()}{title[1:]}\n\n{markdown(rows)}"


def _left_out(plan: Plan) -> str:
    lines = [f"- `{name}`: {why}." for name, why in plan.left_out.items()]
    return "\n".join(["Methods of no row:\n", *lines]) if lines else ""


def _line(row: Row, searches: list[Search], best: float | None) -> dict[str, object]:
    values = [search.accuracy for search in searches]
    interval = bootstrap(values)
    missing = [seed for seed in row.seeds if seed not in {search.seed for search in searches}]
    mean = sum(values) / len(values) if values else None
    at = [value for search in searches if (value := search.eigenvalue_at(EPOCH)) is not None]
    ends = [value for search in searches if (value := search.eigenvalue_at(10**6)) is not None]
    hours = sum(search.number("seconds") or 0 for search in searches) / 3600
    way = [search.best_on_the_way for search in searches]
    return {
        "row": f"{row.title} (`{row.name}`)",
        "table 4": f"{row.paper[0]:.2f} +- {row.paper[1]:.2f}" if row.paper else "",
        "n of planned": f"{len(searches)} of {len(row.seeds)}",
        "missing seeds": _spans(missing),
        "accuracy": f"{mean:.2f}" if mean is not None else "",
        "95 % interval": f"{interval.low:.2f} to {interval.high:.2f}" if interval else "",
        "each, by seed": ", ".join(f"{search.accuracy:.2f}" for search in searches),
        "skips, by seed": ", ".join(str(search.skips) for search in searches),
        "best on the way": f"{sum(way) / len(way):.2f}" if way else "",
        "collapsed": collapsed(searches).words if searches else "",
        "regret": f"{best - mean:.2f}" if best is not None and mean is not None else "",
        f"eigenvalue, epoch {EPOCH}": span(at),
        "at the end": span(ends),
        "hours": f"{hours:.1f}" if searches else "",
    }


def _random_line(reference: Mapping[str, Any]) -> dict[str, object]:
    middle = reference["quantiles"]
    return {
        "row": "one random cell, exactly (`random`)",
        "table 4": "93.70 +- 0.36 (best within 12,000 s)",
        "n of planned": f"all {reference['n']:,} cells",
        "missing seeds": "",
        "accuracy": f"{reference['mean']:.2f}",
        "95 % interval": "",
        "each, by seed": f"half lie from {middle['0.25']:.2f} to {middle['0.75']:.2f}",
        "skips, by seed": "",
        "best on the way": "",
        "collapsed": "",
        "regret": f"{reference['best'] - reference['mean']:.2f}",
        f"eigenvalue, epoch {EPOCH}": "",
        "at the end": "",
        "hours": "",
    }


def _spans(seeds: Sequence[int]) -> str:
    """`11, 13 to 17`."""
    spans: list[list[int]] = []
    for seed in seeds:
        if spans and seed == spans[-1][-1] + 1:
            spans[-1].append(seed)
        else:
            spans.append([seed])
    return ", ".join(str(s[0]) if len(s) == 1 else f"{s[0]} to {s[-1]}" for s in spans)


def _unequal(plan: Plan, by_row: Mapping[str, list[Search]]) -> list[str]:
    """What the rows do not have in common, a sentence each."""
    rows = [row for row in plan.rows if by_row[row.name]]
    conditions, labels = {}, []
    for place, row in enumerate(rows):
        runs = [_as_run(search) for search in by_row[row.name]]
        conditions[place] = conditions_of(runs, ("seed",))
        labels.append(f"`{row.name}`")
    flags = {condition_words(key[0]): sentence(key, known, labels) for key, known in unequal(conditions)}
    origins = sorted(
        {f"{s.values['device']}, torch {s.values['torch']}" for row in rows for s in by_row[row.name]}
    )
    told = (
        [f"Computed on {'; '.join(origins)}. Seconds are those of machines that did other work too."]
        if origins
        else []
    )
    return [*told, *(f"> {flag}" for flag in flags.values())]


def _as_run(kept: Search) -> Run:
    names = ("epochs", "dataset", "split_hash", "git_commit", "device", "threads")
    conditions: dict[str, str | float] = {name: kept.values[name] for name in names if kept.values[name]}
    if kept.values["torch"]:
        conditions["versions.torch"] = kept.values["torch"]
    if (seconds := kept.number("seconds")) is not None:
        conditions["seconds"] = seconds
    return Run(
        kept.row, {"seed": str(kept.seed)}, "finished", figures={FIGURE: kept.accuracy}, conditions=conditions
    )


def _comparisons(plan: Plan, by_row: Mapping[str, list[Search]]) -> str:
    against = against_baseline(plan, by_row)
    if not against:
        return f"Nothing to compare with `{plan.baseline.name}` yet."
    rows = []
    for item in against:
        comparison = item.comparison
        rows.append(
            {
                "row": f"`{item.row.name}`",
                "pairs": str(comparison.n),
                "difference": f"{comparison.difference:+.2f}",
                "95 % interval": f"{comparison.interval.low:+.2f} to {comparison.interval.high:+.2f}"
                if comparison.interval
                else "",
                "d_z": f"{comparison.effect:+.2f}" if comparison.effect is not None else "",
                "p": p_text(comparison.p),
                "p (Holm)": p_text(item.p_holm),
                "smallest possible p": p_text(comparison.smallest_p),
                "pairs needed": f"{item.needed:,}" if item.needed is not None else "",
                "verdict": item.verdict,
            }
        )
    return (
        f"Accuracy of the result less that of `{plan.baseline.name}` from the same seed, in "
        f"points; permutation of signs.\n\n" + markdown(rows)
    )


def _beside(plan: Plan, by_row: Mapping[str, list[Search]], reference: Mapping[str, Any]) -> list[str]:
    """The best of so many cells: random ones, black-box searches, and searches of a row that is repeated."""
    title = "## The best of so many cells"
    if not reference:
        return [title, "All cells and black-box searches: not recorded yet (`--table`, `--search-table`)."]
    counts = list(reference["expected_best"])
    best = reference["expected_best"]
    lines = {"random cells, exactly": [f"{best[count]:.2f}" for count in counts]}
    for name, figures in reference.get("blackbox", {}).items():
        cells = [f"{figures[count][0]:.2f} ± {figures[count][1]:.2f}" for count in counts]
        lines[f"`nas.blackbox algorithm={name}`"] = cells
    for row in plan.rows:
        values = [search.accuracy for search in by_row[row.name]]
        known = [f"{expected_best(values, int(k)):.2f}" if int(k) <= len(values) else "" for k in counts]
        if len(values) >= LEAST:
            lines[f"`{row.name}`, of {len(values)} searches"] = known
    rows = [{"cells": name} | dict(zip(counts, cells, strict=True)) for name, cells in lines.items()]
    about = (
        "Column k is the mean of the best of k cells. Random cells and the rows are chosen by test accuracy, "
        "the most that choosing can give: of all cells of the table, drawn with replacement, and of a row's "
        "searches without. Black-box searches choose by "
        f"`{reference.get('reward', 'no table that is recorded')}` after 12 epochs and stand with the "
        f"deviation of {reference.get('seeds', 0)} seeds. A search that trains gives one cell, at many times "
        "the price of looking one up; a row that is repeated k times competes with column k."
    )
    return [title, about, markdown(rows)]


def _pictures(by_row: Mapping[str, list[Search]]) -> list[str]:
    if not any(by_row.values()):
        return []
    named = {
        "accuracy": "Accuracy of each result, by rows; the band is the middle half of all cells",
        "anytime": "Mean accuracy of the present cell and its 95 % interval, per epoch and per second",
        "eigenvalues": "The dominant eigenvalue along the way; searches that collapsed are dashed",
    }
    return [
        "## Pictures",
        *(f"![{text}]({PICTURES.format(name)})\n\n{text}." for name, text in named.items()),
    ]


def _again(plan: Plan) -> str:
    row, seed = plan.baseline, plan.baseline.seeds[0]
    return f"""\
Every search is one command. This is row `{row.name}` from seed {seed}, then all of its seeds; `--row` names
any other.

    python -m nas.search {" ".join(row.settings)} seed={seed} hardware.threads=1 \\
        dataset.root=<folder of CIFAR-10> tabular.file=<CSV table of NAS-Bench-201>
    make evidence ARGS="--row {row.name} --anew --data <folder of CIFAR-10> --table <CSV table>"

`make evidence ARGS="--data <folder> --table <CSV> --search-table <CSV of 12 epochs>"` goes on where the
records stop, in the order of the rows; `--plan` says what that takes, `--take <folder>` adds searches that
were run elsewhere, `--record-only` writes this page from the records."""
