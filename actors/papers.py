"""Reads papers into a library (paper Algorithm 1): relevant or not, the method section, the inspirations in
it.
"""

import asyncio
from pathlib import Path

from actors.actor import Agent, Effector, handles
from actors.asking import NoAnswer, Variable, ask_model, settings_at
from actors.context import AgentContext, EffectorContext
from events import Envelope, Event
from events.reading import (
    InspirationsExtracted,
    PaperFound,
    PaperJudged,
    PaperTextFailed,
    PaperTextRead,
    PaperTextRequested,
)
from nader.literature import FailureKind, Fetcher, PaperRecord, TextFailure, method_section, read_paper
from nader.settings import validated
from store.projections.knowledge import Knowledge

READ, NOT_RELEVANT, NO_ANSWER = "read", "not relevant", "no answer"
"""Outcomes of a paper; the last goes with the kind of failure."""
ABSTRACT = "abstract"
"""What is read of a paper whose text cannot be had, and the heading of it."""
_NOT_THERE = (str(FailureKind.UNREACHABLE), str(FailureKind.MISSING))
"""Failures of a text that may be had another time."""
_SETTLED = frozenset({READ, NOT_RELEVANT, *(str(k) for k in FailureKind if k != FailureKind.UNREACHABLE)})


def owed(knowledge: Knowledge) -> dict[str, str]:
    """What a model or a server owes the papers of a library that were read: an answer, vectors, a text.

    It may be there the next time; all other outcomes are about the paper, and another reading would find the
    same. A paper that was read by its abstract, because a server or a file was not there, is owed its text.
    """
    texts = knowledge.texts_failed()
    with_text = {found.paper for found in knowledge.papers() if found.has_text}
    papers = {}
    for paper, event in knowledge.finished_papers().items():
        kind = texts.get(paper, "")
        if event.outcome not in _SETTLED:
            papers[paper] = event.outcome
        elif kind in _NOT_THERE and paper in with_text:
            papers[paper] = f"text {kind}"
    return papers


class PaperReader(Agent):
    """Judges papers by their abstracts and draws inspirations from the relevant ones, several at once."""

    name = "reader"
    concurrency = 8

    @handles(PaperFound)
    async def on_paper(self, ctx: AgentContext, found: PaperFound) -> None:
        """One paper, from its abstract to its inspirations. A paper's text is quoted data and nothing
        else.
        """
        settings = settings_at(ctx)
        most = settings.reading.inspirations
        abstract = ctx.text(found.abstract)
        text, section, page = abstract, ABSTRACT, None
        try:
            if found.has_text and not abstract:
                terminal = (await ctx.ask(PaperTextRequested(paper=found.paper), name="text")).event
                if not isinstance(terminal, PaperTextRead):
                    return await self._extracted(ctx, found, (), _kind(terminal))
                text, section, page = ctx.text(terminal.text), terminal.section, terminal.first_page
                abstract = text[: settings.reading.abstract_characters]
            variables = {"title": found.title, "abstract": abstract}
            relevance = await ask_model(ctx, settings, "judge_relevance", variables, name="relevance")
            judged = PaperJudged(paper=found.paper, relevant=relevance.relevant, reason=relevance.reason)
            await ctx.emit(judged)
            if not relevance.relevant:
                return await self._extracted(ctx, found, (), NOT_RELEVANT)
            if found.has_text and section == ABSTRACT:
                terminal = (await ctx.ask(PaperTextRequested(paper=found.paper), name="text")).event
                if isinstance(terminal, PaperTextRead):
                    text, section, page = ctx.text(terminal.text), terminal.section, terminal.first_page
            part = ABSTRACT if section == ABSTRACT else "method section"
            asked: dict[str, Variable] = {
                "title": found.title,
                "part": part,
                "section": text,
                "maximum": most,
            }
            answer = await ask_model(ctx, settings, "extract_inspirations", asked, name="inspirations")
        except NoAnswer as failure:
            return await self._extracted(ctx, found, (), f"{NO_ANSWER} ({failure.kind})")
        await self._extracted(ctx, found, answer.inspirations[:most], READ, section, page)

    def give_up(self, cause: Event, error: str) -> list[Event]:
        """A paper that could not be handled."""
        assert isinstance(cause, PaperFound)
        return [InspirationsExtracted(paper=cause.paper, texts=(), section="", page=None, outcome=error)]

    async def _extracted(
        self,
        ctx: AgentContext,
        found: PaperFound,
        texts: tuple[str, ...],
        outcome: str,
        section: str = "",
        page: int | None = None,
    ) -> None:
        await ctx.emit(
            InspirationsExtracted(paper=found.paper, texts=texts, section=section, page=page, outcome=outcome)
        )


class PaperTexts(Effector):
    """Fetches papers and finds their method sections; PDFs are taken apart in processes of their own."""

    name = "paper-source"
    concurrency = 1  # a fetcher keeps its distance to a server, and is for one at a time

    def __init__(self, fetcher: Fetcher, cache: Path) -> None:
        self._fetcher = fetcher
        self._cache = cache

    @handles(PaperTextRequested)
    async def perform(self, ctx: EffectorContext, request: Envelope) -> Event:
        """The method section, or why there is none."""
        asked = request.event
        assert isinstance(asked, PaperTextRequested) and request.causation is not None
        cause = ctx.history.at(request.causation)
        assert cause is not None and isinstance(cause.event, PaperFound)
        record = PaperRecord.model_validate_json(ctx.text(cause.event.record))
        text = await asyncio.to_thread(read_paper, record, self._fetcher, self._cache)
        if isinstance(text, TextFailure):
            return PaperTextFailed(paper=asked.paper, kind=str(text.kind), message=text.message)
        reading = validated(ctx.views.status.settings(), where="the log's settings").reading
        section = method_section(text, reading.section_tokens)
        return PaperTextRead(
            paper=asked.paper,
            section=section.heading,
            first_page=section.first_page,
            last_page=section.last_page,
            pages=text.total_pages,
            text=ctx.put(section.text),
            note=section.note,
        )

    def failure(self, request: Event, error: str) -> Event:
        """A text that the program itself failed to read."""
        assert isinstance(request, PaperTextRequested)
        return PaperTextFailed(paper=request.paper, kind="internal", message=error)


def _kind(terminal: Event) -> str:
    return terminal.kind if isinstance(terminal, PaperTextFailed) else "cancelled"
