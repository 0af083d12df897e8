"""A profile that this machine lacks is refused at once, with what was found and what to do."""

from types import SimpleNamespace

import pytest
import torch
from hydra import compose, initialize_config_dir

from nas.engine.machine import hardware as module
from nas.engine.machine.hardware import check_hardware, count_devices, lack, threads_of, use_device
from nas.errors import ConfigError
from nas.running.config import CONF, plain, register_resolvers

# torch 2.14's wheels from the CUDA 12.6 index, and those from PyPI.
OLD_BUILD = ["sm_50", "sm_60", "sm_70", "sm_75", "sm_80", "sm_86", "sm_90"]
NEW_BUILD = ["sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120", "compute_120"]
LAUNCHERS = ("SLURM_", "TORCHELASTIC_", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "NODE_RANK")


@pytest.fixture
def profile():
    """`profile("gpu", devices=2)` -> the group as commands see it, with some values of its own."""
    register_resolvers()

    def call(name, **values):
        with initialize_config_dir(str(CONF), version_base="1.3"):
            return plain(compose("search", [f"hardware={name}"]).hardware) | values

    return call


@pytest.fixture(autouse=True)
def no_launcher(monkeypatch):
    """No process of this test was started by SLURM or torchrun, wherever the tests run."""
    import os

    for name in [name for name in os.environ if name.startswith(LAUNCHERS)]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    # As a command is: a worker of the tests has no file to start others from.
    monkeypatch.setattr("sys.argv", [__file__])


@pytest.fixture
def gpus(monkeypatch):
    """`gpus(("GTX 1080 Ti", (6, 1)), architectures=[...])`: makes torch report these."""

    def call(*cards, architectures=NEW_BUILD, gib=10.9):
        properties = SimpleNamespace(total_memory=int(gib * 2**30))
        replaced = {
            "device_count": lambda: len(cards),
            "get_device_name": lambda number=0: cards[number][0],
            "get_device_capability": lambda number=0: cards[number][1],
            "get_device_properties": lambda number=0: properties,
            "get_arch_list": lambda: architectures,
        }
        for name, function in replaced.items():
            monkeypatch.setattr(torch.cuda, name, function)
        monkeypatch.setattr(torch.version, "hip", None)

    return call


AMPERE, PASCAL, TURING = ("NVIDIA A100", (8, 0)), ("GTX 1080 Ti", (6, 1)), ("RTX 2080 Ti", (7, 5))


@pytest.mark.parametrize(("name", "needs"), [("gpu", "1 CUDA GPU,"), ("ddp8", "8 CUDA GPUs,")])
def test_without_gpus_it_says_how_many_are_needed_and_why_there_are_none(
    name, needs, profile, gpus, monkeypatch
):
    gpus()
    monkeypatch.setattr(torch.version, "cuda", None)
    with pytest.raises(ConfigError) as error:
        check_hardware(profile(name))
    for words in (
        f"hardware={name}: needs {needs} found 0",
        torch.__version__,
        "without CUDA",
        "hardware=cpu",
    ):
        assert words in str(error.value)


def test_gpus_that_are_there_are_named(profile, gpus, monkeypatch):
    gpus(AMPERE, AMPERE)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    with pytest.raises(
        ConfigError, match=r"needs 8 CUDA GPUs, found 2: NVIDIA A100 \(capability 8\.0, 10\.9 GiB\)"
    ) as e:
        check_hardware(profile("ddp8"))
    assert "CUDA_VISIBLE_DEVICES='3,5'" in str(e.value)


def test_the_driver_is_named(tmp_path, profile, gpus, monkeypatch):
    gpus()
    version = tmp_path / "version"
    version.write_text(
        "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19 2023\nGCC version: 12"
    )
    monkeypatch.setattr(module, "DRIVER", version)
    with pytest.raises(ConfigError, match=r"NVIDIA driver 535\.104\.05"):
        check_hardware(profile("gpu"))


@pytest.mark.parametrize(
    ("devices", "found"),
    [(2, 2), ("2", 2), ([1, 2], 2), ("0,2", 2), ("1,", 1), ([2], 1), ("auto", 3), (-1, 3), ("-1", 3)],
)
def test_devices_are_read_as_lightning_reads_them(devices, found, profile, gpus):
    gpus(AMPERE, AMPERE, AMPERE)
    chosen = profile("gpu", devices=devices)
    assert count_devices(chosen) == found
    check_hardware(chosen)


