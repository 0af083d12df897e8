"""What `nas.search` and `nas.evaluate` have in common: opening, closing and summing up a run folder."""

import importlib.metadata
import logging
import platform
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from nas.config import ROOT, ConfigError, RunFailed, plain, refuse_multirun_ddp, resumed
from nas.engine.run_folder import RunFolder, write_text
from nas.errors import require

log = logging.getLogger(__name__)
SCHEMA = 1


class Session:
    """One run: its configuration, its folder, and the summary that is written however it ends.

    Attributes:
        config: the configuration in force; that of the folder if the run is resumed.
        folder: the run folder.
        summary: what `summary.json` will hold; the command adds to it.
    """

    def __init__(self, config: DictConfig, path: Path):
        refuse_multirun_ddp(config)
        self.folder = RunFolder(path)
        self.resuming = config.resume is not None
        if self.resuming:
            config = resumed(config, path)
        else:
            require(
                not self.folder.holds_a_run(),
                f"hydra.run.dir={path}: it holds a run already; continue it with resume={path}, or choose another",
            )
        self.config = config
        self.summary: dict[str, Any] = {}
        self._start = time.monotonic()
        self._before = (
            float(self.folder.read_json("summary.json").get("seconds") or 0.0) if self.resuming else 0.0
        )

    def open(self, split: Mapping | None) -> None:
        """Writes what is needed to repeat the run. Called once everything that can be refused has been built."""
        if not self.resuming:
            overrides = OmegaConf.to_yaml(HydraConfig.get().overrides.task)
            write_text(self.folder / "overrides.yaml", overrides)
            if split is not None:
                self.folder.write_json("split.json", split)
            write_text(self.folder / "config.yaml", OmegaConf.to_yaml(self.config, resolve=True))

    def run(self, body: Callable[[], None]) -> None:
        """Runs the body and writes the summary, whatever happens.

        Raises:
            RunFailed: the body broke down; the traceback is in `error.txt`.
            KeyboardInterrupt: the run was stopped; it can be resumed.
        """
        from nas.engine.trainer import Stopped

        self._write("running")
        try:
            body()
        except Stopped as error:
            self._write("stopped")
            print(f"stopped; continue with: {self.again()}", flush=True)
            raise KeyboardInterrupt from error
        except KeyboardInterrupt:
            self._write("stopped")
            print(f"stopped; continue with: {self.again()}", flush=True)
            raise
        except ConfigError as error:
            self.summary["error"] = str(error)
            self._write("failed")
            raise
        except Exception as error:
            self.summary["error"] = f"{type(error).__name__}: {error}"
            write_text(self.folder / "error.txt", traceback.format_exc())
            self._write("failed")
            raise RunFailed(
                f"{error or type(error).__name__}\nThe traceback is in {self.folder / 'error.txt'}; the last good "
                f"checkpoint is kept, continue with: {self.again()}"
            ) from error
        self._write("finished")

    def again(self) -> str:
        """The command that continues this run."""
        return f"python -m nas.{self.config.command} resume={self.folder.path}"

    def _write(self, status: str) -> None:
        config = self.config
        head = {
            "schema": SCHEMA,
            "command": config.command,
            "status": status,
            "space": config.space.name,
            "method": config.method.name if "method" in config else None,
            "dataset": config.dataset.name,
            "recipe": config.recipe.name,
            "hardware": config.hardware.name,
            "seed": config.seed,
            "seconds": round(self._before + time.monotonic() - self._start, 3),
            "device": device_name(config.hardware.accelerator),
            "versions": versions(),
            "git_commit": git_commit(),
        }
        self.folder.write_json("summary.json", head | self.summary)


def device_name(accelerator: str) -> str:
    """The processor or GPU that computes."""
    torch = sys.modules.get("torch")
    if accelerator in ("gpu", "cuda") and torch is not None and torch.cuda.is_available():
        return torch.cuda.get_device_name()
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        if lines:
            name = f"{lines[0].split(':', 1)[1].strip()} ({len(lines)} cores)"
    return name


def versions() -> dict[str, str]:
    """Versions of what the numbers depend on."""
    names = ("torch", "torchvision", "pytorch-lightning", "hydra-core", "timm", "numpy")
    return {"python": platform.python_version()} | {name: importlib.metadata.version(name) for name in names}


def git_commit() -> str | None:
    """The commit of this checkout, with `+changes` if files differ from it; None outside a repository."""
    try:
        head = _git("rev-parse", "HEAD")
        return head + ("+changes" if _git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, timeout=10, check=True
    )
    return done.stdout.strip()


def cost_of(config: DictConfig, space: Any, genotype: Any) -> Any:
    """The cost of the evaluation network that a genotype stands for, under this configuration's recipe."""
    from nas.analysis.complexity import count_cost
    from nas.config import instantiate

    source = instantiate(config.dataset.source)
    recipe = config.recipe
    return count_cost(
        lambda: space.network(
            genotype,
            source.image_shape,
            source.num_classes,
            num_cells=recipe.num_cells,
            init_channels=recipe.init_channels,
            stem=recipe.stem,
            auxiliary=recipe.auxiliary_weight > 0,
        ),
        source.image_shape,
    )


__all__ = ["Session", "cost_of", "plain"]
