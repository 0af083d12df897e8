"""The controller of ENAS: its distribution by enumeration, what it learns, and what is kept of it."""

import copy
from functools import partial
from itertools import combinations, product

import pytest
import torch

from nas.engine.divergence import first_broken
from nas.engine.run_folder import read_table
from nas.errors import ConfigError
from nas.methods.controlled import ControllerMethod, _from
from nas.methods.controller import Controller, plan_of
from nas.methods.regularizers import BetaDecay
from nas.methods.relaxations import Frequencies, Softmax
from nas.methods.updates import FirstOrder, ScoreFunction
from nas.methods.updates.base import Bilevel
from tests.methods.composed import SPACES, batch, step_of

EDGES = [[0, 2], [1, 2], [0, 3], [1, 3], [2, 3]]
LAYOUT = {"cell": {"edges": EDGES, "operations": [["none", "skip", "conv"]] * 5}}
FEW = "method.update.samples=2"


def derive(scores):
    """Two in-edges per node, by their best candidate that is not `none`."""
    found = torch.zeros(5, 3)
    for rows in ([0, 1], [2, 3, 4]):
        best = scores["cell"][rows][:, 1:]
        for row in best.amax(-1).topk(2).indices.tolist():
            found[rows[row], 1 + int(best[row].argmax())] = 1.0
    return {"cell": found}


def architectures():
    """All 4 x 12 of them."""
    for kept in combinations([2, 3, 4], 2):
        for columns in product([1, 2], repeat=4):
            one = torch.zeros(5, 3).double()
            one[[0, 1, *kept], list(columns)] = 1.0
            yield one


@pytest.fixture(scope="module")
def controller():
    torch.manual_seed(0)
    built = Controller(LAYOUT, hidden=8, layers=2, tanh=2.5, temperature=1.0, init=1.5).double()
    return (built, *plan_of(LAYOUT, derive))


def test_the_plan_has_a_choice_for_all_that_a_space_leaves_open(controller):
    _, plan, allowed = controller
    assert [(one.rows, one.edge) for one in plan] == [
        ((0,), False), ((1,), False), *[((2, 3, 4), edge) for edge in (True, False)] * 2,
    ]  # fmt: skip
    assert allowed["cell"].tolist() == [[False, True, True]] * 5


def test_it_is_a_distribution_over_all_architectures_and_draws_follow_it(controller):
    built, plan, allowed = controller
    with torch.no_grad():
        walks = [built.follow(plan, allowed, {"cell": one}) for one in architectures()]
    logs = torch.cat([walk.log_probability for walk in walks])
    assert all(
        torch.equal(walk.drawn["cell"][0], one) for walk, one in zip(walks, architectures(), strict=True)
    )
    assert float(logs.exp().sum()) == pytest.approx(1.0)
    # The entropies on the way are the distribution's own in expectation.
    on_the_way = torch.cat([walk.entropy for walk in walks])
    assert float((logs.exp() * on_the_way).sum()) == pytest.approx(-float((logs.exp() * logs).sum()))
    number = 5_000
    drawn = built.draw(plan, allowed, number, _from(torch.Generator().manual_seed(0)))
    known = torch.stack(list(architectures())).flatten(1)
    counts = (drawn.drawn["cell"].flatten(1) @ known.T == 4).double().sum(0)
    assert float(counts.sum()) == number
    expected = number * logs.exp()
    assert float(((counts - expected) ** 2 / expected).sum()) < 94  # 47 degrees of freedom, p = 6e-5
    exact = (logs.exp()[:, None] * known).sum(0).view(5, 3)
    torch.testing.assert_close(drawn.conditional["cell"].mean(0), exact, atol=0.04, rtol=0)


def test_equal_logits_are_uniform_over_the_architectures(controller):
    built, plan, allowed = copy.deepcopy(controller)
    for layer in (built.predict_operation, built.predict_edge):
        for parameter in layer.parameters():
            torch.nn.init.zeros_(parameter)
    for one in list(architectures())[::7]:
        found = built.follow(plan, allowed, {"cell": one})
        assert float(found.log_probability.detach()) == pytest.approx(
            -torch.log(torch.tensor(48.0)).item(), abs=1e-6
        )
    found.log_probability.sum().backward()
    assert all(one.grad is None or one.grad.isfinite().all() for one in built.parameters())


