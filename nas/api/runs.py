"""A search and an evaluation from Python: the commands' own work, on the caller's data."""

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.api.data import Data, data_of, joined, path_of, small_batch, typed
from nas.api.results import Derivation, EvaluationResult, Interrupted, Run, SearchResult, load
from nas.commands.auto_size import is_wanted
from nas.domains.networks import batch_overrides, source_of
from nas.errors import require
from nas.genotype import Genotype
from nas.methods.method import Method
from nas.running.in_process import Outcome, call, scratch
from nas.running.words import key_of, quoted

if TYPE_CHECKING:
    from nas.spaces import Space

Cell = SearchResult | Derivation | Genotype | str | Path


def run_search(
    data: Data | str | tuple[Any, Any],
    *,
    space: "str | Space" = "darts",
    method: "str | Callable[..., Method]" = "darts1",
    epochs: int | None = None,
    batch_size: int | None = None,
    seed: int = 0,
    hardware: str = "cpu",
    folder: str | Path | None = None,
    time_limit: float | None = None,
    logger: Any = None,
    callbacks: Any = (),
    verbose: bool = True,
    overrides: Sequence[str] = (),
) -> SearchResult:
    """Searches an architecture: `python -m nas.search` with the same settings finds the same, bit by bit.

    Args:
        data: of `nas.datasets`, the name of a data set, or a pair (train, test) of torch data sets.
        space: what can be found, by its name (`darts`, `nasbench201`, `dso_small`, `darts_rnn`, ...) or an
            object, a `nas.spaces.Space`.
        method: how it is found, by its name (`darts1`, `darts2`, `drnas`, `pcdarts`, `gdas`, ...), or a
            function of `shapes` and `layout` that builds a `nas.methods.method.Method`, such as a
            `functools.partial` of it.
        epochs: of the search; None for the configuration's (50), or for what suits data of one's own
            (docs/size.md).
        batch_size: images a step; None for the data set's, or likewise.
        seed: of weights, architecture, order of batches and augmentation, 0 to 2**32 - 1.
        hardware: `cpu`, `gpu` or another profile of one device; several processes are started from a shell.
        folder: of the run, new or empty; None for a new one below `outputs/` (`$NAS_OUTPUTS`).
        time_limit: minutes after which the run stops and can be resumed; None for none.
        logger: one of `csv`, `tensorboard`, `wandb`, or Lightning's `Logger` (or a list), which the caller
            closes.
        callbacks: of Lightning's, one or several, called with those of the search.
        verbose: whether it prints what the command prints: a line per epoch, the result and the next command.
        overrides: every other setting in the words of the command line, such as `"method.weight_steps=2"`.

    Returns:
        The result, whose `status` is `stopped` where the time limit was reached.

    Raises:
        ConfigError: a setting cannot be used; nothing has been written.
        RunFailed: the search broke down; its folder and how to go on are in the message.
        Interrupted: a `KeyboardInterrupt` with the `result` so far, which `nas.resume` continues.
    """
    own = _common(seed, hardware, folder, time_limit, logger) | {
        "trainer.max_epochs": epochs,
        "dataset.batch_size": batch_size,
    }
    given = data_of(data)
    words, objects = _parts(space, method)
    few = [] if batch_size is not None else small_batch(given, overrides)
    words = joined([*words, *given.words, *few, *typed(own)], overrides)
    objects |= _objects(given, logger, callbacks)
    return _result(call("search", words, verbose, **objects), SearchResult, given, objects)


