"""A training back end that only pretends: figures drawn from the design's digest, after a pause. For tests
and benchmarks.

It stands at the far edge, where a GPU would be; everything before it is the real thing.
"""

import asyncio
import hashlib
import random
from collections.abc import Callable
from pathlib import Path

from nader.training import Curve, EpochPoint, Failed, FailureKind, Progress, Trained, TrainingJob
from nader.training.job import design_digest


class SimulatedBackend:
    """Pretends to train; `pause` gives the seconds of one training, `failing` the share of jobs that fail."""

    def __init__(
        self,
        slots: int = 2,
        *,
        epochs: int = 3,
        pause: Callable[[random.Random], float] = lambda rng: 0.0,
        timing: int = 0,
        failing: float = 0.0,
    ) -> None:
        self._slots = slots
        self._epochs = epochs
        self._pause = pause
        self._timing = random.Random(timing)
        self._failing = failing
        self.trained: list[str] = []
        """Jobs that were really trained, in the order they ended."""

    @property
    def slots(self) -> int:
        return self._slots

    async def train(
        self,
        job: TrainingJob,
        folder: Path,
        on_progress: Callable[[Progress], None],
        *,
        baseline: Curve | None = None,
    ) -> Trained | Failed:
        figures = random.Random(hashlib.sha256(f"{design_digest(job.design)}{job.seed}".encode()).digest())
        fails, accuracy = figures.random() < self._failing, 0.80 + 0.15 * figures.random()
        on_progress(Progress(stage="starting", epochs=self._epochs))
        curve = []
        for epoch in range(1, self._epochs + 1):
            await asyncio.sleep(self._pause(self._timing) / self._epochs)
            loss = 2.3 / (1 + epoch * accuracy)
            curve.append(EpochPoint(epoch=epoch, lr=0.1, train_loss=loss, train_accuracy=accuracy))
            on_progress(Progress(stage="training", epoch=epoch, epochs=self._epochs, point=curve[-1]))
        if fails:
            return Failed(
                kind=FailureKind.NAN,
                message="the loss was not finite in epoch 2 (pretended)",
                curve=tuple(curve),
            )
        self.trained.append(job.digest)
        return Trained(
            validation=accuracy,
            test=accuracy - 0.01,
            train_loss=curve[-1].train_loss,
            epochs_run=self._epochs,
            seconds=float(self._epochs),
            params=1000,
            macs=100000,
            latency_ms=1.0,
            peak_memory_bytes=1 << 20,
            curve=tuple(curve),
            device="pretended",
            deterministic=True,
            seed=job.seed,
            weights_sha256="0" * 64,
        )

    async def close(self, grace: float = 10.0) -> None:
        """Nothing to end."""
