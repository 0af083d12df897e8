"""`python -m nas.evaluate`: trains a genotype's network from scratch and tests it once at the end."""

from pathlib import Path

from omegaconf import DictConfig

from nas.config import command, instantiate, plain
from nas.errors import require


def run(config: DictConfig, path: Path) -> float:
    """Evaluates as configured; see `conf/evaluate.yaml` for every key. Returns the test accuracy.

    Raises:
        ConfigError: a setting cannot be used.
        RunFailed: the training broke down.
    """
    import pytorch_lightning as pl

    from nas import genotype as genotypes
    from nas.engine import checkpoints, data_module, trainer
    from nas.search import data_arguments
    from nas.session import Session, cost_of

    trainer.quiet()
    session = Session(config, path)
    config, folder = session.config, session.folder
    trainer.check_hardware(config.hardware)
    trainer.use_device(config.hardware)
    pl.seed_everything(config.seed, workers=True, verbose=False)
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
    network = space.network(
        genotype,
        source.image_shape,
        source.num_classes,
        num_cells=config.recipe.num_cells,
        init_channels=config.recipe.init_channels,
        stem=config.recipe.stem,
        auxiliary=config.recipe.auxiliary_weight > 0,
    )
    indices, split_hash = data_module.evaluation_indices(
        source, config.dataset.split, config.dataset.fraction, config.split_seed, config.dataset.valid
    )
    data = data_module.EvaluationData(**data_arguments(config, source), indices=indices)
    data.prepare()
    checkpoint, epochs_done = checkpoints.newest_readable(folder.checkpoints)
    session.open(None)
    if not session.resuming:
        from nas.engine.run_folder import write_text

        write_text(folder / "genotype.json", genotype.to_json() + "\n")
    session.summary |= {
        "split_hash": split_hash,
        "genotype": str(genotype),
        "params": cost.params,
        "params_auxiliary": cost.params_auxiliary,
        "macs": cost.macs,
    }
    session.run(lambda: _train(session, genotype, network, data, checkpoint, epochs_done))
    return session.summary["test_accuracy"]


def _train(session, genotype, network, data, checkpoint, epochs_done) -> None:
    import torch

    from nas.engine.evaluation_module import EvaluationModule
    from nas.engine.loggers import build_logger, close_logger
    from nas.engine.pictures import draw_evaluation
    from nas.engine.progress import Clock
    from nas.engine.recording import EpochRecorder
    from nas.engine.tasks import Classification
    from nas.engine.trainer import build_trainer, fit, wants_bar

    config, folder, recipe = session.config, session.folder, session.config.recipe
    module = EvaluationModule(
        torch.compile(network) if config.hardware.compile else network,
        Classification(recipe.label_smoothing),
        instantiate(recipe.optimizer),
        instantiate(recipe.scheduler),
        recipe.drop_path,
        recipe.auxiliary_weight,
    )
    clock = Clock()
    recorder = EpochRecorder(
        folder, clock, epochs_done, lines=not (config.trainer.enable_progress_bar and wants_bar())
    )
    logger = build_logger(plain(config.logger), folder, plain(config), "evaluate")
    trainer_options = plain(config.trainer)
    trainer_options["profiler"] = instantiate(config.trainer.profiler) if config.trainer.profiler else None
    lightning = build_trainer(
        plain(config.hardware),
        trainer_options,
        plain(config.checkpoint),
        folder.checkpoints,
        config.seed,
        clock,
        [recorder],
        logger,
        recipe.clip,
    )
    done = False
    try:
        fit(lightning, module, data, checkpoint)
        results = lightning.test(module, datamodule=data, verbose=False)[0]
        session.summary |= {name: float(value) for name, value in results.items()}
        done = True
    finally:
        if lightning.is_global_zero:
            numbers = {
                k: v for k, v in recorder.last_row.items() if k not in ("epoch", "learning_rate", "drop_path")
            }
            session.summary |= numbers | {"epochs": lightning.current_epoch, "steps": lightning.global_step}
            draw_evaluation(folder, genotype)
            close_logger(lightning, session.summary, sorted(folder.figures.glob("*.png")), failed=not done)
    print(
        f"\ntest accuracy {100 * session.summary['test_accuracy']:.2f}%, loss {session.summary['test_loss']:.4f}"
    )
    print(
        f"{session.summary['params'] / 1e6:.3f} M parameters, {session.summary['macs'] / 1e6:.2f} M multiply-adds"
    )
    print(f"run folder: {folder.path}", flush=True)


main = command("evaluate", run)

if __name__ == "__main__":
    main()
