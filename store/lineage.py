"""Branches, and the stretches of the log that make up the history of one."""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from store.errors import NoSuchBranchError

SHIFT = 40
"""A place in the events table is branch id << SHIFT | position: 2^40 positions, 2^23 branches."""
MASK = (1 << SHIFT) - 1


class Head(NamedTuple):
    """The last event of a branch's history: position 0 and the genesis hash where there is none."""

    position: int
    hash: str


@dataclass(frozen=True)
class BranchInfo:
    """A branch as its row says."""

    name: str
    run: str
    parent: str | None
    fork_position: int
    """The last position shared with the parent; 0 for a branch without one."""
    created: float
    """Seconds since the Unix epoch."""


class Segment(NamedTuple):
    """A stretch of history that lies in one branch: positions `start` to `end`, both included."""

    branch: int
    name: str
    run: str
    start: int
    end: int


class Branches:
    """The branches of one file, by name and by id; `lineage` cuts a history into segments."""

    def __init__(self) -> None:
        self.ids: dict[str, int] = {}
        self.infos: dict[int, BranchInfo] = {}
        self._parents: dict[int, int | None] = {}

    def load(self, connection: sqlite3.Connection) -> None:
        """Take in the rows that are not known yet; rows never change."""
        rows = connection.execute(
            "SELECT id, name, run, parent, fork_position, created FROM branches WHERE id > ? ORDER BY id",
            (max(self.infos, default=0),),
        ).fetchall()
        for number, name, run, parent, fork_position, created in rows:
            self.add(number, BranchInfo(name, run, self.name(parent), fork_position, created))

    def add(self, number: int, info: BranchInfo) -> None:
        """Enter one branch whose parent is known."""
        self._parents[number] = self.ids[info.parent] if info.parent is not None else None
        self.infos[number] = info
        self.ids[info.name] = number  # last: whoever finds the name finds the rest

    def copy(self) -> "Branches":
        """The same branches, to which others can be added without anybody's finding them here."""
        other = Branches()
        other.ids, other.infos = dict(self.ids), dict(self.infos)
        other._parents = dict(self._parents)
        return other

    def name(self, number: int | None) -> str | None:
        """A branch's name by its id."""
        return None if number is None else self.infos[number].name

    def id(self, name: str) -> int:
        """A branch's id by its name; raises NoSuchBranchError, which lists the names there are."""
        try:
            return self.ids[name]
        except KeyError:
            known = ", ".join(sorted(self.ids)[:10]) or "none"
            raise NoSuchBranchError(f"the log has no branch {name!r}; it has: {known}") from None

    def lineage(self, name: str, upto: int = MASK) -> Sequence[Segment]:
        """The segments of a branch's history up to a position, oldest first; later ones may still be
        empty.
        """
        number: int | None = self.id(name)
        end = upto
        found: list[Segment] = []
        while number is not None:
            info = self.infos[number]
            if end > info.fork_position:
                found.append(Segment(number, info.name, info.run, info.fork_position + 1, end))
            end = min(end, info.fork_position)
            number = self._parents[number]
        found.reverse()
        return found
