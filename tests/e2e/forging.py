"""A forger at work on a finished log: one edit, and the hash chain made anew behind it.

Edits fall on the events that a branch has of its own. Causes that point behind the edit follow it, as a
careful forger would have them.
"""

import json
import random
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from events import GENESIS, canonical_json, chain_hash, new_event_id

MASK, SHIFT = 2**40 - 1, 40
TRIGGERS = (
    "events_are_never_changed", "events_are_never_deleted", "events_are_never_replaced",
    "branches_are_never_changed", "branches_are_never_deleted", "branches_are_never_replaced",
)  # fmt: skip
COLUMNS = (
    "seq", "id", "time", "actor", "type", "version", "causation", "correlation", "effect_key", "input_digest",
)  # fmt: skip
"""Everything of an event besides its payload; hashes are made anew."""

Row = dict[str, Any]


@dataclass(frozen=True)
class Edit:
    """One forgery: what is done to which event, and where in it."""

    kind: str
    """change, remove, insert, swap."""
    position: int
    path: str = ""
    """Of a change: the column, or the JSON path of the payload's leaf."""
    other: int = 0
    """Of an insertion: behind which position; of a swap: the other event."""
    value: Any = None
    keep_key: bool = False
    """Whether an inserted copy has its original's effect key."""


class Forgery:
    """The rows of one branch, to be edited and written to a copy of the log."""

    def __init__(self, source: Path, branch: str) -> None:
        self._source = source
        with sqlite3.connect(source) as connection:
            connection.row_factory = sqlite3.Row
            found = "SELECT id, run, parent, fork_position FROM branches WHERE name = ?"
            self.branch, self.run, parent, self.fork = connection.execute(found, (branch,)).fetchone()
            self.rows = self._own(connection, self.branch)
            self.before = GENESIS
            if parent is not None:
                place = (parent << SHIFT) | self.fork
                query = "SELECT hash FROM events WHERE place = ?"
                self.before = connection.execute(query, (place,)).fetchone()[0]
            self.acks = connection.execute("SELECT * FROM acks WHERE branch = ?", (self.branch,)).fetchall()

    @staticmethod
    def _own(connection: sqlite3.Connection, branch: int) -> list[Row]:
        query = "SELECT * FROM events WHERE place >> 40 = ? ORDER BY place"
        rows = [dict(row) for row in connection.execute(query, (branch,))]
        return [{**row, "position": row["place"] & MASK} for row in rows]

    def row(self, position: int) -> Row:
        """The event at a position of the branch's own."""
        return self.rows[position - self.fork - 1]

    def write(self, edit: Edit, target: Path, *, acks: bool = True) -> None:
        """A copy of the log with the edit in it and its chain whole; without `acks`, with none of them."""
        rows = self._edited(edit)
        moved = {row["position"]: self.fork + n for n, row in enumerate(rows, 1) if row["position"]}
        target.unlink(missing_ok=True)
        with sqlite3.connect(self._source) as source, sqlite3.connect(target) as copy:
            source.backup(copy)
            copy.execute("PRAGMA journal_mode = MEMORY")
            copy.execute("PRAGMA synchronous = OFF")
            for trigger in TRIGGERS:
                copy.execute(f"DROP TRIGGER IF EXISTS {trigger}")
            copy.execute("DELETE FROM events WHERE place >> 40 = ?", (self.branch,))
            copy.executemany(f"INSERT INTO events VALUES ({','.join('?' * 14)})", self._chained(rows, moved))
            copy.execute("DELETE FROM acks WHERE branch = ?", (self.branch,))
            if acks:
                kept = [
                    (b, a, moved.get(c, c), moved.get(p, p)) for b, a, c, p in self.acks
                    if c <= self.fork or c in moved
                ]  # fmt: skip
                copy.executemany("INSERT OR IGNORE INTO acks VALUES (?,?,?,?)", kept)
        copy.close()
        source.close()

    def _edited(self, edit: Edit) -> list[Row]:
        rows = [dict(row) for row in self.rows]
        index = edit.position - self.fork - 1
        if edit.kind == "remove":
            del rows[index]
        elif edit.kind == "swap":
            other = edit.other - self.fork - 1
            rows[index], rows[other] = rows[other], rows[index]
        elif edit.kind == "insert":
            new = {**rows[index], "position": 0, "id": new_event_id()}
            new["effect_key"] = new["effect_key"] if edit.keep_key else None
            rows.insert(edit.other - self.fork, new)
        elif edit.path in COLUMNS:
            rows[index][edit.path] = edit.value
        else:
            payload = json.loads(rows[index]["payload"])
            rows[index]["payload"] = canonical_json(put(payload, edit.path, edit.value))
        if edit.kind != "change" or edit.path != "seq":
            for seq, row in enumerate(rows, self.rows[0]["seq"]):
                row["seq"] = seq
        return rows

    def _chained(self, rows: list[Row], moved: dict[int, int]) -> Iterator[tuple[Any, ...]]:
        previous = self.before
        for position, row in enumerate(rows, self.fork + 1):
            cause = moved.get(row["causation"], row["causation"])
            fixed = (
                row["id"],
                self.run,
                float(row["time"]),
                row["actor"],
                row["type"],
                row["version"],
                cause,
            )
            rest = (row["correlation"], row["effect_key"], row["input_digest"], row["payload"])
            hash = chain_hash(previous, position, *fixed, *rest)
            columns = (*fixed[:1], *fixed[2:], *rest[:3], previous, hash, row["payload"])
            yield (self.branch << SHIFT | position, row["seq"], *columns)
            previous = hash


