"""Every method in the spaces as a command: `nas.search method=... space=... debug=fast`, one after the other.

    python -m experiments.methods.commands --folder outputs/experiments/methods

Each command is a process of its own, forked from this one, which has imported everything. What was run by the
present commit is not run again, so it can be stopped and started anew. Prints the table and writes
`matrix.csv` into the folder; with `--keep` it goes beside this file, and the table into docs/methods.md. Ends
with status 1 where a command does not do what `experiments.methods.matrix` says of its method and space.
"""

import contextlib
import csv
import multiprocessing
import os
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path

import nas.commands.search  # noqa: F401  so that the forks have it
from experiments.methods.matrix import (
    DRAWS,
    RUNS,
    brief,
    configurations,
    dataset_of,
    keep,
    names,
    table,
    verdicts,
)
from experiments.records import as_csv
from nas import search
from nas.engine.provenance import git_commit
from nas.files import write_text

HERE = Path(__file__).resolve().parent
SPACES = ("nasbench201", "darts", "dso_small", "darts_rnn")
BEGIN, END = "<!-- commands: python -m experiments.methods.commands --keep -->", "<!-- end of commands -->"
FAILED = "failed"


@dataclass(frozen=True)
class Run:
    """A command that has ended.

    Attributes:
        status: its exit status.
        verdict: `runs`, `draws`, why it was refused, or `failed`.
        seconds: of the whole command, on whatever else the machine did.
        date: the day, UTC.
        commit: of the code.
    """

    method: str
    space: str
    status: int
    verdict: str
    seconds: float
    date: str
    commit: str


def parse(words: Sequence[str] | None = None) -> Namespace:
    """The command line; `words` in place of the process's own."""
    parser = ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path("outputs/experiments/methods"))
    parser.add_argument("--methods", nargs="+", default=names("method"), help="default: all")
    parser.add_argument("--spaces", nargs="+", default=list(SPACES), help=f"default: {' '.join(SPACES)}")
    parser.add_argument("--keep", action="store_true", help="the record goes into the repository")
    return parser.parse_args(words)


def start(method: str, space: str, dataset: str, folder: Path) -> tuple[int, str, float]:
    """Runs a command to its end: exit status, the last lines of its output, seconds."""
    folder.mkdir(parents=True, exist_ok=True)
    output, begun = folder / "output.txt", time.monotonic()
    words = [
        "nas.search", f"method={method}", f"space={space}", f"dataset={dataset}", "debug=fast",
        "hardware.threads=1", "traceback=false", "trainer.enable_progress_bar=false",
        f"hydra.run.dir={folder / 'run'}",
    ]  # fmt: skip
    child = multiprocessing.get_context("fork").Process(target=_command, args=(words, output))
    child.start()
    child.join()
    assert child.exitcode is not None
    return child.exitcode, output.read_text(encoding="utf-8"), time.monotonic() - begun


def _command(words: Sequence[str], output: Path) -> None:
    """What a fork does: `python -m nas.search ...` with its output in a file."""
    with output.open("w", encoding="utf-8") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    sys.argv = list(words)
    search.main()


def judged(status: int, said: str, draws: bool) -> str:
    """What an exit status and an output say of a method in a space."""
    if status == 0:
        return DRAWS if draws else RUNS
    lines = said.strip().splitlines()
    if status != 2 or not lines:
        return FAILED
    return brief(next((s for s in lines if s.startswith("error: ")), lines[-1]).removeprefix("error: "))


def read(path: Path, commit: str) -> dict[tuple[str, str], Run]:
    """The commands that this commit has run."""
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        rows = [
            Run(**{field.name: field.type(row[field.name]) for field in fields(Run)})  # type: ignore[operator]
            for row in csv.DictReader(file)
        ]
    return {(row.method, row.space): row for row in rows if row.commit == commit}


def run_all(arguments: Namespace, said: Mapping[str, Mapping[str, str]]) -> dict[tuple[str, str], Run]:
    """Runs what has not been run; the table in the folder grows by a row per command."""
    commit, path = (git_commit() or "unknown")[:12], arguments.folder / "matrix.csv"
    done = read(path, commit)
    with configurations():
        datasets = {space: dataset_of(space) for space in arguments.spaces}
    for space in arguments.spaces:
        for method in arguments.methods:
            if (method, space) in done:
                continue
            folder = arguments.folder / space / method
            status, words, seconds = start(method, space, datasets[space], folder)
            verdict = judged(status, words, said[method][space] == DRAWS)
            date = datetime.now(UTC).date().isoformat()
            done[method, space] = Run(method, space, status, verdict, round(seconds, 1), date, commit)
            print(f"{method} in {space}: {verdict} ({seconds:.1f} s)", flush=True)
            write_text(path, as_csv([asdict(run) for run in done.values()]))
    return done


def main(words: Sequence[str] | None = None) -> None:
    """Runs the commands, prints the table, and compares it with what the parts say.

    Raises:
        SystemExit: status 1, with the commands that did something else.
    """
    arguments = parse(words)
    said = verdicts(arguments.methods, arguments.spaces)
    with contextlib.suppress(KeyboardInterrupt):
        done = run_all(arguments, said)
        grid = {
            method: {space: done[method, space].verdict for space in arguments.spaces}
            for method in arguments.methods
        }
        runs = [done[method, space] for space in arguments.spaces for method in arguments.methods]
        dates = sorted({run.date for run in runs})
        text = (
            f"Commit {runs[0].commit}, {' to '.join(dict.fromkeys((dates[0], dates[-1])))}.\n\n{table(grid)}"
        )
        print(text)
        if arguments.keep:
            write_text(HERE / "results" / "matrix.csv", as_csv([asdict(run) for run in runs]))
            keep(text, BEGIN, END)
        other = [run for run in runs if run.verdict != said[run.method][run.space]]
        if other:
            raise SystemExit(
                "\n".join(
                    f"{run.method} in {run.space}: {run.verdict}, and not {said[run.method][run.space]}"
                    for run in other
                )
            )
        return
    raise SystemExit(130)


if __name__ == "__main__":
    main()
