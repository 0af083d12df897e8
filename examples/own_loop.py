"""A search in a loop of one's own: supernet, method, step and derivation, and no trainer.

python examples/own_loop.py
"""

from functools import partial

import torch
from torch.optim import SGD, Adam

from nas.data.digits import Digits
from nas.engine.stages import attach
from nas.engine.step import Step
from nas.engine.tasks import Classification
from nas.methods.layout import layout_of
from nas.methods.method import Method
from nas.methods.relaxations import Softmax
from nas.methods.updates import FirstOrder
from nas.spaces.nasbench201 import NasBench201Space
from nas.spaces.space import ImageInputs

OPERATIONS = ["none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3"]


def build(inputs):
    """A space, and DARTS (first order) on its supernet."""
    space = NasBench201Space("nasbench201", OPERATIONS, cells_per_stage=1, init_channels=4)
    shapes = {name: group.shape for name, group in space.groups.items()}  # edges x operations
    method = Method(
        "darts1", shapes, Softmax(), FirstOrder(), layout=layout_of(space.groups), clip=5.0,
        weight_optimizer=partial(SGD, lr=0.025, momentum=0.9, weight_decay=3e-4),
        architecture_optimizer=partial(Adam, lr=3e-4, betas=(0.5, 0.999), weight_decay=1e-3),
    )  # fmt: skip
    step = Step(space.supernet(inputs), attach(method, space, inputs), Classification())
    step.build_optimizers()
    return space, step


def search(step, batches):
    """One architecture step, then one weight step, on each pair of batches of (images, labels)."""
    for weight_batch, architecture_batch in batches:
        step.architecture(weight_batch, architecture_batch)
        result = step.weight(weight_batch)
        yield float(result.loss.detach())


if __name__ == "__main__":
    torch.manual_seed(0)
    digits, size = Digits().train(), 32
    images, labels = (digits.images_NCHW / 255 - 0.2878) / 0.3544, digits.labels
    halves = torch.randperm(len(labels)).chunk(2)  # one trains the weights, one the architecture
    pairs = zip(*(half.split(size) for half in halves), strict=True)
    batches = [tuple((images[one], labels[one]) for one in pair) for pair in pairs]
    space, step = build(ImageInputs(image_shape=(1, 8, 8), num_classes=10))
    for number, loss in enumerate(search(step, batches)):
        print(f"step {number}: loss {loss:.3f}")
    print(space.derive(step.method.scores()))