def test_it_finds_what_is_rewarded(controller):
    """A table in place of a supernet: the share of `conv`. A random draw has a half of it."""
    built, plan, allowed = copy.deepcopy(controller)
    parameters = list(built.parameters())
    draw = partial(built.draw, plan, allowed, 1, _from(torch.Generator().manual_seed(0)))

    def follow(op_weights):
        return built.follow(plan, allowed, op_weights)

    problem = Bilevel(
        None, None, [], parameters, None,
        draw=lambda paths: {"cell": draw().drawn["cell"][0]},
        judge=lambda _, drawn: (torch.zeros(()), drawn["cell"][:, 2].sum() / 4),
        log_probability=lambda drawn: follow(drawn).log_probability[0],
    )  # fmt: skip
    update = ScoreFunction(samples=4, decay=0.9)
    optimizer = torch.optim.Adam(parameters, lr=0.1)
    for _ in range(12):
        for parameter, gradient in zip(
            parameters, update.gradient(problem, None, None).gradients, strict=True
        ):
            parameter.grad = gradient
        optimizer.step()
    assert float(update.baseline) > 0.75


def test_the_entropy_of_a_draw_is_part_of_its_reward():
    step = step_of("enas", SPACES["nasbench201"](), "method.update.samples=1", "method.update.entropy=2.0")
    problem, drawn = step.bilevel(), []
    own = problem.draw
    problem.draw = lambda paths: drawn.append(own(paths)) or drawn[-1]
    step.method.gradient(problem, batch(), batch(1))
    accuracy = step.judge(batch(1), drawn[0])[1]
    worth = float(accuracy) + 2.0 * float(step.method.path_entropy(drawn[0]).detach())
    assert float(step.method.update.baseline) == pytest.approx(worth)


def test_an_epoch_in_which_the_controller_rests_ends_no_search():
    """Every epoch ends with a look for numbers that are none, and a warm-up has no reward yet."""
    method = step_of("enas", SPACES["nasbench201"](), FEW).method
    assert first_broken(method) is None and not method.update.rewarded


@pytest.mark.parametrize("space", SPACES)
def test_draws_are_architectures_of_the_space_and_a_checkpoint_holds_all_of_it(space):
    space = SPACES[space]()
    step = step_of("enas", space, FEW)
    method, start = step.method, step.method.strengths()
    for one in (method.op_weights(), method.draw()):
        again = method.derived(one)
        assert all(torch.equal(one[group].float(), again[group].float()) for group in one)
        assert all(torch.equal(one.run[group], one[group] != 0) for group in one)
    step.architecture(batch(), batch(1))
    assert all(not torch.equal(start[group], value) for group, value in method.strengths().items())
    for group, value in method.scores().items():
        assert float(value.sum()) == pytest.approx(float(method.derived(method.scores())[group].sum()))
    torch.manual_seed(3)
    expected = method.op_weights()
    other = step_of("enas", space, FEW).method
    other.load_state_dict(method.state_dict())
    torch.manual_seed(3)
    assert all(torch.equal(value, expected[group]) for group, value in other.op_weights().items())
    assert torch.equal(other.update.baseline, method.update.baseline)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"update": FirstOrder()}, r"method\.update=first_order: a controller learns by the probability"),
        ({"update": None}, r"method\.update=none: a controller learns by"),
        ({"relaxation": Softmax()}, r"method\.relaxation: Softmax makes op weights of alpha"),
        ({"regularizers": {"x": BetaDecay()}}, r"method\.regularizers\.x: a term on alpha"),
        ({"tanh": 0.0}, r"method\.tanh=0\.0: must be positive"),
        ({"layout": None}, r"method=enas: which edges enter a node"),
    ],
)
def test_what_means_nothing_with_a_controller_is_refused(parts, message):
    usual = {"relaxation": Frequencies(), "update": ScoreFunction(), "layout": LAYOUT}
    ControllerMethod("enas", {"cell": (5, 3)}, **usual)
    with pytest.raises(ConfigError, match=message):
        ControllerMethod("enas", {"cell": (5, 3)}, **usual | parts)


def test_an_epoch_in_which_the_controller_rests_has_no_loss_of_an_epoch_before(run, tmp_path):
    # Two steps an epoch, and the controller moves after every fourth.
    sizes = ("space=nasbench201", "space.cells_per_stage=1", "space.init_channels=4", "trainer.max_epochs=3")
    few = ("dataset.batch_size=16", "trainer.limit_train_batches=2", "trainer.limit_val_batches=1")
    done = run("search", "method=enas", *sizes, *few, f"hydra.run.dir={tmp_path / 'run'}")
    assert done.status == 0, done.err
    losses = [row["architecture_step_loss"] for row in read_table(tmp_path / "run/metrics.csv")]
    assert [loss != "" for loss in losses] == [False, True, False]
