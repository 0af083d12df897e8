"""Which process of a run this one is, before a process group says so, and what the processes agree on first.

A run has several processes if torchrun or Slurm started them, or if Lightning's launcher did: then the first
one starts the others with its own command line. Whoever has rank 0 leads: it alone writes and speaks.
Nothing here imports torch by being imported.
"""

import logging
import os
import re
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

from nas.errors import require
from nas.files import Writer, this_process

# Seconds that a process which does not lead waits for what the leading one has to say.
PATIENCE = 10.0
# A count as it is typed or set; isdigit() knows others, which int() does not read.
NUMBER = re.compile("[0-9]{1,9}")
TOLD = "nas/told"
# What the leading process leaves in the environment of those that Lightning's launcher starts.
STARTED_BY = "NAS_STARTED_BY"
MULTIRUN = ("-m", "--multirun")
WAY_OUT = "run the jobs one by one, or each with hardware.devices=1"


def is_one(devices: Any, nodes: int) -> bool | None:
    """Whether a profile asks for one process; None where that depends on the GPUs that there are.

    Args:
        devices: `hardware.devices`: 2, "2", [0, 1], "0,1", -1 or auto.
        nodes: `hardware.num_nodes`.
    """
    if isinstance(devices, str):
        named = [part for part in devices.split(",") if part.strip()]
        devices = named if "," in devices else int(devices) if NUMBER.fullmatch(devices.strip()) else None
    if nodes != 1:
        return False
    if isinstance(devices, Sequence):
        return len(devices) == 1
    return devices == 1 if devices is not None and devices > 0 else None


def by_torchrun() -> bool:
    """Whether torchrun started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def by_slurm() -> bool:
    """Whether srun started this process as one of several, which Lightning then takes for its ranks."""
    interactive = os.environ.get("SLURM_JOB_NAME") in ("bash", "interactive")
    return int(os.environ.get("SLURM_NTASKS", "1")) > 1 and "SLURM_PROCID" in os.environ and not interactive


def by_launcher() -> bool:
    """Whether Lightning's launcher started this process, whose parent is then the leading one of the node."""
    return STARTED_BY in os.environ and os.environ.get("LOCAL_RANK", "0") != "0"


def leads() -> bool:
    """Whether this process has rank 0, or is alone."""
    if by_torchrun():
        return os.environ.get("RANK", "0") == "0"
    if by_slurm():
        return os.environ["SLURM_PROCID"] == "0"
    node = os.environ.get("NODE_RANK", os.environ.get("GROUP_RANK", "0"))
    return os.environ.get("LOCAL_RANK", "0") == "0" and node == "0"


def name() -> str:
    """This process as messages call it: `process 1`, on several nodes `process 1 of node 0`."""
    if by_torchrun():
        return f"process {os.environ['RANK']}"
    if by_slurm():
        return f"process {os.environ['SLURM_PROCID']}"
    node = os.environ.get("NODE_RANK")
    local = os.environ.get("LOCAL_RANK", "0")
    return f"process {local}" if node in (None, "0") else f"process {local} of node {node}"


def starter() -> list[str]:
    """The words that start a command in as many processes as this run has, as far as they can be known."""
    count = os.environ.get("WORLD_SIZE", "1")
    if not _many_by_torchrun():
        return ["python", "-m"]
    if os.environ.get("LOCAL_WORLD_SIZE", count) != count:
        # Every node had words of its own, such as its rank.
        return ["torchrun", "<options as before>", "-m"]
    return ["torchrun", "--standalone", f"--nproc-per-node={count}", "-m"]


