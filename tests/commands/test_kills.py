"""Wherever a run is killed, between which two writes of its own, resumed it ends as one that was not."""

import json

import pytest

from tests.commands.snapshots import at_each_write, left_behind
from tests.commands.test_dsonas import SEARCH as SPARSELY
from tests.commands.test_dsonas import SMALL as SPARSE
from tests.commands.test_resume import EVALUATE, SEARCH, STAGED, assert_same_end

CURVATURE = ("analysis.hessian.every=2", "analysis.hessian.batches=1")
TEXT = (
    "space=darts_rnn",
    "dataset=wikitext_mini",
    "dataset.fraction=0.1",
    "trainer.limit_train_batches=4",
    "trainer.limit_val_batches=2",
    "trainer.max_epochs=3",
    "trainer.enable_progress_bar=false",
)
CELLS201 = tuple(one for one in SEARCH if not one.startswith(("recipe.", "space.num_nodes"))) + (
    "space=nasbench201",
    "recipe=nasbench201",
    "recipe.init_channels=4",
)
# Command, overrides, and the writes at which it is killed: the file, which of its writes, before or after its
# renaming.
KINDS = {
    "darts": (
        "search",
        (*SEARCH, *CURVATURE, "method=darts1"),
        [("metrics.csv", -1, "before"), ("epoch=0001.ckpt", 0, "after")],
    ),
    "evaluation": (
        "evaluate",
        (*EVALUATE, "dataset.valid=0.2"),
        [("config.yaml", 0, "after"), ("metrics.csv", 2, "after"), ("epoch=0003.ckpt", 0, "before")],
    ),
    "nasbench201": (
        "search",
        (*CELLS201, *CURVATURE, "method=drnas_nb201"),
        [("epoch=0003.ckpt", 0, "after")],
    ),
    "stages": (
        "search",
        (*STAGED, *CURVATURE),
        [("stage.ckpt", 0, "before"), ("summary.json", -1, "before")],
    ),
    "sparse": ("search", (*SPARSE, *SPARSELY), [("sparsity.csv", -1, "before")]),
    "words": (
        "search",
        (*TEXT, "space.hidden_size=8", "dataset.batch_size=16"),
        [("epoch=0002.ckpt", 0, "before")],
    ),
    "evaluated words": (
        "evaluate",
        (*TEXT, "genotype=DARTS_V2", "recipe.hidden_size=8", "trainer.limit_test_batches=4"),
        [("best.pt", -1, "before"), ("epoch=0003.ckpt", 0, "after")],
    ),
}


def killed(taken, name, which, when):
    """The folder as a kill leaves it before or after a write of a file."""
    return [folder for file, moment, folder in taken if (file, moment) == (name, when)][which]


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_that_is_killed_at_a_write_ends_the_same(run, monkeypatch, tmp_path, kind):
    name, overrides, moments = KINDS[kind]
    whole = tmp_path / "whole" / "run"
    with at_each_write(monkeypatch, whole, tmp_path / "killed") as taken:
        done = run(name, *overrides, f"hydra.run.dir={whole}")
    assert (done.status, done.err) == (0, "")
    assert left_behind(whole) == []
    for file, which, when in moments:
        folder = killed(taken, file, which, when)
        assert when == "after" or any("tmp" in one for one in left_behind(folder))
        done = run(name, f"resume={folder}")
        assert (done.status, done.err) == (0, ""), (file, when, done.out)
        assert_same_end(name, whole, folder)
        assert left_behind(folder) == [], (file, when)


def test_an_evaluation_without_its_genotype_is_resumed_from_what_its_configuration_names(run, tmp_path):
    """As an earlier version left it that was killed between config.yaml and genotype.json."""
    folder = tmp_path / "run"
    assert run("evaluate", *EVALUATE, "trainer.max_epochs=1", f"hydra.run.dir={folder}").status == 0
    genotype = (folder / "genotype.json").read_bytes()
    for path in ("genotype.json", "summary.json", "metrics.csv"):
        (folder / path).unlink()
    for path in (folder / "checkpoints").iterdir():
        path.unlink()
    done = run("evaluate", f"resume={folder}")
    assert (done.status, done.err) == (0, "")
    assert (folder / "genotype.json").read_bytes() == genotype
    assert json.loads((folder / "summary.json").read_text())["status"] == "finished"
