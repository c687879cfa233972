"""The effect keys of the log, in memory, so that no effect is recorded twice in one history.

Cost model: a branch's keys are read when it (or a fork of it) is first written, in one pass over its events
(about 1 µs each), and then take about 250 bytes a key. An index in the file would cost more on every commit:
keys are hashes, so each lands on a page of its own (64 producers: 29 µs an event with the index, 16 µs
without).
"""

import sqlite3

from store.lineage import MASK, SHIFT, Branches, Segment


class Effects:
    """Positions by effect key, branch by branch, as committed."""

    def __init__(self, connection: sqlite3.Connection, branches: Branches) -> None:
        self._connection = connection
        self._branches = branches
        self._own: dict[int, dict[str, int]] = {}
        self._inherited: dict[int, list[Segment]] = {}

    def among(self, branches: Branches) -> "Effects":
        """The same keys, for a branch that only `branches` knows as yet."""
        other = Effects(self._connection, branches)
        other._own = self._own
        return other

    def own(self, branch: int) -> dict[str, int]:
        """{effect key: position} of the events that lie in the branch itself."""
        keys = self._own.get(branch)
        if keys is None:
            rows = self._connection.execute(
                "SELECT effect_key, place & ? FROM events "
                "WHERE place BETWEEN ? AND ? AND effect_key IS NOT NULL",
                (MASK, branch << SHIFT, branch << SHIFT | MASK),
            )
            keys = self._own[branch] = dict(rows)
        return keys

    def find(self, branch: int, key: str) -> int | None:
        """The position at which the branch's history holds the key; None if it does not."""
        position = self.own(branch).get(key)
        if position is not None:
            return position
        for segment in self.inherited(branch):
            position = self.own(segment.branch).get(key)
            if position is not None and position <= segment.end:
                return position
        return None

    def inherited(self, branch: int) -> list[Segment]:
        """The segments that a branch shares with those it descends from; they never change."""
        shared = self._inherited.get(branch)
        if shared is None:
            lineage = self._branches.lineage(self._branches.infos[branch].name)
            shared = self._inherited[branch] = [segment for segment in lineage if segment.branch != branch]
        return shared
