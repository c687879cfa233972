"""Appending, reading, subscribing: what one process sees of its own log."""

import asyncio
import random
from dataclasses import replace
from pathlib import Path

import pytest

from events.envelope import GENESIS, Ack, Envelope, chain_hash
from store import (
    Head,
    IntegrityError,
    Log,
    NoSuchBranchError,
    OperationalError,
    Reader,
    StoreError,
    sha256_hex,
)
from tests.store.logs import make_log, pending, run


def test_an_append_gives_each_event_its_place_and_its_link(tmp_path: Path) -> None:
    async def check() -> None:
        async with Log.open(tmp_path / "a.db", create=True) as log:
            await log.create_branch("main", "run-1")
            first, second = await log.append("main", [pending(1), pending(2)])
            (third,) = await log.append("main", [pending(3)])
        assert [e.position for e in (first, second, third)] == [1, 2, 3]
        assert [e.prev_hash for e in (first, second, third)] == [GENESIS, first.hash, second.hash]
        assert (first.run, first.branch) == ("run-1", "main")
        for e in (first, second, third):
            assert e.hash == chain_hash(
                e.prev_hash, e.position, e.id, e.run, e.time, e.actor, e.type, e.version,
                e.causation, e.correlation, e.effect_key, e.input_digest, e.payload,
            )  # fmt: skip

    run(check())


def test_what_was_appended_is_read_back_equal_from_another_process(tmp_path: Path) -> None:
    async def write() -> list[Envelope]:
        async with Log.open(tmp_path / "a.db", create=True) as log:
            await log.create_branch("main", "run")
            return await log.append("main", [pending(n, key=f"k{n}", text="ä\n\x00 ∂ 🙂") for n in range(5)])

    written = run(write())
    with Reader(tmp_path / "a.db") as reader:
        assert list(reader.read("main")) == written
        assert reader.head("main") == Head(5, written[-1].hash)
        assert reader.at("main", 3) == written[2]


@pytest.mark.parametrize(
    ("after", "upto", "types", "expected"),
    [
        (0, None, None, [1, 2, 3, 4, 5, 6]),
        (2, None, None, [3, 4, 5, 6]),
        (0, 3, None, [1, 2, 3]),
        (2, 4, None, [3, 4]),
        (4, 2, None, []),
        (9, None, None, []),
        (0, 0, None, []),
        (0, None, ["Even"], [2, 4, 6]),
        (2, 5, ["Odd"], [3, 5]),
        (0, None, ["Odd", "Even"], [1, 2, 3, 4, 5, 6]),
        (0, None, [], []),
        (0, None, ["No'such"], []),
    ],
)
def test_read_gives_the_positions_and_types_asked_for(
    tmp_path: Path, after: int, upto: int | None, types: list[str] | None, expected: list[int]
) -> None:
    async def check() -> None:
        async with Log.open(tmp_path / "a.db", create=True) as log:
            await log.create_branch("main", "run")
            await log.append("main", [pending(n, type="Even" if n % 2 == 0 else "Odd") for n in range(1, 7)])
            assert [e.position for e in log.read("main", after, upto, types)] == expected
            assert [e.position async for e in log.aread("main", after, upto, types)] == expected

    run(check())


def test_read_passes_over_the_types_it_is_told_to_and_times_tells_of_them(tmp_path: Path) -> None:
    async def check() -> None:
        async with Log.open(tmp_path / "a.db", create=True) as log:
            await log.create_branch("main", "run")
            for n in range(1, 7):
                await log.append("main", [pending(n, type="Even" if n % 2 == 0 else "Odd")])
            await log.create_branch("fork", "run", "main", 3)
            await log.append("fork", [pending(7, type="Odd")])
            assert [e.position for e in log.read("main", without=["Even"])] == [1, 3, 5]
            assert [e.position for e in log.read("main", 1, 5, ["Odd", "Even"], ["Odd"])] == [2, 4]
            assert list(log.read("main", without=["Even", "Odd"])) == []
            for branch, upto in (("main", None), ("fork", None), ("fork", 3), ("fork", 2)):
                times = [e.time for e in log.read(branch, 0, upto, ["Odd"])]
                assert log.times(branch, "Odd", upto) == {1: (min(times), max(times))}
            assert log.times("main", "No'such") == {}

    run(check())


def test_reading_passes_page_borders_without_a_gap(tmp_path: Path) -> None:
    path = make_log(tmp_path / "a.db", 2500)
    with Reader(path) as reader:
        assert [e.position for e in reader.read("main")] == list(range(1, 2501))
        assert [e.position for e in reader.read("main", after=999, upto=2001)] == list(range(1000, 2002))


