"""Training on a Ray cluster (extra `ray`): a slot is a Ray actor that runs our worker process on its node.

What a network does to its worker is typed on the node as it is here. What happens to a node is Ray's to tell:
a training whose actor or node was lost is tried again on another, and goes on from its checkpoint where
the campaign's folder is on a disk that the nodes share.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import nader
from nader.training.errors import TrainingError
from nader.training.hopeless import HopelessRule
from nader.training.job import OUTCOME, Curve, EpochPoint, Failed, FailureKind, Progress, Trained, TrainingJob
from nader.training.local import LocalBackend
from nader.training.results import failed, publish, read_result
from nader.training.slots import make_slots, suggest_slots


def _knock(address: str, patience: float = 15.0) -> None:
    """Raise OSError where nothing listens at HOST:PORT: Ray itself would go on trying for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), patience).close()


class Node:
    """Runs on a Ray node, one a slot: a local back end with one worker process."""

    def __init__(self, device: str, options: dict[str, Any]) -> None:
        rule = options.pop("rule", None)
        self._backend = LocalBackend(
            make_slots([device]), rule=HopelessRule(**rule) if rule else None, **options
        )

    async def train(
        self, job: dict[str, Any], folder: str, baseline: list[dict[str, Any]] | None
    ) -> AsyncIterator[dict[str, Any]]:
        """Progress messages as they come, then the outcome."""
        told: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()

        def say(progress: Progress) -> None:
            told.put_nowait({"progress": progress.model_dump(mode="json")})

        async def work() -> Trained | Failed:
            curve = tuple(EpochPoint(**point) for point in baseline) if baseline else None
            try:
                return await self._backend.train(TrainingJob(**job), Path(folder), say, baseline=curve)
            finally:
                told.put_nowait(None)

        training = asyncio.create_task(work())
        while (message := await told.get()) is not None:
            yield message
        yield {"outcome": (await training).model_dump(mode="json")}

    async def pids(self) -> tuple[int, list[int]]:
        """Process ids of this actor and of its worker."""
        return os.getpid(), self._backend.worker_pids()

    async def close(self, grace: float) -> None:
        """Checkpoint and end the worker."""
        await self._backend.close(grace)


