"""What mkdocs is told beside mkdocs.yml: pages that are made, and links that lead out of docs/.

The pages under docs/ are written for a code host, where `../nas/errors.py` is a link. In the site such a file
is a page of its own, with its text.
"""

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path

from mkdocs.structure.files import File, Files

from experiments.docs_site import gallery, keys, notebooks

ROOT = Path(__file__).resolve().parents[2]
LINK = re.compile(r"(\]\()([^)\s]+)(\))")
CODE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
PICTURES = (".png", ".svg")
LANGUAGES = {".py": "python", ".yaml": "yaml", ".json": "json", ".toml": "toml"}
NOTEBOOKS = "examples/notebooks/"
LONGEST = 400  # lines of a file that are shown
HERE = {"README.md": "index.md", "docs/README.md": "documents.md"}
OUTSIDE = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")
ROOMS = ("spaces", "methods", "data", "algorithms", "formats")


def place_of(path: str) -> str:
    """Where a file or folder of the repository lies in the site."""
    if path in HERE:
        return HERE[path]
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    if path.endswith(".ipynb"):
        return f"notebooks/{Path(path).stem}.md"
    if path.endswith((".md", *PICTURES)):
        return f"source/{path}"
    # Folders whose names begin with a dot are left out of a site.
    return f"source/{path.strip('/').removeprefix('.') or 'all'}.md"


def origin_of(place: str) -> str:
    """The file of the repository whose text a page is; its links are relative to it."""
    known = {there: path for path, there in HERE.items()}
    if place in known:
        return known[place]
    if place.startswith("notebooks/"):
        return f"{NOTEBOOKS}{Path(place).stem}.ipynb"
    return place.removeprefix("source/") if place.startswith("source/") else f"docs/{place}"


def targets(text: str, origin: str) -> Iterator[str]:
    """Files and folders of the repository that a page links to."""
    for _, target, _ in LINK.findall(CODE.sub("", text)):
        name = target.partition("#")[0]
        if name and not re.match(r"[a-z]+:", target):
            yield posixpath.normpath(posixpath.join(posixpath.dirname(origin), name))


def with_links(text: str, place: str) -> str:
    """The text of a page, its links leading to pages of the site."""
    origin = origin_of(place)

    def moved(found: re.Match) -> str:
        name, sign, anchor = found[2].partition("#")
        if not name or re.match(r"[a-z]+:", found[2]):
            return found[0]
        path = posixpath.normpath(posixpath.join(posixpath.dirname(origin), name))
        there = posixpath.relpath(place_of(path), posixpath.dirname(place) or ".")
        return f"{found[1]}{there}{sign}{anchor}{found[3]}"

    parts = re.split(f"({CODE.pattern})", text, flags=CODE.flags)
    return "".join(one if one.startswith("```") else LINK.sub(moved, one) for one in parts)


def shown(path: str) -> str:
    """A file or a folder as a page."""
    there = ROOT / path
    if there.is_dir():
        names = sorted(one.name + "/" * one.is_dir() for one in there.iterdir() if one.name[0] not in "._")
        return f"# {path}\n\n" + "\n".join(f"- `{name}`" for name in names) + "\n"
    text = there.read_text(encoding="utf-8")
    if path.endswith(".md"):
        return text
    if path.endswith(".ipynb"):
        return notebooks.as_markdown(text, path)
    lines = text.splitlines()
    more = f"\n\n{len(lines) - LONGEST} more lines.\n" if len(lines) > LONGEST else "\n"
    language = LANGUAGES.get(there.suffix, "text")
    return f"# {path}\n\n``````{language}\n" + "\n".join(lines[:LONGEST]) + f"\n``````{more}"


def reference(room: str) -> str:
    """The docstrings of a part of the package."""
    files = sorted((ROOT / "nas" / room).rglob("*.py"))
    names = [".".join(one.relative_to(ROOT).with_suffix("").parts) for one in files if one.stem != "__init__"]
    return f"# nas.{room}\n\n" + "\n".join(f"::: {name}\n" for name in names)


def on_files(files: Files, config) -> Files:
    """Adds the pages that are made, and those of every file that a page links to."""
    taken = files.get_file_from_path("README.md")
    if taken is not None:
        files.remove(taken)
    waiting = [*OUTSIDE, *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")))]
    seen: set[str] = set()
    while waiting:
        path = waiting.pop()
        if path in seen or not (ROOT / path).exists():
            continue
        seen.add(path)
        if path.endswith((".md", ".ipynb")):
            waiting += targets(shown(path), path)
        place = place_of(path)
        if files.get_file_from_path(place) is not None:
            continue
        given = {"abs_src_path": str(ROOT / path)} if path.endswith(PICTURES) else {"content": shown(path)}
        files.append(File.generated(config, place, **given))
    others = sorted(one.name for one in (ROOT / "docs/pictures").glob("*.png"))
    made: dict[str, str | bytes] = {"keys.md": keys.page(), "gallery.md": gallery.page(others)}
    made |= {f"gallery/{name}": content for name, content in gallery.drawn().items()}
    made |= {f"reference/{room}.md": reference(room) for room in ROOMS}
    for name in ("site.css", "site.js"):
        made[name] = (Path(__file__).parent / name).read_text(encoding="utf-8")
    for place, content in made.items():
        files.append(File.generated(config, place, content=content))
    return files


def on_page_markdown(markdown: str, page, config, files) -> str:
    """Links of a page, from where it lies in the repository to where it lies in the site."""
    place = page.file.src_uri
    made = place in ("keys.md", "gallery.md") or place.startswith("reference/")
    return markdown if made else with_links(markdown, place)
