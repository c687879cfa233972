"""Runs every agent handler again from the log, with recorded effects: no model, no GPU, no data, no network.

Each handling is run as it was: its cause, its view, the recorded answers to what it asked. What the code
emits is compared with what was recorded. The result names every handling that differs; the first by position
is the one to look at.
"""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from actors.actor import Agent
from actors.context import AgentContext, changed, extra
from actors.divergence import Difference, Diverged, causation_chain, first_difference
from actors.force import in_force
from actors.history import History
from actors.keys import effect_key
from actors.unfinished import Unfinished, impossible
from events import Ack, Envelope, Pending, encode
from events.campaign import HandlerFailed
from store.projections import Views


class BlobSource(Protocol):
    """Where a replay reads blobs."""

    def blob(self, digest: str) -> bytes:
        """The content of a blob."""


class _InFlight(Exception):
    """The record ends here: the handler was still waiting (or is still waiting) when the log was read."""

    def __init__(self, request: Envelope) -> None:
        super().__init__(request.type)
        self.request = request


class _Missing(Exception):
    """The code emits an event that the record lacks."""

    def __init__(self, pending: Pending) -> None:
        super().__init__(pending.type)
        self.pending = pending


@dataclass
class ReplayResult:
    """What a replay found."""

    handlers: int = 0
    """Handlings run again to their end."""
    unfinished: int = 0
    """Handlings that the log leaves in the middle: the tail of a campaign that was stopped."""
    failed: int = 0
    """Handlings that were given up after exceptions: what they did until then, and what stands in for the
    rest, is compared; that they raised is a fact.
    """
    differences: list[Difference] = field(default_factory=list)


class _ReplayPort:
    """The log as a replay sees it: everything is looked up, nothing is appended."""

    def __init__(self, history: History, views: Views, blobs: BlobSource) -> None:
        self.history = history
        self.views = views
        self._blobs = blobs

    async def append(
        self, pendings: Sequence[Pending], blobs: dict[str, bytes], acks: Sequence[Ack]
    ) -> list[Envelope]:
        if pendings:
            raise _Missing(pendings[0])
        return []

    async def answer(self, request: Envelope) -> Envelope:
        known = self.history.answer_to(request.position)
        if known is None:
            raise _InFlight(request)
        return known

    def blob(self, digest: str) -> bytes:
        return self._blobs.blob(digest)


async def replay(history: History, views: Views, blobs: BlobSource, agents: Sequence[Agent]) -> ReplayResult:
    """Run every handling of these agents again over a folded log; differences come sorted by position."""
    again = _Again(history, views, blobs)
    for agent in agents:
        own_last = 0
        for cause in history.events:
            if cause.type not in agent.handled:
                continue
            await again.handle(
                agent, cause, max(cause.position, own_last) if agent.serial else cause.position
            )
            emitted = history.emitted(agent.name, cause.position)
            if emitted:
                own_last = max(own_last, emitted[-1].position)
        await asyncio.sleep(0)
    result = again.result
    ruled_out = impossible(again.unfinished, history)
    result.unfinished = len(again.unfinished) - len(ruled_out)
    result.differences += ruled_out
    result.differences += _orphans(history, agents)
    result.differences.sort(key=lambda d: d.position)
    return result


