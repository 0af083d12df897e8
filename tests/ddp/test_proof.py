"""N processes with a batch of B/N each are one process with B: the same alpha and weights to 1e-9.

In float64, with a norm of each image by itself in the place of batch norm (`worker.py`) and without
augmentation, which draws in each process. All runs of one number of processes share one start of torchrun;
docs/distributed.md says what is proved here.
"""

import csv
import json

import pytest
import torch

from nas.analysis.confusion import read_confusion
from nas.data.digits import Digits
from nas.engine.checkpoints import list_checkpoints, load
from tests.ddp.starting import CELLS, FORKED, LAUNCHER, command, jobs_file, started

BATCH = 16
ALIKE = (
    "hardware.precision=64-true",
    "dataset.augment.pad=0",
    "trainer.max_epochs=2",
    "trainer.limit_train_batches=2",
    "trainer.limit_val_batches=1",
)
SEARCH = (*CELLS, *ALIKE, "space.operations=[none,max_pool_3x3,skip_connect,sep_conv_3x3]")
DSO = (
    "space=dso_small",
    "space.levels=2",
    "space.init_channels=2",
    "recipe=dso_cifar10",
    "recipe.auxiliary_weight=0",
    "recipe.blocks_per_stage=[1,1,1]",
    "recipe.init_channels=4",
    "hardware.native=false",
    "trainer.enable_progress_bar=false",
    *ALIKE,
    "method=dsonas",
    "method.warmup_epochs=0",
    "method.prune_every=1",
    "method.init_scale=0.4",
    "method.gamma=1.0",
)
STAGES = "[{epochs: 1, partial: 2, keep: null, freeze: 0}, {epochs: 1, partial: 1, keep: 3, freeze: 0}]"
# Learning rates of alpha are high, so that an error in its gradient would move it far.
FAST = "method.architecture_optimizer.lr=0.1"
JOBS = {
    "darts1": ("search", (*SEARCH, "method=darts1", FAST)),
    "darts2 by finite difference": ("search", (*SEARCH, "method=darts2", FAST)),
    "darts2 exact": (
        "search",
        (*SEARCH, "method=darts2", "method.implicit=exact", FAST, "dataset.sampling=balanced"),
    ),
    "drnas in stages": (
        "search",
        (
            *SEARCH,
            "method=drnas_progressive",
            f"method.stages={STAGES}",
            "method.evaluation_draw=sample",
            FAST,
        ),
    ),
    "drnas of second order": (
        "search",
        (*SEARCH, "method=drnas", "method.update=unrolled", "method.warmup_epochs=0", FAST),
    ),
    "dsonas": ("search", DSO),
    "joint": ("search", (*DSO, "method.update=joint")),
    "evaluation": (
        "evaluate",
        (
            *(one for one in SEARCH if not one.startswith("space.")),
            "genotype=DARTS_V2",
            "dataset.valid=0.1",
            "dataset.sampling=balanced",
            "trainer.limit_val_batches=1.0",
            "metrics=[f1,auroc,kappa,mcc,top3]",
        ),
    ),
}
# With weights of the evaluation before it; a deeper network, so that some begin anew.
JOBS["rested evaluation"] = (
    "evaluate",
    (
        *JOBS["evaluation"][1],
        "recipe.num_cells=4",
        "trainer.max_epochs=2",
        "freeze_epochs=1",
        "recipe.optimizer.weight_decay=0.1",
    ),
)
FOUR = ("darts1", "drnas in stages", "dsonas")


def folder_of(job, root):
    return root / str(list(JOBS).index(job))


def overrides_of(job, processes, folder):
    name, overrides = JOBS[job]
    size = f"{'recipe' if name == 'evaluate' else 'dataset'}.batch_size={BATCH // processes}"
    kept = [one for one in overrides if not one.startswith("dataset.batch_size")]
    own = [size, f"hardware.devices={processes}", f"hydra.run.dir={folder_of(job, folder)}"]
    if job == "rested evaluation":
        own.append(f"init={folder_of('evaluation', folder)}")
    return name, [*kept, *own]


@pytest.fixture(scope="module")
def wanted(request):
    """The jobs that are compared in this session; all of them where it compares none."""
    asked = [item.callspec.params for item in request.session.items if hasattr(item, "callspec")]
    jobs = {one.get("job") for one in asked}
    jobs |= {"evaluation"} & {job.removeprefix("rested ") for job in jobs if job}
    return [job for job in JOBS if job in jobs] or list(JOBS)


