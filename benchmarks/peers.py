"""The same event recorded by other stores, where they are installed: eventsourcing,
langgraph-checkpoint-sqlite, dbos.
"""

import asyncio
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.appends import APPENDS, TURNS, epoch, one_after_another
from benchmarks.figures import Figure
from store import Log

Turn = Callable[[int], None]
"""Records so many events durably, one at a time."""


def peers(folder: Path) -> Iterator[Figure]:
    """The same event, durably, one at a time, by other stores: in turns with this log, for the disk
    changes.
    """
    stores = {"eventsourcing": _eventsourcing, "langgraph-checkpoint-sqlite": _langgraph, "dbos": _dbos}
    for name, opened in stores.items():
        try:
            with opened(folder) as turn:
                theirs, ratio = asyncio.run(_against(folder / f"beside-{name}.db", turn))
        except ImportError:
            yield Figure("peers", f"{name}: not installed", float("nan"), "")
            continue
        yield Figure("peers", name, theirs * 1e6, "µs")
        yield Figure("peers", f"speed of this log against {name}", ratio, "×")


async def _against(path: Path, turn: Turn) -> tuple[float, float]:
    """Median seconds of a peer's event, and how many times as fast the log is."""

    async def theirs() -> float:
        start = time.perf_counter()
        await asyncio.to_thread(turn, APPENDS // 4)
        return (time.perf_counter() - start) / (APPENDS // 4)

    spent, ratios = [], []
    async with Log.open(path, create=True) as log:
        await log.create_branch("main", "run")
        await one_after_another(log, [epoch(n) for n in range(2500)])
        await theirs()
        for _ in range(TURNS):
            before = await theirs()
            ours = await one_after_another(log, [epoch(n) for n in range(APPENDS // 4)])
            after = await theirs()
            spent.append((before + after) / 2)
            ratios.append(spent[-1] / ours)
    return statistics.median(spent), statistics.median(ratios)


@contextmanager
def _eventsourcing(folder: Path) -> Iterator[Turn]:
    from uuid import uuid4

    from eventsourcing.persistence import StoredEvent
    from eventsourcing.sqlite import SQLiteApplicationRecorder, SQLiteDatastore

    recorder = SQLiteApplicationRecorder(SQLiteDatastore(str(folder / "eventsourcing.db")))
    recorder.create_table()

    def turn(events: int) -> None:
        originator = uuid4()
        for n in range(events):
            recorder.insert_events([StoredEvent(originator, n, "EpochFinished", epoch(n).payload.encode())])

    yield turn


@contextmanager
def _langgraph(folder: Path) -> Iterator[Turn]:
    from langgraph.checkpoint.base import empty_checkpoint
    from langgraph.checkpoint.sqlite import SqliteSaver

    with SqliteSaver.from_conn_string(str(folder / "langgraph.db")) as saver:
        saver.setup()
        saver.conn.execute("PRAGMA synchronous = FULL")

        def turn(events: int) -> None:
            config = {"configurable": {"thread_id": "1", "checkpoint_ns": ""}}
            for n in range(events):
                checkpoint = {**empty_checkpoint(), "channel_values": {"event": epoch(n).payload}}
                config = saver.put(config, checkpoint, {"step": n}, {})

        yield turn


@contextmanager
def _dbos(folder: Path) -> Iterator[Turn]:
    """A step of a workflow: its outcome is recorded before the next begins (its own SQLite settings)."""
    from dbos import DBOS

    url = f"sqlite:///{folder / 'dbos.db'}"
    DBOS(
        config={"name": "bench", "system_database_url": url, "run_admin_server": False, "log_level": "ERROR"}
    )

    @DBOS.step()
    def step(n: int) -> str:
        return epoch(n).payload

    @DBOS.workflow()
    def turn(events: int) -> None:
        for n in range(events):
            step(n)

    DBOS.launch()
    try:
        yield turn
    finally:
        DBOS.destroy()
