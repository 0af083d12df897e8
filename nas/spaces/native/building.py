"""Compiles a library once for all checkouts and processes: whole under its name, and not touched again."""

import hashlib
import logging
import os
import platform
import shlex
import shutil
import sysconfig
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock

log = logging.getLogger(__name__)
FILE = "kernel.so"


def place_of(sources: Sequence[Path], headers: Sequence[Path], flags: Sequence[str]) -> Path:
    """Where the library of some sources is or will be, in torch's extension cache.

    The folder's name is a hash of all that the library depends on: contents, flags, processor and torch. So
    an edited kernel, another torch, or a home that is shared with another machine has another folder, and
    checkouts with the same sources have the same one.
    """
    content = b"\0".join(path.read_bytes() for path in (*sources, *headers))
    conditions = repr((tuple(flags), torch.__version__, _processor())).encode()
    return _root() / f"nas_kernel_{hashlib.sha256(content + conditions).hexdigest()[:16]}" / FILE


def build(place: Path, sources: Sequence[Path], flags: Sequence[str]) -> None:
    """Compiles sources to `place` (`place_of`) in a folder of its own, which then gets its name at once.

    Of several processes one compiles and the others wait for it.

    Raises:
        RuntimeError, OSError, ImportError: it cannot be compiled, or not be written.
    """
    # Importing the loader warns where a CUDA toolkit is installed and no GPU is there; neither is used here.
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
    from torch.utils import cpp_extension

    home = place.parent
    home.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(home.with_name(f"{home.name}.lock")):
        if place.exists():
            return
        try:
            _compile(place, home.name, sources, flags, cpp_extension.load)
        except RuntimeError as error:
            # Compilers side by side want memory that others may have taken; one after another they want less.
            log.info("the compiled kernel is built again, one file after another (%s)", _first_line(error))
            with _set("MAX_JOBS", "1"):
                # torch would take the same name for something that it has built.
                _compile(place, f"{home.name}_again", sources, flags, cpp_extension.load)


def _compile(
    place: Path, name: str, sources: Sequence[Path], flags: Sequence[str], load: Callable[..., Any]
) -> None:
    """Compiles in a folder of its own, which then gets the name of the place."""
    home = place.parent
    with (
        tempfile.TemporaryDirectory(prefix=f".{home.name}-", dir=home.parent) as work,
        _ninja_on_path(),
        _quoted_libraries(),
    ):
        made = load(
            name,
            [str(path) for path in sources],
            extra_cflags=list(flags),
            extra_ldflags=["-fopenmp"],
            build_directory=work,
            is_python_module=False,
        )
        done = Path(work) / "done"
        done.mkdir()
        shutil.move(made, done / FILE)
        try:
            os.rename(done, home)
        except OSError:
            # Where locks do not hold, another process may have been first, with the same library.
            if not place.exists():
                raise


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:160]


def _root() -> Path:
    """Torch's folder of extensions."""
    given = os.environ.get("TORCH_EXTENSIONS_DIR")
    if given:
        return Path(given)
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
    from torch.utils import cpp_extension

    return Path(cpp_extension.get_default_build_root())


@contextmanager
def _ninja_on_path() -> Iterator[None]:
    """Lets the loader find the ninja that pip installed, also in an environment that is not activated."""
    with _set("PATH", os.pathsep.join([os.environ.get("PATH", ""), sysconfig.get_path("scripts")])):
        yield


@contextmanager
def _quoted_libraries() -> Iterator[None]:
    """Lets the linker find torch where its path has blanks, which torch hands to a shell as they are."""
    from torch.utils import cpp_extension

    before = cpp_extension.TORCH_LIB_PATH
    cpp_extension.TORCH_LIB_PATH = shlex.quote(before)
    try:
        yield
    finally:
        cpp_extension.TORCH_LIB_PATH = before


@contextmanager
def _set(name: str, value: str) -> Iterator[None]:
    """Gives a variable of the environment another value for a while."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else [platform.processor()]
    features = sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))})
    return f"{platform.machine()} {features}"
