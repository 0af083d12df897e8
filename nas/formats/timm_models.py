"""The networks in timm's registry: importing this module makes `timm.create_model` know them.

`nas_darts`, `nas_nasbench201` and `nas_dso` build any genotype (`genotype=` a published name, a file, the
text or the containers of its JSON). An exported folder names one of them, and
`timm.create_model("local-dir:<folder>", pretrained=True)` builds it with its weights. Every published
genotype of the DARTS space has an entry of its own without weights, of ImageNet size (14 cells of C=48):
`nas_darts_v2`.
"""

import json
import math
from collections.abc import Callable
from typing import Any

from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch import nn

from nas.formats.description import Description, Preprocessing
from nas.formats.families import FAMILIES, DartsClassifier, build
from nas.genotype import published

ENTRIES = {family: f"nas_{family}" for family in FAMILIES}
PUBLISHED = DartsClassifier.family


def entry_name(name: str) -> str:
    """The model that a published name of the DARTS space has in timm's registry."""
    return f"nas_{name.lower()}"


def _config(family: str, **others: Any) -> dict[str, Any]:
    """What timm assumes of a network whose folder does not say it."""
    network = FAMILIES[family]
    return {
        "input_size": (3, 224, 224) if network.imagenet else (3, 32, 32),
        "pool_size": (7, 7) if network.imagenet else (8, 8),
        "num_classes": 1000 if network.imagenet else 10,
        "crop_pct": 0.875 if network.imagenet else 1.0,
        "interpolation": "bilinear",
        "first_conv": network.first_conv,
        "classifier": network.classifier_name,
        **others,
    }


def model_config(description: Description) -> dict[str, Any]:
    """The content of `config.json` beside `model.safetensors`, as timm reads it from a folder.

    Raises:
        ConfigError: there is no such network.
    """
    network = build(description)
    channels, height, width = description.image_shape
    prepared = description.preprocessing
    config = {
        "architecture": ENTRIES[network.family],
        "num_classes": description.num_classes,
        "num_features": network.num_features,
        "global_pool": "avg",
        "model_args": {"genotype": description.genotype.to_dict(), **description.sizes},
        "pretrained_cfg": {
            "custom_load": False,
            "input_size": [channels, height, width],
            "min_input_size": [channels, network.stride, network.stride],
            "fixed_input_size": False,
            "interpolation": "bilinear",
            "crop_pct": crop_pct(prepared),
            # timm's word for a resize of both sides, whatever the aspect.
            "crop_mode": "squash" if isinstance(prepared.resize, tuple) else "center",
            "mean": list(prepared.mean),
            "std": list(prepared.std),
            "num_classes": description.num_classes,
            "pool_size": [-(-side // network.feature_info[-1]["reduction"]) for side in (height, width)],
            "first_conv": network.first_conv,
            "classifier": network.classifier_name,
        },
    }
    if description.class_names is not None:
        config["label_names"] = list(description.class_names)
    return config


def crop_pct(preprocessing: Preprocessing) -> float:
    """The share of the resized picture's shorter side that is cut out, as timm writes the resize down.

    timm divides by it and rounds down, so of the numbers that stand for the same resize it is one that
    survives this; 0.875 is 224 of 256.
    """
    crop, resize = preprocessing.crop, preprocessing.resize
    if isinstance(crop, tuple) or isinstance(resize, tuple):
        return 1.0
    known = (1.0, 0.875, crop / resize, crop / (resize + 0.5))
    return next(share for share in known if math.floor(crop / share) == resize)


def config_text(description: Description) -> str:
    """`config.json`."""
    return json.dumps(model_config(description), indent=1) + "\n"


def _entry(name: str, family: str, genotype: str | None) -> Callable[..., nn.Module]:
    def create(pretrained: bool = False, **arguments: Any) -> nn.Module:
        # Whatever is no argument of timm's builder reaches the class, which refuses what it does not know.
        if genotype is not None:
            arguments.setdefault("genotype", genotype)
        # timm would ask for five.
        features = {"feature_cls": "getter", "out_indices": FAMILIES[family].num_levels(**arguments)}
        return build_model_with_cfg(FAMILIES[family], name, pretrained, feature_cfg=features, **arguments)

    create.__name__ = create.__qualname__ = name
    create.__doc__ = FAMILIES[family].__doc__
    # timm looks its entries up by module and name.
    create.__module__ = __name__
    return create


default_cfgs = generate_default_cfgs(
    {
        **{ENTRIES[family]: _config(family) for family in FAMILIES},
        **{
            entry_name(name): _config(PUBLISHED)
            for name, spaces in published().items()
            if PUBLISHED in spaces
        },
    }
)

for _family, _name in ENTRIES.items():
    register_model(_entry(_name, _family, None))
for _published, _spaces in published().items():
    if PUBLISHED in _spaces:
        register_model(_entry(entry_name(_published), PUBLISHED, _published))
