"""A search as `debug=fast` and its like run it: cut short, but with at least one step of the architecture."""

import math
from collections.abc import Collection, Mapping, MutableMapping, Sequence
from dataclasses import asdict, replace

from nas.genotype import Genotype
from nas.methods.schedules import Stage, Stages

# Units from which on a recurrent search bears its steps, and how long those of fewer may be: at a rate of 20
# and a clip of 0.25 one search of four with 4 units was infinite after two steps, and one of 32 at a clip of
# 0.05.
WIDE, SHORT_STEP = 64, 0.1


def shorten_search(config: MutableMapping, typed: Collection[str] = ()) -> None:
    """`shorten`, and enough batches per epoch for an architecture step after every x weight steps.

    `trainer.limit_train_batches` is raised to `method.weight_steps` where it is a smaller number; where it
    was typed, `method.weight_steps` is lowered instead. Where both were typed, both stay. `method.clip` is
    lowered where a narrow network would not bear the length of its steps, unless it was typed. Where the
    space has fewer blocks than configured, its evaluation network has as many: blocks that differ could
    make no other.

    Args:
        config: with the groups `method`, `trainer` and `space`, and `recipe` where it has one.
        typed: the keys of the command line.
    """
    shorten(config, typed)
    method, trainer = config["method"], config["trainer"]
    if "method.clip" not in typed:
        _shorten_steps(method, config["space"])
    space, recipe, blocks = config["space"], config.get("recipe") or {}, "blocks_per_stage"
    fewer = blocks in space and space.get("num_cells") is not None
    if fewer and blocks in recipe and f"recipe.{blocks}" not in typed:
        recipe[blocks] = None
    steps, limit = method.get("weight_steps"), trainer["limit_train_batches"]
    if not all(isinstance(value, int) and value >= 1 for value in (steps, limit)) or limit >= steps:
        return
    if "trainer.limit_train_batches" not in typed:
        trainer["limit_train_batches"] = steps
    elif "method.weight_steps" not in typed:
        method["weight_steps"] = limit


def shorten_evaluation(config: MutableMapping, genotype: Genotype, typed: Collection[str] = ()) -> None:
    """Lets a genotype have the blocks that a shortened search found, in place.

    Blocks of its own fit no other number. Where the space is configured to have as many, the recipe follows
    it, unless `recipe.blocks_per_stage` was typed.

    Args:
        config: with the groups `space` and `recipe`.
        genotype: what is trained.
        typed: the keys of the command line.
    """
    blocks = sum(not genotype.form.reduces(name) for name, _ in genotype.cells)
    free = "blocks_per_stage" in config["recipe"] and "recipe.blocks_per_stage" not in typed
    if free and blocks == config["space"].get("num_cells"):
        config["recipe"]["blocks_per_stage"] = None


def shorten(config: MutableMapping, typed: Collection[str] = ()) -> None:
    """Fits `method.stages` and `method.warmup_epochs` into `trainer.max_epochs`, in place.

    Nothing happens to stages that fill the search already, but that a single one leaves an epoch to alpha.
    Otherwise every stage gets one epoch and the last
    what is left of `trainer.max_epochs`, which is raised to the number of stages where it is less. alpha
    moves in the last epoch of each. Where stages have depths of their own, they are the space's and a cell
    more in each deeper one. `space.init_channels` is rounded up to what the K of every stage divides.

    A warm-up (DSO-NAS: the pretraining) that would fill the search leaves its last epoch to the architecture,
    unless its length was typed.

    Args:
        config: with the groups `method`, `trainer` and `space`.
        typed: the keys of the command line.

    Raises:
        ConfigError: `method.stages` is no list of stages.
    """
    method, trainer, space = config["method"], config["trainer"], config["space"]
    if not isinstance(trainer["max_epochs"], int):
        return
    if method.get("stages") is not None:
        _shorten_stages(method, trainer, space)
    warmup = method.get("warmup_epochs")
    if isinstance(warmup, int) and warmup >= trainer["max_epochs"] and "method.warmup_epochs" not in typed:
        method["warmup_epochs"] = max(0, trainer["max_epochs"] - 1)


def _shorten_steps(method: MutableMapping, space: Mapping) -> None:
    units, clip = space.get("init_channels"), method.get("clip")
    rate = (method.get("weight_optimizer") or {}).get("lr")
    if not isinstance(units, int) or units >= WIDE or clip is None or not isinstance(rate, int | float):
        return
    if clip * rate > SHORT_STEP:
        method["clip"] = SHORT_STEP / rate


def _depths(stages: Sequence[Stage], space: Mapping) -> list[int | None]:
    """Cells of each stage: those of the space and one more in each deeper stage."""
    least = space.get("num_cells")
    if "cells_per_stage" in space:  # what such a space counts its depths in, three to a network
        least = least // 3 if isinstance(least, int) else space["cells_per_stage"]
    distinct = sorted({stage.cells for stage in stages if stage.cells is not None})
    return [
        stage.cells
        if stage.cells is None or not isinstance(least, int)
        else min(stage.cells, least + distinct.index(stage.cells))
        for stage in stages
    ]


def _shorten_stages(method: MutableMapping, trainer: MutableMapping, space: MutableMapping) -> None:
    if len(method["stages"]) == 1:
        # As long as the search, whatever its length (`epochs: ${trainer.max_epochs}`).
        stage = method["stages"][0]
        if isinstance(stage.get("freeze"), int) and stage.get("epochs") == trainer["max_epochs"]:
            stage["freeze"] = min(stage["freeze"], trainer["max_epochs"] - 1)
    given = Stages(method["stages"])
    if given.epochs == trainer["max_epochs"]:
        return
    stages = given.stages
    total = max(len(stages), trainer["max_epochs"])
    epochs = [1] * (len(stages) - 1) + [total - len(stages) + 1]
    method["stages"] = [
        asdict(replace(stage, epochs=number, freeze=min(stage.freeze, number - 1), cells=cells))
        for stage, number, cells in zip(stages, epochs, _depths(stages, space), strict=True)
    ]
    trainer["max_epochs"] = total
    shared = math.lcm(*(stage.partial for stage in stages))
    if isinstance(space.get("init_channels"), int):
        space["init_channels"] = math.ceil(space["init_channels"] / shared) * shared