def leaves(value: Any, path: str = "$") -> Iterator[tuple[str, Any]]:
    """(JSON path, value) of every leaf."""
    if isinstance(value, dict) and value:
        for name in value:
            yield from leaves(value[name], f"{path}.{name}")
    elif isinstance(value, list) and value:
        for number, item in enumerate(value):
            yield from leaves(item, f"{path}[{number}]")
    else:
        yield path, value


def put(payload: Any, path: str, value: Any) -> Any:
    """The payload with another value at a leaf."""
    for at, _ in leaves(payload):
        if at == path:
            return _put(payload, path, value, "$")
    raise KeyError(path)


def _put(tree: Any, path: str, value: Any, here: str) -> Any:
    if here == path:
        return value
    if isinstance(tree, dict):
        return {n: _put(v, path, value, f"{here}.{n}") for n, v in tree.items()}
    if isinstance(tree, list):
        return [_put(v, path, value, f"{here}[{n}]") for n, v in enumerate(tree)]
    return tree


def another(value: Any, rng: random.Random) -> Any:
    """A value of the same kind that is not the same."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + rng.choice((-1, 1, 7))
    if isinstance(value, float):
        return value + rng.choice((-0.5, 0.25, 11.0))
    if isinstance(value, str):
        return value[:-1] + ("0" if value[-1] != "0" else "1") if len(value) == 64 else value + "x"
    return "x" if value is None else [0] if isinstance(value, list) else {"x": 1}


_COLUMN_VALUES: dict[str, Callable[[Row, random.Random], Any]] = {
    "actor": lambda row, rng: rng.choice(
        ("ghost", "operator", "supervisor", "director", "modifier", "gateway")
    ),
    "type": lambda row, rng: rng.choice(("ProposalMade", "CandidateTrained", "CampaignPaused", "ChatFailed")),
    "version": lambda row, rng: row["version"] + 1,
    "causation": lambda row, rng: rng.choice((None, 1, row["position"], row["position"] - 1, 10**6)),
    "correlation": lambda row, rng: rng.choice((None, "r1-1", "campaign")),
    "effect_key": lambda row, rng: rng.choice((None, "f" * 64)),
    "input_digest": lambda row, rng: rng.choice((None, "0" * 64)),
    "seq": lambda row, rng: 0,
    "time": lambda row, rng: row["time"] + 1.0,
    "id": lambda row, rng: new_event_id(),
}


def change_column(row: Row, column: str, rng: random.Random) -> Edit | None:
    """A change of one column; None where it would be none."""
    value = _COLUMN_VALUES[column](row, rng)
    return None if value == row[column] else Edit("change", row["position"], column, value=value)


def random_edit(forgery: Forgery, rng: random.Random) -> Edit:
    """One edit of any kind; event types are drawn first, because nine tenths of a log are of a few."""
    kinds = sorted({row["type"] for row in forgery.rows})
    while True:
        kind = rng.choice(kinds)
        row = rng.choice([row for row in forgery.rows if row["type"] == kind])
        position, last = row["position"], forgery.rows[-1]["position"]
        what = rng.choice(("column", "leaf", "leaf", "leaf", "remove", "insert", "swap"))
        edit: Edit | None
        if what == "column":
            edit = change_column(row, rng.choice(COLUMNS), rng)
        elif what == "leaf":
            path, value = rng.choice(list(leaves(json.loads(row["payload"]))))
            edit = Edit("change", position, path, value=another(value, rng))
        elif what == "remove":
            edit = Edit("remove", position)
        elif what == "insert":
            behind = rng.choice((position, last, rng.randint(forgery.fork + 1, last)))
            edit = Edit("insert", position, other=behind, keep_key=rng.random() < 0.5)
        else:
            near = position + rng.choice((1, 1, 2, 5))
            edit = Edit("swap", position, other=near) if near <= last else None
        if edit is not None:
            return edit
