"""Runs actors over one branch of the log: what they append and are answered, supervision, an orderly stop."""

import asyncio
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import structlog

from actors.actor import Actor, Agent, Effector
from actors.context import AgentContext, EffectorContext
from actors.divergence import Diverged
from actors.force import in_force
from actors.history import OPERATOR, SUPERVISOR, History
from actors.keys import effect_key
from actors.mailbox import Mailbox
from events import Ack, Envelope, Event, Pending, encode
from events.campaign import CampaignPaused, HandlerFailed
from store import FaultPoint, Log, StoreError, fault
from store.projections import Views

log = structlog.get_logger("nader.runtime")

ATTEMPTS = 3
"""How often a handler that raises is run before it is given up."""


class RuntimeFault(RuntimeError):
    """The campaign cannot go on: something that no handler may decide."""


class MustPause(Exception):
    """Raised by an effector that can carry out neither this request nor another until a person has done
    something (a cap is reached, a key is refused): the request stays open, the campaign pauses.
    """


@dataclass(frozen=True)
class Ending:
    """How a process left its campaign."""

    kind: Literal["finished", "paused"]
    reason: str


@dataclass(frozen=True)
class _Stop:
    reason: str
    finish: frozenset[str]
    """Effectors whose running requests are waited for; all other work is cancelled and stays open."""
    now: bool
    """Nothing is waited for, not even a checkpoint."""


