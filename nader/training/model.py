"""From a job to a network: parse the block text, never anything else, and build it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nader.graph import Design
from nader.network import Skeleton, build_network, cost, get_skeleton
from nader.training.datasets import DatasetInfo
from nader.training.errors import TrainingError
from nader.training.job import TrainingJob

if TYPE_CHECKING:
    from torch import nn


def skeleton_of(job: TrainingJob, info: DatasetInfo) -> Skeleton:
    """The job's skeleton for the images of its data set.

    Raises TrainingError where the data set has other classes than the job says, SkeletonError where the
    images do not fit.
    """
    if job.classes != info.classes:
        raise TrainingError(f"The job says {job.classes} classes, but {info.name} has {info.classes}.")
    return get_skeleton(job.skeleton).for_image(*info.image)


def build_model(job: TrainingJob, skeleton: Skeleton) -> nn.Module:
    """The network of a job, with torch's default initialisation from the global random state."""
    return build_network(Design.from_text(job.design), skeleton, job.width, job.classes)


def cost_of(job: TrainingJob, skeleton: Skeleton) -> tuple[int, int]:
    """Parameters, and multiply-accumulates of one image."""
    both = cost(Design.from_text(job.design), skeleton, job.width, job.classes)
    return int(both.params), int(both.macs)
