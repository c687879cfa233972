"""SIGKILL at every fault point, in real processes: nothing acknowledged is lost, nothing ends twice."""

import random
import signal
import sqlite3
from collections import Counter
from pathlib import Path

import pytest

from events.envelope import Envelope
from store import FaultPoint, Log, Reader, sha256_hex
from tests.store.crash_writer import CLIENTS, EFFECTS
from tests.store.logs import PATIENCE, pending, run, start

ALL = CLIENTS * EFFECTS
HITS = {
    FaultPoint.BEFORE_APPEND: 20,
    FaultPoint.AFTER_APPEND: 20,
    FaultPoint.BETWEEN_COMMIT_AND_PUBLISH: 30,
    FaultPoint.AFTER_EFFECT_BEFORE_RECORD: 40,
    FaultPoint.DURING_CHECKPOINT: 3,
    FaultPoint.DURING_FORK: 12,
}
"""How often one run of the program comes to each point, at least."""


def crash(path: Path, world: Path, setting: str | None) -> tuple[int, list[str]]:
    """Run the program once; its exit status and what it printed."""
    process = start(
        ["-m", "tests.store.crash_writer", str(path), str(world)],
        **({"NADER_FAULT": setting} if setting else {}),
    )
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode in (0, -signal.SIGKILL), err
    return process.returncode, out.splitlines()


def check(path: Path, lines: list[str]) -> None:
    """What must hold after any crash."""
    acknowledged = {line.split()[1] for line in lines if line.startswith("acknowledged")}
    with Reader(path) as reader:
        branches = {b.name for b in reader.branches()}
        assert {line.split()[1] for line in lines if line.startswith("branch")} <= branches
        if "main" not in branches:
            assert not acknowledged
            return
        events = list(reader.read("main"))
        begun = {name: own_events(reader, name) for name in branches - {"main"}}
        assert all(len(own) == 1 for own in begun.values()), "a branch and its first events come together"
        kept = {e.id for own in (events, *begun.values()) for e in own}
        assert acknowledged <= kept, "an acknowledged event is gone"
        assert max(Counter(e.effect_key for e in events).values(), default=1) == 1, (
            "an effect is recorded twice"
        )
        assert [e.position for e in events] == list(range(1, len(events) + 1))
        for name in branches:
            report = reader.verify_chain(name)
            assert report.ok, report.detail
        done = {e.effect_key for e in events if e.type == "Done"}
        finished = {cause for (_, cause) in reader.acks("main")}
        answered = {e.position for e in events if e.type == "Asked" and f"done{e.effect_key[3:]}" in done}
        assert finished == answered, "an acknowledgement and its event are written together or not at all"


def own_events(reader: Reader, name: str) -> list[Envelope]:
    """The events that lie in a branch itself."""
    (info,) = (b for b in reader.branches() if b.name == name)
    return list(reader.read(name, after=info.fork_position))


def crash_and_resume(folder: Path, settings: list[str]) -> None:
    """Crash once for each setting, then let the program finish."""
    path, world = folder / "log.db", folder / "world"
    world.mkdir()
    lines: list[str] = []
    killed = 0
    for setting in settings:
        status, printed = crash(path, world, setting)
        killed += status != 0
        lines += printed
        if path.exists() and path.stat().st_size:
            check(path, lines)
    assert killed == len(settings), "a kill that never comes proves nothing"
    status, printed = crash(path, world, None)
    assert status == 0 and printed[-1] == "finished"
    check(path, lines + printed)
    with Reader(path) as reader:
        types = Counter(e.type for e in reader.read("main"))
        assert types == {"Asked": ALL, "Done": ALL}, "every request has exactly one end"
    performed = sum(len((world / name.name).read_text().splitlines()) for name in world.iterdir())
    assert ALL <= performed <= ALL + CLIENTS * killed, "only what was unfinished is performed again"


@pytest.mark.parametrize("point", list(FaultPoint))
def test_a_kill_at_a_fault_point_loses_and_repeats_nothing(tmp_path: Path, point: FaultPoint) -> None:
    crash_and_resume(tmp_path, [f"{point}:{random.Random(point).randint(1, HITS[point])}"])


