"""Books what calls may have cost that were under way when a process ended without a word (a kill, a crash).

Such a call is made again, and paid for again; so that a cap holds all the same, whoever takes the log up
records the most that it may have taken. All of that follows from the log, so `nader verify` holds each such
record to it.
"""

import json
from collections.abc import Callable

import nader
from events import Envelope, Event, Pending, encode
from events.campaign import CampaignPaused, CampaignResumed, CampaignStarted, Forked
from events.llm import LOST, ChatAttempted, ChatRequested, EmbeddingAttempted, EmbeddingRequested
from events.reading import ReadingStarted
from nader.assembly import model_of, prices_of
from nader.llm import BackendKind, ChatRequest, Prices, prompt_bound, texts_bound
from nader.settings import CampaignSettings, validated
from prompts import Message
from store import Reader, StoreError
from store.projections import Views
from store.projections.ledger import Ledger

_MESSAGE = "a process ended while this may have been under way; its most is counted."
_QUESTIONS = (ChatRequested.__name__, EmbeddingRequested.__name__)
_TELL_VERSION = (CampaignStarted.__name__, CampaignResumed.__name__)
_TAKES_UP = (CampaignResumed.__name__, ReadingStarted.__name__)
"""Events with which a process takes a history up, and books what the last one left open."""
Blob = Callable[[str], bytes]


def lost_calls(
    log: Reader, views: Views, settings: CampaignSettings | None, upto: int | None = None
) -> list[Pending]:
    """A try for each question that the last process left open and said nothing of; to be appended with the
    event that takes the log up.

    Prices are those of `settings`, which hold from there on; models those of the settings that were in force
    before, and these also stand in for None. At a fork only questions of the history up to `upto` count,
    under the settings of that point.
    """
    pendings = []
    open_ = [request for request in views.ledger.unaccounted() if upto is None or request.position <= upto]
    if not open_:
        return []
    then = validated(views.status.settings(upto), where="the log's settings")
    for request in open_:
        event = most(log.blob, request, then, prices_of(settings or then))
        if event is not None:
            actor = "gateway" if request.type == ChatRequested.__name__ else "embedder"
            name, version, payload = encode(event)
            pendings.append(Pending(actor, name, version, payload, request.position, request.correlation))
    return pendings


def most(
    blob: Blob, request: Envelope, settings: CampaignSettings, prices: Prices
) -> ChatAttempted | EmbeddingAttempted | None:
    """The most that the call may have taken; None where it costs nothing, whatever it took."""
    asked = request.event
    if isinstance(asked, ChatRequested) and asked.backend == BackendKind.OPENAI:
        messages = tuple(
            Message.model_validate({"role": m.role, "content": blob(m.digest).decode("utf-8")})
            for m in asked.messages
        )
        bound = prompt_bound(ChatRequest(prompt=asked.prompt, messages=messages))
        return ChatAttempted(
            attempt=0,
            error=LOST,
            message=_MESSAGE,
            wait=0.0,
            uncertain_tokens=bound + asked.max_tokens,
            uncertain_cost=prices.cost(model_of(settings, asked.agent), bound, asked.max_tokens) or 0.0,
        )
    if isinstance(asked, EmbeddingRequested) and settings.llm.embedder != "hashed":
        bound = texts_bound(json.loads(blob(asked.texts)))
        return EmbeddingAttempted(
            attempt=0,
            error=LOST,
            message=_MESSAGE,
            wait=0.0,
            uncertain_tokens=bound,
            uncertain_cost=prices.cost(asked.embedder, bound, 0) or 0.0,
        )
    return None


class Losses:
    """Follows a history, and says what each loss in it is to be: one at most of each question that the event
    which takes the history up finds open, at its computed most.
    """

    def __init__(self, at: Callable[[int], Envelope | None], blob: Blob) -> None:
        self._at = at
        self._blob = blob
        self._ledger = Ledger()
        self._unread: list[Envelope] = []
        """Events that the ledger has not taken in yet: it is asked where a history is taken up, which most
        never are.
        """
        self._bookable: set[int] = set()
        """Positions of the questions whose loss may be booked now."""
        self._then: CampaignSettings | None = None
        """The settings in force before the history was taken up."""
        self._version = ""
        """The version of nader that took it up, where that is told: the listed prices are its own."""

    def see(self, e: Envelope, settings: CampaignSettings | None, at_work: bool) -> None:
        """Take in an event, under the settings in force before it; `at_work` once the process that took the
        history up has done more than that.
        """
        if e.type in _TELL_VERSION:
            self._version = e.event.nader_version  # type: ignore[attr-defined]
        if e.type in _TAKES_UP:
            self._then = settings
            self._bookable = {request.position for request in self._read().unaccounted()}
        elif e.type == Forked.__name__:
            # Whether the parent's process had told of them is no part of this history.
            self._then, open_ = settings, self._read().open_requests()
            self._bookable = {request.position for request in open_ if request.type in _QUESTIONS}
        elif self._bookable and (at_work or e.type == CampaignPaused.__name__):
            self._bookable = set()
        self._unread.append(e)

    def _read(self) -> Ledger:
        for e in self._unread:
            self._ledger.apply(e)
        self._unread.clear()
        return self._ledger

    def take(self, e: Envelope, settings: CampaignSettings | None) -> tuple[Envelope, Event | None] | None:
        """The question whose loss an event books, and the event as it should be (None where that cannot be
        told, because content or settings are lost); None where nothing is to be booked of it any more.
        """
        request = self._at(e.causation or 0)
        if request is None or request.position not in self._bookable:
            return None
        self._bookable.remove(request.position)
        if self._then is None or settings is None:
            return request, None
        try:
            due = most(self._blob, request, self._then, prices_of(settings))
        except StoreError:  # told where it is named
            return request, None
        if due is None or type(due) is not type(e.event):
            return None
        if self._version != nader.__version__ and not self._own_price(request, settings):
            due = due.model_copy(update={"uncertain_cost": e.event.uncertain_cost})
        return request, due

    def _own_price(self, request: Envelope, settings: CampaignSettings) -> bool:
        """Whether the settings name the price themselves, and not a version's list."""
        asked = request.event
        assert self._then is not None
        model = model_of(self._then, asked.agent) if isinstance(asked, ChatRequested) else asked.embedder  # type: ignore[attr-defined]
        return model in settings.llm.prices


def is_loss(e: Envelope) -> bool:
    """Whether an event says, in its number or in its error, that it books a loss."""
    event = e.event
    return isinstance(event, ChatAttempted | EmbeddingAttempted) and (
        event.attempt == 0 or event.error == LOST
    )
