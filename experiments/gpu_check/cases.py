"""What is checked on a GPU: a few searches, built of torch, numpy and this tree alone.

Numbers are those of `conf/method`, which needs Hydra to be read; a test compares.
"""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from nas.engine.decay import sgd_on_matrices
from nas.engine.machine.execution import apply_execution
from nas.engine.tasks import Classification, Language, Task
from nas.measure.bench_text import LiteralWithMasks, text_batch
from nas.measure.original_steps import OriginalSteps
from nas.measure.steps import Numerics, SearchSteps
from nas.methods.method import Method
from nas.methods.proximal import AcceleratedProximalGradient
from nas.methods.regularizers import Anchor
from nas.methods.relaxations import Dirichlet, Relaxation, ScalingFactors, Softmax
from nas.methods.sparse import SparseMethod
from nas.methods.updates import FirstOrder
from nas.spaces.darts.space import DartsSpace
from nas.spaces.dso.space import DsoSpace
from nas.spaces.nasbench201.space import NasBench201Space
from nas.spaces.recurrent.space import RecurrentSpace
from nas.spaces.space import ImageInputs, Space, TextInputs

OPERATIONS = (
    "none", "max_pool_3x3", "avg_pool_3x3", "skip_connect", "sep_conv_3x3", "sep_conv_5x5", "dil_conv_3x3",
    "dil_conv_5x5",
)  # fmt: skip
# The options of hardware profiles that change how a network computes; `native` is of processors.
NARROW = MappingProxyType({"native": False, "wide": False, "recompute": False, "compile": False})
WAYS: Mapping[str, Mapping[str, bool]] = MappingProxyType(
    {
        "narrow": NARROW,
        "wide": {**NARROW, "wide": True},
        "recompute": {**NARROW, "wide": True, "recompute": True},
        "native": {**NARROW, "native": True},
    }
)


@dataclass(frozen=True)
class Case:
    """A search that is checked.

    Attributes:
        name: in tables.
        space: what is searched in.
        inputs: what its networks are sized by.
        method: space -> the method, new.
        batch: images or columns.
        load: import path of what gives a fast supernet the numbers of the literal one.
        partial: K.
        steps: of time, on text.
    """

    name: str
    space: Space
    inputs: Any
    method: Callable[[Space], Method]
    batch: int
    load: str
    partial: int = 1
    steps: int = 35

    @property
    def text(self) -> bool:
        """Whether it reads text."""
        return isinstance(self.inputs, TextInputs)

    def task(self) -> Task:
        """What is learnt."""
        return Language() if self.text else Classification()

    def batches(self, where: Numerics, size: int | None = None) -> tuple[Any, Any]:
        """Made-up batches of the two splits."""
        size = size or self.batch
        if self.text:
            drawn = [text_batch(where, self.steps, size, self.inputs.vocabulary, seed) for seed in (1, 2)]
        else:
            drawn = [where.batch(size, self.inputs, seed) for seed in (1, 2)]
        return drawn[0], drawn[1]

    def supernet(self, where: Numerics, way: str) -> nn.Module:
        """The network of a way of computing, on its device; equal weights each time."""
        torch.manual_seed(0)
        network = self.space.supernet(self.inputs, self.partial).to(where.device, where.dtype)
        return apply_execution(network, {**WAYS[way], "accelerator": where.device.type})

    def literal(self, where: Numerics) -> nn.Module:
        """The literal network of the tests; equal weights each time.

        Raises:
            ModuleNotFoundError: the tests are not there.
        """
        space: Any = self.space
        named = {
            "image_shape": getattr(self.inputs, "image_shape", None), "partial": self.partial,
            "vocabulary": getattr(self.inputs, "vocabulary", None),
        }  # fmt: skip
        torch.manual_seed(1)
        network = _build(space, named)
        return network.to(where.device, where.dtype)

    def loaded(self, supernet: nn.Module, literal: nn.Module) -> nn.Module:
        """The supernet with the literal one's numbers."""
        given = literal.literal if isinstance(literal, LiteralWithMasks) else literal
        found(self.load)(
            supernet, given.state_dict() if self.load.endswith("mapping.load_literal") else given
        )
        return supernet

    def search(self, where: Numerics, way: str = "recompute", size: int | None = None) -> SearchSteps:
        """The steps of the search."""
        supernet = self.supernet(where, way)
        return SearchSteps(supernet, self._method(), *self.batches(where, size), where, self.task())

    def original(self, where: Numerics, size: int | None = None) -> OriginalSteps:
        """The same as the literal network takes them."""
        literal = self.literal(where)
        return OriginalSteps(
            literal, self._method(), *self.batches(where, size), where, self.task(), alpha_gradients=True
        )

    def _method(self) -> Method:
        torch.manual_seed(3)
        method = self.method(self.space)
        guards = {name: group.guards for name, group in self.space.groups.items()}
        method.attach(lambda: self.space.costs(self.inputs), guards)
        method.begin_epoch(0, 50)
        return method

    def op_weights(self, where: Numerics) -> dict[str, Tensor]:
        """Positive rows that sum to one, of no method: {group: [E, O]}."""
        generator = torch.Generator().manual_seed(5)
        return {
            name: torch.randn(*group.shape, generator=generator, dtype=torch.float64)
            .softmax(-1).to(where.device, where.dtype).requires_grad_()
            for name, group in self.space.groups.items()
        }  # fmt: skip


