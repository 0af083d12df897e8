"""A trained network with its preprocessing: pictures in, classes out, and on to other programs.

Shapes: B pictures, C channels, H rows, W columns, K classes.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig
from torch import Tensor, nn

from nas.api.exporting import export
from nas.api.language import LanguageModel
from nas.commands.predict_pictures import padded
from nas.data.given import as_uint8
from nas.errors import ConfigError, require, require_whole
from nas.formats.description import Description, TextDescription
from nas.formats.prepared import Prepared, check_measured
from nas.reading.pictures import as_color, decode, why_not
from nas.running.in_process import call, scratch
from nas.running.words import quoted

CHECKED_ON = 8  # pictures


@dataclass(frozen=True)
class Prediction:
    """What a network says of a picture.

    Attributes:
        label: the class of the highest probability, by its name, or its number as text.
        index: the same by its number.
        probability: its probability.
        probabilities: class -> probability, in the order of the outputs.
    """

    label: str
    index: int
    probability: float
    probabilities: Mapping[str, float]


class Model(nn.Module):
    """A classifier of pictures: preprocessing, then the trained network.

    `forward` takes pictures of the network's size, and `predict` pictures of any size, as files too.

    Attributes:
        network: images as the preprocessing makes them [B, C, H, W] -> logits [B, K].
        description: genotype, sizes, classes and preprocessing, as exported files carry them.
        classes: the names of the outputs; their numbers as texts where no names are known.
    """

    mean_C11: Tensor
    std_C11: Tensor

    def __init__(self, network: nn.Module, description: Description):
        super().__init__()
        self.network, self.description = network, description
        names = description.class_names or tuple(str(number) for number in range(description.num_classes))
        self.classes = names
        prepared = description.preprocessing
        self.register_buffer("mean_C11", torch.tensor(prepared.mean)[:, None, None], persistent=False)
        self.register_buffer("std_C11", torch.tensor(prepared.std)[:, None, None], persistent=False)
        # Of numbers that are no pixels.
        self.measured = Prepared(nn.Identity(), description) if prepared.floats else None
        self.eval()

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W) that `forward` takes."""
        return self.description.image_shape

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Pictures -> logits.

        Args:
            images_BCHW: uint8 of 0 to 255, or float of 0 to 1, [B, C, H, W] of `image_shape`; signals as
                they were measured, [B, C, L], and float images likewise.

        Returns:
            Logits [B, K].

        Raises:
            ConfigError: they are of another shape or kind.
        """
        told = f"images are {type(images_BCHW).__name__}; must be a tensor; predict() takes other kinds too"
        require(isinstance(images_BCHW, Tensor), told)
        if self.measured is not None:
            return self.network(
                self.measured.prepare(check_measured(images_BCHW, self.description, "images"))
            )
        kind = f"{images_BCHW.dtype} {list(images_BCHW.shape)}"
        require(
            images_BCHW.ndim == 4 and tuple(images_BCHW.shape[1:]) == self.image_shape,
            f"images are {kind}; must be [B, {', '.join(map(str, self.image_shape))}] (B, C, H, W); "
            "predict() takes "
            "pictures of any size",
        )
        if images_BCHW.dtype == torch.uint8:
            images_BCHW = images_BCHW.to(self.mean_C11.dtype) / 255
        require(images_BCHW.is_floating_point(), f"images are {kind}; must be uint8, or float from 0 to 1")
        return self.network((images_BCHW - self.mean_C11) / self.std_C11)

    @torch.no_grad()
    def predict(self, pictures: Any, batch_size: int = 64) -> list[Prediction]:
        """Classes with probabilities of pictures of any size.

        Args:
            pictures: one or a list of: a path, a PIL picture, an array or tensor as `nas.datasets.given`
                takes them; or a tensor [B, C, H, W] of such.
            batch_size: how many are computed at once.

        Raises:
            ConfigError: a file is no picture, or one has other channels than the network reads.
        """
        single = isinstance(pictures, str | Path) or hasattr(pictures, "convert")
        single = single or (hasattr(pictures, "ndim") and pictures.ndim <= len(self.description.given_shape))
        require(
            single or isinstance(pictures, Iterable),
            f"pictures={type(pictures).__name__}: must be a path, picture, array, tensor or a list of such",
        )
        require_whole("batch_size", batch_size, 1)
        listed = [pictures] if single else list(pictures)
        if not listed:
            return []
        training = self.training
        self.eval()
        try:
            found = [
                self(torch.stack([self._prepared(one) for one in listed[first : first + batch_size]]))
                for first in range(0, len(listed), batch_size)
            ]
        finally:
            self.train(training)
        return [self._said(row_K) for row_K in torch.cat(found).double().softmax(dim=1).tolist()]

    def _said(self, row: Iterable[float]) -> Prediction:
        probabilities = list(row)
        best = int(np.argmax(probabilities))
        named = dict(zip(self.classes, probabilities, strict=True))
        return Prediction(self.classes[best], best, probabilities[best], named)

    def _prepared(self, picture: Any) -> Tensor:
        """A picture as uint8 [C, H, W] of the network's size, as the test images were prepared."""
        if self.measured is not None:
            require(
                not (isinstance(picture, str | Path) or hasattr(picture, "convert")),
                f"input: this network reads numbers as measured, {list(self.description.given_shape)}, "
                "and no pictures",
            )
            given = torch.as_tensor(np.asarray(picture) if not isinstance(picture, Tensor) else picture)
            return check_measured(given[None], self.description, "input")[0].to(self.mean_C11.device)
        prepared = self.description.preprocessing
        if isinstance(picture, str | Path) or hasattr(picture, "convert"):
            require(
                prepared.color is not None,
                f"picture: this network reads {len(prepared.mean)} channels, and pictures have 1 or 3",
            )
            # Scaled by pillow, as the pictures of a folder are for training and test.
            picture = self._cut(self._decoded(picture, str(prepared.color), prepared.decoding))
        pixels_CHW = as_uint8(picture, "picture").to(self.mean_C11.device)
        if pixels_CHW.shape[0] == 1 and self.image_shape[0] == 3:
            pixels_CHW = pixels_CHW.expand(3, -1, -1)
        require(
            pixels_CHW.shape[0] == self.image_shape[0],
            f"picture: has {pixels_CHW.shape[0]} channels, and the network reads {self.image_shape[0]}",
        )
        height_and_width = tuple(pixels_CHW.shape[1:])
        if height_and_width not in (self.image_shape[1:], self.description.inner):
            pixels_CHW = self._cut(pixels_CHW)
        return padded(pixels_CHW, self.image_shape[1:])

    @staticmethod
    def _decoded(picture: Any, color: str, decoding: str) -> Any:
        """A file, or a picture of pillow's, in the way of the pictures that the network was trained on."""
        if isinstance(picture, str | Path):
            path = Path(picture).expanduser()
            require(path.is_file(), f"picture={picture}: there is no such file")
            return decode(str(path), color, "picture", decoding)
        try:
            return as_color(picture, color, decoding)
        except (OSError, ValueError) as error:
            raise ConfigError(f"picture: of mode {picture.mode}, {why_not(error)}") from error

    def _cut(self, picture: Any) -> Any:
        from torchvision.transforms import InterpolationMode, v2

        prepared, inner = self.description.preprocessing, self.description.inner
        # What has black around it in training is scaled to what is within.
        size, crop = (prepared.resize, prepared.crop) if inner is None else (inner, inner)
        resize = v2.Resize(size, interpolation=InterpolationMode.BILINEAR, antialias=True)
        return v2.CenterCrop(crop)(resize(picture))

    def export(self, path: str | Path, format: str | None = None, opset: int = 18) -> Path:
        """Writes the network for other programs, in a format of `nas.export`; reads it back and compares.

        Class names and preprocessing are in the file; what it computes is `network`, on prepared pictures.

        Args:
            path: `.onnx`, `.safetensors` or `.pt2` (torch.export); or with `format="timm"` a folder.
            format: `onnx`, `safetensors`, `torch_export` or `timm`; None for what the ending says.
            opset: version of ONNX's operators, 18 to 23.

        Returns:
            Where it was written.

        Raises:
            ConfigError: an ending or format is unknown, a package is missing (`nas-framework[export]`), or it
                cannot be written.
            RunFailed: what was written computes something else.
        """
        from nas.formats.comparison import predict

        generator = torch.Generator().manual_seed(0)
        # Two batches of two sizes.
        images_NCHW = torch.randn(CHECKED_ON, *self.description.given_shape, generator=generator)
        batches = images_NCHW.split(CHECKED_ON - 2)
        return export(
            self.network, self.description, path, format, opset, lambda network: predict(network, batches, 0)
        )


def model_of(folder: Path, objects: Mapping[str, Any]) -> Model | LanguageModel:
    """The model in the run folder of a finished evaluation.

    Args:
        folder: of the run.
        objects: what its configuration refers to, such as `space`.

    Raises:
        ConfigError: the run is not finished, or its checkpoint is gone.
    """
    with scratch() as words:
        given = [f"genotype={quoted(folder)}", "format=safetensors", *words]
        return call("export", given, verbose=False, job=_built, **objects).value


def _built(config: DictConfig, _: Path) -> Model | LanguageModel:
    """As `nas.export` makes the network that it writes."""
    from nas.commands.export import make, with_evaluation

    made = make(*with_evaluation(config))
    if isinstance(made.description, TextDescription):
        return LanguageModel(made.written, made.description)
    return Model(made.written, made.description)
