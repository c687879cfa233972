"""The ledger: tokens, money and training time, by agent, model and candidate, as of any position."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import ClassVar

from events.envelope import Envelope
from events.llm import (
    CANCELLED,
    LOST,
    ChatAttempted,
    ChatCompleted,
    ChatFailed,
    ChatRequested,
    EmbeddingAttempted,
    EmbeddingCompleted,
    EmbeddingFailed,
    EmbeddingRequested,
)
from events.training import TrainingCompleted, TrainingFailed, TrainingRequested
from store.projections.base import Projection

HOPELESS = "hopeless"
"""Kind of a training's failure: it was stopped early, and the epochs that were left are saved."""


@dataclass(frozen=True)
class Recorded:
    """An answer recorded elsewhere, that stands in for asking again."""

    source: str
    """`branch:position` of the record."""
    completed: ChatCompleted | EmbeddingCompleted


@dataclass(frozen=True)
class Totals:
    """Sums over some part of a history."""

    input_tokens: int = 0
    output_tokens: int = 0
    cost: float = 0.0
    """US dollars, of calls whose price is known."""
    uncertain_tokens: int = 0
    """The most that tries may have taken without the server saying so; no part of the sums above."""
    uncertain_cost: float = 0.0
    unknown_price_calls: int = 0
    """Calls whose model has no known price: their cost is missing above."""
    chat_calls: int = 0
    """Answers received."""
    chat_failures: int = 0
    chat_reused: int = 0
    """Recorded answers taken instead of asking; they cost nothing here."""
    embedding_calls: int = 0
    trainings: int = 0
    """That ran here to their end."""
    training_failures: int = 0
    reused: int = 0
    """Results of equal trainings that were adopted."""
    train_seconds: float = 0.0
    stopped_early: int = 0
    """Trainings that were stopped as hopeless; they count among the failures too."""
    epochs_saved: int = 0
    """Epochs that those would have run still."""
    wait_seconds: float = 0.0
    """Waited for answers, summed over calls, pauses between tries included."""

    def __add__(self, other: "Totals") -> "Totals":
        return Totals(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(Totals)))

    def __sub__(self, other: "Totals") -> "Totals":
        return Totals(*(getattr(self, f.name) - getattr(other, f.name) for f in fields(Totals)))


@dataclass(frozen=True)
class OpenRequest:
    """Work asked for that has not ended."""

    position: int
    type: str
    agent: str
    candidate: str | None


@dataclass
class _Entry:
    position: int
    agent: str
    model: str
    candidate: str | None
    totals: Totals
    until: int | None = None
    """Position of the end that tells the sum of its call's tries, this one among them."""


