"""The knowledge base: inspirations with their vectors, what was tried of them, and what was learned from it.

Cost model: vectors are blobs and are read only when a query first needs them, so that a rebuild never
touches them.
"""

import json
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from events.envelope import Envelope
from events.reading import (
    InspirationRecorded,
    InspirationRepeated,
    KnowledgeIndexed,
    LibraryAttached,
    PaperFinished,
    PaperFound,
    PaperTextFailed,
    PaperTextRead,
)
from events.reflection import LessonRecorded, Outcome
from events.research import ProposalMade
from store.projections.base import Blob, Library, Projection, latest
from store.projections.vectors import Vector, VectorIndex, unit

OWN, OWN_NAME = "", "shipped"
"""Source of what a campaign (or a library) enters itself, and what stands for it in an id."""
Space = tuple[str, int]
"""(embedder, dimension): vectors of two spaces are never compared."""


@dataclass(frozen=True)
class InspirationRow:
    """An inspiration, and the position that made it known to this campaign."""

    id: str
    text: str
    title: str
    year: int | None
    ref: str
    section: str
    page: int | None
    position: int


@dataclass(frozen=True, eq=False)
class LessonRow:
    """What a candidate said about its inspiration."""

    id: str
    candidate: str
    round: int
    parent: str
    inspiration: str
    suggestion: str
    outcome: Outcome
    gain: float | None
    """None where there is no accuracy: the training failed, or no design came of it."""
    text: str
    vector: Vector
    """Unit length, in the space of the knowledge base; zero if it was embedded in another."""
    position: int


@dataclass
class _Space:
    """Vectors of one space, in the order in which they became known."""

    ids: list[str]
    positions: list[int]
    vectors: list[Vector]
    places: dict[str, int]
    index: VectorIndex[str]


