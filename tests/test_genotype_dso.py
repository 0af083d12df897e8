"""The text form of DSO-NAS genotypes: what it looks like, that it keeps everything, and what it refuses."""

import json
import string

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nas import genotype as g
from nas.errors import ConfigError
from nas.genotype import Cell, Edge, Genotype

QUICK = settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
TEXT = "DSO(block:6[1=sep_conv_3x3(0) 6=max_pool_3x3(0,1)]>1,6; reduce_1:2[2=conv_3x3(0)]>2)"
BLOCK = Cell(
    ((Edge(0, "sep_conv_3x3"),), (), (), (), (), (Edge(0, "max_pool_3x3"), Edge(1, "max_pool_3x3"))),
    (1, 6),
    1,
)
GENOTYPE = Genotype("dso", {"block": BLOCK, "reduce_1": Cell(((), (Edge(0, "conv_3x3"),)), (2,), 1)})
WORDS = st.text(alphabet=string.ascii_letters + string.digits + "_", min_size=1, max_size=6)


@st.composite
def blocks(draw):
    """A block as it is derived: one operation a node, fed by any earlier nodes, or dead."""
    nodes = []
    for target in range(1, 1 + draw(st.integers(1, 9))):
        operation = draw(st.sampled_from(["sep_conv_3x3", "sep_conv_5x5", "avg_pool_3x3"]))
        sources = draw(st.sets(st.integers(0, target - 1), max_size=4))
        nodes.append(tuple(Edge(source, operation) for source in sources))
    output = draw(st.sets(st.integers(0, len(nodes)), min_size=1))
    return Cell(tuple(nodes), tuple(output), inputs=1)


@st.composite
def odd_cells(draw):
    """Cells that no search derives: several inputs, several operations a node, the same edge twice."""
    inputs, nodes = draw(st.integers(1, 3)), []
    for target in range(inputs, inputs + draw(st.integers(1, 5))):
        edges = st.lists(st.builds(Edge, st.integers(0, target - 1), WORDS), max_size=4)
        nodes.append(tuple(draw(edges)))
    output = draw(st.sets(st.integers(0, inputs + len(nodes) - 1), min_size=1))
    return Cell(tuple(nodes), tuple(output), inputs)


def any_genotype(cells):
    names = st.sampled_from(["block", "block_01", "block_24", "reduce_1", "reduce_2"])
    return st.dictionaries(names, cells, min_size=1).map(lambda found: Genotype("dso", found))


def test_the_text_names_what_is_alive_and_leaves_out_what_is_dead():
    assert str(GENOTYPE) == GENOTYPE.to_text() == TEXT


def test_a_dead_block_is_an_empty_one_with_its_input_as_output():
    dead = Genotype("dso", {"block": Cell(((),) * 16, (0,), 1)})
    assert str(dead) == "DSO(block:16[]>0)"
    assert g.parse(str(dead)) == dead


@QUICK
@given(any_genotype(blocks() | odd_cells()))
def test_the_text_keeps_everything(genotype):
    assert g.parse(genotype.to_text()) == genotype
    assert g.load(genotype.to_text(), "dso") == genotype


@QUICK
@given(any_genotype(blocks()))
def test_white_space_between_nodes_and_cells_means_nothing(genotype):
    spread = (
        genotype.to_text().replace("[", "[ ").replace("]", "\n]").replace(";", " ;\n ").replace(" ", "  ")
    )
    assert g.parse(f"\n{spread} ") == genotype


def test_the_json_form_says_the_same():
    assert g.parse(GENOTYPE.to_json()) == GENOTYPE
    assert json.loads(GENOTYPE.to_json())["cells"]["reduce_1"]["nodes"] == [
        [],
        [{"operation": "conv_3x3", "source": 0}],
    ]


def test_a_file_may_hold_the_text(tmp_path):
    (tmp_path / "block.txt").write_text(f"{TEXT}\n", encoding="utf-8")
    assert g.load(tmp_path / "block.txt", "dso") == GENOTYPE
    with pytest.raises(ConfigError, match="belongs to space 'dso'"):
        g.load(TEXT, "darts")


BROKEN = {
    "not closed": (TEXT[:-1], "expected DSO"),
    "nothing in it": ("DSO()", "malformed cell ''"),
    "no output": ("DSO(block:1[1=a(0)])", "malformed cell"),
    "an empty output": ("DSO(block:1[1=a(0)]>)", "malformed cell"),
    "no number of nodes": ("DSO(block:[1=a(0)]>1)", "malformed cell"),
    "no nodes": ("DSO(block:0[]>0)", "at least one node"),
    "no inputs": ("DSO(block:0+1[]>0)", "at least one input"),
    "too many nodes": (f"DSO(block:{'9' * 5000}[]>0)", "malformed cell"),
    "a node of nothing": ("DSO(block:2[1=a()]>1)", "malformed node '1=a\\(\\)' of block"),
    "an operation with a call": ("DSO(block:2[1=__import__('os')(0)]>1)", "malformed node"),
    "the input as a node": ("DSO(block:2[0=a(0)]>1)", "nodes 1 to 2"),
    "a node too far": ("DSO(block:2[3=a(0)]>1)", "nodes 1 to 2"),
    "a node twice": ("DSO(block:2[1=a(0) 1=b(0)]>1)", "node 1 of block is there twice"),
    "a cell twice": ("DSO(block:1[]>0; block:1[]>0)", "cell 'block' is there twice"),
    "fed by itself": ("DSO(block:2[1=a(1)]>1)", "node 1 takes input from 1"),
    "an output that is not there": ("DSO(block:2[1=a(0)]>3)", "output node 3 does not exist"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_text_is_refused_in_words(case):
    text, message = BROKEN[case]
    with pytest.raises(ConfigError, match=f"genotype.*{message}"):
        g.parse(text)


@QUICK
@given(st.data())
def test_damaged_text_is_read_or_refused(data):
    at, cut = data.draw(st.integers(0, len(TEXT))), data.draw(st.integers(0, 6))
    patch = data.draw(st.text(alphabet=string.printable, max_size=4))
    try:
        g.parse(TEXT[:at] + patch + TEXT[at + cut :])
    except ConfigError as error:
        assert "genotype" in str(error)
