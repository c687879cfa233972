"""Where trainings run on this machine: one slot a GPU share, or a CPU core."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

BYTES_PER_CPU_SLOT = 1 << 30
"""What a worker with torch and a small data set needs; no more slots are suggested than fit."""


@dataclass(frozen=True)
class Slot:
    """A place for one training at a time."""

    index: int
    device: str

    def __str__(self) -> str:
        return f"slot {self.index} ({self.device})"


def suggest_slots(per_gpu: int = 1, threads: int = 1) -> tuple[Slot, ...]:
    """`per_gpu` slots for each GPU that torch can use, one a GPU first; without one, a slot for so many
    `threads` of this process's cores.
    """
    devices = [f"cuda:{i}" for _ in range(per_gpu) for i in range(usable_gpus())]
    return make_slots(devices or ["cpu"] * max(1, cpu_slots() // threads))


def make_slots(devices: list[str]) -> tuple[Slot, ...]:
    """One slot for each device named; a device may be named several times."""
    return tuple(Slot(i, device) for i, device in enumerate(devices))


SIGNS = (
    "/proc/driver/nvidia/gpus", "/dev/nvidia0", "/dev/nvidiactl", "/dev/nvmap", "/dev/kfd", "/dev/dxg",
)  # fmt: skip
"""What a system shows that has a GPU torch may use: NVIDIA's driver, also on Jetson, ROCm's, WSL2's."""


def gpu_sign() -> str:
    """How the system shows a GPU, whether or not torch can use it; empty where nothing does."""
    found = next((sign for sign in SIGNS if Path(sign).exists()), None)
    return found or shutil.which("nvidia-smi") or ""


def usable_gpus() -> int:
    """GPUs torch can use, by CUDA or ROCm. Imports torch only on a machine that shows one."""
    if not gpu_sign():
        return 0
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def cpu_slots() -> int:
    """Cores of this process's affinity and cgroup quota, as far as memory reaches; at least 1."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(affinity, _quota(), share_of_memory(1) // BYTES_PER_CPU_SLOT))


def share_of_memory(slots: int) -> int:
    """Bytes that each of so many workers may use: nine tenths of the memory, shared equally."""
    return int(0.9 * memory_bytes()) // slots


def _quota() -> int:
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return max(1, int(quota) // int(period))
    except (OSError, ValueError):
        return 1 << 16


def memory_bytes() -> int:
    """Memory this process may use: the machine's, or its cgroup's limit where that is less."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        return min(total, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    except (OSError, ValueError):
        return total
