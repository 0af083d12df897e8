"""`python -m nas.latency`: how long operations and networks take on this device, as a table to look up."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from nas.analysis.cost.latency import check_repeats
from nas.analysis.cost.latency_table import LatencyTable, Predictor, fit_line
from nas.domains.choose import choose, of_space
from nas.domains.networks import check_sizes, genotype_of, sizes_of, source_of, space_of
from nas.engine import trainer
from nas.engine.machine import hardware
from nas.engine.progress import watch
from nas.engine.provenance import versions
from nas.errors import require
from nas.measure.latencies import BUSY, conditions_here, measure, random_architectures
from nas.measure.latency_report import Checked, draw, print_line, print_network, write_tables
from nas.running.config import plain
from nas.running.printed import command_for
from nas.running.session import Session
from nas.running.words import pasted, quoted


def run(config: DictConfig, path: Path) -> None:
    """Measures as configured and writes `latency.json`; see `conf/latency.yaml` for every key.

    Raises:
        ConfigError: a setting cannot be used.
        RunFailed: the measurement broke down.
    """
    settings = config.latency
    check_repeats(settings.warmup, settings.rounds, "rounds")
    count = settings.validate
    require(
        isinstance(count, int) and (count == 0 or count >= 3),
        f"latency.validate={count}: must be 0 or at least 3, or no line can be fitted",
    )
    require(
        config.resume is None, f"resume={config.resume}: a measurement cannot be continued; start it anew"
    )
    require(
        not config.hardware.compile,
        "hardware.compile=true: a compiled network is not the sum of its pieces; set hardware.compile=false",
    )
    trainer.quiet()
    hardware.check_hardware(config.hardware)
    hardware.use_device(config.hardware)
    session = Session(config, path)
    measurement = Measurement(config)
    session.open(None)
    session.run(lambda: measurement.run(session))


class Measurement:
    """One measurement: everything that can be refused is built on construction."""

    def __init__(self, config: DictConfig):
        self.config = config
        self.space = space_of(config)
        self.source = source_of(config)
        check_pieces(self.space)
        self.inputs: Any = choose(self.space, self.source).inputs(self.source)
        check_sizes(config, self.space)
        self.hardware = plain(config.hardware)
        self.layout = pieces_of(config, self.space, self.source)
        self.conditions = conditions_here(self.hardware, config.latency.batch_size, config.latency.clock)
        named = config.genotype
        self.named = None if named is None else genotype_of(config, self.space, named, config.epoch)
        self.drawn = random_architectures(self.space, config.latency.validate, config.seed)
        self.genotypes = [*self.drawn, *([] if self.named is None else [self.named])]
        sizes = _sizes(config, self.space)
        self.networks = [self.space.network(one, self.inputs, **sizes) for one in self.genotypes]
        self.pieces = list(dict.fromkeys(self.layout.all()))
        for one in self.genotypes:
            known = set(self.pieces)
            self.pieces += [piece for piece in self.layout.of(one) if piece not in known]

    def run(self, session: Any) -> None:
        """Measures, writes, draws and prints."""
        config, settings = self.config, self.config.latency
        print(f"measuring {len(self.pieces)} pieces and {len(self.networks)} networks", flush=True)
        found = measure(
            self.layout,
            self.pieces,
            self.networks,
            self.inputs,
            self.conditions,
            self.hardware,
            settings.warmup,
            settings.rounds,
            watch,
        )
        table = LatencyTable(self.conditions, found.pieces, self._about(session))
        predictor = Predictor(table, self.layout, "nas.latency")
        checked = [
            Checked(genotype, predictor.sum(genotype), one)
            for genotype, one in zip(self.genotypes, found.networks, strict=True)
        ]
        drawn, named = checked[: len(self.drawn)], checked[-1] if self.named is not None else None
        if drawn:
            line = fit_line([one.sum for one in drawn], [one.found.median for one in drawn])
            table = LatencyTable(table.conditions, table.entries, table.about, line)
            session.summary |= {
                "networks": line.n,
                **{key: getattr(line, key) for key in ("kendall", "spearman", "slope", "intercept")},
                "sum_error": line.error,
                "line_error": line.error_fitted,
            }
        session.summary |= {"pieces": len(found.pieces), "processor_share": found.processor}
        if named is not None:
            session.summary |= {
                "genotype": str(named.genotype),
                "latency_sum": named.sum,
                "latency": named.found.median,
                "latency_spread": named.found.spread,
            }
        write_tables(session.folder, table, checked)
        names = dict.fromkeys(
            name for group in self.space.groups.values() for row in group.operations for name in row
        )
        title = f"{config.space.name}, batch of {settings.batch_size}, threads: {self.conditions.threads}"
        draw(session.folder, table, names, drawn, named, title, session.caption)
        if named is not None:
            print_network(named, self.layout.of(named.genotype), found.pieces)
        if table.line is not None:
            print_line(table.line)
        if found.processor is not None and found.processor < BUSY and settings.clock == "wall":
            print(
                "warning: other jobs took part of this machine (this one got the time of "
                f"{found.processor:.2f} processors): long calls are cut into more often than short "
                "ones, so sums and measurements do not compare. Measure when it is idle, or set "
                "latency.clock=cpu with one thread",
                flush=True,
            )
        print(f"run folder: {session.folder.path}")
        table_word = pasted([f"latency.table={quoted(session.folder.path)}"])
        print(f"derive:     python -m nas.derive run=<search> {table_word}", flush=True)

    def _about(self, session: Any) -> dict[str, Any]:
        config = self.config
        return {
            "space": config.space.name,
            "dataset": config.dataset.name,
            "recipe": config.recipe.name,
            "hardware": config.hardware.name,
            "sizes": plain(OmegaConf.create(sizes_of(config, self.space))),
            "image_shape": list(self.source.image_shape),
            "num_classes": self.source.num_classes,
            "warmup": config.latency.warmup,
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "versions": versions(),
        }


def command_for_supernet(config: DictConfig, space: Any) -> str:
    """The command that measures the operations of a search's supernet, the channels that are mixed."""
    sizes: dict[str, Any] = {name: getattr(space, name, None) for name in space.recipe_sizes}
    if "init_channels" in sizes:
        sizes["init_channels"] //= getattr(space, "partial", 1)
    typed = {name: list(size) if isinstance(size, tuple) else size for name, size in sizes.items()}
    widths = [f"++recipe.{name}={size}" for name, size in typed.items()]
    return command_for("latency", config, last=widths, hardware=False)


def check_pieces(space: Any) -> None:
    """Raises `ConfigError` for a space whose networks nobody has cut into pieces."""
    require(
        hasattr(space, "pieces"),
        f"space={space.name}: there is no table of its operations, for its networks are not cut into pieces; "
        "nas.derive with latency.table=null measures such networks whole",
    )


def pieces_of(config: DictConfig, space: Any, source: Any) -> Any:
    """The evaluation networks that a configuration sizes, cut into pieces."""
    return space.pieces(of_space(space).inputs(source), **_sizes(config, space))


def _sizes(config: DictConfig, space: Any) -> dict[str, Any]:
    return {name: size for name, size in sizes_of(config, space).items() if name in space.recipe_sizes}
