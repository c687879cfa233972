"""Trainings asked for, their progress and their results."""

from typing import Any, ClassVar

from events.registry import Event, Upcaster


class TrainingRequested(Event):
    """One network to be trained from one seed. Everything that determines the result is here."""

    candidate: str
    job: str
    """Identity of the result: design, skeleton, width, classes, data, recipe and seed in one digest."""
    design: str
    """Blob digest of the design's text."""
    digest: str
    skeleton: str
    width: int
    classes: int
    dataset: str
    recipe: dict[str, Any]
    seed: int
    priority: tuple[int, int] = (0, 0)
    """(round, index): the order in which waiting trainings take a slot."""
    terminal: ClassVar[tuple[str, ...]] = (
        "TrainingCompleted",
        "ResultReused",
        "TrainingFailed",
        "TrainingCancelled",
    )


class TrainingStarted(Event):
    """A slot has begun (or gone on with) a training."""

    job: str
    slot: str
    first_epoch: int
    progress: ClassVar[bool] = True


class EpochFinished(Event):
    """One epoch of a training."""

    job: str
    epoch: int
    """From 1."""
    epochs: int
    loss: float
    """Mean training loss; a non-finite one ends the training with `nan` and is not recorded here."""
    accuracy: float
    """Training accuracy, percent."""
    rate: float
    """Learning rate of this epoch."""
    seconds: float
    progress: ClassVar[bool] = True


class TrainingCompleted(Event):
    """A training that ran to its end."""

    job: str
    validation: float
    """Top-1 of the last epoch on the validation split, percent. The search looks at this alone."""
    test: float | None
    """Top-1 on the test split, percent: reported, never used to choose."""
    loss: float
    epochs: int
    seconds: float
    params: int
    macs: int
    latency_ms: float | None
    peak_memory: int | None
    """Bytes."""
    device: str
    deterministic: bool
    losses: tuple[float, ...]
    """Mean training loss of each epoch: the curve that the rule for hopeless candidates compares."""


class ResultReused(Event):
    """The result of an equal training, adopted instead of training again."""

    job: str
    source: str
    """`branch:position` of the training's own result, or the folder it was found in."""
    validation: float
    test: float | None
    loss: float
    epochs: int
    seconds: float
    """What the original training took; none of it is spent again."""
    params: int
    macs: int
    latency_ms: float | None
    peak_memory: int | None
    device: str
    deterministic: bool
    losses: tuple[float, ...]


class TrainingFailed(Event):
    """A training that ended without a result; it costs one candidate."""

    job: str
    kind: str
    """gpu-oom, host-oom, nan, hang, time-out, segfault, python-error, disk-full, data-missing, data-changed,
    lost-node, hopeless.
    """
    message: str
    detail: str = ""
    epochs: int = 0
    seconds: float = 0.0


class TrainingCancelled(Event):
    """A request that was open where a fork begins, and is not wanted there."""

    job: str
    reason: str


class CandidateTrained(Event):
    """A candidate's figures: the means over its seeds."""

    candidate: str
    digest: str
    validation: float
    test: float | None
    seeds: tuple[int, ...]
    validations: tuple[float, ...]
    loss: float
    losses: tuple[float, ...]
    seconds: float
    params: int
    macs: int
    latency_ms: float | None
    peak_memory: int | None


class CandidateFailed(Event):
    """A candidate whose training failed, for one of its seeds at least: it has no figures."""

    candidate: str
    digest: str
    kind: str
    message: str


def _parts_that_are_not_there(data: dict[str, Any]) -> dict[str, Any]:
    """Version 1 wrote 0.0 for a validation part that there is not, as in the joined data sets `NAME-full`."""
    figures = data.get("validation")
    if isinstance(figures, list) and str(data.get("dataset")).endswith("-full"):
        data = {**data, "validation": [value or None for value in figures]}
    return data


class RetrainingRecorded(Event):
    """Final figures of a candidate on a data set, apart from the search (paper appendix A3.3)."""

    version: ClassVar[int] = 2
    upcasters: ClassVar[dict[int, Upcaster]] = {1: _parts_that_are_not_there}
    candidate: str
    dataset: str
    recipe: str
    recipe_digest: str
    seeds: tuple[int, ...]
    width: int
    params: int
    macs: int
    validation: tuple[float | None, ...]
    """Percent, one a seed; None where the data set has no such part."""
    test: tuple[float | None, ...]
    seconds: tuple[float, ...]
    """What each training took, also where its result was adopted and nothing was spent again."""
    adopted: tuple[str, ...] = ()
    """One a seed: empty where it was trained now, else where its result was found: `branch:position`, or
    `folder`, that of the training. In a log of version 1 not said.
    """
    failures: tuple[str, ...] = ()
    """A sentence for each seed that gave no result; such seeds are not among `seeds`."""
    jobs: tuple[str, ...] = ()
    """Names of the folders that the trainings lie in."""
