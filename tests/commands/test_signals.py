"""Signals from a search to a prediction, as a user types it: every command on a folder of the one before."""

import csv
import json
import re
import shlex

import numpy as np
import pytest
import torch
from torch import nn

import nas
from nas.running.words import quoted
from tests.commands.test_bad_input import assert_refused

SPACES = {
    "darts": ("space.num_cells=3", "space.init_channels=4"),
    "nasbench201": ("space=nasbench201", "space.cells_per_stage=1", "space.init_channels=4"),
    "dso": ("space=dso", "method=dsonas", "method.warmup_epochs=0", "space.init_channels=4"),
}  # fmt: skip
STEPS = (
    "trainer.max_epochs=1",
    "trainer.limit_train_batches=2",
    "dataset.batch_size=8",
    "checkpoint.keep=1",
    "size=null",
)


def tones(count, seed, length=30):
    """Two channels of far apart units; classes are three frequencies."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    phase = rng.uniform(0, 6, (count, 1, 1))
    waves = np.sin(np.arange(length) * (labels[:, None, None] + 0.5) / 2 + phase)
    return (waves * np.array([2e-5, 300])[:, None] + [[0], [40]]).astype(np.float32), np.array(
        ["low", "mid", "top"]
    )[labels]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("own signals")


@pytest.fixture
def data(place):
    file = place / "tones of mine.npz"
    if not file.exists():
        given, labels = tones(60, 0)
        test, test_labels = tones(12, 1)
        np.savez(file, images=given, labels=labels, test_images=test, test_labels=test_labels)
        np.savez(place / "later.npz", images=test, labels=test_labels)
        np.save(place / "later.npy", test)
    return file


@pytest.fixture
def trained(run, place, data):
    """An evaluation's folder."""
    folder = place / "evaluation"
    if not (folder / "summary.json").exists():
        done = run(
            "evaluate", "genotype=DARTS_V2", "dataset=arrays", f"dataset.file={quoted(data)}",
            "recipe.num_cells=3", "recipe.init_channels=4",
            "dataset.augment.pad=2", "dataset.cutout=4", "dataset.batch_size=10",
            "trainer.max_epochs=2", "checkpoint.keep=1", f"hydra.run.dir={folder}",
        )  # fmt: skip
        assert (done.status, done.err) == (0, ""), done
    return folder


