"""BayesNAS: the prior on gates, second derivatives in them, and variances reweighted once."""

import pytest
import torch

from nas.errors import ConfigError
from nas.methods.functional import diagonal
from nas.methods.regularizers import GatePrior
from nas.methods.relaxations import ScalingFactors, Softmax
from nas.methods.selections.posterior import both, reweighted
from tests.methods.composed import SPACES, batch, step_of


@pytest.fixture(params=SPACES)
def space(request):
    return SPACES[request.param]()


def gates(*shapes):
    torch.manual_seed(0)
    return [torch.randn(shape).double().requires_grad_() for shape in shapes]


def test_a_round_of_reweighting_is_that_of_the_paper():
    """C, omega and gamma written out one after the other."""
    torch.manual_seed(0)
    gate, hessian, gamma = torch.randn(4, 5).double(), torch.randn(4, 5).double(), torch.rand(4, 5).double()
    for lam in (0.005, 0.1, 3.0):
        covariance = 1 / (1 / gamma + hessian.abs() / lam)
        omega = (1 / gamma - covariance / gamma**2).abs().sqrt()
        torch.testing.assert_close(reweighted(gate, hessian, gamma, lam), gate.abs() / omega)


def test_what_the_loss_does_not_depend_on_has_no_variance():
    gate, gamma = torch.ones(2).double(), torch.full((2,), 0.5).double()
    found = reweighted(gate, torch.tensor([0.0, 1.0]).double(), gamma, 0.1)
    assert float(found[0]) == 0.0 < float(found[1])
    edge = torch.tensor([0.25, 0.25]).double()
    torch.testing.assert_close(both(found, edge), torch.tensor([0.0, 1 / (1 / float(found[1]) + 4)]).double())
    assert both(torch.zeros(1), torch.zeros(1)).tolist() == [0.0]


def test_the_prior_pulls_a_gate_by_its_weight_and_sign():
    prior, alphas = GatePrior(lam=0.2, lam_edges=0.3), gates((3, 4), (2, 4))
    betas = gates((1, 2), (1, 3))
    term = prior.penalty(ScalingFactors(), alphas) + prior.edge_penalty(ScalingFactors(), betas)
    found = torch.autograd.grad(term, [*alphas, *betas])
    weights = [0.2 * one for one in prior.drawn("omega", alphas, False)]
    weights += [0.3 * one for one in prior.drawn("omega", betas, True)]
    for gradient, weight, gate in zip(found, weights, [*alphas, *betas], strict=True):
        torch.testing.assert_close(gradient, weight * gate.detach().sign())


def test_what_is_drawn_is_drawn_alike_in_a_resumed_run_and_apart_for_each_purpose():
    one, other, shapes = GatePrior(seed=3), GatePrior(seed=3), gates((40, 5))
    kinds = [(what, edges) for what in ("omega", "gamma") for edges in (False, True)]
    drawn = [one.drawn(what, shapes, edges)[0] for what, edges in kinds]
    again = [other.drawn(what, shapes, edges)[0] for what, edges in kinds]
    assert all(torch.equal(a, b) for a, b in zip(drawn, again, strict=True))
    assert len({float(tensor.sum()) for tensor in drawn}) == 4
    assert all(float(tensor.min()) > 0 and float(tensor.max()) <= 1 for tensor in drawn)
    assert abs(float(drawn[0].mean()) - 0.5) < 0.1
    assert float(GatePrior(start="ones").drawn("gamma", shapes, False)[0].min()) == 1.0
    assert not torch.equal(drawn[0], GatePrior(seed=4).drawn("omega", shapes, False)[0])


def test_diagonal_is_that_of_a_hessian_written_out():
    one, two, unread = gates((2, 3), (4,), (2,))
    loss = (one.pow(3).sum() * two.exp().sum()) + two[0] * 5

    found = diagonal(loss, [one, two, unread])
    torch.testing.assert_close(found[0], (6 * one * two.exp().sum()).detach())
    torch.testing.assert_close(found[1], (one.pow(3).sum() * two.exp()).detach())
    assert found[2].tolist() == [0.0, 0.0] and not found[0].requires_grad


