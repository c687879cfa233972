"""Histories of campaigns that never ran: every event type the projections fold, in a random but lawful
order.
"""

import json
import random
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from events.campaign import (
    BaseDesigned,
    CampaignFinished,
    CampaignPaused,
    CampaignResumed,
    CampaignStarted,
    Ground,
    HandlerFailed,
    RoundClosed,
    RoundDesigned,
    RoundOpened,
    SettingsChanged,
)
from events.development import DesignAbandoned, DesignReady, DraftAccepted, DraftRejected
from events.envelope import Pending
from events.llm import (
    ChatCompleted,
    ChatFailed,
    ChatRequested,
    EmbeddingCompleted,
    EmbeddingRequested,
    MessageRef,
)
from events.reading import InspirationRecorded, KnowledgeIndexed
from events.reflection import CandidateClosed, ExperienceRecorded, LessonRecorded, ReflectionRequested
from events.registry import Event, encode
from events.research import DuplicateRecognised, InspirationsRanked, ParentChosen, ProposalMade
from events.training import (
    CandidateFailed,
    CandidateTrained,
    EpochFinished,
    TrainingCompleted,
    TrainingFailed,
    TrainingRequested,
    TrainingStarted,
)
from store import sha256_hex

Step = Generator[tuple[Event, str, int | None, str | None], int, Any]
"""Yields (event, actor, causation, correlation); is sent the position it was given."""
EMBEDDER = "hashed"


@dataclass
class Story:
    """The pendings of a history in order, with the blobs they name."""

    pendings: list[Pending] = field(default_factory=list)
    blobs: dict[str, bytes] = field(default_factory=dict)

    def put(self, data: bytes | str) -> str:
        """Keep a blob."""
        raw = data.encode() if isinstance(data, str) else data
        digest = sha256_hex(raw)
        self.blobs[digest] = raw
        return digest

    def emit(self, event: Event, actor: str, cause: int | None = None, about: str | None = None) -> int:
        """Append an event; returns its position."""
        name, version, payload = encode(event)
        position = len(self.pendings) + 1
        key = None if type(event).progress else sha256_hex(f"{actor}/{position}".encode())
        digest = None if key is None else sha256_hex(payload.encode())
        when = 1_700_000_000 + position * 0.37
        id = f"{position:08x}-0000-7000-8000-000000000000"
        self.pendings.append(Pending(actor, name, version, payload, cause, about, key, digest, id, when))
        return position


def ground() -> Ground:
    """What a campaign's settings refer to."""
    return Ground(classes=10, image=(1, 8, 8), data="digits", recipe={"name": "digits"}, libraries={})


