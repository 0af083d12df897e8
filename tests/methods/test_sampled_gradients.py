"""Gradients of alpha for op weights that are drawn: exact in expectation, or in closed form."""

import pytest
import torch
from torch.nn import functional as F

from nas.errors import ConfigError
from nas.methods.relaxations import HardConcrete, OneHot, WholeDraw
from nas.methods.relaxations.one_hot import pair
from nas.methods.updates import Gates, ImportanceWeights
from nas.op_weights import OpWeights
from tests.methods.composed import SPACES, batch, step_of, twins

# --- gradients of alpha --------------------------------------------------------------------------------

ALPHA = torch.tensor([0.3, 1.0, -0.5]).double()
COSTS = torch.tensor([1.0, -2.0, 0.5]).double()
MANY = 200_000


def mean_gradient(relaxation, costs=COSTS):
    """Mean over draws of the gradient of a loss that is linear in the op weights of an edge."""
    torch.manual_seed(0)
    alpha = ALPHA.expand(MANY, 3).clone().requires_grad_()
    (relaxation.op_weights(alpha) * costs).sum().backward()
    return alpha.grad.mean(0)


def exact():
    """The gradient of the expected loss: the softmax's Jacobian times the costs."""
    alpha = ALPHA.clone().requires_grad_()
    (alpha.softmax(0) * COSTS).sum().backward()
    return alpha.grad


@pytest.mark.parametrize("gradient", ["gates", "reward"])
def test_gates_and_rewards_have_the_exact_gradient_in_expectation(gradient):
    torch.testing.assert_close(mean_gradient(OneHot(gradient)), exact(), atol=0.02, rtol=0)


def test_hard_concrete_has_the_gradient_of_its_softmax():
    """Of constant feature maps: E[J(soft) c / temperature], which a direct mean over Gumbel noise gives."""
    relaxation = HardConcrete(start=2.0, end=2.0)
    torch.manual_seed(7)
    noise = -torch.empty(MANY, 3).double().exponential_().log()
    soft = ((ALPHA.log_softmax(0) + noise) / 2.0).softmax(-1)
    expected = (soft * (COSTS - (soft * COSTS).sum(-1, keepdim=True)) / 2.0).mean(0)
    torch.testing.assert_close(mean_gradient(relaxation), expected, atol=0.01, rtol=0)


@pytest.mark.parametrize("relaxation", [OneHot("none"), OneHot(), HardConcrete(10.0, 10.0), WholeDraw()])
def test_draws_follow_the_softmax_and_are_exactly_one_hot(relaxation):
    torch.manual_seed(0)
    draws = relaxation.op_weights(ALPHA.expand(20_000, 3))
    if not relaxation.whole:
        assert set(draws.unique().tolist()) == {0.0, 1.0}
        assert torch.equal(draws.sum(-1), torch.ones(20_000).double())
    counts = F.one_hot(draws.argmax(-1), 3).double().sum(0)
    expected = 20_000 * ALPHA.softmax(-1)
    assert float(((counts - expected) ** 2 / expected).sum()) < 18.4  # chi-square, p = 1e-4


def test_whole_draws_are_uniform_over_the_architectures_of_a_space():
    """Pairs of inputs of the DARTS space's second node, and candidates; 5^6 cells' edges of NAS-Bench-201."""
    darts = step_of("rsps", SPACES["darts"]()).method
    torch.manual_seed(0)
    draws = [darts.op_weights() for _ in range(1500)]
    inputs = torch.stack([one.run["normal"].any(-1) for one in draws])  # edges 0, 1 | 2, 3, 4
    assert inputs[:, :2].all() and bool((inputs[:, 2:].sum(1) == 2).all())
    left_out = (~inputs[:, 2:]).double().sum(0)
    assert float(((left_out - 500) ** 2 / 500).sum()) < 18.4
    table = step_of("rsps", SPACES["nasbench201"]()).method
    counts = torch.stack([table.op_weights()["cell"] for _ in range(1500)]).sum(0)
    assert float(((counts - 300) ** 2 / 300).sum()) < 55  # 24 degrees of freedom, p = 3e-4


def test_score_function_is_exact_in_expectation():
    """By enumeration: the sum over all draws of p(draw) times its gradient is the gradient of E[reward]."""
    step = step_of(
        "parsec", SPACES["nasbench201"](), "method.update={_target_:nas.methods.updates.ScoreFunction}"
    )
    method = step.method
    worth = torch.tensor([1.0, 3.0, -1.0, 0.5, 2.0]).double()
    one_edge = torch.zeros(6, 5).double()
    one_edge[:, 0] = 1.0
    total = 0
    for column in range(5):
        drawn = one_edge.clone()
        drawn[2] = F.one_hot(torch.tensor(column), 5)
        logs = method.log_probability({"cell": drawn})
        (gradient,) = torch.autograd.grad(logs, method.alpha["cell"])
        total = total + method.alpha["cell"][2].softmax(0)[column].detach() * worth[column] * gradient[2]
    row = method.alpha["cell"].detach()[2].clone().requires_grad_()
    (row.softmax(0) * worth).sum().backward()
    torch.testing.assert_close(total, row.grad)


