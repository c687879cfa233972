"""What an agent asked its models and what they answered: each question with what belongs to it."""

from dataclasses import dataclass

from events import Envelope, event_types
from store.reader import Reader

QUESTIONS = ("ChatRequested", "EmbeddingRequested")
_TRIES = ("ChatAttempted", "EmbeddingAttempted")


@dataclass(frozen=True)
class Conversation:
    """A question, and what came of it."""

    request: Envelope
    after: tuple[Envelope, ...]
    """Tries that failed, then the answer (or the failure, or the cancellation); empty while it is open."""


def conversations(
    log: Reader, branch: str, agent: str, after: int = 0, upto: int | None = None
) -> list[Conversation]:
    """Every question of an agent at positions above `after`, up to `upto`, in order; what belongs to one may
    stand later.
    """
    ends = {name for question in QUESTIONS for name in event_types()[question].terminal}
    found: dict[int, list[Envelope]] = {}
    for envelope in log.read(branch, after, types=(*QUESTIONS, *_TRIES, *ends)):
        if envelope.type in QUESTIONS:
            if envelope.actor == agent and (upto is None or envelope.position <= upto):
                found[envelope.position] = [envelope]
        elif envelope.causation in found:
            found[envelope.causation].append(envelope)
    return [Conversation(events[0], tuple(events[1:])) for events in found.values()]
