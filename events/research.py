"""What the Proposer decides: a parent, a ranking of inspirations, proposals."""

from typing import ClassVar

from events.registry import Event


class ParentChosen(Event):
    """The node of the modification tree that a round works on, and the rule that chose it."""

    round: int
    parent: str
    strategy: str
    reason: str


class InspirationsRanked(Event):
    """The ideas of a round: what was retrieved, by which rule, and in which order they are tried."""

    round: int
    parent: str
    retrieved: tuple[str, ...]
    """Inspiration ids as retrieved."""
    levels: tuple[str, ...]
    """Beside each: near a success, far from failures, unexplored, own idea."""
    ranking: tuple[str, ...]
    """Inspiration ids, best first."""
    by: str
    """`model`, or the rule that stood in for it and why."""


class ProposalMade(Event):
    """A candidate to be designed: this parent, changed in this way."""

    candidate: str
    round: int
    index: int
    """From 1; of equal designs the lowest (round, index) is the original."""
    parent: str
    inspiration: str
    suggestion: str
    paper: str
    """Title, year and reference of the paper that the suggestion comes from; empty for an idea of the
    model's own.
    """
    visible: int
    terminal: ClassVar[tuple[str, ...]] = ("DesignReady", "DesignAbandoned")


class DuplicateRecognised(Event):
    """A design that is equal to an earlier one, up to isomorphism; it adopts the original's result."""

    candidate: str
    original: str
    digest: str
