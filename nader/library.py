"""Libraries of inspirations that many campaigns share: read from papers, or imported from lists, as streams
of the log.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from actors.gateway import Embedding, Gateway
from actors.history import History
from actors.papers import PaperTexts, owed
from actors.runtime import Ending, Runtime, external
from events import Envelope
from events.campaign import HandlerFailed
from events.llm import ChatRequested, EmbeddingRequested
from events.reading import (
    InspirationMerged,
    InspirationRecorded,
    KnowledgeIndexed,
    PaperFound,
    PaperTextRequested,
    ReadingStarted,
)
from nader.assembly import gateway_of, readers, require_models
from nader.ground import check_models, designer_of, own_prompts, resolve_backend, text_blobs, text_digest
from nader.hours import hours_capped
from nader.lists import enter
from nader.literature import Endpoints, Inspiration, PaperRecord, split_relevant
from nader.lost_calls import lost_calls
from nader.offer import PAPERS, Offer, Plan, ReadingError, look_up, plan
from nader.settings import CampaignSettings
from nader.workspace import LIBRARY, Workspace, fold, require_name
from store import Log, sha256_hex
from store.projections import Views
from store.projections.ledger import Totals

__all__ = ["Offer", "Plan", "ReadingError", "ReadingReport", "libraries", "look_up", "plan", "read"]


@dataclass(frozen=True)
class ReadingReport:
    """What a library holds after a reading or an import, and what this one took."""

    library: str
    ending: Ending
    papers: int
    finished: int
    """Papers that the library is done with; the same command goes on with the others."""
    relevant: int
    entered: int
    merged: int
    failed: dict[str, int]
    """Papers without a text, by kind."""
    unanswered: dict[str, int]
    """Papers that a model or a server owes something, by what."""
    irrelevant: int
    """Of an import: entries left out as not about blocks."""
    spent: Totals
    """By this reading."""
    position: int
    """Where the library's stream stands now."""

    @property
    def whole(self) -> bool:
        """Whether nothing is left to do."""
        return self.ending.kind == "finished" and self.finished == self.papers


async def read(
    workspace: Workspace,
    spec: str,
    name: str,
    settings: CampaignSettings,
    maximum: int,
    *,
    offer: Offer | None = None,
    filtered: bool = True,
    watch: Callable[[Envelope], None] | None = None,
) -> ReadingReport:
    """Read a source into the library `name`, or go on with it; papers it is done with are not read again.

    `offer` is what was looked up in the source, if it was. `filtered` leaves out entries of a list that do
    not speak of blocks. Raises `NaderError`, `StoreError`.
    """
    settings = resolve_backend(settings)
    check_models(settings)
    workspace.create()
    if offer is None:
        offer = await asyncio.to_thread(look_up, workspace, spec, name, maximum)
    if offer.papers:
        await require_models(settings)
    log = await Log.open(workspace.log, create=True, synchronous=settings.synchronous)
    try:
        reading = _Reading(workspace, log, name, settings)
        new = all(b.name != reading.branch for b in log.branches())
        if new:
            require_name(name, "library")
        else:
            _require_same_embedder(log, reading.branch, settings)
        if watch is not None:
            _observe(log, reading.branch, watch)
        await reading.begin(offer.source, maximum, new)
        if offer.papers:
            return await reading.papers(offer, maximum)
        kept, left_out = split_relevant(offer.entries) if filtered else (offer.entries, [])
        return await reading.entries(kept, len(left_out))
    finally:
        await log.close()


_ENDS = (
    *ChatRequested.terminal,
    *EmbeddingRequested.terminal,
    *PaperTextRequested.terminal,
    HandlerFailed.__name__,
)
"""What was heard of a question about a paper."""


