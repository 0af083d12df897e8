"""What the rows and columns of alpha mean, as a checkpoint holds it."""

import hashlib
import json
from collections.abc import Mapping, Sequence


def layout_of(groups: Mapping) -> dict:
    """Plain containers that say what alpha's rows and columns mean."""
    return {
        name: {
            "edges": [list(edge) for edge in group.edges],
            "operations": [list(names) for names in group.operations],
        }
        for name, group in groups.items()
    }


def digest(layout: Mapping | None) -> str:
    """A hash of a layout, by which two are compared."""
    return hashlib.sha256(json.dumps(layout, sort_keys=True).encode()).hexdigest()


def difference(theirs: Mapping | None, ours: Mapping | None) -> str:
    """In words, the first place at which two layouts differ."""
    for group in sorted(set(theirs or {}) | set(ours or {})):
        for field in ("edges", "operations"):
            a: Sequence = ((theirs or {}).get(group) or {}).get(field, [])
            b: Sequence = ((ours or {}).get(group) or {}).get(field, [])
            for row, (left, right) in enumerate(zip(a, b, strict=False)):
                if left != right:
                    return f"{group} row {row} has {field} {left} there and {right} here"
            if len(a) != len(b):
                return f"{group} has {len(a)} {field} there and {len(b)} here"
    return "no layout stored"
