"""The configuration of a run that is continued: its own, and what may change in it."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from nas.errors import require
from nas.printable import shown
from nas.running import trust
from nas.running.beside_resume import RESUMABLE, changes
from nas.running.config_checks import check_saved
from nas.running.lengthening import set_length
from nas.running.older import read_now
from nas.running.saved import read_config

# (this command's configuration, folder, what was typed) -> the configuration of the run that goes on.
Continued = Callable[[DictConfig, Path, Sequence[str]], DictConfig]
# Keys that came later than some run folders, and what these had without them.
LATER: Mapping[str, Any] = {
    "epoch": None, "run": None, "choice": None, "init": None, "freeze_epochs": 0, "size": None, "time": None,
    "metrics": [],
}  # fmt: skip


def resumed(config: DictConfig, folder: Path, overrides: Sequence[str]) -> DictConfig:
    """The configuration of a run that is to be continued: its own, with what a resumed run may change.

    Raises:
        ConfigError: the folder holds no run of this command, or an override would change what is computed.
    """
    saved = read_config(folder / "config.yaml", f"resume={config.resume}: config.yaml")
    same = saved.get("command")
    require(same is not None, f"resume={config.resume}: config.yaml is damaged (it names no command)")
    require(
        same == config.command,
        f"resume={config.resume}: it is a run of nas.{same}, not of nas.{config.command}",
    )
    replaced, epochs = changes(folder, overrides), None
    trust.check_saved(saved, config, folder, f"resume={config.resume}", [key for key, _ in replaced])
    check_saved(config.command, saved, f"resume={config.resume}: config.yaml")
    saved = read_now(saved, f"resume={config.resume}", continued=True)
    for key, _ in replaced:
        if key == "trainer.max_epochs":
            epochs = config.trainer.max_epochs
        elif key != "resume_schedule":
            # Whole: what a folder says of a group that the caller has chosen anew is gone.
            OmegaConf.update(saved, key, OmegaConf.select(config, key), force_add=True, merge=False)
    if "budget" in config and "budget" not in saved:
        # Started before there was one: the recipe's own width.
        saved["budget"] = dict.fromkeys(config.budget)
    for key, usual in LATER.items():
        if key in config and key not in saved:
            saved[key] = usual
    if "init_head" in config and "init_head" not in saved:
        # Where weights were taken, the last layer was too.
        saved.init_head = "names" if saved.init is None else "take"
    for key in (*RESUMABLE, "restarts"):
        # A run that was started before there was such a key.
        if key in config and key not in saved:
            saved[key] = [] if key == "restarts" else config[key]
    _keep_to_here(saved, config, [key for key, _ in replaced])
    missing = [str(key) for key in config if key not in saved]
    require(not missing, f"resume={config.resume}: config.yaml is damaged (it lacks {', '.join(missing)})")
    _check_record(saved, folder, f"resume={config.resume}", [key for key, _ in replaced])
    saved.resume_schedule = None
    set_length(saved, folder, epochs, config.resume_schedule)
    return saved


def _keep_to_here(saved: DictConfig, config: DictConfig, replaced: Sequence[str]) -> None:
    """What is said on this command line alone: what to continue, whom to trust, and where things lie."""
    for key in ("resume", "trust", "outputs"):
        saved[key] = config[key]
    saved.pop("hydra", None)
    if OmegaConf.select(saved, "tabular.cache") is not None:
        saved.tabular.cache = config.tabular.get("cache")
    trust.fetch_nothing(saved, but="dataset.download" in replaced and config.dataset.download)


def _check_record(saved: DictConfig, folder: Path, where: str, typed: Sequence[str]) -> None:
    """What a run sends off goes with this caller's key, so that it takes more than the folder's word."""
    logger = saved.logger
    if not online(logger):
        return
    account = ", ".join(f"{key} {shown(logger.get(key))}" for key in ("entity", "project"))
    require(
        "logger" in typed,
        f"{where}: its config.yaml has logger.name=wandb, which would send the run off with your key "
        f"({account}); if that is yours, say logger=wandb and type its other logger keys again, or choose "
        "logger=csv",
    )
    # wandb would read there whom to send it to.
    settings = folder / "wandb" / "settings"
    require(not os.path.lexists(settings), f"{where}: {settings} would set up wandb; remove it")


def online(logger: Mapping) -> bool:
    """Whether a run with these `logger` keys is sent to somebody's server."""
    return logger.get("name") == "wandb" and logger.get("offline") is not True
