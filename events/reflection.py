"""What the Reflector learns: experiences for the Modifier, lessons for the Proposer, and the closing of a
candidate.
"""

from typing import Any, ClassVar, Literal

from events.registry import Event, Upcaster

ExperienceKind = Literal["failure", "repair", "success"]
Outcome = Literal["improved", "not-improved", "failed", "abandoned"]


class ReflectionRequested(Event):
    """A candidate is settled: its design is decided and, where it was to be trained, its result is known."""

    candidate: str
    round: int
    terminal: ClassVar[tuple[str, ...]] = ("CandidateClosed",)


class ExperienceRecorded(Event):
    """One piece of design experience (paper Algorithm 3), found again by the suggestion it arose from."""

    experience: str
    candidate: str
    round: int
    kind: ExperienceKind
    category: str
    """Kind of error (a problem code, `no-op`, `width`, `degradation`, `no-gain`, `divergence`, …), or
    `improvement`.
    """
    role: Literal["cell", "stem", "downsample"]
    suggestion: str
    tip: str
    vector: str
    """Blob digest: the suggestion's embedding, float32."""
    embedder: str
    dimension: int
    origin: str = ""
    """The campaign it was imported from; empty for this one's own."""


def _of_trained_candidates(data: dict[str, Any]) -> dict[str, Any]:
    """Version 1 had lessons of trained candidates only."""
    return {**data, "outcome": "improved" if data["gain"] > 0 else "not-improved"}


class LessonRecorded(Event):
    """What a candidate says about its inspiration: which ideas help from here, which lead nowhere."""

    version: ClassVar[int] = 2
    upcasters: ClassVar[dict[int, Upcaster]] = {1: _of_trained_candidates}
    lesson: str
    candidate: str
    round: int
    parent: str
    inspiration: str
    suggestion: str
    outcome: Outcome
    gain: float | None
    """Validation accuracy of the candidate minus its parent's, percentage points; None where its training
    failed or no design came of it.
    """
    text: str
    vector: str
    embedder: str
    dimension: int


class CandidateClosed(Event):
    """Nothing more will be recorded about a candidate in this campaign."""

    candidate: str
    round: int
    outcome: Outcome
