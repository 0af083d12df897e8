"""A call leaves the process as it found it, however it ends; it works in a thread, and one at a time."""

import contextlib
import logging
import os
import random
import signal
import sys
import threading
import warnings

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.version import VersionBase
from omegaconf import OmegaConf
from omegaconf.basecontainer import BaseContainer
from pytorch_lightning import Callback

import nas
from nas.api.results import Interrupted
from nas.running.config import CONF, register_resolvers
from tests.api.small import evaluate, search


class Breaks(Callback):
    def __init__(self, error):
        self.error = error

    def on_train_batch_end(self, *args):
        raise self.error


class Remembers(logging.Handler):
    def __init__(self):
        super().__init__()
        self.lines = []

    def emit(self, record):
        self.lines.append(record.getMessage())


def state():
    """Everything that a call is to put back."""
    root = logging.getLogger()
    loggers = [one for one in root.manager.loggerDict.values() if isinstance(one, logging.Logger)]
    quieter = ("pytorch_lightning", "lightning", "lightning_fabric", "torch.utils.cpp_extension")
    quieter += ("matplotlib.font_manager",)
    return {
        "folder": os.getcwd(),
        "environment": dict(os.environ),
        "arguments": list(sys.argv),
        "streams": (sys.stdout, sys.stderr, sys.excepthook),
        "root": (root.level, list(root.handlers), list(root.filters), root.disabled, root.manager.disable),
        "loggers": {one.name: (one.level, list(one.handlers), one.propagate) for one in loggers},
        "quieter": {name: logging.getLogger(name).level for name in quieter},
        "warnings": (list(warnings.filters), warnings.showwarning),
        "random": random.getstate(),
        "numpy": repr(np.random.get_state()),
        "torch": torch.get_rng_state().tolist(),
        "threads": torch.get_num_threads(),
        "dtype": torch.get_default_dtype(),
        "deterministic": (
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
            torch.backends.cudnn.benchmark,
            torch.backends.cudnn.deterministic,
        ),
        "matmul": torch.get_float32_matmul_precision(),
        "gradients": torch.is_grad_enabled(),
        "signals": {one: signal.getsignal(one) for one in signal.valid_signals()},
        "hydra": (
            GlobalHydra.instance().hydra,
            HydraConfig.instance().cfg,
            VersionBase.instance().version_base,
        ),
        "resolvers": dict(BaseContainer._resolvers),
    }


@pytest.fixture
def settings():
    """Unusual values of what a run sets, so that putting back the usual ones would show."""
    root, threads, filters = logging.getLogger(), torch.get_num_threads(), list(warnings.filters)
    handlers, level, matmul = list(root.handlers), root.level, torch.get_float32_matmul_precision()
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    mine = Remembers()
    root.handlers, root.level = [mine], logging.ERROR
    resolvers = dict(BaseContainer._resolvers)
    OmegaConf.register_new_resolver("now", lambda pattern: "mine", replace=True)
    torch.set_num_threads(2)
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.set_float32_matmul_precision("medium")
    yield mine
    BaseContainer._resolvers.clear()
    BaseContainer._resolvers.update(resolvers)
    torch.set_float32_matmul_precision(matmul)
    torch.use_deterministic_algorithms(False)
    torch.set_num_threads(threads)
    root.handlers, root.level = handlers, level
    warnings.filters[:] = filters
    signal.signal(signal.SIGTERM, before)


def refused():
    search(more=["method.no_such_key=1"])


def broken(tmp_path):
    search(callbacks=[Breaks(RuntimeError("a broken callback"))], folder=tmp_path / "broken")


@pytest.mark.parametrize("how", ["success", "refused", "broken", "interrupted"])
def test_nothing_of_the_process_changes(how, settings, tmp_path):
    # What is imported and set once, on the first call of a process.
    with contextlib.suppress(nas.ConfigError):
        search(more=["space=no_such_space"])
    expected = state()
    if how == "success":
        assert search(more=["hardware.threads=1"]).status == "finished"
    elif how == "refused":
        with pytest.raises(nas.ConfigError, match=r"unknown key 'method.no_such_key'") as told:
            refused()
        assert told.value.__cause__ is None and not (tmp_path / "refused").exists()
    elif how == "broken":
        with pytest.raises(nas.RunFailed, match="a broken callback") as told:
            broken(tmp_path)
        assert f"resume={tmp_path / 'broken'}" in str(told.value) and told.value.__cause__ is not None
    else:
        with pytest.raises(KeyboardInterrupt):
            search(callbacks=[Breaks(KeyboardInterrupt())], folder=tmp_path / "stopped")
    found = state()
    for name, value in expected.items():
        if name == "loggers":
            # Loggers that are new are nobody's yet.
            found[name] = {one: found[name][one] for one in value}
        assert found[name] == value, name
    assert settings.lines == []


def test_a_caller_in_the_midst_of_something_gets_the_same_numbers(tmp_path, monkeypatch, capsys):
    """Double precision, another device, no gradients, autocast, torch's newer switches and no stream."""
    usual = search(folder=tmp_path / "usual")
    matmul = torch.backends.cuda.matmul
    newer = hasattr(matmul, "fp32_precision")
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(logging, "raiseExceptions", True)
    torch.set_default_dtype(torch.float64)
    torch.set_default_device("meta")
    before = matmul.fp32_precision if newer else None
    try:
        if newer:
            matmul.fp32_precision = "tf32"
        with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
            found = search(folder=tmp_path / "found")
            assert torch.is_inference_mode_enabled() and torch.is_autocast_enabled("cpu")
        assert (torch.get_default_dtype(), torch.get_default_device().type) == (torch.float64, "meta")
        assert not newer or matmul.fp32_precision == "tf32"
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_default_device(None)
        if newer:
            matmul.fp32_precision = before
    for table in ("metrics.csv", "architecture.csv", "genotype.json"):
        assert (found.folder / table).read_bytes() == (usual.folder / table).read_bytes(), table
    assert "Logging error" not in capsys.readouterr().err


