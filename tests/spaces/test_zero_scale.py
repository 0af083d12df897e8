"""Why the zero operation is left out at derivation: its weight is a scale, which batch norm takes out again.

Liu et al. 2019, section 2.4: more weight on zero "only affects the scale of the resulting node
representations, and does not affect the final classification outcome due to the presence of batch
normalization". Zero's share of an edge rises from z to 1 - c (1 - z) when the other op weights become c times
what they were, here on every edge. Then the claim holds to the last digits where batch norm stands behind
every candidate, up to the classifier, whose input is c times as large: logits less their bias are, too. It
does not hold for an identity, which has no batch norm, nor for one edge alone, whose weight beside the
others' is what derivation ranks edges by.
"""

import pytest
import torch
from torch import nn

from nas.spaces.darts.space import DartsSpace
from nas.spaces.space import ImageInputs
from tests.reference.literal import LiteralDarts

NORMALISED = ["none", "max_pool_3x3", "avg_pool_3x3", "sep_conv_3x3", "dil_conv_3x3"]
WITH_IDENTITY = [*NORMALISED, "skip_connect"]
SHRINK = 0.3


@pytest.fixture(scope="module")
def images():
    return torch.randn(8, 3, 16, 16, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def literal(operations):
    """A supernet whose batch norms divide by the deviation alone, and op weights that sum to one."""
    torch.manual_seed(0)
    groups = DartsSpace("darts", operations, num_nodes=3, num_cells=4, init_channels=4).groups
    network = LiteralDarts(groups, (3, 16, 16), 10, 4, 4).double()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 1e-14
    return network, {name: torch.rand(group.shape).double().softmax(-1) for name, group in groups.items()}


def more_zero(weights, edges=slice(None)):
    """The others' weights times `SHRINK` on these edges, and zero has the rest."""
    changed = {name: value_EO.clone() for name, value_EO in weights.items()}
    for value_EO in changed.values():
        value_EO[edges, 1:] *= SHRINK
        value_EO[:, 0] = 1 - value_EO[:, 1:].sum(-1)
    return changed


def without_bias(network, images, weights):
    with torch.no_grad():
        return network(images, weights) - network.classifier.bias


def distance(found_NK, expected_NK):
    return ((found_NK - expected_NK).norm() / expected_NK.norm()).item()


def test_more_of_zero_on_every_edge_changes_the_scale_of_the_logits_and_no_class(images):
    network, weights = literal(NORMALISED)
    before_NK, after_NK = (without_bias(network, images, one) for one in (weights, more_zero(weights)))
    assert before_NK.std() > 0.05
    assert distance(after_NK, SHRINK * before_NK) < 1e-9
    assert torch.equal(after_NK.argmax(-1), before_NK.argmax(-1))


def test_ranks_of_the_other_candidates_stay_whatever_zero_has():
    """Derivation reads what is left of an edge: the order of its other candidates."""
    _, weights = literal(NORMALISED)
    for before_EO, after_EO in zip(weights.values(), more_zero(weights).values(), strict=True):
        assert torch.equal(before_EO[:, 1:].argsort(-1), after_EO[:, 1:].argsort(-1))
        torch.testing.assert_close(after_EO.sum(-1), before_EO.sum(-1))


def test_an_identity_has_no_batch_norm_and_carries_the_scale_on(images):
    network, weights = literal(WITH_IDENTITY)
    before_NK, after_NK = (without_bias(network, images, one) for one in (weights, more_zero(weights)))
    assert distance(after_NK, SHRINK * before_NK) > 1e-2


def test_zero_on_one_edge_alone_is_no_scale_but_a_weaker_edge(images):
    network, weights = literal(NORMALISED)
    before_NK = without_bias(network, images, weights)
    after_NK = without_bias(network, images, more_zero(weights, edges=0))
    fitted = (after_NK * before_NK).sum() / before_NK.square().sum()
    assert distance(after_NK, fitted * before_NK) > 1e-2


def test_the_supernet_of_searches_has_it_up_to_the_epsilon_of_its_batch_norm(images):
    torch.manual_seed(0)
    space = DartsSpace("darts", NORMALISED, num_nodes=3, num_cells=4, init_channels=4)
    network = space.supernet(ImageInputs((3, 16, 16), 10)).double()
    weights = {name: torch.rand(group.shape).double().softmax(-1) for name, group in space.groups.items()}
    before_NK, after_NK = (without_bias(network, images, one) for one in (weights, more_zero(weights)))
    assert distance(after_NK, SHRINK * before_NK) < 1e-2
