"""The documentation site: every key is in its table, links stay within it, a browser finds what is typed."""

import importlib.util
import re
import subprocess
import sys
import xml.etree.ElementTree as xml

import pytest
from omegaconf import OmegaConf

from experiments.docs_site import gallery, hooks, keys
from nas.running.declared import CONF
from tests.pages.test_browser import BROWSER

ROOT = hooks.ROOT


def test_every_key_of_the_files_is_in_the_table():
    found = {(key.name, key.file) for key in keys.every_key()}
    for command in ("search", "evaluate", "derive", "export"):
        config = OmegaConf.load(CONF / f"{command}.yaml")
        for name in (one for one in config if one not in keys.SKIPPED):
            assert any(key.split(".")[0] == name and file == f"{command}.yaml" for key, file in found), name
    assert ("space.init_channels", "space/darts.yaml") in found
    assert ("method.weight_optimizer.lr", "method/darts1.yaml") in found


def test_a_key_has_its_default_and_its_comment(tmp_path):
    (tmp_path / "space").mkdir()
    (tmp_path / "space/own.yaml").write_text(
        "# A head.\nname: own  # as told\nlist: [a, 2]\npart:  # of it\n  one: 1\n"
    )
    found = [(one.name, one.default, one.comment) for one in keys.every_key(tmp_path)]
    assert found == [
        ("space.list", "[a, 2]", ""), ("space.name", "own", "as told"), ("space.part.one", "1", "of it"),
    ]  # fmt: skip


def test_links_out_of_the_pages_lead_to_pages_of_the_site():
    text = "[a](../nas/errors.py) [b](derive.md#x) [c](../README.md) [d](https://a.b/c) [e](#f)\n"
    text += "```\n[g](../h)\n```"
    assert hooks.with_links(text, "data.md") == (
        "[a](source/nas/errors.py.md) [b](derive.md#x) [c](index.md) [d](https://a.b/c) [e](#f)\n"
        "```\n[g](../h)\n```"
    )
    assert hooks.with_links("[a](docs/data.md)", "index.md") == "[a](data.md)"
    assert hooks.with_links("[a](docs/data.md)", "source/CONTRIBUTING.md") == "[a](../data.md)"


def test_a_notebook_is_a_page():
    path = "examples/notebooks/first_search.ipynb"
    place = hooks.place_of(path)
    assert place == "notebooks/first_search.md" and hooks.origin_of(place) == path
    text = hooks.shown(path)
    assert text.startswith("# A first search\n") and "```python\nimport nas\n" in text
    assert f"jupyter lab {path}" in text and set(hooks.targets(text, path)) >= {"docs/python.md"}
    moved = hooks.with_links("[a](../../docs/python.md) [b](own_data.ipynb)", place)
    assert moved == "[a](../python.md) [b](own_data.md)"


@pytest.mark.pictures
def test_the_gallery_is_drawn_without_torch():
    code = "import sys; from experiments.docs_site import hooks; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
    found, page = gallery.drawn(), gallery.page(["genotype.png"])
    assert len(found) >= 8 and "(pictures/genotype.png)" in page
    for name, content in found.items():
        assert (
            xml.fromstring(content).tag.endswith("svg")
            and len(content) > 5000
            and f"(gallery/{name})" in page
        )


def test_every_picture_of_the_gallery_has_a_sentence_and_those_of_runs_their_command():
    names = sorted(path.name for path in (ROOT / "docs/pictures").iterdir())
    assert names == sorted(gallery.RUNS)
    page, makefile = gallery.page(names), (ROOT / "Makefile").read_text()
    alternatives = re.findall(r"!\[([^]]*)\]", page)
    assert len(alternatives) == len(names) + len(gallery.pictures())
    assert all(" " in words and words.endswith(".") for words in alternatives)
    for name in names:
        words, command = gallery.RUNS[name]
        known = [f"make {one}" for one in re.findall(r"^(\w+):", makefile, re.MULTILINE)]
        assert f"{words} By `{command}`." in page
        assert command in known or importlib.util.find_spec(command.split()[2]) is not None


def test_every_page_is_in_the_navigation():
    text = (ROOT / "mkdocs.yml").read_text()
    named = set(re.findall(r"(\w+\.md)", text))
    pages = {path.name for path in (ROOT / "docs").glob("*.md")} - {"README.md"}
    assert pages | {f"{path.stem}.md" for path in (ROOT / "examples/notebooks").glob("*.ipynb")} <= named


def test_a_class_beside_an_equation_is_there():
    text = (ROOT / "docs/concepts.md").read_text()
    found = re.findall(r"\[`(\w+)`\]\(\.\./([\w/]+\.py)\)", text)
    assert len(found) >= 5
    for name, path in found:
        assert f"class {name}" in (ROOT / path).read_text(), name


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site as `make docs` builds it, strictly."""
    pytest.importorskip("mkdocs", reason="the extra `docs` is not installed")
    folder = tmp_path_factory.mktemp("site")
    words = ["-m", "mkdocs", "build", "--quiet", "--site-dir", str(folder)]
    done = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_the_site_is_built_and_asks_nobody(site):
    pages = {path.relative_to(site).as_posix() for path in site.rglob("*.html")}
    assert {"index.html", "keys.html", "concepts.html", "gallery.html", "reference/spaces.html"} <= pages
    assert {f"notebooks/{name}.html" for name in ("first_search", "own_data", "read_a_search")} <= pages
    shown = re.findall(r'src="(gallery/[^"]+)"', (site / "gallery.html").read_text())
    assert len(shown) >= 8 and all((site / one).stat().st_size > 5000 for one in shown)
    assert "<math" in (site / "concepts.html").read_text()
    assert "DartsSpace" in (site / "reference/spaces.html").read_text()
    scripts = re.findall(
        r"<(?:script|link)[^>]+(?:src|href)=\"(https?:[^\"]+)", (site / "index.html").read_text()
    )
    assert scripts == []


@pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed (NAS_BROWSER=<file> names one)")
def test_the_table_is_searched_in_a_browser(site):
    from playwright.sync_api import sync_playwright

    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=BROWSER, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 360, "height": 780})
        asked = []
        page.on("request", lambda one: asked.append(one.url))
        page.goto((site / "keys.html").as_uri())
        page.fill("#keys-filter", "method max_skips")
        told = page.inner_text("#keys-count")
        shown = page.locator("#keys tbody tr:not([hidden])")
        assert told.startswith(f"{shown.count()} of ") and 0 < shown.count() < 200
        assert "max_skips" in shown.first.inner_text()
        assert all(one.startswith("file:") for one in asked)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        browser.close()
