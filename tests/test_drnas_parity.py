"""The authors' numbers of a DrNAS supernet: all channels, half of them, and half of them after pruning."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from nas.spaces.darts.space import DartsSpace
from nas.spaces.native.library import load_library
from nas.spaces.space import ImageInputs
from nas.spaces.supernet.growth import growth_maps, inherit
from tests.reference.mapping import literal_view, load_literal
from tests.shared import shared

OPERATIONS = [
    "max_pool_3x3", "avg_pool_3x3", "skip_connect",
    "sep_conv_3x3", "sep_conv_5x5", "dil_conv_3x3", "dil_conv_5x5",
]  # fmt: skip
GROUPS = ("normal", "reduce")


@pytest.fixture(scope="module")
def numbers():
    with np.load(shared("goldens/drnas_cnn_tiny.npz")) as file:
        return {name: torch.from_numpy(file[name]) for name in file.files}


@pytest.mark.parametrize("way", ["narrow", "native", "wide", "recompute"])
@pytest.mark.parametrize("case", ["k1", "k2", "k2mask"])
def test_logits_and_gradients(numbers, case, way):
    found = {n[len(case) + 1 :]: value for n, value in numbers.items() if n.startswith(f"{case}.")}
    space = DartsSpace("darts", OPERATIONS, num_cells=4, init_channels=4, partial=1 if case == "k1" else 2)
    supernet = space.supernet(ImageInputs((3, 32, 32), 10)).double()
    load_literal(supernet, {n[6:]: value for n, value in found.items() if n.startswith("state.")})
    kept = {name: found.get(f"mask_{name}") for name in GROUPS}
    if case == "k2mask":
        few = space.supernet(ImageInputs((3, 32, 32), 10), kept=kept).double()
        maps = growth_maps(supernet, few, torch.Generator())
        few.load_state_dict(inherit(supernet.state_dict(), few, maps))
        supernet = few
    supernet.execution.native = load_library() if way == "native" else None
    supernet.execution.wide, supernet.execution.recompute = way in ("wide", "recompute"), way == "recompute"
    leaves = {name: found[f"dirichlet_{name}"].clone().requires_grad_() for name in GROUPS}
    weights = leaves
    if case == "k2mask":
        masked = {name: leaf * kept[name] for name, leaf in leaves.items()}
        weights = {name: value / value.sum(-1, keepdim=True) for name, value in masked.items()}
    logits = supernet(numbers["x"], weights)
    loss = F.cross_entropy(logits, numbers["y"])
    loss.backward()
    torch.testing.assert_close(logits, found["logits"], rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(loss, found["loss"], rtol=1e-10, atol=1e-12)
    for name in GROUPS:
        torch.testing.assert_close(leaves[name].grad, found[f"grad_dirichlet_{name}"], rtol=1e-9, atol=1e-11)
    if case == "k2mask":
        return
    expected = {n[5:]: value for n, value in found.items() if n.startswith("grad.")}
    gradients = literal_view(supernet, expected, "grad")
    assert len(gradients) > 300
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-9, atol=1e-11, msg=name)
