"""What `debug=fast` makes of a search in stages."""

import pytest
import torch

from nas.engine.shortened import shorten, shorten_evaluation, shorten_search
from nas.errors import ConfigError
from nas.spaces.dso.space import DsoSpace


def config(stages, max_epochs=1, init_channels=4):
    return {
        "method": {"stages": stages},
        "trainer": {"max_epochs": max_epochs},
        "space": {"init_channels": init_channels},
    }


def stage(epochs, freeze=0, **more):
    return {"epochs": epochs, "freeze": freeze, "partial": 1, "keep": None} | more


@pytest.mark.parametrize(("max_epochs", "epochs"), [(1, [1, 1, 1]), (3, [1, 1, 1]), (7, [1, 1, 5])])
def test_stages_get_an_epoch_each_and_the_last_the_rest(max_epochs, epochs):
    given = config([stage(20, freeze=10), stage(20), stage(10, freeze=2)], max_epochs)
    shorten(given)
    stages = given["method"]["stages"]
    assert [one["epochs"] for one in stages] == epochs
    assert given["trainer"]["max_epochs"] == sum(epochs)
    # alpha moves in the last epoch of every stage.
    assert [one["freeze"] for one in stages] == [0, 0, min(2, epochs[-1] - 1)]


@pytest.mark.parametrize(
    ("init_channels", "partial", "channels"), [(4, (6, 4), 12), (16, (4, 2), 16), (5, (1, 1), 5)]
)
def test_every_k_divides_the_channels(init_channels, partial, channels):
    given = config([stage(25, partial=k) for k in partial], init_channels=init_channels)
    shorten(given)
    assert given["space"]["init_channels"] == channels
    assert [one["partial"] for one in given["method"]["stages"]] == list(partial)


@pytest.mark.parametrize(
    ("space", "depths"),
    [
        ({"cells_per_stage": 5, "num_cells": 3}, [1, 2, 3]),  # debug=fast: three cells in all
        ({"cells_per_stage": 1, "num_cells": None}, [1, 2, 3]),
        ({"cells_per_stage": 4, "num_cells": None}, [1, 3, 5]),
        ({"num_cells": 3}, [1, 3, 5]),
        ({}, [1, 3, 5]),
    ],
)
def test_depths_are_those_of_the_space_and_a_cell_more_each(space, depths):
    given = config([stage(25, cells=cells, fresh=True) for cells in (1, 3, 5)])
    given["space"] |= space
    shorten(given)
    assert [one["cells"] for one in given["method"]["stages"]] == depths


@pytest.mark.parametrize("stages", [None, [stage(2, freeze=2), stage(1, partial=1)]])
def test_nothing_happens_without_stages_or_where_they_fit(stages):
    given, same = config(stages, 3), config(stages, 3)
    shorten(given)
    assert given == same


def test_what_is_no_list_of_stages_is_refused():
    with pytest.raises(ConfigError, match=r"method\.stages\[0\]: the key epochs is missing"):
        shorten(config([{"partial": 2}]))


def with_warmup(warmup_epochs, max_epochs, limit=2, **method):
    return {
        "method": {"warmup_epochs": warmup_epochs, "stages": None} | method,
        "trainer": {"max_epochs": max_epochs, "limit_train_batches": limit},
        "space": {},
    }


@pytest.mark.parametrize(("warmup", "epochs", "left"), [(10, 1, 0), (120, 4, 3), (2, 4, 2), (0, 1, 0)])
def test_a_warm_up_leaves_the_last_epoch_to_the_architecture(warmup, epochs, left):
    given = with_warmup(warmup, epochs)
    shorten_search(given)
    assert given["method"]["warmup_epochs"] == left


@pytest.mark.parametrize(
    ("typed", "limit", "weight_steps"),
    [
        ((), 4, 4),
        (("trainer.limit_train_batches",), 2, 2),
        (("trainer.limit_train_batches", "method.weight_steps"), 2, 4),
    ],
)
def test_an_epoch_holds_one_step_of_x_to_one(typed, limit, weight_steps):
    given = with_warmup(0, 1, weight_steps=4)
    shorten_search(given, typed)
    assert given["trainer"]["limit_train_batches"] == limit
    assert given["method"]["weight_steps"] == weight_steps


def test_what_was_typed_stays():
    given = with_warmup(10, 1)
    shorten_search(given, {"method.warmup_epochs"})
    assert given["method"]["warmup_epochs"] == 10


@pytest.mark.parametrize(
    ("units", "rate", "clip", "typed", "expected"),
    [
        (4, 20.0, 0.25, (), 0.005),
        (64, 20.0, 0.25, (), 0.25),
        (None, 20.0, 0.25, (), 0.25),
        (4, 20.0, 0.25, ("method.clip",), 0.25),
        (4, 0.025, 4.0, (), 4.0),
        (4, 20.0, None, (), None),
    ],
)
def test_steps_are_cut_to_what_a_narrow_network_bears(units, rate, clip, typed, expected):
    given = config(None, init_channels=units)
    given["trainer"]["limit_train_batches"] = 2
    given["method"] |= {"weight_steps": 1, "clip": clip, "weight_optimizer": {"lr": rate}}
    shorten_search(given, typed)
    assert given["method"]["clip"] == expected


@pytest.mark.parametrize(
    ("cells", "typed", "blocks"),
    [(3, (), None), (None, (), [8, 8]), (3, ("recipe.blocks_per_stage",), [8, 8])],
)
def test_of_fewer_blocks_the_evaluation_network_has_as_many(cells, typed, blocks):
    given = config(None)
    given["trainer"]["limit_train_batches"] = 2
    given["space"] |= {"num_cells": cells, "blocks_per_stage": [8, 8, 8]}
    given["recipe"] = {"blocks_per_stage": [8, 8]}
    shorten_search(given, typed)
    assert given["recipe"]["blocks_per_stage"] == blocks


@pytest.mark.parametrize(
    ("share", "blocks", "cells", "typed", "left"),
    [
        (False, 3, 3, (), None),
        (False, 3, 3, ("recipe.blocks_per_stage",), [8, 8, 8]),
        (False, 4, 3, (), [8, 8, 8]),
        (False, 3, None, (), [8, 8, 8]),
        (True, 3, 3, (), [8, 8, 8]),
    ],
)
def test_blocks_of_their_own_are_trained_as_many_as_were_found(share, blocks, cells, typed, left):
    space = DsoSpace("dso", blocks_per_stage=[8, 8, 8], num_cells=blocks, share=share)
    genotype = space.derive({name: torch.ones(group.shape) for name, group in space.groups.items()})
    given = {"space": {"num_cells": cells}, "recipe": {"blocks_per_stage": [8, 8, 8]}}
    shorten_evaluation(given, genotype, typed)
    assert given["recipe"]["blocks_per_stage"] == left
