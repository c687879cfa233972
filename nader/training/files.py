"""Files of a training folder: written whole or not at all, and one writer at a time."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from nader.training.errors import DiskFullError, TrainingError

CHECKPOINT, WEIGHTS, RESULT = "checkpoint.safetensors", "weights.safetensors", "result.json"

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def fault(point: str) -> None:
    """Die here by SIGKILL if the environment says NADER_FAULT=POINT[:n], on the n-th time: crash tests."""
    wanted, _, count = os.environ.get("NADER_FAULT", "").partition(":")
    if wanted == point:
        _seen[point] = _seen.get(point, 0) + 1
        if _seen[point] == int(count or 1):
            os.kill(os.getpid(), signal.SIGKILL)


_seen: dict[str, int] = {}


def write_atomic(path: Path, data: bytes) -> None:
    """Write, fsync and rename. Raises DiskFullError where the disk, a quota or a file limit is full."""
    partial = path.with_name(path.name + ".part")
    try:
        with partial.open("wb") as file:
            half = len(data) // 2
            file.write(data[:half])
            fault("during-checkpoint")
            file.write(data[half:])
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        if error.errno in _FULL:
            raise DiskFullError(
                f"{path.name} ({len(data) / 1e6:.1f} MB) could not be written to {path.parent}: "
                f"{error.strerror}."
            ) from error
        raise TrainingError(f"{path} cannot be written: {error.strerror}.") from error


@contextlib.contextmanager
def only_writer(folder: Path, patience: float = 60.0) -> Iterator[None]:
    """Hold the folder's lock. Waits for another process that is leaving; raises TrainingError if it stays."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / ".lock").open("w")
    except OSError as error:
        if error.errno in _FULL:
            raise DiskFullError(
                f"The training folder {folder} could not be made: {error.strerror}."
            ) from error
        raise TrainingError(f"The training folder {folder} cannot be written: {error.strerror}.") from error
    with lock:
        deadline = time.monotonic() + patience
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise TrainingError(f"Another process is training in {folder}.") from None
                time.sleep(0.05)
        yield
