"""Verdicts of the evidence follow from the numbers by the page's rules, and few numbers conclude nothing."""

from dataclasses import replace

import pytest

from experiments.evidence.claims import against_baseline, beside_random, collapsed, foretold, share
from experiments.evidence.page import counted, page
from experiments.evidence.searches import Point
from experiments.evidence.verdicts import claim_sections
from tests.test_evidence import BASE, CONV, PLAN, SKIP, search


def test_shares_have_clopper_and_pearsons_interval():
    """For 0 of n its upper end is 1 - 0.025^(1/n)."""
    none = share(0, 8)
    assert (none.low, none.high) == pytest.approx((0, 1 - 0.025 ** (1 / 8)))
    assert (share(8, 8).verdict, none.verdict) == ("most", "fewer than half")
    assert share(4, 8).verdict == "open whether most or fewer than half"
    assert share(3, 3).verdict == share(0, 0).verdict == "too few"


def rows_with(baseline, drnas=()):
    by_row = {row.name: [] for row in PLAN.rows}
    for name, accuracies in (("darts1", baseline), ("drnas_nb201", drnas)):
        for seed, accuracy in enumerate(accuracies, start=10):
            by_row[name].append(search(PLAN.row(name), seed, accuracy, 6 if accuracy == 54.3 else 2))
    return by_row


def claims(by_row):
    return {one.splitlines()[0]: one for one in claim_sections(PLAN, by_row, {}) if one}


def test_a_claim_of_always_falls_by_one_search_and_is_never_proven():
    collapse = claims(rows_with([54.3] * 8))["### Does DARTS collapse?"]
    assert '"always" is not refuted by 8 of 8; most searches collapse' in collapse
    mixed = claims(rows_with([54.3] * 7 + [90.0]))["### Does DARTS collapse?"]
    assert (
        '"always" is refuted at this scale by 1 of 8; open whether most or fewer than half collapse' in mixed
    )
    few = claims(rows_with([54.3, 54.3]))["### Does DARTS collapse?"]
    assert "**Verdict**: too few: 2 of at least 4." in few
    safe = claims(rows_with([], [94.0] * 4))["### Is DrNAS safe from it?"]
    assert '"never" is not refuted by 4 of 4' in safe
    nothing = claims(rows_with([]))
    assert all("none: nothing is finished" in text for text in nothing.values())


def test_a_comparison_is_shown_by_holms_p_alone():
    better = rows_with([80.0 + i for i in range(8)], [90.0 + i for i in range(8)])
    (one,) = against_baseline(PLAN, better)
    assert (one.verdict, one.comparison.p) == ("above", 2 / 2**8)
    few = rows_with([80.0, 81.0, 82.0], [90.0, 91.0, 92.0])
    assert against_baseline(PLAN, few)[0].verdict == "too few (3 pairs)"
    assert against_baseline(PLAN, few)[0].p_holm is None
    four = rows_with([80.0, 81.0, 82.0, 83.5], [90.0, 91.0, 92.0, 93.0])
    assert against_baseline(PLAN, four)[0].verdict.startswith(
        "not shown (4 pairs, smallest possible p 0.12; about 6"
    )


def test_the_eigenvalue_is_asked_before_the_collapse_alone():
    def with_value(seed, value, gone, since=100):
        course = (Point(60, CONV * 6, 90.0, value), Point(since, (SKIP if gone else CONV) * 6, 54.3))
        return search(BASE, seed, 54.3 if gone else 90.0, 6 if gone else 0, course)

    def asked(searches):
        (found,) = foretold([BASE], {BASE.name: searches}, 60)
        return found

    apart = [with_value(seed, 5.0 + seed, True) for seed in range(4)]
    apart += [with_value(seed, 1.0 + seed / 10, False) for seed in range(4, 8)]
    assert asked(apart).verdict == "it is larger before a collapse"
    assert asked(apart[2:]).verdict == "too few (2 against 4: no p below 0.13)"
    assert asked(apart[:4]).verdict.startswith("too few: both")
    early = [with_value(9, 9.0, True, since=61), *apart]
    assert asked(early).apart.of == (5, 4)
    gone = (Point(50, SKIP * 6, 54.3, 9.0), Point(60, SKIP * 6, 54.3, 9.0))
    assert asked([replace(early[0], course=gone), *apart]).apart.of == (4, 4), "nothing is left to foretell"
    # Of two rows p is twice as large, which is too large here; one that can show nothing does not count.
    rows = [BASE, PLAN.row("drnas_nb201")]
    both = foretold(rows, {BASE.name: apart, "drnas_nb201": apart}, 60)
    assert [one.verdict for one in both] == ["not shown"] * 2
    alone = foretold(rows, {BASE.name: apart, "drnas_nb201": apart[2:]}, 60)
    assert alone[0].verdict == "it is larger before a collapse"


def test_results_stand_beside_the_median_of_all_cells():
    def verdict(*accuracies):
        by_row = {BASE.name: [search(BASE, seed, one) for seed, one in enumerate(accuracies)]}
        (found,) = beside_random([BASE], by_row, 90.75)
        return found.verdict

    assert verdict(*[54.3] * 5) == "too few (n = 5, at least 6)", "equal values prove no more than others"
    assert verdict(*[54.3] * 6) == "worse than random cells"
    assert verdict(*[94.0] * 6, 90.75) == "better than random cells"
    assert verdict(*[54.3] * 2, *[94.0] * 6) == "not told apart from random cells"


def test_records_of_other_settings_count_nowhere_and_are_told():
    stale = search(BASE, 11, settings="experiment=other")
    others = [search(BASE, 10), stale, search(BASE, 99)]
    assert counted(BASE, others) == others[:1]
    assert "2 more records are of other settings or seeds and count nowhere." in page(PLAN, others, {})
    assert collapsed(counted(BASE, others)).n == 1


def test_conditions_that_differ_between_rows_are_on_the_page():
    drnas = PLAN.row("drnas_nb201")
    found = [search(BASE, 10, device="a CPU", torch="2.9"), search(drnas, 10, device="a GPU", torch="2.9")]
    text = page(PLAN, found, {})
    assert "> Not equal, device: a CPU in `darts1`; a GPU in `drnas_nb201`." in text
    assert "Not equal, torch" not in text