def test_a_reader_sees_events_as_they_are_committed(tmp_path: Path) -> None:
    async def check() -> None:
        async with Log.open(tmp_path / "a.db", create=True) as log:
            await log.create_branch("main", "run")
            with Reader(tmp_path / "a.db") as other:
                for n in range(1, 4):
                    await log.append("main", [pending(n)])
                    assert [e.position for e in other.read("main")] == list(range(1, n + 1))
                await log.create_branch("fork", "run", "main", 2)
                assert [b.name for b in other.branches()] == ["main", "fork"]
                assert other.head("fork").position == 2

    run(check())


def test_producers_share_commits_and_every_append_keeps_its_events_together(tmp_path: Path) -> None:
    async def check() -> None:
        commits: list[int] = []
        async with Log.open(tmp_path / "a.db", create=True) as log:
            await log.create_branch("main", "run")
            log.subscribe(lambda events: commits.append(len(events)))

            async def produce(who: int) -> list[list[Envelope]]:
                shuffled = random.Random(who)
                result = []
                for n in range(20):
                    result.append(
                        await log.append("main", [pending(n, who=who) for _ in range(shuffled.randint(1, 3))])
                    )
                return result

            per_producer = await asyncio.gather(*(produce(who) for who in range(32)))
            report = log.verify_chain("main")
        appends = [append for producer in per_producer for append in producer]
        for append in appends:
            positions = [e.position for e in append]
            assert positions == list(range(positions[0], positions[0] + len(append)))
        total = sum(len(append) for append in appends)
        assert sorted(e.position for append in appends for e in append) == list(range(1, total + 1))
        assert report.ok and report.events == total
        assert sum(commits) == total
        assert len(commits) < len(appends) / 4, "64 waiting producers should share commits"

    run(check())


def test_only_the_guilty_append_of_a_group_fails(tmp_path: Path) -> None:
    async def check() -> None:
        async with Log.open(tmp_path / "a.db", create=True) as log:
            await log.create_branch("main", "run")
            await log.append("main", [pending(0, key="taken")])
            unpaired = replace(pending(9), payload='{"n":"\ud800"}')
            results = await asyncio.gather(
                log.append("main", [pending(1)]),
                log.append("main", [pending(2), pending(3, key="taken")]),
                log.append("nowhere", [pending(4)]),
                log.append("main", [unpaired]),
                log.append("main", [pending(5), pending(6, key="twice"), pending(7, key="twice")]),
                log.append("main", [pending(8)], blobs={"0" * 64: b"other bytes"}),
                log.append("main", [replace(pending(9), payload=None)]),  # type: ignore[arg-type]
                log.append("main", [replace(pending(9), version="one")]),  # type: ignore[arg-type]
                log.append("main", [replace(pending(9), causation=1 << 70)]),
                log.append("main", [object()]),  # type: ignore[list-item]
                log.append("main", [pending(9, key="fresh")]),
                return_exceptions=True,
            )
            kinds = [type(r) for r in results]
            assert kinds == [
                list, IntegrityError, NoSuchBranchError, *[IntegrityError] * 7, list,
            ]  # fmt: skip
            assert [e.data()["n"] for e in log.read("main")] == [0, 1, 9]
            assert log.verify_chain("main").ok
            (after,) = await log.append("main", [pending(10)])
            assert after.position == 4

    run(check())


@pytest.mark.parametrize(
    "where", ["at once", "in one group", "later", "after reopening", "in a fork", "in a fork's fork"]
)
def test_an_effect_is_recorded_once_in_a_history(tmp_path: Path, where: str) -> None:
    async def check() -> None:
        path = tmp_path / "a.db"
        log = await Log.open(path, create=True)
        await log.create_branch("main", "run")
        branch = "main"
        if where == "at once":
            with pytest.raises(IntegrityError, match="already holds the effect key-1"):
                await log.append(branch, [pending(1, key="key-1"), pending(2, key="key-1")])
            assert log.head(branch).position == 0
        elif where == "in one group":
            good, bad = await asyncio.gather(
                *(log.append(branch, [pending(n, key="key-1")]) for n in range(2)), return_exceptions=True
            )
            assert isinstance(good, list) and isinstance(bad, IntegrityError)
        else:
            await log.append(branch, [pending(1, key="key-1"), pending(2)])
            if where == "after reopening":
                await log.close()
                log = await Log.open(path)
            if where.startswith("in a fork"):
                await log.create_branch("fork", "run", "main", 2)
                branch = "fork"
            if where == "in a fork's fork":
                await log.append(branch, [pending(3)])
                await log.create_branch("fork-2", "run", "fork", 3)
                branch = "fork-2"
            with pytest.raises(IntegrityError, match="already holds the effect key-1"):
                await log.append(branch, [pending(9, key="key-1")])
        await log.close()

    run(check())


