"""What `nas.search` and `nas.evaluate` have in common: opening, closing and summing up a run folder."""

import logging
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict

from nas.analysis.summaries import RESUMED
from nas.engine.loggers import check_logger
from nas.engine.machine import processes
from nas.engine.machine.drift import DriftCheck
from nas.engine.machine.hardware import threads_of
from nas.engine.machine.limits import processors
from nas.engine.machine.peers import EndAtOnce, several, strategy_of
from nas.engine.machine.stopping import sigterm_as_interrupt
from nas.engine.provenance import device_name, git_commit, versions
from nas.engine.run_folder import RunFolder, check_split
from nas.engine.trainer import Stopped, build_trainer
from nas.errors import require
from nas.files import WriteFailed, write_failure, write_text
from nas.printable import shown
from nas.reading.plain import is_number, is_time, read_key
from nas.running import held, printed
from nas.running.config import ConfigError, RunFailed, instantiate, plain, typed_keys
from nas.running.locks import FolderLock, take
from nas.running.log_files import guard_log_files, keep, say
from nas.running.own_files import check_folder
from nas.running.parts import without_borrowed
from nas.running.places import make_absolute
from nas.running.resuming import Continued, resumed
from nas.running.saved import SCHEMA, read_config
from nas.running.trust import without_trust
from nas.running.words import quoted

log = logging.getLogger(__name__)
# Of a time limit: a year.
MINUTES = 525_600


