"""Sampled paths, edge weights and selections: their limits, expectations in closed form, what is not run."""

import copy

import pytest
import torch
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from torch.nn import functional as F

from nas.engine.stages import StageBuilder, attach
from nas.engine.step import Step
from nas.engine.tasks import Classification
from nas.errors import ConfigError
from nas.methods.layout import layout_of
from nas.methods.relaxations import HardConcrete, OneHot, WholeDraw
from nas.methods.relaxations.one_hot import pair
from nas.methods.selections import BestOf
from nas.methods.updates import Gates, ImportanceWeights
from nas.op_weights import OpWeights
from nas.running.config import CONF, instantiate, register_resolvers
from nas.running.parts import compose
from nas.spaces.darts.space import DartsSpace
from nas.spaces.nasbench201.space import NasBench201Space
from nas.spaces.space import ImageInputs

INPUTS = ImageInputs((1, 8, 8), 4)
SPACES = {
    "darts": lambda: DartsSpace(
        "darts", ["none", "max_pool_3x3", "skip_connect", "sep_conv_3x3"], num_nodes=2, num_cells=3,
        init_channels=4,
    ),
    "nasbench201": lambda: NasBench201Space("nasbench201", cells_per_stage=1, init_channels=4),
}  # fmt: skip
SAMPLED = ("gdas", "rsps", "dsnas", "proxyless", "parsec")


def step_of(method, space, *overrides):
    """A step of a method that conf/ composes in a space, in double precision, its optimisers built."""
    register_resolvers()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("search", [f"method={method}", "trainer.max_epochs=20", *overrides])
    torch.manual_seed(0)
    shapes = {name: group.shape for name, group in space.groups.items()}
    built = instantiate(config.method, shapes=shapes, layout=layout_of(space.groups)).double()
    stages = StageBuilder(space, attach(built, space, INPUTS), INPUTS, 0, lambda network: network)
    stages.check()
    step = Step(stages.supernet(0).double(), built, Classification())
    step.build_optimizers()
    return step


def batch(seed=0):
    torch.manual_seed(seed)
    return torch.randn(6, 1, 8, 8).double(), torch.randint(0, 4, (6,))


@pytest.fixture(params=SPACES)
def space(request):
    return SPACES[request.param]()


# --- one path per edge ---------------------------------------------------------------------------------


def twins(space):
    """The same network with candidates that share tensors over edges, and with candidates of their own."""
    torch.manual_seed(0)
    shared, separate = space.supernet(INPUTS).double(), space.supernet(INPUTS, separate=True).double()
    state = separate.state_dict()
    for name, value in shared.state_dict().items():
        if name in state:
            state[name] = value
            continue
        place, _, tensor = name.partition(".candidates.")
        operation = tensor.partition(".")[0]
        edges = shared.get_submodule(place).holders[operation]
        for position, edge in enumerate(edges):
            own = value[position : position + 1] if len(value) == len(edges) else value
            state[f"{place}.edges.{edge}.candidates.{tensor}"] = own
    separate.load_state_dict(state)
    return shared, separate


