"""Picture files, decoded in one way by everybody: training, tests, what is measured, predictions and exports.

Two ways are known, since networks go on seeing what they were trained on: `upright` for what begins now, and
`plain` for the papers' data and for what earlier versions have trained.
"""

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from PIL import ExifTags, Image, UnidentifiedImageError

from nas.errors import ConfigError
from nas.reading.files import check_regular

# As torchvision.datasets.ImageFolder has them.
SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
UPRIGHT, PLAIN = "upright", "plain"
DECODINGS = (UPRIGHT, PLAIN)
# What shows through, as on the pages that most such pictures are made for.
GROUND = (255, 255, 255, 255)
BRIGHTEST = 65535
# Errors of the system that a damaged file brings about too, by places that it has not got.
OF_CONTENT = (errno.EINVAL, errno.EOVERFLOW)
# What undoes an orientation of EXIF.
TURNS = MappingProxyType(
    {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }
)


class Unreadable(ConfigError):
    """A picture file that cannot be decoded; the message names it."""


@dataclass(frozen=True)
class Header:
    """What a file says of itself before anything is decoded: (width, height) in pixels, and pillow's mode."""

    size: tuple[int, int]
    mode: str

    @property
    def grey(self) -> bool:
        """Whether there is one channel, and perhaps transparency."""
        return is_grey(self.mode)


def is_grey(mode: str) -> bool:
    """Whether one of pillow's modes has one channel, and perhaps transparency."""
    return mode in ("1", "L", "LA", "La", "F") or mode.startswith("I")


def decode(path: str, color: str, key: str, decoding: str = UPRIGHT, hint: str = "") -> Image.Image:
    """Decodes the whole of a picture file; of several frames the first.

    Args:
        path: the file.
        color: `RGB`, or `L` for grey, of which colours give their brightness.
        key: what named the file, for the message.
        decoding: one of `DECODINGS`; see `as_color`.
        hint: what else can be done about it, for the message.

    Raises:
        Unreadable: it is damaged, cut off or no picture.
        ConfigError: it is no regular file, or the system does not give it.
        MemoryError: there is not enough of it.
    """
    with _opened(path, key, hint) as image:
        return as_color(image, color, decoding)


def header(path: str, key: str, hint: str = "") -> Header:
    """Reads the header of a picture file; raises as `decode`."""
    with _opened(path, key, hint) as image:
        return Header(image.size, image.mode)


def as_color(image: Image.Image, color: str, decoding: str = UPRIGHT) -> Image.Image:
    """One of pillow's pictures in the colours that a network reads.

    Palettes, black and white, CMYK and the like become `color`, sixteen bits keep their high byte.
    `upright` turns a picture as its EXIF orientation says and lays what is transparent on white; 32 bits a
    channel, whose range nobody says, are refused. `plain` leaves the picture as it is stored, shows what lies
    under the transparency, and cuts 32 bits off at 255.

    Raises:
        ValueError, OSError and others: it cannot be decoded, or has no such colours.
    """
    if decoding == PLAIN:
        wide = image.mode.startswith("I;16") or image.mode == "I"
        return (_high_byte(image) if wide else image).convert(color)
    image.load()
    image = _turned(image)
    if image.mode == "F":
        raise ValueError("float pixels, whose range is not known; save it with 8 or 16 bits a channel")
    if image.mode.startswith("I"):
        image = _high_byte(_within_16_bits(image))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, GROUND), image)
    return image.convert(color)


def why_not(error: BaseException) -> str:
    """Why a file could not be decoded, in a few words."""
    if isinstance(error, UnidentifiedImageError):
        return "no image"
    if isinstance(error, Image.DecompressionBombError):
        # Pillow's own limit; a warning comes with half of it, which is no reason to leave a picture out.
        found, most = (f"{int(number):,}" for number in re.findall(r"\d+", str(error))[:2])
        return f"too large ({found} pixels, and at most {most} are read; scale it down)"
    return f"damaged ({' '.join(str(error).split()) or type(error).__name__})"


def _turned(image: Image.Image) -> Image.Image:
    # As ImageOps.exif_transpose, which writes the EXIF anew too, and fails where other parts are damaged.
    try:
        turn = TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:
        # Damaged EXIF breaks this and that in its reader, and the pixels have all been read.
        return image
    if turn is None:
        return image
    turned = image.transpose(turn)
    # Nobody is to turn it again.
    turned.info = {key: value for key, value in turned.info.items() if key == "transparency"}
    return turned


def _within_16_bits(image: Image.Image) -> Image.Image:
    if image.mode == "I":
        extrema: Any = image.getextrema()
        lowest, highest = extrema
        if lowest < 0 or highest > BRIGHTEST:
            raise ValueError(
                f"32 bits a pixel, from {lowest} to {highest}; save it with 8 or 16 bits a channel"
            )
    return image


def _high_byte(image: Image.Image) -> Image.Image:
    found = image.convert("I").point(lambda value: value / 256).convert("L")
    # What is transparent was said in sixteen bits.
    found.info.pop("transparency", None)
    return found


@contextmanager
def _opened(path: str, key: str, hint: str) -> Iterator[Image.Image]:
    check_regular(path, f"{key}: {path}")
    try:
        with Image.open(path) as image:
            yield image
    except MemoryError:
        raise
    except Exception as error:
        # The system's, of which pillow's own errors have no number: the file may be as good as before.
        if isinstance(error, OSError) and error.errno not in (None, *OF_CONTENT):
            raise ConfigError(f"{key}: {path}: cannot be read ({error.strerror})") from error
        # A damaged or hostile file breaks this and that in pillow's readers.
        raise Unreadable(
            f"{key}: {path} cannot be decoded: {why_not(error)}; replace or delete the file{hint}"
        ) from error