def test_after_the_fork_point_both_sides_may_record_the_same_effect(tmp_path: Path) -> None:
    async def check() -> None:
        async with Log.open(tmp_path / "a.db", create=True) as log:
            await log.create_branch("main", "run")
            await log.append("main", [pending(1), pending(2, key="k")])
            await log.create_branch("fork", "run", "main", 1)
            (mine,) = await log.append("fork", [pending(2, key="k")])
            assert mine.position == 2 and mine.branch == "fork"

    run(check())


def test_nothing_is_published_before_its_commit_and_all_in_commit_order(tmp_path: Path) -> None:
    async def check() -> None:
        seen: list[int] = []
        async with Log.open(tmp_path / "a.db", create=True) as log:
            await log.create_branch("main", "run")
            with Reader(tmp_path / "a.db") as other:

                def look(events: list[Envelope]) -> None:
                    assert other.head("main").position >= events[-1].position, (
                        "published before it was durable"
                    )
                    seen.extend(e.position for e in events)

                undo = log.subscribe(look)
                await asyncio.gather(*(log.append("main", [pending(n)]) for n in range(50)))
                for n in range(5):
                    (event,) = await log.append("main", [pending(n)])
                    assert seen[-1] == event.position, "the caller goes on after the subscribers"
                undo()
                await log.append("main", [pending(99)])
        assert seen == list(range(1, 56))

    run(check())


def test_a_subscriber_that_raises_does_not_take_the_append_with_it(tmp_path: Path) -> None:
    async def check() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)

        def broken(events: list[Envelope]) -> None:
            raise KeyError("a bug in a subscriber")

        async with Log.open(tmp_path / "a.db", create=True) as log:
            await log.create_branch("main", "run")
            told: list[int] = []
            log.subscribe(broken)
            log.subscribe(lambda events: told.extend(e.position for e in events))
            assert len(await log.append("main", [pending(1)])) == 1
            assert len(await log.append("main", [pending(2)])) == 1
            assert told == [1, 2], "nor the other subscribers"

    run(check())


def test_a_cancelled_append_does_not_disturb_the_others(tmp_path: Path) -> None:
    async def check() -> None:
        async with Log.open(tmp_path / "a.db", create=True) as log:
            await log.create_branch("main", "run")
            tasks = [asyncio.create_task(log.append("main", [pending(n)])) for n in range(10)]
            await asyncio.sleep(0)
            for task in tasks[::3]:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            assert all(isinstance(r, list | asyncio.CancelledError) for r in results)
            kept = {r[0].data()["n"] for r in results if isinstance(r, list)}
            assert {n for n in range(10) if n % 3} <= kept
            assert log.verify_chain("main").ok

    run(check())


def test_an_append_that_is_cancelled_alone_is_written_all_the_same(tmp_path: Path) -> None:
    async def check() -> None:
        async with Log.open(tmp_path / "a.db", create=True) as log:
            await log.create_branch("main", "run")
            task = asyncio.create_task(log.append("main", [pending(1)]))
            await asyncio.sleep(0)
            assert task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await asyncio.sleep(0.01)
            assert log.head("main").position == 1

    run(check())


def test_a_slow_disk_gets_a_thread_and_the_event_loop_goes_on(tmp_path: Path) -> None:
    async def check() -> None:
        async with Log.open(tmp_path / "a.db", create=True) as log:
            await log.create_branch("main", "run")
            assert log._writer is not None
            log._writer.commit_seconds = 1.0  # as after commits that took a second each
            results = await asyncio.gather(*(log.append("main", [pending(n)]) for n in range(20)))
            assert sorted(r[0].position for r in results) == list(range(1, 21))
            await log.create_branch("fork", "run", "main")
            assert (await log.append("fork", [pending(1)]))[0].position == 21

    run(check())


def test_acknowledgements_are_written_with_their_events(tmp_path: Path) -> None:
    async def check() -> None:
        async with Log.open(tmp_path / "a.db", create=True) as log:
            await log.create_branch("main", "run")
            await log.append("main", [pending(1, key="a")], acks=[Ack("alice", 1)])
            await log.append("main", [pending(2), pending(3)], acks=[Ack("bob", 1), Ack("alice", 2)])
            with pytest.raises(IntegrityError):
                await log.append("main", [pending(4, key="a")], acks=[Ack("carol", 1)])
            await log.append("main", [], acks=[Ack("dora", 3)])
            assert log.acks("main") == {("alice", 1): 1, ("bob", 1): 3, ("alice", 2): 3, ("dora", 3): 3}
            assert log.head("main").position == 3

    run(check())


