"""From a job to a network: parse the block text, never anything else, and build it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nader.training.datasets import DatasetInfo
from nader.training.errors import TrainingError
from nader.training.job import TrainingJob

if TYPE_CHECKING:
    from torch import nn

    from nader.network import Skeleton


def build_model(job: TrainingJob, info: DatasetInfo) -> nn.Module:
    """The network of a job, with torch's default initialisation from the global random state.

    Raises TrainingError where the skeleton takes other images than the data set has.
    """
    from nader.graph import Design
    from nader.network import build_network

    return build_network(Design.from_text(job.design), _skeleton(job, info), job.width, job.classes)


def cost_of(job: TrainingJob, info: DatasetInfo) -> tuple[int, int]:
    """Parameters, and multiply-accumulates of one image."""
    from nader.graph import Design
    from nader.network import cost

    both = cost(Design.from_text(job.design), _skeleton(job, info), job.width, job.classes)
    return int(both.params), int(both.macs)


def _skeleton(job: TrainingJob, info: DatasetInfo) -> Skeleton:
    from nader.network import get_skeleton

    if job.classes != info.classes:
        raise TrainingError(f"The job says {job.classes} classes, but {info.name} has {info.classes}.")
    return get_skeleton(job.skeleton).for_image(*info.image)
