"""A torn WAL, a full disk, a folder that may not be written, a file that is no log: each is recognised, none
is garbage.
"""

import asyncio
import os
import random
import shutil
import sqlite3
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from store import CorruptedError, Log, NewerFormatError, OperationalError, Reader, StoreError
from store.schema import APPLICATION_ID, FORMAT, connect_writer
from tests.store.logs import PATIENCE, REPOSITORY, make_log, pending, run, start


@dataclass(frozen=True)
class Torn:
    """A log and its WAL as a crash leaves them: copied while open."""

    path: Path
    ids: list[str]
    """Of its events, in order; an append holds one to three of them."""
    opened: int
    """Bytes of the WAL once the log had been made: before them it holds no whole log."""
    commits: list[tuple[int, int]]
    """(bytes of the WAL, events) after the branch was made and after each append."""

    def held(self, intact: int) -> int | None:
        """Events in the whole commits of so many intact bytes of the WAL; None: not even the branch."""
        return max((events for size, events in self.commits if size <= intact), default=None)


def torn_log(folder: Path) -> Torn:
    live = folder / "live.db"

    async def build() -> Torn:
        async with Log.open(live, create=True) as log:
            wal = Path(f"{live}-wal")
            opened = wal.stat().st_size
            await log.create_branch("main", "run")
            ids, commits = [], [(wal.stat().st_size, 0)]
            for n in range(60):
                made = await log.append("main", [pending(n, fill="x" * 700) for _ in range(1 + n % 3)])
                ids += [e.id for e in made]
                commits.append((wal.stat().st_size, len(ids)))
            for suffix in ("", "-wal"):
                shutil.copy(f"{live}{suffix}", f"{folder / 'torn.db'}{suffix}")
            return Torn(folder / "torn.db", ids, opened, commits)

    torn = run(build())
    assert len({size for size, _ in torn.commits}) == 61, "each append is a commit of its own"
    return torn


def holds_the_whole_commits(path: Path, torn: Torn, intact: int) -> None:
    """The log opens to exactly the commits that are whole in its WAL, and can be gone on with; where not even
    its making is, it says that it is damaged.
    """

    async def look() -> None:
        async with Log.open(path) as log:
            expected = torn.held(intact)
            assert [b.name for b in log.branches()] == ([] if expected is None else ["main"])
            if expected is not None:
                assert [e.id for e in log.read("main")] == torn.ids[:expected]
                report = log.verify_chain("main")
                assert report.ok and report.events == expected, report.detail
                (event,) = await log.append("main", [pending(0)])
                assert event.position == expected + 1

    try:
        run(look())
    except CorruptedError:
        assert intact < torn.opened, "a whole log was called damaged"


def tear(folder: Path, cuts: Sequence[int], torn: Torn) -> None:
    wal, base = Path(f"{torn.path}-wal").read_bytes(), torn.path.read_bytes()
    for n, cut in enumerate(cuts):
        copy = folder / f"copy-{n}.db"
        copy.write_bytes(base)
        Path(f"{copy}-wal").write_bytes(wal[:cut])
        holds_the_whole_commits(copy, torn, cut)
        for suffix in ("", "-wal", "-shm", ".lock"):
            Path(f"{copy}{suffix}").unlink(missing_ok=True)


def cuts(torn: Torn, times: int) -> list[int]:
    size, chance = Path(f"{torn.path}-wal").stat().st_size, random.Random(7)
    return [chance.randrange(size) for _ in range(times)]


def test_a_torn_wal_opens_to_a_whole_prefix(tmp_path: Path) -> None:
    torn = torn_log(tmp_path)
    edges = [size + by for size, _ in torn.commits[20:24] for by in (-1, 0, 1)]
    tear(tmp_path, [0, *cuts(torn, 10), *edges], torn)


@pytest.mark.slow
def test_a_wal_torn_in_two_hundred_places_opens_to_a_whole_prefix(tmp_path: Path) -> None:
    torn = torn_log(tmp_path)
    tear(tmp_path, cuts(torn, 200), torn)


def test_an_untouched_wal_opens_to_all_of_it(tmp_path: Path) -> None:
    torn = torn_log(tmp_path)
    size = Path(f"{torn.path}-wal").stat().st_size
    assert torn.held(size) == len(torn.ids) > 100
    holds_the_whole_commits(torn.path, torn, size)


