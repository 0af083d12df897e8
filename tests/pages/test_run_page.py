"""The page of a run: every section from its files, and a line where a file is missing or damaged."""

import json
import re

import pytest

from nas.analysis.plots.names import TIMES
from nas.genotype import parse
from nas.pages import heat
from nas.pages.blocks import Command
from nas.pages.cells import draw
from nas.pages.folder import Folder
from nas.pages.library import library
from nas.pages.run_page import Setting
from tests.pages.folders import CELL, OPERATIONS, write_search

SECTIONS = ["asked", "result", "weights", "curves", "cost", "trust", "repeat"]


def test_a_search_has_every_section_and_its_numbers_with_units(tmp_path, page_of, parsed):
    given = {
        "settings": [Setting("trainer.max_epochs", 3, 50, "typed")],
        "commands": [Command("Repeat it:", "python -m nas.search seed=3")],
    }
    found = parsed(page_of(write_search(tmp_path / "one"), **given))
    assert [one for one in found.ids() if one in SECTIONS] == SECTIONS
    for words in (
        "trainer.max_epochs 3 50 typed", "50.00 % ", "3.35 M (3,354,321)", "17 M (17,000,000)", "2 h 3 min",
        "torch 2.6", "c0ffee", "5317ab", "1 run, seed 3", "python -m nas.search seed=3", CELL,
    ):  # fmt: skip
        assert words.strip() in found.text, words


def test_a_page_needs_nothing_but_itself(tmp_path, page_of, parsed):
    found = parsed(page_of(write_search(tmp_path / "one")))
    places = [value for _, given in found.elements for key, value in given.items() if key in ("src", "href")]
    assert places and all(place.startswith(("#", "data:")) for place in places)
    policy = next(given["content"] for tag, given in found.elements if "http-equiv" in given)
    assert policy.startswith("default-src 'none'; script-src 'sha256-") and "unsafe-eval" not in policy
    assert not any("url(" in text or "@import" in text for text in found.scripts)


def test_an_edge_says_its_strength_and_the_next_ones(tmp_path):
    folder = Folder(write_search(tmp_path / "one"))
    groups = heat.read_groups(folder.table("architecture.csv"))
    (drawn,) = draw(parse(CELL), heat.strengths_at(groups, None)).items
    tips = [part.tip for part in drawn.parts if part.tip]
    assert tips[1] == f"skip: x → 2, op weight 0.16; next none 0.24, conv 1{TIMES}1 0.2"
    assert len(tips) == 6


def test_colours_say_by_what_factor_a_weight_is_above_its_share(tmp_path):
    folder = Folder(write_search(tmp_path / "one"))
    groups = heat.read_groups(folder.table("architecture.csv"))
    found = heat.maps(groups, heat.derived(folder.lines("genotypes.jsonl")))
    (one,) = found.items
    assert (one.scale, one.rows[0], one.columns[3]) == ("uniform", "0→1", f"conv 3{TIMES}3")
    assert [heat.level(one, value, 5) for value in one.values[0][0]] == [0] * 5
    low = [heat.level(one, value, 5) for value in one.values[2][0]]
    assert low[1] == -8 and 0 < low[0] < 8
    # What the cell of the epoch has: of edge 0→1 the 3x3 convolution, the fourth candidate.
    assert one.chosen[2][0] == (0, OPERATIONS.index("nor_conv_3x3"))


def test_of_a_long_search_every_so_many_epochs_are_shown_and_the_last(tmp_path, monkeypatch):
    monkeypatch.setattr(heat, "VALUES", 300)
    groups = heat.read_groups(Folder(write_search(tmp_path / "one", epochs=32)).table("architecture.csv"))
    found = heat.maps(groups, {})
    assert found.epochs == [0, 4, 8, 12, 16, 20, 24, 28, 31]
    assert found.note.startswith("Shown are every 4th of 32 epochs")


@pytest.mark.parametrize("status", ["running", "failed", "died", "stopped"])
def test_an_unfinished_run_says_so(tmp_path, page_of, parsed, status):
    folder = write_search(tmp_path / "one", status=status, error="the disk is full")
    found = parsed(page_of(folder))
    assert "the page shows what there is" in found.text and "the disk is full" in found.text
    assert [one for one in found.ids() if one in SECTIONS] == SECTIONS


DAMAGED = {
    "architecture.csv": ("epoch,group\n1,2\n", "must have epoch, group, source"),
    "genotypes.jsonl": ('{"epoch": 0, "genotype": 5}\n{}', "must have an epoch and a genotype"),
    "metrics.csv": ("a,a\n1,2\n", "columns must be named each once"),
    "genotype.json": ('{"schema": 7, "space": "x", "cells": {}}', "schema 7 is unknown"),
    "summary.json": ('{"status": "finished", "params": "many"}', "params=many: must be a number"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_file_costs_its_section_alone(tmp_path, page_of, parsed, name):
    folder = write_search(tmp_path / "one")
    content, words = DAMAGED[name]
    (folder / name).write_text(content)
    found = parsed(page_of(folder))
    assert f"{name} was not read:" in found.text and words in found.text
    assert [one for one in found.ids() if one in SECTIONS] == SECTIONS


@pytest.mark.parametrize("name", DAMAGED)
def test_a_missing_file_costs_its_section_alone(tmp_path, page_of, parsed, name):
    folder = write_search(tmp_path / "one")
    (folder / name).unlink()
    assert [one for one in parsed(page_of(folder)).ids() if one in SECTIONS] == SECTIONS


def test_a_table_of_another_space_than_the_cell_costs_the_strengths_alone(tmp_path, page_of):
    folder = write_search(tmp_path / "one")
    block = "DSO(block:2[1=sep_conv_3x3(0) 2=max_pool_3x3(1)]>2)"
    (folder / "genotype.json").write_text(parse(block).to_json())
    (folder / "architecture.csv").write_text(
        "epoch,group,source,target,operation,weight\n0,block,0,9,sep_conv_3x3,1\n"
    )
    result = next(one for one in page_of(folder).sections if one.key == "result")
    assert result.blocks[0].items


def test_the_library_is_made_once_and_kept(tmp_path, monkeypatch):
    vl_convert = pytest.importorskip("vl_convert")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(vl_convert, "javascript_bundle", lambda: "draw('</script>')")
    library.cache_clear()
    assert library() == "draw('<\\/script>')"
    (kept,) = tmp_path.rglob("*.js")
    monkeypatch.setattr(vl_convert, "javascript_bundle", lambda: "anew")
    library.cache_clear()
    assert library() == "draw('<\\/script>')"
    # What somebody has changed is not put into pages.
    kept.write_text(re.sub("draw", "send", kept.read_text()))
    library.cache_clear()
    assert library() == "anew"
    library.cache_clear()


def test_numbers_beyond_all_floats_are_shown_or_left_out(tmp_path, page_of, parsed):
    large = {"params": 2**62, "seconds": 1e300, "odd": 10**18, "versions": {"a" * 5000: "b"}}
    found = parsed(page_of(write_search(tmp_path / "one", **large)))
    assert "4.61e+06 T" in found.text
    assert len(json.dumps(found.text)) < 50_000
