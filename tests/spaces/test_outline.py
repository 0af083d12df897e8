"""Networks on the meta device: they have the tensors that are built, and sizes beyond weights build none."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from nas.errors import ConfigError
from nas.formats.families import build
from nas.formats.weights import load_safetensors, save_safetensors
from nas.spaces.outline import bounded, check_outline, outline_of, shapes_of
from tests.formats.networks import built, step_of


@pytest.mark.parametrize("name", ["darts_reductions", "nasbench201", "dso"])
def test_an_outline_has_the_names_and_shapes_of_the_network(name):
    description, network = built(name)
    drawn = torch.random.get_rng_state()
    assert outline_of(lambda: build(description)) == shapes_of(network.state_dict())
    assert torch.equal(torch.random.get_rng_state(), drawn)


@pytest.mark.parametrize("name", ["DARTS_V1", "LSTM"])
def test_so_it_has_of_a_text(name):
    description, step, _ = step_of(name)
    assert outline_of(lambda: build(description)) == shapes_of(step.state_dict())


@pytest.mark.parametrize(
    ("name", "size"), [("darts_reductions", 10**9), ("nasbench201", 10**30), ("dso", 10**9), ("dso", -1)]
)
def test_a_hostile_size_allocates_nothing(name, size):
    description, network = built(name)
    shapes, places = shapes_of(network.state_dict()), set()
    for key, value in description.sizes.items():
        if isinstance(value, str):
            continue
        other = replace(
            description, sizes={**description.sizes, key: [size] if isinstance(value, list) else size}
        )

        def make(other=other):
            places.add(torch.empty(0).device.type)
            return build(other)

        with pytest.raises(ConfigError, match=r"^here \(") as told:
            check_outline(make, shapes, "here")
        assert "\n" not in str(told.value)
    assert places == {"meta"}


def test_a_file_that_describes_another_network_is_refused_before_one_is_built(tmp_path, monkeypatch):
    description, network = built("darts_reductions")
    file = tmp_path / "a.safetensors"
    save_safetensors(network, description, file)
    assert torch.equal(load_safetensors(file).classifier.weight, network.classifier.weight)
    for changed in ({"init_channels": 4096}, {"num_cells": 10**9}, {"init_channels": 5}):
        other = replace(description, sizes={**description.sizes, **changed})
        save_file(load_file(file), tmp_path / "b.safetensors", {"network": other.to_json()})
        with pytest.raises(ConfigError, match="not those of the network that its metadata describe"):
            load_safetensors(tmp_path / "b.safetensors")


def test_too_many_modules_are_refused_as_they_are_made():
    with (
        pytest.raises(ConfigError, match="here: its sizes stand for more than 9 modules"),
        bounded(modules=9, where="here: "),
    ):
        nn.Sequential(*(nn.ReLU() for _ in range(10)))
    nn.Sequential(*(nn.ReLU() for _ in range(400)))
