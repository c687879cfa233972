"""The folds: as of a position they say what a fold of that much history says, on every branch."""

import json
import random
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from events.campaign import Forked, SettingsChanged
from events.envelope import Envelope, Pending
from events.reading import (
    InspirationRecorded,
    KnowledgeIndexed,
    LibraryAttached,
    PaperFinished,
    PaperFound,
    ReadingStarted,
)
from events.reflection import ExperienceRecorded, LessonRecorded
from events.registry import encode
from events.research import DuplicateRecognised, ProposalMade
from events.training import CandidateFailed, CandidateTrained
from store import Log, Reader
from store.projections import Views
from store.projections.tree import Stage
from tests.store.campaigns import EMBEDDER, Story, campaign, ground
from tests.store.logs import run


def envelopes(story: Story) -> list[Envelope]:
    """The history as a log would give it back, without a log."""
    return [
        Envelope(
            n,
            n,
            p.id,
            "run",
            "main",
            p.time,
            p.actor,
            p.type,
            p.version,
            p.causation,
            p.correlation,
            p.effect_key,
            p.input_digest,
            "",
            "",
            p.payload,
        )
        for n, p in enumerate(story.pendings, 1)
    ]


def fold(history: list[Envelope], story: Story) -> Views:
    views = Views(story.blobs.__getitem__)
    views.apply_many(history)
    return views


STORY = campaign(12, seed=0)
HISTORY = envelopes(STORY)
ALL = fold(HISTORY, STORY)


@pytest.mark.parametrize("position", sorted(random.Random(1).sample(range(len(HISTORY) + 1), 25)))
def test_a_whole_fold_asked_as_of_a_position_equals_the_fold_of_that_much(position: int) -> None:
    part = fold(HISTORY[:position], STORY)
    assert ALL.state(position) == part.state(position) == part.state()
    json.dumps(part.state())


@pytest.mark.slow
def test_every_position_of_a_history_equals_the_fold_from_zero() -> None:
    for position in range(len(HISTORY) + 1):
        assert ALL.state(position) == fold(HISTORY[:position], STORY).state()


def branched_log(path: Path, seed: int) -> list[str]:
    """A campaign's history written to branches that fork from forks, each going on with the rest of the
    story.
    """
    chance = random.Random(seed)

    async def build() -> list[str]:
        async with Log.open(path, create=True, synchronous="NORMAL") as log:
            await log.create_branch("main", "run")
            await log.append("main", STORY.pendings, blobs=STORY.blobs)
            names = ["main"]
            for n in range(4):
                parent = chance.choice(names)
                at = chance.randint(1, log.head(parent).position)
                name = f"fork-{n}"
                await log.create_branch(name, "run", parent, at)
                left = Forked(parent=parent, at=at, open_requests="reissue", reuse=False)
                change = SettingsChanged(changes={}, settings={"fork": n}, ground=ground(), designer=name)
                own = [Pending("operator", *encode(event)) for event in (left, change)]
                length = chance.randint(0, 150)
                rest = [replace(p, effect_key=None) for p in STORY.pendings[at : at + length]]
                own += [replace(p, causation=_moved(p.causation, at)) for p in rest]
                await log.append(name, own)
                names.append(name)
            return names

    return run(build())


def _moved(causation: int | None, at: int) -> int | None:
    """Causes after the fork point stand two places later: a fork's first events are its own."""
    return causation + 2 if causation is not None and causation > at else causation


