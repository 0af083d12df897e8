"""What DSO-NAS's supernet and evaluation networks have in common: layers, stems, and the order of blocks.

Conv-BN-ReLU order, no convolution bias, every operation applied once (Zhang et al., "Single Shot NAS via
Direct Sparse Optimization", sections 3.2 and 4.1, and the authors' release; `[C]` below).

Shapes: B batch, C channels, H W space.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas.errors import ConfigError, require
from nas.genotype_text import REDUCTION
from nas.spaces.modules import convolved
from nas.spaces.native.affine import SeparableAffine
from nas.spaces.native.library import Library
from nas.spaces.native.separable import SeparableSpec
from nas.spaces.supernet.candidate import Execution

BN_EPS = 2e-5  # [C]
BN_MOMENTUM = 0.1  # [C], MXNet's 0.9
SEPARABLE = {"sep_conv_3x3": 3, "sep_conv_5x5": 5, "sep_conv_7x7": 7}
POOLS = {"max_pool_3x3": 3, "avg_pool_3x3": 3, "max_pool_5x5": 5, "avg_pool_5x5": 5}
OPERATIONS = (*SEPARABLE, *POOLS)
REDUCTIONS = {"conv_1x1": 1, "conv_3x3": 3}  # the two branches of a reduction block -> kernel
# `space.fixed_scales` -> whether the scales learn, in a search, of reductions and shortcuts, and of the stem.
FIXED_SCALES = {"operations": (True, True), "code": (False, True), "all": (False, False)}


class Norm(nn.Module):
    """Batch normalisation that learns its bias and, on request, its scale.

    Keeps no counter of batches: with a fixed momentum nobody reads it.

    Args:
        channels: C.
        scale: whether the scale learns; otherwise it is 1, and no parameter: in a search, where a factor
            could hide in it (section 4.1).
    """

    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor
    eps = BN_EPS
    momentum = BN_MOMENTUM
    num_batches_tracked = None

    def __init__(self, channels: int, scale: bool = True):
        super().__init__()
        if scale:
            self.weight = nn.Parameter(torch.ones(channels))
        else:
            # torch has no second derivatives, and cuDNN no kernel, of a norm with a bias and no scale.
            self.register_buffer("weight", torch.ones(channels), persistent=False)
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x_BCHW: Tensor, gate: Tensor | None = None) -> Tensor:
        """Normalises; a `gate` of 0 (no dimension) makes the result zero, one of 1 leaves it as it is."""
        weight, bias = self.weight, self.bias
        if gate is not None:
            gate = gate.to(bias.dtype)
            weight, bias = weight * gate, bias * gate
        return F.batch_norm(
            x_BCHW, self.running_mean, self.running_var, weight, bias, self.training, self.momentum, self.eps
        )

    def extra_repr(self) -> str:
        return f"{len(self.bias)}, scale={isinstance(self.weight, nn.Parameter)}"


class ConvNormRelu(nn.Module):
    """Dense convolution, BN, ReLU; odd sides are rounded up where they are halved.

    Args:
        c_in, c_out: channels.
        kernel: its side.
        stride: of the convolution.
        scale: whether the BN's scale learns.
    """

    def __init__(self, c_in: int, c_out: int, kernel: int, stride: int = 1, scale: bool = True):
        super().__init__()
        self.conv = nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, bias=False)
        self.norm = Norm(c_out, scale)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """[B, C_in, H, W] -> [B, C_out, ceil(H/stride), ceil(W/stride)]."""
        return F.relu(self.norm(convolved(self.conv, x_BCHW)), inplace=True)


class Operation(nn.Module, ABC):
    """One operation of a block, [B, C, H, W] -> [B, C, H, W].

    Args:
        channels: C.
        scale: whether the BN's scale learns: not in a search.
    """

    def __init__(self, channels: int, scale: bool):
        super().__init__()
        self.norm = Norm(channels, scale)

    @abstractmethod
    def linear(self, x_BCHW: Tensor) -> Tensor:
        """What comes before the BN."""

    def before_relu(self, x_BCHW: Tensor) -> Tensor:
        """The operation without its ReLU; keeps nothing of its result for the backward pass."""
        return self.norm(self.linear(x_BCHW))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """The operation."""
        return F.relu(self.before_relu(x_BCHW), inplace=True)


class SeparableOperation(Operation):
    """Depthwise k x k, pointwise 1x1, BN, ReLU, once; nothing between the two convolutions.

    Attributes:
        execution: how to compute; None, or an execution without a kernel: module by module.
    """

    def __init__(self, channels: int, kernel: int, scale: bool):
        super().__init__(channels, scale)
        self.depthwise = nn.Conv2d(
            channels, channels, kernel, padding=kernel // 2, groups=channels, bias=False
        )
        self.pointwise = nn.Conv2d(channels, channels, 1, bias=False)
        self.execution: Execution | None = None

    def before_relu(self, x_BCHW: Tensor) -> Tensor:
        """The operation without its ReLU; in training by the compiled kernel where one is given."""
        native = None if self.execution is None else self.execution.native
        if native is None or not self._fuses(native, x_BCHW):
            return super().before_relu(x_BCHW)
        spec = SeparableSpec(native, self.depthwise.kernel_size[0], 1, 1, steps=1, rectify=False)
        weights = (self.depthwise.weight, self.pointwise.weight)
        return SeparableAffine.apply(
            spec, [self.norm], x_BCHW, None, None, *weights, self.norm.weight, self.norm.bias
        )

    def _fuses(self, native: Library, x_BCHW: Tensor) -> bool:
        # A single value per channel cannot be normalised: torch says so in its own words.
        several = x_BCHW.numel() > x_BCHW.shape[1]
        return (
            self.training
            and self.norm.training
            and several
            and not torch.is_autocast_enabled(x_BCHW.device.type)
            and native.supports(x_BCHW, self.depthwise.kernel_size[0])
            and self.depthwise.weight.dtype == x_BCHW.dtype
        )

    def linear(self, x_BCHW: Tensor) -> Tensor:
        """Both convolutions."""
        return self.pointwise(self.depthwise(x_BCHW))


class PoolOperation(Operation):
    """k x k pooling of stride 1, BN, ReLU; the average counts the zeros of the padding, as MXNet does."""

    def __init__(self, channels: int, kernel: int, kind: str, scale: bool):
        super().__init__(channels, scale)
        self.kernel = (kernel, kernel)
        self.kind = kind

    def flatten_rows(self) -> None:
        """Pools along time, for signals."""
        self.kernel = (1, self.kernel[1])

    def linear(self, x_BCHW: Tensor) -> Tensor:
        """The pooling."""
        pool = F.max_pool2d if self.kind == "max" else F.avg_pool2d
        return pool(x_BCHW, self.kernel, 1, (self.kernel[0] // 2, self.kernel[1] // 2))

    def extra_repr(self) -> str:
        return f"{self.kind}, {self.kernel[0]}x{self.kernel[1]}"


def build_operation(name: str, channels: int, scale: bool) -> Operation:
    """Builds an operation of a block.

    Args:
        name: one of `OPERATIONS`.
        channels: C.
        scale: whether its BN has a learnable scale: true in evaluation networks, false in a search.

    Raises:
        ConfigError: there is no operation of that name.
    """
    if name in SEPARABLE:
        return SeparableOperation(channels, SEPARABLE[name], scale)
    if name in POOLS:
        return PoolOperation(channels, POOLS[name], name[:3], scale)
    raise ConfigError(f"space.operations: unknown operation {name!r}; known are {', '.join(OPERATIONS)}")


def build_reduction(name: str, c_in: int, scale: bool = True) -> ConvNormRelu:
    """A branch of a reduction block, `conv_1x1` or `conv_3x3`: halves the resolution, doubles the width.

    `scale`: whether its BN has a learnable scale, in which the branch's factor could hide in a search.
    """
    require(name in REDUCTIONS, f"genotype: unknown reduction {name!r}; known are {', '.join(REDUCTIONS)}")
    return ConvNormRelu(c_in, 2 * c_in, REDUCTIONS[name], 2, scale)


def build_shortcut(channels: int, first: bool, scale: bool = True) -> ConvNormRelu | nn.Identity:
    """The way past a block: 1x1 conv-BN-ReLU in the first block of a stage [C], otherwise the identity."""
    return ConvNormRelu(channels, channels, 1, 1, scale) if first else nn.Identity()


def build_stem(kind: str, c_in: int, channels: int, key: str = "space", scale: bool = True) -> nn.Sequential:
    """The first layers: `cifar` keeps the resolution, `imagenet` divides it by 4 in two steps.

    Args:
        kind: `cifar` or `imagenet`.
        c_in: channels of an image.
        channels: C of the first stage.
        key: the config group that errors name.
        scale: whether the last BN's scale learns; what comes before it is normalised again.

    Raises:
        ConfigError: there is no such stem, or C is odd with `imagenet`.
    """
    check_stem(kind, channels, key)
    if kind == "cifar":
        return nn.Sequential(ConvNormRelu(c_in, channels, 3, scale=scale))
    return nn.Sequential(
        ConvNormRelu(c_in, channels // 2, 3, 2), ConvNormRelu(channels // 2, channels, 3, 2, scale)
    )


def check_stem(kind: str, channels: int, key: str) -> None:
    """Raises `ConfigError` unless a stem can be built."""
    require(kind in ("cifar", "imagenet"), f"{key}.stem={kind}: unknown stem; known are cifar, imagenet")
    require(
        kind == "cifar" or channels % 2 == 0,
        f"{key}.init_channels={channels}: stem=imagenet needs an even number",
    )


class Head(nn.Module):
    """BN, ReLU, global average, dropout, linear classifier.

    Attributes:
        dropout: probability of dropping a feature before the classifier; 0 unless set.
    """

    def __init__(self, channels: int, num_classes: int):
        super().__init__()
        self.norm = Norm(channels)
        self.dropout = 0.0
        self.classifier = nn.Linear(channels, num_classes)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """[B, C, H, W] -> logits [B, classes]."""
        features_BC = F.relu(self.norm(x_BCHW), inplace=True).mean(dim=(2, 3))
        return self.classifier(F.dropout(features_BC, self.dropout, self.training))


def executed(network: nn.Module) -> Execution:
    """Gives all operations of a network one way to compute, and returns it."""
    execution = Execution()
    for module in network.modules():
        if isinstance(module, SeparableOperation):
            module.execution = execution
    return execution


def initialise(network: nn.Module) -> None:
    """The authors' initial values [C]: convolutions N(0, 2/fan_out), classifiers N(0, 0.01^2), bias 0."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out")
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.01)
            nn.init.zeros_(module.bias)


