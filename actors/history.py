"""A branch's lineage as the runtime needs it: events by position, by effect key, by cause, and who has
finished with what.

Cost model: progress events (epochs, attempts) are nine tenths of a long log and no handler reads them, so
they are not kept; what remains is some thousand events for a campaign of weeks.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Container, Iterable
from operator import attrgetter

from events import Envelope, event_types

OPERATOR = "operator"
"""The actor of events that come from outside: a person's commands, the process that starts and stops."""

SUPERVISOR = "supervisor"
"""The actor that records what the runtime itself sees: handlers that fail."""

_position = attrgetter("position")


class History:
    """The non-progress events of one lineage, indexed; grows by `add` as commits arrive."""

    def __init__(self) -> None:
        types = event_types()
        self.head = 0
        """Position of the newest event, progress events included."""
        self.events: list[Envelope] = []
        """In order of position."""
        self._at: dict[int, Envelope] = {}
        self._by_key: dict[str, Envelope] = {}
        self._answers: dict[int, Envelope] = {}
        self._emitted: dict[tuple[str, int], list[Envelope]] = defaultdict(list)
        self._progress = {name for name, cls in types.items() if cls.progress}
        self._terminal = {name: frozenset(cls.terminal) for name, cls in types.items() if cls.terminal}
        self.acks: dict[tuple[str, int], int] = {}
        """Of handlings that have finished, by actor and position of the cause: the head when they had."""

    def add(self, envelopes: Iterable[Envelope]) -> None:
        """Take in committed events, in order."""
        for envelope in envelopes:
            self.head = envelope.position
            if envelope.type in self._progress:
                continue
            self.events.append(envelope)
            self._at[envelope.position] = envelope
            if envelope.effect_key is not None:
                self._by_key.setdefault(envelope.effect_key, envelope)
            if envelope.causation is not None:
                request = self._at.get(envelope.causation)
                if request is not None and envelope.type in self._terminal.get(request.type, ()):
                    self._answers.setdefault(envelope.causation, envelope)
                self._emitted[envelope.actor, envelope.causation].append(envelope)

    def at(self, position: int) -> Envelope | None:
        """The event at a position; None for progress events and positions beyond the head."""
        return self._at.get(position)

    def by_key(self, key: str) -> Envelope | None:
        """The event that an effect left, None if it has not happened."""
        return self._by_key.get(key)

    def answer_to(self, request: int) -> Envelope | None:
        """The terminal event of a request, by the request's position."""
        return self._answers.get(request)

    def emitted(self, actor: str, cause: int) -> list[Envelope]:
        """What an actor emitted while handling a cause, in order of position."""
        return self._emitted.get((actor, cause), [])

    def emitted_later(self, actor: str, cause: int) -> Envelope | None:
        """The first event that an actor emitted while handling a cause after this one."""
        for index in range(bisect_right(self.events, cause, key=_position), len(self.events)):
            event = self.events[index]
            if event.actor == actor and event.causation is not None and event.causation > cause:
                return event
        return None

    def failures_in_a_row(self, completed: str, failed: str, kinds: Container[str]) -> int:
        """How many requests have ended as `failed`, for a reason among `kinds`, since one was `completed`; a
        failure of another kind says nothing of these, and neither counts nor ends the row.
        """
        count = 0
        for envelope in reversed(self.events):
            if envelope.type == completed:
                break
            count += envelope.type == failed and envelope.data()["kind"] in kinds
        return count

    def open_requests(self) -> list[Envelope]:
        """Requests without a terminal event, oldest first."""
        return [e for e in self.events if e.type in self._terminal and e.position not in self._answers]