def run_evaluation(
    cell: Cell,
    data: Data | str | tuple[Any, Any] | None = None,
    *,
    space: "str | Space | None" = None,
    recipe: str | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    max_params: float | None = None,
    max_macs: float | None = None,
    metrics: Sequence[str] = (),
    seed: int = 0,
    hardware: str = "cpu",
    folder: str | Path | None = None,
    time_limit: float | None = None,
    logger: Any = None,
    callbacks: Any = (),
    verbose: bool = True,
    overrides: Sequence[str] = (),
) -> EvaluationResult:
    """Trains a cell's network from scratch, and tests it once at the end: `python -m nas.evaluate`.

    Args:
        cell: what a search or a derivation returned, a run folder or genotype file, a published name
            (`"DARTS_V2"`), or a `nas.genotype.Genotype`.
        data: as for `run_search`; None for those of the cell's run.
        space: that the cell belongs to; None for that of its run, or `darts`.
        recipe: schedule and sizes, by the name of a file of `conf/recipe`; None for that of the run, or else
            of the data.
        epochs: of the training; None for the recipe's, or for what suits data of one's own where the cell
            is of no run.
        batch_size: images a step; likewise.
        max_params: parameters that the network's width is chosen to keep within; None for the recipe's width.
        max_macs: the same of multiply-adds per image.
        metrics: what is measured besides, of images: `f1`, `precision`, `recall`, `specificity`, `auroc`,
            `kappa`, `mcc`, `ece`, `top5` or another `top<k>`; `summary` has them as `test_f1` and so on.
        seed: of weights, order of batches and augmentation.
        hardware: as for `run_search`, and so the arguments that follow.
        folder: likewise.
        time_limit: likewise, in minutes.
        logger: likewise.
        callbacks: likewise.
        verbose: likewise.
        overrides: likewise.

    Returns:
        The result with its trained `model`.

    Raises:
        ConfigError: a setting cannot be used.
        RunFailed: the training broke down.
        Interrupted: as for `run_search`.
    """
    given = None if data is None else data_of(data)
    run = _run_of(cell)
    words, objects = ([], {}) if space is None else _parts(space, "")
    words = [one for one in words if not one.startswith("method=")]
    if run is None:
        words = [f"genotype={quoted(_reference(cell))}", *words, *(() if given is None else given.words)]
    else:
        words = [f"run={quoted(run.folder)}", *words]
        objects = {**{key: one for key, one in run.objects.items() if key == "space"}, **objects}
        if given is not None and not run.is_on(given):
            words += given.words
        given = given or run.data
    own = _common(seed, hardware, folder, time_limit, logger) | {
        "recipe": recipe,
        "trainer.max_epochs": epochs,
        "recipe.batch_size": batch_size,
        "budget.params": max_params,
        "budget.macs": max_macs,
        "metrics": metrics or None,
    }
    objects |= _objects(given, logger, callbacks)
    if batch_size is not None:
        words = [one for one in words if key_of(one) != "dataset.batch_size"]
    words = joined([*words, *typed(own)], overrides)
    if not {"recipe.batch_size", "dataset.batch_size"} & set(map(key_of, words)):
        words += _largest_batch(words, objects)
    return _result(call("evaluate", words, verbose, **objects), EvaluationResult, given, objects)


def resume(
    run: Run | str | Path,
    data: Data | tuple[Any, Any] | None = None,
    *,
    space: "Space | None" = None,
    method: "Callable[..., Method] | None" = None,
    epochs: int | None = None,
    time_limit: float | None = None,
    logger: Any = None,
    callbacks: Any = (),
    verbose: bool = True,
    overrides: Sequence[str] = (),
) -> Any:
    """Continues a run that was stopped, as if it had not been; also one that a command has started.

    Args:
        run: its result, or its folder.
        data: where the run was given the pictures of a program: the same again. Those of files are found.
        space: where it was given an object: the same again.
        method: likewise.
        epochs: another number of epochs; None for the run's.
        time_limit: minutes from now; None for the run's own setting.
        logger: as for `run_search`; a run folder keeps none of the caller's objects.
        callbacks: likewise.
        verbose: likewise.
        overrides: what a resumed run may change, such as `"resume_schedule=restart"` or
            `"hardware.threads=2"`.

    Returns:
        A `SearchResult` or an `EvaluationResult`.

    Raises:
        ConfigError: the folder holds no such run, or its data are those of a program and are not given.
        RunFailed: it broke down.
        Interrupted: as for `run_search`.
    """
    before = load(run.folder if isinstance(run, Run) else run)
    require(
        isinstance(before, SearchResult | EvaluationResult),
        f"resume({str(before.folder)!r}): a derivation is repeated, not continued",
    )
    earlier = run if isinstance(run, Run) else None
    given = (None if earlier is None else earlier.data) if data is None else data_of(data)
    objects = dict(earlier.objects) if earlier is not None else {}
    objects |= {key: one for key, one in (("space", space), ("method", method)) if one is not None}
    objects |= _objects(given, logger, callbacks)
    named = logger if isinstance(logger, str) else None
    own = {"trainer.max_epochs": epochs, "time_limit": time_limit, "logger": named}
    words = joined([f"resume={quoted(before.folder)}", *typed(own)], overrides)
    return _result(call(before.command, words, verbose, **objects), type(before), given, objects)


