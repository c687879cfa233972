"""Libraries of inspirations that many campaigns share: read from papers, or imported from lists, as streams
of the log.
"""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from actors.papers import SECTION_TOKENS, PaperTexts
from actors.runtime import Ending, Runtime, external
from events import Envelope
from events.reading import (
    InspirationMerged,
    InspirationRecorded,
    KnowledgeIndexed,
    PaperFound,
    ReadingStarted,
)
from nader.assembly import embedder_of, gateway_of, readers
from nader.errors import NaderError
from nader.ground import designer_of, own_prompts, resolve_backend, text_blobs, text_digest
from nader.literature import (
    Endpoints,
    Inspiration,
    InspirationFile,
    LiteratureError,
    NearDuplicates,
    PaperRecord,
    load_inspirations,
    parse_source,
    split_relevant,
)
from nader.llm import cost
from nader.settings import CampaignSettings
from nader.workspace import LIBRARY, Workspace, fold, require_name
from store import Log, sha256_hex

PAPERS = "papers"
"""Folder of a workspace where fetched papers are kept."""
ANSWER_TOKENS = 400
"""What an answer of the Reader's takes, roughly: for the estimate before a reading."""


class ReadingError(NaderError):
    """A source that cannot be read, or a library that cannot be used."""


@dataclass(frozen=True)
class Plan:
    """What a reading would do, and about what it would cost."""

    source: str
    papers: int
    known: int
    """Papers of the source that the library has read already."""
    calls: int
    tokens: int
    """Upper estimate: every paper relevant, every section at its longest."""
    money: float | None
    """US dollars; None where the model's price is not known."""
    inspirations: int
    """Of an import: entries in the list."""


@dataclass(frozen=True)
class ReadingReport:
    """What a reading or an import brought."""

    library: str
    ending: Ending
    papers: int
    relevant: int
    entered: int
    merged: int
    failed: dict[str, int]
    """Papers without a text, by kind."""
    irrelevant: int
    """Of an import: entries left out as not about blocks."""
    position: int
    """Where the library's stream stands now."""


