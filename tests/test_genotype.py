"""What a genotype promises: equality by meaning, three text forms, errors that name the cause, no `eval`."""

import dataclasses
import itertools
import json
import os
import string
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nas import genotype as g
from nas.errors import ConfigError
from nas.genotype import Cell, Edge, Genotype

QUICK = settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
NB201_OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
OPERATIONS = ("none", "skip_connect", "sep_conv_3x3", "dil_conv_5x5", "max_pool_3x3")
PUBLISHED = [(name, space) for name, spaces in g.published().items() for space in spaces]
TINY = Genotype(
    "darts",
    {
        "normal": Cell(((Edge(0, "skip_connect"), Edge(1, "sep_conv_3x3")),), (2,)),
        "reduce": Cell(((Edge(0, "max_pool_3x3"), Edge(1, "none")),), (2,)),
    },
)


KNOWN = st.sampled_from(OPERATIONS)


@st.composite
def cells(draw, inputs=None, per_node=None, names=KNOWN):
    inputs = draw(st.integers(1, 3)) if inputs is None else inputs
    nodes = []
    for target in range(inputs, inputs + draw(st.integers(1, 5))):
        edge = st.builds(Edge, st.integers(0, target - 1), names)
        low, high = (0, 4) if per_node is None else (per_node, per_node)
        nodes.append(tuple(draw(st.lists(edge, min_size=low, max_size=high))))
    last = inputs + len(nodes) - 1
    output = draw(st.sets(st.integers(0, last), min_size=1))
    return Cell(tuple(nodes), tuple(output), inputs)


def any_genotype(names=KNOWN):
    groups = st.dictionaries(st.sampled_from(["normal", "reduce", "block_0"]), cells(names=names), min_size=1)
    return st.builds(Genotype, st.sampled_from(["darts", "dso"]), groups)


DARTS = st.builds(
    lambda normal, reduce: Genotype("darts", {"normal": normal, "reduce": reduce}),
    cells(inputs=2, per_node=2),
    cells(inputs=2, per_node=2),
)
RECURRENT = cells(inputs=1, per_node=1).map(lambda cell: Genotype("darts_rnn", {"recurrent": cell}))


def parses_or_complains(text, read=g.parse):
    """Returns the genotype, or None if `read` refused the text as it should; any other exception escapes."""
    try:
        return read(text)
    except ConfigError:
        return None


# --- equality ---


@QUICK
@given(cell=cells(), seed=st.randoms(use_true_random=False))
def test_the_order_of_edges_and_of_output_nodes_means_nothing(cell, seed):
    nodes = tuple(tuple(seed.sample(edges, len(edges))) for edges in cell.nodes)
    shuffled = Cell(nodes, tuple(seed.sample(cell.output, len(cell.output))), cell.inputs)
    assert shuffled == cell and hash(shuffled) == hash(cell)
    assert Genotype("darts", {"a": cell, "b": cell}) == Genotype("darts", (("b", shuffled), ("a", shuffled)))


def test_another_operation_source_output_or_space_is_another_genotype():
    cell = TINY["normal"]
    others = [
        Cell(((Edge(0, "skip_connect"), Edge(1, "sep_conv_5x5")),), (2,)),
        Cell(((Edge(0, "skip_connect"), Edge(0, "sep_conv_3x3")),), (2,)),
        Cell(((Edge(0, "skip_connect"), Edge(1, "sep_conv_3x3")),), (1, 2)),
    ]
    assert all(other != cell for other in others)
    assert Genotype("dso", TINY.cells) != TINY
    assert len({TINY, Genotype("darts", dict(TINY.cells)), Genotype("dso", TINY.cells)}) == 2


def test_nothing_about_a_genotype_can_be_changed():
    for thing, name in [
        (TINY, "space"),
        (TINY["normal"], "output"),
        (TINY["normal"].nodes[0][0], "operation"),
    ]:
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(thing, name, "other")
    assert isinstance(TINY.cells, tuple) and isinstance(TINY["normal"].nodes, tuple)


