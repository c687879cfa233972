"""Training on a Ray cluster (extra `ray`): a slot is a Ray actor that runs our worker process on its node.

What a network does to its worker is typed on the node as it is here. What happens to a node is Ray's to tell:
a training whose actor or node was lost is tried again on another, and goes on from its checkpoint where
the campaign's folder is on a disk that the nodes share.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import socket
from collections.abc import AsyncIterator, Callable, MutableMapping
from pathlib import Path
from typing import Any

import nader
from nader.training.errors import TrainingError
from nader.training.hopeless import HopelessRule
from nader.training.job import OUTCOME, Curve, EpochPoint, Failed, FailureKind, Progress, Trained, TrainingJob
from nader.training.local import LocalBackend
from nader.training.results import failed, publish, read_result
from nader.training.slots import make_slots, share_of_memory, suggest_slots

AUTHENTICATION = (
    "a cluster of Ray 2.59 or newer asks for its token: set RAY_AUTH_MODE=token and have the cluster's "
    "token in ~/.ray/auth_token, here and on every node, or start the cluster with RAY_AUTH_MODE=disabled"
)


def _offer_token(environment: MutableMapping[str, str]) -> None:
    """Have Ray show the cluster's token where there is one and the user has not said whether to.

    `ray start` makes a cluster that asks for it, and `ray.init` does not show it of itself. The token stays
    where Ray keeps it: it is not read here, nor passed on to a training.
    """
    at_hand = "RAY_AUTH_TOKEN" in environment or "RAY_AUTH_TOKEN_PATH" in environment
    if at_hand or (Path.home() / ".ray" / "auth_token").is_file():
        environment.setdefault("RAY_AUTH_MODE", "token")


def _knock(address: str, patience: float = 15.0) -> None:
    """Raise where nothing listens at HOST:PORT: Ray itself would go on trying for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        try:
            socket.create_connection((host, int(port)), patience).close()
        except OSError as error:
            raise _Silence(error.strerror or str(error)) from error


class _Silence(OSError):
    """Nothing listens there."""


