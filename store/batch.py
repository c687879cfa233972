"""The rows that one transaction is about to add, on top of what is durable."""

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from events.envelope import Ack, Envelope, Pending, chain_hash
from store.blobs import encode_blob, sha256_hex
from store.effects import Effects
from store.errors import IntegrityError
from store.lineage import SHIFT, Branches, Head

_INSERT = "INSERT INTO events VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?)"
_INSERT_ACK = "INSERT OR IGNORE INTO acks VALUES (?,?,?,?)"
_INSERT_BLOB = "INSERT OR IGNORE INTO blobs (sha256, size, codec, data) VALUES (?,?,?,?)"
_ROW_OVERHEAD = 350
"""Bytes of an event's row besides its payload."""


class Batch:
    """Stages appends (positions, hashes, envelopes), then flushes their rows in few statements."""

    def __init__(self, branches: Branches, effects: Effects, durable: Mapping[int, Head], seq: int) -> None:
        self._branches = branches
        self._effects = effects
        self._durable = durable
        self.heads: dict[int, Head] = {}
        """The heads that this batch moves."""
        self.keys: dict[tuple[int, str], int] = {}
        """Position by branch and effect key of what is staged."""
        self.seq = seq
        self.bytes = 0
        """About how much has been staged, blobs not before they are flushed."""
        self._rows: list[tuple[Any, ...]] = []
        self._acks: list[tuple[int, str, int, int]] = []
        self._blobs: list[tuple[str, int, str, bytes]] = []

    def stage(
        self, branch: str | None, pendings: Sequence[Pending], acks: Sequence[Ack], blobs: Mapping[str, bytes]
    ) -> list[Envelope]:
        """Give one append its positions and hashes. A StoreError raised here has staged nothing."""
        number = self._branches.id(branch) if branch is not None else 0
        for pending in pendings:
            if pending.effect_key is not None:
                self._check_effects(number, pendings)
                break
        if blobs:
            self._stage_blobs(blobs)
        if branch is None:
            return []
        position, previous = self.heads.get(number) or self._durable[number]
        run, base, seq, rows = self._branches.infos[number].run, number << SHIFT, self.seq, self._rows
        new, put = object.__new__, object.__setattr__
        staged: list[Envelope] = []
        for p in pendings:
            position += 1
            seq += 1
            id, time, actor, type_, version = p.id, float(p.time), p.actor, p.type, p.version
            cause, about, key, digest = p.causation, p.correlation, p.effect_key, p.input_digest
            payload = p.payload
            hash = chain_hash(
                previous, position, id, run, time, actor, type_, version, cause, about, key, digest, payload
            )
            row = (
                base + position, seq, id, time, actor, type_, version, cause, about, key, digest, previous,
                hash, payload,
            )  # fmt: skip
            rows.append(row)
            self.bytes += len(payload) + _ROW_OVERHEAD
            if key is not None:
                self.keys[number, key] = position
            envelope = new(Envelope)  # its own __init__ would take as long as SQLite takes for the row
            fields = {
                "position": position, "seq": seq, "id": id, "run": run, "branch": branch, "time": time,
                "actor": actor, "type": type_, "version": version, "causation": cause, "correlation": about,
                "effect_key": key, "input_digest": digest, "prev_hash": previous, "hash": hash,
                "payload": payload,
            }  # fmt: skip
            put(envelope, "__dict__", fields)
            staged.append(envelope)
            previous = hash
        self.seq = seq
        self.heads[number] = Head(position, previous)
        if acks:
            self._acks.extend((number, ack.actor, ack.cause, position) for ack in acks)
        return staged

    def flush(self, connection: sqlite3.Connection, run: Callable[[str, Any], object]) -> None:
        """Hand the staged rows to SQLite; `run` executes one statement on a cursor of the connection."""
        rows, blobs, acks = self._rows, self._blobs, self._acks
        self._rows, self._blobs, self._acks = [], [], []
        if len(rows) == 1:
            run(_INSERT, rows[0])
        elif rows:
            connection.executemany(_INSERT, rows)
        if len(acks) == 1:
            run(_INSERT_ACK, acks[0])
        elif acks:
            connection.executemany(_INSERT_ACK, acks)
        if blobs:
            connection.executemany(_INSERT_BLOB, blobs)
            self.bytes += sum([len(row[3]) for row in blobs])

    def mark(self) -> tuple[int, dict[int, Head], dict[tuple[int, str], int]]:
        """What `back_to` needs to forget what is staged from here on."""
        return self.seq, dict(self.heads), dict(self.keys)

    def back_to(self, mark: tuple[int, dict[int, Head], dict[tuple[int, str], int]]) -> None:
        """Forget what was staged since the mark; its rows, if flushed, are the caller's to roll back."""
        self.seq, self.heads, self.keys = mark
        self._rows, self._blobs, self._acks = [], [], []

    def _check_effects(self, number: int, pendings: Sequence[Pending]) -> None:
        fresh: set[str] = set()
        for pending in pendings:
            key = pending.effect_key
            if key is None:
                continue
            if key in fresh or (number, key) in self.keys or self._effects.find(number, key) is not None:
                name = self._branches.infos[number].name
                raise IntegrityError(
                    f"the history of branch {name!r} already holds the effect {key} "
                    f"({pending.type} by {pending.actor}); an effect is recorded once"
                )
            fresh.add(key)

    def _stage_blobs(self, blobs: Mapping[str, bytes]) -> None:
        for digest, data in blobs.items():
            if sha256_hex(data) != digest:
                raise IntegrityError(
                    f"a blob was given the name {digest}, which is not the SHA-256 of its bytes"
                )
        for digest, data in blobs.items():
            codec, packed = encode_blob(data)
            self._blobs.append((digest, len(data), codec, packed))
