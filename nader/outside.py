"""What comes into a log from outside the agents: a person's commands and the comings and goings of processes.

The replay takes these events as given, so this is where they are held to what the program writes: each
stands where its command puts it, says what the branch it lies in says, and names the designer that its
settings name. What a person chose is a fact; what the program makes of it is not.
"""

import json
from collections.abc import Callable, Collection
from typing import Any, Protocol

from actors.history import OPERATOR
from events import Envelope
from events.campaign import CampaignStarted, Forked, SettingsChanged
from events.llm import EmbeddingCompleted
from events.reading import KnowledgeIndexed
from events.reflection import ExperienceRecorded, ReflectionRequested
from events.training import ResultReused, RetrainingRecorded, TrainingCompleted
from nader.errors import NaderError
from nader.ground import designer_of
from nader.settings import CampaignSettings, differences, validated
from store import BranchInfo, sha256_hex

Differs = Callable[[Envelope, str, Any, Any], None]
"""Notes a difference: event, path, recorded and computed value."""


class Elsewhere(Protocol):
    """What a history refers to and does not hold: the file's branches, events of other ones, content."""

    def branches(self) -> Collection[BranchInfo]:
        """All branches of the file."""

    def find(self, branch: str, position: int) -> Envelope | None:
        """The event at a position of a branch's own history; None where there is none."""

    def blob(self, digest: str) -> bytes:
        """The bytes under a digest, checked; raises StoreError."""


_START, _PAUSED, _RESUMED, _CHANGED, _FORKED, _READING = (
    "CampaignStarted",
    "CampaignPaused",
    "CampaignResumed",
    "SettingsChanged",
    "Forked",
    "ReadingStarted",
)
_LISTING = (_READING, "EmbeddingCompleted", "InspirationRecorded", "InspirationMerged")
_OF_CAMPAIGNS = {
    _START: (None,),
    _CHANGED: (_RESUMED, _FORKED),
    "InspirationRepeated": (_START, "InspirationRepeated"),
    "ExperienceRecorded": (_START, "InspirationRepeated", "ExperienceRecorded"),
    "ReflectionRequested": (_FORKED, _CHANGED, "ReflectionRequested"),
}
_OF_LIBRARIES = {
    "PaperFound": (_READING, "PaperFound"),
    "EmbeddingRequested": (_READING, "EmbeddingRequested"),
    "InspirationRecorded": _LISTING,
    "InspirationMerged": _LISTING,
    "KnowledgeIndexed": ("InspirationRecorded", "InspirationMerged", "KnowledgeIndexed"),
}
_AFTER = {**_OF_CAMPAIGNS, **_OF_LIBRARIES}
"""The operator's events that stand directly after another of the operator's, and which."""
_ANYWHERE = {"campaign": {_PAUSED, _RESUMED, _FORKED, "RetrainingRecorded"}, "library": {_PAUSED, _READING}}
_AFTER_A_PAUSE = frozenset({_RESUMED, _FORKED, _READING, "RetrainingRecorded"})
_LISTED = frozenset({"InspirationRecorded", "InspirationMerged", "KnowledgeIndexed"})
_CANCELLED = frozenset({"ChatCancelled", "EmbeddingCancelled", "TrainingCancelled"})
_REASON = "cancelled at the fork"
_SPENT = {"input_tokens", "output_tokens", "tokens", "cost", "latency"}
"""What a reused answer costs nothing of."""
_FIGURES = frozenset(ResultReused.model_fields) - {"source"}


