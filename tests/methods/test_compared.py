"""The parts of the methods that papers compare with: their limits, and what is known in closed form."""

import copy
import math
from functools import cache

import pytest
import torch
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from torch.nn import functional as F

from nas.engine.step import Step
from nas.engine.tasks import Classification
from nas.errors import ConfigError
from nas.methods.exponentiated import ExponentiatedGradient
from nas.methods.layout import layout_of
from nas.methods.perturbations import Adversarial, Random
from nas.methods.perturbations.smooth import on_simplex
from nas.methods.regularizers import AuxiliarySkip, BetaDecay, DropPath, SkipDropout, ZeroOne
from nas.methods.relaxations import Concrete, Sigmoid, Simplex, Softmax
from nas.running.config import CONF, instantiate, register_resolvers
from nas.running.parts import compose
from nas.spaces.darts.space import DartsSpace
from nas.spaces.space import ImageInputs

OPERATIONS = ["none", "skip_connect", "avg_pool_3x3", "sep_conv_3x3"]
EPOCHS = 4
OLES = "oles method.monitors.agreement.threshold=1 method.monitors.agreement.steps=2"


@pytest.fixture(scope="module")
def start():
    """A space and a supernet, of which each method gets a copy."""
    register_resolvers()
    torch.manual_seed(0)
    space = DartsSpace("darts", OPERATIONS, num_nodes=2, num_cells=3, init_channels=2)
    return space, space.supernet(ImageInputs((1, 8, 8), 4)).double()


def steps_of(start, method, *overrides):
    """A step with the method that conf/ composes, its optimisers built."""
    space, supernet = start
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("search", [f"method={method}", f"trainer.max_epochs={EPOCHS}", *overrides])
    torch.manual_seed(1)
    shapes = {name: group.shape for name, group in space.groups.items()}
    built = instantiate(config.method, shapes=shapes, layout=layout_of(space.groups)).double()
    step = Step(copy.deepcopy(supernet), built, Classification())
    step.build_optimizers()
    return step


def trained(start, method, *overrides, epochs=EPOCHS):
    """Weights, statistics and alphas after a step in each of some epochs."""
    step = steps_of(start, method, *overrides)
    torch.manual_seed(2)
    for epoch in range(epochs):
        step.method.begin_epoch(epoch, EPOCHS)
        batches = [(torch.randn(4, 1, 8, 8).double(), torch.randint(0, 4, (4,))) for _ in range(2)]
        step.architecture(*batches)
        step.weight(batches[0])
    return [*step.weights, *step.supernet.buffers(), *step.alphas]


def test_p_darts_of_one_stage_without_dropout_is_darts_bit_by_bit(start):
    """The same numbers on either side; beside them it differs by its derivation alone."""
    one = ("method.stages=[{epochs:4}]", "method.regularizers.skip_dropout.probabilities=[0]")
    same = (
        "method.architecture_clip=5",
        "method.weight_scheduler.eta_min=0",
        "method.architecture_optimizer.lr=6e-4",
    )
    for ours, theirs in zip(trained(start, "pdarts", *one), trained(start, "darts1", *same), strict=True):
        assert torch.equal(ours, theirs)


@pytest.fixture(scope="module")
def darts(start):
    """`darts("rdarts_l2 ...")`: what the DARTS that a method builds on comes to."""
    known = cache(lambda name: trained(start, name))
    return lambda method: known("darts2" if method.startswith("rdarts") else "darts1")


@pytest.mark.parametrize(
    "limit",
    [
        "sdarts_rs method.perturbation.start=0 method.perturbation.end=0",
        "sdarts_adv method.perturbation.start=0 method.perturbation.end=0",
        "beta_darts method.regularizers.beta_decay.weight=0",
        "milenas method.update.lam=0",
        "oles method.monitors.agreement.threshold=-1 method.monitors.agreement.steps=2",
        "darts_minus method.regularizers.auxiliary_skip.start=0",
        "rdarts_l2 method.weight_optimizer.weight_decay=3e-4",
        "rdarts_dp method.regularizers.drop_path.probability=0",
    ],
)
def test_in_its_limit_a_method_is_darts_bit_by_bit(start, darts, limit):
    for ours, theirs in zip(trained(start, *limit.split()), darts(limit), strict=True):
        assert torch.equal(ours, theirs)


OTHERS = ("sdarts_rs", "sdarts_adv", "beta_darts", "milenas", "gaea", "fairdarts", "darts_minus", "rdarts_l2",
          "rdarts_dp", OLES)  # fmt: skip


