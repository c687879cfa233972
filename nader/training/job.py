"""What goes into a training and what comes out of it, as frozen values that cross process borders as JSON."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, field_validator

from nader.training.recipes import Recipe


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FailureKind(StrEnum):
    """Why a training did not end in a result. Each costs one job; the next job trains."""

    GPU_OOM = "gpu-oom"
    HOST_OOM = "host-oom"
    NAN = "nan"
    HANG = "hang"
    TIME_OUT = "time-out"
    SEGFAULT = "segfault"
    PYTHON_ERROR = "python-error"
    DISK_FULL = "disk-full"
    DATA_MISSING = "data-missing"
    DATA_CHANGED = "data-changed"
    CANCELLED = "cancelled"
    HOPELESS = "hopeless"
    LOST_NODE = "lost-node"
    NO_ROOM = "no-room"


class EpochPoint(_Value):
    """One epoch of a curve. Accuracies are fractions in [0, 1]; `validation*` is None where not measured."""

    epoch: int = Field(ge=1)
    lr: float
    train_loss: float
    train_accuracy: float
    validation_loss: float | None = None
    validation: float | None = None
    seconds: float = 0.0


Curve = tuple[EpochPoint, ...]


class Progress(_Value):
    """What a running training says of itself: after each epoch (`point` set) and now and then within one."""

    stage: Literal["starting", "training", "evaluating"]
    epoch: int = 0
    epochs: int = 0
    fraction: float = 0.0
    """Share of all training steps done, in [0, 1]."""
    resumed_from: int | None = None
    """Epochs that were taken from a checkpoint, said once at the start."""
    slot: str = ""
    """Where the training runs, in words; said by the back end at the start."""
    point: EpochPoint | None = None


class Evidence(_Value):
    """The numbers behind a decision to stop a training early."""

    rule: str
    epoch: int
    observed: float
    expected: float
    threshold: float
    sentence: str


class Trained(_Value):
    """A finished training. Accuracies are fractions in [0, 1], of the last epoch."""

    status: Literal["trained"] = "trained"
    validation: float | None
    """None only for data sets that have no validation part (`cifar10-full`)."""
    test: float | None
    """Reported, never used to choose. None where the data set has no test part."""
    train_loss: float
    epochs_run: int
    seconds: float
    """Of training and evaluation, over all tries that were resumed from one another."""
    params: int
    macs: int
    latency_ms: float
    """Median time of one forward pass of one image, on `device`."""
    peak_memory_bytes: int
    """CUDA: the allocator's peak. CPU: the worker process's peak resident size during this training."""
    curve: Curve
    device: str
    deterministic: bool
    """Whether the same job on the same kind of device and number of threads gives the same bits."""
    seed: int
    weights_sha256: str
    adopted: bool = False
    """True where this result was found finished in its folder, not trained now."""


class Failed(_Value):
    """A training that gave no result: what happened, in a sentence, and what the Reflector needs."""

    status: Literal["failed"] = "failed"
    kind: FailureKind
    message: str
    detail: str = ""
    """The end of the traceback or of the worker's error output."""
    curve: Curve = ()
    seconds: float = 0.0
    evidence: Evidence | None = None
    """Set for `hopeless`."""


Outcome = Annotated[Trained | Failed, Field(discriminator="status")]
OUTCOME: TypeAdapter[Trained | Failed] = TypeAdapter(Outcome)


class TrainingJob(_Value):
    """One training to do: a design at a width, on a data set, by a recipe, from a seed."""

    design: str
    """The three blocks as `Design.to_text()` writes them."""
    skeleton: str
    width: int = Field(ge=1)
    classes: int = Field(ge=2)
    dataset: str
    recipe: Recipe
    seed: int = 777
    data: str | None = None
    """Identity of the data set as the result will be recorded (`dataset_identity`); a training that finds
    another one ends as `data-changed`. None: whatever lies there.
    """
    data_dir: str | None = None
    """Where the user's files lie; not part of the identity."""
    device: str = "auto"
    """`auto` takes the slot's device; else `cpu`, `cuda`, `cuda:1`, …"""
    threads: int = Field(default=1, ge=1)

    @field_validator("data_dir", mode="before")
    @classmethod
    def _path_as_text(cls, value: object) -> object:
        return str(value) if isinstance(value, Path) else value

    @property
    def digest(self) -> str:
        """Identity of the result: what is trained and how, not where. SHA-256 in hex."""
        from nader.training.datasets import dataset_identity

        return job_digest(
            design=design_digest(self.design),
            skeleton=self.skeleton,
            width=self.width,
            classes=self.classes,
            data=self.data or dataset_identity(self.dataset, self.data_dir),
            recipe=self.recipe.digest,
            seed=self.seed,
        )


def job_digest(
    *, design: str, skeleton: str, width: int, classes: int, data: str, recipe: str, seed: int
) -> str:
    """The one identity of a training's result, from the digests of design, data and recipe. SHA-256 in hex.

    Whether hopeless candidates are stopped is not in it: it decides whether there is a result, not which.
    """
    identity = {
        "design": design,
        "skeleton": skeleton,
        "width": width,
        "classes": classes,
        "dataset": data,
        "recipe": recipe,
        "seed": seed,
    }
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def design_digest(text: str) -> str:
    """The canonical digest of a design. Raises `nader.graph.BlockError` for text that is no design."""
    from nader.graph import Design

    return Design.from_text(text).digest


class Backend(Protocol):
    """Where trainings run. `train` never raises for what a network does: that is an `Outcome`."""

    @property
    def slots(self) -> int:
        """How many trainings run at once; more wait their turn."""
        ...

    async def train(
        self,
        job: TrainingJob,
        folder: Path,
        on_progress: Callable[[Progress], None],
        *,
        baseline: Curve | None = None,
    ) -> Trained | Failed:
        """Train in `folder` (named by the caller, best by `job.digest`); adopt or resume what lies there.

        With a `baseline` curve (the base block's own, same recipe) a hopeless candidate is stopped early.
        """
        ...

    async def close(self, grace: float = 10.0) -> None:
        """Ask running trainings to checkpoint and stop (they return `cancelled`), then end the workers."""
        ...
