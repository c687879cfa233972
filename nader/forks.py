"""Forks a run at any event: a new branch that shares the history so far and goes its own way."""

import asyncio
from collections.abc import Sequence

from actors.director import BASE
from actors.history import History
from actors.keys import effect_key
from actors.runtime import external
from events import Envelope, Event, Pending, encode, readable
from events.campaign import CampaignFinished, CampaignPaused, CampaignStarted, Forked, SettingsChanged
from events.llm import ChatCancelled, ChatRequested, EmbeddingCancelled, EmbeddingRequested
from events.training import TrainingCancelled, TrainingRequested
from nader.campaign import free_name, is_half_made, require_free
from nader.changes import settings_changed
from nader.errors import WorkspaceError
from nader.lost_calls import lost_calls
from nader.settings import CampaignSettings, validated
from nader.spaces import require_libraries_still
from nader.workspace import LIBRARY, Workspace, find_run, fold
from store import Log
from store.projections import Views

ANSWERED_BY = {
    ChatRequested.__name__: "gateway",
    EmbeddingRequested.__name__: "embedder",
    TrainingRequested.__name__: "training",
}
"""Effector that answers each kind of request: in its name an open one is cancelled at a fork."""


async def fork(
    workspace: Workspace,
    run: str | None,
    at: int,
    *,
    name: str | None = None,
    sets: Sequence[str] = (),
    cancel: bool = False,
    reuse: bool = False,
) -> str:
    """Make a branch of `run` at position `at` and return its name; the parent is not touched.

    `sets` change settings from the fork on; `cancel` ends requests open there, but for the base's training,
    instead of issuing them again; `reuse` takes recorded answers to byte-identical requests from the parent's
    later history.

    The time it takes grows with the history only where that must be looked through: for requests to cancel,
    and for what a process that was killed may have spent. Raises `NaderError`, `StoreError`.
    """
    with workspace.reader() as reader:
        info = find_run(reader, run)
        parent = info.name
        if parent.startswith(LIBRARY):
            raise WorkspaceError(f"{parent} is a library; only runs can be forked")
        head = reader.head(parent).position
    if not 1 <= at <= head:
        raise WorkspaceError(f"{parent} has events 1 to {head}; it cannot be forked at {at}")
    log = await Log.open(workspace.log)
    try:
        branch = free_name(log, f"{parent}-fork") if name is None else name
        begun = next((b for b in log.branches() if b.name == branch and is_half_made(log, b)), None)
        if begun is None:
            require_free(log, branch)
        elif (begun.parent, begun.fork_position) != (parent, at):
            raise WorkspaceError(
                f"the fork {branch!r} of {begun.parent} at {begun.fork_position} was broken off "
                f"while it was made; "
                f"make it again (--at {begun.fork_position}), or choose another name"
            )
        events = [
            external(
                Forked(parent=parent, at=at, open_requests="cancel" if cancel else "reissue", reuse=reuse)
            )
        ]
        blobs: dict[str, bytes] = {}
        settings = None
        if sets:
            then = await asyncio.to_thread(_settings_at, log, parent, at)
            changed, blobs = settings_changed(then, sets, log, parent, at)
            if changed is not None:
                events.append(external(changed))
                settings = validated(changed.settings)
                before = validated(then.status.settings())
                require_libraries_still(log, parent, then.status.ground(), before, settings)
        if cancel:
            _, history = await asyncio.to_thread(_fold, log, parent, at)
            events.extend(_cancelled(history))
        events += await asyncio.to_thread(_lost, log, parent, at, settings)
        if begun is None:
            await log.create_branch(branch, info.run, parent, at, first=events, blobs=blobs)
        else:
            await log.append(branch, events, blobs=blobs)
        return branch
    finally:
        await log.close()


def _fold(log: Log, branch: str, upto: int | None = None) -> tuple[Views, History]:
    return fold(log, branch, upto, epochs=False)


def _settings_at(log: Log, branch: str, at: int) -> Views:
    """The state of a run as far as its settings go: of a long history only the few events that say them are
    read.
    """
    views = Views(log.blob)
    types = (CampaignStarted.__name__, SettingsChanged.__name__)
    views.apply_many(readable(log.read(branch, upto=at, types=types)))
    return views


def _lost(log: Log, parent: str, at: int, settings: CampaignSettings | None) -> list[Pending]:
    """What calls of the shared history may have cost, where the parent's process was killed and no later end
    tells it; by the prices of the fork's changed `settings`, if they were.
    """
    head = log.head(parent).position
    last = next(iter(log.read(parent, after=head - 1)), None)
    if last is not None and last.type in (CampaignPaused.__name__, CampaignFinished.__name__):
        return []
    views, _ = _fold(log, parent)
    return lost_calls(log, views, settings, upto=at)


def _cancelled(history: History) -> list[Pending]:
    """A terminal event for every request that is open at the fork.

    The base's training is issued again all the same: without its figures there is no campaign.
    """
    pendings = []
    for request in history.open_requests():
        effector = ANSWERED_BY.get(request.type)
        if effector is not None and not _is_of_the_base(request):
            type_name, version, payload = encode(_cancellation(request))
            pendings.append(
                Pending(
                    effector,
                    type_name,
                    version,
                    payload,
                    request.position,
                    request.correlation,
                    effect_key=effect_key("terminal", effector, request, ""),
                    input_digest=request.input_digest,
                )
            )
    return pendings


def _is_of_the_base(request: Envelope) -> bool:
    return request.type == TrainingRequested.__name__ and request.correlation == BASE


def _cancellation(request: Envelope) -> Event:
    reason = "cancelled at the fork"
    asked = request.event
    if isinstance(asked, TrainingRequested):
        return TrainingCancelled(job=asked.job, reason=reason)
    if isinstance(asked, EmbeddingRequested):
        return EmbeddingCancelled(reason=reason)
    return ChatCancelled(reason=reason)
