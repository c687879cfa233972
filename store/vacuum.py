"""Giving room back: blobs that no event names are dropped; nothing else is ever deleted."""

import sqlite3
from dataclasses import dataclass
from pathlib import Path

from events.blobs import digests
from store.blobs import read_blob
from store.errors import translate

_PAGE = 2000


@dataclass(frozen=True)
class VacuumReport:
    """What a vacuum dropped."""

    blobs: int
    bytes: int
    """Bytes the dropped blobs took in the file."""
    kept: int
    """Blobs that are still there."""


def vacuum(connection: sqlite3.Connection, path: Path) -> VacuumReport:
    """Drop every blob whose digest stands in no event, nor in a blob that one names.

    The digest counts wherever it stands (see `events.blobs`): an event of a type that this program does not
    know keeps its blobs too. Raises OperationalError where there is no room for the copy that giving room
    back needs.
    """
    try:
        return _vacuum(connection)
    except sqlite3.Error as error:
        raise translate(error, path) from error


def _vacuum(connection: sqlite3.Connection) -> VacuumReport:
    held = {row[0] for row in connection.execute("SELECT sha256 FROM blobs").fetchall()}
    wanted = _named_by_events(connection) & held
    frontier = set(wanted)
    while frontier:
        named = {digest for blob in frontier for digest in digests(_text(read_blob(connection, blob)))}
        frontier = (named & held) - wanted
        wanted |= frontier
    dropped = held - wanted
    size = 0
    connection.execute("BEGIN IMMEDIATE")
    try:
        for digest in sorted(dropped):
            size += connection.execute(
                "SELECT length(data) FROM blobs WHERE sha256 = ?", (digest,)
            ).fetchone()[0]
            connection.execute("DELETE FROM blobs WHERE sha256 = ?", (digest,))
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    if dropped:
        connection.execute("VACUUM")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    return VacuumReport(len(dropped), size, len(wanted))


def _named_by_events(connection: sqlite3.Connection) -> set[str]:
    named: set[str] = set()
    place = -1
    while rows := connection.execute(
        "SELECT place, payload FROM events WHERE place > ? ORDER BY place LIMIT ?", (place, _PAGE)
    ).fetchall():
        place = rows[-1][0]
        for _, payload in rows:
            named.update(digests(payload))
    return named


def _text(blob: bytes) -> str:
    """A blob's bytes as text in which digests can be found; vectors give none."""
    return blob.decode("latin-1")