def _largest_batch(words: Sequence[str], objects: Mapping[str, Any]) -> list[str]:
    """The override that an evaluation needs where the recipe's batch is larger than the training part."""
    with scratch() as nowhere:
        composing = [one for one in words if key_of(one) != "hydra.run.dir"]
        return call("evaluate", [*composing, *nowhere], verbose=False, job=_batch, **objects).value


def _batch(config: Any, _: Path) -> list[str]:
    # Where sizes are chosen the batch is one of them.
    return [] if is_wanted(config) else batch_overrides(config, source_of(config))


def _common(
    seed: int, hardware: str, folder: str | Path | None, time_limit: float | None, logger: Any
) -> dict[str, Any]:
    require(isinstance(hardware, str), f"hardware={hardware!r}: must be the name of a profile, such as 'gpu'")
    return {
        "seed": seed,
        "hardware": hardware,
        "hydra.run.dir": None if folder is None else str(path_of(folder, "folder").absolute()),
        "time_limit": time_limit,
        "logger": logger if isinstance(logger, str) else None,
    }


def _objects(data: Data | None, logger: Any, callbacks: Any) -> dict[str, Any]:
    # One alone is taken, and null stands for none: so has Lightning's Trainer its own argument.
    several = isinstance(callbacks, Iterable)
    objects: dict[str, Any] = {
        "callbacks": list(callbacks) if several else [] if callbacks is None else [callbacks]
    }
    if data is not None and data.pair is not None:
        objects["data"] = data.pair
    if logger is not None and not isinstance(logger, str):
        objects["logger"] = logger
    return objects


def _parts(space: Any, method: Any) -> tuple[list[str], dict[str, Any]]:
    """The overrides of a space and a method, and the objects among them."""
    words, objects = [], {}
    kinds = {"space": "nas.spaces.Space", "method": "nas.methods.method.Method"}
    for key, value in (("space", space), ("method", method)):
        if isinstance(value, str):
            words.append(f"{key}={value}")
            continue
        fits = hasattr(value, "supernet") if key == "space" else callable(value)
        kind = f"a {kinds[key]}"
        what = kind if key == "space" else f"a function (shapes, layout) that builds {kind}"
        require(fits, f"{key}={type(value).__name__}: must be a name, or {what}")
        objects[key] = value if key == "space" else partial(_method, value)
        words += [f"{key}=given"] + ([f"space.name={quoted(value.name)}"] if key == "space" else [])
    return words, objects


def _method(build: Any, **groups: Any) -> Method:
    # Parts, such as a relaxation, change as a search goes on, and the caller's may be used again.
    found = copy.deepcopy(build)(**groups)
    what = type(found).__qualname__
    require(isinstance(found, Method), f"method: must build a nas.methods.method.Method, not {what}")
    return found


def _run_of(cell: Any) -> Run | None:
    """The run that a cell comes from, with its settings; None for a genotype of its own."""
    if isinstance(cell, Run):
        return cell
    if isinstance(cell, str | Path) and (Path(cell).expanduser() / "config.yaml").is_file():
        return load(cell)
    require(
        isinstance(cell, Genotype | str | Path),
        f"cell={type(cell).__name__}: must be a result of a search or derivation, a genotype, its name, file "
        "or run folder",
    )
    return None


def _reference(cell: Any) -> str:
    if isinstance(cell, Genotype):
        return cell.to_text()
    path = Path(cell).expanduser()
    return str(path.absolute()) if path.exists() else str(cell)


def _result(outcome: Outcome, kind: type, data: Data | None, objects: Mapping[str, Any]) -> Any:
    kept = {key: objects[key] for key in ("space", "method") if key in objects}
    found = kind(outcome.folder, data, kept)
    if outcome.interrupt is not None:
        raise Interrupted(found) from outcome.interrupt
    return found
