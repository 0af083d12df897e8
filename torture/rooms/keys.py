"""Every key of every command set to what nobody would set it to: refused by its name, or it runs as typed."""

import random
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any
from unittest import mock

import yaml
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from nas.errors import ConfigError
from nas.running import config
from nas.running.config import CONF, register_resolvers
from nas.running.kinds import Kind
from nas.running.words import quoted, word
from tests.forks import finish
from tests.test_every_key import CASES, other
from torture.commands import Ended, held
from torture.kinds import CELLS, CELLS201, FEW, RECIPE, SPARSE, STAGES, TEXT
from torture.room import Case, Outcome, Plant
from torture.rooms.goods import Goods, picture
from torture.rooms.hostile import unlike_a_refusal, watched
from torture.rooms.samples import table

ONE = ("trainer.max_epochs=1",)
# What is typed, by name; the last one is another value that may be.
VALUES: Mapping[str, str] = MappingProxyType(
    {
        "nothing": "", "null": "null", "word": "strange", "zero": "0", "minus": "-1", "nan": "nan",
        "inf": "inf",
        "huge": "1" + "0" * 30, "list": "[1,2]", "map": "{a:1}", "fraction": "0.5", "true": "true",
        "text": "'7'",
        "large": "1e30", "nul": "'a\u202eb'", "other": "",
    }
)  # fmt: skip
# What stands for one another: of each family a seed draws one value for a key.
FAMILIES = (
    ("nothing", "null"), ("word", "map", "true", "text", "nul", "fraction"), ("zero",), ("minus",), ("nan",),
    ("inf",), ("huge", "large"), ("list",), ("other",),
)  # fmt: skip
# What a run says of itself is not what it was told; these name it, or where it is.
FREE = ("hydra",)
# What stands for a file or a folder in the words of a base.
FILLED = re.compile(r"\{(source|table|picture)\}")
# What a run that came to no numbers says.
DIVERGED = "nan or infinite"


@dataclass(frozen=True)
class Base:
    """A command whose keys are tried.

    Attributes:
        command: its name.
        words: what is typed beside the key.
        source: the run of `Goods` that `{source}` stands for; empty for none.
        writes: whether it leaves a run folder.
    """

    command: str
    words: tuple[str, ...]
    source: str = ""
    writes: bool = True


BASES: Mapping[str, Base] = MappingProxyType(
    {
        "search": Base("search", ("method=darts1", *CELLS, *ONE)),
        "search-darts2": Base("search", ("method=darts2", *CELLS201, *FEW, *ONE)),
        "search-drnas": Base("search", ("method=drnas_progressive", *CELLS, "space.init_channels=4", STAGES,
                                        "trainer.max_epochs=3")),
        "search-dsonas": Base("search", ("method=dsonas", *SPARSE, "trainer.max_epochs=3")),
        "search-gdas": Base("search", ("method=gdas", *CELLS201, *FEW, *ONE)),
        "search-enas": Base("search", ("method=enas", *CELLS201, *FEW, *ONE)),
        "search-es": Base("search", ("method=darts_es", *CELLS201, *FEW, *ONE)),
        "search-pt": Base("search", ("method=rsps", *CELLS201, *FEW, *ONE)),
        "search-text": Base("search", ("method=darts1_rnn", *TEXT, *ONE, "space.hidden_size=8")),
        "search-random": Base("search", ("method=random", *CELLS201, *FEW)),
        "evaluate": Base("evaluate", ("genotype=DARTS_V2", *RECIPE, *FEW, *ONE)),
        "evaluate-text": Base("evaluate", ("genotype=DARTS_V2", *TEXT, *ONE, "recipe.hidden_size=8",
                                           "trainer.limit_test_batches=2")),
        "derive": Base("derive", ("run={source}", "samples=4", "keep=2"), "search-darts1"),
        "export": Base("export", ("run={source}", "format=safetensors", "images=2"), "evaluate"),
        "predict": Base("predict", ("model={source}", "input={picture}"), "evaluate"),
        "cost": Base("cost", ("genotype=DARTS_V2", "dataset=digits", *RECIPE), writes=False),
        "latency": Base("latency", ("dataset=digits", "debug=fast", "traceback=false", "latency.rounds=2")),
        "rank": Base("rank", ("space=nasbench201", "dataset=digits", "recipe.cells_per_stage=1",
                              "recipe.init_channels=4", "recipe=nasbench201", "sample=2", "batches=1",
                              "dataset.batch_size=8", "measures=[synflow]")),
        "blackbox": Base("blackbox", ("tabular.file={table}", "reward.metric=cifar10_test", "seeds=2",
                                      "budget.queries=2")),
        "bench": Base("bench", ("debug=fast", "traceback=false", "bench.rounds=1",
        "bench.second_order_rounds=1")),
        "sweeps": Base("sweeps", ("folder={source}",), "sweep", writes=False),
        "report": Base("report", ("folder={source}",), "search-darts1", writes=False),
    }
)  # fmt: skip


