"""What the log costs, as ratios within one run: `python benchmarks/store.py [--only NAME]… [--json]
[--folder DIR]`.

Disks differ a hundredfold and change from minute to minute, so a durable append is compared with sqlite3
itself, in turns, on the same disk, and the whole is bracketed by a probe of fdatasync. Peers (eventsourcing,
langgraph-checkpoint-sqlite, dbos) are measured where they are installed. A new row is a function in ROWS.
"""

import argparse
import asyncio
import json
import os
import platform
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from events.envelope import Ack, Pending
from events.registry import encode
from events.training import EpochFinished
from store import Log, Reader, sha256_hex
from store.projections import Views
from store.projections.vectors import VectorIndex
from store.schema import schema_sql
from tests.store.campaigns import batches, campaign

APPENDS = 400
"""Of each side in one turn."""
TURNS = 7
PRODUCERS = 64
EVENTS = 100_000
JOB = sha256_hex(b"a training")
_INSERT = "INSERT INTO events VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?)"


@dataclass(frozen=True)
class Figure:
    """One line of the result."""

    row: str
    what: str
    value: float
    unit: str
    target: str = ""
    met: bool | None = None


def at_least(row: str, what: str, value: float, unit: str, target: float) -> Figure:
    """A figure that should be no less than its target."""
    return Figure(row, what, value, unit, f"≥ {target:g}", value >= target)


def at_most(row: str, what: str, value: float, unit: str, target: float) -> Figure:
    """A figure that should be no more than its target."""
    return Figure(row, what, value, unit, f"≤ {target:g}", value <= target)


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


def history(folder: Path) -> Path:
    """A log of a hundred thousand events: a campaign of some 430 candidates, 200 epochs each."""
    path = folder / "history.db"
    if not path.exists():
        story = campaign(415, epochs=200, dimension=64)

        async def write() -> None:
            async with Log.open(path, create=True, synchronous="NORMAL") as log:
                await log.create_branch("main", "run")
                await log.append("main", [], blobs=story.blobs)
                for some in batches(story, 1000):
                    await log.append("main", some)

        asyncio.run(write())
    return path


def best_rate(events: int, work: Callable[[], object], times: int = 5) -> float:
    """Events for each second of this process's CPU, best of a few: the wall-clock rate of a machine of its
    own.

    What is measured so is one thread over cached pages, and so is no faster by the clock than by the CPU.
    """
    seconds = []
    for _ in range(times):
        start = time.process_time()
        work()
        seconds.append(time.process_time() - start)
    return events / min(seconds)


def read(folder: Path) -> Iterator[Figure]:
    """Reading a whole history as envelopes."""
    with Reader(history(folder)) as reader:
        events = reader.head("main").position
        rate = best_rate(events, lambda: sum(1 for _ in reader.read("main")))
        yield at_least("read", f"envelopes of a log of {events} events", rate, "events/CPU s", 200_000)


def chain(folder: Path) -> Iterator[Figure]:
    """Recomputing the hash chain."""
    with Reader(history(folder)) as reader:
        report = reader.verify_chain("main")
        assert report.ok
        rate = best_rate(report.events, lambda: reader.verify_chain("main"))
        yield at_least("chain", "hash chain recomputed", rate, "events/CPU s", 300_000)


def rebuild(folder: Path) -> Iterator[Figure]:
    """Folding all projections from zero, reading included."""
    with Reader(history(folder)) as reader:
        events = reader.head("main").position
        rate = best_rate(events, lambda: Views(reader.blob).apply_many(reader.read("main")), 3)
        yield at_least("rebuild", "all projections from zero", rate, "events/CPU s", 100_000)


def fork(folder: Path) -> Iterator[Figure]:
    """A fork in the middle of a long history, and opening the log."""
    path = history(folder)

    async def measure() -> list[Figure]:
        start = time.perf_counter()
        async with Log.open(path) as log:
            opened = time.perf_counter() - start
            taken = len(log.branches())
            seconds = []
            for n in range(9):
                start = time.perf_counter()
                await log.create_branch(f"fork-{taken}-{n}", "run", "main", 5000 * (n + 1))
                seconds.append(time.perf_counter() - start)
            start = time.perf_counter()
            await log.append(f"fork-{taken}-0", [decision(1)])
            first = time.perf_counter() - start
            events = log.head("main").position
        return [
            at_most("fork", f"a fork of {events} events", statistics.median(seconds) * 1e3, "ms", 5),
            Figure("fork", "first append to it (reads the effect keys)", first * 1e3, "ms"),
            Figure("fork", "opening the log for writing", opened * 1e3, "ms"),
        ]

    yield from asyncio.run(measure())


def size(folder: Path) -> Iterator[Figure]:
    """Bytes an event takes in the file, index and hashes included."""
    path = history(folder)
    with Reader(path) as reader:
        events = reader.head("main").position
    yield Figure("size", "the file by its events", path.stat().st_size / events, "bytes/event")


def nearest(folder: Path) -> Iterator[Figure]:
    """One query among as many inspirations as the paper has, with its dimension of 1,024."""
    chance = np.random.default_rng(0)
    vectors = chance.normal(size=(5411, 1024)).astype(np.float32)
    for name, scanned in (("sqlite-vec", 0), ("numpy", 9999)):
        index = VectorIndex(1024, scanned=scanned)
        for n, vector in enumerate(vectors):
            index.add(str(n), vector, n)
        index.nearest(vectors[0], 30)
        rate = best_rate(20, lambda index=index: [index.nearest(v, 30, 5000) for v in vectors[:20]], 5)
        yield at_most("nearest", f"30 of 5,411 × 1,024 by {name}, as of a position", 1e3 / rate, "CPU ms", 15)


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


