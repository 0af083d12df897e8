"""`python -m nas.evaluate`: trains a genotype's network from scratch and tests it once at the end."""

from functools import partial
from pathlib import Path

from omegaconf import DictConfig

from nas import genotype as genotypes
from nas.analysis.random_cells import conditions_of, read_random_cells
from nas.data.sources import domain_of
from nas.data.text_split import text_subset
from nas.domains.networks import check_sizes, cost_of, network_of, size_overrides, sized, source_of
from nas.engine import checkpoints, trainer
from nas.engine.data_module import EvaluationData, evaluation_indices
from nas.engine.divergence import refuse_numbers
from nas.engine.evaluation_module import EvaluationModule
from nas.engine.language_evaluation import LanguageEvaluation
from nas.engine.loggers import build_logger, close_logger
from nas.engine.machine import hardware
from nas.engine.machine.execution import apply_execution
from nas.engine.machine.peers import together
from nas.engine.pictures import draw_evaluation
from nas.engine.progress import Clock, wants_bar
from nas.engine.recording import EpochRecorder, perplexities
from nas.engine.restarts import restarts_of, with_restarts
from nas.engine.seeding import seed_run
from nas.engine.text_data import TextEvaluationData
from nas.engine.trainer import fit, test
from nas.errors import require
from nas.measure.memory_fit import check_evaluation
from nas.running.config import instantiate, plain, typed_keys
from nas.running.remains import remains
from nas.running.session import Session, check_domain, check_recipe, data_arguments, task_of, trainer_of


def run(config: DictConfig, path: Path) -> float | None:
    """Evaluates as configured; see `conf/evaluate.yaml` for every key.

    Returns:
        The test accuracy or perplexity, or that of the validation where the test set is left alone.

    Raises:
        ConfigError: a setting cannot be used.
        RunFailed: the training broke down.
    """
    trainer.quiet()
    session = Session(config, path)
    config, folder = session.config, session.folder
    hardware.check_hardware(config.hardware)
    hardware.use_device(config.hardware)
    seed_run(config.seed)
    space = instantiate(config.space)
    genotype = genotypes.load(_genotype(session), space.family)
    source = source_of(config)
    check_domain(space, source)
    check_recipe(config, source)
    check_sizes(config, space)
    _check_lengths(config)
    named = config.get("random_cells")  # not in older run folders
    random_cells = None if named is None else read_random_cells(named)
    # A resumed run has its width already.
    config, chosen = sized(config, space, genotype, choose=not session.resuming)
    session.config = config
    cost = cost_of(config, space, genotype, auxiliary=config.recipe.get("auxiliary_weight", 0) > 0)
    network = network_of(config, space, genotype, source)
    text = domain_of(source) == "text"
    data, split = (_text if text else _images)(config, source)
    data.prepare()
    build = _language if text else _classifier
    weights = data.class_weights(plain(config.dataset).get("class_weights"))
    task = task_of(source, space, config.recipe, weights)
    if not text:
        optimizer = instantiate(config.recipe.optimizer)
        check_evaluation(plain(config), network, source, data.resident_images(), task, optimizer)
    if random_cells is not None:
        conditions = conditions_of(plain(config), size_overrides(config, space), split["hash"])
        random_cells = partial(random_cells.compared, conditions)
    module = build(config, apply_execution(network, config.hardware), task, folder)
    trainer.check_optimizers(module, "recipe")
    clip = config.recipe.clip
    require(clip is None or clip > 0, f"recipe.clip={clip}: must be null or positive")
    checkpoint, epochs_done = checkpoints.newest_readable(folder.checkpoints)
    if checkpoint is not None:
        checkpoints.check_fits(module, checkpoint)
    if session.nothing_left(epochs_done):
        return _reached(session.earlier)
    clock = Clock(config.trainer.max_epochs)
    lines = not (config.trainer.enable_progress_bar and wants_bar())
    metric = module.task.metric
    recorder = EpochRecorder(folder, clock, epochs_done, lines, session.progress, metric)
    if not text and len(data.valid_indices) == 0:
        config.trainer.limit_val_batches = 0
    lightning = trainer_of(config, folder, clock, recorder, clip)
    session.check_split(split["hash"])
    session.open(split, {"genotype.json": genotype.to_json() + "\n"})
    session.summary |= {
        "split_hash": split["hash"],
        "genotype": str(genotype),
        **chosen,
        "params": cost.params,
        "params_auxiliary": cost.params_auxiliary,
        "macs": cost.macs,
    }
    session.run(
        lambda: _train(session, genotype, module, data, lightning, recorder, checkpoint, random_cells)
    )
    return _reached(session.summary)


def _check_lengths(config: DictConfig) -> None:
    """Refuses lengths of pieces that were typed for the data set where the recipe has its own."""
    for key in config.recipe.get("bptt") or () if config.resume is None else ():
        require(
            f"dataset.bptt.{key}" not in typed_keys(),
            f"dataset.bptt.{key}={config.dataset.bptt[key]}: an evaluation takes it from the recipe; set "
            f"recipe.bptt.{key}",
        )