def shares(folder):
    with (folder / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    found = [{row[f"class{r}"]: float(row[f"probability{r}"]) for r in ("", "_2", "_3")} for row in rows]
    return [[one[name] for name in ("low", "mid", "top")] for one in found]


@pytest.mark.parametrize("name", SPACES)
def test_every_space_searches_signals_and_what_it_prints_goes_on(run, place, data, name, tmp_path):
    words = ("dataset=arrays", f"dataset.file={quoted(data)}", *STEPS, *SPACES[name])
    done = run("search", *words, f"hydra.run.dir={tmp_path / 'search'}")
    assert done.status == 0, done.err
    found = (tmp_path / "search/found.txt").read_text()
    assert found in done.out and all(
        re.search(rf"^  {words}$", found, re.MULTILINE)
        for words in (
            "training signals +60",
            "test signals +12, test_images",
            r"stored as .*\[2, 30\] each",
            r"read as +\[2, 1, 32\]: from \[1, 30\], padded",
        )
    )
    assert list((tmp_path / "search/figures").iterdir())
    printed = next(
        line for line in (tmp_path / "search/search.log").read_text().splitlines() if "evaluate:" in line
    )
    more = (*STEPS[:2], "recipe.epochs=1", f"hydra.run.dir={tmp_path / 'evaluate'}")
    given = shlex.split(printed.partition("nas.evaluate ")[2])
    more = tuple(one for one in more if one.split("=")[0] not in {word.split("=")[0] for word in given})
    done = run("evaluate", *given, *more[:2], *more[-1:])
    assert done.status == 0, done.err
    described = json.loads((tmp_path / "evaluate/network.json").read_text())
    assert described["image_shape"] == [2, 1, 32] and described["preprocessing"]["scale"] == 1
    assert described["notes"]["padded_from"] == [1, 30]


def test_a_trained_network_says_the_same_wherever_it_goes(run, trained, place, tmp_path):
    done = run("export", f"run={quoted(trained)}", "format=all", f"hydra.run.dir={tmp_path / 'out'}")
    assert done.status == 0, done.err
    assert "timm: not written, its models prepare pictures" in done.out
    rows = {row["format"]: row for row in json.loads((tmp_path / "out/summary.json").read_text())["formats"]}
    assert set(rows) == {"safetensors", "torch_export", "onnx"}
    assert all(row["difference"] < 1e-5 for row in rows.values())
    answers = []
    for number, (model, given) in enumerate(
        [(trained, "later.npz"), (tmp_path / "out/model.onnx", "later.npz"), (trained, "later.npy")]
    ):
        folder = tmp_path / str(number)
        done = run(
            "predict",
            f"model={quoted(model)}",
            f"input={quoted(place / given)}",
            "top=3",
            f"hydra.run.dir={folder}",
        )
        assert done.status == 0, done.err
        assert "12 signals" in done.out and "picture" not in done.out
        answers.append(shares(folder))
    assert answers[1] == pytest.approx(np.array(answers[0]), abs=1e-5)
    assert answers[2] == pytest.approx(np.array(answers[0]), abs=1e-9)
    tested = json.loads((trained / "summary.json").read_text())
    assert json.loads((tmp_path / "0/summary.json").read_text())["accuracy"] == pytest.approx(
        tested["test_accuracy"]
    )
    given = tones(12, 1)[0]
    import onnxruntime

    session = onnxruntime.InferenceSession(tmp_path / "out/model.onnx", providers=["CPUExecutionProvider"])
    assert [one.name for one in session.get_inputs()] == ["signals"] and session.get_inputs()[0].shape[
        1:
    ] == [2, 30]
    logits = torch.from_numpy(session.run(None, {"signals": given})[0])
    assert answers[0] == pytest.approx(logits.double().softmax(1).numpy(), abs=1e-5)
    model = nas.load(trained).model
    assert all(one.weight.shape[2] == 1 for one in model.modules() if isinstance(one, nn.Conv2d))
    said = model.predict(given)
    assert [list(one.probabilities.values()) for one in said] == [
        pytest.approx(row, abs=1e-5) for row in answers[0]
    ]
    assert model.predict(given[3])[0].label == said[3].label
    model.export(tmp_path / "again.onnx")
    with pytest.raises(nas.ConfigError, match=r"this network reads signals \[N, C, L\] of \[2, 30\]"):
        model(torch.zeros(1, 2, 31))
    with pytest.raises(nas.ConfigError, match="reads numbers as measured"):
        model.predict("a.png")


def test_what_does_not_fit_is_refused_in_one_line(run, trained, data, place, tmp_path):
    np.savez(tmp_path / "short.npz", images=tones(3, 1, 28)[0])
    (tmp_path / "folder").mkdir()
    for given, words in (
        (tmp_path / "short.npz", "images is [3, 2, 28]; this network reads signals [N, C, L] of [2, 30]"),
        (tmp_path / "folder", "this network reads signals [N, C, L] of [2, 30]; give an .npz, .npy or"),
    ):
        assert_refused(run("predict", f"model={quoted(trained)}", f"input={quoted(given)}"), words)
    base = ("genotype=DARTS_V2", "dataset=arrays", "size=null", "recipe.num_cells=3")
    base += (f"dataset.file={quoted(data)}",)
    assert_refused(
        run("evaluate", *base, "dataset.augment.flip=true"), "dataset.augment.flip=True", "signals"
    )
    assert_refused(
        run("export", f"run={quoted(trained)}", "format=timm"), "format=timm: its models prepare pictures"
    )
    np.savez(
        tmp_path / "gaps.npz", images=np.where(tones(9, 1)[0] > 300, np.nan, -1), labels=np.arange(9) % 3
    )
    words = (
        "genotype=DARTS_V2",
        "dataset=arrays",
        f"dataset.file={quoted(tmp_path / 'gaps.npz')}",
        "size=null",
    )
    assert_refused(run("evaluate", *words), "numbers that cannot be learnt from", "NaN, the first at [")


def test_mapped_files_are_trained_on_as_archives_are_with_any_number_of_workers(run, data, place, tmp_path):
    with np.load(data) as held:
        for name in ("images", "labels", "test_images", "test_labels"):
            np.save(tmp_path / f"{name}.npy", held[name])
    single = [
        f"dataset.{key}={quoted(tmp_path / name)}.npy"
        for key, name in (
            ("file", "images"),
            ("labels", "labels"),
            ("test_file", "test_images"),
            ("test_labels", "test_labels"),
        )
    ]
    base = (
        "genotype=DARTS_V2",
        "recipe.num_cells=3",
        "recipe.init_channels=4",
        "dataset.augment.pad=2",
        *STEPS,
    )
    runs = {
        "archive": (f"dataset.file={quoted(data)}",),
        "mapped": single,
        "workers": (*single, "dataset.num_workers=2"),
    }
    for name, words in runs.items():
        done = run("evaluate", *base, "dataset=arrays", *words, f"hydra.run.dir={tmp_path / name}")
        assert done.status == 0, done.err
    metrics = {(tmp_path / name / "metrics.csv").read_bytes() for name in runs}
    assert len(metrics) == 1


def test_a_stopped_search_on_mapped_signals_goes_on_bit_by_bit(run, data, tmp_path):
    with np.load(data) as held:
        np.save(tmp_path / "x.npy", held["images"])
        np.save(tmp_path / "y.npy", held["labels"])
    words = (
        "dataset=arrays", f"dataset.file={quoted(tmp_path / 'x.npy')}",
        f"dataset.labels={quoted(tmp_path / 'y.npy')}",
        "space=nasbench201", "space.cells_per_stage=1", "space.init_channels=4", "dataset.num_workers=2",
        "dataset.augment.pad=2", *STEPS[1:],
    )  # fmt: skip
    whole, part = tmp_path / "whole", tmp_path / "part"
    assert run("search", *words, "trainer.max_epochs=2", f"hydra.run.dir={whole}").status == 0
    stopped = run("search", *words, "trainer.max_epochs=2", "time_limit=0.0001", f"hydra.run.dir={part}")
    assert stopped.status == 130, stopped.err
    assert run("search", f"resume={quoted(part)}", "time_limit=null").status == 0
    assert (whole / "architecture.csv").read_bytes() == (part / "architecture.csv").read_bytes()
