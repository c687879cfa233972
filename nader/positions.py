"""What a person's words mean in a run: which candidate, and which position of its history."""

import difflib
import re
from datetime import date, datetime, time

from actors.history import History
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
_CLOCK = re.compile(r"(\d{1,2}):(\d{2})(?::(\d{2}))?\Z")


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


def find_position(words: str, log: Reader, branch: str, views: Views, history: History) -> int:
    """The position that words name in a branch's history.

    A number; `head`; a candidate or `best` (the last event about it); `CANDIDATE:STAGE` with a stage of
    `STAGES`; or a time (ISO 8601, or HH:MM of today; local unless it says otherwise): the last event by then.

    Raises PositionError with one sentence.
    """
    words = words.strip()
    plain = _plain(words, log, branch)
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


def _plain(words: str, log: Reader, branch: str) -> int | None:
    """The position of words that name no candidate: a number, `head`, a time."""
    if re.fullmatch(r"[0-9]+", words):
        return _number(int(words[:18]), log.head(branch).position)
    if words == "head":
        return log.head(branch).position
    moment = _moment(words)
    return None if moment is None else _by_time(moment, log, branch)


def _number(position: int, head: int) -> int:
    if not 1 <= position <= head:
        raise PositionError(f"this run has positions 1 to {head}; there is no {position}")
    return position


def _of_candidate(candidate: str, stage: str, history: History) -> int:
    types = STAGES[stage] if stage else None
    found = [
        event.position
        for event in history.events
        if event.correlation == candidate and (types is None or event.type in types)
    ]
    if not found:
        raise PositionError(
            f"{candidate} has not been {stage} in this run" if stage else f"nothing is about {candidate}"
        )
    return found[-1]


def _moment(words: str) -> float | None:
    """Seconds since the epoch, if the words are a time."""
    clock = _CLOCK.match(words)
    try:
        if clock:
            hour, minute, second = (int(part or 0) for part in clock.groups())
            return datetime.combine(date.today(), time(hour, minute, second)).timestamp()
        if re.match(r"\d{4}-\d{2}-\d{2}", words):
            return datetime.fromisoformat(words).timestamp()
    except ValueError:
        raise PositionError(f"{words!r} is no time: write 2026-03-01T14:30 or 14:30") from None
    return None


def _by_time(moment: float, log: Reader, branch: str) -> int:
    last = 0
    for envelope in log.read(branch):
        if envelope.time > moment:
            break
        last = envelope.position
    if not last:
        raise PositionError("this run had not begun by then")
    return last
