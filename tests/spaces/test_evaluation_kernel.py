"""Separable convolutions of evaluation networks by the compiled kernel, against the plain modules."""

import copy
import pickle

import pytest
import torch
from torch.nn import functional as F

from nas import genotype as genotypes
from nas.spaces.darts.space import DartsSpace
from nas.spaces.operations import DARTS
from nas.spaces.space import ImageInputs
from nas.spaces.supernet.candidate import Execution

EXACT = {"rtol": 1e-10, "atol": 1e-10}
LAYOUTS = [torch.contiguous_format, torch.channels_last]


def separable(name, channels, stride, library=None):
    """The operation in float64 training mode, its gammas and betas as awkward as training may make them."""
    torch.manual_seed(0)
    module = DARTS.build(name, channels, stride).double()
    for norm in (one for one in module if isinstance(one, torch.nn.BatchNorm2d)):
        with torch.no_grad():
            norm.weight.copy_(torch.randn(channels))
            norm.bias.copy_(torch.randn(channels))
            norm.weight[0::5] = 0
            norm.weight[1::5] *= 1e-9
    module.execution = Execution(native=library)
    return module


def run(module, x_BCHW, **kernel_only):
    """Output, gradients of the input and of every parameter, buffers."""
    x_BCHW = x_BCHW.detach().requires_grad_()
    y_BCHW = module.fused(x_BCHW, **kernel_only) if kernel_only else module(x_BCHW)
    waves = torch.arange(y_BCHW.numel()).reshape(y_BCHW.shape).sin().double()
    (y_BCHW.cos() * waves).sum().backward()
    gradients = [x_BCHW.grad, *(p.grad for p in module.parameters())]
    return y_BCHW.detach(), gradients, dict(module.named_buffers())


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("channels", [1, 5, 8, 20])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(
    "name", ["sep_conv_3x3", "sep_conv_5x5", "sep_conv_7x7", "dil_conv_3x3", "dil_conv_5x5"]
)
def test_equals_the_plain_modules(library, name, stride, channels, layout):
    """Gammas of zero, negative and of 1e-9 among them; an odd image."""
    x_BCHW = torch.randn(3, channels, 9, 6, dtype=torch.float64).to(memory_format=layout)
    ours, theirs = (run(separable(name, channels, stride, native), x_BCHW) for native in (library, None))
    torch.testing.assert_close(ours, theirs, **EXACT)
    assert ours[2]["3.num_batches_tracked"] == 1


def test_inputs_with_a_large_mean_lose_nothing_to_the_affine_form(library):
    """Single precision stays as near to double as torch's own operators do."""
    x_BCHW = torch.randn(4, 16, 8, 8) + 30
    exact = run(separable("sep_conv_3x3", 16, 1), x_BCHW.double())[0]
    errors = [
        (separable("sep_conv_3x3", 16, 1, native).float()(x_BCHW) - exact).abs().max()
        for native in (library, None)
    ]
    assert errors[0] <= 3 * errors[1] + 1e-6


def test_factors_and_totals_are_products_and_sums(library):
    """Drop-path's factors an image, and a total that grows in place."""
    x_BCHW = torch.randn(3, 6, 6, 6, dtype=torch.float64).to(memory_format=torch.channels_last)
    factors_B = torch.tensor([0.0, 1.25, -2.0], dtype=torch.float64)
    before_BCHW = torch.randn_like(x_BCHW).requires_grad_()
    total_BCHW = before_BCHW * 2
    module = separable("sep_conv_3x3", 6, 1, library)
    ours = run(module, x_BCHW, factors_B=factors_B, total_BCHW=total_BCHW)
    assert ours[0].data_ptr() == total_BCHW.data_ptr()

    class Literal(torch.nn.Sequential):
        def forward(self, x):
            return super().forward(x) * factors_B.view(3, 1, 1, 1) + literal_BCHW * 2

    literal_BCHW = before_BCHW.detach().requires_grad_()
    theirs = run(Literal(*separable("sep_conv_3x3", 6, 1)), x_BCHW)
    torch.testing.assert_close(ours, theirs, **EXACT)
    torch.testing.assert_close(before_BCHW.grad, literal_BCHW.grad, **EXACT)


