"""Derivation with few skip connections, and where there is nothing else to choose."""

import pytest
import torch

from nas.engine.rows import count_skips
from nas.errors import ConfigError
from nas.measure.derivation_skips import derive_with_skips
from nas.spaces.darts import DartsSpace
from nas.spaces.recurrent import RecurrentSpace


@pytest.mark.parametrize(
    "space",
    [
        DartsSpace("darts", ["none", "skip_connect", "sep_conv_3x3", "max_pool_3x3"], num_cells=3),
        RecurrentSpace("darts_rnn", num_nodes=4),
    ],
)
def test_the_weakest_go_and_the_rest_stays(space):
    generator = torch.Generator().manual_seed(0)
    scores = {name: torch.rand(group.shape, generator=generator) for name, group in space.groups.items()}
    for name, group in space.groups.items():
        passing = ("skip_connect", "identity")
        for row, operations in enumerate(group.operations):
            scores[name][row, [i for i, one in enumerate(operations) if one in passing]] += 1
    whole = space.derive(scores)
    before = {name: value.clone() for name, value in scores.items()}
    kept = {name: torch.ones(group.shape, dtype=torch.bool) for name, group in space.groups.items()}
    for most in range(count_skips(whole) + 1):
        found = derive_with_skips(space.derive, scores, space.groups, most, kept)
        assert count_skips(found) == most
    assert derive_with_skips(space.derive, scores, space.groups, 99, kept) == whole
    assert all(torch.equal(scores[name], before[name]) for name in scores)


@pytest.mark.parametrize("dropped", [False, True])
def test_edges_without_another_choice_are_refused(dropped):
    # Of a dropped candidate the score is finite, and below those of all that are kept.
    operations = ["none", "skip_connect", "sep_conv_3x3"] if dropped else ["none", "skip_connect"]
    space = DartsSpace("darts", operations, num_cells=3)
    scores = {name: torch.ones(group.shape) for name, group in space.groups.items()}
    kept = {name: torch.ones(group.shape, dtype=torch.bool) for name, group in space.groups.items()}
    if dropped:
        for name in scores:
            scores[name][:, 2] = -1
            kept[name][:, 2] = False
    with pytest.raises(ConfigError, match=r"budget\.skips=1: .* no other candidates"):
        derive_with_skips(space.derive, scores, space.groups, 1, kept)