class Ledger(Projection):
    """What the campaign has spent, and what it is waiting for."""

    HANDLES: ClassVar[frozenset[str]] = frozenset(
        {
            "ChatRequested",
            "CampaignStarted",
            "CampaignResumed",
            "CampaignPaused",
            "Forked",
            "ReadingStarted",
            "ReflectionRequested",
            "ChatAttempted",
            "ChatCompleted",
            "ChatFailed",
            "ChatCancelled",
            "EmbeddingRequested",
            "EmbeddingAttempted",
            "EmbeddingCompleted",
            "EmbeddingFailed",
            "EmbeddingCancelled",
            "TrainingRequested",
            "TrainingCompleted",
            "ResultReused",
            "TrainingFailed",
            "TrainingCancelled",
        }
    )

    def __init__(self) -> None:
        super().__init__()
        self._entries: list[_Entry] = []
        self._requests: dict[int, Envelope] = {}
        self._ended: dict[int, int] = {}
        """Position of the first end, by position of the request."""
        self._tries: dict[int, list[_Entry]] = {}
        """What tries of the process at work took, by position of the request; its end will tell their sum."""
        self._told: set[int] = set()
        """Requests of which the process at work has told what it had spent when it broke them off."""
        self._at_work = False
        """Whether a process has begun and not left in order: only then can it have had a call under way."""

    # ---- queries

    def totals(self, upto: int | None = None, agent: str | None = None, model: str | None = None) -> Totals:
        """All that was spent by then, by one agent or on one model if named."""
        chosen = (e for e in self._upto(upto) if agent in (None, e.agent) and model in (None, e.model))
        return _sum(chosen)

    def by_agent(self, upto: int | None = None) -> dict[str, Totals]:
        """Totals of each agent, by name."""
        return self._grouped(upto, lambda entry: entry.agent)

    def by_model(self, upto: int | None = None) -> dict[str, Totals]:
        """Totals of each chat and embedding model, by name."""
        return self._grouped(upto, lambda entry: entry.model)

    def by_candidate(self, upto: int | None = None) -> dict[str, Totals]:
        """Totals of what each candidate caused, by id."""
        return self._grouped(upto, lambda entry: entry.candidate or "")

    def open_requests(self, upto: int | None = None) -> list[OpenRequest]:
        """Requests without an end by then, in order."""
        return [
            OpenRequest(position, request.type, _agent(request), request.correlation)
            for position, request in self._requests.items()
            if (upto is None or position <= upto)
            and (position not in self._ended or (upto is not None and self._ended[position] > upto))
        ]

    def unaccounted(self) -> list[Envelope]:
        """Questions that a process which left without a word may have had under way, in order.

        Their cost is in no sum: whoever takes the log up is to book the most they may have taken.
        """
        if not self._at_work:
            return []
        return [
            request
            for position, request in self._requests.items()
            if position not in self._ended
            and position not in self._told
            and request.type in (ChatRequested.__name__, EmbeddingRequested.__name__)
        ]

    def _upto(self, upto: int | None) -> Iterator[_Entry]:
        return (
            entry
            for entry in self._entries
            if (upto is None or entry.position <= upto)
            and (entry.until is None or (upto is not None and upto < entry.until))
        )

    def _grouped(self, upto: int | None, name: Callable[[_Entry], str]) -> dict[str, Totals]:
        groups: dict[str, list[_Entry]] = {}
        for entry in self._upto(upto):
            if name(entry):
                groups.setdefault(name(entry), []).append(entry)
        return {key: _sum(groups[key]) for key in sorted(groups)}

    # ---- the fold

    def _open(self, envelope: Envelope) -> None:
        self._requests[envelope.position] = envelope
        self._at_work = True

    on_ChatRequested = on_EmbeddingRequested = on_TrainingRequested = _open

    def _end(self, envelope: Envelope) -> None:
        self._ended.setdefault(envelope.causation or 0, envelope.position)

    on_ChatCancelled = on_EmbeddingCancelled = on_TrainingCancelled = _end

    def _session(self, envelope: Envelope) -> None:
        """Another process is at work: what earlier ones spent on a question that has no end stays spent."""
        self._at_work = True
        self._tries.clear()
        self._told.clear()

    on_CampaignStarted = on_CampaignResumed = on_ReadingStarted = _session

    def on_Forked(self, envelope: Envelope) -> None:
        """Nobody works on a fork before it is taken up, and what the parent's process may have had under way
        is booked together with it.
        """
        self._session(envelope)
        self._at_work = False

    def on_ReflectionRequested(self, envelope: Envelope) -> None:
        """A fork that reflects again is worked on at once."""
        self._at_work = True

    def on_CampaignPaused(self, envelope: Envelope) -> None:
        self._at_work = False

    def on_ChatAttempted(self, envelope: Envelope) -> None:
        event = envelope.event
        assert isinstance(event, ChatAttempted)
        self._attempt(envelope, event, event.input_tokens, event.output_tokens)

    def on_EmbeddingAttempted(self, envelope: Envelope) -> None:
        event = envelope.event
        assert isinstance(event, EmbeddingAttempted)
        self._attempt(envelope, event, event.tokens, 0)

    def _attempt(
        self, envelope: Envelope, event: ChatAttempted | EmbeddingAttempted, asked: int, told: int
    ) -> None:
        totals = Totals(
            asked,
            told,
            event.cost or 0.0,
            event.uncertain_tokens,
            event.uncertain_cost,
            wait_seconds=event.latency,
        )
        request = envelope.causation or 0
        if event.error == CANCELLED:
            self._told.add(request)
        if totals != Totals():
            entry = self._note(envelope, "", totals)
            if event.error != LOST:
                self._tries.setdefault(request, []).append(entry)

    def on_ChatCompleted(self, envelope: Envelope) -> None:
        event = envelope.event
        assert isinstance(event, ChatCompleted)
        if event.reused:
            self._enter(envelope, event.model, Totals(chat_reused=1))
        else:
            self._enter(envelope, event.model, _spent(event, chat_calls=1))

    def on_ChatFailed(self, envelope: Envelope) -> None:
        event = envelope.event
        assert isinstance(event, ChatFailed)
        self._enter(envelope, "", _spent(event, chat_failures=1))

    def on_EmbeddingFailed(self, envelope: Envelope) -> None:
        event = envelope.event
        assert isinstance(event, EmbeddingFailed)
        self._enter(envelope, "", _embedded(event))

    def on_EmbeddingCompleted(self, envelope: Envelope) -> None:
        event = envelope.event
        assert isinstance(event, EmbeddingCompleted)
        totals = Totals() if event.reused else _embedded(event, embedding_calls=1)
        self._enter(envelope, event.embedder, totals)

    def on_TrainingCompleted(self, envelope: Envelope) -> None:
        event = envelope.event
        assert isinstance(event, TrainingCompleted)
        self._enter(envelope, "", Totals(trainings=1, train_seconds=event.seconds))

    def on_TrainingFailed(self, envelope: Envelope) -> None:
        event = envelope.event
        assert isinstance(event, TrainingFailed)
        failed = Totals(training_failures=1, train_seconds=event.seconds)
        if event.kind == HOPELESS:
            left = _epochs_left(self._requests.get(envelope.causation or 0), event)
            failed += Totals(stopped_early=1, epochs_saved=left)
        self._enter(envelope, "", failed)

    def on_ResultReused(self, envelope: Envelope) -> None:
        self._enter(envelope, "", Totals(reused=1))

    def _enter(self, envelope: Envelope, model: str, totals: Totals) -> None:
        self._end(envelope)
        for entry in self._tries.pop(envelope.causation or 0, ()):
            entry.until = envelope.position
        self._note(envelope, model, totals)

    def _note(self, envelope: Envelope, model: str, totals: Totals) -> _Entry:
        request = self._requests.get(envelope.causation or 0)
        agent, candidate = "", envelope.correlation
        if request is not None:
            agent = _agent(request)
            candidate = candidate or request.correlation
            asked = request.event
            if isinstance(asked, ChatRequested):
                model = model or asked.model
            elif isinstance(asked, EmbeddingRequested):
                model = model or asked.embedder
        entry = _Entry(envelope.position, agent, model, candidate, totals)
        self._entries.append(entry)
        return entry


