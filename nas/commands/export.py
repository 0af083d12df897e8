"""`python -m nas.export`: writes a trained network in the forms that others read."""

import inspect
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict

from nas import genotype as genotypes
from nas.data.checks import check_images
from nas.data.declared import check_source
from nas.data.folder import ImageFolder
from nas.domains.choose import of_space
from nas.domains.networks import check_sizes, genotype_of, network_of, sizes_of, space_of
from nas.engine import checkpoints
from nas.engine.run_folder import RunFolder
from nas.engine.seeding import seed_run
from nas.engine.trainer import quiet
from nas.errors import ConfigError, require
from nas.formats import families
from nas.formats.catalogue import Subject, chosen
from nas.formats.description import Description, Preprocessing
from nas.formats.pictures import list_pictures, normalise, read_pictures
from nas.formats.untrained import settle
from nas.formats.writing import check_all, print_table, remove_different, write_all
from nas.running.config import instantiate, typed_keys
from nas.running.saved import check_parts, read_config, set_root
from nas.running.session import Session
from nas.running.words import key_of, pasted, quoted

# What an evaluation's run folder decides; where its images lie now is another matter.
DECIDED = ("space", "dataset", "recipe")
FREE = ("dataset.root",)
CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def run(config: DictConfig, path: Path) -> None:
    """Exports as configured; see `conf/export.yaml` for every key.

    Raises:
        ConfigError: a setting cannot be used, a package is missing, or the checkpoint is of another network.
        RunFailed: an exported network computes something else than the trained one.
    """
    _check_settings(config)
    formats = chosen(config.format)
    quiet()
    logging.getLogger("timm").setLevel(logging.WARNING)
    config, folder, finished = with_evaluation(config)
    session = Session(config, path)
    seed_run(config.seed)
    space = space_of(config)
    genotype = genotype_of(config, space, config.genotype)
    require(
        of_space(space).exported,
        f"space={space.name}: networks of text are not exported; the checkpoints of its run folder hold the "
        "weights",
    )
    source = instantiate(_offline(config.dataset.source))
    check_source(source)
    if folder is None:
        check_sizes(config, space)
    network, notes = trained(config, space, genotype, source, folder, finished)
    description = describe(config, space, genotype, source, notes)
    subject = Subject(classifier_of(network, description), description, config.onnx.opset)
    pictures = _pictures_of(config, description)
    session.open(None)
    session.run(lambda: _export(session, subject, formats, network, source, pictures))


def _check_settings(config: DictConfig) -> None:
    require(config.genotype is not None, "genotype=null: name a run folder, a file or a published genotype")
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
    """The configuration, completed by that of the evaluation whose run folder `genotype` names.

    Returns:
        The configuration; that run folder, None if `genotype` names something else; and its summary.

    Raises:
        ConfigError: its config.yaml is damaged, the run is not finished, or an override contradicts it.
    """
    merged = config.copy()
    with open_dict(merged):
        # How networks are trained is of no use here, and refers to keys of other commands.
        for key in ("optimizer", "scheduler"):
            merged.recipe.pop(key, None)
    merged = DictConfig(OmegaConf.to_container(merged, resolve=True))
    # Not pathlib's, which raises where there is no such user: a genotype's text may begin like that.
    folder = Path(os.path.expanduser(str(config.genotype))).absolute()
    where = f"genotype={config.genotype}"
    # A genotype's text may be too long for a path, which this finds out without an error.
    file = folder / "config.yaml"
    saved = read_config(file, f"{where}: config.yaml") if os.path.isfile(file) else DictConfig({})
    if saved.get("command") != "evaluate":
        return merged, None, {}
    check_parts("evaluate", saved, DECIDED, config, folder, where)
    for override in HydraConfig.get().overrides.task:
        key = key_of(override)
        require(
            key in FREE or key.split(".")[0] not in DECIDED,
            f"{override}: the evaluation's run folder decides {', '.join(DECIDED)}; leave it out (only "
            f"{', '.join(FREE)} can change)",
        )
    require(not config.untrained, f"untrained=true: {where} is a training; leave one of the two out")
    summary = RunFolder(folder).read_json("summary.json")
    require(
        summary.get("status") == "finished" or config.checkpoint is not None,
        f"{where}: this evaluation is not finished (status {summary.get('status')}); continue it with "
        f"{pasted(['python', '-m', 'nas.evaluate', f'resume={quoted(folder)}'])}, or name one of its "
        "checkpoints with checkpoint=",
    )
    for key in DECIDED:
        merged[key] = saved[key]
    if "dataset.root" in typed_keys():
        set_root(merged.dataset, config.dataset.root)
    merged.genotype = str(folder)
    return merged, folder, summary


def trained(
    config: DictConfig, space: Any, genotype: Any, source: Any, folder: Path | None, finished: dict[str, Any]
) -> tuple[Any, dict[str, Any]]:
    """The evaluation network without auxiliary head, with its weights, in evaluation mode; notes on them.

    Raises:
        ConfigError: there are no weights to be had, or they are those of another network.
    """
    plain = config.copy()
    plain.recipe.auxiliary_weight = 0
    network = network_of(plain, space, genotype, source).float().eval()
    file = None if config.checkpoint is None else Path(os.path.expanduser(str(config.checkpoint)))
    place = folder if file is None else file
    if place is not None and place.is_dir():
        file, _ = checkpoints.newest_readable(place / "checkpoints")
        require(file is not None, f"{place}: it holds no checkpoint; name one with checkpoint=")
    if file is None:
        require(
            config.untrained,
            f"genotype={config.genotype}: an architecture without weights; name the run folder of its "
            "evaluation (genotype=outputs/evaluate/...), or that as checkpoint=, or export random weights "
            "with untrained=true",
        )
        settle(network, source.image_shape, config.seed)
        return network, {"untrained": True, "seed": config.seed}
    require(file.is_file(), f"checkpoint={file}: there is no such file")
    _check_genotype(file, genotype)
    checkpoint = checkpoints.load(file)
    _load(network, checkpoint["state_dict"], file)
    notes = {"untrained": False, "epochs": int(checkpoint.get("epoch", -1)) + 1}
    if config.checkpoint is None and "test_accuracy" in finished:
        notes["test_accuracy"] = finished["test_accuracy"]
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


