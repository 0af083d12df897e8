"""From the command line to objects: where the configuration lies, resolvers, instantiation, and friendly errors.

Only this module and the commands know Hydra. Nothing here imports torch, so that `--help`, `--cfg job` and a
misspelt override answer at once.
"""

import difflib
import logging
import os
import re
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from nas.errors import ConfigError, require

ROOT = Path(__file__).resolve().parent.parent
CONF = ROOT / "conf"
USER_ERROR, FAILURE, INTERRUPTED = 2, 1, 130
# What a resumed run may change: how it is computed and shown, and for how long, not what is computed.
RESUMABLE = ("hardware", "logger", "trainer", "checkpoint", "traceback", "debug")

log = logging.getLogger(__name__)


class RunFailed(Exception):
    """A run that broke down for a reason that is not the user's setting; its message has been prepared."""


def register_resolvers() -> None:
    """Makes `${nas.outputs:}` and `${nas.run_dir:...}` known to OmegaConf; may be called again."""
    OmegaConf.register_new_resolver("nas.outputs", _outputs, replace=True)
    OmegaConf.register_new_resolver("nas.run_dir", _run_dir, replace=True)


def _outputs() -> str:
    return os.path.abspath(os.environ.get("NAS_OUTPUTS", ROOT / "outputs"))


def _run_dir(resume: str | None, default: str) -> str:
    return os.path.abspath(os.path.expanduser(resume)) if resume else default


def command(name: str, run: Callable[[DictConfig, Path], Any]) -> Callable[[], None]:
    """Builds the entry point of `python -m nas.<name>`.

    Args:
        name: the command, which is also the name of its root configuration.
        run: what it does with the composed configuration and its run folder.

    Returns:
        A function that ends the process: status 0, 2 for a mistake of the user's, 1 for a failed run, 130 after
        Ctrl-C. Errors are one message, unless `traceback=true` (every `debug` sets it).
    """

    def job(config: DictConfig) -> Any:
        sweep = HydraConfig.get().mode == RunMode.MULTIRUN
        folder = Path(HydraConfig.get().runtime.output_dir)
        try:
            return run(config, folder)
        except KeyboardInterrupt:
            sys.exit(INTERRUPTED)
        except Exception as error:
            if config.traceback:
                traceback.print_exc()
            # A sweep goes on with its other jobs and reports at the end.
            if sweep:
                print(f"job {HydraConfig.get().job.num}: {message(error)}", file=sys.stderr)
                raise
            sys.exit(report(error))

    def main() -> None:
        register_resolvers()
        # Hydra would print a traceback or hide the cause; both are worse than what `report` says.
        os.environ["HYDRA_FULL_ERROR"] = "1"
        try:
            hydra.main(version_base="1.3", config_path=str(CONF), config_name=name)(job)()
        except KeyboardInterrupt:
            sys.exit(INTERRUPTED)
        except (HydraException, OmegaConfBaseException, ConfigError, RunFailed, OSError) as error:
            sys.exit(report(error))
        except Exception as error:
            if HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN:
                sys.exit(status(error))
            raise

    job.__name__ = name
    return main


def status(error: BaseException) -> int:
    """The exit status that an error stands for."""
    if isinstance(error, ConfigError | HydraException | OmegaConfBaseException | OSError):
        return USER_ERROR
    return FAILURE


def report(error: BaseException) -> int:
    """Prints an error as one message on standard error; returns the exit status."""
    print(f"error: {message(error)}", file=sys.stderr)
    return status(error)


def message(error: BaseException) -> str:
    """An error in words, with a suggestion where a key is misspelt."""
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, HydraException) and error.__cause__ is not None:
        text = f"{error}\n{error.__cause__}"
    elif isinstance(error, ConfigError | RunFailed | HydraException | OmegaConfBaseException):
        text = str(error)
    else:
        text = f"{type(error).__name__}: {error}"
    unknown = re.search(r"Could not override '([\w.]+)'", text)
    if unknown:
        close = difflib.get_close_matches(unknown[1], known_keys(), n=1, cutoff=0.7)
        return f"unknown key {unknown[1]!r}" + (
            f"; did you mean {close[0]!r}?" if close else "; see --cfg job"
        )
    return text.strip()


def known_keys() -> list[str]:
    """All dotted keys that some configuration file sets, for suggestions."""
    keys = set()
    for path in CONF.rglob("*.yaml"):
        group = path.relative_to(CONF).parts[:-1]
        prefix = "" if not group or group[0] in ("experiment", "debug", "paths", "sweep") else f"{group[0]}."
        keys |= {prefix + key for key in _flat(OmegaConf.load(path))}
    return sorted(keys)


def _flat(node: Any, prefix: str = "") -> list[str]:
    if not isinstance(node, DictConfig):
        return [prefix.rstrip(".")]
    names = [] if not prefix else [prefix.rstrip(".")]
    for key in node:
        names += _flat(node._get_node(key), f"{prefix}{key}.")
    return names


def instantiate(node: DictConfig, **arguments: Any) -> Any:
    """Builds the object that a configuration node describes, from plain containers.

    Raises:
        ConfigError: the object refuses its arguments.
    """
    from hydra.errors import InstantiationException

    try:
        return hydra.utils.instantiate(node, _convert_="all", **arguments)
    except InstantiationException as error:
        cause = error.__cause__
        if isinstance(cause, ConfigError):
            raise cause from error
        where = node._get_full_key(None)
        raise ConfigError(f"{where}: {cause or error}") from error


def plain(config: DictConfig | ListConfig) -> Any:
    """A node as plain containers, interpolations resolved."""
    return OmegaConf.to_container(config, resolve=True)


def resumed(config: DictConfig, folder: Path) -> DictConfig:
    """The configuration of a run that is to be continued: its own, with what a resumed run may change.

    Raises:
        ConfigError: the folder holds no run of this command, or an override would change what is computed.
    """
    path = folder / "config.yaml"
    require(path.is_file(), f"resume={config.resume}: no run folder there ({path.name} is missing)")
    try:
        saved = OmegaConf.load(path)
        same = saved.get("command")
    except Exception as error:
        if not isinstance(
            error, OmegaConfBaseException | ValueError | OSError | AttributeError
        ) and "yaml" not in str(type(error)):
            raise
        raise ConfigError(f"resume={config.resume}: {path.name} is damaged ({error})") from error
    require(
        same == config.command,
        f"resume={config.resume}: it is a run of nas.{same}, not of nas.{config.command}",
    )
    for override in HydraConfig.get().overrides.task:
        key = override.lstrip("+~").split("=")[0].split("@")[0]
        root = re.split(r"[./]", key)[0]
        if root == "resume":
            continue
        require(
            root in RESUMABLE,
            f"{override}: a resumed run keeps its settings; only {', '.join(RESUMABLE)} can change",
        )
        OmegaConf.update(saved, key, OmegaConf.select(config, key), force_add=True)
    saved.resume = config.resume
    return saved


def refuse_multirun_ddp(config: DictConfig) -> None:
    """Raises `ConfigError` for several processes within a multirun: every process would re-run the whole sweep."""
    several = config.hardware.devices not in (1, "1") or config.hardware.num_nodes != 1
    if several and HydraConfig.get().mode == RunMode.MULTIRUN:
        raise ConfigError(
            f"hardware={config.hardware.name}: a multirun cannot start {config.hardware.devices} processes a job, "
            "since each would re-run the whole sweep; run the jobs one by one, or with hardware.devices=1"
        )
