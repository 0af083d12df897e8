"""The measurement of both pipelines: what it returns, not how fast this machine is."""

import pytest
import torch

from nas.data.augment import BatchAugment
from nas.data.sources import TensorImages
from nas.errors import ConfigError
from nas.measure.bench_data import measure


@pytest.mark.parametrize("channels", [1, 3])
def test_both_pipelines_are_measured_in_every_round(channels):
    images = TensorImages(torch.zeros(40, channels, 8, 8, dtype=torch.uint8), torch.arange(40) % 10)
    augment = BatchAugment([0.5] * channels, [0.5] * channels, pad=1, flip=True)
    result = measure(images, augment, batch_size=16, seconds=0.05, rounds=3)
    for name in ("batched", "per_image"):
        rates = result[name]
        assert 0 < rates["min"] <= rates["median"] <= rates["max"] and rates["n"] == 3
    assert result["ratio"] == result["batched"]["median"] / result["per_image"]["median"]


@pytest.mark.parametrize("arguments", [{"seconds": 0}, {"rounds": 0}, {"batch_size": 5}])
def test_a_measurement_needs_time_rounds_and_images(arguments):
    images = TensorImages(torch.zeros(4, 1, 8, 8, dtype=torch.uint8), torch.arange(4))
    with pytest.raises(ConfigError):
        measure(images, BatchAugment([0.5], [0.5]), **({"batch_size": 2} | arguments))
