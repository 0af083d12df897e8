"""Intervals, comparisons and their kin against slow literal references, published numbers, and their laws."""

import itertools
import math
import random
import statistics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from nas.analysis import statistics as ours
from nas.errors import ConfigError

VALUES = st.floats(-1e6, 1e6).map(lambda value: round(value, 3))
FEW = st.lists(VALUES, min_size=2, max_size=6)
PAIRS = st.lists(st.tuples(VALUES, VALUES), min_size=1, max_size=7)
QUICK = settings(max_examples=25, deadline=None)
# Heights of plants, cross-fertilised less self-fertilised of a pot, in eighths of an inch (Darwin 1876).
DARWIN = (49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48)


def by_seed(values):
    return dict(enumerate(values))


def signs_by_hand(differences):
    """All signs, one after the other."""
    observed = abs(math.fsum(differences))
    counts = [
        abs(math.fsum(sign * one for sign, one in zip(signs, differences, strict=True))) >= observed - 1e-6
        for signs in itertools.product((1, -1), repeat=len(differences))
    ]
    return sum(counts) / len(counts)


def exchanges_by_hand(first, second):
    """All choices of the runs that are called the first group."""
    every = [*first, *second]

    def difference(chosen):
        rest = [value for i, value in enumerate(every) if i not in chosen]
        return statistics.fmean(every[i] for i in chosen) - statistics.fmean(rest)

    observed = difference(range(len(first)))
    found = [difference(chosen) for chosen in itertools.combinations(range(len(every)), len(first))]
    sides = sum(one <= observed + 1e-6 for one in found), sum(one >= observed - 1e-6 for one in found)
    return min(1.0, 2 * min(sides) / len(found))


def test_fisher_on_darwins_plants():
    """Fisher (1935, section 21) counts 1,726 of 32,768 arrangements at least as far on both sides."""
    found = ours.compare(by_seed(DARWIN), by_seed([0] * 15))
    assert found.p == pytest.approx(1726 / 32768)
    assert found.difference == pytest.approx(20.933, abs=1e-3)
    assert (found.exact, found.n, found.smallest_p) == (True, 15, 2 / 2**15)


@QUICK
@given(PAIRS)
def test_pairs_are_tested_by_all_signs(pairs):
    first, second = zip(*pairs, strict=True)
    found = ours.compare(by_seed(first), by_seed(second))
    assert found.p == pytest.approx(signs_by_hand([a - b for a, b in pairs]))


@QUICK
@given(FEW, FEW)
def test_groups_are_tested_by_all_exchanges(first, second):
    found = ours.compare_unpaired(first, second)
    assert found.p == pytest.approx(exchanges_by_hand(first, second))


@QUICK
@given(st.lists(st.integers(-10_000, 10_000), min_size=2, max_size=9, unique_by=abs))
def test_wilcoxon_is_scipys_where_nothing_is_tied(differences):
    differences = [one for one in differences if one]
    found = ours.compare(by_seed(differences), by_seed([0] * len(differences)), test="wilcoxon")
    if differences:
        assert found.p == pytest.approx(stats.wilcoxon(differences, method="exact").pvalue)


@QUICK
@given(st.lists(st.integers(0, 10_000), min_size=3, max_size=10, unique=True), st.integers(1, 2))
def test_mann_whitney_is_scipys_where_nothing_is_tied(values, cut):
    first, second = values[:cut], values[cut:]
    found = ours.compare_unpaired(first, second, test="mannwhitney")
    expected = stats.mannwhitneyu(first, second, method="exact")
    assert found.p == pytest.approx(expected.pvalue)
    assert found.effect == pytest.approx(expected.statistic / (len(first) * len(second)))


