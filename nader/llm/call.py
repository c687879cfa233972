"""One call to a model: within budget and limits, retried, and with every attempt counted."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import anyio
from pydantic import BaseModel, ConfigDict, Field

from nader.llm.budget import Budget, Spent
from nader.llm.clock import Clock
from nader.llm.errors import UNCERTAIN, ErrorKind, LLMError
from nader.llm.limiter import Limiter
from nader.llm.prices import Prices
from nader.llm.tokens import prompt_bound, texts_bound
from nader.llm.types import BackendKind, ChatBackend, ChatReply, ChatRequest, Embedder, EmbedReply

Reply = TypeVar("Reply", ChatReply, EmbedReply)


class RetryPolicy(BaseModel):
    """When to try again, and how long to wait before that."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    attempts: int = Field(default=6, ge=1)
    """Tries in all."""
    deadline_s: float = Field(default=120.0, gt=0)
    """Seconds for one attempt, unless the request says otherwise."""
    first_wait_s: float = Field(default=1.0, ge=0)
    """Mean wait before the second try; doubled before each further one."""
    longest_wait_s: float = Field(default=60.0, ge=0)
    """No wait of our own choice is longer."""
    longest_retry_after_s: float = Field(default=300.0, ge=0)
    """A server that asks for a longer pause than this is given up."""

    def wait(self, attempt: int, error: LLMError, jitter: float) -> float | None:
        """Seconds before the attempt after this one (the first is 1); None gives up.

        `jitter` in [0, 1) spreads the wait over half to one and a half times its mean; a server's Retry-After
        is waited in full.
        """
        if not error.retriable or attempt >= self.attempts:
            return None
        mean = min(self.first_wait_s * 2.0 ** (attempt - 1), self.longest_wait_s)
        own = min(mean * (0.5 + jitter), self.longest_wait_s)
        if error.retry_after is None:
            return own
        if error.retry_after > self.longest_retry_after_s:
            return None
        return error.retry_after if error.retry_after == 0 else error.retry_after + own * 0.1


class Attempt(BaseModel):
    """One try: how it ended and what it took."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: int
    outcome: str
    """`ok`, `cancelled`, or the kind of error."""
    message: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float | None = 0.0
    """US dollars for those tokens; None where the model's price is unknown."""
    uncertain_tokens: int = 0
    """The most it may have taken without the server saying so."""
    uncertain_cost: float = 0.0
    latency_s: float = 0.0
    wait_s: float = 0.0
    """Seconds until the next try; 0 where there is none."""


OnAttempt = Callable[[Attempt], Awaitable[None] | None]
CANCELLED = "cancelled"
"""Outcome of a try that was under way when its call was cancelled."""


async def call(
    backend: ChatBackend,
    request: ChatRequest,
    *,
    limiter: Limiter | None = None,
    budget: Budget | None = None,
    policy: RetryPolicy | None = None,
    prices: Prices | None = None,
    on_attempt: OnAttempt | None = None,
    clock: Clock | None = None,
) -> ChatReply:
    """The model's answer, after as many tries as the policy allows.

    Tokens and cost of the reply (or of the LLMError raised) cover all tries. A person has no deadline.
    """
    price = prices or Prices.with_own()
    free = backend.kind is not BackendKind.OPENAI
    bound = prompt_bound(request)
    policy = policy or RetryPolicy()
    one = _Call(
        role=request.role,
        tokens=(0, 0) if free else (bound, request.max_tokens),
        cost=(lambda i, o: 0.0) if free else (lambda i, o: price.cost(request.model, i, o)),
        deadline=None if free else request.deadline_s or policy.deadline_s,
        limiter=None if free else limiter,
        budget=budget,
        policy=policy,
        on_attempt=on_attempt,
        clock=clock or Clock(),
    )
    return await one.run(lambda: backend.chat(request))


async def call_embed(
    embedder: Embedder,
    texts: Sequence[str],
    *,
    role: str = "embedder",
    limiter: Limiter | None = None,
    budget: Budget | None = None,
    policy: RetryPolicy | None = None,
    prices: Prices | None = None,
    on_attempt: OnAttempt | None = None,
    clock: Clock | None = None,
) -> EmbedReply:
    """Vectors for the texts, under the same rules as `call`."""
    price = prices or Prices.with_own()
    model = getattr(embedder, "model", "")
    policy = policy or RetryPolicy()
    one = _Call(
        role=role,
        tokens=(texts_bound(texts), 0) if model else (0, 0),
        cost=(lambda i, o: price.cost(model, i, o)) if model else (lambda i, o: 0.0),
        deadline=policy.deadline_s if model else None,
        limiter=limiter if model else None,
        budget=budget,
        policy=policy,
        on_attempt=on_attempt,
        clock=clock or Clock(),
    )
    return await one.run(lambda: embedder.embed_counted(texts))


