"""The modification tree: every candidate, its design, its result, and the rounds it came in (paper §3.3).

Cost model: a candidate keeps one frozen version for each of its ten or so events, so that the tree as of any
position is a bisection per candidate asked for. Epochs never reach it.
"""

from bisect import bisect_right, insort
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

import networkx as nx

from events.campaign import BaseDesigned, RoundDesigned, RoundOpened
from events.development import DesignAbandoned, DesignReady, DraftAccepted, DraftRejected
from events.envelope import Envelope
from events.reflection import CandidateClosed
from events.research import DuplicateRecognised, ParentChosen, ProposalMade
from events.training import CandidateFailed, CandidateTrained, TrainingRequested, TrainingStarted
from store.projections.base import Projection
from store.projections.candidate import FIGURES, Candidate, DraftRow, RoundState, Stage, changed
from store.projections.objective import DEFAULT, parse_objective


@dataclass
class _Life:
    """Versions of one candidate, with the position that made each."""

    positions: list[int] = field(default_factory=list)
    versions: list[Candidate] = field(default_factory=list)
    drafts: list[DraftRow] = field(default_factory=list)
    figured: tuple[Candidate, Candidate, Candidate] | None = None
    """Of a duplicate: a version of it, one of its original, and the first with the figures of the second."""

    def at(self, upto: int | None) -> Candidate | None:
        if upto is None or self.positions[-1] <= upto:
            return self.versions[-1]
        known = bisect_right(self.positions, upto)
        return self.versions[known - 1] if known else None


@dataclass
class _Round:
    opened: int
    visible: int
    designed: RoundDesigned | None = None
    designed_at: int = 0
    closed_at: int | None = None
    final: RoundState | None = None
    """What it is once closed, kept because it is asked for at every event."""


