"""The official NATS-Bench files (topology space), read through the benchmark's own package `nats_bench`.

Written to the package's documented interface (`create`, `get_more_info`, indexing; version 1.8): Dong et al.
2021. The package unpickles what it reads, so give it the official files only.
"""

import logging
import pickle
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nas.analysis.benchmark_table import SIZE, BenchmarkTable, read_csv
from nas.errors import ConfigError, installation, require
from nas.files import WriteFailed, sweep, write_text
from nas.reading.csv_text import csv_table

log = logging.getLogger(__name__)

SCHEDULES = (12, 200)
# Our column -> the package's data set and figure. Tested on CIFAR-10 are networks that were trained on its
# training and validation part together, which is the figure that papers report.
FIGURES = {
    "cifar10_val": ("cifar10-valid", "valid-accuracy"),
    "cifar10_test": ("cifar10", "test-accuracy"),
    "cifar100_val": ("cifar100", "valid-accuracy"),
    "cifar100_test": ("cifar100", "test-accuracy"),
    "in16_val": ("ImageNet16-120", "valid-accuracy"),
    "in16_test": ("ImageNet16-120", "test-accuracy"),
}
# Our column -> the data set whose training and one validation it is the seconds of: what the benchmark's own
# black-box searches pay for a query.
TIMES = {"cifar10_seconds": "cifar10-valid", "cifar100_seconds": "cifar100", "in16_seconds": "ImageNet16-120"}
# The package keeps all it has read; a fresh start after so many architectures bounds the memory.
CHUNK = 500


def read_natsbench(file: str | Path, epochs: int = 200, cache: str | Path | None = None) -> BenchmarkTable:
    """Reads all architectures, seeds averaged, which takes minutes; later starts take the cache.

    Args:
        file: the unpacked folder `NATS-tss-v1_0-3ffb9-simple`, or the one large file (which needs far more
            memory).
        epochs: the schedule, 12 or 200.
        cache: folder for a CSV copy of what was read, if it is complete; None for none.

    Raises:
        ConfigError: the package or the files are missing, or hold something else.
    """
    source = f"tabular.file={file}"
    require(
        isinstance(epochs, int) and epochs in SCHEDULES,
        f"tabular.epochs={epochs}: the benchmark has the schedules 12 and 200",
    )
    path = Path(file).expanduser().absolute()
    copy = None
    if cache is not None:
        copy = Path(cache).expanduser() / f"{re.sub(r'[.]pickle[.]pbz2$', '', path.name)}_{epochs}epochs.csv"
        if copy.is_file():
            log.info("%s: figures from %s", source, copy)
            return read_csv(copy)
    package = _package()
    require(path.exists(), f"{source}: there is no such folder or file")
    log.info("%s: reading the figures of %d epochs once; this takes minutes", source, epochs)
    try:
        figures = dict(_read(package, path, str(epochs)))
    except (OSError, EOFError, ValueError, KeyError, AssertionError, pickle.UnpicklingError) as error:
        raise ConfigError(
            f"{source}: not the files that tabular=natsbench reads "
            f"({type(error).__name__}: {str(error)[:200]})"
        ) from error
    table = BenchmarkTable(figures, source)
    # A copy of less than everything would hide what is added to the folder later.
    if copy is not None and len(table) == SIZE:
        _store(figures, copy)
    return table


def _package() -> Any:
    try:
        import nats_bench
    except ImportError as error:
        raise ConfigError(
            "tabular=natsbench: the package nats_bench is not installed; "
            f"{installation('natsbench')}; or use a CSV table (tabular=csv)"
        ) from error
    return nats_bench


def _read(package: Any, path: Path, schedule: str) -> Iterator[tuple[str, dict[str, float]]]:
    """Every architecture with its figures; those that the benchmark does not have are left out."""
    lazy = path.is_dir()
    api = package.create(str(path), "tss", fast_mode=lazy, verbose=False)
    for index in range(len(api)):
        if lazy and index and index % CHUNK == 0:
            api = package.create(str(path), "tss", fast_mode=True, verbose=False)
        infos = {
            dataset: api.get_more_info(index, dataset, hp=schedule, is_random=False)
            for dataset in sorted({dataset for dataset, _ in FIGURES.values()})
        }
        figures = {column: infos[dataset].get(key) for column, (dataset, key) in FIGURES.items()}
        for column, dataset in TIMES.items():
            parts = [infos[dataset].get(key) for key in ("train-all-time", "valid-per-time")]
            figures[column] = None if None in parts else sum(parts)
        known = {column: value for column, value in figures.items() if value is not None}
        yield api.arch(index), {column: round(float(value), 4) for column, value in known.items()}


def _store(figures: dict[str, dict[str, float]], path: Path) -> None:
    text = csv_table(("arch", *FIGURES, *TIMES), ({"arch": arch, **row} for arch, row in figures.items()))
    sweep(path.parent)
    try:
        write_text(path, text, parents=True)
    except WriteFailed as error:
        # The figures are there; that they will be read once more is no reason to stop.
        log.warning("tabular.cache=%s: %s", path.parent, error)
