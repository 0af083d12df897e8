"""What a weight step of the paper's supernet asks of a device, against the literal one: exact numbers."""

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from nas.engine.benchmark import SearchSteps, numerics
from nas.engine.execution import apply_execution
from nas.engine.original import OriginalSteps
from nas.errors import ConfigError
from nas.spaces.darts import DartsSpace
from nas.spaces.native.library import load_library
from tests.engine.test_benchmark import HARDWARE, method_of
from tests.reference.literal import LiteralDarts

SHAPE, BATCH = (3, 16, 16), 2
CONF = Path(__file__).resolve().parents[2] / "conf"


def profile(name):
    """A hardware profile as a command composes it."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return OmegaConf.to_container(compose("bench", overrides=[f"hardware={name}"]).hardware, resolve=True)


def counts_of(network, space, channels_last=True, original=False):
    where = numerics(HARDWARE | {"precision": "32-true", "channels_last": channels_last})
    batches = [where.batch(BATCH, SHAPE, 10, seed) for seed in (1, 2)]
    method = method_of(space)
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
    supernet = apply_execution(space.supernet(SHAPE, 10), hardware)
    found = counts_of(supernet, space)
    return (
        found.operators.computing / literal.operators.computing,
        found.bytes_saved / literal.bytes_saved,
    )


def test_the_gpu_profile_launches_a_third_and_keeps_a_third(space, literal):
    hardware = profile("gpu") | {"accelerator": "cpu", "compile": False}
    operators, kept = ratios(space, literal, hardware)
    assert operators <= 0.32
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


def test_options_that_exclude_each_other_are_refused(space):
    cpu = profile("cpu")
    with pytest.raises(ConfigError, match=r"hardware\.native=false"):
        apply_execution(space.supernet(SHAPE, 10), cpu | {"wide": True})
    with pytest.raises(ConfigError, match=r"hardware\.wide=true"):
        apply_execution(space.supernet(SHAPE, 10), cpu | {"recompute": True})
