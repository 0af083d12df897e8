"""Processes that start with everything imported: forks of one that has done nothing but import.

`import torch, pytorch_lightning, timm` takes ten seconds of a processor, a small search takes one. A command
that a test starts is therefore a fork of a process that holds the imports. It has its own arguments,
environment, folder and streams, runs as `python -m` runs a module and ends as an interpreter ends. Where a
variable is to differ that Python or a library reads as it starts, an ordinary process is started instead.
"""

import functools
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TextIO

import numpy as np
from omegaconf import OmegaConf

from nas.running.declared import declared
from tests import cheap

ROOT = Path(__file__).resolve().parent.parent
# What the interpreter and libraries read as they start, so that a fork would not see it change. KMP_ is not
# here: scikit-learn sets two of these as it is imported, which may be after the first fork.
AT_START = (
    "PYTHON", "OMP_", "MKL_", "LD_", "LC_", "LANG", "TORCH_", "CUDA_", "MPL",
    "TMPDIR", "HOME", "XDG_",
)  # fmt: skip
COMMANDS = (
    "bench",
    "blackbox",
    "cost",
    "dashboard",
    "derive",
    "evaluate",
    "export",
    "latency",
    "predict",
    "protocol",
    "rank",
    "report",
    "search",
    "sweeps",
)
IMPORTED = (
    *(f"nas.commands.{name}" for name in COMMANDS), "matplotlib.pyplot", "matplotlib.backends.backend_agg",
    "torch.utils.flop_counter", "torch.utils.cpp_extension", "sklearn.datasets",
)  # fmt: skip
SKETCHES = "NAS_TESTS_SKETCHES"  # set: pictures are one white pixel
LARGEST = 1 << 20  # bytes of a request: arguments and environment


def launch(
    words: Sequence[object],
    *,
    cwd: Path = ROOT,
    env: Mapping[str, str] | None = None,
    stdout: int | None = subprocess.PIPE,
    stderr: int | None = subprocess.PIPE,
    start_new_session: bool = False,
) -> "subprocess.Popen | Fork":
    """Starts `python ...`; what comes back has a `Popen`'s pid, streams (text), signals and waiting.

    Args:
        words: the interpreter, `-m` or `-c`, the module or the code, and its arguments.
        env: all variables; None takes those of this process.
        stdout: `PIPE`, `STDOUT` (stderr alone) or an open file, as for a `Popen`; so `stderr`.
        start_new_session: whether it gets a process group of its own.
    """
    line = [str(word) for word in words]
    environment = dict(os.environ if env is None else env)
    server, started_with = forker()
    if line[1] in ("-m", "-c") and at_start(environment) == at_start(started_with):
        return Fork(server, line, cwd, environment, stdout, stderr, start_new_session)
    return subprocess.Popen(
        line, cwd=cwd, env=environment, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr, text=True,
        start_new_session=start_new_session,
    )  # fmt: skip


def finish(words: Sequence[object], timeout: float = 120, **options) -> subprocess.CompletedProcess:
    """Runs `python ...` to its end, which a timeout brings about by SIGKILL; the options are `launch`'s."""
    process = launch(words, **options)
    try:
        out, err = process.communicate(timeout=timeout)
    except BaseException:
        process.kill()
        process.communicate()
        raise
    return subprocess.CompletedProcess(list(words), process.returncode, out, err)


