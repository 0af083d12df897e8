"""Black-box searches: what each algorithm asks for, that learners beat chance, and what their curves say."""

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from scipy.stats import wilcoxon

from nas.algorithms import Algorithm, Evolution, LocalSearch, Random, Reinforce
from nas.algorithms.algorithm import Draws
from nas.algorithms.reinforce import score_function
from nas.analysis.benchmark_table import read_csv
from nas.analysis.blackbox import Budget, Searches, curve, search
from nas.errors import ConfigError
from nas.running.config import CONF
from nas.spaces.architectures import Architectures
from nas.spaces.nasbench201 import NasBench201Space
from nas.spaces.space import EdgeGroup
from tests.shared import shared

NAMES = sorted(path.stem for path in (CONF / "algorithm").glob("*.yaml"))
CELLS = NasBench201Space("nasbench201").architectures()


def algorithm(name):
    """As its file has it, so that the next one is tested by being there."""
    node = OmegaConf.load(CONF / f"algorithm/{name}.yaml")
    assert node.pop("name") == name
    return instantiate(node)


@pytest.fixture(scope="module")
def rewards():
    """A made-up table, [N] in percent: good operations, some of them only beside others."""
    codes_NE = CELLS.all()
    random = np.random.default_rng(1)
    alone = random.uniform(0, 8, (6, 5))[np.arange(6), codes_NE].sum(1)
    beside = random.uniform(0, 6, (6, 5, 5))[np.arange(6), codes_NE, np.roll(codes_NE, 1, axis=1)].sum(1)
    return alone + beside


def found(name, rewards_N, queries, seeds):
    """The reward of what each seed returns, [S]."""
    searches = search(algorithm(name), CELLS, Draws(seeds), Budget(queries), rewards_N)
    return rewards_N[last(searches)]


def last(searches):
    seeds = np.arange(len(searches.made_S))
    return searches.index_QS[searches.incumbents()[searches.made_S - 1, seeds], seeds]


@pytest.mark.parametrize("name", [name for name in NAMES if name != "random"])
def test_every_learner_beats_random_search(name, rewards):
    """Seed by seed, at the same queries."""
    learnt, drawn = (found(one, rewards, 300, range(100)) for one in (name, "random"))
    assert wilcoxon(learnt, drawn, alternative="greater").pvalue < 1e-3
    assert (learnt > drawn).sum() > (learnt < drawn).sum()


def test_every_learner_beats_random_search_on_the_benchmark():
    table = read_csv(shared("data/nasbench201/nb201_12epochs.csv.gz"))
    names = [str(CELLS.genotype(code)) for code in CELLS.all()]
    rewards_N = np.array(table.column("cifar10_val", names))
    ends = {name: found(name, rewards_N, 300, range(100)) for name in NAMES}
    for name in set(NAMES) - {"random"}:
        assert wilcoxon(ends[name], ends["random"], alternative="greater").pvalue < 1e-3, name
    assert max(one.mean() for one in ends.values()) < rewards_N.max() == 84.892


@pytest.mark.parametrize("name", NAMES)
def test_a_seed_finds_the_same_whatever_runs_beside_it(name, rewards):
    many = search(algorithm(name), CELLS, Draws(range(5)), Budget(60), rewards)
    alone = search(algorithm(name), CELLS, Draws([3]), Budget(60), rewards)
    assert (many.index_QS[:, 3] == alone.index_QS[:, 0]).all()
    assert (many.index_QS[:, 3] != many.index_QS[:, 2]).any()


@pytest.mark.parametrize("name", NAMES)
def test_the_budget_is_met_exactly(name, rewards):
    counted = search(algorithm(name), CELLS, Draws(range(3)), Budget(37), rewards)
    assert counted.index_QS.shape == (37, 3) and (counted.made_S == 37).all()
    seconds_N = 1.0 + np.arange(len(CELLS)) % 5
    timed = search(algorithm(name), CELLS, Draws(range(3)), Budget(seconds=50), rewards, seconds_N)
    for seed, made in enumerate(timed.made_S):
        costs = seconds_N[timed.index_QS[:made, seed]]
        # The last one is the first to go beyond.
        assert costs[:-1].sum() < 50 <= costs.sum() == timed.spent_QS[made - 1, seed]


