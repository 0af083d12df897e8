"""Every key of conf/ with its default and its comment, as one table that can be searched."""

import html
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from nas.running.declared import CONF, GLOBAL

# Rows of papers' tables: whole runs, with no key of their own.
LEFT_OUT = ("experiment",)
PAGE = """# Every key

What each file of `conf/` sets. A key is typed as `key=value`; the file of a group is chosen as `group=file`.
A key that depends on such a choice has a row for every file that sets it.

<input id="keys-filter" type="search" aria-label="filter the keys" placeholder="words of a key or a comment">
<p id="keys-count"></p>

<div class="keys"><table id="keys">
<thead><tr><th>key</th><th>file</th><th>default</th><th>what</th></tr></thead>
<tbody>
{rows}
</tbody></table></div>
"""
SKIPPED = ("defaults", "hydra", "_partial_", "help")


@dataclass(frozen=True)
class Key:
    """A key of one file.

    Attributes:
        name: dotted, as it is typed.
        file: below conf/.
        default: as it stands in the file.
        comment: its own, or that of the key that holds it.
    """

    name: str
    file: str
    default: str
    comment: str


def keys_of(path: Path, root: Path = CONF) -> Iterator[Key]:
    """The keys of a file, in its order."""
    text = path.read_text(encoding="utf-8")
    file = path.relative_to(root).as_posix()
    groups = file.split("/")[:-1]
    prefix = "" if not groups or groups[0] in GLOBAL else ".".join(groups) + "."
    tree = yaml.compose(text)
    if isinstance(tree, yaml.MappingNode):
        yield from _below(tree, prefix, file, text.splitlines(), "")


def _below(node: yaml.MappingNode, prefix: str, file: str, lines: list[str], outer: str) -> Iterator[Key]:
    for key, value in node.value:
        if key.value in SKIPPED:
            continue
        _, sign, comment = lines[key.start_mark.line].partition(" #")
        comment = comment.strip() if sign else outer
        if isinstance(value, yaml.MappingNode) and value.value:
            yield from _below(value, f"{prefix}{key.value}.", file, lines, comment)
        else:
            yield Key(prefix + key.value, file, _written(value), comment)


def _written(node: yaml.Node) -> str:
    if isinstance(node, yaml.SequenceNode):
        return f"[{', '.join(_written(one) for one in node.value)}]"
    if isinstance(node, yaml.MappingNode):
        return "{" + ", ".join(f"{key.value}: {_written(value)}" for key, value in node.value) + "}"
    return str(node.value)


def every_key(root: Path = CONF) -> list[Key]:
    """The keys of all files but the experiments'."""
    files = [path for path in root.rglob("*.yaml") if path.relative_to(root).parts[0] not in LEFT_OUT]
    found = [key for path in files for key in keys_of(path, root)]
    return sorted(found, key=lambda one: (one.name, one.file))


def page() -> str:
    """The table as a page of the site."""
    return PAGE.format(rows="\n".join(map(_row, every_key())))


def _row(key: Key) -> str:
    cells = (key.name, key.file, key.default, key.comment)
    return f"<tr>{''.join(f'<td>{html.escape(one)}</td>' for one in cells)}</tr>"
