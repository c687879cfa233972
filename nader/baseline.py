"""The paper's baseline of direct code generation: a model's Python module, tried in an isolated process.

No code of a model ever runs in our own process. Where the system grants no filter on system calls, it does
not run at all. The filter lets through what computes, waits and reads files, and refuses all else: sockets,
writing or changing a file, signals to other processes and everything else that is done to one, new processes
and threads. What is left to the code: it may read files that the user may read; where the system grants no
namespaces (many containers), so it may what /proc tells of the user's other processes, environment included.
It can neither send nor keep what it reads, except in the text of an error: the first 300 characters become
the verdict's message, which is shown to a person and put to no model.

The verdict is a report of the process about itself. It counts only with a word that is told to the process
before the module is loaded, so that a module which merely prints a verdict is not believed; one that searches
the interpreter's memory for the word would be. So a verdict says how a model's honest code fares, and nothing
depends on it but a benchmark's figures.
"""

import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nader.errors import NaderError

PROBE = Path(__file__).with_name("baseline_probe.py")
MOST_OUTPUT = 64 * 1024
"""Bytes that are read of what the process says."""
MOST_MESSAGE = 300
"""Characters of an error that are kept."""


class BaselineError(NaderError):
    """Code that could not be tried, because the process could not be isolated or started."""


@dataclass(frozen=True)
class CodeLimits:
    """What a try may take."""

    memory: int = 8 * 2**30
    """Bytes of address space, PyTorch's own included."""
    processor_s: int = 60
    """Seconds of processor time, importing PyTorch included."""
    seconds: float = 180.0
    """Seconds by the clock."""


@dataclass(frozen=True)
class CodeVerdict:
    """What became of a module."""

    kind: str
    """`ok`, `interface`, `shape`, `number`, `error`, `memory`, `time-out` or `crash`."""
    message: str
    isolation: tuple[str, ...]
    """What held: `limits` and `filter`, always; `no-network` and `read-only` where namespaces are granted."""
    seconds: float

    @property
    def executable(self) -> bool:
        """Whether cell, stem and downsample block ran forward and backward, with the right shapes."""
        return self.kind == "ok"


def try_code(code: str, limits: CodeLimits | None = None) -> CodeVerdict:
    """Run a module of the prompt `direct_code` in an isolated process: whether it is executable, and why not.

    Raises `BaselineError` where no process can be had that is isolated.
    """
    limits, began, word = limits or CodeLimits(), time.monotonic(), secrets.token_hex(16)
    with tempfile.TemporaryDirectory(prefix="nader-code-") as folder:
        path = Path(folder) / "block.py"
        path.write_text(code, encoding="utf-8", errors="replace")
        output, status, expired = _run(path, limits, word)
    seconds = round(time.monotonic() - began, 3)
    said = _last_line(output, word)
    if said is not None:
        if said["kind"] == "unprotected":
            raise BaselineError(f"code of a model is not run here: {said['message']}")
        return CodeVerdict(said["kind"], said["message"], said["isolation"], seconds)
    if expired or -status == signal.SIGXCPU:
        return CodeVerdict("time-out", "the module took longer than it may", (), seconds)
    return CodeVerdict("crash", f"the process ended with status {status}", (), seconds)


def _run(path: Path, limits: CodeLimits, word: str) -> tuple[bytes, int, bool]:
    """What the process said, its exit status, and whether its time was over."""
    command = [sys.executable, "-I", "-B", str(PROBE), str(path), str(limits.memory), str(limits.processor_s)]
    environment = {"PATH": os.defpath, "HOME": str(path.parent), "OMP_NUM_THREADS": "1", "LC_ALL": "C.UTF-8"}
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=path.parent,
            env=environment,
            start_new_session=True,
        )
    except OSError as error:
        raise BaselineError(f"no process for a model's code can be started: {error.strerror}") from None
    expired = threading.Event()

    def end() -> None:
        expired.set()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)

    timer = threading.Timer(limits.seconds, end)
    timer.start()
    try:
        assert process.stdin is not None and process.stdout is not None
        with contextlib.suppress(BrokenPipeError), process.stdin as told:
            told.write(word.encode())
        output = process.stdout.read(MOST_OUTPUT)
        if len(output) == MOST_OUTPUT:
            process.kill()  # nothing of ours says so much
        return output, process.wait(), expired.is_set()
    finally:
        timer.cancel()
        process.kill()
        process.stdout.close()  # type: ignore[union-attr]
        process.wait()


def _last_line(output: bytes, word: str) -> dict[str, Any] | None:
    """The verdict that the process printed last; None where it is none, or not with the word."""
    lines = output.decode("utf-8", errors="replace").strip().splitlines()
    try:
        said = json.loads(lines[-1]) if lines else None
    except ValueError:
        return None
    if not isinstance(said, dict) or said.get("word") != word:
        return None
    if not all(isinstance(said.get(k), str) for k in ("kind", "message")):
        return None
    message = "".join(c if c.isprintable() else " " for c in said["message"])[:MOST_MESSAGE]
    isolation = tuple(str(part) for part in said.get("isolation", ())) if said.get("isolation") else ()
    return {"kind": said["kind"], "message": message, "isolation": isolation}
