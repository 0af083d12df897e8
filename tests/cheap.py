"""What makes the commands of the tests cheap, and changes nothing that they compute.

Composing a configuration and drawing pictures are more than half of a tiny run. A test's process, and the one
whose forks are the commands that tests start, therefore compose the same words on the same files once, parse
the same YAML and each reference in it once, and write one white pixel in place of a picture unless the test
looks at pictures.
"""

import base64
import functools
import os
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import omegaconf
import yaml
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.hydra import Hydra
from hydra.core.utils import JobRuntime
from matplotlib.figure import Figure

import nas.commands.report_group
import nas.engine.pictures
from nas.analysis import plots
from nas.analysis.plots import cells, style

# One white pixel, as PNG.
NO_PICTURE = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGP4DwABAQEAsTj2gwAAAABJRU5ErkJggg=="
)
PICTURES = (
    (nas.engine.pictures, ("draw_exploration", "draw_factors", "draw_sparsity")),
    (plots, ("draw_confusion", "draw_curves", "draw_lines", "draw_op_weights", "draw_weight_evolution")),
    (cells, ("_draw_cells", "draw_blocks")),
)


def sketches() -> Iterator[tuple[object, str, Callable]]:
    """(where, name, function) of what is to be put in place of what draws a run's pictures and any other."""
    for where, names in PICTURES:
        yield from ((where, name, _sketch) for name in names)
    yield Figure, "savefig", lambda figure, file, **options: file.write(NO_PICTURE)
    # The page of a sweep, which is as much a picture of it.
    yield nas.commands.report_group, "write_group", lambda folder, output, *options: [output]


def _sketch(*arguments: object, **options: object) -> Path:
    path = next(one for one in (*arguments, *options.values()) if isinstance(one, Path))
    return style.write(path, NO_PICTURE)


def remember() -> None:
    """Has this process, and its forks, parse each text of YAML once and compose each configuration once."""
    parse, compose, mode = yaml.load, ConfigLoaderImpl.load_configuration, Hydra.get_mode
    parsed: dict[Any, bytes] = {}
    composed: dict[Any, bytes] = {}

    @functools.wraps(parse)
    def load(stream: Any, Loader: type) -> Any:
        if Loader.__name__ != "OmegaConfLoader" or isinstance(stream, str):
            return parse(stream, Loader)
        text = stream.read()
        if text not in parsed:
            stream.seek(0)
            parsed[text] = pickle.dumps(parse(stream, Loader))
        return pickle.loads(parsed[text])

    @functools.wraps(compose)
    def load_configuration(
        loader, config_name, overrides, run_mode, from_shell=True, validate_sweep_overrides=True
    ) -> Any:
        arguments = (config_name, overrides, run_mode, from_shell, validate_sweep_overrides)
        job = (os.getcwd(), JobRuntime.instance().get("name"))
        key = (*arguments[:1], *overrides, *arguments[2:], *job, *_files(loader))
        if key not in composed:
            composed[key] = pickle.dumps(compose(loader, *arguments))
        return pickle.loads(composed[key])

    @functools.wraps(mode)
    def get_mode(hydra: Hydra, config_name: str, overrides: list[str]) -> Any:
        """Hydra composes everything to find a mode that nobody has set."""
        said = any("hydra.mode" in one for one in overrides)
        return mode(hydra, config_name, overrides) if said else None

    yaml.load, ConfigLoaderImpl.load_configuration, Hydra.get_mode = load, load_configuration, get_mode
    # A tree is read, never changed.
    omegaconf.base.parse = omegaconf._utils.parse = functools.lru_cache(2**14)(omegaconf.base.parse)


def _files(loader: ConfigLoaderImpl) -> Iterator[tuple]:
    """What the folders of configurations hold, and when it was written."""
    for element in loader.config_search_path.get_path():
        yield element.provider, element.path
        if str(element.path).startswith(("pkg:", "structured:")):
            continue
        for file in sorted(Path(str(element.path).removeprefix("file://")).rglob("*.yaml")):
            found = file.stat()
            yield str(file), found.st_mtime_ns, found.st_size
