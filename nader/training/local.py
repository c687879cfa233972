"""Training on this machine: warm worker processes, one a slot, each replaced after any failure."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from nader.training.errors import TrainingError
from nader.training.hopeless import HopelessRule
from nader.training.job import Curve, Failed, FailureKind, Progress, Trained, TrainingJob
from nader.training.process import WorkerProcess
from nader.training.results import failed, read_result
from nader.training.slots import Slot, make_slots, share_of_memory, suggest_slots
from nader.training.tensorboard import CurveWriter, require_tensorboard


class LocalBackend:
    """A `Backend` of worker processes that stay alive between jobs: torch and the data set load once."""

    def __init__(
        self,
        slots: int | Sequence[Slot] | None = None,
        *,
        memory_limit: int | None = None,
        heartbeat_timeout: float = 60.0,
        step_timeout: float = 900.0,
        time_limit: float | None = None,
        rule: HopelessRule | None = None,
        threads: int = 1,
        tensorboard: bool = False,
    ) -> None:
        """Slots: found on this machine where None; so many on the CPU where a number.

        `memory_limit` is bytes a worker, at most (and by default) its share of nine tenths of the memory; the
        time-outs are seconds without a sign of life, without a finished step, and for a whole training.
        `threads` are those of each worker on the CPU, whatever its jobs say. `tensorboard` writes event
        files beside the checkpoints (TrainingError where it is not installed).
        """
        if tensorboard:
            require_tensorboard()
        if slots is None:
            slots = suggest_slots()
        self._slots = make_slots(["cpu"] * slots) if isinstance(slots, int) else tuple(slots)
        if not self._slots:
            raise TrainingError("A training back end needs at least one slot.")
        share = share_of_memory(len(self._slots))
        self._memory_limit = min(memory_limit or share, share)
        self._heartbeat, self._step, self._time = heartbeat_timeout, step_timeout, time_limit
        self._rule, self._threads = rule or HopelessRule(), threads
        self._free: asyncio.PriorityQueue[int] = asyncio.PriorityQueue()
        for slot in self._slots:
            self._free.put_nowait(slot.index)
        self._workers: dict[int, WorkerProcess] = {}
        self._busy: dict[int, WorkerProcess] = {}
        self._closing, self._tensorboard = False, tensorboard

    @property
    def memory_limit(self) -> int:
        """Bytes of memory that each worker may use."""
        return self._memory_limit

    @property
    def slots(self) -> int:
        """How many trainings run at once."""
        return len(self._slots)

    async def start(self) -> None:
        """Start every worker now, so that torch is imported while the campaign still designs."""
        for slot in self._slots:
            await self._worker(slot)

    async def train(
        self,
        job: TrainingJob,
        folder: Path,
        on_progress: Callable[[Progress], None] = lambda _: None,
        *,
        baseline: Curve | None = None,
    ) -> Trained | Failed:
        """See `Backend.train`. A cancelled call kills its worker; the last checkpoint stays in the folder."""
        try:
            done = read_result(folder, job.digest)
        except (TrainingError, ValueError) as error:  # the data is not there, or the text is no design
            return failed(error)
        if done is not None:
            return done
        index = await self._free.get()
        try:
            if self._closing:
                return Failed(kind=FailureKind.CANCELLED, message="The training back end was closed.")
            slot = self._slots[index]
            with self._curves(folder, _naming(slot, on_progress)) as say:
                return await self._train_in(slot, job, folder, say, baseline)
        finally:
            self._free.put_nowait(index)

    @contextlib.contextmanager
    def _curves(
        self, folder: Path, on_progress: Callable[[Progress], None]
    ) -> Iterator[Callable[[Progress], None]]:
        """Progress goes to the caller, and to TensorBoard's files where they are wanted."""
        if not self._tensorboard:
            yield on_progress
            return
        writer = CurveWriter(folder / "tensorboard")

        def say(progress: Progress) -> None:
            writer.add(progress)
            on_progress(progress)

        try:
            yield say
        finally:
            writer.close()

    async def _train_in(
        self,
        slot: Slot,
        job: TrainingJob,
        folder: Path,
        on_progress: Callable[[Progress], None],
        baseline: Curve | None,
    ) -> Trained | Failed:
        try:
            worker = await self._worker(slot)
        except OSError as error:
            return Failed(
                kind=FailureKind.PYTHON_ERROR, message=f"No worker process could be started: {error}."
            )
        used = worker.ready
        outcome = await self._train_by(worker, slot, job, folder, on_progress, baseline)
        if isinstance(outcome, Failed) and used and not worker.heard and not self._closing:
            # It died while it was idle, which is no fault of this job's.
            return await self._train_in(slot, job, folder, on_progress, baseline)
        return outcome

    async def _train_by(
        self,
        worker: WorkerProcess,
        slot: Slot,
        job: TrainingJob,
        folder: Path,
        on_progress: Callable[[Progress], None],
        baseline: Curve | None,
    ) -> Trained | Failed:
        """Train by this worker, and replace it after any failure."""
        job = job.model_copy(update={"threads": self._threads})
        self._busy[slot.index] = worker
        outcome: Trained | Failed | None = None
        try:
            outcome = await worker.train(
                job,
                folder,
                on_progress,
                baseline=baseline,
                rule=self._rule,
                heartbeat_timeout=self._heartbeat,
                step_timeout=self._step,
                time_limit=self._time,
            )
            return outcome
        finally:
            del self._busy[slot.index]
            if not (isinstance(outcome, Trained) or (outcome and outcome.kind is FailureKind.HOPELESS)):
                self._workers.pop(slot.index, None)
                await worker.end()
                if not self._closing:  # its successor imports torch while the slot is still free
                    with contextlib.suppress(OSError):
                        await self._worker(slot)

    async def _worker(self, slot: Slot) -> WorkerProcess:
        worker = self._workers.get(slot.index)
        if worker is None or not worker.alive:
            worker = await WorkerProcess.start(slot.device, self._memory_limit, self._threads)
            self._workers[slot.index] = worker
        return worker

    def worker_pids(self) -> list[int]:
        """Process ids of the live workers, by slot."""
        return [self._workers[i].pid for i in sorted(self._workers) if self._workers[i].alive]

    async def close(self, grace: float = 10.0) -> None:
        """See `Backend.close`. May be called twice; no new training starts afterwards."""
        self._closing = True
        for worker in self._busy.values():
            await worker.stop_training()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace):
                while self._busy:
                    await asyncio.sleep(0.02)
        for worker in [*self._busy.values(), *self._workers.values()]:
            await worker.end()
        self._workers.clear()


def _naming(slot: Slot, on_progress: Callable[[Progress], None]) -> Callable[[Progress], None]:
    """Progress whose start says where it is."""

    def say(progress: Progress) -> None:
        starts = progress.stage == "starting"
        on_progress(progress.model_copy(update={"slot": str(slot)}) if starts else progress)

    return say
