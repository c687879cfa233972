"""Branches: a fork is one row, history is read through the lineage, and nothing of it ever changes."""

import asyncio
import random
import sqlite3
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from events.envelope import GENESIS, Envelope, Pending
from store import Head, IntegrityError, Log, NoSuchBranchError, Reader
from tests.store.logs import make_log, pending, run

FORKS = [("b", "main", 4), ("c", "b", 6), ("d", "b", 2), ("e", "c", 9), ("f", "main", 0)]


def test_history_is_read_through_forks_of_forks(tmp_path: Path) -> None:
    path = make_log(tmp_path / "a.db", 10, forks=FORKS, per_fork=4)
    with Reader(path) as reader:
        lines = {b.name: [(e.branch, e.data()["n"]) for e in reader.read(b.name)] for b in reader.branches()}
        assert lines["main"] == [("main", n) for n in range(10)]
        assert lines["b"] == lines["main"][:4] + [("b", n) for n in range(4)]
        assert lines["c"] == lines["b"][:6] + [("c", n) for n in range(4)]
        assert lines["d"] == lines["main"][:2] + [("d", n) for n in range(4)], (
            "forked before its parent's own events"
        )
        assert lines["e"] == lines["c"][:9] + [("e", n) for n in range(4)]
        assert lines["f"] == [("f", n) for n in range(4)]
        for name in lines:
            positions = [e.position for e in reader.read(name)]
            assert positions == list(range(1, len(positions) + 1)), "positions are dense in every lineage"
            assert reader.verify_chain(name).ok


def test_a_branch_begins_from_its_parents_hash_at_the_fork_point(tmp_path: Path) -> None:
    path = make_log(tmp_path / "a.db", 10, forks=FORKS, per_fork=4)
    with Reader(path) as reader:
        assert reader.at("b", 5).prev_hash == reader.at("main", 4).hash
        assert reader.at("d", 3).prev_hash == reader.at("main", 2).hash
        assert reader.at("f", 1).prev_hash == GENESIS


def test_a_new_fork_has_its_parents_head_without_an_event_of_its_own(tmp_path: Path) -> None:
    path = make_log(tmp_path / "a.db", 5, forks=[("b", "main", 3), ("c", "b", 2)], per_fork=0)
    with Reader(path) as reader:
        assert reader.head("b") == Head(3, reader.at("main", 3).hash)
        assert reader.head("c") == Head(2, reader.at("main", 2).hash)
        assert [e.position for e in reader.read("c")] == [1, 2]


def test_a_fork_and_its_events_leave_the_parents_rows_as_they_were(tmp_path: Path) -> None:
    path = make_log(tmp_path / "a.db", 20)

    def rows() -> list[tuple[object, ...]]:
        with sqlite3.connect(path) as connection:
            return connection.execute("SELECT * FROM events WHERE place >> 40 = 1 ORDER BY place").fetchall()

    async def fork() -> None:
        async with Log.open(path) as log:
            await log.create_branch("fork", "run", "main", 7)
            await log.append("fork", [pending(n) for n in range(30)])

    before = rows()
    run(fork())
    assert rows() == before


def test_a_parent_goes_on_after_it_was_forked(tmp_path: Path) -> None:
    async def check() -> None:
        async with Log.open(tmp_path / "a.db", create=True) as log:
            await log.create_branch("main", "run")
            await log.append("main", [pending(1)])
            await log.create_branch("fork", "run", "main")
            await asyncio.gather(
                *(log.append(name, [pending(n)]) for n in range(20) for name in ("main", "fork"))
            )
            for name in ("main", "fork"):
                assert [e.branch for e in log.read(name)] == ["main"] + [name] * 20
                assert log.verify_chain(name).ok

    run(check())


def test_one_file_holds_several_runs(tmp_path: Path) -> None:
    async def check() -> None:
        async with Log.open(tmp_path / "a.db", create=True) as log:
            for name in ("first", "second"):
                await log.create_branch(name, f"run-{name}")
                await log.append(name, [pending(1, key="the same key")])
            assert [(b.name, b.run, b.parent) for b in log.branches()] == [
                ("first", "run-first", None),
                ("second", "run-second", None),
            ]
            assert next(log.read("second")).run == "run-second"

    run(check())


