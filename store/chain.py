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
from typing import Any

from events.envelope import GENESIS, chain_hash
from store.lineage import MASK, SHIFT, Head, Segment

_PAGE = 2000
_FIELDS = (
    "id, time, actor, type, version, causation, correlation, "
    "effect_key, input_digest, payload, prev_hash, hash"
)
_HASHED = b"\x1f".join(b"%%b %%d %%b %%b %%a %%b %%b %%d %b %%b".split(b" "))
"""The bytes that `events.envelope.chain_hash` hashes, but for the four fields that may be absent; `%a` writes
floats as `repr` does.
"""
_ANY = _HASHED % b"\x1f".join([b"%b"] * 4)
_ALL = _HASHED % b"\x1f".join(b"+%d +%b +%b +%b".split())
"""With all four fields: what an agent emits."""
_PROGRESS = _HASHED % b"\x1f".join(b"+%d +%b - -".split())
"""With a cause and what it is about: an epoch, as most of a long log is."""
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

    Written out flat, and over bytes: it is run over every event of a log (benchmarks/store.py --only chain),
    and bytes that are no text must not stop it.
    """
    connection.text_factory = bytes
    try:
        return _verify(connection, segments)
    finally:
        connection.text_factory = str


def _verify(connection: sqlite3.Connection, segments: Sequence[Segment]) -> ChainReport:
    sha256, every, progress, mixed = hashlib.sha256, _ALL, _PROGRESS, _ANY
    previous, position = GENESIS.encode(), 0
    for segment in segments:
        base, run, end = segment.branch << SHIFT, segment.run.encode(), segment.end
        page = position
        while page < end:
            page = min(position + _PAGE, end)
            rows = connection.execute(_NEXT, (base + position, base + page))
            for position, row in enumerate(rows, position + 1):  # noqa: B020 - goes on from where it stands
                id, time, actor, kind, version, cause, about, key, digest, payload, prev, hash = row
                if cause is None or about is None or (key is None) is not (digest is None):
                    number = None if cause is None else b"%d" % cause
                    text = mixed % (
                        previous, position, id, run, time, actor, kind, version,
                        _marked(number), _marked(about), _marked(key), _marked(digest), payload,
                    )  # fmt: skip
                elif key is None:
                    text = progress % (
                        previous, position, id, run, time, actor, kind, version, cause, about, payload
                    )  # fmt: skip
                else:
                    text = every % (
                        previous, position, id, run, time, actor, kind, version, cause, about, key, digest,
                        payload,
                    )  # fmt: skip
                if prev != previous or sha256(text).hexdigest().encode() != hash:
                    return _broken(connection, segment, position, previous)
                previous = hash
            if position < page:
                break
        after = connection.execute(_FIRST, (base + position, base + end)).fetchone()
        if after is not None or (segment is not segments[-1] and position != end):
            return _broken(connection, segment, position + 1, previous)
    return ChainReport(position, Head(position, previous.decode()))


def _marked(value: bytes | None) -> bytes:
    """A field that may be absent, as it is hashed."""
    return b"-" if value is None else b"+" + value


def _broken(connection: sqlite3.Connection, segment: Segment, expected: int, previous: bytes) -> ChainReport:
    """Name what is wrong with what stands at `expected`, after an event that has the hash `previous`."""
    base, head = segment.branch << SHIFT, Head(expected - 1, previous.decode())
    row = connection.execute(_FIRST, (base + expected - 1, base + segment.end)).fetchone()
    found = row[0] & MASK if row is not None else segment.end + 1
    if found != expected:
        gap = f"{expected}" if found == expected + 1 else f"{expected} to {found - 1}"
        detail = f"position {gap} is missing: the next event of this history is at {found}"
        return ChainReport(expected - 1, head, Break.MISSING, expected, detail)
    content: list[Any] = [v.decode("utf-8", "replace") if isinstance(v, bytes) else v for v in row[1:]]
    prev, hash = content[-2:]
    if chain_hash(prev, expected, content[0], segment.run, *content[1:-2]) != hash:
        detail = f"the event at position {expected} has not the hash that it was written with: it was changed"
        return ChainReport(expected - 1, head, Break.CHANGED, expected, detail)
    detail = (
        f"the event at position {expected} follows hash {prev[:12]}…, and the event before it has "
        f"{head.hash[:12]}…: one of the two was put in, moved or rewritten"
    )
    return ChainReport(expected - 1, head, Break.OUT_OF_ORDER, expected, detail)
