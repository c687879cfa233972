"""The Reader enters what a campaign knows at its start: the shipped inspirations and the libraries it
uses.
"""

import json

import numpy as np

from actors.actor import Agent, handles
from actors.asking import Embedded, embed, settings_at
from actors.context import AgentContext
from events import Event
from events.campaign import CampaignStarted
from events.reading import InspirationRecorded, KnowledgeIndexed, LibraryAttached
from nader.literature import Inspiration, seed_inspirations


def recorded(one: Inspiration) -> InspirationRecorded:
    """An inspiration of a list as the event that enters it."""
    return InspirationRecorded(
        inspiration=one.id,
        text=one.text,
        title=one.paper.title,
        year=one.paper.year,
        ref=one.paper.ref,
        section=one.section or "",
        page=one.page,
    )


class Reader(Agent):
    """Brings knowledge into a campaign; `nader read` has it read papers into a library (see
    `actors.papers`).
    """

    name = "reader"
    serial = True

    @handles(CampaignStarted)
    async def on_start(self, ctx: AgentContext, started: CampaignStarted) -> None:
        """Enter inspirations with their papers, and their vectors once."""
        settings = settings_at(ctx)
        entered = []
        if settings.search.reader == "on":
            if settings.search.shipped_inspirations:
                entered = list(seed_inspirations())
            for library, position in sorted(started.ground.libraries.items()):
                await ctx.emit(LibraryAttached(library=library, at=position), name=f"library/{library}")
        for seed in entered:
            await ctx.emit(recorded(seed), name=f"inspiration/{seed.id}")
        await self._index(ctx, [seed.id for seed in entered], [seed.text for seed in entered])

    def give_up(self, cause: Event, error: str) -> list[Event]:
        """Nothing known: the Proposer goes on with what it has."""
        return []

    async def _index(self, ctx: AgentContext, ids: list[str], texts: list[str]) -> None:
        settings = settings_at(ctx)
        llm = settings.llm
        found = None
        for attempt in range(1, llm.embedding_tries + 1):
            if texts and found is None:
                found = await embed(ctx, settings, texts, name=f"inspirations/{attempt}")
        if found is None:
            none = np.zeros((0, llm.embedding_dimension), dtype="<f4")
            ids, found = [], Embedded(none, llm.embedder_name, llm.embedding_dimension)
        await ctx.emit(
            KnowledgeIndexed(
                inspirations=ctx.put(json.dumps(ids)),
                vectors=ctx.put(found.vectors.astype("<f4").tobytes()),
                embedder=found.embedder,
                dimension=found.dimension,
                count=len(ids),
            )
        )