def test_curvature_is_the_difference_of_two_gradients(space):
    """Each gate moved a little up and down, in evaluation mode; the network stays as it was."""
    step = step_of("bayesnas", space)
    before = [buffer.clone() for buffer in step.supernet.buffers()]
    with torch.inference_mode():
        found = step.curvature(batch())
    assert all(torch.equal(a, b) for a, b in zip(before, step.supernet.buffers(), strict=True))
    assert step.supernet.training and all(weight.requires_grad for weight in step.weights)
    step.supernet.eval()
    # So small a step rarely crosses a kink of a ReLU, where there is no second derivative.
    where, size = batch(), 1e-7

    def gradient(tensor):
        loss = step.run(where, train=False).loss
        found = torch.autograd.grad(loss, tensor, allow_unused=True)[0]
        return torch.zeros_like(tensor) if found is None else found

    for tensor, second in zip(step.alphas, found, strict=True):
        assert second.shape == tensor.shape
        flat = tensor.detach().view(-1)  # one storage with the parameter
        for index in range(0, flat.numel(), 7):
            start, around = float(flat[index]), []
            for shift in (size, -size):
                flat[index] = start + shift
                around.append(float(gradient(tensor).view(-1)[index]))
            flat[index] = start
            expected = (around[0] - around[1]) / (2 * size)
            assert float(second.view(-1)[index]) == pytest.approx(expected, abs=1e-5, rel=1e-4)


def test_the_result_is_what_the_variances_rank(space):
    """Each variance from the formulas on the gates, edge by edge, and what the space derives from them."""
    step = step_of("bayesnas", space)
    step.architecture(batch(), batch(1))
    method = step.method
    prior, selection = method.regularizers["prior"], method.selection
    selection.begin(step.draw)
    curvature = step.curvature(batch(2))
    selection.observe_curvature(0, lambda: (curvature, 6))
    selection.observe_curvature(1, lambda: pytest.fail("a batch more than batches=1"))
    assert selection.passes(2, 5) == {"architecture": sum(one.numel() for one in curvature)}
    found = selection.variances()
    names = list(method.alpha)
    starts = prior.drawn("gamma", list(method.alpha.values()), False)
    betas = list(method.edges.beta)
    of_beta = dict(zip(betas, curvature[len(names) :], strict=True))
    gammas = dict(zip(betas, prior.drawn("gamma", list(method.edges.beta.values()), True), strict=True))
    for place, name in enumerate(names):
        group, seen = space.groups[name], {}
        for row, (_, target) in enumerate(group.edges):
            position = seen.setdefault(target, 0)
            seen[target] += 1
            key = f"{name}_{target}"
            gate = float(method.edges.beta[key].detach()[0, position])
            edge = _literal(gate, float(of_beta[key][0, position]), float(gammas[key][0, position]))
            for column, operation in enumerate(group.operations[row]):
                own = (method.alpha[name].detach(), curvature[place], starts[place])
                value = _literal(*(float(one[row, column]) for one in own))
                expected = 0.0 if operation == "none" else 1 / (1 / value + 1 / edge)
                assert float(found[name][row, column]) == pytest.approx(expected, rel=1e-9)
    selection.decide(method, step.op_weights, True)
    assert method.selected
    assert str(space.derive(method.scores())) == str(space.derive(found))
    assert "none" not in str(space.derive(method.scores()))


def _literal(gate, hessian, gamma, lam=0.01):
    if hessian == 0:
        return 0.0
    covariance = 1 / (1 / gamma + abs(hessian) / lam)
    return abs(gate) / (1 / gamma - covariance / gamma**2) ** 0.5


def test_without_a_prior_gates_are_free(space):
    """At lam 0 the same steps bit for bit as without the regularizer."""
    words = ["method.selection=null"]
    zero = ["method.regularizers.prior.lam=0", "method.regularizers.prior.lam_edges=0"]
    ends = []
    for overrides in ([*words, *zero], [*words, "~method.regularizers.prior"]):
        step = step_of("bayesnas", space, *overrides)
        for seed in range(2):
            step.architecture(batch(seed), batch(seed + 5))
            step.weight(batch(seed))
        ends.append([one.detach().clone() for one in (*step.alphas, *step.weights)])
    assert all(torch.equal(a, b) for a, b in zip(*ends, strict=True))


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["~method.regularizers.prior"], "has 0 GatePrior; one"),
        (["method.regularizers.prior.lam=0"], "divides by them; above 0"),
        (["method.regularizers.prior.lam=-1"], "lam=-1: must be at least 0"),
        (["method.regularizers.prior.start=twos"], "start=twos"),
        (["method.relaxation=softmax"], "prior on gates, which Softmax has none of"),
        (["method.edges._target_=nas.methods.relaxations.Softmax"], "which Softmax has none of"),
    ],
)
def test_what_means_nothing_is_refused(overrides, words):
    with pytest.raises(ConfigError, match=words.replace("(", r"\(")):
        step_of("bayesnas", SPACES["nasbench201"](), *overrides).method.penalty()


def test_stages_would_drop_what_has_a_variance():
    with pytest.raises(ConfigError, match="GatePrior is for a search of one"):
        GatePrior().check_stages(2)
    with pytest.raises(ConfigError, match="which Softmax has none of"):
        GatePrior().check(Softmax())