def found(path: str) -> Any:
    """What an import path names."""
    module, name = path.rsplit(".", 1)
    return getattr(importlib.import_module(module), name)


def _build(space: Any, named: dict[str, Any]) -> nn.Module:
    target = found(space.reference)
    if isinstance(space, DartsSpace):
        sizes = (named["image_shape"], 10, space.num_cells, space.init_channels)
        return target(space.groups, *sizes, partial=named["partial"])
    if isinstance(space, NasBench201Space):
        sizes = (named["image_shape"], 10, space.cells_per_stage, space.init_channels)
        return target(space.groups, *sizes, named["partial"])
    if isinstance(space, DsoSpace):
        return target(space, named["image_shape"], 10)
    operations = space.groups["recurrent"].operations[0]
    literal = target(operations, named["vocabulary"], space.hidden_size, space.num_nodes)
    return LiteralWithMasks(literal, space.dropouts)


def _shapes(space: Space) -> dict[str, tuple[int, int]]:
    return {name: group.shape for name, group in space.groups.items()}


def _darts(space: Space, relaxation: Relaxation, lam: float = 0.0, rnn: bool = False) -> Method:
    """`conf/method/darts1.yaml`, `drnas_nb201.yaml` and `darts1_rnn.yaml`."""
    own: dict[str, Any] = (
        {"lr": 20.0, "momentum": 0.0, "weight_decay": 5e-7}
        if rnn
        else {"lr": 0.025, "momentum": 0.9, "weight_decay": 3e-4}
    )
    alpha: dict[str, Any] = (
        {"lr": 3e-3, "betas": (0.9, 0.999)} if rnn else {"lr": 3e-4, "betas": (0.5, 0.999)}
    )
    anchor = Anchor("l2", "objective", lam)
    return Method(
        "checked", _shapes(space), relaxation, FirstOrder(), {"anchor": anchor}, clip=0.25 if rnn else 5.0,
        weight_optimizer=partial(torch.optim.SGD, **own),
        architecture_optimizer=partial(torch.optim.Adam, weight_decay=0.0 if lam else 1e-3, **alpha),
    )  # fmt: skip


def _sparse(space: Space) -> Method:
    """`conf/method/dsonas.yaml`."""
    return SparseMethod(
        "checked", _shapes(space), ScalingFactors(), FirstOrder(), adaptive="flops", clip_value=2.0,
        weight_optimizer=partial(sgd_on_matrices, lr=0.1, momentum=0.9, nesterov=True, weight_decay=1e-4),
        architecture_optimizer=partial(AcceleratedProximalGradient, lr=0.1, momentum=0.9, clip=2.0),
    )  # fmt: skip


def cases(small: bool) -> list[Case]:
    """The searches of the papers, or the same with sizes for a processor."""
    pixels = 8 if small else 32
    images, words = ImageInputs((3, pixels, pixels), 10), TextInputs(50 if small else 10_000)
    batch = 4 if small else 64
    darts = partial(DartsSpace, "darts", OPERATIONS)

    def softmax(space: Space) -> Method:
        return _darts(space, Softmax())

    def dirichlet(space: Space) -> Method:
        return _darts(space, Dirichlet(), 1e-3)

    def on_text(space: Space) -> Method:
        return _darts(space, Softmax(), rnn=True)

    load = "tests.reference.mapping.load_literal"
    return [
        Case("darts", darts(num_cells=3 if small else 8, init_channels=4 if small else 16), images, softmax,
             batch, load),
        Case("drnas_stage1", darts(num_cells=3 if small else 20, init_channels=12 if small else 36), images,
             dirichlet, batch, load, partial=6),
        Case("nasbench201", NasBench201Space("nasbench201", cells_per_stage=1 if small else 5,
             init_channels=4 if small else 16), images, dirichlet, batch,
             "tests.reference.literal_nasbench201.load_literal"),
        Case("dsonas", DsoSpace("dso", levels=2 if small else 4, blocks_per_stage=(1, 1, 1) if small else
             (2, 2, 2), init_channels=4 if small else 16), images, _sparse, batch,
             "tests.reference.dso.load_literal"),
        Case("darts_rnn", RecurrentSpace("darts_rnn", hidden_size=8 if small else 300), words,
             on_text, batch, "tests.reference.recurrent.load_literal",
             steps=3 if small else 35),
    ]  # fmt: skip