@dataclass(frozen=True)
class Place:
    """One block of the macro network.

    Attributes:
        group: the edge group that it follows: `block` or `block_01`, `block_02`, ...; `reduce_1`, ...
        stage: counted from 0; a reduction belongs to the stage that it ends.
        channels: C of its input.
        reduction: whether it halves the resolution and doubles C.
        first: whether it is the first of its stage, whose shortcut is a convolution.
    """

    group: str
    stage: int
    channels: int
    reduction: bool
    first: bool


def places(blocks_per_stage: Sequence[int], init_channels: int, share: bool) -> Iterator[Place]:
    """The blocks of the macro network in order: a reduction ends every stage but the last."""
    number = 0
    for stage, blocks in enumerate(blocks_per_stage):
        channels = init_channels * 2**stage
        for index in range(blocks):
            number += 1
            group = "block" if share else f"block_{number:02}"
            yield Place(group, stage, channels, reduction=False, first=index == 0)
        if stage < len(blocks_per_stage) - 1:
            yield Place(f"{REDUCTION}{stage + 1}", stage, channels, reduction=True, first=False)


def stage_sizes(image_shape: Sequence[int], stem: str, stages: int) -> list[tuple[int, int]]:
    """(H, W) of the feature maps of every stage; what is halved is rounded up."""
    _, height, width = image_shape
    for _ in range(2 if stem == "imagenet" else 0):
        height, width = (height + 1) // 2, (width + 1) // 2
    sizes = []
    for _ in range(stages):
        sizes.append((height, width))
        height, width = (height + 1) // 2, (width + 1) // 2
    return sizes


def check_blocks(blocks_per_stage: Sequence[int], init_channels: int, key: str) -> tuple[int, ...]:
    """The blocks of every stage as a tuple.

    Raises:
        ConfigError: a number is not positive; `key` is the config group that the message names.
    """
    listed = not isinstance(blocks_per_stage, (str, int)) and len(blocks_per_stage) > 0
    require(
        listed and all(isinstance(blocks, int) and blocks >= 1 for blocks in blocks_per_stage),
        f"{key}.blocks_per_stage={blocks_per_stage}: must be a list of whole numbers of at least 1, one a "
        "stage",
    )
    require(
        isinstance(init_channels, int) and init_channels >= 1,
        f"{key}.init_channels={init_channels}: must be a whole number of at least 1",
    )
    return tuple(blocks_per_stage)
