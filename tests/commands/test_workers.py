"""Runs whose images are fetched by worker processes: numbers do not depend on them, stopped or not."""

import numpy as np
import pytest
from PIL import Image

from tests.commands.test_resume import assert_same_end, kill_at

# Image files, each cropped, mirrored and coloured when it is read, by a worker where there is one.
FILES = (
    "dataset=imagenet",
    "dataset.source.image_size=16",
    "dataset.source.num_classes=2",
    "dataset.batch_size=4",
    "recipe=digits",
    "recipe.num_cells=3",
    "recipe.init_channels=2",
    "trainer.max_epochs=3",
    "trainer.enable_progress_bar=false",
)
# More batches of weights than of architecture: a short pass begins again within the epoch.
SEARCH = (
    "space.num_cells=3",
    "space.num_nodes=2",
    "space.init_channels=2",
    "method=darts1",
    "dataset.split_ratio=0.7",
)
# An image that is drawn twice in an epoch is augmented in two ways.
EVALUATE = ("genotype=DARTS_V2", "recipe.drop_path=0.3", "dataset.valid=0.2", "dataset.sampling=balanced")
# In the second epoch of three, which a resumed run begins with.
STOPS = {
    "search": ("nas.engine.search_module", "SearchModule", "_weight_step", 11, ""),
    "evaluate": ("nas.engine.evaluation_module", "EvaluationModule", "training_step", 11, ""),
}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Two classes of 20 training and 4 test images, 40x36."""
    root = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for part, count in (("train", 20), ("val", 4)):
        for label in ("cat", "dog"):
            (root / part / label).mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(0, 256, (36, 40, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / part / label / f"{number:02}.png")
    return root


@pytest.mark.parametrize(("name", "overrides"), [("search", SEARCH), ("evaluate", EVALUATE)])
def test_a_run_killed_among_its_workers_ends_as_one_without_workers(run, pictures, tmp_path, name, overrides):
    given = (*FILES, f"dataset.root={pictures}", *overrides)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    done = run(name, *given, "dataset.num_workers=0", f"hydra.run.dir={whole}")
    assert (done.status, done.err) == (0, "")
    kill_at(tmp_path, STOPS[name], name, *given, "dataset.num_workers=2", f"hydra.run.dir={parts}")
    assert [path.name for path in (parts / "checkpoints").glob("epoch*")] == ["epoch=0001.ckpt"]
    assert run(name, f"resume={parts}").status == 0
    assert_same_end(name, whole, parts)
