"""One worker process as its parent sees it: started, given a job, watched, killed."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nader
from nader.training.hopeless import HopelessRule
from nader.training.job import OUTCOME, Curve, EpochPoint, Failed, FailureKind, Progress, Trained, TrainingJob
from nader.training.slots import BYTES_PER_CPU_SLOT

PASSED_ON = (
    "PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "NADER_DATA",
    "NADER_FAULT", "XDG_DATA_HOME", "XDG_CACHE_HOME", "CUDA_VISIBLE_DEVICES", "CUDA_HOME",
    "NVIDIA_VISIBLE_DEVICES", "TRITON_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR", "SSL_CERT_FILE",
)  # fmt: skip
"""All that a worker inherits: no key, no token, nothing else of the user's environment."""


def worker_environment(threads: int) -> dict[str, str]:
    """The environment of a worker: what is passed on, and what keeps torch from spinning on shared cores."""
    roots = [
        str(Path(nader.__file__).resolve().parent.parent),
        *os.environ.get("PYTHONPATH", "").split(os.pathsep),
    ]
    return {
        **{name: os.environ[name] for name in PASSED_ON if name in os.environ},
        "PYTHONPATH": os.pathsep.join(filter(None, roots)),
        "PYTHONUNBUFFERED": "1",
        "PYTHONHASHSEED": "0",
        "OMP_WAIT_POLICY": "PASSIVE",
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
    }