class Session:
    """One run: its configuration, its folder, and the summary that is written however it ends.

    Attributes:
        config: the configuration in force; that of the folder if the run is resumed.
        folder: the run folder.
        resuming: whether an earlier run is continued.
        earlier: the summary that a resumed run had.
        deadline: when `time_limit` is over, as `time.monotonic` counts; None without one.
        summary: what `summary.json` will hold; the command adds to it.
        leads: whether this process is the one of several that writes and speaks.
    """

    def __init__(self, config: DictConfig, path: Path, continued: Continued = resumed):
        if "hardware" in config:
            _refuse_multirun(config)
        self.leads = processes.leads()
        # Once more, for a log that is configured otherwise.
        check_folder(path, f"run folder {path}")
        self.folder = RunFolder(path)
        self.resuming = config.resume is not None
        self.summary: dict[str, Any] = {}
        self.earlier: dict[str, Any] = {}
        self._before = 0.0
        self._lock: FolderLock | None = None
        if self.leads:
            guard_log_files()
        if self.resuming:
            require(
                HydraConfig.get().mode != RunMode.MULTIRUN,
                f"resume={config.resume}: a multirun cannot resume; continue its jobs one at a time",
            )
            require(
                path == Path(str(config.resume)).expanduser().absolute(),
                f"hydra.run.dir={path}: a resumed run stays in its folder {config.resume}",
            )
            config = continued(config, path, HydraConfig.get().overrides.task)
            self._take_folder(f"resume={config.resume}")
            old = self.folder.read_json("summary.json")
            self._before = float(
                read_key(old, "seconds", is_time, "a number of seconds", str(path / "summary.json"), 0.0)
            )
            self.earlier = old
        else:
            self._refuse_used()
            for key in ("resume_schedule", "restarts"):
                require(not config.get(key), f"{key}={config.get(key)}: only of a resumed run, with resume=")
        make_absolute(config)
        seed = config.seed
        require(
            isinstance(seed, int) and 0 <= seed < 2**32,
            f"seed={seed}: must be a whole number from 0 to {2**32 - 1}",
        )
        if "hardware" in config:
            self._settle_threads(config)
        if "logger" in config:
            check_logger(config.logger.name, bool(config.logger.get("offline")))
        self.config = config
        self._start = time.monotonic()
        self.deadline = self._deadline()
        self._versions, self._commit = versions(), git_commit()

    def _deadline(self) -> float | None:
        limit = self.config.get("time_limit")
        require(
            limit is None or is_number(limit, 0, MINUTES),
            f"time_limit={shown(limit)}: must be a number of minutes from 0 to {MINUTES:,}, or null for none",
        )
        return None if limit is None else self._start + 60 * limit

    def _settle_threads(self, config: DictConfig) -> None:
        """Records the number of threads, on which sums depend; a run that goes on keeps that of its start."""
        hardware = config.hardware
        recorded = None if "hardware.threads" in typed_keys() else hardware.threads
        hardware.threads = threads_of(plain(hardware))
        here = processors()
        if self.resuming and recorded is not None and recorded > here:
            log.warning(
                "resume=%s: it was started with hardware.threads=%d, and goes on with them so that its "
                "numbers stay the same; this process may use %d: hardware.threads=%d would be faster",
                self.folder.path,
                recorded,
                here,
                here,
            )

    def _refuse_used(self) -> None:
        path = self.folder.path
        require(
            not self.leads or not (path / "config.yaml").exists(),
            f"hydra.run.dir={path}: it holds a run already; continue it with resume={quoted(path)}, or "
            "choose another",
        )

    def claim(self) -> None:
        """Takes the folder of a new run, before the first file is written into it.

        Raises:
            ConfigError: another run has taken the folder in the meantime.
        """
        self._take_folder(f"hydra.run.dir={self.folder.path}")
        self._refuse_used()

    def _take_folder(self, what: str) -> None:
        """From here on no other run is at work in the folder, and what a dead one left in it is removed."""
        if self.leads and self._lock is None:
            self._lock = take(self.folder.path, what)

    def open(self, split: Mapping | None, files: Mapping[str, str] | None = None) -> None:
        """Writes what is needed to repeat the run, once everything that can be refused has been built.

        Args:
            split: which data are used, where there are data.
            files: name -> text of what else has to be there before the run can be resumed.

        Raises:
            ConfigError: another run has taken the folder in the meantime.
        """
        if not self.leads:
            return
        config = self.config.copy()
        config.resume = None
        with open_dict(config):
            # A word for this command line; a folder vouches for nothing.
            config.pop("trust", None)
        if self.resuming:
            self._keep_summary()
        else:
            self.claim()
            overrides = OmegaConf.to_yaml(OmegaConf.create(without_trust(HydraConfig.get().overrides.task)))
            write_text(self.folder / "overrides.yaml", overrides)
            if split is not None:
                self.folder.write_json("split.json", split)
        for name, text in (files or {}).items():
            # An earlier version may have died between config.yaml and these.
            if not self.resuming or not (self.folder / name).exists():
                write_text(self.folder / name, text)
        # Last, because its presence says that the folder can be resumed.
        write_text(self.folder / "config.yaml", OmegaConf.to_yaml(without_borrowed(config), resolve=True))

    def _keep_summary(self) -> None:
        """Keeps the summary of a run that goes on to another number of epochs, under the number it has."""
        file = self.folder / "config.yaml"
        done, now = self.earlier.get("epochs"), OmegaConf.select(self.config, "trainer.max_epochs")
        before = read_config(file, f"resume={self.folder.path}: config.yaml")
        if now is None or before.trainer.max_epochs == now or type(done) is not int:
            return
        kept = f"summary.{done}.json"
        if not (self.folder / kept).exists():
            self.folder.write_json(kept, self.earlier)

    def check_split(self, found: str, files: str | None = None) -> None:
        """Refuses to continue a run on other images than those it was started on.

        Args:
            found: the hash of the places that the images of each part have among all.
            files: the hash of their files' names; None where they have none. Older folders have none.

        Raises:
            ConfigError: the folder's `split.json` names another hash.
        """
        check_split(self.folder, found, files)

    def run(self, body: Callable[[], None]) -> None:
        """Runs the body and writes the summary, whatever happens.

        Raises:
            RunFailed: the body broke down, or something could not be written; the traceback is in
                `error.txt`.
            KeyboardInterrupt: the run was stopped; it can be resumed.
        """
        try:
            with sigterm_as_interrupt():
                self.write("running")
                if self.leads:
                    self._announce()
                body()
            if self.leads:
                # What an earlier, failed start left behind is no longer true.
                (self.folder / "error.txt").unlink(missing_ok=True)
            self.write("finished")
        except (KeyboardInterrupt, Stopped) as error:
            unwritten = self._sum_up("stopped")
            if unwritten is not None:
                raise RunFailed(f"stopped; {unwritten}\n{self._kept()}") from unwritten
            resumes = self.config.command in RESUMED
            continued = f"continue with: {self.again()}" if resumes else "start it anew"
            say(f"stopped; {continued}")
            raise KeyboardInterrupt from error
        except Exception as error:
            unwritten = write_failure(error)
            if isinstance(error, ConfigError) and unwritten is None:
                self._failed(str(error))
                raise
            told = str(error if unwritten is None else unwritten) or type(error).__name__
            not_told = self._failed(f"{type(error).__name__}: {error}" if unwritten is None else told)
            where = f"The traceback is in {self.folder / 'error.txt'}; "
            if not self.leads or unwritten is not None:
                where = ""
            elif not_told is not None:
                where = f"{not_told}; "
            raise RunFailed(f"{told}{printed.to_try(error, self.config)}\n{where}{self._kept()}") from error
        finally:
            if self._lock is not None:
                self._lock.release()

    def _announce(self) -> None:
        """Heads the log with what runs, on what, and where it is kept."""
        config = self.config
        genotype = {"genotype": shown(str(config.genotype))} if "genotype" in config else {}
        recipe = {"recipe": config.recipe.name} if "recipe" in config else {}
        # A prediction draws nothing but where a network does.
        model = {key: shown(str(config[key]), 400) for key in ("model", "input") if "model" in config}
        words = model or genotype | self._choices() | recipe | {"seed": config.seed}
        log.info("%s: %s", config.command, ", ".join(f"{name} {word}" for name, word in words.items()))
        if "hardware" in config:
            log.info("hardware %s: %s", config.hardware.name, device_name(config.hardware.accelerator))
        log.info("%s %s", "resumed in" if self.resuming else "run folder", self.folder.path)

    def lost(self, message: str) -> str:
        """Sums up a run whose processes have not all lasted, just before this one is ended too.

        Returns:
            What the user is to read.
        """
        self._failed(f"PeerLost: {message}")
        return f"{message}; {self._kept()}"

    def _failed(self, message: str) -> WriteFailed | None:
        self.summary["error"] = message
        return self._sum_up("failed", traceback.format_exc() if sys.exc_info()[0] else f"{message}\n")

    def _sum_up(self, status: str, told: str | None = None) -> WriteFailed | None:
        """Writes how the run ended, as far as that can be written; returns what could not."""
        try:
            self.write(status)
            if told is not None and self.leads:
                write_text(self.folder / "error.txt", told)
                keep(f"{status}: {self.summary['error']}")
        except WriteFailed as error:
            return error
        return None

    def progress(self, numbers: Mapping[str, Any]) -> None:
        """Sums up a run that goes on, so that a killed one has told how far it came."""
        self.summary |= numbers
        self.write("running")

    def nothing_left(self, epochs_done: int) -> bool:
        """Whether the run that is to be resumed has reached its end; says so."""
        earlier, planned = self.earlier, self.config.trainer.max_epochs
        # Fewer where a callback ended the training, until the run gets more.
        end = earlier.get("epochs") if earlier.get("planned_epochs") == planned else planned
        done = earlier.get("status") == "finished" and type(end) is int and epochs_done >= end
        if done:
            say(f"{self.folder.path} is finished already ({epochs_done} epochs); nothing is left to do")
            if self._lock is not None:
                self._lock.release()  # not when the garbage collector comes by
        return done

    @property
    def caption(self) -> str:
        """What every picture of this run carries."""
        words = {"run": self.folder.title} | self._choices() | {"seed": self.config.seed}
        return ", ".join(f"{name} {word}" for name, word in words.items())

    def _choices(self) -> dict[str, str]:
        """What was chosen of the groups that say what a run is about, as far as its command has them."""
        groups = {"space": "space", "method": "method", "algorithm": "algorithm", "dataset": "data"}
        return {word: self.config[key].name for key, word in groups.items() if key in self.config}

    def again(self) -> str:
        """The command that continues this run."""
        return printed.again(self.config, self.folder.path)

    def _kept(self) -> str:
        again = self.again() if self.config.command in RESUMED else None
        return self.folder.kept(again, trains="trainer" in self.config)

    def write(self, status: str) -> None:
        """Writes `summary.json` as things stand."""
        if not self.leads:
            return
        if self._lock is not None:
            self._lock.check()
        config = self.config
        groups = ("space", "method", "dataset", "recipe", "hardware")
        hardware = config.hardware if "hardware" in config else {}
        head = {
            "schema": SCHEMA,
            "command": config.command,
            "status": status,
            **{key: config[key].name if key in config else None for key in groups},
            "seed": config.seed,
            "seconds": round(self._before + time.monotonic() - self._start, 3),
            "device": device_name(hardware.get("accelerator", "cpu")),
            "threads": hardware.get("threads"),
            "versions": self._versions,
            "git_commit": self._commit,
        }
        if config.get("restarts"):
            head["restarts"] = plain(config.restarts)
        self.folder.write_json("summary.json", head | self.summary)


