"""What must hold of any log, whatever the agents decided: who may write what, and what belongs to what.

A replay compares what agents emit. This is the rest, in one pass over every event of a history: each event
type has its authors; a cause comes before its effect; a request has one end, by its effector, under its key;
progress is of an open request, in order; failures are counted; what comes from outside stands where the
program puts it (`nader.outside`). Cost model: a few dictionary look-ups an event. Epochs, nine tenths of a
long log, come by themselves as plain rows, and each costs the reading of its small payload.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from actors.actor import Agent, Effector
from actors.director import BASE
from actors.divergence import Difference, causation_chain
from actors.gateway import Embedding, Gateway
from actors.history import OPERATOR, SUPERVISOR
from actors.keys import effect_key
from actors.papers import PaperTexts
from actors.runtime import ATTEMPTS
from actors.trainer import Training
from events import Envelope, EventError, decode, event_types
from events.campaign import HandlerFailed
from events.training import ResultReused, TrainingCompleted, TrainingStarted
from nader.forks import ANSWERED_BY
from nader.lost_calls import Losses, is_loss
from nader.outside import Elsewhere, Outside

EFFECTORS: tuple[type[Effector], ...] = (Gateway, Embedding, Training, PaperTexts)

_D, _P, _M, _T, _R = "director", "proposer", "modifier", "trainer", "reflector"
_READER, _LIBRARIAN = "reader", "librarian"

AUTHORS: Mapping[str, frozenset[str]] = {
    name: frozenset(authors)
    for names, authors in (
        ("CampaignStarted CampaignPaused CampaignResumed SettingsChanged Forked", [OPERATOR]),
        ("ReadingStarted PaperFound RetrainingRecorded InspirationRepeated", [OPERATOR]),
        ("HandlerFailed", [SUPERVISOR]),
        ("BaseDesigned RoundOpened RoundClosed CampaignFinished", [_D]),
        ("RoundDesigned ParentChosen InspirationsRanked ProposalMade DuplicateRecognised", [_P]),
        ("DraftRejected DraftAccepted DesignReady DesignAbandoned", [_M]),
        ("TrainingRequested CandidateTrained CandidateFailed", [_T]),
        ("LessonRecorded CandidateClosed", [_R]),
        ("ReflectionRequested", [_D, OPERATOR]),
        ("ExperienceRecorded", [_R, OPERATOR]),
        ("LibraryAttached PaperTextRequested PaperJudged InspirationsExtracted", [_READER]),
        ("PaperFinished", [_LIBRARIAN]),
        ("InspirationRecorded KnowledgeIndexed", [_READER, _LIBRARIAN, OPERATOR]),
        ("InspirationMerged", [_LIBRARIAN, OPERATOR]),
        ("ChatRequested", [_P, _M, _R, _READER]),
        ("EmbeddingRequested", [_M, _R, _READER, _LIBRARIAN, OPERATOR]),
        ("ChatAttempted ChatCompleted ChatFailed ChatCancelled", [Gateway.name]),
        ("EmbeddingAttempted EmbeddingCompleted EmbeddingFailed EmbeddingCancelled", [Embedding.name]),
        ("TrainingStarted EpochFinished", [Training.name]),
        ("TrainingCompleted ResultReused TrainingFailed TrainingCancelled", [Training.name]),
        ("PaperTextRead PaperTextFailed", [PaperTexts.name]),
    )
    for name in names.split()
}
"""The actors that may write an event of each type."""

ECHOES: Mapping[str, tuple[str, ...]] = {
    "ChatCompleted": ("backend",),
    "EmbeddingCompleted": ("embedder", "dimension", "count"),
    **dict.fromkeys(
        ("TrainingCompleted", "ResultReused", "TrainingFailed", "TrainingCancelled", "TrainingStarted"),
        ("job",),
    ),
    **dict.fromkeys(("PaperTextRead", "PaperTextFailed"), ("paper",)),
}
"""Fields of an answer, or of progress, that say again what the request said."""

_PROGRESS_OF = {"Chat": "ChatRequested", "Embe": "EmbeddingRequested"}
_SESSIONS = frozenset({"CampaignStarted", "CampaignResumed", "Forked", "ReadingStarted", "CampaignFinished"})
"""After each of these a process may have begun anew: tries and epochs are counted afresh."""
EpochRow = tuple[int, int, str, int | None, str | None, str | None, str | None, str]
"""Position, version, actor, causation, correlation, effect key, input digest and payload of an epoch."""
NO_COLUMN = "(nothing)"


@dataclass(slots=True)
class _Open:
    """A request to an effector, until its end is met."""

    request: Envelope
    session: int
    last: int = 0
    """The newest try in this session."""
    starts: list[tuple[int, int]] = field(default_factory=list)
    """Of a training: position and first epoch of each start."""
    end: int | None = None
    """Of a training: position of its end."""
    epochs: int | None = None
    """Of a training that began in the session it ended in: its last epoch."""


class Structure:
    """One pass: `see` every event but epochs in order, then `see_epochs`, then `finish`."""

    def __init__(self, elsewhere: Elsewhere, agents: Sequence[Agent]) -> None:
        """`elsewhere` is the rest of the file."""
        types = event_types()
        self.differences: list[Difference] = []
        self.newest: Envelope | None = None
        """The event that was seen last."""
        self._events: dict[int, Envelope] = {}
        """All that were seen, but for progress."""
        self._at = self._events.get
        self._outside = Outside(self._at, elsewhere, self._differs)
        self._losses = Losses(self._at, elsewhere.blob)
        self._handled = {agent.name: frozenset(agent.handled) for agent in agents}
        self._handled |= {effector.name: frozenset(effector.handled) for effector in EFFECTORS}
        self._serial = {a.name: 0 for a in agents if a.serial}
        """Position of the newest cause that each serial agent has acted on."""
        self._effector = {name: e for e in EFFECTORS for name in e.handled}
        self._effectors = frozenset(e.name for e in EFFECTORS)
        self._terminal = {name: frozenset(types[name].terminal) for name in self._effector}
        self._progress = frozenset(name for name, cls in types.items() if cls.progress)
        self._open: dict[int, _Open] = {}
        self._trainings: dict[int, _Open] = {}
        """Every request for a training, open or ended."""
        self._to_cancel: set[int] = set()
        """Requests that the fork under way has still to cancel."""
        self._keys: set[str] = set()
        self._failures: dict[tuple[str, int], HandlerFailed] = {}
        """The newest failure of each handling, by actor and cause."""
        self._seq = -1
        self._session = 0

    def see(self, e: Envelope) -> None:
        """Take in the next event of the history."""
        kind, cause = e.type, e.causation
        self.newest = e
        if kind == "EpochFinished":
            return
        self._losses.see(e, self._outside.settings, not self._outside.between_sessions)
        if e.actor not in AUTHORS.get(kind, ()):
            self._extra(e)
            return
        if e.seq <= self._seq:
            self._differs(e, "seq", e.seq, f"more than {self._seq}")
        self._seq = e.seq
        if cause is not None and not 0 < cause < e.position:
            self._differs(e, "causation", cause, "a position before its own")
            return
        if kind in self._progress:
            self._see_progress(e)
            return
        self._events[e.position] = e
        if e.effect_key is not None:
            if e.effect_key in self._keys:
                self._extra(e)
                return
            self._keys.add(e.effect_key)
        self._outside.see(e)
        if self._to_cancel and not self._outside.between_sessions:
            self._miss_cancellations()
        if kind in _SESSIONS:
            self._session += 1
        if e.actor in self._effectors:
            self._see_end(e)
        elif e.actor == SUPERVISOR:
            self._see_failure(e)
        elif e.actor in self._serial and cause is not None:
            if cause < self._serial[e.actor]:
                self._differs(e, "causation", cause, f"no cause before {self._serial[e.actor]}")
            self._serial[e.actor] = cause
        if kind == "Forked":
            self._to_cancel = self._due_to_cancel(e)
        if kind in self._effector:
            held = self._open[e.position] = _Open(e, self._session)
            if kind == "TrainingRequested":
                self._trainings[e.position] = held

    def finish(self) -> list[Difference]:
        """What the whole leaves to be said; returns all differences."""
        self._miss_cancellations()
        self._outside.finish()
        return self.differences

    # ---- requests, their progress and their ends

    def _see_progress(self, e: Envelope) -> None:
        if is_loss(e):
            self._see_loss(e)
            return
        wanted = _PROGRESS_OF.get(e.type[:4], "TrainingRequested")
        held = self._open.get(e.causation or 0)
        event: Any = e.event
        if held is None or held.request.type != wanted:
            self._extra(e)
            return
        about = held.request.correlation
        self._compare(e, (e.correlation, e.effect_key, e.input_digest), (about, None, None))
        if held.session != self._session:
            held.session, held.last = self._session, 0
        if isinstance(event, TrainingStarted):
            held.starts.append((e.position, event.first_epoch))
            self._compare_echoes(e, held.request)
        else:
            again = e.version == 1 and event.attempt == held.last  # a cap's own record of the same try
            if event.attempt != held.last + 1 and not again:
                self._differs(e, "$.attempt", event.attempt, held.last + 1)
            held.last = event.attempt

    def _see_loss(self, e: Envelope) -> None:
        """What a call may have cost that was under way when a process ended without a word."""
        taken = self._losses.take(e, self._outside.settings) if self._outside.between_sessions else None
        if taken is None:
            self._extra(e)
            return
        request, due = taken
        self._compare(e, (e.correlation, e.effect_key, e.input_digest), (request.correlation, None, None))
        for name in type(due).model_fields if due is not None else ():
            if name != "message" and getattr(e.event, name) != getattr(due, name):
                self._differs(e, f"$.{name}", getattr(e.event, name), getattr(due, name))

    def see_epochs(self, rows: Iterable[EpochRow]) -> None:
        """Every epoch of the history, after all other events of it: of a training that was started and has
        not ended, none left out, none twice.
        """
        newest: dict[int, tuple[int, int]] = {}
        """Of each request: the start under way, by its number, and the epoch last met."""
        for row in rows:
            position, version, actor, cause, about, key, digest, payload = row
            held = self._trainings.get(cause or 0)
            try:
                point: Any = decode("EpochFinished", version, payload)
            except EventError as error:
                self._epoch_differs(row, "changed", "$", payload, str(error))
                continue
            number, last = newest.get(cause or 0, (0, -1))
            if held is None or actor != Training.name or not held.request.position < position:
                self._epoch_differs(row, "extra", "$", payload, None)
                continue
            starts = held.starts
            while number < len(starts) and starts[number][0] < position:
                last = starts[number][1] - 1
                number += 1
            newest[held.request.position] = number, point.epoch
            request = held.request
            recorded = about, key, digest, point.job, point.epoch
            due = last + 1 if number else "an epoch of a training that was started"
            computed = request.correlation, None, None, request.event.job, due  # type: ignore[attr-defined]
            if recorded != computed:
                paths = "correlation", "effect_key", "input_digest", "$.job", "$.epoch"
                for path, old, new in zip(paths, recorded, computed, strict=True):
                    if old != new:
                        self._epoch_differs(row, "changed", path, old, new)
            if held.end is not None and position > held.end:
                self._epoch_differs(row, "extra", "$", payload, None)
        for position, held in self._trainings.items():
            _, last = newest.get(position, (0, 0))
            if held.epochs is not None and last != held.epochs and held.end is not None:
                place = (
                    held.end,
                    Training.name,
                    "EpochFinished",
                    "missing",
                    "$",
                    None,
                    f"epoch {held.epochs}",
                )
                self.differences.append(Difference(*place, causation_chain(held.request, self._at)))  # type: ignore[arg-type]

    def _see_end(self, e: Envelope) -> None:
        """An effector's end of a request."""
        held = self._open.get(e.causation or 0)
        if held is None or e.type not in self._terminal[held.request.type]:
            self._extra(e)
            return
        del self._open[held.request.position]
        self._to_cancel.discard(held.request.position)
        request, event = held.request, e.event
        due = (request.correlation, effect_key("terminal", e.actor, request, ""), request.input_digest)
        self._compare(e, (e.correlation, e.effect_key, e.input_digest), due)
        self._outside.see_end(e, request)
        self._compare_echoes(e, request)
        held.end = e.position
        if isinstance(event, TrainingCompleted | ResultReused):
            self._compare_curve(e, event)
        if isinstance(event, TrainingCompleted) and held.starts and held.session == self._session:
            held.epochs = event.epochs
        if getattr(event, "kind", "") == "internal":
            failure = self._failures.get((e.actor, request.position))
            error = failure.error if failure is not None and failure.final else NO_COLUMN
            if event.message != error:  # type: ignore[attr-defined]
                self._differs(e, "$.message", event.message, error)  # type: ignore[attr-defined]

    def _due_to_cancel(self, forked: Envelope) -> set[int]:
        """What is open at a fork that cancels; the base's training is issued again all the same."""
        if forked.event.open_requests != "cancel":  # type: ignore[attr-defined]
            return set()
        return {
            position
            for position, held in self._open.items()
            if held.request.type in ANSWERED_BY
            and (held.request.type, held.request.correlation) != ("TrainingRequested", BASE)
        }

    def _miss_cancellations(self) -> None:
        due, self._to_cancel = self._to_cancel, set()
        for position in sorted(due):
            request = self._events[position]
            chain = causation_chain(request, self._at)
            kind = f"cancellation of this {request.type}"
            place = (position, ANSWERED_BY[request.type], kind, "missing", "$", None, None)
            self.differences.append(Difference(*place, chain))  # type: ignore[arg-type]

    # ---- failures

    def _see_failure(self, e: Envelope) -> None:
        failed, cause = e.event, self._at(e.causation or 0)
        assert isinstance(failed, HandlerFailed)
        key = (failed.actor, e.causation or 0)
        if cause is None or cause.type not in self._handled.get(failed.actor, ()):
            self._extra(e)
            return
        held = self._open.get(cause.position)
        if failed.actor in self._effectors:
            if held is None:
                self._extra(e)
                return
            held.last = 0
        self._compare(e, (e.correlation, e.effect_key, e.input_digest), (cause.correlation, None, None))
        before = self._failures.get(key)
        due = 1 if before is None else before.attempt + 1
        if failed.attempt != due:
            self._differs(e, "$.attempt", failed.attempt, due)
        if failed.final != (failed.attempt >= ATTEMPTS):
            self._differs(e, "$.final", failed.final, not failed.final)
        self._failures[key] = failed

    # ---- differences

    def _compare_echoes(self, e: Envelope, request: Envelope) -> None:
        for name in ECHOES.get(e.type, ()):
            said, asked = getattr(e.event, name), getattr(request.event, name)
            # What was left open for one that the settings had named before is put to the one they name now.
            if said not in (asked, self._outside.in_force(name)):
                self._differs(e, f"$.{name}", said, asked)

    def _compare_curve(self, e: Envelope, result: TrainingCompleted | ResultReused) -> None:
        """A result has a loss of each of its epochs, and the last of them is its own."""
        losses = result.losses
        if result.epochs != len(losses):
            self._differs(e, "$.epochs", result.epochs, len(losses))
        if losses and result.loss != losses[-1]:
            self._differs(e, "$.loss", result.loss, losses[-1])

    def _compare(self, e: Envelope, recorded: Sequence[Any], computed: Sequence[Any]) -> None:
        for column, old, new in zip(
            ("correlation", "effect_key", "input_digest"), recorded, computed, strict=True
        ):
            if old != new:
                self._differs(e, column, old, new)

    def _differs(self, e: Envelope, path: str, recorded: Any, computed: Any) -> None:
        self._note(e, "changed", path, recorded, computed)

    def _epoch_differs(self, row: EpochRow, kind: Any, path: str, recorded: Any, computed: Any) -> None:
        held = self._at(row[3] or 0)
        chain = (f"{row[0]} EpochFinished", *(causation_chain(held, self._at) if held is not None else ()))
        self.differences.append(
            Difference(row[0], row[2], "EpochFinished", kind, path, recorded, computed, chain)
        )

    def _extra(self, e: Envelope) -> None:
        self._note(e, "extra", "$", e.payload, None)

    def _note(self, e: Envelope, kind: Any, path: str, recorded: Any, computed: Any) -> None:
        chain = causation_chain(e, self._at)
        self.differences.append(
            Difference(e.position, e.actor, e.type, kind, path, recorded, computed, chain)
        )
