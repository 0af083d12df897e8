"""Zero-cost measures as a configuration asks for them: which, of which networks, on which images."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from omegaconf import DictConfig

from nas.analysis.cost.complexity import count_cost
from nas.data.augment import BatchAugment
from nas.data.checks import read_images
from nas.data.split import Split
from nas.domains.choose import choose
from nas.domains.networks import sizes_of
from nas.engine.data_module import WEIGHT, search_split
from nas.errors import require, require_whole
from nas.genotype import Genotype
from nas.measure.inheritance import draw_batches
from nas.measure.steps import Batch, numerics
from nas.measure.zero_cost import MEASURES, Measure, find_measure
from nas.measure.zero_cost.rater import Rater
from nas.running.config import typed_keys

PRECISIONS = (torch.float32, torch.float64)


def split_of(config: DictConfig, source: Any) -> Split:
    """The split of a search with these settings: measures see images of its weight part."""
    data = config.dataset
    drawn = (data.split, data.split_ratio, data.fraction, config.split_seed, data.get("lists"))
    return search_split(source, *drawn)


def measures_of(
    names: Sequence[str], key: str, domain: Any, others: Sequence[str] = ()
) -> dict[str, Measure]:
    """The measures of these names, each once.

    Args:
        names: as `find_measure` takes them.
        key: the setting that names them.
        domain: of the networks.
        others: what else that setting takes, for the message.

    Raises:
        ConfigError: there is none of a name, or it cannot measure networks of this domain.
    """
    found = {name: find_measure(name, key, others) for name in dict.fromkeys(names)}
    able = ", ".join(name for name, one in MEASURES.items() if domain.name in one.domains)
    for name, measure in found.items():
        require(
            domain.name in measure.domains,
            f"{key}={name}: it measures networks that read {' or '.join(measure.domains)}, and those of this "
            f"space read {domain.name}, of which there are {able}",
        )
    return found


def reads_images(measures: dict[str, Measure]) -> bool:
    """Whether a measure looks at images of the data set."""
    return any(measure.batches for measure in measures.values())


def rater_of(
    config: DictConfig,
    space: Any,
    source: Any,
    measures: dict[str, Measure],
    split: Split | None,
    count: int,
    key: str,
    init_seed: int,
    price: Callable[[Genotype], tuple[int, int]] | None = None,
) -> Rater:
    """What measures the evaluation networks that a configuration sizes.

    Args:
        config: with dataset, recipe, hardware and seed.
        space: builds the networks.
        source: the data set.
        measures: by name.
        split: whose weight part the images come from; None where no measure reads any.
        count: batches of images, of which one is read where no measure reads more.
        key: the setting that says how many, for messages.
        init_seed: of the weights that every network starts with.
        price: parameters and multiply-adds of a network; None counts those of each.

    Raises:
        ConfigError: too few batches or images, a typed number of batches that no measure goes by, or
            numbers in which nothing can be measured.
    """
    where = numerics(config.hardware)
    require(
        where.autocast is None and where.dtype in PRECISIONS,
        f"hardware.precision={config.hardware.precision}: zero-cost measures compute in 32 or 64 bits",
    )
    require(
        not config.hardware.compile,
        "hardware.compile=true: measures look into a network, which a compiled one hides; set "
        "hardware.compile=false",
    )
    domain, sizes = choose(space, source), sizes_of(config, space)

    def build(genotype: Genotype) -> Any:
        return domain.network(space, genotype, source, False, sizes)

    inputs = domain.inputs(source)

    def counted(genotype: Genotype) -> tuple[int, int]:
        cost = count_cost(lambda: build(genotype), inputs.example)
        return cost.params, cost.macs

    require_whole(key, count, 1)
    several = any(measure.batches > 1 for measure in measures.values())
    require(
        several or key not in typed_keys(),
        f"{key}={count}: without effect, since none of {', '.join(measures)} reads more than one",
    )
    count = count if several else 1
    for name, measure in measures.items():
        require(count >= measure.batches, f"{key}={count}: {name} needs at least {measure.batches}")
    batches = [] if split is None else _batches(config, source, split, count, key, where)
    task: Any = domain.task(space, None, None, source)
    example = inputs.example().to(where.device)
    if example.is_floating_point():
        example = example.to(where.dtype)
    return Rater(
        measures,
        build,
        price or counted,
        lambda logits_BK, labels_B: task.loss(logits_BK, labels_B, train=False),
        example,
        batches,
        where,
        init_seed,
    )


def _batches(config: DictConfig, source: Any, split: Split, count: int, key: str, where: Any) -> list[Batch]:
    size, there = config.dataset.batch_size, len(split.weight)
    require(size >= 2, f"dataset.batch_size={size}: a measure compares images, of which it needs at least 2")
    require(
        count * size <= there,
        f"{key}={count}: batches of dataset.batch_size={size} need {count * size:,} images, and the weight "
        f"part holds {there:,}",
    )
    images = read_images(source, augmented=False)
    drawn = draw_batches(images, split.weight, size, count, config.seed, WEIGHT, where.device)
    augment = BatchAugment(source.mean, source.std).to(where.device)
    return [(augment(images_BCHW, False).to(where.dtype), labels_B) for images_BCHW, labels_B in drawn]
