"""What the Reflector learns: experiences for the Modifier, lessons for the Proposer, and the closing of a
candidate.
"""

from typing import ClassVar, Literal

from events.registry import Event

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


class LessonRecorded(Event):
    """What a trained candidate says about its inspiration: which ideas help from here."""

    lesson: str
    candidate: str
    round: int
    parent: str
    inspiration: str
    suggestion: str
    gain: float
    """Validation accuracy of the candidate minus its parent's, percentage points."""
    text: str
    vector: str
    embedder: str
    dimension: int


class CandidateClosed(Event):
    """Nothing more will be recorded about a candidate in this campaign."""

    candidate: str
    round: int
    outcome: Outcome
