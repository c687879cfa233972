"""What a running campaign's display shows, as values: computed from projections, drawn elsewhere."""

from collections.abc import Mapping
from dataclasses import dataclass

from nader.settings import CampaignSettings
from nader.training import Progress
from store.projections import Views
from store.projections.ledger import Totals
from store.projections.status import TrainingProgress
from store.projections.tree import Candidate, Stage


@dataclass(frozen=True)
class Working:
    """A candidate that something is being done about."""

    candidate: str
    parent: str
    stage: str
    detail: str
    fraction: float | None
    """Share of its training that is done; None outside of training."""


@dataclass(frozen=True)
class Snapshot:
    """A campaign at one moment."""

    run: str
    designer: str
    dataset: str
    wanted: int
    """Designs to train besides the base."""
    settled: int
    """Of these, those whose training is over."""
    working: tuple[Working, ...]
    base: Candidate | None
    best: Candidate | None
    totals: Totals
    budget: float
    """US dollars; 0 for no cap."""
    elapsed: float
    """Seconds of this process."""
    left: float | None
    """Estimated seconds to the end; None while there is nothing to judge by."""
    failures: int


_ORDER = {Stage.TRAINING: 0, Stage.QUEUED: 1, Stage.DESIGNED: 2, Stage.DESIGNING: 3, Stage.PROPOSED: 4}


def snapshot(
    run: str,
    views: Views,
    settings: CampaignSettings,
    progress: Mapping[str, Progress],
    *,
    elapsed: float,
    settled_before: int,
) -> Snapshot:
    """The campaign now; `elapsed` and `settled_before` are of this process, for the estimate of what is
    left."""
    candidates = views.tree.candidates()
    settled = sum(c.settled and c.stage is not Stage.DUPLICATE and c.parent is not None for c in candidates)
    trainings = {training.candidate: training for training in reversed(views.status.trainings())}
    working = sorted(
        (c for c in candidates if c.stage in _ORDER and not c.settled),
        key=lambda c: (_ORDER[c.stage], c.place),
    )
    wanted = settings.search.candidates
    return Snapshot(
        run,
        views.status.designer(),
        settings.training.dataset,
        wanted,
        settled,
        tuple(_working(c, views, trainings.get(c.id), progress) for c in working),
        views.tree.candidate("base"),
        views.tree.best(objective=settings.search.objective),
        views.ledger.totals(),
        settings.budget.money,
        elapsed,
        _left(elapsed, settled - settled_before, wanted - settled),
        len(views.status.failures()),
    )


def _left(elapsed: float, done: int, remaining: int) -> float | None:
    """What is left, at the pace of this process so far."""
    if remaining <= 0:
        return 0.0
    return elapsed / done * remaining if done >= 2 else None


def _working(
    candidate: Candidate, views: Views, training: TrainingProgress | None, progress: Mapping[str, Progress]
) -> Working:
    detail, fraction, stage = "", None, candidate.stage.value
    if candidate.stage in (Stage.PROPOSED, Stage.DESIGNING):
        drafts = views.tree.drafts(candidate.id)
        last = drafts[-1] if drafts else None
        stage = "designing"
        if last is not None:
            outcome = "accepted" if last.problems is None else f"rejected ({', '.join(last.codes[:2])})"
            detail = f"{last.role}, draft {len(drafts)} {outcome}"
    elif training is not None:
        said = progress.get(training.job)
        if said is not None or training.slot is not None:
            stage, fraction = Stage.TRAINING.value, said.fraction if said is not None else 0.0
            detail = said.stage if said is not None and not said.fraction else ""
        if training.epoch is not None and training.epochs:
            fraction = max(fraction or 0.0, training.epoch / training.epochs)
            detail = f"epoch {training.epoch}/{training.epochs}, loss {training.loss:.3f}"
    return Working(candidate.id, candidate.parent or "", stage, detail, fraction)