def test_a_name_that_is_not_known_is_told_in_one_line():
    for words, told in (
        ({"space": "dart"}, "space=dart: unknown; known are darts, darts_rnn, dso"),
        ({"method": "drna"}, "method=drna: unknown; known are bayesnas"),
        ({"hardware": "tpu"}, "hardware=tpu: unknown; known are cpu, ddp8, gpu"),
    ):
        with pytest.raises(nas.ConfigError) as found:
            search(**words)
        assert str(found.value).startswith(told) and "\n" not in str(found.value)
        assert "given" not in str(found.value)


def test_a_refused_setting_leaves_nothing(tmp_path):
    for wrong in (["method.xi=nonsense"], ["space=nowhere"], ["trainer.max_epochs=3"], ["-m"], ["seed=1,2"]):
        with pytest.raises(nas.ConfigError):
            search(folder=tmp_path / "a" / "run", more=wrong)
    assert not list(tmp_path.iterdir())


@pytest.fixture
def interrupts():
    """Ctrl-C as Python has it: what a shell starts in the background ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_leaves_a_result_that_goes_on(tmp_path, interrupts):
    whole = search(epochs=2, folder=tmp_path / "whole")

    class Stops(Callback):
        def on_train_epoch_start(self, trainer, pl_module):
            if trainer.current_epoch == 1:
                signal.raise_signal(signal.SIGINT)

    with pytest.raises(Interrupted, match=r"nas\.resume") as told:
        search(epochs=2, folder=tmp_path / "part", callbacks=[Stops()])
    result = told.value.result
    assert result.status == "stopped" and len(result.metrics) == 1
    assert nas.resume(result, verbose=False).status == "finished"
    for name in ("architecture.csv", "genotype.json"):
        assert (whole.folder / name).read_bytes() == (result.folder / name).read_bytes()


def test_it_works_in_a_thread_and_one_call_at_a_time(tmp_path, caplog):
    alone = search(folder=tmp_path / "alone", more=["hardware.threads=1"])
    main, told, found, order = threading.get_ident(), Remembers(), {}, []
    running = threading.Event()

    class Notes(Callback):
        def __init__(self, name):
            self.name = name

        def on_fit_start(self, trainer, pl_module):
            order.append(f"{self.name} begins")
            running.set()
            logging.getLogger("theirs").error("from within %s", threading.get_ident() == main)

        def on_fit_end(self, trainer, pl_module):
            order.append(f"{self.name} ends")

    def one(name):
        found[name] = search(
            folder=tmp_path / name, callbacks=[Notes(name)], more=["hardware.threads=1"], epochs=1
        )

    root = logging.getLogger()
    root.addHandler(told)
    try:
        threads = [threading.Thread(target=one, args=(name,)) for name in ("first", "second")]
        for thread in threads:
            thread.start()
        assert running.wait(60)
        # What others log in the meantime goes where it always went.
        logging.getLogger("theirs").error("while a run is at work")
        for thread in threads:
            thread.join(120)
    finally:
        root.removeHandler(told)
    assert [one.partition(" ")[2] for one in order] == ["begins", "ends"] * 2, order
    assert "while a run is at work" in told.lines
    assert "from within False" not in told.lines, "what a run's thread logs is the run's"
    for name in ("first", "second"):
        assert found[name].status == "finished"
        for table in ("metrics.csv", "architecture.csv", "genotype.json"):
            assert (found[name].folder / table).read_bytes() == (alone.folder / table).read_bytes()
    log = (found["first"].folder / "search.log").read_text()
    assert "from within False" in log and "while a run is at work" not in log


def test_a_quiet_run_mutes_nobody_else(capsys):
    class Prints(Callback):
        def on_train_start(self, trainer, pl_module):
            print("of the run")
            other = threading.Thread(target=print, args=("of another thread",))
            other.start()
            other.join()

    search(callbacks=[Prints()])
    assert capsys.readouterr().out == "of another thread\n"
    search(callbacks=[Prints()], verbose=True)
    heard = capsys.readouterr().out
    assert "of the run\n" in heard and "epoch 0 (1/1)" in heard and "evaluate:" in heard


def test_a_call_from_within_a_run_is_refused():
    class Calls(Callback):
        def on_fit_start(self, trainer, pl_module):
            search()

    with pytest.raises(nas.ConfigError, match="a run is at work already"):
        search(callbacks=[Calls()])


def test_several_processes_are_started_from_a_shell(monkeypatch):
    with pytest.raises(nas.ConfigError, match=r"python -m nas.search .*hardware.devices=2"):
        search(more=["hardware.devices=2"])
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(nas.ConfigError, match="one of several"):
        search()


def test_an_application_of_hydra_s_keeps_its_own(tmp_path):
    register_resolvers()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        mine, job = GlobalHydra.instance().hydra, OmegaConf.create({"hydra": {"job": {"name": "theirs"}}})
        HydraConfig.instance().cfg = job
        assert evaluate("DARTS_V2", "digits", more=["recipe.num_cells=3", "recipe.init_channels=2"]).accuracy
        assert GlobalHydra.instance().hydra is mine and HydraConfig.instance().cfg is job
        HydraConfig.instance().cfg = None
        assert compose("search", ["space=nasbench201"]).space.name == "nasbench201"
    GlobalHydra.instance().clear()