def plan(workspace: Workspace, spec: str, name: str, settings: CampaignSettings, maximum: int) -> Plan:
    """What reading a source would do; nothing is recorded. Raises `ReadingError`, `WorkspaceError`."""
    require_name(name, "library")
    try:
        source = parse_source(spec, cache=workspace.path / PAPERS)
        if isinstance(source, InspirationFile):
            return Plan(str(source), 0, 0, 0, 0, 0.0, len(load_inspirations(source.path)))
        records = list(source.papers(maximum))
    except LiteratureError as error:
        raise ReadingError(str(error)) from None
    known = 0
    if workspace.log.exists():
        with workspace.reader() as reader:
            if any(branch.name == LIBRARY + name for branch in reader.branches()):
                views, _ = fold(reader, LIBRARY + name)
                known = sum(1 for record in records if record.id in views.knowledge.finished_papers())
    new = len(records) - known
    tokens = sum(len(record.abstract) // 4 + 300 + SECTION_TOKENS + 300 for record in records) if new else 0
    settings = resolve_backend(settings)
    if settings.llm.backend == "openai":
        money = cost(settings.llm.model, tokens, 2 * ANSWER_TOKENS * new)
    else:
        money, tokens = 0.0, 0
    return Plan(str(source), len(records), known, 2 * new, tokens, money, 0)


async def read(
    workspace: Workspace,
    spec: str,
    name: str,
    settings: CampaignSettings,
    maximum: int,
    *,
    filtered: bool = True,
    watch: Callable[[Envelope], None] | None = None,
) -> ReadingReport:
    """Read a source into the library `name`, or go on with it; papers that were read are not read again.

    `filtered` leaves out entries of an imported list that do not speak of blocks. Raises `NaderError`,
    `StoreError`.
    """
    settings = resolve_backend(settings)
    workspace.create()
    try:
        source = parse_source(spec, cache=workspace.path / PAPERS)
        imported = isinstance(source, InspirationFile)
        records = (
            []
            if isinstance(source, InspirationFile)
            else await asyncio.to_thread(lambda: list(source.papers(maximum)))
        )
    except LiteratureError as error:
        raise ReadingError(str(error)) from None
    log = await Log.open(workspace.log, create=True, synchronous=settings.synchronous)
    try:
        branch = LIBRARY + name
        if all(b.name != branch for b in log.branches()):
            require_name(name, "library")
            await log.create_branch(branch, run=branch)
        _require_same_embedder(log, branch, settings)
        if watch is not None:
            _observe(log, branch, watch)
        started = ReadingStarted(
            library=name,
            source=str(source),
            settings=settings.model_dump(mode="json"),
            designer=designer_of(settings),
            prompts={prompt: text_digest(text) for prompt, text in own_prompts(settings).items()},
            maximum=maximum,
        )
        await log.append(branch, [external(started)], blobs=text_blobs(own_prompts(settings).values()))
        if imported:
            assert isinstance(source, InspirationFile)
            return await _import(log, branch, name, source, settings, filtered)
        return await _read_papers(workspace, log, branch, name, records, settings)
    finally:
        await log.close()


def _observe(log: Log, branch: str, watch: Callable[[Envelope], None]) -> None:
    def pass_on(envelopes: list[Envelope]) -> None:
        for envelope in envelopes:
            if envelope.branch == branch:
                watch(envelope)

    log.subscribe(pass_on)


async def _read_papers(
    workspace: Workspace,
    log: Log,
    branch: str,
    name: str,
    records: list[PaperRecord],
    settings: CampaignSettings,
) -> ReadingReport:
    views, _ = fold(log, branch)
    known = {found.paper for found in views.knowledge.papers()}
    for record in records:
        if record.id not in known:
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
            await log.append(branch, [external(found, about=record.id[:12])], blobs=blobs)
    views, history = fold(log, branch)
    gateway, embedding = gateway_of(settings, workspace, views)
    fetcher = Endpoints.from_environment().fetcher()
    texts = PaperTexts(fetcher, workspace.path / PAPERS)

    def over() -> str | None:
        return "read" if len(views.knowledge.finished_papers()) >= len(views.knowledge.papers()) else None

    runtime = Runtime(log, branch, history, views, [*readers(), texts, gateway, embedding], over=over)
    try:
        ending = await runtime.run()
    finally:
        await gateway.close()
    return _report(log, branch, name, ending, irrelevant=0)


async def _import(
    log: Log, branch: str, name: str, source: InspirationFile, settings: CampaignSettings, filtered: bool
) -> ReadingReport:
    """Enter a list of inspirations: relevant ones, none twice, with vectors."""
    try:
        listed = load_inspirations(source.path, name)
    except LiteratureError as error:
        raise ReadingError(str(error)) from None
    kept, left_out = split_relevant(listed) if filtered else (listed, [])
    views, _ = fold(log, branch)
    seen = NearDuplicates()
    held = set()
    for row in views.knowledge.all():
        seen.add(row.id, row.text)
        held.add(row.id)
    new: list[Inspiration] = []
    pendings = []
    for one in kept:
        if one.id in held:
            continue
        duplicate = seen.find(one.text)
        if duplicate is not None:
            merged = InspirationMerged(
                text=one.text, into=duplicate[0], similarity=duplicate[1], paper=one.paper.ref
            )
            pendings.append(external(merged))
            continue
        seen.add(one.id, one.text)
        new.append(one)
        pendings.append(
            external(
                InspirationRecorded(
                    inspiration=one.id,
                    text=one.text,
                    title=one.paper.title,
                    year=one.paper.year,
                    ref=one.paper.ref,
                    section=one.section or "",
                    page=one.page,
                )
            )
        )
    blobs: dict[str, bytes] = {}
    if new:
        embedder = embedder_of(settings)
        vectors = (await embedder.embed([one.text for one in new])).astype("<f4").tobytes()
        ids = json.dumps([one.id for one in new]).encode("utf-8")
        llm = settings.llm
        indexed = KnowledgeIndexed(
            inspirations=sha256_hex(ids),
            vectors=sha256_hex(vectors),
            embedder=llm.embedder_name,
            dimension=llm.embedding_dimension,
            count=len(new),
        )
        pendings.append(external(indexed))
        blobs = {sha256_hex(ids): ids, sha256_hex(vectors): vectors}
    await log.append(branch, pendings, blobs=blobs)  # at once: no inspiration is ever without its vector
    return _report(log, branch, name, Ending("finished", "imported"), irrelevant=len(left_out))


def _report(log: Log, branch: str, name: str, ending: Ending, *, irrelevant: int) -> ReadingReport:
    views, history = fold(log, branch)
    failed: dict[str, int] = {}
    relevant = entered = merged = 0
    for envelope in history.events:
        data = envelope.data()
        if envelope.type == "PaperJudged":
            relevant += bool(data["relevant"])
        elif envelope.type == "PaperTextFailed":
            failed[data["kind"]] = failed.get(data["kind"], 0) + 1
        elif envelope.type == InspirationRecorded.__name__:
            entered += 1
        elif envelope.type == InspirationMerged.__name__:
            merged += 1
    papers = len(views.knowledge.papers())
    return ReadingReport(
        name, ending, papers, relevant, entered, merged, failed, irrelevant, log.head(branch).position
    )


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
