"""The gateway to language models: effectors that turn recorded requests into recorded answers, within limits
that hold.
"""

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any

from actors.actor import Effector, handles
from actors.context import EffectorContext
from actors.outage import Outage
from actors.runtime import MustPause
from events import Envelope, Event
from events.llm import (
    ChatAttempted,
    ChatCompleted,
    ChatFailed,
    ChatRequested,
    EmbeddingAttempted,
    EmbeddingCompleted,
    EmbeddingFailed,
    EmbeddingRequested,
)
from nader.llm import (
    Attempt,
    BackendKind,
    Budget,
    BudgetExceeded,
    ChatBackend,
    ChatReply,
    ChatRequest,
    Embedder,
    ErrorKind,
    Limiter,
    LLMError,
    Prices,
    RetryPolicy,
    call,
    call_embed,
)
from prompts import Message
from store.projections.ledger import Recorded

OF_THE_ACCOUNT = frozenset(
    {ErrorKind.AUTHENTICATION, ErrorKind.QUOTA, ErrorKind.NO_MODEL, ErrorKind.UNKNOWN_PRICE}
)
"""Kinds of failure that every call would meet: the campaign waits for a right key, a filled account, a model
that is there, and spends no proposals on them.
"""


class Gateway(Effector):
    """Answers chat requests through the back end that each names."""

    name = "gateway"

    def __init__(
        self,
        backends: Mapping[str, ChatBackend],
        *,
        limiter: Limiter,
        budget: Budget,
        policy: RetryPolicy,
        prices: Prices,
        outage: Outage | None = None,
        recorded: Mapping[str, Recorded] | None = None,
        models: Callable[[str], str] | None = None,
        instead: str = "",
        concurrency: int = 64,
    ) -> None:
        self._backends = dict(backends)
        self._instead = instead
        """The back end that the settings in force name: it is asked what was left open for one that they no
        longer name.
        """
        self._limiter = limiter
        self._budget = budget
        self._policy = policy
        self._prices = prices
        self._outage = outage or Outage(0)
        self._recorded = dict(recorded or {})
        """Answers of the parent's later history by the request's input digest, at a fork with `--reuse`."""
        self._models = models
        """The model that an agent asks by the settings in force: a question left open when the settings were
        others is put to it, and not for ever to a model that is gone.
        """
        self.concurrency = concurrency

    @handles(ChatRequested)
    async def perform(self, ctx: EffectorContext, request: Envelope) -> Event:
        """Ask, or take the recorded answer; returns the terminal event."""
        asked = request.event
        assert isinstance(asked, ChatRequested)
        recorded = self._recorded.get(request.input_digest or "")
        if recorded is not None and isinstance(recorded.completed, ChatCompleted):
            return recorded.completed.model_copy(
                update={
                    "reused": recorded.source,
                    "input_tokens": 0,
                    "output_tokens": 0,
                    "cost": 0.0,
                    "latency": 0.0,
                }
            )
        name = asked.backend if asked.backend in self._backends else self._instead
        backend = self._backends.get(name)
        if backend is None:
            return ChatFailed(
                kind="no-backend", message=f"no back end {asked.backend!r} is set up here", attempts=0
            )

        async def on_attempt(attempt: Attempt) -> None:
            if attempt.outcome != "ok":
                await _told(ctx, ChatAttempted(
                    input_tokens=attempt.input_tokens, output_tokens=attempt.output_tokens, **_try(attempt)
                ))  # fmt: skip

        try:
            reply = await call(
                backend,
                self._question(ctx, asked, name),
                limiter=self._limiter,
                budget=self._budget,
                policy=self._policy,
                prices=self._prices,
                on_attempt=on_attempt,
            )
        except LLMError as error:
            self._outage.failed(ctx, error)
            if _stops_all(error):
                raise MustPause(_reason(error)) from None
            return ChatFailed(
                kind=str(error.kind),
                message=error.message,
                attempts=error.attempts,
                input_tokens=error.input_tokens,
                output_tokens=error.output_tokens,
                cost=error.cost,
                latency=error.latency_s,
                uncertain_tokens=error.uncertain_tokens,
                uncertain_cost=error.uncertain_cost,
            )
        self._outage.answered(ctx)
        return ChatCompleted(
            answer=ctx.put(reply.text),
            model=reply.model,
            backend=name,
            finish=reply.finish,
            input_tokens=reply.input_tokens,
            output_tokens=reply.output_tokens,
            cost=reply.cost,
            latency=reply.latency_s,
            attempts=reply.attempts,
            uncertain_tokens=reply.uncertain_tokens,
            uncertain_cost=reply.uncertain_cost,
            temperature=asked.temperature if _takes_temperature(backend, reply) else None,
            adjustments=reply.adjustments,
        )

    def _question(self, ctx: EffectorContext, asked: ChatRequested, backend: str) -> ChatRequest:
        """A recorded request as it is put to a back end."""
        return ChatRequest(
            prompt=asked.prompt,
            messages=tuple(
                Message.model_validate({"role": m.role, "content": ctx.text(m.digest)})
                for m in asked.messages
            ),
            model=self._models(asked.agent) if self._models and backend == "openai" else asked.model,
            temperature=asked.temperature,
            max_tokens=asked.max_tokens,
            seed=asked.seed,
            role=asked.agent,
            key=ctx.request.effect_key or ctx.request.id,
        )

    def failure(self, request: Event, error: str) -> Event:
        """A request that the program itself failed to carry out."""
        return ChatFailed(kind="internal", message=error, attempts=0)

    async def close(self) -> None:
        """Give back connections."""
        for backend in self._backends.values():
            await backend.aclose()


