"""`python -m tests.training.drive FOLDER EPOCHS`: a process that trains one job, for tests that kill it."""

import asyncio
import sys
from pathlib import Path

from nader.training import Failed, LocalBackend, Progress, Trained
from tests.training.jobs import DROP_PATH, job


def work(epochs: int):  # type: ignore[no-untyped-def]
    """The job that is trained, with a checkpoint after each second epoch and chance in every step."""
    return job(design=DROP_PATH, epochs=epochs, checkpoint_every=2)


async def train(folder: Path, epochs: int) -> Trained | Failed:
    """Train, saying each epoch and the worker's process id on stdout."""
    backend = LocalBackend(1)

    def say(progress: Progress) -> None:
        print(progress.stage, progress.epoch, progress.resumed_from, backend.worker_pids()[0], flush=True)

    outcome = await backend.train(work(epochs), folder, say)
    await backend.close()
    return outcome


if __name__ == "__main__":
    result = asyncio.run(train(Path(sys.argv[1]), int(sys.argv[2])))
    print("ended", result.status, getattr(result, "weights_sha256", result), flush=True)