@pytest.mark.parametrize("trained", [[], ["3.weight"], ["7.bias"], ["2.weight", "7.weight"]])
def test_only_gradients_that_are_asked_for(library, trained):
    x_BCHW = torch.randn(3, 5, 6, 6, dtype=torch.float64)
    found = []
    for native in (library, None):
        module = separable("sep_conv_3x3", 5, 1, native)
        for name, parameter in module.named_parameters():
            parameter.requires_grad_(name in trained)
        x = x_BCHW.clone().requires_grad_(not trained)
        module(x).sin().sum().backward()
        found.append([x.grad, *(p.grad for p in module.parameters())])
    torch.testing.assert_close(*found, **EXACT)
    assert sum(gradient is not None for gradient in found[0]) == max(1, len(trained))


def test_evaluation_mode_and_autocast_use_the_modules(library):
    module = separable("sep_conv_3x3", 4, 1, library)
    x_BCHW = torch.randn(3, 4, 6, 6, dtype=torch.float64)
    assert module.fuses(x_BCHW)
    with torch.autocast("cpu", torch.bfloat16):
        assert not module.fuses(x_BCHW)
    assert not module.fuses(x_BCHW.bfloat16())
    assert not module.fuses(torch.empty(1, 4, 1, 1))
    assert not separable("sep_conv_3x3", 4, 1).fuses(x_BCHW)
    assert not module.eval().fuses(x_BCHW)
    torch.testing.assert_close(module(x_BCHW), separable("sep_conv_3x3", 4, 1).eval()(x_BCHW), **EXACT)


def test_not_a_number_is_not_hidden(library):
    x_BCHW = torch.randn(2, 4, 6, 6)
    x_BCHW[0, 1, 2, 2] = torch.nan
    assert separable("sep_conv_3x3", 4, 1, library).float()(x_BCHW).isnan().any()


def darts_network(cell="DARTS_V2", cells=5):
    torch.manual_seed(0)
    space = DartsSpace("darts", ["none", "skip_connect", "sep_conv_3x3"])
    return space.network(
        genotypes.load(cell), ImageInputs((3, 32, 32), 10), cells, 6, auxiliary=True
    ).double()


def training_step(network, layout, drop_path):
    """Logits, loss, gradients and buffers of one step."""
    torch.manual_seed(1)
    network.set_drop_path(drop_path)
    images_BCHW = torch.randn(3, 3, 32, 32, dtype=torch.float64).to(memory_format=layout)
    labels_B = torch.arange(3)
    logits_BK, auxiliary_BK = network.train()(images_BCHW)
    loss = F.cross_entropy(logits_BK, labels_B) + 0.4 * F.cross_entropy(auxiliary_BK, labels_B)
    loss.backward()
    gradients = {name: p.grad for name, p in network.named_parameters()}
    return logits_BK.detach(), loss.detach(), gradients, dict(network.named_buffers())


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    ("cell", "drop_path"), [("DARTS_V2", 0.0), ("DARTS_V2", 0.3), ("DrNAS_cifar10", 0.3)]
)
def test_a_training_step_of_a_network_equals_the_plain_one(library, cell, drop_path, layout):
    """Drop-path draws the same numbers: equal seeds give equal paths."""
    ours, theirs = darts_network(cell), darts_network(cell)
    ours.execution.native = library
    torch.testing.assert_close(
        training_step(ours, layout, drop_path),
        training_step(theirs, layout, drop_path),
        rtol=1e-9,
        atol=1e-10,
    )
    torch.testing.assert_close(
        ours.eval()(torch.ones(2, 3, 32, 32).double())[0],
        theirs.eval()(torch.ones(2, 3, 32, 32).double())[0],
        **EXACT,
    )


def test_copies_compute_the_same_and_answer_to_their_own_execution(library):
    network = darts_network(cells=3)
    network.execution.native = library
    others = [copy.deepcopy(network), pickle.loads(pickle.dumps(network))]
    for other in others:
        other.execution.native = None
    expected = training_step(network, torch.channels_last, 0.0)
    for other in others:
        module = next(one for one in other.modules() if hasattr(one, "fuses"))
        assert not module.fuses(torch.randn(2, 6, 8, 8).double())
        found = training_step(other, torch.channels_last, 0.0)
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-10)
    assert network.execution.native is library


def test_the_state_dict_is_that_of_plain_modules(library):
    module = DARTS.build("dil_conv_5x5", 4, 1)
    plain = torch.nn.Sequential(*DARTS.build("dil_conv_5x5", 4, 1))
    assert list(module.state_dict()) == list(plain.state_dict())
    assert not [name for name in darts_network(cells=3).state_dict() if "execution" in name]
