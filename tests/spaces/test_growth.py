"""From stage to stage of a progressive search: every entry of the new network has one place in the old."""

import pytest
import torch

from nas.errors import ConfigError
from nas.spaces.darts.space import DartsSpace
from nas.spaces.nasbench201.space import NasBench201Space
from nas.spaces.native.library import load_library
from nas.spaces.space import ImageInputs
from nas.spaces.supernet.candidate import Execution, Shared
from nas.spaces.supernet.candidates import SeparableCandidate
from nas.spaces.supernet.growth import TensorMap, growth_maps, inherit

OPERATIONS = ["max_pool_3x3", "skip_connect", "sep_conv_3x3", "dil_conv_5x5"]
CELL = "cells.1.fan_out.0.candidates"  # a reduction cell: its skip connections have parameters


def space():
    return DartsSpace("darts", OPERATIONS, num_cells=3, init_channels=8)


def masks(rows):
    kept = torch.ones(14, 4, dtype=torch.bool)
    kept[rows, 2] = False
    return {"normal": kept, "reduce": kept}


def numbered(network):
    """A state in which every entry is its own number."""
    count = 0
    for tensor in network.state_dict().values():
        tensor.copy_(torch.arange(count, count + tensor.numel()).view(tensor.shape))
        count += tensor.numel()
    return network.state_dict()


def stages(before, after, kept=None, mapping="code", seed=0):
    torch.manual_seed(0)
    old = space().supernet(ImageInputs((3, 16, 16), 10), partial=before).double()
    new = space().supernet(ImageInputs((3, 16, 16), 10), partial=after, kept=kept).double()
    maps = growth_maps(old, new, torch.Generator().manual_seed(seed), mapping)
    return old, new, maps


def test_the_same_stage_again_changes_nothing():
    old, new, maps = stages(4, 4)
    state = numbered(old)
    found = inherit(state, new, maps)
    assert set(found) == set(state)
    assert all(torch.equal(found[name], state[name]) for name in state)


def test_pruning_alone_keeps_the_other_edges_as_they_are():
    rows = [0, 5, 13]  # edges 0->2, 0->4 and 4->5
    old, new, maps = stages(2, 2, masks(rows))
    state = numbered(old)
    found = inherit(state, new, maps)
    name = f"{CELL}.sep_conv_3x3.pointwise.1.weight"
    assert torch.equal(found[name], state[name][[1, 3]])  # edges 0->2 and 0->4 are gone
    gone = "cells.1.fan_out.4.candidates.sep_conv_3x3.depthwise.0.weight"
    assert gone in state and gone not in found
    new.load_state_dict(found)


@pytest.mark.parametrize("mapping", ["code", "shared"])
def test_new_channels_are_copies_index_by_index(mapping):
    old, new, maps = stages(4, 2, masks([0]), mapping)
    state = numbered(old)
    found = inherit(state, new, maps)
    assert {n: t.shape for n, t in found.items()} == {n: t.shape for n, t in new.state_dict().items()}
    name = f"{CELL}.sep_conv_3x3.pointwise.0.weight"
    edges, (outputs, inputs, *_) = maps[name].edges, maps[name].channels
    before, after = old.cells[1].mixed_channels, new.cells[1].mixed_channels
    assert (before, after) == (4, 8)
    for m, edge in enumerate(edges.tolist()):
        assert outputs[m, :before].tolist() == inputs[m, :before].tolist() == list(range(before))
        assert outputs[m].max() < before
        for o in range(after):
            for i in range(after):
                expected = state[name][edge, outputs[m, o], inputs[m, i], 0, 0]
                assert found[name][m, o, i, 0, 0] == expected
    assert torch.equal(outputs, inputs) == (mapping == "shared")


def test_a_copied_feature_is_read_by_a_copy_of_its_own_column():
    """Of all separable candidates, as the authors' code hands one index on."""
    torch.manual_seed(0)
    every = ["sep_conv_3x3", "sep_conv_5x5", "dil_conv_3x3", "dil_conv_5x5"]
    old, new = (
        DartsSpace("darts", every, num_cells=3, init_channels=16).supernet(
            ImageInputs((3, 16, 16), 10), partial=k
        )
        for k in (4, 2)
    )
    maps = growth_maps(old, new, torch.Generator().manual_seed(0))
    counts = {"read": 0, "written": 0, "next": 0, "of": 0}
    for name, index in maps.items():
        if ".pointwise." not in name:
            continue
        outputs, inputs = index.channels[:2]
        (features,) = (
            one for one in maps[name.replace("pointwise", "depthwise")].channels if one is not None
        )
        before = inputs.shape[1] // 2
        counts["of"] += inputs[:, before:].numel()
        counts["read"] += int((features == inputs)[:, before:].sum())
        counts["written"] += int((outputs == inputs)[:, before:].sum())
        following = maps.get(name.replace("pointwise.0", "depthwise.1"))
        if following is not None and "pointwise.0" in name:
            counts["next"] += int((following.channels[0] == outputs)[:, before:].sum())
    assert counts["of"] == 14 * 6 * (
        4 + 8 + 16
    )  # edges, pairs of convolutions, new channels of the three cells
    assert counts["read"] == counts["of"]
    # What the authors draw anew matches by chance alone: one in 4, 8 or 16.
    assert counts["written"] < 0.2 * counts["of"] and counts["next"] < 0.1 * counts["of"]