class _Again:
    """Runs handlings again, one after the other, and keeps what it finds."""

    def __init__(self, history: History, views: Views, blobs: BlobSource) -> None:
        self.result = ReplayResult()
        self.unfinished: list[Unfinished] = []
        self._history = history
        self._port = _ReplayPort(history, views, blobs)
        self._failures: dict[tuple[str, int], Envelope] = {}
        """The newest failure of each handling, by agent and cause."""
        for event in history.events:
            if event.type == HandlerFailed.__name__ and event.causation is not None:
                self._failures[event.data()["actor"], event.causation] = event

    async def handle(self, agent: Agent, cause: Envelope, view: int) -> None:
        """Run one handling again and note where it differs from its record."""
        context = AgentContext(self._port, agent.name, cause, view, in_force(self._port, agent, cause, view))
        failure = self._failures.get((agent.name, cause.position))
        due: Pending | Envelope | None = None
        try:
            await agent.handler(cause.type)(context, cause.event)
            await context.flush()
            ended = True
        except _InFlight as waiting:
            ended, due = False, waiting.request
        except _Missing as missing:
            ended, due = False, missing.pending
        except Diverged as diverged:
            self.result.differences.append(diverged.difference)
            return
        except Exception as error:
            if failure is None:
                text = f"{type(error).__name__}: {error}"
                self._differs(changed(cause, "$", "a handling that ended", text, self._history))
                return
            ended = False
        left = context.left()
        if ended and not left:
            self.result.handlers += 1
            emitted = self._history.emitted(agent.name, cause.position)
            if failure is not None and emitted and failure.position > emitted[-1].position:
                self._differs(extra(failure, self._history))  # its end is recorded with its last event
        elif failure is not None and failure.data()["final"]:
            if self._given_up(agent, cause, failure, left):
                self.result.failed += 1
            else:
                self.unfinished.append(Unfinished(agent, cause, None, False, context.newest, True))
        elif ended:
            self._differs(extra(left[0], self._history))
        else:
            failing = failure is not None and not left
            self.unfinished.append(Unfinished(agent, cause, due, bool(left), context.newest, failing))

    def _given_up(self, agent: Agent, cause: Envelope, failure: Envelope, left: list[Envelope]) -> bool:
        """Compare what stands in for a handling that failed for good; False where none of it is recorded yet.

        The text of the exception is a fact of the world: where it enters an event, any text may stand.
        """
        stands_in = [encode(event) for event in agent.give_up(cause.event, _ANY)]
        keys = [effect_key("give-up", agent.name, cause, str(number)) for number in range(len(stands_in))]
        recorded = {e.effect_key: e for e in left}
        for event in left:
            if event.effect_key not in keys:
                self._differs(extra(event, self._history))
        found = [recorded.get(key) for key in keys]
        if stands_in and not any(found):
            return False
        for (type_name, _, payload), stand_in in zip(stands_in, found, strict=True):
            if stand_in is not None:
                self._compare_stand_in(stand_in, (agent.name, type_name, cause.correlation), payload, failure)
                continue
            chain = causation_chain(cause, self._history.at)
            place = cause.position, agent.name, type_name
            self._differs(Difference(*place, "missing", "$", None, payload, chain))
        return True

    def _compare_stand_in(
        self, event: Envelope, due: tuple[str, str, str | None], payload: str, failure: Envelope
    ) -> None:
        columns = (event.actor, event.type, event.correlation, event.input_digest)
        for name, old, new in zip(_COLUMNS, columns, (*due, None), strict=True):
            if old != new:
                self._differs(changed(event, name, old, new, self._history))
        computed, values = json.loads(payload), event.event.model_dump(mode="json")
        for name, value in computed.items():
            if value == _ANY and isinstance(values.get(name), str):
                computed[name] = values[name]
        difference = first_difference(values, computed)
        if difference is not None:
            place = (difference.path, difference.recorded, difference.computed)
            self._differs(changed(event, *place, self._history))
        elif event.position < failure.position:
            after = f"after {failure.position}"
            self._differs(changed(event, "position", event.position, after, self._history))

    def _differs(self, difference: Difference) -> None:
        self.result.differences.append(difference)


_ANY = "\0"
"""Stands for the text of an exception, which no event holds by itself."""
_COLUMNS = ("actor", "type", "correlation", "input_digest")


def _orphans(history: History, agents: Sequence[Agent]) -> list[Difference]:
    """Events under an agent's name that no handling of it can have made: inserted by another hand."""
    handled = {agent.name: set(agent.handled) for agent in agents}
    found = []
    for event in history.events:
        if event.actor in handled:
            cause = history.at(event.causation) if event.causation is not None else None
            if cause is None or cause.type not in handled[event.actor]:
                found.append(extra(event, history))
    return found
