"""A searched cell as a layer of somebody else's network: of a run folder, a file or a published name.

python examples/cell_as_layer.py [<run folder of a search in the space darts>]
"""

import sys

import torch
from torch import nn

from nas.genotype import load
from nas.spaces.darts.network import EvaluationCell


class CellLayer(nn.Module):
    """A cell of the DARTS space, both of whose inputs are the map before it.

    Args:
        cell: `genotype["normal"]`, or `genotype["reduce"]` of which the stride is 2.
        c_in: channels of the map that comes in.
        channels: of every node; `out_channels` is this times the number of nodes that are put together.
        reduction: whether height and width are halved.
    """

    def __init__(self, cell, c_in, channels, reduction=False):
        super().__init__()
        self.cell = EvaluationCell(cell, c_in, c_in, channels, reduction, reduction_prev=False)
        self.out_channels = len(cell.output) * channels

    def forward(self, x_BCHW):
        """[B, c_in, H, W] -> [B, out_channels, H, W], or half the height and width."""
        return self.cell(x_BCHW, x_BCHW)


def network(genotype, num_classes=10, channels=4):
    """Convolution, two cells, mean over the map, classifier: whatever else may stand around the layers."""
    first = CellLayer(genotype["normal"], 16, channels)
    second = CellLayer(genotype["reduce"], first.out_channels, 2 * channels, reduction=True)
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(second.out_channels, num_classes)]
    return nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), first, second, *head)


if __name__ == "__main__":
    model = network(load(sys.argv[1] if len(sys.argv) > 1 else "DARTS_V2", "darts"))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    images, labels = torch.randn(16, 3, 32, 32), torch.arange(16) % 10
    for step in range(3):
        loss = nn.functional.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        print(f"step {step}: loss {loss.item():.3f}")
