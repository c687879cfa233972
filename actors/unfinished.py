"""Which handlings a log may leave in the middle: those that a process was still at when the log ends.

A handling that lacks its next event, or the answer that it waits for, is unfinished: or it is what a forger
left of one. What tells them apart is what the log goes on with. A handling that is acknowledged was done; so
was one whose later events are recorded, or that of an agent which handles one at a time and has since acted
on a newer cause; more cannot run at once than the agent has room for; and a campaign ends when everything is
decided, but for what nobody waits for (a duplicate's training).
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain as chained

from actors.actor import Agent
from actors.divergence import Difference, causation_chain
from actors.history import History
from events import Envelope, Pending
from events.campaign import CampaignFinished, RoundDesigned


@dataclass(frozen=True)
class Unfinished:
    """A handling that the log leaves in the middle."""

    agent: Agent
    cause: Envelope
    due: Pending | Envelope | None
    """The event that comes next and is not there, or the request that has no answer; None where the handler
    raises, or was given up and what stands in for it is not recorded.
    """
    left: bool
    """Whether events of the handling are recorded that it has not come to."""
    newest: int
    """Position of the newest event that it rests on."""
    failing: bool = False
    """Whether its last run raised, and it waits to be run again."""


def impossible(handlings: Sequence[Unfinished], history: History) -> list[Difference]:
    """Those of the handlings that cannot be in the middle, each as the event that is missing."""
    acted = _acted(history)
    finish = _Finish(history)
    found = []
    running: dict[str, list[Unfinished]] = defaultdict(list)
    for one in handlings:
        name, position = one.agent.name, one.cause.position
        later = position < acted.get(name, 0)
        if (
            (name, position) in history.acks
            or one.left
            or (later and one.agent.serial)
            or finish.rules_out(one)
        ):
            found.append(one)
        elif later:
            running[name].append(one)
    for some in running.values():
        surplus = len(some) - some[0].agent.concurrency
        found += sorted(some, key=lambda one: one.cause.position)[: max(surplus, 0)]
    return [_missing(one, history) for one in found]


def _acted(history: History) -> dict[str, int]:
    """The newest cause that each actor has emitted something for."""
    acted: dict[str, int] = {}
    for event in history.events:
        if event.causation is not None and event.causation > acted.get(event.actor, 0):
            acted[event.actor] = event.causation
    return acted


class _Finish:
    """The end of a campaign, and what must have been decided by then."""

    def __init__(self, history: History) -> None:
        ends = (e for e in reversed(history.events) if e.type == CampaignFinished.__name__)
        self._end = next((e for e in ends if e.data()["reason"] != "base-failed"), None)
        designed = [e.event for e in history.events if e.type == RoundDesigned.__name__] if self._end else []
        rounds = [event for event in designed if isinstance(event, RoundDesigned)]
        self._counted = {c for r in rounds for c in chained(r.accepted, r.abandoned)}

    def rules_out(self, one: Unfinished) -> bool:
        """Whether a handling must have ended before the campaign did."""
        end = self._end
        if end is None or one.cause.position > end.position:
            return False
        candidate = getattr(one.cause.event, "candidate", None)
        if one.agent.name not in ("modifier", "trainer") or candidate in self._counted or candidate == "base":
            return True
        # Nobody waits for it, so it may still have run. But it takes its turn before the Director takes a
        # newer one: what it needed was there before the event upon which the campaign was ended.
        prompt = isinstance(one.due, Pending) and not one.failing
        return prompt and end.causation is not None and one.newest < end.causation


def _missing(one: Unfinished, history: History) -> Difference:
    due = one.due
    position, actor, kind, payload = one.cause.position, one.agent.name, one.cause.type, None
    if isinstance(due, Pending):
        kind, payload = due.type, due.payload
    elif due is not None:
        position, actor, kind = due.position, "an effector", "answer to this " + due.type
    where = due if isinstance(due, Envelope) else one.cause
    return Difference(
        position, actor, kind, "missing", "$", None, payload, causation_chain(where, history.at)
    )
