"""The DARTS supernet written down literally: one module per operation and edge, in the order of the paper.

Slow on purpose. `nas.spaces.darts.supernet` must agree with it in float64. Parameter names follow the layout
of the reference numbers (`cells.0._ops.3._ops.4.op.1.weight`), so a state dict of theirs loads as it is.
"""

import torch
from torch import nn
from torch.nn import functional as F

from nas.spaces.modules import Noise, Zero
from nas.spaces.norm import BN_EPS, BN_MOMENTUM


def bn(channels):
    return nn.BatchNorm2d(channels, eps=BN_EPS, momentum=BN_MOMENTUM, affine=False)


class Conv(nn.Module):
    """ReLU, convolutions and BN, as often as asked."""

    def __init__(self, channels, kernel, stride, dilation, repeats):
        super().__init__()
        layers = []
        for step in range(repeats):
            s = stride if step == 0 else 1
            pad = dilation * (kernel - 1) // 2
            layers += [
                nn.ReLU(),
                nn.Conv2d(channels, channels, kernel, s, pad, dilation, groups=channels, bias=False),
                nn.Conv2d(channels, channels, 1, bias=False),
                bn(channels),
            ]
        self.op = nn.Sequential(*layers)

    def forward(self, x):
        return self.op(x)


class ReluConv(nn.Module):
    def __init__(self, c_in, c_out):
        super().__init__()
        self.op = nn.Sequential(nn.ReLU(), nn.Conv2d(c_in, c_out, 1, bias=False), bn(c_out))

    def forward(self, x):
        return self.op(x)


class Reduce(nn.Module):
    def __init__(self, c_in, c_out):
        super().__init__()
        self.conv_1 = nn.Conv2d(c_in, c_out // 2, 1, 2, bias=False)
        self.conv_2 = nn.Conv2d(c_in, c_out // 2, 1, 2, bias=False)
        self.bn = bn(c_out)

    def forward(self, x):
        x = x.relu()
        return self.bn(torch.cat([self.conv_1(x), self.conv_2(x[:, :, 1:, 1:])], 1))


def build(name, channels, stride):
    if name == "none":
        return Zero(stride)
    if name == "noise":
        return Noise(stride)
    if name == "skip_connect":
        return nn.Identity() if stride == 1 else Reduce(channels, channels)
    if name == "max_pool_3x3":
        return nn.Sequential(nn.MaxPool2d(3, stride, 1), bn(channels))
    if name == "avg_pool_3x3":
        return nn.Sequential(nn.AvgPool2d(3, stride, 1, count_include_pad=False), bn(channels))
    kind, _, size = name.split("_")
    kernel = int(size[0])
    return Conv(channels, kernel, stride, 1, 2) if kind == "sep" else Conv(channels, kernel, stride, 2, 1)


class Mixed(nn.Module):
    """All candidates of an edge; with K > 1 on the first C/K channels, the others beside them, shuffled."""

    def __init__(self, names, channels, stride, partial=1):
        super().__init__()
        self.partial = partial
        self.stride = stride
        self._ops = nn.ModuleList(build(name, channels // partial, stride) for name in names)

    def forward(self, x, weights):
        if self.partial == 1:
            return sum(weight * op(x) for weight, op in zip(weights, self._ops, strict=True))
        first, rest = x.tensor_split([x.shape[1] // self.partial], 1)
        mixed = sum(weight * op(first) for weight, op in zip(weights, self._ops, strict=True))
        if self.stride == 2:
            rest = F.max_pool2d(rest, 2, 2)
        return F.channel_shuffle(torch.cat([mixed, rest], 1), self.partial)


class LiteralCell(nn.Module):
    def __init__(self, group, c_prev_prev, c_prev, channels, reduction, reduction_prev, partial):
        super().__init__()
        self.group = group
        self.preprocess0 = (
            Reduce(c_prev_prev, channels) if reduction_prev else ReluConv(c_prev_prev, channels)
        )
        self.preprocess1 = ReluConv(c_prev, channels)
        self._ops = nn.ModuleList(
            Mixed(names, channels, 2 if reduction and source < 2 else 1, partial)
            for (source, _), names in zip(group.edges, group.operations, strict=True)
        )

    def forward(self, s0, s1, weights):
        states = [self.preprocess0(s0), self.preprocess1(s1)]
        row = 0
        while row < len(self.group.edges):
            target = self.group.edges[row][1]
            total = 0
            while row < len(self.group.edges) and self.group.edges[row][1] == target:
                total = total + self._ops[row](states[self.group.edges[row][0]], weights[row])
                row += 1
            states.append(total)
        return torch.cat(states[2:], 1)


class LiteralDarts(nn.Module):
    """Same arguments as `DartsSupernet`, CIFAR stem only."""

    def __init__(
        self,
        groups,
        image_shape,
        num_classes,
        num_cells,
        init_channels,
        stem_multiplier=3,
        stem="cifar",
        partial=1,
    ):
        super().__init__()
        stem_channels = stem_multiplier * init_channels
        self.stem = nn.Sequential(
            nn.Conv2d(image_shape[0], stem_channels, 3, padding=1, bias=False), nn.BatchNorm2d(stem_channels)
        )
        self.cells = nn.ModuleList()
        self.kinds = []
        before, last, channels, reduced = stem_channels, stem_channels, init_channels, False
        for index in range(num_cells):
            reduction = index in (num_cells // 3, 2 * num_cells // 3)
            channels *= 2 if reduction else 1
            self.kinds.append("reduce" if reduction else "normal")
            cell = LiteralCell(groups[self.kinds[-1]], before, last, channels, reduction, reduced, partial)
            self.cells.append(cell)
            nodes = max(target for _, target in groups["normal"].edges) - 1
            before, last, reduced = last, nodes * channels, reduction
        self.classifier = nn.Linear(last, num_classes)

    def forward(self, x, op_weights):
        s0 = s1 = self.stem(x)
        for kind, cell in zip(self.kinds, self.cells, strict=True):
            s0, s1 = s1, cell(s0, s1, op_weights[kind])
        return self.classifier(s1.mean((2, 3)))
