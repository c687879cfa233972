"""What `nader doctor` finds out about the machine: device, cores, memory, shared memory.

Each judgement is a pure function of facts, so that a machine that is not at hand can be tested; `look`
gathers the facts of this one.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from nader.assembly import slots_of
from nader.cli.finding import Finding, note, ok, problem
from nader.cli.output import number_of, size
from nader.settings import TrainingSettings
from nader.training.slots import BYTES_PER_CPU_SLOT, gpu_sign, share_of_memory, usable_gpus

ENOUGH_SHM = 512 << 20
"""Bytes of shared memory below which Ray and multi-process loaders fail in ways that are hard to
understand."""
ENOUGH_MEMORY = 2 << 30
"""Bytes of memory that a training worker with torch on the CPU takes, with room to spare."""


@dataclass(frozen=True)
class Gpus:
    """What is known of the machine's accelerators."""

    torch_version: str
    built_for: str
    """CUDA or ROCm version that torch was built for; empty for a build for the CPU only."""
    seen: tuple[tuple[str, int], ...]
    """Name and memory (bytes) of each GPU that torch can use."""
    present: str
    """How the system shows a GPU: a device file or what nvidia-smi says; empty if nothing does."""
    visible: str | None = None
    """$CUDA_VISIBLE_DEVICES."""
    mps: bool = False


@dataclass(frozen=True)
class Cores:
    """What is known of the processor."""

    online: int
    usable: float
    """Cores this process may use: the smaller of its affinity and its container's quota."""
    threads: str | None
    """$OMP_NUM_THREADS."""
    load: float
    """Running processes, averaged over the last minute."""


def judge_gpus(gpus: Gpus) -> Finding:
    """Whether torch uses the accelerator that the machine has."""
    if gpus.seen:
        names = ", ".join(f"{name} ({size(memory)})" for name, memory in gpus.seen)
        return ok("device", f"{len(gpus.seen)} GPU{'s' if len(gpus.seen) > 1 else ''}: {names}")
    if gpus.mps:
        return note("device", "CPU: trainings do not use the Apple GPU (mps)")
    if not gpus.present:
        return ok("device", "CPU (this machine shows no GPU)")
    if not gpus.built_for:
        return problem(
            "device",
            f"the machine has a GPU ({gpus.present}), but torch {gpus.torch_version} is built for CPUs only",
            "install a torch with CUDA (or ROCm) as https://pytorch.org/get-started/locally says; "
            "until then trainings run on the CPU",
        )
    if gpus.visible is not None and gpus.visible.strip() in ("", "-1"):
        return problem(
            "device",
            f"the machine has a GPU ({gpus.present}), but CUDA_VISIBLE_DEVICES={gpus.visible!r} hides it",
            "unset CUDA_VISIBLE_DEVICES or name the device in it",
        )
    return problem(
        "device",
        f"the machine has a GPU ({gpus.present}), but torch (built for {gpus.built_for}) does not see it",
        "update the driver, or install a torch for the driver there is (nvidia-smi names it); "
        "in a container, start it with the GPU passed through",
    )


def judge_cores(cores: Cores) -> Iterator[Finding]:
    """Whether threads and processes get in each other's way."""
    usable = max(1, int(cores.usable))
    yield ok("cores", f"{usable} of {cores.online} usable")
    if cores.threads and cores.threads.isdecimal() and int(cores.threads) > usable:
        yield problem(
            "threads",
            f"OMP_NUM_THREADS={cores.threads} asks for more threads than the {usable} usable cores",
            f"set OMP_NUM_THREADS to at most {usable}: threads that wait for a core slow the others",
        )
    if cores.load > usable + 0.5:
        yield note(
            "threads",
            f"about {cores.load:.1f} processes are running on {usable} cores already",
            "a training that shares its cores can take many times longer: wait, or set training.slots=1",
        )


