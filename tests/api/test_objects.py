"""Spaces and methods as objects, Lightning's loggers and callbacks, and what a folder says of them."""

import json
from functools import partial

import pytest
import torch
from pytorch_lightning import Callback
from pytorch_lightning.loggers import CSVLogger

import nas
from nas.methods.method import Method
from nas.methods.relaxations import Softmax
from nas.methods.schedules import Schedule
from nas.methods.updates import FirstOrder
from nas.spaces.nasbench201 import NasBench201Space
from tests.api.small import STEPS, evaluate

SMALL = [*STEPS, "trainer.limit_val_batches=1"]


class Cooling(Softmax):
    """A softmax whose temperature falls: somebody's own relaxation, with a state of its own."""

    def __init__(self):
        super().__init__()
        self.epochs = []

    def begin_epoch(self, epoch, max_epochs):
        self.epochs.append(epoch)
        super().begin_epoch(epoch, max_epochs)


def space(name="mine"):
    operations = ["none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3"]
    return NasBench201Space(name, operations, cells_per_stage=1, init_channels=4)


def method(relaxation=None):
    rates = {"lr": 0.1}
    return partial(
        Method,
        name="mine",
        relaxation=relaxation or Softmax(),
        update=FirstOrder(),
        schedule=Schedule(),
        weight_optimizer=partial(torch.optim.SGD, **rates),
        weight_scheduler=partial(torch.optim.lr_scheduler.ConstantLR),
        architecture_optimizer=partial(torch.optim.Adam, **rates),
    )


def search(**options):
    options = {"epochs": 1, "batch_size": 16, "verbose": False, "overrides": SMALL} | options
    return nas.run_search("digits", **options)


def test_a_space_and_a_method_of_the_program(tmp_path, run):
    relaxation = Cooling()
    found = search(space=space(), method=method(relaxation), folder=tmp_path / "run")
    assert found.status == "finished" and found.genotype.space == "nasbench201"
    assert relaxation.epochs == [], "a search works on a copy"
    # The same as by their names, where these are the same.
    words = ["space.cells_per_stage=1", "space.init_channels=4", "space.name=mine"]
    named = search(space="nasbench201", method=method(Cooling()), overrides=[*SMALL, *words])
    for table in ("metrics.csv", "architecture.csv", "genotype.json"):
        assert (named.folder / table).read_bytes() == (found.folder / table).read_bytes(), table
    trained = evaluate(found)
    assert 0 <= trained.accuracy <= 1
    # No command can build a space that is an object of this process.
    log = (trained.folder / "evaluate.log").read_text()
    assert "run folder:" in log and "nas.predict" not in log and "export:" not in log
    done = run("search", f"resume={json.dumps(str(found.folder))}")
    assert done.status == 2 and "object of a Python process" in done.err and done.err.count("\n") == 1
    again = nas.resume(found.folder, space=space(), method=method(), verbose=False, epochs=2)
    assert len(again.metrics) == 2


def test_what_is_no_space_or_method_is_refused():
    with pytest.raises(nas.ConfigError, match=r"space=int: must be a name, or a nas\.spaces\.Space"):
        search(space=3)
    with pytest.raises(nas.ConfigError, match="must be a name, or a function"):
        search(method=3)
    with pytest.raises(nas.ConfigError, match=r"must build a nas\.methods\.method\.Method, not dict"):
        search(space="nasbench201", method=lambda shapes, layout: {})
    with pytest.raises(nas.ConfigError, match="said by an argument already"):
        search(overrides=["trainer.max_epochs=3"])
    with pytest.raises(nas.ConfigError, match="must be a list of texts"):
        search(overrides="seed=1")
    with pytest.raises(nas.ConfigError, match="no logger of Lightning's"):
        search(space="nasbench201", logger=[3])
    for wrong in ([3], 3, "a", Callback):
        with pytest.raises(nas.ConfigError, match="no callback of Lightning's"):
            search(space=space(), callbacks=wrong)
    for wrong in (3, False, object()):
        with pytest.raises(nas.ConfigError, match="no logger of Lightning's"):
            search(space="nasbench201", logger=wrong)
    with pytest.raises(nas.ConfigError, match=r"trainer\.max_epochs=few: must be a whole number"):
        search(epochs="few")


def test_lightning_s_loggers_and_callbacks_take_part(tmp_path):
    class Counts(Callback):
        epochs = 0

        def on_train_epoch_end(self, trainer, pl_module):
            self.epochs += 1

    counts, loggers = Counts(), [CSVLogger(tmp_path, name=name, version="") for name in ("one", "two")]
    options = {"space": space(), "method": "darts1", "epochs": 2}
    first = search(logger=loggers[0], callbacks=[counts], **options)
    both = search(logger=loggers, callbacks=counts, **options)
    assert counts.epochs == 4
    for name in ("one", "two"):
        rows = (tmp_path / name / "metrics.csv").read_text().splitlines()
        assert "weight_loss" in rows[0] and len(rows) >= 3
        assert "summary/params" in rows[0] and "name: mine" in (tmp_path / name / "hparams.yaml").read_text()
    assert first.metrics == both.metrics
    found = evaluate(first, logger=loggers[1], more=["dataset.valid=0.2"])
    assert found.status == "finished" and "test_accuracy" in found.summary