def slots_on(cpu: float, gpu: float, cpus: float, gpus: float) -> int:
    """How many slots that take `cpus` and `gpus` each fit on a node that has `cpu` and `gpu`."""
    by_cpu = int(cpu / cpus + 1e-9)
    if not gpus:
        return by_cpu
    # A slot that takes a part of a GPU has to find it on one GPU.
    by_gpu = int(gpu) * int(1 / gpus + 1e-9) if gpus < 1 else int(gpu / gpus + 1e-9)
    return min(by_cpu, by_gpu)


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
            told.put_nowait({"progress": progress.model_dump(mode="json"), "host": socket.gethostname()})

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
        placement_timeout: float = 300.0,
        rule: HopelessRule | None = None,
        **options: Any,
    ) -> None:
        """Connect. `slots`: as many as fit where None; `cpus` and `gpus` are what each takes.

        A slot takes one GPU where the cluster has any, unless told otherwise (a part of one will do). It has
        `placement_timeout` seconds to find room. Other options are LocalBackend's. Raises TrainingError where
        ray is not installed, no cluster answers, or it has no room for so many slots.
        """
        if address is not None:
            _offer_token(os.environ)
        os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "error")  # each of its tries to connect is a line else
        try:
            import ray
        except ImportError as error:
            raise TrainingError("Training on Ray needs the extra: `pip install 'nader[ray]'`.") from error
        self._ray, self._retries, self._closing = ray, retries, False
        self._connect(address, slots, cpus)
        try:
            gpus = gpus if gpus is not None else float(ray.cluster_resources().get("GPU", 0) >= 1)
            self._takes = f"{cpus:g} CPU{f' and {gpus:g} GPU' if gpus else ''}"
            self._count = self._room(slots, cpus, gpus)
        except BaseException:
            ray.shutdown()
            raise
        self._placement = placement_timeout
        if address is None:  # all slots are on this machine
            share = share_of_memory(self._count)
            options["memory_limit"] = min(options.get("memory_limit") or share, share)
        options["rule"] = rule.model_dump() if rule else None
        device = "cuda:0" if gpus else "cpu"  # Ray shows a task only the GPUs it was given
        remote = ray.remote(num_cpus=cpus, num_gpus=gpus, max_concurrency=4, max_restarts=0)(Node)
        self._make = lambda: remote.remote(device, dict(options))
        self._nodes: dict[int, Any] = {}
        self._free: asyncio.PriorityQueue[int] = asyncio.PriorityQueue()
        for index in range(self._count):
            self._free.put_nowait(index)

    def _room(self, slots: int | None, cpus: float, gpus: float) -> int:
        """The number of slots, all that fit where None. Raises TrainingError where they do not fit."""
        held = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        room = sum(slots_on(node.get("CPU", 0.0), node.get("GPU", 0.0), cpus, gpus) for node in held)
        if (slots or 1) > room:
            raise TrainingError(
                f"The Ray cluster has room for {room} trainings at once, each with {self._takes}, and "
                f"{slots or 1} should run: lower training.slots, training.threads or training.gpus_per_slot, "
                "or add nodes."
            )
        return slots or room

    def _connect(self, address: str | None, slots: int | None, cpus: float) -> None:
        root = str(Path(nader.__file__).resolve().parent.parent)
        quiet = {"log_to_driver": False, "logging_level": "ERROR", "ignore_reinit_error": True}
        try:
            if address is None:
                path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
                self._ray.init(
                    address="local",  # else Ray would join a cluster that it finds traces of
                    num_cpus=math.ceil((slots or len(suggest_slots(threads=int(cpus)))) * cpus),
                    include_dashboard=False,
                    object_store_memory=100 << 20,
                    runtime_env={"env_vars": {"PYTHONPATH": path}},
                    **quiet,
                )
            else:
                _knock(address)
                self._ray.init(address=address, **quiet)
        except (OSError, RuntimeError, ValueError, self._ray.exceptions.RayError) as error:
            if address is not None and not isinstance(error, _Silence):
                raise TrainingError(
                    f"Something listens at {address}, and Ray cannot connect to it. Most often that is "
                    f"authentication: {AUTHENTICATION}. Otherwise it is another version of Ray, or no Ray."
                ) from None  # what Ray says of a token stays with Ray
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
                if not await self._placed(index):
                    return self._no_room()
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

    async def _placed(self, index: int) -> bool:
        """Whether the slot has a node: a new one has so long to find room beside the cluster's other work."""
        if index in self._nodes:
            return True
        node = self._make()
        try:
            await asyncio.wait_for(_result(node.pids.remote()), self._placement)
        except TimeoutError:
            self._ray.kill(node)
            return False
        self._nodes[index] = node
        return True

    def _no_room(self) -> Failed:
        return Failed(
            kind=FailureKind.NO_ROOM,
            message=(
                f"The Ray cluster had no room for a slot ({self._takes}) within {self._placement:.0f} s: "
                "something else uses it."
            ),
        )

    async def _on_node(
        self,
        index: int,
        job: TrainingJob,
        folder: Path,
        on_progress: Callable[[Progress], None],
        baseline: Curve | None,
    ) -> Trained | Failed:
        curve = [point.model_dump() for point in baseline] if baseline else None
        stream = self._nodes[index].train.options(num_returns="streaming")
        async for reference in stream.remote(job.model_dump(mode="json"), str(folder.resolve()), curve):
            message = await reference
            if "outcome" in message:
                return OUTCOME.validate_python(message["outcome"])
            progress = Progress(**message["progress"])
            here = f"slot {index} on {message['host']}" if progress.stage == "starting" else ""
            on_progress(progress.model_copy(update={"slot": here}))
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


async def _result(reference: Any) -> Any:
    return await reference