def test_the_axes_of_a_dense_convolution_are_drawn_by_themselves():
    """NAS-Bench-201, as the authors' code: inputs and outputs alike by chance alone; batch norm follows."""
    space = NasBench201Space("nasbench201", ["none", "nor_conv_1x1", "nor_conv_3x3"], 1, 16)
    old, new = (space.supernet(ImageInputs((3, 8, 8), 10), partial=k) for k in (4, 2))
    maps = growth_maps(old, new, torch.Generator().manual_seed(0))
    convolutions = {name: index for name, index in maps.items() if "nor_conv" in name and "weight" in name}
    assert len(convolutions) > 0
    alike = of = 0
    for name, index in convolutions.items():
        outputs, inputs = index.channels[:2]
        norm = maps[name.replace("conv.weight", "norm.running_mean")]
        assert torch.equal(norm.channels[0], outputs)
        alike += int((outputs == inputs)[:, inputs.shape[1] // 2 :].sum())
        of += inputs[:, inputs.shape[1] // 2 :].numel()
    assert alike < 0.3 * of


WAYS = ["narrow", "wide", "recomputed", "native"]


def execution_of(way):
    native = load_library() if way == "native" else None
    if way == "native" and native is None:
        pytest.skip("no compiler here")
    return Execution(native, wide=way in ("wide", "recomputed"), recompute=way == "recomputed")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("stride", [1, 2])
def test_a_widened_candidate_sums_what_copies_add(way, stride):
    """The widened candidate, on inputs whose new channels copy old ones, against the old one with sums.

    Net2Net's argument without its division: where new features are copies, each read by a copy of its own
    column, a pointwise output is the old one's with every column counted as often as its feature occurs.
    """
    torch.manual_seed(0)
    m, before, after = 3, 4, 12
    old, new = (SeparableCandidate(m, c, 3, stride, 2, 1).double() for c in (before, after))
    generator = torch.Generator().manual_seed(1)
    drawn = []

    def draw(parts):
        copies = torch.randint(before, (m, after - before), generator=generator)
        drawn.append(torch.cat([torch.arange(before).expand(m, before), copies], dim=1))
        return drawn[-1]

    same = torch.arange(m)
    state = {name: TensorMap(same, c)(old.state_dict()[name]) for name, c in new.growth(draw)}
    new.load_state_dict(state)
    features, outputs = drawn
    x_BCHW = torch.randn(4, before, 6, 6).double()
    execution, scales = execution_of(way), torch.tensor([0.3, 0.5, 0.7]).double()
    for edge in range(m):
        # The features of an edge are its own, so each edge is compared by itself on an input made for it.
        wide_BCHW = x_BCHW[:, features[edge]]
        sums = [None] * m
        new.train()(Shared(wide_BCHW, execution), scales, sums, range(m))
        counted = SeparableCandidate(m, before, 3, stride, 2, 1).double()
        counted.load_state_dict(old.state_dict())
        with torch.no_grad():
            counted.pointwise[0].weight[edge] *= torch.bincount(features[edge], minlength=before)[
                :, None, None
            ]
        expected = [None] * m
        counted.train()(Shared(x_BCHW, Execution()), scales, expected, range(m))
        torch.testing.assert_close(sums[edge], expected[edge][:, outputs[edge]], rtol=1e-9, atol=1e-11)


def test_batch_norm_follows_its_convolution():
    old, _, maps = stages(4, 2)
    for name, index in maps.items():
        if name.endswith("running_mean") and "sep_conv" in name:
            convolution = name.replace("norm", "pointwise").replace("running_mean", "weight")
            assert torch.equal(index.channels[0], maps[convolution].channels[0])
    halves = [maps[f"{CELL}.skip_connect.conv_{i}.weight"].channels[0] for i in (1, 2)]
    together = torch.cat([halves[0], halves[1] + old.cells[1].mixed_channels // 2], dim=1)
    assert torch.equal(maps[f"{CELL}.skip_connect.norm.running_var"].channels[0], together)


def test_momentum_follows_its_weight():
    """What has a weight's shape goes through the same map, so weight and momentum stay a pair."""
    old, _new, maps = stages(4, 2, masks([3]))
    state = numbered(old)
    for name, index in maps.items():
        assert torch.equal(index(-2.0 * state[name]), -2.0 * index(state[name]))


def test_what_no_candidate_owns_stays():
    old, new, maps = stages(4, 2)
    state = numbered(old)
    found = inherit(state, new, maps)
    for name in ("stem.conv.weight", "cells.1.preprocess1.1.weight", "classifier.weight"):
        assert torch.equal(found[name], state[name])


def test_the_generator_decides():
    name = f"{CELL}.sep_conv_3x3.pointwise.0.weight"
    drawn = [stages(4, 1, seed=seed)[2][name].channels[0] for seed in (0, 0, 1)]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_stages_that_cannot_follow_each_other_are_refused():
    with pytest.raises(ConfigError, match="partial must not grow"):
        stages(2, 4)
    with pytest.raises(ConfigError, match=r"method\.widen=both"):
        stages(4, 2, mapping="both")
    _, pruned, _ = stages(2, 2, masks([0]))
    full = space().supernet(ImageInputs((3, 16, 16), 10), partial=2)
    with pytest.raises(ConfigError, match="cannot come back"):
        growth_maps(pruned, full, torch.Generator())
