"""The expected cost of an architecture: its value, its gradient, and where it means nothing."""

import pytest
import torch

from nas.engine.stages import introduce
from nas.errors import ConfigError
from nas.methods.layout import layout_of
from nas.spaces.darts.space import DartsSpace
from nas.spaces.nasbench201.space import NasBench201Space
from nas.spaces.recurrent.space import RecurrentSpace
from nas.spaces.space import ImageInputs, TextInputs
from tests.methods.flat import flat_method

INPUTS = ImageInputs((3, 8, 8), 4)
CELLS = NasBench201Space("nasbench201", cells_per_stage=2, init_channels=4)


def method_of(space, cost, inputs=INPUTS, **keys):
    shapes = {name: group.shape for name, group in space.groups.items()}
    keys = {"layout": layout_of(space.groups), "init_scale": 1.0} | keys
    method = flat_method("m", shapes, cost=cost, **keys).double()
    introduce(method, space, inputs)
    return method


def test_parameters_are_those_of_the_supernet_s_candidates():
    space = DartsSpace(
        "s", ["none", "skip_connect", "sep_conv_3x3", "avg_pool_3x3"], num_cells=4, init_channels=4
    )
    costs, supernet = space.costs(INPUTS), space.supernet(INPUTS)
    searched = sum(one.numel() for name, one in supernet.named_parameters() if "candidates" in name)
    assert sum(int(one.params_EO.sum()) for one in costs.values()) == searched
    # A skip connection costs where it halves the resolution alone.
    assert not costs["normal"].params_EO[:, [0, 1, 3]].any() and costs["reduce"].params_EO[0, 1] > 0


@pytest.mark.parametrize("form", ["linear", "log"])
@pytest.mark.parametrize("of", ["params", "macs"])
def test_its_unit_is_what_equal_op_weights_cost(of, form):
    torch.manual_seed(0)
    method = method_of(CELLS, {"of": of, "weight": 0.5, "form": form}, init_scale=0.0)
    assert method.penalty().item() == pytest.approx({"linear": 0.5, "log": 0.0}[form], abs=1e-12)
    costs = getattr(CELLS.costs(INPUTS)["cell"], f"{of}_EO")
    with torch.no_grad():
        method.alpha["cell"].normal_()
    expected = (method.strengths()["cell"] * costs).sum() / (costs.sum() / 5)
    expected = 0.5 * (expected.log() if form == "log" else expected)
    torch.testing.assert_close(method.penalty(), expected)


@pytest.mark.parametrize("relaxation", ["softmax", "dirichlet"])
@pytest.mark.parametrize("form", ["linear", "log"])
def test_its_gradient_is_the_difference_quotient(form, relaxation):
    torch.manual_seed(0)
    method = method_of(
        CELLS,
        {"weight": 0.3, "form": form},
        relaxation=relaxation,
        edges={"_target_": "nas.methods.relaxations.Softmax"},
    )
    method.prune(3)
    alphas = method.alphas()
    found = method.anchor_gradients()
    assert any(one.abs().sum() > 0 for one in found[1:])  # edge weights have a part in what is expected
    for alpha, gradient in zip(alphas, found, strict=True):
        numeric = torch.zeros_like(alpha).flatten()
        flat = alpha.detach().flatten().clone()
        for place in range(len(flat)):
            values = []
            for step in (1e-6, -1e-6):
                with torch.no_grad():
                    moved = flat.clone()
                    moved[place] += step
                    alpha.copy_(moved.view_as(alpha))
                    values.append(method.penalty())
            numeric[place] = (values[0] - values[1]) / 2e-6
        with torch.no_grad():
            alpha.copy_(flat.view_as(alpha))
        torch.testing.assert_close(gradient, numeric.view_as(gradient), atol=1e-8, rtol=1e-6)


def test_a_weight_of_zero_is_no_term_and_asks_for_no_costs():
    for cost in (None, {"of": "macs", "weight": 0.0}):
        method = method_of(RecurrentSpace("darts_rnn", num_nodes=2), cost, TextInputs(10))
        assert method.cost is None and not any(one.any() for one in method.anchor_gradients())


def test_what_is_free_has_no_gradient_where_nothing_else_is_kept():
    method = method_of(CELLS, {"weight": 1.0, "form": "log"})
    with torch.no_grad():
        method.alpha["cell"].copy_(torch.tensor([3.0, 2.0, 0.0, 0.0, 1.0]).repeat(6, 1))
    method.prune(3)
    assert not any(one.any() for one in method.anchor_gradients())


def test_what_means_nothing_is_refused():
    with pytest.raises(ConfigError, match=r"method\.cost\.of=latency"):
        method_of(CELLS, {"of": "latency", "weight": 1.0})
    with pytest.raises(ConfigError, match=r"method\.cost\.weight=-1"):
        method_of(CELLS, {"weight": -1})
    with pytest.raises(ConfigError, match="does not say what each candidate of recurrent costs"):
        method_of(RecurrentSpace("darts_rnn", num_nodes=2), {"weight": 1.0}, TextInputs(10))
    free = NasBench201Space("nasbench201", ["none", "skip_connect"], 1, 4)
    with pytest.raises(ConfigError, match=r"method\.cost\.of=params: no candidate of this space has any"):
        method_of(free, {"weight": 1.0})
    with pytest.raises(ConfigError, match="never moves, so that it could act on nothing"):
        method_of(CELLS, {"weight": 1.0}, update="none")
