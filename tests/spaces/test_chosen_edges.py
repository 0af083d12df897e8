"""Architectures of spaces whose nodes keep a few edges, as codes: each alike often, and one move apart."""

import itertools
from collections import Counter

import numpy as np
import pytest

from nas.errors import ConfigError
from nas.spaces.darts.space import DartsSpace
from nas.spaces.recurrent.space import RecurrentSpace

SEVEN = ("max_pool_3x3", "avg_pool_3x3", "skip_connect", "sep_conv_3x3", "sep_conv_5x5", "dil_conv_3x3",
         "dil_conv_5x5")  # fmt: skip
SMALL = DartsSpace("small", ["none", "skip_connect", "sep_conv_3x3"], num_nodes=2)
DARTS = DartsSpace("darts", ["none", *SEVEN])
TEXT = RecurrentSpace("darts_rnn")


def edges(genotype):
    return {
        (name, target, *vars(edge).values()) for name, cell in genotype.cells for target, edge in cell.edges
    }


def literal(space, kept):
    """All architectures of a space, as sets of what its cells hold."""
    cells = []
    for name, group in space.groups.items():
        nodes = []
        for target in sorted({target for _, target in group.edges}):
            entering = [row for row, edge in enumerate(group.edges) if edge[1] == target]
            nodes.append([
                {(name, target, group.edges[row][0], one) for row, one in zip(rows, names, strict=True)}
                for rows in itertools.combinations(entering, kept)
                for names in itertools.product(*(set(group.operations[row]) - {"none"} for row in rows))
            ])  # fmt: skip
        cells += nodes
    return {frozenset().union(*one) for one in itertools.product(*cells)}


def test_every_architecture_has_as_many_codes():
    known = SMALL.architectures()
    codes = itertools.product(*map(range, known.sizes_E))
    # Of both cells all, by the edges of one alone: the other stays.
    half = [code for code in map(np.array, codes) if not code[len(code) // 2 :].any()]
    found = Counter(frozenset(e for e in edges(known.genotype(code)) if e[0] == "normal") for code in half)
    expected = {frozenset(e for e in one if e[0] == "normal") for one in literal(SMALL, 2)}
    assert set(found) == expected and set(found.values()) == {2 * 2}
    assert len(known) == len(literal(SMALL, 2)) == len(expected) ** 2


def test_there_are_as_many_as_the_paper_counts():
    # Section 3.1.1 of DARTS: the inputs of a node's two edges, and their operations, twice four nodes.
    assert len(DARTS.architectures()) == (1 * 3 * 6 * 10 * 7**8) ** 2
    assert len(TEXT.architectures()) == np.prod([(node + 1) * 4 for node in range(8)], dtype=object)


@pytest.mark.parametrize("space", [SMALL, DARTS, TEXT], ids=["small", "darts", "text"])
def test_neighbours_differ_in_one_edge_and_are_all_that_do(space):
    known = space.architectures()
    code_E = known.random(np.random.default_rng(1).random((1, len(known.sizes_E))))[0]
    own, near = edges(known.genotype(code_E)), []
    everyone = np.arange(len(known.changed_K))
    for code in known.neighbour(np.repeat(code_E[None], len(everyone), 0), everyone):
        other = edges(known.genotype(code))
        # One goes, one comes, into the same node of the same cell.
        [gone], [come] = own - other, other - own
        assert gone[:2] == come[:2] and (gone[2] == come[2]) != (gone[3] == come[3])
        near.append(frozenset(other))
    assert len(set(near)) == len(near)
    if space is SMALL:
        apart = {one for one in literal(SMALL, 2) if len(one - own) == 1}
        # Another input and another operation at once is two moves.
        single = {
            one for one in apart if any(len({*a[2:]} & {*b[2:]}) == 1 for a in own - one for b in one - own)
        }
        assert set(near) == single
    # What was changed on the way here, local search leaves out: these were neighbours before as well.
    for k in (0, len(everyone) // 2, len(everyone) - 1):
        there = known.neighbour(code_E[None], np.array([k]))[0]
        for again in everyone[known.changed_K == known.changed_K[k]]:
            back = edges(known.genotype(known.neighbour(there[None], np.array([again]))[0]))
            assert back == own or frozenset(back) in near


def test_edges_with_more_candidates_than_others_are_refused():
    uneven = [["none", "skip_connect"]] * 4 + [["sep_conv_3x3", "skip_connect"]]
    space = DartsSpace("uneven", {"normal": uneven, "reduce": uneven}, num_nodes=2)
    with pytest.raises(ConfigError, match="have 1 to 2 candidates beside 'none'"):
        space.architectures()
