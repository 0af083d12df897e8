"""A network as a program that needs torch alone: `torch.export`."""

import io
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram

from nas.errors import ConfigError
from nas.files import write_bytes
from nas.formats.classifier import Classifier
from nas.formats.description import ARCHIVED, Description
from nas.reading.files import check_regular


def export_program(network: Classifier, description: Description) -> ExportedProgram:
    """The network's forward pass as a graph of torch's operators, for any number of images of its size.

    Raises:
        ConfigError: torch.export cannot trace an operation.
    """
    # A batch of one would be taken for a constant.
    images_BCHW = torch.zeros(2, *description.image_shape)
    shapes = {"x_BCHW": {0: Dim("batch", min=1)}}
    try:
        return torch.export.export(network.eval(), (images_BCHW,), dynamic_shapes=shapes)
    except RuntimeError as error:
        names = ", ".join(sorted(description.genotype.operations))
        raise ConfigError(
            f"format: torch.export, which torch_export and onnx begin with, cannot trace {names} "
            f"({' '.join(str(error).split())[:300]}); choose safetensors or timm"
        ) from error


def save_program(program: ExportedProgram, description: Description, path: Path) -> None:
    """Writes the program, with the description as `network.json` inside.

    Raises:
        ConfigError: the folder cannot be written to.
    """
    buffer = io.BytesIO()
    torch.export.save(program, buffer, extra_files={ARCHIVED: description.to_json()})
    write_bytes(path, buffer.getvalue())


def load_program(path: Path) -> Callable[[Tensor], Tensor]:
    """Images [B, C, H, W] -> logits [B, K]. Only for files that are trusted: torch unpickles parts of them.

    Raises:
        ConfigError: the file is missing or damaged.
    """
    check_regular(path)
    try:
        return torch.export.load(path).module()
    except (RuntimeError, OSError, ValueError, KeyError) as error:
        raise ConfigError(f"{path}: no program of torch.export, or damaged ({error})") from error
