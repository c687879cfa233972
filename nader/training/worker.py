"""The worker process: reads jobs as JSON lines on stdin, trains them one by one, writes JSON lines on stdout.

It builds networks from block text only, caches the data set between jobs, and leaves when its parent does.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import os
import queue
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any, TextIO

from nader.training.files import only_writer
from nader.training.hopeless import HopelessError, HopelessRule, judge
from nader.training.job import Curve, EpochPoint, Failed, Progress, Trained, TrainingJob
from nader.training.results import failed, publish, read_result

BEAT_SECONDS = 1.0


class Worker:
    """The main thread trains; one thread reads commands, one tells the parent that steps are being done."""

    def __init__(self, channel: TextIO, device: str) -> None:
        self._channel, self._device = channel, device
        self._write_lock = threading.Lock()
        self._jobs: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._stop = threading.Event()
        self._steps, self._training = 0, False
        self._data: tuple[str, Any] | None = None

    def serve(self) -> None:
        """Train what comes, for ever: the process ends when stdin closes."""
        import torch

        threading.Thread(target=self._listen, daemon=True).start()
        threading.Thread(target=self._beat, daemon=True).start()
        self._send("ready", pid=os.getpid(), torch=torch.__version__)
        while True:
            order = self._jobs.get()
            outcome = self._train(order)
            self._training = False
            self._send("outcome", outcome=outcome.model_dump(mode="json"))

    def _listen(self) -> None:
        for line in sys.stdin:
            message = json.loads(line)
            if message["type"] == "job":
                self._stop.clear()
                self._training = True
                self._jobs.put(message)
            elif message["type"] == "stop":
                self._stop.set()
        os._exit(0)  # the parent is gone: leave the folder to whoever resumes

    def _beat(self) -> None:
        while True:
            time.sleep(BEAT_SECONDS)
            if self._training:  # an idle worker's parent does not listen
                self._send("beat", steps=self._steps)

    def _send(self, kind: str, **values: Any) -> None:
        with self._write_lock:
            try:
                self._channel.write(json.dumps({"type": kind, **values}) + "\n")
                self._channel.flush()
            except OSError:
                os._exit(0)

    def _train(self, order: dict[str, Any]) -> Trained | Failed:
        points: list[EpochPoint] = []

        def say(progress: Progress) -> None:
            self._step_done()
            if progress.point is not None:
                points.append(progress.point)
            self._send("progress", progress=progress.model_dump(mode="json"))

        try:
            job = TrainingJob(**order["job"])
            baseline = tuple(EpochPoint(**p) for p in order["baseline"]) if order.get("baseline") else None
            rule = HopelessRule(**order["rule"]) if order.get("rule") else None
            folder = Path(order["folder"])
            with only_writer(folder):
                return read_result(folder, job.digest) or self._run(job, folder, say, baseline, rule)
        except Exception as error:
            return failed(error, tuple(points))

    def _run(
        self, job: TrainingJob, folder: Path, say: Any, baseline: Curve | None, rule: HopelessRule | None
    ) -> Trained:
        import torch

        from nader.training.loop import Training

        torch.set_num_threads(job.threads)
        device = torch.device(self._device if job.device == "auto" else job.device)
        training = Training(job, self._dataset(job), folder, device)

        def decide(curve: Curve) -> None:
            evidence = judge(curve, baseline, job.classes, rule) if baseline and rule else None
            if evidence is not None:
                raise HopelessError(evidence)

        trained = training.run(say, self._stop.is_set, decide, self._step_done)
        publish(folder, job.digest, trained)
        training.forget_checkpoint()
        if device.type == "cuda":
            torch.cuda.empty_cache()  # what the next network needs comes in other sizes
        return trained

    def _step_done(self) -> None:
        self._steps += 1

    def _dataset(self, job: TrainingJob) -> Any:
        from nader.training.datasets import dataset_identity, load_dataset, require_same
        from nader.training.errors import DatasetError

        identity = job.data or dataset_identity(job.dataset, job.data_dir)
        require_same(job.dataset, job.data_dir, identity)
        key = f"{identity} in {job.data_dir}"
        if self._data is None or self._data[0] != key:
            self._data = None
            try:
                loaded = load_dataset(job.dataset, job.data_dir)
            except DatasetError:
                require_same(job.dataset, job.data_dir, identity)  # the better reason, if it is one
                raise
            require_same(job.dataset, job.data_dir, identity)  # nor did it change while it was read
            self._data = (key, loaded)
        return self._data[1]


def _limit_memory(limit: int | None) -> None:
    """Cap what this process may allocate; file mappings (torch's libraries) do not count."""
    if limit is not None:
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def _die_with_parent() -> None:
    """Linux: be killed when the parent dies, even while stopped; elsewhere the closing of stdin does it."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def main() -> None:
    """Entry point of `python -m nader.training.worker`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--memory-limit", type=int, default=None, help="bytes")
    arguments = parser.parse_args()
    _die_with_parent()
    faulthandler.enable()
    # The protocol gets a descriptor of its own, so that nothing a library prints can break it.
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _limit_memory(arguments.memory_limit)
    Worker(channel, arguments.device).serve()


if __name__ == "__main__":
    main()
