"""Writing a file whole or not at all."""

import os
from pathlib import Path

from nas.errors import ConfigError


def write_bytes(path: Path, content: bytes) -> None:
    """Writes a file to a temporary name beside it and renames it, so that no reader sees half of it.

    Raises:
        ConfigError: the folder cannot be written to.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(content)
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True) if path.parent.is_dir() else None
        raise ConfigError(f"{path}: cannot write it ({error.strerror}); see hydra.run.dir") from error
