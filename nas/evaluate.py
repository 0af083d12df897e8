"""`python -m nas.evaluate`: trains a genotype's network from scratch and tests it once at the end."""

from pathlib import Path

from omegaconf import DictConfig

from nas.config import command, instantiate, plain
from nas.errors import require


def run(config: DictConfig, path: Path) -> float | None:
    """Evaluates as configured; see `conf/evaluate.yaml` for every key.

    Returns:
        The test accuracy, or the validation accuracy where the test set is left alone.

    Raises:
        ConfigError: a setting cannot be used.
        RunFailed: the training broke down.
    """
    from nas import genotype as genotypes
    from nas.engine import checkpoints, data_module, trainer
    from nas.engine.evaluation_module import EvaluationModule
    from nas.engine.execution import apply_execution
    from nas.engine.progress import Clock
    from nas.engine.recording import EpochRecorder
    from nas.engine.run_folder import write_text
    from nas.engine.seeding import seed_run
    from nas.engine.tasks import Classification
    from nas.session import Session, cost_of, data_arguments, network_of, trainer_of

    trainer.quiet()
    session = Session(config, path)
    config, folder = session.config, session.folder
    trainer.check_hardware(config.hardware)
    trainer.use_device(config.hardware)
    seed_run(config.seed)
    space = instantiate(config.space)
    if session.resuming:
        genotype = genotypes.load(folder / "genotype.json", space.family)
    else:
        require(
            config.genotype is not None, "genotype=null: name a run folder, a file or a published genotype"
        )
        genotype = genotypes.load(config.genotype, space.family)
    source = instantiate(config.dataset.source)
    cost = cost_of(config, space, genotype)
    network = network_of(config, space, genotype, source)
    indices, split_hash = data_module.evaluation_indices(
        source, config.dataset.split, config.dataset.fraction, config.split_seed, config.dataset.valid
    )
    data = data_module.EvaluationData(**data_arguments(config, source), indices=indices)
    data.prepare()
    module = EvaluationModule(
        apply_execution(network, config.hardware),
        Classification(config.recipe.label_smoothing),
        instantiate(config.recipe.optimizer),
        instantiate(config.recipe.scheduler),
        config.recipe.drop_path,
        config.recipe.auxiliary_weight,
    )
    trainer.check_optimizers(module, "recipe")
    clip = config.recipe.clip
    require(clip is None or clip > 0, f"recipe.clip={clip}: must be null or positive")
    checkpoint, epochs_done = checkpoints.newest_readable(folder.checkpoints)
    if checkpoint is not None:
        checkpoints.check_fits(module, checkpoint)
    if session.nothing_left(epochs_done):
        return session.earlier.get("test_accuracy", session.earlier.get("valid_accuracy"))
    clock = Clock(config.trainer.max_epochs)
    lines = not (config.trainer.enable_progress_bar and trainer.wants_bar())
    recorder = EpochRecorder(folder, clock, epochs_done, lines, session.progress)
    if len(data.valid_indices) == 0:
        config.trainer.limit_val_batches = 0
    lightning = trainer_of(config, folder, clock, recorder, clip)
    session.check_split(split_hash)
    train, valid = (part.tolist() for part in indices)
    session.open({"train": train, "valid": valid, "hash": split_hash})
    if not session.resuming:
        write_text(folder / "genotype.json", genotype.to_json() + "\n")
    session.summary |= {
        "split_hash": split_hash,
        "genotype": str(genotype),
        "params": cost.params,
        "params_auxiliary": cost.params_auxiliary,
        "macs": cost.macs,
    }
    session.run(lambda: _train(session, genotype, module, data, lightning, recorder, checkpoint))
    return session.summary.get("test_accuracy", session.summary.get("valid_accuracy"))


def _train(session, genotype, module, data, lightning, recorder, checkpoint) -> None:
    from nas.engine.loggers import build_logger, close_logger
    from nas.engine.pictures import draw_evaluation
    from nas.engine.trainer import fit, test

    config, folder = session.config, session.folder
    done = False
    try:
        lightning.logger = build_logger(plain(config.logger), folder, plain(config), "evaluate")
        fit(lightning, module, data, checkpoint)
        steps = {"epochs": lightning.current_epoch, "steps": lightning.global_step}
        session.summary |= recorder.numbers | steps
        if config.test:
            session.summary |= {name: float(value) for name, value in test(lightning, module, data).items()}
        done = True
    finally:
        if lightning.is_global_zero and recorder.table is not None and not done:
            steps = {"epochs": lightning.current_epoch, "steps": lightning.global_step}
            session.summary |= recorder.numbers | steps
        if lightning.is_global_zero:
            try:
                if recorder.table is not None:
                    draw_evaluation(folder, genotype)
            finally:
                pictures = sorted(folder.figures.glob("*.png"))
                close_logger(lightning.logger, session.summary, pictures, failed=not done)
    summary = session.summary
    for part in ("valid", "test"):
        if f"{part}_accuracy" in summary:
            accuracy, loss = summary[f"{part}_accuracy"], summary[f"{part}_loss"]
            print(f"{part} accuracy {100 * accuracy:.2f}%, loss {loss:.4f}")
    print(f"{summary['params'] / 1e6:.3f} M parameters, {summary['macs'] / 1e6:.2f} M multiply-adds")
    print(f"run folder: {folder.path}", flush=True)


main = command("evaluate", run)

if __name__ == "__main__":
    main()
