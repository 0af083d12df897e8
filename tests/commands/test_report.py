"""`nas.report` as a user starts it: pages of runs, of several runs, and what it refuses."""

import contextlib
import html
import io
import json
import os
import re
import shlex
import shutil
import sys

import pytest

from nas import search
from nas.commands import report_group
from nas.pages import render
from tests.commands.test_bad_input import assert_refused
from tests.conftest import DRAWN, TINY
from tests.pages.folders import write_search

pytestmark = pytest.mark.pictures


@pytest.fixture(autouse=True)
def without_library(monkeypatch):
    """The charts' library is the same in every page, and `tests/pages/test_browser.py` runs it."""
    monkeypatch.setattr(render, "library", lambda: "// the library")


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    """A multirun of two searches of an epoch, whose page is drawn: its folder, and what was printed."""
    folder, out = tmp_path_factory.mktemp("runs") / "sweep", io.StringIO()
    words = ["space=nasbench201", "method=drnas_nb201", *TINY[5:], "seed=0,1", "method.lam=0.5"]
    words += ["space.init_channels=4", "space.cells_per_stage=1", f"hydra.sweep.dir={folder}"]
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out):
        for where, name, drawn in DRAWN:
            if name == "write_group":
                patch.setattr(where, name, drawn)
        patch.setattr(render, "library", lambda: "// the library")
        patch.setattr(sys, "argv", ["nas.search", "-m", *words])
        search.main()
    return folder, out.getvalue()


@pytest.fixture(scope="module")
def runs(sweep, tmp_path_factory):
    """A folder with these runs alone, which are no sweep."""
    folder = tmp_path_factory.mktemp("alone")
    for seed in "01":
        shutil.copytree(sweep[0] / seed, folder / f"seed {seed}")
    return folder


@pytest.fixture
def copied(runs, tmp_path):
    """The same, to be changed."""
    return shutil.copytree(runs, tmp_path / "copied")


def settings(page):
    """key -> (value, usual value, by what) of the page's table of settings."""
    rows = re.findall(r'<tr>\s*<th scope="row"(.*?)</tr>', page.partition('id="result"')[0], re.DOTALL)
    fields = [[one.strip() for one in re.findall(r">([^<>]*)</t[hd]>", row)] for row in rows]
    return {row[0]: tuple(row[1:]) for row in fields}


def test_a_run_has_a_page_that_says_what_was_asked_of_it(run, copied):
    done = run("report", f"folder={copied / 'seed 1'}")
    assert (done.status, done.err) == (0, "")
    assert done.out == f"page: {copied / 'seed 1/report.html'}\n"
    page = (copied / "seed 1/report.html").read_text()
    found = settings(page)
    assert found["space"] == ("nasbench201", "darts", "typed")
    assert found["method.lam"] == ("0.5", "0.001", "typed") and found["seed"] == ("1", "0", "typed")
    assert found["space.init_channels"] == ("4", "16", "typed")
    # What follows from others, and what every search has, is not said.
    assert len(found) < 15 and not any(key.startswith("method.weight_scheduler") for key in found)


def test_its_command_repeats_the_run(run, copied, tmp_path):
    run("report", f"folder={copied / 'seed 1'}")
    page = (copied / "seed 1/report.html").read_text()
    (line,) = re.findall(r"<code>(python -m nas\.search [^<]*)</code>", page)
    done = run("search", *shlex.split(line)[3:], f"hydra.run.dir={tmp_path / 'again'}")
    assert done.status == 0
    first, again = ((one / "architecture.csv").read_text() for one in (copied / "seed 1", tmp_path / "again"))
    assert first == again


def test_a_page_can_lie_elsewhere(run, runs, tmp_path):
    done = run("report", f"folder={runs / 'seed 0'}", f"output={tmp_path / 'page.html'}")
    assert done.status == 0 and (tmp_path / "page.html").stat().st_size > 5000
    assert not (runs / "seed 0/report.html").exists()


def test_several_runs_have_a_table_an_index_and_pages_of_their_own(run, copied):
    done = run("report", f"folder={copied}", "runs=true")
    assert (done.status, done.err) == (0, "")
    page, index = ((copied / name).read_text() for name in ("report.html", "index.html"))
    assert "averaged over: seed" in page and 'href="./seed%200/report.html"' in page
    assert 'href="./seed%201/report.html"' in index and index.count("<template") == 2
    assert (copied / "seed 0/report.html").is_file()


