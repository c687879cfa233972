"""The same seed and the same answers give the same tree, whatever the timing and however many slots."""

import asyncio
import hashlib
import random

import pytest

from nader.llm import RuleBasedDesigner
from nader.training import LocalBackend
from tests.e2e.campaigns import check_log, events, run_campaign, tree
from tests.e2e.simulation import SimulatedBackend

SETS = ("search.candidates=8", "search.width=4", "search.base=convnext", "synchronous=NORMAL")


def timing(seed):
    """Trainings of very different length, in an order that the seed decides."""
    return SimulatedBackend(
        1 + seed % 3, pause=lambda rng: rng.choice([0.0, 0.01, 0.2]), timing=seed, failing=0.1
    )


@pytest.mark.parametrize("lookahead", [0, 1, 2])
def test_one_slot_or_three_and_any_delays_give_the_same_tree(tmp_path, lookahead):
    sets = (*SETS, f"search.lookahead={lookahead}")
    trees = []
    for seed in range(3):
        run_campaign(tmp_path / str(seed), sets, timing(seed))
        check_log(tmp_path / str(seed))
        trees.append(tree(tmp_path / str(seed)))
    assert trees[0] == trees[1] == trees[2]
    assert len([row for row in trees[0] if row[1] is not None]) >= 8


@pytest.mark.parametrize("lookahead", [0, 1])
def test_real_trainings_on_one_slot_or_two_and_slow_answers_give_the_same_tree(
    tmp_path, lookahead, monkeypatch
):
    sets = (
        "search.candidates=3",
        "search.width=2",
        "training.epochs=2",
        f"search.lookahead={lookahead}",
        "synchronous=NORMAL",
    )
    run_campaign(tmp_path / "one", sets, LocalBackend(1))
    answer, delay = RuleBasedDesigner.chat, random.Random(lookahead)

    async def slow(self, request):
        await asyncio.sleep(delay.random())
        return await answer(self, request)

    monkeypatch.setattr(RuleBasedDesigner, "chat", slow)
    run_campaign(tmp_path / "two", sets, LocalBackend(2))
    assert tree(tmp_path / "one") == tree(tmp_path / "two")
    trained = [e.event for e in events(tmp_path / "two") if e.type == "CandidateTrained"]
    assert len(trained) >= 4 and all(e.losses for e in trained)
    assert losses(tmp_path / "one") == losses(tmp_path / "two")


def losses(folder):
    """Every candidate's curve."""
    return {e.event.candidate: e.event.losses for e in events(folder) if e.type == "CandidateTrained"}


def test_another_seed_gives_another_tree(tmp_path):
    run_campaign(tmp_path / "a", (*SETS, "seed=1"))
    run_campaign(tmp_path / "b", (*SETS, "seed=2"))
    assert tree(tmp_path / "a") != tree(tmp_path / "b")


def test_a_round_sees_nothing_newer_than_its_lookahead_allows(tmp_path):
    run_campaign(tmp_path, (*SETS, "search.lookahead=1"))
    by_round = {}
    closed = {}
    for envelope in events(tmp_path):
        if envelope.type == "RoundOpened":
            by_round[envelope.event.round] = (envelope.position, envelope.event.visible)
        if envelope.type == "RoundClosed":
            closed[envelope.event.round] = envelope.position
    assert by_round[1][1] == -1 and by_round[2][1] == 0
    for position, visible in by_round.values():
        for round in range(1, visible + 1):
            assert closed[round] < position


@pytest.fixture(scope="module")
def interleavings():
    """The orders of events that the ten campaigns below had, with their trees."""
    return {}


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_two_hundred_candidates_at_concurrency_eight_verify(tmp_path, interleavings, seed):
    sets = ("search.candidates=200", "search.width=8", "modifier.concurrency=8", "synchronous=NORMAL")
    backend = SimulatedBackend(8, pause=lambda rng: rng.random() * 0.05, timing=seed, failing=0.05)
    run_campaign(tmp_path, sets, backend)
    check_log(tmp_path)
    order = hashlib.sha256()
    for envelope in events(tmp_path):
        order.update(f"{envelope.type} {envelope.actor} {envelope.correlation}\n".encode())
    assert order.digest() not in interleavings, "this interleaving has been seen: it tests nothing new"
    interleavings[order.digest()] = tree(tmp_path)
    assert all(found == tree(tmp_path) for found in interleavings.values()), (
        "and the tree is the same in each"
    )