@pytest.mark.parametrize("seconds", [False, True], ids=["queries", "seconds"])
@pytest.mark.parametrize("name", NAMES)
def test_what_is_above_a_budget_of_costs_is_free_and_never_found(name, seconds, rewards):
    within_N = np.random.default_rng(2).random(len(CELLS)) < 0.2
    seconds_N = 1.0 + np.arange(len(CELLS)) % 5 if seconds else None
    budget = Budget(seconds=50) if seconds else Budget(30)
    some = [
        search(algorithm(name), CELLS, Draws(seeds), budget, rewards, seconds_N, within_N=within_N)
        for seeds in (range(5), [3])
    ]
    for searches, seed in ((some[0], 3), (some[1], 0)):
        asked = searches.index_QS[: searches.made_S[seed], seed]
        paid = asked[within_N[asked]]
        spent = (np.ones(len(CELLS)) if seconds_N is None else seconds_N)[paid]
        limit = budget.queries or budget.seconds
        assert spent[:-1].sum() < limit <= spent.sum() and searches.queries()[seed] == len(paid) < len(asked)
        assert searches.last()[seed] == paid[rewards[paid].argmax()]
        if not seconds:
            rows = curve(searches, {"reward": rewards})
            assert [row["queries"] for row in rows] == list(range(1, 31))
            assert rows[-1]["reward"] == pytest.approx(rewards[searches.last()].mean(), abs=1e-6)
    # Whatever runs beside it.
    assert some[0].last()[3] == some[1].last()[0]
    made = some[1].made_S[0]
    assert (some[0].index_QS[:made, 3] == some[1].index_QS[:made, 0]).all()


def test_the_last_point_of_a_curve_has_the_last_query(rewards):
    """Whatever is rounded of what it has spent."""
    index_QS = np.array([[0], [1], [2]])
    spent_QS = np.array([[100.1234567], [200.23456741], [300.12345641]])
    told_QS = np.array([[10.0], [20.0], [90.0]])
    searches = Searches(index_QS, np.array([3]), told_QS, spent_QS, "seconds")
    rows = curve(searches, {"told": told_QS[:, 0]})
    assert (rows[-1]["told"], rows[-1]["seconds"]) == (90, 300.123456)


@pytest.mark.parametrize("name", ["evolution", "reinforce"])
def test_no_learner_loses_to_chance_for_a_budget_of_costs(name, rewards):
    """They go on among what is within, where to be told a reward of 0 would have driven them away."""
    costs_N = np.random.default_rng(3).uniform(0, 1, (6, 5))[np.arange(6), CELLS.all()].sum(1)
    within_N = costs_N <= np.quantile(costs_N, 0.3)
    ends = {
        one: rewards[
            search(
                algorithm(one), CELLS, Draws(range(100)), Budget(300), rewards, None, iter, within_N
            ).last()
        ]
        for one in (name, "random")
    }
    assert wilcoxon(ends[name], ends["random"], alternative="greater").pvalue < 1e-3


def test_a_search_that_only_asks_for_what_is_above_the_budget_ends(rewards):
    within_N = np.ones(len(CELLS), dtype=bool)
    codes_SE = np.zeros((2, 6), dtype=np.int64)
    within_N[CELLS.index(codes_SE)] = False
    searches = search(Told(codes_SE), CELLS, Draws(range(2)), Budget(3), rewards, within_N=within_N)
    assert searches.queries().tolist() == [0, 0] and searches.last().tolist() == [-1, -1]
    assert curve(searches, {"reward": rewards}) == []


@pytest.mark.parametrize(
    ("given", "words"),
    [({}, "budget.queries=null"), ({"queries": 1, "seconds": 2.0}, "one of the two"),
     ({"seconds": 0.0}, "must be positive")],
)  # fmt: skip
def test_a_budget_is_one_of_two(given, words):
    with pytest.raises(ConfigError, match=words):
        Budget(**given)


