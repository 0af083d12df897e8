"""Finds files that are not part of the project, or skips the test that needs them."""

import json
import os
from pathlib import Path

import pytest


def shared(name: str) -> Path:
    """The path of a shared file; skips the calling test if it is not there."""
    folder = os.environ.get("NAS_SHARED")
    if not folder:
        pytest.skip("NAS_SHARED does not name a folder with reference numbers")
    path = Path(folder) / name
    if not path.exists():
        pytest.skip(f"{name} is not in NAS_SHARED")
    return path


def shared_json(name: str) -> dict:
    """A shared JSON file."""
    return json.loads(shared(name).read_text(encoding="utf-8"))
