"""A torn WAL, a full disk, a folder that may not be written, a file that is no log: each is recognised, none
is garbage.
"""

import os
import random
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from store import CorruptedError, Log, NewerFormatError, OperationalError, Reader, StoreError
from store.schema import APPLICATION_ID, FORMAT
from tests.store.logs import PATIENCE, REPOSITORY, make_log, pending, run, start


def torn_log(folder: Path) -> tuple[Path, list[str]]:
    """A log and its WAL as a crash leaves them: copied while open. Also the ids of its events, in order."""
    live = folder / "live.db"

    async def build() -> list[str]:
        async with Log.open(live, create=True) as log:
            await log.create_branch("main", "run")
            ids = []
            for n in range(60):
                ids += [
                    e.id
                    for e in await log.append("main", [pending(n, fill="x" * 700) for _ in range(1 + n % 3)])
                ]
            for suffix in ("", "-wal"):
                shutil.copy(f"{live}{suffix}", f"{folder / 'torn.db'}{suffix}")
            return ids

    return folder / "torn.db", run(build())


def opens_to_a_prefix(path: Path, ids: list[str]) -> bool:
    """Whether the log holds a prefix of what was appended, whole; False if it says that it is damaged."""
    try:

        async def look() -> None:
            async with Log.open(path) as log:
                found = [e.id for e in log.read("main")] if log.branches() else []
                assert found == ids[: len(found)], "not a prefix"
                if log.branches():
                    report = log.verify_chain("main")
                    assert report.ok and report.events == len(found), report.detail
                    await log.append("main", [pending(0)])

        run(look())
    except (CorruptedError, OperationalError):
        return False
    return True


def tear(folder: Path, times: int) -> None:
    path, ids = torn_log(folder)
    wal = Path(f"{path}-wal").read_bytes()
    base = path.read_bytes()
    chance = random.Random(7)
    for n in range(times):
        copy = folder / f"copy-{n}.db"
        copy.write_bytes(base)
        Path(f"{copy}-wal").write_bytes(wal[: chance.randrange(len(wal))])
        opens_to_a_prefix(copy, ids)
        for suffix in ("", "-wal", "-shm", ".lock"):
            Path(f"{copy}{suffix}").unlink(missing_ok=True)


def test_a_torn_wal_opens_to_a_whole_prefix(tmp_path: Path) -> None:
    tear(tmp_path, 10)


@pytest.mark.slow
def test_a_wal_torn_in_two_hundred_places_opens_to_a_whole_prefix(tmp_path: Path) -> None:
    tear(tmp_path, 200)


def test_an_untouched_wal_opens_to_all_of_it(tmp_path: Path) -> None:
    path, ids = torn_log(tmp_path)
    assert opens_to_a_prefix(path, ids)
    with Reader(path) as reader:
        assert [e.id for e in reader.read("main")][:-1] == ids


@pytest.mark.parametrize("seed", range(5))
def test_a_wal_with_flipped_bits_opens_to_a_whole_prefix(tmp_path: Path, seed: int) -> None:
    path, ids = torn_log(tmp_path)
    wal = bytearray(Path(f"{path}-wal").read_bytes())
    at = random.Random(seed).randrange(len(wal))
    wal[at] ^= 0x55
    Path(f"{path}-wal").write_bytes(wal)
    opens_to_a_prefix(path, ids)


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
        torn, _ = torn_log(sealed_folder)
        for suffix in ("", "-wal"):
            Path(f"{torn}{suffix}").rename(f"{path}{suffix}")
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
    assert_refused(path, "INSERT OR REPLACE INTO events SELECT * FROM events")  # it has its guards now


async def _open(path: Path, *, create: bool) -> None:
    async with Log.open(path, create=create):
        pass
