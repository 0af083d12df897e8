"""The page of one run: what was asked, what came out, curves, cost, what to trust it by, how to repeat it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nas.analysis.metrics import metric_of
from nas.analysis.summaries import figures_of
from nas.errors import ConfigError
from nas.genotype import Genotype
from nas.pages import forms
from nas.pages.blocks import (
    Charts,
    Column,
    Command,
    Commands,
    Drawings,
    Fact,
    Facts,
    Note,
    Page,
    Section,
    Table,
    number,
    words,
)
from nas.pages.cells import draw
from nas.pages.curves import curves
from nas.pages.folder import Folder
from nas.pages.heat import Group, derived, leaders, maps, read_groups, strengths_at
from nas.pages.of_commands import EXTRAS
from nas.printable import shown
from nas.reading.plain import is_number, is_whole

# What a page says of a status that is not `finished`.
UNFINISHED = {
    "running": "This run goes on, or was killed: the page shows what there is so far.",
    "stopped": "This run was stopped before its end: the page shows what there is.",
    "failed": "This run failed: the page shows what there is.",
    "died": "This run's process was killed: the page shows what there is.",
}
# Commands that go through epochs.
TRAINED = ("search", "evaluate")
# Numbers of a summary that stand elsewhere on the page, or say nothing of the result.
ELSEWHERE = frozenset(
    {
        "schema", "seed", "seconds", "threads", "epochs", "steps", "params", "params_auxiliary", "macs",
        "macs_alive", "planned_epochs", "exit_status", "n", "queries",
    }
)  # fmt: skip
# Figures at the top.
TILES = 4
# Further numbers; what is larger may have no float.
MORE, LARGE = 60, 1e300
ORDER = (
    "test_accuracy", "test_perplexity", "table_accuracy", "table_rank", "valid_accuracy", "valid_perplexity",
    "architecture_accuracy", "architecture_perplexity", "latency", "latency_sum", "kendall", "spearman",
    "reward",    "architectures", "pieces",
)  # fmt: skip


@dataclass(frozen=True)
class Setting:
    """A setting that is not the usual one: see `nas.running.asked.Asked`."""

    key: str
    value: Any
    usual: Any
    by: str
    known: bool = True


@dataclass(frozen=True)
class Given:
    """What the page of a run is told besides its folder.

    Attributes:
        name: of the run.
        command: which one made it.
        settings: what was asked; a text where that cannot be told.
        typed: the overrides.
        commands: what repeats it and what comes next.
        links: (words, relative place) of pages beside it.
        made: when and by what the page is made.
    """

    name: str
    command: str
    settings: Sequence[Setting] | str
    typed: Sequence[str]
    commands: Sequence[Command]
    links: Sequence[tuple[str, str]] = ()
    made: str = ""


class RunPage:
    """Puts the page of a run together.

    Args:
        folder: of the run.
        given: what is known besides.
    """

    def __init__(self, folder: Folder, given: Given):
        self.folder, self.given = folder, given
        self.summary = folder.summary()
        self.figures = figures_of(self.summary) if self.summary else {}
        self.genotype = folder.genotype()
        self.groups = self._groups()

    def _groups(self) -> list[Group]:
        try:
            return read_groups(self.folder.table("architecture.csv"))
        except ConfigError as error:
            self.folder.problems["architecture.csv"] = str(error)
            return []

    def page(self) -> Page:
        """The page."""
        sections = [
            self._asked(),
            Section("result", "What came out", self._result()),
            *self._along(),
            *self._curves(),
            Section("cost", "What it cost", [Facts(self._cost())]),
            Section("trust", "What to trust it by", self._trust()),
            Section("repeat", "How to repeat it", [Commands(self.given.commands)]),
        ]
        told = [self.summary.get(key) for key in ("method", "space", "dataset")]
        lead = " · ".join(shown(str(text), 80) for text in told if text)
        return Page(
            shown(self.given.name, 120),
            f"nas.{self.given.command}",
            str(self.summary.get("status") or "no summary"),
            lead,
            self._tiles(),
            sections,
            self.given.links,
            self.given.made,
        )

    def _tiles(self) -> list[Fact]:
        """The figures that one looks for first."""
        names = [name for name in ORDER if name in self.figures]
        names += [name for name in self.figures if name not in names and metric_of(name)[0]]
        values = dict(self._numbers())
        names = names or [name for name in ORDER if name in values]
        tiles = [Fact(forms.title(name), forms.result(name, values[name])) for name in names[:TILES]]
        if isinstance(self.summary.get("params"), int):
            tiles.append(Fact("parameters", forms.count(self.summary["params"])))
        if isinstance(self.summary.get("seconds"), int | float):
            tiles.append(Fact("time", forms.duration(self.summary["seconds"])))
        return tiles

    def _asked(self) -> Section:
        blocks: list[Any] = []
        settings = self.given.settings
        if isinstance(settings, str):
            blocks.append(Note(settings, "warn"))
        elif settings:
            columns = [
                Column("key", code=True),
                Column("value", code=True),
                Column("usually", code=True),
                Column("by"),
            ]
            rows = [
                [
                    words(shown(setting.key, 120)),
                    words(forms.plain(setting.value)),
                    words(forms.plain(setting.usual) if setting.known else ""),
                    words(setting.by),
                ]
                for setting in settings
            ]
            blocks.append(Table("Settings that differ from the command's own", columns, rows))
        else:
            blocks.append(Note(f"Everything is as nas.{self.given.command} has it by itself."))
        if self.given.typed:
            line = " ".join(shown(word, forms.LONG) for word in self.given.typed)
            blocks.append(Facts([Fact("typed", line)]))
        lead = "What differs from the defaults of this command; keys that follow from others are left out."
        return Section("asked", "What was asked", blocks, lead)

    def _result(self) -> list[Any]:
        blocks: list[Any] = []
        status = self.summary.get("status")
        if not self.summary:
            blocks.append(Note(self.folder.missing("summary.json", "No results"), "warn"))
        elif status in UNFINISHED:
            done = self.summary.get("epochs")
            after = f" {done} epochs are done." if done is not None else ""
            blocks.append(Note(UNFINISHED[str(status)] + after, "warn"))
        if self.summary.get("error"):
            blocks.append(Note(shown(str(self.summary["error"]), 2000), "warn"))
        rows = [
            [words(forms.title(name)), number(value, forms.result(name, value))]
            for name, value in self._numbers()
        ]
        if self.genotype is not None:
            blocks.append(self._drawn(self.genotype))
        elif "genotype.json" in self.folder.problems:
            blocks.append(Note(self.folder.missing("genotype.json", "No cells"), "warn"))
        elif self.given.command in ("search", "evaluate", "derive"):
            blocks.append(Note("No cells: there is no genotype.json yet."))
        if rows:
            blocks.append(Table("Results", [Column("result"), Column("value", True)], rows))
        blocks += EXTRAS.get(self.given.command, lambda folder, summary: [])(self.folder, self.summary)
        return blocks

    def _drawn(self, genotype: Genotype) -> Drawings:
        edges = {group.name: group.edges for group in self.groups}
        operations = {group.name: group.operations for group in self.groups}
        try:
            return draw(genotype, strengths_at(self.groups, self._epoch()), edges, operations)
        except ConfigError as error:
            # A table and an architecture of different spaces.
            self.folder.problems["architecture.csv"] = str(error)
            return draw(genotype)

    def _epoch(self) -> int | None:
        """The epoch that the architecture is of; None for the last."""
        epoch = self.summary.get("result_epoch")
        return epoch if is_whole(epoch) else None

    def _numbers(self) -> list[tuple[str, float]]:
        """Results, and whatever else a command has measured."""
        numbers = [(name, value) for name, value in self.figures.items() if metric_of(name)[1] is not None]
        known = {name for name, _ in numbers} | ELSEWHERE
        more = [
            (str(name), float(value))
            for name, value in self.summary.items()
            if name not in known and is_number(value, -LARGE, LARGE)
        ]
        return [*numbers, *more[:MORE]]

    def _along(self) -> list[Section]:
        """The op weights over the epochs."""
        if self.given.command != "search":
            return []
        try:
            genotypes = derived(self.folder.lines("genotypes.jsonl"))
        except ConfigError as error:
            self.folder.problems["genotypes.jsonl"] = str(error)
            genotypes = {}
        lead = "Move the slider through the search. Framed is what that epoch derives."
        try:
            heats = maps(self.groups, genotypes)
        except ConfigError as error:
            self.folder.problems["architecture.csv"] = str(error)
            heats = None
        if heats is None:
            blocks: list[Any] = [Note(self.folder.missing("architecture.csv", "No op weights"), "warn")]
            return [Section("weights", "Op weights", blocks)]
        blocks = [heats]
        if "genotypes.jsonl" in self.folder.problems:
            blocks.append(Note(self.folder.missing("genotypes.jsonl", "No frames"), "warn"))
        return [Section("weights", "Op weights over the search", blocks, lead)]

    def _curves(self) -> list[Section]:
        if self.given.command not in TRAINED and not self.folder.has("metrics.csv"):
            return []
        drawn = curves(self.folder, leaders(self.groups) if self.given.command == "search" else {})
        blocks: list[Any] = [Charts(drawn)] if drawn else []
        if not drawn:
            blocks.append(Note(self.folder.missing("metrics.csv", "No curves")))
        for name in ("metrics.csv", "exploration.csv", "sparsity.csv", "implicit.csv"):
            if name in self.folder.problems and drawn:
                blocks.append(Note(self.folder.missing(name, "Left out"), "warn"))
        return [Section("curves", "Curves", blocks)]

    def _cost(self) -> list[Fact]:
        summary = self.summary
        facts = []
        for key, label, note in (
            ("params", "parameters", "of the evaluation network"),
            ("params_auxiliary", "parameters of the auxiliary head", "in training alone"),
            ("macs", "multiply-adds", "of one image, or one word, in the evaluation network"),
            ("macs_alive", "multiply-adds alive", "in the supernet"),
        ):
            if isinstance(summary.get(key), int):
                facts.append(Fact(label, f"{forms.count(summary[key])} ({summary[key]:,})", note))
        if isinstance(summary.get("seconds"), int | float):
            seconds = summary["seconds"]
            facts.append(Fact("time", f"{forms.duration(seconds)} ({seconds / 3600:.4g} h)", "of the run"))
        for key, label in (("epochs", "epochs"), ("steps", "steps"), ("queries", "queries")):
            if isinstance(summary.get(key), int | float):
                facts.append(Fact(label, forms.digits(summary[key])))
        peak = [key for key in summary if key.startswith("peak_") or key.endswith("_gib")]
        facts += [Fact(forms.title(key), forms.plain(summary[key])) for key in peak]
        if not peak:
            facts.append(Fact("memory", "not recorded by this run"))
        return facts

    def _trust(self) -> list[Any]:
        summary = self.summary
        seed = summary.get("seed")
        runs = f"1 run, seed {forms.plain(seed)}" if seed is not None else "1 run"
        facts = [Fact("n", runs, "one run says nothing of the spread over seeds: compare several", "warn")]
        if isinstance(summary.get("n"), int):
            facts = [Fact("n", f"{summary['n']:,} seeds")]
        for key, label in (
            ("status", "status"), ("split_hash", "split of the data"),
            ("split_files_hash", "split of the files"),
            ("git_commit", "commit"), ("device", "device"), ("threads", "threads"), ("hardware", "profile"),
            ("recipe", "recipe"), ("architecture", "architecture"), ("ended_by", "ended by"),
            ("result_epoch", "epoch of the result"), ("schema", "schema"),
        ):  # fmt: skip
            if summary.get(key) is not None:
                facts.append(Fact(label, forms.plain(summary[key])))
        if summary and summary.get("git_commit") is None:
            facts.append(Fact("commit", "unknown: it did not run in a repository"))
        if isinstance(summary.get("versions"), Mapping):
            facts.append(Fact("versions", forms.told_versions(summary)))
        blocks: list[Any] = [Facts(facts)]
        blocks += [Note(f"{name} was not read: {why}", "warn") for name, why in self.folder.problems.items()]
        return blocks