class Knowledge(Projection):
    """Inspirations and lessons, as of any position."""

    HANDLES: ClassVar[frozenset[str]] = frozenset(
        {
            "InspirationRecorded",
            "InspirationRepeated",
            "KnowledgeIndexed",
            "LibraryAttached",
            "ProposalMade",
            "LessonRecorded",
            "PaperFound",
            "PaperFinished",
            "PaperTextRead",
            "PaperTextFailed",
        }
    )

    def __init__(self, blob: Blob, library: Library | None = None) -> None:
        super().__init__()
        self._blob = blob
        self._library = library
        self._rows: dict[str, InspirationRow] = {}
        self._known: list[int] = []
        """Positions of the rows, ascending."""
        self._entered: dict[tuple[str, str], str] = {}
        """The id under which an inspiration is known here, by its source and its id there."""
        self._repeats: dict[tuple[str, str], tuple[str, str]] = {}
        """(source, id there) of each that repeats one of an earlier source, and of that one."""
        self._texts: dict[str, tuple[str, str]] = {}
        """(source, id known here) of each text, but for its spaces and capitals."""
        self._indexings: list[tuple[int, KnowledgeIndexed, str]] = []
        """(position, event, source)."""
        self._read_indexings = 0
        self._spaces: dict[Space, _Space] = {}
        self._used: dict[str, list[tuple[int, str]]] = {}
        self._places: dict[str, tuple[int, int]] = {}
        """(round, index) of each candidate."""
        self._lessons: dict[str, list[tuple[int, LessonRecorded]]] = {}
        """By lesson id: a later record of a lesson supersedes the earlier one from its position on."""
        self._papers: list[tuple[int, PaperFound]] = []
        self._finished: list[tuple[int, PaperFinished]] = []
        self._texts_asked: list[tuple[int, str, str]] = []
        """(position, paper, kind of failure) of each text that was asked for; no kind where it was read."""
        self._lessons_recorded = 0
        self._lesson_vectors: dict[str, Vector] = {}
        self._lesson_rows: dict[tuple[int, Space | None], LessonRow] = {}
        """By position and the space their vectors are in: a round asks for all those of the rounds before."""
        self._last_lessons: tuple[tuple[object, ...], list[LessonRow]] = ((), [])
        """What was asked last, and the answer: a round asks twice."""
        self._matrices: dict[tuple[Space, int, int], tuple[tuple[str, ...], Vector]] = {}

    # ---- inspirations

    def inspiration(self, id: str, upto: int | None = None) -> InspirationRow | None:
        """One inspiration; None if it was not known by then."""
        row = self._rows.get(id)
        return row if row is not None and (upto is None or row.position <= upto) else None

    def count(self, upto: int | None = None) -> int:
        """How many inspirations were known by then."""
        return len(self._known) if upto is None else bisect_right(self._known, upto)

    def all(self, upto: int | None = None) -> list[InspirationRow]:
        """All inspirations known by then, by id."""
        return [row for _, row in sorted(self._rows.items()) if upto is None or row.position <= upto]

    def used(self, parent: str, upto: int | None = None) -> set[str]:
        """Inspirations that were already proposed for a parent."""
        return {id for position, id in self._used.get(parent, ()) if upto is None or position <= upto}

    # ---- papers

    def papers(self, upto: int | None = None) -> list[PaperFound]:
        """Papers found by then, each once and as it was found last, in the order of their first finding."""
        return [event for _, event in self._found(upto).values()]

    def finished_papers(self, upto: int | None = None) -> dict[str, PaperFinished]:
        """What became of each paper that is done with by then; one found again is to be done again."""
        found = self._found(upto)
        return {
            event.paper: event
            for position, event in self._finished
            if (upto is None or position <= upto)
            and (event.paper not in found or found[event.paper][0] < position)
        }

    def texts_failed(self, upto: int | None = None) -> dict[str, str]:
        """Papers whose text could not be had since they were last found, by the kind of failure."""
        found, failed = self._found(upto), {}
        for position, paper, kind in self._texts_asked:
            if (upto is None or position <= upto) and paper in found and found[paper][0] < position:
                failed[paper] = kind
        return {paper: kind for paper, kind in failed.items() if kind}

    def _found(self, upto: int | None) -> dict[str, tuple[int, PaperFound]]:
        return {row[1].paper: row for row in self._papers if upto is None or row[0] <= upto}

    # ---- vectors

    def indexed(self, upto: int | None = None) -> bool:
        """Whether the campaign's own inspirations have their vectors."""
        return any(
            source == OWN and (upto is None or position <= upto) for position, _, source in self._indexings
        )

    def matrix(self, upto: int | None = None) -> tuple[tuple[str, ...], Vector]:
        """Ids of all inspirations that have a vector, sorted, and their unit vectors, float32 (n,
        dimension).
        """
        space = self._space(upto)
        if space is None:
            return (), np.zeros((0, 0), dtype=np.float32)
        rows = self._spaces[space]
        size = len(rows.ids) if upto is None else bisect_right(rows.positions, upto)
        key = (space, size, self.count(upto))
        found = self._matrices.get(key)
        if found is None:
            order = sorted(n for n in range(size) if self.inspiration(rows.ids[n], upto) is not None)
            order.sort(key=lambda n: rows.ids[n])
            stacked = (
                np.stack([rows.vectors[n] for n in order]) if order else np.zeros((0, space[1]), np.float32)
            )
            stacked.flags.writeable = False
            if len(self._matrices) >= 8:
                self._matrices.pop(next(iter(self._matrices)))
            found = self._matrices[key] = (tuple(rows.ids[n] for n in order), stacked)
        return found

    def vector_of(self, id: str, upto: int | None = None) -> Vector | None:
        """The unit vector of one inspiration in the space in use; None if it has none."""
        space = self._space(upto)
        if space is None:
            return None
        rows = self._spaces[space]
        place = rows.places.get(id)
        if place is None or (upto is not None and rows.positions[place] > upto):
            return None
        return rows.vectors[place]

    def nearest(self, vector: Vector, k: int, upto: int | None = None) -> list[tuple[str, float]]:
        """(id, cosine similarity) of the k inspirations nearest to a vector, by (−similarity, id)."""
        space = self._space(upto)
        return [] if space is None else self._spaces[space].index.nearest(vector, k, upto)

    def space(self, upto: int | None = None) -> Space | None:
        """The (embedder, dimension) in use: that of the campaign's newest index, else of a library's."""
        by_then = [
            (event, source == OWN)
            for position, event, source in self._indexings
            if upto is None or position <= upto
        ]
        chosen = [event for event, own in by_then if own] or [event for event, _ in by_then]
        return (chosen[-1].embedder, chosen[-1].dimension) if chosen else None

    def _space(self, upto: int | None) -> Space | None:
        """As `space`, with the vectors of all indexings read."""
        for position, event, source in self._indexings[self._read_indexings :]:
            self._read_index(position, event, source)
        self._read_indexings = len(self._indexings)
        return self.space(upto)

    def _read_index(self, position: int, event: KnowledgeIndexed, source: str) -> None:
        ids = json.loads(self._blob(event.inspirations))
        vectors = np.frombuffer(self._blob(event.vectors), dtype="<f4").reshape(-1, event.dimension)
        rows = self._spaces.setdefault(
            (event.embedder, event.dimension), _Space([], [], [], {}, VectorIndex(event.dimension))
        )
        for there, vector in zip(ids, vectors, strict=True):
            id = self._entered.get((source, there), there)
            if id in rows.places:
                continue
            row = self._rows.get(id)
            made = max(position, row.position) if row is not None else position
            rows.places[id] = len(rows.ids)
            rows.ids.append(id)
            rows.positions.append(position)
            rows.vectors.append(unit(vector))
            rows.index.add(id, vector, made)

    # ---- lessons

    def lessons(self, upto: int | None = None, visible: int | None = None) -> list[LessonRow]:
        """What candidates of rounds up to `visible` taught, by (round, index) of the candidate."""
        space = self._space(upto)
        asked = (upto, visible, space, self._lessons_recorded, len(self._places))
        if self._last_lessons[0] != asked:
            newest = (latest(records, upto) for records in self._lessons.values())
            found = [
                (self._places.get(event.candidate, (event.round, 0)), event.lesson, position, event)
                for position, event in (record for record in newest if record is not None)
                if visible is None or event.round <= visible
            ]
            found.sort(key=lambda row: row[:3])
            rows = [self._lesson_row(position, event, space) for _, _, position, event in found]
            self._last_lessons = asked, rows
        return list(self._last_lessons[1])

    def _lesson_row(self, position: int, event: LessonRecorded, space: Space | None) -> LessonRow:
        row = self._lesson_rows.get((position, space))
        if row is None:
            row = self._lesson_rows[position, space] = LessonRow(
                event.lesson,
                event.candidate,
                event.round,
                event.parent,
                event.inspiration,
                event.suggestion,
                event.outcome,
                event.gain,
                event.text,
                self._lesson_vector(event, space),
                position,
            )
        return row

    def _lesson_vector(self, event: LessonRecorded, space: Space | None) -> Vector:
        if space is not None and (event.embedder, event.dimension) != space:
            return np.zeros(space[1], dtype=np.float32)
        if not event.vector:
            return np.zeros(event.dimension, dtype=np.float32)
        vector = self._lesson_vectors.get(event.vector)
        if vector is None:
            vector = unit(np.frombuffer(self._blob(event.vector), dtype="<f4"))
            self._lesson_vectors[event.vector] = vector
        return vector

    # ---- the fold

    def on_InspirationRecorded(self, envelope: Envelope) -> None:
        self._enter(envelope, envelope.position, OWN)

    def on_InspirationRepeated(self, envelope: Envelope) -> None:
        event = envelope.event
        assert isinstance(event, InspirationRepeated)
        self._repeats[event.source, event.inspiration] = (event.into_source, event.into)

    def on_KnowledgeIndexed(self, envelope: Envelope) -> None:
        event = envelope.event
        assert isinstance(event, KnowledgeIndexed)
        self._indexings.append((envelope.position, event, OWN))

    def on_LibraryAttached(self, envelope: Envelope) -> None:
        event = envelope.event
        assert isinstance(event, LibraryAttached)
        for entry in self._library_events(event):
            if entry.type == "InspirationRecorded":
                self._enter(entry, envelope.position, event.library)
            elif entry.type == "KnowledgeIndexed":
                index = entry.event
                assert isinstance(index, KnowledgeIndexed)
                self._indexings.append((envelope.position, index, event.library))

    def _library_events(self, event: LibraryAttached) -> Iterator[Envelope]:
        if self._library is not None:
            yield from self._library(event.library, event.at)

    def on_ProposalMade(self, envelope: Envelope) -> None:
        event = envelope.event
        assert isinstance(event, ProposalMade)
        self._places[event.candidate] = (event.round, event.index)
        self._used.setdefault(event.parent, []).append((envelope.position, event.inspiration))

    def on_LessonRecorded(self, envelope: Envelope) -> None:
        event = envelope.event
        assert isinstance(event, LessonRecorded)
        self._lessons.setdefault(event.lesson, []).append((envelope.position, event))
        self._lessons_recorded += 1

    def on_PaperFound(self, envelope: Envelope) -> None:
        event = envelope.event
        assert isinstance(event, PaperFound)
        self._papers.append((envelope.position, event))

    def on_PaperFinished(self, envelope: Envelope) -> None:
        event = envelope.event
        assert isinstance(event, PaperFinished)
        self._finished.append((envelope.position, event))

    def on_PaperTextRead(self, envelope: Envelope) -> None:
        event = envelope.event
        assert isinstance(event, PaperTextRead)
        self._texts_asked.append((envelope.position, event.paper, ""))

    def on_PaperTextFailed(self, envelope: Envelope) -> None:
        event = envelope.event
        assert isinstance(event, PaperTextFailed)
        self._texts_asked.append((envelope.position, event.paper, event.kind))

    def _enter(self, envelope: Envelope, position: int, source: str) -> None:
        """An id is of its source: two libraries may give one to different ideas, which both count, and two to
        one idea, which counts once, be it in the same words or in those that were found to repeat it.
        """
        event = envelope.event
        assert isinstance(event, InspirationRecorded)
        there = (source, event.inspiration)
        if there in self._entered:
            return
        repeated = self._entered.get(self._repeats.get(there, there))
        if repeated is not None:
            self._entered[there] = repeated
            return
        text = same_words(event.text)
        known = self._texts.get(text)
        if known is not None and known[0] != source:
            self._entered[there] = known[1]
            return
        id = event.inspiration
        if id in self._rows:
            id = f"{source.partition(':')[2] or OWN_NAME}/{id}"
        self._texts.setdefault(text, (source, id))
        self._entered[there] = id
        self._known.append(position)
        self._rows[id] = InspirationRow(
            id,
            event.text,
            event.title,
            event.year,
            event.ref,
            event.section,
            event.page,
            position,
        )


def same_words(text: str) -> str:
    """A text but for its spaces and capitals: what two ideas have in common that are one, word for word."""
    return " ".join(text.casefold().split())