@pytest.fixture
def fresh_library():
    """Undoes what a test may have done to the cached genotypes of the literature."""
    yield
    g.published.cache_clear()


def test_the_published_genotypes_cannot_be_replaced_by_accident(fresh_library):
    with pytest.raises(TypeError):
        g.published()["DARTS_V2"] = {}
    with pytest.raises(TypeError):
        g.published()["DARTS_V2"]["darts"] = TINY


def test_a_cell_counts_and_lists_its_operations():
    assert TINY["normal"].count("skip_connect") == 1 and TINY["normal"].count("none") == 0
    assert TINY.operations == {"skip_connect", "sep_conv_3x3", "max_pool_3x3", "none"}
    assert TINY["normal"].edges == ((2, Edge(0, "skip_connect")), (2, Edge(1, "sep_conv_3x3")))
    assert "normal" in TINY and "cell" not in TINY


@pytest.mark.parametrize(
    ("nodes", "output", "inputs", "message"),
    [
        (((Edge(2, "none"),),), (2,), 2, "node 2 takes input from 2"),
        (((Edge(-1, "none"),),), (2,), 2, "node 2 takes input from -1"),
        (((Edge(0, "none"),),), (3,), 2, "output node 3 does not exist"),
        (((Edge(0, "none"),),), (), 2, "at least one output"),
        ((), (0,), 2, "at least one node"),
        (((Edge(0, "none"),),), (0,), 0, "at least one input"),
    ],
)
def test_an_impossible_cell_is_refused(nodes, output, inputs, message):
    with pytest.raises(ConfigError, match=message):
        Cell(nodes, output, inputs)


def test_a_genotype_needs_cells_with_distinct_names():
    with pytest.raises(ConfigError, match="no cells"):
        Genotype("darts", ())
    with pytest.raises(ConfigError, match="occurs twice"):
        Genotype("darts", (("a", TINY["normal"]), ("a", TINY["normal"])))


# --- round trips ---


@QUICK
@given(any_genotype(names=st.text(max_size=8)))
def test_json_keeps_everything_whatever_the_operations_are_called(genotype):
    assert g.parse(genotype.to_json()) == genotype
    assert g.from_dict(genotype.to_dict()) == genotype


@QUICK
@given(DARTS | RECURRENT)
def test_the_text_of_the_literature_keeps_everything(genotype):
    assert g.parse(genotype.to_text()) == genotype
    assert g.parse(str(genotype)) == genotype


def test_all_nasbench201_strings_survive_both_ways_in_little_time():
    begin, seen = time.monotonic(), set()
    for a, b, c, d, e, f in itertools.product(NB201_OPERATIONS, repeat=6):
        text = f"|{a}~0|+|{b}~0|{c}~1|+|{d}~0|{e}~1|{f}~2|"
        genotype = g.parse(text)
        assert genotype.to_text() == text
        seen.add(genotype)
    assert len(seen) == 5**6
    assert time.monotonic() - begin < 20


def test_output_nodes_may_be_written_as_a_range():
    cell = "[('skip_connect', 0), ('none', 1)]"
    spelt = g.parse(f"Genotype(normal={cell}, normal_concat=[2], reduce={cell}, reduce_concat=[2])")
    ranged = g.parse(
        f"Genotype(normal={cell}, normal_concat=range(2, 3), reduce={cell}, reduce_concat=range(2, 3))"
    )
    assert spelt == ranged


# --- hostile and broken text ---


@QUICK
@given(st.sampled_from(["", "Genotype(", "Genotype(normal=", "{", '{"cells":', "|", "|a~0|+"]), st.text())
def test_arbitrary_text_is_read_or_refused(start, rest):
    parses_or_complains(start + rest)


