"""The recurrent space: its architectures, its networks against literal ones, their exact sizes."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.func import functional_call
from torch.nn import functional as F

from nas.errors import ConfigError
from nas.genotype import load, parse
from nas.spaces.native.library import SOURCES, load_library
from nas.spaces.recurrent import language_model as recurrent_parts
from nas.spaces.recurrent.language_model import Dropouts, keep_mask
from nas.spaces.recurrent.space import OPERATIONS, RecurrentSpace
from nas.spaces.space import TextInputs
from tests.reference.recurrent import LiteralNetwork, LiteralSupernet, load_literal
from tests.shared import shared_json

WORDS, COLUMNS, STEPS, UNITS, NODES = 13, 4, 5, 19, 3  # 19 units: no whole number of vectors
ALL_DROPOUTS = {
    "dropout_input": 0.2,
    "dropout_hidden": 0.25,
    "dropout_x": 0.5,
    "dropout_output": 0.3,
    "dropout_embed": 0.2,
}
NO_DROPOUTS = dict.fromkeys(ALL_DROPOUTS, 0.0)
WAYS = ("fused", "native", "operators")


def tiny(**changes):
    sizes = {"num_nodes": NODES, "hidden_size": UNITS, **ALL_DROPOUTS, **changes}
    return RecurrentSpace("darts_rnn", **sizes)


def compute(supernet, way):
    """Makes the supernet compute in one of the three ways."""
    supernet.execution.fused = way != "operators"
    if way == "native":
        if "recurrent.cpp" not in {path.name for path in SOURCES}:
            pytest.skip("the kernel for recurrent cells is not part of the library")
        supernet.execution.native = load_library()
        if supernet.execution.native is None:
            pytest.skip("no compiler for the native kernel")


# --- architectures -----------------------------------------------------------------------------------


def test_rows_of_alpha_are_the_36_edges_node_by_node():
    group = RecurrentSpace("darts_rnn").groups["recurrent"]
    assert group.shape == (36, 5)
    assert group.edges[:4] == ((0, 1), (0, 2), (1, 2), (0, 3)) and group.edges[-1] == (7, 8)
    assert group.operations[0] == ("none", "tanh", "relu", "sigmoid", "identity")
    assert [guard.rows for guard in group.guards[:3]] == [(0,), (1, 2), (3, 4, 5)]  # a node keeps an input


@given(st.data())
@settings(max_examples=50, deadline=None)
def test_derivation_takes_the_strongest_predecessor_by_its_best_operation_but_none(data):
    """Few different values, so that ties are common: they go to the lower predecessor, then column."""
    space = tiny()
    values = data.draw(st.lists(st.integers(-2, 2), min_size=6 * 5, max_size=6 * 5))
    strengths = torch.tensor(values, dtype=torch.float).view(6, 5)
    cell = space.derive({"recurrent": strengths})["recurrent"]
    assert cell.output == (1, 2, 3) and cell.inputs == 1
    for target, (edge,) in enumerate(cell.nodes, start=1):
        rows = strengths[[space.groups["recurrent"].edges.index((s, target)) for s in range(target)], 1:]
        place = int((rows.flatten() == rows.max()).nonzero()[0])
        assert (edge.source, OPERATIONS[1 + place % 4]) == (place // 4, edge.operation)


@pytest.mark.parametrize("name", ["DARTS_V1", "DARTS_V2"])
def test_the_published_cells_are_derived_from_their_own_one_hot_weights(name):
    space = RecurrentSpace("darts_rnn")
    genotype = load(name, "darts_rnn")
    strengths = torch.zeros(36, 5)
    strengths[:, 0] = 2.0  # the strongest of all, and never taken
    for target, (edge,) in enumerate(genotype["recurrent"].nodes, start=1):
        row = space.groups["recurrent"].edges.index((edge.source, target))
        strengths[row, OPERATIONS.index(edge.operation)] = 1.0
    assert space.derive({"recurrent": strengths}) == genotype


# --- sizes -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def counts():
    return shared_json("goldens/counts.json")["recurrent"]


def parameters(network):
    return sum(parameter.numel() for parameter in network.parameters())


def test_the_search_network_has_the_published_number_of_parameters(counts):
    with torch.device("meta"):
        supernet = RecurrentSpace("darts_rnn").supernet(TextInputs(10_000))
    assert parameters(supernet) == counts["search_ptb_300"]["params"] == 4_810_000


@pytest.mark.parametrize("name", ["DARTS_V1", "DARTS_V2"])
def test_evaluation_networks_have_the_published_number_of_parameters(name, counts):
    space, genotype = RecurrentSpace("darts_rnn"), load(name, "darts_rnn")
    with torch.device("meta"):
        ptb = space.network(genotype, TextInputs(10_000), hidden_size=850)
        wikitext2 = space.network(genotype, TextInputs(33_278), hidden_size=700)
    assert parameters(ptb) == counts[name]["params_ptb_850"] == 22_960_000
    assert parameters(wikitext2) == counts[name]["params_wt2_700"] == 33_127_878
    assert ptb.first.numel() + ptb.weights.numel() == counts[name]["cell_params"]


def test_weights_start_within_4_hundredths_and_the_bias_at_0():
    network = tiny().supernet(TextInputs(WORDS))
    for name, parameter in network.named_parameters():
        largest = parameter.abs().max()
        assert largest == 0 if name == "bias" else 0.03 < largest <= 0.04


# --- supernet ----------------------------------------------------------------------------------------


def pair(space, kept=None):
    """The fast and the literal supernet with equal parameters."""
    torch.manual_seed(0)
    fast = space.supernet(TextInputs(WORDS), kept=kept).double()
    group = space.groups["recurrent"]
    literal = LiteralSupernet(group.operations[0], WORDS, UNITS, space.num_nodes).double()
    with torch.no_grad():
        for parameter in literal.parameters():
            parameter.mul_(10)  # out of the range where all operations are nearly linear
    load_literal(fast, literal)
    return fast, literal


def text(steps=STEPS):
    torch.manual_seed(1)
    tokens, targets = torch.randint(WORDS, (2, steps, COLUMNS))
    return tokens, targets, torch.randn(1, COLUMNS, UNITS).double()


def masks_of(network, seed):
    """The masks that the network draws after this seed, under the literal network's names."""
    torch.manual_seed(seed)
    drawn = network.draw_masks(COLUMNS)._asdict()
    names = {"rows": "words_V", "input": "input_BX", "hidden": "hidden_BH", "output": "output_BH"}
    return {ours: drawn[theirs] for ours, theirs in names.items() if drawn[theirs] is not None}


