"""The formats by name: what each writes, reads and needs."""

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from torch import Tensor
from torch.export import ExportedProgram

from nas.errors import require
from nas.files import write_bytes
from nas.formats.classifier import Classifier
from nas.formats.description import Description
from nas.formats.onnx_model import check_opset, load_onnx, save_onnx
from nas.formats.program import export_program, load_program, save_program
from nas.formats.weights import load_safetensors, save_safetensors

WEIGHTS, CONFIG, PROGRAM, ONNX = "model.safetensors", "config.json", "model.pt2", "model.onnx"
Predict = Callable[[Tensor], Tensor]


class Subject:
    """What is exported: a network in evaluation mode, and what it is.

    Raises:
        ConfigError: there is no such opset.
    """

    def __init__(self, network: Classifier, description: Description, opset: int):
        check_opset(opset)
        self.network = network.eval()
        self.description = description
        self.opset = opset

    @cached_property
    def program(self) -> ExportedProgram:
        """The graph that two formats are made from, traced once."""
        return export_program(self.network, self.description)


@dataclass(frozen=True)
class Format:
    """One way out of this project.

    Attributes:
        name: what `format=` calls it.
        files: what it writes into the folder.
        needs: modules that must be installed to write it and to check it.
        same_draws: whether its random operations draw what torch's would after the same seed.
        write: (subject, folder).
        read: folder -> images [B, C, H, W] to logits [B, K].
    """

    name: str
    files: tuple[str, ...]
    needs: tuple[str, ...]
    same_draws: bool
    write: Callable[[Subject, Path], None]
    read: Callable[[Path], Predict]


def _write_weights(subject: Subject, folder: Path) -> None:
    save_safetensors(subject.network, subject.description, folder / WEIGHTS)


def _write_timm(subject: Subject, folder: Path) -> None:
    from nas.formats.timm_models import config_text

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
    one.name: one
    for one in (
        Format(
            "safetensors",
            (WEIGHTS,),
            ("safetensors",),
            True,
            _write_weights,
            lambda folder: load_safetensors(folder / WEIGHTS),
        ),
        Format("timm", (CONFIG, WEIGHTS), ("timm", "safetensors"), True, _write_timm, _read_timm),
        Format(
            "torch_export",
            (PROGRAM,),
            (),
            True,
            _write_program,
            lambda folder: load_program(folder / PROGRAM),
        ),
        Format(
            "onnx",
            (ONNX,),
            ("onnx", "onnxscript", "onnxruntime"),
            False,
            _write_onnx,
            lambda folder: load_onnx(folder / ONNX),
        ),
    )
}


def chosen(name: str) -> Sequence[Format]:
    """The formats that `format=name` stands for.

    Raises:
        ConfigError: there is no such format, or a package is missing that it needs.
    """
    require(name in (*FORMATS, "all"), f"format={name}: unknown; known are {', '.join(FORMATS)}, all")
    found = tuple(FORMATS.values()) if name == "all" else (FORMATS[name],)
    for one in found:
        missing = [module for module in one.needs if importlib.util.find_spec(module) is None]
        require(
            not missing,
            f"format={name}: {one.name} needs {' and '.join(missing)}, not installed here; "
            "pip install -e '.[export]'"
            + (f", or choose another of {', '.join(FORMATS)}" if name == "all" else ""),
        )
    return found
