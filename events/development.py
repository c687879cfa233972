"""What the Modifier writes: drafts, what the verifier says of them, and the finished design."""

from typing import Literal

from events.registry import Event

RoleName = Literal["cell", "stem", "downsample"]


class DraftRejected(Event):
    """A draft that does not verify (or repeats its parent), with every independent problem."""

    candidate: str
    role: RoleName
    round: int
    """Round of tries, from 1 (a fresh start)."""
    attempt: int
    """Try within the round, from 1; from the second on, a repair."""
    draft: str
    """Blob digest of the text that was written."""
    problems: str
    """Blob digest of the report as the model sees it."""
    codes: tuple[str, ...]
    """Machine-readable codes of the problems."""


class DraftAccepted(Event):
    """A draft that verifies, as it is printed in canonical form."""

    candidate: str
    role: RoleName
    round: int
    attempt: int
    block: str
    """Blob digest."""
    notes: tuple[str, ...] = ()
    """What was read liberally: what stood there and how it was taken."""


class DesignReady(Event):
    """A whole design that verifies, within the limits: cell, stem and downsample block at its width."""

    candidate: str
    design: str
    """Blob digest of the three blocks' text."""
    digest: str
    """Canonical digest: equal for isomorphic designs."""
    width: int
    params: int
    macs: int
    attempts: int


class DesignAbandoned(Event):
    """A proposal for which no admissible design was found."""

    candidate: str
    category: str
    """Kind of the last error: a problem code, `width`, `no-op`, `llm`, `handler`."""
    reason: str
    attempts: int
