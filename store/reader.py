"""Reading a log: any number of processes may, while one writes.

Cost model: pages are fetched whole before anything is yielded, so a slow consumer holds no read transaction
and cannot keep the WAL from being emptied. An envelope costs about 2 µs; its payload is decoded only if
someone asks.
"""

import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from events.envelope import GENESIS, Envelope
from store.blobs import read_blob
from store.chain import ChainReport, verify_segments
from store.errors import IntegrityError, translate
from store.lineage import MASK, SHIFT, Branches, BranchInfo, Head, Segment
from store.schema import connect_reader

PAGE = 1000
"""Events fetched at a time."""
BLOB_CACHE = 16 * 1024 * 1024
"""Bytes of blobs kept in memory after they were read."""
COLUMNS = (
    "place, seq, id, time, actor, type, version, causation, correlation, "
    "effect_key, input_digest, prev_hash, hash, payload"
)
Row = tuple[Any, ...]


PlainRow = tuple[int, int, str, int | None, str | None, str | None, str | None, str]
"""Position, version, actor, causation, correlation, effect key, input digest and payload."""
_PLAIN = (
    "SELECT place & ?, version, actor, causation, correlation, effect_key, input_digest, payload FROM events "
    "WHERE place > ? AND place <= ? AND type = ? ORDER BY place LIMIT ?"
)


class Reader:
    """A log opened for reading, without a lock.

    Raises:
        OperationalError: there is no such file, or it may not be read.
        CorruptedError: it is no log, or is damaged.
        NewerFormatError: a newer version wrote it.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._branches = Branches()
        self._blobs: OrderedDict[str, bytes] = OrderedDict()
        """Those read last: prompts share their definitions."""
        self._blob_bytes = 0
        self._reading = threading.Lock()
        self._reader = connect_reader(self.path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.close_reader()

    def close_reader(self) -> None:
        """Close the connection; harmless when closed."""
        self._reader.close()

    def branches(self) -> list[BranchInfo]:
        """Every branch, in the order of creation."""
        self._refresh()
        return list(self._branches.infos.values())

    def imports(self) -> dict[str, int]:
        """{branch: position} of the branches that an import has brought, each up to where it did."""
        if not self._all("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'imports'", ()):
            return {}
        return dict(self._all("SELECT branch, position FROM imports", ()))

    def lineage(self, branch: str, upto: int | None = None) -> Sequence[Segment]:
        """The stretches of the log that make up a branch's history, oldest first; raises
        NoSuchBranchError.
        """
        if branch not in self._branches.ids:
            self._refresh()
        return self._branches.lineage(branch, MASK if upto is None else upto)

    def head(self, branch: str) -> Head:
        """Position and hash of the last event of the branch's history."""
        for segment in reversed(self.lineage(branch)):
            base = segment.branch << SHIFT
            row = self._all(
                "SELECT place, hash FROM events WHERE place BETWEEN ? AND ? ORDER BY place DESC LIMIT 1",
                (base + segment.start, base + segment.end),
            )
            if row:
                return Head(row[0][0] & MASK, row[0][1])
        return Head(0, GENESIS)

    def read(
        self,
        branch: str,
        after: int = 0,
        upto: int | None = None,
        types: Iterable[str] | None = None,
        without: Iterable[str] = (),
    ) -> Iterator[Envelope]:
        """The branch's history in order: positions above `after`, up to `upto` (or the head), of the given
        types and of none of those in `without`.

        Raises NoSuchBranchError at once, not at the first event.
        """
        segments = self.lineage(branch, upto)
        return self._read(segments, after, type_filter(types, without))

    def at(self, branch: str, position: int) -> Envelope:
        """The one event at a position of the branch's history; raises IntegrityError where there is none."""
        for envelope in self.read(branch, position - 1, position):
            return envelope
        raise IntegrityError(
            f"branch {branch!r} has no event at position {position}; its head is {self.head(branch)[0]}"
        )

    def times(self, branch: str, type: str, upto: int | None = None) -> dict[int, tuple[float, float]]:
        """{version: (earliest, latest)} of the times of a type's events in the branch's history."""
        found: dict[int, tuple[float, float]] = {}
        for segment in self.lineage(branch, upto):
            rows = self._all(
                "SELECT version, min(time), max(time) FROM events "
                "WHERE place BETWEEN ? AND ? AND type = ? GROUP BY version",
                (segment.branch << SHIFT | segment.start, segment.branch << SHIFT | segment.end, type),
            )
            for version, first, last in rows:
                before = found.get(version, (first, last))
                found[version] = min(first, before[0]), max(last, before[1])
        return found

    def plain(self, branch: str, type: str) -> Iterator[PlainRow]:
        """The events of one type in the branch's history, as plain rows: an envelope takes as long to make as
        SQLite takes for its row.
        """
        for segment in self.lineage(branch):
            last, end = segment.branch << SHIFT | segment.start - 1, segment.branch << SHIFT | segment.end
            while rows := self._all(_PLAIN, (MASK, last, end, type, PAGE)):
                yield from rows
                last = segment.branch << SHIFT | rows[-1][0]

    def acks(self, branch: str) -> dict[tuple[str, int], int]:
        """{(actor, cause position): position} of the acknowledgements that count in this branch's history."""
        found: dict[tuple[str, int], int] = {}
        for segment in self.lineage(branch):
            rows = self._all(
                "SELECT actor, cause, position FROM acks WHERE branch = ? AND position <= ?",
                (segment.branch, segment.end),
            )
            found.update({(actor, cause): position for actor, cause, position in rows})
        return found

    def blob(self, digest: str) -> bytes:
        """The bytes under a digest, checked; OperationalError if the log has none, CorruptedError if they
        differ.
        """
        with self._reading:
            data = self._blobs.get(digest)
            if data is None:
                try:
                    data = self._blobs[digest] = read_blob(self._reader, digest)
                except sqlite3.Error as error:
                    raise translate(error, self.path) from error
                self._blob_bytes += len(data)
            else:
                self._blobs.move_to_end(digest)
            while self._blob_bytes > BLOB_CACHE and len(self._blobs) > 1:
                self._blob_bytes -= len(self._blobs.popitem(last=False)[1])
            return data

    def forget_blobs(self) -> None:
        """Drop the blobs kept in memory, after some were dropped from the file."""
        with self._reading:
            self._blobs.clear()
            self._blob_bytes = 0

    def verify_chain(self, branch: str, upto: int | None = None) -> ChainReport:
        """Recompute the hash chain of a branch's history (see `store.chain` for what it can and cannot
        show).
        """
        segments = self.lineage(branch, upto)
        with self._reading:
            try:
                return verify_segments(self._reader, segments)
            except sqlite3.Error as error:
                raise translate(error, self.path) from error

    def _read(
        self, segments: Sequence[Segment], after: int, only: tuple[str, tuple[str, ...]]
    ) -> Iterator[Envelope]:
        clause, names = only
        sql = page_sql(clause)
        for segment in segments:
            base = segment.branch << SHIFT
            last, end = base + max(after, segment.start - 1), base + segment.end
            while last < end:
                rows = self._all(sql, (last, end, *names, PAGE))
                yield from envelopes(rows, segment)
                if len(rows) < PAGE:
                    break
                last = rows[-1][0]

    def _all(self, sql: str, arguments: Sequence[object] = ()) -> list[Row]:
        with self._reading:
            try:
                return self._reader.execute(sql, arguments).fetchall()
            except sqlite3.Error as error:
                raise translate(error, self.path) from error

    def _refresh(self) -> None:
        with self._reading:
            try:
                self._branches.load(self._reader)
            except sqlite3.Error as error:
                raise translate(error, self.path) from error


