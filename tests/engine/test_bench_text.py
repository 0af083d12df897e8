"""The steps that `nas.bench` takes on text are those of the literal network: the same numbers in float64."""

import pytest
import torch

from nas.engine.tasks import Language
from nas.errors import ConfigError
from nas.genotype import load
from nas.measure.bench_text import (
    LiteralWithMasks,
    literal_network,
    text_batch,
)
from nas.measure.original_steps import OriginalSteps
from nas.measure.steps import EvaluationSteps, SearchSteps, numerics
from nas.spaces.recurrent.language_model import Dropouts
from nas.spaces.recurrent.space import OPERATIONS, RecurrentSpace
from nas.spaces.space import TextInputs
from tests.methods.flat import flat_method
from tests.reference.recurrent import LiteralNetwork, LiteralSupernet, load_literal

WORDS, COLUMNS, STEPS, UNITS, NODES = 13, 4, 5, 6, 3
WHERE = numerics({"precision": "64-true", "accelerator": "cpu", "channels_last": False})
TASK = Language(tar=0.5)
NONE = {f"dropout_{name}": 0.0 for name in ("input", "hidden", "x", "output", "embed")}


def pair():
    """Our steps and the literal ones from the same weights and alpha, nothing dropped, on equal segments."""
    space = RecurrentSpace("darts_rnn", num_nodes=NODES, hidden_size=UNITS, **NONE)
    torch.manual_seed(0)
    literal = LiteralSupernet(OPERATIONS, WORDS, UNITS, NODES).double()
    supernet = space.supernet(TextInputs(WORDS)).double()
    load_literal(supernet, literal)
    batches = [text_batch(WHERE, STEPS, COLUMNS, WORDS, seed) for seed in (1, 2)]

    def method():
        torch.manual_seed(3)
        return flat_method(
            "toy",
            {name: group.shape for name, group in space.groups.items()},
            update="unrolled",
            clip=0.25,
            weight_optimizer=lambda p: torch.optim.SGD(p, 2.0, weight_decay=5e-7),
            # Not Adam, which turns rounding of a vanishing gradient into a full step.
            architecture_optimizer=lambda p: torch.optim.SGD(p, 1.0),
        )

    literal = LiteralWithMasks(literal, space.dropouts)
    return (
        SearchSteps(supernet, method(), *batches, WHERE, TASK),
        OriginalSteps(literal, method(), *batches, WHERE, TASK, alpha_gradients=True),
    )


@pytest.mark.parametrize("step", ["weight", "first_order", "second_order"])
def test_steps_are_those_of_the_literal_network(step):
    ours, literal = pair()
    start = [alpha_EO.detach().clone() for alpha_EO in ours.alphas]
    for steps in (ours, literal):
        steps.step(step)()
        steps.weight()
    for a, b in zip(ours.alphas, literal.alphas, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-8)
    moved = any(not torch.equal(a, b) for a, b in zip(ours.alphas, start, strict=True))
    assert moved == (step != "weight")
    theirs = dict(literal.supernet.literal.named_parameters())
    torch.testing.assert_close(ours.supernet.embedding, theirs["embedding"], rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(ours.supernet.first, theirs["first"], rtol=1e-6, atol=1e-8)


def test_an_evaluation_step_is_that_of_the_literal_network():
    genotype = load("DARTS_V2", "darts_rnn")
    network = (
        RecurrentSpace("darts_rnn", hidden_size=UNITS, **NONE).network(genotype, TextInputs(WORDS)).double()
    )
    literal = literal_network(LiteralNetwork, genotype, network).double()
    load_literal(network, literal.literal)
    batch = text_batch(WHERE, STEPS, COLUMNS, WORDS, 1)
    for one in (network, literal):
        EvaluationSteps(one, lambda p: torch.optim.SGD(p, 2.0), TASK, 0.25, batch, WHERE).train()
    torch.testing.assert_close(network.embedding, literal.literal.embedding, rtol=1e-9, atol=1e-10)


def test_the_literal_network_draws_masks_in_training_alone():
    literal = LiteralWithMasks(LiteralSupernet(OPERATIONS, WORDS, UNITS, 1), Dropouts(x=0.5, embed=0.5))
    assert set(literal.train()._masks(COLUMNS)) == {"rows", "x"}
    assert literal.eval()._masks(COLUMNS) == {}


def test_an_lstm_has_no_literal_network():
    lstm = load("LSTM", "darts_rnn")
    network = RecurrentSpace("darts_rnn", hidden_size=UNITS).network(lstm, TextInputs(WORDS))
    with pytest.raises(ConfigError, match="no literal network of an LSTM"):
        literal_network(LiteralNetwork, lstm, network)
