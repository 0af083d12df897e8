"""`python -m nas.evaluate`: trains a genotype's network from scratch and tests it once at the end."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from nas.analysis.metrics import (
    ASKED,
    LOSS,
    OF_TASKS,
    Metric,
    check_asked,
    of_losses,
    without_missing,
)
from nas.analysis.random_cells import RandomCells, conditions_of, read_random_cells
from nas.commands.auto_size import clock_of, note_sizes
from nas.commands.described import DESCRIBED, describe
from nas.commands.found import files_of, found_of, tell
from nas.commands.kernels import note_kernel
from nas.commands.same_files import check_same, files_now, kept, tell_changed
from nas.commands.warm_start import WarmStart
from nas.domains.budgets import sized
from nas.domains.choose import check_recipe, choose
from nas.domains.domain import Domain
from nas.domains.networks import (
    built,
    check_sizes,
    cost_of,
    genotype_of,
    outline_for,
    size_overrides,
    source_of,
    space_of,
)
from nas.engine import checkpoints, trainer
from nas.engine.confusion import ConfusionWriter
from nas.engine.divergence import refuse_numbers
from nas.engine.loggers import build_logger, close_logger
from nas.engine.machine import hardware
from nas.engine.machine.execution import apply_execution
from nas.engine.machine.peers import together
from nas.engine.pictures import draw_evaluation
from nas.engine.recording import EpochRecorder
from nas.engine.restarts import restarts_of, with_restarts
from nas.engine.seeding import seed_run
from nas.engine.shortened import shorten_evaluation
from nas.engine.trainer import fit, test
from nas.errors import require
from nas.running.config import instantiate, plain, typed_keys
from nas.running.from_run import name_cell
from nas.running.log_files import say
from nas.running.printed import command_of, command_with
from nas.running.remains import remains
from nas.running.session import Session, trainer_of


def run(config: DictConfig, path: Path) -> float | None:
    """Evaluates as configured; see `conf/evaluate.yaml` for every key.

    Returns:
        What the task is judged by: of the test, or of the validation where the test set is left alone.

    Raises:
        ConfigError: a setting cannot be used.
        RunFailed: the training broke down.
    """
    trainer.quiet()
    if config.resume is None:
        name_cell(config)
    session = Session(config, path)
    config, folder = session.config, session.folder
    check_asked(config.metrics)
    hardware.check_hardware(config.hardware)
    hardware.use_device(config.hardware)
    space = space_of(config)
    genotype = genotype_of(config, space, *_genotype(session))
    source = source_of(config)
    domain, metrics = _measured(config, space, source)
    space = _sized(session, space, source, genotype)
    seed_run(config.seed)
    check_sizes(config, space)
    _check_lengths(config)
    named = config.get("random_cells")  # not in older run folders
    random_cells = None if named is None else read_random_cells(named)
    # A resumed run has its width already.
    config, chosen = sized(config, space, genotype, not session.resuming, source)
    session.config = config
    cost = cost_of(config, space, genotype, config.recipe.get("auxiliary_weight", 0) > 0, source)
    network = built(config, space, genotype, source, cost)
    about = describe(config, space, source, genotype)
    warm = WarmStart(session, network, about, partial(outline_for, config, space, genotype, source))
    data, split = domain.evaluation_data(config, source)
    data.prepare()
    weights = data.class_weights(plain(config.dataset).get("class_weights"))
    task = domain.task(space, config.recipe, weights, source, metrics)
    domain.check_evaluation(config, network, source, data, task)
    compared = _comparison(config, space, random_cells, split["hash"])
    network = note_kernel(session, apply_execution(network, config.hardware))
    scheduler = with_restarts(instantiate(config.recipe.scheduler), restarts_of(plain(config.restarts)))
    module = domain.evaluation(config, network, task, scheduler, folder.checkpoints)
    trainer.check_optimizers(module, "recipe")
    clip = config.recipe.clip
    require(clip is None or clip > 0, f"recipe.clip={clip}: must be null or positive")
    checkpoint, epochs_done = checkpoints.newest_readable(folder.checkpoints, to_go_on=True)
    if checkpoint is not None:
        checkpoints.check_fits(module, checkpoint, str(config.hardware.precision))
    if session.nothing_left(epochs_done):
        return _reached(session.earlier, domain.name)
    clock = clock_of(session)
    recorder = EpochRecorder(
        folder, clock, epochs_done, metrics, tell=session.progress, further=module.columns
    )
    if not domain.validates(config.dataset):
        config.trainer.limit_val_batches = 0
    lightning = trainer_of(config, folder, clock, recorder, domain.varies, clip)
    warm.rest(lightning)
    if getattr(module, "counted", None) is not None:
        lightning.callbacks.append(ConfusionWriter(folder, getattr(about, "class_names", None)))
    session.check_split(split["hash"], split.get("files_hash"))
    _open(session, source, data, split, {"genotype.json": genotype, DESCRIBED: about}, warm)
    session.summary |= {
        "split_hash": split["hash"],
        "genotype": str(genotype),
        **chosen,
        "params": cost.params,
        "params_auxiliary": cost.params_auxiliary,
        "macs": cost.macs,
    }
    parts = (genotype, module, data, lightning, recorder, checkpoint, compared, domain.example(source))
    session.run(lambda: warm.around(lambda: _train(session, *parts)))
    return _reached(session.summary, domain.name)


def _measured(config: DictConfig, space: Any, source: Any) -> tuple[Domain, tuple[Metric, ...]]:
    """The domain, and what is measured beside the loss, with what is asked for.

    Raises:
        ConfigError: metrics, recipe or parts of the data are impossible, before steps are timed for sizes.
    """
    domain = choose(space, source)
    measured = config.test or domain.validates(config.dataset)
    require(
        measured or not config.metrics,
        f"metrics={plain(config.metrics)}: without effect where test=false and dataset.valid=0",
    )
    metrics = domain.metrics(source, config.metrics)
    check_recipe(domain, config.recipe, source)
    if config.size is not None:
        domain.evaluation_data(config, source)
    return domain, metrics


def _sized(session: Session, space: Any, source: Any, genotype: Any) -> Any:
    """The space once sizes are settled, of which some spaces have their own."""
    before = plain(session.config.space)
    if session.config.get("shorten_stages") and not session.resuming:
        shorten_evaluation(session.config, genotype, typed_keys())
    note_sizes(session, source, genotype)
    return space if plain(session.config.space) == before else space_of(session.config)


def _comparison(
    config: DictConfig, space: Any, cells: RandomCells | None, split: str
) -> Callable[[float], tuple[dict[str, Any], str]] | None:
    """What says where an accuracy lies among those of random cells; None where no record is named."""
    if cells is None:
        return None
    return partial(cells.compared, conditions_of(plain(config), size_overrides(config, space), split))


def _open(
    session: Session, source: Any, data: Any, split: dict, described: dict[str, Any], warm: WarmStart
) -> None:
    """Opens the run folder with what is described in it, and says what was found and what has changed."""
    config, files = session.config, files_now(source)
    check_same(session.folder.path, files)
    warm.keep()
    found = found_of(session, source, data)
    texts = {name: f"{one.to_json()}\n" for name, one in described.items()}
    session.open(split, texts | files_of(found) | kept(files))
    tell(found)
    if config.get("run") is not None and not session.resuming and session.leads:
        tell_changed(Path(config.run), f"run={config.run}", files)


def _check_lengths(config: DictConfig) -> None:
    """Refuses lengths of pieces that were typed for the data set where the recipe has its own."""
    for key in config.recipe.get("bptt") or () if config.resume is None else ():
        require(
            f"dataset.bptt.{key}" not in typed_keys(),
            f"dataset.bptt.{key}={config.dataset.bptt[key]}: an evaluation takes it from the recipe; set "
            f"recipe.bptt.{key}",
        )


def _genotype(session) -> tuple[Any, int | None]:
    """Where the genotype is, and of which epoch: in the folder of a resumed run, if it came that far.

    Raises:
        ConfigError: none is named.
    """
    kept = session.folder / "genotype.json"
    if session.resuming and kept.exists():
        return kept, None
    named = session.config.genotype
    require(
        named is not None,
        "genotype=null: name a run folder of nas.search or nas.derive with run=, or a file or a published "
        "genotype with genotype=",
    )
    earlier = session.earlier.get("genotype")
    return (named, session.config.epoch) if earlier is None else (earlier, None)


def _best(module, metrics: Sequence[Metric]) -> dict:
    """The validation that the tested weights belong to, where a training keeps its best ones."""
    best = getattr(module, "best", None)
    if best is None:
        return {}
    losses = {"valid_loss": best["valid_loss"]}
    return {"best_epoch": best["epoch"], **losses, **of_losses(metrics, losses)}


def _reached(summary, domain: str) -> float | None:
    """The number that the task is judged by: the test's, or the validation's."""
    found = [OF_TASKS[domain][0].column(part) for part in ("test", "valid")]
    return next((summary[name] for name in found if name in summary), None)


def _sentence(part: str, known: Sequence[Metric], summary) -> str:
    """What the end of a run says of a part: its metrics, but for what reads like the first."""
    words = {one: one.text(summary[one.column(part)]) for one in known}
    first, *others = known
    told = [
        f", {one.title or one.name} {words[one]}"
        for one in others
        if words[one] != words[first] or one in ASKED
    ]
    return f"{part} {first.name} {words[first]}{''.join(told)}"


def _train(session, genotype, module, data, lightning, recorder, checkpoint, compared, example: str) -> None:
    config, folder = session.config, session.folder
    done, comparison = False, ""
    try:
        lightning.logger = build_logger(plain(config.logger), folder, plain(config), "evaluate")
        with together(lightning, session.lost):
            if not fit(lightning, module, data, checkpoint):
                session.summary["planned_epochs"] = config.trainer.max_epochs
            steps = {"epochs": lightning.current_epoch, "steps": lightning.global_step}
            session.summary |= recorder.numbers | steps | _best(module, recorder.metrics)
            if config.test:
                tested = without_missing(test(lightning, module, data))
                tested |= of_losses(recorder.metrics, tested)
                refuse_numbers(tested, "in the test")
                session.summary |= tested
                if compared is not None and "test_accuracy" in tested:
                    numbers, comparison = compared(tested["test_accuracy"])
                    session.summary |= numbers
        done = True
    finally:
        if lightning.is_global_zero and recorder.table is not None and not done:
            steps = {"epochs": lightning.current_epoch, "steps": lightning.global_step}
            session.summary |= recorder.numbers | steps
        if lightning.is_global_zero:
            try:
                if recorder.table is not None:
                    with remains(done):
                        draw_evaluation(folder, genotype, session.caption)
            finally:
                pictures = sorted(folder.figures.glob("*.png"))
                close_logger(lightning.logger, plain(config), session.summary, pictures, failed=not done)
    summary = session.summary
    for part in ("valid", "test"):
        known = [one for one in recorder.metrics if one.column(part) in summary]
        if known:
            say(_sentence(part, [*known, LOSS], summary))
    if comparison:
        say(comparison)
    say(f"{summary['params'] / 1e6:.3f} M parameters, {summary['macs'] / 1e6:.2f} M multiply-adds")
    say(f"run folder: {folder.path}")
    asks = command_with(config, folder.path, example)
    if asks is not None:
        say(f"export:     {command_of('export', config, folder.path, hardware=False)}")
        say(f"predict:    {asks}")
