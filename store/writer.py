"""The transaction: a group of appends made durable by one commit.

The happy path writes a group as one batch of rows and commits once. If a row of some append is refused, the
group is rolled back and written again with a savepoint for each append, so that only the guilty one fails.
"""

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, time

from events.envelope import GENESIS, Ack, Envelope, Pending
from store.batch import Batch
from store.effects import Effects
from store.errors import IntegrityError, LockedError, StoreError, translate
from store.faults import FaultPoint, fault
from store.lineage import MASK, SHIFT, Branches, BranchInfo, Head

_PAGE = 4096
_CHECKPOINT_BYTES = 4 * 1024 * 1024
"""Roughly this much is written to the WAL between two checkpoints."""


@dataclass(slots=True)
class Append:
    """One caller's append: written whole or not at all."""

    branch: str | None
    """None: blobs alone."""
    pendings: Sequence[Pending]
    acks: Sequence[Ack]
    blobs: Mapping[str, bytes]


Outcome = list[Envelope] | StoreError
Forked = tuple[BranchInfo, list[Envelope]]
"""A new branch, and its first events."""


class Writer:
    """Owns the connection that writes. Calls must not overlap; they may come from any thread."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self.path = path
        self.connection = connection
        self._run = connection.cursor().execute
        """One cursor for every statement of a commit: a new one for each takes a tenth of a commit's time."""
        self._epoch = self._take_over()  # first: from here on nobody else moves what is read below
        self.branches = Branches()
        self.branches.load(connection)
        self._effects = Effects(connection, self.branches)
        self.heads: dict[int, Head] = {}
        self._seq = 0
        for number, info in self.branches.infos.items():
            self._load_head(number, info)
        self._broken: StoreError | None = None
        """Set for good by an error after which only a new open can tell what the file holds."""
        self._unchecked = 0
        self.commit_seconds = 0.0
        """What a commit takes of late, as a moving average."""

    def write(self, group: Sequence[Append]) -> list[Outcome]:
        """Make a group durable; one outcome for each append, in order. Never raises for what a caller did."""
        fault(FaultPoint.BEFORE_APPEND)
        if self._broken is not None:
            return [self._broken] * len(group)
        try:
            try:
                return self._commit_together(group)
            except Exception as error:
                if not _is_refusal(error):
                    raise
                return self._commit_separately(group)
        except (sqlite3.Error, StoreError) as error:
            return [self._failure(error)] * len(group)

    def fork(self, name: str, run: str, parent: str | None, position: int | None, first: Append) -> Forked:
        """Make a branch durable together with its first events: both or neither. The branch is one row,
        whatever the length of its history.

        Raises IntegrityError for a name that is taken, a position that the parent does not have, or first
        events that cannot be stored.
        """
        if self._broken is not None:
            raise self._broken
        if name in self.branches.ids:
            raise IntegrityError(f"the log already has a branch {name!r}; choose another name")
        info = BranchInfo(name, run, parent, self._fork_position(parent, position), time())
        number = max(self.branches.infos, default=0) + 1
        head = self._fork_head(info)
        seen = self.branches.copy()  # nobody else is to find the branch before it is durable
        seen.add(number, info)
        batch = Batch(seen, self._effects.among(seen), {number: head}, self._seq)
        try:
            self._begin()
            try:
                self.connection.execute(
                    "INSERT INTO branches VALUES (?,?,?,?,?,?)",
                    (number, name, run, parent and seen.id(parent), info.fork_position, info.created),
                )
                made = self._begin_with(first, batch)
                fault(FaultPoint.DURING_FORK)
                self._commit()
            except BaseException:
                self._roll_back()
                raise
        except (sqlite3.Error, StoreError) as error:
            raise self._failure(error) from error
        self.heads[number] = head
        self.branches.add(number, info)
        self._adopt(batch)
        return info, made

    def note_imports(self, brought: Mapping[str, int]) -> None:
        """Keep how far an import brings branches: {branch: position}."""
        if self._broken is not None:
            raise self._broken
        try:
            self._begin()
            try:
                # a file of before this was kept
                self._run(
                    "CREATE TABLE IF NOT EXISTS imports "
                    "(branch TEXT PRIMARY KEY, position INTEGER NOT NULL) STRICT, WITHOUT ROWID"
                )
                for branch, position in brought.items():
                    self._run("INSERT OR REPLACE INTO imports VALUES (?,?)", (branch, position))
                self._commit()
            except BaseException:
                self._roll_back()
                raise
        except (sqlite3.Error, StoreError) as error:
            raise self._failure(error) from error

    @property
    def wants_checkpoint(self) -> bool:
        """True when enough has been written since the last checkpoint."""
        return self._unchecked >= _CHECKPOINT_BYTES

    def checkpoint(self) -> None:
        """Copy the WAL into the file, but for what a reader in another program still needs.

        Should it fail, the WAL still holds everything; only a damaged file ends the writer.
        """
        self._unchecked = 0
        try:
            self.connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        except sqlite3.Error as error:
            self._failure(error)
        fault(FaultPoint.DURING_CHECKPOINT)

    def close(self) -> None:
        """Close the connection; SQLite empties the WAL if nobody else reads."""
        self.connection.close()

    def _commit_together(self, group: Sequence[Append]) -> list[Outcome]:
        self._begin()
        try:
            batch = Batch(self.branches, self._effects, self.heads, self._seq)
            outcomes: list[Outcome] = []
            for append in group:
                try:
                    outcomes.append(batch.stage(append.branch, append.pendings, append.acks, append.blobs))
                except StoreError as error:
                    outcomes.append(error)
            batch.flush(self.connection, self._run)
            fault(FaultPoint.AFTER_APPEND)
            self._commit()
        except BaseException:
            self._roll_back()
            raise
        self._adopt(batch)
        return outcomes

    def _commit_separately(self, group: Sequence[Append]) -> list[Outcome]:
        self._begin()
        try:
            batch = Batch(self.branches, self._effects, self.heads, self._seq)
            outcomes: list[Outcome] = []
            for append in group:
                mark = batch.mark()
                self.connection.execute("SAVEPOINT one")
                try:
                    outcome = batch.stage(append.branch, append.pendings, append.acks, append.blobs)
                    batch.flush(self.connection, self._run)
                    outcomes.append(outcome)
                except Exception as error:
                    if not _is_refusal(error) and not isinstance(error, StoreError):
                        raise
                    self.connection.execute("ROLLBACK TO one")
                    batch.back_to(mark)
                    outcomes.append(_refusal(append, error))
                self.connection.execute("RELEASE one")
            fault(FaultPoint.AFTER_APPEND)
            self._commit()
        except BaseException:
            self._roll_back()
            raise
        self._adopt(batch)
        return outcomes

    def _begin_with(self, first: Append, batch: Batch) -> list[Envelope]:
        """Write the first events of a branch whose row is written, inside its transaction."""
        try:
            made = batch.stage(first.branch, first.pendings, first.acks, first.blobs)
            batch.flush(self.connection, self._run)
        except Exception as error:
            if _is_refusal(error):
                raise _refusal(first, error) from error
            raise
        return made

    def _begin(self) -> None:
        self._run("BEGIN IMMEDIATE")

    def _commit(self) -> None:
        """End a transaction, if the epoch is still ours.

        While it lasts nobody else can write, so one look anywhere inside it settles who the writer is.
        """
        if self._run("SELECT epoch FROM writer").fetchone()[0] != self._epoch:
            raise LockedError(
                f"the log {self.path} was taken over by another process while this one stood still; "
                "nothing more is written from here"
            )
        start = perf_counter()
        self._run("COMMIT")
        self.commit_seconds += (perf_counter() - start - self.commit_seconds) / 8

    def _roll_back(self) -> None:
        if self.connection.in_transaction:
            self.connection.execute("ROLLBACK")

    def _adopt(self, batch: Batch) -> None:
        self.heads.update(batch.heads)
        for (number, key), position in batch.keys.items():
            self._effects.own(number)[key] = position
        self._seq = batch.seq
        self._unchecked += batch.bytes + _PAGE

    def _failure(self, error: sqlite3.Error | StoreError) -> StoreError:
        """The error to hand out; one after which nobody knows what the file holds also ends this writer."""
        failure = error if isinstance(error, StoreError) else translate(error, self.path)
        if failure.ends_the_writer:
            self._broken = failure
        return failure

    def _take_over(self) -> int:
        """Raise the epoch: whoever wrote before this finds out inside their next transaction."""
        run = self.connection.execute
        run("BEGIN IMMEDIATE")
        run("UPDATE writer SET epoch = epoch + 1")
        epoch = int(run("SELECT epoch FROM writer").fetchone()[0])
        run("COMMIT")
        return epoch

    def _load_head(self, number: int, info: BranchInfo) -> None:
        row = self.connection.execute(
            "SELECT place, hash, seq FROM events WHERE place BETWEEN ? AND ? ORDER BY place DESC LIMIT 1",
            (number << SHIFT, number << SHIFT | MASK),
        ).fetchone()
        if row is None:
            self.heads[number] = self._fork_head(info)
        else:
            self.heads[number] = Head(row[0] & MASK, row[1])
            self._seq = max(self._seq, row[2])

    def _fork_position(self, parent: str | None, position: int | None) -> int:
        if parent is None:
            return 0
        last = self.heads[self.branches.id(parent)].position
        if position is None:
            return last
        if not 0 <= position <= last:
            raise IntegrityError(
                f"branch {parent!r} has positions 0 to {last}; it cannot be forked at {position}"
            )
        return position

    def _fork_head(self, info: BranchInfo) -> Head:
        """The head that a branch is born with: its parent's event at the fork point."""
        if info.parent is None or info.fork_position == 0:
            return Head(0, GENESIS)
        segment = self.branches.lineage(info.parent, info.fork_position)[-1]
        row = self.connection.execute(
            "SELECT hash FROM events WHERE place = ?", (segment.branch << SHIFT | info.fork_position,)
        ).fetchone()
        if row is None:
            raise IntegrityError(
                f"branch {info.parent!r} has lost the event at {info.fork_position}, its fork point"
            )
        return Head(info.fork_position, row[0])


def _is_refusal(error: Exception) -> bool:
    """Whether an append is at fault (a value that cannot be stored) and not the file, the disk or the
    lock.
    """
    if isinstance(error, sqlite3.IntegrityError | sqlite3.ProgrammingError | sqlite3.InterfaceError):
        return True
    return not isinstance(error, sqlite3.Error | StoreError)


def _refusal(append: Append, error: Exception) -> StoreError:
    if isinstance(error, StoreError):
        return error
    refusal = IntegrityError(f"the append to branch {append.branch!r} cannot be stored: {error}")
    refusal.__cause__ = error
    return refusal
