"""What an exported file says of its network: enough to build it, and to prepare a picture for it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from nas import genotype as genotypes
from nas.errors import ConfigError, require
from nas.genotype import Genotype
from nas.printable import shown
from nas.reading.json_text import parse_json

SCHEMA = 1
# The name of the description within a file: a key of the metadata, or a file in the archive.
KEY = "network"
ARCHIVED = "network.json"


@dataclass(frozen=True)
class Preprocessing:
    """How a picture becomes a network's input: colours, resize, centre crop, division by 255, mean and std.

    Attributes:
        resize: pixels of the shorter side after a bilinear, antialiased resize that keeps the aspect.
        crop: height and width in pixels of the square that is cut from the centre.
        mean: of each channel, on the scale where a pixel of 255 is 1.
        std: the same.
    """

    resize: int
    crop: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self):
        object.__setattr__(self, "mean", tuple(float(one) for one in self.mean))
        object.__setattr__(self, "std", tuple(float(one) for one in self.std))
        require(
            len(self.mean) == len(self.std) and len(self.mean) in (1, 3) and min(self.std) > 0,
            f"mean={list(self.mean)}, std={list(self.std)}: need one number a channel, of 1 or 3 "
            "channels, and std above 0",
        )
        require(
            1 <= self.crop <= self.resize,
            f"resize={self.resize}, crop={self.crop}: a crop of at least 1 pixel must fit into the resized "
            "picture",
        )

    @property
    def color(self) -> str:
        """The mode that pillow converts a picture to: `RGB`, or `L` for grey."""
        return "RGB" if len(self.mean) == 3 else "L"

    def to_dict(self) -> dict[str, Any]:
        """Plain containers, with what never varies said as well."""
        return {
            "color": self.color,
            "resize": self.resize,
            "interpolation": "bilinear",
            "antialias": True,
            "crop": self.crop,
            "scale": 255,
            "mean": list(self.mean),
            "std": list(self.std),
        }


@dataclass(frozen=True)
class Description:
    """A network for classes of images, without its weights.

    Attributes:
        genotype: its cells; the genotype's space says which family of networks it belongs to.
        sizes: the arguments of that family's classifier (`nas.formats.families`) that size it.
        image_shape: (C, H, W) of the images that it was trained on.
        num_classes: outputs.
        dataset: what it was trained on, by name.
        preprocessing: what is done to a picture.
        class_names: one an output; None if they are not known.
        notes: what the reader may like to know (epochs, test accuracy); nothing reads it.

    Raises:
        ConfigError: shapes, names and preprocessing do not belong together.
    """

    genotype: Genotype
    sizes: Mapping[str, Any]
    image_shape: tuple[int, int, int]
    num_classes: int
    dataset: str
    preprocessing: Preprocessing
    class_names: tuple[str, ...] | None = None
    notes: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self):
        object.__setattr__(self, "image_shape", tuple(self.image_shape))
        if self.class_names is not None:
            object.__setattr__(self, "class_names", tuple(str(name) for name in self.class_names))
            require(
                len(self.class_names) == self.num_classes,
                f"{len(self.class_names)} class names for {self.num_classes} classes",
            )
        channels, height, width = self.image_shape
        prepared = self.preprocessing
        require(
            (channels, height, width) == (len(prepared.mean), prepared.crop, prepared.crop),
            f"images {list(self.image_shape)} are not what the preprocessing makes: "
            f"{[len(prepared.mean), prepared.crop, prepared.crop]}",
        )

    def to_json(self) -> str:
        """One line of JSON."""
        return json.dumps(
            {
                "schema": SCHEMA,
                "space": self.genotype.space,
                "genotype": self.genotype.to_dict(),
                "sizes": dict(self.sizes),
                "image_shape": list(self.image_shape),
                "num_classes": self.num_classes,
                "dataset": self.dataset,
                "preprocessing": self.preprocessing.to_dict(),
                "class_names": None if self.class_names is None else list(self.class_names),
                "notes": dict(self.notes),
            }
        )


def from_json(text: str, where: str) -> Description:
    """Reads what `Description.to_json` writes.

    Args:
        text: the JSON.
        where: the file that it comes from, for errors.

    Raises:
        ConfigError: it is no description, or one of another version.
    """
    data = parse_json(text, f"{where}: the description of its network")
    require(isinstance(data, dict), f"{where}: the description of its network is no JSON object")
    require(
        data.get("schema") == SCHEMA,
        f"{where}: description of schema {data.get('schema')!r}; this version reads {SCHEMA}",
    )
    try:
        prepared, names, dataset = data["preprocessing"], data["class_names"], data["dataset"]
        genotype = genotypes.from_dict(data["genotype"])
        require(data["space"] == genotype.space, f"space={data['space']!r}: its genotype is of another one")
        require(isinstance(dataset, str), f"dataset={dataset!r}: must be a name")
        channels, height, width = (int(size) for size in data["image_shape"])
        return Description(
            genotype,
            dict(data["sizes"]),
            (channels, height, width),
            int(data["num_classes"]),
            dataset,
            Preprocessing(int(prepared["resize"]), int(prepared["crop"]), prepared["mean"], prepared["std"]),
            None if names is None else tuple(names),
            dict(data["notes"]),
        )
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        words = f"{type(error).__name__}: {shown(str(error), 160)}"
        raise ConfigError(f"{where}: the description of its network is malformed ({words})") from error
