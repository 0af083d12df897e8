"""Dropping candidates: what is left behaves as if the dropped had never been there."""

import copy

import pytest
import torch
from scipy import stats
from torch.distributions import Dirichlet

from nas.errors import ConfigError
from nas.methods.layout import layout_of
from nas.methods.masks import Kept
from nas.methods.updates import Bilevel
from nas.spaces.darts.space import DartsSpace
from tests.methods.flat import flat_method

ETA = torch.tensor([[0.3, -0.8, 0.9, 0.3, -0.2], [-1.0, 0.5, 0.5, 0.5, 2.0]], dtype=torch.float64)
RELAXATIONS = ["softmax", "dirichlet"]


def method_of(relaxation="dirichlet", eta=ETA, **settings):
    torch.manual_seed(0)
    method = flat_method("m", {"cell": tuple(eta.shape)}, relaxation=relaxation, **settings).double()
    with torch.no_grad():
        method.alpha["cell"].copy_(eta)
    return method


@pytest.mark.parametrize("relaxation", RELAXATIONS)
def test_the_largest_are_kept_and_ties_go_to_the_lower_index(relaxation):
    method = method_of(relaxation)
    method.prune(3)
    kept = torch.tensor([[True, False, True, True, False], [False, True, True, False, True]])
    assert torch.equal(method.kept()["cell"], kept)
    assert torch.equal(method.alpha["cell"], ETA * kept)
    method.prune(1)  # further pruning chooses among the kept, though a dropped 0 may be larger
    assert method.kept()["cell"].nonzero().tolist() == [[0, 2], [1, 4]]
    weights = method.op_weights()["cell"].detach()
    torch.testing.assert_close(weights, method.kept()["cell"].double())
    assert (weights[~method.kept()["cell"]] == 0).all()


def test_a_dropped_zero_does_not_beat_a_kept_negative():
    method = method_of(eta=torch.tensor([[-3.0, -1.0, -2.0]], dtype=torch.float64))
    method.prune(2)
    method.prune(1)
    assert method.kept()["cell"].tolist() == [[False, True, False]]


def test_pruning_to_as_many_or_more_changes_nothing():
    method = method_of()
    method.prune(5)
    method.prune(9)
    assert method.kept()["cell"].all()
    assert torch.equal(method.alpha["cell"], ETA)
    with pytest.raises(ConfigError, match="keep=0"):
        method.prune(0)


def test_softmax_over_the_kept():
    method = method_of("softmax")
    method.prune(3)
    weights = method.op_weights()["cell"]
    torch.testing.assert_close(weights[0, [0, 2, 3]], ETA[0, [0, 2, 3]].softmax(0))
    assert weights[0, [1, 4]].tolist() == [0, 0]


def test_the_authors_way_and_ours_have_the_law_of_the_dirichlet_over_the_kept():
    """Theirs draws over all, zeroes the dropped and divides by the rest. Kolmogorov-Smirnov, p > 1e-4."""
    count, beta = 5000, torch.where(ETA[0] > 0, ETA[0] + 1, ETA[0].exp())
    kept = [0, 2, 3]
    method = method_of(eta=ETA[:1].expand(count, 5))
    method.prune(3)
    torch.manual_seed(4)
    ours = method.op_weights()["cell"].detach()
    theirs = Dirichlet(beta).sample((count,))
    theirs = theirs[:, kept] / theirs[:, kept].sum(-1, keepdim=True)
    direct = Dirichlet(beta[kept]).sample((count,))
    assert (ours[:, [1, 4]] == 0).all()
    for place, column in enumerate(kept):
        for sample in (ours[:, column], theirs[:, place]):
            assert stats.ks_2samp(sample, direct[:, place]).pvalue > 1e-4
        marginal = stats.beta(beta[column], beta[kept].sum() - beta[column])
        assert stats.kstest(ours[:, column], marginal.cdf).pvalue > 1e-4
    # The joint law too: a product of two components.
    for sample in (ours[:, 0] * ours[:, 2], theirs[:, 0] * theirs[:, 1]):
        assert stats.ks_2samp(sample, direct[:, 0] * direct[:, 1]).pvalue > 1e-4


