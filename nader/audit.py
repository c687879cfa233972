"""Answers from the log alone: why a candidate was made, how its life went, and where two runs part.

Pure functions over projections and history; they decide nothing and print nothing.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

from actors.divergence import first_difference
from actors.history import History
from events import Envelope
from store.projections import Views
from store.projections.ledger import Totals
from store.projections.tree import Candidate
from store.reader import Reader

MEASURED = frozenset(
    {"latency", "latency_ms", "seconds", "cost", "peak_memory", "attempts", "reused", "source"}
)
"""Fields of events that measure the world: two runs that decide alike may differ in them."""


# ---- why
# -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Why:
    """Why a candidate was made."""

    candidate: Candidate
    chain: tuple[Envelope, ...]
    """From the event that proposed it, cause by cause, up to the campaign's first event."""
    ancestors: tuple[Candidate, ...]
    """Its parent, that one's parent, and so on up to the base."""
    inspiration: Any | None
    """The inspiration it follows, as the knowledge base has it; None for the base and for a model's own
    ideas."""
    ranked: Envelope | None
    """The ranking that put the inspiration forward."""
    parent_chosen: Envelope | None
    """The choice of its parent."""
    spent: Totals


def why(views: Views, history: History, candidate: Candidate, upto: int | None = None) -> Why:
    """The causation chain of a candidate up to the campaign's start, with its inspiration and its cost."""
    about = [
        e for e in history.events if e.correlation == candidate.id and (upto is None or e.position <= upto)
    ]
    origin = next((e for e in about if e.type in ("ProposalMade", "BaseDesigned")), None)
    known = views.knowledge.inspiration(candidate.inspiration, upto) if candidate.inspiration else None
    return Why(
        candidate,
        tuple(chain(origin, history)) if origin else (),
        tuple(_ancestors(views, candidate, upto)),
        known,
        _of_round(history, "InspirationsRanked", candidate.round),
        _of_round(history, "ParentChosen", candidate.round),
        views.ledger.by_candidate(upto).get(candidate.id, Totals()),
    )


def chain(event: Envelope | None, history: History) -> Iterable[Envelope]:
    """An event, its cause, the cause of that, up to one without a cause, then the campaign's first event."""
    last = event
    while event is not None:
        yield event
        last, cause = event, event.causation
        event = (
            history.at(cause) if cause is not None and cause < event.position else None
        )  # never in circles
    first = history.events[0] if history.events else None
    if first is not None and last is not None and last.position != first.position:
        yield first


def _ancestors(views: Views, candidate: Candidate, upto: int | None) -> Iterable[Candidate]:
    parent = candidate.parent
    while parent is not None:
        above = views.tree.candidate(parent, upto)
        if above is None:
            return
        yield above
        parent = above.parent


def _of_round(history: History, type_name: str, number: int) -> Envelope | None:
    if number < 1:
        return None
    return next((e for e in history.events if e.type == type_name and e.data().get("round") == number), None)


# ---- trace
# ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Moment:
    """A step in a candidate's life."""

    event: Envelope
    since: float
    """Seconds after the first moment."""
    repeated: int = 1
    """How many progress events in a row it stands for: the epochs of a training are one moment, the last
    of them."""


def trace(log: Reader, branch: str, candidate: str, upto: int | None = None) -> tuple[Moment, ...]:
    """All that happened to a candidate, in order; runs of epochs are drawn together."""
    moments: list[Moment] = []
    for envelope in log.read(branch, upto=upto):
        if envelope.correlation != candidate:
            continue
        since = envelope.time - moments[0].event.time if moments else 0.0
        if envelope.type == "EpochFinished":
            before = _same_training(moments, envelope)
            if before is not None:
                moments[before] = Moment(envelope, since, moments[before].repeated + 1)
                continue
        moments.append(Moment(envelope, since))
    return tuple(moments)


def _same_training(moments: Sequence[Moment], envelope: Envelope) -> int | None:
    """The moment that holds the epochs of the same training so far, if nothing but epochs came since."""
    job = envelope.data()["job"]
    for index in range(len(moments) - 1, -1, -1):
        event = moments[index].event
        if event.type != "EpochFinished":
            return None
        if event.data()["job"] == job:
            return index
    return None


# ---- diff
# ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Decision:
    """The first thing that both runs did, and did differently."""

    actor: str
    type: str
    positions: tuple[int, int]
    path: str
    values: tuple[Any, Any]


@dataclass(frozen=True)
class Side:
    """What one of two runs did after they part."""

    run: str
    events: int
    """Events after the parting."""
    settings: dict[str, Any]
    """Settings (dotted) whose values differ from the other's, with this one's."""
    designer: str
    candidates: tuple[Candidate, ...]
    """Those that were proposed, designed, trained or given up after the parting, in order."""
    best: Candidate | None
    spent: Totals
    """After the parting."""


