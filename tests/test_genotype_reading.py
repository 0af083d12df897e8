"""Genotypes as people have them: one recogniser for logs, Python files, other frameworks' spellings."""

import json
import time

import pytest

from nas import genotype as g
from nas.errors import ConfigError
from nas.genotype import Cell, Edge, Genotype
from nas.genotype_reading import find, named

V2 = g.load("DARTS_V2", "darts")
TEXT = V2.to_text()
STRING = "|nor_conv_3x3~0|+|nor_conv_3x3~0|none~1|+|nor_conv_1x1~0|skip_connect~1|none~2|"
TINY = "[('skip_connect', 0), ('sep_conv_3x3', 1)]"
FILE = f"""
from collections import namedtuple
Genotype = namedtuple('Genotype', 'normal normal_concat reduce reduce_concat')

class Genotype(NamedTuple): ...

TINY = Genotype(
    normal=[  # the first node's
        ('skip_connect', np.int64(0)), ('sep_conv_3x3', 1),
    ],
    normal_concat=range(2, 3), reduce={TINY}, reduce_concat=[2])
DARTS_V2 = {TEXT}
DARTS = DARTS_V2  # the default
"""


def hub(**more):
    """NNI's dictionary of its DARTS space: both inputs of every node through one operation."""
    found = {}
    for cell in ("normal", "reduce"):
        for node in range(2, 6):
            for position in (0, 1):
                found |= {f"{cell}/op_{node}_{position}": "sep_conv_3x3"}
                found |= {f"{cell}/input_{node}_{position}": [position]}
    return found | more


def one_shot(switch, operation):
    """The same cell as NNI's one-shot trainers export it."""
    found = {}
    for cell in ("normal", "reduce"):
        for node in range(2, 6):
            found |= {f"{cell}_n{node}_p{i}": operation if i < 2 else [] for i in range(node)}
            found[f"{cell}_n{node}_switch"] = [switch(f"{cell}_n{node}_p{i}", i) for i in (0, 1)]
    return found


def same_twice():
    cell = Cell(((Edge(0, "sep_conv_3x3"), Edge(1, "sep_conv_3x3")),) * 4, (2, 3, 4, 5))
    return Genotype("darts", {"normal": cell, "reduce": cell})


@pytest.mark.parametrize(
    "text",
    [
        f"2019-04-01 10:00:00,123 genotype = {TEXT}",
        f"[2019-04-01 10:00:00] (epoch 3) genotype = {TEXT}",
        f"\ufeff'{TEXT}',\n",
        f"mine: Genotype = genotypes.{TEXT}",
        f"{TEXT}\n{TEXT.replace(' ', '')}",
        TEXT.replace("), (", "),\n    (").replace("[2, 3, 4, 5]", "list(range(2, 6))"),
    ],
)
def test_one_cell_in_a_text_is_that_cell(text):
    assert g.parse(text) == g.load(text) == V2


def test_pairs_may_be_nested_per_node_and_are_where_nodes_differ():
    nodes = "[[('skip_connect', 0), ('sep_conv_3x3', 1)], (('none', 0), ('none', 1))]"
    flat = "[('skip_connect', 0), ('sep_conv_3x3', 1), ('none', 0), ('none', 1)]"
    found = [
        g.parse(f"Genotype(normal={one}, normal_concat=[3], reduce={one}, reduce_concat=[3])")
        for one in (nodes, flat)
    ]
    assert found[0] == found[1]
    for edges in (
        ((Edge(0, "a"),), (Edge(1, "b"),)),
        ((Edge(0, "a"),), (Edge(0, "b"), Edge(1, "c"), Edge(2, "d"))),
    ):
        cell = Cell(edges, (2, 3))
        odd = Genotype("darts", {"normal": cell, "reduce": cell})
        assert g.parse(str(odd)) == odd


def test_of_several_in_a_file_one_is_named(tmp_path):
    file = tmp_path / "genotypes.py"
    file.write_text(FILE, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"2 architectures, TINY \(line 7\), DARTS_V2 \(line 12\); name"):
        g.load(file)
    assert g.load(f"{file}:DARTS_V2") == g.load(f"{file}:DARTS") == g.load(f"{file}:12") == V2
    assert g.load(f"{file}:TINY")["normal"].output == (2,)
    with pytest.raises(ConfigError, match=r"none is called NASNet .* TINY"):
        g.load(f"{file}:NASNet")
    log = tmp_path / "search.log"
    log.write_text(f"epoch 0\ngenotype = {TEXT}\n" + f"genotype = {TEXT.replace('dil', 'sep')}\n" * 2)
    with pytest.raises(ConfigError, match=r"2 architectures, genotype \(line 2\), genotype \(line 3\)"):
        g.load(f"{log}:genotype")
    assert g.load(f"{log}:2") == V2 != g.load(f"{log}:4")


@pytest.mark.parametrize(
    "text",
    [
        f'" {STRING.replace("|", " | ")} "',
        f"Structure(4 nodes with {STRING})",
        f"arch_str: {STRING}, 91.3",
        "[[('nor_conv_3x3', 0)], [('nor_conv_3x3', 0), ('none', 1)], "
        "[('nor_conv_1x1', 0), ('skip_connect', 1), ('none', 2)]]",
        '{"0_1": "conv_3x3", "0_2": "conv_3x3", "1_2": "none", "0_3": "conv_1x1", "1_3": "skip_connect", '
        '"2_3": "none"}',
    ],
)
def test_an_architecture_of_nasbench201_in_its_forms(text):
    assert str(g.load(text, "nasbench201")) == STRING


