"""Runs of seconds, for tests from Python: settings as the commands' `tiny`, and pictures of a program."""

import torch
from torch.utils.data import Dataset

import nas

SIZES = ["recipe.num_cells=3", "recipe.init_channels=2"]
STEPS = ["trainer.limit_train_batches=2"]
SPACE = ["space.num_cells=3", "space.num_nodes=2", "space.init_channels=2"]
# Derivation by draws needs a distribution, which warm-up would leave as it is.
WORDS = [*SPACE, *SIZES, *STEPS, "trainer.limit_val_batches=1"]


def search(data="digits", **options):
    """`nas.run_search` of a second; `more` are further overrides."""
    more = options.pop("more", [])
    options = {"epochs": 1, "batch_size": 16, "verbose": False} | options
    return nas.run_search(data, overrides=[*WORDS, *more], **options)


def evaluate(cell, data=None, **options):
    """`nas.run_evaluation` of a second."""
    more = options.pop("more", [])
    options = {"epochs": 1, "batch_size": 16, "verbose": False} | options
    return nas.run_evaluation(cell, data, overrides=[*STEPS, *more], **options)


class Pictures(Dataset):
    """Random pictures of three classes, as somebody's data set has them: uint8 [C, H, W] and a label."""

    def __init__(self, count=48, shape=(3, 8, 8), seed=0):
        generator = torch.Generator().manual_seed(seed)
        self.pixels = torch.randint(256, (count, *shape), generator=generator, dtype=torch.uint8)
        self.labels = [index % 3 for index in range(count)]

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        return self.pixels[index], self.labels[index]
