"""Measures pieces of networks and whole networks in common rounds: what `nas.latency` does."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nas.analysis.cost.latency import Latency, clock_of, latency_of
from nas.analysis.cost.latency_table import Conditions
from nas.analysis.cost.timing import Race
from nas.engine.provenance import device_name
from nas.errors import require, require_whole
from nas.genotype import Genotype
from nas.measure.steps import Numerics, apply_hardware, numerics
from nas.spaces.pieces import Piece, Pieces
from nas.spaces.space import ImageInputs, Space

# Below this share of a processor other jobs had so much of it that long calls and short ones do not compare.
BUSY = 0.9


def conditions_here(hardware: Mapping, batch_size: int, clock: str = "wall") -> Conditions:
    """What this process would measure under.

    Raises:
        ConfigError: a network cannot be measured so.
    """
    where = numerics(hardware)
    require_whole("latency.batch_size", batch_size, 1)
    threads = torch.get_num_threads()
    clock_of(clock, where.device.type, threads)
    return Conditions(
        device_name(hardware["accelerator"]),
        threads,
        batch_size,
        str(hardware["precision"]),
        hardware["channels_last"],
        clock,
    )


def random_architectures(
    space: Space, count: int, seed: int, key: str = "latency.validate"
) -> list[Genotype]:
    """Distinct random architectures: every candidate of an edge as likely as another.

    Where an edge has one candidate (`dso`), a share of the connections is alive, itself uniform in [0.1, 1].

    Args:
        space: derives an architecture from random scores.
        count: how many.
        seed: of the draw.
        key: the setting that asks for so many, for the message.

    Raises:
        ConfigError: the space does not hold as many.
    """
    generator = torch.Generator().manual_seed(seed)
    genotypes: dict[Genotype, None] = {}
    for _ in range(100 * count):
        if len(genotypes) == count:
            break
        share = 0.1 + 0.9 * torch.rand((), generator=generator)
        scores = {}
        for name, group in space.groups.items():
            drawn_EO = torch.rand(group.shape, generator=generator)
            scores[name] = drawn_EO if group.shape[1] > 1 else drawn_EO.where(drawn_EO < share, 0.0)
        genotypes[space.derive(scores)] = None
    require(
        len(genotypes) == count,
        f"{key}={count}: space {space.name} gave only {len(genotypes)} distinct architectures",
    )
    return list(genotypes)


@dataclass(frozen=True)
class Measured:
    """What a race gave.

    Attributes:
        pieces: milliseconds of every piece.
        networks: of every network, in the order given.
        processor: processor seconds per second of the rounds; None on a GPU.
    """

    pieces: dict[Piece, Latency]
    networks: list[Latency]
    processor: float | None


def measure(
    layout: Pieces,
    pieces: Sequence[Piece],
    networks: Sequence[nn.Module],
    inputs: ImageInputs,
    conditions: Conditions,
    hardware: Mapping,
    warmup: int,
    rounds: int,
    watch: Callable[[str, Sequence], Iterable] = lambda _, items: items,
) -> Measured:
    """Times everything once a round, so that a drift of the machine's speed meets all alike.

    Between two calls of a piece lie calls of all the others, so its weights and its input come from memory,
    as they do in a network.

    Args:
        layout: builds the pieces.
        pieces: what to time.
        networks: whole ones, timed in the same rounds.
        inputs: what the networks are sized by.
        conditions: batch size and clock.
        hardware: the profile.
        warmup: calls of each before the first round.
        rounds: measured calls of each.
        watch: wraps what takes long, with a word for it, to show progress.
    """
    where = numerics(hardware)
    race = Race(where.device, warmup, clock_of(conditions.clock, where.device.type, conditions.threads))
    maps: dict[tuple, Tensor] = {}
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for piece in watch("warming pieces up", pieces):
            module = apply_hardware(layout.build(piece), hardware).eval()
            race.enter(piece.key, _caller(module, _inputs(piece, maps, where, conditions.batch_size), where))
        image_BCHW = where.batch(conditions.batch_size, inputs, 0)[0]
        for index, network in enumerate(watch("warming networks up", networks)):
            network = apply_hardware(network, hardware).eval()
            race.enter(f"network {index}", _caller(network, [image_BCHW], where))
        start, worked = time.perf_counter(), time.process_time()
        seconds = race.seconds(
            dict.fromkeys(race.variants, rounds), lambda numbers: watch("measuring", numbers)
        )
        shared = (time.process_time() - worked) / (time.perf_counter() - start)
    return Measured(
        {piece: latency_of(seconds[piece.key]) for piece in pieces},
        [latency_of(seconds[f"network {index}"]) for index in range(len(networks))],
        shared if where.device.type == "cpu" else None,
    )


def _caller(module: nn.Module, inputs: Sequence[Tensor], where: Numerics) -> Callable[[], object]:
    if where.autocast is None:
        return lambda: module(*inputs)

    def call() -> object:
        with where.cast():
            return module(*inputs)

    return call


def _inputs(piece: Piece, maps: dict[tuple, Tensor], where: Numerics, batch_size: int) -> list[Tensor]:
    """Normal noise; pieces of one input shape share it."""
    # Within a network feature maps have the type that autocast computes in; images have not.
    inside = where.autocast is not None and not piece.name.startswith("stem")
    dtype = where.autocast if inside else where.dtype
    inputs = []
    for index in range(piece.inputs):
        shape = (batch_size, piece.channels, piece.height, piece.width)
        key = (index, dtype, *shape)
        if key not in maps:
            noise_BCHW = torch.randn(shape).to(where.device, dtype)
            maps[key] = noise_BCHW.contiguous(memory_format=where.layout())
        inputs.append(maps[key])
    return inputs
