"""An eventsourcing recorder over our log, so that the library's own test classes can examine the log.

A stored event is an event of branch `main`; its originator and version are its effect key, so that recording
a version twice is recording an effect twice. The application sequence is the log's positions. Tracking is
acknowledgement: that notification n of an upstream application is done is written, as an ack, in the
transaction of the events it led to.
"""

import asyncio
import base64
import json
import threading
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

from eventsourcing import persistence as es

from events.envelope import Ack, Envelope, Pending, canonical_json
from store import IntegrityError, Log

T = TypeVar("T")
BRANCH = "main"


class LoopThread:
    """An event loop in a thread of its own, for a recorder whose methods are plain functions."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine there and wait for it."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result()

    def stop(self) -> None:
        """End the thread."""
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


class Recorder:
    """What the four kinds of recorder share."""

    def __init__(self, path: Path) -> None:
        self._thread = LoopThread()
        self.log: Log = self._thread.do(self._open(path))
        self._tracking = threading.Lock()

    async def _open(self, path: Path) -> Log:
        log = await Log.open(path, create=True, synchronous="NORMAL")
        await log.create_branch(BRANCH, "conformance")
        return log

    def close(self) -> None:
        """Close the log and its thread."""
        self._thread.do(self.log.close())
        self._thread.stop()

    def append(self, events: Sequence[es.StoredEvent], acks: Sequence[Ack] = ()) -> list[int]:
        """Record events; their positions. Raises the library's IntegrityError for ours."""
        try:
            made = self._thread.do(self.log.append(BRANCH, [to_pending(e) for e in events], acks=acks))
        except IntegrityError as error:
            raise es.IntegrityError(str(error)) from error
        return [e.position for e in made]

    def select_events(
        self,
        originator_id: UUID | str,
        *,
        gt: int | None = None,
        lte: int | None = None,
        desc: bool = False,
        limit: int | None = None,
    ) -> list[es.StoredEvent]:
        """The events of one originator, by version."""
        mine = [
            to_stored(e, originator_id) for e in self.log.read(BRANCH) if e.correlation == str(originator_id)
        ]
        mine = [e for e in mine if (gt is None or e.originator_version > gt)]
        mine = [e for e in mine if (lte is None or e.originator_version <= lte)]
        return sorted(mine, key=lambda e: e.originator_version, reverse=desc)[:limit]


class AggregateRecorder(Recorder, es.AggregateRecorder):
    """Events of aggregates, without a sequence of their own."""

    def insert_events(self, stored_events: Sequence[es.StoredEvent], **kwargs: Any) -> Sequence[int] | None:
        self.append(stored_events)
        return None


class ApplicationRecorder(Recorder, es.ApplicationRecorder):
    """Events of aggregates in the sequence of an application."""

    def insert_events(self, stored_events: Sequence[es.StoredEvent], **kwargs: Any) -> Sequence[int] | None:
        return self.append(stored_events)

    def select_notifications(
        self,
        start: int | None,
        limit: int,
        stop: int | None = None,
        topics: Sequence[str] = (),
        *,
        inclusive_of_start: bool = True,
    ) -> list[es.Notification]:
        after = (start or 0) - (1 if start and inclusive_of_start else 0)
        found: list[es.Notification] = []
        for envelope in self.log.read(BRANCH, after, stop, topics or None):
            if len(found) == limit:
                break
            found.append(to_notification(envelope))
        return found

    def max_notification_id(self) -> int | None:
        return self.log.head(BRANCH).position or None

    def subscribe(self, gt: int | None = None, topics: Sequence[str] = ()) -> "Subscription":
        return Subscription(self, gt, topics)


class Subscription(es.ListenNotifySubscription[ApplicationRecorder]):
    """Woken by the log's commits."""

    def __init__(self, recorder: ApplicationRecorder, gt: int | None, topics: Sequence[str]) -> None:
        super().__init__(recorder=recorder, gt=gt, topics=topics)
        self._undo: Callable[[], None] = recorder.log.subscribe(lambda events: self._has_been_notified.set())

    def __exit__(self, *args: object, **kwargs: Any) -> None:
        self._undo()
        super().__exit__(*args, **kwargs)


class TrackingRecorder(Recorder, es.TrackingRecorder):
    """What of upstream applications has been processed."""

    def insert_tracking(self, tracking: es.Tracking) -> None:
        self.track([], tracking)

    def track(self, events: Sequence[es.StoredEvent], tracking: es.Tracking | None) -> list[int]:
        """Record events and, in the same transaction, what they come from."""
        with self._tracking:
            if tracking is None:
                return self.append(events)
            if self.has_tracking_id(tracking.application_name, tracking.notification_id):
                raise es.IntegrityError(f"{tracking} has been recorded, or a later one")
            return self.append(events, [Ack(tracking.application_name, tracking.notification_id)])

    def max_tracking_id(self, application_name: str) -> int | None:
        return max(
            (cause for actor, cause in self.log.acks(BRANCH) if actor == application_name), default=None
        )


class ProcessRecorder(TrackingRecorder, ApplicationRecorder, es.ProcessRecorder):
    """Events together with what they come from."""

    def insert_events(self, stored_events: Sequence[es.StoredEvent], **kwargs: Any) -> Sequence[int] | None:
        return self.track(stored_events, kwargs.get("tracking"))


def to_pending(event: es.StoredEvent) -> Pending:
    """A stored event as an event of ours; its bytes as base64, for ours are text."""
    payload = {"version": event.originator_version, "state": base64.b64encode(event.state).decode()}
    originator = str(event.originator_id)
    return Pending(
        actor="recorder",
        type=event.topic,
        version=1,
        payload=canonical_json(payload),
        correlation=originator,
        effect_key=f"{originator}/{event.originator_version}",
    )


def to_stored(envelope: Envelope, originator: UUID | str) -> es.StoredEvent:
    """The stored event that an event of ours stands for."""
    data = json.loads(envelope.payload)
    return es.StoredEvent(originator, data["version"], envelope.type, base64.b64decode(data["state"]))


def to_notification(envelope: Envelope) -> es.Notification:
    """The stored event with its place in the application's sequence."""
    event = to_stored(envelope, UUID(envelope.correlation))
    return es.Notification(
        originator_id=event.originator_id,
        originator_version=event.originator_version,
        topic=event.topic,
        state=event.state,
        id=envelope.position,
    )
