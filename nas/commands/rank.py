"""`python -m nas.rank`: zero-cost measures of architectures, and how far they rank as training does."""

from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig

from nas.analysis.sampling import every_architecture
from nas.analysis.surrogates import LookUp
from nas.commands.costs import refuse as refuse_costs
from nas.commands.rank_devices import run_devices
from nas.commands.rating import measures_of, rater_of, reads_images, split_of
from nas.commands.tables import look_up_of
from nas.domains.choose import choose
from nas.domains.networks import (
    check_sizes,
    genotype_of,
    genotypes_in,
    size_overrides,
    source_of,
    space_of,
)
from nas.engine import trainer
from nas.engine.machine import hardware
from nas.engine.progress import watch
from nas.errors import require, require_whole
from nas.genotype import Genotype, place_of
from nas.measure.latencies import random_architectures
from nas.measure.rank_report import Rows, draw, numbers_of, print_table
from nas.measure.zero_cost import SIZES
from nas.running.config import typed_keys
from nas.running.session import Session

ALL = "all"


def run(config: DictConfig, path: Path) -> None:
    """Measures as configured and writes `ranks.csv`; see `conf/rank.yaml` for every key.

    Raises:
        ConfigError: a setting cannot be used.
        RunFailed: a measurement broke down.
    """
    require(config.resume is None, f"resume={config.resume}: a ranking cannot be continued; start it anew")
    if config.tabular.get("costs") is not None:
        run_devices(config, path)
        return
    typed = typed_keys()
    require(
        config.genotypes is None or "sample" not in typed,
        f"sample={config.sample}: without effect beside genotypes=, which names the architectures",
    )
    if config.sample != ALL:
        require_whole("sample", config.sample, 1)
    trainer.quiet()
    hardware.check_hardware(config.hardware)
    hardware.use_device(config.hardware)
    session = Session(config, path)
    ranking = Ranking(session.config)
    session.open(None if ranking.split is None else ranking.split.to_dict())
    session.run(lambda: ranking.run(session))


class Ranking:
    """One ranking: everything that can be refused is built on construction."""

    def __init__(self, config: DictConfig):
        self.config = config
        self.space, self.source = space_of(config), source_of(config)
        domain = choose(self.space, self.source)
        self.measures = measures_of([*config.measures, *SIZES], "measures", domain)
        check_sizes(config, self.space)
        self.tabular = self._table()
        self.genotypes = self._genotypes()
        self.split = split_of(config, self.source) if reads_images(self.measures) else None
        parts = (self.space, self.source, self.measures, self.split)
        self.rater = rater_of(config, *parts, config.batches, "batches", config.init_seed)

    def _table(self) -> LookUp | None:
        refuse_costs(self.config)
        found = look_up_of(self.config, self.space, self.config.dataset.name)
        require(
            found is None or found.metric is not None,
            "tabular.metric=auto: no column of the table belongs to this data set; set it to one of "
            + ("" if found is None else ", ".join(found.accuracies)),
        )
        return found

    def _genotypes(self) -> list[Genotype]:
        config, space, named = self.config, self.space, self.config.genotypes
        if isinstance(named, ListConfig):
            require(len(named) > 0, "genotypes=[]: it names no architecture")
            return list(dict.fromkeys(genotype_of(config, space, one) for one in named))
        if named is not None:
            place, which = place_of(named)
            if place is not None and place.is_file() and which is None:
                return genotypes_in(config, space, place)
            return [genotype_of(config, space, named)]
        if config.sample == ALL:
            return every_architecture(space, f"sample={ALL}")
        return random_architectures(space, config.sample, config.seed, "sample")

    def run(self, session: Any) -> None:
        """Measures, row by row, then sums up, draws and prints."""
        rows = Rows(session.folder, list(self.measures), self.tabular)
        for genotype in watch("measuring", self.genotypes):
            rows.add(genotype, self.rater(genotype))
        session.summary |= self._about() | numbers_of(rows, self.rater.seconds)
        draw(rows, session.folder, session.caption)
        print_table(rows, self.rater.seconds, ", ".join(size_overrides(self.config, self.space)))
        print(f"run folder: {session.folder.path}", flush=True)

    def _about(self) -> dict[str, Any]:
        config = self.config
        images = {} if self.split is None else {"batch_size": config.dataset.batch_size}
        return {
            "init_seed": config.init_seed,
            "network": size_overrides(config, self.space),
            **images,
            **({"batches": len(self.rater.batches), "split_hash": self.split.hash} if self.split else {}),
        }
