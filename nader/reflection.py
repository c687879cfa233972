"""Derives design experience anew from any log, with another model or prompts, on a branch of its own."""

from collections.abc import Sequence
from dataclasses import dataclass

from actors.reflector import Reflector
from actors.runtime import Ending, Runtime, external
from events.campaign import Forked
from events.reflection import CandidateClosed, ExperienceRecorded, ReflectionRequested
from nader.assembly import gateway_of
from nader.campaign import free_name, settings_changed
from nader.settings import validated
from nader.workspace import Workspace, find_run, fold
from store import Log, Reader


@dataclass(frozen=True)
class ReflectionReport:
    """What came of it."""

    branch: str
    ending: Ending
    candidates: int
    experiences: int
    by_kind: dict[str, int]


async def rederive(workspace: Workspace, run: str | None, sets: Sequence[str] = ()) -> ReflectionReport:
    """Reflect again on every closed candidate of a run; the run itself is not touched.

    The branch shares the run's history, so its tree and results are the same and its experiences are new. A
    campaign imports them with `search.experience_from`.
    """
    with workspace.reader() as reader:
        info = find_run(reader, run)
        parent = info.name
    log = await Log.open(workspace.log)
    try:
        at = log.head(parent).position
        views, history = fold(log, parent)
        closed = [e for e in history.events if e.type == CandidateClosed.__name__]
        branch = free_name(log, f"{parent}-reflect")
        events = [external(Forked(parent=parent, at=at, open_requests="reissue", reuse=False))]
        blobs: dict[str, bytes] = {}
        if sets:
            changed, blobs = settings_changed(views, sets, log)
            events.append(external(changed))
        for envelope in closed:
            data = envelope.data()
            again = ReflectionRequested(candidate=data["candidate"], round=data["round"])
            events.append(external(again, about=data["candidate"]))
        await log.create_branch(branch, run=info.run, parent=parent, position=at)
        await log.append(branch, events, blobs=blobs)
        ending = await _run(workspace, log, branch, at)
        return _report(log, branch, at, ending, len(closed))
    finally:
        await log.close()


async def _run(workspace: Workspace, log: Log, branch: str, at: int) -> Ending:
    views, history = fold(log, branch)
    settings = validated(views.status.settings(), where="the log's settings")
    gateway, embedding = gateway_of(settings, workspace, views)

    def over() -> str | None:
        waiting = [
            e for e in history.open_requests() if e.position > at and e.type == ReflectionRequested.__name__
        ]
        return None if waiting else "reflected"

    try:
        return await Runtime(log, branch, history, views, [Reflector(), gateway, embedding], over=over).run()
    finally:
        await gateway.close()


def _report(log: Reader, branch: str, at: int, ending: Ending, candidates: int) -> ReflectionReport:
    by_kind: dict[str, int] = {}
    for envelope in log.read(branch, after=at, types=(ExperienceRecorded.__name__,)):
        kind = envelope.data()["kind"]
        by_kind[kind] = by_kind.get(kind, 0) + 1
    return ReflectionReport(branch, ending, candidates, sum(by_kind.values()), by_kind)
