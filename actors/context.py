"""What a handler sees: its cause, projections as of its view, keyed chance, and the two effects `emit` and
`ask`.

The same context serves live handling and replay. Each effect has a key; where the history holds an event
under that key the handler is running again, and the event is compared with what the code does now, never
repeated.
"""

import asyncio
import random
from collections.abc import Sequence
from typing import Protocol

from actors.divergence import Difference, Diverged, causation_chain, first_difference
from actors.history import History
from actors.keys import effect_key, input_digest, keyed_rng
from events import Ack, Envelope, Event, Pending, decode, encode
from store.blobs import sha256_hex
from store.projections import Views


class Port(Protocol):
    """How a context reaches the log: live it appends and waits, in replay it only looks up."""

    history: History
    views: Views

    async def append(
        self, pendings: Sequence[Pending], blobs: dict[str, bytes], acks: Sequence[Ack]
    ) -> list[Envelope]:
        """Commit events that the history does not hold."""

    async def answer(self, request: Envelope) -> Envelope:
        """The terminal event of a request, when it is there."""

    def blob(self, digest: str) -> bytes:
        """The content of a blob."""


class AgentContext:
    """One handling of one cause by one agent."""

    def __init__(self, port: Port, actor: str, cause: Envelope, view: int, under: int) -> None:
        self._port = port
        self.actor = actor
        self.cause = cause
        self.view = view
        """The position as of which every projection is read, but for the settings."""
        self.under = under
        """The position as of which settings, ground and prompts are read (`actors.force`)."""
        self.views = port.views
        self._recorded = list(port.history.emitted(actor, cause.position))
        """What an earlier run of this handling has left in the log."""
        self._met: set[int] = set()
        """Positions of those that this run has met again."""
        self._newest = cause.position
        """The newest event that this run has met or been answered with: what it does next comes after it."""
        self._aside = 0
        """As `_newest`, of answers to asks made side by side, which do not wait for each other."""
        self._task = asyncio.current_task()
        self._ordinal = 0
        self._buffer: list[Pending] = []
        self._blobs: dict[str, bytes] = {}

    # ---- seeing

    def rng(self, purpose: str, seed: int) -> random.Random:
        """Chance for one purpose; a draw for another purpose does not move it."""
        return keyed_rng(seed, self.actor, self.cause, purpose)

    def text(self, digest: str) -> str:
        """A blob as text."""
        return self.read(digest).decode("utf-8")

    def read(self, digest: str) -> bytes:
        """A blob as bytes."""
        held = self._blobs.get(digest)
        return held if held is not None else self._port.blob(digest)

    # ---- effects

    def put(self, content: str | bytes) -> str:
        """Keep a large content beside the log; it is stored with the next event. Returns its digest."""
        raw = content.encode("utf-8") if isinstance(content, str) else content
        digest = sha256_hex(raw)
        self._blobs[digest] = raw
        return digest

    async def emit(self, event: Event, *, about: str | None = None, name: str | None = None) -> None:
        """Record an event. Emissions travel with the handler's next ask or with its end, in one
        transaction.
        """
        if name is None:
            self._ordinal += 1
            name = str(self._ordinal)
        found = self._effect("emit", event, name, about)
        if isinstance(found, Pending):
            self._buffer.append(found)

    async def ask(self, request: Event, *, name: str, about: str | None = None) -> Envelope:
        """Record a request and wait for its terminal event. `name` tells it from the handler's other asks."""
        found = self._effect("ask", request, name, about)
        if isinstance(found, Pending):
            batch = [*self._buffer, found]
            self._buffer = []
            found = (await self._port.append(batch, self._take_blobs(), ()))[-1]
        answer = await self._port.answer(found)
        if asyncio.current_task() is self._task:
            self._newest = max(self._newest, answer.position)
        else:
            self._aside = max(self._aside, answer.position)
        return answer

    async def finish(self) -> None:
        """Commit what is buffered together with the acknowledgement that the cause is handled.

        Raises `Diverged` where the record holds an event that this run did not come to.
        """
        for left in self.left():
            raise Diverged(extra(left, self._port.history))
        await self.flush()

    async def flush(self) -> None:
        """The end of `finish`: whether the record holds more is left to the caller."""
        batch, self._buffer = self._buffer, []
        await self._port.append(batch, self._take_blobs(), [Ack(self.actor, self.cause.position)])

    def left(self) -> list[Envelope]:
        """What the record holds and this run has not come to (so far)."""
        return [e for e in self._recorded if e.position not in self._met]

    @property
    def newest(self) -> int:
        """Position of the newest event that this run rests on: met again, or the answer to what it asked."""
        return max(self._newest, self._aside)

    # ---- inside

    def _effect(self, kind: str, event: Event, name: str, about: str | None) -> Envelope | Pending:
        """The recorded event of this effect, after comparison; one to record where it has not happened
        yet.
        """
        type_name, version, payload = encode(event)
        key = effect_key(kind, self.actor, self.cause, name)
        about = about or self.cause.correlation
        if asyncio.current_task() is self._task:
            self._newest = max(self._newest, self._aside)
        recorded = self._port.history.by_key(key)
        if recorded is not None:
            if (
                self._buffer
            ):  # emissions are committed in their order: one that is there has all before it there
                lost = self._buffer[0]
                chain = causation_chain(self.cause, self._port.history.at)
                place = self.cause.position, self.actor, lost.type
                raise Diverged(Difference(*place, "missing", "$", None, lost.payload, chain))
            self._met.add(recorded.position)
            compare(recorded, (type_name, version, payload), self._port.history)
            self._compare_columns(recorded, about)
            self._newest = recorded.position
            return recorded
        return Pending(
            actor=self.actor,
            type=type_name,
            version=version,
            payload=payload,
            causation=self.cause.position,
            correlation=about,
            effect_key=key,
            input_digest=input_digest(type_name, version, payload),
        )

    def _compare_columns(self, recorded: Envelope, about: str | None) -> None:
        """Raise `Diverged` where a recorded event stands under another name, cause or place than its own."""
        digest = input_digest(recorded.type, recorded.version, recorded.payload)
        held = (recorded.actor, recorded.causation, recorded.correlation, recorded.input_digest)
        due = (self.actor, self.cause.position, about, digest)
        history = self._port.history
        if held != due:
            columns = ("actor", "causation", "correlation", "input_digest")
            name, old, new = next(c for c in zip(columns, held, due, strict=True) if c[1] != c[2])
            raise Diverged(changed(recorded, name, old, new, history))
        if recorded.position <= self._newest:
            place = f"after {self._newest}"
            raise Diverged(changed(recorded, "position", recorded.position, place, history))

    def _take_blobs(self) -> dict[str, bytes]:
        blobs, self._blobs = self._blobs, {}
        return blobs


