"""Tests. Reference numbers and real data lie outside the project; tests that need them skip where they are
missing.

They are looked for in the folder that the environment variable NAS_SHARED names, else in `shared` beside the
project.
"""

import os
from pathlib import Path

_BESIDE = Path(__file__).resolve().parent.parent.parent / "shared"
if _BESIDE.is_dir():
    os.environ.setdefault("NAS_SHARED", str(_BESIDE))
