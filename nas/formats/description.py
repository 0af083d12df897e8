"""What an exported file says of its network: enough to build it, and to prepare a picture for it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from nas import genotype as genotypes
from nas.errors import ConfigError, require
from nas.genotype import Genotype
from nas.printable import shown
from nas.reading.json_text import parse_json
from nas.reading.pictures import PLAIN, UPRIGHT

SCHEMA = 1
# The name of the description within a file: a key of the metadata, or a file in the archive.
KEY = "network"
ARCHIVED = "network.json"
# The note of a description that holds (height, width) of what something was put around.
PADDED_FROM = "padded_from"
Side = int | tuple[int, int]
# What a network of text may read.
TOKENIZERS = ("words", "characters")
# The greatest numbers that are believed; what weights must agree with needs none.
LIMITS = {
    "image_shape": 2**12, "resize": 2**13, "crop": 2**12, "num_classes": 10**6, "vocabulary": 10**7,
    "hidden_size": 2**14, "embedding_size": 2**14, "state_size": 2**15,
}  # fmt: skip
# What networks read, in the plural.
UNITS = ("images", *TOKENIZERS)


@dataclass(frozen=True)
class Preprocessing:
    """How a picture becomes a network's input: colours, resize, centre crop, division by 255, mean and std.

    Attributes:
        resize: pixels of the shorter side after a bilinear, antialiased resize that keeps the aspect; or
            (height, width) of the resized picture, whatever its aspect was.
        crop: height and width in pixels of the square that is cut from the centre; or (height, width).
        mean: of each channel, on the scale where a pixel of 255 is 1.
        std: the same.
        floats: whether images are numbers in units of their own, as mean and std are, and no pixels: they are
            not divided by 255, and what pads them is the mean.
        decoding: how files become pixels, see `nas.reading.pictures`.
    """

    resize: Side
    crop: Side
    mean: tuple[float, ...]
    std: tuple[float, ...]
    floats: bool = False
    decoding: str = PLAIN

    def __post_init__(self):
        object.__setattr__(self, "mean", tuple(float(one) for one in self.mean))
        object.__setattr__(self, "std", tuple(float(one) for one in self.std))
        for name in ("resize", "crop"):
            side = getattr(self, name)
            object.__setattr__(self, name, side if isinstance(side, int) else tuple(side))
        require(
            len(self.mean) == len(self.std) >= 1 and min(self.std) > 0,
            f"mean={list(self.mean)}, std={list(self.std)}: need one number per channel, and std above 0",
        )
        resized = self.resize if isinstance(self.resize, tuple) else (self.resize,) * 2
        require(
            isinstance(self.resize, tuple) or isinstance(self.crop, int),
            f"resize={self.resize}, crop={self.crop}: a crop that is no square needs the resize as (height, "
            "width) too",
        )
        require(
            all(1 <= cut <= side for cut, side in zip(self.size, resized, strict=True)),
            f"resize={self.resize}, crop={self.crop}: a crop of at least 1 pixel must fit into the resized "
            "picture",
        )

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of what is cut out."""
        return self.crop if isinstance(self.crop, tuple) else (self.crop, self.crop)

    @property
    def color(self) -> str | None:
        """The mode that pillow converts a picture to: `RGB`, or `L` for grey; None where there is none."""
        return None if self.floats else {3: "RGB", 1: "L"}.get(len(self.mean))

    def to_dict(self) -> dict[str, Any]:
        """Plain containers, with what never varies said as well."""
        return {
            "color": self.color,
            # Whether a picture is turned as its EXIF orientation says, and what lies behind transparency.
            "exif": self.decoding == UPRIGHT,
            "background": "white" if self.decoding == UPRIGHT else None,
            "resize": list(self.resize) if isinstance(self.resize, tuple) else self.resize,
            "interpolation": "bilinear",
            "antialias": True,
            "crop": list(self.crop) if isinstance(self.crop, tuple) else self.crop,
            "scale": 1 if self.floats else 255,
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

    unit: ClassVar[str] = "images"

    @property
    def outputs(self) -> str:
        """What it tells apart, in words."""
        return f"{self.num_classes} classes"

    @property
    def signal(self) -> bool:
        """Whether it reads signals: numbers of a single row."""
        return self.preprocessing.floats and self.image_shape[1] == 1

    @property
    def inner(self) -> tuple[int, int] | None:
        """(height, width) within what is put around images; None where nothing is."""
        found = self.notes.get(PADDED_FROM)
        return None if found is None else (int(found[0]), int(found[1]))

    @property
    def given_shape(self) -> tuple[int, ...]:
        """What exported programs read of each: `image_shape`; of numbers as measured, (C, L) or (C, H, W)."""
        if not self.preprocessing.floats:
            return self.image_shape
        height, width = self.inner or self.preprocessing.size
        return (self.image_shape[0], width) if self.signal else (self.image_shape[0], height, width)

    def __post_init__(self):
        object.__setattr__(self, "image_shape", tuple(self.image_shape))
        if self.class_names is not None:
            object.__setattr__(self, "class_names", tuple(str(name) for name in self.class_names))
            require(
                len(self.class_names) == self.num_classes,
                f"{len(self.class_names)} class names for {self.num_classes} classes",
            )
        made = (len(self.preprocessing.mean), *self.preprocessing.size)
        require(
            self.image_shape == made,
            f"images {list(self.image_shape)} are not what the preprocessing makes: {list(made)}",
        )
        inner = self.inner
        require(
            inner is None or all(1 <= one <= side for one, side in zip(inner, made[1:], strict=True)),
            f"{PADDED_FROM}={inner}: does not fit into {list(made[1:])}",
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


@dataclass(frozen=True)
class TextDescription:
    """One step of a language model, without its weights: a token and a state in, logits and a state out.

    Attributes:
        genotype: its cell.
        hidden_size: H, units of every state of the cell.
        embedding_size: X, width of an embedded word.
        tied: whether the decoder's matrix is the embedding's.
        state_size: S, numbers of the state that is passed on, which begins at 0.
        vocabulary: V, how many different tokens there are; as many go out.
        dataset: what it was trained on, by name.
        words: the token of every index; None if they are not known.
        notes: as of `Description`.
        tokenizer: what a token is, `words` or `characters`.

    Raises:
        ConfigError: there are more or fewer tokens than the vocabulary has, or no such tokenizer.
    """

    genotype: Genotype
    hidden_size: int
    embedding_size: int
    tied: bool
    state_size: int
    vocabulary: int
    dataset: str
    words: tuple[str, ...] | None = None
    notes: Mapping[str, Any] = field(default_factory=dict)
    tokenizer: str = TOKENIZERS[0]

    @property
    def unit(self) -> str:
        """What it reads, in the plural."""
        return self.tokenizer

    @property
    def outputs(self) -> str:
        """What it tells apart, in words."""
        return f"{self.vocabulary} {self.unit}"

    def __post_init__(self):
        require(
            self.tokenizer in TOKENIZERS,
            f"tokenizer={shown(repr(self.tokenizer))}: must be one of {', '.join(TOKENIZERS)}",
        )
        if self.words is not None:
            object.__setattr__(self, "words", tuple(str(word) for word in self.words))
            require(
                len(self.words) == self.vocabulary,
                f"{len(self.words)} {self.unit} for a vocabulary of {self.vocabulary}",
            )

    def to_json(self) -> str:
        """One line of JSON."""
        found = {name: getattr(self, name) for name in _NUMBERS}
        return json.dumps(
            {
                "schema": SCHEMA,
                "domain": "text",
                "space": self.genotype.space,
                "genotype": self.genotype.to_dict(),
                **found,
                "tokenizer": self.tokenizer,
                "tied": self.tied,
                "dataset": self.dataset,
                "words": None if self.words is None else list(self.words),
                "notes": dict(self.notes),
            }
        )


_NUMBERS = ("hidden_size", "embedding_size", "state_size", "vocabulary")


def from_json(text: str, where: str) -> Description | TextDescription:
    """Reads what `to_json` of a description writes.

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
        _check_numbers(data)
        genotype, dataset = genotypes.from_dict(data["genotype"]), data["dataset"]
        require(data["space"] == genotype.space, f"space={data['space']!r}: its genotype is of another one")
        require(isinstance(dataset, str), f"dataset={dataset!r}: must be a name")
        read = _text_of if data.get("domain") == "text" else _images_of
        return read(data, genotype)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        words = f"{type(error).__name__}: {shown(str(error), 160)}"
        raise ConfigError(f"{where}: the description of its network is malformed ({words})") from error


def _check_numbers(data: Mapping[str, Any]) -> None:
    """Refuses sizes beyond every network's, by which memory would be taken."""
    given = {**data, **(data["preprocessing"] if isinstance(data.get("preprocessing"), dict) else {})}
    for name, most in LIMITS.items():
        for number in given[name] if isinstance(given.get(name), list) else [given.get(name)]:
            if isinstance(number, int | float):
                require(number <= most, f"{name}={shown(number)}: must be at most {most:,}")


def _images_of(data: Mapping[str, Any], genotype: Genotype) -> Description:
    prepared, names = data["preprocessing"], data["class_names"]
    channels, height, width = (int(size) for size in data["image_shape"])
    return Description(
        genotype,
        dict(data["sizes"]),
        (channels, height, width),
        int(data["num_classes"]),
        data["dataset"],
        Preprocessing(
            _side(prepared["resize"]),
            _side(prepared["crop"]),
            prepared["mean"],
            prepared["std"],
            floats=prepared.get("scale") == 1,
            # Files of earlier versions say nothing, and their networks know pictures as they are stored.
            decoding=UPRIGHT if prepared.get("exif") is True else PLAIN,
        ),
        None if names is None else tuple(names),
        dict(data["notes"]),
    )


def _text_of(data: Mapping[str, Any], genotype: Genotype) -> TextDescription:
    numbers, words = {name: int(data[name]) for name in _NUMBERS}, data["words"]
    require(min(numbers.values()) >= 1, f"{numbers}: must be at least 1 each")
    return TextDescription(
        genotype,
        tied=bool(data["tied"]),
        dataset=data["dataset"],
        # Files of earlier versions are of words.
        tokenizer=data.get("tokenizer", TOKENIZERS[0]),
        words=None if words is None else tuple(words),
        notes=dict(data["notes"]),
        **numbers,
    )


def _side(value: Any) -> Side:
    if isinstance(value, list):
        height, width = value
        return int(height), int(width)
    return int(value)