class EffectorContext:
    """One execution of one request by an effector."""

    def __init__(self, port: Port, actor: str, request: Envelope) -> None:
        self._port = port
        self.actor = actor
        self.request = request
        self.views = port.views
        self.history = port.history
        self._blobs: dict[str, bytes] = {}

    def text(self, digest: str) -> str:
        """A blob as text."""
        return self._port.blob(digest).decode("utf-8")

    def put(self, content: str | bytes) -> str:
        """Keep a large content beside the log; it is stored with the terminal event. Returns its digest."""
        raw = content.encode("utf-8") if isinstance(content, str) else content
        digest = sha256_hex(raw)
        self._blobs[digest] = raw
        return digest

    async def progress(self, event: Event) -> None:
        """Record a fact of the world on the way to the terminal event."""
        type_name, version, payload = encode(event)
        pending = Pending(
            self.actor, type_name, version, payload, self.request.position, self.request.correlation
        )
        await self._port.append([pending], {}, ())

    async def conclude(self, event: Event) -> Envelope:
        """Record the terminal event; its key admits only one."""
        type_name, version, payload = encode(event)
        pending = Pending(
            self.actor,
            type_name,
            version,
            payload,
            self.request.position,
            self.request.correlation,
            effect_key=effect_key("terminal", self.actor, self.request, ""),
            input_digest=self.request.input_digest,
        )
        return (await self._port.append([pending], self._blobs, ()))[0]


def compare(recorded: Envelope, emitted: tuple[str, int, str], history: History) -> None:
    """Raise `Diverged` where a recorded event is not what the code emits now: type, version and payload."""
    if (recorded.type, recorded.version, recorded.payload) == emitted:
        return
    if recorded.type != emitted[0]:
        path, old, new = "$.type", recorded.type, emitted[0]
    else:
        before = recorded.event.model_dump(mode="json")
        after = decode(*emitted).model_dump(mode="json")
        difference = first_difference(before, after)
        if difference is None:
            return
        path, old, new = difference.path, difference.recorded, difference.computed
    raise Diverged(changed(recorded, path, old, new, history))


def changed(recorded: Envelope, path: str, old: object, new: object, history: History) -> Difference:
    """A recorded event that is not as the code makes it: where, what stands there, what should."""
    chain = causation_chain(recorded, history.at)
    return Difference(recorded.position, recorded.actor, recorded.type, "changed", path, old, new, chain)


def extra(recorded: Envelope, history: History) -> Difference:
    """A recorded event that the code does not emit."""
    chain = causation_chain(recorded, history.at)
    return Difference(
        recorded.position, recorded.actor, recorded.type, "extra", "$", recorded.data(), None, chain
    )