class Embedding(Effector):
    """Turns texts into vectors, once."""

    name = "embedder"

    def __init__(
        self,
        embedder: Embedder,
        name: str,
        dimension: int,
        *,
        limiter: Limiter,
        budget: Budget,
        policy: RetryPolicy,
        prices: Prices,
        outage: Outage | None = None,
        recorded: Mapping[str, Recorded] | None = None,
        concurrency: int = 8,
    ) -> None:
        """`name` and `dimension` are those of the settings in force: a question left open when they were
        others is put to this embedder, and its vectors are this one's.
        """
        self._embedder = embedder
        self._space = name, dimension
        self._limiter = limiter
        self._budget = budget
        self._policy = policy
        self._prices = prices
        self._outage = outage or Outage(0)
        self._recorded = dict(recorded or {})
        """As of the `Gateway`."""
        self.concurrency = concurrency

    @handles(EmbeddingRequested)
    async def perform(self, ctx: EffectorContext, request: Envelope) -> Event:
        """Embed, or take the recorded vectors; returns the terminal event."""
        asked = request.event
        assert isinstance(asked, EmbeddingRequested)
        recorded = self._recorded.get(request.input_digest or "")
        if recorded is not None and isinstance(recorded.completed, EmbeddingCompleted):
            free = {"reused": recorded.source, "tokens": 0, "cost": 0.0, "latency": 0.0}
            return recorded.completed.model_copy(update=free)
        texts = json.loads(ctx.text(asked.texts))

        async def on_attempt(attempt: Attempt) -> None:
            if attempt.outcome != "ok":
                await _told(ctx, EmbeddingAttempted(tokens=attempt.input_tokens, **_try(attempt)))

        try:
            reply = await call_embed(
                self._embedder,
                texts,
                role=asked.agent,
                limiter=self._limiter,
                budget=self._budget,
                policy=self._policy,
                prices=self._prices,
                on_attempt=on_attempt,
            )
        except LLMError as error:
            self._outage.failed(ctx, error)
            if _stops_all(error):
                raise MustPause(_reason(error)) from None
            return EmbeddingFailed(
                kind=str(error.kind),
                message=error.message,
                tokens=error.input_tokens,
                cost=error.cost,
                uncertain_tokens=error.uncertain_tokens,
                uncertain_cost=error.uncertain_cost,
                latency=error.latency_s,
            )
        self._outage.answered(ctx)
        name, dimension = self._space
        if reply.vectors.shape[1] != dimension:
            return EmbeddingFailed(
                kind="wrong-dimension",
                message=f"its vectors have {reply.vectors.shape[1]} numbers, not {dimension}",
                tokens=reply.input_tokens,
                cost=reply.cost,
                uncertain_tokens=reply.uncertain_tokens,
                uncertain_cost=reply.uncertain_cost,
                latency=reply.latency_s,
            )
        return EmbeddingCompleted(
            vectors=ctx.put(reply.vectors.astype("<f4").tobytes()),
            embedder=name,
            dimension=dimension,
            count=len(texts),
            tokens=reply.input_tokens,
            cost=reply.cost,
            latency=reply.latency_s,
            uncertain_tokens=reply.uncertain_tokens,
            uncertain_cost=reply.uncertain_cost,
        )

    def failure(self, request: Event, error: str) -> Event:
        """A request that the program itself failed to carry out."""
        return EmbeddingFailed(kind="internal", message=error)

    async def close(self) -> None:
        """Give back connections."""
        await self._embedder.aclose()


def _takes_temperature(backend: ChatBackend, reply: ChatReply) -> bool:
    """Whether a temperature was sent: a rule and a person have none."""
    return backend.kind is BackendKind.OPENAI and "temperature" not in reply.adjustments


async def _told(ctx: EffectorContext, event: Event) -> None:
    """Record a try, whole even where the call is being cancelled: nobody else will tell what it took."""
    await asyncio.shield(asyncio.ensure_future(ctx.progress(event)))


def _try(attempt: Attempt) -> dict[str, Any]:
    """What the two kinds of tries have in common."""
    return {
        "attempt": attempt.number,
        "error": attempt.outcome,
        "message": attempt.message,
        "wait": attempt.wait_s,
        "cost": attempt.cost,
        "uncertain_tokens": attempt.uncertain_tokens,
        "uncertain_cost": attempt.uncertain_cost,
        "latency": attempt.latency_s,
    }


def _stops_all(error: LLMError) -> bool:
    return isinstance(error, BudgetExceeded) or error.kind in OF_THE_ACCOUNT


def _reason(error: LLMError) -> str:
    return f"{error.kind}: {error.message}"
