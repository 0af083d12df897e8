"""The evaluation networks of DARTS written down literally, in plain torch, as the authors' release has them.

One module per operation, drop-path as a function of each result, an auxiliary head that alters in place what
it reads. Slow on purpose. `nas.spaces.darts.network` must agree with it in float64. Both register their
tensors in the same order, which is how `load_literal` finds them.
"""

import operator
from functools import reduce

import torch
from torch import nn


def drop_path(x, rate):
    """Zeroes whole images of x [B, C, H, W] with probability `rate` and scales the others up, in place."""
    keep = 1.0 - rate
    mask = torch.empty(len(x), 1, 1, 1, dtype=x.dtype, device=x.device).bernoulli_(keep)
    return x.div_(keep).mul_(mask)


class ReLUConvBN(nn.Module):
    def __init__(self, c_in, c_out, kernel, stride, padding):
        super().__init__()
        self.op = nn.Sequential(
            nn.ReLU(inplace=False),
            nn.Conv2d(c_in, c_out, kernel, stride, padding, bias=False),
            nn.BatchNorm2d(c_out),
        )

    def forward(self, x):
        return self.op(x)


class DilConv(nn.Module):
    def __init__(self, channels, kernel, stride, padding, dilation):
        super().__init__()
        self.op = nn.Sequential(*separable(channels, kernel, stride, padding, dilation))

    def forward(self, x):
        return self.op(x)


class SepConv(nn.Module):
    def __init__(self, channels, kernel, stride, padding):
        super().__init__()
        first = separable(channels, kernel, stride, padding, 1)
        self.op = nn.Sequential(*first, *separable(channels, kernel, 1, padding, 1))

    def forward(self, x):
        return self.op(x)


def separable(channels, kernel, stride, padding, dilation):
    return [
        nn.ReLU(inplace=False),
        nn.Conv2d(channels, channels, kernel, stride, padding, dilation, groups=channels, bias=False),
        nn.Conv2d(channels, channels, 1, bias=False),
        nn.BatchNorm2d(channels),
    ]


class Zero(nn.Module):
    def __init__(self, stride):
        super().__init__()
        self.stride = stride

    def forward(self, x):
        return x[:, :, :: self.stride, :: self.stride].mul(0.0)


