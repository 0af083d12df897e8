"""Searches and evaluations on folders of image files: their lists, damaged files, and widths for a budget."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from nas.data.checks import SAMPLES


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    """Two classes of 20 training and 4 test images, 40x36."""
    root = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for part, count in (("train", 20), ("val", 4)):
        for label in ("cat", "dog"):
            (root / part / label).mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(0, 256, (36, 40, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / part / label / f"{number:02}.JPEG")
    return root


@pytest.fixture
def search(run, tiny, tmp_path):
    """`search(root, name, *overrides)` -> (how it ended, run folder); half of the images, 4:1."""

    def do(root: Path, name: str, *overrides: str):
        folder = tmp_path / name
        fixed = ("dataset=imagenet", "recipe=digits", "dataset.source.image_size=32", "dataset.num_workers=0")
        sizes = ("dataset.source.num_classes=2", "dataset.fraction=0.5", "dataset.batch_size=4")
        mine = [one for one in tiny if not one.startswith("dataset.")]
        mine.append("trainer.limit_train_batches=1")
        where = (f"dataset.root={root}", f"hydra.run.dir={folder}")
        return run("search", *mine, *fixed, *sizes, *where, *overrides), folder

    return do


def summary(folder: Path) -> dict:
    return json.loads((folder / "summary.json").read_text())


def test_a_search_lists_its_images_and_another_takes_the_lists(search, run, pictures, tmp_path):
    root = tmp_path / "here"
    shutil.copytree(pictures, root)
    done, first = search(root, "first")
    assert (done.status, done.err) == (0, "")
    lists = {part: (first / f"{part}.txt").read_text().split() for part in ("weight", "architecture")}
    assert not set(lists["weight"]) & set(lists["architecture"])
    assert all((root / name).is_file() for names in lists.values() for name in names)
    for names, count in zip(lists.values(), (8, 2), strict=True):
        assert sorted(name.split("/")[1] for name in names) == ["cat"] * count + ["dog"] * count

    # The same pictures elsewhere, and a seed that would have drawn others.
    given = [f"dataset.lists.{part}={first / part}.txt" for part in lists]
    done, second = search(pictures, "second", "split_seed=7", *given)
    assert (done.status, done.err) == (0, "")
    for key in ("split_hash", "split_files_hash"):
        assert summary(first)[key] == summary(second)[key]
    for part in lists:
        assert (first / f"{part}.txt").read_bytes() == (second / f"{part}.txt").read_bytes()

    # As many pictures of the same classes, but others.
    for path in (root / "train" / "cat").iterdir():
        path.rename(path.with_name(f"{path.stem}x.JPEG"))
    done = run("search", f"resume={first}", "trainer.max_epochs=2", "resume_schedule=restart")
    assert done.status == 2 and "weight.txt: the run was started on other image files" in done.err


def test_lists_that_name_no_training_image(search, pictures, tmp_path):
    for part, name in (("weight", "train/cat/00.JPEG"), ("architecture", "val/cat/00.JPEG")):
        (tmp_path / f"{part}.txt").write_text(f"{name}\n")
    given = [f"dataset.lists.{part}={tmp_path / part}.txt" for part in ("weight", "architecture")]
    done, folder = search(pictures, "none", *given)
    assert done.status == 2 and not (folder / "config.yaml").exists()
    assert "1 image (val/cat/00.JPEG) is not among the training images" in done.err


def test_images_in_memory_take_no_lists(run, tiny, tmp_path):
    done = run("search", *tiny, "+dataset.lists={weight:a,architecture:b}", f"hydra.run.dir={tmp_path}")
    assert done.status == 2 and "dataset.lists: this data set is no folder of image files" in done.err


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_file_ends_the_run_with_its_name(search, pictures, tmp_path, workers):
    root = tmp_path / "damaged"
    shutil.copytree(pictures, root)
    paths = sorted((root / "train").rglob("*.JPEG"))
    looked_at = {number * (len(paths) - 1) // (SAMPLES - 1) for number in range(SAMPLES)}
    for path in (path for number, path in enumerate(paths) if number not in looked_at):
        path.write_bytes(path.read_bytes()[:400])
    done, folder = search(root, "broken", f"dataset.num_workers={workers}")
    assert done.status == 2
    assert f"{root}/train/" in done.err and "cannot be decoded: damaged" in done.err
    assert summary(folder)["status"] == "failed"


def test_a_first_file_that_is_damaged_is_named_before_the_run(search, pictures, tmp_path):
    root = tmp_path / "damaged"
    shutil.copytree(pictures, root)
    (root / "train/cat/00.JPEG").write_bytes(b"")
    done, folder = search(root, "broken")
    assert done.status == 2 and f"{root}/train/cat/00.JPEG cannot be decoded" in done.err
    assert not (folder / "config.yaml").exists()


def test_an_evaluation_takes_the_width_that_its_budget_allows(run, tmp_path):
    tiny = ("trainer.limit_train_batches=1", "trainer.limit_test_batches=1", "recipe.num_cells=3")
    tiny += ("trainer.max_epochs=1", "genotype=DARTS_V2", "recipe.init_channels=64")
    folder = tmp_path / "a"
    done = run("evaluate", *tiny, "budget.params=20000", f"hydra.run.dir={folder}")
    assert (done.status, done.err) == (0, "")
    found = summary(folder)
    width = found["init_channels"]
    assert found["params"] <= found["budget_params"] == 20000
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert config["recipe"]["init_channels"] == width < 64
    sizes = ("dataset=digits", "recipe.num_cells=3", f"recipe.init_channels={width + 2}", "format=json")
    done = run("cost", "genotype=DARTS_V2", *sizes)
    assert json.loads(done.out)["params"] > 20000

    done = run("evaluate", f"resume={folder}", "trainer.max_epochs=2", "resume_schedule=restart")
    assert (done.status, done.err) == (0, "")
    assert {key: summary(folder)[key] for key in ("init_channels", "budget_params", "params")} == {
        key: found[key] for key in ("init_channels", "budget_params", "params")
    }


@pytest.mark.parametrize(
    ("budget", "message"),
    [
        ("budget.params=100", "budget: params=100 is below the narrowest network"),
        ("budget.macs=-1", "budget.macs=-1: must be null or positive"),
    ],
)
def test_a_budget_that_no_network_meets(run, tmp_path, budget, message):
    done = run("evaluate", "genotype=DARTS_V2", budget, f"hydra.run.dir={tmp_path / 'a'}")
    assert done.status == 2 and message in done.err and not (tmp_path / "a" / "config.yaml").exists()
