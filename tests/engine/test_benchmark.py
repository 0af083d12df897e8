"""The measured steps are the ones of a search, and their counts are exact. Times are never asserted."""

import pytest
import torch
from torch import nn

from nas.analysis.cost.timing import Race, spread
from nas.errors import ConfigError
from nas.measure.bench_report import relate
from nas.measure.operation_times import time_operations
from nas.measure.original_steps import OriginalSteps
from nas.measure.steps import SearchSteps, apply_hardware, draw_alive, numerics
from nas.methods.proximal import AcceleratedProximalGradient
from nas.methods.updates import Unrolled
from nas.spaces.darts.space import DartsSpace
from nas.spaces.dso.space import DsoSpace
from nas.spaces.space import ImageInputs
from tests.methods.flat import flat_method, flat_sparse
from tests.reference import dso
from tests.reference.literal import LiteralDarts
from tests.reference.mapping import load_literal

HARDWARE = {
    "accelerator": "cpu",
    "precision": "64-true",
    "channels_last": True,
    "compile": False,
    "native": False,
    "wide": False,
    "recompute": False,
}
OPERATIONS = ["none", "avg_pool_3x3", "skip_connect", "sep_conv_3x3"]
SHAPE = (3, 8, 8)


def method_of(space, update="first_order"):
    torch.manual_seed(3)
    return flat_method(
        "toy",
        {name: group.shape for name, group in space.groups.items()},
        update=update,
        clip=5.0,
        weight_optimizer=lambda p: torch.optim.SGD(p, 0.025, momentum=0.9, weight_decay=3e-4),
        # Not Adam, which turns rounding of a vanishing gradient into a full step.
        architecture_optimizer=lambda p: torch.optim.SGD(p, 1.0),
    )


def sparse_method_of(space, gamma=1e-3, adaptive="flops", clip_value=2.0):
    groups = space.groups
    method = flat_sparse(
        "toy",
        {name: group.shape for name, group in groups.items()},
        gamma=gamma,
        adaptive=adaptive,
        clip_value=clip_value,
        weight_optimizer=lambda p: torch.optim.SGD(p, 0.025, momentum=0.9, weight_decay=1e-4),
        architecture_optimizer=lambda p: AcceleratedProximalGradient(p, lr=0.1, momentum=0.9),
    )
    method.attach(
        lambda: space.costs(ImageInputs(SHAPE, 10)), {name: group.guards for name, group in groups.items()}
    )
    return method


def dso_space():
    return DsoSpace("dso", levels=2, blocks_per_stage=(1, 1), init_channels=4)


def dso_pair(**options):
    """The same in the space of DSO-NAS, whose factors are pushed towards zero."""
    space = dso_space()
    where = numerics(HARDWARE)
    torch.manual_seed(0)
    supernet = apply_hardware(space.supernet(ImageInputs(SHAPE, 10)), HARDWARE)
    literal = dso.literal_of(space, SHAPE, 10).double()
    dso.load_literal(supernet, literal)
    batches = [where.batch(4, ImageInputs(SHAPE, 10), seed) for seed in (1, 2)]
    return (
        SearchSteps(supernet, sparse_method_of(space, **options), *batches, where),
        OriginalSteps(literal, sparse_method_of(space, **options), *batches, where),
    )


def pair():
    """Our steps and the original's, in float64, from the same weights and alpha."""
    space = DartsSpace("darts", OPERATIONS, num_cells=3, init_channels=4)
    where = numerics(HARDWARE)
    torch.manual_seed(0)
    supernet = apply_hardware(space.supernet(ImageInputs(SHAPE, 10)), HARDWARE)
    literal = LiteralDarts(space.groups, SHAPE, 10, 3, 4).double()
    load_literal(supernet, literal.state_dict())
    batches = [where.batch(4, ImageInputs(SHAPE, 10), seed) for seed in (1, 2)]
    return (
        SearchSteps(supernet, method_of(space), *batches, where),
        OriginalSteps(literal, method_of(space), *batches, where),
    )


@pytest.mark.parametrize("step", ["weight", "first_order"])
def test_one_step_of_ours_is_one_of_the_original(step):
    ours, original = pair()
    for steps in (ours, original):
        getattr(steps, step)()
        steps.weight()
    assert_same_state(ours, original, 1e-10)


def test_a_second_order_step_is_the_originals_and_leaves_the_weights():
    ours, original = pair()
    for steps in (ours, original):
        steps.weight()
        before = [weight.clone() for weight in steps.weights]
        start = [alpha.clone() for alpha in steps.alphas]
        steps.second_order()
        for weight, old in zip(steps.weights, before, strict=True):
            torch.testing.assert_close(weight, old, rtol=0, atol=1e-12)
        assert all((alpha != old).any() for alpha, old in zip(steps.alphas, start, strict=True))
    assert_same_state(ours, original, 1e-6)


@pytest.mark.parametrize("gamma", [1e-3, 0.5])
@pytest.mark.parametrize("step", ["weight", "first_order"])
def test_one_sparse_step_of_ours_is_one_of_the_original(step, gamma):
    ours, original = dso_pair(gamma=gamma, adaptive="none")
    for steps in (ours, original):
        for name in (step, step, "weight"):
            steps.step(name)()
    assert_same_state(ours, original, 1e-10)


def test_a_sparse_step_makes_zeros_and_spares_a_branch_of_the_reduction():
    ours, _ = dso_pair(gamma=80.0, adaptive="none")  # a threshold of 2, from factors of 1
    ours.first_order()
    alive = ours.method.alive()
    assert not alive["block"].any() and alive["reduce_1"].sum() == 1


