"""The compiled kernels against torch's own operators, one candidate or one weighted sum at a time."""

import copy
import threading

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from nas.spaces.nasbench201.operations import NASBENCH201
from nas.spaces.native.terms import Summand, TermsSum
from nas.spaces.norm import BN_EPS, BN_MOMENTUM
from nas.spaces.operations import DARTS
from nas.spaces.supernet.candidate import Execution, Shared
from nas.spaces.supernet.candidates import PoolCandidate, SeparableCandidate
from nas.spaces.supernet.fan_out import FanOut

TERMS = ["max_pool_3x3", "avg_pool_3x3", "skip_connect"]
EXACT = {"rtol": 1e-10, "atol": 1e-12}


def fan_out(operations, channels, native, catalogue=DARTS):
    """A fan-out, an edge a sum, in float64 training mode."""
    torch.manual_seed(0)
    return FanOut(
        channels, 1, range(len(operations)), operations, Execution(native=native), catalogue.stacked
    ).double()


def states(module):
    return {name: value.clone() for name, value in module.named_buffers()}


def run_fan_out(module, x_BCHW, started):
    """Sums, gradients of input and scales, and buffers; `started`: the sums hold something already."""
    x_BCHW = x_BCHW.clone().requires_grad_()
    scales = {name: torch.linspace(0.2, 1.1, len(held)).double() for name, held in module.holders.items()}
    scales = {name: value.requires_grad_() for name, value in scales.items()}
    before = x_BCHW.detach().cos().requires_grad_()
    edges = len(module.all_targets)
    sums = [before * (edge + 2) if started else None for edge in range(edges)]
    module(x_BCHW, scales, sums)
    waves = torch.arange(sums[0].numel()).view(sums[0].shape).sin()
    sum((total * waves).sum() * (edge + 1) for edge, total in enumerate(sums)).backward()
    leaves = [x_BCHW, *scales.values(), *([before] if started else [])]
    leaves += module.parameters()
    return [total.detach() for total in sums], [leaf.grad for leaf in leaves], states(module)


@pytest.mark.parametrize("channels", [1, 3, 8, 20])
@pytest.mark.parametrize("started", [False, True])
@pytest.mark.parametrize(
    "operations",
    [
        [TERMS] * 3,
        [["skip_connect"]] * 2,
        [["max_pool_3x3"], ["skip_connect", "avg_pool_3x3"], ["none", "max_pool_3x3"]],
    ],
)
def test_terms_in_one_pass_equal_torch(library, operations, started, channels):
    """Batches whose pixels are no multiple of a block, sums not empty, lists that differ."""
    x_BCHW = torch.randn(3, channels, 7, 5).double().to(memory_format=torch.channels_last)
    ours = run_fan_out(fan_out(operations, channels, library), x_BCHW, started)
    theirs = run_fan_out(fan_out(operations, channels, None), x_BCHW, started)
    torch.testing.assert_close(ours, theirs, **EXACT)


@settings(max_examples=25, deadline=None)
@given(
    edges=st.lists(
        st.lists(st.sampled_from(sorted(NASBENCH201.published)), unique=True), min_size=1, max_size=4
    ),
    channels=st.sampled_from([1, 3, 8, 16, 20]),
    size=st.tuples(st.integers(2, 9), st.integers(2, 9)),
    started=st.booleans(),
    nhwc=st.booleans(),
)
def test_dense_candidates_and_terms_in_one_pass_equal_torch(library, edges, channels, size, started, nhwc):
    """Results of all edges beside those of one each, whichever edge holds which candidate."""
    assume(any(set(names) - {"none"} for names in edges))
    torch.manual_seed(1)
    x_BCHW = torch.randn(3, channels, *size).double()
    x_BCHW = x_BCHW.to(memory_format=torch.channels_last) if nhwc else x_BCHW
    # An edge that leads nowhere has no sum to compare.
    edges = [names for names in edges if set(names) - {"none"}]
    ours = run_fan_out(fan_out(edges, channels, library, NASBENCH201), x_BCHW, started)
    theirs = run_fan_out(fan_out(edges, channels, None, NASBENCH201), x_BCHW, started)
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-10)