@dataclass(frozen=True)
class Diff:
    """Where two runs part, and what each found."""

    shared: int
    """The last position they have in common; 0 if they have no history in common."""
    sides: tuple[Side, Side]
    first: Decision | None
    """The first decision after the parting that both made, and made differently."""
    same_designs: tuple[tuple[str, str], ...]
    """Pairs of candidates, one of each side and each designed after the parting, with the same canonical
    digest.
    """


def diff(
    logs: tuple[Reader, Reader],
    runs: tuple[str, str],
    folded: tuple[tuple[Views, History], tuple[Views, History]],
) -> Diff:
    """Compare two runs, which may lie in one log or in two."""
    shared = shared_position(logs, runs)
    after = tuple([e for e in history.events if e.position > shared] for _, history in folded)
    heads = [log.head(run).position for log, run in zip(logs, runs, strict=True)]
    sides = tuple(
        _side(runs[n], folded[n][0], folded[1 - n][0], after[n], (shared, heads[n])) for n in (0, 1)
    )
    digests = [_designed(side.candidates, events) for side, events in zip(sides, after, strict=True)]
    same = tuple((digests[0][key], digests[1][key]) for key in digests[0] if key in digests[1])
    return Diff(shared, (sides[0], sides[1]), _first_decision(after[0], after[1]), same)


def shared_position(logs: tuple[Reader, Reader], runs: tuple[str, str]) -> int:
    """The last position that two histories have in common.

    The hashes tell it: equal hashes at a position mean equal histories up to it, in one log or in two. The
    lineages of one log would not do, because a history that was imported under another name is there twice.
    """
    low, high = 0, min(log.head(run).position for log, run in zip(logs, runs, strict=True))
    while low < high:
        middle = (low + high + 1) // 2
        equal = logs[0].at(runs[0], middle).hash == logs[1].at(runs[1], middle).hash
        low, high = (middle, high) if equal else (low, middle - 1)
    return low


_DESIGNED = ("BaseDesigned", "DesignReady")
_FOUND = (
    *_DESIGNED,
    "ProposalMade",
    "DuplicateRecognised",
    "DesignAbandoned",
    "CandidateTrained",
    "CandidateFailed",
)
"""Events by which a candidate comes to something."""


def _side(run: str, views: Views, other: Views, after: Sequence[Envelope], stretch: tuple[int, int]) -> Side:
    """One side, whose own stretch of history goes from the shared position to its head. Its length is no
    number of `after`: a fold may leave epochs out.
    """
    mine, theirs = (dict(flat(side.status.settings())) for side in (views, other))
    own = {e.data()["candidate"] for e in after if e.type in _FOUND}
    shared, head = stretch
    return Side(
        run,
        head - shared,
        {
            key: mine.get(key)
            for key in sorted(mine.keys() | theirs.keys())
            if mine.get(key) != theirs.get(key)
        },
        views.status.designer(),
        tuple(candidate for candidate in views.tree.candidates() if candidate.id in own),
        views.best(),
        _since(views, shared),
    )


def _designed(candidates: Sequence[Candidate], after: Sequence[Envelope]) -> dict[str, str]:
    """The first of the candidates of each digest, of those that were designed in `after`."""
    new = {e.data()["candidate"] for e in after if e.type in _DESIGNED}
    return {c.digest: c.id for c in reversed(candidates) if c.digest and c.id in new}


def _since(views: Views, position: int) -> Totals:
    """What was spent after a position."""
    whole, before = views.ledger.totals(), views.ledger.totals(position)
    return Totals(*(getattr(whole, field.name) - getattr(before, field.name) for field in fields(Totals)))


def _first_decision(first: Sequence[Envelope], second: Sequence[Envelope]) -> Decision | None:
    """Of all that both runs did after the parting, the first whose content differs.

    Two events are the same act if they are the n-th of their type by the same actor about the same candidate
    or round: whatever the timing, an actor does these in order.
    """
    others = dict(_acts(second))
    for act, mine in _acts(first):
        theirs = others.get(act)
        if theirs is None:
            continue
        found = first_difference(_decided(mine), _decided(theirs))
        if found is not None:
            positions = (mine.position, theirs.position)
            return Decision(mine.actor, mine.type, positions, found.path, (found.recorded, found.computed))
    return None


def _acts(events: Sequence[Envelope]) -> Iterator[tuple[tuple[str, str, str | None, int], Envelope]]:
    """Events that came of a decision, by what they are the n-th of."""
    seen: Counter[tuple[str, str, str | None]] = Counter()
    for envelope in events:
        if envelope.effect_key is not None:
            what = (envelope.actor, envelope.type, envelope.correlation)
            seen[what] += 1
            yield (*what, seen[what]), envelope


def _decided(envelope: Envelope) -> dict[str, Any]:
    return {key: value for key, value in envelope.data().items() if key not in MEASURED}


def flat(values: dict[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    """Nested settings as (dotted key, value)."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