@QUICK
@given(st.data())
def test_damaged_text_is_read_or_refused(data):
    base = data.draw(st.sampled_from([TINY.to_json(), TINY.to_text(), "|none~0|+|none~0|none~1|"]))
    at = data.draw(st.integers(0, len(base)))
    cut = data.draw(st.integers(0, 6))
    parses_or_complains(
        base[:at] + data.draw(st.text(alphabet=string.printable, max_size=4)) + base[at + cut :]
    )


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4)
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner)
)


@QUICK
@given(cell=JSON, nodes=JSON, source=JSON, output=JSON, inputs=JSON)
def test_json_of_the_wrong_kind_is_refused(cell, nodes, source, output, inputs):
    edge = {"source": source, "operation": "none"}
    for wrong in (
        cell,
        {"inputs": inputs, "nodes": [[]], "output": [0]},
        {"inputs": 1, "nodes": nodes, "output": [1]},
        {"inputs": 1, "nodes": [[edge]], "output": [1]},
        {"inputs": 1, "nodes": [[]], "output": output},
    ):
        parses_or_complains(json.dumps({"schema": 1, "space": "darts", "cells": {"cell": wrong}}))


BROKEN = {
    "inputs are a word": TINY.to_json().replace('"inputs": 2', '"inputs": "two"'),
    "source is half": TINY.to_json().replace('"source": 1', '"source": 0.5'),
    "inputs are infinite": TINY.to_json().replace('"inputs": 2', '"inputs": 1e999'),
    "JSON nests too deep": '{"a":' * 100_000,
    "JSON number too long": '{"schema": ' + "9" * 5000 + "}",
    "input number too long": "|none~" + "9" * 5000 + "|",
    "half an input": "Genotype(recurrent=[('relu', 0.5)], concat=[1])",
    "called twice": TINY.to_text().replace("Genotype(", "Genotype()("),
    "infinite input": "Genotype(recurrent=[('relu', 1e999)], concat=[1])",
    "deep brackets": "Genotype(recurrent=" + "[" * 5000,
    "deep minus signs": "Genotype(recurrent=" + "-" * 50_000 + "1, concat=[1])",
    "fields twice": "Genotype(recurrent=[('relu', 0)], recurrent=[('relu', 0)], concat=[1])",
    "unpacked mapping": "Genotype(**{'recurrent': [('relu', 0)], 'concat': [1]})",
    "positional": "Genotype([('relu', 0)], [1])",
    "odd number of edges": "Genotype(normal=[('none', 0)], normal_concat=[2], reduce=[], reduce_concat=[2])",
    "field missing": "Genotype(normal=[('none', 0), ('none', 1)], normal_concat=[2])",
    "huge range": "Genotype(recurrent=[('relu', 0)], concat=range(10**9))",
    "nasbench input missing": "|none~0|+|none~1|none~1|",
    "not a genotype": '{"hello": 1}',
    "newer schema": TINY.to_json().replace('"schema": 1', '"schema": 2'),
    "empty": "",
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_text_is_refused(case):
    with pytest.raises(ConfigError, match="genotype"):
        g.parse(BROKEN[case])


@pytest.mark.parametrize(
    "code",
    [
        "__import__('os').mkdir(PLACE)",
        "[('relu', __import__('os').mkdir(PLACE))]",
        "open(PLACE, 'w')",
        "(lambda: open(PLACE, 'w'))()",
        "[open(PLACE, 'w') for _ in [1]]",
        "range(len([open(PLACE, 'w')]))",
        "f'{open(PLACE, chr(119))}'",
    ],
)
def test_code_in_a_genotype_is_refused_and_never_run(code, tmp_path):
    place = tmp_path / "ran"
    code = code.replace("PLACE", repr(str(place)))
    text = f"Genotype(normal={code}, normal_concat=[2], reduce=[], reduce_concat=[2])"
    for read in (g.parse, g.load):
        with pytest.raises(ConfigError):
            read(text)
    assert not place.exists()


# --- the literature ---


@pytest.mark.parametrize(("name", "space"), PUBLISHED)
def test_every_published_genotype_loads_by_name_and_survives_its_text_forms(name, space):
    genotype = g.load(name, space)
    assert genotype.space == space
    assert g.parse(genotype.to_json()) == genotype
    assert g.parse(genotype.to_text()) == genotype


def test_published_genotypes_equal_the_reference_values():
    folder = os.environ.get("NAS_SHARED")
    if not folder:
        pytest.skip("set NAS_SHARED to the folder that holds goldens/genotypes.json")
    golden = json.loads((Path(folder) / "goldens" / "genotypes.json").read_text(encoding="utf-8"))

    def edges(items):
        return tuple(Edge(item["input"], item["op"]) for item in items)

    expected = {}
    for name, groups in golden["convolutional"].items():
        found = {k: Cell(tuple(map(edges, c["nodes"])), tuple(c["concat"])) for k, c in groups.items()}
        expected[name, "darts"] = Genotype("darts", found)
    for name, cell in golden["recurrent"].items():
        nodes = tuple(edges([item]) for item in cell["recurrent"])
        expected[name, "darts_rnn"] = Genotype(
            "darts_rnn", {"recurrent": Cell(nodes, tuple(cell["concat"]), 1)}
        )
    # The LSTM is a baseline of ours; PNASNet is held against timm's (tests/spaces/test_imagenet_counts.py).
    known = [key for key in PUBLISHED if key[0] not in ("LSTM", "PNASNet")]
    assert {key: g.published()[key[0]][key[1]] for key in known} == expected


# --- load ---


def test_load_reads_a_run_folder_a_file_and_the_text_itself(tmp_path):
    (tmp_path / "genotype.json").write_text(TINY.to_json(), encoding="utf-8")
    (tmp_path / "mine.txt").write_text(f"\n{TINY.to_text()}\n", encoding="utf-8")
    references = [tmp_path, str(tmp_path), tmp_path / "genotype.json", tmp_path / "mine.txt", TINY.to_text()]
    assert [g.load(reference) for reference in references] == [TINY] * 5
    assert g.load(TINY.to_json(), space="darts") == TINY


def test_load_finds_a_file_in_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine.json").write_text(TINY.to_json(), encoding="utf-8")
    assert g.load("~/mine.json") == TINY


def test_a_name_that_exists_in_two_spaces_follows_the_space_asked_for():
    assert g.load("DARTS_V2").space == "darts"
    assert g.load("DARTS_V2", "darts_rnn").space == "darts_rnn"


def test_load_says_what_is_wrong(tmp_path):
    binary = tmp_path / "weights.ckpt"
    binary.write_bytes(b"\x80\x02\xff\xfe\x00")
    broken = tmp_path / "broken.json"
    broken.write_text("{", encoding="utf-8")
    cases = {
        tmp_path / "nowhere": "published name .*DARTS_V2",
        tmp_path: "no such run folder",
        binary: "weights.ckpt: not UTF-8 text",
        broken: "broken.json: .*broken JSON",
        "~no-such-user-exists/genotype.json": "no-such-user",
        "x" * 5000: "genotype",
        "a\0b": "genotype",
    }
    for reference, message in cases.items():
        with pytest.raises(ConfigError, match=message):
            g.load(reference)


def test_load_refuses_a_genotype_of_another_space():
    for reference in ("DARTS_V2", TINY.to_text()):
        with pytest.raises(ConfigError, match="belongs to space 'darts', but space=nasbench201"):
            g.load(reference, "nasbench201")


def test_unknown_operations_are_named():
    g.check_operations(TINY, [*OPERATIONS, "more"])
    with pytest.raises(ConfigError, match="max_pool_3x3"):
        g.check_operations(TINY, ["none", "skip_connect", "sep_conv_3x3"])