@settings(max_examples=25, deadline=None)
@given(
    batch=st.integers(1, 3),
    size=st.tuples(st.integers(2, 9), st.integers(2, 9)),
    channels=st.sampled_from([1, 2, 5, 8, 9, 16]),
    edges=st.integers(1, 3),
    kernel=st.sampled_from([3, 5, 7]),
    stride=st.sampled_from([1, 2]),
    dilation=st.sampled_from([1, 2]),
    repeats=st.sampled_from([1, 2]),
    seed=st.integers(0, 1000),
)
def test_a_separable_candidate_of_any_shape_equals_torch(
    library, batch, size, channels, edges, kernel, stride, dilation, repeats, seed
):
    torch.manual_seed(seed)
    narrow = SeparableCandidate(edges, channels, kernel, stride, dilation, repeats).double()
    modules = [copy.deepcopy(narrow), narrow]
    # Two images more: with two values per channel, batch norm's gradients are all but zero and say little.
    x_BCHW = torch.randn(batch + 2, channels, *size).double()
    results = []
    for module, native in zip(modules, (library, None), strict=True):
        x, scales = (
            x_BCHW.clone().requires_grad_(),
            torch.rand(edges, generator=torch.Generator().manual_seed(1)),
        )
        scales = scales.double().requires_grad_()
        sums = [None] * edges
        module(Shared(x, Execution(native=native)), scales, sums, range(edges))
        sum((total.cos() * (i + 1)).sum() for i, total in enumerate(sums)).backward()
        gradients = [leaf.grad for leaf in (x, scales, *module.parameters())]
        results.append(([total.detach() for total in sums], gradients, states(module)))
    torch.testing.assert_close(*results, rtol=1e-8, atol=1e-10)


def test_single_precision_is_as_near_to_double_as_torch(library):
    x_BCHW = torch.randn(4, 16, 8, 8).to(memory_format=torch.channels_last) + 3
    exact = run_fan_out(fan_out([TERMS] * 2, 16, None), x_BCHW.double(), False)[0]
    single = run_fan_out(fan_out([TERMS] * 2, 16, library).float(), x_BCHW, False)[0]
    torch.testing.assert_close([total.double() for total in single], exact, rtol=1e-4, atol=1e-4)


def terms_sum(library, results, scales_MP, sums, running=None):
    running = (
        [None] * len(results) if running is None else [tuple(one[None] for one in pair) for pair in running]
    )
    held_MP, summands = torch.ones(scales_MP.shape, dtype=torch.long), [Summand(1, pair) for pair in running]
    return TermsSum.apply(library, False, summands, held_MP, scales_MP, *results, *sums)


def test_only_gradients_that_are_asked_for(library):
    first, second = torch.randn(2, 4, 3, 3), torch.randn(2, 4, 3, 3, requires_grad=True)
    (total,) = terms_sum(library, [first, second], torch.tensor([[2.0, 3.0]]), [None])
    total.sum().backward()
    assert first.grad is None
    assert torch.equal(second.grad, torch.full_like(second, 3.0))
    scales_MP = torch.ones(1, 1, requires_grad=True)
    terms_sum(library, [first], scales_MP, [None])[0].sum().backward()
    torch.testing.assert_close(scales_MP.grad, first.sum().view(1, 1))


def test_sums_grow_in_place_where_their_layout_allows_it(library):
    result = torch.randn(2, 4, 3, 3)
    for layout, in_place in ((torch.channels_last, True), (torch.contiguous_format, False)):
        total = torch.ones(2, 4, 3, 3).to(memory_format=layout)
        (grown,) = terms_sum(library, [result], torch.ones(1, 1), [total])
        torch.testing.assert_close(grown, result + 1)
        assert (grown.data_ptr() == total.data_ptr()) == in_place


def test_running_statistics_follow_torch(library):
    result = torch.randn(3, 4, 5, 5) * 2 + 1
    ours, theirs = [(torch.zeros(4), torch.ones(4)) for _ in range(2)]
    for _ in range(2):
        terms_sum(library, [result], torch.ones(1, 1), [None], [ours])
        F.batch_norm(result, *theirs, training=True, momentum=BN_MOMENTUM, eps=BN_EPS)
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("running", [None, [(torch.zeros(4), torch.ones(4))]])
def test_not_a_number_passes_through(library, running):
    result = torch.randn(2, 4, 3, 3)
    result[0, 1, 2, 2] = torch.nan
    (total,) = terms_sum(library, [result], torch.ones(1, 1), [None], running)
    assert total[:, 1].isnan().any()
    assert total[:, 0].isfinite().all()


