"""Pages in a real browser: nothing is asked for, nothing fails, and all works by keyboard and on a phone."""

import os
import shutil

import pytest

from nas.analysis.sweeps import Run
from nas.genotype import parse
from nas.pages.blocks import Command
from nas.pages.folder import Folder
from nas.pages.group_page import Group, GroupPage
from nas.pages.index_page import Entry, index_page
from nas.pages.members import Member
from nas.pages.render import LARGEST, render
from nas.pages.run_page import Given, RunPage, Setting
from tests.pages.folders import CELL, SUMMARY, write_search

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
BROWSER = os.environ.get("NAS_BROWSER") or next(filter(None, map(shutil.which, NAMES)), None)
OPTIONS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
pytestmark = pytest.mark.skipif(
    BROWSER is None, reason="no Chromium is installed (NAS_BROWSER=<file> names one)"
)
PHONE = {"width": 360, "height": 780}


@pytest.fixture(scope="module")
def browser():
    """One headless browser for all tests."""
    with playwright.sync_playwright() as started:
        found = started.chromium.launch(executable_path=BROWSER, args=list(OPTIONS))
        yield found
        found.close()


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A page of a run, of several runs and an index, with long names."""
    folder = tmp_path_factory.mktemp("pages")
    run = write_search(folder / "run", epochs=12)
    settings = [Setting("method.architecture_optimizer.lr", "0.1" * 60, 3e-4, "typed")]
    command = Command("Repeat it:", "python -m nas.search " + "key=value " * 40)
    given = Given("a_run_with_a_very_long_name_" * 3, "search", settings, ["a=" + "b" * 300], [command])
    runs = [
        Member(
            Run(f"{method}/{seed}", {"method": method, "seed": str(seed)}, "finished",
                figures={"test_accuracy": 0.9 + place / 50 + seed / 100}),
            SUMMARY | {"seed": seed, "method": method},
            [{"epoch": str(epoch), "valid_accuracy": str(0.5 + seed / 50)} for epoch in range(3)],
        )
        for place, method in enumerate(("darts1", "random"))
        for seed in range(4)
    ]  # fmt: skip
    group = Group("sweep", "runs", runs, ["seed"], None, "method=random", [], [command])
    pages = {
        "run": render(RunPage(Folder(run), given).page()),
        "group": render(GroupPage(group).page()),
        "index": render(
            index_page("runs", [Entry(one, parse(CELL)) for one in runs], [], ""), "index.html.j2"
        ),
    }
    for name, text in pages.items():
        (folder / f"{name}.html").write_text(text)
    return folder


@pytest.fixture
def opened(browser, files):
    """`opened("run") -> page`: as a browser shows it; whatever it complains of or asks for fails the test."""
    told, contexts = [], []

    def call(name, **options):
        context = browser.new_context(**({"viewport": {"width": 1280, "height": 900}} | options))
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: told.append(message.text))
        page.on("pageerror", lambda error: told.append(str(error)))
        own = f"file://{files}/{name}.html"
        page.on("request", lambda request: request.url in (own, "data:,") or told.append(request.url))
        page.goto(own)
        page.wait_for_selector("html[data-drawn]")
        return page

    yield call
    for context in contexts:
        context.close()
    assert told == []


def test_every_section_is_there_and_every_chart_is_drawn(opened, files):
    for name, sections, charts in (("run", 7, 7), ("group", 7, 3), ("index", 2, 0)):
        page = opened(name)
        assert page.locator("main > section").count() == sections
        assert page.locator("[data-chart] svg").count() == page.locator("[data-chart]").count() == charts
        assert "could not be drawn" not in page.inner_text("main")
        assert (files / f"{name}.html").stat().st_size < LARGEST / 2


@pytest.mark.parametrize("name", ["run", "group", "index"])
def test_a_phone_needs_no_scrolling_aside(opened, name):
    page = opened(name, viewport=PHONE, is_mobile=True, device_scale_factor=2)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


def test_the_slider_moves_by_keyboard(opened):
    page = opened("run")
    field = page.locator(".heat tbody tr:first-child td").nth(1)
    assert field.inner_text().strip() == "-.020"
    page.locator("[data-slider]").focus()
    page.keyboard.press("Home")
    assert field.inner_text().strip() == ".200"
    page.keyboard.press("ArrowRight")
    assert field.inner_text().strip() == ".180"
    assert page.locator("[data-slider]").get_attribute("aria-valuetext") == "epoch 1"
    assert page.locator(".heat td.chosen").count() == 6


def test_a_heading_sorts_by_keyboard_and_empty_fields_stay_last(opened):
    page = opened("group")
    table = page.locator("table", has=page.locator("caption", has_text="Every run"))
    heading = table.locator("thead button", has_text="test accuracy")
    heading.focus()
    page.keyboard.press("Enter")
    column = 4
    values = [float(one) for one in table.locator(f"tbody tr > :nth-child({column + 1})").all_inner_texts()]
    assert values == sorted(values) and len(values) == 8
    page.keyboard.press("Enter")
    assert table.locator("th[aria-sort]").get_attribute("aria-sort") == "descending"
    assert table.locator("tbody tr th").first.inner_text() == "random/3"


def test_rows_are_filtered_as_one_types(opened):
    page = opened("group")
    page.locator("#runs [data-filter]").fill("darts1 93")
    assert page.locator("#runs tbody tr:visible").count() == 1
    assert "1 of 8 rows" in page.locator("#runs .filter").inner_text()


def test_arrow_keys_go_through_the_edges_of_a_cell(opened):
    page = opened("run")
    page.locator(".cell .scroll").focus()
    page.keyboard.press("ArrowRight")
    assert (
        page.locator(".cell .tip").inner_text().startswith("conv 3\N{MULTIPLICATION SIGN}3: x → 1, op weight")
    )
    assert page.locator(".cell .tipped.on").count() == 1


def test_two_runs_stand_side_by_side_and_what_differs_is_marked(opened):
    page = opened("index")
    page.locator("#runs tbody input").nth(0).check()
    page.locator("#runs tbody input").nth(7).check()
    assert [one.inner_text() for one in page.locator("#compare h3").all()] == ["darts1/0", "random/3"]
    assert page.locator("#compare svg[role=img]").count() == 2
    marked = page.locator("[data-slot=left] .differs dt").all_inner_texts()
    assert "test accuracy" in marked and "space" not in marked


def test_it_prints(opened):
    page = opened("run")
    assert page.pdf(format="A4")[:5] == b"%PDF-"
    page.emulate_media(media="print")
    assert not page.locator("nav.contents").is_visible() and page.locator(".cell svg").is_visible()


CONTRAST = """() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgb = (colour) => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    return Array.from(canvas.getImageData(0, 0, 1, 1).data); };
  const light = ([r, g, b]) => [r, g, b].map((c) => c / 255).map((c) => c <= 0.04045 ? c / 12.92
    : ((c + 0.055) / 1.055) ** 2.4).reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (node) => {
    for (; node; node = node.parentElement) {
      const found = rgb(getComputedStyle(node).backgroundColor);
      if (found[3] === 255) { return found; }
    }
    return rgb("Canvas");
  };
  const weak = [];
  document.querySelectorAll("main *, header *, nav *, footer *").forEach((node) => {
    const own = Array.from(node.childNodes).some((one) => one.nodeType === 3 && one.textContent.trim());
    if (!own || node.closest("svg") || ["SCRIPT", "OPTION"].includes(node.tagName)) { return; }
    const [a, b] = [rgb(getComputedStyle(node).color), ground(node)].map(light).sort((x, y) => y - x);
    const told = `${node.tagName}.${node.className} ${node.textContent.slice(0, 30)}`;
    if ((a + 0.05) / (b + 0.05) < 4.5) { weak.push(told); }
  });
  return weak;
}"""


def test_text_stands_out_from_its_ground(opened):
    for name in ("run", "group"):
        page = opened(name)
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            assert page.evaluate(CONTRAST) == []


def test_everything_that_acts_has_a_name(opened):
    nameless = """() => Array.from(document.querySelectorAll(
        "button, input, select, a, [tabindex='0'], svg[role=img]"))
      .filter((one) => !(one.textContent.trim() || one.getAttribute("aria-label") || one.labels?.length))
      .map((one) => one.outerHTML.slice(0, 80))"""
    for name in ("run", "group", "index"):
        assert opened(name).evaluate(nameless) == []
