"""The experience pool: what redrafting and training taught, found again by the suggestion it arose from (§3.4.2)."""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from events.envelope import Envelope
from events.reflection import ExperienceRecorded
from store.projections.base import Blob, Projection
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
        self._rows: dict[str, ExperienceRow] = {}
        self._waiting: list[ExperienceRecorded] = []
        """Those whose vectors have not been read yet."""
        self._indexes: dict[int, VectorIndex] = {}

    def count(self, upto: int | None = None) -> int:
        """How many there were by then."""
        return len(self.all(upto))

    def all(self, upto: int | None = None, visible: int | None = None) -> list[ExperienceRow]:
        """Those of rounds up to `visible`, by (round, candidate, id); imported ones are always visible."""
        rows = [
            row
            for row in self._rows.values()
            if (upto is None or row.position <= upto)
            and (visible is None or row.origin or row.round <= visible)
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
        found = index.nearest(vector, k, upto, visible=seen, kind=kind, role=role)
        return [replace(self._rows[id], similarity=similarity) for id, similarity in found]

    def _read_vectors(self) -> None:
        waiting, self._waiting = self._waiting, []
        for event in waiting:
            row = self._rows[event.experience]
            index = self._indexes.get(event.dimension)
            if index is None:
                index = self._indexes[event.dimension] = VectorIndex(event.dimension)
            index.add(
                event.experience,
                np.frombuffer(self._blob(event.vector), dtype="<f4"),
                row.position,
                round=_IMPORTED if row.origin else row.round,
                kind=row.kind,
                role=row.role,
            )

    def on_ExperienceRecorded(self, envelope: Envelope) -> None:
        event = envelope.event
        assert isinstance(event, ExperienceRecorded)
        if event.experience in self._rows:
            return
        self._rows[event.experience] = ExperienceRow(
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
        if event.vector:
            self._waiting.append(event)
