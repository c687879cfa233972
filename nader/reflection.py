"""Derives design experience anew from any log, with another model or prompts, on a branch of its own."""

from collections.abc import Sequence
from dataclasses import dataclass

import nader
import prompts
from actors.history import History
from actors.reflector import Reflector
from actors.runtime import Ending, Runtime, external
from events import Envelope
from events.campaign import CampaignResumed, Forked
from events.llm import ChatCompleted, ChatRequested
from events.reflection import CandidateClosed, ExperienceRecorded, ReflectionRequested
from nader.assembly import gateway_of, require_models
from nader.campaign import free_name
from nader.changes import settings_with
from nader.effect import REFLECT
from nader.errors import WorkspaceError
from nader.ground import designer_of
from nader.hours import hours_capped
from nader.lost_calls import lost_calls
from nader.settings import validated
from nader.workspace import Workspace, find_run, fold
from store import Log


@dataclass(frozen=True)
class ReflectionReport:
    """What came of it."""

    branch: str
    ending: Ending
    candidates: int
    """Candidates to reflect on."""
    reflected: int
    """Those that were; fewer where it was paused."""
    experiences: int
    by_kind: dict[str, int]
    by_model: int
    """Experiences whose tip is the model's own; that of the others is the plain facts."""
    unanswered: int
    """Questions to which no usable answer came, so that plain facts stand in its place."""
    model: str


async def rederive(workspace: Workspace, run: str | None, sets: Sequence[str] = ()) -> ReflectionReport:
    """Reflect again on every closed candidate of a run; the run itself is not touched.

    The branch shares the run's history, so its tree and results are the same and its experiences are new. A
    campaign imports them with `search.experience_from`. Raises `NaderError`, `StoreError`.
    """
    with workspace.reader() as reader:
        info = find_run(reader, run)
        parent = info.name
    log = await Log.open(workspace.log)
    try:
        at = log.head(parent).position
        views, history = fold(log, parent)
        # A reflection of an earlier day closed the same candidates once more.
        closed = {e.data()["candidate"]: e for e in history.events if e.type == CandidateClosed.__name__}
        if not closed:
            raise WorkspaceError(f"{parent} has no settled candidate yet, so there is nothing to reflect on")
        branch = free_name(log, f"{parent}-reflect")
        settings, change, blobs = settings_with(views, sets, log, parent, REFLECT)
        await require_models(settings)
        forked = external(Forked(parent=parent, at=at, open_requests="reissue", reuse=False))
        again = [
            external(ReflectionRequested(candidate=candidate, round=e.data()["round"]), about=candidate)
            for candidate, e in closed.items()
        ]
        lost = lost_calls(log, views, settings)
        events = [forked, *change, *again, *lost]
        await log.create_branch(branch, info.run, parent, at, first=events, blobs=blobs)
        return await _run(workspace, log, branch, at)
    finally:
        await log.close()


async def go_on(workspace: Workspace, branch: str, sets: Sequence[str] = ()) -> ReflectionReport:
    """Take a reflection up where it was paused; `sets` are `key=value` changes from here on.

    Raises `NaderError`, `StoreError`.
    """
    log = await Log.open(workspace.log)
    try:
        info = find_run(log, branch)
        views, _ = fold(log, branch)
        settings, change, blobs = settings_with(views, sets, log, branch, REFLECT)
        await require_models(settings)
        resumed = external(CampaignResumed(nader_version=nader.__version__))
        await log.append(branch, [resumed, *change, *lost_calls(log, views, settings)], blobs=blobs)
        return await _run(workspace, log, branch, info.fork_position)
    finally:
        await log.close()


async def _run(workspace: Workspace, log: Log, branch: str, at: int) -> ReflectionReport:
    """Reflect until nothing is left to reflect on; `at` is where the branch leaves its parent."""
    views, history = fold(log, branch)
    settings = validated(views.status.settings(), where="the log's settings")
    gateway, embedding = gateway_of(settings, workspace, views)

    def waiting() -> list[Envelope]:
        return [
            e for e in history.open_requests() if e.position > at and e.type == ReflectionRequested.__name__
        ]

    def over() -> str | None:
        return None if waiting() else "reflected"

    try:
        runtime = Runtime(log, branch, history, views, [Reflector(), gateway, embedding], over=over)
        with hours_capped(runtime, settings, history):
            ending = await runtime.run()
    finally:
        await gateway.close()
        await embedding.close()
    new = [e for e in history.events if e.position > at]
    asked = sum(e.type == ReflectionRequested.__name__ for e in new)
    by_kind: dict[str, int] = {}
    tips, unanswered = _answers(log, history, new)
    by_model = 0
    for envelope in new:
        if isinstance(found := envelope.event, ExperienceRecorded):
            by_kind[found.kind] = by_kind.get(found.kind, 0) + 1
            by_model += (found.candidate, found.tip) in tips
    return ReflectionReport(
        branch,
        ending,
        asked,
        asked - len(waiting()),
        sum(by_kind.values()),
        by_kind,
        by_model,
        unanswered,
        designer_of(settings),
    )


def _answers(log: Log, history: History, events: Sequence[Envelope]) -> tuple[set[tuple[str, str]], int]:
    """(candidate, tip) of every usable answer, and how many questions got none.

    A question and its repair turns begin with the same messages.
    """
    answered: dict[tuple[int | None, str, str], bool] = {}
    tips = set()
    completed = {e.causation: e.event for e in events if e.type == ChatCompleted.__name__}
    unfinished = {e.position for e in history.open_requests()}
    for envelope in events:
        request = envelope.event
        if not isinstance(request, ChatRequested) or envelope.position in unfinished:
            continue
        question = (envelope.causation, request.prompt, request.messages[1].digest)
        answered.setdefault(question, False)
        reply = completed.get(envelope.position)
        if isinstance(reply, ChatCompleted):
            text = log.blob(reply.answer).decode("utf-8", errors="replace")
            try:
                tip = prompts.parse_answer(request.prompt, text)
            except prompts.AnswerError:
                continue
            answered[question] = True
            tips.add((envelope.correlation or "", str(getattr(tip, "text", ""))))
    return tips, sum(not got for got in answered.values())