@pytest.mark.slow
@pytest.mark.parametrize("point", list(FaultPoint))
def test_twenty_kills_at_a_fault_point_lose_and_repeat_nothing(tmp_path: Path, point: FaultPoint) -> None:
    chance = random.Random(point)
    for n in range(20):
        folder = tmp_path / str(n)
        folder.mkdir()
        crash_and_resume(folder, [f"{point}:{chance.randint(1, HITS[point])}"])


def test_a_crash_while_recovering_from_a_crash_loses_nothing(tmp_path: Path) -> None:
    crash_and_resume(tmp_path, ["after-append:9", "during-checkpoint:1", "before-append:4", "during-fork:2"])


@pytest.mark.parametrize(
    "setting", ["after-append:0x", "nowhere", "after-append:", "after-append:-1", "after-append:2:3"]
)
def test_a_fault_that_does_not_exist_is_refused(setting: str) -> None:
    process = start(["-c", "import store.faults"], NADER_FAULT=setting)
    _, err = process.communicate(timeout=PATIENCE)
    if setting == "after-append:":
        assert process.returncode == 0
    else:
        assert process.returncode != 0 and "write one of before-append, after-append" in err


def test_a_fault_kills_at_its_count() -> None:
    program = (
        "from store import fault\nfor n in range(9): print(n); fault('after-append'); fault('during-fork')"
    )
    process = start(["-c", program], NADER_FAULT="after-append:4")
    out, _ = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out.split()) == (-signal.SIGKILL, ["0", "1", "2", "3"])


def test_without_the_variable_faults_are_empty(tmp_path: Path) -> None:
    process = start(["-c", "from store import faults\nprint(faults.fault.__code__.co_names)"])
    assert process.communicate(timeout=PATIENCE)[0].strip() == "()"


FORK = """
import asyncio, sys
from events.envelope import Ack
from store import Log, sha256_hex
from tests.store.logs import pending

async def main():
    async with Log.open(sys.argv[1], create=True) as log:
        await log.create_branch("main", "run", first=[pending(1), pending(2)])
        first, blob = [pending(3), pending(4)], b"what the fork begins with"
        await log.create_branch("fork", "run", "main", 1, first=first, acks=[Ack("a", 1)],
                                blobs={sha256_hex(blob): blob})
        print("made")

asyncio.run(main())
"""
BLOB = b"what the fork begins with"


def test_a_fork_killed_before_its_commit_leaves_neither_a_branch_nor_events(tmp_path: Path) -> None:
    process = start(["-c", FORK, str(tmp_path / "a.db")], NADER_FAULT="during-fork:2")
    assert process.communicate(timeout=PATIENCE)[0] == ""
    assert process.returncode == -signal.SIGKILL

    async def go_on() -> None:
        async with Log.open(tmp_path / "a.db") as log:
            assert [b.name for b in log.branches()] == ["main"]
            assert (log.head("main").position, log.acks("main")) == (2, {})
            assert count(tmp_path / "a.db") == {"branches": 1, "events": 2, "acks": 0, "blobs": 0}
            await log.create_branch("fork", "run", "main", 1, first=[pending(5)])
            assert [e.data()["n"] for e in log.read("fork")] == [1, 5]

    run(go_on())


def test_a_fork_killed_after_its_commit_leaves_the_branch_with_its_events(tmp_path: Path) -> None:
    process = start(["-c", FORK, str(tmp_path / "a.db")], NADER_FAULT="between-commit-and-publish:2")
    assert process.communicate(timeout=PATIENCE)[0] == ""
    assert process.returncode == -signal.SIGKILL

    async def go_on() -> None:
        async with Log.open(tmp_path / "a.db") as log:
            assert [e.data()["n"] for e in log.read("fork")] == [1, 3, 4]
            assert (log.acks("fork"), log.blob(sha256_hex(BLOB))) == ({("a", 1): 3}, BLOB)
            assert log.verify_chain("fork").ok
            await log.append("fork", [pending(5)])

    run(go_on())


def count(path: Path) -> dict[str, int]:
    """Rows of each table."""
    with sqlite3.connect(path) as connection:
        tables = ("branches", "events", "acks", "blobs")
        return {t: connection.execute(f"SELECT count(*) FROM {t}").fetchone()[0] for t in tables}
