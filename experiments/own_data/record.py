"""From people's own data to predictions: five commands, or a few lines of Python, beside plain models.

    python -m experiments.own_data.record --folder outputs/experiments/own_data --keep

For each of three data sets and each seed: a search, then each command as the one before has printed it, and
plain models of as many parameters at the same number of epochs. Finished steps are kept, so it can be stopped
and started again. With `--keep` the record goes beside this file and the tables into docs/own_data.md.
"""

import csv
import json
import os
import re
import shlex
import subprocess
import sys
import time
from argparse import ArgumentParser
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from experiments.first_run import NEXT, commands_in
from experiments.own_data import baselines, sets
from experiments.records import as_csv, between, markdown, spread
from nas.files import write_text

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PAGE = ROOT / "docs/own_data.md"
BEGIN, END = "<!-- results:own_data -->", "<!-- /results:own_data -->"
SEEDS = (0, 1, 2)


@dataclass(frozen=True)
class Shown:
    """A data set, and what is typed for it.

    Attributes:
        write: puts the data into a folder.
        search: the first command, whose numbers are few enough for minutes.
        given: what stands for the input that `predict` names, in that folder.
        epochs: of an evaluation, and of the plain models.
        batch: images or columns a step of both.
        measure: what `summary.json` says of the test.
        factor: of that figure in the table.
        python: the same in Python, with `data` made first.
    """

    write: Callable[[Path], Path]
    search: str
    given: str
    epochs: int
    batch: int
    measure: str
    factor: float
    python: str


SHOWN = {
    "pictures": Shown(
        sets.write_pictures,
        "nas.search dataset=folder dataset.root=pictures dataset.source.image_size=8 size=null "
        "space.num_cells=3 space.init_channels=8 trainer.max_epochs=10 recipe.num_cells=5 "
        "recipe.init_channels=12 recipe.epochs=20 hardware.threads=1",
        "pictures/test",
        20,
        64,
        "test_accuracy",
        100,
        """import nas

data = nas.datasets.folder("pictures", image_size=8)
sizes = ["size=null", "space.num_cells=3", "space.init_channels=8"]
result = nas.run_search(data, space="darts", method="darts1", epochs=10, overrides=sizes)
sizes = ["recipe.num_cells=5", "recipe.init_channels=12"]
model = nas.run_evaluation(result, epochs=20, overrides=sizes).model
model.export("digits.onnx")
print(model.predict("pictures/test/digit 3/103.png")[0].label)
""",
    ),
    "signals": Shown(
        sets.write_signals,
        "nas.search dataset=arrays dataset.file=motions.npz dataset.batch_size=8 size=null "
        "space.num_cells=3 space.init_channels=8 trainer.max_epochs=20 recipe.num_cells=5 "
        "recipe.init_channels=12 recipe.epochs=60 recipe.batch_size=8 hardware.threads=1",
        "later.npz",
        60,
        8,
        "test_accuracy",
        100,
        """import nas
import numpy as np

data = nas.datasets.arrays("motions.npz", batch_size=8)
sizes = ["size=null", "space.num_cells=3", "space.init_channels=8"]
result = nas.run_search(data, space="darts", method="darts1", epochs=20, overrides=sizes)
sizes = ["recipe.num_cells=5", "recipe.init_channels=12", "recipe.batch_size=8"]
model = nas.run_evaluation(result, epochs=60, overrides=sizes).model
model.export("motions.onnx")
print(model.predict(np.load("later.npz")["images"])[0].label)
""",
    ),
    "text": Shown(
        sets.write_text,
        "nas.search dataset=corpus dataset.root=text space=darts_rnn method=darts1_rnn size=null "
        "space.hidden_size=64 trainer.max_epochs=3 recipe.hidden_size=128 recipe.epochs=15 "
        "hardware.threads=1",
        "text/test.txt",
        15,
        32,
        "test_perplexity",
        1,
        """import nas

data = nas.datasets.corpus("text")
sizes = ["size=null", "space.hidden_size=64"]
result = nas.run_search(data, space="darts_rnn", method="darts1_rnn", epochs=3, overrides=sizes)
model = nas.run_evaluation(result, epochs=15, overrides=["recipe.hidden_size=128"]).model
model.export("text.pt2")
print(model.predict("the first")[-1])
""",
    ),
}


def execute(words: Sequence[str], place: Path, log: Path) -> tuple[str, float]:
    """Runs a command in a folder: what it said, and its seconds.

    Raises:
        RuntimeError: it failed.
    """
    environment = os.environ | {"PYTHONPATH": str(ROOT), "NAS_OUTPUTS": str(place / "outputs")}
    began = time.monotonic()
    line = [sys.executable, *words]
    done = subprocess.run(line, cwd=place, env=environment, capture_output=True, text=True, check=False)
    with log.open("a", encoding="utf-8") as file:
        file.write(f"$ python {shlex.join(words)}\n{done.stdout}{done.stderr}\n")
    if done.returncode:
        raise RuntimeError(f"{shlex.join(words)}\n{done.stdout}\n{done.stderr}")
    return done.stdout, time.monotonic() - began