class _Call:
    """The tries of one call and their sum."""

    def __init__(
        self,
        *,
        role: str,
        tokens: tuple[int, int],
        cost: Callable[[int, int], float | None],
        deadline: float | None,
        limiter: Limiter | None,
        budget: Budget | None,
        policy: RetryPolicy,
        on_attempt: OnAttempt | None,
        clock: Clock,
    ) -> None:
        self._role = role
        self._most = tokens
        self._cost = cost
        self._deadline = deadline
        self._limiter = limiter or Limiter(concurrency=1, clock=clock)
        self._budget = budget or Budget()
        self._policy = policy
        self._on_attempt = on_attempt
        self._clock = clock
        self._number = 0
        self._tokens = (0, 0)
        self._uncertain = 0
        self._uncertain_cost = 0.0
        self._last = Attempt(number=0, outcome="ok")
        """What the newest try took; nothing, as long as it was not sent."""

    async def run(self, ask: Callable[[], Awaitable[Reply]]) -> Reply:
        began = self._clock.now()
        while True:
            self._number += 1
            self._last = Attempt(number=self._number, outcome="ok")
            try:
                reply = await self._attempt(ask)
            except anyio.get_cancelled_exc_class():
                took = self._last.input_tokens + self._last.output_tokens + self._last.uncertain_tokens
                if took:
                    await self._tell(CANCELLED, "broken off while it was under way.", 0.0)
                raise
            except LLMError as error:
                if error.kind in (ErrorKind.BUDGET, ErrorKind.UNKNOWN_PRICE):
                    self._number -= 1  # nothing was sent
                    raise self._summed(error, began) from error.__cause__
                wait = self._policy.wait(self._number, error, self._clock.jitter())
                await self._tell(error.kind.value, error.message, wait or 0.0)
                if wait is None:
                    raise self._summed(error, began) from error.__cause__
                if error.retry_after:
                    self._limiter.pause(error.retry_after)
                await self._clock.sleep(wait)
                continue
            await self._tell("ok", "", 0.0)
            return self._total(reply, began)

    async def _attempt(self, ask: Callable[[], Awaitable[Reply]]) -> Reply:
        most = sum(self._most)
        deadline = self._deadline or 0.0
        async with (
            self._budget.hold(self._role, money=self._cost(*self._most), tokens=most, time=deadline) as hold,
            self._limiter.slot(most) as sent,
        ):
            started = self._clock.now()
            hold.settled = hold.reserved  # should this break in an unknown way, it may have cost all that
            allowed = hold.reserved.time if self._deadline is not None else None
            try:
                with anyio.fail_after(allowed):
                    reply = await ask()
            except anyio.get_cancelled_exc_class():
                # Sent, and nobody will hear what it took.
                hold.settled = self._book(LLMError(ErrorKind.TIMEOUT, ""), started)
                raise
            except TimeoutError:
                error = LLMError(ErrorKind.TIMEOUT, f"no complete answer within {allowed or 0.0:g} s.")
                hold.settled = self._book(error, started)
                raise error from None
            except LLMError as error:
                hold.settled = self._book(error, started)
                sent.tokens = min(sent.tokens, hold.settled.tokens)
                raise
            hold.settled = self._book(reply, started)
            sent.tokens = hold.settled.tokens
            return reply

    def _book(self, result: ChatReply | EmbedReply | LLMError, started: float) -> Spent:
        """Adds one try to the sum; what the budget is to book for it."""
        took = (result.input_tokens, getattr(result, "output_tokens", 0))
        self._tokens = (self._tokens[0] + took[0], self._tokens[1] + took[1])
        seconds = self._clock.now() - started if self._deadline is not None else 0.0
        charged = result.kind in UNCERTAIN if isinstance(result, LLMError) else True
        # Sent, and perhaps charged for without a word: what we cannot know counts at its most.
        unheard = charged and not result.usage_known
        most, money = (sum(self._most), self._cost(*self._most) or 0.0) if unheard else (0, 0.0)
        self._uncertain += most
        self._uncertain_cost += money
        self._last = Attempt(
            number=self._number,
            outcome="ok",
            input_tokens=took[0],
            output_tokens=took[1],
            cost=self._cost(*took) if any(took) else 0.0,
            uncertain_tokens=most,
            uncertain_cost=money,
            latency_s=self._clock.now() - started,
        )
        return Spent((self._last.cost or 0.0) + money, sum(took) + most, seconds)

    async def _tell(self, outcome: str, message: str, wait: float) -> None:
        """Tell of the newest try."""
        if self._on_attempt is None:
            return
        told = self._on_attempt(
            self._last.model_copy(update={"outcome": outcome, "message": message, "wait_s": wait})
        )
        if told is not None:
            await told

    def _total(self, reply: Reply, began: float) -> Reply:
        update: dict[str, object] = {
            "input_tokens": self._tokens[0],
            "cost": self._cost(*self._tokens),
            "attempts": self._number,
            "latency_s": self._clock.now() - began,
            "uncertain_tokens": self._uncertain,
            "uncertain_cost": self._uncertain_cost,
        }
        if isinstance(reply, ChatReply):
            update |= {"output_tokens": self._tokens[1]}
        return reply.model_copy(update=update)

    def _summed(self, error: LLMError, began: float) -> LLMError:
        error.input_tokens, error.output_tokens = self._tokens
        error.cost = self._cost(*self._tokens) if any(self._tokens) else 0.0
        error.attempts = self._number
        error.latency_s = self._clock.now() - began
        error.uncertain_tokens, error.uncertain_cost = self._uncertain, self._uncertain_cost
        return error