def test_score_function_follows_reward_and_baseline():
    step = step_of(
        "parsec", SPACES["nasbench201"](),
        "method.update={_target_:nas.methods.updates.ScoreFunction}", "+method.update.decay=0.9",
        "+method.update.reward=loss",
    )  # fmt: skip
    update = step.method.update
    found = step.method.gradient(step.bilevel(), batch(), batch(1))
    assert all(not gradient.any() for gradient in found.gradients)  # the first reward is its own baseline
    assert float(update.baseline) == pytest.approx(-float(found.loss))
    assert "update.baseline" in step.method.state_dict()
    drawn = []
    problem = step.bilevel()
    own = problem.draw
    problem.draw = lambda paths: drawn.append(own(paths)) or drawn[-1]
    before = float(update.baseline)
    found = step.method.gradient(problem, batch(), batch(2))
    advantage = -float(found.loss) - before
    (logs,) = torch.autograd.grad(step.method.log_probability(drawn[0]), step.alphas)
    torch.testing.assert_close(found.gradients[0], -advantage * logs)
    assert float(update.baseline) == pytest.approx(0.9 * before - 0.1 * float(found.loss))


def test_two_paths_leave_the_probabilities_of_the_others():
    step = step_of("proxyless", SPACES["nasbench201"]())
    before = step.method.alpha["cell"].detach().softmax(-1)
    step.architecture(batch(), batch(1))
    after = step.method.alpha["cell"].detach().softmax(-1)
    (compared,) = step.method.update._pairs
    assert bool((compared.sum(-1) == 2).all())
    torch.testing.assert_close(after[~compared], before[~compared], rtol=1e-12, atol=1e-12)
    assert not torch.allclose(after[compared], before[compared], rtol=1e-9, atol=0)


def test_two_gates_have_the_gradient_of_their_own_softmax():
    torch.manual_seed(0)
    alpha = ALPHA.expand(MANY, 3).clone().requires_grad_()
    gates, two = pair(alpha)
    assert torch.equal(gates.detach() * ~two, torch.zeros(MANY, 3).double())
    (gates * COSTS).sum().backward()
    expected = torch.zeros(3).double()
    p = ALPHA.softmax(0)
    for i, j in ((0, 1), (0, 2), (1, 2)):
        chance = p[i] * p[j] / (1 - p[i]) + p[j] * p[i] / (1 - p[j])
        q = p[i] / (p[i] + p[j])
        slope = q * (1 - q) * (COSTS[i] - COSTS[j])
        expected[i] += chance * slope
        expected[j] -= chance * slope
    torch.testing.assert_close(alpha.grad.mean(0), expected, atol=0.01, rtol=0)


def test_all_gates_are_the_full_gradient_at_the_drawn_path():
    """full_v2: dL/dalpha_i = sum_j <output_j, G> p_j (delta_ij - p_i), all at the path's own states."""
    space = SPACES["nasbench201"]()
    step = step_of("proxyless", space, "method.update.paths=all")
    problem = step.bilevel()
    drawn = []
    own = problem.draw
    problem.draw = lambda paths: drawn.append(own(paths)) or drawn[-1]
    found = Gates("all").gradient(problem, None, batch(1))
    gates = drawn[0]["cell"].detach().requires_grad_()
    (worth,) = torch.autograd.grad(step.loss(batch(1), OpWeights({"cell": gates})), gates)
    p = step.method.alpha["cell"].detach().softmax(-1)
    expected = p * (worth - (worth * p).sum(-1, keepdim=True))
    torch.testing.assert_close(found.gradients[0], expected, rtol=1e-8, atol=1e-12)


def test_importance_weights_share_one_likelihood():
    update = ImportanceWeights(3, 2.0)
    losses = torch.tensor([0.5, 1.0, 2.0]).double().requires_grad_()
    mixture = update.mixture(losses)
    torch.testing.assert_close(mixture, -((-2 * losses).exp().mean()).log() / 2)
    (shares,) = torch.autograd.grad(mixture, losses)
    torch.testing.assert_close(shares, (-2 * losses.detach()).softmax(0))
    with pytest.raises(ConfigError, match=r"method\.update\.children=1"):
        ImportanceWeights(1)


def test_importance_weights_of_equal_children_teach_nothing_in_expectation():
    """The mean over draws of d log p is 0."""
    torch.manual_seed(0)
    alpha = ALPHA.expand(MANY, 3).clone().requires_grad_()
    drawn = OneHot("none").op_weights(alpha)
    (drawn * OneHot().log_probabilities(alpha)).sum().backward()
    torch.testing.assert_close(alpha.grad.mean(0), torch.zeros(3).double(), atol=0.01, rtol=0)


def test_carried_op_weights_have_the_gradient_of_a_map_of_ones():
    space = SPACES["nasbench201"]()
    _, separate = twins(space)
    images, labels = batch()
    drawn = F.one_hot(torch.tensor([3, 1, 3, 2, 0, 1]), 5).double()
    weights = drawn.clone().requires_grad_()
    gradients = {}
    for carried in (True, False):
        op_weights = OpWeights({"cell": weights}, {"cell": drawn != 0}, carried=carried)
        loss = F.cross_entropy(separate(images, op_weights), labels)
        (gradients[carried],) = torch.autograd.grad(loss, weights)
    torch.testing.assert_close(gradients[True][drawn != 0], gradients[False][drawn != 0])
    assert not gradients[False][drawn == 0].any()
    # It is the sum of the gradient of a node, which all edges into it share.
    for rows in (slice(0, 1), slice(1, 3), slice(3, 6)):
        same = gradients[True][rows][drawn[rows] == 0]
        torch.testing.assert_close(same, same[:1].expand_as(same))
        assert same[0] != 0
