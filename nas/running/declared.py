"""What the files under conf/ declare: every key, the kinds of its values, and what YAML cannot say of them.

A value in a file shows its kind. What a null may become, and how large a number may get before a run would
rather hang than fail, is declared here.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from nas.running.kinds import Kind, kind, of_examples

PACKAGE = Path(__file__).resolve().parents[1]
# Installed within the package, and at the top of a checkout, which is None where there is none.
CHECKOUT = None if (PACKAGE / "conf").is_dir() else PACKAGE.parent
CONF = (CHECKOUT or PACKAGE) / "conf"
# Groups whose files set keys of the root, not of a group of their own name.
GLOBAL = ("experiment", "debug", "paths", "sweep", "protocol")
HYDRA_KEYS = ("_target_", "_partial_", "_args_", "_recursive_", "_convert_")
# Keys that take more, or less, than their values in the files show. `key@command` is for that command alone.
KINDS: Mapping[str, Kind] = {
    "resume": kind("str null"),
    "search": kind("map"),
    "select": kind("map null"),
    "evaluate": kind("map null"),
    **{f"{phase}.experiment": kind("str null") for phase in ("search", "select", "evaluate")},
    **{f"{phase}.overrides": kind("list", items="str") for phase in ("search", "select", "evaluate")},
    "overrides": kind("list", items="str"),
    "search.grid": Kind(frozenset(["list"]), items=kind("list", items="str")),
    "select.epochs": kind("int null", 1, 10**6),
    "select.valid": kind("float null"),
    "select.figure": kind("str null"),
    "row": kind("str null"),
    "debugging": kind("str null"),
    "genotype": kind("str int null"),
    "model": kind("str int null"),
    "input": kind("str int null"),
    "genotypes": Kind(frozenset(["str", "list", "null"]), items=kind("str")),
    "sample": kind("int str", 1, 10**6),
    "init_seed": kind("int", 0, 2**32 - 1),
    "epoch": kind("int null", 0, 10**6),
    "resume_schedule": kind("str null"),
    "time_limit": kind("float null"),
    "size": kind("str null"),
    "time": kind("float null"),
    "dataset.sizing": kind("str null"),
    "dataset.class_weights": kind("str list null", items="float"),
    "dataset.sampling": kind("str null"),
    "metrics": kind("list", items="str"),
    "random_cells": kind("str null"),
    "outputs": kind("str"),
    "trust": Kind(frozenset(["str", "list", "null"]), items=kind("str")),
    "budget.queries": kind("int null", 1, 10**7),
    "budget.seconds": kind("float null"),
    "reward.file": kind("str null"),
    "reward.epochs": kind("int null"),
    "reward.seconds": kind("str null"),
    "budget.macs": kind("float null"),
    "budget.params": kind("float null"),
    "method.budget.macs": kind("float null"),
    "method.budget.params": kind("float null"),
    "method.cost.budget": kind("float null"),
    "method.cost.table": kind("str null"),
    "method.relaxation": kind("str map"),
    "method.update": kind("str map null"),
    "method.perturbation": kind("map null"),
    "budget.latency": kind("float null"),
    "budget.skips": kind("int null", 0, 10**4),
    "checkpoint@export": kind("str null"),
    "pictures": kind("str null"),
    "run": kind("str null"),
    "run@derive": Kind(frozenset(["str", "list", "null"]), items=kind("str")),
    "choice": kind("int null", 1, 10**7),
    "init": kind("str null"),
    "front": kind("str null"),
    "folder": kind("str null"),
    "figure": kind("str null"),
    "over": kind("list", items="str"),
    "baseline": kind("str null"),
    "output": kind("str null"),
    "entity": kind("str null"),
    "level": kind("float", 0, 1),
    "bench.data": kind("bool null"),
    "bench.steps": kind("list", items="str"),
    "bench.alive": kind("list", items="float"),
    "bench.reference_target": kind("str null"),
    "bench.rounds": kind("int", 1, 10**6),
    "bench.second_order_rounds": kind("int", 1, 10**6),
    "bench.loop_rounds": kind("int", 1, 10**6),
    "latency.rounds": kind("int", 1, 10**6),
    "latency.table": kind("str null"),
    "seed": kind("int", 0, 2**32 - 1),
    "split_seed": kind("int", 0, 2**32 - 1),
    "trainer.profiler": kind("str map null"),
    "processes.timeout": kind("float", 0, 31_536_000),
    "dataset.root": kind("str null"),
    "dataset.file": kind("str null"),
    "dataset.labels": kind("str null"),
    "dataset.test_file": kind("str null"),
    "dataset.test_labels": kind("str null"),
    "dataset.batch_size@derive": kind("int null", 1, 2**20),
    "dataset.lists": kind("map null"),
    "dataset.lists.weight": kind("str null"),
    "dataset.lists.architecture": kind("str null"),
    "dataset.source.skipped": kind("list null", items="str"),
    "hardware.devices": kind("int str list", items="int"),
    "hardware.memory_gib": kind("float null"),
    "hardware.precision": kind("int str"),
    "hardware.threads": kind("int null", 1, 1024),
    "logger.entity": kind("str null"),
    "logger.group": kind("str null"),
    "logger.tags": kind("list", items="str"),
    "tabular.file": kind("str null"),
    "tabular.surrogate._target_": kind("str null"),
    "tabular.cache": kind("str null"),
    "tabular.costs": Kind(frozenset(["str", "list", "null"]), items=kind("str")),
    "tabular.cost": kind("str null"),
    "tabular.cost_floor": kind("float"),
    "tabular.cost_unit": kind("str null"),
    "tabular.budget": kind("float null"),
    "recipe.clip": kind("float null"),
    "recipe.embedding_size": kind("int null", 1, 2**14),
    "recipe.num_cells@derive": kind("int null", 1, 1000),
    "recipe.cells_per_stage@derive": kind("int null", 1, 333),
    "recipe.init_channels@derive": kind("int null", 1, 2**12),
    "recipe.hidden_size@derive": kind("int null", 1, 2**14),
}
# The last part of a key, and the range of its numbers: far beyond every paper's, and still not a hang.
RANGES: Mapping[str, tuple[int, int]] = {
    "num_cells": (1, 1000),
    "cells_per_stage": (1, 333),
    "blocks_per_stage": (1, 333),
    "num_nodes": (1, 64),
    "levels": (1, 64),
    "stem_multiplier": (1, 64),
    "edges_per_node": (1, 64),
    "init_channels": (1, 2**12),
    "hidden_size": (1, 2**14),
    "embedding_size": (1, 2**14),
    "image_size": (1, 2**12),
    "num_classes": (1, 10**6),
    "batch_size": (1, 2**20),
    "valid_batch_size": (1, 2**20),
    "test_batch_size": (1, 2**20),
    "evaluation_batch_size": (1, 2**20),
    "multiple": (1, 2**10),
    "pad": (0, 2**10),
    "cutout": (0, 2**12),
    "num_workers": (0, 256),
    "steps": (1, 10**5),
    "shortest": (1, 10**5),
    "longest": (1, 10**5),
    "max_epochs": (1, 10**6),
    "epochs": (1, 10**6),
    "warmup_epochs": (0, 10**6),
    "freeze_epochs": (0, 10**6),
    "samples": (0, 10**7),
    "rank_candidates": (1, 10**7),
    "candidates": (1, 10**7),
    "keep": (1, 10**7),
    "seeds": (1, 10**6),
    "population": (1, 10**6),
    "sample": (1, 10**6),
    "repeats": (1, 10**6),
    "loop_steps": (1, 10**6),
    "warmup": (0, 10**6),
    "validate": (0, 10**5),
    "matmul_size": (1, 2**16),
    "images": (1, 10**5),
    "batches": (1, 10**6),
    "recalibrate_batches": (0, 10**6),
}
# Keys of arguments that are no sizes, whatever they are called.
UNRANGED = re.compile(r"(trainer\.profiler|hydra)\b")


@dataclass
class Declared:
    """What the files of a command say.

    Attributes:
        name: the command.
        examples: the values of every key, by its dotted name; `{}` stands for a group of keys.
    """

    name: str
    examples: dict[str, list[Any]] = field(default_factory=dict)

    def add(self, node: Any, path: str = "") -> None:
        """Takes over the keys and values of a node; interpolations tell nothing of their kind."""
        if isinstance(node, DictConfig) and not (node._is_none() or node._is_interpolation()):
            if path:
                self.examples.setdefault(path, []).append({})
            for key in node:
                self.add(node._get_node(key), f"{path}.{key!s}".lstrip("."))
            return
        given = self.examples.setdefault(path, [])
        if node is None or node._is_interpolation() or node._is_missing():
            return
        given.append(OmegaConf.to_container(node) if OmegaConf.is_config(node) else node._value())

    def copy(self) -> "Declared":
        """The same, to be added to."""
        return Declared(self.name, {path: list(values) for path, values in self.examples.items()})

    def kind(self, path: str) -> Kind | None:
        """The kind of a key's values; None for anything."""
        return self.by_hand(path) or ranged(path, of_examples(self.examples.get(path, ())))

    def by_hand(self, path: str) -> Kind | None:
        """The kind of a key that `KINDS` names; None for others."""
        return KINDS.get(f"{path}@{self.name}", KINDS.get(path))

    def group(self, path: str) -> bool:
        """Whether a key holds a group of keys in every file that has it."""
        given = self.examples.get(path, ())
        return bool(given) and all(isinstance(one, dict) for one in given)