@pytest.mark.parametrize("seed", range(5))
def test_a_wal_with_flipped_bits_opens_to_a_whole_prefix(tmp_path: Path, seed: int) -> None:
    torn = torn_log(tmp_path)
    wal = bytearray(Path(f"{torn.path}-wal").read_bytes())
    at = random.Random(seed).randrange(len(wal))
    wal[at] ^= 0x55
    Path(f"{torn.path}-wal").write_bytes(wal)
    holds_the_whole_commits(torn.path, torn, at)


@pytest.mark.parametrize("seed", range(5))
def test_a_page_overwritten_in_the_file_is_never_read_as_events(tmp_path: Path, seed: int) -> None:
    """Either the reader says the file is damaged, or the chain shows it, or the page held nothing that
    counts.
    """
    path = make_log(tmp_path / "a.db", 200)
    with Reader(path) as reader:
        before = list(reader.read("main"))
    data = bytearray(path.read_bytes())
    page = random.Random(seed).randrange(1, len(data) // 4096)
    data[page * 4096 : (page + 1) * 4096] = random.Random(seed).randbytes(4096)
    path.write_bytes(data)
    try:
        with Reader(path) as reader:
            same = list(reader.read("main")) == before
            assert same or not reader.verify_chain("main").ok
    except StoreError as error:
        assert isinstance(error, CorruptedError) or "cannot be used" in str(error)


FILLER = """
import asyncio, resource, sys
from store import Log, StoreError
from tests.store.logs import pending

async def main():
    async with Log.open(sys.argv[1]) as log:
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
        failed = 0
        for n in range(1000):
            try:
                (event,) = await log.append("main", [pending(n, fill="x" * 3000)])
                print("acknowledged", event.id, flush=True)
            except StoreError as error:
                print("failed", type(error).__name__, error, flush=True)
                failed += 1
                if failed == 3:
                    break
        print("head", log.head("main").position, sum(1 for _ in log.read("main")), flush=True)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        (event,) = await log.append("main", [pending(-1)])
        print("acknowledged", event.id, flush=True)

asyncio.run(main())
"""


@pytest.mark.parametrize("limit", [60_000, 100_001, 262_144])
def test_a_full_disk_is_named_and_what_was_acknowledged_stays(tmp_path: Path, limit: int) -> None:
    path = make_log(tmp_path / "a.db", 3)
    process = start(["-c", FILLER, str(path), str(limit)])
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    lines = [line.split(" ", 2) for line in out.splitlines()]
    failures = [line for line in lines if line[0] == "failed"]
    assert failures and all(line[1] == "OperationalError" and "no room left" in line[2] for line in failures)
    acknowledged = [line[1] for line in lines if line[0] == "acknowledged"]
    with Reader(path) as reader:
        events = list(reader.read("main"))
        assert [e.id for e in events[3:]] == acknowledged, "acknowledged events, all and only they, in order"
        assert reader.verify_chain("main").ok
    head = next(line for line in lines if line[0] == "head")
    assert head[1] == head[2], "the failed appends left no trace"


def fill_up(path: Path, make_room: Callable[[Log], None]) -> None:
    """Append until the disk is full, make room, go on: what was acknowledged is there, and nothing else."""

    async def main() -> None:
        async with Log.open(path) as log:
            kept, failures = [e.id for e in log.read("main")], []
            for n in range(2000):
                try:
                    group = (
                        log.append("main", [pending(n, fill="x" * 3000)]),
                        log.append("main", [pending(n)]),
                    )
                    for outcome in await asyncio.gather(*group, return_exceptions=True):
                        if isinstance(outcome, BaseException):
                            raise outcome
                        kept += [e.id for e in outcome]
                except OperationalError as error:
                    failures.append(str(error))
                    if len(failures) == 3:
                        break
            assert len(failures) == 3 and all("no room left" in said for said in failures)
            assert [e.id for e in log.read("main")] == kept
            make_room(log)
            (event,) = await log.append("main", [pending(-1)])
            assert event.position == len(kept) + 1 and log.verify_chain("main").ok

    run(main())
    with Reader(path) as reader:
        assert reader.verify_chain("main").ok


def test_a_file_that_sqlite_calls_full_is_named_and_goes_on_when_there_is_room(tmp_path: Path) -> None:
    """SQLITE_FULL, as a disk without room gives it, in the middle of a group's commit."""
    path = make_log(tmp_path / "a.db", 3)
    with sqlite3.connect(path) as connection:
        pages = connection.execute("PRAGMA page_count").fetchone()[0] + 40
    connection.close()
    limited = connect_writer

    def limit(*arguments: Any, **options: Any) -> sqlite3.Connection:
        made = limited(*arguments, **options)
        made.execute(f"PRAGMA max_page_count = {pages}")
        return made

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("store.log.connect_writer", limit)
        fill_up(path, lambda log: _writer(log).execute("PRAGMA max_page_count = 100000"))


def _writer(log: Log) -> sqlite3.Connection:
    assert log._writer is not None
    return log._writer.connection


def test_a_disk_without_room_is_named_and_goes_on_when_there_is_room(tmp_path: Path) -> None:
    """A real ENOSPC, on a file system of one megabyte."""
    small = tmp_path / "small"
    small.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(small)], capture_output=True, check=False
    )
    if done.returncode != 0:
        pytest.skip("no file system can be mounted here")
    try:
        path = make_log(small / "a.db", 3)
        (small / "ballast").write_bytes(b"x" * 300_000)
        fill_up(path, lambda log: (small / "ballast").unlink())
    finally:
        subprocess.run(["umount", str(small)], check=True)


