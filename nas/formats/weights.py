"""One file of weights that says what network they belong to: safetensors, with a description in it."""

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import nn

from nas.errors import ConfigError, require
from nas.files import write_bytes
from nas.formats.description import KEY, Description, TextDescription, from_json
from nas.formats.families import build
from nas.reading.files import check_regular
from nas.spaces.outline import check_outline


def save_safetensors(network: nn.Module, description: Description | TextDescription, path: Path) -> None:
    """Writes weights and description; timm reads the same file.

    Raises:
        ConfigError: the folder cannot be written to.
    """
    tensors = {name: tensor.detach().contiguous() for name, tensor in network.state_dict().items()}
    write_bytes(path, _repeatable(save(tensors, metadata={"format": "pt", KEY: description.to_json()})))


def _repeatable(content: bytes) -> bytes:
    """The same file with its metadata by their names: safetensors writes them in an order of chance."""
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    # What begins behind the header is aligned, as safetensors has it.
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + content[end:]


def read_description(path: str | Path) -> Description | TextDescription:
    """What the metadata of such a file says of its network.

    Raises:
        ConfigError: there is no such file, it is damaged, or it describes no network.
    """
    path = Path(path)
    check_regular(path)
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise ConfigError(f"{path}: no safetensors file, or damaged ({error})") from error
    require(KEY in metadata, f"{path}: its metadata describe no network (key {KEY!r} is missing)")
    return from_json(metadata[KEY], str(path))


def load_safetensors(path: str | Path) -> Any:
    """The network of such a file, from the file alone: `forward(images [B, C, H, W]) -> logits [B, K]`.

    Of text it is a step (`nas.formats.steps`): `forward(tokens [B], state [B, S]) -> logits, state`. On the
    CPU and in evaluation mode; how to prepare pictures is in `read_description(path).preprocessing`.

    Raises:
        ConfigError: there is no such file, it is damaged, or its weights are not those of its network.
    """
    path = Path(path)
    description = read_description(path)
    words = f"{path}: its weights are not those of the network that its metadata describe"
    try:
        with safe_open(path, framework="pt") as file:
            shapes = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118 (no mapping)
        check_outline(lambda: build(description), shapes, words)
        network = build(description)
        network.load_state_dict(load_file(path))
    except (SafetensorError, RuntimeError) as error:
        if isinstance(error, ConfigError):
            raise
        lines = [line.strip() for line in str(error).splitlines()]
        raise ConfigError(f"{words} ({' '.join(lines[:2])[:200]})") from error
    return network