def derivatives(result, targets, network, *inputs):
    """Values and all gradients of a loss that depends on everything that a network returns."""
    network.zero_grad()
    logits, hidden, *extras = result
    loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten()) + hidden.sin().sum()
    dropped, raw = extras if len(extras) == 2 else extras[0]
    loss = loss + dropped.square().mean() + (raw[1:] - raw[:-1]).square().sum()
    loss.backward()
    found = {name: parameter.grad for name, parameter in network.named_parameters()}
    nodes = [name for name in found if name.startswith("weights.")]
    if nodes:
        found["weights"] = torch.stack([found.pop(name) for name in nodes])
    values = {"logits": logits.detach(), "hidden": hidden.detach(), "dropped": dropped.detach()}
    return {**values, **found, **{f"input {i}": x.grad for i, x in enumerate(inputs)}}


def assert_same(found, expected):
    assert set(found) == set(expected)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-10, atol=1e-12, msg=name)


def compare_supernets(fast, literal, weights, steps=STEPS):
    tokens, targets, hidden = text(steps)
    inputs = [x.clone().requires_grad_() for x in (weights, hidden, weights, hidden)]
    expected = literal(tokens, inputs[0], inputs[1], masks_of(fast, seed=2))
    torch.manual_seed(2)
    found = fast(tokens, {"recurrent": inputs[2]}, inputs[3])
    assert_same(
        derivatives(found, targets, fast, *inputs[2:]),
        derivatives(expected, targets, literal, *inputs[:2]),
    )
    for name, value in literal.norm.state_dict().items():
        torch.testing.assert_close(fast.norm.state_dict()[name], value, rtol=1e-10, atol=1e-12, msg=name)


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("way", WAYS)
def test_the_supernet_agrees_with_the_literal_one(way, train):
    """Values, gradients of all weights, op weights and hidden state, and batch norm's statistics."""
    fast, literal = pair(tiny())
    compute(fast, way)
    weights = torch.rand(6, 5).double()
    compare_supernets(fast, literal, weights)  # moves the running statistics, in both
    fast.train(train), literal.train(train)
    compare_supernets(fast, literal, weights)


