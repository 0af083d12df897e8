"""Which lines of the project a block of code has reached, by the interpreter's own trace of it."""

import sys
from pathlib import Path
from types import FrameType
from typing import Any

import nas

PACKAGE = str(Path(nas.__file__).parent)


class Lines:
    """Lines reached inside its blocks, each of them with the one before it."""

    def __init__(self) -> None:
        self._steps: set[tuple[object, int, int]] = set()
        self._before: Any = None

    def __len__(self) -> int:
        return len(self._steps)

    def __enter__(self) -> "Lines":
        self._before = sys.gettrace()
        sys.settrace(self._called)
        return self

    def __exit__(self, *raised: object) -> None:
        sys.settrace(self._before)

    def _called(self, frame: FrameType, event: str, argument: object) -> Any:
        code = frame.f_code
        if not code.co_filename.startswith(PACKAGE):
            return None
        last = 0

        def reached(frame: FrameType, event: str, argument: object) -> Any:
            nonlocal last
            if event == "line":
                self._steps.add((code, last, frame.f_lineno))
                last = frame.f_lineno
            return reached

        return reached
