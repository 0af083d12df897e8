"""`python -m nas.export`: writes a trained network in the forms that others read."""

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict

from nas import genotype as genotypes
from nas.commands.described import read_described
from nas.commands.export_images import ImageExport
from nas.commands.export_text import TextExport
from nas.data.declared import check_source
from nas.domains.choose import choose
from nas.domains.networks import built, check_sizes, cost_of, genotype_of, network_of, space_of
from nas.engine import checkpoints
from nas.engine.run_folder import RunFolder
from nas.engine.seeding import seed_run
from nas.engine.trainer import quiet
from nas.errors import ConfigError, require
from nas.formats.catalogue import FORMATS, ONNX, Format, Subject, chosen, why_not
from nas.formats.description import Description, TextDescription
from nas.formats.writing import check_all, print_table, remove_different, write_all
from nas.running.config import instantiate, typed_keys
from nas.running.from_run import check_taken, name_cell, read_run
from nas.running.places import PLACES
from nas.running.printed import command_with, words_of_caller
from nas.running.saved import read_config, set_places
from nas.running.session import Session
from nas.running.words import key_of, pasted, quoted
from nas.spaces.outline import check_outline, shapes_of

# What an evaluation's run folder decides; where its images lie now is another matter.
DECIDED = ("space", "dataset", "recipe")
FREE = tuple(f"dataset.{place}" for place in PLACES)
# By domain.
EXPORTS: Mapping[str, type[ImageExport] | type[TextExport]] = {"images": ImageExport, "text": TextExport}


def run(config: DictConfig, path: Path) -> None:
    """Exports as configured; see `conf/export.yaml` for every key.

    Raises:
        ConfigError: a setting cannot be used, a package is missing, or the checkpoint is of another network.
        RunFailed: an exported network computes something else than the trained one.
    """
    name_cell(config)
    _check_settings(config)
    quiet()
    logging.getLogger("timm").setLevel(logging.WARNING)
    config, folder, finished = with_evaluation(config)
    session = Session(config, path)
    seed_run(config.seed)
    made = make(config, folder, finished)
    subject = Subject(made.written, made.description, config.onnx.opset)
    session.open(None)
    session.run(lambda: _export(session, subject, made))


@dataclass(frozen=True)
class Made:
    """A trained network on its way out.

    Attributes:
        export: of its domain.
        formats: as which it is to be written.
        network: as it was trained.
        description: what is said of it.
        written: what is written: the network, or of text a step of it.
        example: tells a file to ask the network about, or words that stand for one.
    """

    export: ImageExport | TextExport
    formats: Sequence[Format]
    network: Any
    description: Description | TextDescription
    written: Any
    example: Callable[[], str]


def make(config: DictConfig, folder: Path | None, finished: dict[str, Any]) -> Made:
    """The network that a configuration of `nas.export` stands for; the arguments are of `with_evaluation`.

    Raises:
        ConfigError: as `run`.
    """
    space = space_of(config)
    genotype = genotype_of(config, space, config.genotype, config.epoch)
    source = instantiate(offline(config.dataset.source))
    check_source(source)
    domain = choose(space, source)
    export = EXPORTS[domain.name](config, space, source)
    formats = chosen(config.format, export.images, export.known, export.pixels)
    if folder is None:
        check_sizes(config, space)
    network, notes = trained(config, space, genotype, source, export, folder, finished)
    description = _as_trained(export.describe(genotype, notes), folder)
    written = export.written(network, description)
    return Made(export, formats, network, description, written, partial(domain.example, source))


def _as_trained(
    description: Description | TextDescription, folder: Path | None
) -> Description | TextDescription:
    """A description with the way of decoding pictures that the evaluation's own one has, old or new."""
    told = None if folder is None else read_described(folder)
    if not (isinstance(description, Description) and isinstance(told, Description)):
        return description
    steps = replace(description.preprocessing, decoding=told.preprocessing.decoding)
    return replace(description, preprocessing=steps)


def _check_settings(config: DictConfig) -> None:
    require(
        config.genotype is not None,
        "genotype=null: name the run folder of an evaluation with run=, or a file or a published genotype "
        "with genotype=",
    )
    require(config.resume is None, f"resume={config.resume}: an export cannot be continued; start it anew")
    require(config.images >= 1, f"images={config.images}: must be at least 1")
    require(config.tolerance > 0, f"tolerance={config.tolerance}: must be above 0")
    require(
        config.hardware.accelerator == "cpu",
        f"hardware={config.hardware.name}: networks are exported on the CPU, and run anywhere; leave it out",
    )
    require(
        not (config.untrained and config.checkpoint is not None),
        f"untrained=true: checkpoint={config.checkpoint} holds trained weights; give one of the two",
    )


