"""`python -m nas.protocol`: a row of a table, from searches to test figures, run by run."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, open_dict
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from nas.analysis import protocols
from nas.analysis.protocols import Kept, Row
from nas.analysis.summaries import check_summary, figures_of
from nas.commands.protocol_front import front_of
from nas.commands.protocol_plan import print_plan
from nas.errors import ConfigError, require
from nas.files import write_text
from nas.printable import printable, shown
from nas.reading.json_text import read_object
from nas.reading.plain import is_time, is_whole, read_key
from nas.running import procedure
from nas.running.config import CONF, RunFailed
from nas.running.declared import read_file
from nas.running.log_files import say
from nas.running.printed import words_of_caller
from nas.running.procedure import PHASES, Step
from nas.running.session import Session
from nas.running.started import Steps


def run(config: DictConfig, path: Path) -> None:
    """Runs a protocol as configured; see `conf/protocol.yaml` for every key.

    Raises:
        ConfigError: a setting cannot be used, of the protocol or of one of its runs.
        RunFailed: a run did not finish.
    """
    _keep_own(config)
    if config.resume is None:
        procedure.settle(config)
    session = Session(config, path, procedure.continued)
    protocol = Protocol(session)
    if config.plan:
        protocol.plan()
        return
    session.open(None)
    session.run(protocol.run)


def _keep_own(config: DictConfig) -> None:
    """Takes out what a debug mode sets of single runs, which have it by themselves."""
    own = {*read_file(CONF / "protocol.yaml"), *PHASES, "protocol", "tabular", "outputs"}
    with open_dict(config):
        for key in [key for key in config if key not in own]:
            config.pop(key)


class Protocol:
    """One protocol: every run that it will start is composed and checked on construction."""

    def __init__(self, session: Session):
        self.session, self.config = session, session.config
        self.folder = session.folder.path
        options, words = words_of_caller(self.config)
        self.steps = Steps(self.folder, options, words)
        self.searches = procedure.searches(self.config)
        self.configs: dict[str, DictConfig] = {}
        self.selections: list[Step] = []
        self.figure = None
        self._compose(self.searches)
        if self.config.select is not None:
            self.selections = procedure.selections(self.config, self.folder, self.searches)
            self._compose(self.selections)
            self.figure = procedure.figure_of(self.config, self.configs[self.selections[0].name])
        self.phase = "search" if self.config.evaluate is None else "evaluate"
        if self.config.evaluate is not None:
            self._compose(self.planned_evaluations())

    def planned_evaluations(self) -> list[Step]:
        """The final trainings, as far as they are known before it is known which cells are kept."""
        groups = {one.seed for one in self.searches}
        kept = self.searches
        if self.config.select is not None:
            kept = self.searches[: len(groups) if self.config.select.among == "seed" else 1]
        return procedure.evaluations(self.config, self.folder, kept)

    def _compose(self, steps: Sequence[Step]) -> None:
        """Composes and checks what steps have in common, which is all but seeds and cells."""
        known: dict[tuple[str, ...], DictConfig] = {}
        for step in steps:
            if step.shared not in known:
                known[step.shared] = procedure.composed(step)
                self.steps.check(known[step.shared])
            self.configs[step.name] = known[step.shared]

    def plan(self) -> None:
        """Says what the protocol will cost."""
        phases = [("search", self.searches), ("select", self.selections)]
        if self.config.evaluate is not None:
            phases.append(("evaluate", self.planned_evaluations()))
        given = [(name, steps) for name, steps in phases if steps]
        print_plan(self._name, given, self.configs)

    @property
    def _name(self) -> str:
        """What tables are headed by; the folder that it may come from is not to set colours."""
        return escape(shown(str(self.config.row or self.config.protocol)))

    def run(self) -> None:
        """Searches, selects, trains and sums up.

        Raises:
            RunFailed: a run did not finish; the others of its phase have been run.
        """
        rows = self._done(self.searches)
        kept = Kept(tuple(one.name for one in self.searches), 1, len(self.searches))
        if self.selections:
            rows += self._done(self.selections, rows)
            assert self.figure is not None
            kept = protocols.select(rows, self.figure, self.config.select.among)
        if self.config.evaluate is not None:
            chosen = [one for one in self.searches if one.name in kept.runs]
            widths = {one.number: self._width(one) for one in chosen} if self.config.evaluate.width else None
            steps = procedure.evaluations(self.config, self.folder, chosen, widths)
            self._compose(steps)
            rows += self._done(steps, rows, kept)
        self._sum_up(rows, kept)

    def _done(self, steps: Sequence[Step], before: Sequence[Row] = (), kept: Kept | None = None) -> list[Row]:
        """Runs the steps of a phase that have not finished, and reads what they left."""
        gpus = {one.name: self.configs[one.name].hardware.accelerator in ("gpu", "cuda") for one in steps}
        failed = self.steps.run(steps, gpus)
        rows = [self._row(one, gpus[one.name]) for one in steps]
        everything = [*before, *rows]
        self._write(everything, {}, protocols.cost_lines(everything), kept)
        self.session.progress(self._counts(everything))
        if failed:
            lines = [f"{name}: {why}" for name, why in failed.items()]
            raise RunFailed(
                f"{len(failed)} of {protocols.counted(len(steps), steps[0].phase)} did not finish\n"
                + "\n".join(printable(line) for line in lines)
            )
        return rows

    def _row(self, step: Step, gpu: bool) -> Row:
        path = self.folder / step.name / "summary.json"
        summary: dict[str, Any] = {}
        if path.exists():
            summary = read_object(path)
            check_summary(summary, str(path))
        seconds = read_key(summary, "seconds", is_time, "a number of seconds", str(path), 0.0)
        hardware = self.configs[step.name].hardware
        processes = hardware.devices * hardware.num_nodes if isinstance(hardware.devices, int) else 1
        least = partial(is_whole, low=1)
        threads = 1 if gpu else read_key(summary, "threads", least, "a number of threads", str(path), 1)
        status = str(summary.get("status", "lost"))
        figures = figures_of(summary) if status == "finished" else {}
        of = "" if step.found is None else f"search/{step.found}"
        setting = " ".join(step.setting)
        hours = processes * threads * seconds / 3600
        return Row(step.phase, step.name, of, step.seed, setting, status, hours, gpu, figures)

    def _width(self, found: Step) -> int:
        """What a search has chosen for its budget."""
        path = self.folder / found.name / "summary.json"
        width = read_key(
            read_object(path),
            "init_channels",
            lambda one: is_whole(one, 1, 2**12),
            "a number of channels",
            str(path),
        )
        if width is None:
            raise ConfigError(
                f"evaluate.width=true: {found.name} has chosen no width; its method has no budget "
                "(method.budget), so set evaluate.width=false"
            )
        return int(width)

    def _counts(self, rows: Sequence[Row]) -> dict[str, Any]:
        found: dict[str, Any] = {"protocol": self.config.protocol, "experiment": self.config.row}
        for phase in PHASES:
            own = [row for row in rows if row.phase == phase]
            found |= {f"{phase}_runs": len(own)}
            found |= {f"{phase}_{name}": value for name, value in protocols.cost(own).items()}
        return found | protocols.cost(rows)

    def _write(
        self,
        rows: Sequence[Row],
        found: Mapping,
        lines: Sequence[str],
        kept: Kept | None,
        front: Sequence[Sequence[str]] = (),
    ) -> None:
        runs = () if kept is None else kept.runs
        write_text(self.folder / "table.csv", protocols.rows_csv(rows, runs))
        settings = self._settings(rows)
        write_text(self.folder / "table.md", protocols.report(rows, found, lines, settings, front))

    def _settings(self, rows: Sequence[Row]) -> list[list[str]]:
        """The figures of each setting of a grid of which none was chosen."""
        return [] if self.figure is not None else protocols.by_setting(rows, self.phase)

    def _sum_up(self, rows: Sequence[Row], kept: Kept) -> None:
        """Writes and prints the result."""
        found = protocols.final_figures(rows, self.phase)
        looked_up = ""
        if self.phase == "search":
            table = self.config.tabular.get("file")
            looked_up = f": no cell is in {'the surrogate' if table is None else f'tabular.file={table}'}"
        require(bool(found), f"{self.folder}: no run of its last phase has left a figure{looked_up}")
        cells = protocols.cells_line(rows, found)
        lines = [*([] if cells is None else [cells]), *protocols.cost_lines(rows)]
        if self.figure is not None:
            epochs = self._epochs()
            lines.insert(0, protocols.chosen_line(kept, self.figure, epochs))
            self.session.summary |= {"kept": list(kept.runs), "best_of": kept.of, "selected_by": self.figure}
        self.session.summary |= {"n": max(one.n for one in found.values())}
        if self._settings(rows):
            self.session.summary["settings"] = protocols.settings_summary(rows, self.phase)
        else:
            for name, one in found.items():
                self.session.summary |= {name: one.mean, f"{name}_std": one.deviation}
        # What has been found does not wait for a picture.
        self._write(rows, found, lines, kept)
        front = front_of(self.config, self.folder, rows, self.searches, self.configs)
        if front is not None:
            self.session.summary |= front[0]
            self._write(rows, found, lines, kept, front[1])
        figures = [("figure", "mean ± std", "n"), *protocols.figure_rows(found)]
        _print_table(self._title(kept), self._settings(rows) or figures)
        if front is not None:
            _print_table("accuracy against cost", front[1])
        for line in lines:
            say(line)
        say(f"run folder: {self.folder}")

    def _epochs(self) -> list[int]:
        return [self.configs[one.name].trainer.max_epochs for one in self.selections]

    def _title(self, kept: Kept) -> str:
        searched = protocols.counted(len(self.searches), "search")
        name = self._name
        if self.figure is None:
            return f"{name}: {searched}, no selection"
        each = "" if kept.groups == 1 else f" of each of {kept.groups} seeds"
        return f"{name}: the best of {kept.of}{each} by {self.figure}, of {searched}"


def _print_table(title: str, rows: Sequence[Sequence[str]]) -> None:
    """A table whose first row is its head and whose first column is text."""
    table = Table(title=title)
    for at, heading in enumerate(rows[0]):
        table.add_column(heading, justify="right" if at else "left")
    for row in rows[1:]:
        # What a run was told may look like a markup of rich's.
        table.add_row(*map(escape, row))
    Console().print(table)