@pytest.mark.parametrize("rows", [1, 2 * COLUMNS, 3 * COLUMNS])
def test_gradients_gathered_over_any_number_of_steps_are_the_same(rows, monkeypatch):
    monkeypatch.setattr(recurrent_parts, "GATHERED_ROWS", rows)
    compare_supernets(*pair(tiny()), torch.rand(6, 5).double(), steps=7)


@pytest.mark.parametrize("operations", [("identity",), ("relu", "none", "tanh"), OPERATIONS[::-1]])
@pytest.mark.parametrize("way", WAYS)
def test_other_lists_of_operations_agree(way, operations):
    fast, literal = pair(tiny(operations=operations, num_nodes=1, **NO_DROPOUTS))
    compute(fast, way)
    compare_supernets(fast, literal, torch.rand(1, len(operations)).double())


def test_dropped_candidates_count_nothing_whatever_their_weight():
    kept = torch.rand(6, 5, generator=torch.Generator().manual_seed(3)) < 0.5
    fast, _ = pair(tiny(), {"recurrent": kept})
    _, literal = pair(tiny())
    tokens, _, hidden = text()
    weights = torch.rand(6, 5).double()
    expected = literal(tokens, weights * kept, hidden, masks_of(fast, seed=2))[0]
    torch.manual_seed(2)
    torch.testing.assert_close(fast(tokens, {"recurrent": weights}, hidden)[0], expected)


@pytest.mark.parametrize("way", WAYS)
def test_an_architecture_step_leaves_the_weights_out(way):
    """With frozen weights the op weights get the same gradient, and nothing else gets any."""
    fast, _ = pair(tiny(**NO_DROPOUTS))
    compute(fast, way)
    tokens, targets, _ = text()
    found = []
    for frozen in (False, True):
        fast.requires_grad_(not frozen)
        weights = torch.full((6, 5), 0.2, dtype=torch.double, requires_grad=True)
        logits = fast(tokens, {"recurrent": weights})[0]
        F.cross_entropy(logits.flatten(0, 1), targets.flatten()).backward()
        found.append(weights.grad)
    torch.testing.assert_close(*found)


def test_a_sequence_in_two_parts_is_the_sequence_at_once():
    fast, _ = pair(tiny(**NO_DROPOUTS))
    tokens, _, _ = text()
    weights = {"recurrent": torch.rand(6, 5).double()}
    whole, last, _ = fast(tokens, weights)
    first, hidden, _ = fast(tokens[:2], weights)
    second, hidden, _ = fast(tokens[2:], weights, hidden)
    torch.testing.assert_close(torch.cat([first, second]), whole)
    torch.testing.assert_close(hidden, last)


def test_every_state_of_a_sequence_moves_the_one_batch_norm():
    fast, _ = pair(tiny())
    fast(text()[0], {"recurrent": torch.rand(6, 5).double()})
    assert fast.norm.num_batches_tracked == STEPS * (NODES + 1)


# --- second derivatives ------------------------------------------------------------------------------


def small_function():
    """Last hidden state of a supernet of 3 units as a function of cell weights and op weights."""
    torch.manual_seed(4)
    supernet = (
        RecurrentSpace("darts_rnn", num_nodes=2, hidden_size=3, **NO_DROPOUTS)
        .supernet(TextInputs(5))
        .double()
    )
    tokens = torch.randint(5, (2, 3))
    hidden = torch.randn(1, 3, 3).double()

    def function(first, weights, op_weights):
        changed = {"first": first, "weights": weights}
        return functional_call(supernet, changed, (tokens, {"recurrent": op_weights}, hidden))[1]

    shapes = [supernet.first.shape, supernet.weights.shape, (3, 5)]
    return supernet, function, [torch.randn(shape).double().requires_grad_() for shape in shapes]


def test_first_derivatives_agree_with_finite_differences():
    _, function, inputs = small_function()
    assert torch.autograd.gradcheck(function, inputs)


def test_second_derivatives_agree_with_finite_differences_where_they_are_asked_for():
    supernet, function, inputs = small_function()
    with supernet.execution.twice_differentiable():
        assert torch.autograd.gradgradcheck(function, inputs)
    assert supernet.execution.fused


