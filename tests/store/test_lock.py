"""One writer: who holds the lock is named; a holder that was taken over while it stood still writes nothing
more.
"""

import errno
import json
import os
import signal
import socket
from pathlib import Path

import pytest

from store import IntegrityError, LockedError, Log, Reader, lock_holder
from store.writer import Append, Writer
from tests.store.logs import PATIENCE, make_log, pending, run, start, wait_for

HOLDER = """
import asyncio, sys
from pathlib import Path
from store import Log, StoreError
from tests.store.logs import pending

async def main():
    async with Log.open(sys.argv[1]) as log:
        print("open", flush=True)
        while (line := await asyncio.to_thread(sys.stdin.readline)).strip():
            try:
                (event,) = await log.append("main", [pending(1)])
                print("wrote", event.position, flush=True)
            except StoreError as error:
                print(type(error).__name__, error, flush=True)

asyncio.run(main())
"""


def test_a_second_writer_is_told_who_the_first_is(tmp_path: Path) -> None:
    path = make_log(tmp_path / "a.db", 1)
    holder = start(["-c", HOLDER, str(path)])
    assert holder.stdout is not None and holder.stdout.readline() == "open\n"
    try:
        with pytest.raises(LockedError) as caught:
            run(open_and_append(path))
        text = str(caught.value)
        assert f"process {holder.pid} on {socket.gethostname()}" in text
        assert "since 20" in text and "-c" in text and "one log has one writer" in text
        with Reader(path) as reader:
            assert reader.head("main").position == 1, "reading needs no lock"
    finally:
        holder.communicate("\n", timeout=PATIENCE)
    run(open_and_append(path))


def test_the_lock_dies_with_its_holder(tmp_path: Path) -> None:
    path = make_log(tmp_path / "a.db", 1)
    holder = start(["-c", HOLDER, str(path)])
    assert holder.stdout is not None and holder.stdout.readline() == "open\n"
    named = lock_holder(path)
    assert named is not None and named.pid == holder.pid
    holder.kill()
    os.waitid(os.P_PID, holder.pid, os.WEXITED | os.WNOWAIT)
    assert lock_holder(path) is None  # dead, though its parent has not looked yet
    holder.communicate(timeout=PATIENCE)
    assert lock_holder(path) is None
    run(open_and_append(path))


def test_a_log_is_free_after_it_was_closed_or_could_not_be_opened(tmp_path: Path) -> None:
    path = make_log(tmp_path / "a.db", 1)
    assert lock_holder(path) is None
    run(open_and_append(path))
    assert lock_holder(path) is None
    other = tmp_path / "b.db"
    other.write_bytes(b"no database" * 1000)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="is damaged or is not a log"):
            run(open_and_append(other))


def test_a_stopped_holder_keeps_others_out(tmp_path: Path) -> None:
    path = make_log(tmp_path / "a.db", 1)
    holder = start(["-c", HOLDER, str(path)])
    assert holder.stdout is not None and holder.stdout.readline() == "open\n"
    holder.send_signal(signal.SIGSTOP)
    try:
        wait_for(lambda: _state(holder.pid) == "T", "the holder's stop")
        with pytest.raises(LockedError, match=f"process {holder.pid} "):
            run(open_and_append(path))
    finally:
        holder.send_signal(signal.SIGCONT)
    out, _ = holder.communicate("go\n\n", timeout=PATIENCE)
    assert out.strip() == "wrote 2", "and writes on when it is woken"


