"""`python -m nas.dashboard`: saves a workspace of Weights & Biases, or writes what it would send."""

import json
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from nas.engine.loggers import check_logger
from nas.engine.workspace import build_workspace, check_package, send, wire
from nas.errors import ConfigError, require
from nas.files import write_text
from nas.running.config import RunFailed, plain


def run(config: DictConfig, path: Path) -> None:
    """Sends the workspace and prints its address; with `output` writes it there instead.

    Raises:
        ConfigError: the package is missing, nobody is logged in, or a value cannot be used.
        RunFailed: wandb did not take it.
    """
    check_package()
    for key in ("project", "name"):
        require(isinstance(config[key], str) and config[key] != "", f"{key}={config[key]}: must be a name")
    parallel = plain(config.parallel)
    require(
        all(isinstance(one, str) and one for one in parallel),
        f"parallel={parallel}: must be keys of a configuration, such as method.lam",
    )
    offline = config.output is not None
    if not offline:
        check_logger("wandb")
    entity = config.entity
    if entity is None and not offline:
        entity = _default_entity()
    workspace = build_workspace(config.project, entity, config.name, parallel)
    if offline:
        file = Path(config.output)
        require(
            file.absolute().parent.is_dir(), f"output={file}: there is no folder {file.absolute().parent}"
        )
        require(not file.is_dir(), f"output={file}: is a folder; a file")
        write_text(file, json.dumps(wire(workspace), indent=1) + "\n")
        print(f"nothing sent; what would be: {file.absolute()}")
        return
    try:
        print(f"workspace:  {send(workspace)}")
    except RuntimeError as error:
        raise RunFailed(str(error)) from error


def _default_entity() -> str:
    import wandb

    found: Any = None
    try:
        found = wandb.Api().default_entity
    except Exception as error:
        raise RunFailed(f"wandb did not answer ({' '.join(str(error).split())})") from error
    if not found:
        raise ConfigError("entity=null: your account has no default; name a user or a team")
    return str(found)