def _genotype(session) -> object:
    """Where the genotype is: in the folder of a resumed run, which an earlier version may have died before.

    Raises:
        ConfigError: none is named.
    """
    kept = session.folder / "genotype.json"
    if session.resuming and kept.exists():
        return kept
    named = session.config.genotype
    require(named is not None, "genotype=null: name a run folder, a file or a published genotype")
    return session.earlier.get("genotype") or named


def _images(config: DictConfig, source) -> tuple:
    """The images of an evaluation, and which they are."""
    given = config.dataset
    indices, found = evaluation_indices(source, given.split, given.fraction, config.split_seed, given.valid)
    train, valid = (part.tolist() for part in indices)
    data = EvaluationData(**data_arguments(config, source), indices=indices, tests=config.test)
    return data, {"train": train, "valid": valid, "hash": found}


def _text(config: DictConfig, source) -> tuple:
    """The streams of an evaluation, and which they are."""
    for key in ("valid", "cutout"):
        value = config.dataset.get(key, 0)
        require(
            not value,
            f"dataset.{key}={value}: only for images; a text has a validation part and nothing to cut out",
        )
    (train, valid), found = text_subset(source, config.dataset.fraction)
    arguments = data_arguments(config, source)
    # Searches read pieces of equal length, evaluations vary them more (Liu et al. 2019, authors' code).
    arguments["bptt"] |= plain(config.recipe.bptt)
    data = TextEvaluationData(**arguments, parts=(train, valid), tests=config.test)
    return data, {"train": train.to_dict(), "valid": valid.to_dict(), "hash": found}


def _scheduler(config: DictConfig):
    """Optimiser -> schedule, with what a resumed run made of it."""
    return with_restarts(instantiate(config.recipe.scheduler), restarts_of(plain(config.restarts)))


def _classifier(config: DictConfig, network, task, folder):
    """The training of a network of images."""
    return EvaluationModule(
        network,
        task,
        instantiate(config.recipe.optimizer),
        _scheduler(config),
        config.recipe.drop_path,
        config.recipe.auxiliary_weight,
        # Whatever became of the run's length, the rise keeps to the one that it was started with.
        config.restarts[0].before if config.restarts else config.trainer.max_epochs,
        config.recipe.get("drop_path_ramp", "epoch"),
    )


def _language(config: DictConfig, network, task, folder):
    """The training of a language model."""
    return LanguageEvaluation(
        network,
        task,
        instantiate(config.recipe.optimizer),
        _scheduler(config),
        config.recipe.nonmono,
        config.recipe.max_rollbacks,
        folder.checkpoints / "best.pt",
    )


def _best(module) -> dict:
    """The validation that the tested weights belong to, where a training keeps its best ones."""
    best = getattr(module, "best", None)
    if best is None:
        return {}
    losses = {"valid_loss": best["valid_loss"]}
    return {"best_epoch": best["epoch"], **losses, **perplexities(losses)}


def _reached(summary) -> float | None:
    """The test's number, or the validation's; of an accuracy or a perplexity."""
    found = [f"{part}_{metric}" for part in ("test", "valid") for metric in ("accuracy", "perplexity")]
    return next((summary[name] for name in found if name in summary), None)


def _beside(accuracy: float, balanced: float | None) -> str:
    """The balanced accuracy in words, where it is another number than the plain one."""
    same = balanced is None or f"{100 * balanced:.2f}" == f"{100 * accuracy:.2f}"
    return "" if same else f", balanced {100 * balanced:.2f}%"


def _train(session, genotype, module, data, lightning, recorder, checkpoint, compared) -> None:
    config, folder = session.config, session.folder
    done, comparison = False, ""
    try:
        lightning.logger = build_logger(plain(config.logger), folder, plain(config), "evaluate")
        with together(lightning, session.lost):
            fit(lightning, module, data, checkpoint)
            steps = {"epochs": lightning.current_epoch, "steps": lightning.global_step}
            session.summary |= recorder.numbers | steps | _best(module)
            if config.test:
                tested = {name: float(value) for name, value in test(lightning, module, data).items()}
                tested |= perplexities(tested) if recorder.metric == "perplexity" else {}
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
                        draw_evaluation(folder, genotype)
            finally:
                pictures = sorted(folder.figures.glob("*.png"))
                close_logger(lightning.logger, session.summary, pictures, failed=not done)
    summary = session.summary
    for part in ("valid", "test"):
        if f"{part}_accuracy" in summary:
            accuracy, loss = summary[f"{part}_accuracy"], summary[f"{part}_loss"]
            top = summary.get(f"{part}_top5_accuracy")
            more = "" if top is None else f", top-5 {100 * top:.2f}%"
            more += _beside(accuracy, summary.get(f"{part}_balanced_accuracy"))
            print(f"{part} accuracy {100 * accuracy:.2f}%{more}, loss {loss:.4f}")
        if f"{part}_perplexity" in summary:
            perplexity, loss = summary[f"{part}_perplexity"], summary[f"{part}_loss"]
            print(f"{part} perplexity {perplexity:.2f}, loss {loss:.4f}")
    if comparison:
        print(comparison)
    print(f"{summary['params'] / 1e6:.3f} M parameters, {summary['macs'] / 1e6:.2f} M multiply-adds")
    print(f"run folder: {folder.path}", flush=True)
