"""`python -m nas.search`: searches an architecture and writes a run folder."""

import logging
import shlex
from pathlib import Path

from omegaconf import DictConfig

from nas.config import command, instantiate, plain, quoted
from nas.errors import require

log = logging.getLogger(__name__)


def run(config: DictConfig, path: Path) -> None:
    """Searches as configured; see `conf/search.yaml` for every key.

    Raises:
        ConfigError: a setting cannot be used.
        RunFailed: the search broke down.
    """
    import torch

    from nas.engine import checkpoints, data_module, trainer
    from nas.engine.execution import apply_execution
    from nas.engine.progress import Clock
    from nas.engine.recording import SearchRecorder
    from nas.engine.search_module import SearchModule
    from nas.engine.seeding import seed_run
    from nas.engine.tasks import Classification
    from nas.methods.method import layout_of
    from nas.session import Session, cost_of, data_arguments, trainer_of

    trainer.quiet()
    session = Session(config, path)
    config, folder = session.config, session.folder
    trainer.check_hardware(config.hardware)
    trainer.use_device(config.hardware)
    seed_run(config.seed)
    space = instantiate(config.space)
    method = instantiate(
        config.method,
        shapes={name: group.shape for name, group in space.groups.items()},
        layout=layout_of(space.groups),
    )
    if config.get("plan"):
        from nas.engine.plan import print_plan

        print_plan(plain(config), space, method, instantiate(config.dataset.source), path)
        return
    # Prices the present genotype: a recipe that fits no network is found now, not after the search.
    with torch.random.fork_rng(devices=[]):
        cost_of(config, space, space.derive(method.strengths()))
    if not method.trains:
        session.open(None)
        session.run(lambda: _draw(session, space, method))
        return
    check_precision(config.hardware.precision)
    check_compile(config)
    source = instantiate(config.dataset.source)
    split = data_module.search_split(
        source, config.dataset.split, config.dataset.split_ratio, config.dataset.fraction, config.split_seed
    )
    session.check_split(split.hash)
    data = data_module.SearchData(**data_arguments(config, source), split=split)
    data.prepare()
    supernet = space.supernet(source.image_shape, source.num_classes)
    supernet = apply_execution(supernet, config.hardware)
    module = SearchModule(supernet, method, Classification())
    trainer.check_optimizers(module, "method")
    checkpoint, epochs_done = checkpoints.newest_readable(folder.checkpoints)
    if checkpoint is not None:
        checkpoints.check_fits(module, checkpoint)
    if session.nothing_left(epochs_done):
        return
    clock = Clock()
    recorder = SearchRecorder(
        folder,
        clock,
        epochs_done,
        lines=not (config.trainer.enable_progress_bar and trainer.wants_bar()),
        tell=session.progress,
        space=space,
        hessian=plain(config.analysis.hessian),
        implicit_every=config.analysis.implicit.every,
    )
    lightning = trainer_of(config, folder, clock, recorder)
    session.open(split.to_dict())
    session.summary |= {"split_hash": split.hash}
    session.run(lambda: _train(session, space, module, data, lightning, recorder, checkpoint))


def check_compile(config: DictConfig) -> None:
    """Refuses what a compiled network cannot do.

    Raises:
        ConfigError: second derivatives are asked of a compiled network.
    """
    analysis = config.analysis
    wanted = {
        "method.implicit=exact": config.method.get("implicit") == "exact",
        "analysis.hessian.every": analysis.hessian.every,
        "analysis.implicit.every": analysis.implicit.every,
    }
    asked = [key for key, value in wanted.items() if value]
    require(
        not (config.hardware.compile and asked),
        "hardware.compile=true: a compiled network has no second derivatives, but "
        f"{', '.join(asked)} needs them",
    )


def check_precision(precision: str) -> None:
    """Refuses precisions that a search cannot be run in.

    Raises:
        ConfigError: architecture gradients would be lost in it.
    """
    known = ("32-true", "64-true", "bf16-mixed")
    require(
        str(precision) in known,
        f"hardware.precision={precision}: a search runs in {', '.join(known)}; float16 scales the loss, "
        "which the gradients of alpha, the finite difference and the clipping of weights do not survive",
    )


def _train(session, space, module, data, lightning, recorder, checkpoint) -> None:
    from nas.engine.loggers import build_logger, close_logger
    from nas.engine.trainer import fit

    config, folder = session.config, session.folder
    done = False
    try:
        lightning.logger = build_logger(plain(config.logger), folder, plain(config), "search")
        fit(lightning, module, data, checkpoint)
        done = True
    finally:
        # Where the run broke down before it began, the folder stays as an earlier start left it.
        if lightning.is_global_zero and recorder.table is not None:
            numbers = recorder.numbers | {"epochs": lightning.current_epoch, "steps": module.iteration}
            if recorder.hessian_mode:
                numbers["hessian_mode"] = recorder.hessian_mode
            try:
                _finish(session, space, module.method, numbers, quiet=not done)
            except Exception:
                # What broke the run is the news, not that its remains cannot be drawn.
                if done:
                    raise
                log.exception("the stopped run could not be summed up")
            finally:
                pictures = sorted(folder.figures.glob("*.png"))
                close_logger(lightning.logger, session.summary, pictures, failed=not done)
        elif lightning.is_global_zero:
            close_logger(lightning.logger, session.summary, [], failed=True)


def _draw(session, space, method) -> None:
    """A search that trains nothing: its draw is its result."""
    from nas.engine.loggers import build_logger, close_logger

    logger = build_logger(plain(session.config.logger), session.folder, plain(session.config), "search")
    done = False
    try:
        _finish(session, space, method, {})
        done = True
    finally:
        pictures = sorted(session.folder.figures.glob("*.png"))
        close_logger(logger, session.summary, pictures, failed=not done)


def _finish(session, space, method, numbers, quiet: bool = False) -> None:
    """Derives, prices, draws and sums up; with `quiet` (a run that did not end) without the closing words."""
    from nas.engine.pictures import draw_search
    from nas.engine.rows import count_skips, weight_rows
    from nas.engine.run_folder import Table, write_text
    from nas.session import cost_of

    config, folder = session.config, session.folder
    strengths = method.strengths()
    if not all(bool(weights_EO.isfinite().all()) for weights_EO in strengths.values()):
        return  # a diverged run keeps the genotype of its last good epoch
    genotype = space.derive(strengths)
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
    evaluate = [
        "python",
        "-m",
        "nas.evaluate",
        f"genotype={quoted(folder.path)}",
        f"space={config.space.name}",
    ]
    evaluate += [f"dataset={config.dataset.name}", f"recipe={config.recipe.name}"]
    evaluate += [f"recipe.{key}={config.recipe[key]}" for key in ("num_cells", "init_channels")]
    if config.hardware.name != "cpu":
        evaluate.append(f"hardware={config.hardware.name}")
    if config.dataset.root is not None:
        evaluate.append(f"dataset.root={quoted(config.dataset.root)}")
    print(f"\n{genotype}")
    print(
        f"{cost.params / 1e6:.3f} M parameters, {cost.macs / 1e6:.2f} M multiply-adds an image "
        f"(recipe {config.recipe.name}: {config.recipe.num_cells} cells, C={config.recipe.init_channels})"
    )
    print(f"run folder: {folder.path}")
    print(f"pictures:   {folder.figures}")
    print(f"evaluate:   {shlex.join(evaluate)}", flush=True)


main = command("search", run)

if __name__ == "__main__":
    main()
