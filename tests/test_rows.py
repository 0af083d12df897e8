"""docs/rows.md is made of its data file and the headers, leaves no row out, with the papers' numbers."""

import math
import re
from collections import Counter

import pytest
import yaml

from experiments.rows.__main__ import PAGE
from experiments.rows.items import (
    COMMAND,
    ITEMS,
    NONE,
    STEPS,
    SWEEP,
    WHOLE,
    blocks,
    every_row,
    headers,
    rows_of,
)
from experiments.rows.page import page
from nas.running.config import CONF, instantiate
from nas.running.declared import read_file
from tests.shared import shared

BLOCKS = blocks()
ROWS = every_row(BLOCKS)
HEADERS = headers()
DARTS = "seeds/002_91ea9efeaf244c54.txt"
DRNAS = "seeds/003_6919437b52b3c44e.txt"
# A value, and what its comment says that the paper has: `50 # paper 25 + 25`, `3.5e6 # paper 3.5 M`.
SAID = re.compile(
    r"^\s*-? ?\w+: (\S+) +# (?:[^#]*; )?paper (\d[\d.,e/-]*)( M)?((?:[a-z ]*\+ [\d.]+)*)(.*)$", re.M
)


def table(name):
    return [row for row in ROWS if row.table == name]


def test_the_page_is_what_the_command_makes():
    assert PAGE.read_text() == page(), "python -m experiments.rows --keep"


def test_every_row_has_a_file_or_a_command_or_a_reason():
    for row in ROWS:
        kind = row.kind(HEADERS)
        assert set(row.files) <= set(HEADERS), row
        assert kind in (WHOLE, STEPS) or row.reason or "`" in row.here, row
        assert kind != NONE or len(row.reason) > 30, row
        assert kind != COMMAND or not row.files, row


def test_sweeps_that_rows_name_say_which_experiments_they_run():
    found = {sweep for row in ROWS for sweep in SWEEP.findall(row.here)}
    assert len(found) >= 8
    for sweep in found:
        params = yaml.safe_load((CONF / f"sweep/{sweep}.yaml").read_text())["hydra"]["sweeper"]["params"]
        assert set(params["experiment"].split(",")) <= set(HEADERS), sweep


def test_what_needs_a_cell_found_before_is_not_one_override():
    """Figure 3 of DARTS trains cells of a search that somebody has run."""
    kinds = {sweep: row.kind(HEADERS) for row in ROWS for sweep in SWEEP.findall(row.here)}
    assert kinds["darts_figure3"] == STEPS
    assert kinds["drnas_table1"] == kinds["drnas_figure4"] == WHOLE


def test_every_reason_is_one_that_a_row_has():
    named = yaml.safe_load(ITEMS.read_text())["reasons"]
    assert set(named.values()) <= {row.reason for row in ROWS}


def test_rows_of_a_table_have_a_cell_for_each_column():
    for block in BLOCKS:
        for row in rows_of(block):
            assert len(row.cells) + 1 == len(block["columns"]), row


@pytest.mark.parametrize(("name", "rows"), [
    ("darts/table1", 14), ("darts/table2", 10), ("darts/table3", 11), ("darts/table4", 7),
    ("drnas/table1", 5), ("drnas/table2", 19), ("drnas/table3", 22),
    ("drnas/table4", 13), ("drnas/table5", 1), ("drnas/table6", 4), ("dsonas/table1", 11),
    ("dsonas/table2", 12), ("dsonas/table3", 8),
])  # fmt: skip
def test_a_table_has_all_rows(name, rows):
    """So many as there are in the paper."""
    assert len(table(name)) == rows
    assert len({row.cells[0] for row in table(name)}) == rows


@pytest.mark.parametrize("name", [f"drnas/table{k}" for k in (1, 2, 3, 4, 5, 6)])
def test_the_figures_of_drnas_are_those_of_its_text(name):
    """Every row's figures stand in the paper's text in this order, one right behind the other."""
    text = re.sub(r"\s+", " ", shared(DRNAS).read_text())
    for row in table(name):
        figures = [cell.replace("+-", "±") for cell in row.cells[1:]]
        if name == "drnas/table1":  # a half for each data set
            parts = [figure.replace(",", "") for figure in figures]
        else:
            words = re.split(r"[,/ ]+(?!±)(?<!± )", " ".join(figures).replace("about ", "\N{TILDE OPERATOR}"))
            parts = [" ".join(word for word in words if word)]
        for part in parts:
            assert part in text or part.replace("2.40", "2.4") in text, row


def test_the_figures_of_darts_are_those_of_its_table_1():
    text = shared(DARTS).read_text()
    for row in table("darts/table1"):
        assert row.cells[1].replace("+-", "±").replace(", ", "\t") in text, row