@pytest.mark.parametrize("test", ours.PAIRED)
@QUICK
@given(PAIRS, st.integers(-100, 100), st.sampled_from([0.25, 2.0, 1024.0]))
def test_what_holds_of_every_paired_comparison(test, pairs, shift, factor):
    first, second = map(by_seed, zip(*pairs, strict=True))
    found = ours.compare(first, second, test=test)
    assert found.smallest_p <= found.p <= 1 or found.p == pytest.approx(found.smallest_p)
    back = ours.compare(second, first, test=test)
    assert back.p == pytest.approx(found.p)
    assert back.difference == pytest.approx(-found.difference)
    assert (back.effect is None) == (found.effect is None)
    if found.effect is not None:
        assert back.effect == pytest.approx(-found.effect)
    reordered = ours.compare(dict(reversed(first.items())), second, test=test)
    assert reordered.p == pytest.approx(found.p), "the order of seeds means nothing"
    larger = [{seed: value * factor for seed, value in one.items()} for one in (first, second)]
    larger = ours.compare(*larger, test=test)
    assert (larger.p, larger.effect) == pytest.approx((found.p, found.effect)), "nor does the unit"
    # Both moved alike, where no rounding makes ties of what are none.
    moved = [{seed: value + shift for seed, value in one.items()} for one in (first, second)]
    assert ours.compare(*moved, test=test).p == pytest.approx(found.p)


@pytest.mark.parametrize("test", ours.UNPAIRED)
@QUICK
@given(FEW, FEW)
def test_what_holds_of_every_comparison_of_groups(test, first, second):
    found, back = ours.compare_unpaired(first, second, test), ours.compare_unpaired(second, first, test)
    assert found.smallest_p <= found.p <= 1
    assert back.p == pytest.approx(found.p)
    if found.effect is not None:
        other = 1 - found.effect if test == "mannwhitney" else -found.effect
        assert back.effect == pytest.approx(other)
    assert ours.compare_unpaired(first, list(reversed(second)), test).p == pytest.approx(found.p)


def test_three_seeds_can_show_nothing_and_four_can():
    """The smallest p of 3 against 3 is 0.1, and of 4 against 4 0.03."""
    three, four = ((range(n), range(10, 10 + n)) for n in (3, 4))
    assert ours.compare_unpaired(*three).p == ours.smallest_p(3, 3) == pytest.approx(0.1)
    assert (
        ours.compare_unpaired(*four, test="mannwhitney").p == ours.smallest_p(4, 4) == pytest.approx(2 / 70)
    )
    assert [ours.smallest_p(n) for n in (1, 2, 5, 6)] == [1.0, 0.5, 0.0625, 0.03125]


def test_large_groups_are_sampled_and_say_so():
    draws = random.Random(1)
    first, second = [draws.gauss(0.4, 1) for _ in range(30)], [0.0] * 30
    found = ours.compare(by_seed(first), by_seed(second))
    assert not found.exact and "exact" not in found.test
    assert found.p == pytest.approx(stats.ttest_1samp(first, 0).pvalue, abs=0.01)
    assert found == ours.compare(by_seed(first), by_seed(second)), "the same numbers give the same p"
    apart = ours.compare_unpaired(range(20), range(100, 120))
    assert apart.p == apart.smallest_p == 2 / 10_000


def test_seeds_of_one_side_alone_are_named_and_left_out():
    found = ours.compare({0: 1.0, 1: 2.0, 7: 100.0}, {1: 1.0, 0: 0.5, 3: -100.0})
    assert (found.n, found.left_out, found.difference) == (2, (7, 3), 0.75)
    nothing = ours.compare({1: 1.0}, {2: 1.0})
    assert (nothing.n, nothing.p, nothing.difference, nothing.interval) == (0, None, None, None)
    assert nothing.left_out == (1, 2)


def test_decimals_that_add_up_are_ties():
    """0.1 + 0.2 is not 0.3 to a processor: by its rounding p would be a half."""
    found = ours.compare({0: 0.1, 1: 0.2, 2: -0.3, 3: 0.0}, dict.fromkeys(range(4), 0.0))
    assert found.p == 1


