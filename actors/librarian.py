"""The Librarian enters inspirations one paper at a time, so that what repeats an earlier one is seen to
repeat it.
"""

import json

import numpy as np

from actors.actor import Agent, handles
from actors.asking import Vectors, embed, settings_at
from actors.context import AgentContext
from events import Event
from events.reading import (
    InspirationMerged,
    InspirationRecorded,
    InspirationsExtracted,
    KnowledgeIndexed,
    PaperFinished,
    PaperFound,
)

NO_VECTORS = "read, but the embedder gave no vectors for its inspirations"
"""Outcome of a paper whose inspirations could not be entered."""


class Librarian(Agent):
    """Keeps a library: no idea twice, every idea with its paper, vectors computed once."""

    name = "librarian"
    serial = True
    answered = (InspirationsExtracted.__name__,)

    @handles(InspirationsExtracted)
    async def on_extracted(self, ctx: AgentContext, extracted: InspirationsExtracted) -> None:
        """Enter what is new of one paper."""
        found = next(p for p in ctx.views.knowledge.papers(ctx.view) if p.paper == extracted.paper)
        kept = await self._enter(ctx, extracted, found) if extracted.texts else 0
        outcome = extracted.outcome if kept is not None else NO_VECTORS
        await ctx.emit(PaperFinished(paper=extracted.paper, inspirations=kept or 0, outcome=outcome))

    def give_up(self, cause: Event, error: str) -> list[Event]:
        """A paper of which nothing is entered."""
        assert isinstance(cause, InspirationsExtracted)
        return [PaperFinished(paper=cause.paper, inspirations=0, outcome=error)]

    async def _enter(
        self, ctx: AgentContext, extracted: InspirationsExtracted, found: PaperFound
    ) -> int | None:
        """How many were entered; None where the embedder gave no vectors to compare."""
        settings = settings_at(ctx)
        embedded = await embed(ctx, settings, extracted.texts, name="inspirations")
        if embedded is None:
            return None
        ids, known = ctx.views.knowledge.matrix(ctx.view)
        kept: list[tuple[str, Vectors]] = []
        stem = f"{extracted.paper[:12]}-"
        earlier = _entered(ctx, stem)
        for number, (text, vector) in enumerate(
            zip(extracted.texts, embedded.vectors, strict=True), earlier + 1
        ):
            near = _nearest(vector, ids, known, kept)
            if near is not None and near[1] >= settings.reading.near_duplicate:
                merged = InspirationMerged(text=text, into=near[0], similarity=near[1], paper=extracted.paper)
                await ctx.emit(merged)
                continue
            identity = f"{stem}{number}"
            kept.append((identity, vector))
            await ctx.emit(
                InspirationRecorded(
                    inspiration=identity,
                    text=text,
                    title=found.title,
                    year=found.year,
                    ref=found.ref,
                    section=extracted.section,
                    page=extracted.page,
                )
            )
        if kept:
            await ctx.emit(
                KnowledgeIndexed(
                    inspirations=ctx.put(json.dumps([identity for identity, _ in kept])),
                    vectors=ctx.put(np.stack([v for _, v in kept]).astype("<f4").tobytes()),
                    embedder=embedded.embedder,
                    dimension=embedded.dimension,
                    count=len(kept),
                )
            )
        return len(kept)


def _entered(ctx: AgentContext, stem: str) -> int:
    """The last number that an inspiration of a paper has: one that was read by its abstract is read again."""
    ids = (row.id for row in ctx.views.knowledge.all(ctx.view))
    ends = (id.removeprefix(stem) for id in ids if id.startswith(stem))
    return max((int(end) for end in ends if end.isdecimal()), default=0)


def _nearest(
    vector: Vectors, ids: tuple[str, ...], known: Vectors, kept: list[tuple[str, Vectors]]
) -> tuple[str, float] | None:
    """The id of the most similar inspiration, and its cosine similarity."""
    names = [*ids, *(identity for identity, _ in kept)]
    if not names:
        return None
    rows = np.concatenate([known.reshape(len(ids), len(vector)), *(v[None] for _, v in kept)])
    similarities = rows @ vector
    best = int(similarities.argmax())
    return names[best], round(float(similarities[best]), 6)
