"""What the modification tree is made of: a candidate, its drafts, its round, each as of some position."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from events.campaign import RoundDesigned


class Stage(StrEnum):
    """How far a candidate has come."""

    PROPOSED = "proposed"
    DESIGNING = "designing"
    DESIGNED = "designed"
    DUPLICATE = "duplicate"
    ABANDONED = "abandoned"
    QUEUED = "queued"
    TRAINING = "training"
    TRAINED = "trained"
    FAILED = "failed"


@dataclass(frozen=True)
class Candidate:
    """A node of the tree as of some position. A duplicate carries its original's figures."""

    id: str
    round: int
    index: int
    parent: str | None
    inspiration: str = ""
    suggestion: str = ""
    paper: str = ""
    stage: Stage = Stage.PROPOSED
    design: str | None = None
    """Blob digest of the design's text."""
    digest: str | None = None
    """Canonical digest of the design."""
    width: int | None = None
    params: int | None = None
    macs: int | None = None
    validation: float | None = None
    """Percent; the mean over seeds."""
    test: float | None = None
    """Percent; reported, never used to choose."""
    seeds: tuple[int, ...] = ()
    validations: tuple[float, ...] = ()
    loss: float | None = None
    losses: tuple[float, ...] = ()
    seconds: float | None = None
    latency_ms: float | None = None
    peak_memory: int | None = None
    original: str | None = None
    """Of a duplicate: the candidate that has the same design."""
    reason: str = ""
    """Why it was abandoned or failed."""
    failure: str = ""
    """Kind of a failed training."""
    outcome: str | None = None
    """What the reflection made of it."""
    positions: dict[str, int] = field(default_factory=dict)
    """Position of its last event of each type."""

    @property
    def trained(self) -> bool:
        """Its result is known."""
        return self.validation is not None

    @property
    def failed(self) -> bool:
        """Its training gave no result."""
        return self.failure != "" and self.validation is None

    @property
    def settled(self) -> bool:
        """Its training is over, one way or the other."""
        return self.trained or self.failed

    @property
    def place(self) -> tuple[int, int]:
        """(round, index): the order of candidates, whatever the order of events."""
        return self.round, self.index


@dataclass(frozen=True)
class DraftRow:
    """One block that the Modifier wrote."""

    role: str
    round: int
    attempt: int
    block: str
    """Blob digest."""
    problems: str | None
    """Blob digest of the report; None for a draft that verified."""
    codes: tuple[str, ...]
    notes: tuple[str, ...]
    position: int


@dataclass(frozen=True)
class RoundState:
    """A round as of some position."""

    round: int
    visible: int
    designed: RoundDesigned | None
    closed: bool
    position: int
    """Of the event that opened it."""


FIGURES = (
    "validation",
    "test",
    "seeds",
    "validations",
    "loss",
    "losses",
    "seconds",
    "latency_ms",
    "peak_memory",
    "params",
    "macs",
    "width",
    "failure",
    "reason",
)
"""What a duplicate has of its original."""


def changed(candidate: Candidate, changes: dict[str, Any]) -> Candidate:
    """As `dataclasses.replace`, which sets twenty-seven frozen fields one by one and was half of a fold."""
    new = object.__new__(Candidate)
    object.__setattr__(new, "__dict__", {**candidate.__dict__, **changes})
    return new