def ranged(path: str, found: Kind | None) -> Kind | None:
    """A kind with the range that the name of its key stands for, if it holds whole numbers and has one."""
    limits = RANGES.get(path.rsplit(".", 1)[-1])
    if limits is None or found is None or UNRANGED.match(path):
        return found
    return found.within(*limits)


def files_of(name: str) -> Iterator[tuple[str, Path]]:
    """The files that a command may read, and the key that each fills: empty for keys of the root."""
    root = CONF / f"{name}.yaml"
    yield "", root
    # Lines such as `- space: darts`, as they stand: an interpolated choice is a choice too.
    for group in re.findall(r"^ *- (\w+):", root.read_text(encoding="utf-8"), re.MULTILINE):
        for path in sorted((CONF / group).glob("*.yaml")):
            yield "" if group in GLOBAL else group, path


def read_file(path: Path) -> DictConfig:
    """A configuration file of this project as it stands; every one holds keys."""
    found = OmegaConf.load(path)
    assert isinstance(found, DictConfig)
    return found


@cache
def declared(name: str) -> Declared:
    """What the root, the options of its groups and the debug modes of a command say (experiments aside).

    Read once by a process, which may run many jobs: the answer is to be left as it is.
    """
    found = Declared(name)
    for prefix, path in files_of(name):
        node = read_file(path)
        for key in ("defaults", "hydra"):
            node.pop(key, None)
        found.add(node, prefix)
    return found


def known_keys(name: str) -> list[str]:
    """All groups and dotted keys that some configuration file of a command sets, for suggestions."""
    keys = {path.name for path in CONF.iterdir() if path.is_dir()}
    for path in CONF.rglob("*.yaml"):
        group = path.relative_to(CONF).parts[:-1]
        if not group and path.stem != name:
            continue
        prefix = "" if not group or group[0] in GLOBAL else group[0]
        found = Declared(name)
        node = read_file(path)
        node.pop("defaults", None)
        found.add(node, prefix)
        keys |= set(found.examples)
    return sorted(keys)
