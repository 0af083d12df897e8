"""What drawn paths, updates, selections and edge weights do together, or are refused."""

import pytest
import torch

from nas.engine.learning import check_selection
from nas.engine.search_module import train_norms
from nas.engine.stages import attach
from nas.errors import ConfigError
from nas.spaces.recurrent.space import RecurrentSpace
from nas.spaces.space import TextInputs
from tests.methods.composed import INPUTS, SPACES, batch, step_of

SPACE = SPACES["nasbench201"]
RANDOM = "method.perturbation={_target_:nas.methods.perturbations.Random}"
TARGET = "method.update._target_=nas.methods.updates"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            "rsps method.update._target_=nas.methods.updates.FirstOrder",
            "goes through the op weights, which have",
        ),
        ("proxyless method.relaxation.gradient=none method.update.paths=all", "opens and shuts the gates"),
        (f"darts1 {TARGET}.Gates", "opens and shuts the gates"),
        (f"darts1 {TARGET}.ScoreFunction", "draws none"),
        (f"rsps {TARGET}.ScoreFunction", "draws none"),
        (f"gdas {RANDOM}", "runs but those that are drawn"),
        (
            "darts1 +method.regularizers.a={_target_:nas.methods.regularizers.DropPath,probability:0.1} "
            "+method.regularizers.b={_target_:nas.methods.regularizers.DropPath,probability:0.2}",
            "set twice in .*drop_path",
        ),
        ("rsps method.cost.weight=1", "method.cost.weight: alpha of method rsps never moves"),
        ("rsps method.architecture_clip=1", "method.architecture_clip=1.*weights_alone"),
        ("rsps method.lam=1", "alpha never moves, so that method.regularizers"),
        ("rsps method.warmup_epochs=3", "method.warmup_epochs=3 would do nothing"),
        (
            "rsps +method.monitors.a={_target_:nas.methods.monitors.GradientAgreement}",
            "method.update=weights_alone has no step on the second",
        ),
    ],
)
def test_what_means_nothing_together_is_refused(words, message):
    with pytest.raises(ConfigError, match=message):
        step_of(words.split()[0], SPACE(), *words.split()[1:])


@pytest.mark.parametrize("method", ["rsps", "proxyless", "parsec"])
def test_processes_that_compare_draws_draw_alike(method):
    own = step_of(method, SPACE(), "method.relaxation.draws=rank").method
    own.check_settings(several=False, implicit_every=0)
    with pytest.raises(ConfigError, match=r"method\.relaxation\.draws=rank: processes of method"):
        own.check_settings(several=True, implicit_every=0)


def test_steps_through_op_weights_without_a_gradient_are_none():
    own = step_of("parsec", SPACE()).method
    assert own.has_step("weight") and not own.has_step("first_order") and not own.has_step("second_order")
    assert step_of("gdas", SPACE()).method.has_step("first_order")
    with pytest.raises(ConfigError, match=r"analysis\.implicit\.every=1"):
        own.check_settings(several=False, implicit_every=1)


def test_a_selection_needs_batches_of_a_validation():
    trainer = {"max_epochs": 2, "check_val_every_n_epoch": 1, "limit_val_batches": 0}
    with pytest.raises(ConfigError, match=r"trainer\.limit_val_batches=0: method\.selection"):
        check_selection({"trainer": trainer}, step_of("rsps", SPACE()).method)


def fixed(method, column=3):
    """A method all of whose edges are decided for one candidate."""
    choices_EO = torch.zeros(6, 5)
    choices_EO[:, column] = 1.0
    method.decided.decide("cell", torch.ones(6, dtype=torch.bool), choices_EO)
    return method


def test_a_fixed_candidate_is_run_also_where_two_are_compared():
    own = fixed(step_of("proxyless", SPACE(), "method.relaxation.gap=0.5").method)
    for _ in range(20):
        op_weights = own.op_weights("two")
        assert bool((op_weights.run["cell"] == (op_weights["cell"] != 0)).all())


def test_a_step_with_fixed_edges_stays_finite():
    step = step_of("proxyless", SPACE())
    rows = torch.tensor([True] + [False] * 5)
    step.method.decided.decide("cell", rows, torch.zeros(6, 5))
    step.architecture(batch(), batch(1))
    assert bool(step.method.alpha["cell"].isfinite().all())


def test_what_is_decided_is_in_every_draw_and_survives_pruning():
    own = fixed(step_of("rsps", SPACE()).method)
    drawn = own.sample_strengths(7, torch.Generator().manual_seed(0))["cell"]
    assert bool((drawn.argmax(-1) == 3).all())
    table = own.log_probability_table()["cell"]
    assert table[:, 3].tolist() == [0.0] * 6 and bool((table[:, :3] == -torch.inf).all())
    assert own.draw()["cell"][:, 3].tolist() == [1.0] * 6
    own = fixed(step_of("dsnas", SPACE()).method)
    with torch.no_grad():
        own.alpha["cell"][:, 3] = -9.0
    own.prune(2)
    assert bool(own.kept()["cell"][:, 3].all())


def test_draws_know_edge_weights():
    space = SPACES["darts"]()
    own = attach(step_of("pcdarts", space).method, space, INPUTS)
    with torch.no_grad():
        own.edges.beta["normal_3"].copy_(torch.tensor([[9.0, 9.0, -9.0]]))
    for _ in range(10):
        drawn = own.draw()
        assert drawn.run["normal"].any(-1)[2:].tolist() == [True, True, False]
        assert float(drawn["normal"].max()) == pytest.approx(0.5, abs=0.01)


def test_the_best_is_judged_by_the_statistics_of_a_batch_without_dropout():
    space = RecurrentSpace("darts_rnn", hidden_size=8, embedding_size=8, num_nodes=2, dropout_x=0.7)
    network = space.supernet(TextInputs(11)).eval()
    train_norms(network)
    tokens, weights = torch.randint(0, 11, (4, 3)), {"recurrent": torch.rand(space.groups["recurrent"].shape)}
    first, second = (network(tokens, weights)[0] for _ in range(2))
    torch.testing.assert_close(first, second)
    with torch.no_grad():
        network.norm.running_var.fill_(100.0)
    torch.testing.assert_close(network(tokens, weights)[0], first)
