"""Edge weights in cells with partial channels, and what a search ends with."""

import pytest
import torch
from torch.nn import functional as F

from nas.errors import ConfigError
from nas.methods.relaxations import OneHot
from nas.methods.selections import BestOf
from nas.op_weights import OpWeights
from tests.methods.composed import INPUTS, SPACES, batch, step_of


@pytest.fixture(params=SPACES)
def space(request):
    return SPACES[request.param]()


# --- edge weights --------------------------------------------------------------------------------------


def test_equal_edge_weights_are_darts_with_nodes_divided_by_their_inputs(space):
    step = step_of("pcdarts", space, "method.stages=null", "method.init_scale=0")
    weights = step.method.op_weights()
    for name, group in space.groups.items():
        for row, (_, target) in enumerate(group.edges):
            inputs = sum(edge[1] == target for edge in group.edges)
            torch.testing.assert_close(
                weights[name][row], torch.full((group.shape[1],), 1 / group.shape[1] / inputs).double()
            )


@pytest.mark.parametrize("partial", [1, 2])
def test_edge_weights_weigh_what_goes_past_the_candidates(partial):
    """A node of a partial cell against the sum over its edges, written out."""
    space = SPACES["nasbench201"]()
    torch.manual_seed(0)
    cell = space.supernet(INPUTS, partial=partial).double().cells[0]
    plan = space.supernet(INPUTS, partial=partial)._plan
    own, edges = torch.rand(6, 5).double(), torch.rand(6).double()
    x = torch.randn(3, 4, 8, 8).double()
    found = cell(x, plan.route(OpWeights({"cell": own * edges[:, None]}, edges={"cell": edges}), "cell"))
    states = [x]
    for target in (1, 2, 3):
        total = 0
        for row, (source, end) in enumerate(space.groups["cell"].edges):
            if end != target:
                continue
            only = torch.zeros(6, 5).double()
            only[row] = own[row]
            mixed, past = states[source][:, : 4 // partial], states[source][:, 4 // partial :]
            sums = [None] * 3
            fan_out = cell.fan_out[source]
            fan_out(mixed, plan.route(OpWeights({"cell": only}), "cell").scales[source], sums)
            total = total + edges[row] * torch.cat([sums[target - 1], past], dim=1)
        shuffled = total.view(3, partial, 4 // partial, 8, 8).transpose(1, 2).flatten(1, 2)
        states.append(shuffled)
    torch.testing.assert_close(found, states[-1])


@pytest.mark.parametrize("method", ["pcdarts", "gaea_pcdarts"])
def test_edge_weights_learn_and_rank(space, method):
    step = step_of(method, space)
    start = [beta.detach().clone() for beta in step.method.edges.beta.values()]
    step.architecture(batch(), batch(1))
    betas = list(step.method.edges.beta.values())
    several = [index for index, beta in enumerate(betas) if beta.shape[1] > 1]
    assert all(not torch.equal(start[index], betas[index]) for index in several)
    if method == "gaea_pcdarts":
        assert all(float(beta.detach().sum()) == pytest.approx(1.0) for beta in betas)
    edges = step.method.edges.weights(step.method.edges.relaxation.strengths)
    for name in space.groups:
        torch.testing.assert_close(step.method.scores()[name].sum(-1), edges[name].detach())


def test_a_perturbation_moves_op_weights_and_leaves_edge_weights():
    node = "method.perturbation={_target_:nas.methods.perturbations.Random,start:0.3}"
    step = step_of("pcdarts", SPACES["nasbench201"](), node)
    own = step.op_weights()
    found = step._perturbed(batch())
    assert not torch.equal(found["cell"], own["cell"])
    torch.testing.assert_close(found.edges["cell"], own.edges["cell"])
    torch.testing.assert_close(found["cell"].sum(-1), found.edges["cell"])


# --- selection -----------------------------------------------------------------------------------------


def drawer(worths):
    """Draws of one edge with so many candidates, in order."""
    left = iter(range(len(worths)))

    def draw():
        return OpWeights({"cell": F.one_hot(torch.tensor([next(left)]), len(worths)).double()})

    return draw


def test_the_best_on_the_first_batches_wins_and_finalists_see_all():
    first, later = [0.5, 0.9, 0.8, 0.1], [1.0, 0.2, 0.9, 1.0]

    def run(selection):
        seen = []
        selection.begin(drawer(first))
        for index in range(3):
            worths = later if index else first

            def score(op_weights, worths=worths, index=index):
                column = int(op_weights["cell"].argmax())
                seen.append((index, column))
                return worths[column], 10

            selection.observe(index, score)
        return int(selection.chosen()["cell"].argmax()), seen

    assert run(BestOf(4)) == (1, [(0, 0), (0, 1), (0, 2), (0, 3)])
    chosen, seen = run(BestOf(4, finalists=2))
    assert chosen == 2 and sorted(one for one in seen if one[0]) == [(1, 1), (1, 2), (2, 1), (2, 2)]


@pytest.mark.parametrize(("batches", "finalists", "there"), [(1, 0, 3), (2, 2, 5), (3, 2, 2)])
def test_passes_are_counted_before_they_are_taken(batches, finalists, there):
    asked, worths = [], {index: float(index) for index in range(4)}
    selection = BestOf(4, batches, finalists)
    selection.begin(drawer(list(worths)))
    for index in range(there):
        selection.observe(index, lambda one: (asked.append(one) or 1.0, 10))
    assert selection.passes(50, there) == {"validation": len(asked)}


def test_what_cannot_be_is_refused(space):
    with pytest.raises(ConfigError, match=r"method\.selection: method gaea has .* no distribution"):
        step_of("gaea", space, "method.selection={_target_:nas.methods.selections.BestOf}")
    with pytest.raises(ConfigError, match=r"finalists=5: of method\.selection\.count=4"):
        BestOf(4, finalists=5)
    with pytest.raises(ConfigError, match=r"gap=1\.5"):
        OneHot(gap=1.5)


def test_a_space_that_cannot_run_single_paths_or_weigh_edges_says_so(space):
    space.single_paths = space.weighs_edges = False
    with pytest.raises(ConfigError, match="method=gdas: runs the drawn candidate of each edge alone"):
        step_of("gdas", space)
    with pytest.raises(ConfigError, match=r"method\.edges: supernets of space=.* do not weigh the channels"):
        step_of("pcdarts", space)