def _agent(request: Envelope) -> str:
    event = request.event
    return event.agent if isinstance(event, ChatRequested | EmbeddingRequested) else request.actor


def _epochs_left(request: Envelope | None, ended: TrainingFailed) -> int:
    """Epochs that a training would have run after its end."""
    asked = request.event if request is not None else None
    planned = asked.recipe.get("epochs") if isinstance(asked, TrainingRequested) else None
    return max(0, planned - ended.epochs) if isinstance(planned, int) else 0


def _spent(event: ChatCompleted | ChatFailed, *, chat_calls: int = 0, chat_failures: int = 0) -> Totals:
    return Totals(
        input_tokens=event.input_tokens,
        output_tokens=event.output_tokens,
        cost=event.cost or 0.0,
        uncertain_tokens=event.uncertain_tokens,
        uncertain_cost=event.uncertain_cost,
        unknown_price_calls=_unpriced(event.cost, event.input_tokens + event.output_tokens, chat_calls),
        chat_calls=chat_calls,
        chat_failures=chat_failures,
        wait_seconds=event.latency,
    )


def _embedded(event: EmbeddingCompleted | EmbeddingFailed, *, embedding_calls: int = 0) -> Totals:
    return Totals(
        input_tokens=event.tokens,
        cost=event.cost or 0.0,
        uncertain_tokens=event.uncertain_tokens,
        uncertain_cost=event.uncertain_cost,
        unknown_price_calls=_unpriced(event.cost, event.tokens, embedding_calls),
        embedding_calls=embedding_calls,
        wait_seconds=event.latency,
    )


def _unpriced(cost: float | None, tokens: int, answers: int) -> int:
    """1 for a call that took something whose price is not known; a refusal that took nothing cost nothing."""
    return int(cost is None and bool(tokens or answers))


def _sum(entries: Iterator[_Entry] | list[_Entry]) -> Totals:
    total = Totals()
    for entry in entries:
        total = total + entry.totals
    return total