def test_candidates_of_their_own_compute_what_shared_ones_do(space):
    shared, separate = twins(space)
    images, labels = batch()
    torch.manual_seed(1)
    weights = {g: torch.rand(group.shape).double().requires_grad_() for g, group in space.groups.items()}
    found = []
    for network in (shared, separate):
        loss = F.cross_entropy(network(images, weights), labels)
        found.append([loss, *torch.autograd.grad(loss, list(weights.values()))])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_a_drawn_path_gives_what_all_candidates_give_at_its_op_weights(space, seed):
    """With the test of one-hot supernets against evaluation networks: the loss of the stand-alone network."""
    shared, separate = twins(space)
    images, _ = batch()
    torch.manual_seed(seed)
    weights = {g: OneHot().op_weights(torch.zeros(group.shape).double()) for g, group in space.groups.items()}
    drawn = OpWeights(weights, {group: value != 0 for group, value in weights.items()})
    torch.testing.assert_close(separate(images, drawn), shared(images, weights), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("method", SAMPLED)
def test_what_is_not_drawn_does_not_move(space, method):
    """No gradient, no weight decay, no momentum, no statistics; and what is drawn has all of it."""
    step = step_of(method, space, *(["method.update.children=2"] if method == "parsec" else []))
    step.method.begin_epoch(0, 4)
    step.weight(batch())  # momentum
    before = {name: value.clone() for name, value in step.supernet.state_dict().items()}
    drawn = []
    own = step.method.op_weights
    step.method.op_weights = lambda *args: drawn.append(own(*args)) or drawn[-1]
    step.weight(batch(1))
    after = step.supernet.state_dict()
    seen = set()
    for place, module in step.supernet.named_modules():
        if ".edges." not in place or not hasattr(module, "holders"):
            continue
        group = place_group(step.supernet, space, place)
        for row, name in rows_of(space, group, place, module):
            column = space.groups[group].operations[row].index(name)
            runs = any(bool(one.run[group][row, column]) for one in drawn)
            module_of = module.candidates[name]
            for key, parameter in module_of.named_parameters():
                moved = not torch.equal(before[f"{place}.candidates.{name}.{key}"], parameter)
                assert moved == runs
                assert (parameter.grad is not None) == runs
                seen.add(runs)
            for key, _ in module_of.named_buffers():
                full = f"{place}.candidates.{name}.{key}"
                if full in before:
                    assert torch.equal(before[full], after[full]) != runs
    assert seen == {True, False}


def place_group(supernet, space, place):
    index = int(place.split(".")[1])
    return supernet.kinds[index] if hasattr(supernet, "kinds") else "cell"


def rows_of(space, group, place, module):
    source, edge = int(place.split(".")[3]), int(place.split(".")[5])
    rows = [row for row, pair_ in enumerate(space.groups[group].edges) if pair_[0] == source]
    return [(rows[edge], name) for name in module.holders]


@pytest.mark.parametrize("method", SAMPLED)
def test_a_step_of_alpha_leaves_the_weights(space, method):
    step = step_of(method, space)
    step.method.begin_epoch(0, 4)
    before = [value.clone() for value in step.supernet.parameters()]
    start = [alpha.detach().clone() for alpha in step.alphas]
    if step.method.learns and not step.method.joint:
        step.architecture(batch(), batch(1))
    elif step.method.joint:
        step.joint(batch())
    moved = any(not torch.equal(a, b) for a, b in zip(start, step.alphas, strict=True))
    assert moved == step.method.learns
    if not step.method.joint:
        assert all(torch.equal(a, b) for a, b in zip(before, step.supernet.parameters(), strict=True))


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


# --- edges that are fixed ------------------------------------------------------------------------------


def test_an_edge_with_a_clear_lead_is_fixed_and_stays_so_in_a_checkpoint():
    step = step_of("dsnas", SPACES["nasbench201"]())
    method = step.method
    with torch.no_grad():
        method.alpha["cell"][2] = torch.tensor([0.0, 0.0, 3.0, 0.0, 0.0])
    method.begin_epoch(1, 4)
    assert method.decided.rows("cell", method.alpha["cell"]).tolist() == [False, False, True] + [False] * 3
    with torch.no_grad():
        method.alpha["cell"][2] = torch.tensor([9.0, 0.0, 0.0, 0.0, 0.0])
    other = copy.deepcopy(step_of("dsnas", SPACES["nasbench201"]()).method)
    other.load_state_dict(method.state_dict())
    for one in (method, other):
        one.begin_epoch(2, 4)
        for _ in range(5):
            assert one.op_weights()["cell"][2].tolist() == [0, 0, 1, 0, 0]
        assert one.scores()["cell"][2].argmax() == 2
    found = step.method.gradient(step.bilevel(), batch(), batch(1))
    assert not found.gradients[0][2].any() and found.gradients[0].any()


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
