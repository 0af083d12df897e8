"""The supernet of DSO-NAS written down literally: one module per operation, one product per connection.

Slow on purpose. `nas.spaces.dso.supernet` must agree with it in float64. Tensors that both have carry the
same names; here the fixed BN scales are ones that nobody trains, and there is a counter of batches.
Everything is computed, and what counts (a source without an input does not) is decided by Python's `if`.
"""

from torch import nn


def norm(channels, scale=True):
    module = nn.BatchNorm2d(channels, eps=2e-5, momentum=0.1)
    module.weight.requires_grad_(scale)
    return module


class ConvNormRelu(nn.Module):
    def __init__(self, c_in, c_out, kernel, stride=1, scale=True):
        super().__init__()
        self.conv = nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, bias=False)
        self.norm = norm(c_out, scale)

    def forward(self, x):
        return self.norm(self.conv(x)).relu()


class Operation(nn.Module):
    def __init__(self, name, channels):
        super().__init__()
        kind, _, kernel = name.rpartition("_")
        kernel = int(kernel[0])
        if kind == "sep_conv":
            self.depthwise = nn.Conv2d(
                channels, channels, kernel, 1, kernel // 2, groups=channels, bias=False
            )
            self.pointwise = nn.Conv2d(channels, channels, 1, bias=False)
        elif kind == "max_pool":
            self.pool = nn.MaxPool2d(kernel, 1, kernel // 2)
        else:
            self.pool = nn.AvgPool2d(kernel, 1, kernel // 2, count_include_pad=True)
        self.norm = norm(channels, scale=False)

    def forward(self, x):
        h = self.pool(x) if hasattr(self, "pool") else self.pointwise(self.depthwise(x))
        return self.norm(h).relu()


class Block(nn.Module):
    def __init__(self, levels, operations, first_factors, channels, first, scale):
        super().__init__()
        self.levels, self.width, self.first_factors = levels, len(operations), first_factors
        nodes = range(1, levels * self.width + 1)
        self.operations = nn.ModuleDict(
            {str(node): Operation(operations[(node - 1) % self.width], channels) for node in nodes}
        )
        self.outputs = nn.ModuleDict(
            {str(node): nn.Conv2d(channels, channels, 1, bias=False) for node in nodes}
        )
        self.norm = norm(channels)
        self.shortcut = ConvNormRelu(channels, channels, 1, 1, scale) if first else nn.Identity()

    def forward(self, x, factors):
        rows = iter(factors)
        states = {0: x}  # of the nodes that have an input
        node = 0
        for level in range(self.levels):
            found = {}
            for _ in range(self.width):
                node += 1
                if level == 0 and not self.first_factors:
                    found[node] = self.operations[str(node)](x)
                    continue
                own = [next(rows) for _ in range(1 + level * self.width)]
                used = [source for source, factor in enumerate(own) if source in states and factor != 0]
                total = sum(own[source] * state for source, state in states.items())
                if used:
                    found[node] = self.operations[str(node)](total)
            states.update(found)
        own = list(rows)
        scaled = [own[node - 1] * states[node] for node in states if node > 0]
        branches = [
            self.outputs[str(node)](h) for node, h in zip([n for n in states if n > 0], scaled, strict=True)
        ]
        shortcut = self.shortcut(x)
        if not any(own[node - 1] != 0 for node in states if node > 0):
            return shortcut
        return self.norm(sum(branches)).relu() + shortcut


class Reduction(nn.Module):
    def __init__(self, channels, scale):
        super().__init__()
        self.branches = nn.ModuleDict(
            {
                "conv_1x1": ConvNormRelu(channels, 2 * channels, 1, 2, scale),
                "conv_3x3": ConvNormRelu(channels, 2 * channels, 3, 2, scale),
            }
        )

    def forward(self, x, factors):
        return sum(factor * branch(x) for factor, branch in zip(factors, self.branches.values(), strict=True))


class Head(nn.Module):
    def __init__(self, channels, num_classes):
        super().__init__()
        self.norm = norm(channels)
        self.classifier = nn.Linear(channels, num_classes)

    def forward(self, x):
        return self.classifier(self.norm(x).relu().mean((2, 3)))


class LiteralDso(nn.Module):
    def __init__(
        self,
        image_shape,
        num_classes,
        levels,
        operations,
        blocks_per_stage,
        channels,
        stem,
        share,
        first_factors,
        fixed_scales,
    ):
        super().__init__()
        self.share = share
        branches, stems = fixed_scales == "operations", fixed_scales != "all"
        c_in = image_shape[0]
        if stem == "cifar":
            self.stem = nn.Sequential(ConvNormRelu(c_in, channels, 3, 1, stems))
        else:
            half = channels // 2
            self.stem = nn.Sequential(
                ConvNormRelu(c_in, half, 3, 2), ConvNormRelu(half, channels, 3, 2, stems)
            )
        self.blocks = nn.ModuleList()
        for stage, count in enumerate(blocks_per_stage):
            if stage > 0:
                self.blocks.append(Reduction(channels, branches))
                channels *= 2
            for index in range(count):
                self.blocks.append(Block(levels, operations, first_factors, channels, index == 0, branches))
        self.head = Head(channels, num_classes)

    def forward(self, x, op_weights):
        x = self.stem(x)
        blocks = reductions = 0
        for module in self.blocks:
            if isinstance(module, Reduction):
                reductions += 1
                group = f"reduce_{reductions}"
            else:
                blocks += 1
                group = "block" if self.share else f"block_{blocks:02}"
            x = module(x, op_weights[group][:, 0])
        return self.head(x)


def literal_of(space, image_shape, num_classes):
    """The literal supernet of a `DsoSpace`."""
    return LiteralDso(
        image_shape,
        num_classes,
        space.layout.levels,
        space.layout.operations,
        space.blocks_per_stage,
        space.init_channels,
        space.stem,
        space.share,
        space.layout.first_factors,
        space.fixed_scales,
    )


def load_literal(fast, literal):
    """Gives the fast supernet the parameters and statistics of the literal one."""
    state = literal.state_dict()
    fast.load_state_dict({name: state[name] for name in fast.state_dict()})


def is_only_literal(name, parameter=None):
    """Whether the literal supernet alone has this tensor: counters, and scales that are not trained."""
    return name.endswith("num_batches_tracked") or (parameter is not None and not parameter.requires_grad)
