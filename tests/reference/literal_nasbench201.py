"""The NAS-Bench-201 supernet written down literally: one module per operation and edge, zeros computed.

Slow on purpose. `nas.spaces.nasbench201.supernet` must agree with it in float64. Parameters outside the
candidates carry the same names in both; those of the candidates are translated by `literal_view`.
"""

import torch
from torch import nn
from torch.nn import functional as F

from tests.reference.literal_network import drop_path

LAYERS = {"conv": 1, "norm": 2}  # places within ReLU, convolution, BN


class Zero(nn.Module):
    def forward(self, x):
        return x * 0


class Block(nn.Module):
    """The residual block between two stages; its BNs are affine, in a search as well."""

    def __init__(self, c_in, c_out):
        super().__init__()
        self.conv_a = relu_conv_bn(c_in, c_out, 3, 2, True)
        self.conv_b = relu_conv_bn(c_out, c_out, 3, 1, True)
        self.downsample = nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(c_in, c_out, 1, bias=False))

    def forward(self, x):
        return self.downsample(x) + self.conv_b(self.conv_a(x))


def relu_conv_bn(c_in, c_out, kernel, stride, affine):
    return nn.Sequential(
        nn.ReLU(),
        nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(c_out, affine=affine),
    )


def build(name, channels):
    if name == "none":
        return Zero()
    if name == "skip_connect":
        return nn.Identity()
    if name == "avg_pool_3x3":
        return nn.AvgPool2d(3, 1, 1, count_include_pad=False)
    return relu_conv_bn(channels, channels, {"nor_conv_1x1": 1, "nor_conv_3x3": 3}[name], 1, False)


class LiteralCell(nn.Module):
    """With K > 1 an edge mixes the first C/K channels, puts the others beside them and shuffles both."""

    def __init__(self, group, channels, partial):
        super().__init__()
        self.group = group
        self.partial = partial
        self.edges = nn.ModuleList(
            nn.ModuleList(build(name, channels // partial) for name in names) for names in group.operations
        )

    def mix(self, x, weights, operations):
        first, rest = x.tensor_split([x.shape[1] // self.partial], 1)
        mixed = sum(weight * op(first) for weight, op in zip(weights, operations, strict=True))
        return F.channel_shuffle(torch.cat([mixed, rest], 1), self.partial)

    def forward(self, x, weights):
        states = [x]
        for node in range(1, 1 + max(target for _, target in self.group.edges)):
            states.append(
                sum(
                    self.mix(states[source], weights[row], self.edges[row])
                    for row, (source, target) in enumerate(self.group.edges)
                    if target == node
                )
            )
        return states[-1]


class LiteralNasBench201(nn.Module):
    """Same arguments as `NasBench201Supernet`."""

    def __init__(self, groups, image_shape, num_classes, cells_per_stage, init_channels, partial=1):
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(image_shape[0], init_channels, 3, padding=1, bias=False), nn.BatchNorm2d(init_channels)
        )
        self.cells = nn.ModuleList()
        for stage in range(3):
            channels = init_channels * 2**stage
            if stage:
                self.cells.append(Block(channels // 2, channels))
            self.cells.extend(LiteralCell(groups["cell"], channels, partial) for _ in range(cells_per_stage))
        self.last_norm = nn.BatchNorm2d(channels)
        self.classifier = nn.Linear(channels, num_classes)

    def forward(self, x, op_weights):
        x = self.stem(x)
        for cell in self.cells:
            x = cell(x, op_weights["cell"]) if isinstance(cell, LiteralCell) else cell(x)
        return self.classifier(self.last_norm(x).relu().mean((2, 3)))


class PathCell(LiteralCell):
    """Runs what the op weights name, one module an edge, and nothing else."""

    def mix(self, x, weights, operations):
        first, rest = x.tensor_split([x.shape[1] // self.partial], 1)
        drawn = int(weights.argmax())
        mixed = weights[drawn] * operations[drawn](first)
        return F.channel_shuffle(torch.cat([mixed, rest], 1), self.partial) if self.partial > 1 else mixed


class LiteralPaths(LiteralNasBench201):
    """The same network for op weights that are one-hot."""

    def __init__(self, groups, image_shape, num_classes, cells_per_stage, init_channels, partial=1):
        super().__init__(groups, image_shape, num_classes, cells_per_stage, init_channels, partial)
        for cell in self.cells:
            if isinstance(cell, LiteralCell):
                cell.__class__ = PathCell


class InferCell(nn.Module):
    """One operation an edge, affine, zeros computed; drop-path as ours has it, for the release knows none."""

    def __init__(self, cell, channels):
        super().__init__()
        self.nodes = cell.nodes
        self.layers = nn.ModuleList(
            relu_conv_bn(channels, channels, int(edge.operation[-1]), 1, True)
            if edge.operation.startswith("nor_conv")
            else build(edge.operation, channels)
            for node in cell.nodes
            for edge in node
        )

    def forward(self, x, rate):
        states = [x]
        layers = iter(self.layers)
        for node in self.nodes:
            results = []
            for edge in node:
                h = next(layers)(states[edge.source])
                if self.training and rate > 0 and edge.operation not in ("none", "skip_connect"):
                    h = drop_path(h, rate)
                results.append(h)
            states.append(sum(results))
        return states[-1]


class LiteralNasBench201Network(nn.Module):
    """The evaluation network; same arguments as `NasBench201Network`; there is no auxiliary head."""

    def __init__(self, genotype, image_shape, num_classes, cells_per_stage, init_channels, auxiliary=False):
        super().__init__()
        self.rate = 0.0
        self.stem = nn.Sequential(
            nn.Conv2d(image_shape[0], init_channels, 3, padding=1, bias=False), nn.BatchNorm2d(init_channels)
        )
        self.cells = nn.ModuleList()
        for stage in range(3):
            channels = init_channels * 2**stage
            if stage:
                self.cells.append(Block(channels // 2, channels))
            self.cells.extend(InferCell(genotype["cell"], channels) for _ in range(cells_per_stage))
        self.last_norm = nn.BatchNorm2d(channels)
        self.classifier = nn.Linear(channels, num_classes)

    def set_drop_path(self, rate):
        self.rate = rate

    def forward(self, x):
        x = self.stem(x)
        for cell in self.cells:
            x = cell(x, self.rate) if isinstance(cell, InferCell) else cell(x)
        return self.classifier(self.last_norm(x).relu().mean((2, 3))), None


def literal_view(fast, values):
    """Values of the fast supernet's parameters or buffers, {name: tensor or None}, under the literal names.

    `values` is keyed as in the fast supernet; stacked tensors [m, ...] are cut edge by edge.
    """
    group = fast.groups["cell"]
    found = {}
    for name, value in values.items():
        if ".candidates." not in name:
            found[name] = value
            continue
        head, tail = name.split(".fan_out.")
        source, _, operation, layer, field = tail.split(".")
        fan_out = fast.get_submodule(head).fan_out[int(source)]
        rows = [row for row, edge in enumerate(group.edges) if edge[0] == int(source)]
        for position, edge in enumerate(fan_out.holders[operation]):
            column = group.operations[rows[edge]].index(operation)
            key = f"{head}.edges.{rows[edge]}.{column}.{LAYERS[layer]}.{field}"
            found[key] = None if value is None else value[position]
    return found


def load_literal(fast, literal):
    """Gives the fast supernet the parameters and statistics of the literal one."""
    state = literal.state_dict()
    with torch.no_grad():
        for name, target in literal_view(fast, fast.state_dict(keep_vars=True)).items():
            target.copy_(state[name])