class Roll:
    """Which processes of a run by torchrun are still there, in the store that its agent keeps.

    Each of them enters its name and, when it leaves by itself, says so: one that was killed cannot.
    """

    def __init__(self):
        self._store, self.rank = _store()
        self.size = int(os.environ.get("WORLD_SIZE", "1"))
        self._store.set(f"nas/process/{self.rank}", str(this_process()))

    def leave(self) -> None:
        """Says that this process ends by itself."""
        with suppress(RuntimeError):  # the agent, and with it the store, may have gone
            self._store.set(f"nas/left/{self.rank}", "1")

    def fallen(self) -> list[int]:
        """The ranks of this machine's processes that are gone and have not said so."""
        with suppress(RuntimeError):
            return [rank for rank in range(self.size) if rank != self.rank and self._has_fallen(rank)]
        return []

    def _has_fallen(self, rank: int) -> bool:
        entered, left = f"nas/process/{rank}", f"nas/left/{rank}"
        if not self._store.check([entered]) or self._store.check([left]):
            return False
        host, pid, start = self._store.get(entered).decode().rsplit("-", 2)
        # Asked again: it may have left between the two questions.
        return Writer(host, int(pid), int(start)).gone() and not self._store.check([left])


def hush() -> None:
    """Keeps a process that does not lead from saying what the leading one says; errors stay."""
    if not leads():
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 (open as long as the process)
        logging.disable(logging.WARNING)
        warnings.simplefilter("ignore")
        if not any(word.startswith("hydra/job_logging=") for word in sys.argv[1:]):
            # No log file: the folder is the leading process's.
            sys.argv.append("hydra/job_logging=stdout")


def tell(text: str) -> None:
    """Prints an error on standard error: what all processes would say the leading one alone says.

    Under torchrun the others learn from its store what the leading one has said. Those that Lightning's
    launcher started are ended by it while they wait here. What a process alone has to say it says after the
    wait, with its name in front.
    """
    if leads():
        print(f"error: {text}", file=sys.stderr, flush=True)
        if _many_by_torchrun():
            _store()[0].set(TOLD, _headline(text))
    elif not (_many_by_torchrun() and _told() == _headline(text)):
        if not by_torchrun():
            time.sleep(PATIENCE)
        print(f"error: {name()}: {text}", file=sys.stderr, flush=True)


def _headline(text: str) -> str:
    # What comes after it, where the traceback lies and how to go on, is process 0's alone to say.
    return text.split("\n", 1)[0]


def _told() -> str | None:
    """What the leading process has said, once it has; None if it says nothing for a while."""
    from torch.distributed import DistStoreError

    store, _ = _store()
    try:
        store.wait([TOLD], timedelta(seconds=PATIENCE))
    except DistStoreError:
        return None
    return store.get(TOLD).decode()


def _many_by_torchrun() -> bool:
    return by_torchrun() and os.environ.get("WORLD_SIZE", "1") != "1"


def _store() -> tuple[Any, int]:
    """The store that torchrun's agent keeps for its processes, and this one's rank."""
    from torch.distributed.rendezvous import rendezvous

    store, rank, _ = next(rendezvous("env://"))
    return store, rank


def agreed(key: str, make: Callable[[], str]) -> str:
    """A text that rank 0 makes and that all processes started by torchrun get, before any process group.

    Args:
        key: its name, the same in all processes.
        make: called by rank 0 alone.
    """
    if not _many_by_torchrun():
        return make()
    store, rank = _store()
    if rank == 0:
        store.set(f"nas/{key}", make())
    return store.get(f"nas/{key}").decode()


def check_folder_named(folder: str) -> None:
    """Raises `ConfigError` where each process would choose a run folder of its own."""
    require(
        not by_slurm() and os.environ.get("NODE_RANK", "0") == "0",
        f"hydra.run.dir={folder}: processes that are not started by torchrun, or by Lightning on one node, "
        "cannot agree on a new folder; name one for all, such as "
        "hydra.run.dir='outputs/search/${oc.env:SLURM_JOB_ID}'",
    )


def refuse_multirun(arguments: list[str]) -> None:
    """Raises `ConfigError` for a multirun that torchrun or srun starts several times."""
    require(
        not ((by_slurm() or _many_by_torchrun()) and any(word in MULTIRUN for word in arguments)),
        "a multirun (-m) in several processes: each would run the whole sweep; start it once, without "
        f"torchrun or srun, and {WAY_OUT}",
    )
