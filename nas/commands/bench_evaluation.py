"""What `nas.bench` measures of evaluation networks: training and inference, beside the literal one."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from omegaconf import DictConfig
from torch import nn

from nas.analysis.cost.timing import Race
from nas.domains.networks import genotype_of, network_of, sizes_of
from nas.measure.literals import find_literal
from nas.measure.steps import EvaluationSteps, Numerics, apply_hardware, numerics
from nas.running.config import instantiate, plain

OWN = "our network, without our kernel"
KEY = "bench.evaluation"


class EvaluationRivals:
    """The evaluation network of a configuration and what it is measured against, on equal batches.

    That is the literal network of the tests, of images in both memory formats; where a space has none, our
    own network without our kernel.

    Args:
        config: of the run.
        space: of the genotype.
        source: the data set.
        domain: of both.
        weights: of the classes; None for all alike.

    Raises:
        ConfigError: the literal network cannot be imported.
    """

    def __init__(self, config: DictConfig, space: Any, source: Any, domain: Any, weights: Any):
        self.config = config
        self.space = space
        self.source = source
        self.domain = domain
        self.weights = weights
        self.hardware = plain(config.hardware)
        target = space.network_reference
        self.literal: Callable | None = None if target is None else find_literal(target, KEY)

    def enter(self, race: Race) -> dict[str, str]:
        """Warms everything up; returns which network the reference is, as a key of `bench.json`."""
        self._enter(race, "", self._steps(self.hardware))
        for name, channels_last in self.domain.layouts.items():
            hardware = self.hardware | {"channels_last": channels_last, "native": False}
            self._enter(race, name, self._steps(hardware, of_reference=True))
        return {"evaluation_reference": OWN if self.literal is None else self.space.network_reference}

    def _enter(self, race: Race, of: str, steps: EvaluationSteps) -> None:
        for step, run in (("evaluation", steps.train), ("inference", steps.infer)):
            name = of.format(step) if of else step
            print(f"warming up {name}", flush=True)
            race.enter(name, run)

    def _steps(self, hardware: Mapping[str, Any], of_reference: bool = False) -> EvaluationSteps:
        recipe, settings, where = self.config.recipe, self.config.bench, numerics(hardware)
        torch.manual_seed(self.config.seed)
        genotype = genotype_of(self.config, self.space, self.config.genotype)
        network = network_of(self.config, self.space, genotype, self.source)
        if of_reference and self.literal is not None:
            network = self._twin(genotype, network, where)
        if hasattr(network, "set_drop_path"):
            network.set_drop_path(settings.evaluation_drop_path)
        return EvaluationSteps(
            apply_hardware(network, hardware),
            instantiate(recipe.optimizer),
            self.domain.task(self.space, recipe, self.weights, self.source),
            recipe.clip,
            self.domain.batch(self.config, self.source, where, settings.evaluation_batch_size, 1),
            where,
            recipe.get("auxiliary_weight", 0.0),
        )

    def _twin(self, genotype: Any, network: nn.Module, where: Numerics) -> nn.Module:
        known = sizes_of(self.config, self.space) | {
            "auxiliary": self.config.recipe.get("auxiliary_weight", 0) > 0,
            "stem_multiplier": getattr(self.space, "stem_multiplier", None),
        }
        assert self.literal is not None
        twin = self.domain.reference_network(self.literal, genotype, network, self.source, known)
        # As people convert a network: its weights lie in that format too.
        return twin.to(memory_format=where.layout())
