"""Runs every agent handler again from the log, with recorded effects: no model, no GPU, no data, no network.

Each handling is run as it was: its cause, its view, the recorded answers to what it asked. What the code
emits is compared with what was recorded. The result names every handling that differs; the first by position
is the one to look at.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from actors.actor import Agent
from actors.context import AgentContext
from actors.divergence import Difference, Diverged, causation_chain
from actors.history import SUPERVISOR, History
from events import Ack, Envelope, Pending
from events.campaign import HandlerFailed
from store.projections import Views


class BlobSource(Protocol):
    """Where a replay reads blobs."""

    def blob(self, digest: str) -> bytes:
        """The content of a blob."""


class _InFlight(Exception):
    """The record ends here: the handler was still running (or is still running) when the log was read."""


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
    """Handlings that were given up after exceptions: their record is taken as it is."""
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
            raise _InFlight
        return known

    def blob(self, digest: str) -> bytes:
        return self._blobs.blob(digest)


async def replay(history: History, views: Views, blobs: BlobSource, agents: Sequence[Agent]) -> ReplayResult:
    """Run every handling of these agents again over a folded log; differences come sorted by position."""
    port = _ReplayPort(history, views, blobs)
    result = ReplayResult()
    given_up = {
        (e.data()["actor"], e.causation)
        for e in history.events
        if e.type == HandlerFailed.__name__ and e.data()["final"]
    }
    for agent in agents:
        own_last = 0
        for cause in history.events:
            if cause.type not in agent.handled:
                continue
            if (agent.name, cause.position) in given_up:
                result.failed += 1
            else:
                view = max(cause.position, own_last) if agent.serial else cause.position
                await _again(port, agent, cause, view, result)
            emitted = history.emitted(agent.name, cause.position)
            if emitted:
                own_last = max(own_last, emitted[-1].position)
        await asyncio.sleep(0)
    _orphans(history, agents, result)
    result.differences.sort(key=lambda d: d.position)
    return result


async def _again(port: _ReplayPort, agent: Agent, cause: Envelope, view: int, result: ReplayResult) -> None:
    """Run one handling again and note where it differs from its record."""
    history = port.history
    context = AgentContext(port, agent.name, cause, view)
    acknowledged = (agent.name, cause.position) in history.acks
    try:
        await agent.handler(cause.type)(context, cause.event)
        await context.finish()
    except _InFlight:
        result.unfinished += 1
        return
    except Diverged as diverged:
        result.differences.append(diverged.difference)
        return
    except _Missing as missing:
        if acknowledged:
            result.differences.append(_missing(history, agent, cause, missing.pending))
        else:
            result.unfinished += 1
        return
    except Exception as error:
        text = f"{type(error).__name__}: {error}"
        result.differences.append(
            Difference(
                cause.position,
                agent.name,
                cause.type,
                "changed",
                "$",
                "a handling that ended",
                text,
                causation_chain(cause, history.at),
            )
        )
        return
    result.handlers += 1


def _missing(history: History, agent: Agent, cause: Envelope, pending: Pending) -> Difference:
    return Difference(
        cause.position,
        agent.name,
        pending.type,
        "missing",
        "$",
        None,
        pending.payload,
        causation_chain(cause, history.at),
    )


def _orphans(history: History, agents: Sequence[Agent], result: ReplayResult) -> None:
    """Events under an agent's name that no handling of it can have made: inserted by another hand."""
    handled = {agent.name: set(agent.handled) for agent in agents}
    for event in history.events:
        if event.actor not in handled or event.actor == SUPERVISOR:
            continue
        cause = history.at(event.causation) if event.causation is not None else None
        if cause is None or cause.type not in handled[event.actor]:
            result.differences.append(
                Difference(
                    event.position,
                    event.actor,
                    event.type,
                    "extra",
                    "$",
                    event.data(),
                    None,
                    causation_chain(event, history.at),
                )
            )
