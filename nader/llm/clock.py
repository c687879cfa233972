"""Time and chance at the edge, so that a test can replace them."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import anyio


@dataclass(frozen=True)
class Clock:
    """Seconds that pass, a way to wait, and the jitter of a wait (uniform in [0, 1))."""

    now: Callable[[], float] = field(default=lambda: anyio.current_time())
    sleep: Callable[[float], Awaitable[None]] = anyio.sleep
    jitter: Callable[[], float] = random.random
