"""The log: append, read, subscribe, branch. One process writes; nothing is published before its commit.

Cost model: a durable append costs one flush of the disk, so whatever is queued when the writer is free is
committed together (64 producers that each wait for their append share a flush). A quick flush is done on the
event loop; a slow disk gets a thread of its own.
"""

import asyncio
import sqlite3
import types
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TypeVar

import aiosqlite

from events.envelope import Ack, Envelope, Pending
from store.blobs import sha256_hex
from store.errors import OperationalError, translate
from store.faults import FaultPoint, fault
from store.lineage import SHIFT, BranchInfo, Head
from store.lock import WriterLock
from store.reader import PAGE, Reader, envelopes, page_sql, type_filter
from store.schema import connect_writer, reader_uri
from store.vacuum import VacuumReport, vacuum
from store.writer import Append, Outcome, Writer

Subscriber = Callable[[list[Envelope]], None]
T = TypeVar("T")
_NO_BLOBS: Mapping[str, bytes] = {}

_QUICK = 0.01
"""Seconds of a commit up to which the event loop waits for it. Handing it to a thread and back costs a fifth
of
a quick disk's commits on a machine whose cores are busy training; nothing here minds a pause of ten
milliseconds.
"""


@dataclass(slots=True)
class _Queued(Append):
    """An append and the caller who waits for it."""

    outcome: Outcome | None = None
    """What became of it, once that is known."""
    told: "asyncio.Future[None] | None" = None
    """For a caller who has to wait for the writer's thread."""


@types.coroutine
def _turn() -> Generator[None, None, None]:
    """Let everything run that is ready to run; a quarter of a future's cost."""
    yield


class Opening:
    """`await Log.open(…)` gives a log to close later; `async with Log.open(…) as log` closes it."""

    def __init__(self, path: Path, create: bool, write: bool, synchronous: str) -> None:
        self._arguments = (path, create, write, synchronous)
        self._log: Log | None = None

    def __await__(self) -> "Generator[object, None, Log]":
        return self._open().__await__()

    async def __aenter__(self) -> "Log":
        self._log = await self._open()
        return self._log

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        if self._log is not None:
            await self._log.close()

    async def _open(self) -> "Log":
        return Log(*self._arguments)


