"""Whether this machine can serve a profile, told before anything is read, and what a process sets once."""

import importlib.util
import logging
import os
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.accelerators import AcceleratorRegistry
from pytorch_lightning.plugins.environments import LSFEnvironment, TorchElasticEnvironment

from nas.engine.machine.limits import processors
from nas.engine.machine.memory import keep_freed_memory
from nas.engine.machine.processes import NUMBER
from nas.errors import ConfigError, require, require_whole

log = logging.getLogger(__name__)
DRIVER = Path("/proc/driver/nvidia/version")
GPU = ("gpu", "cuda")
# SLURM's job names that Lightning takes for a shell in which someone starts processes by hand.
INTERACTIVE = ("bash", "interactive")
# The last release with kernels for capability 6.1, from the last index that has them (pytorch#190385).
PASCAL_BUILD = 'pip install "torch<2.15" torchvision --index-url https://download.pytorch.org/whl/cu126'
ANY_BUILD = "pip install torch torchvision (https://pytorch.org says which index has kernels for which GPU)"
# Processes on a processor's place, beyond which they only wait for each other and for memory.
CROWD = 4
THREADS = "OMP_NUM_THREADS"
MOST_THREADS = 1024  # as hardware.threads
# Compute capabilities: of kernels in bfloat16, and of what torch.compile can generate code for.
BF16, COMPILE = (8, 0), (7, 0)


def check_hardware(hardware: Mapping, searches: bool = False) -> None:
    """Refuses a profile that this machine cannot serve, and says what was found.

    Args:
        hardware: the `hardware` group.
        searches: whether it is for the steps of a search, which alone are recorded.

    Raises:
        ConfigError: devices, nodes or a compiler are missing, or a GPU is too old for an option or for this
            build of torch; a value of `devices`, `num_nodes` or `memory_gib` is out of range.
    """
    name, accelerator = hardware["name"], hardware["accelerator"]
    nodes, memory = hardware["num_nodes"], hardware.get("memory_gib")
    require_whole("hardware.num_nodes", nodes, 1)
    require(
        memory is None or (isinstance(memory, int | float) and memory > 0),
        f"hardware.memory_gib={memory}: must be null or a number of GiB above 0",
    )
    _check_graph(hardware, searches)
    if accelerator in GPU:
        _check_gpus(hardware, _gpu_numbers(hardware["devices"], name))
    elif accelerator != "auto":
        known = AcceleratorRegistry.available_accelerators()
        require(
            accelerator in known,
            f"hardware.accelerator={accelerator}: unknown; known are auto, gpu, {', '.join(sorted(known))}",
        )
        require(
            _available(accelerator),
            f"hardware={name}: hardware.accelerator={accelerator}: there is none on this machine, or this "
            f"build of torch ({torch.__version__}) cannot use it; choose hardware=cpu",
        )
    if hardware["compile"]:
        _check_compiler(accelerator)
    _check_launch(hardware)


def lack(hardware: Mapping) -> str | None:
    """Why this machine cannot serve a profile, in words; None if it can."""
    try:
        check_hardware(hardware, searches=True)
    except ConfigError as error:
        return str(error)
    return None


def use_device(hardware: Mapping) -> None:
    """Sets what holds for the whole process: threads, the speed of matrix products, freed memory."""
    if hardware["accelerator"] == "cpu" and hardware["keep_memory"]:
        keep_freed_memory()
    threads = threads_of(hardware)
    torch.set_num_threads(threads)
    if count_devices(hardware) > 1:
        # Lightning would choose itself, for this process and those that it starts.
        os.environ[THREADS] = str(threads)
    if threads > 1:
        _warn_if_busy(threads)


