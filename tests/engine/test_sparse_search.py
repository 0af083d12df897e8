"""A sparse search drops what is zero while it runs, and its outputs do not change by that."""

from functools import partial

import pytest
import torch
from torch.optim.lr_scheduler import ConstantLR

from nas.engine.sparsity import sparsity_rows, totals
from nas.engine.stages import Leg, StageBuilder, attach, legs_of
from nas.errors import ConfigError
from nas.methods.layout import layout_of
from nas.methods.proximal import AcceleratedProximalGradient
from nas.spaces.darts.space import DartsSpace
from nas.spaces.dso.space import DsoSpace
from nas.spaces.nasbench201.space import NasBench201Space
from nas.spaces.space import ImageInputs
from tests.methods.flat import flat_method, flat_sparse

IMAGE, CLASSES = (3, 8, 8), 4
INPUTS = ImageInputs(IMAGE, CLASSES)
SPACES = {
    "nasbench201": partial(NasBench201Space, cells_per_stage=1, init_channels=2),
    "darts": partial(
        DartsSpace,
        operations=["none", "skip_connect", "max_pool_3x3", "sep_conv_3x3"],
        num_nodes=2,
        num_cells=3,
        init_channels=2,
    ),
    "share": partial(DsoSpace, levels=2, blocks_per_stage=[2, 1], init_channels=2, share=True),
    "full": partial(DsoSpace, levels=2, blocks_per_stage=[2, 1], init_channels=2, share=False),
}


def stages_of(kind, **settings):
    """A sparse search of a tiny space, in double precision."""
    torch.manual_seed(0)
    space = SPACES[kind](kind)
    method = flat_sparse(
        "dsonas",
        {name: group.shape for name, group in space.groups.items()},
        layout=layout_of(space.groups),
        weight_optimizer=partial(torch.optim.SGD, lr=0.1, momentum=0.9, nesterov=True),
        weight_scheduler=partial(ConstantLR, factor=1.0),
        architecture_optimizer=partial(AcceleratedProximalGradient, lr=0.1),
        **settings,
    )
    return StageBuilder(space, attach(method, space, INPUTS), INPUTS, 0, lambda network: network.double())


def stepped(stages, density=0.5):
    """A search after a step of both optimisers, with factors of which some are exactly zero."""
    module = stages.module(0).double()
    optimizers, schedules = module.configure_optimizers()
    images = torch.randn(4, *IMAGE, dtype=torch.float64)
    loss = module.supernet(images, stages.method.op_weights()).square().mean()
    loss.backward()
    with stages.method.stepping(optimizers[1]):
        optimizers[1].step()
    optimizers[0].step()
    with torch.no_grad():
        for name, alpha in stages.method.alpha.items():
            alpha.mul_(torch.rand_like(alpha) < density)
            for guard in stages.space.groups[name].guards:
                alpha[list(guard.rows[: guard.least]), 1 - alpha.shape[1]] = 0.5
    state = {
        "state_dict": module.state_dict(),
        "optimizer_states": [optimizer.state_dict() for optimizer in optimizers],
        "lr_schedulers": [schedules[0].state_dict()],
    }
    return module, state, images


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("kind", SPACES)
def test_the_network_without_its_zeros_gives_the_same_logits(kind, training):
    stages = stages_of(kind)
    before, state, images = stepped(stages)
    after, grown = stages.grow(before, state, 1)
    after.supernet.double().load_state_dict(
        {k[9:]: v for k, v in grown["state_dict"].items() if k.startswith("supernet.")}
    )
    assert sum(p.numel() for p in after.weights) < sum(p.numel() for p in before.weights)
    alive = stages.method.alive()
    with torch.no_grad():
        logits = [
            module.supernet.train(training)(images, stages.method.op_weights()) for module in (before, after)
        ]
    torch.testing.assert_close(logits[1], logits[0], rtol=0, atol=1e-12)
    # And what was dropped had no effect from the start.
    assert all(bool((stages.space.clean(alive)[g] == alive[g]).all()) for g in alive)


@pytest.mark.parametrize("kind", SPACES)
def test_momentum_goes_with_its_weight(kind):
    stages = stages_of(kind)
    before, state, _ = stepped(stages)
    after, grown = stages.grow(before, state, 1)
    held = [name for name, _ in after.supernet.named_parameters()]
    moments = grown["optimizer_states"][0]["state"]
    names = [name for name, _ in before.supernet.named_parameters()]
    for index, name in enumerate(held):
        moment = moments.get(index, {}).get("momentum_buffer")
        source = state["optimizer_states"][0]["state"].get(names.index(name), {}).get("momentum_buffer")
        if moment is not None and moment.shape == source.shape:
            torch.testing.assert_close(moment, source)
    velocity = grown["optimizer_states"][1]["state"]
    for index, group in enumerate(stages.method.alpha):
        gone = ~stages.method.kept()[group]
        assert not velocity[index]["velocity"][gone].any()