@pytest.fixture
def sealed_folder() -> Iterator[Path]:
    """A folder that everyone may enter, for a test to make read-only; the superuser acts as nobody
    meanwhile.
    """
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        os.seteuid(os.getuid())
        folder.chmod(0o755)
        shutil.rmtree(folder)


def seal(folder: Path) -> None:
    """From here on nobody may write in the folder, whoever runs the tests."""
    folder.chmod(0o555)
    if os.geteuid() == 0:
        os.seteuid(65534)


@pytest.mark.parametrize("after", ["a clean end", "a crash"])
def test_a_folder_that_may_not_be_written_is_named_and_its_log_is_readable(
    sealed_folder: Path, after: str
) -> None:
    path = sealed_folder / "a.db"
    if after == "a clean end":
        make_log(path, 5)
        (sealed_folder / "a.db.lock").unlink()
    else:
        torn = torn_log(sealed_folder)
        for suffix in ("", "-wal"):
            Path(f"{torn.path}{suffix}").rename(f"{path}{suffix}")
        with Reader(path) as reader:  # leaves the -shm file that a crash would have left
            events = reader.head("main").position
    seal(sealed_folder)
    with pytest.raises(OperationalError, match="cannot be used: Permission denied"):
        run(_open(path, create=False))
    with pytest.raises(OperationalError, match="cannot be used: Permission denied"):
        run(_open(sealed_folder / "new.db", create=True))
    with Reader(path) as reader:
        report = reader.verify_chain("main")
        assert report.ok and report.events == (5 if after == "a clean end" else events)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "is not a log of NADER"),
        (b"hello\n", "damaged or is not a log"),
        (b"SQLite format 3\0" + b"\0" * 50, "damaged or is not a log|is not a log"),
        (b"\xff" * 5000, "damaged or is not a log"),
    ],
)
def test_a_file_that_is_no_log_is_refused(tmp_path: Path, content: bytes, text: str) -> None:
    path = tmp_path / "a.db"
    path.write_bytes(content)
    with pytest.raises(CorruptedError, match=text):
        Reader(path)
    with pytest.raises(CorruptedError, match=text):
        run(_open(path, create=False))


def test_another_programs_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    before = path.read_bytes()
    for create in (False, True):
        with pytest.raises(CorruptedError, match="is not a log of NADER"):
            run(_open(path, create=create))
    assert path.read_bytes() == before


def test_a_log_that_is_not_there_is_named(tmp_path: Path) -> None:
    path = tmp_path / "none" / "a.db"
    with pytest.raises(OperationalError, match="there is no log at"):
        Reader(path)
    with pytest.raises(OperationalError, match="there is no log at"):
        run(_open(path, create=False))
    with pytest.raises(OperationalError, match="cannot be used: No such file"):
        run(_open(path, create=True))
    with pytest.raises(OperationalError, match="cannot be used"):
        run(_open(tmp_path, create=True))
    assert not list(tmp_path.iterdir()), "nothing was left behind"


def test_a_log_of_a_newer_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = make_log(tmp_path / "a.db", 3)
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version = {FORMAT + 1}")
    connection.close()
    before = path.read_bytes()
    text = f"has format {FORMAT + 1}, and this version of nader reads up to {FORMAT}: upgrade nader"
    with pytest.raises(NewerFormatError, match=text):
        Reader(path)
    with pytest.raises(NewerFormatError, match=text):
        run(_open(path, create=False))
    assert path.read_bytes() == before


