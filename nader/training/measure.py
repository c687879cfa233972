"""What a network costs on this machine: latency of one image, and peak memory of a training."""

from __future__ import annotations

import contextlib
import ctypes
import statistics
import time
from pathlib import Path

import torch
from torch import nn


def latency_ms(model: nn.Module, image: torch.Tensor, budget: float = 0.2, most: int = 50) -> float:
    """Median milliseconds of a forward pass over `image` [1, C, H, W] in evaluation mode."""
    model.eval()
    cuda = image.device.type == "cuda"
    times: list[float] = []
    began = time.perf_counter()
    with torch.no_grad():
        for i in range(most + 2):
            start = time.perf_counter()
            model(image)
            if cuda:
                torch.cuda.synchronize(image.device)
            if i >= 2:
                times.append(time.perf_counter() - start)
                if time.perf_counter() - began > budget:
                    break
    return 1000 * statistics.median(times)


class PeakMemory:
    """Peak memory since construction: CUDA allocator bytes, or the process's peak resident size."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            return
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)  # give back what an earlier training left in the heap
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")  # Linux: VmHWM starts again from here

    def bytes(self) -> int:
        """The peak so far."""
        if self._device.type == "cuda":
            return int(torch.cuda.max_memory_allocated(self._device))
        try:
            lines = Path("/proc/self/status").read_text().splitlines()
            return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
        except (OSError, StopIteration):
            import resource

            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