def test_a_stopped_holder_that_was_taken_over_writes_nothing_more(tmp_path: Path) -> None:
    """Its lock is lost (here: the lock file was deleted), another process writes, then it wakes."""
    path = make_log(tmp_path / "a.db", 1)
    holder = start(["-c", HOLDER, str(path)])
    assert holder.stdin is not None and holder.stdout is not None and holder.stdout.readline() == "open\n"
    holder.stdin.write("go\n")
    holder.stdin.flush()
    assert holder.stdout.readline() == "wrote 2\n"
    holder.send_signal(signal.SIGSTOP)
    try:
        wait_for(lambda: _state(holder.pid) == "T", "the holder's stop")
        path.with_name("a.db.lock").unlink()
        run(open_and_append(path))
    finally:
        holder.send_signal(signal.SIGCONT)
    out, _ = holder.communicate("go\ngo\n\n", timeout=PATIENCE)
    for line in out.strip().splitlines():
        assert line.startswith("LockedError") and "was taken over by another process" in line
    with Reader(path) as reader:
        assert [e.position for e in reader.read("main")] == [1, 2, 3]
        assert reader.verify_chain("main").ok


def test_two_programs_that_lost_the_lock_file_never_both_write(tmp_path: Path) -> None:
    path = make_log(tmp_path / "a.db", 0)

    async def check() -> None:
        first = await Log.open(path)
        await first.append("main", [pending(1)])
        path.with_name("a.db.lock").unlink()
        second = await Log.open(path)
        for attempt in (
            first.append("main", [pending(2)]),
            first.append("main", [pending(3)]),
            first.put_blob(b"x"),
            first.create_branch("fork", "run", "main"),
        ):
            with pytest.raises(LockedError, match="taken over"):
                await attempt
        assert (await second.append("main", [pending(2)]))[0].position == 2
        await first.close()
        await second.append("main", [pending(3)])
        await second.close()

    run(check())


def test_what_a_former_writer_wrote_until_it_was_taken_over_is_built_upon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_log(tmp_path / "a.db", 2)

    async def check() -> None:
        first = await Log.open(path)
        path.with_name("a.db.lock").unlink()
        take_over = Writer._take_over

        def at_the_last_moment(self: Writer) -> int:
            assert first._writer is not None
            (made,) = first._writer.write([Append("main", [pending(3, key="late")], (), {})])
            assert isinstance(made, list) and made[0].position == 3
            return take_over(self)

        monkeypatch.setattr(Writer, "_take_over", at_the_last_moment)
        async with Log.open(path) as second:
            assert (await second.append("main", [pending(4)]))[0].position == 4
            with pytest.raises(IntegrityError, match="late"):
                await second.append("main", [pending(5, key="late")])
            assert second.verify_chain("main").ok
        await first.close()

    run(check())


def test_the_lock_file_names_its_holder(tmp_path: Path) -> None:
    path = make_log(tmp_path / "a.db", 0)

    async def check() -> None:
        async with Log.open(path):
            holder = lock_holder(path)
            assert holder is not None and (holder.pid, holder.host) == (os.getpid(), socket.gethostname())
            assert json.loads((tmp_path / "a.db.lock").read_text())["since"] == holder.since

    run(check())
    (tmp_path / "a.db.lock").write_text("not json")
    assert lock_holder(path) is None
    run(open_and_append(path))


def test_where_the_file_system_keeps_no_locks_the_name_in_the_file_has_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(file: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("store.lock.fcntl.flock", no_locks)
    path = make_log(tmp_path / "a.db", 0)
    gone = start(["-c", ""])
    gone.communicate(timeout=PATIENCE)
    here = socket.gethostname()
    for holder, free in (((gone.pid, here), True), ((os.getppid(), here), False), ((1, "elsewhere"), False)):
        named = {"pid": holder[0], "host": holder[1], "since": 1.0, "command": "x"}
        (tmp_path / "a.db.lock").write_text(json.dumps(named))
        if free:
            run(open_and_append(path))
        else:
            with pytest.raises(LockedError, match=f"process {holder[0]} on .*remove a.db.lock"):
                run(open_and_append(path))
    (tmp_path / "a.db.lock").unlink()
    run(open_and_append(path))


async def open_and_append(path: Path) -> None:
    """Write one event as a process of its own would."""
    async with Log.open(path) as log:
        await log.append("main", [pending(7)])


def _state(pid: int) -> str:
    stat = Path(f"/proc/{pid}/stat")
    if not stat.exists():
        pytest.skip("needs /proc")
    return stat.read_text().rsplit(")", 1)[1].split()[0]