def test_the_fused_cell_refuses_second_derivatives():
    _, function, inputs = small_function()
    (gradient,) = torch.autograd.grad(function(*inputs).square().sum(), inputs[2], create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


# --- evaluation network ------------------------------------------------------------------------------


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("name", ["DARTS_V1", "DARTS_V2", "ENAS"])
def test_evaluation_networks_agree_with_the_literal_one(name, train, monkeypatch):
    monkeypatch.setattr(recurrent_parts, "GATHERED_ROWS", 2 * COLUMNS)
    genotype = load(name, "darts_rnn")
    torch.manual_seed(0)
    fast = tiny().network(genotype, TextInputs(WORDS)).double().train(train)
    literal = LiteralNetwork(genotype, WORDS, UNITS).double()
    load_literal(fast, literal)
    tokens, targets, hidden = text()
    hiddens = [hidden.clone().requires_grad_() for _ in range(2)]
    expected = literal(tokens, hidden=hiddens[0], masks=masks_of(fast, seed=2))
    torch.manual_seed(2)
    found = fast(tokens, hiddens[1])
    assert_same(
        derivatives(found, targets, fast, hiddens[1]), derivatives(expected, targets, literal, hiddens[0])
    )


def test_an_untied_decoder_has_a_matrix_of_its_own():
    space = tiny(tied=False, embedding_size=7)
    network = space.network(load("DARTS_V1", "darts_rnn"), TextInputs(WORDS))
    assert network.embedding.shape == (WORDS, 7) and network.decoder.shape == (WORDS, UNITS)
    network(text()[0])[0].sum().backward()
    assert network.decoder.grad.abs().sum() > 0


# --- dropout -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "build", [lambda s: s.supernet(TextInputs(WORDS)), lambda s: s.network(load("ENAS"), TextInputs(WORDS))]
)
def test_outputs_are_dropped_by_one_mask_at_all_steps_and_anew_in_the_next_sequence(build):
    network = build(tiny(**{**NO_DROPOUTS, "dropout_output": 0.3}))
    weights = [{"recurrent": torch.rand(6, 5)}] if hasattr(network, "groups") else []
    masks, tokens = [], text()[0]
    for _ in range(2):
        _, _, extras = network(tokens, *weights)
        masks_TBH = (extras.dropped_TBH / extras.raw_TBH).detach()
        torch.testing.assert_close(masks_TBH, masks_TBH[:1].expand_as(masks_TBH))
        masks.append(masks_TBH[0])
    assert not torch.equal(*masks)


def test_masks_keep_the_mean_and_drop_as_often_as_they_are_told():
    mask = keep_mask((200, 200), 0.25, torch.zeros(()))
    assert mask.unique().tolist() == [0.0, pytest.approx(4 / 3)]
    assert (mask == 0).float().mean() == pytest.approx(0.25, abs=0.02)
    assert keep_mask((2, 2), 0.0, mask) is None


def test_nothing_is_dropped_outside_training():
    network = tiny().supernet(TextInputs(WORDS)).eval()
    assert all(mask is None for mask in network.draw_masks(COLUMNS))


# --- bad input ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"num_nodes": 0}, "space.num_nodes=0"),
        ({"hidden_size": 1.5}, "space.hidden_size=1.5"),
        ({"operations": ("none",)}, "none alone"),
        ({"operations": ("none", "swish")}, "swish"),
        ({"dropout_hidden": 1.0}, "dropout_hidden=1.0"),
    ],
)
def test_a_space_refuses_what_it_cannot_be(changes, message):
    with pytest.raises(ConfigError, match=message):
        tiny(**changes)


def test_networks_refuse_what_does_not_fit():
    space, genotype = tiny(), load("DARTS_V1", "darts_rnn")
    with pytest.raises(ConfigError, match="tied"):
        tiny(embedding_size=7).supernet(TextInputs(WORDS))
    with pytest.raises(ConfigError, match="vocabulary=0"):
        space.network(genotype, TextInputs(0))
    with pytest.raises(ConfigError, match="belongs to space 'darts'"):
        space.network(load("DARTS_V1", "darts"), TextInputs(WORDS))
    with pytest.raises(ConfigError, match="none"):
        space.network(parse("Genotype(recurrent=[('none', 0)], concat=[1])"), TextInputs(WORDS))
    with pytest.raises(ConfigError, match="hidden state of shape"):
        space.network(genotype, TextInputs(WORDS))(text()[0], torch.zeros(1, COLUMNS + 1, UNITS))
    with pytest.raises(ConfigError, match="batch_size=1"):
        space.supernet(TextInputs(WORDS))(text()[0][:, :1], {"recurrent": torch.rand(6, 5)})


def test_probabilities_are_checked_one_by_one():
    for name in ("input", "hidden", "x", "output", "embed"):
        with pytest.raises(ConfigError, match=f"dropout_{name}=-0.1"):
            Dropouts(**{name: -0.1})
