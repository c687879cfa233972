"""Is the configured server there, does it have the model, and what does it tell of itself?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import anyio

from nader.llm.connection import Connection
from nader.llm.errors import ErrorKind, LLMError
from nader.llm.openai_embed import OpenAIEmbedder
from nader.llm.types import ChatBackend, ChatRequest
from prompts import Message

_CONTEXT_KEYS = ("context_length", "max_model_len", "context_window", "max_context_length", "n_ctx")


@dataclass(frozen=True)
class Check:
    """One finding; `ok` is None where the server does not tell."""

    name: str
    ok: bool | None
    detail: str
    advice: str = ""


async def check_endpoint(
    connection: Connection,
    backend: ChatBackend,
    models: str | Sequence[str],
    embedder: OpenAIEmbedder | None = None,
    *,
    deadline_s: float = 30.0,
) -> list[Check]:
    """Reachable, embedding size; of each model: offered, a short question answered, context length. Never
    raises. With more than one model, each finding about one names it.
    """
    models = [models] if isinstance(models, str) else list(dict.fromkeys(models))
    found: list[Check] = []
    listing: dict[str, Any] = {}
    try:
        with anyio.fail_after(deadline_s):
            listing = await connection.ask("models", deadline_s=deadline_s)
        found.append(Check("reachable", True, connection.shown))
    except (LLMError, TimeoutError) as error:
        found.append(_unreachable(connection, error))
        if _kind(error) not in (ErrorKind.NO_MODEL, ErrorKind.BAD_REQUEST):
            return found
    for model in models:
        answers = await _answers(backend, model, deadline_s)
        about = [_offered(listing, model, bool(answers.ok)), answers, _context(listing, model)]
        found += about if len(models) == 1 else [replace(c, name=f"{c.name}, {model}") for c in about]
    if embedder is not None:
        found.append(await _embeds(embedder, deadline_s))
    return found


async def unlisted_models(
    connection: Connection, models: Iterable[str], *, deadline_s: float = 10.0
) -> dict[str, str]:
    """Models that the server does not list, each with a sentence; never raises.

    A listing costs nothing; a question, if only for a word, would be paid for and stand in no log. A server
    that is away, or lists no models, is left to the first question.
    """
    try:
        with anyio.fail_after(deadline_s):
            names = _models(await connection.ask("models", deadline_s=deadline_s))
    except (LLMError, TimeoutError):
        return {}
    known = names.keys() | {name.partition(":")[0] for name in names}  # a tag may be left out
    return {
        model: f"{connection.shown} lists no model {model!r}; it lists {_some(names)}"
        for model in models
        if names and model not in known
    }


def _unreachable(connection: Connection, error: LLMError | TimeoutError) -> Check:
    detail = f"{connection.shown}: {getattr(error, 'message', 'no answer in time.')}"
    if _kind(error) is ErrorKind.AUTHENTICATION:
        what = "the key is not accepted" if connection.has_key else "the server wants a key and none is set"
        return Check("reachable", False, detail, f"{what}: set it in the variable that api_key_env names.")
    if _kind(error) in (ErrorKind.NO_MODEL, ErrorKind.BAD_REQUEST):
        return Check("reachable", None, f"{connection.shown} answers, but lists no models.")
    return Check("reachable", False, detail, "check base_url, and that the server runs.")


def _kind(error: LLMError | TimeoutError) -> ErrorKind:
    return error.kind if isinstance(error, LLMError) else ErrorKind.TIMEOUT


def _models(listing: dict[str, Any]) -> dict[str, dict[str, Any]]:
    data = listing.get("data")
    entries = [d for d in data if isinstance(d, dict)] if isinstance(data, list) else []
    return {str(entry.get("id")): entry for entry in entries}


def _some(names: Iterable[str]) -> str:
    ordered = sorted(names)
    return ", ".join(ordered[:8]) + (", …" if len(ordered) > 8 else "")


def _offered(listing: dict[str, Any], model: str, answers: bool) -> Check:
    names = _models(listing)
    if not names:
        return Check("model listed", None, "the server lists no models.")
    if model in names:
        return Check("model listed", True, model)
    detail = f"{model!r} is not among {_some(names)}."
    if answers:
        return Check("model listed", None, f"{detail} It answers all the same.", "set llm.unlisted = 'ask'.")
    return Check("model listed", False, detail, "set llm.model (llm.models for one agent) to one of these.")


def _question(model: str, deadline_s: float, max_tokens: int) -> ChatRequest:
    return ChatRequest(
        prompt="judge_relevance",
        messages=(Message(role="user", content="Answer with the single word: ready"),),
        model=model,
        max_tokens=max_tokens,
        deadline_s=deadline_s,
    )


async def _answers(backend: ChatBackend, model: str, deadline_s: float) -> Check:
    question = _question(model, deadline_s, 256)
    for _ in range(4):  # a parameter that the server rejects is left out at the next try
        try:
            with anyio.fail_after(deadline_s):
                reply = await backend.chat(question)
        except TimeoutError:
            return Check("answers", False, f"no answer within {deadline_s:g} s.", "raise llm.deadline_s.")
        except LLMError as error:
            if error.kind is ErrorKind.CUT_OFF:
                return Check("answers", True, "an answer, cut off as asked.")
            if error.kind is ErrorKind.BAD_REQUEST and error.retriable:
                continue
            return Check("answers", False, error.message)
        left_out = f"; not accepted: {', '.join(reply.adjustments)}" if reply.adjustments else ""
        tokens = f"{reply.input_tokens} + {reply.output_tokens} tokens"
        counted = "" if reply.input_tokens else "; the server reports no usage, so tokens cannot be counted"
        return Check("answers", True, f"{reply.model}, {tokens}{left_out}{counted}")
    return Check("answers", False, "the server rejects the request in every form tried.")


def _context(listing: dict[str, Any], model: str) -> Check:
    entry = _models(listing).get(model, {})
    meta = entry.get("meta")
    places = [entry, meta if isinstance(meta, dict) else {}]
    for place in places:
        for key in (*_CONTEXT_KEYS, "n_ctx_train"):
            value = place.get(key)
            if isinstance(value, int) and value > 0:
                enough = value >= 8192
                advice = "" if enough else "prompts with the block language take about 4,000 tokens."
                return Check("context length", enough, f"{value:,} tokens", advice)
    return Check("context length", None, "the server does not tell.")


async def _embeds(embedder: OpenAIEmbedder, deadline_s: float) -> Check:
    try:
        with anyio.fail_after(deadline_s):
            await embedder.embed(["a skip connection"])
    except TimeoutError:
        return Check("embeddings", False, f"no answer within {deadline_s:g} s.")
    except LLMError as error:
        return Check("embeddings", False, error.message, "or use the local embedder.")
    return Check("embeddings", True, f"{embedder.model}, dimension {embedder.dimension}")
