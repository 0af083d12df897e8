"""`python -m nas.bench`: what a search step costs, against the literal supernet and the machine's best."""

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from hydra import compose
from omegaconf import DictConfig

from nas.analysis.cost.counting import supernet_cost
from nas.analysis.cost.timing import MatrixProduct, Race, spread
from nas.commands.bench_evaluation import EvaluationRivals
from nas.data.class_weights import stand_in_weights
from nas.domains.choose import choose
from nas.domains.networks import check_sizes, source_of, space_of
from nas.engine import trainer
from nas.engine.data_module import SearchData, search_split
from nas.engine.machine import hardware
from nas.engine.search_module import SearchModule
from nas.engine.shortened import shorten
from nas.engine.stages import introduce, space_of_stage
from nas.errors import ConfigError, require, require_whole
from nas.measure.bench_data import measure_data, read_images
from nas.measure.bench_loop import Loops, measure_loop
from nas.measure.bench_report import head, print_tables, relate
from nas.measure.bench_variants import about_counts, about_share, about_stage, share_out, stage_supernet
from nas.measure.literals import SIZES, build_literal, find_literal
from nas.measure.operation_times import time_operations
from nas.measure.original_steps import OriginalSteps
from nas.measure.steps import SearchSteps, apply_hardware, draw_alive, numerics
from nas.methods.layout import layout_of
from nas.methods.relaxations import Softmax
from nas.running.config import instantiate, plain, typed_keys
from nas.running.session import Session

STEPS = ("weight", "first_order", "second_order", "second_order_exact")


def run(config: DictConfig, path: Path) -> None:
    """Measures as configured and writes `bench.json`; see `conf/bench.yaml` for every key.

    Raises:
        ConfigError: a setting cannot be used.
        RunFailed: the measurement broke down.
    """
    unknown = sorted(set(config.bench.steps) - set(STEPS))
    require(not unknown, f"bench.steps: unknown steps {unknown}; known are {', '.join(STEPS)}")
    for name in ("rounds", "second_order_rounds", "warmup", "loop_rounds"):
        require_whole(f"bench.{name}", config.bench[name], 1)
    require(config.resume is None, f"resume={config.resume}: a benchmark cannot be continued; start it anew")
    trainer.quiet()
    if config.get("shorten_stages"):
        shorten(config, typed_keys())
    hardware.check_hardware(config.hardware)
    hardware.use_device(config.hardware)
    session = Session(config, path)
    bench = Bench(config, path)
    session.open(None)
    session.run(lambda: _write(session, bench.measure()))


