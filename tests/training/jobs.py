"""Jobs for the tests: small trainings of real blocks on digits."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import torch

from nader.graph import base_design
from nader.training import Recipe, Trained, TrainingJob, get_recipe, load_dataset
from nader.training.loop import Training

T = TypeVar("T")

_BASIC = base_design("resnet-basic").to_text()
DROP_PATH = (
    "##Dropped##\n0:input\n1:output\n2:Conv2d(out_channels=C,kernel_size=3)\n3:BN\n4:DropPath(prob=0.5)\n"
    "5:Add\n0->2->3->4->5->1\n0->5\n" + _BASIC[_BASIC.index("##ResNetBasic_stem") :]
)
"""A design that draws from torch's random state at every step: a resume must bring that back too."""


def recipe(**changes: Any) -> Recipe:
    """The digits recipe, cut down to a second unless told otherwise."""
    small = {"epochs": 3, "train_images": 100, "validation_images": 100, "checkpoint_every": 1}
    return get_recipe("digits").model_copy(update={**small, **changes})


def job(
    base: str = "resnet-basic", *, seed: int = 777, width: int = 4, design: str | None = None, **kw: Any
) -> TrainingJob:
    """A training of a base block on digits; other keywords change the recipe."""
    fields = {
        name: kw.pop(name) for name in ("dataset", "data", "data_dir", "classes", "device") if name in kw
    }
    values = {"dataset": "digits", "classes": 10, "skeleton": "digits", **fields}
    text = design or base_design(base).to_text()
    return TrainingJob(design=text, width=width, recipe=recipe(**kw), seed=seed, **values)


def run(coroutine: Coroutine[Any, Any, T], limit: float = 240.0) -> T:
    """Run a coroutine to its end, generously limited."""

    async def bounded() -> T:
        async with asyncio.timeout(limit):
            return await coroutine

    return asyncio.run(bounded())


def train_here(work: TrainingJob, folder: Path) -> Trained:
    """Train in this process, on one thread: the reference for what workers do."""
    torch.set_num_threads(1)
    return Training(work, load_dataset(work.dataset, work.data_dir), folder, torch.device("cpu")).run()
