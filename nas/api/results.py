"""What a search, a derivation or an evaluation has left in its folder, as Python has it."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from numbers import Integral
from pathlib import Path
from typing import Any

from nas.api import display
from nas.api.data import Data, data_of, joined, path_of, typed
from nas.api.display import Picture
from nas.api.model import model_of
from nas.engine.run_folder import RunFolder
from nas.errors import ConfigError, require, require_one_of
from nas.genotype import Genotype
from nas.genotype import load as read_genotype
from nas.reading.csv_text import read_rows
from nas.running.in_process import call
from nas.running.saved import read_config, read_overrides


class Run:
    """A run: its folder, and what is read there when it is asked for.

    Attributes:
        folder: of the run.
        data: what it was given from Python; None for what its folder says.
        objects: space and method that it was given as objects.
        command: which command does such runs.
    """

    command = ""

    def __init__(
        self, folder: str | Path, data: Data | None = None, objects: Mapping[str, Any] | None = None
    ):
        self.folder = Path(folder)
        self.data = data
        self.objects = dict(objects or {})

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.folder)!r}, status={self.status!r})"

    @property
    def summary(self) -> dict[str, Any]:
        """What `summary.json` holds: status, seconds, seed, parameters, accuracies as shares of 1."""
        return RunFolder(self.folder).read_json("summary.json")

    @property
    def status(self) -> str:
        """`finished`, `stopped` (it can be resumed), `failed` or `running`."""
        return str(self.summary.get("status", ""))

    @property
    def metrics(self) -> list[dict[str, float | str]]:
        """The rows of `metrics.csv`, one an epoch."""
        return _rows(self.folder / "metrics.csv")

    @property
    def genotype(self) -> Genotype:
        """The cell.

        Raises:
            ConfigError: there is none yet.
        """
        file = self.folder / "genotype.json"
        require(file.is_file(), f"{self.folder}: it has no genotype yet (status {self.status or 'unknown'})")
        return read_genotype(file)

    def is_on(self, data: Data) -> bool:
        """Whether the run is known to be on these data, so that its own settings of them can stand."""
        if self.data is not None:
            return self.data.words == data.words
        searched = self.folder
        config = read_config(self.folder / "config.yaml", f"{self.folder}: config.yaml")
        if config.get("command") == "derive":
            searched = Path(str(config.get("run")))
        file = searched / "overrides.yaml"
        return file.is_file() and set(data.words) <= set(read_overrides(file))

    def plot(self, what: str = "cell") -> Picture:
        """A picture that a notebook shows and that can be saved: `cell` or `curves`.

        Raises:
            ConfigError: the run has come to none yet, or it is another word.
        """
        require_one_of("plot", what, ("cell", "curves"))
        if what == "cell":
            return display.cell(self.genotype)
        require(len(self.metrics) > 0, f"{self.folder}: no epoch has ended yet, so there are no curves")
        return display.curves(self.metrics)

    def _repr_html_(self) -> str:
        pictures = []
        if (self.folder / "genotype.json").is_file():
            pictures.append(self.plot("cell"))
        if self._drawn:
            pictures.append(self.plot("curves"))
        return display.page(type(self).__name__, self._numbers(), pictures)

    @property
    def _drawn(self) -> bool:
        return any("loss" in key for row in self.metrics for key in row)

    def _numbers(self) -> dict[str, Any]:
        summary = self.summary
        shown = [key for key in display.SHOWN if summary.get(key) is not None]
        return {key: summary[key] for key in shown} | {"folder": str(self.folder)}


class SearchResult(Run):
    """A search: its cell, how it came about, and what can be derived of it."""

    command = "search"

    @property
    def architecture(self) -> list[dict[str, float | str]]:
        """The rows of `architecture.csv`: the weight of every operation of every edge after every epoch."""
        return _rows(self.folder / "architecture.csv")

    def derive(
        self,
        max_params: float | None = None,
        max_macs: float | None = None,
        max_latency: float | None = None,
        max_skips: int | None = None,
        *,
        data: Any = None,
        samples: int | None = None,
        rank: str | None = None,
        keep: int | None = None,
        seed: int = 0,
        hardware: str = "cpu",
        folder: str | Path | None = None,
        verbose: bool = True,
        overrides: Sequence[str] = (),
    ) -> "Derivation":
        """Draws architectures from what the search has learnt, and keeps the best within a budget.

        That is `python -m nas.derive`; for methods that learn a distribution, such as `drnas`, `darts1` and
        `gdas`. The networks that are priced have the sizes of the run's recipe.

        Args:
            max_params: parameters without the auxiliary head; None for no limit, and so the next three.
            max_macs: multiply-adds of one image, or one word.
            max_latency: milliseconds of a batch of one image on this device.
            max_skips: skip connections in the normal cell.
            data: where the search was given the pictures of a program and `rank` reads some: the same again.
            samples: draws; None for 10,000.
            rank: `probability`, `supernet` (accuracy with inherited weights) or a zero-cost measure.
            keep: how many of the best are kept; None for 10.
            seed: of the draws.
            hardware: profile on which latency is measured and the supernet evaluated.
            folder: of the derivation, new or empty; None for a new one.
            verbose: whether it prints the table of the best.
            overrides: every other setting, such as `"recipe.init_channels=8"`.

        Raises:
            ConfigError: the method has no distribution, a setting cannot be used, or no architecture that was
                drawn keeps the budget; the message says what would.
            RunFailed: it broke down.
            KeyboardInterrupt: it was stopped; a derivation is repeated, not continued.
        """
        given = self.data if data is None else data_of(data)
        own = {
            "run": str(self.folder.absolute()),
            "budget.params": max_params,
            "budget.macs": max_macs,
            "budget.latency": max_latency,
            "budget.skips": max_skips,
            "samples": samples,
            "rank": rank,
            "keep": keep,
            "seed": seed,
            "hardware": hardware,
            "hydra.run.dir": None if folder is None else str(path_of(folder, "folder").absolute()),
        }
        words = joined(typed(own), overrides)
        objects = {**self.objects, "data": None if given is None else given.pair}
        outcome = call("derive", words, verbose, **objects)
        if outcome.interrupt is not None:
            raise outcome.interrupt
        return Derivation(outcome.folder, given, self.objects)


class Derivation(Run):
    """Architectures of a search within a budget, best first; `genotype` is the first."""

    command = "derive"

    @property
    def candidates(self) -> list[dict[str, float | str]]:
        """The rows of `architectures.csv`: rank, genotype as text, parameters, multiply-adds, latency, ..."""
        return _rows(self.folder / "architectures.csv")

    def choice(self, rank: int) -> Genotype:
        """The architecture of a rank, from 1.

        Raises:
            ConfigError: not so many were kept.
        """
        kept = len(list((self.folder / "genotypes").glob("rank_*.json")))
        whole = isinstance(rank, Integral) and not isinstance(rank, bool)
        file = self.folder / "genotypes" / (f"rank_{int(rank):03d}.json" if whole else "none")
        require(file.is_file(), f"choice={rank!r}: must be from 1 to {kept}, as many as were kept")
        return read_genotype(file)


class EvaluationResult(Run):
    """A trained network: how good it is, and the network itself."""

    command = "evaluate"

    @property
    def accuracy(self) -> float | None:
        """Share of the test images whose class is found, 0 to 1; None without a test, and of text."""
        found = self.summary.get("test_accuracy")
        return None if found is None else float(found)

    @cached_property
    def model(self) -> Any:
        """The trained network with its preprocessing, a `torch.nn.Module` in evaluation mode on the CPU.

        A `nas.Model` of pictures, a `nas.LanguageModel` of text.

        Raises:
            ConfigError: the training is not finished.
        """
        return model_of(self.folder, self.objects)


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, or the stop button of a notebook: what there is of the run is kept, and can be resumed.

    Attributes:
        result: of the run so far.
    """

    def __init__(self, result: Any):
        super().__init__(f"stopped; continue with nas.resume({str(result.folder)!r})")
        self.result = result


RESULTS: Mapping[str, type[Run]] = {one.command: one for one in (SearchResult, Derivation, EvaluationResult)}


def load(folder: str | Path) -> Any:
    """The result in a run folder, whoever started the run: a search, a derivation or an evaluation.

    Raises:
        ConfigError: there is no such run.
    """
    path = path_of(folder, "load").absolute()
    file = path / "config.yaml"
    require(file.is_file(), f"load({str(folder)!r}): no run folder there (config.yaml is missing)")
    command = read_config(file, f"load({str(folder)!r}): config.yaml").get("command")
    if command not in RESULTS:
        known = ", ".join(RESULTS)
        raise ConfigError(f"load({str(folder)!r}): a run of nas.{command}; one of {known} is wanted")
    return RESULTS[command](path)


def _rows(path: Path) -> list[dict[str, float | str]]:
    """The rows of a table: numbers where they are such; blank fields are left out."""
    rows = read_rows(path) if path.is_file() else []
    return [{key: _number(value) for key, value in row.items() if value != ""} for row in rows]


def _number(text: str) -> float | str:
    try:
        return int(text) if text.lstrip("-").isdigit() else float(text)
    except ValueError:
        return text
