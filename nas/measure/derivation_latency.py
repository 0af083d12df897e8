"""Latency of the architectures that `nas.derive` draws: measured on this device, or predicted by a table."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from nas.analysis.cost.latency import clock_of, measure_latency
from nas.analysis.cost.latency_table import LatencyTable, check_conditions, read_table
from nas.analysis.sampling import Architecture, Budget
from nas.engine.progress import watch
from nas.genotype import Genotype
from nas.measure.latencies import conditions_here
from nas.measure.steps import Numerics, apply_hardware, numerics


def table_here(settings: Mapping, hardware: Mapping) -> tuple[LatencyTable, bool]:
    """The table that `latency.table` names, and whether it was measured under this process's conditions.

    Raises:
        ConfigError: it cannot be read, or was measured under others and `latency.any_device` is false.
    """
    table, where = read_table(settings["table"]), f"latency.table={settings['table']}"
    # The kept ones are timed by the table's clock, which is therefore no difference.
    here = replace(conditions_here(hardware, settings["batch_size"]), clock=table.conditions.clock)
    return table, check_conditions(table, here, settings["any_device"], where)


class Latencies:
    """Measures and predicts.

    Args:
        build: genotype -> evaluation network.
        noise: numbers, size -> a batch to read, images or words.
        settings: the `latency` group of `nas.derive`.
        hardware: the profile.
        clock: one of `nas.analysis.cost.latency.CLOCKS`.
        predict: genotype -> milliseconds; None without a table.
    """

    def __init__(
        self,
        build: Callable[[Genotype], nn.Module],
        noise: Callable[[Numerics, int], Tensor],
        settings: Mapping,
        hardware: Mapping,
        clock: str = "wall",
        predict: Callable[[Genotype], float] | None = None,
    ):
        self.build, self.settings, self.hardware, self.predict = build, settings, hardware, predict
        self.where = numerics(hardware)
        self.clock = clock_of(clock, self.where.device.type, torch.get_num_threads())
        self.batch = noise(self.where, settings["batch_size"])

    def predict_all(self, drawn: Sequence[Architecture]) -> None:
        """Looks up what every architecture takes.

        Raises:
            ConfigError: the table lacks a piece.
        """
        assert self.predict is not None  # there is a table
        for arch in watch("predicting latency", drawn):
            arch.predicted = self.predict(arch.genotype)
        print(f"latency of {len(drawn):,} predicted from {self.settings['table']}", flush=True)

    def measure_all(self, chosen: Iterable[Architecture]) -> None:
        """Measures the network of each."""
        chosen = list(chosen)
        for arch in watch("measuring latency", chosen):
            self._measure(arch)
        self._say(len(chosen))

    def confirm(self, ranked: Sequence[Architecture], keep: int, budget: Budget) -> list[Architecture]:
        """The first `keep` of the ranked that keep the budget when they are measured whole.

        At most `latency.candidates` are measured.
        """
        confirmed: list[Architecture] = []
        tried = 0
        for arch in watch("measuring latency", ranked[: self.settings["candidates"]]):
            if len(confirmed) == keep:
                break
            self._measure(arch)
            tried += 1
            if budget.keeps(arch):
                confirmed.append(arch)
        self._say(tried)
        if tried > len(confirmed):
            print(
                f"{tried - len(confirmed):,} of them take longer than the budget, though the table said less"
            )
        return confirmed

    def _measure(self, arch: Architecture) -> None:
        if arch.latency is not None:
            return
        network = apply_hardware(self.build(arch.genotype), self.hardware)
        settings = self.settings
        with self.where.cast():
            time = measure_latency(network, self.batch, settings["warmup"], settings["repeats"], self.clock)
        arch.latency, arch.latency_spread = time.median, time.spread

    def _say(self, count: int) -> None:
        words = "" if self.batch.ndim == 4 else f", {len(self.batch)} words each"
        print(f"latency of {count:,} measured, batch of {self.settings['batch_size']}{words}", flush=True)
