"""The cost of a network is that of its matrix products, and of its parameters wherever they lie."""

import pytest
import torch
from torch import nn

from nas.analysis.cost.complexity import count_cost
from nas.analysis.cost.pricing import EdgePrices
from nas.genotype import load, parse
from nas.spaces.recurrent.space import RecurrentSpace
from nas.spaces.space import TextInputs
from tests.shared import shared_json

PTB, WIKITEXT2 = 10_000, 33_278  # words


def cost_of(name, vocabulary, units, **options):
    space = RecurrentSpace("darts_rnn", **options)
    genotype = name if not isinstance(name, str) else load(name, "darts_rnn")
    return count_cost(
        lambda: space.network(genotype, TextInputs(vocabulary), units), TextInputs(vocabulary).example
    )


@pytest.mark.parametrize("name", ["DARTS_V1", "DARTS_V2"])
@pytest.mark.parametrize(("vocabulary", "units"), [(PTB, 850), (WIKITEXT2, 700)])
def test_a_word_costs_one_product_with_every_matrix_of_the_cell_and_with_the_decoder(name, vocabulary, units):
    first, nodes = (units + units) * 2 * units, 8 * units * 2 * units
    found = cost_of(name, vocabulary, units)
    assert found.macs == first + nodes + units * vocabulary
    assert found.params == first + nodes + units * vocabulary + vocabulary
    assert found.params_auxiliary == 0


@pytest.mark.parametrize("name", ["DARTS_V1", "DARTS_V2"])
def test_language_models_are_as_large_as_the_authors(name):
    expected = shared_json("goldens/counts.json")["recurrent"][name]
    assert cost_of(name, PTB, 850).params == expected["params_ptb_850"]
    assert cost_of(name, WIKITEXT2, 700).params == expected["params_wt2_700"]


def test_parameters_outside_all_modules_are_a_part_and_the_parts_add_up():
    found = cost_of("DARTS_V1", 11, 5)
    assert [part for part, *_ in found.parts] == ["embedding, bias, first, weights"]
    assert (found.params, found.macs) == found.parts[0][1:]

    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(12, 4))
            self.head = nn.Linear(4, 3)

        def forward(self, x_BCHW):
            return self.head(x_BCHW.flatten(1) @ self.scale)

    assert count_cost(Scaled, (3, 2, 2)).parts == (("scale", 48, 48), ("head", 15, 12))


def test_all_cells_of_so_many_nodes_cost_the_same_and_prices_by_edge_say_so():
    def price(genotype):
        found = cost_of(genotype, 11, 5)
        return found.params, found.macs

    prices = EdgePrices(price)
    wide = parse("Genotype(recurrent=[('tanh', 0), ('relu', 0), ('identity', 0)], concat=[1, 2, 3])")
    deep = parse("Genotype(recurrent=[('identity', 0), ('identity', 1), ('sigmoid', 2)], concat=[1, 2, 3])")
    assert prices(wide) == prices(deep)
    for genotype in (wide, deep):
        prices.check(genotype)