class Keys:
    """The room."""

    name = "keys"
    about = "each key of each group: nothing, another kind, 0, -1, nan, inf, huge, a list, another value"
    holds = "refused in one line that names the key, or it runs and is built as its folder says"

    def __init__(self, folder: Path):
        self.folder, self.goods = folder, Goods(folder)

    @property
    def plants(self) -> Mapping[str, Plant]:
        """What would ignore a key."""
        return PLANTS

    def cases(self, seed: int) -> Iterator[Case]:
        """Each key with a value of each family, shuffled; among them once what keys build, all in one."""
        found = [
            Case(f"{base}.{key}.{value}".replace("/", "_"), {"cell": base, "key": key, "value": value})
            for base, key in self._keys
            for value in map(random.Random(f"{seed} {base} {key}").choice, FAMILIES)
        ]
        random.Random(seed).shuffle(found)
        # It takes a minute, and begins no share of the room.
        found.insert(100, Case("built", {"cell": "built"}))
        yield from found

    @cached_property
    def _keys(self) -> list[tuple[str, str]]:
        """(base, key) of each key: those of a group once for each of its options, others once a command."""
        known: set[tuple[str, ...]] = set()
        found = []
        for name, base in BASES.items():
            composed = self._composed(base)
            options = composed.hydra.runtime.choices
            for key in keys_of(composed):
                group = key.split(".")[0]
                where = (f"{group}={options[group]}" if group in options else base.command, key)
                if where not in known:
                    known.add(where)
                    found.append((name, key))
        return found

    def _composed(self, base: Base) -> DictConfig:
        register_resolvers()
        GlobalHydra.instance().clear()
        try:
            with initialize_config_dir(str(CONF), version_base="1.3"):
                words = [one for one in base.words if not FILLED.search(one)]
                return compose(base.command, words, return_hydra_config=True)
        finally:
            GlobalHydra.instance().clear()

    def run(self, case: Case, folder: Path) -> Outcome:
        """Types a value and looks at what came of it."""
        if case.name == "built":
            return self._built()
        base, key = BASES[case.options["cell"]], case.options["key"]
        usual = _selected(self._composed(base), key)
        typed = VALUES[case.options["value"]]
        if case.options["value"] == "other":
            try:
                typed = word(other(key, usual))
            except (AssertionError, TypeError):
                return Outcome("held", "no rule makes another value")
        words = [self._filled(one, base, folder) for one in base.words]
        given = [one for one in words if one.partition("=")[0] != key]
        line = [base.command, *given, f"{key}={typed}"]
        if base.writes and not key.startswith("outputs"):
            line.append(f"hydra.run.dir={quoted(folder / 'mine')}")
        work = folder / "work"
        work.mkdir()
        ended, _ = watched(*line, place=folder, cwd=work)
        said = f"nas.{base.command} {' '.join(given)[:120]} {key}={typed[:40]}"
        wrong = unlike_a_refusal(ended) or self._judged(
            ended, key, typed, usual, folder / "mine" if base.writes else None
        )
        held(wrong is None, f"{wrong} ({said})")
        held(
            not list(work.iterdir()) or ended.status == 0,
            f"it leaves {sorted(p.name for p in work.iterdir())} ({said})",
        )
        return Outcome("held", "runs" if ended.status == 0 else "")

    def _filled(self, one: str, base: Base, folder: Path) -> str:
        if "{source}" in one:
            one = one.replace("{source}", quoted(self.goods.run(base.source)))
        if "{table}" in one:
            (folder / "table.csv").write_bytes(table("cifar10_test"))
            one = one.replace("{table}", quoted(folder / "table.csv"))
        if "{picture}" in one:
            one = one.replace("{picture}", quoted(picture(folder)))
        return one

    def _judged(self, ended: Ended, key: str, typed: str, usual: Any, run: Path | None) -> str | None:
        """What is wrong with an end that is right in its form; None for nothing."""
        if ended.status == 1:
            return (
                None if DIVERGED in ended.err else f"it broke down: {ended.err.strip().splitlines()[0][:200]}"
            )
        if ended.status == 2:
            names = {key, *key.split(".")[-2:]}
            return (
                None if any(name in ended.err for name in names) else f"it does not name {key}: {ended.last}"
            )
        if run is None or not (run / "config.yaml").is_file():
            return None
        saved = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
        found, wanted = _at(saved, key), yaml.safe_load(_yaml(typed))
        if found == usual and wanted != usual and not _same(wanted, usual):
            return f"accepted and not taken: it has {found!r}"
        return None

    def _built(self) -> Outcome:
        test = "tests/test_every_key.py::test_every_key_changes_what_is_built_or_is_refused"
        done = finish(
            [sys.executable, "-m", "pytest", "-q", "-n", "0", "-x", "-p", "no:cacheprovider", test],
            timeout=1200,
        )
        lines = (done.stdout or "").strip().splitlines()
        verdict = "held" if done.returncode == 0 else "failed"
        return Outcome(verdict, "" if verdict == "held" else lines[-1][:300] if lines else "", len(CASES))


