"""Small networks of every family, untrained, for the tests of formats."""

from nas import genotype as genotypes
from nas.formats.description import Description, Preprocessing
from nas.formats.families import build
from nas.formats.untrained import settle

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
