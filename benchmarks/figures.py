"""What a benchmark prints, and how it is measured: figures with their targets, the best of a few times, the
disk's own speed.
"""

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Figure:
    """One line of the result."""

    row: str
    what: str
    value: float
    unit: str
    target: str = ""
    met: bool | None = None


def at_least(row: str, what: str, value: float, unit: str, target: float) -> Figure:
    """A figure that should be no less than its target."""
    return Figure(row, what, value, unit, f"≥ {target:g}", value >= target)


def at_most(row: str, what: str, value: float, unit: str, target: float) -> Figure:
    """A figure that should be no more than its target."""
    return Figure(row, what, value, unit, f"≤ {target:g}", value <= target)


def best_rate(events: int, work: Callable[[], object], times: int = 5) -> float:
    """Events for each second of this process's CPU, best of a few: the wall-clock rate of a machine of its
    own.

    What is measured so is one thread over cached pages, and so is no faster by the clock than by the CPU.
    """
    seconds = []
    for _ in range(times):
        start = time.process_time()
        work()
        seconds.append(time.process_time() - start)
    return events / min(seconds)


def fdatasync(folder: Path, times: int = 200) -> float:
    """Median milliseconds of a 4 KiB write made durable in place."""
    seconds = []
    with (folder / "probe").open("wb", buffering=0) as file:
        file.write(b"\0" * 4096 * times)
        os.fsync(file.fileno())
        for n in range(times):
            start = time.perf_counter()
            os.pwrite(file.fileno(), b"x" * 4096, 4096 * n)
            os.fdatasync(file.fileno())
            seconds.append(time.perf_counter() - start)
    return statistics.median(seconds) * 1e3


@contextmanager
def working_folder(given: Path | None) -> Iterator[Path]:
    """The folder given, else one that is removed afterwards."""
    if given is not None:
        given.mkdir(parents=True, exist_ok=True)
        yield given
    else:
        with tempfile.TemporaryDirectory(dir=Path.cwd()) as name:
            yield Path(name)
