"""A mailbox is a cursor over the history, woken by commits.

An actor takes its next matching event when it has room, so nothing queues in memory and a slow actor blocks
nobody. What an actor has finished with is known from the log alone: agents by their acknowledgements,
effectors by terminal events.
"""

import asyncio
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from actors.actor import Actor, Agent, Effector
from events import Envelope

if TYPE_CHECKING:
    from actors.runtime import Runtime


class Mailbox:
    """An actor's cursor over the history."""

    def __init__(self, runtime: "Runtime", actor: Actor) -> None:
        self.actor = actor
        self._runtime = runtime
        self._index = 0
        self._own_last = 0
        """Position of the actor's last emission, as far as it has handled."""
        self.running: dict[asyncio.Task[None], Envelope] = {}
        self._woken = asyncio.Event()
        self._closed = False
        self._leaving = False
        self._ending: asyncio.Task[None] | None = None
        """The actor is ending what it does in its own way."""

    async def run(self) -> None:
        """Start handlers as events come and room allows."""
        try:
            while not self._closed:
                self._woken.clear()
                self._raise_failures()
                self._start_what_fits()
                await self._woken.wait()
        finally:
            if self._ending is not None:
                self._ending.cancel()
            for task in self.running:
                task.cancel()
            await asyncio.gather(*self.running, return_exceptions=True)

    def wake(self) -> None:
        """Look at the history again."""
        self._woken.set()

    def close(self) -> None:
        """Take nothing more, and end."""
        self._closed = True
        self.wake()

    async def leave(self, finish: bool, now: bool) -> None:
        """Take nothing more; cancel what runs, unless it is to finish or its actor has a way to end it."""
        self._leaving = True
        if finish:
            return
        if isinstance(self.actor, Effector) and self.actor.ends_softly and not now:
            if self._ending is None:
                self._ending = asyncio.create_task(self.actor.end())
                self._ending.add_done_callback(lambda _: self._runtime.woken())
            if not self._ending.done():
                return
        for task in list(self.running):
            task.cancel()
        await asyncio.gather(*self.running, return_exceptions=True)

    @property
    def idle(self) -> bool:
        """Nothing runs and nothing waits."""
        return not self.running and self._index >= len(self._runtime.history.events)

    @property
    def has_next(self) -> bool:
        """An event waits, and there is room to take it."""
        room = len(self.running) < self.actor.concurrency
        return room and self._index < len(self._runtime.history.events)

    def _start_what_fits(self) -> None:
        events = self._runtime.history.events
        while not self._leaving and len(self.running) < self.actor.concurrency and self._index < len(events):
            envelope = events[self._index]
            self._index += 1
            if envelope.type not in self.actor.handled:
                continue
            if isinstance(self.actor, Effector):
                if self._runtime.history.answer_to(envelope.position) is None:
                    self._start(self._runtime.perform(self.actor, envelope), envelope)
            elif isinstance(self.actor, Agent):
                if (self.actor.name, envelope.position) in self._runtime.history.acks:
                    self._note_emissions(envelope)
                else:
                    view = max(envelope.position, self._own_last) if self.actor.serial else envelope.position
                    self._start(self._runtime.handle(self.actor, envelope, view), envelope)

    def _start(self, work: Coroutine[Any, Any, None], envelope: Envelope) -> None:
        task = asyncio.create_task(work)
        self.running[task] = envelope
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if task.cancelled() or task.exception() is None:
            self._note_emissions(self.running.pop(task))
        self._runtime.woken()

    def _raise_failures(self) -> None:
        for task in list(self.running):
            if task.done() and not task.cancelled():
                error = task.exception()
                if error is not None:
                    raise error

    def _note_emissions(self, cause: Envelope) -> None:
        emitted = self._runtime.history.emitted(self.actor.name, cause.position)
        if emitted:
            self._own_last = max(self._own_last, emitted[-1].position)
