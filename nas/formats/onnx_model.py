"""A network as an ONNX model: one file with its weights, any number of images, checked by onnxruntime."""

import contextlib
import io
import logging
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram

from nas.errors import ConfigError, require
from nas.files import write_bytes
from nas.formats.description import KEY, Description, TextDescription, from_json
from nas.printable import shown
from nas.reading.files import read_bytes

BATCH = "batch"
IMAGES = (["images"], ["logits"])
SIGNALS = (["signals"], ["logits"])
TEXT = (["tokens", "state"], ["logits", "next_state"])
# The opset that torch's exporter writes by itself, and the newest that onnx's converter takes it to here.
OPSETS = range(18, 24)
# Bytes of a file; protocol buffers hold no more.
LONGEST = 1 << 31
NO_ONNX = "not an ONNX file, or a damaged one"


def save_onnx(
    program: ExportedProgram, description: Description | TextDescription, path: Path, opset: int
) -> None:
    """Writes the model: `images` float32 [batch, C, H, W] -> `logits` float32 [batch, K].

    Of signals, [batch, C, L], and of float images the preprocessing is inside: they go in as measured. Of
    text it is a step: `tokens` int64 [batch], `state` float32 [batch, S] -> `logits` [batch, V] and
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
    inputs, outputs = _ends_of(description)
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
    version = next(entry.version for entry in model.opset_import if entry.domain == "")
    require(
        version == opset, f"onnx.opset={opset}: the exporter wrote version {version} and could not convert it"
    )
    write_bytes(path, model.SerializeToString())


def check_opset(opset: int) -> None:
    """Raises `ConfigError` for a version that the exporter does not write."""
    require(opset in OPSETS, f"onnx.opset={opset}: must be from {OPSETS.start} to {OPSETS.stop - 1}")


def load_onnx(path: Path | bytes) -> Callable[..., Any]:
    """Images [B, C, H, W] -> logits [B, K], or a step, by onnxruntime; `path` may be the content."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    names = [entry.name for entry in session.get_inputs()]

    def run(*inputs: Tensor) -> Any:
        given = {name: tensor.numpy() for name, tensor in zip(names, inputs, strict=True)}
        outputs = tuple(torch.from_numpy(array) for array in session.run(None, given))
        return outputs if len(outputs) > 1 else outputs[0]

    return run


def open_onnx(path: Path, where: str) -> tuple[Description | TextDescription, Callable[..., Any]]:
    """A file that may be anybody's: its description, read as plain JSON, and what runs it on the CPU.

    Args:
        path: the file.
        where: what messages begin with.

    Returns:
        The description; and, as of `load_onnx`, what it computes.

    Raises:
        ConfigError: it is damaged, keeps weights in other files, was not written by `nas.export`, or does not
            take and give what its description says.
    """
    import onnx

    content = read_bytes(path, where, LONGEST)
    try:
        model = onnx.load_model_from_string(content)
    except Exception as error:
        raise ConfigError(f"{where}: {NO_ONNX}") from error
    # Nothing, and much of what is random or cut off, is a message of its format too.
    whole = model.ir_version > 0 and len(model.graph.node) > 0 and len(model.opset_import) > 0
    require(whole, f"{where}: {NO_ONNX}")
    require(not _keeps_outside(model), f"{where}: it keeps weights in files beside it, which are not read")
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    require(
        KEY in metadata,
        f"{where}: it does not say what it reads and tells apart (key {KEY!r} of its metadata is missing); "
        "only files that nas.export wrote can be used",
    )
    description = from_json(metadata[KEY], where)
    try:
        run = load_onnx(content)
    except Exception as error:
        raise ConfigError(f"{where}: cannot be run ({shown(' '.join(str(error).split()), 160)})") from error
    _check_ends(model, description, where)
    return description, run


def _keeps_outside(model: Any) -> bool:
    """Whether any tensor of a model, however deep, is said to lie in another file."""
    left = [model]
    while left:
        message = left.pop()
        if type(message).__name__ == "TensorProto" and message.data_location == message.EXTERNAL:
            return True
        for field, value in message.ListFields():
            if field.message_type is not None:
                left += value if isinstance(value, Iterable) else [value]
    return False


def _check_ends(model: Any, description: Description | TextDescription, where: str) -> None:
    """Compares inputs and outputs with the description; sides without a number are free."""
    inputs, outputs = _ends_of(description)
    if isinstance(description, TextDescription):
        state = description.state_size
        shapes = [[None], [None, state], [None, description.vocabulary], [None, state]]
    else:
        shapes = [[None, *description.given_shape], [None, description.num_classes]]
    ends = [*model.graph.input, *model.graph.output]
    sizes = [
        [side.dim_value if side.HasField("dim_value") else None for side in end.type.tensor_type.shape.dim]
        for end in ends
    ]
    names = [end.name for end in ends]
    told = ", ".join(f"{name} {shape}" for name, shape in zip(names, sizes, strict=True))
    require(
        names == [*inputs, *outputs] and sizes == shapes,
        f"{where}: it takes and gives {shown(told, 160)}, which is not what its description says",
    )


def _ends_of(description: Description | TextDescription) -> tuple[list[str], list[str]]:
    """Names of what goes in and comes out."""
    if isinstance(description, TextDescription):
        return TEXT
    return SIGNALS if description.signal else IMAGES


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
