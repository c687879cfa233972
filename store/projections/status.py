"""Where a campaign stands: settings in force, how it began and ended, what is being trained.

Cost model: of a training's epochs only the newest envelope is kept, and decoded only if someone asks.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from events.campaign import (
    CampaignFinished,
    CampaignPaused,
    CampaignResumed,
    CampaignStarted,
    Forked,
    Ground,
    HandlerFailed,
    SettingsChanged,
)
from events.envelope import Envelope
from events.reading import ReadingStarted
from events.training import TrainingRequested
from store.projections.base import Projection

_Setting = CampaignStarted | SettingsChanged | ReadingStarted
"""What says which settings are in force; a library's stream begins with a reading, not a campaign."""


@dataclass(frozen=True)
class TrainingProgress:
    """A training that was asked for and has not ended."""

    job: str
    candidate: str
    seed: int
    position: int
    """Of the request."""
    slot: str | None
    """None while it waits for one."""
    epoch: int | None
    """Last finished; None before the first, or if only later ones are remembered."""
    epochs: int | None
    loss: float | None
    accuracy: float | None


@dataclass
class _Training:
    request: Envelope
    started: Envelope | None = None
    epoch: Envelope | None = None
    ended: int | None = None


class Status(Projection):
    """The campaign's state outside its tree, as of any position."""

    HANDLES: ClassVar[frozenset[str]] = frozenset(
        {
            "CampaignStarted",
            "ReadingStarted",
            "SettingsChanged",
            "CampaignPaused",
            "CampaignResumed",
            "CampaignFinished",
            "Forked",
            "HandlerFailed",
            "TrainingRequested",
            "TrainingStarted",
            "EpochFinished",
            "TrainingCompleted",
            "ResultReused",
            "TrainingFailed",
            "TrainingCancelled",
        }
    )

    def __init__(self) -> None:
        super().__init__()
        self._settings: list[tuple[int, _Setting]] = []
        self._for_pending: list[int] = []
        self._turns: list[
            tuple[int, CampaignFinished | CampaignPaused | CampaignResumed | SettingsChanged]
        ] = []
        """What ends a campaign, and what takes it up again."""
        self._started: Envelope | None = None
        self._forks: list[tuple[int, Forked]] = []
        self._failures: list[tuple[int, HandlerFailed]] = []
        self._trainings: dict[int, _Training] = {}
        """By the request's position, which its progress and its end name as their cause."""

    # ---- queries

    def started(self, upto: int | None = None) -> Envelope | None:
        """The campaign's first event, with its time."""
        return self._started if self._started is not None and _by(self._started.position, upto) else None

    def settings(self, upto: int | None = None) -> dict[str, Any]:
        """The settings in force; the same dict for the same event, so that callers may cache by identity."""
        event = self._in_force(upto)
        return {} if event is None else event.settings

    def settings_since(self, upto: int | None = None) -> int:
        """Position of the event that put the settings in force; 0 before the start."""
        known = self._known_settings(upto)
        return self._settings[known - 1][0] if known else 0

    def changes_for_pending(self, after: int) -> Sequence[int]:
        """Positions, in order, of changes after a position that hold for what had not begun, too."""
        return self._for_pending[bisect_right(self._for_pending, after) :]

    def ground(self, upto: int | None = None) -> Ground:
        """What the settings in force refer to outside the log. Raises LookupError before the campaign's
        start.
        """
        event = self._in_force(upto)
        if event is None or isinstance(event, ReadingStarted):
            raise LookupError("no campaign has started yet: it has no ground")
        return event.ground

    def prompts(self, upto: int | None = None) -> dict[str, str]:
        """Blob digests of prompt templates that stand in for the built-in ones, by name."""
        event = self._in_force(upto)
        if event is None:
            return {}
        return event.prompts if isinstance(event, ReadingStarted) else event.ground.prompts

    def designer(self, upto: int | None = None) -> str:
        """Who designs: `rule-based`, `inbox`, or the models in use; empty before the start."""
        event = self._in_force(upto)
        return "" if event is None else event.designer

    def finished(self, upto: int | None = None) -> CampaignFinished | None:
        """How the campaign ended; None while it goes on. Changed settings take an ended one up again."""
        for position, event in reversed(self._turns):
            if _by(position, upto) and not isinstance(event, CampaignPaused | CampaignResumed):
                return event if isinstance(event, CampaignFinished) else None
        return None

    def paused(self, upto: int | None = None) -> CampaignPaused | None:
        """Why the last process left; None while one is at work, or after the end."""
        for position, event in reversed(self._turns):
            if _by(position, upto):
                return event if isinstance(event, CampaignPaused) else None
        return None

    def forked(self, upto: int | None = None) -> Forked | None:
        """The last fork in this history; None for a branch of its own."""
        found = [event for position, event in self._forks if _by(position, upto)]
        return found[-1] if found else None

    def failures(self, upto: int | None = None) -> list[HandlerFailed]:
        """Handlers that raised, in order."""
        return [event for position, event in self._failures if _by(position, upto)]

    def trainings(self, upto: int | None = None) -> list[TrainingProgress]:
        """Trainings that are asked for and not ended, in the order they were asked for.

        Only the newest epoch of each is remembered: as of an earlier position its figures are None.
        """
        return [
            _progress(row, upto)
            for position, row in self._trainings.items()
            if _by(position, upto) and (row.ended is None or not _by(row.ended, upto))
        ]

    def _in_force(self, upto: int | None) -> _Setting | None:
        known = self._known_settings(upto)
        return self._settings[known - 1][1] if known else None

    def _known_settings(self, upto: int | None) -> int:
        if upto is None:
            return len(self._settings)
        return bisect_right(self._settings, upto, key=lambda row: row[0])

    # ---- the fold

    def on_CampaignStarted(self, envelope: Envelope) -> None:
        event = envelope.event
        assert isinstance(event, CampaignStarted)
        self._started = self._started or envelope
        self._settings.append((envelope.position, event))

    def on_ReadingStarted(self, envelope: Envelope) -> None:
        event = envelope.event
        assert isinstance(event, ReadingStarted)
        self._settings.append((envelope.position, event))

    def on_SettingsChanged(self, envelope: Envelope) -> None:
        event = envelope.event
        assert isinstance(event, SettingsChanged)
        self._settings.append((envelope.position, event))
        self._turns.append((envelope.position, event))
        if event.pending:
            self._for_pending.append(envelope.position)

    def _turn(self, envelope: Envelope) -> None:
        event = envelope.event
        assert isinstance(event, CampaignFinished | CampaignPaused | CampaignResumed)
        self._turns.append((envelope.position, event))

    on_CampaignFinished = on_CampaignPaused = on_CampaignResumed = _turn

    def on_Forked(self, envelope: Envelope) -> None:
        event = envelope.event
        assert isinstance(event, Forked)
        self._forks.append((envelope.position, event))

    def on_HandlerFailed(self, envelope: Envelope) -> None:
        event = envelope.event
        assert isinstance(event, HandlerFailed)
        self._failures.append((envelope.position, event))

    def on_TrainingRequested(self, envelope: Envelope) -> None:
        self._trainings[envelope.position] = _Training(envelope)

    def on_TrainingStarted(self, envelope: Envelope) -> None:
        row = self._trainings.get(envelope.causation or 0)
        if row is not None:
            row.started = row.started or envelope

    def on_EpochFinished(self, envelope: Envelope) -> None:
        row = self._trainings.get(envelope.causation or 0)
        if row is not None:
            row.epoch = envelope

    def _end(self, envelope: Envelope) -> None:
        row = self._trainings.get(envelope.causation or 0)
        if row is not None and row.ended is None:
            row.ended = envelope.position
            row.epoch = None

    on_TrainingCompleted = on_ResultReused = on_TrainingFailed = on_TrainingCancelled = _end


def _by(position: int, upto: int | None) -> bool:
    return upto is None or position <= upto


def _progress(row: _Training, upto: int | None) -> TrainingProgress:
    request = row.request.event
    assert isinstance(request, TrainingRequested)
    started = row.started.data() if row.started is not None and _by(row.started.position, upto) else {}
    epoch = row.epoch.data() if row.epoch is not None and _by(row.epoch.position, upto) else {}
    return TrainingProgress(
        request.job,
        request.candidate,
        request.seed,
        row.request.position,
        started.get("slot"),
        epoch.get("epoch"),
        epoch.get("epochs"),
        epoch.get("loss"),
        epoch.get("accuracy"),
    )