class RayBackend:
    """A `Backend` over Ray: connect to a cluster by address, or start one on this machine."""

    def __init__(
        self,
        slots: int | None = None,
        *,
        address: str | None = None,
        cpus: float = 1,
        gpus: float | None = None,
        retries: int = 3,
        rule: HopelessRule | None = None,
        **options: Any,
    ) -> None:
        """Connect. `slots`: as many as fit where None; `cpus` and `gpus` are what each takes.

        A slot takes one GPU where the cluster has any, unless told otherwise (a part of one will do). Other
        options are LocalBackend's. Raises TrainingError where ray is not installed or no cluster answers.
        """
        try:
            import ray
        except ImportError as error:
            raise TrainingError("Training on Ray needs the extra: `pip install 'nader[ray]'`.") from error
        self._ray, self._retries, self._closing = ray, retries, False
        self._connect(address, slots)
        has = ray.cluster_resources()
        gpus = gpus if gpus is not None else float(has.get("GPU", 0) >= 1)
        room = has.get("GPU", 0) / gpus if gpus else has.get("CPU", 1) / cpus
        self._count = slots or max(1, int(room))
        options["rule"] = rule.model_dump() if rule else None
        device = "cuda:0" if gpus else "cpu"  # Ray shows a task only the GPUs it was given
        remote = ray.remote(num_cpus=cpus, num_gpus=gpus, max_concurrency=4, max_restarts=0)(Node)
        self._make = lambda: remote.remote(device, dict(options))
        self._nodes: dict[int, Any] = {}
        self._free: asyncio.PriorityQueue[int] = asyncio.PriorityQueue()
        for index in range(self._count):
            self._free.put_nowait(index)

    def _connect(self, address: str | None, slots: int | None) -> None:
        root = str(Path(nader.__file__).resolve().parent.parent)
        quiet = {"log_to_driver": False, "logging_level": "ERROR", "ignore_reinit_error": True}
        try:
            if address is None:
                path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
                self._ray.init(
                    num_cpus=slots or len(suggest_slots()),
                    include_dashboard=False,
                    object_store_memory=100 << 20,
                    runtime_env={"env_vars": {"PYTHONPATH": path}},
                    **quiet,
                )
            else:
                _knock(address)
                self._ray.init(address=address, **quiet)
        except (OSError, RuntimeError, ValueError) as error:
            raise TrainingError(f"No Ray cluster answers at {address or 'this machine'}: {error}.") from error

    @property
    def slots(self) -> int:
        """How many trainings run at once."""
        return self._count

    async def train(
        self,
        job: TrainingJob,
        folder: Path,
        on_progress: Callable[[Progress], None] = lambda _: None,
        *,
        baseline: Curve | None = None,
    ) -> Trained | Failed:
        """See `Backend.train`. A lost actor or node is replaced, and the training tried again."""
        try:
            done = read_result(folder, job.digest)
        except (TrainingError, ValueError) as error:
            return failed(error)
        if done is not None:
            return done
        index = await self._free.get()
        try:
            return await self._try_until_kept(index, job, folder, on_progress, baseline)
        finally:
            self._free.put_nowait(index)

    async def _try_until_kept(
        self,
        index: int,
        job: TrainingJob,
        folder: Path,
        on_progress: Callable[[Progress], None],
        baseline: Curve | None,
    ) -> Trained | Failed:
        message = ""
        for _ in range(self._retries + 1):
            if self._closing:
                return Failed(kind=FailureKind.CANCELLED, message="The training back end was closed.")
            try:
                outcome = await self._on_node(index, job, folder, on_progress, baseline)
            except self._ray.exceptions.RayError as error:
                message = str(error).strip().splitlines()[0]
                self._nodes.pop(index, None)
                continue
            if isinstance(outcome, Trained):
                self._bring_home(folder, job, outcome)
            return outcome
        return Failed(
            kind=FailureKind.LOST_NODE,
            message=f"The node that trained was lost {self._retries + 1} times; the last time: {message}",
        )

    async def _on_node(
        self,
        index: int,
        job: TrainingJob,
        folder: Path,
        on_progress: Callable[[Progress], None],
        baseline: Curve | None,
    ) -> Trained | Failed:
        if index not in self._nodes:
            self._nodes[index] = self._make()
        curve = [point.model_dump() for point in baseline] if baseline else None
        stream = self._nodes[index].train.options(num_returns="streaming")
        async for reference in stream.remote(job.model_dump(mode="json"), str(folder.resolve()), curve):
            message = await reference
            if "outcome" in message:
                return OUTCOME.validate_python(message["outcome"])
            on_progress(Progress(**message["progress"]))
        return Failed(kind=FailureKind.LOST_NODE, message="The node's stream ended without an outcome.")

    @staticmethod
    def _bring_home(folder: Path, job: TrainingJob, outcome: Trained) -> None:
        """Publish a result here that a node published on a disk of its own."""
        if read_result(folder, job.digest) is None:
            folder.mkdir(parents=True, exist_ok=True)
            publish(folder, job.digest, outcome)

    async def node_pids(self) -> list[tuple[int, list[int]]]:
        """For each live actor, its process id and its worker's."""
        return [await node.pids.remote() for _, node in sorted(self._nodes.items())]

    async def close(self, grace: float = 10.0) -> None:
        """See `Backend.close`. Leaves the cluster; one that was started here ends."""
        self._closing = True
        for node in list(self._nodes.values()):
            with contextlib.suppress(self._ray.exceptions.RayError):
                await node.close.remote(grace)
            self._ray.kill(node)
        self._nodes.clear()
        self._ray.shutdown()