def _refuse_multirun(config: DictConfig) -> None:
    require(
        HydraConfig.get().mode != RunMode.MULTIRUN or not several(plain(config.hardware)),
        f"hardware={config.hardware.name}: a multirun cannot start several processes per job "
        f"(hardware.devices={config.hardware.devices}, num_nodes={config.hardware.num_nodes}), since each "
        f"would re-run the sweep; {processes.WAY_OUT}",
    )


def _callback(node: Any) -> Any:
    require(
        isinstance(node, DictConfig) and isinstance(node.get("_target_"), str),
        f"trainer.callbacks: {shown(node)}: must be a list of nodes {{_target_: <class>, ...}}",
    )
    return instantiate(node)


def trainer_of(
    config: DictConfig,
    folder: RunFolder,
    clock: Any,
    recorder: Any,
    varies: bool,
    clip: float | None = None,
    max_epochs: int | None = None,
) -> Any:
    """Lightning's Trainer as configured, without a logger yet; up to `max_epochs` if that comes first."""
    search = config.command == "search"
    strategy = strategy_of(plain(config.hardware), config.processes.timeout, search)
    checks = [DriftCheck(config.processes.drift_check_every)] if search else []
    options = plain(config.trainer)
    if varies:
        options["reload_dataloaders_every_n_epochs"] = 1
    if max_epochs is not None:
        options["max_epochs"] = max_epochs
    profiler = config.trainer.profiler
    options["profiler"] = instantiate(profiler) if isinstance(profiler, DictConfig) else profiler
    options.pop("callbacks", None)
    own = [*map(_callback, config.trainer.get("callbacks") or ()), *held.callbacks()]
    return build_trainer(
        plain(config.hardware) | {"strategy": strategy},
        options,
        plain(config.checkpoint),
        folder.checkpoints,
        config.seed,
        clock,
        [recorder, EndAtOnce(), *checks, *own],
        clip,
    )
