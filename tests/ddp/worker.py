"""The commands with a norm that does not look at the rest of the batch, as a process of its own.

    python -m tests.ddp.worker KEY=VALUE ...                        one search, started as nas.search is
    torchrun ... -m tests.ddp.worker --jobs FILE                    several commands, one after the other

Batch norm makes an image's features depend on its batch, so N processes with a batch of B/N each are not one
with B. A norm of each image by itself, with the same scale and shift, takes that away and nothing else.
`NAS_TEST_DRIFT=<rank>` moves alpha a little in one process.
"""

import json
import os
import sys
from pathlib import Path

import torch
from torch import Tensor


def image_norm(
    x: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """`torch.nn.functional.batch_norm` with mean and variance of each image; [B, C, ...] -> [B, C, ...]."""
    normal = torch.nn.functional.group_norm(x, 1, eps=eps)
    shape = (1, -1, *[1] * (x.dim() - 2))
    normal = normal if weight is None else normal * weight.view(shape)
    return normal if bias is None else normal + bias.view(shape)


def drift(rank: int) -> None:
    """Makes one process add 1e-6 to a parameter after every step of alpha."""
    from nas.engine.step import Step

    step = Step.step_alpha

    def moved(self) -> None:
        step(self)
        if torch.distributed.get_rank() == rank:
            self.method.alpha["normal"].data[0, 0] += 1e-6

    Step.step_alpha = moved


def main() -> None:
    from nas import evaluate, search
    from nas.engine import pictures

    torch.nn.functional.batch_norm = image_norm
    torch.set_num_threads(1)
    if "NAS_TEST_DRIFT" in os.environ:
        drift(int(os.environ["NAS_TEST_DRIFT"]))
    if sys.argv[1:2] != ["--jobs"]:
        search.main()
        return
    # Pictures take longer than these runs.
    pictures.draw_search = pictures.draw_evaluation = lambda *arguments: None
    commands = {"search": search.main, "evaluate": evaluate.main}
    for name, overrides in json.loads(Path(sys.argv[2]).read_text()):
        sys.argv = [f"nas.{name}", *overrides]
        commands[name]()


if __name__ == "__main__":
    main()
