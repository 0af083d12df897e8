"""Every method in every space: docs/methods.md says what the parts say, and its example of parts runs."""

import re
import shlex
import sys
from pathlib import Path

from experiments.methods import commands, matrix
from experiments.records import between
from tests.forks import finish

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs/methods.md").read_text(encoding="utf-8")


def inside(begin, end):
    return between(TEXT, begin, end)[1].strip()


def test_the_page_lists_every_method_and_every_space():
    """Else: `python -m experiments.methods.matrix --keep`."""
    assert inside(*matrix.LIST) == matrix.about()
    rows = [
        line.split("|")[1:-1] for line in inside(matrix.BEGIN, matrix.END).splitlines() if line[:1] == "|"
    ]
    assert [cell.strip("` ") for cell in rows[0][1:]] == matrix.names("space")
    assert [row[0].strip("` ") for row in rows[2:]] == matrix.names("method")


def test_the_page_says_where_every_method_runs():
    """Else: `python -m experiments.methods.matrix --keep`."""
    assert inside(matrix.BEGIN, matrix.END) == matrix.table(matrix.verdicts())


def test_what_the_parts_do_not_go_together_for_is_said_in_a_few_words():
    said = (
        "method=a: this space has one candidate per edge, among which a softmax cannot choose; take another"
    )
    assert (
        matrix.brief(said)
        == "this space has one candidate per edge, among which its relaxation cannot choose"
    )


def test_a_command_is_judged_by_its_exit_status_and_its_message():
    assert commands.judged(0, "", draws=False) == matrix.RUNS
    assert commands.judged(0, "", draws=True) == matrix.DRAWS
    assert commands.judged(2, "a line\nmethod.edges: not here; null\n", draws=False) == "not here"
    assert commands.judged(1, "Traceback", draws=False) == commands.FAILED
    assert commands.judged(-9, "", draws=False) == commands.FAILED


def test_what_a_commit_has_run_is_read_back_and_nothing_else(tmp_path):
    row = {"method": "gdas", "space": "darts", "status": 0, "verdict": "runs", "seconds": 2.5,
           "date": "2026-01-01", "commit": "one"}  # fmt: skip
    path = tmp_path / "matrix.csv"
    path.write_text(commands.as_csv([row, row | {"space": "s1", "commit": "two"}]))
    assert commands.read(path, "one") == {("gdas", "darts"): commands.Run(**row)}


def test_parts_of_ones_own_run_as_the_page_says(tmp_path):
    (code,) = re.findall(r"^```python\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    (words,) = re.findall(r"^```sh\npython (.*?)\n```", TEXT, re.MULTILINE | re.DOTALL)
    (tmp_path / "mine.py").write_text(code, encoding="utf-8")
    line = [sys.executable, *shlex.split(words), "hardware.threads=1", f"hydra.run.dir={tmp_path / 'run'}"]
    done = finish(line, cwd=tmp_path)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