class Log(Reader):
    """A log opened on the running event loop. Made by `Log.open`; all reading methods of `Reader` are there
    too.
    """

    @classmethod
    def open(
        cls, path: Path | str, *, create: bool = False, write: bool = True, synchronous: str = "FULL"
    ) -> Opening:
        """Open a log, for writing unless `write` is False.

        Args:
            create: make the file if there is none.
            write: take the one-writer lock.
            synchronous: "FULL" keeps every acknowledged event through a power cut; "NORMAL" through a crash
            of this
                process, and may lose the last ones in a power cut.

        Raises:
            LockedError: another process writes it; names that process.
            OperationalError, CorruptedError, NewerFormatError: see `store.errors`.
        """
        return Opening(Path(path), create, write, synchronous)

    def __init__(self, path: Path, create: bool, write: bool, synchronous: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._lock: WriterLock | None = None
        self._writer: Writer | None = None
        self._queue: list[_Queued] = []
        self._scheduled = False
        """A flush is about to run on the event loop, for what was queued while the writer was busy."""
        self._busy = False
        """The writer's thread has the connection."""
        self._waiting: list[asyncio.Future[None]] = []
        self._closing = False
        self._subscribers: list[Subscriber] = []
        self._pages: aiosqlite.Connection | None = None
        self._threads = ThreadPoolExecutor(1, "log-writer")
        try:
            if write:
                self._lock = _lock(path, create)
                self._writer = _writer(path, create, synchronous)
            super().__init__(path)
        except BaseException:
            if self._writer is not None:
                self._writer.close()
            self._release()
            raise
        if self._writer is not None:
            self._branches = self._writer.branches

    async def append(
        self,
        branch: str,
        pendings: Sequence[Pending],
        *,
        blobs: Mapping[str, bytes] | None = None,
        acks: Sequence[Ack] = (),
    ) -> list[Envelope]:
        """Make events durable, with their blobs and acknowledgements: all of them, or none and an error.

        A caller who is cancelled while waiting may find the events written all the same.

        Args:
            blobs: bytes by their SHA-256; those already in the log are not stored again.
            acks: handlers that are finished with these events.

        Raises:
            IntegrityError: an effect key that the branch's history already holds; a blob under a wrong name.
            NoSuchBranchError, OperationalError, LockedError, CorruptedError: see `store.errors`.
        """
        return await self._written(_Queued(branch, pendings, acks, blobs or _NO_BLOBS))

    async def put_blob(self, data: bytes) -> str:
        """Keep bytes and give back their SHA-256. One that no event names is dropped by the next vacuum."""
        digest = sha256_hex(data)
        await self._written(_Queued(None, (), (), {digest: data}))
        return digest

    async def get_blob(self, digest: str) -> bytes:
        """The bytes under a digest, checked, without holding up the event loop; see `Reader.blob`."""
        return await asyncio.to_thread(self.blob, digest)

    async def create_branch(
        self,
        name: str,
        run: str,
        parent: str | None = None,
        position: int | None = None,
        *,
        first: Sequence[Pending] = (),
        acks: Sequence[Ack] = (),
        blobs: Mapping[str, bytes] | None = None,
    ) -> BranchInfo:
        """Start a branch: a run's own, or a fork of `parent` at `position` (None: its head). One row,
        nothing copied.

        Its `first` events, with their acknowledgements and blobs, are made durable in the same transaction:
        no crash leaves a branch that does not say what it is.

        Raises IntegrityError for a name that is taken or a position that the parent does not have, and what
        `append` raises; then there is neither a branch nor an event.
        """
        writer = self._require_writer()
        begin = Append(name, first, acks, blobs or _NO_BLOBS)
        made = await self._exclusively(
            lambda: writer.fork(name, run, parent, position, begin), lambda made: self._tell(made[1])
        )
        return made[0]

    async def note_imports(self, brought: Mapping[str, int]) -> None:
        """Keep how far an import brings branches, before it does: {branch: position}."""
        writer = self._require_writer()
        await self._exclusively(lambda: writer.note_imports(brought))

    async def vacuum(self) -> VacuumReport:
        """Drop the blobs that no event names, and give their room back. Nothing else is ever deleted."""
        writer = self._require_writer()
        report = await self._exclusively(lambda: vacuum(writer.connection, self.path))
        self.forget_blobs()
        return report

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        """Call `subscriber` on the event loop with the events of each commit, in commit order; returns the
        undo.
        """
        self._subscribers.append(subscriber)
        return lambda: self._subscribers.remove(subscriber)

    def head(self, branch: str) -> Head:
        """Position and hash of the last durable event of the branch's history."""
        if self._writer is None:
            return super().head(branch)
        head = self._writer.heads.get(self._writer.branches.id(branch))
        return head if head is not None else super().head(branch)  # a fork being made this moment

    async def aread(
        self, branch: str, after: int = 0, upto: int | None = None, types: Iterable[str] | None = None
    ) -> AsyncIterator[Envelope]:
        """As `read`, on a connection and a thread of its own; one page at a time is fetched whole."""
        if self._pages is None:
            self._pages = await aiosqlite.connect(reader_uri(self.path), uri=True, isolation_level=None)
        clause, names = type_filter(types)
        sql = page_sql(clause)
        for segment in self.lineage(branch, upto):
            base = segment.branch << SHIFT
            last, end = base + max(after, segment.start - 1), base + segment.end
            while last < end:
                try:
                    rows = list(await self._pages.execute_fetchall(sql, (last, end, *names, PAGE)))
                except sqlite3.Error as error:
                    raise translate(error, self.path) from error
                for envelope in envelopes(rows, segment):
                    yield envelope
                if len(rows) < PAGE:
                    break
                last = rows[-1][0]

    async def close(self) -> None:
        """Write what is queued, give the lock back, close the file; harmless when closed."""
        if self._closing:
            return
        writer, self._closing = self._writer, True
        while self._busy or self._queue:
            await self._exclusively(lambda: None)
        if self._pages is not None:
            await self._pages.close()
            self._pages = None
        self.close_reader()
        if writer is not None:  # last, so that it finds no reader and leaves one whole file without a WAL
            await self._exclusively(writer.close)
        self._release()

    def _release(self) -> None:
        self._threads.shutdown(wait=False)
        if self._lock is not None:
            self._lock.release()

    def _require_writer(self) -> Writer:
        if self._writer is None or self._closing:
            state = "has been closed" if self._closing else "is open for reading only"
            raise OperationalError(f"the log {self.path} {state}; nothing can be appended")
        return self._writer

    async def _written(self, queued: _Queued) -> list[Envelope]:
        """Queue an append and wait until it is durable.

        Whoever has the first turn after all that was ready to run commits what all of it has appended, and
        hands the others their outcomes: no task waits for a future, and a lone append costs one turn of the
        event loop.
        """
        if self._writer is None or self._closing:
            self._require_writer()
        self._queue.append(queued)
        try:
            await _turn()
        except asyncio.CancelledError:  # what is queued is written all the same, as others may be with it
            self._schedule()
            raise
        if queued.outcome is None:
            self._flush()
        if queued.outcome is None:
            queued.told = self._loop.create_future()
            await queued.told
        outcome = queued.outcome
        if isinstance(outcome, list):
            return outcome
        assert outcome is not None
        raise outcome

    def _schedule(self) -> None:
        """Flush after all that is ready to run has run: whatever it appends shares the commit."""
        if self._queue and not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        """Commit all that is queued: here if the disk is quick, else on the writer's thread."""
        self._scheduled = False
        writer = self._writer
        if self._busy or not self._queue or writer is None:
            return
        group, self._queue = self._queue, []
        if writer.commit_seconds < _QUICK:
            self._settle(group, writer.write(group))
        else:
            self._on_thread(lambda: writer.write(group), lambda outcomes: self._settle(group, outcomes))
        if writer.wants_checkpoint:
            self._tidy()

    def _tidy(self) -> None:
        """Empty the WAL when it has grown, on the writer's thread; appends queue meanwhile."""
        if self._writer is not None and self._writer.wants_checkpoint and not (self._busy or self._closing):
            self._on_thread(self._writer.checkpoint, lambda _: None)

    def _settle(self, group: Sequence[_Queued], outcomes: Sequence[Outcome]) -> None:
        """Tell the subscribers, then the callers: both only of what is durable."""
        fault(FaultPoint.BETWEEN_COMMIT_AND_PUBLISH)
        if self._subscribers:
            self._publish([e for made in outcomes if type(made) is list for e in made])
        for queued, outcome in zip(group, outcomes, strict=True):
            queued.outcome = outcome
            if queued.told is not None and not queued.told.done():
                queued.told.set_result(None)

    def _publish(self, events: list[Envelope]) -> None:
        """Hand events to the subscribers; one that raises is a bug of its own, and an append is durable
        whatever it makes of it.
        """
        if not events:
            return
        for subscriber in tuple(self._subscribers):
            try:
                subscriber(events)
            except Exception as error:
                self._loop.call_exception_handler(
                    {
                        "message": "a subscriber of the log raised",
                        "exception": error,
                        "subscriber": subscriber,
                    }
                )

    def _on_thread(self, work: Callable[[], T], then: Callable[[T], None]) -> "asyncio.Future[T]":
        """Run `work` on the writer's thread, alone; appends queue meanwhile."""
        self._busy = True
        job = self._loop.run_in_executor(self._threads, work)

        def done(finished: "asyncio.Future[T]") -> None:
            self._busy = False
            for waiter in self._waiting:
                if not waiter.done():
                    waiter.set_result(None)
            self._waiting.clear()
            if not finished.cancelled() and finished.exception() is None:
                then(finished.result())
            self._tidy()
            self._schedule()

        job.add_done_callback(done)
        return job

    def _tell(self, events: list[Envelope]) -> None:
        """Tell the subscribers what a new branch begins with."""
        fault(FaultPoint.BETWEEN_COMMIT_AND_PUBLISH)
        self._publish(events)

    async def _exclusively(self, work: Callable[[], T], then: Callable[[T], None] = lambda _: None) -> T:
        """Run `work` on the writer's thread when no commit is under way, and `then` on the event loop."""
        while self._busy:
            waiter = self._loop.create_future()
            self._waiting.append(waiter)
            await waiter
        return await asyncio.shield(self._on_thread(work, then))


def _lock(path: Path, create: bool) -> WriterLock:
    if not create and not path.exists():
        raise OperationalError(f"there is no log at {path}")
    return WriterLock(path)


def _writer(path: Path, create: bool, synchronous: str) -> Writer:
    connection = connect_writer(path, create=create, synchronous=synchronous)
    try:
        return Writer(connection, path)
    except BaseException as error:
        connection.close()
        if isinstance(error, sqlite3.Error):
            raise translate(error, path) from error
        raise