class Outside:
    """Follows a history for `nader.structure`, which hands it every event but progress."""

    def __init__(
        self,
        at: Callable[[int], Envelope | None],
        elsewhere: Elsewhere,
        differs: Differs,
    ) -> None:
        self._at = at
        self._elsewhere = elsewhere
        self._branches = {info.name: info for info in elsewhere.branches()}
        self._differs = differs
        self._kind = ""
        """`campaign` or `library`, by the first event."""
        self._imported = ""
        """What imports, one after the other, have put before the name of the first branch."""
        self._prefix = ""
        """What they have put before the names that events of the newest branch give: less where it was made
        after some of them.
        """
        self._lineage: list[str] = []
        self._previous: Envelope | None = None
        self._settings: CampaignSettings | None = None
        self._forked: Forked | None = None
        self._finished = False
        self._due: frozenset[str] = frozenset()
        """Types one of which must come next; empty where any may."""
        self._closed: dict[str, int] = {}
        """Candidates that were closed, in order, with their rounds."""
        self._reflected = 0
        """Of these, how many the block under way asks to be reflected upon again."""
        self._listed: list[tuple[str, str]] = []
        """Ids and texts of the inspirations that the import under way has entered and not indexed."""
        self._reading: set[str] = set()
        """Papers that were found and are not finished."""
        self._vectors: dict[str, EmbeddingCompleted] = {}
        """What a library's imports were answered, by the digest of the texts."""
        self._trained: dict[int, Envelope] = {}
        """The training's own result, by the request's position."""
        self.between_sessions = True
        """Whether the newest event is one of those that a process writes before its actors work."""

    def in_force(self, name: str) -> str | int | None:
        """What the settings in force say of who answers: a `backend`, an `embedder`, its `dimension`."""
        if self._settings is None:
            return None
        llm = self._settings.llm
        of: dict[str, str | int] = {
            "backend": llm.backend,
            "embedder": llm.embedder_name,
            "dimension": llm.embedding_dimension,
        }
        return of.get(name)

    @property
    def settings(self) -> CampaignSettings | None:
        """The settings in force; None where none were met that read."""
        return self._settings

    def see(self, e: Envelope) -> None:
        """Take in the next event."""
        if not self._lineage or e.branch != self._lineage[-1]:
            self._enter(e)
        if self._due and e.type not in self._due:
            self._differs(e, "$", e.type, " or ".join(sorted(self._due)))
        if e.type != "RetrainingRecorded":
            self._due = frozenset()
        before = self._previous.type if self._previous and self._may_precede(self._previous) else None
        ours = e.actor == OPERATOR
        if not (ours and e.type == "ReflectionRequested"):
            self._end_reflections(e)
        if ours:
            self._see_command(e, before)
        elif e.type in _CANCELLED:
            self._see_cancelled(e, before)
        elif e.type == "PaperFinished":
            self._reading.discard(e.event.paper)  # type: ignore[attr-defined]
        elif e.type == "CandidateClosed":
            self._closed[e.event.candidate] = e.event.round  # type: ignore[attr-defined]
        elif e.type == "CampaignFinished":
            self._finished = True
        self.between_sessions = ours or (self.between_sessions and e.type in _CANCELLED)
        self._previous = e

    def _may_precede(self, e: Envelope) -> bool:
        return self.between_sessions or (self._kind == "library" and e.type == "EmbeddingCompleted")

    def finish(self) -> None:
        """The end of the history: a command's events are appended at once, so none can be half there."""
        last = self._previous
        if last is None:
            return
        if self._due and last.type != _PAUSED and last.type != "RetrainingRecorded":
            self._differs(last, "$", "the end of the log", " or ".join(sorted(self._due)))
        self._end_reflections(last)

    # ---- branches

    def _enter(self, e: Envelope) -> None:
        """The first event of a branch's own."""
        info = self._branches[e.branch]
        if not self._lineage:
            self._kind = "library" if e.type == _READING else "campaign"
            self._imported = e.branch.removesuffix(info.run) if e.branch.endswith(info.run) else ""
            self._prefix = self._imported
            if e.type not in (_START, _READING):
                self._differs(e, "$", e.type, _START)
        elif e.type != _FORKED:
            self._differs(e, "$", e.type, _FORKED)
        self._lineage.append(e.branch)

    def _named(self, name: str) -> str:
        """What a branch that an event names is called in this file."""
        return name if name.startswith("library:") else self._prefix + name

    # ---- commands

    def _see_command(self, e: Envelope, before: str | None) -> None:
        event: Any = e.event
        after = _AFTER.get(e.type)
        if e.type not in _ANYWHERE[self._kind] and (
            after is None
            or e.type in (_OF_LIBRARIES if self._kind == "campaign" else _OF_CAMPAIGNS)
            or before not in after
        ):
            self._differs(e, "$", f"{e.type} here", f"no such command after {before or 'an actor'}")
        about = None
        if isinstance(event, RetrainingRecorded | ReflectionRequested):
            about = event.candidate
        elif e.type == "PaperFound":
            about = event.paper[:12]
        for column, value, due in (
            ("causation", e.causation, None),
            ("correlation", e.correlation, about),
            ("effect_key", e.effect_key, None),
            ("input_digest", e.input_digest, None),
        ):
            if value != due:
                self._differs(e, column, value, due)
        read = getattr(self, f"_see_{e.type}", None)
        if read is not None:
            read(e, event)

    def _see_CampaignStarted(self, e: Envelope, event: CampaignStarted) -> None:
        if e.position != 1:
            self._differs(e, "position", e.position, 1)
        settings = self._read_settings(e, event)
        if settings is not None and event.base_source != settings.search.base:
            self._differs(e, "$.base_source", event.base_source, settings.search.base)

    def _see_SettingsChanged(self, e: Envelope, event: SettingsChanged) -> None:
        old, new = self._settings, self._read_settings(e, event)
        self._finished = False
        if old is not None and new is not None and event.changes != (due := differences(old, new)):
            self._differs(e, "$.changes", event.changes, due)
        if event.pending != (e.version >= 3):  # what an older version wrote never reached pending handlings
            self._differs(e, "$.pending", event.pending, e.version >= 3)

    def _see_ReadingStarted(self, e: Envelope, event: Any) -> None:
        self._read_settings(e, event)
        self._listed = []
        info = self._branches[e.branch]  # the run of an imported one is what it was called where it was read
        names = [name.removeprefix("library:") for name in (info.name, info.run)]
        if event.library not in names:
            self._differs(e, "$.library", event.library, names[0])

    def _read_settings(self, e: Envelope, event: Any) -> CampaignSettings | None:
        try:
            self._settings = settings = validated(event.settings, where="the log's settings")
        except NaderError as error:
            self._differs(e, "$.settings", event.settings, str(error))
            return None
        if event.designer != designer_of(settings):
            self._differs(e, "$.designer", event.designer, designer_of(settings))
        return settings

    def _see_CampaignPaused(self, e: Envelope, event: Any) -> None:
        if not self._finished:  # what a finished campaign leaves open is taken up without a word
            self._due = _AFTER_A_PAUSE

    def _see_CampaignResumed(self, e: Envelope, event: Any) -> None:
        if self._finished:  # only changed settings take it up again, in the same append
            self._due = frozenset({_CHANGED})

    def _see_Forked(self, e: Envelope, event: Forked) -> None:
        info = self._branches[e.branch]
        if info.parent is None or e.position != info.fork_position + 1:
            self._differs(e, "$", "a fork in the middle of a branch", None)
        elif event.at != info.fork_position:
            self._differs(e, "$.at", event.at, info.fork_position)
        else:
            self._prefix = info.parent.removesuffix(event.parent)
            if self._named(event.parent) != info.parent or not self._imported.startswith(self._prefix):
                self._differs(e, "$.parent", event.parent, info.parent)
        self._forked = event

    def _see_ExperienceRecorded(self, e: Envelope, event: ExperienceRecorded) -> None:
        wanted = self._settings.search.experience_from if self._settings else ()
        if not wanted or not event.origin:  # another origin than those: one of them had brought it along
            self._differs(e, "$.origin", event.origin, list(wanted))
        elif not event.experience.startswith(f"{event.origin}/"):
            self._differs(e, "$.experience", event.experience, f"{event.origin}/…")
        elif event.round != 0:
            self._differs(e, "$.round", event.round, 0)

    def _see_RetrainingRecorded(self, e: Envelope, event: RetrainingRecorded) -> None:
        for name in ("validation", "test", "seconds"):
            if len(getattr(event, name)) != len(event.seeds):
                self._differs(e, f"$.{name}", list(getattr(event, name)), f"one for each of {event.seeds}")

    # ---- reflecting again: one request a closed candidate, in order

    def _see_ReflectionRequested(self, e: Envelope, event: ReflectionRequested) -> None:
        due = list(self._closed.items())[self._reflected] if self._reflected < len(self._closed) else None
        if (event.candidate, event.round) != due:
            self._differs(e, "$.candidate", [event.candidate, event.round], due)
        self._reflected += 1
        self._finished = False  # of a campaign that ended; its reflection has not

    def _end_reflections(self, e: Envelope) -> None:
        if self._reflected and self._reflected < len(self._closed):
            missing = list(self._closed)[self._reflected]
            self._differs(e, "$", e.type, f"ReflectionRequested of {missing}")
        self._reflected = 0

    def _see_PaperFound(self, e: Envelope, event: Any) -> None:
        if event.paper in self._reading:
            self._differs(e, "$.paper", event.paper, "a paper that is not being read")
        self._reading.add(event.paper)

    # ---- lists that are entered into a library

    def _see_InspirationRecorded(self, e: Envelope, event: Any) -> None:
        self._listed.append((event.inspiration, event.text))
        self._due = _LISTED

    def _see_InspirationMerged(self, e: Envelope, event: Any) -> None:
        if self._listed:
            self._due = _LISTED

    def _see_KnowledgeIndexed(self, e: Envelope, event: KnowledgeIndexed) -> None:
        batch, self._listed = self._listed[: event.count], self._listed[event.count :]
        ids = sha256_hex(json.dumps([identity for identity, _ in batch]).encode("utf-8"))
        texts = json.dumps([text for _, text in batch], ensure_ascii=False).encode("utf-8")
        answer = self._vectors.get(sha256_hex(texts))
        due: dict[str, Any] = {"inspirations": ids}
        if answer is None:
            self._differs(e, "$", "an index of vectors", "one of vectors that were asked for")
        else:
            due |= answer.model_dump(include={"vectors", "embedder", "dimension", "count"})
        for name, value in due.items():
            if getattr(event, name) != value:
                self._differs(e, f"$.{name}", getattr(event, name), value)
        if self._listed:
            self._due = frozenset({"KnowledgeIndexed"})

    # ---- what effectors take from elsewhere

    def _see_cancelled(self, e: Envelope, before: str | None) -> None:
        event: Any = e.event
        asked = self._forked is not None and self._forked.open_requests == "cancel"
        if not asked or before not in (_FORKED, _CHANGED, *_CANCELLED):
            self._differs(e, "$", e.type, "a request is cancelled at a fork alone")
        if event.reason != _REASON:
            self._differs(e, "$.reason", event.reason, _REASON)

    def see_end(self, e: Envelope, request: Envelope) -> None:
        """The end of a request whose answer may come from elsewhere in the log."""
        event: Any = e.event
        if request.actor == OPERATOR and isinstance(event, EmbeddingCompleted):
            self._vectors[request.event.texts] = event  # type: ignore[attr-defined]
        if isinstance(event, TrainingCompleted):
            self._trained[request.position] = e
        elif isinstance(event, ResultReused):
            self._see_adopted(e, event)
        elif getattr(event, "reused", ""):
            self._see_reused(e, event, request)

    def _see_adopted(self, e: Envelope, event: ResultReused) -> None:
        """A result from a run that this history comes from is the one that stands there; whether one from
        another run does, an export of this run alone cannot show.
        """
        name, position = self._source(event.source)
        if not position:
            self._differs(e, "$.source", event.source, "branch:position")
        if name not in self._lineage or not position or self._stands_elsewhere(event, position):
            return
        source = self._find(name, position)
        if (
            source is not None and source.type == "TrainingRequested"
        ):  # adopted in the process that trained it
            source = self._trained.get(position) if self._lies_in_history(name, position) else None
        if source is None and not self._lies_in_history(name, position):
            return
        found = None if source is None else source.event
        if not isinstance(found, TrainingCompleted):
            self._differs(e, "$.source", event.source, "a training's own result")
        elif found.model_dump(include=set(_FIGURES)) != event.model_dump(include=set(_FIGURES)):
            self._differs(e, "$", "figures", f"those at {event.source}")

    def _stands_elsewhere(self, event: ResultReused, position: int) -> bool:
        """Whether an imported run has, since it was, taken the result of a run of this file that has the name
        which one of its own had before.
        """
        name = event.source.rpartition(":")[0]
        if name in self._lineage or name not in self._branches:
            return False
        source = self._elsewhere.find(name, position)
        found = None if source is None else source.event
        figures = set(_FIGURES)
        return isinstance(found, TrainingCompleted) and (
            found.model_dump(include=figures) == event.model_dump(include=figures)
        )

    def _see_reused(self, e: Envelope, event: Any, request: Envelope) -> None:
        """An answer of the parent's later history, at a fork that asks for it: the same answer to the same
        request, and free of charge.
        """
        forked = self._forked
        name, position = self._source(event.reused)
        if forked is None or not forked.reuse or name != self._named(forked.parent) or position <= forked.at:
            self._differs(
                e, "$.reused", event.reused, "an answer of the parent's, taken at a fork with --reuse"
            )
            return
        spent = event.model_dump(include=_SPENT)
        for field, value in spent.items():
            if value:
                self._differs(e, f"$.{field}", value, 0)
        source = self._find(name, position)
        if source is None:
            return  # the parent's later history is not in this file
        found: Any = source.event
        asked = self._find(name, source.causation or 0)
        if type(found) is not type(event) or asked is None or asked.input_digest != request.input_digest:
            self._differs(e, "$.reused", event.reused, "an answer to the same request")
            return
        left_out = {*_SPENT, "reused"}
        if found.model_dump(exclude=left_out) != event.model_dump(exclude=left_out):
            self._differs(e, "$", "an answer", f"that at {event.reused}")

    def _source(self, text: str) -> tuple[str, int]:
        """Branch (as this file calls it) and position of a source; position 0 where it is none."""
        name, _, position = text.rpartition(":")
        return self._named(name), int(position) if position.isdecimal() and len(position) < 16 else 0

    def _find(self, name: str, position: int) -> Envelope | None:
        if self._lies_in_history(name, position):
            return self._at(position)
        return self._elsewhere.find(name, position)

    def _lies_in_history(self, name: str, position: int) -> bool:
        """Whether a branch's position belongs to the history that is followed here."""
        if name not in self._lineage:
            return False
        after = self._lineage[self._lineage.index(name) + 1 :]
        return not after or position <= self._branches[after[0]].fork_position