def keys_of(config: Any, prefix: str = "") -> Iterator[str]:
    """The dotted keys of a configuration that hold values of their own, groups of keys that are empty too."""
    for name in config:
        key = f"{prefix}{name}"
        if key.split(".")[0] in FREE or str(name).startswith("_"):
            continue
        node = config._get_node(name)
        whole = (
            not isinstance(node, DictConfig) or node._is_none() or node._is_interpolation() or not len(node)
        )
        if whole:
            yield key
        else:
            yield from keys_of(node, f"{key}.")


def _selected(config: DictConfig, key: str) -> Any:
    try:
        found = OmegaConf.select(config, key)
    except OmegaConfBaseException:
        return None
    return OmegaConf.to_container(found) if OmegaConf.is_config(found) else found


def _at(data: Any, key: str) -> Any:
    for part in key.split("."):
        data = data.get(part) if isinstance(data, dict) else None
    return data


def _yaml(typed: str) -> str:
    return typed if typed else "''"


def _same(one: Any, other: Any) -> bool:
    """Whether two values mean one, as `0` and `0.0` or a null and nothing do."""
    try:
        return float(one) == float(other)
    except (TypeError, ValueError):
        return str(one) == str(other)


def _dropped() -> AbstractContextManager[Any]:
    whole = config.with_texts
    return mock.patch.object(
        config, "with_texts", lambda name, words: whole(name, [one for one in words if one[:5] != "seed="])
    )


def _unnamed() -> AbstractContextManager[Any]:
    from nas.running import config_checks

    def require(condition: object, words: str) -> None:
        if not condition:
            raise ConfigError("a value is of another kind")

    return mock.patch.object(config_checks, "require", require)


def _anything() -> AbstractContextManager[Any]:
    return mock.patch.object(Kind, "fits", lambda kind, value: True)


PLANTS: Mapping[str, Plant] = MappingProxyType(
    {
        "dropped": Plant(
            "what is typed for a key is dropped", "accepted and not taken", _dropped, ("search.seed.other",)
        ),
        "unnamed": Plant(
            "a refusal does not name its key", "it does not name", _unnamed,
            ("search.trainer.max_epochs.list", "search.seed.list"),
        ),
        "anything": Plant(
            "a value of any kind and size fits", "broke down|a traceback|errors in", _anything,
            ("search.trainer.max_epochs.*", "search.seed.*", "search.recipe.num_cells.*"),
        ),
    }
)  # fmt: skip


def room(folder: Path) -> Keys:
    """The room; its folder keeps runs that others go on from."""
    return Keys(folder)