class Tree(Projection):
    """Candidates and rounds, as of any position. All orders are by (round, index), never by arrival."""

    HANDLES: ClassVar[frozenset[str]] = frozenset(
        {
            "BaseDesigned",
            "RoundOpened",
            "RoundDesigned",
            "RoundClosed",
            "ParentChosen",
            "ProposalMade",
            "DuplicateRecognised",
            "DraftRejected",
            "DraftAccepted",
            "DesignReady",
            "DesignAbandoned",
            "TrainingRequested",
            "TrainingStarted",
            "CandidateTrained",
            "CandidateFailed",
            "ReflectionRequested",
            "CandidateClosed",
        }
    )

    def __init__(self) -> None:
        super().__init__()
        self._lives: dict[str, _Life] = {}
        self._order: list[tuple[int, int, str]] = []
        self._children: dict[str, list[tuple[int, int, str]]] = {}
        self._digests: dict[str, list[tuple[int, int, str, int]]] = {}
        """(round, index, candidate, position of the design) of each canonical digest."""
        self._jobs: dict[str, str] = {}
        self._rounds: dict[int, _Round] = {}
        self._parents: list[tuple[int, int, str]] = []
        """(position, round, parent)."""

    # ---- queries

    def candidate(self, id: str, upto: int | None = None) -> Candidate | None:
        """The candidate as of a position; None if it was not there yet."""
        life = self._lives.get(id)
        found = life.at(upto) if life is not None else None
        if found is None or found.original is None:
            return found
        original = self.candidate(found.original, upto)
        if original is None or not original.settled:
            return found
        assert life is not None
        held = life.figured
        if held is None or held[0] is not found or held[1] is not original:
            figures = {name: getattr(original, name) for name in FIGURES}
            held = life.figured = found, original, changed(found, figures)
        return held[2]

    def candidates(self, upto: int | None = None) -> list[Candidate]:
        """All candidates in order, the base first."""
        return list(self._each(self._order, upto))

    def originals(self, upto: int | None = None, visible: int | None = None) -> Iterator[Candidate]:
        """As `candidates`, without those known to be duplicates by then; of rounds up to `visible`."""
        for round, _, id in self._order:
            if visible is not None and round > visible:
                return
            found = self._lives[id].at(upto)
            if found is not None and found.original is None:
                yield found

    def children(self, id: str, upto: int | None = None, visible: int | None = None) -> list[Candidate]:
        """The candidates made from one, of rounds up to `visible`."""
        return [
            c for c in self._each(self._children.get(id, ()), upto) if visible is None or c.round <= visible
        ]

    def parent(self, candidate: Candidate, upto: int | None = None) -> Candidate | None:
        """What a candidate was made from; None for the base."""
        return None if candidate.parent is None else self.candidate(candidate.parent, upto)

    def by_digest(
        self, digest: str, upto: int | None = None, before: tuple[int, int] | None = None
    ) -> Candidate | None:
        """The first candidate, by (round, index), of a design; only those strictly before a place, if one is
        given.
        """
        for round, index, id, position in self._digests.get(digest, ()):
            if before is not None and (round, index) >= before:
                return None
            if upto is None or position <= upto:
                return self.candidate(id, upto)
        return None

    def score(self, candidate: Candidate, objective: str | None = None) -> float:
        """The objective's value, greater is better; −inf while it is not known. Raises ObjectiveError."""
        return parse_objective(objective or DEFAULT).value(candidate)

    def best(
        self, upto: int | None = None, visible: int | None = None, objective: str | None = None
    ) -> Candidate | None:
        """The trained candidate of rounds up to `visible` with the highest objective.

        Of equals the one with fewer parameters, then the earlier one.
        """
        wanted = parse_objective(objective or DEFAULT)
        trained = [
            c for c in self._each(self._order, upto) if c.trained and (visible is None or c.round <= visible)
        ]
        return min(trained, key=lambda c: (-wanted.value(c), c.params or 0, c.place), default=None)

    def drafts(self, candidate: str, role: str | None = None, upto: int | None = None) -> list[DraftRow]:
        """What was written for a candidate (for one role of block), in order."""
        life = self._lives.get(candidate)
        rows = life.drafts if life is not None else []
        return [d for d in rows if (role is None or d.role == role) and (upto is None or d.position <= upto)]

    def rounds(self, upto: int | None = None) -> list[RoundState]:
        """The rounds opened by then, in order."""
        return [
            state for number in sorted(self._rounds) if (state := self.round_state(number, upto)) is not None
        ]

    def round_state(self, round: int, upto: int | None = None) -> RoundState | None:
        """One round as of a position; None if it was not open yet."""
        row = self._rounds.get(round)
        if row is None or (upto is not None and row.opened > upto):
            return None
        closed = row.closed_at is not None and (upto is None or row.closed_at <= upto)
        if closed and row.final is not None:
            return row.final
        designed = row.designed if upto is None or row.designed_at <= upto else None
        state = RoundState(round, row.visible, designed, closed, row.opened)
        if closed:
            row.final = state
        return state

    def parents_chosen(self, upto: int | None = None) -> list[tuple[int, str]]:
        """(round, parent) of every choice made by then, in order of rounds."""
        return sorted(
            (round, parent) for position, round, parent in self._parents if upto is None or position <= upto
        )

    def graph(self, upto: int | None = None) -> "nx.DiGraph[str]":
        """The tree as networkx has it: nodes carry `candidate`, edges carry `inspiration` and
        `suggestion`.
        """
        graph: nx.DiGraph[str] = nx.DiGraph()
        for candidate in self.candidates(upto):
            graph.add_node(candidate.id, candidate=candidate)
            if candidate.parent is not None:
                graph.add_edge(
                    candidate.parent,
                    candidate.id,
                    inspiration=candidate.inspiration,
                    suggestion=candidate.suggestion,
                )
        return graph

    def _each(self, order: "list[tuple[int, int, str]] | tuple[()]", upto: int | None) -> Iterator[Candidate]:
        for _, _, id in order:
            candidate = self.candidate(id, upto)
            if candidate is not None:
                yield candidate

    # ---- the fold

    def _enter(self, envelope: Envelope, candidate: Candidate) -> None:
        if candidate.id not in self._lives:
            self._lives[candidate.id] = _Life()  # its first version is put just below
            insort(self._order, (candidate.round, candidate.index, candidate.id))
            if candidate.parent is not None:
                insort(
                    self._children.setdefault(candidate.parent, []),
                    (candidate.round, candidate.index, candidate.id),
                )
        self._put(envelope, candidate, {})

    def _put(self, envelope: Envelope, candidate: Candidate, changes: dict[str, Any]) -> None:
        life = self._lives[candidate.id]
        life.positions.append(envelope.position)
        positions = {**candidate.positions, envelope.type: envelope.position}
        life.versions.append(changed(candidate, {**changes, "positions": positions}))

    def _change(self, envelope: Envelope, id: str, **changes: Any) -> None:
        life = self._lives.get(id)
        if life is not None:  # else a log that lost its proposal: nothing to hang the event on
            self._put(envelope, life.versions[-1], changes)

    def _enter_design(self, envelope: Envelope, event: BaseDesigned | DesignReady) -> None:
        life = self._lives.get(event.candidate)
        if life is not None:
            place = life.versions[-1].place
            insort(self._digests.setdefault(event.digest, []), (*place, event.candidate, envelope.position))

    def on_BaseDesigned(self, envelope: Envelope) -> None:
        event = envelope.event
        assert isinstance(event, BaseDesigned)
        self._enter(
            envelope,
            Candidate(
                event.candidate,
                round=0,
                index=0,
                parent=None,
                stage=Stage.DESIGNED,
                design=event.design,
                digest=event.digest,
                width=event.width,
                params=event.params,
                macs=event.macs,
            ),
        )
        self._enter_design(envelope, event)

    def on_RoundOpened(self, envelope: Envelope) -> None:
        event = envelope.event
        assert isinstance(event, RoundOpened)
        self._rounds.setdefault(event.round, _Round(envelope.position, event.visible))

    def on_RoundDesigned(self, envelope: Envelope) -> None:
        event = envelope.event
        assert isinstance(event, RoundDesigned)
        row = self._rounds.get(event.round)
        if row is not None and row.designed is None:
            row.designed, row.designed_at = event, envelope.position

    def on_RoundClosed(self, envelope: Envelope) -> None:
        row = self._rounds.get(envelope.data()["round"])
        if row is not None and row.closed_at is None:
            row.closed_at = envelope.position

    def on_ParentChosen(self, envelope: Envelope) -> None:
        event = envelope.event
        assert isinstance(event, ParentChosen)
        self._parents.append((envelope.position, event.round, event.parent))

    def on_ProposalMade(self, envelope: Envelope) -> None:
        event = envelope.event
        assert isinstance(event, ProposalMade)
        self._enter(
            envelope,
            Candidate(
                event.candidate,
                event.round,
                event.index,
                event.parent,
                event.inspiration,
                event.suggestion,
                event.paper,
            ),
        )

    def on_DuplicateRecognised(self, envelope: Envelope) -> None:
        event = envelope.event
        assert isinstance(event, DuplicateRecognised)
        self._change(envelope, event.candidate, stage=Stage.DUPLICATE, original=event.original)

    def on_DraftRejected(self, envelope: Envelope) -> None:
        event = envelope.event
        assert isinstance(event, DraftRejected)
        self._enter_draft(
            envelope,
            event.candidate,
            DraftRow(
                event.role,
                event.round,
                event.attempt,
                event.draft,
                event.problems,
                event.codes,
                (),
                envelope.position,
            ),
        )

    def on_DraftAccepted(self, envelope: Envelope) -> None:
        event = envelope.event
        assert isinstance(event, DraftAccepted)
        self._enter_draft(
            envelope,
            event.candidate,
            DraftRow(
                event.role, event.round, event.attempt, event.block, None, (), event.notes, envelope.position
            ),
        )

    def _enter_draft(self, envelope: Envelope, id: str, row: DraftRow) -> None:
        self._change(envelope, id, stage=Stage.DESIGNING)
        if id in self._lives:
            self._lives[id].drafts.append(row)

    def on_DesignReady(self, envelope: Envelope) -> None:
        event = envelope.event
        assert isinstance(event, DesignReady)
        self._change(
            envelope,
            event.candidate,
            stage=Stage.DESIGNED,
            design=event.design,
            digest=event.digest,
            width=event.width,
            params=event.params,
            macs=event.macs,
        )
        self._enter_design(envelope, event)

    def on_DesignAbandoned(self, envelope: Envelope) -> None:
        event = envelope.event
        assert isinstance(event, DesignAbandoned)
        self._change(envelope, event.candidate, stage=Stage.ABANDONED, reason=event.reason)

    def on_TrainingRequested(self, envelope: Envelope) -> None:
        event = envelope.event
        assert isinstance(event, TrainingRequested)
        self._jobs[event.job] = event.candidate
        self._change(envelope, event.candidate, stage=Stage.QUEUED)

    def on_TrainingStarted(self, envelope: Envelope) -> None:
        event = envelope.event
        assert isinstance(event, TrainingStarted)
        candidate = self._jobs.get(event.job)
        if candidate is not None:
            self._change(envelope, candidate, stage=Stage.TRAINING)

    def on_CandidateTrained(self, envelope: Envelope) -> None:
        event = envelope.event
        assert isinstance(event, CandidateTrained)
        figures = event.model_dump(exclude={"candidate", "digest"})
        self._change(
            envelope, event.candidate, stage=self._end(event.candidate, Stage.TRAINED), failure="", reason="",
            **figures,
        )  # fmt: skip

    def on_CandidateFailed(self, envelope: Envelope) -> None:
        event = envelope.event
        assert isinstance(event, CandidateFailed)
        stage = self._end(event.candidate, Stage.FAILED)
        self._change(envelope, event.candidate, stage=stage, failure=event.kind, reason=event.message)

    def _end(self, id: str, stage: Stage) -> Stage:
        """Where a training leaves a candidate: one that was recognised as a duplicate meanwhile stays one."""
        life = self._lives.get(id)
        found = life.at(None) if life is not None else None
        return stage if found is None or found.original is None else Stage.DUPLICATE

    def on_ReflectionRequested(self, envelope: Envelope) -> None:
        self._change(envelope, envelope.data()["candidate"])

    def on_CandidateClosed(self, envelope: Envelope) -> None:
        event = envelope.event
        assert isinstance(event, CandidateClosed)
        self._change(envelope, event.candidate, outcome=event.outcome)


__all__ = ["Candidate", "DraftRow", "RoundState", "Stage", "Tree"]
