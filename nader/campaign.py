"""Composition root: store, actors and settings become a campaign that runs, stops in order and goes on."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Self

import nader
from actors.history import History
from actors.runtime import Ending, Runtime, external
from events import Envelope
from events.campaign import CampaignResumed, CampaignStarted, Forked
from events.llm import ChatCompleted, ChatRequested, EmbeddingCompleted, EmbeddingRequested
from nader.assembly import Assembly, assemble, close_backend, connected_backend, require_models
from nader.changes import settings_with
from nader.errors import WorkspaceError
from nader.experience import imported
from nader.ground import (
    base_text,
    designer_of,
    ground_of,
    library_heads,
    own_prompts,
    preflight,
    require_data,
    resolve_backend,
    text_blobs,
    text_digest,
    with_libraries,
)
from nader.hours import FINISH_ON_STOP, hours_capped
from nader.lost_calls import lost_calls
from nader.repeats import repeats
from nader.settings import CampaignSettings, validated
from nader.spaces import require_libraries, require_libraries_still
from nader.training import Backend, Progress
from nader.workspace import Workspace, campaigns, find_run, fold, require_name
from store import BranchInfo, Log
from store.projections import Views
from store.projections.ledger import Recorded


class Campaign:
    """One run in one workspace, with the only writer of its log. Made by `start` or `resume`."""

    def __init__(self, workspace: Workspace, log: Log, branch: str, views: Views, history: History) -> None:
        self.workspace = workspace
        self.log = log
        self.branch = branch
        self.views = views
        self.history = history
        self.progress: dict[str, Progress] = {}
        """What each running training last said of itself, by job."""
        self._backend: Backend | None = None
        """Where trainings run, if that had to be reached before anything was recorded."""
        self._assembly: Assembly | None = None
        self._runtime: Runtime | None = None
        self._task: asyncio.Task[Ending] | None = None

    @property
    def settings(self) -> CampaignSettings:
        """The settings as of now."""
        return validated(self.views.status.settings(), where="the log's settings")

    # ---- beginning

    @classmethod
    async def start(cls, workspace: Workspace, settings: CampaignSettings, name: str | None = None) -> Self:
        """A new run, its first event recorded. Raises `NaderError` or `StoreError` before anything is
        written.
        """
        settings = resolve_backend(settings)
        text = base_text(settings.search.base)
        ground = ground_of(settings)
        preflight(settings, workspace, text, ground)
        await require_models(settings)
        backend = connected_backend(settings)
        try:
            log = await Log.open(workspace.log, create=True, synchronous=settings.synchronous)
        except BaseException:
            await close_backend(backend)
            raise
        try:
            ground = with_libraries(ground, library_heads(settings, log))
            require_libraries(log, ground.libraries, settings)
            branch = free_name(log, "run") if name is None else name
            require_free(log, branch)
            brought = imported(log, settings)
            started = CampaignStarted(
                settings=settings.model_dump(mode="json"),
                ground=ground,
                designer=designer_of(settings),
                base=text_digest(text),
                base_source=settings.search.base,
                nader_version=nader.__version__,
            )
            repeated = list(repeats(log, ground.libraries, settings))
            events = [external(e) for e in (started, *repeated, *brought)]
            texts = text_blobs([text, *own_prompts(settings).values()])
            await log.create_branch(branch, run=branch, first=events, blobs=texts)
            campaign = cls(workspace, log, branch, *fold(log, branch))
            campaign._backend = backend
            return campaign
        except BaseException:
            await close_backend(backend)
            await log.close()
            raise

    @classmethod
    async def resume(cls, workspace: Workspace, run: str | None = None, sets: Sequence[str] = ()) -> Self:
        """An existing run, taken up where its log ends; `sets` are `key=value` changes from here on."""
        with workspace.reader() as reader:
            find_run(reader, run)
        workspace.create()
        log = await Log.open(workspace.log)
        backend: Backend | None = None
        try:
            info = find_run(log, run)
            branch = info.name
            if is_half_made(log, info):
                raise WorkspaceError(
                    f"the fork {branch!r} was broken off while it was made; run the same command again: "
                    f"nader fork {info.parent} --at {info.fork_position} --name {branch} …"
                )
            views, history = fold(log, branch)
            settings, change, blobs = settings_with(views, sets, log, branch)
            before = validated(views.status.settings())
            require_libraries_still(log, branch, views.status.ground(), before, settings)
            if change or views.status.finished() is None:
                require_data(settings, views.status.ground())
                await require_models(settings)
                backend = connected_backend(settings)
                resumed = external(CampaignResumed(nader_version=nader.__version__))
                lost = lost_calls(log, views, settings)
                await log.append(branch, [resumed, *change, *lost], blobs=blobs)
                views, history = fold(log, branch)
            campaign = cls(workspace, log, branch, views, history)
            campaign._backend = backend
            return campaign
        except BaseException:
            await close_backend(backend)
            await log.close()
            raise

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._assembly is not None:
            await self._assembly.close()
        await close_backend(self._backend)
        await self.log.close()

    # ---- running

    async def run(self, backend: Backend | None = None) -> Ending:
        """Go on until the campaign is finished or paused. Raises what stopped it otherwise.

        `backend` runs the trainings; without one, the settings' own is made.
        """
        finished = self.views.status.finished()
        if finished is not None and not self.history.open_requests():
            return Ending("finished", finished.reason)
        settings = self.settings
        self._assembly = assemble(
            settings,
            self.workspace,
            self.log,
            self.views,
            recorded=recorded_answers(self.log, self.history),
            on_progress=self.progress.__setitem__,
            backend=backend or self._backend,
        )
        self._runtime = Runtime(self.log, self.branch, self.history, self.views, self._assembly.actors)
        with hours_capped(self._runtime, settings, self.history):
            self._task = asyncio.ensure_future(self._runtime.run())
            return await self._task

    def observe(self, watcher: Callable[[Envelope], None]) -> None:
        """Call `watcher` with every event of this run as it is committed, on the event loop."""

        def pass_on(envelopes: list[Envelope]) -> None:
            for envelope in envelopes:
                if envelope.branch == self.branch:
                    watcher(envelope)

        self.log.subscribe(pass_on)

    def pause(self, reason: str, *, now: bool = False) -> None:
        """Leave in order: no new work, answers under way are waited for (not with `now`), trainings
        checkpoint.
        """
        if self._runtime is not None:
            # A person may take for ever to answer; the question stays in the inbox.
            finish = () if self.settings.llm.backend == "inbox" else FINISH_ON_STOP
            self._runtime.pause(reason, finish=finish, now=now)


_STEM = 56
"""Characters that the stem of a made-up name keeps, of the 64 that a name may have."""


def is_half_made(log: Log, branch: BranchInfo) -> bool:
    """Whether a fork was broken off between its branch and its first event: its settings are not known."""
    return branch.parent is not None and log.head(branch.name).position == branch.fork_position


def free_name(log: Log, stem: str) -> str:
    """`stem-N` with the lowest N from 1 that no branch has; forks of forks of forks have their stem cut."""
    stem = stem[:_STEM]
    taken = {branch.name for branch in log.branches()}
    number = 1
    while f"{stem}-{number}" in taken:
        number += 1
    return f"{stem}-{number}"


def require_free(log: Log, name: str) -> None:
    """Raise `WorkspaceError` where a branch has that name, or no run may have it."""
    require_name(name)
    if any(branch.name == name for branch in log.branches()):
        held = ", ".join(b.name for b in campaigns(log))
        raise WorkspaceError(
            f"this log holds a run named {name!r} already; choose another name (it holds {held})"
        )


_QUESTIONS = (ChatRequested.__name__, EmbeddingRequested.__name__)


def _open_questions(history: History, at: int) -> Iterator[Envelope]:
    """Questions to models that had no answer at a position."""
    for envelope in history.events:
        if envelope.position > at:
            return
        answer = history.answer_to(envelope.position)
        if envelope.type in _QUESTIONS and (answer is None or answer.position > at):
            yield envelope


def recorded_answers(log: Log, history: History) -> dict[str, Recorded]:
    """At a fork with `--reuse`: answers of the parent's later history, by the request's input digest.

    Those to requests that were open at the fork are among them. The parent is told by the branch: an imported
    one may have another name here than the events give it, and sources keep theirs.
    """
    answers: dict[str, Recorded] = {}
    ends = (ChatCompleted.__name__, EmbeddingCompleted.__name__)
    parents = {branch.name: branch.parent for branch in log.branches()}
    for fork in (e for e in history.events if e.type == Forked.__name__):
        forked, parent = fork.event, parents[fork.branch]
        assert isinstance(forked, Forked)
        if not forked.reuse or parent is None:
            continue
        asked = {e.position: e.input_digest for e in _open_questions(history, forked.at)}
        for envelope in log.read(parent, after=forked.at, types=(*_QUESTIONS, *ends)):
            if envelope.type in _QUESTIONS:
                asked[envelope.position] = envelope.input_digest
                continue
            digest, end = asked.get(envelope.causation or 0), envelope.event
            if digest is not None and isinstance(end, ChatCompleted | EmbeddingCompleted):
                answers.setdefault(digest, Recorded(f"{forked.parent}:{envelope.position}", end))
    return answers