@settings(max_examples=1, deadline=None, phases=[Phase.generate])
@given(seed=st.integers(0, 2**32))
def test_incremental_state_is_state_from_zero_at_a_hundred_positions_of_every_branch(seed: int) -> None:
    """Another log with forks of forks in each run of the tests; the seed is in what a failure prints."""
    _check_branches(seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_incremental_state_is_state_from_zero_on_many_logs(seed: int) -> None:
    _check_branches(seed)


def _check_branches(seed: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.db"
        names = branched_log(path, seed)
        with Reader(path) as reader:
            for name in names:
                incremental = Views(reader.blob)
                incremental.apply_many(reader.read(name))
                head = reader.head(name).position
                for position in random.Random(seed).sample(range(head + 1), min(100, head + 1)):
                    zero = Views(reader.blob)
                    zero.apply_many(reader.read(name, upto=position))
                    assert incremental.state(position) == zero.state(), f"{name} at {position}"


# ---- tree


def test_candidates_come_in_order_of_round_and_index_and_carry_their_results() -> None:
    candidates = ALL.tree.candidates()
    assert [c.place for c in candidates] == sorted(c.place for c in candidates)
    assert candidates[0].id == "base" and candidates[0].parent is None
    trained = {
        p: json.loads(x.payload) for p, x in enumerate(STORY.pendings, 1) if x.type == "CandidateTrained"
    }
    for position, data in trained.items():
        candidate = ALL.tree.candidate(data["candidate"], position)
        before = ALL.tree.candidate(data["candidate"], position - 1)
        assert candidate is not None and before is not None
        assert candidate.trained and candidate.settled and candidate.validation == data["validation"]
        assert not before.trained and before.validation is None
        assert candidate.stage is Stage.TRAINED and candidate.positions["CandidateTrained"] == position
    assert {c.stage for c in candidates} >= {Stage.TRAINED, Stage.ABANDONED, Stage.DUPLICATE, Stage.FAILED}


def test_a_duplicate_adopts_its_originals_result_once_it_is_there() -> None:
    duplicates = [c for c in ALL.tree.candidates() if c.original is not None]
    assert duplicates
    for duplicate in duplicates:
        assert duplicate.original is not None and duplicate.digest is not None
        original = ALL.tree.candidate(duplicate.original)
        assert original is not None and original.settled
        assert (duplicate.validation, duplicate.failure) == (original.validation, original.failure)
        assert duplicate.stage is Stage.DUPLICATE and duplicate.trained
        found = ALL.tree.by_digest(duplicate.digest, before=duplicate.place)
        assert found is not None and found.id == original.id
        assert (
            ALL.tree.by_digest(duplicate.digest, upto=original.positions["TrainingRequested"] - 9999) is None
        )


def test_of_equal_designs_the_lower_place_is_the_original_whichever_came_first() -> None:
    story = Story()
    for id, round, index in (("late", 2, 2), ("early", 1, 3)):
        story.emit(
            ProposalMade(
                candidate=id,
                round=round,
                index=index,
                parent="base",
                inspiration="i",
                suggestion="s",
                paper="",
                visible=0,
            ),
            "proposer",
        )
    from events.development import DesignReady

    for id in ("late", "early"):
        story.emit(
            DesignReady(candidate=id, design="x", digest="same", width=1, params=1, macs=1, attempts=1),
            "modifier",
        )
    tree = fold(envelopes(story), story).tree
    ids = [getattr(tree.by_digest("same", upto), "id", None) for upto in (2, 3, 4)]
    assert ids == [None, "late", "early"]
    assert getattr(tree.by_digest("same", before=(2, 2)), "id", None) == "early"
    assert tree.by_digest("same", before=(1, 3)) is None
    assert tree.by_digest("other") is None


@pytest.mark.parametrize("trained", [True, False])
def test_a_duplicate_recognised_while_it_trains_stays_one(trained: bool) -> None:
    from events.development import DesignReady

    story = Story()
    for index, id in enumerate(("early", "late"), 1):
        proposal = ProposalMade(
            candidate=id, round=1, index=index, parent="base", inspiration="i", suggestion="s", paper="",
            visible=0,
        )  # fmt: skip
        story.emit(proposal, "proposer")
        story.emit(
            DesignReady(candidate=id, design="x", digest="same", width=1, params=1, macs=1, attempts=1),
            "modifier",
        )
    story.emit(DuplicateRecognised(candidate="late", original="early", digest="same"), "proposer")
    end = (
        CandidateTrained(
            candidate="late",
            digest="same",
            validation=90.0,
            test=89.0,
            seeds=(777,),
            validations=(90.0,),
            loss=0.1,
            losses=(0.1,),
            seconds=1.0,
            params=1,
            macs=1,
            latency_ms=1.0,
            peak_memory=1,
        )
        if trained
        else CandidateFailed(candidate="late", digest="same", kind="nan", message="NaN")
    )
    story.emit(end, "trainer")
    late = fold(envelopes(story), story).tree.candidate("late")
    assert late is not None and late.stage is Stage.DUPLICATE and late.original == "early"
    assert (late.validation, late.failure) == ((90.0, "") if trained else (None, "nan"))


def test_the_best_is_chosen_by_the_objective_among_what_may_be_seen() -> None:
    trained = [c for c in ALL.tree.candidates() if c.trained]
    best = ALL.tree.best()
    assert best is not None and best.validation == max(c.validation or 0 for c in trained)
    assert ALL.tree.best(visible=-1) is None, "not even the base's result"
    assert getattr(ALL.tree.best(visible=0), "id", None) == "base"
    smallest = ALL.tree.best(objective="validation - 100000*params_m")
    assert smallest is not None and smallest.params == min(c.params or 0 for c in trained)
    assert ALL.tree.score(best) == best.validation
    fast = ALL.tree.best(objective="-latency_ms")
    assert fast is not None and fast.latency_ms == 2.5, "one whose figure is not known is not chosen"


def test_children_parents_rounds_and_drafts_agree_with_the_events() -> None:
    tree = ALL.tree
    graph = tree.graph()
    assert set(graph) == {c.id for c in tree.candidates()}
    for candidate in tree.candidates():
        parent = tree.parent(candidate)
        if candidate.parent is None:
            assert parent is None
            continue
        assert parent is not None and candidate in tree.children(parent.id)
        assert graph.edges[parent.id, candidate.id]["inspiration"] == candidate.inspiration
        drafts = tree.drafts(candidate.id)
        assert [d.position for d in drafts] == sorted(d.position for d in drafts)
        assert all(d.role == "cell" for d in tree.drafts(candidate.id, "cell"))
    assert tree.children("base", visible=0) == []
    states = tree.rounds()
    assert [s.round for s in states] == list(range(1, len(states) + 1)) and all(s.closed for s in states)
    first = states[0]
    assert tree.rounds(first.position - 1) == []
    assert tree.round_state(1, first.position) == replace(first, designed=None, closed=False)
    assert [r for r, _ in tree.parents_chosen()] == [s.round for s in states]


# ---- knowledge, experience


def test_the_matrix_holds_unit_vectors_in_order_of_ids() -> None:
    ids, vectors = ALL.knowledge.matrix()
    assert list(ids) == sorted(ids) and vectors.shape == (len(ids), 8)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    again = ALL.knowledge.matrix(len(HISTORY))
    assert again[1] is vectors, "not built again"
    for n, id in enumerate(ids):
        vector = ALL.knowledge.vector_of(id)
        assert vector is not None and np.array_equal(vector, vectors[n])
        assert ALL.knowledge.nearest(vector, 1) == [(id, 1.0)]
    indexed = next(n for n, p in enumerate(STORY.pendings, 1) if p.type == "KnowledgeIndexed")
    assert ALL.knowledge.indexed(indexed) and not ALL.knowledge.indexed(indexed - 1)
    assert ALL.knowledge.matrix(indexed - 1)[0] == () and ALL.knowledge.vector_of(ids[0], indexed - 1) is None
    assert ALL.knowledge.nearest(vectors[0], 3, indexed - 1) == []
    assert ALL.knowledge.count(indexed) == 20 == len(ALL.knowledge.all(indexed))
    assert ALL.knowledge.count(1) == 0 and ALL.knowledge.inspiration(ids[0], 1) is None


def test_a_library_is_known_from_where_it_was_attached_as_it_stood_there() -> None:
    library = Story()
    for n in range(3):
        library.emit(
            InspirationRecorded(inspiration=f"lib-{n}", text="t", title="T", year=1, ref="r"), "reader"
        )
    ids, vectors = (
        library.put(json.dumps(["lib-0", "lib-1"])),
        library.put(np.eye(2, 8, dtype="<f4").tobytes()),
    )
    index = KnowledgeIndexed(inspirations=ids, vectors=vectors, embedder=EMBEDDER, dimension=8, count=2)
    library.emit(index, "embedder")
    library.emit(InspirationRecorded(inspiration="lib-later", text="t", title="T", year=1, ref="r"), "reader")
    story = Story()
    story.emit(InspirationRecorded(inspiration="own", text="of its own", title="T", year=1, ref="r"), "user")
    story.emit(LibraryAttached(library="library:x", at=4), "user")
    asked: list[Any] = []

    def read(name: str, at: int) -> list[Envelope]:
        asked.append((name, at))
        return envelopes(library)[:at]

    views = Views(library.blobs.__getitem__, read)
    views.apply_many(envelopes(story))
    knowledge = views.knowledge
    assert asked == [("library:x", 4)]
    assert [r.id for r in knowledge.all()] == ["lib-0", "lib-1", "lib-2", "own"]
    assert {r.position for r in knowledge.all() if r.id.startswith("lib")} == {2}
    assert [r.id for r in knowledge.all(1)] == ["own"]
    assert knowledge.matrix()[0] == ("lib-0", "lib-1") and knowledge.matrix(1)[0] == ()
    assert not knowledge.indexed(), "a library's index does not stand for the campaign's own"


def test_vectors_of_another_embedder_are_never_mixed_in() -> None:
    story = Story()
    for n in range(2):
        story.emit(InspirationRecorded(inspiration=f"i-{n}", text="t", title="T", year=1, ref="r"), "user")
    for embedder, dimension in (("one", 4), ("two", 6)):
        ids, vectors = story.put('["i-0", "i-1"]'), story.put(np.eye(2, dimension, dtype="<f4").tobytes())
        index = KnowledgeIndexed(
            inspirations=ids, vectors=vectors, embedder=embedder, dimension=dimension, count=2
        )
        story.emit(index, "embedder")
    knowledge = fold(envelopes(story), story).knowledge
    assert knowledge.space(3) == ("one", 4) and knowledge.matrix(3)[1].shape == (2, 4)
    assert knowledge.space() == ("two", 6) and knowledge.matrix()[1].shape == (2, 6)
    assert knowledge.nearest(np.ones(4, np.float32), 1) == []


def test_lessons_and_experiences_of_hidden_rounds_are_not_seen() -> None:
    lessons = ALL.knowledge.lessons()
    assert lessons and [row.round for row in lessons] == sorted(row.round for row in lessons)
    assert ALL.knowledge.lessons(visible=1) == [] or all(
        row.round <= 1 for row in ALL.knowledge.lessons(visible=1)
    )
    assert all(np.isclose(np.linalg.norm(row.vector), 1, atol=1e-6) for row in lessons)
    pool = ALL.experience
    assert pool.count() == len(pool.all()) == sum(p.type == "ExperienceRecorded" for p in STORY.pendings)
    query = np.ones(8, np.float32)
    for visible in (-1, 0, 1, 2, None):
        rows = pool.nearest(query, 99, visible=visible)
        assert sorted(r.id for r in rows) == sorted(r.id for r in pool.all(visible=visible))
        assert [(-r.similarity, r.id) for r in rows] == sorted((-r.similarity, r.id) for r in rows)
    assert {r.kind for r in pool.nearest(query, 99, kind="repair")} <= {"repair"}
    assert pool.nearest(query, 99, role="stem") == []
    assert pool.nearest(np.ones(5, np.float32), 9) == [], "vectors of another length are not compared"
    used = ALL.knowledge.used("base")
    assert used == {c.inspiration for c in ALL.tree.children("base")}


def test_a_later_record_of_an_experience_or_a_lesson_supersedes_it_from_there_on() -> None:
    story = Story()
    for n, tip in enumerate(("first", "second")):
        vector = story.put(np.eye(2, dtype="<f4")[n].tobytes())
        story.emit(
            ExperienceRecorded(
                experience="x",
                candidate="c",
                round=5,
                kind="failure",
                category="shape",
                role="cell",
                suggestion="s",
                tip=tip,
                vector=vector,
                embedder="e",
                dimension=2,
                origin="elsewhere",
            ),
            "user",
        )
        story.emit(
            LessonRecorded(
                lesson="l",
                candidate="c",
                round=1,
                parent="base",
                inspiration="i",
                suggestion="s",
                outcome="improved",
                gain=0.5,
                text=tip,
                vector=vector,
                embedder="e",
                dimension=2,
            ),
            "user",
        )
    views = fold(envelopes(story), story)
    pool, query = views.experience, np.array([1, 0], np.float32)
    assert [(r.tip, r.similarity) for r in pool.nearest(query, 1)] == [("second", 0.0)]
    assert [(r.tip, r.similarity) for r in pool.nearest(query, 1, upto=2)] == [("first", 1.0)]
    assert pool.count() == pool.count(1) == 1 and pool.count(0) == 0
    assert [r.tip for r in pool.all()] == ["second"] and [r.tip for r in pool.all(2)] == ["first"]
    assert [r.tip for r in pool.all(visible=-1)] == ["second"], "an imported one is visible to every round"
    assert [r.tip for r in pool.nearest(query, 1, visible=-1)] == ["second"]
    assert [r.text for r in views.knowledge.lessons()] == ["second"]
    assert [r.text for r in views.knowledge.lessons(3)] == ["first"]


def test_a_librarys_stream_knows_its_papers_and_its_settings() -> None:
    story = Story()
    reading = ReadingStarted(library="x", source="s", settings={"a": 1}, designer="rule-based", maximum=5)
    story.emit(reading, "user")
    papers = [
        PaperFound(
            paper=p, title=p, year=2020, ref=p, abstract=story.put(p), record=story.put(p), has_text=True
        )
        for p in ("p2", "p1")
    ]
    for paper in papers:
        story.emit(paper, "source")
    done = PaperFinished(paper="p1", inspirations=2, outcome="read")
    story.emit(done, "reader")
    views = fold(envelopes(story), story)
    assert views.knowledge.papers() == papers and views.knowledge.papers(2) == papers[:1]
    assert views.knowledge.finished_papers() == {"p1": done} and views.knowledge.finished_papers(3) == {}
    assert views.status.settings() == {"a": 1} and views.status.designer() == "rule-based"
    with pytest.raises(LookupError, match="no campaign has started"):
        views.status.ground()


# ---- ledger, status


def test_the_ledger_adds_up_whichever_way_it_is_asked() -> None:
    ledger = ALL.ledger
    total = ledger.totals()
    events = [(p.type, json.loads(p.payload)) for p in STORY.pendings]
    paid = [d for t, d in events if t == "ChatCompleted" and not d["reused"]]
    failed = [d for t, d in events if t == "ChatFailed"]
    assert total.chat_calls == len(paid) and total.chat_failures == len(failed)
    assert total.chat_reused == sum(t == "ChatCompleted" and bool(d["reused"]) for t, d in events)
    assert total.cost == pytest.approx(sum(d["cost"] or 0 for d in paid + failed))
    assert total.unknown_price_calls == sum(d["cost"] is None for d in paid)
    assert total.trainings == sum(t == "TrainingCompleted" for t, _ in events)
    for groups in (ledger.by_agent(), ledger.by_candidate()):
        assert sum(g.train_seconds for g in groups.values()) <= total.train_seconds
    chats = [g.chat_calls for g in ledger.by_agent().values()]
    assert sum(chats) == total.chat_calls
    assert ledger.totals(agent="modifier").chat_calls == ledger.by_agent()["modifier"].chat_calls
    assert set(ledger.by_model()) == {"m-1", "m-1-2024", EMBEDDER}
    assert ledger.open_requests() == []
    first = next(n for n, p in enumerate(STORY.pendings, 1) if p.type == "TrainingRequested")
    assert [(r.position, r.type, r.candidate) for r in ledger.open_requests(first)] == [
        (first, "TrainingRequested", "base")
    ]


def test_the_status_follows_settings_ends_and_what_is_being_trained() -> None:
    status = ALL.status
    end = next(n for n, p in enumerate(STORY.pendings, 1) if p.type == "CampaignFinished")
    assert status.settings(end) == {"search": {"width": 4}} and status.settings() == {"search": {"width": 9}}
    assert status.settings(end) is status.settings(2), "the same object, for callers to cache by"
    assert status.settings(0) == {} and status.designer() == "inbox" and status.designer(end) == "rule-based"
    assert status.ground() == ground()
    with pytest.raises(LookupError, match="no campaign has started"):
        status.ground(0)
    finished = status.finished(end)
    assert finished is not None and finished.reason == "completed"
    assert status.finished(end - 1) is None and status.finished() is None, "changed settings take it up again"
    paused = next(n for n, p in enumerate(STORY.pendings, 1) if p.type == "CampaignPaused")
    assert status.paused(paused) is not None and status.paused(paused + 1) is None
    assert len(status.failures()) == 1 and status.forked() is None
    epochs = [n for n, p in enumerate(STORY.pendings, 1) if p.type == "EpochFinished"]
    live = fold(HISTORY[: epochs[1]], STORY).status.trainings()
    assert [(t.candidate, t.epoch, t.epochs, t.slot) for t in live] == [("base", 2, 3, "cpu-0")]
    assert [t.epoch for t in ALL.status.trainings(epochs[1])] == [None]
    assert status.trainings() == []
