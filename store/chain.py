"""The hash chain: what a log can prove about itself.

It shows an event that was changed, taken out, put in or moved, and names the first such position. It cannot
show a tail that was cut off, nor a log rewritten from some position on with all its hashes: for these, keep
the head hash elsewhere (it is printed at the end of every run) and compare.
"""

import hashlib
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from events.envelope import GENESIS, chain_hash
from store.errors import NOT_TEXT
from store.lineage import MASK, SHIFT, Head, Segment

_PAGE = 2000
_FIELDS = (
    "id, time, actor, type, version, causation, correlation, "
    "effect_key, input_digest, payload, prev_hash, hash"
)
_NEXT = f"SELECT {_FIELDS} FROM events WHERE place > ? AND place <= ? ORDER BY place"
_FIRST = f"SELECT place, {_FIELDS} FROM events WHERE place > ? AND place <= ? ORDER BY place LIMIT 1"


class Break(StrEnum):
    """How a chain is broken."""

    CHANGED = "changed"
    """The event's own hash is not that of its content."""
    MISSING = "missing"
    """Positions before this one are not there."""
    OUT_OF_ORDER = "inserted or out of order"
    """The event, whole in itself, does not follow the one before it: one of the two was put in, moved or
    rewritten.
    """


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
    """Recompute the chain over the segments of one history; stops at the first link that does not hold.

    Written out flat, with `chain_hash` inline: it is run over every event of a log
    (benchmarks/store.py --only chain).
    """
    sha256 = hashlib.sha256
    previous, position = GENESIS, 0
    for segment in segments:
        base, run, end = segment.branch << SHIFT, segment.run, segment.end
        page = position
        try:
            while page < end:
                page = min(position + _PAGE, end)
                rows = connection.execute(_NEXT, (base + position, base + page))
                for id, time, actor, kind, version, cause, about, key, digest, payload, prev, hash in rows:
                    text = (
                        f"{previous}\x1f{position + 1}\x1f{id}\x1f{run}\x1f{time!r}\x1f{actor}\x1f{kind}"
                        f"\x1f{version}\x1f{cause}\x1f{about}\x1f{key}\x1f{digest}\x1f{payload}"
                    )
                    if prev != previous or sha256(text.encode()).hexdigest() != hash:
                        return _broken(connection, segment, Head(position, previous))
                    previous = hash
                    position += 1
                if position < page:
                    break
            after = connection.execute(_FIRST, (base + position, base + end)).fetchone()
        except sqlite3.OperationalError as error:
            if NOT_TEXT not in str(error):
                raise
            detail = f"the event at position {position + 1} holds bytes that are no text: it was changed"
            return ChainReport(position, Head(position, previous), Break.CHANGED, position + 1, detail)
        if after is not None or (segment is not segments[-1] and position != end):
            return _broken(connection, segment, Head(position, previous))
    return ChainReport(position, Head(position, previous))


def _broken(connection: sqlite3.Connection, segment: Segment, head: Head) -> ChainReport:
    """Name what is wrong after the last event that holds."""
    base, expected = segment.branch << SHIFT, head.position + 1
    row = connection.execute(_FIRST, (base + head.position, base + segment.end)).fetchone()
    found = row[0] & MASK if row is not None else segment.end + 1
    if found != expected:
        gap = f"{expected}" if found == expected + 1 else f"{expected} to {found - 1}"
        detail = f"position {gap} is missing: the next event of this history is at {found}"
        return ChainReport(head.position, head, Break.MISSING, expected, detail)
    *content, prev, hash = row[1:]
    if chain_hash(prev, expected, content[0], segment.run, *content[1:]) != hash:
        detail = f"the event at position {expected} has not the hash that it was written with: it was changed"
        return ChainReport(head.position, head, Break.CHANGED, expected, detail)
    detail = (
        f"the event at position {expected} follows hash {prev[:12]}…, and the event before it has "
        f"{head.hash[:12]}…: one of the two was put in, moved or rewritten"
    )
    return ChainReport(head.position, head, Break.OUT_OF_ORDER, expected, detail)