CANDIDATES = 500
_CHILD = """
import asyncio, json, resource, sys, time
from pathlib import Path
from nader.campaign import Campaign
from nader.workspace import Workspace
from tests.e2e.campaigns import run_campaign, verified
from tests.e2e.simulation import SimulatedBackend

async def resume(folder):
    start = time.process_time()
    async with await Campaign.resume(Workspace(folder), sets=["search.candidates=501"]):
        return time.process_time() - start

what, folder = sys.argv[1], Path(sys.argv[2])
start = time.process_time()
events = 0
if what == "run":
    sets = ("search.candidates=%d", "search.width=4", "synchronous=NORMAL")
    run_campaign(folder, sets, SimulatedBackend(4, epochs=200))
if what == "verify":
    report = verified(folder)
    assert report.ok, report.differences[:1] or report.chain
    events = report.events
seconds = asyncio.run(resume(folder)) if what == "resume" else time.process_time() - start
memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"seconds": seconds, "memory": memory, "torch": "torch" in sys.modules, "events": events}))
"""


def _child(what: str, folder: Path) -> dict[str, float]:
    """Do a thing with a simulated campaign in a process of its own; its CPU seconds and peak memory in MB."""
    root = str(Path(__file__).resolve().parent.parent)
    done = subprocess.run(
        [sys.executable, "-c", _CHILD.replace("%d", str(CANDIDATES)), what, str(folder)],
        env={**os.environ, "PYTHONPATH": root},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _simulated(folder: Path) -> Path:
    """A whole campaign of 500 candidates, 200 epochs each, with trainings that only pretend."""
    workspace = folder / "campaign"
    if not workspace.exists():
        (workspace / "figures.json").write_text(json.dumps(_child("run", workspace)), encoding="utf-8")
    return workspace


def verify(folder: Path) -> Iterator[Figure]:
    """Every agent's handlers run again from the log and compared, as `nader verify` does."""
    found = _child("verify", _simulated(folder))
    rate = found["events"] / found["seconds"]
    yield at_least("verify", f"a log of {found['events']:.0f} events", rate, "events/CPU s", 30_000)


def whole_campaign(folder: Path) -> Iterator[Figure]:
    """What a long campaign takes: on disk, in memory, and to take up again."""
    workspace = _simulated(folder)
    figures = json.loads((workspace / "figures.json").read_text(encoding="utf-8"))
    size = sum(file.stat().st_size for file in workspace.glob("*.db*"))
    yield at_most("campaign", f"{CANDIDATES} candidates, 200 epochs each: on disk", size / 1e6, "MB", 100)
    label = "peak memory" + (", torch among it" if figures["torch"] else ", without torch")
    yield at_most("campaign", label, figures["memory"], "MB", 500)
    yield Figure("campaign", "all of it, trainings pretended", figures["seconds"], "CPU s")
    resumed = _child("resume", workspace)
    yield at_most("campaign", "taken up again", resumed["seconds"], "CPU s", 3)


ROWS: dict[str, Callable[[Path], Iterator[Figure]]] = {
    "append": append,
    "read": read,
    "chain": chain,
    "rebuild": rebuild,
    "fork": fork,
    "size": size,
    "nearest": nearest,
    "campaign": whole_campaign,
    "verify": verify,
    "peers": peers,
}


def fdatasync(folder: Path, times: int = 200) -> float:
    """Median milliseconds of a 4 KiB write made durable in place."""
    seconds = []
    with (folder / "probe").open("wb", buffering=0) as file:
        file.write(b"\0" * 4096 * times)
        os.fsync(file.fileno())
        for n in range(times):
            start = time.perf_counter()
            os.pwrite(file.fileno(), b"x" * 4096, 4096 * n)
            os.fdatasync(file.fileno())
            seconds.append(time.perf_counter() - start)
    return statistics.median(seconds) * 1e3


@contextmanager
def working_folder(given: Path | None) -> Iterator[Path]:
    """The folder given, else one that is removed afterwards."""
    if given is not None:
        given.mkdir(parents=True, exist_ok=True)
        yield given
    else:
        with tempfile.TemporaryDirectory(dir=Path.cwd()) as name:
            yield Path(name)


def main() -> int:
    """Measure the rows asked for; exit status 1 if a target is missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--only", action="append", choices=list(ROWS), metavar="NAME", help=f"one of {', '.join(ROWS)}"
    )
    parser.add_argument("--json", action="store_true", help="one JSON document instead of a table")
    parser.add_argument(
        "--folder", type=Path, help="where to work (a new one, removed afterwards, if left out)"
    )
    arguments = parser.parse_args()
    figures: list[Figure] = []
    with working_folder(arguments.folder) as folder:
        before = fdatasync(folder)
        for name in arguments.only or ROWS:
            for figure in ROWS[name](folder):
                figures.append(figure)
                if not arguments.json:
                    met = "" if figure.met is None else ("  met" if figure.met else "  MISSED")
                    value = f"{figure.value:12,.2f} {figure.unit:12}"
                    print(f"{figure.row:15} {figure.what:66} {value} {figure.target}{met}", flush=True)
        after = fdatasync(folder)
    machine = f"{os.cpu_count()} cores, Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}"
    if arguments.json:
        print(
            json.dumps(
                {
                    "machine": machine,
                    "fdatasync_ms": [before, after],
                    "figures": [asdict(f) for f in figures],
                },
                indent=2,
            )
        )
    else:
        print(f"fdatasync of 4 KiB: {before:.3f} ms before, {after:.3f} ms after; {machine}")
    return int(any(figure.met is False for figure in figures))


if __name__ == "__main__":
    raise SystemExit(main())
