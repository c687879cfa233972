"""What a fork with changed settings makes under them, and what ends as it had begun."""

from dataclasses import dataclass

from actors.actor import Agent
from actors.modifier import Modifier
from actors.proposer import Proposer
from actors.reader import Reader as KnowledgeReader
from actors.reflector import Reflector
from events.training import EpochFinished
from store import Reader

_WORK: dict[type[Agent], str] = {
    KnowledgeReader: "what is known at the start",
    Proposer: "the proposals of",
    Modifier: "the design of",
    Reflector: "the reflection on",
}
"""What a handling of each agent makes. The base and every training are the same under all settings that may
be changed; the Director's decisions are looked at anew with every event.
"""


@dataclass(frozen=True)
class Reach:
    """Work that was asked for and not done at a position, in the order it was asked for."""

    begun: tuple[str, ...]
    """It had recorded something, and ends under the settings it began with."""
    pending: tuple[str, ...]
    """It had not, and is done under changed settings."""


def reach(log: Reader, run: str, at: int) -> Reach:
    """What a change of settings right after a position of a run would find undone.

    Nothing is folded: the events that cause work are read, and those after the oldest that is not done.
    """
    done = {ack for ack, position in log.acks(run).items() if position <= at}
    handled = {agent: frozenset(agent.handled) for agent in _WORK}
    undone = {
        (agent.name, cause.position): f"{work} {cause.correlation}" if work.endswith((" of", " on")) else work
        for cause in log.read(run, upto=at, types=frozenset().union(*handled.values()))
        for agent, work in _WORK.items()
        if cause.type in handled[agent] and (agent.name, cause.position) not in done
    }
    begun = set()
    if undone:
        oldest = min(position for _, position in undone)
        later = log.read(run, after=oldest, upto=at, without=(EpochFinished.__name__,))
        begun = {(e.actor, e.causation) for e in later} & undone.keys()
    return Reach(
        tuple(work for key, work in undone.items() if key in begun),
        tuple(work for key, work in undone.items() if key not in begun),
    )
