"""Random cells of every space through every format: what is read back computes the same, or is refused."""

import contextlib
import copy
import io
import random
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import MappingProxyType
from typing import Any
from unittest import mock

import torch
from torch import nn

from nas.errors import ConfigError
from nas.formats import catalogue
from nas.formats.catalogue import Format, Subject, chosen, read_back
from nas.formats.comparison import compare, predict, predict_text
from nas.formats.description import Description, Preprocessing, TextDescription
from nas.formats.families import build
from nas.formats.steps import state_size_of
from nas.formats.untrained import settle
from nas.formats.writing import write_all
from nas.genotype import Cell, Edge, Genotype
from nas.spaces.dso.parts import OPERATIONS, REDUCTIONS
from nas.spaces.nasbench201.operations import NASBENCH201
from nas.spaces.operations import DARTS
from nas.spaces.recurrent.language_model import FUNCTIONS
from torture.commands import held
from torture.room import Case, Outcome, Plant

# Largest difference of two logits / largest logit; the command's own.
TOLERANCE = 1e-5
BATCHES = (1, 2, 3, 7, 8)
CELLS = 200
SPACES = ("darts", "nasbench201", "dso", "darts_rnn")
# In turn, so that a few cases have seen each; the dear ones are the more seldom.
WAYS = ("safetensors", "torch_export", "onnx", "timm", "safetensors", "torch_export")
KINDS = ("float32",) * 9 + ("float64", "float16", "bfloat16")


class Exports:
    """The room."""

    name = "exports"
    about = "random cells of every space through every format, sizes, opsets, batches and dtypes"
    holds = f"logits as the network's (difference / largest at most {TOLERANCE:g}), or refused in one line"

    def __init__(self, folder: Path):
        self.folder = folder

    @property
    def plants(self) -> Mapping[str, Plant]:
        """What would let another network out."""
        return PLANTS

    def cases(self, seed: int) -> Iterator[Case]:
        """A cell of each space through a format in turn."""
        for number in range(CELLS):
            for place, space in enumerate(SPACES):
                way = WAYS[(number + place) % len(WAYS)] if number or place != 1 else WAYS[0]
                options = {"cell": f"{space} {way}", "space": space, "way": way, "seed": f"{seed} {number}"}
                yield Case(f"{space}.{way}.{number:03d}", options)

    def run(self, case: Case, folder: Path) -> Outcome:
        """Writes a random network and compares what is read back with it."""
        rng = random.Random(f"{case.options['space']} {case.options['seed']}")
        torch.manual_seed(rng.getrandbits(31))
        text = case.options["space"] == "darts_rnn"
        description = (described_text if text else described)(case.options["space"], rng)
        kind, opset = rng.choice(KINDS), rng.choice((18, 18, 18, 19, 20, 21, 22, 23))
        said = f"{description.genotype} {kind} opset {opset}"
        try:
            network = trained(description, rng)
            (fmt,) = chosen(case.options["way"], images=not text)
            subject = Subject(network.to(getattr(torch, kind)), description, opset)
            with quiet():
                write_all(subject, [fmt], folder)
                read = read_back(fmt, folder, description)
        except ConfigError as error:
            held(str(error) and "\n" not in str(error), f"refused in more than a line: {error} ({said})")
            return Outcome("held", f"refused: {str(error)[:200]}")
        if not fmt.same_draws and any(getattr(one, "draws", False) for one in network.modules()):
            return Outcome("not tried", f"{fmt.name} draws other numbers than torch: nothing to compare")
        compared(subject, fmt, read, rng, said)
        return Outcome("held")


def compared(subject: Subject, fmt: Format, read: Any, rng: random.Random, said: str) -> None:
    """Holds what was read back against the network, on batches of several sizes.

    Raises:
        Failed: a logit differs.
    """
    for batch in rng.sample(BATCHES, 3):
        if isinstance(subject.description, TextDescription):
            tokens_TB = torch.randint(0, subject.description.vocabulary, (5, batch))
            size = subject.description.state_size
            expected, found = (predict_text(one, tokens_TB, size) for one in (subject.network, read))
        else:
            images = torch.randn(batch, *subject.description.image_shape)
            expected, found = (predict(one, [images], 0) for one in (subject.network, read))
        on = f"on a batch of {batch} ({said})"
        held(found.shape == expected.shape, f"{fmt.name} gives {list(found.shape)} {on}")
        difference = compare(expected, found).difference
        held(difference <= TOLERANCE, f"{fmt.name} differs by {difference:.1e} {on}")


def trained(description: Description | TextDescription, rng: random.Random) -> nn.Module:
    """A described network with weights that can be told from others."""
    network = build(description)
    if isinstance(description, TextDescription):
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.mul_(20)
    else:
        settle(network, description.image_shape, rng.getrandbits(31))
    return network.eval()


def described(space: str, rng: random.Random) -> Description:
    """A network of images of one of the spaces, of random cells and sizes."""
    genotype, sizes, multiple = {"darts": _darts, "nasbench201": _nasbench201, "dso": _dso}[space](rng)
    channels, classes = rng.choice((1, 3, 3, 4)), rng.choice((2, 3, 10))
    names = tuple(f"class {index}" for index in range(classes)) if rng.random() < 0.5 else None
    side = (multiple * rng.randint(1, 3), multiple * rng.randint(1, 3))
    return Description(
        genotype, sizes, (channels, *side), classes, "pictures",
        Preprocessing(side, side, (0.5,) * channels, (0.25,) * channels), names, {"untrained": True},
    )  # fmt: skip


