"""`python -m nas.derive`: architectures from a search's learnt distribution that keep a budget, ranked."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from nas.analysis.cost.complexity import count_cost
from nas.analysis.cost.latency import check_repeats
from nas.analysis.cost.latency_table import Predictor
from nas.analysis.cost.pricing import EdgePrices, WholePrices
from nas.analysis.sampling import (
    COSTS,
    PRICED,
    Architecture,
    Budget,
    draw_architectures,
    log_probability,
    pareto_front,
)
from nas.commands.derive_front import folders_of, refuse_table, run_front
from nas.commands.derive_ranking import check_typed, ranking_of
from nas.commands.derived_run import resize, with_run
from nas.commands.latency import check_pieces, pieces_of
from nas.commands.same_files import handed_on
from nas.domains.budgets import what_fits
from nas.domains.choose import of_space
from nas.domains.networks import (
    batch_overrides,
    network_of,
    size_overrides,
    sizes_of,
    source_of,
    space_of,
)
from nas.engine import checkpoints, trainer
from nas.engine.machine import hardware
from nas.engine.progress import watch
from nas.engine.rows import count_skips
from nas.engine.seeding import seed_run
from nas.engine.watching import of_result
from nas.errors import ConfigError, require, require_one_of, require_whole
from nas.measure.derivation_latency import Latencies, table_here
from nas.measure.derivation_report import (
    cheapest,
    draw,
    nothing_left,
    numbers_of,
    print_table,
    write_genotypes,
    write_table,
)
from nas.measure.derivation_skips import derive_with_skips, limit_skips
from nas.measure.inheritance import check_batches, load_part
from nas.methods.layout import layout_of
from nas.running.config import instantiate, plain, typed_keys
from nas.running.printed import command_for, command_of
from nas.running.session import Session

AGAIN = "a derivation cannot be continued; start it anew"
AXES = {
    "params": "parameters (M)",
    "macs": "multiply-adds per {unit} (M)",
    "latency": "latency of a batch (ms)",
}


def run(config: DictConfig, path: Path) -> None:
    """Derives as configured; see `conf/derive.yaml` for every key.

    Raises:
        ConfigError: a setting cannot be used, or no architecture that was drawn keeps the budget.
        RunFailed: the derivation broke down.
    """
    several = folders_of(config.run)
    if several is not None:
        require(config.resume is None, f"resume={config.resume}: {AGAIN}")
        run_front(config, path, several)
        return
    refuse_table(config)
    budget = Budget(**plain(config.budget))
    for key, known in (("cost", ("edges", "whole")), ("front", (None, *COSTS))):
        require_one_of(key, config[key], known)
    for key in ("samples", "keep", "rank_candidates", "latency.candidates", "latency.batch_size"):
        require_whole(key, OmegaConf.select(config, key), 1)
    check_repeats(config.latency.warmup, config.latency.repeats)
    check_batches(config.supernet.batches, config.supernet.recalibrate_batches)
    check_typed(config)
    _check_latency(config)
    require(config.resume is None, f"resume={config.resume}: {AGAIN}")
    require(config.run is not None, "run=null: name the run folder of a search")
    trainer.quiet()
    hardware.check_hardware(config.hardware)
    hardware.use_device(config.hardware)
    session = Session(with_run(config), path)
    seed_run(config.seed)
    derivation = Derivation(session.config, budget, session.folder)
    session.open(None, handed_on(Path(session.config.run)))
    session.run(lambda: derivation.run(session))


def _is_timed(config: DictConfig) -> bool:
    """Whether latencies are measured or predicted."""
    asked = config.budget.latency is not None or config.front == "latency"
    return asked or config.latency.table is not None


def _check_latency(config: DictConfig) -> None:
    """Raises `ConfigError` for a typed key of latencies where none is measured, or no table is read."""
    typed = sorted(key for key in typed_keys() if key.startswith("latency.") and key != "latency.table")
    require(
        _is_timed(config) or not typed,
        f"{', '.join(typed)}: without effect, since no latency is measured; set budget.latency, "
        "front=latency or latency.table",
    )
    of_table = [key for key in typed if key in ("latency.any_device", "latency.fitted")]
    require(
        config.latency.table is not None or not of_table,
        f"{', '.join(of_table)}: without effect where latency.table=null",
    )


class Derivation:
    """One derivation: everything that can be refused is built on construction."""

    def __init__(self, config: DictConfig, budget: Any, folder: Any):
        self.config, self.budget, self.folder = config, budget, folder
        self.space = space_of(config)
        shapes = {name: group.shape for name, group in self.space.groups.items()}
        self.method = instantiate(config.method, shapes=shapes, layout=layout_of(self.space.groups))
        self.space = limit_skips(self.space, self.method.max_skips)
        # The relaxation first: a method without a distribution has none however it was trained.
        require(
            self.method.relaxation.distribution,
            f"run={config.run}: method {self.method.name} has no distribution to draw from: its "
            f"relaxation ({type(self.method.relaxation).__name__}) has none, and the run's genotype.json is "
            "what its architecture parameters stand for",
        )
        require(
            self.method.trains,
            f"run={config.run}: method {self.method.name} learns no distribution to draw from",
        )
        self.domain = of_space(self.space)
        checkpoint, self.epochs = of_result(Path(config.run))
        if checkpoint is None:
            raise ConfigError(f"run={config.run}: it has no checkpoint yet")
        self.checkpoint = checkpoint
        self.state = checkpoints.load(self.checkpoint)["state_dict"]
        load_part(self.method, self.state, "method", self.checkpoint)
        self.method.begin_epoch(self.epochs - 1, config.get("epochs") or self.epochs)
        self.source = source_of(config)
        kinds: dict[str, type[EdgePrices] | type[WholePrices]] = {"edges": EdgePrices, "whole": WholePrices}
        self.prices = kinds[config.cost](self._price)
        self.ranking = ranking_of(self)
        limited = [name for name in AXES if getattr(budget, name) is not None]
        self.axis = config.front or next(iter(limited), "params")
        self.latencies: Any = self._latencies() if _is_timed(config) else None

    def _price(self, genotype: Any, config: DictConfig | None = None) -> tuple[int, int]:
        sized = self.config if config is None else config
        example = self.domain.inputs(self.source).example
        cost = count_cost(lambda: network_of(sized, self.space, genotype, self.source), example)
        return cost.params, cost.macs

    def _latencies(self) -> Any:
        config, settings, hardware = self.config, plain(self.config.latency), plain(self.config.hardware)
        predict, clock = None, "wall"
        if settings["table"] is not None:
            check_pieces(self.space)
            table, self.here = table_here(settings, hardware)
            clock = table.conditions.clock if self.here else "wall"
            batch = f"latency.batch_size={settings['batch_size']}"
            sizes = [f"++{one}" for one in size_overrides(config, self.space)]
            here = [] if hardware["name"] == "cpu" else [f"hardware={hardware['name']}"]
            here += [f"hardware.threads={hardware['threads']}"] if hardware["threads"] else []
            again = command_for("latency", config, last=[*sizes, batch, *here], hardware=False)
            where = f"latency.table={settings['table']}"
            pieces = pieces_of(config, self.space, self.source)
            predict = Predictor(table, pieces, again, settings["fitted"], where)
        return Latencies(
            lambda genotype: network_of(config, self.space, genotype, self.source),
            lambda where, size: self.domain.noise(config, self.source, where, size, config.seed),
            settings,
            hardware,
            clock,
            predict,
        )

    def run(self, session: Any) -> None:
        """Draws, prices, filters, ranks and writes."""
        config, budget, latencies = self.config, self.budget, self.latencies
        found, derived = self._draw(session)
        self._price_all(found)
        affordable = [one for one in found if budget.keeps(one, PRICED)]
        if self.predicts:
            latencies.predict_all(found)
        elif latencies is not None:
            latencies.measure_all(_with(affordable[: config.latency.candidates], derived))
        within = [one for one in affordable if budget.keeps(one)]
        if self.ranking.evaluates and within:
            self._evaluate(within[: config.rank_candidates], derived)
        score = self.ranking.score
        scored = [one for one in found if self.ranking.knows(one) and self._cost(one) is not None]
        for one, front in zip(
            scored,
            pareto_front([self._cost(one) for one in scored], [score(one) for one in scored]),
            strict=True,
        ):
            one.front = front
        ranked = sorted(filter(self.ranking.knows, within), key=score, reverse=True)
        require(
            bool(ranked) or not within,
            f"rank={config.rank}: it is no finite number for any of the {len(within):,} architectures within "
            "the budget; set rank=probability",
        )
        kept = ranked[: config.keep]
        if self.predicts and self.here:
            kept = latencies.confirm(ranked, config.keep, budget)
            latencies.measure_all([derived] if derived.latency is None else [])
            within, ranked = ([one for one in some if budget.keeps(one)] for some in (within, ranked))
        session.summary |= {
            "within_budget": len(within),
            "ranked": len(ranked),
            "networks_built": self.prices.built,
        }
        write_table(self.folder, ranked, found, budget, session.summary["draws"])
        if scored:
            axes = {name: text.format(unit=self.domain.unit) for name, text in AXES.items()}
            if self.predicts:
                axes["latency"] = f"predicted {axes['latency']}"
            scores = (score, axes, self.ranking.label, session.caption)
            draw(self.folder, scored, derived, budget, self.axis, self._cost, *scores)
        if not kept:
            raise ConfigError(nothing_left(found, budget, affordable, self.folder, self._fitting(found)))
        for one in {one.genotype for one in kept} | {derived.genotype}:
            self.prices.check(one)
        write_genotypes(self.folder, kept, session.caption)
        session.summary |= numbers_of(kept[0], derived, budget)
        print_table(kept, derived, budget, session.summary["draws"], self.ranking.label)
        self._close(kept[0])

    def _draw(self, session: Any) -> tuple[list, Any]:
        generator = torch.Generator().manual_seed(self.config.seed)
        groups = self.space.groups
        draws = draw_architectures(
            lambda count: self.method.sample_strengths(count, generator),
            self.space.derive,
            groups,
            self.config.samples,
            watch=lambda sizes: watch("drawing", sizes),
        )
        table = self.method.log_probability_table()
        plain_one = self.space.derive(self.method.scores())
        undrawn = {plain_one}
        if self.budget.skips is not None:
            # Where a search has collapsed, few draws have so few.
            scores, kept = self.method.scores(), self.method.kept()
            undrawn.add(derive_with_skips(self.space.derive, scores, groups, self.budget.skips, kept))
        found = [
            Architecture(
                one,
                log_probability(one, groups, table),
                count,
                derived=one == plain_one,
                skips=count_skips(one),
            )
            for one, count in {**dict.fromkeys(undrawn, 0), **draws.counts}.items()
        ]
        # Frequency decides between equals, and the text last, so that the order never depends on the draws'.
        found.sort(key=lambda one: (-one.log_probability, -one.count, str(one.genotype)))
        session.summary |= {
            "run": self.config.run,
            "epochs": self.epochs,
            **{f"budget_{name}": limit for name, limit in plain(self.config.budget).items()},
            "rank": self.config.rank,
            "draws": draws.total,
            "distinct": len(draws.counts),
            "exact_probability": draws.edgewise,
        }
        print(f"{draws.total:,} draws, {len(draws.counts):,} distinct architectures", flush=True)
        return found, next(one for one in found if one.derived)

    def _price_all(self, found: Sequence[Any]) -> None:
        for one in watch("pricing", found):
            one.params, one.macs = self.prices(one.genotype)
        print(f"{len(found):,} priced from {self.prices.built:,} networks", flush=True)
        if len(found) > 1 and len({(one.params, one.macs) for one in found}) == 1:
            print(
                f"all cost the same, {found[0].params:,} parameters and {found[0].macs:,} multiply-adds "
                f"per {self.domain.unit}: neither tells them apart",
                flush=True,
            )

    def _fitting(self, found: Sequence[Any]) -> str:
        """The smaller sizes with which the cheapest of the architectures would keep the budget, in words."""
        budget = self.budget
        if budget.params is None and budget.macs is None:
            return ""
        genotype = cheapest(found, budget).genotype

        def within(changed: Mapping[str, Any]) -> bool:
            config = self.config.copy()
            resize(config, changed)
            params, macs = self._price(genotype, config)
            return budget.keeps(Architecture(genotype, 0.0, params=params, macs=macs), ("params", "macs"))

        return what_fits(sizes_of(self.config, self.space), within)

    def _evaluate(self, candidates: Sequence[Any], derived: Any) -> None:
        for one in watch("evaluating", _with(candidates, derived)):
            self.ranking.evaluate(one)
        print(f"{len(candidates):,} {self.ranking.done}", flush=True)

    @property
    def predicts(self) -> bool:
        """Whether a table says what the draws take."""
        return self.latencies is not None and self.latencies.predict is not None

    def _cost(self, one: Any) -> Any:
        # One scale for all: few of those that a table knows are measured too.
        return one.predicted if self.predicts and self.axis == "latency" else getattr(one, self.axis)

    def _close(self, best: Any) -> None:
        batch = batch_overrides(self.config, self.source)
        print(f"\n{best.genotype}")
        print(f"run folder: {self.folder.path}")
        print(f"evaluate:   {command_of('evaluate', self.config, self.folder.path, batch)}", flush=True)


def _with(candidates: Sequence[Any], derived: Any) -> list[Any]:
    return [*candidates, *([] if any(one is derived for one in candidates) else [derived])]
