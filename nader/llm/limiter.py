"""How fast a server may be asked: calls at once, requests a minute, tokens a minute."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import anyio

from nader.llm.clock import Clock

MINUTE = 60.0


@dataclass
class _Sent:
    at: float
    tokens: int


class Limiter:
    """Holds in every window of 60 seconds, not on average; callers are served in the order they came.

    A request counts with the most tokens it can take until the server has said how many it took.
    """

    def __init__(
        self,
        concurrency: int = 4,
        requests_per_minute: int | None = None,
        tokens_per_minute: int | None = None,
        *,
        clock: Clock | None = None,
    ) -> None:
        for name, value in (
            ("concurrency", concurrency),
            ("requests_per_minute", requests_per_minute),
            ("tokens_per_minute", tokens_per_minute),
        ):
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, not {value}.")
        self._clock = clock or Clock()
        self._slots = anyio.Semaphore(concurrency)
        self._turn = anyio.Lock()
        self._requests = requests_per_minute
        self._tokens = tokens_per_minute
        self._sent: deque[_Sent] = deque()
        self._not_before = 0.0

    @asynccontextmanager
    async def slot(self, tokens: int) -> AsyncIterator[_Sent]:
        """Waits until a request of at most `tokens` may go; set `.tokens` of what is yielded to the count."""
        async with self._slots:
            async with self._turn:
                sent = await self._admit(tokens)
            yield sent

    def pause(self, seconds: float) -> None:
        """No request before that many seconds have passed: the server said so to one, and means all."""
        self._not_before = max(self._not_before, self._clock.now() + seconds)

    async def _admit(self, tokens: int) -> _Sent:
        while (wait := self._wait(tokens)) > 0:
            await self._clock.sleep(wait)
        sent = _Sent(self._clock.now(), tokens)
        if self._requests is not None or self._tokens is not None:
            self._sent.append(sent)
        return sent

    def _wait(self, tokens: int) -> float:
        """Seconds until there is room, or until it is worth looking again; 0 when there is room."""
        now = self._clock.now()
        while self._sent and self._sent[0].at + MINUTE <= now:
            self._sent.popleft()
        if now < self._not_before:
            return self._not_before - now
        if not self._sent:
            return 0.0  # a request larger than the limit itself goes alone
        full = self._requests is not None and len(self._sent) >= self._requests
        if self._tokens is not None:
            full = full or sum(s.tokens for s in self._sent) + tokens > self._tokens
        # Answers that come in lower the count of tokens, so look again before the oldest leaves the window.
        return min(self._sent[0].at + MINUTE - now, 1.0) if full else 0.0
