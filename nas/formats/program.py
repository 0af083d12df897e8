"""A network as a program that needs torch alone: `torch.export`."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from nas.errors import ConfigError
from nas.files import write_bytes
from nas.formats.description import ARCHIVED, Description, TextDescription
from nas.reading.files import check_regular


def example_of(description: Description | TextDescription) -> tuple[Tensor, ...]:
    """What a described network reads, of no particular values: images, or words and a state."""
    # A batch of one would be taken for a constant.
    if isinstance(description, TextDescription):
        return torch.zeros(2, dtype=torch.int64), torch.zeros(2, description.state_size)
    return (torch.zeros(2, *description.given_shape),)


def export_program(network: nn.Module, description: Description | TextDescription) -> ExportedProgram:
    """The network's forward pass as a graph of torch's operators, for any number of images or columns.

    Raises:
        ConfigError: torch.export cannot trace an operation.
    """
    example, batch = example_of(description), Dim("batch", min=1)
    try:
        return torch.export.export(network.eval(), example, dynamic_shapes=tuple({0: batch} for _ in example))
    except RuntimeError as error:
        names = ", ".join(sorted(description.genotype.operations))
        raise ConfigError(
            f"format: torch.export, which torch_export and onnx begin with, cannot trace {names} "
            f"({' '.join(str(error).split())[:300]}); choose safetensors or timm"
        ) from error


def save_program(program: ExportedProgram, description: Description | TextDescription, path: Path) -> None:
    """Writes the program, with the description as `network.json` inside.

    Raises:
        ConfigError: the folder cannot be written to.
    """
    buffer = io.BytesIO()
    torch.export.save(program, buffer, extra_files={ARCHIVED: description.to_json()})
    write_bytes(path, buffer.getvalue())


def load_program(path: Path) -> Callable[..., Any]:
    """Images [B, C, H, W] -> logits [B, K], or a step.

    Only for files that are trusted: torch unpickles parts of them.

    Raises:
        ConfigError: the file is missing or damaged.
    """
    check_regular(path)
    try:
        return torch.export.load(path).module()
    except (RuntimeError, OSError, ValueError, KeyError) as error:
        raise ConfigError(f"{path}: no program of torch.export, or damaged ({error})") from error
