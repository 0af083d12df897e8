"""The accuracy of single architectures with the weights that they inherit from a trained supernet."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from nas.analysis.sampling import one_hot
from nas.data.augment import BatchAugment
from nas.data.checks import read_images
from nas.data.loaders import batches
from nas.data.sources import ImageSource
from nas.data.split import Split
from nas.engine.checkpoints import load_into
from nas.engine.data_module import ARCHITECTURE, WEIGHT
from nas.errors import require_whole
from nas.genotype import Genotype
from nas.measure.steps import Batch, apply_hardware, numerics
from nas.spaces.norm import BN_MOMENTUM
from nas.spaces.space import EdgeGroup


class Inheritance:
    """A supernet that is reduced to one architecture at a time by op weights of 0 and 1.

    Its weights are those of the mixture, and so are the statistics of its batch norms: they were gathered
    while every node summed all candidates, each by its op weight, and do not fit the sums of a few whole
    candidates. `recalibrate` batches of the weight split give every architecture statistics of its own.

    Args:
        supernet: `forward(images, op_weights)` with trained weights.
        groups: what rows and columns of the op weights mean.
        source: where the images come from.
        split: `architecture` is evaluated on, `weight` recalibrates; a fixed seeded draw of either.
        batch_size: images per batch.
        batches: batches to evaluate on; fewer where the split holds fewer.
        recalibrate: batches to gather statistics from, 0 to keep the mixture's.
        seed: of the draw of images.
        hardware: the `hardware` group.

    Attributes:
        num_images: how many images an accuracy is the share of.

    Raises:
        ConfigError: a number is out of range.
    """

    def __init__(
        self,
        supernet: nn.Module,
        groups: Mapping[str, EdgeGroup],
        source: ImageSource,
        split: Split,
        batch_size: int,
        batches: int,
        recalibrate: int,
        seed: int,
        hardware: Mapping[str, Any],
    ):
        check_batches(batches, recalibrate)
        self.where = numerics(hardware)
        self.supernet = apply_hardware(supernet, hardware)
        self.groups = groups
        self.seed = seed
        self.augment = BatchAugment(source.mean, source.std, channels_last=hardware["channels_last"]).to(
            self.where.device
        )
        images = read_images(source, augmented=False)
        device = self.where.device
        self._valid = draw_batches(
            images, split.architecture, batch_size, batches, seed, ARCHITECTURE, device
        )
        self._recalibration = draw_batches(
            images, split.weight, batch_size, recalibrate, seed, WEIGHT, device
        )
        self.num_images = sum(len(labels_B) for _, labels_B in self._valid)
        norms = [module for module in supernet.modules() if hasattr(module, "running_mean")]
        self._statistics = [norm.get_buffer(f"running_{name}") for norm in norms for name in ("mean", "var")]

    @torch.no_grad()
    def accuracy(self, genotype: Genotype) -> float:
        """Share of right answers of the reduced supernet on the architecture split, 0 to 1."""
        # The same noise for every architecture (space S4), whichever came before.
        torch.manual_seed(self.seed)
        weights = {
            name: weights_EO.to(self.where.device, self.where.dtype)
            for name, weights_EO in one_hot(genotype, self.groups).items()
        }
        if self._recalibration:
            self._gather(weights)
        self.supernet.eval()
        right = torch.zeros((), dtype=torch.int64, device=self.where.device)
        for images_BCHW, labels_B in self._valid:
            right += (self._logits(images_BCHW, weights).argmax(dim=1) == labels_B).sum()
        return int(right) / self.num_images

    def _gather(self, weights: Mapping[str, Tensor]) -> None:
        self.supernet.train()
        for statistics in self._statistics:
            statistics.zero_()
        for images_BCHW, _ in self._recalibration:
            self._logits(images_BCHW, weights)
        # A moving average that started at 0 has seen this share of its weights; Adam corrects its moments so.
        share = 1 - (1 - BN_MOMENTUM) ** len(self._recalibration)
        for statistics in self._statistics:
            statistics.div_(share)

    def _logits(self, images_BCHW: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
        x_BCHW = self.augment(images_BCHW, False).to(self.where.dtype)
        with self.where.cast():
            return self.supernet(x_BCHW, weights)


def draw_batches(
    images: Any, part: Tensor, batch_size: int, count: int, seed: int, stream: int, device: torch.device
) -> list[Batch]:
    """A fixed seeded draw of some images, as batches of (uint8 [B, C, H, W], labels [B]) on a device.

    Args:
        images: as `read_images` gives them.
        part: which of them may be drawn, int64 [N].
        batch_size: images of a batch.
        count: batches; fewer where the part holds fewer images, the last one smaller.
        seed: of the draw.
        stream: tells the loaders of a run apart.
        device: where the batches are kept.
    """
    if count == 0:
        return []
    # Shuffled, because a data set may be stored class by class; kept as bytes, read once for all.
    order = torch.randperm(len(part), generator=torch.Generator().manual_seed(seed))
    chosen = part[order][: count * batch_size]
    loader = batches(images, chosen, batch_size=batch_size, shuffle=False, seed=seed, stream=stream)
    return [(images_BCHW.to(device), labels_B.to(device)) for images_BCHW, labels_B in loader]


def check_batches(batches: int, recalibrate: int) -> None:
    """Refuses numbers of batches that cannot be read.

    Raises:
        ConfigError: nothing to evaluate on, or a negative number.
    """
    for key, value, least in (("batches", batches, 1), ("recalibrate_batches", recalibrate, 0)):
        require_whole(f"supernet.{key}", value, least)


def load_part(module: nn.Module, state: Mapping[str, Any], prefix: str, path: object) -> None:
    """Loads what a checkpoint holds under `prefix.` into a module.

    Raises:
        ConfigError: it is another network's, or of other edges or operations.
    """
    part = {key[len(prefix) + 1 :]: value for key, value in state.items() if key.startswith(f"{prefix}.")}
    load_into(module, part, f"checkpoint {path}: its {prefix} does not fit what config.yaml describes")
