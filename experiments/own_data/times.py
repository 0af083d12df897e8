"""Whether a run that is sized by `time=` takes the time that was asked for: docs/size.md's table.

    python -m experiments.own_data.times --folder outputs/experiments/times
    python -m experiments.own_data.times --folder outputs/experiments/times --keep

Runs alternate, and what is finished is kept, so it can be stopped and started again. Let nothing else run on
the machine. `--keep` measures nothing: what has been goes beside this file, and as a table into docs/size.md.
"""

import csv
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from argparse import ArgumentParser
from collections.abc import Mapping, Sequence
from pathlib import Path

from experiments.own_data import sets
from experiments.records import as_csv, markdown
from nas.engine.provenance import device_name
from nas.files import write_text

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
RECORD, PAGE = HERE / "results/times.csv", ROOT / "docs/size.md"
BEGIN, END = "<!-- results:times -->", "<!-- /results:times -->"
PICTURES = "dataset=folder dataset.root=pictures dataset.source.image_size=8"
TEXT = "dataset=corpus dataset.root=text"
# What is run -> minutes that are asked for -> how many times it is measured.
RUNS = {
    f"nas.search {PICTURES}": {1: 2, 3: 1},
    f"nas.evaluate genotype=DARTS_V2 {PICTURES}": {1: 2, 3: 1},
    f"nas.search {TEXT} space=darts_rnn method=darts1_rnn": {5: 1},
    f"nas.evaluate genotype=DARTS_V2 {TEXT} space=darts_rnn": {5: 1},
}
# Of the choice of sizes: what a run prints first when it begins to train.
STARTS = "expected end: "
TOLD = re.compile(r"\(about (?:(\d+)m)?(\d+)s; \d+ epochs?, as foreseen")


def wanted() -> list[tuple[str, int, int]]:
    """What is measured, as (run, minutes, repetition), in an order that fills the table evenly."""
    found = [
        (run, minutes, number)
        for run, asked in RUNS.items()
        for minutes, times in asked.items()
        for number in range(times)
    ]
    return sorted(found, key=lambda one: one[2])


def measure(run: str, minutes: int, number: int, place: Path) -> dict[str, object]:
    """Runs a command as typed, and reads its screen against a clock.

    Raises:
        RuntimeError: it failed, or never said when it would end.
    """
    outputs = place / "outputs"
    words = [sys.executable, "-m", *shlex.split(run), f"time={minutes}", f"seed={number}"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "NAS_OUTPUTS": str(outputs)}
    began, started, said = time.monotonic(), None, []
    with subprocess.Popen(
        words, cwd=place, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        for line in process.stdout or ():
            said.append(line)
            if started is None and line.startswith(STARTS):
                started = time.monotonic()
    ended = time.monotonic()
    told = next(iter(TOLD.findall("".join(said))), None)
    if process.returncode or started is None:
        raise RuntimeError(f"{shlex.join(words)}\n{''.join(said)}")
    shutil.rmtree(outputs)
    row: dict[str, object] = {"run": run, "minutes": minutes, "number": number}
    row["foreseen"] = None if told is None else 60 * int(told[0] or 0) + int(told[1])
    row |= {"choosing": round(started - began, 1), "taken": round(ended - started, 1)}
    sizes = re.findall(r"^(?:search|evaluate): (.*=.*) \(", "".join(said), re.MULTILINE)
    return row | {"sizes": sizes[0] if sizes else None, "device": device_name("cpu"), "cores": os.cpu_count()}


def table(rows: Sequence[Mapping[str, object]]) -> str:
    """The table of all that was measured, a row per run and asked time."""
    found = []
    for run, minutes in dict.fromkeys((run, minutes) for run, minutes, _ in wanted()):
        of_it = [row for row in rows if row["run"] == run and int(str(row["minutes"])) == minutes]
        line: dict[str, object] = {"run": f"`{run}`", "asked": 60 * minutes, "n": len(of_it)}
        for name in ("foreseen", "taken", "choosing"):
            values = [row[name] for row in of_it]
            line[name] = ", ".join("?" if v in (None, "") else f"{float(str(v)):.0f}" for v in values)
        found.append(line)
    return markdown(found)


def keep(rows: Sequence[Mapping[str, object]]) -> None:
    """Writes the record and its table."""
    write_text(RECORD, as_csv(rows), parents=True)
    before, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
    after = rest.split(END)[1]
    write_text(PAGE, f"{before}{BEGIN}\n{table(rows)}\n{END}{after}")


def main() -> None:
    parser = ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--folder", type=Path, default=ROOT / "outputs/experiments/times")
    parser.add_argument("--keep", action="store_true", help="write the record and the page")
    chosen = parser.parse_args()
    place = chosen.folder.resolve()
    place.mkdir(parents=True, exist_ok=True)
    if not (place / "pictures").exists():
        sets.write_pictures(place)
        sets.write_text(place)
    path = place / "times.csv"
    rows: list[Mapping[str, object]] = []
    if path.exists():
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    done = {(row["run"], int(str(row["minutes"])), int(str(row["number"]))) for row in rows}
    for one in () if chosen.keep else wanted():
        if one not in done:
            rows.append(measure(*one, place))
            write_text(path, as_csv(rows))
            print(rows[-1], flush=True)
    print(table(rows))
    if chosen.keep:
        keep(rows)


if __name__ == "__main__":
    main()
