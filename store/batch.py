"""The rows that one transaction is about to add, on top of the heads that are durable."""

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

from events.envelope import Ack, Envelope, Pending, chain_hash
from store.blobs import encode_blob, sha256_hex
from store.errors import IntegrityError
from store.lineage import SHIFT, Branches, Head

_INSERT = "INSERT INTO events VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?)"
_INSERT_ACK = "INSERT OR IGNORE INTO acks VALUES (?,?,?,?)"
_INSERT_BLOB = "INSERT OR IGNORE INTO blobs (sha256, size, codec, data) VALUES (?,?,?,?)"
_ROW_OVERHEAD = 400
"""Bytes of a row besides its payload, and of its index entry."""


class Batch:
    """Stages appends (positions, hashes, envelopes), then flushes their rows in few statements."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        branches: Branches,
        heads: Mapping[int, Head],
        seq: int,
        written: int = 0,
    ) -> None:
        self._connection = connection
        self._branches = branches
        self._durable = heads
        self.heads: dict[int, Head] = {}
        """The heads that this batch moves."""
        self.seq = seq
        self.bytes = written
        """About how much the transaction writes."""
        self._rows: list[tuple[Any, ...]] = []
        self._acks: list[tuple[int, str, int, int]] = []
        self._blobs: list[tuple[str, int, str, bytes]] = []

    def all_heads(self) -> dict[int, Head]:
        """The heads as they will be."""
        return {**self._durable, **self.heads}

    def stage(
        self, branch: str | None, pendings: Sequence[Pending], acks: Sequence[Ack], blobs: Mapping[str, bytes]
    ) -> list[Envelope]:
        """Give one append its positions and hashes. What raises here has staged nothing."""
        if branch is None:
            self._stage_blobs(blobs)
            return []
        number = self._branches.id(branch)
        info = self._branches.infos[number]
        if info.parent is not None:
            self._check_effects(branch, pendings)
        if blobs:
            self._stage_blobs(blobs)
        position, previous = self.heads.get(number) or self._durable[number]
        base, run, seq, rows = number << SHIFT, info.run, self.seq, self._rows
        new, put = object.__new__, object.__setattr__
        staged = []
        for p in pendings:
            position += 1
            seq += 1
            hash = chain_hash(
                previous, position, p.id, run, p.time, p.actor, p.type, p.version,
                p.causation, p.correlation, p.effect_key, p.input_digest, p.payload,
            )  # fmt: skip
            rows.append(
                (
                    base + position, seq, p.id, p.time, p.actor, p.type, p.version, p.causation, p.correlation,
                    p.effect_key, p.input_digest, previous, hash, p.payload,
                )
            )  # fmt: skip
            envelope = new(Envelope)
            put(
                envelope,
                "__dict__",
                {
                    "position": position, "seq": seq, "id": p.id, "run": run, "branch": branch, "time": p.time,
                    "actor": p.actor, "type": p.type, "version": p.version, "causation": p.causation,
                    "correlation": p.correlation, "effect_key": p.effect_key, "input_digest": p.input_digest,
                    "prev_hash": previous, "hash": hash, "payload": p.payload,
                },
            )  # fmt: skip
            staged.append(envelope)
            previous = hash
        self.seq = seq
        self.heads[number] = Head(position, previous)
        if acks:
            self._acks.extend((number, ack.actor, ack.cause, position) for ack in acks)
        return staged

    def flush(self) -> None:
        """Hand the staged rows to SQLite."""
        if self._blobs:
            self._connection.executemany(_INSERT_BLOB, self._blobs)
            self.bytes += sum(len(row[3]) for row in self._blobs)
        if len(self._rows) == 1:
            self._connection.execute(_INSERT, self._rows[0])
        elif self._rows:
            self._connection.executemany(_INSERT, self._rows)
        if self._acks:
            self._connection.executemany(_INSERT_ACK, self._acks)
        self.bytes += sum(len(row[13]) for row in self._rows) + _ROW_OVERHEAD * len(self._rows) + 8192

    def _check_effects(self, branch: str, pendings: Sequence[Pending]) -> None:
        """An effect of the shared history must not be recorded again; the index sees only a branch's own events."""
        segments = self._branches.lineage(branch)[:-1]
        for pending in pendings:
            if pending.effect_key is None:
                continue
            for (place,) in self._connection.execute(
                "SELECT place FROM events WHERE effect_key = ?", (pending.effect_key,)
            ).fetchall():
                if any(
                    (s.branch << SHIFT) + s.start <= place <= (s.branch << SHIFT) + s.end for s in segments
                ):
                    raise IntegrityError(
                        f"the history of branch {branch!r} already holds the effect key {pending.effect_key}"
                    )

    def _stage_blobs(self, blobs: Mapping[str, bytes]) -> None:
        for digest, data in blobs.items():
            if sha256_hex(data) != digest:
                raise IntegrityError(
                    f"a blob was given the name {digest}, which is not the SHA-256 of its bytes"
                )
        for digest, data in blobs.items():
            codec, packed = encode_blob(data)
            self._blobs.append((digest, len(data), codec, packed))