@pytest.fixture(scope="module")
def one(wanted, tmp_path_factory):
    """The folder of the runs in one process, by torchrun too: a group of one."""
    folder = tmp_path_factory.mktemp("one")
    jobs = [overrides_of(job, 1, folder) for job in wanted]
    line = command(FORKED, 1, "tests.ddp.worker", "--jobs", str(jobs_file(folder, jobs)))
    done = started(folder, line)
    assert done.status == 0, f"{done.out}\n{done.err}"
    return folder


@pytest.fixture(scope="module")
def several(wanted, tmp_path_factory):
    """`several(processes) -> folder` of the runs by torchrun, each number once."""
    folders = {}

    def call(processes):
        if processes not in folders:
            folder = tmp_path_factory.mktemp("several")
            jobs = [overrides_of(job, processes, folder) for job in wanted if processes == 2 or job in FOUR]
            line = command(FORKED, processes, "tests.ddp.worker", "--jobs", str(jobs_file(folder, jobs)))
            done = started(folder, line)
            assert done.status == 0, f"{done.out}\n{done.err}"
            folders[processes] = folder
        return folders[processes]

    return call


def state(folder):
    checkpoint = load(list_checkpoints(folder / "checkpoints")[0])
    return {k: v for k, v in checkpoint["state_dict"].items() if isinstance(v, torch.Tensor)}


def table(folder, name="metrics.csv"):
    with (folder / name).open(newline="") as file:
        return list(csv.DictReader(file))


def assert_alike(one, other):
    expected, found = state(one), state(other)
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=1e-9, msg=lambda m, n=name: f"{n}: {m}")
    for ours, theirs in zip(table(one), table(other), strict=True):
        for key, text in ours.items():
            if text:
                assert float(theirs[key]) == pytest.approx(float(text), abs=1e-9), key


@pytest.mark.parametrize(("processes", "job"), [*((2, job) for job in JOBS), *((4, job) for job in FOUR)])
def test_several_processes_are_one_with_their_batches_together(one, several, processes, job):
    assert_alike(folder_of(job, one), folder_of(job, several(processes)))


def test_by_lightnings_launcher_too(one, tmp_path):
    _, overrides = overrides_of("darts1", 2, tmp_path)
    done = started(tmp_path, command(LAUNCHER, 2, "tests.ddp.worker", *overrides))
    assert done.status == 0, f"{done.out}\n{done.err}"
    assert_alike(folder_of("darts1", one), folder_of("darts1", tmp_path))


def test_the_runs_compared_do_what_they_are_to_prove(wanted, one):
    """Alpha moves far, candidates are dropped between stages and die, and the test set has been looked at."""
    second_order = ("darts2 by finite difference", "darts2 exact", "drnas of second order")
    for job in {"darts1", *second_order} & set(wanted):
        assert float(state(folder_of(job, one))["method.alpha.normal"].abs().max()) > 0.1, job
    masks = state(folder_of("drnas in stages", one))["method.candidates.mask_normal"]
    assert set(masks.sum(1).tolist()) == {3}
    for job in {"dsonas", "joint"} & set(wanted):
        first, last = (float(row["alive"]) for row in table(folder_of(job, one)))
        assert 0.1 < last < first <= 1 and first < 1, job
    summary = json.loads((folder_of("evaluation", one) / "summary.json").read_text())
    assert summary["test_accuracy"] > 0


def test_what_is_measured_counts_every_image_once(one, several):
    """143 images are held out and 360 tested: 72 and 71 in two processes, and not 72 twice."""
    ours, theirs = (
        json.loads((folder_of("evaluation", folder) / "summary.json").read_text())
        for folder in (one, several(2))
    )
    measures = ("loss", "accuracy", "balanced_accuracy", "f1", "auroc", "kappa", "mcc", "top3_accuracy")
    for key in (f"{part}_{measure}" for part in ("valid", "test") for measure in measures):
        assert theirs[key] == pytest.approx(ours[key], abs=1e-9), key
    pairs = [
        read_confusion(folder_of("evaluation", folder) / "confusion.csv") for folder in (one, several(2))
    ]
    # Balanced draws are of training alone: each test image is there once.
    assert pairs[0] == pairs[1] and pairs[0].part == "test"
    assert [sum(row) for row in pairs[0].counts] == Digits().test().labels.bincount().tolist()