def judge_shared_memory(total: int | None, on_ray: bool = False) -> Finding:
    """Whether /dev/shm is large enough; `total` in bytes, None where the system has none.

    Too little stops trainings on Ray alone.
    """
    if total is None:
        return ok("shared memory", "this system has no /dev/shm, and none is needed")
    if total >= ENOUGH_SHM:
        return ok("shared memory", f"/dev/shm has {size(total)}")
    return (problem if on_ray else note)(
        "shared memory",
        f"/dev/shm has only {size(total)}",
        f"local trainings do not need it; for `training.backend=ray` make it at least {size(ENOUGH_SHM)} "
        "(in a container: --shm-size=1g)",
    )


def judge_memory(available: int | None) -> Finding:
    """Whether a training worker finds room; `available` in bytes."""
    if available is None:
        return ok("memory", "not known on this system")
    if available >= ENOUGH_MEMORY:
        return ok("memory", f"{size(available)} available")
    return note("memory", f"only {size(available)} available", "set training.slots=1, or end other programs")


def judge_slots(devices: Sequence[str], threads: int, cores: float, memory: int) -> Finding:
    """Whether the trainings that would run at once have a core for each thread, and memory enough.

    `devices` has one entry a slot; `memory` is what a worker may use, in bytes.
    """
    said = f"{number_of(len(devices), 'training')} at once, {number_of(threads, 'thread')} each"
    usable = max(1, int(cores))
    on_cpu = sum(device == "cpu" for device in devices)
    if on_cpu * threads > usable:
        return problem(
            "slots",
            f"{said}, on {number_of(usable, 'usable core')}",
            f"set training.slots to at most {max(1, usable // threads)}, or training.threads to less: "
            "threads that wait for a core slow all others",
        )
    if memory < BYTES_PER_CPU_SLOT:
        return problem(
            "slots",
            f"{said}, with {size(memory)} of memory each; torch and a small data set take "
            f"{size(BYTES_PER_CPU_SLOT)}",
            "set training.slots to less, or training.memory_gb to more",
        )
    return ok("slots", f"{said}, each with up to {size(memory)} of memory")


def look(training: TrainingSettings) -> Iterator[Finding]:
    """The findings about this machine, for trainings by these settings."""
    yield judge_gpus(_gpus())
    cores = _cores()
    yield from judge_cores(cores)
    yield judge_memory(_available_memory())
    yield judge_shared_memory(_shared_memory(), training.backend == "ray" and not training.address)
    if training.backend == "local":
        devices = [slot.device for slot in slots_of(training)]
        share = min(share_of_memory(len(devices)), int(training.memory_gb * 1e9))
        yield judge_slots(devices, training.threads, cores.usable, share)


def _gpus() -> Gpus:
    import torch

    devices = [torch.cuda.get_device_properties(index) for index in range(usable_gpus())]
    seen = tuple((device.name, device.total_memory) for device in devices)
    built_for = torch.version.cuda or getattr(torch.version, "hip", None) or ""
    mps = getattr(torch.backends, "mps", None)
    return Gpus(
        torch.__version__,
        built_for,
        seen,
        _present_gpu(),
        os.environ.get("CUDA_VISIBLE_DEVICES"),
        bool(mps and mps.is_available()),
    )


def _present_gpu() -> str:
    """How the system itself shows a GPU, whether or not torch sees it."""
    if shutil.which("nvidia-smi"):
        try:
            asked = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
            said = subprocess.run(asked, capture_output=True, text=True, timeout=10, check=False)
        except (OSError, subprocess.TimeoutExpired):
            said = None
        if said is not None and said.returncode == 0 and said.stdout.strip():
            return said.stdout.strip().splitlines()[0]
    return gpu_sign()


def _cores() -> Cores:
    online = os.cpu_count() or 1
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else online
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    return Cores(online, min(affinity, _quota() or affinity), os.environ.get("OMP_NUM_THREADS"), load)


def _quota() -> float | None:
    """Cores that the container's quota allows (cgroup version 2); None where there is none."""
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError):
        return None


def _available_memory() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    kilobytes = next((line.split()[1] for line in lines if line.startswith("MemAvailable:")), None)
    return int(kilobytes) * 1024 if kilobytes else None


def _shared_memory() -> int | None:
    try:
        state = os.statvfs("/dev/shm")
    except (OSError, AttributeError):
        return None
    return state.f_blocks * state.f_frsize
