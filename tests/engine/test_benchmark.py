"""The measured steps are the ones of a search, and their counts are exact. Times are never asserted."""

import pytest
import torch
from torch import nn

from nas.analysis.timing import Race, spread
from nas.engine.bench_report import relate
from nas.engine.benchmark import SearchSteps, apply_hardware, numerics
from nas.engine.original import OriginalSteps
from nas.errors import ConfigError
from nas.methods.method import Method
from nas.methods.updates import Unrolled
from nas.spaces.darts import DartsSpace
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
    return Method(
        "toy",
        {name: group.shape for name, group in space.groups.items()},
        update=update,
        clip=5.0,
        weight_optimizer=lambda p: torch.optim.SGD(p, 0.025, momentum=0.9, weight_decay=3e-4),
        # Not Adam, which turns rounding of a vanishing gradient into a full step.
        architecture_optimizer=lambda p: torch.optim.SGD(p, 1.0),
    )


def pair():
    """Our steps and the original's, in float64, from the same weights and alpha."""
    space = DartsSpace("darts", OPERATIONS, num_cells=3, init_channels=4)
    where = numerics(HARDWARE)
    torch.manual_seed(0)
    supernet = apply_hardware(space.supernet(SHAPE, 10), HARDWARE)
    literal = LiteralDarts(space.groups, SHAPE, 10, 3, 4).double()
    load_literal(supernet, literal.state_dict())
    batches = [where.batch(4, SHAPE, 10, seed) for seed in (1, 2)]
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
        images, labels = where.batch(4, SHAPE, 10, 1)
        assert images.is_contiguous(memory_format=where.layout())
        assert images.dtype == torch.float32 and where.matrix_type() == torch.bfloat16
        assert torch.equal(images, where.batch(4, SHAPE, 10, 1)[0]) and labels.max() < 10


def test_what_cannot_be_measured_is_refused():
    with pytest.raises(ConfigError, match=r"hardware\.precision=16-mixed"):
        numerics(HARDWARE | {"precision": "16-mixed"})
    with pytest.raises(ConfigError, match=r"dataset\.batch_size=0"):
        numerics(HARDWARE).batch(0, SHAPE, 10, 1)
    random = Method("random", {"cell": (2, 2)}, update="none")
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
