"""The fully connected block: its rows, and what cleaning leaves, against a search through all paths."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.errors import ConfigError
from nas.spaces.dso.layout import BlockLayout

FOUR = ("sep_conv_3x3", "sep_conv_5x5", "max_pool_3x3", "avg_pool_3x3")


@st.composite
def blocks(draw):
    """A small layout and which of its connections are alive."""
    layout = BlockLayout(draw(st.integers(1, 3)), FOUR[: draw(st.integers(1, 3))], draw(st.booleans()))
    alive = draw(st.lists(st.booleans(), min_size=len(layout.edges), max_size=len(layout.edges)))
    return layout, torch.tensor(alive)


def connections(layout, alive):
    """The live connections, those into level 1 that have no row among them."""
    found = {edge for edge, is_alive in zip(layout.edges, alive.tolist(), strict=True) if is_alive}
    if not layout.first_factors:
        found |= {(0, node) for node in layout.nodes(1)}
    return found


def paths(layout, found, node=0):
    """All paths from a node to the output, each as its connections."""
    if node == layout.output:
        yield ()
    for source, target in found:
        if source == node:
            yield from (((source, target), *rest) for rest in paths(layout, found, target))


# --- rows --------------------------------------------------------------------------------------------


def test_the_papers_block_has_124_connections_and_128_with_those_of_the_first_level():
    code, paper = BlockLayout(4, FOUR), BlockLayout(4, FOUR, first_factors=True)
    assert (len(code.edges), len(paper.edges)) == (124, 128)
    assert set(paper.edges) - set(code.edges) == {(0, node) for node in (1, 2, 3, 4)}
    assert code.output == 17


@pytest.mark.parametrize("first_factors", [False, True])
def test_rows_are_in_order_of_target_then_source_and_name_the_operation_that_they_feed(first_factors):
    layout = BlockLayout(3, FOUR[:2], first_factors)
    assert list(layout.edges) == sorted(layout.edges, key=lambda edge: edge[::-1])
    for row, (source, target) in enumerate(layout.edges):
        assert layout.row(source, target) == row
        name = "conv_1x1" if target == layout.output else FOUR[(target - 1) % 2]
        assert layout.candidates[row] == (name,)
        assert target == layout.output or source == 0 or layout.level(source) < layout.level(target)


@pytest.mark.parametrize("first_factors", [False, True])
def test_rows_of_a_level_are_a_matrix_of_targets_and_sources(first_factors):
    layout = BlockLayout(3, FOUR[:2], first_factors)
    rows = torch.arange(len(layout.edges))
    for level in layout.factored_levels:
        for node, own in zip(layout.nodes(level), layout.into(rows, level).tolist(), strict=True):
            assert [layout.edges[row] for row in own] == [(s, node) for s in range(layout.num_sources(level))]
    assert [layout.edges[row][0] for row in layout.into_output(rows).tolist()] == list(range(1, 7))


# --- cleaning ----------------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(blocks())
def test_cleaning_leaves_what_lies_on_a_path_from_the_input_to_the_output(block):
    layout, alive = block
    on_a_path = {edge for path in paths(layout, connections(layout, alive)) for edge in path}
    cleaned = layout.clean(alive)
    assert cleaned.tolist() == [edge in on_a_path for edge in layout.edges]
    passed = {target for _, target in on_a_path}
    assert layout.alive_operations(alive).tolist() == [node in passed for node in range(1, layout.output)]
    assert torch.equal(layout.clean(cleaned), cleaned)


@settings(max_examples=100, deadline=None)
@given(blocks())
def test_a_connection_is_connected_if_a_chain_leads_to_its_source_whether_it_is_alive_or_not(block):
    layout, alive = block
    reached, found = {0}, connections(layout, alive)
    for _ in range(layout.levels):
        reached |= {target for source, target in found if source in reached}
    assert layout.connected(alive).tolist() == [source in reached for source, _ in layout.edges]


def test_many_blocks_are_cleaned_at_once():
    layout = BlockLayout(3, FOUR[:2])
    alive = torch.rand(2, 5, len(layout.edges), generator=torch.Generator().manual_seed(0)) < 0.4
    each = [layout.clean(one) for one in alive.flatten(0, 1)]
    assert torch.equal(layout.clean(alive), torch.stack(each).view_as(alive))
    held = [layout.alive_operations(one) for one in alive.flatten(0, 1)]
    assert torch.equal(layout.alive_operations(alive), torch.stack(held).view(2, 5, 6))


def test_a_chain_without_beginning_or_end_is_dropped_link_by_link():
    layout = BlockLayout(4, FOUR[:1], first_factors=True)
    alive = torch.ones(len(layout.edges), dtype=torch.bool)
    for source in range(4):  # nothing feeds level 4 ...
        alive[layout.row(source, 4)] = False
    for target in (2, 3, 5):  # ... and level 1 feeds level 4 alone, which has no way out
        alive[layout.row(1, target)] = False
    left = [edge for edge, kept in zip(layout.edges, layout.clean(alive).tolist(), strict=True) if kept]
    assert left == [(0, 2), (0, 3), (2, 3), (2, 5), (3, 5)]


@pytest.mark.parametrize(
    "levels, operations, key", [(0, FOUR, "levels=0"), (1.5, FOUR, "levels=1.5"), (1, (), "operations")]
)
def test_a_block_without_operations_is_refused(levels, operations, key):
    with pytest.raises(ConfigError, match=rf"space\.{key}"):
        BlockLayout(levels, operations)
