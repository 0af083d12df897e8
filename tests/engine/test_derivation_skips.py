"""Derivation with few skip connections, and where there is nothing else to choose."""

import pytest
import torch

from nas.engine.rows import count_skips
from nas.errors import ConfigError
from nas.measure.derivation_skips import derive_with_skips, limit_skips, tell_other_limits
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


def test_a_space_with_a_limit_derives_one_cell_and_tells_the_others(caplog):
    space = DartsSpace("darts", ["none", "skip_connect", "sep_conv_3x3"], num_cells=3)
    assert limit_skips(space, None) is space
    limited = limit_skips(space, 2)
    generator = torch.Generator().manual_seed(0)
    scores = {name: torch.rand(group.shape, generator=generator) for name, group in space.groups.items()}
    for value in scores.values():
        value[:, 1] += 1
    assert isinstance(limited, DartsSpace) and count_skips(space.derive(scores)) == 8
    found = limited.derive(scores)
    assert count_skips(found) == 2 and found["reduce"] == space.derive(scores)["reduce"]
    with caplog.at_level("INFO"):
        tell_other_limits(limited, scores, found, 2)
    assert [record.args[0] for record in caplog.records] == [8, 7, 6, 5, 4, 3, 1, 0]
    # Where an edge has kept nothing else there are as few as can be.
    for value in scores.values():
        value[:, 2] = -1
    assert count_skips(limit_skips(space, 2).derive(scores)) == 8
