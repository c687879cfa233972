"""Vacuum drops blobs that no event names, and nothing else."""

import random
import sqlite3
from pathlib import Path

import pytest

from events.envelope import Pending
from store import CorruptedError, Log, OperationalError, Reader, sha256_hex
from tests.store.logs import make_log, pending, run


def test_vacuum_drops_what_no_event_names_and_keeps_all_else(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    texts = {
        name: f"{name} {'text ' * 200}".encode()
        for name in ("named", "listed", "nested", "lost", "forked", "stray")
    }
    digests = {name: sha256_hex(data) for name, data in texts.items()}
    index = f'{{"messages": ["{digests["nested"]}"]}}'.encode()

    async def check() -> None:
        async with Log.open(path, create=True) as log:
            await log.create_branch("main", "run")
            await log.append(
                "main",
                [
                    pending(1, prompt=digests["named"]),
                    pending(2, all=[{"x": digests["listed"]}], index=sha256_hex(index)),
                ],
                blobs={
                    **{digests[n]: texts[n] for n in ("named", "listed", "nested", "lost")},
                    sha256_hex(index): index,
                },
            )
            await log.put_blob(texts["stray"])
            await log.create_branch("fork", "run", "main", 1)
            await log.append(
                "fork", [pending(3, x=digests["forked"])], blobs={digests["forked"]: texts["forked"]}
            )
            assert await log.get_blob(digests["stray"]) == texts["stray"]
            before = list(log.read("main")), list(log.read("fork")), log.acks("main")
            report = await log.vacuum()
            assert (report.blobs, report.kept) == (2, 5) and report.bytes > 0
            assert (list(log.read("main")), list(log.read("fork")), log.acks("main")) == before
            for name in ("named", "listed", "nested", "forked"):
                assert await log.get_blob(digests[name]) == texts[name]
            for name in ("lost", "stray"):
                with pytest.raises(OperationalError, match="holds no blob"):
                    await log.get_blob(digests[name])
            again = await log.vacuum()
            assert (again.blobs, again.kept) == (0, 5)
            await log.append("main", [pending(4)], blobs={digests["lost"]: texts["lost"]})
            assert await log.get_blob(digests["lost"]) == texts["lost"]
            assert log.verify_chain("main").ok and log.verify_chain("fork").ok

    run(check())


def test_vacuum_keeps_what_an_event_names_in_an_unusual_spelling(tmp_path: Path) -> None:
    """As a payload that another program wrote may have it: what reads it makes no difference."""
    text = b"what the model was asked"
    spelt = "".join(f"\\u{ord(digit):04x}" for digit in sha256_hex(text))
    event = Pending(actor="tester", type="Noted", version=1, payload=f'{{"x":"{spelt}"}}')

    async def check() -> None:
        async with Log.open(tmp_path / "a.db", create=True) as log:
            await log.create_branch("main", "run", first=[event], blobs={sha256_hex(text): text})
            await log.put_blob(b"stray")
            report = await log.vacuum()
            assert (report.blobs, report.kept) == (1, 1)
            assert await log.get_blob(sha256_hex(text)) == text

    run(check())


def test_vacuum_gives_the_room_back(tmp_path: Path) -> None:
    path = tmp_path / "a.db"

    async def fill() -> None:
        async with Log.open(path, create=True) as log:
            await log.create_branch("main", "run")
            await log.append("main", [pending(1)])
            for n in range(20):
                await log.put_blob(random.Random(n).randbytes(20_000))

    async def vacuum() -> None:
        async with Log.open(path) as log:
            assert (await log.vacuum()).blobs == 20

    run(fill())
    size = path.stat().st_size
    run(vacuum())
    assert path.stat().st_size < size


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ("UPDATE blobs SET data = x'00'", "does not decompress"),
        ("UPDATE blobs SET codec = 'plain'", "holds other bytes than its name says"),
        (
            "UPDATE blobs SET data = CAST('other' AS BLOB), codec = 'plain'",
            "holds other bytes than its name says",
        ),
    ],
)
def test_a_blob_that_was_changed_is_refused(tmp_path: Path, change: str, text: str) -> None:
    path = make_log(tmp_path / "a.db", 1)
    data = b"what the model said " * 100

    async def put() -> None:
        async with Log.open(path) as log:
            await log.put_blob(data)

    run(put())
    with sqlite3.connect(path) as connection:
        connection.execute(change)
    connection.close()
    with Reader(path) as reader, pytest.raises(CorruptedError, match=text):
        reader.blob(sha256_hex(data))