def walk(shown: Shown, seed: int, place: Path, more: Sequence[str] = ()) -> dict[str, object]:
    """The path from the first command to a prediction: what was found, and the seconds of all commands.

    Args:
        shown: the data set.
        seed: of the search and of the evaluation.
        place: where the data lie.
        more: further words of the search.

    Raises:
        RuntimeError: a command failed, or one did not print what leads on.
    """
    log = place / f"seed{seed}.log"
    said, seconds = execute(["-m", *shlex.split(shown.search), f"seed={seed}", *more], place, log)
    trained, printed = Path(), commands_in(said)
    for label in NEXT:
        if label not in printed:
            raise RuntimeError(f"{label}: not printed by\n{said}")
        words = [re.sub(r"^input=.*", f"input={shown.given}", one) for one in shlex.split(printed[label])[1:]]
        said, took = execute([*words, *([f"seed={seed}"] if label == "evaluate" else [])], place, log)
        seconds += took
        printed |= commands_in(said)
        if label == "evaluate":
            trained = Path(re.findall(r"^run folder: +(.+)$", said, re.MULTILINE)[-1].strip("'"))
    summary = json.loads((place / trained / "summary.json").read_text(encoding="utf-8"))
    value = summary[shown.measure] * shown.factor
    return {"model": "searched", "value": value, "params": summary["params"], "seconds": seconds}


def plain(name: str, shown: Shown, seed: int, wanted: int, place: Path) -> list[dict[str, object]]:
    """The plain models of a data set; what does not depend on a seed is made with the first one."""
    models: dict[str, Callable[[], float]] = {}
    if name == "text":
        text = place / "text"
        models["pairs of words"] = lambda: baselines.bigram_perplexity(text)
        models["LSTM of equal size"] = lambda: baselines.train_lstm(
            text, wanted, shown.epochs, shown.batch, seed
        )
        fixed = "pairs of words"
    else:
        train, test = _parts(name)
        models["logistic regression"] = lambda: baselines.logistic_regression(train, test)
        models["ResNet of equal size"] = lambda: baselines.train_resnet(
            train, test, wanted, shown.epochs, shown.batch, seed
        )
        fixed = "logistic regression"
    rows = []
    for model, measure in models.items():
        if model == fixed and seed != SEEDS[0]:
            continue
        began = time.monotonic()
        value = measure() * shown.factor
        rows.append({"model": model, "value": value, "params": None, "seconds": time.monotonic() - began})
    return rows


def _parts(name: str) -> tuple[baselines.Labelled, baselines.Labelled]:
    if name == "pictures":
        images, labels = sets.digits()
        train, test = ((images[some][:, None] / 255.0, labels[some]) for some in sets.split_digits())
        return train, test
    train, test = ((signals[:, :, None], labels) for signals, labels in map(sets.motions, ("train", "test")))
    return train, test


def measure(name: str, seed: int, folder: Path) -> list[dict[str, object]]:
    """The rows of a data set and a seed; kept, so that they are made once."""
    kept = folder / name / f"seed{seed}.json"
    if kept.exists():
        return json.loads(kept.read_text(encoding="utf-8"))
    shown, place = SHOWN[name], folder / name
    if not place.exists():
        place.mkdir(parents=True)
        shown.write(place)
    found = walk(shown, seed, place)
    rows = [found, *plain(name, shown, seed, int(str(found["params"])), place)]
    if seed == SEEDS[0]:
        _, seconds = execute(["-c", shown.python], place, place / "python.log")
        rows.append({"model": "in Python", "value": None, "params": None, "seconds": seconds})
    write_text(kept, json.dumps([{"data": name, "seed": seed} | row for row in rows], indent=1))
    return json.loads(kept.read_text(encoding="utf-8"))


def tables(rows: Sequence[Mapping[str, object]]) -> str:
    """The rows as a table: a line for each model of each data set."""
    lines = []
    for data, model in dict.fromkeys((row["data"], row["model"]) for row in rows):
        mine = [row for row in rows if (row["data"], row["model"]) == (data, model)]
        values = [float(str(row["value"])) for row in mine if row["value"] not in (None, "")]
        params = [int(str(row["params"])) for row in mine if row["params"] not in (None, "")]
        lines.append(
            {
                "data": data,
                "model": model,
                "test": "" if not values else spread(values),
                "each": ", ".join(f"{value:.1f}" for value in values),
                "thousand parameters": ", ".join(f"{one / 1000:.0f}" for one in params),
                "seconds": ", ".join(f"{float(str(row['seconds'])):.0f}" for row in mine),
            }
        )
    return markdown(lines)


def main(words: Sequence[str] | None = None) -> None:
    """Makes what is missing and prints the table."""
    parser = ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path("outputs/experiments/own_data"))
    parser.add_argument("--data", nargs="+", choices=list(SHOWN), default=list(SHOWN))
    parser.add_argument("--keep", action="store_true", help="the record goes into the repository")
    arguments = parser.parse_args(words)
    folder = arguments.folder.resolve()
    rows = [row for name in arguments.data for seed in SEEDS for row in measure(name, seed, folder)]
    print(tables(rows))
    if arguments.keep:
        write_text(HERE / "results" / "own_data.csv", as_csv(rows), parents=True)
        before, _, behind = between(PAGE.read_text(encoding="utf-8"), BEGIN, END)
        write_text(PAGE, f"{before}\n{tables(rows)}{behind}")


def recorded() -> list[dict[str, str]]:
    """The rows that lie beside this file."""
    with (HERE / "results" / "own_data.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


if __name__ == "__main__":
    main()