def with_evaluation(config: DictConfig) -> tuple[DictConfig, Path | None, dict[str, Any]]:
    """The configuration, completed by that of the evaluation whose run folder `run` or `genotype` names.

    Returns:
        The configuration; that run folder, None if something else is named; and its summary.

    Raises:
        ConfigError: its config.yaml is damaged, the run is not finished, or an override contradicts it.
    """
    merged = config.copy()
    with open_dict(merged):
        # How networks are trained is of no use here, and refers to keys of other commands.
        for key in ("optimizer", "scheduler"):
            merged.recipe.pop(key, None)
    merged = DictConfig(OmegaConf.to_container(merged, resolve=True))
    place, _ = genotypes.place_of(config.genotype)
    where = f"run={config.run}" if config.run is not None else f"genotype={config.genotype}"
    file = None if place is None else place.absolute() / "config.yaml"
    if file is None or not file.is_file():
        return merged, None, {}
    if read_config(file, f"{where}: config.yaml").get("command") != "evaluate":
        return merged, None, {}
    folder, saved = read_run(file.parent, where, ["evaluate"])
    require(config.epoch is None, f"epoch={config.epoch}: {where} is an evaluation, whose cell is one")
    saved = check_taken(saved, config, folder, where, DECIDED)
    for override in HydraConfig.get().overrides.task:
        key = key_of(override)
        require(
            key in FREE or key.split(".")[0] not in DECIDED,
            f"{override}: the evaluation's run folder decides {', '.join(DECIDED)}; leave it out (only "
            f"{', '.join(FREE)} can change)",
        )
    require(not config.untrained, f"untrained=true: {where} is a training; leave one of the two out")
    summary = RunFolder(folder).read_json("summary.json")
    named = config.checkpoint is not None
    check_finished(config, folder, summary, where, named, ", or name one of its checkpoints with checkpoint=")
    for key in DECIDED:
        merged[key] = saved[key]
    set_places(merged.dataset, config.dataset, typed_keys())
    merged.genotype = str(folder)
    return merged, folder, summary


def check_finished(
    config: DictConfig, folder: Path, summary: dict, where: str, named: bool = False, or_else: str = ""
) -> None:
    """Refuses an evaluation that goes on or was stopped, unless one of its checkpoints is named.

    Raises:
        ConfigError: it is such a one; the command that continues it, and what else can be done.
    """
    before, after = words_of_caller(config)
    again = pasted(["python", "-m", "nas.evaluate", *before, f"resume={quoted(folder)}", *after])
    require(
        summary.get("status") == "finished" or named,
        f"{where}: this evaluation is not finished (status {summary.get('status')}); continue it with "
        f"{again}{or_else}",
    )


def trained(
    config: DictConfig,
    space: Any,
    genotype: Any,
    source: Any,
    export: ImageExport | TextExport,
    folder: Path | None,
    finished: dict[str, Any],
) -> tuple[Any, dict[str, Any]]:
    """The evaluation network without auxiliary head, with its weights, in evaluation mode; notes on them.

    Raises:
        ConfigError: there are no weights to be had, or they are those of another network.
    """
    plain = config.copy()
    plain.recipe.auxiliary_weight = 0

    def build() -> Any:
        return network_of(plain, space, genotype, source).float().eval()

    file = None if config.checkpoint is None else Path(os.path.expanduser(str(config.checkpoint)))
    place = folder if file is None else file
    if place is not None and place.is_dir():
        file, _ = checkpoints.newest_readable(place / "checkpoints")
        require(file is not None, f"{place}: it holds no checkpoint; name one with checkpoint=")
    if file is None:
        require(
            config.untrained,
            f"genotype={config.genotype}: an architecture without weights; name the run folder of its "
            "evaluation (run=outputs/evaluate/...), or that as checkpoint=, or export random weights with "
            "untrained=true",
        )
        cost = cost_of(plain, space, genotype, False, source)
        network = built(plain, space, genotype, source, cost).float().eval()
        export.settle(network)
        return network, {"untrained": True, "seed": config.seed}
    require(file.is_file(), f"checkpoint={file}: there is no such file")
    _check_genotype(file, genotype)
    checkpoint = checkpoints.load(file)
    advice = advice_on_weights(config, folder)
    network = load_weights(build, export.weights(checkpoint), file, advice)
    notes = {"untrained": False, "epochs": int(checkpoint.get("epoch", -1)) + 1}
    for name in ("test_accuracy", "test_perplexity") if config.checkpoint is None else ():
        if name in finished:
            notes[name] = finished[name]
    return network, notes


