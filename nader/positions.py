"""What a person's words mean in a run: which candidate, and which position of its history."""

import difflib
import re
import time
from dataclasses import dataclass
from datetime import datetime

from actors.history import History
from events import is_time
from events.training import RetrainingRecorded
from nader.errors import WorkspaceError
from nader.workspace import fold
from store.projections import Views
from store.projections.tree import Candidate
from store.reader import Reader

BASE = "base"
STAGES: dict[str, tuple[str, ...]] = {
    "proposed": ("ProposalMade", "BaseDesigned"),
    "designed": ("DesignReady", "DesignAbandoned", "BaseDesigned"),
    "queued": ("TrainingRequested",),
    "trained": ("CandidateTrained", "CandidateFailed"),
    "closed": ("CandidateClosed",),
}
"""A candidate's stages, and the events that mark them."""
_CLOCK = re.compile(r"([0-9]{1,2}):([0-9]{2})(?::([0-9]{2}))?")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:.([0-9:.,]*).*)?")


class PositionError(WorkspaceError):
    """Words that name no position of this run."""


def find_candidate(views: Views, name: str, upto: int | None = None) -> Candidate:
    """The candidate of that name, or `best`, as of a position. Raises WorkspaceError with the nearest
    names."""
    if name == "best":
        best = views.best(upto)
        if best is None:
            raise WorkspaceError("no candidate has a result yet, so none is the best")
        return best
    candidate = views.tree.candidate(name, upto)
    if candidate is not None:
        return candidate
    names = [known.id for known in views.tree.candidates(upto)]
    near = difflib.get_close_matches(name, names, 3, 0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(names[:8]) or 'none'}"
    more = f", … ({len(names)} in all)" if not near and len(names) > 8 else ""
    raise WorkspaceError(f"this run has no candidate {name!r}; {hint}{more}")


def find_position(
    words: str, log: Reader, branch: str, views: Views, history: History, *, first: bool = False
) -> int:
    """The position that words name in a branch's history.

    A number; `head`; a candidate or `best` (the last event of its making); `CANDIDATE:STAGE` with a stage of
    `STAGES`; or a time (ISO 8601, or HH:MM of the day of the last event; local unless it says otherwise): the
    last event by its end (14:30 lasts until 14:31), or, with `first`, the first event from its beginning on.

    Raises PositionError with one sentence.
    """
    words = words.strip()
    plain = _plain(words, log, branch, first)
    if plain is not None:
        return plain
    name, colon, stage = words.partition(":")
    if colon and stage not in STAGES:
        near = difflib.get_close_matches(stage, STAGES, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"stages are {', '.join(STAGES)}"
        raise PositionError(f"there is no stage {stage!r} of a candidate; {hint}")
    try:
        candidate = find_candidate(views, name)
    except WorkspaceError as error:
        raise PositionError(
            f"{words!r} is no position: give a number, `head`, `best`, a candidate or a time ({error})"
        ) from None
    return _of_candidate(candidate.id, stage, history)


def position_of(words: str, log: Reader, branch: str) -> int:
    """As `find_position`, of a run that is not folded: it is folded here if the words name a candidate.

    Raises PositionError, WorkspaceError.
    """
    words = words.strip()
    plain = _plain(words, log, branch)
    if plain is not None:
        return plain
    return find_position(words, log, branch, *fold(log, branch, epochs=False))


def _plain(words: str, log: Reader, branch: str, first: bool = False) -> int | None:
    """The position of words that name no candidate: a number, `head`, a time."""
    if re.fullmatch(r"[0-9]+", words):
        return number_in(int(words[:18]), log, branch)
    if words == "head":
        return log.head(branch).position
    span = _span(words, log, branch)
    return None if span is None else _by_time(span, log, branch, first)


def number_in(position: int, log: Reader, branch: str) -> int:
    """A number, if it is a position of the run; else raises PositionError with those that there are."""
    head = log.head(branch).position
    if not 1 <= position <= head:
        raise PositionError(f"this run has positions 1 to {head}; there is no {position}")
    return position


def _of_candidate(candidate: str, stage: str, history: History) -> int:
    types = STAGES[stage] if stage else None
    found = [
        event.position
        for event in history.events
        if event.correlation == candidate
        and (event.type in types if types is not None else event.type != RetrainingRecorded.__name__)
    ]
    if not found:
        raise PositionError(
            f"{candidate} has not been {stage} in this run" if stage else f"nothing is about {candidate}"
        )
    return found[-1]


@dataclass(frozen=True)
class _Span:
    """A time as a person gives it: it lasts as long as what it leaves open. Seconds since the epoch."""

    begin: float
    end: float


def _span(words: str, log: Reader, branch: str) -> _Span | None:
    """The time that the words are, if they are one. Raises PositionError where they cannot be."""
    full = words
    if clock := _CLOCK.fullmatch(words):
        full = f"{_last_day(log, branch)}T{int(clock[1]):02}:{words.partition(':')[2]}"
    dated = _DATE.fullmatch(full)
    if dated is None:
        return None
    try:
        begin = datetime.fromisoformat(full)
        moment = begin.timestamp()
    except (ValueError, OverflowError):
        raise PositionError(f"{words!r} is no time: write 2026-03-01T14:30, 2026-03-01 or 14:30") from None
    if moment > time.time():
        raise PositionError(f"{begin:%Y-%m-%d %H:%M:%S} is still to come; `head` is the last event there is")
    clock_time = dated[1] or ""
    exact = "." in clock_time or "," in clock_time
    lasts = 0.0 if exact else (86400.0, 3600.0, 60.0, 1.0)[bool(clock_time) + clock_time.count(":")]
    return _Span(moment, moment + lasts)


def _last_day(log: Reader, branch: str) -> str:
    """The local day of the last event, which a time without a day is of."""
    head = log.head(branch).position
    at = next((e.time for e in log.read(branch, head - 1) if is_time(e.time)), time.time())
    return f"{datetime.fromtimestamp(at):%Y-%m-%d}"


def _by_time(span: _Span, log: Reader, branch: str, first: bool) -> int:
    last = 0
    for envelope in log.read(branch):
        if first and envelope.time >= span.begin:
            return envelope.position
        if envelope.time >= span.end and envelope.time > span.begin:
            break
        last = envelope.position
    if first:
        raise PositionError("nothing has happened in this run since then")
    if not last:
        raise PositionError("this run had not begun by then")
    return last
