"""What a stranger's folder says is text on a page, whatever it says."""

import pytest

from nas.analysis.sweeps import Run
from nas.pages.blocks import Command
from nas.pages.folder import Folder
from nas.pages.group_page import Group, GroupPage
from nas.pages.index_page import Entry, index_page
from nas.pages.members import Member
from nas.pages.run_page import Setting
from tests.pages.folders import SUMMARY, write_search

EVIL = "<script>alert(1)</script>"
QUOTED = "\"' onmouseover='alert(2)' x=\"</title></style></script><img src=x onerror=alert(3)>{{7*7}}"
# What the templates hold.
ELEMENTS = {
    "html", "head", "meta", "title", "link", "style", "body", "a", "header", "p", "h1", "h2", "h3",
    "span", "dl", "div", "dt", "dd", "small", "nav", "ul", "li", "main", "section", "table",
    "caption", "thead", "tbody", "tr", "th", "td", "button", "details", "summary", "figure",
    "figcaption", "script", "svg", "g", "path", "rect", "text", "tspan", "pre", "code", "label",
    "input", "output", "i", "footer", "noscript", "select", "option", "template",
}  # fmt: skip


def check(found):
    """No element and no attribute that the templates do not have, and the hostile words as text."""
    assert {tag for tag, _ in found.elements} <= ELEMENTS
    kinds = [given.get("type") for tag, given in found.elements if tag == "script"]
    assert kinds.count(None) in (1, 2)  # ours, and the library where there are charts
    for tag, given in found.elements:
        assert not any(key.startswith("on") for key in given), given
        # A title of a cell's part is no element of the page's head.
        assert tag != "title" or not given
    assert (
        "alert(1)" in found.text
        and "{{7*7}}" in found.text
        and "49" not in found.text.split("{{7*7}}")[1][:3]
    )
    assert not any("alert(" in text and "<" in text for text in found.scripts)


@pytest.mark.parametrize("word", [EVIL, QUOTED])
def test_every_text_of_a_run_is_escaped(tmp_path, page_of, parsed, word):
    summary = {
        "method": word, "dataset": EVIL, "device": word, "error": QUOTED, "status": "failed",
        "git_commit": word, "versions": {word: word}, word: 1.5, "architecture": EVIL, "ended_by": word,
    }  # fmt: skip
    folder = write_search(tmp_path / "run", name=word.replace('"', "").replace(",", ""), **summary)
    (folder / "genotype.json").write_text(
        (folder / "genotype.json").read_text().replace("avg_pool_3x3", EVIL).replace('"cell"', '"<b>cell"')
    )
    given = {
        "name": word,
        "settings": [Setting(EVIL, word, word, "typed")],
        "typed": [QUOTED],
        "commands": [Command(word, word), Command(EVIL, "", word)],
    }
    check(parsed(page_of(folder, **given)))


@pytest.mark.parametrize("command", ["derive", "latency", "blackbox", "rank"])
def test_fields_and_headings_of_tables_are_escaped(tmp_path, page_of, parsed, command):
    folder = write_search(tmp_path / "run", command=command)
    for name in ("architectures.csv", "latency.csv", "networks.csv", "curve.csv", "seeds.csv", "ranks.csv"):
        (folder / name).write_text(f"genotype,{EVIL},macs,log_probability,name,milliseconds,queries,rank\n"
                                   f"{EVIL},{{{{7*7}}}},1,2,{EVIL},3,4,5\n")  # fmt: skip
    check(parsed(page_of(folder, command=command, typed=[QUOTED])))


def test_names_and_values_of_several_runs_are_escaped(parsed):
    runs = [
        Member(
            Run(
                f"{word}/{seed}",
                {"method": word, "seed": seed, EVIL: "1"},
                "finished",
                figures={"test_accuracy": 0.5},
            ),
            SUMMARY | {"method": word, "device": word},
            [
                {"epoch": "0", "test_accuracy": "0.5", EVIL: word},
                {"epoch": "1", "test_accuracy": "0.6", EVIL: word},
            ],
        )
        for word in (EVIL, QUOTED)
        for seed in "01"
    ]
    group = Group(EVIL, "runs", runs, ["seed"], None, None, [QUOTED], [Command(EVIL, QUOTED)])
    check(parsed(GroupPage(group).page()))
    entries = [Entry(one, None) for one in runs]
    check(parsed(index_page(EVIL, entries, [(QUOTED, "./x")], QUOTED), "index.html.j2"))


def test_files_that_are_no_files_or_huge_are_not_read(tmp_path, page_of, parsed):
    folder = write_search(tmp_path / "run")
    (folder / "metrics.csv").unlink()
    (folder / "metrics.csv").mkdir()
    with (folder / "architecture.csv").open("wb") as file:
        file.truncate(2**30)
    found = parsed(page_of(folder))
    assert "metrics.csv: a folder; only regular files are read" in found.text
    assert "architecture.csv: 1,073,741,824 bytes long" in found.text


def test_a_link_to_a_pipe_is_not_waited_for(tmp_path):
    import os

    folder = write_search(tmp_path / "run")
    (folder / "genotype.json").unlink()
    os.mkfifo(folder / "genotype.json")
    found = Folder(folder)
    assert found.genotype() is None and "a named pipe" in found.problems["genotype.json"]


def test_a_link_out_of_the_folder_is_not_followed(tmp_path, page_of, parsed):
    """A page is made to be passed on: what lies elsewhere on this machine must not get into it."""
    (tmp_path / "private.csv").write_text("epoch,weight_loss\n0,123456\n")
    folder = write_search(tmp_path / "run")
    for name in ("metrics.csv", "config.yaml"):
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(tmp_path / "private.csv")
    # A link to a folder, and one within it, are as good as the thing itself.
    (tmp_path / "link").symlink_to(folder)
    (folder / "weights.csv").write_text("epoch,weight_loss\n")
    (folder / "inner.csv").symlink_to(folder / "weights.csv")
    files = Folder(tmp_path / "link")
    assert files.table("metrics.csv") == [] and files.config() == {}
    assert "link out of the folder" in files.missing("metrics.csv", "curves")
    assert files.table("inner.csv") == [] and "inner.csv" not in files.problems
    assert "123456" not in parsed(page_of(folder)).text
