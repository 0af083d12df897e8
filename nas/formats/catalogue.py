"""The formats by name: what each writes, reads and needs."""

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.export import ExportedProgram

from nas.errors import installation, require
from nas.files import write_bytes
from nas.formats.description import Description, TextDescription
from nas.formats.onnx_model import check_opset, load_onnx, save_onnx
from nas.formats.prepared import Prepared, has_preparation, with_preparation
from nas.formats.program import export_program, load_program, save_program
from nas.formats.weights import load_safetensors, save_safetensors

WEIGHTS, CONFIG, PROGRAM, ONNX = "model.safetensors", "config.json", "model.pt2", "model.onnx"
Predict = Callable[..., Any]


class Subject:
    """What is exported: a network of float32 in evaluation mode, and what it is.

    Raises:
        ConfigError: there is no such opset, or the network computes in other numbers.
    """

    def __init__(self, network: nn.Module, description: Description | TextDescription, opset: int):
        check_opset(opset)
        others = sorted({str(one.dtype) for one in network.parameters() if one.dtype != torch.float32})
        require(
            not others,
            f"the network computes in {', '.join(others)}, and files hold networks of torch.float32; export "
            "network.float()",
        )
        self.network = network.eval()
        self.description = description
        self.opset = opset

    @cached_property
    def program(self) -> ExportedProgram:
        """The graph that two formats are made from, traced once."""
        return export_program(with_preparation(self.network, self.description), self.description)


@dataclass(frozen=True)
class Format:
    """One way out of this project.

    Attributes:
        name: what `format=` calls it.
        files: what it writes into the folder.
        needs: modules that must be installed to write it and to check it.
        built: whether its file holds weights, from which a class of this project's builds the network.
        images: whether it is for networks of images alone.
        same_draws: whether its random operations draw what torch's would after the same seed.
        write: (subject, folder).
        read: folder -> images [B, C, H, W] to logits [B, K], or a step of text (`nas.formats.steps`).
    """

    name: str
    files: tuple[str, ...]
    needs: tuple[str, ...]
    built: bool
    images: bool
    same_draws: bool
    write: Callable[[Subject, Path], None]
    read: Callable[[Path], Predict]


def _write_weights(subject: Subject, folder: Path) -> None:
    save_safetensors(subject.network, subject.description, folder / WEIGHTS)


def _write_timm(subject: Subject, folder: Path) -> None:
    from nas.formats.timm_models import config_text

    assert isinstance(subject.description, Description)  # `why_not` refuses others
    _write_weights(subject, folder)
    write_bytes(folder / CONFIG, config_text(subject.description).encode())


def _read_timm(folder: Path) -> Predict:
    import timm

    import nas.formats.timm_models  # noqa: F401 (registers the models)

    return timm.create_model(f"local-dir:{folder}", pretrained=True).eval()


def _write_program(subject: Subject, folder: Path) -> None:
    save_program(subject.program, subject.description, folder / PROGRAM)


def _write_onnx(subject: Subject, folder: Path) -> None:
    save_onnx(subject.program, subject.description, folder / ONNX, subject.opset)


FORMATS = {
    fmt.name: fmt
    for fmt in (
        Format(
            "safetensors",
            files=(WEIGHTS,),
            needs=("safetensors",),
            built=True,
            images=False,
            same_draws=True,
            write=_write_weights,
            read=lambda folder: load_safetensors(folder / WEIGHTS),
        ),
        Format(
            "timm",
            files=(CONFIG, WEIGHTS),
            needs=("timm", "safetensors"),
            built=True,
            images=True,
            same_draws=True,
            write=_write_timm,
            read=_read_timm,
        ),
        Format(
            "torch_export",
            files=(PROGRAM,),
            needs=(),
            built=False,
            images=False,
            same_draws=True,
            write=_write_program,
            read=lambda folder: load_program(folder / PROGRAM),
        ),
        Format(
            "onnx",
            files=(ONNX,),
            needs=("onnx", "onnxscript", "onnxruntime"),
            built=False,
            images=False,
            same_draws=False,
            write=_write_onnx,
            read=lambda folder: load_onnx(folder / ONNX),
        ),
    )
}


def read_back(fmt: Format, folder: Path, description: Description | TextDescription) -> Predict:
    """What was written, as every format is compared: numbers that are no pixels go in as measured."""
    found = fmt.read(folder)
    if fmt.built and has_preparation(description):
        assert isinstance(description, Description)
        return Prepared(found, description)
    return found


def why_not(fmt: Format, images: bool = True, known: bool = True, pixels: bool = True) -> str | None:
    """Why a network cannot be written in a format; None if it can.

    Args:
        fmt: the format.
        images: whether the network reads images, and not words.
        known: whether its space comes with this project.
        pixels: whether its images are pictures, and not numbers of other units.
    """
    if fmt.images and not images:
        return "its models read images, and this network reads words one by one and passes a state on"
    if fmt.images and not pixels:
        return "its models prepare pictures, and this network reads numbers as they were measured"
    if fmt.built and not known:
        return "its file holds weights, and the class that they belong to comes from outside of this project"
    return None


def chosen(name: str, images: bool = True, known: bool = True, pixels: bool = True) -> Sequence[Format]:
    """The formats that `format=name` stands for; `all` are those in which such a network can be written.

    Args:
        name: of the format, or `all`.
        images: as for `why_not`, and the next one.
        known: likewise.
        pixels: likewise.

    Raises:
        ConfigError: there is no such format, it is not for such a network, or a package is missing that it
            needs.
    """
    require(name in (*FORMATS, "all"), f"format={name}: unknown; known are {', '.join(FORMATS)}, all")
    can = [fmt for fmt in FORMATS.values() if why_not(fmt, images, known, pixels) is None]
    formats = tuple(can) if name == "all" else (FORMATS[name],)
    for fmt in formats:
        reason = why_not(fmt, images, known, pixels)
        require(
            reason is None, f"format={name}: {reason}; choose {', '.join(other.name for other in can)} or all"
        )
        missing = [module for module in fmt.needs if importlib.util.find_spec(module) is None]
        require(
            not missing,
            f"format={name}: {fmt.name} needs {' and '.join(missing)}, not installed here; "
            + installation("export")
            + (f", or choose another of {', '.join(other.name for other in can)}" if name == "all" else ""),
        )
    return formats
