"""A gate that lets as many in as there are slots, whoever comes first in (round, index) before the others."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class PriorityGate:
    """Slots, and those who wait for one."""

    def __init__(self, slots: int) -> None:
        self._free = slots
        self._waiting: list[tuple[tuple[int, int], int, asyncio.Future[None]]] = []
        """Priority, number of arrival, and what is resolved when a slot is handed over."""
        self._count = 0

    @asynccontextmanager
    async def turn(self, priority: tuple[int, int]) -> AsyncIterator[None]:
        """Wait for a slot, and hold it."""
        await self._enter(priority)
        try:
            yield
        finally:
            self._leave()

    async def _enter(self, priority: tuple[int, int]) -> None:
        if self._free > 0:
            self._free -= 1
            return
        self._count += 1
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((priority, self._count, future))
        try:
            await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():
                self._leave()
            else:
                self._waiting = [w for w in self._waiting if w[2] is not future]
            raise

    def _leave(self) -> None:
        self._waiting = [w for w in self._waiting if not w[2].done()]
        if self._waiting:
            entry = min(self._waiting, key=lambda w: w[:2])
            self._waiting.remove(entry)
            entry[2].set_result(None)
        else:
            self._free += 1