def _load(network: Any, state: dict[str, Any], file: Path) -> None:
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
    checkpoints.load_into(
        network,
        found,
        f"checkpoint={file}: its weights are those of another network than genotype, space, dataset and "
        "recipe describe",
        "; the run folder of the evaluation as genotype= brings them along",
    )


def describe(config: DictConfig, space: Any, genotype: Any, source: Any, notes: dict[str, Any]) -> Any:
    """What the files say of the network."""
    size = source.image_shape[1]
    # As the test images of a folder are prepared; other sets hold images of the network's size.
    resize = int(size * 256 / 224) if isinstance(source, ImageFolder) else size
    return Description(
        genotype,
        sizes_of_network(config, space),
        source.image_shape,
        source.num_classes,
        source.name,
        Preprocessing(resize, size, source.mean, source.std),
        class_names(source),
        notes,
    )


def sizes_of_network(config: DictConfig, space: Any) -> dict[str, Any]:
    """What sizes the network that `network_of` builds, with nothing left to defaults."""
    parameters = inspect.signature(space.network).parameters
    typed, sizes = sizes_of(config, space), {}
    for name in list(inspect.signature(families.classifier_of(space.family).construct).parameters)[4:]:
        value = typed.get(name, parameters[name].default if name in parameters else None)
        value = getattr(space, name) if value is None else value
        sizes[name] = value if isinstance(value, str | int) else list(value)
    return sizes


def class_names(source: Any) -> tuple[str, ...] | None:
    """The classes in the order of the outputs: folder names, digits, CIFAR-10's words; None if not known."""
    folder = Path(source.root).expanduser() / "train" if isinstance(source, ImageFolder) else None
    if folder is not None and folder.is_dir():
        found = tuple(sorted(entry.name for entry in folder.iterdir() if entry.is_dir()))
        return found if len(found) == source.num_classes else None
    known = {"digits": tuple(str(digit) for digit in range(10)), "cifar10": CIFAR10}
    return known.get(source.name)


def classifier_of(network: Any, description: Any) -> Any:
    """The network in the form that is exported."""
    classifier = families.build(description)
    classifier.load_state_dict(network.state_dict())
    return classifier


def _offline(source: DictConfig) -> DictConfig:
    """The images as they are on this machine: an export fetches none."""
    source = DictConfig(OmegaConf.to_container(source, resolve=True))
    if "download" in source:
        source.download = False
    return source


def _pictures_of(config: DictConfig, description: Any) -> Any:
    """The pictures that the user named, prepared; None if there are none."""
    if config.pictures is None:
        return None
    return read_pictures(_spread(list_pictures(config.pictures), config.images), description.preprocessing)


def _spread(items: Sequence, number: int) -> list:
    """So many of the items, evenly spread, as classes come one after another."""
    number = min(number, len(items))
    return [items[index * len(items) // number] for index in range(number)]


def _images(config: DictConfig, description: Any, source: Any, pictures: Any) -> tuple[Any, str]:
    """Prepared images [N, C, H, W] and what they are."""
    if pictures is not None:
        return pictures, f"{len(pictures)} pictures of {config.pictures}"
    try:
        test = source.test()
    except ConfigError:
        if "dataset.root" in typed_keys():
            raise
        generator = torch.Generator().manual_seed(config.seed)
        images = torch.randn(config.images, *description.image_shape, generator=generator)
        return images, f"{config.images} random images (those of {source.name} are not on this machine)"
    check_images(source, test, "test")
    images = torch.stack([test[index][0] for index in _spread(range(len(test)), config.images)])
    return normalise(images, description.preprocessing), f"{len(images)} test images of {source.name}"


def _export(
    session: Any, subject: Any, formats: Sequence[Any], network: Any, source: Any, pictures: Any
) -> None:
    config, folder, description = session.config, session.folder.path, subject.description
    session.summary |= {
        "genotype": str(description.genotype),
        "params": sum(parameter.numel() for parameter in subject.network.parameters()),
        "num_classes": description.num_classes,
        "class_names": description.class_names is not None,
        **description.notes,
    }
    rows = write_all(subject, formats, folder)
    session.summary |= {"formats": rows, "images": "not checked"}
    if config.check:
        images, session.summary["images"] = _images(config, description, source, pictures)
        check_all(rows, subject, formats, folder, lambda batch: network(batch)[0], images, config.seed)
    title = f"{description.dataset}, {description.num_classes} classes; {session.summary['images']}"
    print_table(rows, title)
    print(f"run folder: {folder}", flush=True)
    if config.check:
        wrong = remove_different(rows, formats, folder, config.tolerance)
        if wrong:
            raise RuntimeError(
                "exported logits differ from the trained network's by more than "
                f"tolerance={config.tolerance} of the largest logit: {', '.join(wrong)}; these files "
                "were removed"
            )
