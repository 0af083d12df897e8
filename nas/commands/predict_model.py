"""The network that `nas.predict` uses: of an evaluation's run folder, or of an exported ONNX file.

Shapes: B images or columns, K classes or words.
"""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf, open_dict
from torch import nn

from nas.commands.described import describe, read_described
from nas.commands.export import DECIDED, advice_on_weights, check_finished, load_weights, offline
from nas.commands.export_text import best_weights
from nas.data.declared import check_source
from nas.domains.networks import genotype_of, network_of, space_of
from nas.engine import checkpoints
from nas.engine.run_folder import RunFolder
from nas.errors import ConfigError, installation, require
from nas.formats import families
from nas.formats.description import Description, TextDescription
from nas.formats.onnx_model import open_onnx
from nas.formats.prepared import with_preparation
from nas.measure.steps import apply_hardware, numerics
from nas.printable import shown
from nas.running.config import instantiate, plain
from nas.running.from_run import check_taken, read_run
from nas.running.printed import words_of_caller
from nas.running.words import pasted, quoted

NEEDED = ("onnx", "onnxruntime")


@dataclass(frozen=True)
class Model:
    """A trained network.

    Attributes:
        description: what it reads and tells apart.
        logits: prepared images [B, C, H, W], or numbers as measured -> logits [B, K] on the CPU; of text
            words [B] and a state [B, S] -> logits [B, K] and the state after them.
        notes: what the summary says of it.
    """

    description: Description | TextDescription
    logits: Callable[..., Any]
    notes: dict[str, Any]


def open_model(config: DictConfig) -> Model:
    """The network that `model=` names; see `conf/predict.yaml`.

    Raises:
        ConfigError: it names none that was trained, a file is damaged, or a package is missing.
    """
    require(
        config.model is not None,
        "model=null: name the run folder of an evaluation, or a model.onnx that nas.export wrote",
    )
    named = Path(str(config.model)).expanduser().absolute()
    where = f"model={shown(str(config.model))}"
    require(named.exists(), f"{where}: there is no such folder or file")
    if named.is_dir():
        return _of_folder(config, named, where)
    require(
        named.suffix.lower() == ".onnx",
        f"{where}: neither the run folder of an evaluation nor an .onnx file",
    )
    missing = [module for module in NEEDED if importlib.util.find_spec(module) is None]
    require(
        not missing,
        f"{where}: an ONNX file needs {' and '.join(missing)}, not installed here; {installation('export')}",
    )
    require(
        config.hardware.accelerator == "cpu",
        f"hardware={config.hardware.name}: an ONNX file is run on the CPU here; leave it out, or name the "
        "evaluation's run folder",
    )
    description, run = open_onnx(named, where)
    return Model(description, run, {"model": str(named), **_told(description)})


def _told(description: Any) -> dict[str, Any]:
    return {"trained_on": description.dataset, "genotype": str(description.genotype)}


def _of_folder(config: DictConfig, folder: Path, where: str) -> Model:
    """The network of an evaluation."""
    before, after = words_of_caller(config)
    saved_as = folder / "config.yaml"
    exported = sorted(folder.glob("*.onnx"))
    require(
        saved_as.is_file() or not exported,
        f"{where}: no run folder; name the file in it, model={quoted(exported[0]) if exported else ''}",
    )
    _, saved = read_run(folder, where, ("evaluate", "search", "derive", "export"))
    trains = pasted(["python", "-m", "nas.evaluate", *before, f"run={quoted(folder)}", *after])
    require(
        saved.command in ("evaluate", "export"),
        f"{where}: a run of nas.{saved.command}, which has a cell and no trained network; train it with "
        f"{trains}",
    )
    require(
        saved.command == "evaluate",
        f"{where}: a run of nas.export; name its file, model={quoted(folder / 'model.onnx')}",
    )
    saved = check_taken(saved, config, folder, where, DECIDED)
    summary = RunFolder(folder).read_json("summary.json")
    check_finished(config, folder, summary, where)
    merged = config.copy()
    with open_dict(merged):
        for key in DECIDED:
            merged[key] = saved[key]
    OmegaConf.resolve(merged)
    description = read_described(folder) or _older(merged, folder, where)
    file, epochs = checkpoints.newest_readable(folder / "checkpoints")
    require(file is not None, f"{where}: it holds no checkpoint")
    assert file is not None  # for type checkers
    checkpoint = checkpoints.load(file)
    text = isinstance(description, TextDescription)
    state = best_weights(checkpoint) if text else checkpoint["state_dict"]
    advice = advice_on_weights(merged, folder, typed=False)
    network = load_weights(lambda: _network(merged, description), state, file, advice)
    notes = {"model": str(folder), **_told(description), "trained_epochs": epochs}
    whole = with_preparation(network, description)
    return Model(description, _placed(whole, plain(config.hardware)), notes)


def _older(config: DictConfig, folder: Path, where: str) -> Description | TextDescription:
    """Of a folder that does not describe its network: by the data set, as far as it is at hand.

    Raises:
        ConfigError: the data set has to be read for it and cannot be; how the network is used all the same.
    """
    space = space_of(config)
    genotype = genotype_of(config, space, folder, None)
    try:
        source = instantiate(offline(config.dataset.source))
        check_source(source)
        return describe(config, space, source, genotype)
    except ConfigError as error:
        before, after = words_of_caller(config)
        exports = ["python", "-m", "nas.export", *before, f"run={quoted(folder)}", "format=onnx", *after]
        raise ConfigError(
            f"{where}: an earlier version wrote this folder, which does not say what its network reads, and "
            f"its data set does not either ({error}); where the data are, write a file that does with "
            f"{pasted(exports)} (dataset.root= or dataset.file= says where they lie now), and name that"
        ) from error


def _network(config: DictConfig, description: Description | TextDescription) -> nn.Module:
    if isinstance(description, TextDescription) or description.genotype.space in families.FAMILIES:
        return families.build(description).float()
    # Of a space from outside of this project.
    config.recipe.auxiliary_weight = 0
    space = space_of(config)
    found = network_of(config, space, description.genotype, _Inputs(description))
    return _First(found.float().eval())


class _Inputs:
    """What networks are sized by, of a data set that need not be there."""

    def __init__(self, description: Description):
        self.name, self.num_classes = description.dataset, description.num_classes
        self.image_shape = description.image_shape
        self.mean, self.std = description.preprocessing.mean, description.preprocessing.std


class _First(nn.Module):
    """The first of what a network gives, its logits."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        """Images [B, C, H, W] -> logits [B, K]."""
        return self.network(x_BCHW)[0]

    def load_state_dict(self, *arguments: Any, **options: Any) -> Any:
        """That of the network itself, under whose names a checkpoint has it."""
        return self.network.load_state_dict(*arguments, **options)

    def state_dict(self, *arguments: Any, **options: Any) -> Any:
        """Likewise."""
        return self.network.state_dict(*arguments, **options)


def _placed(network: nn.Module, hardware: dict[str, Any]) -> Callable[..., Any]:
    """A network on the device of a hardware profile; what goes in and comes out is on the CPU."""
    where = numerics(hardware)
    moved = apply_hardware(network, hardware).eval()

    def run(*inputs: torch.Tensor) -> Any:
        given = [one.to(where.device, where.dtype if one.is_floating_point() else None) for one in inputs]
        with torch.inference_mode(), where.cast():
            found = moved(*given)
        parts = found if isinstance(found, tuple) else (found,)
        back = tuple(one.cpu().float() for one in parts)
        return back if isinstance(found, tuple) else back[0]

    return run