def test_weights_of_a_sparse_search_move_by_clipped_gradients():
    ours, _ = dso_pair(clip_value=1e-3)
    ours.weight()
    assert max(float(w.grad.abs().max()) for w in ours.weights if w.grad is not None) == 1e-3


def test_factors_step_with_the_rate_of_the_weights():
    ours, _ = dso_pair()
    ours.first_order()
    assert [group["lr"] for group in ours.architecture_optimizer.param_groups] == [0.025]


def test_a_sparse_search_has_no_second_order_step():
    for steps in dso_pair():
        assert steps.step("second_order") is None and steps.step("second_order_exact") is None
        assert steps.step("weight") == steps.weight
    ours, original = pair()
    assert ours.step("second_order_exact") == ours.second_order_exact
    assert original.step("second_order_exact") is None


def test_measured_times_of_operations_are_there_where_they_price_the_factors():
    ours, _ = dso_pair(adaptive="latency")
    time_operations(ours.method, 4, "cpu")
    assert {name: tuple(times.shape) for name, times in ours.method.seconds.items()} == {
        name: group.shape for name, group in dso_space().groups.items()
    }
    ours.first_order()


@pytest.mark.parametrize("share", [1.0, 0.5, 0.25, 0.01])
def test_drawn_connections_are_a_share_cleaned(share):
    space = dso_space()
    alive = draw_alive(space, share, seed=0)
    assert all(torch.equal(mask, space.clean(alive)[name]) for name, mask in alive.items())
    assert int(alive["block"].sum()) <= round(share * alive["block"].numel())
    assert int(alive["reduce_1"].sum()) == (2 if share == 1 else 1)
    again, other = (draw_alive(space, share, seed) for seed in (0, 1))
    assert torch.equal(alive["block"], again["block"])
    assert torch.equal(alive["block"], other["block"]) == (share in (1.0, 0.01))


def test_a_share_that_is_none_is_refused():
    for share in (0, 1.1):
        with pytest.raises(ConfigError, match=rf"bench\.alive: {share} is not a share"):
            draw_alive(dso_space(), share, 0)


def assert_same_state(ours, original, tolerance):
    for a, b in zip(ours.alphas, original.alphas, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=tolerance)
    images = ours.weight_batch[0]
    with torch.no_grad():
        for steps in (ours, original):
            steps.supernet.train()
        outputs = [steps.supernet(images, steps.method.op_weights()) for steps in (ours, original)]
    torch.testing.assert_close(*outputs, rtol=0, atol=1e-8)


def test_counts_are_repeatable_and_smaller_than_the_originals():
    ours, original = pair()
    first = ours.counts()
    ours.weight()
    assert ours.counts() == first == pair()[0].counts()
    theirs = original.counts()
    assert first.bytes_saved < theirs.bytes_saved
    assert first.operators.computing < theirs.operators.computing
    assert all(weight.grad is None for weight in ours.weights)


def test_the_method_decides_the_architecture_step():
    ours, _ = pair()
    assert isinstance(ours.unrolled, Unrolled)
    space = DartsSpace("darts", OPERATIONS, num_cells=3, init_channels=4)
    method = method_of(space, "unrolled")
    where = numerics(HARDWARE)
    steps = SearchSteps(ours.supernet, method, ours.weight_batch, ours.architecture_batch, where)
    assert steps.unrolled is method.update


def test_batches_have_the_layout_of_the_hardware():
    for channels_last in (True, False):
        where = numerics(HARDWARE | {"channels_last": channels_last, "precision": "bf16-mixed"})
        images, labels = where.batch(4, ImageInputs(SHAPE, 10), 1)
        assert images.is_contiguous(memory_format=where.layout())
        assert images.dtype == torch.float32 and where.matrix_type() == torch.bfloat16
        assert torch.equal(images, where.batch(4, ImageInputs(SHAPE, 10), 1)[0]) and labels.max() < 10


def test_what_cannot_be_measured_is_refused():
    with pytest.raises(ConfigError, match=r"hardware\.precision=16-mixed"):
        numerics(HARDWARE | {"precision": "16-mixed"})
    with pytest.raises(ConfigError, match=r"dataset\.batch_size=0"):
        numerics(HARDWARE).batch(0, ImageInputs(SHAPE, 10), 1)
    random = flat_method("random", {"cell": (2, 2)}, update="none")
    with pytest.raises(ConfigError, match="trains nothing"):
        SearchSteps(nn.Identity(), random, None, None, numerics(HARDWARE))


def test_variants_take_turns():
    order = []
    race = Race(torch.device("cpu"), warmup=1)
    race.enter("a", lambda: order.append("a"))
    race.enter("b", lambda: order.append("b"))
    seconds = race.seconds({"a": 3, "b": 2})
    assert "".join(order) == "ab" + "ababa"
    assert [len(seconds[name]) for name in "ab"] == [3, 2]
    assert min(race.peaks.values()) > 0
    assert spread([3.0, 1.0, 2.0]) == {"median": 2.0, "min": 1.0, "max": 3.0, "n": 3}


def test_ratios_are_reference_over_ours():
    medians = {"weight": 2.0, "reference_weight": 8.0, "first_order": 1.0, "second_order": 3.0}
    result = {f"{name}_seconds": {"median": value} for name, value in medians.items()}
    found = relate(result | {"macs": 10**9}, batch_size=4)
    assert found["weight_ratio"] == 4.0 and found["second_over_first"] == 3.0
    assert found["images_per_second"] == 2.0 and found["gflops"] == 12.0
    assert "first_order_ratio" not in found