@pytest.mark.parametrize("devices", [0, -2, True, "all", "", "²", [], [0, -1], [0.5], [True], None, {"a": 1}])
def test_other_devices_are_refused(devices, profile, gpus):
    gpus(AMPERE)
    with pytest.raises(ConfigError, match=r"hardware\.devices="):
        check_hardware(profile("gpu", devices=devices))


def test_a_number_of_processes_is_one_that_is_read_as_one(profile, monkeypatch):
    with pytest.raises(ConfigError, match=r"hardware\.devices=²"):
        count_devices(profile("cpu", devices="²"))
    monkeypatch.setenv("OMP_NUM_THREADS", "²")
    assert threads_of(profile("cpu", threads=None)) >= 1


def test_a_gpu_that_is_named_must_be_there_and_named_once(profile, gpus):
    gpus(AMPERE, AMPERE)
    with pytest.raises(ConfigError, match=r"the CUDA GPUs \[0, 2\], found 2"):
        check_hardware(profile("gpu", devices=[0, 2]))
    with pytest.raises(ConfigError, match="twice"):
        check_hardware(profile("gpu", devices="1,1"))


@pytest.mark.parametrize("devices", [0, -1, [0], "0,1", 1.5])
def test_processes_on_a_cpu_are_a_number(devices, profile):
    with pytest.raises(ConfigError, match=r"hardware\.devices="):
        check_hardware(profile("cpu", devices=devices))


def test_a_build_without_kernels_for_the_card_names_the_one_that_has(profile, gpus):
    gpus(PASCAL, architectures=NEW_BUILD)
    with pytest.raises(ConfigError, match=r"none for GTX 1080 Ti .*sm_61.*torch<2\.15.*whl/cu126"):
        check_hardware(profile("gtx1080ti"))
    gpus(PASCAL, architectures=OLD_BUILD)
    check_hardware(profile("gtx1080ti"))


@pytest.mark.parametrize(
    ("capability", "architectures", "served"),
    [
        ((6, 1), ["sm_60"], True),
        ((6, 0), ["sm_61"], False),
        ((8, 9), ["sm_80"], True),
        ((9, 0), ["sm_80"], False),
        ((9, 0), ["sm_80", "compute_80"], True),
        ((9, 0), ["sm_90a"], True),
        ((10, 3), ["sm_100a"], False),
        ((10, 3), ["sm_100f"], True),
        ((12, 0), ["sm_120"], True),
    ],
)
def test_code_runs_on_newer_cards_of_its_generation_and_if_intermediate_on_all(
    capability, architectures, served, profile, gpus
):
    gpus(("card", capability), architectures=architectures)
    assert (lack(profile("gpu", precision="32-true")) is None) == served


def test_bfloat16_needs_a_card_that_has_it(profile, gpus):
    gpus(TURING)
    with pytest.raises(ConfigError, match=r"bf16-mixed: bfloat16 needs .* 8\.0, found RTX 2080 Ti.*32-true"):
        check_hardware(profile("gpu"))
    check_hardware(profile("gpu", precision="32-true"))


@pytest.mark.parametrize(
    ("method", "precision"), [("darts1", "bf16-mixed"), ("drnas", "bf16-mixed"), ("darts2", "32-true")]
)
def test_second_order_is_no_matter_of_bfloat16(method, precision):
    register_resolvers()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        assert compose("search", [f"method={method}", "hardware=ddp8"]).hardware.precision == precision
        assert compose("evaluate", ["hardware=gpu"]).hardware.precision == "bf16-mixed"


def test_compiling_needs_a_card_and_a_compiler(profile, gpus, monkeypatch):
    gpus(PASCAL, architectures=OLD_BUILD)
    with pytest.raises(ConfigError, match=r"compile=true: the compiler needs compute capability 7\.0"):
        check_hardware(profile("gtx1080ti", compile=True))
    gpus(AMPERE)
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="triton"):
        check_hardware(profile("gpu", compile=True))
    monkeypatch.setattr(module.shutil, "which", lambda name: None)
    with pytest.raises(ConfigError, match=r"C\+\+ compiler"):
        check_hardware(profile("cpu", compile=True))


def test_every_card_is_looked_at(profile, gpus):
    gpus(AMPERE, TURING)
    check_hardware(profile("gpu"))
    with pytest.raises(ConfigError, match="RTX 2080 Ti"):
        check_hardware(profile("gpu", devices=[1]))


