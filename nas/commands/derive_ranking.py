"""By what `nas.derive` ranks: the learnt distribution, the trained supernet, or a zero-cost measure."""

import math
from typing import Any, Protocol

from omegaconf import DictConfig

from nas.analysis.metrics import ACCURACY, OF_TASKS
from nas.analysis.sampling import Architecture
from nas.commands.rating import measures_of, rater_of, reads_images, split_of
from nas.engine.run_folder import RunFolder, split_hash
from nas.engine.stages import space_of_stage
from nas.errors import require
from nas.measure.inheritance import Inheritance, load_part
from nas.running.config import plain, typed_keys

PROBABILITY, SUPERNET = "probability", "supernet"


class Ranking(Protocol):
    """What orders architectures.

    Attributes:
        label: what the score is, with its unit.
        evaluates: whether an architecture has a score only once it has been evaluated.
        done: what has been done with those that were evaluated, in words.
    """

    label: str
    evaluates: bool
    done: str

    def evaluate(self, one: Architecture) -> None:
        """Notes what the score of an architecture is made of."""
        ...

    def knows(self, one: Architecture) -> bool:
        """Whether an architecture has a score."""
        ...

    def score(self, one: Architecture) -> float:
        """Of an architecture that has one: higher is better."""
        ...


class ByProbability:
    """How likely the learnt distribution is to give an architecture."""

    label, evaluates, done = "log-probability (nats)", False, ""

    def evaluate(self, one: Architecture) -> None:
        """Nothing: it is known of every draw."""

    def knows(self, one: Architecture) -> bool:
        """Always."""
        return True

    def score(self, one: Architecture) -> float:
        """Of the operations of its edges."""
        return one.log_probability


class BySupernet:
    """What an architecture is worth with the weights that it inherits."""

    label, evaluates = "accuracy with inherited weights (%)", True

    def __init__(self, inheritance: Inheritance):
        self.inheritance = inheritance
        self.done = f"evaluated on {inheritance.num_images:,} images with inherited weights"

    def evaluate(self, one: Architecture) -> None:
        """Runs the supernet reduced to it."""
        one.accuracy = self.inheritance.accuracy(one.genotype)

    def knows(self, one: Architecture) -> bool:
        """Once it has been evaluated."""
        return one.accuracy is not None

    def score(self, one: Architecture) -> float:
        """In per cent."""
        assert one.accuracy is not None
        return 100 * one.accuracy


class ByMeasure:
    """A zero-cost measure of the evaluation network."""

    evaluates = True

    def __init__(self, name: str, rater: Any):
        self.name, self.rater = name, rater
        self.label, self.done = name, f"measured by {name}"

    def evaluate(self, one: Architecture) -> None:
        """Builds its network and measures it."""
        one.measured = self.rater(one.genotype)[self.name]

    def knows(self, one: Architecture) -> bool:
        """Once it has been measured, if the number is finite."""
        return one.measured is not None and math.isfinite(one.measured)

    def score(self, one: Architecture) -> float:
        """The measure's number."""
        assert one.measured is not None
        return one.measured


def check_typed(config: DictConfig) -> None:
    """Raises `ConfigError` for a typed key of a ranking that was not chosen."""
    measured = config.rank not in (PROBABILITY, SUPERNET)
    for group, used in (("supernet", config.rank == SUPERNET), ("zero_cost", measured)):
        typed = sorted(key for key in typed_keys() if key.startswith(f"{group}."))
        require(used or not typed, f"{', '.join(typed)}: without effect where rank={config.rank}")


def ranking_of(derivation: Any) -> Ranking:
    """What the key `rank` of a derivation stands for.

    Raises:
        ConfigError: there is no such ranking, or it cannot rank networks of this space.
    """
    config, space, domain = derivation.config, derivation.space, derivation.domain
    if config.rank == PROBABILITY:
        return ByProbability()
    if config.rank == SUPERNET:
        require(
            ACCURACY in OF_TASKS[domain.name],
            f"rank=supernet: it ranks by accuracy on images, and space {space.name} is for text; set "
            "rank=probability",
        )
        return BySupernet(_inheritance(derivation))
    measures = measures_of([config.rank], "rank", domain, (PROBABILITY, SUPERNET))
    split = _split(config, derivation.source) if reads_images(measures) else None
    settings = (config.zero_cost.batches, "zero_cost.batches", config.seed, derivation.prices)
    return ByMeasure(config.rank, rater_of(config, space, derivation.source, measures, split, *settings))


def _split(config: DictConfig, source: Any) -> Any:
    """The split of the search, of the images that it was searched on."""
    split = split_of(config, source)
    stored = split_hash(RunFolder(config.run), split.hash)
    require(
        stored == split.hash,
        f"run={config.run}: it searched on another split of the data (hash {stored[:12]}) than these "
        f"images give ({split.hash[:12]}); is dataset.root the same data?",
    )
    return split


def _inheritance(derivation: Any) -> Inheritance:
    config, method, space = derivation.config, derivation.method, derivation.space
    split = _split(config, derivation.source)
    partial = kept = None
    if method.stages is not None:
        # As it stood in the epoch of the checkpoint: pruned, and widened.
        stage, _ = method.stages.at(derivation.epochs - 1)
        partial, kept = method.stages[stage].partial, method.candidates.masks()
        space = space_of_stage(space, method, stage)
    inputs, options = derivation.domain.inputs(derivation.source), method.supernet_options
    supernet = space.supernet(inputs, partial, kept, **options)
    load_part(supernet, derivation.state, "supernet", derivation.checkpoint)
    return Inheritance(
        supernet,
        space.groups,
        derivation.source,
        split,
        config.dataset.batch_size,
        config.supernet.batches,
        config.supernet.recalibrate_batches,
        config.seed,
        plain(config.hardware),
    )
