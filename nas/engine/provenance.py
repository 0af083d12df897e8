"""Where a number comes from: the machine, the versions and the commit that a summary names."""

import importlib.metadata
import platform
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


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
    """The commit of this checkout, with `+changes` if files differ from it; None outside a repository.

    A package that was installed into a folder of somebody's repository is no part of its commits.
    """
    if not (ROOT / ".git").exists():
        return None
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