class Runtime:
    """The actors of one campaign, over one branch; `run` returns when it is finished or paused."""

    def __init__(
        self,
        store: Log,
        branch: str,
        history: History,
        views: Views,
        actors: Sequence[Actor],
        *,
        over: Callable[[], str | None] | None = None,
        backoff: Callable[[int], float] = lambda attempt: 0.5 * 2 ** (attempt - 1),
    ) -> None:
        self.store = store
        self.branch = branch
        self.history = history
        self.views = views
        self._backoff = backoff
        self._over = over or self._finished
        """Why everything is done, or None while it is not."""
        self._mailboxes = [Mailbox(self, actor) for actor in actors]
        self._waiters: dict[int, list[asyncio.Future[Envelope]]] = {}
        self._tick = asyncio.Event()
        """Set, and replaced by a new one, whenever something was committed or a handler ended."""
        self._stop: _Stop | None = None
        self._broken: RuntimeFault | None = None
        """An event was committed that the state could not take in: nothing may be decided any more."""

    # ---- the port that contexts reach the log through

    async def append(
        self, pendings: Sequence[Pending], blobs: dict[str, bytes], acks: Sequence[Ack]
    ) -> list[Envelope]:
        """Commit, and return once the history holds what was committed."""
        if self._broken is not None:
            raise self._broken
        stored = await self.store.append(self.branch, pendings, blobs=blobs, acks=acks)
        for ack in acks:
            self.history.acks[ack.actor, ack.cause] = stored[-1].position if stored else self.history.head
        while stored and self.history.head < stored[-1].position:
            await self._tick.wait()
        return stored

    async def answer(self, request: Envelope) -> Envelope:
        """The terminal event of a request, now or when it is committed."""
        known = self.history.answer_to(request.position)
        if known is not None:
            return known
        future: asyncio.Future[Envelope] = asyncio.get_running_loop().create_future()
        self._waiters.setdefault(request.position, []).append(future)
        self.woken()  # whoever watches whether the campaign stands still looks again
        return await future

    def blob(self, digest: str) -> bytes:
        """The content of a blob."""
        return self.store.blob(digest)

    # ---- running

    async def run(self) -> Ending:
        """Handle events until the campaign is finished or `pause` was called. Raises what stopped it
        otherwise.
        """
        unsubscribe = self.store.subscribe(self._committed)
        try:
            async with asyncio.TaskGroup() as group:
                for mailbox in self._mailboxes:
                    group.create_task(mailbox.run())
                group.create_task(self._watch())
            if self._stop is None:
                return Ending("finished", self._over() or "")
            await self.append([external(CampaignPaused(reason=self._stop.reason))], {}, ())
            return Ending("paused", self._stop.reason)
        except* (Diverged, StoreError, RuntimeFault) as problems:
            error = _first(problems)
        finally:
            unsubscribe()
        raise error from None

    def pause(self, reason: str, *, finish: Sequence[str] = (), now: bool = False) -> None:
        """Take no more work; wait for the running requests of the effectors named, cancel the rest, and
        leave.
        """
        if self._stop is None or now or len(finish) < len(self._stop.finish):
            self._stop = _Stop(reason, frozenset() if now else frozenset(finish), now)
            self.woken()

    def _finished(self) -> str | None:
        finished = self.views.status.finished()
        return None if finished is None else finished.reason

    async def _watch(self) -> None:
        """End the mailboxes when the campaign is over, and say so if it stands still without being over."""
        while True:
            tick = self._tick
            if self._broken is not None:
                raise self._broken
            if self._stop is not None:
                for mailbox in self._mailboxes:
                    await mailbox.leave(mailbox.actor.name in self._stop.finish, self._stop.now)
                if all(not mailbox.running for mailbox in self._mailboxes):
                    break
            elif all(mailbox.idle for mailbox in self._mailboxes) and self._over() is not None:
                break
            elif self._stands_still():
                waiting = [f"{e.position} {e.type}" for e in self.history.open_requests()]
                raise RuntimeFault(
                    "the campaign stands still: no actor has anything to do, and it is not finished"
                    + (f"; open requests: {', '.join(waiting)}" if waiting else "")
                )
            await tick.wait()
        for mailbox in self._mailboxes:
            mailbox.close()

    def _stands_still(self) -> bool:
        """Nothing is there to be taken, and whatever runs waits for an answer that nobody works on."""
        asked = [self.history.at(position) for position in self._waiters]
        waiting = {(e.actor, e.causation) for e in asked if e is not None}
        for mailbox in self._mailboxes:
            if mailbox.has_next:
                return False
            for cause in mailbox.running.values():
                if (mailbox.actor.name, cause.position) not in waiting:
                    return False
        return True

    def _committed(self, envelopes: list[Envelope]) -> None:
        """Take in what was committed on this branch; called on the event loop, in commit order."""
        for envelope in envelopes:
            if envelope.branch != self.branch:
                continue
            self.history.add([envelope])
            try:
                self.views.apply(envelope)
            except Exception as error:
                self._broken = RuntimeFault(
                    f"the state cannot take in the {envelope.type} at position {envelope.position} "
                    f"({type(error).__name__}: {error})"
                )
            if envelope.causation in self._waiters and self.history.answer_to(envelope.causation) is envelope:
                for future in self._waiters.pop(envelope.causation):
                    if not future.done():
                        future.set_result(envelope)
        self.woken()

    def woken(self) -> None:
        """Something has changed: every mailbox looks at the history again."""
        for mailbox in self._mailboxes:
            mailbox.wake()
        self._tick.set()
        self._tick = asyncio.Event()

    # ---- handling

    async def handle(self, agent: Agent, cause: Envelope, view: int) -> None:
        """Run an agent's handler until it finishes or is given up."""
        attempt = self._failures(agent, cause)
        while True:
            context = AgentContext(self, agent.name, cause, view, in_force(self, agent, cause, view))
            try:
                await agent.handler(cause.type)(context, cause.event)
                await context.finish()
                self._check_answered(agent, cause)
                return
            except (Diverged, StoreError, RuntimeFault):
                raise
            except Exception as error:
                attempt += 1
                log.warning(
                    "handler failed",
                    actor=agent.name,
                    cause=cause.position,
                    attempt=attempt,
                    error=repr(error),
                )
                await self._record_failure(agent.name, cause, attempt, error)
                if attempt >= ATTEMPTS:
                    await self._give_up(agent, cause, repr(error))
                    return
                await asyncio.sleep(self._backoff(attempt))

    async def perform(self, effector: Effector, request: Envelope) -> None:
        """Run an effector until its request has a terminal event."""
        attempt = self._failures(effector, request)
        while True:
            context = EffectorContext(self, effector.name, request)
            try:
                terminal = await effector.perform(context, request)
                fault(FaultPoint.AFTER_EFFECT_BEFORE_RECORD)
                await context.conclude(terminal)
                return
            except MustPause as reason:
                self.pause(
                    str(reason),
                    finish=[m.actor.name for m in self._mailboxes if isinstance(m.actor, Effector)],
                )
                return
            except (Diverged, StoreError, RuntimeFault):
                raise
            except Exception as error:
                attempt += 1
                log.warning(
                    "effector failed", actor=effector.name, request=request.position, error=repr(error)
                )
                await self._record_failure(effector.name, request, attempt, error)
                if attempt >= ATTEMPTS:
                    await context.conclude(
                        effector.failure(request.event, f"{type(error).__name__}: {error}")
                    )
                    return
                await asyncio.sleep(self._backoff(attempt))

    def _failures(self, actor: Actor, cause: Envelope) -> int:
        """How often this handling has failed already, in this process or an earlier one."""
        return sum(
            1
            for e in self.history.emitted(SUPERVISOR, cause.position)
            if e.type == HandlerFailed.__name__ and e.data()["actor"] == actor.name
        )

    async def _record_failure(self, actor: str, cause: Envelope, attempt: int, error: BaseException) -> None:
        text = "".join(traceback.format_exception(error))
        event = HandlerFailed(
            actor=actor,
            attempt=attempt,
            error=f"{type(error).__name__}: {error}",
            final=attempt >= ATTEMPTS,
            traceback=text,
        )
        await self.append([_pending(SUPERVISOR, event, cause)], {}, ())

    async def _give_up(self, agent: Agent, cause: Envelope, error: str) -> None:
        """Record the events that stand in for a handler that failed for good, and acknowledge its cause."""
        pendings = []
        for number, event in enumerate(agent.give_up(cause.event, error)):
            key = effect_key("give-up", agent.name, cause, str(number))
            if self.history.by_key(key) is None:
                pendings.append(_pending(agent.name, event, cause, key))
        await self.append(pendings, {}, [Ack(agent.name, cause.position)])
        self._check_answered(agent, cause)

    def _check_answered(self, agent: Agent, cause: Envelope) -> None:
        """An agent that is asked must answer, or the one who asked would wait for ever."""
        answered_by = {e.type for e in self.history.emitted(agent.name, cause.position)}
        expected = set(type(cause.event).terminal)
        if expected and agent.answers(cause.type) and not answered_by & expected:
            raise RuntimeFault(
                f"{agent.name} handled {cause.type} at {cause.position} and recorded no answer to it"
            )


def external(event: Event, *, about: str | None = None) -> Pending:
    """An event that comes from outside the campaign: a person's command, a process that starts or stops."""
    type_name, version, payload = encode(event)
    return Pending(OPERATOR, type_name, version, payload, correlation=about)


def _pending(actor: str, event: Event, cause: Envelope, key: str | None = None) -> Pending:
    type_name, version, payload = encode(event)
    return Pending(actor, type_name, version, payload, cause.position, cause.correlation, effect_key=key)


def _first(problems: BaseExceptionGroup[Exception]) -> Exception:
    first = problems.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first