class _Campaign:
    def __init__(self, candidates: int, width: int, epochs: int, dimension: int, seed: int) -> None:
        self.story = Story()
        self.chance = random.Random(seed)
        self.wanted, self.width, self.epochs, self.dimension = candidates, width, epochs, dimension
        self.trained: list[tuple[str, float]] = []
        self.design_positions: dict[str, int] = {}
        self.made = 0

    def vector(self) -> bytes:
        row = np.array([self.chance.gauss(0, 1) for _ in range(self.dimension)], dtype="<f4")
        return row.tobytes()

    def write(self) -> Story:
        """The whole history, several rounds deep, with its candidates interleaved."""
        story = self.story
        settings: dict[str, Any] = {"search": {"width": self.width}}
        start = story.emit(
            CampaignStarted(
                settings=settings,
                ground=ground(),
                designer="rule-based",
                base=story.put("base"),
                base_source="resnet-basic",
                nader_version="0",
            ),
            "user",
        )
        ids = [f"insp-{n:03d}" for n in range(20)]
        for id in self.chance.sample(ids, len(ids)):
            story.emit(
                InspirationRecorded(inspiration=id, text=f"use {id}", title="T", year=2020, ref=id), "user"
            )
        story.emit(
            KnowledgeIndexed(
                inspirations=story.put(json.dumps(ids)),
                vectors=story.put(b"".join(self.vector() for _ in ids)),
                embedder=EMBEDDER,
                dimension=self.dimension,
                count=len(ids),
            ),
            "embedder",
        )
        base = BaseDesigned(
            candidate="base",
            design=story.put("base"),
            digest="d-base",
            width=8,
            params=1000,
            macs=9000,
            source="x",
        )
        at = story.emit(base, "director", start, "base")
        self.run([self.training("base", "d-base", at, 0)])
        number = 0
        while self.made < self.wanted:
            number += 1
            self.round(number, ids)
            if number == 2:
                story.emit(CampaignPaused(reason="asked to stop"), "user")
                story.emit(CampaignResumed(nader_version="0"), "user")
                story.emit(
                    HandlerFailed(actor="modifier", attempt=1, error="E", traceback="T", final=False),
                    "supervisor",
                )
        best = max(self.trained, key=lambda pair: pair[1])[0]
        end = story.emit(CampaignFinished(reason="completed", best=best), "director")
        story.emit(
            SettingsChanged(
                changes={"search.width": 9},
                settings={"search": {"width": 9}},
                ground=ground(),
                designer="inbox",
            ),
            "user",
            end,
        )
        return story

    def run(self, steps: list[Step]) -> None:
        """Interleave streams at random until all have ended."""
        waiting: list[tuple[Step, int | None]] = [(step, None) for step in steps]
        while waiting:
            n = self.chance.randrange(len(waiting))
            step, answer = waiting[n]
            try:
                event, actor, cause, about = step.send(answer) if answer is not None else next(step)
            except StopIteration:
                waiting.pop(n)
            else:
                waiting[n] = (step, self.story.emit(event, actor, cause, about))

    def round(self, number: int, ids: list[str]) -> None:
        story, chance = self.story, self.chance
        parent = chance.choice(self.trained)[0]
        opened = story.emit(RoundOpened(round=number, visible=number - 2), "director")
        story.emit(ParentChosen(round=number, parent=parent, strategy="dfs", reason="r"), "proposer", opened)
        self.run([self.chat("proposer", "rank", opened, None)])
        ranking = tuple(chance.sample(ids, self.width))
        levels = ("drawn",) * self.width
        ranked = InspirationsRanked(
            round=number, parent=parent, retrieved=ranking, levels=levels, ranking=ranking, by="model"
        )
        story.emit(ranked, "proposer", opened)
        fates: dict[str, str] = {}
        places = {f"c{number}-{n}": n for n in range(1, self.width + 1)}
        self.run(
            [self.proposal(c, number, n, parent, ranking[n - 1], opened, fates) for c, n in places.items()]
        )
        accepted = tuple(c for c in places if fates[c] == "designed")
        duplicates = tuple(c for c in places if fates[c] == "duplicate")
        abandoned = tuple(c for c in places if fates[c] == "abandoned")
        self.made += max(1, len(accepted))
        story.emit(
            RoundDesigned(
                round=number, parent=parent, accepted=accepted, duplicates=duplicates, abandoned=abandoned
            ),
            "proposer",
            opened,
        )
        self.run([self.training(c, f"d-{c}", self.design_positions[c], number, parent) for c in accepted])
        self.run([self.reflection(c, number, parent, fates[c]) for c in (*accepted, *abandoned)])
        story.emit(RoundClosed(round=number), "director")

    def chat(self, agent: str, prompt: str, cause: int, about: str | None) -> Step:
        text = self.story.put(f"prompt {prompt} {self.chance.random()}")
        request = ChatRequested(
            agent=agent,
            prompt=prompt,
            prompt_version=1,
            prompt_digest="p",
            messages=(MessageRef(role="user", digest=text),),
            backend="openai",
            model="m-1",
            temperature=0.5,
            max_tokens=100,
        )
        at = yield request, agent, cause, about
        if self.chance.random() < 0.1:
            failed = ChatFailed(kind="refused", message="m", attempts=2, input_tokens=7, cost=0.25)
            yield failed, "gateway", at, about
        else:
            answer = self.story.put(f"answer {self.chance.random()}")
            yield (
                ChatCompleted(
                    answer=answer,
                    model=self.chance.choice(["m-1", "m-1-2024"]),
                    backend="openai",
                    finish="stop",
                    input_tokens=100,
                    output_tokens=50,
                    cost=self.chance.choice([0.5, None]),
                    latency=1.0,
                    attempts=1,
                    reused=self.chance.choice(["", "", "", "main:7"]),
                ),
                "gateway",
                at,
                about,
            )

    def proposal(
        self,
        id: str,
        round: int,
        index: int,
        parent: str,
        inspiration: str,
        cause: int,
        fates: dict[str, str],
    ) -> Step:
        at = yield (
            ProposalMade(
                candidate=id,
                round=round,
                index=index,
                parent=parent,
                inspiration=inspiration,
                suggestion=f"do {id}",
                paper="",
                visible=round - 2,
            ),
            "proposer",
            cause,
            id,
        )
        attempts = 0
        for role in ("cell", "stem", "downsample"):
            yield from self.chat("modifier", f"write_{role}", at, id)
            if self.chance.random() < 0.3:
                attempts += 1
                yield (
                    DraftRejected(
                        candidate=id,
                        role=role,
                        round=1,
                        attempt=attempts,
                        draft=self.story.put("bad"),
                        problems=self.story.put("report"),
                        codes=("shape",),
                    ),
                    "modifier",
                    at,
                    id,
                )
                if self.chance.random() < 0.3:
                    fates[id] = "abandoned"
                    abandoned = DesignAbandoned(
                        candidate=id, category="shape", reason="never", attempts=attempts
                    )
                    yield abandoned, "modifier", at, id
                    return
            accepted = DraftAccepted(
                candidate=id, role=role, round=1, attempt=attempts + 1, block=self.story.put(f"{id}{role}")
            )
            yield accepted, "modifier", at, id
        duplicate = self.chance.random() < 0.2
        original = self.chance.choice(self.trained)[0]
        digest = f"d-{original}" if duplicate else f"d-{id}"
        self.design_positions[id] = yield (
            DesignReady(
                candidate=id,
                design=self.story.put(id),
                digest=digest,
                width=8,
                params=1000 + index,
                macs=9,
                attempts=3,
            ),
            "modifier",
            at,
            id,
        )
        fates[id] = "duplicate" if duplicate else "designed"
        if duplicate:
            recognised = DuplicateRecognised(candidate=id, original=original, digest=digest)
            yield recognised, "proposer", cause, id

    def training(self, id: str, digest: str, cause: int, round: int, parent: str | None = None) -> Step:
        job = sha256_hex(id.encode())
        request = TrainingRequested(
            candidate=id,
            job=job,
            design=self.story.put(id),
            digest=digest,
            skeleton="digits",
            width=8,
            classes=10,
            dataset="digits",
            recipe={"name": "digits"},
            seed=777,
            priority=(round, 1),
        )
        at = yield request, "trainer", cause, id
        yield TrainingStarted(job=job, slot="cpu-0", first_epoch=1), "training", at, id
        losses = []
        for epoch in range(1, self.epochs + 1):
            losses.append(2.0 / epoch)
            point = EpochFinished(
                job=job,
                epoch=epoch,
                epochs=self.epochs,
                loss=2.0 / epoch,
                accuracy=90.0,
                rate=0.1,
                seconds=0.5,
            )
            yield point, "training", at, id
        if round and self.chance.random() < 0.15:
            yield TrainingFailed(job=job, kind="nan", message="m", seconds=3.0), "training", at, id
            yield CandidateFailed(candidate=id, digest=digest, kind="nan", message="m"), "trainer", cause, id
            return
        validation = round_off(80 + 15 * self.chance.random())
        yield (
            TrainingCompleted(
                job=job,
                validation=validation,
                test=validation - 1,
                loss=0.1,
                epochs=self.epochs,
                seconds=5.0,
                params=1000,
                macs=9000,
                latency_ms=None,
                peak_memory=None,
                device="cpu",
                deterministic=True,
                losses=tuple(losses),
            ),
            "training",
            at,
            id,
        )
        yield (
            CandidateTrained(
                candidate=id,
                digest=digest,
                validation=validation,
                test=validation - 1,
                seeds=(777,),
                validations=(validation,),
                loss=0.1,
                losses=tuple(losses),
                seconds=5.0,
                params=1000,
                macs=9000,
                latency_ms=self.chance.choice([None, 2.5]),
                peak_memory=None,
            ),
            "trainer",
            cause,
            id,
        )
        self.trained.append((id, validation))

    def reflection(self, id: str, round: int, parent: str, fate: str) -> Step:
        at = yield ReflectionRequested(candidate=id, round=round), "director", None, id
        yield from self.chat("reflector", "reflect", at, id)
        texts = self.story.put("[]")
        request = EmbeddingRequested(
            agent="reflector", texts=texts, count=1, embedder=EMBEDDER, dimension=self.dimension
        )
        asked = yield request, "reflector", at, id
        vector = self.story.put(self.vector())
        yield (
            EmbeddingCompleted(
                vectors=vector,
                embedder=EMBEDDER,
                dimension=self.dimension,
                count=1,
                tokens=3,
                cost=0.0,
                latency=0.1,
            ),
            "embedder",
            asked,
            id,
        )
        kind = self.chance.choice(["failure", "repair", "success"])
        yield (
            ExperienceRecorded(
                experience=f"x-{id}",
                candidate=id,
                round=round,
                kind=kind,
                category="shape",
                role="cell",
                suggestion="s",
                tip="t",
                vector=vector,
                embedder=EMBEDDER,
                dimension=self.dimension,
            ),
            "reflector",
            at,
            id,
        )
        if fate == "designed":
            yield (
                LessonRecorded(
                    lesson=f"l-{id}",
                    candidate=id,
                    round=round,
                    parent=parent,
                    inspiration="insp-001",
                    suggestion="s",
                    outcome="improved",
                    gain=self.chance.uniform(-3, 3),
                    text="t",
                    vector=vector,
                    embedder=EMBEDDER,
                    dimension=self.dimension,
                ),
                "reflector",
                at,
                id,
            )
        closed = CandidateClosed(candidate=id, round=round, outcome="improved")
        yield closed, "reflector", at, id


def round_off(value: float) -> float:
    """Two digits, as accuracies are recorded."""
    return round(value, 2)


def campaign(
    candidates: int = 12, *, width: int = 4, epochs: int = 3, dimension: int = 8, seed: int = 0
) -> Story:
    """A history of about `candidates` trained candidates."""
    return _Campaign(candidates, width, epochs, dimension, seed).write()


def batches(story: Story, size: int) -> Iterator[list[Pending]]:
    """The pendings in stretches of `size`."""
    for start in range(0, len(story.pendings), size):
        yield story.pendings[start : start + size]
