"""The claims one by one: what the paper says, what was run, the verdict, and what would change it."""

from collections.abc import Mapping, Sequence
from typing import Any

from experiments.evidence.claims import (
    EPOCH,
    LEAST,
    Share,
    against_baseline,
    beside_random,
    collapsed,
    foretold,
)
from experiments.evidence.rows import Plan, Row
from experiments.evidence.searches import Search
from nas.analysis.sweep_comparison import p_text


def claim_sections(plan: Plan, by_row: Mapping[str, list[Search]], reference: Mapping[str, Any]) -> list[str]:
    """A section for each claim: the paper, what was run, the verdict, and what would change it."""
    rows = {row.name: row for row in plan.rows}
    parts = []
    if "darts1" in rows:
        parts.append(_always("Does DARTS collapse?", rows["darts1"], by_row["darts1"], True))
    if "darts2" in rows:
        parts.append(_always("Does second-order DARTS collapse?", rows["darts2"], by_row["darts2"], True))
    if "drnas_nb201" in rows:
        parts.append(_always("Is DrNAS safe from it?", rows["drnas_nb201"], by_row["drnas_nb201"], False))
    against = against_baseline(plan, by_row)
    order = next((item for item in against if item.row.name == "drnas_nb201"), None)
    if order is not None:
        c = order.comparison
        interval = f" ({c.interval.low:+.2f} to {c.interval.high:+.2f})" if c.interval else ""
        ran = f"{c.n} pairs of seeds; difference {c.difference:+.2f} points{interval}, p {p_text(c.p)}"
        holm = f", Holm {p_text(order.p_holm)}" if order.p_holm is not None else ""
        parts.append(
            _claim(
                "Does DrNAS end above DARTS?",
                "94.36 against 54.30, four runs each",
                ran + holm,
                order.verdict,
                "more pairs; a scale at which DARTS always collapses, or DrNAS never",
            )
        )
    parts.append(_foretelling(plan, by_row))
    parts.append(_remedies(plan, by_row))
    parts.append(_beside_random(plan, by_row, reference))
    return parts


def _claim(question: str, paper: str, ran: str, verdict: str, change: str) -> str:
    return (
        f"### {question}\n\n- **The paper**: {paper}.\n- **Run here**: {ran}.\n- **Verdict**: {verdict}.\n"
        f"- **What would change it**: {change}."
    )


def _always(question: str, row: Row, searches: list[Search], claimed: bool) -> str:
    """A claim that every search of a row collapses, or none."""
    share = collapsed(searches)
    paper = f"{row.paper[0]:.2f} +- {row.paper[1]:.2f}, four runs" if row.paper else "not a row of its table"
    ran = f"{share.words} of the finished searches of `{row.name}` collapsed, {len(row.seeds)} are planned"
    if searches:
        ran += f"; skip connections of the results: {', '.join(str(s.skips) for s in searches)} of 6"
    since = [epoch for s in searches if (epoch := s.collapse_epoch()) is not None]
    if since:
        ran += f"; for good from epoch {', '.join(map(str, since))}"
    if share.n == 0:
        ran = f"nothing yet, {len(row.seeds)} searches are planned"
    against = share.n - share.k if claimed else share.k
    word = "always" if claimed else "never"
    if share.n == 0:
        verdict = "none: nothing is finished"
    elif share.n < LEAST:
        verdict = f"too few: {share.n} of at least {LEAST}"
    elif against:
        verdict = f'"{word}" is refuted at this scale by {against} of {share.n}; {_most(share)}'
    else:
        verdict = f'"{word}" is not refuted by {share.n} of {share.n}; {_most(share)}'
    change = "the missing seeds" if share.n < len(row.seeds) else "more seeds narrow the share alone"
    return _claim(
        question, paper, ran, verdict, f"{change}; the paper's scale (tier {5 if row.tier == 1 else 1})"
    )


def _most(share: Share) -> str:
    return {
        "most": "most searches collapse",
        "fewer than half": "fewer than half of the searches collapse",
    }.get(share.verdict, f"{share.verdict} collapse")


def _foretelling(plan: Plan, by_row: Mapping[str, list[Search]]) -> str:
    ran, verdicts = [], []
    rows = [row for row in plan.rows if row.tier <= 2]
    for item in foretold(rows, by_row):
        values = [value for s in by_row[item.row.name] if (value := s.eigenvalue_at(EPOCH)) is not None]
        if not values:
            continue
        detail = f"`{item.row.name}` {span(values)}"
        if item.apart is not None and item.apart.effect is not None:
            detail += f", larger in a collapsed one with probability {item.apart.effect:.2f}, "
            detail += f"p {p_text(item.apart.p)}"
        ran.append(detail)
        verdicts.append(f"`{item.row.name}`: {item.verdict}")
    return _claim(
        "Does the eigenvalue say so before?",
        "the eigenvalue of DARTS grows along a search while that of DrNAS stays small (DrNAS, figures 4 and "
        "5), and a search is to be stopped where it grows (Zela et al.)",
        f"at epoch {EPOCH}: {'; '.join(ran)}" if ran else "nothing yet",
        "; ".join(verdicts) or "none: nothing is finished",
        "more searches of both kinds in one row; eigenvalues of DARTS and DrNAS are in different coordinates "
        "and are not compared",
    )


def span(values: Sequence[float]) -> str:
    """The smallest and the largest of some numbers; nothing of none."""
    if not values:
        return ""
    return f"{values[0]:.3g}" if len(values) == 1 else f"{min(values):.3g} to {max(values):.3g}"


def _remedies(plan: Plan, by_row: Mapping[str, list[Search]]) -> str:
    rows = [row for row in plan.rows if row.tier == 2]
    against = {item.row.name: item for item in against_baseline(plan, by_row)}
    ran = [f"`{row.name}` {collapsed(by_row[row.name]).words} collapsed" for row in rows if by_row[row.name]]
    verdicts = [
        f"`{row.name}`: {against[row.name].verdict}"
        if row.name in against
        else f"`{row.name}`: not compared yet"
        for row in rows
        if by_row[row.name]
    ]
    missing = [f"`{row.name}`" for row in rows if not by_row[row.name]]
    none = f"nothing yet of {', '.join(missing)}" if missing else ""
    return _claim(
        "Which remedy helps?",
        "each of their papers says that it does: early stop, perturbation, beta decay, L2, a "
        "Dirichlet with an anchor",
        "; ".join([*ran, *([none] if none else [])]) or "no remedy is planned",
        "; ".join(verdicts) or "none: nothing is finished",
        "the missing rows; a remedy can only show where the baseline collapses",
    )


def _beside_random(plan: Plan, by_row: Mapping[str, list[Search]], reference: Mapping[str, Any]) -> str:
    if not reference:
        return ""
    middle = reference["quantiles"]["0.5"]
    beside = [item for item in beside_random(plan.rows, by_row, middle) if by_row[item.row.name]]
    counts = "; ".join(f"`{item.row.name}` {item.better} of {item.of}" for item in beside)
    return _claim(
        "Are searched cells better than random ones?",
        "random search reaches 93.70 +- 0.36 in table 4, with 12,000 seconds of training, not with one cell",
        f"one random cell has {reference['mean']:.2f} on average, the best of eight "
        f"{reference['expected_best']['8']:.2f}; above the median of all cells, {middle:.2f}, are "
        f"{counts or 'none yet'}",
        "; ".join(f"`{item.row.name}`: {item.verdict}" for item in beside) or "none: nothing is finished",
        "more seeds; the test is of one cell, and a search that is repeated eight times competes with the "
        "best of eight",
    )
