"""Small networks of every family, untrained, for the tests of formats."""

from functools import partial

import torch

from nas import genotype as genotypes
from nas.formats.comparison import predict
from nas.formats.description import Description, Preprocessing, TextDescription
from nas.formats.families import build
from nas.formats.steps import state_size_of
from nas.formats.untrained import settle
from nas.spaces.recurrent import RecurrentSpace
from nas.spaces.space import TextInputs

NB201 = "|nor_conv_3x3~0|+|nor_conv_1x1~0|avg_pool_3x3~1|+|skip_connect~0|nor_conv_3x3~1|skip_connect~2|"
DSO = "DSO(block:6[1=sep_conv_3x3(0) 6=max_pool_3x3(0,1)]>1,6; reduce_1:2[2=conv_3x3(0)]>2)"
# Family, genotype, sizes, and the side of its images.
SMALL = {
    "darts": ("DARTS_V2", {"num_cells": 4, "init_channels": 4, "stem": "cifar", "stem_multiplier": 3}, 16),
    "darts_imagenet": (
        "DARTS_V2",
        {"num_cells": 3, "init_channels": 4, "stem": "imagenet", "stem_multiplier": 3},
        64,
    ),
    "darts_reductions": (
        "DARTS_V2",
        {"num_cells": 2, "init_channels": 4, "stem": "cifar", "stem_multiplier": 3},
        16,
    ),
    "nasbench201": (NB201, {"cells_per_stage": 1, "init_channels": 4}, 16),
    "dso": (DSO, {"blocks_per_stage": [1, 2], "init_channels": 4, "stem": "cifar"}, 15),
}


def described(name: str = "darts", classes: int = 3, resize: int | None = None) -> Description:
    """One of the networks above, as its file describes it."""
    genotype, sizes, side = SMALL[name]
    return Description(
        genotypes.load(genotype, name.split("_")[0]),
        sizes,
        (3, side, side),
        classes,
        "pictures",
        Preprocessing(resize or side, side, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        tuple(f"class {index}" for index in range(classes)),
        {"untrained": True},
    )


def built(name: str = "darts", classes: int = 3):
    """(description, classifier), with norms that have seen something."""
    description = described(name, classes)
    network = build(description)
    settle(network, description.image_shape, 0)
    return description, network


def compared(network, images_NCHW):
    """What `check_all` needs: logits of the network, and what runs another over the same images."""
    batches = images_NCHW.split(8)
    return predict(network, batches, 0), partial(predict, batches=batches, seed=0)


def step_of(name: str, tied: bool = True):
    """(description, step, the language model whose step it is), with weights that are far from 0."""
    genotype = genotypes.load(name, "darts_rnn")
    space = RecurrentSpace("darts_rnn", hidden_size=6, embedding_size=None if tied else 5, tied=tied)
    network = space.network(genotype, TextInputs(11)).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(20)
    description = TextDescription(
        genotype,
        hidden_size=6,
        embedding_size=6 if tied else 5,
        tied=tied,
        state_size=state_size_of(genotype, 6),
        vocabulary=11,
        dataset="texts",
        words=tuple(f"word {index}" for index in range(11)),
    )
    step = build(description)
    step.load_state_dict(network.state_dict())
    return description, step, network