def described_text(space: str, rng: random.Random) -> TextDescription:
    """A network of text, of a random cell and sizes."""
    nodes, operations = rng.randint(1, 8), sorted(FUNCTIONS)
    edges = tuple((Edge(rng.randrange(node), rng.choice(operations)),) for node in range(1, nodes + 1))
    output = tuple(sorted(rng.sample(range(1, nodes + 1), rng.randint(1, nodes))))
    genotype = Genotype(space, {"recurrent": Cell(edges, output, inputs=1)})  # type: ignore[arg-type]
    hidden, vocabulary, tied = rng.choice((1, 4, 6)), rng.choice((2, 11)), rng.random() < 0.5
    return TextDescription(
        genotype, hidden, hidden if tied else rng.choice((3, hidden)), tied, state_size_of(genotype, hidden),
        vocabulary, "texts",
    )  # fmt: skip


def _darts(rng: random.Random) -> tuple[Genotype, dict[str, Any], int]:
    cells = {}
    for name in ("normal", "reduce"):
        nodes = rng.randint(1, 4)
        edges = []
        for node in range(2, 2 + nodes):
            sources = rng.sample(range(node), 2) if rng.random() < 0.9 else [0, 0]
            edges.append(tuple(Edge(source, rng.choice(sorted(DARTS.published))) for source in sources))
        output = tuple(sorted(rng.sample(range(2, 2 + nodes), rng.randint(1, nodes))))
        cells[name] = Cell(tuple(edges), output)
    stem = rng.choice(("cifar", "cifar", "imagenet"))
    sizes = {
        "num_cells": rng.randint(1, 5), "init_channels": 2 * rng.randint(1, 4), "stem": stem,
        "stem_multiplier": rng.randint(1, 3),
    }  # fmt: skip
    return Genotype("darts", cells), sizes, 32 if stem == "imagenet" else 4  # type: ignore[arg-type]


def _nasbench201(rng: random.Random) -> tuple[Genotype, dict[str, Any], int]:
    names = sorted(NASBENCH201.published)
    nodes = tuple(tuple(Edge(source, rng.choice(names)) for source in range(node)) for node in (1, 2, 3))
    sizes = {"cells_per_stage": rng.randint(1, 2), "init_channels": rng.randint(1, 6)}
    return Genotype("nasbench201", {"cell": Cell(nodes, (3,), inputs=1)}), sizes, 4  # type: ignore[arg-type]


def _dso(rng: random.Random) -> tuple[Genotype, dict[str, Any], int]:
    stages = rng.randint(1, 3)
    cells = {"block": _block(rng, rng.randint(1, 8))}
    for stage in range(1, stages):
        cells[f"reduce_{stage}"] = _reduction(rng)
    stem = rng.choice(("cifar", "cifar", "imagenet"))
    sizes = {
        "blocks_per_stage": [rng.randint(1, 2) for _ in range(stages)],
        "init_channels": 2 * rng.randint(1, 4), "stem": stem,
    }  # fmt: skip
    return Genotype("dso", cells), sizes, 16 if stem == "imagenet" else 5  # type: ignore[arg-type]


def _block(rng: random.Random, nodes: int) -> Cell:
    """Nodes of one operation each, of which some are not alive."""
    edges: list[tuple[Edge, ...]] = []
    alive: list[int] = [0]
    for node in range(1, nodes + 1):
        if rng.random() < 0.3 and node != nodes:
            edges.append(())
            continue
        operation = rng.choice(OPERATIONS)
        sources: Sequence[int] = rng.sample(alive, rng.randint(1, len(alive)))
        edges.append(tuple(Edge(source, operation) for source in sources))
        alive.append(node)
    output = rng.sample(alive[1:], rng.randint(1, len(alive) - 1))
    return Cell(tuple(edges), tuple(sorted(output)), inputs=1)


def _reduction(rng: random.Random) -> Cell:
    """Branches from the input to the output."""
    names = sorted(rng.sample(sorted(REDUCTIONS), rng.randint(1, len(REDUCTIONS))))
    edges = tuple((Edge(0, name),) for name in names)
    return Cell(edges, tuple(range(1, len(edges) + 1)), inputs=1)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without what exporters print and warn of."""
    out, err = contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO())
    with warnings.catch_warnings(), out, err:
        warnings.simplefilter("ignore")
        yield


def _off() -> AbstractContextManager[Any]:
    save = catalogue.save_safetensors

    def wrong(network: nn.Module, description: Any, path: Path) -> None:
        state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        with torch.no_grad():
            next(network.parameters()).mul_(1.01)
        save(network, description, path)
        network.load_state_dict(state)

    return mock.patch.object(catalogue, "save_safetensors", wrong)


@contextlib.contextmanager
def _graph_off() -> Iterator[None]:
    whole = catalogue.export_program

    def wrong(network: nn.Module, description: Any) -> Any:
        other = copy.deepcopy(network)
        with torch.no_grad():
            next(other.parameters()).mul_(1.01)
        return whole(other, description)

    with mock.patch.object(catalogue, "export_program", wrong):
        yield


def _any_numbers() -> AbstractContextManager[Any]:
    return mock.patch.object(catalogue, "require", lambda condition, words: None)


PLANTS: Mapping[str, Plant] = MappingProxyType(
    {
        "weights": Plant(
            "a weight is written a hundredth off", "differs by", _off, ("nasbench201.safetensors.000",)
        ),
        "graphs": Plant(
            "a weight of a graph is a hundredth off", "differs by", _graph_off,
            ("*.torch_export.00?", "*.onnx.00?"),
        ),
        "numbers": Plant(
            "networks of other numbers than float32 are not refused", "differs by|dtype|type", _any_numbers,
            ("*.safetensors.00?",),
        ),
    }
)  # fmt: skip


def room(folder: Path) -> Exports:
    """The room; it keeps nothing."""
    return Exports(folder)
