"""What one durable append costs, and what many side by side gain: against sqlite3 itself, in turns, on the
same disk.

Both ratios depend on the disk. An append costs some 60 µs more than the statements alone (hash, epoch, group,
event loop; a fifth of that where the processor does not sleep for a flush in between), so that the first
reaches its target where a flush takes about half a millisecond or more, and the second is lower the less a
flush costs. Read them together with the probe of fdatasync.
"""

import asyncio
import sqlite3
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.figures import Figure, at_least
from events.envelope import Ack, Pending
from events.registry import encode
from events.training import EpochFinished
from store import Log, sha256_hex
from store.schema import schema_sql

APPENDS = 400
"""Of each side in one turn."""
TURNS = 7
PRODUCERS = 64
JOB = sha256_hex(b"a training")
_INSERT = "INSERT INTO events VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?)"


def epoch(n: int) -> Pending:
    """The event that most of a log is made of: an epoch of a training."""
    event = EpochFinished(
        job=JOB, epoch=n % 200 + 1, epochs=200, loss=1.2345, accuracy=81.25, rate=0.0975, seconds=1.875
    )
    type_, version, payload = encode(event)
    return Pending("training", type_, version, payload, causation=17, correlation="r3-2")


def decision(n: int) -> Pending:
    """An event of an agent: as an epoch, with an effect key and an input digest."""
    plain = epoch(n)
    key = sha256_hex(n.to_bytes(8, "big"))
    return Pending("modifier", plain.type, 1, plain.payload, 17, "r3-2", key, key)


class Raw:
    """sqlite3 alone: the same rows into the same table, one commit each, nothing else."""

    def __init__(self, path: Path, synchronous: str) -> None:
        self.connection = sqlite3.connect(path, isolation_level=None)
        self.connection.execute("PRAGMA journal_mode = WAL")
        self.connection.execute(f"PRAGMA synchronous = {synchronous}")
        self.connection.executescript(schema_sql())
        self.position = 0

    def rows(self, pendings: list[Pending]) -> list[tuple[object, ...]]:
        """The rows that the log would write, made beforehand; their hashes are of the same size."""
        return [
            (
                *(1 << 40 | self.position + n, n, p.id, p.time, p.actor, p.type, p.version, p.causation),
                *(p.correlation, p.effect_key, p.input_digest, JOB, JOB, p.payload),
            )
            for n, p in enumerate(pendings, 1)
        ]

    def append(self, rows: list[tuple[object, ...]]) -> float:
        """Seconds for each row."""
        run = self.connection.execute
        start = time.perf_counter()
        for row in rows:
            run("BEGIN IMMEDIATE")
            run(_INSERT, row)
            run("COMMIT")
        self.position += len(rows)
        return (time.perf_counter() - start) / len(rows)


async def one_after_another(log: Log, pendings: list[Pending], acks: list[Ack] | None = None) -> float:
    """Seconds for each append when one caller waits for each."""
    start = time.perf_counter()
    for n, pending in enumerate(pendings):
        await log.append("main", [pending], acks=acks[n : n + 1] if acks else ())
    return (time.perf_counter() - start) / len(pendings)


async def side_by_side(log: Log, pendings: list[Pending]) -> float:
    """Seconds for each append when 64 callers wait, each for its own."""

    async def produce(mine: list[Pending]) -> None:
        for pending in mine:
            await log.append("main", [pending])

    start = time.perf_counter()
    await asyncio.gather(*(produce(pendings[n::PRODUCERS]) for n in range(PRODUCERS)))
    return (time.perf_counter() - start) / len(pendings)


def append(folder: Path) -> Iterator[Figure]:
    """Durable appends against sqlite3 in turns, once both WALs have reached their working size."""
    for synchronous in ("FULL", "NORMAL"):
        yield from asyncio.run(_append(folder, synchronous))


async def _append(folder: Path, synchronous: str) -> list[Figure]:
    raw = Raw(folder / f"raw-{synchronous}.db", synchronous)
    ratios, keyed, many, alone = [], [], [], []
    async with Log.open(folder / f"log-{synchronous}.db", create=True, synchronous=synchronous) as log:
        await log.create_branch("main", "run")
        raw.append(raw.rows([epoch(n) for n in range(2500)]))
        await one_after_another(log, [epoch(n) for n in range(2500)])
        for turn in range(TURNS):
            first = APPENDS * turn
            theirs = raw.append(raw.rows([epoch(n) for n in range(APPENDS)]))
            ours = await one_after_another(log, [epoch(n) for n in range(APPENDS)])
            again = raw.append(raw.rows([epoch(n) for n in range(APPENDS)]))
            decided = await one_after_another(
                log,
                [decision(first + n) for n in range(APPENDS)],
                [Ack("modifier", first + n) for n in range(APPENDS)],
            )
            together = await side_by_side(log, [epoch(n) for n in range(PRODUCERS * 60)])
            alone.append(ours)
            ratios.append((theirs + again) / 2 / ours)
            keyed.append((theirs + again) / 2 / decided)
            many.append(ours / together)
    name = f"append, {synchronous}"
    figures = [
        Figure(name, "one durable append", statistics.median(alone) * 1e6, "µs"),
        Figure(
            name,
            "… with effect key and acknowledgement, speed of sqlite3's insert",
            statistics.median(keyed),
            "×",
        ),
    ]
    ratio, gain = statistics.median(ratios), statistics.median(many)
    if synchronous == "NORMAL":
        return [
            *figures,
            Figure(name, "speed of sqlite3's insert and commit", ratio, "×"),
            Figure(name, f"{PRODUCERS} producers against one", gain, "×"),
        ]
    return [
        *figures,
        at_least(name, "speed of sqlite3's insert and commit", ratio, "×", 0.9),
        at_least(name, f"{PRODUCERS} producers against one", gain, "×", 15),
    ]
