"""From stage to stage of a progressive search: every entry of the new network has one place in the old."""

import pytest
import torch

from nas.errors import ConfigError
from nas.spaces.darts import DartsSpace
from nas.spaces.growth import growth_maps, inherit

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


def stages(before, after, kept=None, mapping="independent", seed=0):
    torch.manual_seed(0)
    old = space().supernet((3, 16, 16), 10, partial=before).double()
    new = space().supernet((3, 16, 16), 10, partial=after, kept=kept).double()
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


@pytest.mark.parametrize("mapping", ["independent", "shared"])
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
    full = space().supernet((3, 16, 16), 10, partial=2)
    with pytest.raises(ConfigError, match="cannot come back"):
        growth_maps(pruned, full, torch.Generator())
