"""What the tables say of an architecture."""

import pytest

from nas.engine.rows import count_skips
from nas.genotype import load, parse

RECURRENT = "Genotype(recurrent=[('identity', 0), ('relu', 1), ('identity', 1)], concat=[1, 2, 3])"


@pytest.mark.parametrize(
    ("genotype", "skips"),
    [
        # Of the normal cell alone: the reduction cell has three more.
        (load("DARTS_V1", "darts"), 3),
        (parse("|skip_connect~0|+|none~0|skip_connect~1|+|none~0|none~1|nor_conv_3x3~2|"), 2),
        # Nodes of a recurrent cell that pass their state on.
        (parse(RECURRENT), 2),
        (load("DARTS_V2", "darts_rnn"), 1),
    ],
)
def test_what_only_passes_on_is_counted(genotype, skips):
    assert count_skips(genotype) == skips