@pytest.mark.parametrize(
    ("kind", "given", "words"),
    [(Evolution, (0, 3), "population=0"), (Reinforce, (0, 0.9, 0.1), "lr=0: must be positive"),
     (Reinforce, (0.1, 1.0, 0.1), "momentum=1.0: must be from 0 to below 1")],
)  # fmt: skip
def test_numbers_that_an_algorithm_cannot_use_are_refused(kind, given, words):
    with pytest.raises(ConfigError, match=words):
        kind(*given)


def test_too_many_queries_are_refused(rewards):
    with pytest.raises(ConfigError, match="20,000,000 that can be held"):
        search(Random(), CELLS, Draws(range(3)), Budget(10**7), rewards)


class Told(Algorithm):
    """Asks for what it was made with."""

    def __init__(self, codes):
        self.codes = codes

    def ask(self):
        return self.codes

    def tell(self, codes_SE, rewards_S):
        pass


@pytest.mark.parametrize("codes", [[[0] * 6], np.full((2, 6), 5), np.zeros((2, 6)), np.full((2, 6), -1)])
def test_what_there_is_not_cannot_be_asked_for(codes, rewards):
    with pytest.raises(ConfigError, match=r"Told\.ask\(\) gave .*whole numbers of shape \(2, 6\)"):
        search(Told(codes), CELLS, Draws(range(2)), Budget(1), rewards)


def test_codes_are_all_architectures_each_once():
    codes_NE = CELLS.all()
    assert len(CELLS) == len(codes_NE) == 5**6
    assert (CELLS.index(codes_NE) == np.arange(5**6)).all()
    assert str(CELLS.genotype(np.array([3, 0, 2, 1, 0, 4]))) == (
        "|nor_conv_3x3~0|+|none~0|nor_conv_1x1~1|+|skip_connect~0|none~1|avg_pool_3x3~2|"
    )
    drawn = CELLS.index(CELLS.random(np.random.default_rng(0).random((40_000, 6))))
    # Six counts of 5 operations: chi-square of 24 degrees of freedom.
    counts = np.array([np.bincount(codes_NE[drawn, edge], minlength=5) for edge in range(6)])
    assert ((counts - 8_000) ** 2 / 8_000).sum() < 51.2


def test_neighbours_are_those_that_differ_on_one_edge():
    """Edges may have as many candidates as their group has, so groups may differ."""
    groups = {
        "one": EdgeGroup(((0, 1), (0, 2)), (("a", "b", "c"),) * 2),
        "two": EdgeGroup(((0, 1),), (("d", "e"),)),
    }
    ours = Architectures(
        groups, lambda scores: {name: one.argmax(-1).tolist() for name, one in scores.items()}
    )
    codes_NE = ours.all()
    assert len(codes_NE) == 18 and ours.genotype(np.array([2, 0, 1])) == {"one": [2, 0], "two": [1]}
    for code in codes_NE:
        k_K = np.arange(len(ours.changed_K))
        near_KE = ours.neighbour(np.broadcast_to(code, (len(k_K), 3)), k_K)
        differ = codes_NE[(codes_NE != code).sum(1) == 1]
        assert sorted(map(tuple, near_KE)) == sorted(map(tuple, differ))
        assert ((near_KE != code).argmax(1) == ours.changed_K).all()


def asked(searched, rewards_N, queries, seed=0):
    """The codes [Q, E] that one seed asks for."""
    return CELLS.all()[search(searched, CELLS, Draws([seed]), Budget(queries), rewards_N).index_QS[:, 0]]


def test_evolution_replaces_the_oldest_by_a_child_of_the_best_of_a_sample(rewards):
    codes_QE = asked(Evolution(4, 4000), rewards, 60)
    for query in range(4, 60):
        # A sample this large holds everyone.
        alive_PE = codes_QE[query - 4 : query]
        parent = max(alive_PE, key=lambda code: rewards[CELLS.index(code)])
        assert (parent != codes_QE[query]).sum() == 1


