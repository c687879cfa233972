"""The WAL stays small, also while someone reads slowly for a long time."""

import asyncio
import sqlite3
from pathlib import Path

import pytest

import store.writer
from store import Log, Reader
from store.schema import WAL_LIMIT
from tests.store.logs import make_log, pending, run

SMALL = 100_000


def wal_size(path: Path) -> int:
    wal = path.with_name(path.name + "-wal")
    return wal.stat().st_size if wal.exists() else 0


async def write_a_lot(log: Log, rounds: int = 60) -> None:
    """About 60 kB each round."""
    for n in range(rounds):
        await log.append("main", [pending(n, fill="x" * 2000) for _ in range(30)])


@pytest.mark.parametrize("reader", ["nobody", "a reader", "an async reader"])
def test_a_slow_reader_does_not_keep_the_wal_from_being_emptied(
    tmp_path: Path, reader: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store.writer, "_CHECKPOINT_BYTES", SMALL)
    path = make_log(tmp_path / "a.db", 3000)

    async def check() -> None:
        async with Log.open(path, synchronous="NORMAL") as log:
            with Reader(path) as other:
                slow = other.read("main")
                slow_too = log.aread("main")
                if reader == "a reader":
                    next(slow)
                if reader == "an async reader":
                    await anext(slow_too)
                await write_a_lot(log)
                assert wal_size(path) < 10 * SMALL
                if reader == "a reader":
                    assert sum(1 for _ in slow) == 2999 + 60 * 30, "and it still sees all there is"
                if reader == "an async reader":
                    assert len([e async for e in slow_too]) == 2999 + 60 * 30

    run(check())


def test_a_foreign_reader_that_pins_the_wal_is_survived(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another program holds a read transaction open: the WAL grows until it lets go, and shrinks
    afterwards.
    """
    monkeypatch.setattr(store.writer, "_CHECKPOINT_BYTES", SMALL)
    monkeypatch.setattr("store.schema.WAL_LIMIT", 2 * SMALL)
    path = make_log(tmp_path / "a.db", 10)

    async def check() -> None:
        async with Log.open(path, synchronous="NORMAL") as log:
            other = sqlite3.connect(path, isolation_level=None)
            other.execute("BEGIN")
            other.execute("SELECT count(*) FROM events").fetchone()
            await write_a_lot(log)
            pinned = wal_size(path)
            assert pinned > 10 * SMALL
            other.execute("COMMIT")
            other.close()
            for _ in range(20):
                await write_a_lot(log, 2)
                await asyncio.sleep(0)
                if wal_size(path) < pinned / 4:
                    break
            assert wal_size(path) < pinned / 4, f"still {wal_size(path)} bytes"
            assert log.verify_chain("main").ok

    run(check())


def test_a_closed_log_leaves_one_whole_file(tmp_path: Path) -> None:
    path = make_log(tmp_path / "a.db", 100)
    assert wal_size(path) == 0
    assert WAL_LIMIT > 0
    with sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True) as connection:
        assert connection.execute("SELECT count(*) FROM events").fetchone() == (100,)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("SELECT branch, position, type FROM log").fetchone() == ("main", 1, "Noted")
    connection.close()