@pytest.mark.parametrize(
    ("name", "parent", "position", "error", "text"),
    [
        ("main", None, None, IntegrityError, "already has a branch 'main'"),
        ("x", "main", 6, IntegrityError, r"has positions 0 to 5; it cannot be forked at 6"),
        ("x", "main", -1, IntegrityError, "cannot be forked at -1"),
        ("x", "nowhere", 1, NoSuchBranchError, "no branch 'nowhere'"),
    ],
)
def test_a_branch_that_cannot_be_made_says_why(
    tmp_path: Path, name: str, parent: str | None, position: int | None, error: type[Exception], text: str
) -> None:
    path = make_log(tmp_path / "a.db", 5)

    async def check() -> None:
        async with Log.open(path) as log:
            with pytest.raises(error, match=text):
                await log.create_branch(name, "run", parent, position)
            assert [b.name for b in log.branches()] == ["main"]
            await log.append("main", [pending(1)])

    run(check())


def test_a_branch_is_told_of_with_its_first_events_and_counts_their_keys(tmp_path: Path) -> None:
    async def check() -> None:
        async with Log.open(tmp_path / "a.db", create=True) as log:
            told: list[tuple[str, int]] = []
            log.subscribe(lambda events: told.extend((e.branch, e.position) for e in events))
            await log.create_branch("main", "run", first=[pending(1, key="one"), pending(2)])
            made, _ = await asyncio.gather(
                log.create_branch("fork", "run", "main", first=[pending(3, key="three")]),
                log.append("main", [pending(4)]),
            )
            assert (made.fork_position, log.head("fork").position) == (2, 3)
            assert sorted(told) == [("fork", 3), ("main", 1), ("main", 2), ("main", 3)]
            for key in ("one", "three"):
                with pytest.raises(IntegrityError, match="an effect is recorded once"):
                    await log.append("fork", [pending(5, key=key)])
            seqs = [e.seq for name in ("main", "fork") for e in log.read(name)]
            assert len(set(seqs)) == 4 and max(seqs) == 4, "one order over the whole file"

    run(check())


@pytest.mark.parametrize(
    ("first", "blobs", "text"),
    [
        ([pending(1, key="main-0")], {}, "an effect is recorded once"),
        ([pending(1, key="x"), pending(2, key="x")], {}, "an effect is recorded once"),
        ([pending(1)], {"0" * 64: b"another"}, "not the SHA-256 of its bytes"),
        ([pending(1), pending(2, actor="\ud800")], {}, "cannot be stored"),
    ],
)
def test_a_branch_whose_first_events_are_refused_is_not_made(
    tmp_path: Path, first: list[Pending], blobs: dict[str, bytes], text: str
) -> None:
    path = make_log(tmp_path / "a.db", 5)

    async def check() -> None:
        async with Log.open(path) as log:
            with pytest.raises(IntegrityError, match=text):
                await log.create_branch("x", "run", "main", 3, first=first, blobs=blobs)
            assert [b.name for b in log.branches()] == ["main"]
            await log.create_branch("x", "run", "main", 0, first=[pending(1, key="main-0")])
            assert [e.position for e in log.read("x")] == [1]
            assert log.verify_chain("x").ok

    run(check())


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32))
def test_any_history_reads_as_a_plain_list_would(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    """A model: each branch is a list; a fork copies a prefix. The log must agree with it everywhere."""
    chance = random.Random(seed)
    path = tmp_path_factory.mktemp("model") / "a.db"
    model: dict[str, list[str]] = {"main": []}

    async def act() -> None:
        log = await Log.open(path, create=True)
        await log.create_branch("main", "run")
        for step in range(40):
            branch = chance.choice(list(model))
            if chance.random() < 0.2:
                at = chance.randint(0, len(model[branch]))
                await log.create_branch(f"b{step}", "run", branch, at)
                model[f"b{step}"] = model[branch][:at]
            elif chance.random() < 0.1:
                await log.close()
                log = await Log.open(path)
            else:
                made = await log.append(branch, [pending(step) for _ in range(chance.randint(1, 3))])
                model[branch] += [e.id for e in made]
        await log.close()

    run(act())
    with Reader(path) as reader:
        for branch, ids in model.items():
            assert [e.id for e in reader.read(branch)] == ids
            assert reader.head(branch).position == len(ids)
            after, upto = sorted(chance.choices(range(len(ids) + 2), k=2))
            assert [e.id for e in reader.read(branch, after, upto)] == ids[after:upto]
            assert reader.verify_chain(branch).ok


def test_async_reading_is_reading(tmp_path: Path) -> None:
    path = make_log(tmp_path / "a.db", 1500, forks=[("b", "main", 1200)], per_fork=1500)

    async def collect() -> list[Envelope]:
        async with Log.open(path, write=False) as log:
            return [e async for e in log.aread("b", after=3)]

    with Reader(path) as reader:
        assert run(collect()) == list(reader.read("b", after=3))