def test_local_search_asks_for_all_neighbours_and_goes_to_the_best(rewards):
    codes_QE = asked(LocalSearch(), rewards, 400)
    query, starts, known = 0, 0, None
    here = None
    while query < 350:
        if here is None:
            here, known, starts = codes_QE[query], None, starts + 1
            query += 1
        count = 24 if known is None else 20
        around = codes_QE[query : query + count]
        query += count
        differ = around != here
        assert (differ.sum(1) == 1).all() and len({tuple(code) for code in around}) == count
        assert known is None or not differ[:, known].any()
        best = max(around, key=lambda code: rewards[CELLS.index(code)])
        if rewards[CELLS.index(best)] > rewards[CELLS.index(here)]:
            here, known = best, int((best != here).argmax())
        else:
            near = CELLS.neighbour(np.broadcast_to(here, (24, 6)), np.arange(24))
            assert (rewards[CELLS.index(near)] <= rewards[CELLS.index(here)]).all(), "no optimum"
            here = None
    assert starts > 1


def test_reinforce_follows_the_gradient_of_the_expected_reward():
    """By enumeration of the three candidates of one edge, for any baseline."""
    logits = torch.tensor([[[0.3, -1.0, 0.5]]], dtype=torch.float64, requires_grad=True)
    rewards_O = torch.tensor([1.0, 5.0, 2.0], dtype=torch.float64)
    likely_O = logits.softmax(-1)[0, 0]
    (right,) = torch.autograd.grad((likely_O * rewards_O).sum(), logits)
    codes_OE = torch.arange(3)[:, None]
    each_OEO = score_function(logits.detach().expand(3, 1, 3), codes_OE, rewards_O - 0.7)
    mean = (likely_O.detach()[:, None, None] * each_OEO).sum(0, keepdim=True)
    torch.testing.assert_close(mean, right, rtol=1e-12, atol=1e-14)


def test_reinforce_learns_nothing_from_its_first_reward_and_then_prefers_what_is_better():
    learner = Reinforce(0.1, 0.9, 0.001)
    learner.start(CELLS, Draws([0]))
    before = learner._logits_SEO.clone()
    learner.tell(np.zeros((1, 6), dtype=np.int64), np.array([50.0]))
    assert (learner._logits_SEO == before).all()
    learner.tell(np.ones((1, 6), dtype=np.int64), np.array([80.0]))
    moved_EO = (learner._logits_SEO - before)[0]
    assert (moved_EO.argmax(-1) == 1).all() and (moved_EO[:, 1] > 0).all()


def test_the_curve_is_that_of_a_plain_loop(rewards):
    seconds_N = 1.0 + np.arange(len(CELLS)) % 3
    counted = search(Random(), CELLS, Draws(range(7)), Budget(20), rewards)
    timed = search(Random(), CELLS, Draws(range(7)), Budget(seconds=30), rewards, seconds_N)
    other = -rewards

    def plain(searches, seed, made):
        """The first of the highest reward among so many queries."""
        index = searches.index_QS[:made, seed]
        return other[index[rewards[index].argmax()]]

    rows = curve(counted, {"other": other})
    assert [row["queries"] for row in rows] == list(range(1, 21))
    for row in rows:
        values = [plain(counted, seed, row["queries"]) for seed in range(7)]
        assert row["n"] == 7 and row["other"] == pytest.approx(np.mean(values), abs=1e-6)
        assert row["other_std"] == pytest.approx(np.std(values, ddof=1), abs=1e-6)
    rows = curve(timed, {"other": other})
    assert rows[0]["n"] < 7 == rows[-1]["n"]
    for row in rows:
        made_S = [
            int((timed.spent_QS[: timed.made_S[s], s] <= row["seconds"] + 1e-6).sum()) for s in range(7)
        ]
        values = [plain(timed, seed, made) for seed, made in enumerate(made_S) if made]
        assert row["n"] == len(values) and row["other"] == pytest.approx(np.mean(values), abs=1e-6)
    assert rows[-1]["other"] == pytest.approx(other[last(timed)].mean(), abs=1e-6)
