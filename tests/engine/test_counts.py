"""What a weight step of the paper's supernet asks of a device, against the literal one: exact numbers."""

from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from nas.engine.machine.execution import apply_execution
from nas.errors import ConfigError
from nas.measure.footprint import measure_footprint
from nas.measure.original_steps import OriginalSteps
from nas.measure.shapes import UNROLLED_COPIES
from nas.measure.steps import SearchSteps, draw_alive, numerics
from nas.running.config import register_resolvers
from nas.spaces.darts.space import DartsSpace
from nas.spaces.dso.space import DsoSpace
from nas.spaces.native.library import load_library
from nas.spaces.space import ImageInputs
from tests.engine.test_benchmark import HARDWARE, method_of, sparse_method_of
from tests.reference.dso import literal_of
from tests.reference.literal import LiteralDarts

SHAPE, BATCH = (3, 16, 16), 2
CONF = Path(__file__).resolve().parents[2] / "conf"


def profile(name):
    """A hardware profile as a command composes it."""
    register_resolvers()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        found = compose("search", overrides=[f"hardware={name}"]).hardware
    return OmegaConf.to_container(found, resolve=True)


def counts_of(network, space, channels_last=True, original=False, alive=None):
    where = numerics(HARDWARE | {"precision": "32-true", "channels_last": channels_last})
    batches = [where.batch(BATCH, ImageInputs(SHAPE, 10), seed) for seed in (1, 2)]
    method = sparse_method_of(space) if space.family == "dso" else method_of(space)
    if alive is not None:
        method.drop(alive)
    if original:
        return OriginalSteps(network, method, *batches, where, alpha_gradients=True).counts()
    return SearchSteps(network, method, *batches, where).counts()


@pytest.fixture(scope="module")
def space():
    operations = [
        "none", "max_pool_3x3", "avg_pool_3x3", "skip_connect",
        "sep_conv_3x3", "sep_conv_5x5", "dil_conv_3x3", "dil_conv_5x5",
    ]  # fmt: skip
    return DartsSpace("darts", operations, num_cells=8, init_channels=8)


@pytest.fixture(scope="module")
def literal(space):
    network = LiteralDarts(space.groups, SHAPE, 10, space.num_cells, space.init_channels)
    return counts_of(network, space, channels_last=False, original=True)


def ratios(space, literal, hardware):
    supernet = apply_execution(space.supernet(ImageInputs(SHAPE, 10)), hardware)
    found = counts_of(supernet, space)
    return (
        found.operators.computing / literal.operators.computing,
        found.bytes_saved / literal.bytes_saved,
    )


def test_the_gpu_profile_launches_a_quarter_and_keeps_a_third(space, literal):
    hardware = profile("gpu") | {"accelerator": "cpu", "compile": False}
    operators, kept = ratios(space, literal, hardware)
    assert operators <= 0.26
    assert kept <= 0.30


def test_the_cpu_profile_dispatches_a_fifth_and_keeps_a_third(space, literal):
    if load_library() is None:
        pytest.skip("the compiled kernel cannot be built here")
    operators, kept = ratios(space, literal, profile("cpu"))
    assert operators <= 0.20
    assert kept <= 0.30


def test_without_the_kernel_the_cpu_profile_keeps_less_than_the_literal_network(space, literal):
    operators, kept = ratios(space, literal, profile("cpu") | {"native": False})
    assert operators <= 0.66
    assert kept <= 0.60


def test_a_second_order_step_holds_what_a_weight_step_does_and_copies_of_the_weights():
    """Exact bytes of tensors at the peak: what grows with the batch is one pass's, never two's."""
    small = DartsSpace("darts", ["skip_connect", "sep_conv_3x3"], num_cells=3, init_channels=4)
    where = numerics(HARDWARE | {"precision": "32-true"})

    def peak_of(step):
        def prepare(size):
            torch.manual_seed(0)
            network = apply_execution(small.supernet(ImageInputs(SHAPE, 10)).float(), profile("cpu"))
            batches = [where.batch(size, ImageInputs(SHAPE, 10), seed) for seed in (1, 2)]
            steps = SearchSteps(network, method_of(small, "unrolled"), *batches, where)
            steps.weight()
            state = [one for own in steps.optimizer.state.values() for one in own.values()]
            held = [*steps.weights, *steps.alphas, *network.buffers(), *state]
            return [one for one in held if isinstance(one, torch.Tensor)], getattr(steps, step)

        return measure_footprint(prepare)

    weight, second = peak_of("weight"), peak_of("second_order")
    assert 0 < second.image_M.max() <= 1.02 * weight.image_M.max()
    parameters = sum(one.nbytes for one in small.supernet(ImageInputs(SHAPE, 10)).parameters())
    assert second.peak(64) - weight.peak(64) <= UNROLLED_COPIES * parameters


def test_options_that_exclude_each_other_are_refused(space):
    cpu = profile("cpu")
    with pytest.raises(ConfigError, match=r"hardware\.native=false"):
        apply_execution(space.supernet(ImageInputs(SHAPE, 10)), cpu | {"wide": True})
    with pytest.raises(ConfigError, match=r"hardware\.wide=true"):
        apply_execution(space.supernet(ImageInputs(SHAPE, 10)), cpu | {"recompute": True})


@pytest.fixture(scope="module")
def dso():
    """The paper's block, once a stage."""
    return DsoSpace("dso", blocks_per_stage=(1, 1, 1), init_channels=8)


@pytest.fixture(scope="module")
def literal_dso(dso):
    return counts_of(literal_of(dso, SHAPE, 10), dso, channels_last=False, original=True)


def test_the_block_of_dso_dispatches_a_quarter_and_keeps_what_its_operations_need(dso, literal_dso):
    if load_library() is None:
        pytest.skip("the compiled kernel cannot be built here")
    operators, kept = ratios(dso, literal_dso, profile("cpu"))
    assert operators <= 0.25
    assert kept <= 0.77


def test_the_gpu_profile_of_dso_launches_a_quarter(dso, literal_dso):
    hardware = profile("gpu") | {"accelerator": "cpu", "compile": False}
    operators, kept = ratios(dso, literal_dso, hardware)
    assert operators <= 0.23
    assert kept <= 0.86


def test_dropped_connections_of_dso_cost_nothing(dso):
    hardware = profile("cpu") | {"native": False}

    def counts(alive):
        supernet = apply_execution(dso.supernet(ImageInputs(SHAPE, 10), kept=alive), hardware)
        return counts_of(supernet, dso, alive=alive)

    everything, *fewer = (draw_alive(dso, share, seed=0) for share in (1.0, 0.5, 0.25))
    whole = counts(None)
    assert counts(everything) == whole
    half, quarter = (counts(alive) for alive in fewer)
    assert half.operators.computing <= 0.73 * whole.operators.computing
    assert half.bytes_saved <= 0.66 * whole.bytes_saved
    assert quarter.operators.computing <= 0.38 * whole.operators.computing
    assert quarter.bytes_saved <= 0.35 * whole.bytes_saved
    # Blocks without any are their shortcuts: what is left is stem, reductions and head.
    nothing = counts({name: mask & name.startswith("reduce") for name, mask in dso.clean(everything).items()})
    assert nothing.operators.computing <= 0.18 * whole.operators.computing
    assert nothing.bytes_saved <= 0.09 * whole.bytes_saved