def test_the_index_of_nasbench201():
    # Three that the benchmark's authors assert when they make the list.
    for index, text in {
        0: "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|nor_conv_1x1~0|skip_connect~1|skip_connect~2|",
        9: "|avg_pool_3x3~0|+|none~0|none~1|+|skip_connect~0|none~1|nor_conv_3x3~2|",
        123: "|avg_pool_3x3~0|+|avg_pool_3x3~0|nor_conv_1x1~1|+|none~0|avg_pool_3x3~1|nor_conv_3x3~2|",
    }.items():
        assert str(g.load(str(index), "nasbench201")) == text
    with pytest.raises(ConfigError, match="0 to 15624"):
        g.load("15625", "nasbench201")


@pytest.mark.parametrize(
    "spelt",
    [
        hub(width=36),
        one_shot(lambda label, _: label, "sepconv3x3"),
        one_shot(lambda _, position: position, 3),
    ],
)
def test_dictionaries_of_nni(spelt):
    assert g.parse(repr(spelt)) == g.parse(f"best: {json.dumps(spelt)}") == same_twice()


@pytest.mark.parametrize(
    ("text", "space", "words"),
    [
        ("[4, 0, 3, 1, 4, 3]", "nasbench201", r"numbers alone.*takes .*\|nor_conv_3x3~0\|"),
        ("0 2 0 0 0 4 0 1 0 4 1 1 1 0 0 1 0 2 1 1", "darts", r"numbers alone.*takes .*DARTS_V2.*Genotype\("),
        (repr(hub(**{"normal/op_6_0": "sep_conv_3x3"})), "darts", "nodes .2, 3, 4, 5, 6."),
        (repr({key: value for key, value in hub().items() if "input_3" not in key}), "darts", "malformed"),
        ("['nor_conv_3x3', 'none']", "nasbench201", "3 nodes of 1, 2 and 3 pairs"),
        (TEXT, "nasbench201", r"belongs to space 'darts'.*takes .*\|nor_conv_3x3~0\|"),
        ("mobilenet", "chain", r"takes a run folder, a file, or a text such as chain\("),
        ("|none~0|+|none~0|none|", "nasbench201", "malformed"),
        ("x |none~0|+|none~0|none|", "nasbench201", "no such run folder"),
    ],
)
def test_what_is_not_read_is_answered_with_what_is_taken(text, space, words):
    with pytest.raises(ConfigError, match=words):
        g.load(text, space)


@pytest.mark.parametrize(
    "part", ["|a~0 ", "Genotype(", "x(a:1[", "{'0_1'", " |a ~ 0|+", "[", "#'", "a=Genotype(b)"]
)
def test_no_text_takes_long(part):
    begin = time.monotonic()
    with pytest.raises(ConfigError):
        g.parse(part * (2**16 // len(part)))
    assert time.monotonic() - begin < 5


def test_blank_lines_take_no_time():
    text = f"A = {TEXT}" + "\n" * 60_000
    begin = time.monotonic()
    with pytest.raises(ConfigError, match="none is called B"):
        named(find(text), text, "B")
    assert time.monotonic() - begin < 1


def test_a_string_may_be_wrapped_at_its_joins():
    for wrapped in (STRING.replace("+", "+\n"), STRING.replace("+", "\n  +")):
        assert g.parse(wrapped) == g.parse(STRING)


@pytest.mark.parametrize("operation", ["None", "b'none'"])
@pytest.mark.parametrize(
    "text", [TEXT, "[[('none', 0)], [('none', 0), ('none', 1)], [('none', 0), ('none', 1), ('none', 2)]]"]
)
def test_an_operation_that_is_no_text_is_refused(text, operation):
    first = "'none'" if "'none'" in text else "'sep_conv_3x3'"
    with pytest.raises(ConfigError, match="it must be a text"):
        g.parse(text.replace(first, operation, 1))


@pytest.mark.parametrize("operation", ["''", "' none'", "'a b'", "'a~b'"])
def test_an_operation_that_no_text_could_hold_is_refused(operation):
    with pytest.raises(ConfigError, match="must be a name of letters"):
        g.parse(TEXT.replace("'sep_conv_3x3'", operation, 1))


@pytest.mark.parametrize("source", ["0x" + "f" * 6000, "[0x" + "f" * 6000 + "]", str(2**63)])
def test_a_node_of_a_number_that_python_does_not_write_down_is_refused(source):
    with pytest.raises(ConfigError, match="genotype: "):
        g.parse(TEXT.replace(", 0)", f", {source})", 1))


@pytest.mark.parametrize("switch", [float("inf"), float("nan"), 1.5, True, -1])
def test_a_switch_of_nni_that_is_no_place_is_refused(switch):
    spelt = one_shot(lambda label, i: switch if i else i, "sepconv3x3")
    with pytest.raises(ConfigError, match="is no position"):
        g.parse(json.dumps(spelt))


@pytest.mark.parametrize("family", ["darts", "darts_rnn", "nasbench201"])
def test_a_family_with_a_form_of_its_own_is_read_in_that_alone(family):
    with pytest.raises(ConfigError, match=f"architectures of {family} have a form of their own, such as"):
        g.parse(f"{family}(cell:1[1=none(0)]>1)")


def test_odd_python_is_read_without_a_warning(recwarn):
    with pytest.raises(ConfigError):
        g.parse(TEXT.replace("'sep_conv_3x3'", r"'\d'", 1))
    assert g.parse(f"A = {TEXT}  # \\d") == V2
    assert not recwarn.list


def test_a_text_is_never_looked_for_on_the_disk(monkeypatch):
    monkeypatch.setattr("os.path.lexists", lambda path: pytest.fail(f"looked for {path}"))
    assert g.load(TEXT) == V2
    with pytest.raises(ConfigError):
        g.load("Genotype(" * 100)
