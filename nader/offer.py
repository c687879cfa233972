"""What a source offers, looked up once, and what reading it would take, roughly."""

from collections.abc import Sequence
from dataclasses import dataclass

import prompts
from actors.papers import ABSTRACT, owed
from nader.assembly import model_of, prices_of
from nader.errors import NaderError
from nader.ground import own_prompts, resolve_backend
from nader.literature import (
    Inspiration,
    InspirationFile,
    LiteratureError,
    PaperRecord,
    load_inspirations,
    parse_source,
)
from nader.settings import CampaignSettings
from nader.workspace import LIBRARY, Workspace, fold, require_name

PAPERS = "papers"
"""Folder of a workspace where fetched papers are kept."""
JUDGEMENT_TOKENS, EXTRACT_TOKENS, IDEA_TOKENS = 80, 400, 60
"""What a judgement, the inspirations of a paper, and one of them take, roughly."""
BATCH = 256
"""Texts of a list that are embedded at once: a cap holds in such steps, and a failure costs one."""
CHARACTERS = 4
"""Characters that make a token, roughly, in English."""


class ReadingError(NaderError):
    """A source that cannot be read, or a library that cannot be used."""


@dataclass(frozen=True)
class Offer:
    """The papers of a source, or the entries of a list of inspirations."""

    source: str
    papers: tuple[PaperRecord, ...] = ()
    entries: tuple[Inspiration, ...] = ()
    """Of a list; `papers` is empty then."""


@dataclass(frozen=True)
class Plan:
    """What a reading would do, and about what it would cost."""

    source: str
    papers: int
    known: int
    """Papers of the source that the library is done with."""
    calls: int
    """Questions, and requests for vectors where they are an endpoint's."""
    tokens: int
    """In and out, of the papers that are left: every one relevant, every section at its longest, every answer
    right at once.
    """
    money: float | None
    """US dollars for those; None where a model's price is not known."""
    inspirations: int
    """Of a list: its entries."""


def look_up(workspace: Workspace, spec: str, name: str, maximum: int) -> Offer:
    """What a source offers to the library `name`: at most `maximum` papers. Raises `ReadingError`."""
    try:
        source = parse_source(spec, cache=workspace.path / PAPERS)
        if isinstance(source, InspirationFile):
            return Offer(str(source), entries=tuple(load_inspirations(source.path, name)))
        offer = Offer(str(source), papers=tuple(source.papers(maximum)))
    except LiteratureError as error:
        raise ReadingError(str(error)) from None
    if not offer.papers:
        raise ReadingError(f"{offer.source} offers no papers, so there is nothing to read")
    return offer


def plan(
    workspace: Workspace,
    spec: str,
    name: str,
    settings: CampaignSettings,
    maximum: int,
    offer: Offer | None = None,
) -> Plan:
    """What reading a source would do; nothing is recorded. Raises `ReadingError`, `WorkspaceError`."""
    require_name(name, "library")
    offer = offer or look_up(workspace, spec, name, maximum)
    settings = resolve_backend(settings)
    if offer.entries:
        texts = [len(entry.text) // CHARACTERS for entry in offer.entries]
        estimate = _Estimate(settings)
        estimate.embed(sum(texts), -(-len(texts) // BATCH))
        return Plan(offer.source, 0, 0, estimate.calls, estimate.tokens, estimate.money, len(texts))
    done = _settled(workspace, name)
    new = [record for record in offer.papers if record.id not in done]
    estimate = _Estimate(settings)
    if settings.llm.backend == "openai":
        estimate.read(new)
    else:
        estimate.calls += 2 * len(new)
    estimate.embed(settings.reading.inspirations * IDEA_TOKENS * len(new), len(new))
    known = len(offer.papers) - len(new)
    return Plan(offer.source, len(offer.papers), known, estimate.calls, estimate.tokens, estimate.money, 0)


class _Estimate:
    """A running sum of what questions would take."""

    def __init__(self, settings: CampaignSettings) -> None:
        self._settings = settings
        self._prices = prices_of(settings)
        self.calls = self.tokens = 0
        self.money: float | None = 0.0

    def read(self, records: Sequence[PaperRecord]) -> None:
        """Both questions to each paper."""
        own, reading = own_prompts(self._settings), self._settings.reading
        judge, extract = (
            prompts.load_text(name, own[name]) if name in own else prompts.load(name)
            for name in ("judge_relevance", "extract_inspirations")
        )
        about = {"title": "", "abstract": ""}
        judging = _length(judge.render(**about))
        extracting = _length(
            extract.render(title="", part=ABSTRACT, section="", maximum=reading.inspirations)
        )
        asked = told = 0
        for record in records:
            abstract = (len(record.paper.title) + len(record.abstract)) // CHARACTERS
            asked += judging + extracting + 2 * abstract + (reading.section_tokens if record.has_text else 0)
            told += JUDGEMENT_TOKENS + EXTRACT_TOKENS
        self._add(model_of(self._settings, "reader"), 2 * len(records), asked, told)

    def embed(self, tokens: int, calls: int) -> None:
        """Vectors, where they are not made here."""
        if self._settings.llm.embedder == "openai":
            self._add(self._settings.llm.embedding_model, calls, tokens, 0)

    def _add(self, model: str, calls: int, asked: int, told: int) -> None:
        cost = self._prices.cost(model, asked, told) if calls else 0.0
        self.calls += calls
        self.tokens += asked + told
        self.money = None if self.money is None or cost is None else self.money + cost


def _length(messages: Sequence[prompts.Message]) -> int:
    return sum(len(message.content) for message in messages) // CHARACTERS


def _settled(workspace: Workspace, name: str) -> set[str]:
    """Papers that a library is done with."""
    if not workspace.log.exists():
        return set()
    with workspace.reader() as reader:
        if all(branch.name != LIBRARY + name for branch in reader.branches()):
            return set()
        knowledge = fold(reader, LIBRARY + name)[0].knowledge
    return knowledge.finished_papers().keys() - owed(knowledge).keys()
