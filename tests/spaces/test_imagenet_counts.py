"""What every published cell costs at ImageNet size (14 cells, C=48, 224x224), to the last parameter."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from nas import genotype
from nas.analysis.cost.complexity import count_cost
from nas.spaces.darts.space import DartsSpace
from nas.spaces.space import ImageInputs
from tests.reference.mobile_cost import imagenet_cost

ROOT = Path(__file__).resolve().parents[2]
# Parameters without the auxiliary head, its own, and multiply-adds: those of docs/imagenet.md.
COUNTS = {
    "NASNet": (5564320, 1236200, 604031616),
    "AmoebaNet": (4627360, 1236200, 526746624),
    "PNASNet": (6394912, 1285352, 696738048),
    "DARTS_V1": (4510432, 1260776, 505864704),
    "DARTS_V2": (4718752, 1260776, 529911552),
    "PC_DARTS_cifar": (5270560, 1260776, 571137408),
    "PC_DARTS_image": (5342464, 1260776, 581627328),
    "DrNAS_cifar10": (5738464, 1260776, 633832320),
    "DrNAS_imagenet": (5726368, 1260776, 624405504),
}


def cost_of(name):
    space, cells = DartsSpace("darts", ["skip_connect", "sep_conv_3x3"]), genotype.load(name, "darts")

    def build():
        return space.network(
            cells,
            ImageInputs((3, 224, 224), 1000),
            auxiliary=True,
            num_cells=14,
            init_channels=48,
            stem="imagenet",
        )

    cost = count_cost(build, (3, 224, 224))
    return cost.params, cost.params_auxiliary, cost.macs


@pytest.mark.parametrize("name", COUNTS)
def test_the_network_costs_what_the_table_says(name):
    assert cost_of(name) == COUNTS[name]


@pytest.mark.parametrize("name", COUNTS)
def test_and_so_does_a_count_by_formula(name):
    cells = {
        group: ([[(edge.operation, edge.source) for edge in node] for node in cell.nodes], len(cell.output))
        for group, cell in genotype.load(name, "darts").cells
    }
    assert imagenet_cost(cells) == COUNTS[name]


def test_no_published_cell_is_left_out():
    published = json.loads(Path(genotype.__file__).with_name("published.json").read_text())
    assert {name for name, spaces in published.items() if "darts" in spaces} == set(COUNTS)


def test_pnasnet_is_the_cell_that_timm_has():
    """Operations by its modules' kernels, sources by what each of them is called with."""
    pnasnet = pytest.importorskip("timm.models.pnasnet")
    cell, called = pnasnet.Cell(4, 4, 4, 4), {}
    left, right = torch.zeros(1, 1), torch.ones(1, 1)
    sources = {0.0: 0, 1.0: 1, 603.0: 4}  # of the five nodes only the third, 301 + 302, is a source again

    def branch(number, side, value):
        def call(x_11):
            called[number, side] = sources[float(x_11)]
            return torch.full((1, 1), float(value))

        return call

    fake, operations = SimpleNamespace(), {}
    for number in range(5):
        for place, side in enumerate(("left", "right")):
            name, operation = f"comb_iter_{number}_{side}", "skip_connect"
            module = getattr(cell, name)
            if isinstance(module, pnasnet.BranchSeparables):
                size = module.separable_1.depthwise_conv2d.kernel_size[0]
                operation = f"sep_conv_{size}x{size}"
            elif module is not None:
                operation = f"max_pool_{module.kernel_size}x{module.kernel_size}"
            operations[number, side] = operation
            value = 100 * (number + 1) + place + 1
            setattr(fake, name, branch(number, side, value) if module is not None else None)
    out = pnasnet.CellBase.cell_forward(fake, left, right)
    called[4, "right"] = 1  # what has no module is c_{k-1} itself
    assert out.tolist()[0] == [203.0, 403.0, 603.0, 803.0, 502.0]
    both = ("left", "right")
    expected = [sorted((operations[n, side], called[n, side]) for side in both) for n in range(5)]
    for _, own in genotype.load("PNASNet", "darts").cells:
        assert [sorted((edge.operation, edge.source) for edge in node) for node in own.nodes] == expected
        assert list(own.output) == [2, 3, 4, 5, 6]


def test_the_page_has_these_numbers():
    page = (ROOT / "docs" / "imagenet.md").read_text()
    for name, (params, auxiliary, macs) in COUNTS.items():
        assert f"| `{name}` | {params:,} | {auxiliary:,} | {macs:,} |" in page
