"""What a person reads while a run goes on."""

import pytest

from nas.analysis.metrics import PERPLEXITY
from nas.engine.progress import epoch_line


def test_a_line_of_a_search_on_images():
    row = {"epoch": 1, "weight_loss": 1.23456, "weight_accuracy": 0.5, "learning_rate": 0.025, "num_skip": 2}
    assert epoch_line(row, 50, "3m") == (
        "epoch 2/50  weight loss 1.235  weight acc 50.0%  lr 0.025  skips 2  left 3m"
    )


def test_a_line_of_a_search_on_texts():
    row = {
        "epoch": 0,
        "weight_loss": 4.815,
        "weight_perplexity": 123.41,
        "architecture_perplexity": 98.0,
        "learning_rate": 20.0,
        "architecture_step_loss": 5.0,
    }
    assert epoch_line(row, 50, "") == (
        "epoch 1/50  weight loss 4.815  weight ppl 123.4  architecture ppl 98.0  lr 20"
    )


@pytest.mark.parametrize(
    ("value", "text"), [(58.0, "58.0"), (33278.4, "33278.4"), (2.5e9, "2.5e+09"), (float("inf"), "inf")]
)
def test_a_perplexity_stays_short_even_of_a_network_that_knows_nothing(value, text):
    assert PERPLEXITY.brief(value) == text
