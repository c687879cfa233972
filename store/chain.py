"""The hash chain: what a log can prove about itself.

It shows an event that was changed, taken out, put in or moved, and names the first such position. It cannot show a
tail that was cut off, nor a log rewritten from some position on with all its hashes: for these, keep the head hash
elsewhere (it is printed at the end of every run) and compare.
"""

import hashlib
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from events.envelope import GENESIS
from store.lineage import MASK, SHIFT, Head, Segment

_PAGE = 2000
_SQL = (
    "SELECT place, id, time, actor, type, version, causation, correlation, effect_key, input_digest, "
    "prev_hash, hash, payload FROM events WHERE place > ? AND place <= ? ORDER BY place LIMIT ?"
)


class Break(StrEnum):
    """How a chain is broken."""

    CHANGED = "changed"
    """The event's own hash is not that of its content."""
    MISSING = "missing"
    """Positions before this one are not there."""
    OUT_OF_ORDER = "inserted or out of order"
    """The event, whole in itself, does not follow the one before it: one of the two was put in, moved or rewritten."""


@dataclass(frozen=True)
class ChainReport:
    """What a check of the chain found."""

    events: int
    """Events whose links hold."""
    head: Head
    """The last of them."""
    broken: Break | None = None
    position: int | None = None
    """The first position that does not hold."""
    detail: str = ""

    @property
    def ok(self) -> bool:
        """True if every link holds."""
        return self.broken is None


def verify_segments(connection: sqlite3.Connection, segments: Sequence[Segment]) -> ChainReport:
    """Recompute the chain over the segments of one history; stops at the first link that does not hold."""
    sha256 = hashlib.sha256
    previous, position = GENESIS, 0
    for segment in segments:
        base = segment.branch << SHIFT
        run = segment.run
        last, end = base + segment.start - 1, base + segment.end
        while True:
            rows = connection.execute(_SQL, (last, end, _PAGE)).fetchall()
            for place, id, time, actor, kind, version, cause, about, key, digest, prev, hash, payload in rows:
                position += 1
                text = (
                    f"{previous}\x1f{place & MASK}\x1f{id}\x1f{run}\x1f{time!r}\x1f{actor}\x1f{kind}\x1f{version}"
                    f"\x1f{cause}\x1f{about}\x1f{key}\x1f{digest}\x1f{payload}"
                )
                if place & MASK != position or prev != previous or sha256(text.encode()).hexdigest() != hash:
                    stored = text.replace(previous, prev, 1)
                    whole = sha256(stored.encode()).hexdigest() == hash
                    return _broken(position, previous, place & MASK, prev, whole)
                previous = hash
            if len(rows) < _PAGE:
                break
            last = rows[-1][0]
        if segment is not segments[-1] and position != segment.end:
            return _broken(position + 1, previous, segment.end + 1, previous, True)
    return ChainReport(position, Head(position, previous))


def _broken(expected: int, previous: str, found: int, prev: str, whole: bool) -> ChainReport:
    """Name what is wrong with the event found where `expected` should be."""
    head = Head(expected - 1, previous)
    if found != expected:
        gap = f"{expected}" if found == expected + 1 else f"{expected} to {found - 1}"
        return ChainReport(
            expected - 1,
            head,
            Break.MISSING,
            expected,
            f"position {gap} is missing: the next event there is {found}",
        )
    if not whole:
        detail = (
            f"the event at position {expected} does not have the hash it was written with: it was changed"
        )
        return ChainReport(expected - 1, head, Break.CHANGED, expected, detail)
    detail = (
        f"the event at position {expected} follows hash {prev[:12]}…, but the event before it has {previous[:12]}…: "
        "one of the two was put in, moved or rewritten"
    )
    return ChainReport(expected - 1, head, Break.OUT_OF_ORDER, expected, detail)
