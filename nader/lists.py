"""Enters a list of inspirations into a library: relevant ones, none twice, every one with its vector."""

import json
from collections.abc import Iterator, Sequence

from actors.gateway import Embedding
from actors.history import History
from actors.reader import recorded
from actors.runtime import Ending, Runtime, external
from events import Envelope, Pending
from events.llm import EmbeddingCompleted, EmbeddingFailed, EmbeddingRequested
from events.reading import InspirationMerged, KnowledgeIndexed
from nader.hours import hours_capped
from nader.literature import Inspiration, NearDuplicates
from nader.offer import BATCH, ReadingError
from nader.settings import CampaignSettings
from store import Log, sha256_hex
from store.projections import Views

Batch = Sequence[Inspiration]
_SPACE = {"embedder", "dimension"}
_ROLE = "reader"
"""Whose caps hold for an import."""


async def enter(
    log: Log,
    branch: str,
    views: Views,
    history: History,
    embedding: Embedding,
    entries: Sequence[Inspiration],
    settings: CampaignSettings,
) -> Ending:
    """Enter what is new, all at once when all its vectors are there; until then nothing.

    Vectors are asked for in batches that stand in the log, so that a cap holds, and what was paid for is not
    asked again when the import goes on. Raises `ReadingError` where the embedder gives none.
    """
    new, pendings = _new(views, entries, settings)
    batches = [new[start : start + BATCH] for start in range(0, len(new), BATCH)]
    asked = [await _asked(log, branch, history, batch, settings) for batch in batches]
    views.apply_many(e for e in asked if e.position > views.position)
    history.add(e for e in asked if e.position > history.head)

    def over() -> str | None:
        return "imported" if all(history.answer_to(e.position) for e in asked) else None

    if over() is None:
        runtime = Runtime(log, branch, history, views, [embedding], over=over)
        with hours_capped(runtime, settings, history):
            ending = await runtime.run()
        if ending.kind == "paused":
            return ending
    blobs: dict[str, bytes] = {}
    for batch, request in zip(batches, asked, strict=True):
        answer = history.answer_to(request.position)
        assert answer is not None
        ids = json.dumps([one.id for one in batch]).encode("utf-8")
        blobs[sha256_hex(ids)] = ids
        pendings.append(external(_indexed(answer, sha256_hex(ids))))
    await log.append(branch, pendings, blobs=blobs)  # at once: no inspiration is ever without its vector
    return Ending("finished", "imported")


def _new(
    views: Views, entries: Sequence[Inspiration], settings: CampaignSettings
) -> tuple[list[Inspiration], list[Pending]]:
    """Entries that the library does not hold, and the events that enter them or merge them into others."""
    seen, held = NearDuplicates(settings.reading.near_duplicate_words), set()
    for row in views.knowledge.all():
        seen.add(row.id, row.text)
        held.add(row.id)
    new: list[Inspiration] = []
    pendings = []
    for one in entries:
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
        pendings.append(external(recorded(one)))
    return new, pendings


async def _asked(
    log: Log, branch: str, history: History, batch: Batch, settings: CampaignSettings
) -> Envelope:
    """The request for a batch's vectors: an earlier one that is open or was answered, else a new one."""
    texts = json.dumps([one.text for one in batch], ensure_ascii=False).encode("utf-8")
    llm = settings.llm
    request = EmbeddingRequested(
        agent=_ROLE,
        texts=sha256_hex(texts),
        count=len(batch),
        embedder=llm.embedder_name,
        dimension=llm.embedding_dimension,
    )
    for earlier in _requests(history):
        answer = history.answer_to(earlier.position)
        if earlier.event.model_dump(exclude=_SPACE) != request.model_dump(exclude=_SPACE):
            continue
        if answer is None:  # open: whoever was to answer it then, it is put to the embedder of now
            return earlier
        if answer.event.model_dump(include=_SPACE) == request.model_dump(include=_SPACE):
            return earlier
    return (await log.append(branch, [external(request)], blobs={sha256_hex(texts): texts}))[0]


def _requests(history: History) -> Iterator[Envelope]:
    return (e for e in history.events if e.type == EmbeddingRequested.__name__)


def _indexed(answer: Envelope, ids: str) -> KnowledgeIndexed:
    """The index entry of a batch. Raises `ReadingError` where it has no vectors."""
    event = answer.event
    if not isinstance(event, EmbeddingCompleted):
        why = f"{event.kind}: {event.message}" if isinstance(event, EmbeddingFailed) else "cancelled"
        raise ReadingError(
            f"the embedder gave no vectors, so nothing of the list was entered ({why.rstrip('.')}); the same "
            "command goes on with those that it gave"
        )
    return KnowledgeIndexed(
        inspirations=ids,
        vectors=event.vectors,
        embedder=event.embedder,
        dimension=event.dimension,
        count=event.count,
    )
