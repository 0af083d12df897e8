"""docs/rows.md is made of its data file and the headers, leaves no row out, with the papers' numbers."""

import re

import pytest
import yaml

from experiments.rows.__main__ import PAGE
from experiments.rows.items import COMMAND, ITEMS, NONE, STEPS, WHOLE, blocks, every_row, headers, rows_of
from experiments.rows.page import page
from nas.running.config import CONF
from tests.shared import shared

BLOCKS = blocks()
ROWS = every_row(BLOCKS)
HEADERS = headers()
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


def test_every_reason_is_one_that_a_row_has():
    named = yaml.safe_load(ITEMS.read_text())["reasons"]
    assert set(named.values()) <= {row.reason for row in ROWS}


def test_rows_of_a_table_have_a_cell_for_each_column():
    for block in BLOCKS:
        for row in rows_of(block):
            assert len(row.cells) + 1 == len(block["columns"]), row


@pytest.mark.parametrize(("name", "rows"), [
    ("darts/table1", 14), ("drnas/table1", 5), ("drnas/table2", 19), ("drnas/table3", 22),
    ("drnas/table4", 13), ("drnas/table5", 1), ("drnas/table6", 4), ("dsonas/table1", 11),
    ("dsonas/table2", 12), ("dsonas/table3", 8),
])  # fmt: skip
def test_a_table_has_all_rows(name, rows):
    """So many as there are in the paper; of the other tables of DARTS the text was not at hand."""
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