def test_its_commands_compare_as_it_does(copied):
    given = {"baseline": "seed=0", "test": "wilcoxon", "level": 0.9, "runs": True}
    report_group.write_group(copied, copied / "report.html", ["a.b"], "weight_loss", **given)
    lines = re.findall(r"<code>(python -m [^<]*)</code>", (copied / "report.html").read_text())
    table, page = (shlex.split(html.unescape(line))[4:] for line in lines)
    asked = ["over=[a.b]", "figure=weight_loss", 'baseline="seed=0"', "test=wilcoxon", "level=0.9"]
    assert (table, page) == (asked, [*asked, "runs=true"])


def test_a_folder_of_any_name_has_a_page(tmp_path):
    names = ["<script>alert(1)<", "javascript:alert(1)", "a b&c'd\"e", "${x}", "line\nbreak"]
    for name in names:
        write_search(tmp_path / name)
    page = report_group.write_group(tmp_path, tmp_path / "report.html", runs=True)[0].read_text()
    assert "<script>alert" not in page and 'href="javascript' not in page
    assert all((tmp_path / name / "report.html").is_file() for name in names)


def test_a_sweep_writes_its_page_and_names_it(sweep):
    folder, out = sweep
    assert f"page:  {folder / 'report.html'}" in out
    page = (folder / "report.html").read_text()
    assert "python -m nas.search -m space=nasbench201" in page and "seed=0,1" in page
    assert (folder / "index.html").is_file()


def test_a_page_that_cannot_be_drawn_costs_the_sweep_nothing(run, copied, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("no page today")

    monkeypatch.setattr(report_group, "write_group", broken)
    done = run("sweeps", f"folder={copied}")
    assert done.status == 0 and "page:  none, no page today" in done.out
    assert (copied / "table.md").is_file()


def test_a_protocol_has_its_own_table(run, copied):
    (copied / "search").mkdir()
    for seed in (0, 1):
        os.rename(copied / f"seed {seed}", copied / f"search/{seed}")
    (copied / "summary.json").write_text(json.dumps({"command": "protocol", "status": "running"}))
    (copied / "table.csv").write_text("row,test error (%)\nbest <of> 2,2.76\n")
    done = run("report", f"folder={copied}")
    assert done.status == 0, done.err
    page = (copied / "report.html").read_text()
    assert "best &lt;of&gt; 2" in page and "nas.protocol" in page and "search/1" in page


def test_a_strangers_run_names_no_command_that_imports_his_code(run, copied):
    folder = copied / "seed 0"
    (folder / "overrides.yaml").write_text("- space._target_=theirs.Space\n")
    done = run("report", f"folder={folder}")
    assert done.status == 0
    page = (folder / "report.html").read_text()
    assert "python -m nas.search" not in page
    assert "Not printed: space._target_=theirs.Space names code" in page


@pytest.mark.parametrize(
    "words, message",
    [
        ((), "folder=null: name a run folder"),
        (("folder={0}/none",), "there is no such folder"),
        (("folder={0}/seed 0", "baseline=random"), "baseline=random: {0}/seed 0 is one run"),
        (("folder={0}/seed 0", "runs=true"), "runs=true: {0}/seed 0 is one run"),
        (("folder={0}", "baseline=method=random"), "baseline=method=random: no row is that"),
        (("folder={0}", "figure=test_accuracy"), "figure=test_accuracy: no run has it"),
        (("folder={0}", "over=seed"), "over=seed: must be a list"),
        (("folder={0}", "output={0}/page.pdf"), "page.pdf must end in .html"),
        (("folder={0}", "output={0}/none/page.html"), "there is no folder {0}/none"),
        (("folder={0}/empty",), "no run folder there or below"),
    ],
)
def test_what_cannot_be_is_refused(run, copied, words, message):
    (copied / "empty").mkdir()
    done = run("report", *(word.format(copied) for word in words))
    assert_refused(done, message.format(copied))
    assert not list(copied.rglob("*.html"))


def test_a_link_or_folder_in_the_place_of_a_page_is_refused(run, copied, tmp_path):
    (tmp_path / "precious.html").write_text("precious")
    (copied / "report.html").symlink_to(tmp_path / "precious.html")
    assert_refused(run("report", f"folder={copied}"), "report.html in")
    (copied / "seed 0/report.html").mkdir()
    assert_refused(run("report", f"folder={copied / 'seed 0'}"), "is a folder")
    assert (tmp_path / "precious.html").read_text() == "precious"


@pytest.mark.parametrize("content", ["{", '{"status": "finished", "command": "rm"}', "[1]"])
def test_a_run_of_which_nothing_can_be_read_is_refused_in_one_line(run, tmp_path, content):
    (tmp_path / "run").mkdir()
    (tmp_path / "run/summary.json").write_text(content)
    done = run("report", f"folder={tmp_path / 'run'}")
    assert_refused(done, "no run that can be read")
