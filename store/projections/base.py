"""What all projections share: a fold over envelopes that looks at no event it does not handle."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import ClassVar, TypeVar

from events.envelope import Envelope

Blob = Callable[[str], bytes]
"""Reads a blob by its digest."""
Library = Callable[[str, int], Iterable[Envelope]]
"""The history of a library's branch up to a position."""
Handler = Callable[[Envelope], None]
T = TypeVar("T")


class Projection:
    """A fold. Its rows carry the position that made them, so that it can be asked as of any position."""

    HANDLES: ClassVar[frozenset[str]] = frozenset()
    """Event types it looks at; for each there is a method `on_<type>`."""

    def __init__(self) -> None:
        self.position = 0
        """Of the last event applied."""
        self.handlers: Mapping[str, Handler] = {name: getattr(self, f"on_{name}") for name in self.HANDLES}

    def apply(self, envelope: Envelope) -> None:
        """Take in the next event of the history."""
        self.position = envelope.position
        handler = self.handlers.get(envelope.type)
        if handler is not None:
            handler(envelope)


def latest(records: Sequence[tuple[int, T]], upto: int | None) -> tuple[int, T] | None:
    """The last of (position, record) pairs in ascending order that was there by a position."""
    for position, record in reversed(records):
        if upto is None or position <= upto:
            return position, record
    return None