def test_sizes_of_effects():
    found = ours.compare({0: 3.0, 1: 5.0, 2: 4.0}, {0: 1.0, 1: 2.0, 2: 3.0})
    assert found.effect == pytest.approx(2 / 1)
    same = ours.compare({0: 3.0, 1: 5.0}, {0: 1.0, 1: 3.0})
    assert (same.effect, same.difference) == (None, 2.0), "without spread a size has no unit"
    ranks = ours.compare(by_seed([1, 2, -3, 0]), by_seed([0] * 4), test="wilcoxon")
    assert ranks.effect == pytest.approx(0 / 6), "1 + 2 - 3 of 6; a difference of 0 has no rank"
    apart = ours.compare_unpaired([1, 2, 3, 4], [5, 6, 7, 8])
    assert apart.effect == pytest.approx(-4 / math.sqrt(5 / 3) * (1 - 3 / 23)), "Hedges 1981"


def test_bootstrap_is_scipys_bca():
    """Efron's law-school correlation has its own statistic; of a mean, scipy is the reference."""
    values = [576, 635, 558, 578, 666, 580, 555, 661, 651, 605, 653, 575, 545, 572, 594]
    found = ours.bootstrap(values, level=0.9, seed=3)
    expected = stats.bootstrap(
        (values,), np.mean, confidence_level=0.9, method="BCa", n_resamples=9999, rng=np.random.default_rng(3)
    ).confidence_interval
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert (found.method, found.level, found.n) == ("BCa bootstrap", 0.9, 15)


def test_bootstrap_where_bca_is_not_defined_says_so():
    assert ours.bootstrap([3.0]) is None and ours.bootstrap([]) is None
    found = ours.bootstrap([2.5, 2.5, 2.5])
    assert (found.low, found.high, found.method) == (2.5, 2.5, "percentile bootstrap")


@QUICK
@given(FEW, st.sampled_from([2.0**-400, 1.0, 2.0**900]))
def test_an_interval_lies_within_the_values_at_every_scale(values, scale):
    found = ours.bootstrap([value * scale for value in values])
    room = 1e-9 * max(map(abs, values)) * scale
    assert min(values) * scale - room <= found.low <= found.high <= max(values) * scale + room


def test_intervals_hold_the_mean_about_as_often_as_they_say():
    """BCa of ten normal values holds it in 90 % of 200 cases, not in 95: few values make intervals narrow."""
    draws = np.random.default_rng(0).normal(size=(200, 10))
    held = [found.low <= 0 <= found.high for found in map(ours.bootstrap, draws)]
    assert 0.85 < np.mean(held) < 0.97


def holm_by_hand(ps):
    """The p of each is the largest, over those that are no larger, of the p times how many are left."""
    found = []
    for p in ps:
        below = sorted(other for other in ps if other <= p)
        left = [len(ps) - sum(other < one for other in ps) for one in below]
        found.append(min(1.0, max(one * n for one, n in zip(below, left, strict=True))))
    return found


def test_holm_of_a_worked_example():
    """That of Wikipedia's article: at 0.05 the fourth and the first are rejected, the others are not."""
    assert ours.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


@given(st.lists(st.floats(0, 1), max_size=12))
def test_what_holds_of_holm(ps):
    found = ours.holm(ps)
    assert found == pytest.approx(holm_by_hand(ps))
    assert all(p <= q <= 1 for p, q in zip(ps, found, strict=True))
    order = sorted(range(len(ps)), key=lambda i: ps[i])
    adjusted = [found[i] for i in order]
    assert adjusted == sorted(adjusted), "the order stays"
    assert ours.holm([*ps, None]) == [*found, None], "what is no test costs none of the others"


@pytest.mark.parametrize(("size", "pairs", "each"), [(0.2, 199, 394), (0.5, 34, 64), (0.8, 15, 26)])
def test_seeds_needed_is_cohens_table(size, pairs, each):
    """Cohen 1988, tables 2.3 and 2.4, and G*Power 3.1: small, medium and large effects at a power of 0.8."""
    assert ours.seeds_needed(size, 1) == ours.seeds_needed(-2 * size, 2) == pairs
    assert ours.seeds_needed(size, 1, paired=False) == each