def test_an_acknowledgement_counts_in_a_fork_if_it_was_written_before_the_fork_point(tmp_path: Path) -> None:
    async def check() -> None:
        async with Log.open(tmp_path / "a.db", create=True) as log:
            await log.create_branch("main", "run")
            for n in range(1, 5):
                await log.append("main", [pending(n)], acks=[Ack("alice", n)])
            await log.create_branch("fork", "run", "main", 2)
            assert set(log.acks("fork")) == {("alice", 1), ("alice", 2)}
            await log.append("fork", [pending(3)], acks=[Ack("alice", 3)])
            await log.create_branch("deep", "run", "fork", 3)
            assert log.acks("deep") == {("alice", 1): 1, ("alice", 2): 2, ("alice", 3): 3}
            assert set(log.acks("main")) == {("alice", n) for n in range(1, 5)}

    run(check())


def test_blobs_are_kept_once_under_their_digest(tmp_path: Path) -> None:
    async def check() -> None:
        data = b"a shared definition of the block language. " * 500
        digest = sha256_hex(data)
        async with Log.open(tmp_path / "a.db", create=True) as log:
            await log.create_branch("main", "run")
            await log.append("main", [pending(1, prompt=digest)], blobs={digest: data})
            await log.append("main", [pending(2, prompt=digest)], blobs={digest: data})
            assert await log.put_blob(b"short") == sha256_hex(b"short")
            assert await log.put_blob(b"") == sha256_hex(b"")
        with Reader(tmp_path / "a.db") as reader:
            assert reader.blob(digest) == data == reader.blob(digest)
            assert reader.blob(sha256_hex(b"short")) == b"short"
            assert reader.blob(sha256_hex(b"")) == b""
            assert reader._all("SELECT count(*) FROM blobs") == [(3,)]
            assert reader._all("SELECT max(length(data)) FROM blobs")[0][0] < len(data) // 10
            with pytest.raises(OperationalError, match="holds no blob"):
                reader.blob("0" * 64)

    run(check())


def test_a_log_that_is_closed_or_only_read_says_so(tmp_path: Path) -> None:
    path = make_log(tmp_path / "a.db", 2)

    async def check() -> None:
        async with Log.open(path, write=False) as log:
            assert log.head("main").position == 2
            assert [e.position async for e in log.aread("main")] == [1, 2]
            with pytest.raises(OperationalError, match="open for reading only"):
                await log.append("main", [pending(1)])
        log = await Log.open(path)
        await log.close()
        await log.close()
        with pytest.raises(OperationalError, match="has been closed"):
            await log.append("main", [pending(1)])

    run(check())


def test_closing_writes_what_is_queued(tmp_path: Path) -> None:
    async def check() -> None:
        log = await Log.open(tmp_path / "a.db", create=True)
        await log.create_branch("main", "run")
        tasks = [asyncio.create_task(log.append("main", [pending(n)])) for n in range(30)]
        await asyncio.sleep(0)
        await log.close()
        await asyncio.gather(*tasks)

    run(check())
    with Reader(tmp_path / "a.db") as reader:
        assert reader.head("main").position == 30
    assert not (tmp_path / "a.db-wal").exists() or (tmp_path / "a.db-wal").stat().st_size == 0


def test_reopening_goes_on_where_the_log_ended(tmp_path: Path) -> None:
    path = make_log(tmp_path / "a.db", 5, forks=[("fork", "main", 3)])

    async def check() -> None:
        async with Log.open(path, synchronous="NORMAL") as log:
            (event,) = await log.append("main", [pending(6)])
            (forked,) = await log.append("fork", [pending(6)])
            assert (event.position, forked.position, forked.seq) == (6, 7, event.seq + 1)
            assert log.verify_chain("main").ok and log.verify_chain("fork").ok

    run(check())


@pytest.mark.parametrize("branch", ["nowhere", "", "main2"])
def test_an_unknown_branch_is_named_with_those_there_are(tmp_path: Path, branch: str) -> None:
    with Reader(make_log(tmp_path / "a.db", 1)) as reader:
        for ask in (reader.head, reader.read, reader.acks, reader.verify_chain):
            with pytest.raises(NoSuchBranchError, match=f"no branch '{branch}'; it has: main"):
                ask(branch)
        with pytest.raises(IntegrityError, match="no event at position 7; its head is 1"):
            reader.at("main", 7)


def test_every_error_of_the_store_has_one_base() -> None:
    assert issubclass(StoreError, RuntimeError)
    assert all(issubclass(e, StoreError) for e in (IntegrityError, OperationalError, NoSuchBranchError))
