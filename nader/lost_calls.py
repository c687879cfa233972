"""Books what calls may have cost that were under way when a process ended without a word (a kill, a crash).

Such a call is made again, and paid for again; so that a cap holds all the same, whoever takes the log up
records the most that it may have taken.
"""

import json

from events import Envelope, Event, Pending, encode
from events.llm import LOST, ChatAttempted, ChatRequested, EmbeddingAttempted, EmbeddingRequested
from nader.assembly import model_of, prices_of
from nader.llm import BackendKind, ChatRequest, Prices, prompt_bound, texts_bound
from nader.settings import CampaignSettings, validated
from prompts import Message
from store import Reader
from store.projections import Views

_MESSAGE = "a process ended while this may have been under way; its most is counted."


def lost_calls(log: Reader, views: Views, settings: CampaignSettings) -> list[Pending]:
    """A try for each question that the last process left open and said nothing of; to be appended with the
    event that takes the log up. Prices are those of `settings`, models those that were in force.
    """
    pendings, open_ = [], views.ledger.unaccounted()
    then = validated(views.status.settings(), where="the log's settings") if open_ else settings
    for request in open_:
        event = _most(log, request, then, prices_of(settings))
        if event is not None:
            actor = "gateway" if request.type == ChatRequested.__name__ else "embedder"
            name, version, payload = encode(event)
            pendings.append(Pending(actor, name, version, payload, request.position, request.correlation))
    return pendings


def _most(log: Reader, request: Envelope, settings: CampaignSettings, prices: Prices) -> Event | None:
    """The most that the call may have taken; None where it costs nothing, whatever it took."""
    asked = request.event
    if isinstance(asked, ChatRequested) and asked.backend == BackendKind.OPENAI:
        messages = tuple(
            Message.model_validate({"role": m.role, "content": log.blob(m.digest).decode("utf-8")})
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
        bound = texts_bound(json.loads(log.blob(asked.texts)))
        return EmbeddingAttempted(
            attempt=0,
            error=LOST,
            message=_MESSAGE,
            wait=0.0,
            uncertain_tokens=bound,
            uncertain_cost=prices.cost(asked.embedder, bound, 0) or 0.0,
        )
    return None