def test_the_file_says_what_it_is(tmp_path: Path) -> None:
    header = make_log(tmp_path / "a.db", 1).read_bytes()[:100]
    assert int.from_bytes(header[68:72], "big") == APPLICATION_ID and header[68:72] == b"NADE"
    assert int.from_bytes(header[60:64], "big") == FORMAT


def test_a_log_whose_first_pages_are_damaged_does_not_open_for_writing(tmp_path: Path) -> None:
    path = make_log(tmp_path / "a.db", 50)
    data = bytearray(path.read_bytes())
    data[4096:] = b"\xee" * (len(data) - 4096)
    path.write_bytes(data)
    for _ in range(2):
        with pytest.raises(CorruptedError, match="is damaged"):
            run(_open(path, create=False))


def test_an_sqlite_that_is_too_old_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("store.schema._OLDEST_SQLITE", (99, 0, 0))
    with pytest.raises(OperationalError, match=r"a log needs SQLite 99\.0\.0 or newer; this Python has 3\."):
        run(_open(tmp_path / "a.db", create=True))


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE events SET payload = '{}'",
        "UPDATE OR REPLACE events SET place = place + 1",
        "DELETE FROM events",
        "INSERT OR REPLACE INTO events SELECT * FROM events",
        "REPLACE INTO events SELECT place, seq, id, time, 'another', type, version, causation, correlation,"
        " effect_key, input_digest, prev_hash, hash, payload FROM events",
        "INSERT OR REPLACE INTO branches SELECT id, name, 'x', parent, fork_position, created FROM branches",
        "INSERT OR REPLACE INTO branches SELECT id + 9, name, 'x', parent, 0, created FROM branches",
        "UPDATE branches SET run = 'x'",
        "DELETE FROM branches",
    ],
)
def test_the_file_itself_refuses_to_change_history(tmp_path: Path, statement: str) -> None:
    """Whatever program opens it, as it comes."""
    assert_refused(make_log(tmp_path / "a.db", 3), statement)


def assert_refused(path: Path, statement: str) -> None:
    with sqlite3.connect(path) as connection:
        before = connection.execute("SELECT * FROM events").fetchall()
        with pytest.raises(sqlite3.IntegrityError, match="are never"):
            connection.execute(statement)
        assert connection.execute("SELECT * FROM events").fetchall() == before
    connection.close()


def test_a_log_of_before_the_first_release_is_refused_and_left_alone(tmp_path: Path) -> None:
    """Its chain cannot be checked: it hashed an absent field and the text `None` alike."""
    path = tmp_path / "a.db"
    shutil.copy(REPOSITORY / "tests" / "golden" / "log-format-1.db", path)
    before = path.read_bytes()
    with pytest.raises(OperationalError, match=r"format 1, of before the first release, and .* from 2 on"):
        Reader(path)
    with pytest.raises(OperationalError, match="format 1, of before the first release"):
        run(_open(path, create=True))
    assert path.read_bytes() == before


def test_a_log_of_format_2_opens_for_ever(tmp_path: Path) -> None:
    """The golden file was written by the first release; see tests/golden/README.md."""
    path = tmp_path / "a.db"
    shutil.copy(REPOSITORY / "tests" / "golden" / "log-format-2.db", path)
    with Reader(path) as reader:
        assert [(b.name, b.run, b.parent, b.fork_position) for b in reader.branches()] == [
            ("main", "golden", None, 0),
            ("fork", "golden", "main", 3),
        ]
        events = list(reader.read("fork"))
        assert [(e.branch, e.position, e.type) for e in events] == [
            ("main", 1, "Noted"),
            ("main", 2, "Noted"),
            ("main", 3, "Noted"),
            ("fork", 4, "Noted"),
        ]
        assert events[1].data() == {"n": 1, "text": "größer ∂"}
        assert reader.head("main").hash == "05c23b0eac870001bb1b474bdd73fa9ec867a1d2d0ca0ab8d644fdd04238d7c6"
        assert reader.verify_chain("main").ok and reader.verify_chain("fork").ok
        assert reader.acks("fork") == {("tester", 1): 2}
        assert reader.blob(events[0].data()["blob"]) == b"golden " * 100

    async def go_on() -> None:
        async with Log.open(path) as log:
            (event,) = await log.append("main", [pending(1)])
            assert event.position == 6 and log.verify_chain("main").ok

    run(go_on())
    assert_refused(path, "INSERT OR REPLACE INTO events SELECT * FROM events")


async def _open(path: Path, *, create: bool) -> None:
    async with Log.open(path, create=create):
        pass
