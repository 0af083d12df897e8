"""The data of a search: images that rest on the device, factors that step with every x-th batch."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from torch import nn

from nas.data.digits import Digits
from nas.domains.images import Images
from nas.engine.data_module import EvaluationData, SearchData, evaluation_indices, search_split
from nas.errors import ConfigError

AUGMENT = {"pad": 1, "flip": True}


class Watching(nn.Module):
    """Stands for a search: a parameter, a count of steps and nothing else."""

    def __init__(self, iteration=0):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.iteration = iteration


class Running:
    """What a data module asks of Lightning's Trainer."""

    def __init__(self, iteration=0, world_size=1, rank=0):
        self.world_size, self.global_rank, self.training = world_size, rank, True
        self.lightning_module = Watching(iteration)
        self.strategy = type("Strategy", (), {"root_device": torch.device("cpu")})()
        progress = SimpleNamespace(current=SimpleNamespace(processed=0))
        self.fit_loop = SimpleNamespace(epoch_progress=progress)


def data_of(split_ratio=0.5, running=None, **arguments):
    source = Digits()
    split = search_split(source, "random", split_ratio, 1.0, 0)
    data = SearchData(source, 64, 0, AUGMENT, split=split, **arguments)
    data.prepare()
    data.trainer = running or Running()
    return data


def epoch_of(data, epoch=0):
    """Everything that an epoch's steps are given, augmented, flat; None where there is no batch."""
    loader = data.train_dataloader()
    flattened = loader.flattened if hasattr(loader, "flattened") else [loader]
    for one in flattened:
        one.sampler.set_epoch(epoch)
    torch.manual_seed(epoch)
    steps = [batch for batch, _, _ in loader] if hasattr(loader, "flattened") else list(loader)
    found = [data.on_after_batch_transfer(step, 0) for step in steps]
    return [
        part for step in found for batch in (step["weight"], step["architecture"]) for part in batch or [None]
    ]


def same(first, second):
    assert len(first) == len(second) > 0
    for a, b in zip(first, second, strict=True):
        assert (a is None and b is None) or torch.equal(a, b)


@pytest.mark.parametrize("weight_steps", [1, 4])
@pytest.mark.parametrize("world_size", [1, 2])
def test_images_at_rest_give_the_same_augmented_batches(weight_steps, world_size):
    found = [
        data_of(
            resident=resident,
            weight_steps=weight_steps,
            running=Running(world_size=world_size, rank=world_size - 1),
        )
        for resident in (False, True)
    ]
    for epoch in (0, 1):
        same(*(epoch_of(data, epoch) for data in found))


def test_validation_and_test_are_the_same_too():
    source = Digits()
    indices, _ = evaluation_indices(source, "stratified", 1.0, 0, valid=0.2)
    loaders = []
    for resident in (False, True):
        data = EvaluationData(source, 64, 0, AUGMENT, indices=indices, resident=resident)
        data.prepare()
        data.trainer = Running()
        loaders.append([*data.val_dataloader(), *data.test_dataloader()])
    for held, rested in zip(*loaders, strict=True):
        same(held, rested)


def test_images_are_moved_once_and_counted(monkeypatch):
    data = data_of(resident=True)
    moved = data._placed(data.train_images)
    assert data._placed(data.train_images) is moved
    assert data.resident_images() == len(data.train_images) + len(data.plain_images)
    assert data_of().resident_images() == 0


def test_files_stay_where_they_are():
    class Files:
        labels = torch.arange(3)

        def __len__(self):
            return 3

    data = data_of(resident=True)
    files = Files()
    assert data._placed(files) is files


def test_no_image_of_the_architecture_split_is_skipped():
    """4:1 with a fifth of the images: one pass over the weight split is one over the other."""
    data = data_of(split_ratio=0.8, weight_steps=4)
    loader = data.train_dataloader()
    given = [step["architecture"] for step in loader if step["architecture"] is not None]
    assert len(given) == len(loader) // 4
    labels = torch.cat([labels_B for _, labels_B in given])
    expected = torch.cat([labels_B for _, labels_B in loader.architecture])[: len(labels)]
    assert torch.equal(labels, expected)


def test_a_resumed_epoch_counts_from_the_steps_that_were_done():
    steps = len(data_of(weight_steps=5).train_dataloader())
    assert steps % 5, "or an epoch would begin where the first one did"
    resumed = epoch_of(data_of(weight_steps=5, running=Running(iteration=steps)), epoch=1)
    running = data_of(weight_steps=5)
    epoch_of(running, 0)
    running.trainer.lightning_module.iteration = steps
    same(epoch_of(running, 1), resumed)


@pytest.mark.parametrize("tests, held_out, told", [(1, 0, "1 test image,"), (2, 1, "1 held-out image,")])
def test_a_part_that_leaves_a_process_without_an_image_is_refused_before_the_training(tests, held_out, told):
    config = OmegaConf.create({"hardware": {"devices": 2, "num_nodes": 1}})
    data: Any = SimpleNamespace(tests=True, test_images=[0] * tests, valid_indices=[0] * held_out)
    with pytest.raises(ConfigError, match=rf"hardware\.devices: 2 processes, but {told} .*devices=1"):
        Images().check_evaluation(config, None, None, data, None)
