"""Can a scaling factor hide: do parameters that nothing prices undo its shrinking, logits and all?

The price of a factor is its L1 norm, and batch norms' scales and biases have none: where such a scale follows
(or precedes) a factor, the factor shrinks and the scale grows, and nothing has been pruned. Asked without
knowing where: a way to hide is a direction of change common to the logits' derivatives in the factors and
those in the unpriced parameters, so the two column spaces meet in more than 0. Batch norm forgives a common
rescaling of all that it sums; that is a direction within the factors and counts for nothing here.
"""

import pytest
import torch
from torch import nn

from nas.spaces.darts.space import DartsSpace
from nas.spaces.dso.parts import Norm
from nas.spaces.dso.space import DsoSpace
from nas.spaces.nasbench201.space import NasBench201Space
from nas.spaces.space import ImageInputs

# Six classes, as many as the narrowest network has features: each output is a condition of its own.
IMAGES, NUM_IMAGES, CLASSES = (3, 8, 8), 48, 6


@pytest.fixture(autouse=True)
def exact_norms(monkeypatch):
    """Batch norms without an epsilon to speak of, which would blur what is exactly alike."""
    monkeypatch.setattr(Norm, "eps", 1e-13)
    monkeypatch.setattr("nas.spaces.supernet.stacked.BN_EPS", 1e-13)


def prepared(space, seed=0):
    """A supernet away from its start, factors around 1, and images."""
    torch.manual_seed(seed)
    network = space.supernet(ImageInputs(IMAGES, CLASSES)).double().train()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 1e-13
    for parameter in network.parameters():
        if parameter.dim() == 1:
            parameter.data.add_(torch.randn_like(parameter), alpha=0.2)
    factors = {name: 0.5 + torch.rand(group.shape).double() for name, group in space.groups.items()}
    return network, factors, torch.randn(NUM_IMAGES, *IMAGES).double()


def derivatives(network, factors, images, but=()):
    """Jacobians [images * classes, n] of the logits in the factors and in the parameters without decay."""
    unpriced = [p for name, p in network.named_parameters() if p.dim() <= 1 and name not in but]
    own = {name: value.clone().requires_grad_() for name, value in factors.items()}
    logits = network(images, own).flatten()
    every = torch.eye(len(logits), dtype=logits.dtype)
    found = torch.autograd.grad(
        logits, [*own.values(), *unpriced], every, is_grads_batched=True, materialize_grads=True
    )
    columns = [one.flatten(1) for one in found]
    return torch.cat(columns[: len(own)], dim=1), torch.cat(columns[len(own) :], dim=1)


def rank(jacobian):
    sizes = jacobian.norm(dim=0)
    columns = jacobian[:, sizes > 1e-9 * sizes.max()]
    return int(torch.linalg.matrix_rank(columns / columns.norm(dim=0), rtol=1e-9))


def ways_to_hide(space, but=()):
    of_factors, of_unpriced = derivatives(*prepared(space), but)
    both = torch.cat([of_factors, of_unpriced], dim=1)
    assert both.shape[1] < len(both), "more outputs than columns, or they could not but meet"
    return rank(of_factors) + rank(of_unpriced) - rank(both)


def blocks(share, fixed_scales):
    """Two stages of two blocks: 10 factors a block and 2 a reduction."""
    operations = ["sep_conv_3x3", "avg_pool_3x3"]
    return DsoSpace("dso", 2, operations, (2, 2), 3, share=share, fixed_scales=fixed_scales)


@pytest.mark.parametrize(
    ("share", "fixed_scales", "ways"),
    [
        (True, "code", 0),
        # The stem's scale against the factors of the first block's input: the authors' code has that too.
        (False, "code", 1),
        (False, "all", 0),
        # And both branches of the reduction, and a stage's width against its blocks' inputs, in both stages.
        (False, "operations", 5),
    ],
)
def test_in_blocks_no_factor_hides_where_scales_are_fixed(share, fixed_scales, ways):
    assert ways_to_hide(blocks(share, fixed_scales)) == ways


def test_the_scale_of_a_reduction_could_hide_its_factors():
    """What the fixed scale is for: a twentieth of the L1 norm, the same logits, where it learns."""
    logits = {}
    for fixed_scales in ("operations", "code"):
        network, factors, images = prepared(blocks(True, fixed_scales))
        shrunk = factors | {"reduce_1": factors["reduce_1"] / 20}
        before = network(images, factors)
        for branch in network.blocks[2].branches.values():
            for parameter in branch.norm.parameters():
                parameter.data *= 20
        logits[fixed_scales] = (before, network(images, shrunk))
    torch.testing.assert_close(*logits["operations"], rtol=1e-9, atol=1e-12)
    assert not torch.allclose(*logits["code"], rtol=1e-3)


def test_in_darts_cells_no_factor_hides():
    """Their batch norms have no scale of their own, and cells normalise what they are given."""
    operations = ["max_pool_3x3", "skip_connect", "sep_conv_3x3"]
    assert ways_to_hide(DartsSpace("darts", operations, num_nodes=2, num_cells=3, init_channels=2)) == 0


def test_in_nasbench201_one_common_scale_is_free_and_no_factor_alone():
    """All factors into a cell's output against the stem's and the residual blocks' scales, if at once."""
    space = NasBench201Space("nasbench201", ["none", "skip_connect", "nor_conv_1x1", "avg_pool_3x3"], 1, 2)
    assert ways_to_hide(space) == 1
    network, _, _ = prepared(space)
    stem = [name for name, p in network.named_parameters() if name.startswith("stem") and p.dim() == 1]
    assert ways_to_hide(space, but=stem) == 0
