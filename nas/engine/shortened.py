"""A search in stages as `debug=fast` runs it: an epoch of each, and as many channels as all need."""

import math
from collections.abc import MutableMapping
from dataclasses import asdict, replace

from nas.methods.schedules import Stages


def shorten(config: MutableMapping) -> None:
    """Fits `method.stages` into `trainer.max_epochs`, in place; nothing happens where they fill it already.

    Otherwise every stage gets one epoch and the last what is left of `trainer.max_epochs`, which is raised
    to the number of stages where it is less. alpha moves in the last epoch of each. `space.init_channels` is
    rounded up to what the K of every stage divides.

    Args:
        config: with the groups `method`, `trainer` and `space`.

    Raises:
        ConfigError: `method.stages` is no list of stages.
    """
    method, trainer, space = config["method"], config["trainer"], config["space"]
    if method.get("stages") is None or not isinstance(trainer["max_epochs"], int):
        return
    given = Stages(method["stages"])
    if given.epochs == trainer["max_epochs"]:
        return
    stages = given.stages
    total = max(len(stages), trainer["max_epochs"])
    epochs = [1] * (len(stages) - 1) + [total - len(stages) + 1]
    method["stages"] = [
        asdict(replace(stage, epochs=number, freeze=min(stage.freeze, number - 1)))
        for stage, number in zip(stages, epochs, strict=True)
    ]
    trainer["max_epochs"] = total
    shared = math.lcm(*(stage.partial for stage in stages))
    if isinstance(space.get("init_channels"), int):
        space["init_channels"] = math.ceil(space["init_channels"] / shared) * shared
