"""The LSTM baseline: torch's own, within the masks, the embedding and the decoder of the other networks."""

import pytest
import torch
from torch.nn import functional as F

from nas.analysis.cost.complexity import count_cost
from nas.analysis.plots import draw_genotype
from nas.errors import ConfigError
from nas.genotype import load, parse
from nas.spaces.recurrent.language_model import Dropouts, Sizes
from nas.spaces.recurrent.lstm import LstmNetwork
from nas.spaces.recurrent.space import RecurrentSpace
from nas.spaces.space import TextInputs

WORDS, COLUMNS, STEPS, UNITS = 13, 4, 5, 7
LSTM = load("LSTM", "darts_rnn")
RATES = dict(zip(("input", "hidden", "x", "output", "embed"), (0.2, 0.25, 0.5, 0.3, 0.2), strict=True))


def lstm(**rates) -> LstmNetwork:
    torch.manual_seed(0)
    space = RecurrentSpace("darts_rnn", hidden_size=UNITS, dropout_input=0.0)
    given = {f"dropout_{name}": rates.get(name, 0.0) for name in RATES}
    return space.network(LSTM, TextInputs(WORDS), **given).double()


def words() -> torch.Tensor:
    return torch.randint(WORDS, (STEPS, COLUMNS), generator=torch.Generator().manual_seed(1))


def by_hand(network: LstmNetwork, tokens_TB, hidden_1BS, masks) -> tuple[torch.Tensor, ...]:
    """Hochreiter and Schmidhuber's cell with a forget gate, step by step."""
    own = network.lstm
    h_BH, c_BH = hidden_1BS[0].chunk(2, dim=-1)
    x_TBX = network.embedding[tokens_TB]
    if masks.words_V is not None:
        x_TBX = x_TBX * masks.words_V[tokens_TB][..., None] * masks.input_BX
    outputs = []
    for x_BX in x_TBX:
        read_BH = h_BH if masks.hidden_BH is None else h_BH * masks.hidden_BH
        gates_B4H = x_BX @ own.weight_ih_l0.T + own.bias_ih_l0 + read_BH @ own.weight_hh_l0.T + own.bias_hh_l0
        take_BH, forget_BH, new_BH, show_BH = gates_B4H.chunk(4, dim=-1)
        c_BH = forget_BH.sigmoid() * c_BH + take_BH.sigmoid() * new_BH.tanh()
        h_BH = show_BH.sigmoid() * c_BH.tanh()
        outputs.append(h_BH)
    raw_TBH = torch.stack(outputs)
    dropped_TBH = raw_TBH if masks.output_BH is None else raw_TBH * masks.output_BH
    return dropped_TBH @ network.embedding.T + network.bias, torch.cat((h_BH, c_BH), -1)[None], raw_TBH


@pytest.mark.parametrize("rates", [{}, RATES], ids=["plain", "all dropouts"])
def test_it_is_an_lstm_with_locked_dropout(rates):
    network = lstm(**rates).train()
    tokens_TB, hidden_1BS = words(), torch.randn(1, COLUMNS, 2 * UNITS, dtype=torch.double)
    torch.manual_seed(5)
    masks = network.draw_masks(COLUMNS)
    torch.manual_seed(5)
    logits, state, extras = network(tokens_TB, hidden_1BS)
    expected, last, raw = by_hand(network, tokens_TB, hidden_1BS, masks)
    torch.testing.assert_close((logits, state, extras.raw_TBH), (expected, last, raw))
    assert (extras.dropped_TBH is extras.raw_TBH) == (not rates)


def test_its_masks_are_those_of_a_searched_cells_network():
    space = RecurrentSpace("darts_rnn", hidden_size=UNITS)
    networks = [
        space.network(load(name, "darts_rnn"), TextInputs(WORDS)).train() for name in ("LSTM", "DARTS_V2")
    ]
    found = []
    for network in networks:
        network.dropouts = Dropouts(**RATES)
        torch.manual_seed(3)
        found.append(network.draw_masks(COLUMNS))
    assert all(torch.equal(*pair) for pair in zip(*found, strict=True))
    assert networks[0].eval().draw_masks(COLUMNS) == (None,) * 4


def test_a_text_read_in_two_pieces_is_the_text_read_at_once():
    network, tokens_TB = lstm().eval(), words()
    whole, last, _ = network(tokens_TB)
    first, state, _ = network(tokens_TB[:2])
    second, end, _ = network(tokens_TB[2:], state)
    torch.testing.assert_close((torch.cat((first, second)), end), (whole, last))


def test_the_loss_reaches_every_parameter():
    network = lstm(**RATES).train()
    logits, *_ = network(words())
    F.cross_entropy(logits.flatten(0, 1), words().flatten()).backward()
    assert all(one.grad.abs().sum() > 0 for one in network.parameters())


@pytest.mark.parametrize(("tied", "embedding_size"), [(True, None), (False, 5)])
def test_what_it_costs(tied, embedding_size):
    """Both of torch's biases count as parameters, as torch has them; the embedding is looked up."""
    space = RecurrentSpace("darts_rnn", hidden_size=UNITS, embedding_size=embedding_size, tied=tied)
    wide = embedding_size or UNITS
    cost = count_cost(lambda: space.network(LSTM, TextInputs(WORDS)), TextInputs(WORDS).example)
    matrices = 4 * UNITS * (wide + UNITS)
    assert cost.params == WORDS * wide + WORDS + matrices + 8 * UNITS + (0 if tied else WORDS * UNITS)
    assert cost.macs == matrices + WORDS * UNITS


def test_as_a_genotype_it_is_read_and_drawn_as_any_other(tmp_path):
    assert LSTM.to_text() == "Genotype(recurrent=[('lstm', 0)], concat=[1])"
    assert parse(LSTM.to_text()) == parse(LSTM.to_json()) == LSTM
    assert draw_genotype(LSTM, tmp_path / "lstm.png").stat().st_size > 0
    assert "lstm" in (tmp_path / "lstm.dot").read_text()


def test_what_it_refuses():
    space = RecurrentSpace("darts_rnn", hidden_size=UNITS)
    mixed = parse("Genotype(recurrent=[('tanh', 0), ('lstm', 1)], concat=[1, 2])")
    with pytest.raises(ConfigError, match="unknown operations \\['lstm'\\]"):
        space.network(mixed, TextInputs(WORDS))
    with pytest.raises(ConfigError, match="tied to the embedding"):
        space.network(LSTM, TextInputs(WORDS), hidden_size=UNITS, embedding_size=3)
    with pytest.raises(ConfigError, match="hidden_size=0"):
        LstmNetwork(Sizes(WORDS, 0, Dropouts()))
    with pytest.raises(ConfigError, match="the batch size has changed"):
        lstm()(words(), torch.zeros(1, COLUMNS, UNITS))


@pytest.mark.parametrize(
    ("genotype", "names"),
    [
        ("LSTM", [f"lstm.{kind}_{of}_l0" for kind in ("weight", "bias") for of in ("ih", "hh")]),
        ("DARTS_V2", ["first", "weights"]),
    ],
)
def test_checkpoints_know_parameters_by_these_names(genotype, names):
    space = RecurrentSpace("darts_rnn", num_nodes=2, hidden_size=3, embedding_size=4, tied=False)
    network = space.network(load(genotype, "darts_rnn"), TextInputs(7))
    assert list(network.state_dict()) == ["embedding", "decoder", "bias", *names]
