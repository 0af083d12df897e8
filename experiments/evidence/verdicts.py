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
    order = next((one for one in against if one.row.name == "drnas_nb201"), None)
    if order is not None:
        one = order.comparison
        interval = f" ({one.interval.low:+.2f} to {one.interval.high:+.2f})" if one.interval else ""
        ran = f"{one.n} pairs of seeds; difference {one.difference:+.2f} points{interval}, p {p_text(one.p)}"
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
    found = collapsed(searches)
    paper = f"{row.paper[0]:.2f} +- {row.paper[1]:.2f}, four runs" if row.paper else "not a row of its table"
    ran = f"{found.words} of the finished searches of `{row.name}` collapsed, {len(row.seeds)} are planned"
    if searches:
        ran += f"; skip connections of the results: {', '.join(str(one.skips) for one in searches)} of 6"
    since = [epoch for one in searches if (epoch := one.collapse_epoch()) is not None]
    if since:
        ran += f"; for good from epoch {', '.join(map(str, since))}"
    if found.n == 0:
        ran = f"nothing yet, {len(row.seeds)} searches are planned"
    against = found.n - found.k if claimed else found.k
    word = "always" if claimed else "never"
    if found.n == 0:
        verdict = "none: nothing is finished"
    elif found.n < LEAST:
        verdict = f"too few: {found.n} of at least {LEAST}"
    elif against:
        verdict = f'"{word}" is refuted at this scale by {against} of {found.n}; {_most(found)}'
    else:
        verdict = f'"{word}" is not refuted by {found.n} of {found.n}; {_most(found)}'
    change = "the missing seeds" if found.n < len(row.seeds) else "more seeds narrow the share alone"
    return _claim(
        question, paper, ran, verdict, f"{change}; the paper's scale (tier {5 if row.tier == 1 else 1})"
    )


def _most(found: Share) -> str:
    return {
        "most": "most searches collapse",
        "fewer than half": "fewer than half of the searches collapse",
    }.get(found.verdict, f"{found.verdict} collapse")


def _foretelling(plan: Plan, by_row: Mapping[str, list[Search]]) -> str:
    ran, verdicts = [], []
    rows = [row for row in plan.rows if row.tier <= 2]
    for one in foretold(rows, by_row):
        values = [value for s in by_row[one.row.name] if (value := s.eigenvalue_at(EPOCH)) is not None]
        if not values:
            continue
        detail = f"`{one.row.name}` {span(values)}"
        if one.apart is not None and one.apart.effect is not None:
            detail += f", larger in a collapsed one with probability {one.apart.effect:.2f}, "
            detail += f"p {p_text(one.apart.p)}"
        ran.append(detail)
        verdicts.append(f"`{one.row.name}`: {one.verdict}")
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
    against = {one.row.name: one for one in against_baseline(plan, by_row)}
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
    found = [one for one in beside_random(plan.rows, by_row, middle) if by_row[one.row.name]]
    counts = "; ".join(f"`{one.row.name}` {one.better} of {one.of}" for one in found)
    return _claim(
        "Are searched cells better than random ones?",
        "random search reaches 93.70 +- 0.36 in table 4, with 12,000 seconds of training, not with one cell",
        f"one random cell has {reference['mean']:.2f} on average, the best of eight "
        f"{reference['expected_best']['8']:.2f}; above the median of all cells, {middle:.2f}, are "
        f"{counts or 'none yet'}",
        "; ".join(f"`{one.row.name}`: {one.verdict}" for one in found) or "none: nothing is finished",
        "more seeds; the test is of one cell, and a search that is repeated eight times competes with the "
        "best of eight",
    )