def test_seeds_needed_at_the_ends():
    assert ours.seeds_needed(0, 1) is None, "no number of seeds shows a difference that is none"
    assert ours.seeds_needed(1, 0) == ours.seeds_needed(1e9, 1) == 6, "five pairs give no p below 0.0625"
    assert ours.seeds_needed(1, 0, paired=False) == 4
    assert ours.seeds_needed(1, 0, level=0.1) == 5
    assert ours.seeds_needed(1e-300, 1) is None
    assert ours.seeds_needed(1e-5, 1) == pytest.approx((1.959964 + 0.841621) ** 2 * 1e10, rel=1e-5)


@given(st.floats(0.05, 3), st.floats(0.05, 3), st.booleans())
@settings(max_examples=20, deadline=None)
def test_a_larger_difference_never_needs_more_seeds(one, other, paired):
    few, many = (ours.seeds_needed(size, 1, paired=paired) for size in sorted((one, other), reverse=True))
    assert few <= many


@QUICK
@given(st.lists(VALUES, min_size=1, max_size=8), st.data())
def test_expected_best_is_the_mean_over_all_choices(values, data):
    k = data.draw(st.integers(1, len(values)))
    every = [max(chosen) for chosen in itertools.combinations(values, k)]
    assert ours.expected_best(values, k) == pytest.approx(statistics.fmean(every), rel=1e-9, abs=1e-6)
    lowest = [min(chosen) for chosen in itertools.combinations(values, k)]
    found = ours.expected_best(values, k, higher=False)
    assert found == pytest.approx(statistics.fmean(lowest), rel=1e-9, abs=1e-6)
    if k <= 3:
        again = [max(chosen) for chosen in itertools.product(values, repeat=k)]
        found = ours.expected_best(values, k, replacement=True)
        assert found == pytest.approx(statistics.fmean(again), rel=1e-9, abs=1e-6)


def test_expected_best_of_a_whole_table():
    """The largest of k of 1 .. N is k (N + 1) / (k + 1) on average: the German tank problem."""
    for k in (1, 8, 100, 15_625):
        assert ours.expected_best(range(1, 15_626), k) == pytest.approx(k * 15_626 / (k + 1))
    with pytest.raises(ConfigError, match="k=3: 2 values are there"):
        ours.expected_best([1.0, 2.0], 3)


def test_rank_and_regret_against_a_table():
    table = [90.0, 94.0, 94.0, 80.0]
    assert [ours.rank(value, table) for value in (94.0, 90.0, 80.0)] == [1, 3, 4], "equals share the better"
    assert [ours.regret(value, table) for value in (94.0, 90.0)] == [0, 4]
    assert (ours.rank(80.0, table, higher=False), ours.regret(90.0, table, higher=False)) == (1, 10)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: ours.bootstrap([1, 2], level=95), "level=95: must be between 0 and 1, such as 0.95"),
        (lambda: ours.bootstrap([1, math.nan]), "every one must be a finite number"),
        (lambda: ours.compare({}, {}, test="t"), "test=t: must be one of permutation, wilcoxon"),
        (lambda: ours.compare_unpaired([], [], "wilcoxon"), "must be one of permutation, mannwhitney"),
        (lambda: ours.holm([0.5, 1.5]), "p=1.5: must be a number from 0 to 1"),
        (lambda: ours.seeds_needed(1, -1), "deviation=-1: must not be below 0"),
        (lambda: ours.seeds_needed(1, 1, power=80), "power=80: must be between 0 and 1"),
        (lambda: ours.expected_best([1], 0), "k=0: must be at least 1"),
        (lambda: ours.regret(1, []), "there is no figure"),
    ],
)
def test_wrong_arguments_are_refused(call, says):
    with pytest.raises(ConfigError, match=says):
        call()


def test_one_value_against_a_whole_table_takes_moments():
    many = [float(i % 1000) for i in range(70_000)]
    assert ours.compare_unpaired([5e3], many).p == pytest.approx(2 / 70_001)
    assert ours.compare_unpaired(many, [-1.0], "mannwhitney").p == pytest.approx(2 / 70_001)
