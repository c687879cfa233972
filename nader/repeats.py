"""Ideas that two sources of a campaign share: those of a library, or of the shipped list, that say what one
of an earlier source says.

The rule is that of a library, with the same thresholds: an idea from a paper is compared by its vector
(`reading.near_duplicate`), an idea of a list by its words (`reading.near_duplicate_words`), and the same
words are one idea in any case. Ideas of one source were compared with each other when they entered it.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from actors.divergence import Difference, causation_chain
from actors.history import OPERATOR, History
from events import Envelope
from events.campaign import CampaignStarted
from events.reading import InspirationRecorded, InspirationRepeated, KnowledgeIndexed
from nader.literature import NearDuplicates, seed_inspirations
from nader.settings import CampaignSettings, validated
from nader.workspace import attached_events
from store import Reader, StoreError
from store.projections.knowledge import OWN, same_words
from store.projections.vectors import Vector, product, round_off, unit

_Space = tuple[str, int]


@dataclass(frozen=True, eq=False)
class _Idea:
    id: str
    text: str
    listed: bool
    """Whether it is of a list, and not drawn from a paper."""
    vector: Vector | None = None
    space: _Space = ("", 0)


def repeats(
    log: Reader,
    libraries: Mapping[str, int],
    settings: CampaignSettings,
    run: str | None = None,
) -> Iterator[InspirationRepeated]:
    """Every idea that repeats one of an earlier source; libraries come by name, each up to its position, and
    the shipped list last, as the Reader enters them. Those that a `run` of the log took in are found
    under whatever name they have here.
    """
    if settings.search.reader != "on" or not libraries:
        return
    earlier = _Earlier(settings)
    for source, at in sorted(libraries.items()):
        types = (InspirationRecorded.__name__, KnowledgeIndexed.__name__)
        held = (
            log.read(source, upto=at, types=types)
            if run is None
            else attached_events(log, run, source, at, types)
        )
        yield from earlier.compare(source, list(_ideas(log, held)))
    if settings.search.shipped_inspirations:
        yield from earlier.compare(OWN, [_Idea(one.id, one.text, True) for one in seed_inspirations()])


class _Earlier:
    """The ideas of the sources so far, but for those that repeat others."""

    def __init__(self, settings: CampaignSettings) -> None:
        self._least = settings.reading.near_duplicate
        self._words = NearDuplicates(settings.reading.near_duplicate_words)
        self._texts: dict[str, tuple[str, str]] = {}
        self._places: list[tuple[str, str]] = []
        """(source, id) of each, by the number it has among the words."""
        self._vectors: dict[_Space, tuple[list[tuple[str, str]], list[Vector]]] = {}

    def compare(self, source: str, ideas: list[_Idea]) -> Iterator[InspirationRepeated]:
        """Those of a source that repeat earlier ones; the others count among these from then on."""
        stacked = {space: np.stack(rows) for space, (_, rows) in self._vectors.items()}
        kept = []
        for idea in ideas:
            found = self._find(idea, stacked)
            if found is None:
                kept.append(idea)
                continue
            (into_source, into), similarity = found
            yield InspirationRepeated(
                source=source,
                inspiration=idea.id,
                into_source=into_source,
                into=into,
                similarity=similarity,
            )
        for idea in kept:
            place = source, idea.id
            self._words.add(str(len(self._places)), idea.text)
            self._places.append(place)
            self._texts.setdefault(same_words(idea.text), place)
            if idea.vector is not None:
                places, rows = self._vectors.setdefault(idea.space, ([], []))
                places.append(place)
                rows.append(idea.vector)

    def _find(self, idea: _Idea, stacked: Mapping[_Space, Vector]) -> tuple[tuple[str, str], float] | None:
        same = self._texts.get(same_words(idea.text))
        if same is not None:
            return same, 1.0
        if idea.listed:
            found = self._words.find(idea.text)
            return None if found is None else (self._places[int(found[0])], round(found[1], 6))
        rows = stacked.get(idea.space)
        if rows is None or idea.vector is None:
            return None
        similarities = product(rows, idea.vector)
        best = int(similarities.argmax())
        similarity = round_off(float(similarities[best]))
        return (self._vectors[idea.space][0][best], similarity) if similarity >= self._least else None


def _ideas(log: Reader, events: Iterable[Envelope]) -> Iterator[_Idea]:
    """The ideas that events of a library record, each once, with their vectors."""
    found: dict[str, Envelope] = {}
    vectors: dict[str, tuple[Vector, _Space]] = {}
    for envelope in events:
        event = envelope.event
        if isinstance(event, InspirationRecorded):
            found.setdefault(event.inspiration, envelope)
        elif isinstance(event, KnowledgeIndexed):
            rows = np.frombuffer(log.blob(event.vectors), dtype="<f4").reshape(-1, event.dimension)
            for id, row in zip(json.loads(log.blob(event.inspirations)), rows, strict=True):
                vectors.setdefault(id, (unit(row), (event.embedder, event.dimension)))
    for id, envelope in found.items():
        text, listed = envelope.data()["text"], envelope.actor == OPERATOR
        yield _Idea(id, text, listed, *vectors.get(id, (None, ("", 0))))


def wrong_repeats(log: Reader, history: History) -> list[Difference]:
    """Where what a run says of repeated ideas is not what its libraries give. A run of before they were told
    says nothing.
    """
    told = [e for e in history.events if e.type == InspirationRepeated.__name__]
    started = history.events[0].event if history.events else None
    if not told or not isinstance(started, CampaignStarted):
        return []
    settings = validated(started.settings, where="the log's settings")
    try:
        due = list(repeats(log, started.ground.libraries, settings, history.events[-1].branch))
    except (StoreError, ValueError):
        return []  # a library that is gone or damaged, which is told of itself (`nader.attached`)
    differences = []
    for number, e in enumerate(told):
        wanted = due[number].model_dump() if number < len(due) else None
        if e.data() != wanted:
            differences.append(_differs(e, wanted, history))
    if len(due) > len(told):
        differences.append(_differs(told[-1], due[len(told)].model_dump(), history))
    return differences


def _differs(e: Envelope, wanted: object, history: History) -> Difference:
    chain = causation_chain(e, history.at)
    return Difference(e.position, e.actor, e.type, "changed", "$", e.data(), wanted, chain)
