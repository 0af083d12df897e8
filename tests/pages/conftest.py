"""Pages without the charts' library, which is the same in all of them."""

from html.parser import HTMLParser

import pytest

from nas.pages import render
from nas.pages.folder import Folder
from nas.pages.run_page import Given, RunPage

# Elements without an end.
EMPTY = {"meta", "link", "input", "br"}


class Parsed(HTMLParser):
    """What a browser makes of a page: elements with their attributes, and the text outside of scripts."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.elements, self.words, self.scripts, self.open = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"{tag} ends where it was not open"

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        kind = self.open[-1] if self.open else ""
        (self.scripts if kind in ("script", "style") else self.words).append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())

    def ids(self):
        return [found["id"] for _, found in self.elements if "id" in found]


@pytest.fixture
def parsed(monkeypatch):
    """`parsed(page) -> Parsed`: a page as HTML, read again."""
    monkeypatch.setattr(render, "library", lambda: "// the library")
    return lambda page, *template: Parsed(render.render(page, *template))


@pytest.fixture
def page_of():
    """`page_of(folder) -> Page`: the page of a run's folder."""

    def call(folder, **given):
        usual = {"name": folder.name, "command": "search", "settings": [], "typed": [], "commands": []}
        return RunPage(Folder(folder), Given(**(usual | given))).page()

    return call
