"""A search of any method of conf/ on the smallest network, without Lightning, a command or data.

What Lightning's loop and its callbacks do is done by hand: an epoch is seeded, its steps are taken, the
learning rate steps, the monitors are asked, and at the end architectures are compared.
"""

import copy
from pathlib import Path

import torch

from experiments.methods.matrix import build
from nas.engine import checkpoints
from nas.engine.stages import legs_of
from nas.engine.step import Frame
from nas.methods.monitors import Seen

EPOCHS = 4
SMALLEST = (
    "debug=fast", "dataset.batch_size=4", f"trainer.max_epochs={EPOCHS}", "hardware.precision=64-true",
    "hardware.native=false",
)  # fmt: skip
# So that what a schedule does is done within a few epochs, wherever a method has such a key.
SOON = {
    "warmup_epochs": lambda value: min(value, 1),
    "prune_every": lambda value: 2,
    "architecture_optimizer.lr": lambda value: 0.1,
    "monitors.agreement.steps": lambda value: 1,
    "monitors.agreement.threshold": lambda value: 0.5,
    "monitors.eigenvalue.window": lambda value: 1,
    "monitors.eigenvalue.every": lambda value: 1,
    "selection.count": lambda value: 3,
}


def smallest(configs, method):
    """The configuration of a method in NAS-Bench-201, in which all methods run that learn."""
    config = configs.of(method, "nasbench201")
    config.space.cells_per_stage = 1
    for stage in config.method.get("stages") or ():
        stage["freeze"] = min(stage.get("freeze", 0), 1)
    for path, sooner in SOON.items():
        node, keys = config.method, path.split(".")
        for key in keys[:-1]:
            node = node.get(key) if node is not None else None
        if node is not None and node.get(keys[-1]) is not None:
            node[keys[-1]] = sooner(node[keys[-1]])
    return config


class SmallSearch:
    """A search that can be saved at the end of an epoch, and gone on with by another one.

    Args:
        config: of the search.
        frame: runs the steps; None for a single process.
        part: which images of a batch are this process's.
        several: whether the draws are those that processes share.
    """

    def __init__(self, config, frame=None, part=slice(None), several=False):
        torch.manual_seed(0)
        self.frame, self.part, self.several = frame or Frame(), part, several
        self.built = build(config)
        self.method, self.stages = self.built.method.double(), self.built.stages
        self.stages.execution = lambda network: network.double()
        self.epochs = config.trainer.max_epochs
        self.legs = legs_of(self.method, self.epochs)
        self.batches = [self._batch(seed) for seed in (1, 2)]
        self.done, self.leg = 0, self.legs[0]
        self.take(self.stages.start(self.legs[0]))

    def _batch(self, seed):
        images, labels = self.built.batch(4, seed)
        return images.double()[self.part], labels[self.part]

    def take(self, module, checkpoint=None):
        """Goes on with a module, from where a checkpoint stands."""
        self.module, self.step = module, module.search_step
        self.step.frame = self.frame
        self.module.supernet.train()
        self.method.train()
        self.optimizers, (self.scheduler,) = module.configure_optimizers()
        if checkpoint is None:
            return
        module.load_state_dict(checkpoint["state_dict"])
        for optimizer, state in zip(self.optimizers, checkpoint["optimizer_states"], strict=True):
            optimizer.load_state_dict(state)
        self.scheduler.load_state_dict(checkpoint["lr_schedulers"][0])
        module.on_load_checkpoint(checkpoint)

    def state(self):
        """What Lightning would put into a checkpoint."""
        found = {
            "state_dict": self.module.state_dict(),
            "optimizer_states": [optimizer.state_dict() for optimizer in self.optimizers],
            "lr_schedulers": [self.scheduler.state_dict()],
        }
        self.module.on_save_checkpoint(found)
        return copy.deepcopy(found)

    def go_on(self, path: Path, done: int):
        """Stands where a checkpoint stands, with everything built anew."""
        leg = next(leg for leg in self.legs if leg.end > done)
        module, own = self.stages.resume(leg, path, done)
        self.take(module, checkpoints.load(own))
        self.done, self.leg = done, leg

    def epoch(self):
        """The next epoch; the network of a new leg is made as a resumed run makes it."""
        epoch, last = self.done, self.done + 1 == self.epochs
        self.method.begin_epoch(epoch, self.epochs)
        torch.manual_seed(100 + epoch)
        if self.several and self.method.draws_alike:
            self.step.shared = torch.Generator().manual_seed(100 + epoch)
        moves, weight_batch = self.method.moves(epoch, self.module.iteration), self.batches[0]
        if moves and self.method.joint:
            self.step.joint(weight_batch)
        else:
            if moves:
                self.step.architecture(weight_batch, self.batches[1])
            self.step.weight(weight_batch)
        self.module.iteration += 1
        selection = self.method.selection
        if selection is not None and selection.due(epoch, self.epochs):
            self._select(selection, last)
        self.scheduler.step()
        watch = self.module.monitoring
        needs = {need for one in watch.monitors.values() for need in one.needs}
        decay = self.optimizers[0].param_groups[0].get("weight_decay", 0.0)
        values = {need: 1.0 + (epoch * 7) % 3 for need in needs} | {"weight_decay": float(decay)}
        watch.end_epoch(Seen(epoch, last, values))
        self.done += 1

    def _select(self, selection, last):
        selection.begin(self.step.draw)
        for index, batch in enumerate(self.batches):
            selection.observe(index, lambda one, batch=batch: (self._score(batch, one), len(batch[1])))
            if selection.curved:
                selection.observe_curvature(
                    index, lambda batch=batch: (self.step.curvature(batch), len(batch[1]))
                )
        selection.decide(self.method, self.step.op_weights, last)

    def _score(self, batch, op_weights):
        loss = self.step.judge(batch, op_weights)[0].clone()
        average = self.frame.average()
        if average is not None:
            average([loss])
        return -float(loss)

    def run(self, folder: Path, save=(), until=EPOCHS):
        """Runs epochs, and saves after those named in files of the folder."""
        while self.done < min(until, self.epochs):
            leg = next(leg for leg in self.legs if leg.end > self.done)
            if leg is not self.leg:
                path = folder / "leg.ckpt"
                checkpoints.save(self.state(), path)
                self.go_on(path, self.done)
            self.epoch()
            if self.done in save:
                checkpoints.save(self.state(), folder / f"{self.done}.ckpt")
        return self
