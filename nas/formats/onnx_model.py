"""A network as an ONNX model: one file with its weights, any number of images, checked by onnxruntime."""

import contextlib
import io
import logging
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram

from nas.errors import require
from nas.files import write_bytes
from nas.formats.description import KEY, Description, TextDescription

BATCH = "batch"
IMAGES = (["images"], ["logits"])
TEXT = (["tokens", "state"], ["logits", "next_state"])
# The opset that torch's exporter writes by itself, and the newest that onnx's converter takes it to here.
OPSETS = range(18, 24)


def save_onnx(
    program: ExportedProgram, description: Description | TextDescription, path: Path, opset: int
) -> None:
    """Writes the model: `images` float32 [batch, C, H, W] -> `logits` float32 [batch, K].

    Of text it is a step: `tokens` int64 [batch], `state` float32 [batch, S] -> `logits` [batch, V] and
    `next_state` [batch, S].

    The description is in the model's metadata, under the key `network`.

    Args:
        program: the network as `export_program` made it.
        description: of the network.
        path: the file.
        opset: version of ONNX's set of operators.

    Raises:
        ConfigError: the opset is out of range, or the folder cannot be written to.
    """
    import onnx

    check_opset(opset)
    inputs, outputs = TEXT if isinstance(description, TextDescription) else IMAGES
    with _quiet():
        exported = torch.onnx.export(
            program,
            dynamo=True,
            opset_version=opset,
            input_names=inputs,
            output_names=outputs,
            verbose=False,
        )
    assert exported is not None  # of the exporter by dynamo
    model = exported.model_proto
    _name_batch(model)
    model.metadata_props.add(key=KEY, value=description.to_json())
    model.producer_name = "nas"
    onnx.checker.check_model(model, full_check=True)
    found = next(one.version for one in model.opset_import if one.domain == "")
    require(
        found == opset, f"onnx.opset={opset}: the exporter wrote version {found} and could not convert it"
    )
    write_bytes(path, model.SerializeToString())


def check_opset(opset: int) -> None:
    """Raises `ConfigError` for a version that the exporter does not write."""
    require(opset in OPSETS, f"onnx.opset={opset}: must be from {OPSETS.start} to {OPSETS.stop - 1}")


def load_onnx(path: Path) -> Callable[..., Any]:
    """Images [B, C, H, W] -> logits [B, K], or a step, by onnxruntime on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    names = [one.name for one in session.get_inputs()]

    def run(*inputs: Tensor) -> Any:
        given = {name: one.numpy() for name, one in zip(names, inputs, strict=True)}
        found = tuple(torch.from_numpy(one) for one in session.run(None, given))
        return found if len(found) > 1 else found[0]

    return run


def _name_batch(model) -> None:
    """Gives the free dimension the name that a reader expects; the exporter numbers its symbols."""
    graph = model.graph
    symbol = graph.input[0].type.tensor_type.shape.dim[0].dim_param
    for value in (*graph.input, *graph.output, *graph.value_info):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param == symbol:
                dim.dim_param = BATCH


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's account of its steps; errors are raised all the same."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