class _Reading:
    """One call of `read` on an open log."""

    def __init__(self, workspace: Workspace, log: Log, name: str, settings: CampaignSettings) -> None:
        self.branch = LIBRARY + name
        self._workspace = workspace
        self._log = log
        self._name = name
        self._settings = settings
        self._before: int | None = None
        """Position after which this reading's events lie; None before it has begun."""

    async def begin(self, source: str, maximum: int, new: bool) -> None:
        """Record under which settings it is read, and what an earlier process may have spent unheard; with
        the branch, where the library is new.
        """
        settings = self._settings
        own = own_prompts(settings)
        started = ReadingStarted(
            library=self._name,
            source=source,
            settings=settings.model_dump(mode="json"),
            designer=designer_of(settings),
            prompts={prompt: text_digest(text) for prompt, text in own.items()},
            maximum=maximum,
        )
        blobs = text_blobs(own.values())
        if new:
            await self._log.create_branch(self.branch, self.branch, first=[external(started)], blobs=blobs)
            return
        views, _ = fold(self._log, self.branch)
        self._before = views.position
        events = [external(started), *lost_calls(self._log, views, settings)]
        await self._log.append(self.branch, events, blobs=blobs)

    async def papers(self, offer: Offer, maximum: int) -> ReadingReport:
        """Read papers. Each that is owed an answer is found again, and so asked about afresh, once.

        Which of those are that an earlier command broke off over, shows only when they are done: an answer
        may have failed then. What was heard in this command is left to the next.
        """
        await self._find(offer.papers)
        ending = await self._read()
        owed, heard = self._owed(), self._heard()
        late = [r for r in offer.papers if r.id in owed and r.id[:12] not in heard]
        if ending.kind == "finished" and late:
            await self.begin(offer.source, maximum, new=False)
            await self._find(late)
            ending = await self._read()
        return self._report(ending)

    def _owed(self) -> set[str]:
        """Papers that a model or a server owes something."""
        return set(owed(fold(self._log, self.branch)[0].knowledge))

    def _heard(self) -> set[str | None]:
        """What the answers and failures of this command are about."""
        return {e.correlation for e in self._log.read(self.branch, after=self._before or 0, types=_ENDS)}

    async def _find(self, records: Sequence[PaperRecord]) -> None:
        """Record those that are new or owed something as found."""
        known = {found.paper for found in fold(self._log, self.branch)[0].knowledge.papers()}
        owed = self._owed()
        for record in records:
            if record.id in owed or record.id not in known:
                await self._found(record)

    async def _read(self) -> Ending:
        """Read what was found and is not finished."""
        views, history, gateway, embedding = self._opened()
        texts = PaperTexts(Endpoints.from_environment().fetcher(), self._workspace.path / PAPERS)

        def over() -> str | None:
            done, found = views.knowledge.finished_papers(), views.knowledge.papers()
            return "read" if len(done) >= len(found) else None

        actors = [*readers(), texts, gateway, embedding]
        runtime = Runtime(self._log, self.branch, history, views, actors, over=over)
        try:
            with hours_capped(runtime, self._settings, history):
                ending = await runtime.run()
        finally:
            await gateway.close()
            await embedding.close()
        return ending

    async def entries(self, kept: Sequence[Inspiration], irrelevant: int) -> ReadingReport:
        """Enter a list."""
        views, history, gateway, embedding = self._opened()
        try:
            ending = await enter(self._log, self.branch, views, history, embedding, kept, self._settings)
        finally:
            await gateway.close()
            await embedding.close()
        return self._report(ending, irrelevant)

    def _opened(self) -> tuple[Views, History, Gateway, Embedding]:
        views, history = fold(self._log, self.branch)
        return views, history, *gateway_of(self._settings, self._workspace, views)

    async def _found(self, record: PaperRecord) -> None:
        raw = record.model_dump_json().encode("utf-8")
        abstract = record.abstract.encode("utf-8")
        found = PaperFound(
            paper=record.id,
            title=record.paper.title,
            year=record.paper.year,
            ref=record.paper.ref,
            abstract=sha256_hex(abstract),
            record=sha256_hex(raw),
            has_text=record.has_text,
        )
        blobs = {sha256_hex(raw): raw, sha256_hex(abstract): abstract}
        await self._log.append(self.branch, [external(found, about=record.id[:12])], blobs=blobs)

    def _report(self, ending: Ending, irrelevant: int = 0) -> ReadingReport:
        views, history = fold(self._log, self.branch)
        relevant: dict[str, bool] = {}
        failed: dict[str, str] = {}
        entered = merged = 0
        for envelope in history.events:
            data = envelope.data()
            if envelope.type == PaperFound.__name__:
                failed.pop(data["paper"], None)
            elif envelope.type == "PaperJudged":
                relevant[data["paper"]] = data["relevant"]
            elif envelope.type == "PaperTextFailed":
                failed[data["paper"]] = data["kind"]
            entered += envelope.type == InspirationRecorded.__name__
            merged += envelope.type == InspirationMerged.__name__
        finished, unanswered = views.knowledge.finished_papers(), owed(views.knowledge)
        ledger = views.ledger
        return ReadingReport(
            library=self._name,
            ending=ending,
            papers=len(views.knowledge.papers()),
            finished=len(finished) - len(unanswered),
            relevant=sum(relevant.values()),
            entered=entered,
            merged=merged,
            failed=dict(Counter(failed.values())),
            unanswered=dict(Counter(unanswered.values())),
            irrelevant=irrelevant,
            spent=ledger.totals() - ledger.totals(self._before or 0),
            position=views.position,
        )


def _observe(log: Log, branch: str, watch: Callable[[Envelope], None]) -> None:
    def pass_on(envelopes: list[Envelope]) -> None:
        for envelope in envelopes:
            if envelope.branch == branch:
                watch(envelope)

    log.subscribe(pass_on)


def _require_same_embedder(log: Log, branch: str, settings: CampaignSettings) -> None:
    """Vectors of two embedders are never mixed in one index."""
    llm = settings.llm
    mine = (llm.embedder_name, llm.embedding_dimension)
    for envelope in log.read(branch, types=(KnowledgeIndexed.__name__,)):
        data = envelope.data()
        theirs = (data["embedder"], data["dimension"])
        if theirs != mine:
            raise ReadingError(
                f"the library {branch.removeprefix(LIBRARY)!r} holds vectors of {theirs[0]} "
                f"({theirs[1]} numbers), and the "
                f"settings say {mine[0]} ({mine[1]}); set llm.embedder and "
                "llm.embedding_dimension to the library's"
            )


def libraries(workspace: Workspace) -> list[str]:
    """The names of the libraries in a workspace."""
    if not Path(workspace.log).exists():
        return []
    with workspace.reader() as reader:
        return [b.name.removeprefix(LIBRARY) for b in reader.branches() if b.name.startswith(LIBRARY)]
