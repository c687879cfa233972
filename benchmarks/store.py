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
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from benchmarks.appends import append, decision
from benchmarks.figures import Figure, at_least, at_most, best_rate, fdatasync, working_folder
from benchmarks.peers import peers
from benchmarks.simulated import verify, whole_campaign
from store import Log, Reader
from store.projections import Views
from store.projections.vectors import VectorIndex
from tests.store.campaigns import batches, campaign


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
