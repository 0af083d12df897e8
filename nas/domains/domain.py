"""A domain: images or text, and everything that follows from it, so that nobody else has to ask.

One object a domain. `nas.domains.choose` says which, from a space and a source, and refuses a mismatch.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from omegaconf import DictConfig
from torch import Tensor, nn

from nas.analysis.metrics import Metric
from nas.engine.tasks import Task
from nas.measure.steps import Numerics
from nas.measure.workload import Workload
from nas.methods.method import Method
from nas.spaces.space import Inputs, Space


class Domain(Protocol):
    """What is searched on.

    Attributes:
        name: `images` or `text`, as spaces and sources have it.
        unit: what multiply-adds are counted per, such as "image".
        sets: data sets that come with the project, in words.
        spaces: what reads them, as it is typed.
        varies: whether the number of batches is another in every epoch.
        layouts: names of a literal evaluation network's measurements, `{}` for the step -> whether it
            computes channels-last.
    """

    name: str
    unit: str
    sets: str
    spaces: str
    varies: bool
    layouts: Mapping[str, bool]

    def written_for(self, recipe: Mapping) -> bool:
        """Whether a recipe trains networks of this domain."""
        ...

    def inputs(self, source: Any) -> Inputs:
        """What the networks of a space are sized by."""
        ...

    def metrics(self, source: Any, asked: Sequence[str] = ()) -> tuple[Metric, ...]:
        """What is measured beside the loss, with what is asked of an evaluation; the first is what counts.

        Raises:
            ConfigError: what is asked for is not known, or cannot be measured on such data.
        """
        ...

    def task(
        self,
        space: Space,
        recipe: Mapping | None,
        weights: Tensor | None,
        source: Any,
        metrics: Sequence[Metric] | None = None,
    ) -> Task:
        """What is learnt, as a recipe or (a search: None) the space has it; weights are those of classes.

        Args:
            space: of the network.
            recipe: of an evaluation; None in a search.
            weights: of the classes; None for all alike.
            source: of the data.
            metrics: what an evaluation measures; None for what all runs do.
        """
        ...

    def network(self, space: Space, genotype: Any, source: Any, auxiliary: bool, sizes: Mapping) -> nn.Module:
        """The evaluation network of a genotype."""
        ...

    def search_data(self, config: DictConfig, source: Any, method: Method) -> Any:
        """Both parts of the training set, as Lightning reads them."""
        ...

    def note_numbers(self, method: str) -> None:
        """Says so where a method has the numbers of another domain, and a sister of it those of this."""
        ...

    def steps(
        self, config: Mapping, space: Space, method: Method, source: Any, data: Any
    ) -> list[int] | None:
        """Steps of every epoch of a search, on each process; None where nobody knows."""
        ...

    def check_search(
        self, config: Mapping, space: Space, method: Method, source: Any, data: Any
    ) -> float | None:
        """Refuses a search with shapes that fail in training, or that does not fit its device's memory.

        Returns:
            The bytes that it is estimated to need there; None where that is not looked at.
        """
        ...

    def evaluation_data(self, config: DictConfig, source: Any) -> tuple[Any, dict[str, Any]]:
        """The data of an evaluation, and which they are, with their `hash`."""
        ...

    def training_steps(self, config: Mapping, source: Any) -> tuple[int | None, str]:
        """Steps of a whole evaluation on each process, and how much it reads; None where nobody knows."""
        ...

    def largest_batch(self, config: Mapping, source: Any) -> int | None:
        """Images or columns that a process could train on at once, of all of a source; None for unknown."""
        ...

    def smallest_part(self, config: Mapping, source: Any) -> int | None:
        """Images or columns that a process has of the smaller part of a search; None where nobody knows."""
        ...

    def amount(self, source: Any) -> int | None:
        """Training images or words of a source; None where nobody knows."""
        ...

    def check_evaluation(
        self, config: DictConfig, network: nn.Module, source: Any, data: Any, task: Task
    ) -> None:
        """Refuses an evaluation with such shapes, or that does not fit."""
        ...

    def example(self, source: Any) -> str:
        """What `nas.predict` can be given: a file of the test part, or in angle brackets what is wanted."""
        ...

    def validates(self, dataset: Mapping) -> bool:
        """Whether an evaluation holds a validation part, by its configuration's `dataset`."""
        ...

    def evaluation(
        self, config: DictConfig, network: nn.Module, task: Any, scheduler: Callable, checkpoints: Path
    ) -> Any:
        """The training of an evaluation network, as a LightningModule."""
        ...

    def workload(self, config: Mapping, space: Space, method: Method, source: Any) -> Workload:
        """What a search of this configuration reads."""
        ...

    def batch(self, config: DictConfig, source: Any, where: Numerics, size: int, seed: int) -> Any:
        """A made-up batch, as the task reads it."""
        ...

    def noise(self, config: DictConfig, source: Any, where: Numerics, size: int, seed: int) -> Tensor:
        """What a network reads of such a batch."""
        ...

    def words(self, config: DictConfig) -> int | None:
        """Time steps of a piece; None where there are none."""
        ...

    def check_bench(self, settings: Mapping, space: Space, source: Any) -> None:
        """Refuses what has no meaning here, or cannot be measured."""
        ...

    def reference(self, literal: nn.Module, space: Space) -> nn.Module:
        """A literal supernet of the tests with our forward's signature."""
        ...

    def reference_network(
        self, literal: Callable, genotype: Any, network: nn.Module, source: Any, sizes: Mapping[str, Any]
    ) -> nn.Module:
        """A literal evaluation network of the tests that computes what ours, of these sizes, does."""
        ...
