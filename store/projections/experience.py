"""The experience pool: what redrafting and training taught, found again by the suggestion it arose from
(§3.4.2).
"""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from events.envelope import Envelope
from events.reflection import ExperienceRecorded
from store.projections.base import Blob, Projection, latest
from store.projections.vectors import Vector, VectorIndex

_IMPORTED = -1
"""Round under which an experience of another campaign is found: before all of this one's own."""


@dataclass(frozen=True)
class ExperienceRow:
    """One piece of design experience."""

    id: str
    candidate: str
    round: int
    kind: str
    category: str
    role: str
    suggestion: str
    tip: str
    origin: str
    """The campaign it was imported from; empty for this one's own."""
    position: int
    similarity: float = 0.0
    """Cosine similarity to what was asked for."""


class Experience(Projection):
    """Experiences, as of any position and any round."""

    HANDLES: ClassVar[frozenset[str]] = frozenset({"ExperienceRecorded"})

    def __init__(self, blob: Blob) -> None:
        super().__init__()
        self._blob = blob
        self._rows: dict[str, list[tuple[int, ExperienceRow]]] = {}
        """By id: a later record of an experience supersedes the earlier one from its position on."""
        self._by_position: dict[int, ExperienceRow] = {}
        self._waiting: list[tuple[int, ExperienceRecorded]] = []
        """Those whose vectors have not been read yet."""
        self._indexes: dict[int, VectorIndex[tuple[str, int]]] = {}

    def count(self, upto: int | None = None) -> int:
        """How many there were by then."""
        return sum(latest(records, upto) is not None for records in self._rows.values())

    def all(self, upto: int | None = None, visible: int | None = None) -> list[ExperienceRow]:
        """Those of rounds up to `visible`, by (round, candidate, id); imported ones are always visible."""
        newest = (latest(records, upto) for records in self._rows.values())
        rows = [
            record[1]
            for record in newest
            if record is not None and (visible is None or record[1].origin or record[1].round <= visible)
        ]
        return sorted(rows, key=lambda row: (row.round, row.candidate, row.id))

    def nearest(
        self,
        vector: Vector,
        k: int,
        upto: int | None = None,
        visible: int | None = None,
        role: str | None = None,
        kind: str | None = None,
    ) -> list[ExperienceRow]:
        """The k experiences whose suggestions are nearest to a vector, by (−similarity, id)."""
        self._read_vectors()
        index = self._indexes.get(len(vector))
        if index is None:
            return []
        seen = None if visible is None else max(visible, _IMPORTED)
        spare = len(self._by_position) - len(
            self._rows
        )  # superseded records may come up in place of their successors
        found = index.nearest(vector, k + spare, upto, visible=seen, kind=kind, role=role)
        rows = [
            replace(self._by_position[position], similarity=similarity) for (_, position), similarity in found
        ]
        current = [
            row
            for row in rows
            if latest(self._rows[row.id], upto) == (row.position, self._by_position[row.position])
        ]
        return sorted(current, key=lambda row: (-row.similarity, row.id))[:k]

    def _read_vectors(self) -> None:
        waiting, self._waiting = self._waiting, []
        for position, event in waiting:
            row = self._by_position[position]
            index = self._indexes.get(event.dimension)
            if index is None:
                index = self._indexes[event.dimension] = VectorIndex(event.dimension)
            index.add(
                (row.id, position),
                np.frombuffer(self._blob(event.vector), dtype="<f4"),
                position,
                round=_IMPORTED if row.origin else row.round,
                kind=row.kind,
                role=row.role,
            )

    def on_ExperienceRecorded(self, envelope: Envelope) -> None:
        event = envelope.event
        assert isinstance(event, ExperienceRecorded)
        row = ExperienceRow(
            event.experience,
            event.candidate,
            event.round,
            event.kind,
            event.category,
            event.role,
            event.suggestion,
            event.tip,
            event.origin,
            envelope.position,
        )
        self._by_position[envelope.position] = row
        self._rows.setdefault(event.experience, []).append((envelope.position, row))
        if event.vector:
            self._waiting.append((envelope.position, event))