def test_evaluation_mode_uses_the_running_statistics(library):
    module = fan_out([["max_pool_3x3"]] * 2, 4, library)
    x_BCHW = torch.randn(2, 4, 6, 6).double()
    run_fan_out(module, x_BCHW, False)
    before = states(module.eval())
    sums = [None, None]
    module(x_BCHW, {"max_pool_3x3": torch.ones(2).double()}, sums)
    pooled = next(one for one in module.modules() if isinstance(one, PoolCandidate))
    expected = F.batch_norm(
        F.max_pool2d(x_BCHW, 3, 1, 1), pooled.norm.running_mean[0], pooled.norm.running_var[0], eps=BN_EPS
    )
    torch.testing.assert_close(sums[0], expected, **EXACT)
    torch.testing.assert_close(states(module), before, rtol=0, atol=0)


def test_more_threads_than_images_give_the_same(library):
    """In a thread of its own: torch counts threads for each."""
    operations = [[*TERMS, "sep_conv_3x3"]] * 2
    x_BCHW = torch.randn(2, 6, 6, 6).double()
    results = {}

    def work(threads):
        torch.set_num_threads(threads)
        results[threads] = run_fan_out(fan_out(operations, 6, library), x_BCHW, False)

    before = torch.get_num_threads()
    try:
        for threads in (1, 3):
            worker = threading.Thread(target=work, args=(threads,))
            worker.start()
            worker.join()
    finally:
        torch.set_num_threads(before)
    torch.testing.assert_close(results[3], results[1], **EXACT)


@pytest.mark.parametrize("mean", [0.0, 30.0, 1000.0])
def test_a_mean_far_from_zero_leaves_the_variance_its_digits(library, mean):
    """In single precision, where the sum of squares alone would have lost them."""
    torch.manual_seed(0)
    x_BCHW = (torch.randn(8, 16, 12, 12) + mean).contiguous(memory_format=torch.channels_last)
    running = [(torch.zeros(16), torch.ones(16))]
    (found,) = terms_sum(library, [x_BCHW], torch.ones(1, 1), [None], running)
    expected = F.batch_norm(x_BCHW.double(), None, None, training=True)
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=2e-4)
    torch.testing.assert_close(
        running[0][1].double(), 0.9 + 0.1 * x_BCHW.double().var((0, 2, 3)), rtol=1e-5, atol=0
    )


@pytest.mark.parametrize("catalogue", [DARTS, NASBENCH201], ids=["darts", "nasbench201"])
@pytest.mark.parametrize("started", [False, True])
def test_a_network_that_is_looked_at_equals_torch_and_keeps_its_statistics(library, catalogue, started):
    """Validation: norms by their running statistics, which nobody moves; three edges, one of them shorter."""
    names = [name for name, one in catalogue.published.items() if one.edges or name == "none"]
    operations = [names, names, names[::2]]
    networks = [fan_out(operations, 6, native, catalogue).eval() for native in (library, None)]
    for network in networks:
        generator = torch.Generator().manual_seed(1)
        for value in (*network.buffers(), *network.parameters()):
            if value.is_floating_point():
                value.data = torch.rand(value.shape, generator=generator).double() + 0.5
    x_BCHW = torch.randn(3, 6, 7, 5).double().to(memory_format=torch.channels_last)
    scales = {
        name: torch.linspace(0.2, 1.1, len(held)).double() for name, held in networks[0].holders.items()
    }
    found = []
    for network in networks:
        before = states(network)
        sums = [x_BCHW * (edge + 2) if started else None for edge in range(3)]
        with torch.inference_mode():
            network(x_BCHW, scales, sums)
        assert states(network).keys() == before.keys()
        for name, value in states(network).items():
            assert torch.equal(value, before[name])
        found.append([total.clone() for total in sums])
    torch.testing.assert_close(*found, **EXACT)


def test_where_a_gradient_is_asked_for_outside_of_training_torch_computes(library):
    network = fan_out([["sep_conv_3x3", "max_pool_3x3"]], 4, library).eval()
    x_BCHW = torch.randn(2, 4, 5, 5).double().requires_grad_()
    scales = {name: torch.ones(1).double() for name in network.holders}
    sums = [None]
    network(x_BCHW, scales, sums)
    literal = fan_out([["sep_conv_3x3", "max_pool_3x3"]], 4, None).eval()
    theirs = [None]
    literal(x_BCHW, scales, theirs)
    gradients = [torch.autograd.grad(total.square().sum(), x_BCHW)[0] for total in (sums[0], theirs[0])]
    assert gradients[0].abs().max() > 0
    torch.testing.assert_close(*gradients, **EXACT)