def test_the_gains_of_section_4_3_are_ratios_of_the_sums_of_table_4():
    """ "DrNAS outperforms DARTS, GDAS, DSNAS, PC-DARTS, and SNAS by 103.8 %, ... on average"."""
    sums = {
        row.cells[0]: sum(float(cell.split()[0]) for cell in row.cells[1:]) for row in table("drnas/table4")
    }
    assert all(len(row.cells) == 7 for row in table("drnas/table4"))
    sums["DARTS"] = sums["DARTS (2nd)"]
    gains = {row.cells[0]: row.cells[1] for row in table("drnas/gains")}
    assert list(gains) == ["DARTS", "GDAS", "DSNAS", "PC-DARTS", "SNAS"]
    assert gains == {name: f"{100 * (sums['DrNAS'] / sums[name] - 1):.1f} %" for name in gains}


def error(name, row):
    """The first figure of a row, in percent."""
    (found,) = (one.cells[1] for one in table(name) if one.cells[0] == row)
    return float(re.match(r"[\d.]+", found)[0])


def said(paper, where):
    """The figures that a text has, in its order."""
    (found,) = (row.cells[1] for row in table(f"{paper}/text") if row.cells[0].startswith(where))
    return [float(number) for number in re.findall(r"(?<![-\d.])\d+(?:\.\d+)?(?= %|,)", found)]


def test_differences_that_texts_name_are_those_of_their_tables():
    """DrNAS, sections 2.4 and 3; DSO-NAS, section 4.4.2, whose "0.2 %" are rounded."""
    columns = {
        row.cells[0]: [float(cell.split()[0]) for cell in row.cells[1:]] for row in table("drnas/table1")
    }
    lost = [one - eight for one, eight in zip(columns["K = 1"], columns["K = 8"], strict=True)]
    assert [int(number) for number in lost] == said("drnas", "section 2.4") == [3, 18]
    names = ["BayesNAS", "GDAS", "PARSEC", "DSNAS", "ProxylessNAS (GPU)", "PC-DARTS (ImageNet)"]
    gains = [round(error("drnas/table3", name) - error("drnas/table3", "DrNAS"), 1) for name in names]
    assert gains == said("drnas", "section 3")
    for where, without in (
        ("what a set of", "{}, no split, yes"),
        ("what pretraining", "{}, split, no, 1:1"),
    ):
        for space in ("full", "share"):
            lost = error("dsonas/table3", without.format(space)) - error(
                "dsonas/table3", f"{space}, split, yes, 1:1"
            )
            assert [lost] == pytest.approx(said("dsonas", f"section 4.4.2: {where}"), abs=0.1)


def test_there_are_as_many_cells_as_appendix_c_of_darts_says():
    space = instantiate(read_file(CONF / "space/darts.yaml"))
    group = space.groups["normal"]
    candidates = len(group.operations[0])
    nodes = Counter(target for _, target in group.edges)
    cells = math.prod(math.comb(edges, 2) * (candidates - 1) ** 2 for edges in nodes.values())
    assert 1e9 <= cells < 1.1e9 and 1e18 <= cells**2 < 1.2e18
    assert 4e12 <= candidates ** len(group.edges) < 5e12
    assert 1e25 <= candidates ** (2 * len(group.edges)) < 2e25


def test_nothing_in_table_4_is_above_the_optimum():
    *others, best = table("drnas/table4")
    assert best.cells[0] == "optimal"
    for row in others:
        assert all(
            float(a.split()[0]) <= float(b) for a, b in zip(row.cells[1:], best.cells[1:], strict=True)
        )


def test_numbers_that_a_file_calls_the_papers_are_the_papers():
    """Of files with a published figure; a comment that says whose number it is instead is not read."""
    wrong, read = [], 0
    for name, one in HEADERS.items():
        if one.published.startswith("nothing"):
            continue
        for value, first, million, more, rest in SAID.findall((CONF / f"experiment/{name}.yaml").read_text()):
            if rest.startswith(" for its own"):
                continue
            number, _, divisor = first.rstrip(",").replace(",", "").partition("/")
            said = float(number) / float(divisor or 1) * (1e6 if million else 1)
            said += sum(float(each) for each in re.findall(r"\+ ([\d.]+)", more))
            processes = int(found[1]) if (found := re.search(r"on (\d) GPUs", rest)) else 1
            read += 1
            if said not in (pytest.approx(float(value)), pytest.approx(float(value) * processes)):
                wrong.append((name, value, first))
    assert not wrong
    assert read >= 85


@pytest.mark.parametrize("command", ["search", "evaluate", "protocol"])
def test_the_help_of_commands_names_the_page(command, shell):
    assert "docs/rows.md" in shell(command, "--help").out
