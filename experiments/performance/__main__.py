"""What a step costs beside the literal networks of the tests: the rows of docs/performance.md.

    python -m experiments.performance --keep
    python -m experiments.performance --row evaluation nasbench201 -- hardware.threads=1

Each row is one run of `nas.bench`, ours and the reference in turn, one row after another. Finished rows are
kept, so it can be stopped and started again; what ended badly is tried again. Writes
FOLDER/results/performance.md; with `--keep` the rows go beside this file and the table into
docs/performance.md. Nothing else should run on the machine meanwhile.
"""

import json
import shutil
import subprocess
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from experiments.performance.rows import ROWS
from experiments.performance.table import Measured, report
from experiments.records import between, read_summary
from nas.files import write_text

HERE = Path(__file__).resolve().parent
PAGE = HERE.parents[1] / "docs/performance.md"
BEGIN, END = "<!-- results:performance -->\n", "<!-- /results:performance -->"
RECORD = "bench.json"


def parse(words: Sequence[str] | None = None) -> Namespace:
    """The command line; `words` in place of the process's own."""
    parser = ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--row", nargs="+", default=list(ROWS), choices=list(ROWS), metavar="ROW", dest="rows"
    )
    parser.add_argument("--folder", type=Path, default=Path("outputs/experiments/performance"))
    parser.add_argument("--record-only", action="store_true", help="sums up what there is, runs nothing")
    parser.add_argument("--keep", action="store_true", help="the record goes into the repository")
    parser.add_argument("overrides", nargs="*", help="more overrides of every row, after --")
    return parser.parse_args(words)


def in_a_process(words: Sequence[str]) -> int:
    """Runs `python -m nas.bench` from the root of the checkout, where the literal networks are found."""
    command = [sys.executable, "-m", "nas.bench", *words]
    return subprocess.run(command, cwd=HERE.parents[1], check=False).returncode


def run_rows(arguments: Namespace, execute: Callable[[Sequence[str]], int]) -> None:
    """Runs the rows that have not finished; a row that ends badly does not keep the others from running."""
    for name in arguments.rows:
        folder = arguments.folder.resolve() / name
        if _finished(folder):
            print(f"{name}: has finished", flush=True)
            continue
        _clear(folder)
        words = [f"hydra.run.dir={folder}", *ROWS[name].words.split(), *arguments.overrides]
        print(f"{name}: python -m nas.bench {' '.join(words)}", flush=True)
        status = execute(words)
        if status:
            folder.mkdir(parents=True, exist_ok=True)
            write_text(folder / "status", f"ended with status {status}")
            print(f"{name}: ended with status {status}; the others go on", flush=True)


def _clear(folder: Path) -> None:
    """Removes what an earlier call has left of a row, since a benchmark cannot be continued.

    Raises:
        SystemExit: something else lies there.
    """
    if not folder.exists():
        return
    if read_summary(folder).get("command") != "bench" and {path.name for path in folder.iterdir()} - {
        "status"
    }:
        raise SystemExit(f"{folder}: is no run of nas.bench; choose another --folder")
    shutil.rmtree(folder)


def collect(folder: Path) -> tuple[dict[str, Measured], dict[str, str]]:
    """What was measured of each row, and how those ended that ended badly."""
    found = {
        name: json.loads((folder / name / RECORD).read_text(encoding="utf-8"))
        for name in ROWS
        if _finished(folder / name)
    }
    ends = {name: folder / name / "status" for name in ROWS if name not in found}
    return found, {name: end.read_text(encoding="utf-8") for name, end in ends.items() if end.exists()}


def _finished(folder: Path) -> bool:
    return read_summary(folder).get("status") == "finished" and (folder / RECORD).exists()


def record(folder: Path, keep: bool, results: Path = HERE / "results", page: Path = PAGE) -> str:
    """Writes the table, and with `keep` the rows and the page.

    Raises:
        SystemExit: no row has finished, or the page has no place for the table.
    """
    found, failed = collect(folder)
    if not found:
        raise SystemExit(f"{folder}: no row has finished")
    text = report(found, failed)
    write_text(folder / "results" / "performance.md", text, parents=True)
    if keep:
        _keep(found, text, results, page)
    return text


def _keep(found: Mapping[str, Measured], text: str, results: Path, page: Path) -> None:
    before, _, behind = between(page.read_text(encoding="utf-8"), BEGIN, END)
    for name, measured in found.items():
        write_text(results / f"{name}.json", json.dumps(measured, indent=1) + "\n", parents=True)
    write_text(page, f"{before}{text}{behind}")


def main(words: Sequence[str] | None = None) -> None:
    arguments = parse(words)
    try:
        if not arguments.record_only:
            run_rows(arguments, in_a_process)
    except KeyboardInterrupt:
        print(f"{arguments.folder}: stopped; the same command goes on", flush=True)
        raise SystemExit(130) from None
    print(record(arguments.folder, arguments.keep))


if __name__ == "__main__":
    main()
