"""TensorBoard event files of training curves (extra `tensorboard`)."""

from __future__ import annotations

import importlib.util
import time
from pathlib import Path

from nader.training.errors import TrainingError
from nader.training.job import Progress


def require_tensorboard() -> None:
    """Raises TrainingError where tensorboard is not installed."""
    if importlib.util.find_spec("tensorboard") is None:
        raise TrainingError("TensorBoard files need the extra: `pip install 'nader[tensorboard]'`.")


class CurveWriter:
    """Writes each epoch of one training as scalars into `folder`."""

    def __init__(self, folder: Path) -> None:
        """Raises TrainingError where tensorboard is not installed."""
        require_tensorboard()
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        self._writer = EventFileWriter(str(folder))

    def add(self, progress: Progress) -> None:
        """Write the epoch that a progress message tells of, if it does."""
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        point = progress.point
        if point is None:
            return
        values = point.model_dump(exclude={"epoch"}, exclude_none=True)
        scalars = [
            Summary.Value(tag=f"training/{name}", simple_value=value) for name, value in values.items()
        ]
        self._writer.add_event(Event(wall_time=time.time(), step=point.epoch, summary=Summary(value=scalars)))
        self._writer.flush()

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()
