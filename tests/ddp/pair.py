"""Two processes that go through all methods, a step of each half of the batch, and the first one alone.

    python -m tests.ddp.pair RANK STORE REPORT METHOD ...

The gradients of the weights are averaged over both, as DDP does it. As in `worker.py`, a norm of each image
by itself stands in for batch norm. The first process then takes the same steps with the whole batch and
writes, method by method, how far the two ends are from each other, or why several processes are refused.
"""

import json
import sys
import tempfile
from datetime import timedelta
from pathlib import Path

import torch
from omegaconf import OmegaConf
from torch import distributed

from experiments.methods.matrix import configurations
from nas.engine.step import Frame
from nas.errors import ConfigError
from tests.ddp.worker import image_norm
from tests.methods.small_search import SMALLEST, SmallSearch, smallest

# Whose masks are drawn image by image, so that each process draws for its own images.
BY_IMAGE = ("drop_path", "skip_dropout")
EPOCHS = 2


class Paired(Frame):
    """Averages over both processes what a step is taken with."""

    def __init__(self):
        self.search = None

    def backward(self, objective):
        objective.backward()
        alphas = self.search.step.alphas
        weights = [one for one in (*self.search.step.weights, *alphas) if one.grad is not None]
        average([weight.grad for weight in weights])

    def average(self):
        return average


def average(tensors):
    for tensor in tensors:
        distributed.all_reduce(tensor)
        tensor /= 2


def trained(config, folder, rank=None):
    """Alpha, weights and edges at the end of a search in one process, or of this one's half of two."""
    alone = rank is None
    frame = None if alone else Paired()
    half = slice(None) if alone else slice(2 * rank, 2 * rank + 2)
    search = SmallSearch(config, frame, half, several=not alone)
    if frame is not None:
        frame.search = search
        search.method.check_settings(True, 0)
    search.run(folder, until=EPOCHS)
    return {key: value for key, value in search.state()["state_dict"].items() if torch.is_tensor(value)}


def furthest(one, other):
    """The largest difference of two states."""
    assert one.keys() == other.keys()
    return max(
        float((one[key].double() - other[key].double()).abs().max()) for key in one if one[key].numel()
    )


def main():
    rank, store, report, methods = int(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), sys.argv[4:]
    torch.set_num_threads(1)
    torch.nn.functional.batch_norm = image_norm
    distributed.init_process_group(
        "gloo", init_method=f"file://{store}", rank=rank, world_size=2, timeout=timedelta(seconds=300)
    )
    found = {}
    with configurations(*SMALLEST) as configs, tempfile.TemporaryDirectory() as folder:
        for method in methods:
            config = smallest(configs, method)
            OmegaConf.set_struct(config, False)
            for key in BY_IMAGE:
                (config.method.get("regularizers") or {}).pop(key, None)
            try:
                ours = trained(config, Path(folder), rank)
            except ConfigError as error:
                found[method] = str(error)
                continue
            if rank == 0:
                found[method] = furthest(ours, trained(config, Path(folder)))
    if rank == 0:
        report.write_text(json.dumps(found))


if __name__ == "__main__":
    main()
