"""The cost of an evaluation network of the DARTS space at ImageNet size, layer by layer, by formula.

Nothing of the package is used: no module is built and no counter runs. A convolution of kernel k x l from c
to d channels in g groups has k l c d / g weights, and as many multiply-adds at each output place. BN has
two numbers a channel; the classifier has a bias, which is no multiply-add.
"""


class Ledger:
    def __init__(self):
        self.params = 0
        self.macs = 0

    def conv(self, kernel, c_in, c_out, height, width=None, groups=1):
        weights = kernel[0] * kernel[1] * c_in * c_out // groups
        self.params += weights
        self.macs += weights * height * (height if width is None else width)

    def bn(self, channels):
        self.params += 2 * channels


def separable(ledger, size, channels, side, repeats):
    for _ in range(repeats):
        ledger.conv((size, size), channels, channels, side, groups=channels)
        ledger.conv((1, 1), channels, channels, side)
        ledger.bn(channels)


def halving(ledger, c_in, c_out, side):
    """Two 1x1 convolutions on grids one pixel apart, half of the channels each."""
    for _ in range(2):
        ledger.conv((1, 1), c_in, c_out // 2, side)
    ledger.bn(c_out)


def operation(ledger, name, channels, side, stride):
    """`side` is that of the output."""
    if name == "skip_connect" and stride == 2:
        halving(ledger, channels, channels, side)
    elif name.startswith("sep_conv_"):
        # The stride is in the first of two, so both work at the smaller side.
        separable(ledger, int(name[-1]), channels, side, repeats=2)
    elif name.startswith("dil_conv_"):
        separable(ledger, int(name[-1]), channels, side, repeats=1)
    elif name == "conv_7x1_1x7":
        ledger.conv((1, 7), channels, channels, side * stride, side)
        ledger.conv((7, 1), channels, channels, side)
        ledger.bn(channels)
    else:
        assert name in ("max_pool_3x3", "avg_pool_3x3", "skip_connect"), name


def imagenet_cost(cells, num_cells=14, channels=48, classes=1000, image=224):
    """Parameters without the auxiliary head, its parameters, and multiply-adds without it.

    `cells`: `normal` and `reduce` as (list of nodes, each a list of (operation, source); number of outputs).
    """
    ledger, head = Ledger(), Ledger()
    half = channels // 2
    for c_in, c_out, side in (
        (3, half, image // 2),
        (half, channels, image // 4),
        (channels, channels, image // 8),
    ):
        ledger.conv((3, 3), c_in, c_out, side)
        ledger.bn(c_out)
    before, last = channels, channels
    side, halved = image // 8, True
    for index in range(num_cells):
        reduction = index in (num_cells // 3, 2 * num_cells // 3)
        nodes, outputs = cells["reduce" if reduction else "normal"]
        channels *= 2 if reduction else 1
        # The inputs come to the cell's channels at the side of the later one.
        if halved:
            halving(ledger, before, channels, side)
        else:
            ledger.conv((1, 1), before, channels, side)
            ledger.bn(channels)
        ledger.conv((1, 1), last, channels, side)
        ledger.bn(channels)
        side //= 2 if reduction else 1
        for node in nodes:
            for name, source in node:
                operation(ledger, name, channels, side, 2 if reduction and source < 2 else 1)
        before, last = last, outputs * channels
        halved = reduction
        if index == 2 * num_cells // 3:
            head.conv((1, 1), last, 128, (side - 5) // 2 + 1)
            head.bn(128)
            head.conv((2, 2), 128, 768, 1)
            head.params += (768 + 1) * classes
    ledger.params += (last + 1) * classes
    ledger.macs += last * classes
    return ledger.params, head.params, ledger.macs
