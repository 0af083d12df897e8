"""A network in a file for other programs: written, read back and compared before it takes its place."""

import copy
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from nas.api.data import path_of
from nas.errors import require, require_one_of
from nas.files import write_bytes
from nas.formats import families
from nas.formats.catalogue import FORMATS, Subject, chosen, read_back
from nas.formats.comparison import compare
from nas.formats.description import Description, TextDescription
from nas.formats.prepared import has_preparation, with_preparation
from nas.formats.writing import write_all
from nas.running.config import RunFailed

# Ending of a file -> format.
ENDINGS = {".onnx": "onnx", ".safetensors": "safetensors", ".pt2": "torch_export"}
TOLERANCE = 1e-5  # of the largest logit


def export(
    network: nn.Module,
    description: Description | TextDescription,
    path: str | Path,
    format: str | None,
    opset: int,
    run: Callable[[Any], Tensor],
) -> Path:
    """Writes a network; the caller's stays on its device, and in its mode.

    Args:
        network: as its description says.
        description: what the file says of it.
        path: of the file, or with `format="timm"` of the folder.
        format: of `nas.formats.catalogue`; None for what the ending of the path says.
        opset: version of ONNX's operators.
        run: a network, this one or what was read from the file -> logits [N, K] of the same inputs.

    Raises:
        ConfigError: an ending or format is unknown, a package is missing, or it cannot be written.
        RunFailed: what was written computes something else.
    """
    path = path_of(path, "path")
    require(
        format is not None or path.suffix in ENDINGS,
        f"path={path}: must end in {', '.join(ENDINGS)}, or say format= ({', '.join(FORMATS)})",
    )
    name = format or ENDINGS[path.suffix]
    require_one_of("format", name, tuple(FORMATS))
    images, family = isinstance(description, Description), description.genotype.space
    (one,) = chosen(name, images, not images or family in families.FAMILIES, not has_preparation(description))
    require(path.absolute().parent.is_dir(), f"path={path}: there is no folder {path.absolute().parent}")
    network = copy.deepcopy(network).cpu().eval()
    with tempfile.TemporaryDirectory() as folder:
        write_all(Subject(network, description, opset), [one], Path(folder))
        found = compare(
            run(with_preparation(network, description)), run(read_back(one, Path(folder), description))
        )
        draws = any(getattr(module, "draws", False) for module in network.modules())
        if one.same_draws or not draws:
            told = f"the {name} file computes something else than the network"
            # Written so that nan is wrong too.
            if not found.difference <= TOLERANCE:
                raise RunFailed(f"path={path}: {told} ({found.difference:.1e} of the largest logit)")
        contents = {file: (Path(folder) / file).read_bytes() for file in one.files}
    if name == "timm":
        path.mkdir(exist_ok=True)
        for file, content in contents.items():
            write_bytes(path / file, content)
    else:
        (content,) = contents.values()
        write_bytes(path, content)
    return path