@pytest.mark.parametrize("anchor", ["l2", "norm", "kl"])
@pytest.mark.parametrize("update", ["first_order", "unrolled"])
def test_dropped_parameters_rest_whatever_the_optimiser_remembers(anchor, update):
    method = method_of(lam=0.1, anchor=anchor, update=update)
    optimizer = torch.optim.Adam(method.alphas(), lr=0.1, weight_decay=0.01, amsgrad=True)
    network = torch.nn.Linear(5, 1).double()
    sgd = torch.optim.SGD(network.parameters(), lr=0.1)

    def loss(batch):
        return (network(method.op_weights()["cell"]).sum() - batch).square()

    problem = Bilevel(loss, network, list(network.parameters()), method.alphas(), sgd)

    def step():
        found = method.gradient(problem, torch.tensor(1.0), torch.tensor(2.0))
        method.alpha["cell"].grad = found.gradients[0]
        optimizer.step()
        return found.gradients[0]

    assert step().all()
    before = copy.deepcopy(optimizer.state[method.alpha["cell"]])
    method.prune(3, optimizer)
    kept = method.kept()["cell"]
    after = optimizer.state[method.alpha["cell"]]
    assert before["step"] == after["step"]
    for name in ("exp_avg", "exp_avg_sq", "max_exp_avg_sq"):
        assert torch.equal(after[name], before[name] * kept), name
    for _ in range(3):
        gradient = step()
        assert (gradient[~kept] == 0).all()
        assert (method.alpha["cell"][~kept] == 0).all()
        assert gradient[kept].all()


@pytest.mark.parametrize("relaxation", RELAXATIONS)
def test_draws_and_probabilities_know_only_the_kept(relaxation):
    method = method_of(relaxation)
    method.prune(3)
    dropped = ~method.kept()["cell"]
    draws = method.sample_strengths(50, torch.Generator().manual_seed(0))["cell"]
    assert (draws[:, dropped] == 0).all()
    table = method.log_probability_table()["cell"]
    assert (table[dropped] == -torch.inf).all()
    torch.testing.assert_close(table.exp().sum(-1), torch.ones(2).double())
    for parameters, op_weights in method.bases().values():
        assert [tuple(p.shape) for p in parameters] == [(2, 3)]
        torch.testing.assert_close(op_weights()["cell"], method.strengths()["cell"])


@pytest.mark.parametrize("relaxation", RELAXATIONS)
def test_derivation_never_picks_a_dropped_candidate(relaxation):
    """Even if the score of a kept one underflows to 0."""
    operations = ["max_pool_3x3", "skip_connect", "none", "sep_conv_3x3"]
    space = DartsSpace("darts", operations)
    shapes = {name: group.shape for name, group in space.groups.items()}
    method = flat_method("m", shapes, relaxation=relaxation)
    with torch.no_grad():
        for alpha in method.alphas():
            alpha.copy_(torch.tensor([-400.0, -500.0, 0.0, -350.0]).expand(14, 4))
    method.prune(2)
    genotype = space.derive(method.scores())
    for group in ("normal", "reduce"):
        assert {e.operation for node in genotype[group].nodes for e in node} == {"sep_conv_3x3"}


def test_masks_are_part_of_the_checkpoint():
    space = DartsSpace("darts", ["none", "skip_connect", "sep_conv_3x3", "max_pool_3x3"])
    shapes = {name: group.shape for name, group in space.groups.items()}
    one, other = (
        flat_method("m", shapes, relaxation="dirichlet", layout=layout_of(space.groups)) for _ in range(2)
    )
    one.prune(2)
    other.load_state_dict(one.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(one.kept().values(), other.kept().values(), strict=True))
    for method in (one, copy.deepcopy(one), other):
        torch.manual_seed(5)
        drawn = method.op_weights()["normal"]
        assert (drawn > 0).sum(1).tolist() == [2] * 14
        torch.manual_seed(5)
        assert torch.equal(drawn, one.op_weights()["normal"])


def test_a_checkpoint_without_masks_is_refused():
    method = method_of()
    state = {key: value for key, value in method.state_dict().items() if "mask" not in key}
    with pytest.raises(RuntimeError, match="mask_cell"):
        method_of().load_state_dict(state)


def test_edges_that_keep_different_numbers_are_refused():
    state = {"mask_cell": torch.tensor([[True, False], [True, True]])}
    with pytest.raises(ConfigError, match=r"keep \[1, 2\] candidates"):
        Kept({"cell": (2, 2)}).load_state_dict(state)