def test_accelerators_that_are_not_there_are_refused(profile):
    with pytest.raises(ConfigError, match=r"hardware\.accelerator=tpu: there is none"):
        check_hardware(profile("cpu", accelerator="tpu"))
    with pytest.raises(ConfigError, match=r"hardware\.accelerator=quantum: unknown; known are .*cpu"):
        check_hardware(profile("cpu", accelerator="quantum"))


def test_several_machines_need_a_launcher(profile, gpus):
    gpus(*[AMPERE] * 8)
    with pytest.raises(ConfigError, match=r"neither srun nor torchrun.*srun --nodes=2 --ntasks-per-node=8"):
        check_hardware(profile("slurm"))
    with pytest.raises(ConfigError, match=r"hardware\.num_nodes=0"):
        check_hardware(profile("slurm", num_nodes=0))


def slurm(monkeypatch, **variables):
    for name, value in variables.items():
        monkeypatch.setenv(f"SLURM_{name.upper()}", value)


def test_slurm_must_have_started_the_processes_that_the_profile_counts_on(profile, gpus, monkeypatch):
    gpus(*[AMPERE] * 8)
    slurm(monkeypatch, ntasks="16", nnodes="2", ntasks_per_node="8(x2)", job_name="search")
    check_hardware(profile("slurm"))
    with pytest.raises(
        ConfigError, match=r"SLURM_NNODES=2, but hardware\.num_nodes=3; start it with srun --nodes=3"
    ):
        check_hardware(profile("slurm", num_nodes=3))
    with pytest.raises(
        ConfigError, match=r"SLURM_NTASKS_PER_NODE=8.*, but hardware\.devices=4.*hardware\.devices=8"
    ):
        check_hardware(profile("slurm", devices=4))
    monkeypatch.delenv("SLURM_NTASKS_PER_NODE")
    with pytest.raises(ConfigError, match="SLURM_NTASKS_PER_NODE is not set"):
        check_hardware(profile("slurm"))


def test_a_shell_on_a_cluster_is_no_launcher(profile, gpus, monkeypatch):
    gpus(*[AMPERE] * 8)
    slurm(monkeypatch, ntasks="1", nnodes="1", ntasks_per_node="1", job_name="bash")
    check_hardware(profile("ddp8"))
    with pytest.raises(ConfigError, match="neither srun nor torchrun"):
        check_hardware(profile("slurm"))


def test_torchrun_must_have_started_as_many(profile, monkeypatch):
    for name, value in {"TORCHELASTIC_RUN_ID": "1", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    check_hardware(profile("cpu", devices=2, num_nodes=2))
    with pytest.raises(
        ConfigError, match=r"torchrun started 4 processes, 2 on this machine.*--nproc-per-node=2"
    ):
        check_hardware(profile("cpu", devices=2))


@pytest.mark.parametrize("memory", [0, -1, "11 GB"])
def test_memory_is_a_number(memory, profile):
    with pytest.raises(ConfigError, match=rf"hardware\.memory_gib={memory}"):
        check_hardware(profile("cpu", memory_gib=memory))


@pytest.mark.parametrize(
    ("set_to", "environment", "devices", "threads"),
    [
        (None, None, 1, 6),
        (None, None, 4, 1),
        (None, "2", 1, 2),
        (None, "2,1", 1, 2),
        (None, "nonsense", 2, 3),
        (5, "2", 1, 5),
    ],
)
def test_threads_are_those_that_are_set_or_the_processors_at_hand(
    profile, monkeypatch, set_to, environment, devices, threads
):
    monkeypatch.setattr(module, "processors", lambda: 6)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if environment is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", environment)
    monkeypatch.setattr("os.getloadavg", lambda: (99.0, 0.0, 0.0))
    assert threads_of(profile("cpu", threads=set_to, devices=devices)) == threads


def test_a_busy_machine_is_told_of_and_changes_nothing(profile, monkeypatch, caplog):
    taken = []
    monkeypatch.setattr(torch, "set_num_threads", taken.append)
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    for load, threads in ((99.0, 1), (3.9, 3), (99.0, 3)):
        assert not caplog.records
        monkeypatch.setattr("os.getloadavg", lambda load=load: (load, 0.0, 0.0))
        use_device(profile("cpu", threads=threads))
    assert taken == [1, 3, 3]
    assert "a load of 99.0 on 4 processors" in caplog.text and "hardware.threads=1" in caplog.text