def threads_of(hardware: Mapping) -> int:
    """The threads of torch in each process of a run, whatever the load of the moment is.

    `hardware.threads`, or where that is null OMP_NUM_THREADS, or the processors that this process may use
    divided by the processes of the run on this machine.

    Raises:
        ConfigError: `hardware.devices` is no number of devices.
    """
    if hardware["threads"]:
        return hardware["threads"]
    given = os.environ.get(THREADS, "").split(",")[0].strip()
    if NUMBER.fullmatch(given) and int(given):
        return min(int(given), MOST_THREADS)
    return max(1, processors() // count_devices(hardware))


def _warn_if_busy(threads: int) -> None:
    with suppress(OSError, AttributeError):
        load, cores = os.getloadavg()[0], os.cpu_count() or 1
        if load > cores:
            log.warning(
                "this machine is busy (a load of %.1f on %d processors): %d threads that wait for one "
                "another can take many times as long as one, so consider hardware.threads=1",
                load,
                cores,
                threads,
            )


def count_devices(hardware: Mapping) -> int:
    """Processes on this machine that `hardware.devices` stands for: 2, "2", [0, 1], "0,1", -1 or auto.

    Raises:
        ConfigError: the value is none of these.
    """
    devices = hardware["devices"]
    if hardware["accelerator"] in GPU:
        return len(_gpu_numbers(devices, hardware["name"]))
    if devices == "auto":
        return 1
    number = int(devices) if isinstance(devices, str) and NUMBER.fullmatch(devices.strip()) else devices
    require(
        isinstance(number, int) and not isinstance(number, bool) and number >= 1,
        f"hardware.devices={devices}: with accelerator={hardware['accelerator']} it must be a number of "
        "processes above 0",
    )
    return number


def describe_gpus() -> str:
    """What there is of CUDA on this machine, in words: GPUs, or why none can be used."""
    gpus = [f"{_gpu(number)}" for number in range(torch.cuda.device_count())]
    build = "built without CUDA" if torch.version.cuda is None and torch.version.hip is None else None
    about = [f"torch {torch.__version__}" + (f" ({build})" if build else ""), _driver()]
    if "CUDA_VISIBLE_DEVICES" in os.environ:
        about.append(f"CUDA_VISIBLE_DEVICES={os.environ['CUDA_VISIBLE_DEVICES']!r}")
    return f"{len(gpus)}{': ' if gpus else ''}{', '.join(gpus)} ({', '.join(about)})"


def _available(accelerator: str) -> bool:
    try:
        return AcceleratorRegistry.get(accelerator).is_available()
    except ModuleNotFoundError:
        return False


def _gpu(number: int) -> str:
    major, minor = torch.cuda.get_device_capability(number)
    gib = torch.cuda.get_device_properties(number).total_memory / 2**30
    return f"{torch.cuda.get_device_name(number)} (capability {major}.{minor}, {gib:.1f} GiB)"


def _driver() -> str:
    try:
        version = re.search(r"\b\d+\.\d+(\.\d+)?\b", DRIVER.read_text())
    except OSError:
        return "no NVIDIA driver loaded"
    return f"NVIDIA driver {version[0]}" if version else "NVIDIA driver of unknown version"


def _gpu_numbers(devices: Any, name: str) -> list[int]:
    """The GPUs that a value of `devices` names, as Lightning reads it; at least one."""
    wrong = (
        f"hardware.devices={devices}: must be a number of GPUs above 0, a list of their numbers ([0,2] or "
        '"0,2"), or -1 or auto for all'
    )
    if isinstance(devices, str) and devices.strip() not in ("auto", "-1"):
        require(re.fullmatch(r"\s*\d{1,9}\s*(,\s*\d{1,9}\s*)*,?\s*", devices) is not None, wrong)
        numbers = [int(part) for part in devices.split(",") if part.strip()]
        devices = numbers if "," in devices else numbers[0]
    if isinstance(devices, str) or devices == -1:
        # At least one, which is then found missing.
        return list(range(max(1, torch.cuda.device_count())))
    if isinstance(devices, int) and not isinstance(devices, bool):
        require(devices >= 1, wrong)
        return list(range(devices))
    require(isinstance(devices, Sequence) and len(devices) > 0, wrong)
    require(all(type(number) is int and number >= 0 for number in devices), wrong)  # true is no number
    require(len(set(devices)) == len(devices), f"hardware={name}: hardware.devices={devices} names one twice")
    return list(devices)


def _check_gpus(hardware: Mapping, numbers: Sequence[int]) -> None:
    name = hardware["name"]
    if max(numbers) >= torch.cuda.device_count():
        count = len(numbers)
        named = numbers != list(range(count))
        wanted = f"the CUDA GPUs {list(numbers)}" if named else f"{count} CUDA GPU{'s' * (count > 1)}"
        raise ConfigError(
            f"hardware={name}: needs {wanted}, found {describe_gpus()}; choose hardware=cpu, or set "
            "hardware.devices"
        )
    if torch.version.hip is not None:
        return  # AMD's cards count their capabilities otherwise
    for number in numbers:
        _check_gpu(hardware, number)


def _check_gpu(hardware: Mapping, number: int) -> None:
    name, capability = hardware["name"], torch.cuda.get_device_capability(number)
    architectures = torch.cuda.get_arch_list()
    build = PASCAL_BUILD if capability < COMPILE else ANY_BUILD
    require(
        _has_kernels(capability, architectures),
        f"hardware={name}: torch {torch.__version__} has kernels for {', '.join(architectures)} and none for "
        f"{_gpu(number)}, which needs sm_{capability[0]}{capability[1]}; install a build that has: {build}",
    )
    require(
        "bf16" not in str(hardware["precision"]) or capability >= BF16,
        f"hardware.precision={hardware['precision']}: bfloat16 needs compute capability 8.0, found "
        f"{_gpu(number)}; set hardware.precision=32-true",
    )
    require(
        not hardware["compile"] or capability >= COMPILE,
        f"hardware.compile=true: the compiler needs compute capability 7.0, found {_gpu(number)}; set "
        "hardware.compile=false",
    )


def _has_kernels(capability: tuple[int, int], architectures: Sequence[str]) -> bool:
    """Whether one of a build's architectures runs on a GPU.

    Machine code (`sm_80`) runs on GPUs of the same generation that are not older, intermediate code
    (`compute_80`) is translated for any that is not older (NVIDIA's CUDA C++ programming guide, "binary" and
    "PTX compatibility"). A suffix as in `sm_90a` ties code to that one GPU.
    """
    for architecture in architectures:
        parts = re.fullmatch(r"(sm|compute)_(\d+)(\d)([af]?)", architecture)
        if parts is None:
            continue
        of = (int(parts[2]), int(parts[3]))
        if parts[4] == "a":
            fits = of == capability
        elif parts[1] == "compute" and not parts[4]:
            fits = of <= capability
        else:
            fits = of[0] == capability[0] and of[1] <= capability[1]
        if fits:
            return True
    return False


def _check_graph(hardware: Mapping, searches: bool) -> None:
    """That steps which are recorded are those of one GPU, and not compiled as well."""
    if not hardware.get("graph"):  # not in older run folders
        return
    accelerator, off = hardware["accelerator"], "set hardware.graph=false"
    require(searches, f"hardware.graph=true: the steps of searches alone are recorded; {off}")
    require(
        accelerator in GPU,
        f"hardware.graph=true: a CUDA graph is recorded by a GPU, and hardware.accelerator={accelerator} is "
        f"none; {off}",
    )
    require(
        not hardware["compile"],
        f"hardware.graph=true: what hardware.compile=true makes of a network was never recorded; {off}, or "
        "hardware.compile=false",
    )
    require(
        hardware["devices"] in (1, "1") and hardware["num_nodes"] == 1,
        "hardware.graph=true: processes average gradients between passes, which is not recorded; set "
        "hardware.devices=1, or hardware.graph=false",
    )


def _check_compiler(accelerator: str) -> None:
    if accelerator in GPU:
        require(
            importlib.util.find_spec("triton") is not None,
            "hardware.compile=true: torch.compile needs the package triton on a GPU, which is not installed; "
            "set hardware.compile=false",
        )
        return
    known = (os.environ.get("CXX"), "c++", "g++", "clang++")
    require(
        any(shutil.which(command) for command in known if command),
        "hardware.compile=true: torch.compile needs a C++ compiler, and none was found (CXX, c++, g++, "
        "clang++); set hardware.compile=false",
    )


def _check_launch(hardware: Mapping) -> None:
    """That the processes of several machines, or of a SLURM step, are those that the profile counts on."""
    devices, nodes = count_devices(hardware), hardware["num_nodes"]
    environment = os.environ
    key = f"hardware={hardware['name']}"
    if "SLURM_NTASKS" in environment and environment.get("SLURM_JOB_NAME") not in INTERACTIVE:
        typed = f"srun --nodes={nodes} --ntasks-per-node={devices}"
        for variable, wanted, setting in (
            ("SLURM_NNODES", nodes, "hardware.num_nodes"),
            ("SLURM_NTASKS_PER_NODE", devices, "hardware.devices"),
        ):
            # SLURM writes 8(x2) where it is the same on two nodes.
            value = environment.get(variable, str(wanted)).split("(")[0]
            require(
                value == str(wanted),
                f"{key}: {variable}={environment.get(variable)}, but {setting}={wanted}; start it with "
                f"{typed}, or set {setting}={value}",
            )
        require(
            devices * nodes == 1 or "SLURM_NTASKS_PER_NODE" in environment,
            f"{key}: {devices * nodes} processes, but SLURM_NTASKS_PER_NODE is not set; start them with "
            f"{typed}",
        )
        return
    if TorchElasticEnvironment.detect():
        world, local = int(environment["WORLD_SIZE"]), int(environment.get("LOCAL_WORLD_SIZE", devices))
        require(
            (world, local) == (devices * nodes, devices),
            f"{key}: torchrun started {world} processes, {local} on this machine, but hardware.devices="
            f"{devices} and hardware.num_nodes={nodes} make {devices * nodes}; start it with torchrun "
            f"--nnodes={nodes} --nproc-per-node={devices}",
        )
        return
    by_hand = {"MASTER_ADDR", "NODE_RANK"} <= set(environment)
    if not by_hand and not LSFEnvironment.detect():
        _check_starting(devices, hardware["accelerator"])
    require(
        nodes == 1 or by_hand or LSFEnvironment.detect(),
        f"{key}: hardware.num_nodes={nodes}, but this process was started by neither srun nor torchrun (no "
        f"SLURM_NTASKS, no TORCHELASTIC_RUN_ID in its environment); start it with srun --nodes={nodes} "
        f"--ntasks-per-node={devices}, or set hardware.num_nodes=1",
    )


def _check_starting(devices: int, accelerator: str) -> None:
    """That Lightning can start the other processes: as this command again, on processors that there are."""
    if devices == 1:
        return
    cores = processors()
    require(
        accelerator != "cpu" or devices <= CROWD * cores,
        f"hardware.devices={devices}: this run has {cores} processor{'s' * (cores > 1)}, and more than "
        f"{CROWD} processes for each would only wait for one another; at most {CROWD * cores}",
    )
    main = sys.modules["__main__"]
    require(
        getattr(main, "__spec__", None) is not None or os.path.isfile(sys.argv[0]),
        f"hardware.devices={devices}: the others are started as this one was, and {sys.argv[0]} is no "
        "file; start it as python -m nas.<command>, or set hardware.devices=1",
    )