@pytest.mark.parametrize("method", OTHERS)
def test_outside_of_it_it_is_not(start, darts, method):
    ours, theirs = trained(start, *method.split()), darts(method)
    assert any(not torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_mixed_level_is_the_gradient_of_the_sum(start):
    step = steps_of(start, "milenas", "method.update.lam=0.5")
    batches = [(torch.randn(4, 1, 8, 8).double(), torch.randint(0, 4, (4,))) for _ in range(2)]
    buffers = [one.clone() for one in step.supernet.buffers()]
    found = step.method.gradient(step.bilevel(), *batches)
    after = [one.clone() for one in step.supernet.buffers()]
    total = step.loss(batches[1]) + 0.5 * step.loss(batches[0])
    for ours, theirs in zip(found.gradients, torch.autograd.grad(total, step.alphas), strict=True):
        torch.testing.assert_close(ours, theirs)
    # The statistics have seen the architecture batch once, and nothing else.
    with torch.no_grad():
        for one, value in zip(step.supernet.buffers(), buffers, strict=True):
            one.copy_(value)
    step.loss(batches[1])
    for ours, theirs in zip(after, step.supernet.buffers(), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("seed", range(3))
def test_adversarial_op_weights_are_never_better_than_their_own(start, seed):
    step = steps_of(start, "sdarts_adv")
    torch.manual_seed(seed)
    batch = torch.randn(4, 1, 8, 8).double(), torch.randint(0, 4, (4,))
    own = step.op_weights()
    found = step._perturbed(batch)
    assert step.supernet.training and all(weight.grad is None for weight in step.weights)
    step.supernet.eval()
    with torch.no_grad():
        assert step.run(batch, found, train=False).loss >= step.run(batch, own, train=False).loss
    for value_EO in found.values():
        torch.testing.assert_close(value_EO.sum(-1), torch.ones(len(value_EO)).double())


def test_noise_stays_within_epsilon_before_its_row_is_divided_and_grows():
    perturbation = Random(0.1, 0.5)
    perturbation.begin_epoch(2, 4)
    assert perturbation.epsilon == pytest.approx(0.3)
    own = {"cell": torch.full((50, 4), 0.25)}
    noisy = perturbation._noisy(own)["cell"] - 0.25
    assert noisy.abs().max() <= 0.3 and noisy.abs().max() > 0.25
    assert isinstance(Adversarial(), Random)


def test_rows_are_cut_divided_and_never_empty():
    own = {"cell": torch.tensor([[0.2, 0.8, 0.0], [0.5, 0.3, 0.2]])}
    moved = {"cell": torch.tensor([[-0.1, -0.2, 0.4], [0.5, 0.3, 1.4]])}
    kept = {"cell": torch.tensor([[True, True, False], [True, True, True]])}
    expected = torch.tensor([[0.0, 1.0, 0.0], [0.5 / 1.8, 0.3 / 1.8, 1 / 1.8]])
    torch.testing.assert_close(on_simplex(moved, own, kept)["cell"], expected)


def test_a_perturbation_needs_a_weight_step_of_its_own(start):
    with pytest.raises(ConfigError, match=r"method.perturbation: method.update=joint"):
        steps_of(start, "sdarts_rs", "method.update=joint")


def test_exponentiated_gradient_is_mirror_descent():
    """theta = softmax(log theta - lr g); a gradient that is alike in a row moves nothing."""
    torch.manual_seed(0)
    theta = torch.nn.Parameter(torch.rand(5, 4).double().softmax(-1))
    gradient = torch.randn(5, 4).double()
    gradient[0] = 3.0
    expected = (theta.detach().log() - 0.1 * gradient).softmax(-1)
    theta.grad = gradient
    first = theta.detach()[0].clone()
    ExponentiatedGradient([theta], lr=0.1, least=0.0).step()
    torch.testing.assert_close(theta.detach(), expected)
    torch.testing.assert_close(theta.detach()[0], first)


def test_exponentiated_gradient_comes_back_from_the_edge_and_does_not_overflow():
    theta = torch.nn.Parameter(torch.tensor([[0.0, 1.0]]))
    optimizer = ExponentiatedGradient([theta], lr=1.0)
    theta.grad = torch.tensor([[-1e4, 0.0]])
    optimizer.step()
    assert torch.isfinite(theta).all() and theta[0, 0] > 0
    theta.grad = torch.tensor([[-20.0, 0.0]])
    optimizer.step()
    assert theta[0, 0] > 0.9
    assert float(theta.detach().sum()) == pytest.approx(1.0)


def test_an_entropic_pull_leads_to_the_middle():
    theta = torch.nn.Parameter(torch.tensor([[0.7, 0.2, 0.1]]))
    optimizer = ExponentiatedGradient([theta], lr=0.1, entropy=1.0)
    for _ in range(200):
        theta.grad = torch.zeros_like(theta)
        optimizer.step()
    torch.testing.assert_close(theta.detach(), torch.full((1, 3), 1 / 3), atol=1e-4, rtol=0)


def test_the_simplex_and_its_optimiser_need_each_other(start):
    with pytest.raises(ConfigError, match="Adam leaves the simplex"):
        steps_of(start, "darts1", "method.relaxation=simplex", "method.init_scale=0")
    with pytest.raises(ConfigError, match=r"relaxations\.Simplex"):
        ExponentiatedGradient([torch.nn.Parameter(torch.randn(2, 3))])
    step = steps_of(start, "gaea")
    assert all(torch.equal(alpha, torch.full_like(alpha, 0.25)) for alpha in step.alphas)
    with pytest.raises(ConfigError, match=r"init_scale=1\.0"):
        Simplex().initial(2, 3, 1.0)
    with pytest.raises(ConfigError, match=r"least=0\.5: must be below 1 / 4"):
        steps_of(start, "gaea", "method.architecture_optimizer.least=0.5")


def test_beta_decay_holds_back_what_is_large():
    """Its gradient on an edge is weight * t / T * softmax(alpha) / E, over the edges of all groups."""
    decay = BetaDecay(8.0)
    decay.begin_epoch(0, 4)
    assert not decay.explicit
    decay.begin_epoch(1, 4)
    torch.manual_seed(0)
    alphas = [torch.randn(2, 3).double().requires_grad_(), torch.randn(4, 3).double().requires_grad_()]
    for alpha, found in zip(
        alphas, torch.autograd.grad(decay.penalty(Softmax(), alphas), alphas), strict=True
    ):
        torch.testing.assert_close(found, 2.0 * alpha.detach().softmax(-1) / 6)


@pytest.mark.parametrize("form", ["absolute", "squared"])
def test_zero_one_pulls_sigmoids_apart(form):
    term = ZeroOne(10.0, form)
    alpha = torch.tensor([[0.5, -0.5]], requires_grad=True)
    (gradient,) = torch.autograd.grad(term.penalty(Sigmoid(), [alpha]), alpha)
    assert gradient[0, 0] < 0 < gradient[0, 1]
    half = ZeroOne(10.0, form).penalty(Sigmoid(), [torch.full((1, 2), 50.0)])
    assert float(half) == pytest.approx(-10 * (0.5 if form == "absolute" else 0.25))


def test_what_means_nothing_together_is_refused(start):
    node = "method.perturbation={_target_:nas.methods.perturbations.Random}"
    with pytest.raises(ConfigError, match=r"which the op weights of method\.relaxation=sigmoid"):
        steps_of(start, "fairdarts", node)
    with pytest.raises(ConfigError, match="beta_decay: a term on the logits of a softmax"):
        steps_of(start, "beta_darts", "method.relaxation=sigmoid")


def test_several_processes_draw_the_same_noise_and_none_climbs_alone(start):
    random, adversarial = (steps_of(start, f"sdarts_{name}").method for name in ("rs", "adv"))
    assert random.draws_alike and not steps_of(start, "darts1").method.draws_alike
    random.check_settings(several=True, implicit_every=0)
    adversarial.check_settings(several=False, implicit_every=0)
    with pytest.raises(ConfigError, match="Adversarial looks at the batch of one process"):
        adversarial.check_settings(several=True, implicit_every=0)


def test_rates_of_the_passes_follow_the_epoch():
    """Drop-path rises to its last epoch, the auxiliary skip falls towards 0, dropout follows the stage."""
    drop_path, skip, dropout = DropPath(0.6), AuxiliarySkip(), SkipDropout([0.4])
    for epoch, expected in enumerate([(0.0, 1.0, 0.3), (0.2, 0.75, 0.2), (0.4, 0.5, 0.4)]):
        for part in (drop_path, skip, dropout):
            part.begin_epoch(epoch, 4)
            part.begin_stage_epoch(0, epoch, 4, 2)
        found = drop_path.rates | skip.rates | dropout.rates
        assert list(found.values()) == pytest.approx(expected)
    dropout.begin_stage_epoch(0, 3, 4, 2)
    assert dropout.rates["skip_dropout"] == pytest.approx(0.4 * math.exp(-0.2))
    drop_path.begin_epoch(0, 1)
    assert drop_path.rates["drop_path"] == 0.6


def test_a_search_in_stages_has_a_dropout_for_each_and_no_skip_that_it_may_lose(start):
    stages = "method.stages=[{epochs:2},{epochs:2,keep:2}]"
    with pytest.raises(ConfigError, match=r"skip_connect, which a stage may drop"):
        steps_of(start, "darts_minus", stages)
    with pytest.raises(ConfigError, match=r"one for each of method\.stages, which are 2"):
        SkipDropout([0.0]).check_stages(2)


def test_zero_one_needs_gates(start):
    with pytest.raises(ConfigError, match="zero_one: op weights that sum to one"):
        steps_of(start, "fairdarts", "method.relaxation=softmax")


def test_concrete_draws_follow_the_softmax_and_harden():
    relaxation, alpha = Concrete(start=2.0, end=0.01), torch.tensor([[0.3, 1.0, -0.5]]).double()
    relaxation.begin_epoch(0, 3)
    assert relaxation.temperature == 2.0
    relaxation.begin_epoch(2, 3)
    assert relaxation.temperature == pytest.approx(0.01)
    torch.manual_seed(0)
    draws = relaxation.op_weights(alpha.expand(20_000, 3))
    torch.testing.assert_close(draws.sum(-1), torch.ones(20_000).double())
    counts = F.one_hot(draws.argmax(-1), 3).double().sum(0)
    expected = 20_000 * alpha[0].softmax(-1)
    assert float(((counts - expected) ** 2 / expected).sum()) < 18.4  # chi-square, p = 1e-4
    assert draws.amax(-1).median() > 0.999
    assert torch.equal(relaxation.evaluation_weights(alpha), alpha.softmax(-1))