def page_sql(clause: str) -> str:
    """One page of a segment in order; arguments: last place seen, last place wanted, types, page size."""
    return f"SELECT {COLUMNS} FROM events WHERE place > ? AND place <= ?{clause} ORDER BY place LIMIT ?"


def type_filter(types: Iterable[str] | None, without: Iterable[str] = ()) -> tuple[str, tuple[str, ...]]:
    """The condition that keeps the events of some types (None: of all) but for some, and its arguments."""
    clause, arguments = "", tuple(sorted(set(without)))
    if arguments:
        clause = f" AND type NOT IN ({','.join('?' * len(arguments))})"
    if types is not None:
        names = tuple(sorted(set(types)))
        clause, arguments = f"{clause} AND type IN ({','.join('?' * len(names))})", arguments + names
    return clause, arguments


def envelopes(rows: Iterable[Any], segment: Segment) -> Iterator[Envelope]:
    """Rows of one segment as envelopes.

    The dataclass's own `__init__` sets sixteen frozen fields one by one and takes longer than SQLite does.
    """
    branch, run = segment.name, segment.run
    new, put = object.__new__, object.__setattr__
    for (
        place,
        seq,
        id,
        time,
        actor,
        type_,
        version,
        cause,
        about,
        key,
        digest,
        prev_hash,
        hash,
        payload,
    ) in rows:
        envelope = new(Envelope)
        put(
            envelope,
            "__dict__",
            {
                "position": place & MASK,
                "seq": seq,
                "id": id,
                "run": run,
                "branch": branch,
                "time": time,
                "actor": actor,
                "type": type_,
                "version": version,
                "causation": cause,
                "correlation": about,
                "effect_key": key,
                "input_digest": digest,
                "prev_hash": prev_hash,
                "hash": hash,
                "payload": payload,
            },
        )
        yield envelope