class FactorizedReduce(nn.Module):
    def __init__(self, c_in, c_out):
        super().__init__()
        self.relu = nn.ReLU(inplace=False)
        self.conv_1 = nn.Conv2d(c_in, c_out // 2, 1, stride=2, padding=0, bias=False)
        self.conv_2 = nn.Conv2d(c_in, c_out // 2, 1, stride=2, padding=0, bias=False)
        self.bn = nn.BatchNorm2d(c_out)

    def forward(self, x):
        x = self.relu(x)
        return self.bn(torch.cat([self.conv_1(x), self.conv_2(x[:, :, 1:, 1:])], dim=1))


def seven_by_seven(channels, stride):
    return nn.Sequential(
        nn.ReLU(inplace=False),
        nn.Conv2d(channels, channels, (1, 7), stride=(1, stride), padding=(0, 3), bias=False),
        nn.Conv2d(channels, channels, (7, 1), stride=(stride, 1), padding=(3, 0), bias=False),
        nn.BatchNorm2d(channels),
    )


OPS = {
    "none": lambda c, stride: Zero(stride),
    "avg_pool_3x3": lambda c, stride: nn.AvgPool2d(3, stride=stride, padding=1, count_include_pad=False),
    "max_pool_3x3": lambda c, stride: nn.MaxPool2d(3, stride=stride, padding=1),
    "skip_connect": lambda c, stride: nn.Identity() if stride == 1 else FactorizedReduce(c, c),
    "sep_conv_3x3": lambda c, stride: SepConv(c, 3, stride, 1),
    "sep_conv_5x5": lambda c, stride: SepConv(c, 5, stride, 2),
    "sep_conv_7x7": lambda c, stride: SepConv(c, 7, stride, 3),
    "dil_conv_3x3": lambda c, stride: DilConv(c, 3, stride, 2, 2),
    "dil_conv_5x5": lambda c, stride: DilConv(c, 5, stride, 4, 2),
    "conv_7x1_1x7": seven_by_seven,
}


class Cell(nn.Module):
    def __init__(self, cell, c_prev_prev, c_prev, channels, reduction, reduction_prev):
        super().__init__()
        self.genotype_cell = cell
        if reduction_prev:
            self.preprocess0 = FactorizedReduce(c_prev_prev, channels)
        else:
            self.preprocess0 = ReLUConvBN(c_prev_prev, channels, 1, 1, 0)
        self.preprocess1 = ReLUConvBN(c_prev, channels, 1, 1, 0)
        self._ops = nn.ModuleList(
            OPS[edge.operation](channels, 2 if reduction and edge.source < 2 else 1)
            for node in cell.nodes
            for edge in node
        )

    def forward(self, s0, s1, rate):
        states = [self.preprocess0(s0), self.preprocess1(s1)]
        operations = iter(self._ops)
        for node in self.genotype_cell.nodes:
            results = []
            for edge in node:
                op = next(operations)
                h = op(states[edge.source])
                if self.training and rate > 0 and not isinstance(op, nn.Identity):
                    h = drop_path(h, rate)
                results.append(h)
            states.append(reduce(operator.add, results))
        return torch.cat([states[index] for index in self.genotype_cell.output], dim=1)


class AuxiliaryHead(nn.Module):
    """After 8x8 (CIFAR) or 14x14 (ImageNet) maps; the latter without its last BN, as the release has it."""

    def __init__(self, channels, num_classes, imagenet):
        super().__init__()
        last_norm = [] if imagenet else [nn.BatchNorm2d(768)]
        self.features = nn.Sequential(
            nn.ReLU(inplace=True),
            nn.AvgPool2d(5, stride=2 if imagenet else 3, padding=0, count_include_pad=False),
            nn.Conv2d(channels, 128, 1, bias=False),
            nn.BatchNorm2d(128),
            nn.ReLU(inplace=True),
            nn.Conv2d(128, 768, 2, bias=False),
            *last_norm,
            nn.ReLU(inplace=True),
        )
        self.classifier = nn.Linear(768, num_classes)

    def forward(self, x):
        # Of maps of 1x1, which the release takes for granted, the mean is what is there.
        return self.classifier(self.features(x).mean((2, 3)))


class Stem(nn.Module):
    """Of images of 224x224: an eighth of the size, and a quarter beside it. Of small ones: both the same."""

    def __init__(self, kind, c_in, channels, multiplier):
        super().__init__()
        self.imagenet = kind == "imagenet"
        if not self.imagenet:
            self.channels = multiplier * channels
            self.stem = nn.Sequential(
                nn.Conv2d(c_in, self.channels, 3, padding=1, bias=False), nn.BatchNorm2d(self.channels)
            )
            return
        self.channels = channels
        self.stem0 = nn.Sequential(
            nn.Conv2d(c_in, channels // 2, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(channels // 2),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels // 2, channels, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )
        self.stem1 = nn.Sequential(
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x):
        if not self.imagenet:
            s = self.stem(x)
            return s, s
        s0 = self.stem0(x)
        return s0, self.stem1(s0)


class LiteralDartsNetwork(nn.Module):
    """Same arguments as `DartsNetwork`; `set_drop_path` stands for the release's `drop_path_prob`."""

    def __init__(
        self,
        genotype,
        image_shape,
        num_classes,
        num_cells,
        init_channels,
        stem_multiplier=3,
        stem="cifar",
        auxiliary=False,
    ):
        super().__init__()
        self.rate = 0.0
        self.stem = Stem(stem, image_shape[0], init_channels, stem_multiplier)
        self.cells = nn.ModuleList()
        self.auxiliary_index = 2 * num_cells // 3 if auxiliary else None
        before = last = self.stem.channels
        channels, reduced = init_channels, stem == "imagenet"
        for index in range(num_cells):
            reduction = index in (num_cells // 3, 2 * num_cells // 3)
            channels *= 2 if reduction else 1
            cell = genotype["reduce" if reduction else "normal"]
            self.cells.append(Cell(cell, before, last, channels, reduction, reduced))
            before, last, reduced = last, len(cell.output) * channels, reduction
            if index == self.auxiliary_index:
                self.auxiliary_head = AuxiliaryHead(last, num_classes, stem == "imagenet")
        self.global_pooling = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(last, num_classes)

    def set_drop_path(self, rate):
        self.rate = rate

    def forward(self, x):
        logits_aux = None
        s0, s1 = self.stem(x)
        for index, cell in enumerate(self.cells):
            s0, s1 = s1, cell(s0, s1, self.rate)
            if index == self.auxiliary_index and self.training:
                logits_aux = self.auxiliary_head(s1)
        out = self.global_pooling(s1)
        return self.classifier(out.view(len(out), -1)), logits_aux


def load_literal(fast, literal):
    """Gives the fast network the parameters and statistics of the literal one; {fast name: literal name}."""
    ours, theirs = fast.state_dict(keep_vars=True), literal.state_dict()
    names = dict(zip(ours, theirs, strict=True))
    with torch.no_grad():
        for name, target in ours.items():
            assert target.shape == theirs[names[name]].shape, name
            target.copy_(theirs[names[name]])
    return names
