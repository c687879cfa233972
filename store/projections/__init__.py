"""The folds over a log that make up a campaign's state: tree, knowledge, experience, ledger, status.

Cost model: an event that no projection handles costs one look-up, so that a log made of epochs rebuilds as
fast as it reads.
"""

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from events.envelope import Envelope
from store.projections.base import Blob, Handler, Library
from store.projections.experience import Experience
from store.projections.knowledge import Knowledge
from store.projections.ledger import Ledger
from store.projections.objective import DEFAULT, ObjectiveError, parse_objective
from store.projections.status import Status
from store.projections.tree import Candidate, Tree


class Views:
    """All projections of one history, fed together."""

    def __init__(self, blob: Blob, library: Library | None = None) -> None:
        """`blob` reads a blob by digest; `library` reads the history of a library's branch up to a
        position.
        """
        self.tree = Tree()
        self.knowledge = Knowledge(blob, library)
        self.experience = Experience(blob)
        self.ledger = Ledger()
        self.status = Status()
        self.position = 0
        """Of the last event applied."""
        self._handlers: dict[str, list[Handler]] = {}
        for projection in (self.tree, self.knowledge, self.experience, self.ledger, self.status):
            for name, handler in projection.handlers.items():
                self._handlers.setdefault(name, []).append(handler)

    def apply(self, envelope: Envelope) -> None:
        """Take in the next event of the history."""
        self.position = envelope.position
        for handler in self._handlers.get(envelope.type, ()):
            handler(envelope)

    def apply_many(self, envelopes: Iterable[Envelope]) -> None:
        """Take in a stretch of the history, in order."""
        for envelope in envelopes:
            self.apply(envelope)

    def objective(self, upto: int | None = None) -> str:
        """What the search maximises, by the settings in force."""
        found: str = self.status.settings(upto).get("search", {}).get("objective") or DEFAULT
        try:
            parse_objective(found)
        except ObjectiveError:  # no search could use it, and the log is still to be looked at
            return DEFAULT
        return found

    def best(self, upto: int | None = None) -> Candidate | None:
        """The best candidate by the search's own objective; None while none has a result."""
        return self.tree.best(upto, objective=self.objective(upto))

    def state(self, upto: int | None = None) -> dict[str, Any]:
        """All that the projections say as of a position, as plain JSON values: two folds that agree here
        agree.

        What a running training has reached is left out: of its epochs only the newest is remembered.
        """
        tree, knowledge, ledger, status = self.tree, self.knowledge, self.ledger, self.status
        finished, paused, forked = status.finished(upto), status.paused(upto), status.forked(upto)
        ids, vectors = knowledge.matrix(upto)
        return {
            "tree": {
                "candidates": [asdict(c) for c in tree.candidates(upto)],
                "drafts": {
                    c.id: [asdict(d) for d in tree.drafts(c.id, upto=upto)] for c in tree.candidates(upto)
                },
                "rounds": [
                    {
                        "round": r.round,
                        "visible": r.visible,
                        "designed": r.designed and r.designed.model_dump(mode="json"),
                        "closed": r.closed,
                        "position": r.position,
                    }
                    for r in tree.rounds(upto)
                ],
                "parents": tree.parents_chosen(upto),
                "best": getattr(tree.best(upto), "id", None),
            },
            "knowledge": {
                "inspirations": [asdict(row) for row in knowledge.all(upto)],
                "indexed": ids,
                "vectors": [round(float(x), 6) for x in vectors.sum(axis=1)] if len(ids) else [],
                "lessons": [
                    {k: v for k, v in vars(row).items() if k != "vector"} for row in knowledge.lessons(upto)
                ],
            },
            "experience": [asdict(row) for row in self.experience.all(upto)],
            "ledger": {
                "totals": asdict(ledger.totals(upto)),
                "agents": {name: asdict(t) for name, t in ledger.by_agent(upto).items()},
                "models": {name: asdict(t) for name, t in ledger.by_model(upto).items()},
                "candidates": {name: asdict(t) for name, t in ledger.by_candidate(upto).items()},
                "open": [asdict(request) for request in ledger.open_requests(upto)],
            },
            "status": {
                "settings": status.settings(upto),
                "designer": status.designer(upto),
                "finished": finished and finished.model_dump(mode="json"),
                "paused": paused and paused.model_dump(mode="json"),
                "forked": forked and forked.model_dump(mode="json"),
                "failures": [f.model_dump(mode="json") for f in status.failures(upto)],
                "trainings": [t.position for t in status.trainings(upto)],
            },
        }


__all__ = ["Blob", "Library", "Views"]