def _check_genotype(file: Path, genotype: Any) -> None:
    """Compares with the genotype in the checkpoint's run folder, for poolings and wires have no weights.

    Raises:
        ConfigError: it is another one.
    """
    stored = file.absolute().parent.parent / "genotype.json"
    require(
        not stored.is_file() or genotypes.load(stored) == genotype,
        f"checkpoint={file}: the weights of another genotype, {stored}, than genotype= names",
    )


def advice_on_weights(config: DictConfig, folder: Path | None, typed: bool = True) -> str:
    """What is said last where weights are not those of the network that is described.

    Args:
        config: with the data set.
        folder: the run that all of it comes from; None where it was typed.
        typed: whether the command takes keys of a data set.
    """
    if folder is None:
        return "; the run folder of the evaluation as run= brings them along"
    source = config.dataset.source
    named = "name those that it was trained on (dataset.root=, dataset.file=), or " if typed else ""
    if "channels" in source and source.channels is None and source.get("mean") is None:
        return (
            "; its config.yaml leaves the colours to the pictures, and those that lie there now may have "
            f"others: {named}write the number into it (dataset.source.channels: 1 for grey, 3 for colour)"
        )
    return f"; {folder} has been changed since, or what was typed or lies in its data set does not fit it"


def load_weights(build: Callable[[], Any], state: dict[str, Any], file: Path, advice: str) -> Any:
    """A network with the weights of an evaluation's checkpoint, without those of an auxiliary head.

    Args:
        build: makes the network, once its outline is that of the weights.
        state: tensors by name.
        file: that held them.
        advice: what is said last where they do not fit.

    Raises:
        ConfigError: they are those of another network; nothing of its size has been allocated then.
    """
    prefix, auxiliary = "network.", "network.auxiliary."
    found = {
        name.removeprefix(prefix): tensor
        for name, tensor in state.items()
        if name.startswith(prefix) and not name.startswith(auxiliary)
    }
    require(
        len(found) > 0,
        f"checkpoint={file}: not one of nas.evaluate (a search's holds a supernet, not an architecture's "
        "weights)",
    )
    words = (
        f"checkpoint={file}: its weights are those of another network than genotype, space, dataset and "
        "recipe describe"
    )
    check_outline(build, shapes_of(found), words, advice)
    network = build()
    checkpoints.load_into(network, found, words, advice)
    return network


def offline(source: DictConfig) -> DictConfig:
    """The images as they are on this machine: an export fetches none."""
    source = DictConfig(OmegaConf.to_container(source, resolve=True))
    if "download" in source:
        source.download = False
    return source


def _export(session: Any, subject: Subject, made: Made) -> None:
    export, formats = made.export, made.formats
    config, folder, description = session.config, session.folder.path, subject.description
    unit = description.unit
    session.summary |= {
        "genotype": str(description.genotype),
        "params": sum(parameter.numel() for parameter in subject.network.parameters()),
        **export.told(description),
        **description.notes,
    }
    rows = write_all(subject, formats, folder)
    session.summary |= {"formats": rows, unit: "not checked"}
    if config.check:
        expected, run, session.summary[unit] = export.compared(made.network, description)
        check_all(rows, subject, formats, folder, expected, run)
    print_table(rows, f"{description.dataset}, {description.outputs}; {session.summary[unit]}")
    for one in FORMATS.values():
        reason = why_not(one, export.images, export.known, export.pixels)
        if config.format == "all" and reason is not None:
            print(f"{one.name}: not written, {reason}")
    print(f"run folder: {folder}", flush=True)
    if config.check:
        wrong = remove_different(rows, formats, folder, config.tolerance)
        if wrong:
            raise RuntimeError(
                "exported logits differ from the trained network's by more than "
                f"tolerance={config.tolerance} of the largest logit: {', '.join(wrong)}; these files "
                "were removed"
            )
    if any(one.name == "onnx" for one in formats) and not description.notes.get("untrained"):
        _say_prediction(config, folder / ONNX, made.example)


def _say_prediction(config: DictConfig, model: Path, example: Callable[[], str]) -> None:
    """Prints the command that asks what was written; the pictures may lie on another machine."""
    try:
        given = example()
    except (ConfigError, OSError):
        given = "<your file>"
    asks = command_with(config, model, given)
    if asks is not None:
        print(f"predict:    {asks}", flush=True)