def test_the_legs_begin_with_the_pretraining_and_end_where_the_search_does():
    method = stages_of("share", warmup_epochs=4, prune_every=3).method
    assert legs_of(method, 12) == [Leg(0, 0, 7), Leg(1, 7, 10), Leg(2, 10, 12)]
    assert legs_of(stages_of("share", prune_every=None).method, 12) == [Leg(0, 0, 12)]
    # Shorter than the pretraining: one piece.
    assert legs_of(method, 2) == [Leg(0, 0, 2)]


def test_factors_move_every_so_many_weight_steps_after_the_pretraining():
    method = stages_of("share", warmup_epochs=1, weight_steps=4).method
    assert [i for i in range(12) if method.moves(1, i)] == [3, 7, 11]
    assert not any(method.moves(0, i) for i in range(12))


def test_a_dropped_factor_stays_at_zero_and_a_guarded_one_does_not_get_there():
    stages = stages_of("share", gamma=100.0)
    method = stages.method
    method.drop({name: torch.rand(a.shape) < 0.7 for name, a in method.alpha.items()} | _reductions(method))
    dropped = {name: ~mask for name, mask in method.kept().items()}
    optimizer = method.architecture_optimizer(method.alphas())
    for _ in range(5):
        for alpha in method.alphas():
            alpha.grad = torch.ones_like(alpha)
        with method.stepping(optimizer):
            optimizer.step()
    for name, alpha in method.alpha.items():
        assert not alpha[dropped[name]].any()
        # Everything is pushed to zero here; of a reduction one branch stays as it was.
        assert int((alpha != 0).sum()) == (1 if name.startswith("reduce") else 0)


def _reductions(method):
    return {n: torch.ones(a.shape, dtype=torch.bool) for n, a in method.alpha.items() if "reduce" in n}


@pytest.mark.parametrize("kind", SPACES)
@pytest.mark.parametrize("adaptive", ["none", "flops", "memory", "latency"])
def test_gamma_follows_what_is_alive(kind, adaptive):
    method = stages_of(kind, adaptive=adaptive).method
    if adaptive == "latency":
        method.seconds = {n: torch.rand(a.shape, dtype=torch.float64) for n, a in method.alpha.items()}
    optimizer = method.architecture_optimizer(method.alphas())
    for alpha in method.alphas():
        alpha.grad = torch.zeros_like(alpha)
    held = {name: mask.clone() for name, mask in method.kept().items()}
    with method.stepping(optimizer):
        optimizer.step()
    for name, alpha in method.alpha.items():
        fallen = (1 - alpha.detach())[held[name]]
        # The whole group is alive, so the threshold is lr * gamma times at most 1, and v adds 0.9 of it.
        assert float(fallen.max()) <= 0.1 * 1e-3 * 1.9 * 1.001
        if adaptive in ("none",):
            torch.testing.assert_close(fallen, torch.full_like(fallen, 0.1 * 1e-3 * 1.9), rtol=1e-3, atol=0)


def test_the_authors_count_is_for_their_own_blocks():
    stages_of("share", adaptive="count")
    with pytest.raises(ConfigError, match=r"adaptive=count: defined for space=dso"):
        stages_of("nasbench201", adaptive="count")


@pytest.mark.parametrize("kind", SPACES)
def test_what_is_counted_falls_from_the_whole_to_nothing_but_what_is_left(kind):
    stages = stages_of(kind)
    rows = sparsity_rows(stages.space, stages.method, 0)
    assert all(row["macs"] <= row["macs_of"] and row["alive"] <= row["of"] for row in rows)
    share, macs = totals(rows)
    stepped(stages, 0.4)
    share_left, macs_left = totals(sparsity_rows(stages.space, stages.method, 1))
    assert share_left < share and macs_left < macs


def test_a_space_with_one_candidate_an_edge_refuses_a_distribution():
    space = SPACES["share"]("dso")
    shapes = {name: group.shape for name, group in space.groups.items()}
    for relaxation in ("softmax", "dirichlet"):
        with pytest.raises(ConfigError, match=f"a {relaxation} cannot choose; .*method=dsonas"):
            flat_method("m", shapes, relaxation=relaxation)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"update": "unrolled"}, r"method\.update=unrolled: .*first_order, joint, coordinate_descent, none"),
        ({"weight_steps": 0}, r"method\.weight_steps=0"),
        ({"weight_steps": 2, "update": "joint"}, r"method\.weight_steps=2: method\.update=joint"),
        ({"clip_value": -1.0}, r"method\.clip_value=-1"),
        ({"gamma": -1.0}, r"method\.gamma=-1"),
        ({"adaptive": "flop"}, r"method\.adaptive=flop: .*flops"),
        ({"prune_every": 0}, r"method\.prune_every=0"),
        ({"budget": {"flops": 1}}, r"method\.budget: unknown keys \['flops'\]; known are macs, params"),
        ({"budget": {"macs": 0}}, r"method\.budget\.macs=0"),
    ],
)
def test_settings_out_of_range_are_named(settings, words):
    with pytest.raises(ConfigError, match=words):
        stages_of("share", **settings)
