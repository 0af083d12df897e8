"""Writes docs/first_run.md: what a newcomer reads, each command as the one before has printed it.

python -m experiments.first_run
"""

import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs/first_run.md"
# What stands on the page for the folder in which it all lies.
HOME = "/home/you"
CLASSES, PICTURES = 4, 60
SEARCH = (
    "python -m nas.search dataset=folder dataset.root=pictures dataset.source.image_size=8 "
    "trainer.max_epochs=3 recipe.epochs=10 hardware.threads=1"
)
# The labels of commands that runs print, in the order in which a newcomer pastes them.
NEXT = ("derive", "evaluate", "export", "predict")
HEAD = """# A first run

What the screen says from a folder of pictures to a network in a file. Pictures of handwritten digits
(scikit-learn's, {count} files of {classes} classes) lie in `pictures/<class>/`. Sizes are those that suit
so few pictures ([size.md](size.md)); the search is far too short, so that all of it takes {seconds:.0f} s on
two processors. Each command after the first is one that a command before has printed.
`python -m experiments.first_run` writes this page, and a test pastes all of it again.

How each step goes on from the one before: [path.md](path.md). Pictures of your own: [data.md](data.md).
"""


@dataclass(frozen=True)
class Step:
    """A command as it was pasted, and what it said."""

    command: str
    said: str
    seconds: float = 0.0


def write_pictures(folder: Path) -> None:
    """Writes digits as PNG files, a folder a class."""
    from PIL import Image
    from sklearn.datasets import load_digits

    digits = load_digits()
    for number, (image, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        place = folder / f"digit {label}"
        if label < CLASSES and len(list(place.glob("*"))) < PICTURES:
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray((image * 15).astype("uint8")).save(place / f"{number}.png")


def commands_in(said: str) -> dict[str, str]:
    """Label -> command of every line that is to be pasted."""
    return dict(re.findall(r"^([a-z]+): +(python -m nas\..+)$", said, re.MULTILINE))


def walk(place: Path, first: str, execute: Callable[[Sequence[str], Path], Step]) -> list[Step]:
    """Runs the first command and those that lead on from it, each as printed."""
    write_pictures(place / "pictures")
    steps, printed = [execute(shlex.split(first), place)], {}
    for label in NEXT:
        printed |= commands_in(steps[-1].said)
        steps.append(execute(shlex.split(printed[label]), place))
    return steps


def in_a_process(words: Sequence[str], place: Path) -> Step:
    """Runs a command as a shell would."""
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "NAS_OUTPUTS": str(place / "outputs"),
        "COLUMNS": "110",
    }
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, *words[1:]], cwd=place, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{shlex.join(words)}\n{done.stdout}\n{done.stderr}")
    return Step(shlex.join(words), done.stdout, time.monotonic() - began)


def page(steps: Sequence[Step], place: Path) -> str:
    """The page, with its folder in the place of the one in which it was made."""
    seconds = sum(step.seconds for step in steps)
    parts = [HEAD.format(count=CLASSES * PICTURES, classes=CLASSES, seconds=seconds)]
    for step in steps:
        text = f"$ {step.command}\n{step.said.strip()}".replace(str(place), HOME)
        parts.append(f"```text\n{text}\n```\n")
    return "\n".join(parts)


def labels(said: str) -> set[str]:
    """The words before a colon, at which lines of a run's end are recognised."""
    return set(re.findall(r"^([a-z][a-z ]*): ", said, re.MULTILINE))


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder).resolve()
        PAGE.write_text(page(walk(place, SEARCH, in_a_process), place), encoding="utf-8")


if __name__ == "__main__":
    main()