class Bench:
    """All that one call measures, in common rounds; every part from the same seed, counted uncompiled."""

    def __init__(self, config: DictConfig, path: Path):
        self.config = config
        self.space = space_of(config)
        if config.bench.evaluation:
            check_sizes(config, self.space)
        self.source = source_of(config)
        self.domain = choose(self.space, self.source)
        self.inputs = self.domain.inputs(self.source)
        self.weights = stand_in_weights(plain(config.dataset).get("class_weights"), self.source)
        self.task = self.domain.task(self.space, None, self.weights, self.source)
        self.hardware = plain(config.hardware)
        self.where = numerics(self.hardware)
        self.race = Race(self.where.device, config.bench.warmup)
        self.result: dict[str, Any] = {}
        self.alive: list[dict[str, Any]] = []
        self.stages: list[dict[str, Any]] = []  # all of them; the first is what is measured besides
        self.names: list[str] = []  # of the steps that this search has
        self.domain.check_bench(config.bench, self.space, self.source)
        for share in config.bench.alive:
            self._draw_alive(share)
        # What cannot be had is found missing here, before minutes have been spent on measuring.
        self.reference = self._reference_class() if config.bench.reference else None
        about = (self.space, self.source, self.domain, self.weights)
        self.evaluation = EvaluationRivals(config, *about) if config.bench.evaluation else None
        data, at_hand = config.bench.data, config.dataset.root is None and self.domain.words(config) is None
        self.images = read_images(self.source) if (at_hand if data is None else data) else None
        self.loops = self._build_loops(path) if config.bench.loop else None

    def measure(self) -> dict[str, Any]:
        """Warms up, counts and times everything; returns what `bench.json` holds."""
        settings = self.config.bench
        if settings.steps:
            self._enter_search()
        if settings.steps and settings.reference:
            self._enter_reference()
        for index, share in enumerate(settings.alive):
            alive = self._draw_alive(share)
            self.alive.append(about_share(share, alive) | self._enter_other(f"alive_{index}_", alive=alive))
        for index in range(1, len(self.stages)):
            self.stages[index] |= self._enter_other(f"stage_{index}_", stage=index)
        if settings.validation:
            self._enter_validation()
        if self.evaluation is not None:
            self.result |= self.evaluation.enter(self.race)
        product = MatrixProduct(settings.matmul_size, self.where.device, self.where.matrix_type())
        self.race.enter("matmul", product)
        rounds = {
            name: settings.second_order_rounds if "second_order" in name else settings.rounds
            for name in self.race.variants
        }
        found = {name: spread(values) for name, values in self.race.seconds(rounds).items()}
        self.result["gflops_matmul"] = product.flops / found.pop("matmul")["median"] / 1e9
        found = share_out(found, self.names, self.alive, self.stages)
        result = {f"{name}_seconds": value for name, value in found.items()} | self.result
        result |= {"alive": self.alive} if self.alive else {}
        result |= {"stages": self.stages} if self.stages else {}
        data = {}
        if self.images is not None:
            dataset = plain(self.config.dataset)
            data = measure_data(self.source, self.images, dataset, settings.data_seconds, settings.rounds)
        loop = {}
        if self.loops is not None:
            print("measuring loader, loop and record", flush=True)
            loop = measure_loop(self.loops, settings.loop_rounds, self.config.trainer.max_epochs)
        words = self.domain.words(self.config)
        return result | relate(result, self.config.dataset.batch_size, words) | data | loop

    def _build_loops(self, path: Path) -> Any:
        """What an epoch of this search is made of: real splits, and two equal networks to train on them."""
        config, dataset = self.config, self.config.dataset
        split = search_split(
            self.source, dataset.split, dataset.split_ratio, dataset.fraction, config.split_seed
        )
        data = SearchData(
            self.source,
            dataset.batch_size,
            config.seed,
            plain(dataset.augment),
            dataset.cutout,
            dataset.num_workers,
            self.hardware["channels_last"],
            split=split,
        )
        data.prepare()
        steps = self._steps(self.hardware)
        torch.manual_seed(config.seed)
        method = self._method()
        supernet = self.space.supernet(self.inputs, **method.supernet_options)
        module = SearchModule(apply_hardware(supernet, self.hardware), method, self.task)
        return Loops(
            steps, module, data, self.space, self.hardware, path, config.bench.loop_steps, config.seed
        )

    def _enter(self, steps: Any, prefix: str = "") -> dict[str, int]:
        """Warms the steps up before they are timed; returns their peak memory."""
        names = [name for name in self.config.bench.steps if steps.step(name) is not None]
        for name in names:
            print(f"warming up {prefix}{name}", flush=True)
            self.race.enter(prefix + name, steps.step(name))
        return {name: self.race.peaks[prefix + name] for name in names}

    def _method(self) -> Any:
        groups = self.space.groups
        shapes = {name: group.shape for name, group in groups.items()}
        method = instantiate(self.config.method, shapes=shapes, layout=layout_of(groups))
        introduce(method, self.space, self.inputs)
        return method

    def _batches(self, where: Any) -> tuple:
        return tuple(self._batch(where, self.config.dataset.batch_size, seed) for seed in (1, 2))

    def _batch(self, where: Any, size: int, seed: int) -> Any:
        return self.domain.batch(self.config, self.source, where, size, seed)

    def _steps(self, hardware: dict, alive: dict | None = None, stage: int = 0) -> Any:
        """Our steps with the options of a hardware profile, on what is `alive` ({group: bool [E, O]}).

        Of a search in stages on the network of one of them.
        """
        torch.manual_seed(self.config.seed)
        method = self._method()
        if alive is not None:
            method.drop(alive)
        if method.stages is None:
            supernet = self.space.supernet(self.inputs, kept=alive, **method.supernet_options)
        else:
            supernet = stage_supernet(self.space, method, self.inputs, stage)
        network, where = apply_hardware(supernet, hardware), numerics(hardware)
        time_operations(method, self.config.dataset.batch_size, where.device.type)
        weight, architecture = self._batches(where)
        return SearchSteps(network, method, weight, architecture, where, self.task)

    def _enter_search(self) -> None:
        steps = self._steps(self.hardware)
        asked = self.config.bench.steps
        self.names = [name for name in asked if steps.step(name) is not None]
        require(
            len(self.names) > 0,
            f"bench.steps={list(asked)}: method={self.config.method.name} has none of them; it steps its "
            "scaling factors with first_order alone",
        )
        peaks = self._enter(steps)
        if steps.method.relaxation.one_path and "weight" in self.names:
            # What drawing one path saves: the same search with all candidates in every pass.
            self.race.enter("full_weight", self._full_steps().weight)
        counts = self._steps(self.hardware | {"compile": False}).counts()
        size = about_counts(self._cost(steps.method), counts)
        for index in range(len(steps.method.stages or ())):
            self.stages.append(about_stage(steps.method, index) | size if index == 0 else {})
        self.result |= size | {
            "operators_with_views": counts.operators.total,
            "peak_memory": peaks.get("weight", max(peaks.values())),
            "peak_memory_by_step": peaks,
            "steps_left_out": [name for name in asked if name not in self.names],
        }

    def _full_steps(self) -> Any:
        """The steps of a method that draws paths as if all candidates were mixed by a softmax."""
        torch.manual_seed(self.config.seed)
        method = self._method()
        method.relaxation = Softmax()
        network = apply_hardware(self.space.supernet(self.inputs), self.hardware)
        weight, architecture = self._batches(self.where)
        return SearchSteps(network, method, weight, architecture, self.where, self.task)

    def _draw_alive(self, share: float) -> dict:
        """A random share of the connections, cleaned; the same for the same seed."""
        require(
            self._method().drops_candidates,
            f"bench.alive={list(self.config.bench.alive)}: method={self.config.method.name} drops no "
            "connections one by one; choose method=dsonas, or bench.alive=[]",
        )
        require(
            len(self.config.bench.steps) > 0,
            "bench.alive: measures bench.steps on smaller networks, and there are none; name some",
        )
        return draw_alive(self.space, share, self.config.seed)

    def _enter_other(self, prefix: str, **which: Any) -> dict[str, Any]:
        """The steps on another network of the same search; returns its size."""
        steps = self._steps(self.hardware, **which)
        self._enter(steps, prefix)
        counts = self._steps(self.hardware | {"compile": False}, **which).counts()
        size = about_counts(self._cost(steps.method, **which), counts)
        return size | (about_stage(steps.method, which["stage"]) if "stage" in which else {})

    def _cost(self, method: Any, alive: dict | None = None, stage: int = 0) -> Any:
        partial = None if method.stages is None else method.stages[stage].partial
        kept = alive if method.stages is None else method.kept()
        return supernet_cost(space_of_stage(self.space, method, stage), self.inputs, partial, kept)

    def _reference_class(self) -> Callable:
        own = self.space.path_reference if self._method().relaxation.one_path else self.space.reference
        target = self.config.bench.reference_target or own
        if target is None:
            raise ConfigError(
                f"bench.reference=true: there is no literal supernet of space {self.space.name}; give one as "
                "bench.reference_target, or set bench.reference=false"
            )
        return find_literal(target, "bench.reference")

    def _original_steps(self) -> OriginalSteps:
        """The steps of the authors' code on a literal supernet."""
        settings = self.config.bench
        torch.manual_seed(self.config.seed)
        groups = self.space.groups
        known = {name: getattr(self.space, name) for name in SIZES if hasattr(self.space, name)}
        known |= {"space": self.space, "groups": groups}
        known["operations"] = next(iter(groups.values())).operations[0]
        stages = self._method().stages
        known |= {} if stages is None else {"partial": stages[0].partial}
        assert self.reference is not None
        network = build_literal(self.reference, known | asdict(self.inputs))
        where = replace(self.where, channels_last=settings.reference_channels_last)
        network = self.domain.reference(network, self.space)
        network = network.to(where.device, where.dtype).to(memory_format=where.layout())
        own = (network, self._method(), *self._batches(where))
        return OriginalSteps(*own, where, self.task, alpha_gradients=settings.reference_alpha_gradients)

    def _enter_reference(self) -> None:
        steps = self._original_steps()
        peaks = self._enter(steps, "reference_")
        reference = steps.counts()
        gpu = self._steps(self._gpu_profile()).counts()
        self.result |= {
            "reference_bytes_saved": reference.bytes_saved,
            "reference_operators": reference.operators.computing,
            "reference_peak_memory": peaks.get("weight", max(peaks.values())),
            "bytes_ratio": self.result["bytes_saved"] / reference.bytes_saved,
            "operators_ratio": self.result["operators"] / reference.operators.computing,
            "gpu_bytes_ratio": gpu.bytes_saved / reference.bytes_saved,
            "gpu_operators_ratio": gpu.operators.computing / reference.operators.computing,
        }

    def _gpu_profile(self) -> dict:
        """The options of the `gpu` profile on the CPU: the same counts, in the reference's precision."""
        hardware = plain(compose("bench", overrides=["hardware=gpu"]).hardware)
        return hardware | {"accelerator": "cpu", "compile": False, "precision": self.hardware["precision"]}

    def _enter_validation(self) -> None:
        """The pass of a validation over one batch, and the literal supernet's."""
        rivals: dict[str, SearchSteps] = {"validation": self._steps(self.hardware)}
        if self.reference is not None:
            rivals["reference_validation"] = self._original_steps()
        for name, steps in rivals.items():
            print(f"warming up {name}", flush=True)
            self.race.enter(name, steps.validation)


def _write(session: Any, result: dict[str, Any]) -> None:
    result = head(session.config) | result
    session.folder.write_json("bench.json", result)
    print_tables(result)
    print(f"run folder: {session.folder.path}", flush=True)