def at_start(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that count before the first line of a program."""
    return {name: value for name, value in environment.items() if name.startswith(AT_START)}


class Fork:
    """A forked command; `returncode` is minus the signal where one ended it."""

    def __init__(self, server, line, cwd, environment, stdout, stderr, session) -> None:
        self.args = line
        self.returncode: int | None = None
        request = json.dumps([line, str(cwd), environment, session]).encode()
        assert len(request) < LARGEST
        self._status, theirs = socket.socketpair(type=socket.SOCK_SEQPACKET)
        out, self.stdout = pipe(stdout)
        err, self.stderr = (out, None) if stderr == subprocess.STDOUT else pipe(stderr)
        socket.send_fds(server, [request], [theirs.fileno(), out, err])
        theirs.close()
        for end, given in ((out, stdout), (err, stderr)):
            if given == subprocess.PIPE:
                os.close(end)
        self.pid = int(self._status.recv(64))
        self._texts: dict[str, str] = {}
        self._readers: list[threading.Thread] = []

    def poll(self) -> int | None:
        return self._result(0)

    def wait(self, timeout: float | None = None) -> int:
        code = self._result(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(self.args, timeout)
        return code

    def _result(self, timeout: float | None) -> int | None:
        if self.returncode is None and select.select([self._status], [], [], timeout)[0]:
            self.returncode = int(self._status.recv(64))
            self._status.close()
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str | None, str | None]:
        """What is left of its output, read to the end of both streams, which may outlive it in a child."""
        if not self._readers:
            for name in ("stdout", "stderr"):
                if stream := getattr(self, name):
                    reader = threading.Thread(target=self._drain, args=(name, stream), daemon=True)
                    self._readers.append(reader)
                    reader.start()
        for reader in self._readers:
            reader.join(timeout)
            if reader.is_alive():
                raise subprocess.TimeoutExpired(self.args, timeout)
        self.wait(timeout)
        return self._texts.get("stdout"), self._texts.get("stderr")

    def _drain(self, name: str, stream: TextIO) -> None:
        self._texts[name] = stream.read()
        stream.close()

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def pipe(given: int | TextIO | None) -> tuple[int, TextIO | None]:
    """The descriptor that a process is to write to, and the end that is read where it is a pipe."""
    if given == subprocess.PIPE:
        reading, writing = os.pipe()
        return writing, open(reading, encoding="utf-8")
    return (given if isinstance(given, int) else given.fileno()), None


@functools.cache
def forker() -> tuple[socket.socket, Mapping[str, str]]:
    """Starts the process that holds the imports, once, and its environment; it ends when this one does."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    ours, theirs = socket.socketpair(type=socket.SOCK_SEQPACKET)
    subprocess.Popen(
        [sys.executable, "-m", "tests.forks", str(theirs.fileno())],
        cwd=ROOT, env=environment, pass_fds=[theirs.fileno()],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    theirs.close()
    return ours, environment


def serve(requests: socket.socket) -> list[str]:
    """Forks for each request and tells how each fork ended. Returns in forks alone: the line to run."""
    running: dict[int, tuple[int, socket.socket]] = {}
    while True:
        for ready in select.select([requests, *running], [], [])[0]:
            if ready is not requests:
                pid, status = running.pop(ready)
                os.close(ready)
                status.send(str(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])).encode())
                status.close()
                continue
            request, descriptors, *_ = socket.recv_fds(requests, LARGEST, 3)
            if not request:
                raise SystemExit
            line, folder, environment, session = json.loads(request)
            status = socket.socket(fileno=descriptors[0])
            pid = os.fork()
            if pid:
                status.send(str(pid).encode())
                running[os.pidfd_open(pid)] = (pid, status)
                for descriptor in descriptors[1:]:
                    os.close(descriptor)
                continue
            if session:
                os.setsid()
            os.dup2(descriptors[1], 1)
            os.dup2(descriptors[2], 2)
            for descriptor in (*descriptors[1:], *running):
                os.close(descriptor)
            for mine in (requests, status, *(one for _, one in running.values())):
                mine.close()
            os.chdir(folder)
            os.environ.clear()
            os.environ.update(environment)
            return line


def execute(line: list[str]) -> None:
    """As the interpreter does with `-m module ...` and `-c code ...`."""
    np.random.seed()
    sys.orig_argv = line
    option, program, *arguments = line[1:]
    if SKETCHES in os.environ:
        for where, name, sketch in cheap.sketches():
            setattr(where, name, sketch)
    sys.path[0] = os.getcwd() if option == "-m" else ""
    if option == "-m":
        sys.argv = [program, *arguments]
        runpy.run_module(program, run_name="__main__", alter_sys=True)
    else:
        sys.argv = ["-c", *arguments]
        sys.modules["__main__"] = main = ModuleType("__main__")
        exec(compile(program, "<string>", "exec"), vars(main))


if __name__ == "__main__":
    channel = socket.socket(fileno=int(sys.argv[1]))
    for name in IMPORTED:
        importlib.import_module(name)
    cheap.remember()
    for name in COMMANDS:
        declared(name)
    for file in sorted((ROOT / "conf").rglob("*.yaml")):
        OmegaConf.load(file)
    gc.collect()
    gc.freeze()
    execute(serve(channel))
