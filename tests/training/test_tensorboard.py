"""TensorBoard files: one scalar an epoch, readable by TensorBoard itself."""

from pathlib import Path

import pytest

from nader.training.job import EpochPoint, Progress
from nader.training.tensorboard import CurveWriter


def test_each_epoch_becomes_a_scalar_tensorboard_can_read(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="the extra `tensorboard` is not installed")
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    writer = CurveWriter(tmp_path)
    writer.add(Progress(stage="starting"))
    for epoch in (1, 2):
        point = EpochPoint(
            epoch=epoch, lr=0.1, train_loss=2.0 / epoch, train_accuracy=0.5, validation=0.25 * epoch
        )
        writer.add(Progress(stage="training", point=point))
    writer.close()
    (file,) = tmp_path.iterdir()
    events = [e for e in EventFileLoader(str(file)).Load() if e.summary.value]
    values = [{v.tag: v.tensor.float_val[0] for v in e.summary.value} for e in events]
    assert [e.step for e in events] == [1, 2]
    assert [v["training/validation"] for v in values] == [0.25, 0.5]
    assert "training/validation_loss" not in values[0]
