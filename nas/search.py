"""`python -m nas.search`: searches an architecture and writes a run folder."""

import logging
from pathlib import Path

from omegaconf import DictConfig

from nas.config import command, instantiate, plain

log = logging.getLogger(__name__)


def run(config: DictConfig, path: Path) -> None:
    """Searches as configured; see `conf/search.yaml` for every key.

    Raises:
        ConfigError: a setting cannot be used.
        RunFailed: the search broke down.
    """
    import pytorch_lightning as pl

    from nas.engine import checkpoints, data_module, trainer
    from nas.engine.tasks import Classification
    from nas.methods.method import layout_of
    from nas.session import Session

    trainer.quiet()
    session = Session(config, path)
    config, folder = session.config, session.folder
    trainer.check_hardware(config.hardware)
    trainer.use_device(config.hardware)
    pl.seed_everything(config.seed, workers=True, verbose=False)
    space = instantiate(config.space)
    method = instantiate(
        config.method,
        shapes={name: group.shape for name, group in space.groups.items()},
        layout=layout_of(space.groups),
    )
    if not method.trains:
        session.open(None)
        session.run(lambda: _finish(session, space, method, {}))
        return
    source = instantiate(config.dataset.source)
    split = data_module.search_split(
        source, config.dataset.split, config.dataset.split_ratio, config.dataset.fraction, config.split_seed
    )
    data = data_module.SearchData(**data_arguments(config, source), split=split)
    data.prepare()
    supernet = space.supernet(source.image_shape, source.num_classes)
    checkpoint, epochs_done = checkpoints.newest_readable(folder.checkpoints)
    session.open(split.to_dict())
    session.summary |= {"split_hash": split.hash}
    session.run(
        lambda: _train(session, space, method, supernet, data, Classification(), checkpoint, epochs_done)
    )


def data_arguments(config: DictConfig, source) -> dict:
    """Arguments that searches and evaluations give their data alike."""
    return {
        "source": source,
        "batch_size": config.dataset.batch_size,
        "seed": config.seed,
        "augment": plain(config.dataset.augment),
        "cutout": config.dataset.cutout,
        "num_workers": config.dataset.num_workers,
        "channels_last": config.hardware.channels_last,
        "overfit": config.overfit,
    }


def _train(session, space, method, supernet, data, task, checkpoint, epochs_done) -> None:
    import torch

    from nas.engine.loggers import build_logger, close_logger
    from nas.engine.progress import Clock
    from nas.engine.recording import SearchRecorder
    from nas.engine.search_module import SearchModule
    from nas.engine.trainer import build_trainer, fit, wants_bar

    config, folder = session.config, session.folder
    if config.hardware.compile:
        supernet = torch.compile(supernet)
    module = SearchModule(supernet, method, task)
    clock = Clock()
    recorder = SearchRecorder(
        folder,
        clock,
        epochs_done,
        lines=not (config.trainer.enable_progress_bar and wants_bar()),
        space=space,
        hessian=plain(config.analysis.hessian),
        implicit_every=config.analysis.implicit.every,
    )
    logger = build_logger(plain(config.logger), folder, plain(config), "search")
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
    )
    done = False
    try:
        fit(lightning, module, data, checkpoint)
        done = True
    finally:
        if lightning.is_global_zero:
            row = recorder.last_row
            numbers = {
                k: v for k, v in row.items() if k not in ("epoch", "learning_rate", "architecture_step_loss")
            }
            numbers |= {"epochs": lightning.current_epoch, "steps": int(module.iteration)}
            if recorder.hessian_mode:
                numbers["hessian_mode"] = recorder.hessian_mode
            _finish(session, space, method, numbers, quiet=not done)
            close_logger(lightning, session.summary, sorted(folder.figures.glob("*.png")), failed=not done)


def _finish(session, space, method, numbers, quiet: bool = False) -> None:
    """Derives, prices, draws and sums up; with `quiet` (a run that did not end) without the closing words."""
    from nas.engine.pictures import draw_search
    from nas.engine.recording import count_skips, weight_rows
    from nas.engine.run_folder import Table, write_text
    from nas.session import cost_of

    config, folder = session.config, session.folder
    genotype = space.derive(method.strengths())
    if not method.trains:
        columns = ("epoch", "group", "source", "target", "operation", "weight")
        Table(folder / "architecture.csv", columns).add(weight_rows(space, method.strengths(), 0))
        Table(folder / "metrics.csv", ("epoch", "num_skip")).add(
            [{"epoch": 0, "num_skip": count_skips(genotype)}]
        )
        numbers = {"epochs": 0, "steps": 0}
    write_text(folder / "genotype.json", genotype.to_json() + "\n")
    cost = cost_of(config, space, genotype)
    session.summary |= numbers | {
        "genotype": str(genotype),
        "num_skip": count_skips(genotype),
        "params": cost.params,
        "macs": cost.macs,
    }
    draw_search(folder, space, genotype, method.strengths())
    if quiet:
        return
    evaluate = f"python -m nas.evaluate genotype={folder.path} space={config.space.name} dataset={config.dataset.name}"
    if config.recipe.name != config.dataset.name:
        evaluate += f" recipe={config.recipe.name}"
    if config.dataset.root and config.dataset.name != "digits":
        evaluate += f" dataset.root={config.dataset.root}"
    print(f"\n{genotype}")
    print(
        f"{cost.params / 1e6:.3f} M parameters, {cost.macs / 1e6:.2f} M multiply-adds an image "
        f"(recipe {config.recipe.name}: {config.recipe.num_cells} cells, C={config.recipe.init_channels})"
    )
    print(f"run folder: {folder.path}")
    print(f"pictures:   {folder.figures}")
    print(f"evaluate:   {evaluate}", flush=True)


main = command("search", run)

if __name__ == "__main__":
    main()