class WorkerProcess:
    """A running `python -m nader.training.worker` in its own process group."""

    def __init__(self, process: asyncio.subprocess.Process, memory_limit: int | None) -> None:
        self._process, self._memory_limit = process, memory_limit
        self._errors: collections.deque[str] = collections.deque(maxlen=60)
        self._drain = asyncio.create_task(self._read_errors())
        self._killed_for: Failed | None = None
        self.ready = False
        self.heard = False
        """Whether the worker said anything of the job it has now."""

    @classmethod
    async def start(cls, device: str, memory_limit: int | None, threads: int = 1) -> WorkerProcess:
        """Start a worker, which imports torch while the caller goes on. Raises OSError where none starts."""
        command = [sys.executable, "-m", "nader.training.worker", "--device", device]
        # CUDA reserves far more address space than it uses: there the resident size is watched instead.
        if memory_limit is not None and device == "cpu":
            command += ["--memory-limit", str(memory_limit)]
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=worker_environment(threads),
            start_new_session=True,
            limit=1 << 24,
        )
        return cls(process, memory_limit)

    @property
    def pid(self) -> int:
        """Process id, and id of the process group."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process still runs."""
        return self._process.returncode is None

    async def train(
        self,
        job: TrainingJob,
        folder: Path,
        on_progress: Callable[[Progress], None],
        *,
        baseline: Curve | None,
        rule: HopelessRule | None,
        heartbeat_timeout: float,
        step_timeout: float,
        time_limit: float | None,
    ) -> Trained | Failed:
        """Hand over a job and follow it to its outcome, or to the worker's end."""
        began = time.monotonic()
        curve: list[EpochPoint] = []
        order = {
            "type": "job",
            "job": job.model_dump(mode="json"),
            "folder": str(folder.resolve()),
            "baseline": [p.model_dump() for p in baseline] if baseline else None,
            "rule": rule.model_dump() if rule else None,
        }
        self.heard = False
        await self._tell(order)
        steps, stepped = -1, time.monotonic()
        while True:
            message = await self._next(heartbeat_timeout)
            now = time.monotonic()
            if message is None:
                failed = await self._explain_end(heartbeat_timeout)
                return failed.model_copy(update={"curve": tuple(curve), "seconds": now - began})
            self.heard = True
            if message["type"] == "outcome":
                outcome = OUTCOME.validate_python(message["outcome"])
                return (
                    outcome
                    if isinstance(outcome, Trained)
                    else outcome.model_copy(update={"seconds": now - began})
                )
            if message["type"] == "progress":
                progress = Progress(**message["progress"])
                curve += [progress.point] if progress.point else []
                on_progress(progress)
                stepped = now
            elif message["type"] == "beat" and message["steps"] != steps:
                steps, stepped = message["steps"], now
            self._watch(now - stepped > step_timeout, step_timeout, time_limit, now - began)

    def _watch(self, stuck: bool, step_timeout: float, time_limit: float | None, elapsed: float) -> None:
        """Kill a worker that does no steps, takes too long or holds too much memory."""
        if stuck:
            self._kill_for(
                FailureKind.HANG, f"The worker lives but finished no step for {step_timeout:.12g} s."
            )
        elif time_limit is not None and elapsed > time_limit:
            self._kill_for(
                FailureKind.TIME_OUT, f"The training took longer than its limit of {time_limit:.12g} s."
            )
        elif self._memory_limit is not None and (held := resident_bytes(self.pid)) > self._memory_limit:
            self._kill_for(
                FailureKind.HOST_OOM,
                f"The worker held {held / 1e9:.1f} GB of memory; its limit is "
                f"{self._memory_limit / 1e9:.1f} GB.",
            )

    def _kill_for(self, kind: FailureKind, message: str) -> None:
        self._killed_for = Failed(kind=kind, message=message)
        self.kill()

    async def _next(self, timeout: float) -> dict[str, Any] | None:
        """The worker's next message; None where it fell silent or ended."""
        assert self._process.stdout is not None
        while True:
            # A worker that has not said `ready` is importing torch, which can take long on a busy machine.
            patience = timeout if self.ready else max(timeout, 120.0)
            try:
                line = await asyncio.wait_for(self._process.stdout.readline(), patience)
            except (TimeoutError, ValueError):
                return None
            if not line.endswith(b"\n"):
                return None
            message = json.loads(line)
            if message["type"] == "ready":
                self.ready = True
                continue
            return message

    async def _explain_end(self, heartbeat_timeout: float) -> Failed:
        """Why no message came: the worker hangs (then it is killed), or died of a signal, or left."""
        if self._killed_for is None and self._process.returncode is None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._process.wait(), 1.0)
        if self._killed_for is None and self._process.returncode is None:
            self._kill_for(
                FailureKind.HANG, f"The worker gave no sign of life for {heartbeat_timeout:.12g} s."
            )
        await self.end()
        errors = "\n".join(self._errors)
        if self._killed_for is not None:
            return self._killed_for.model_copy(update={"detail": errors})
        failed = explain_exit(self._process.returncode or 0, errors)
        return failed if self.ready else explain_start(failed, self._memory_limit)

    async def stop_training(self) -> None:
        """Ask the worker to checkpoint and give up the job; its outcome is then `cancelled`."""
        await self._tell({"type": "stop"})

    async def _tell(self, message: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(ConnectionError):  # a dead worker is explained by what is read from it
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            await self._process.stdin.drain()

    def kill(self) -> None:
        """SIGKILL the whole process group, now."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    async def end(self) -> None:
        """Kill the group and wait until it is gone."""
        self.kill()
        await self._process.wait()
        await self._drain
        # Pipes that are still open would be closed by the garbage collector, perhaps after the event loop.
        self._process._transport.close()  # type: ignore[attr-defined]

    async def _read_errors(self) -> None:
        assert self._process.stderr is not None
        with contextlib.suppress(ValueError, ConnectionError):
            async for line in self._process.stderr:
                self._errors.append(line.decode(errors="replace").rstrip())


def explain_start(failed: Failed, memory_limit: int | None) -> Failed:
    """The failure of a worker that ended before it was ready: for want of memory where it has little."""
    if memory_limit is not None and memory_limit < BYTES_PER_CPU_SLOT:
        message = (
            f"The worker ended before it could begin: its memory limit of {memory_limit / 1e9:.2f} GB is too "
            "little to load torch in; raise training.memory_gb, or lower training.slots."
        )
        return failed.model_copy(update={"kind": FailureKind.HOST_OOM, "message": message})
    last = failed.detail.strip().rpartition("\n")[2].rstrip(".")
    said = f" Its last words: {last}." if last else ""
    return failed.model_copy(update={"message": f"{failed.message} It had not begun to train.{said}"})


def explain_exit(code: int, errors: str) -> Failed:
    """A worker's exit status (negative: a signal) as a typed failure."""
    if code in (-signal.SIGSEGV, -signal.SIGBUS, -signal.SIGILL, -signal.SIGFPE, -signal.SIGABRT):
        name = signal.Signals(-code).name
        return Failed(
            kind=FailureKind.SEGFAULT,
            message=f"The worker crashed with {name} in native code.",
            detail=errors,
        )
    if code == -signal.SIGKILL:
        message = (
            "The worker was killed from outside (SIGKILL), which is what the kernel does "
            "when the machine's memory runs out."
        )
        return Failed(kind=FailureKind.HOST_OOM, message=message, detail=errors)
    how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
    return Failed(
        kind=FailureKind.PYTHON_ERROR, message=f"The worker ended with {how} before a result.", detail=errors
    )


def resident_bytes(pid: int) -> int:
    """Resident memory of a process; 0 where the system does not tell."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError, ValueError):
        return 0
