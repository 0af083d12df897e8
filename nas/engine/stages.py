"""From one stage of a progressive search to the next: a checkpoint of the one becomes a start of the other.

Between two stages candidates are dropped, and in a search with `method.stages` the others get more channels,
so the network changes its shape. A sparse method begins a stage every few epochs, without what has died.
The search runs stage by stage, and what happens between them happens to the checkpoint: it depends on nothing
but that file and the seed, so a search that was stopped there goes on as if it had not been.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR

from nas.analysis.sampling import one_hot
from nas.engine import checkpoints
from nas.engine.graphs import Recorder
from nas.engine.search_module import SearchModule, search_module
from nas.engine.tasks import Classification, Task
from nas.errors import ConfigError, require
from nas.methods.method import Method
from nas.spaces.space import Inputs, Space
from nas.spaces.supernet.growth import TensorMap, check_widening, growth_maps, inherit

# A stride between the seeds of stages, far above the number of seeds that anyone tries.
STAGE_SEEDS = 1_000_003


def attach(method: Method, space: Space, inputs: Inputs) -> Method:
    """Tells a method what it goes by in a space, before anything is built with it; returns it."""
    introduce(method, space, inputs)
    method.begin(space.clean)
    return method


def introduce(method: Method, space: Space, inputs: Inputs) -> None:
    """As `attach`, and drops nothing."""
    guards = {name: group.guards for name, group in space.groups.items()}
    method.derived = lambda scores: one_hot(space.derive(scores), space.groups)
    method.attach(lambda: space.costs(inputs), guards)
    if method.selection is not None:
        method.selection.attach(method)


@dataclass(frozen=True)
class Leg:
    """The part of a search that runs on one network.

    Attributes:
        index: of the stage, from 0.
        first: its first epoch.
        end: the epoch after its last.
    """

    index: int
    first: int
    end: int


def legs_of(method: Method, max_epochs: int) -> list[Leg]:
    """The legs of a search, in order; one for a search without stages.

    Raises:
        ConfigError: the stages do not fill the search.
    """
    bounds = [0, *method.changes(max_epochs), max_epochs]
    return [Leg(index, first, end) for index, (first, end) in enumerate(pairwise(bounds))]


def space_of_stage(space: Space, method: Method, index: int) -> Space:
    """The space with the depth of a stage; itself for a search of one piece."""
    return space if method.stages is None else space.deepened(method.stages[index].cells)


class StageBuilder:
    """Builds the network of every stage and takes a search from one to the next.

    Args:
        space: builds supernets.
        method: owns alpha, the masks and the list of stages; `attach` has told it of the space.
        inputs: what the space's networks are sized by.
        seed: of the channels that are copied.
        execution: applies the hardware's options to a network.
        task: what is learnt.
        graph: whether steps are recorded and repeated.
        precision: of the search, `hardware.precision`; None where it goes on from no checkpoint.
    """

    def __init__(
        self,
        space: Space,
        method: Method,
        inputs: Inputs,
        seed: int,
        execution: Callable[[nn.Module], nn.Module],
        task: Task | None = None,
        graph: bool = False,
        precision: str | None = None,
    ):
        self.space = space
        self.precision = precision
        self.graph = graph
        self.method = method
        self.inputs = inputs
        self.task = Classification() if task is None else task
        self.seed = seed
        self.execution = execution

    def supernet(self, index: int) -> nn.Module:
        """The network of a stage, holding the candidates that the method's masks keep now.

        Raises:
            ConfigError: the stage's K does not divide the channels.
        """
        kept = self.method.kept()
        whole = all(bool(mask_EO.all()) for mask_EO in kept.values())
        return self.execution(self._sized(index, None if whole else kept))

    def _sized(self, index: int, kept: dict[str, Tensor] | None = None) -> nn.Module:
        options: dict[str, Any] = self.method.supernet_options
        if self.method.stages is None:
            return self.space.supernet(self.inputs, kept=kept, **options)
        partial = self.method.stages[index].partial
        try:
            space = space_of_stage(self.space, self.method, index)
            return space.supernet(self.inputs, partial=partial, kept=kept, **options)
        except ConfigError as error:
            # A space knows the number by its own key, and a depth as that of any stage.
            own = f"method.stages[{index}]"
            words = str(error).replace("space.partial=", f"{own}.partial=", 1)
            words = words.replace("method.stages: cells=", f"{own}.cells=", 1)
            raise ConfigError(words) from error

    def check(self) -> None:
        """Builds every stage's network on no device, so that sizes which do not fit are found at once.

        Raises:
            ConfigError: one cannot be built, the space has a K of its own, which no stage would use, or so
                few candidates are kept that nothing is left to derive from; or the space's supernets do not
                do what the method asks of them.
        """
        space, method = self.space, self.method
        partial = getattr(space, "partial", 1)
        require(
            space.single_paths or not method.relaxation.one_path,
            f"method={method.name}: runs the drawn candidate of each edge alone, which supernets of "
            f"space={space.name} do not (their class says single_paths = False)",
        )
        require(
            space.weighs_edges or method.edges is None or (partial == 1 and method.stages is None),
            f"method.edges: supernets of space={space.name} do not weigh the channels that go past the "
            "candidates (their class says weighs_edges = False); null, or space.partial=1",
        )
        if self.method.stages is None:
            return
        require(
            partial == 1,
            f"space.partial={partial}: a search in stages takes K from method.stages[i].partial; set it "
            "there, and space.partial=1",
        )
        chosen = sum(len(list(cell.edges)) for _, cell in self.space.derive(self.method.scores()).cells)
        edges = sum(len(group.edges) for group in self.space.groups.values())
        require(
            chosen == edges or all(stage.keep != 1 for stage in self.method.stages.stages),
            f"method.stages: keep=1: space {self.space.name} also chooses among edges by the weight of their "
            "best candidate, and a single one always has weight 1; keep at least 2",
        )
        with torch.device("meta"), torch.random.fork_rng(devices=[]):
            networks = [self._sized(index) for index in range(len(self.method.stages))]
        for (before, after), stage in zip(pairwise(networks), self.method.stages.stages[1:], strict=True):
            if not stage.fresh:
                check_widening(before, after)

    def check_schedule(self) -> None:
        """Makes a second stage's learning rates once, which would otherwise be refused when it begins.

        Raises:
            ConfigError: the schedule does not go on from stage to stage as configured.
        """
        later = () if self.method.stages is None else self.method.stages.stages[1:]
        if not all(stage.fresh for stage in later):
            build, schedule = self.method.weight_optimizer, self.method.weight_scheduler
            assert build is not None and schedule is not None  # a method with stages trains
            first, second = (build([nn.Parameter(torch.zeros(1))]) for _ in range(2))
            self.method.stage_scheduler(second, schedule(first))

    def module(self, index: int) -> SearchModule:
        """The search of a stage."""
        module = search_module(self.supernet(index), self.method, self.task)
        if self.graph:
            module.search_step.recorder = Recorder()
        return module

    def start(self, leg: Leg) -> SearchModule:
        """The search of the first stage, whose start may be pruned as well."""
        if leg.index == 0 and self.method.stages is not None:
            self.method.leave(0, self.space.clean)
        return self.module(leg.index)

    def resume(self, leg: Leg, checkpoint: Path, epochs_done: int) -> tuple[SearchModule, Path]:
        """The search of a leg that goes on from a checkpoint, which may be of the leg before.

        Returns:
            The module, and a checkpoint of its own shape.

        Raises:
            ConfigError: the checkpoint does not fit.
        """
        content = checkpoints.load(checkpoint)
        masks = {k[7:]: v for k, v in content["state_dict"].items() if k.startswith("method.")}
        checkpoints.load_into(self.method, masks, checkpoints.UNFIT.format(path=checkpoint))
        if epochs_done > leg.first or leg.index == 0:
            module = self.module(leg.index)
            checkpoints.check_fits(module, checkpoint, self.precision)
            return module, checkpoint
        require(
            epochs_done == leg.first,
            f"checkpoint {checkpoint}: stage {leg.index + 1} starts from epoch {leg.first}, whose checkpoint "
            f"cannot be read; resume the run, which repeats what came after {epochs_done} epochs",
        )
        before = self.module(leg.index - 1)
        checkpoints.check_fits(before, checkpoint, self.precision)
        module, grown = self.grow(before, content, leg.index)
        # Beside the epochs' checkpoints and not one of them: it can be made again from the last of those.
        path = checkpoint.with_name("stage.ckpt")
        # Every process of a run makes it, all alike.
        checkpoints.save(grown, path)
        return module, path

    def grow(
        self, before: SearchModule, checkpoint: dict[str, Any], index: int
    ) -> tuple[SearchModule, dict[str, Any]]:
        """Prunes a search at the end of a stage, and widens it or begins anew where its stages say so.

        Args:
            before: the search so far, with the checkpoint's parameters.
            checkpoint: what Lightning saved.
            index: of the stage that begins.

        Returns:
            The new search, and the checkpoint in its shape.
        """
        if self.method.stages is not None and self.method.stages[index].fresh:
            after, optimizers, scheduler = self._afresh(index)
            # New weights have not been found to disagree.
            rested: dict[str, Any] = {"frozen": []} if "frozen" in checkpoint else {}
            return after, _started(checkpoint | rested, after, optimizers, scheduler)
        optimizers, (schedule,) = before.configure_optimizers()
        for optimizer, state in zip(optimizers, checkpoint["optimizer_states"], strict=True):
            optimizer.load_state_dict(state)
        schedule.load_state_dict(checkpoint["lr_schedulers"][0])
        weight_optimizer, architecture_optimizer = optimizers
        self.method.leave(index, self.space.clean, architecture_optimizer)
        after = self.module(index)
        generator = torch.Generator().manual_seed(self.seed + STAGE_SEEDS * index)
        maps = growth_maps(before.supernet, after.supernet, generator, self.method.widen)
        after.supernet.load_state_dict(inherit(before.supernet.state_dict(), after.supernet, maps))
        assert self.method.weight_optimizer is not None
        optimizer = self.method.weight_optimizer(after.weights)
        _carry(weight_optimizer, before.supernet, optimizer, after.supernet, maps)
        for old, new in zip(weight_optimizer.param_groups, optimizer.param_groups, strict=True):
            if "weight_decay" in old:  # what a monitor has made of it
                new["weight_decay"] = old["weight_decay"]
        scheduler = self.method.stage_scheduler(optimizer, schedule)
        return after, _started(checkpoint, after, [optimizer, architecture_optimizer], scheduler)

    def _afresh(self, index: int) -> tuple[SearchModule, list[torch.optim.Optimizer], Any]:
        """The search of a stage whose weights and alpha are drawn anew, by the seed and the stage alone."""
        assert self.method.stages is not None
        self.method.leave(index, self.space.clean)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed + STAGE_SEEDS * index)
            after = self.module(index)
            self.method.renew()
        optimizers, (scheduler,) = after.configure_optimizers()
        if isinstance(scheduler, CosineAnnealingLR):
            scheduler.T_max = self.method.stages[index].epochs
        return after, optimizers, scheduler


def _started(
    checkpoint: dict[str, Any],
    after: SearchModule,
    optimizers: Sequence[torch.optim.Optimizer],
    scheduler: Any,
) -> dict[str, Any]:
    """A checkpoint of the stage before as a start of the next."""
    return checkpoint | {
        "state_dict": after.state_dict(),
        "optimizer_states": [optimizer.state_dict() for optimizer in optimizers],
        "lr_schedulers": [scheduler.state_dict()],
    }


def _carry(
    old: torch.optim.Optimizer,
    before: nn.Module,
    new: torch.optim.Optimizer,
    after: nn.Module,
    maps: dict[str, TensorMap],
) -> None:
    """Copies what the old optimiser remembers of each weight, momentum for one, through the weight's map."""
    remembered = {name: (weight, old.state.get(weight, {})) for name, weight in before.named_parameters()}
    for name, parameter in after.named_parameters():
        weight, state = remembered[name]
        for key, value in state.items():
            same = isinstance(value, torch.Tensor) and value.shape == weight.shape
            new.state[parameter][key] = maps[name](value) if same and name in maps else value
