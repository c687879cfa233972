"""Libraries that campaigns use: `nader verify` holds each to what it was when the run took it in."""

import asyncio
import json
import sqlite3

import pytest

from events import canonical_json
from nader.attached import attached_libraries
from nader.portable import export_log, import_log
from nader.workspace import Workspace, fold
from store import Log
from tests.e2e.campaigns import SMALL, run_campaign, verified
from tests.e2e.forging import Edit, Forgery
from tests.e2e.reading import library_events, read_library

TEXTS = (
    "Use a squeeze-and-excitation gate before the output of the residual block.",
    "Replace the standard convolution by a depthwise separable convolution.",
    "Split the channels into four groups, and let a convolution see each of them.",
)


def small_list(path, texts):
    """A list of inspirations as a file."""
    entries = [{"id": n, "paper_id": 1, "inspiration": text} for n, text in enumerate(texts, 1)]
    path.write_text(json.dumps(entries), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def with_library(tmp_path_factory):
    """A finished run that uses a library, which has grown since."""
    folder = tmp_path_factory.mktemp("attached")
    source = small_list(folder / "list.json", TEXTS[:2])
    read_library(folder, source, "list")
    run_campaign(folder, (*SMALL, "search.library=['list']"))
    small_list(source, TEXTS)
    read_library(folder, source, "list")
    return folder


def of_libraries(folder, run="run-1"):
    """What verify says of a run's libraries, and which events differ."""
    report = verified(folder, run)
    return report.libraries, {(d.event_type, d.path.split()[0]) for d in report.differences}


def test_verify_holds_a_library_to_what_the_run_took_in(with_library, tmp_path):
    ((library,), differences) = of_libraries(with_library)
    then = library_events(with_library, "list")[library.at - 1]
    assert (library.name, library.recorded, library.ok) == ("library:list", then.hash, True)
    assert not differences
    forgery = Forgery(with_library / "nader.db", "library:list")
    recorded = [row["position"] for row in forgery.rows if row["type"] == "InspirationRecorded"]
    for position, ok in ((recorded[0], False), (recorded[-1], True)):
        # No decision rests on where an idea comes from, and the library's own chain is whole.
        forgery.write(Edit("change", position, "$.ref", value="elsewhere"), tmp_path / "nader.db")
        ((library,), differences) = of_libraries(tmp_path)
        assert library.chain.ok and library.ok == ok, "what came later the run knows nothing of"
        assert differences == (set() if ok else {("LibraryAttached", "$.library")})


def test_verify_misses_the_vectors_of_a_library_that_are_gone(with_library, tmp_path):
    digest = next(
        e for e in library_events(with_library, "list") if e.type == "KnowledgeIndexed"
    ).event.vectors
    with sqlite3.connect(with_library / "nader.db") as source, sqlite3.connect(tmp_path / "nader.db") as copy:
        source.backup(copy)
        copy.execute(
            "UPDATE blobs SET data = ?, size = 6, codec = 'plain' WHERE sha256 = ?", (b"forged", digest)
        )
    with Workspace(tmp_path).reader() as reader:
        _, history = fold(reader, "run-1")
        _, (difference,) = attached_libraries(reader, history)
    assert (difference.kind, difference.recorded) == ("changed", digest)
    assert difference.path.startswith("$.library at ") and difference.path.endswith("$.vectors")


def test_a_run_of_before_a_librarys_hash_was_kept_verifies_and_says_so(with_library, tmp_path):
    forgery = Forgery(with_library / "nader.db", "run-1")
    first = forgery.rows[0]
    payload = json.loads(first["payload"])
    assert first["version"] == 2 and list(payload["ground"].pop("library_heads")) == ["library:list"]
    first |= {"version": 1, "payload": canonical_json(payload)}
    forgery.write(Edit("change", 1, "time", value=first["time"]), tmp_path / "nader.db")
    ((library,), differences) = of_libraries(tmp_path)
    assert (library.recorded, library.ok, differences) == ("", True, set())


def test_an_imported_run_brings_its_library_and_verify_holds_it_to_its_hash(with_library, tmp_path):
    with Workspace(with_library).reader() as reader:
        export_log(reader, ["run-1"], tmp_path / "run.zst")

    async def load():
        async with Log.open(tmp_path / "nader.db", create=True) as log:
            return {one.name: one.added for one in await import_log(log, tmp_path / "run.zst", "their-")}

    added = asyncio.run(load())
    ((library,), differences) = of_libraries(tmp_path, "their-run-1")
    assert added["library:their-list"] == library.at < len(library_events(with_library, "list"))
    assert library.name == "library:their-list" and library.ok and library.recorded and not differences


def test_an_imported_run_of_before_the_hash_was_kept_finds_its_library_by_the_prefix(with_library, tmp_path):
    forgery = Forgery(with_library / "nader.db", "run-1")
    payload = json.loads(forgery.rows[0]["payload"])
    payload["ground"].pop("library_heads")
    forgery.rows[0] |= {"version": 1, "payload": canonical_json(payload)}
    (tmp_path / "old").mkdir()
    forgery.write(Edit("change", 1, "time", value=forgery.rows[0]["time"]), tmp_path / "old" / "nader.db")
    with Workspace(tmp_path / "old").reader() as reader:
        export_log(reader, ["run-1"], tmp_path / "run.zst")

    async def load():
        async with Log.open(tmp_path / "nader.db", create=True) as log:
            await import_log(log, tmp_path / "run.zst", "their-")

    asyncio.run(load())
    ((library,), differences) = of_libraries(tmp_path, "their-run-1")
    assert (library.name, library.recorded, library.ok) == ("library:their-list", "", True)
    assert not differences
