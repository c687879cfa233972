"""A log that travels: whole, checked, and never at the cost of what is there."""

import asyncio
import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard

from events import GENESIS, Envelope, chain_hash
from nader.errors import WorkspaceError
from nader.forks import fork
from nader.portable import Contents, Imported, PortableError, check_file, export_log, import_log
from nader.proof import rebuild, verify
from nader.workspace import Workspace, find_run, library_branch
from store import Log, Reader
from tests.e2e.campaigns import SMALL, folded, resume_campaign, run_campaign, verified
from tests.e2e.reading import IDEAS, paper, read_library


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log with a finished run, a fork of it, and a fork of the fork."""
    folder = tmp_path_factory.mktemp("source")
    run_campaign(folder)
    place = Workspace(folder)
    asyncio.run(fork(place, "run-1", 120, name="fork", sets=["seed=3"]))
    asyncio.run(fork(place, "fork", 100, name="deep"))
    resume_campaign(folder, "deep")
    return place.log


@pytest.fixture(scope="module")
def file(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All of it, exported."""
    target = tmp_path_factory.mktemp("file") / "all.zst"
    export(source, target)
    return target


def export(log: Path, target: Path, *names: str) -> Contents:
    with Reader(log) as reader:
        return export_log(reader, names or [info.name for info in reader.branches()], target)


def load(log: Path, file: Path, prefix: str = "") -> list[Imported]:
    async def main() -> list[Imported]:
        async with Log.open(log, create=True) as opened:
            return await import_log(opened, file, prefix)

    return asyncio.run(main())


def lines(file: Path) -> list[dict[str, Any]]:
    text = zstandard.ZstdDecompressor().stream_reader(file.open("rb")).read().decode()
    return [json.loads(line) for line in text.splitlines()]


def write(file: Path, values: list[dict[str, Any]]) -> None:
    text = "".join(json.dumps(value, separators=(",", ":")) + "\n" for value in values)
    file.write_bytes(zstandard.ZstdCompressor().compress(text.encode()))


def whole(log: Path, branch: str) -> tuple[list[Envelope], dict[tuple[str, int], int]]:
    """Everything of a branch but its place in the file: events (without seq and branch name),
    acknowledgements."""
    with Reader(log) as reader:
        events = list(reader.read(branch))
        plain = [Envelope(**{**vars(e), "seq": 0, "branch": ""}) for e in (_fields(e) for e in events)]
        return plain, reader.acks(branch)


def _fields(envelope: Envelope) -> Envelope:
    names = Envelope.__dataclass_fields__
    return Envelope(**{name: getattr(envelope, name) for name in names})


def blobs(log: Path, digests: list[str]) -> list[bytes]:
    with Reader(log) as reader:
        return [reader.blob(digest) for digest in digests]


def test_what_was_exported_comes_back_event_for_event(source: Path, file: Path, tmp_path: Path) -> None:
    done = load(tmp_path / "nader.db", file)
    assert [(one.name, one.there) for one in done] == [("run-1", 0), ("fork", 0), ("deep", 0)]
    for name in ("run-1", "fork", "deep"):
        assert whole(tmp_path / "nader.db", name) == whole(source, name)
    named = [line["blob"] for line in lines(file) if "blob" in line]
    assert named and blobs(tmp_path / "nader.db", named) == blobs(source, named)
    assert verified(tmp_path, "run-1").ok


def test_an_imported_log_exports_the_same_file_again(file: Path, tmp_path: Path) -> None:
    load(tmp_path / "nader.db", file)
    export(tmp_path / "nader.db", tmp_path / "again.zst")
    assert lines(tmp_path / "again.zst") == lines(file)


def test_a_fork_brings_what_it_stands_on_and_no_more(source: Path, tmp_path: Path) -> None:
    contents = export(source, tmp_path / "deep.zst", "deep")
    heads = {branch.name: branch.head.position for branch in contents.branches}
    assert heads["run-1"] == 120
    assert set(heads) == {"run-1", "fork", "deep"}
    load(tmp_path / "nader.db", tmp_path / "deep.zst")
    assert whole(tmp_path / "nader.db", "deep") == whole(source, "deep")


def test_the_file_can_be_read_without_nader(file: Path) -> None:
    first, last = lines(file)[0], lines(file)[-1]
    assert first["format"] == "nader-log" and first["version"] == 2
    assert [branch["name"] for branch in first["branches"]] == ["run-1", "fork", "deep"]
    assert last["end"]["event"] == sum("event" in line for line in lines(file))


def test_a_second_import_adds_nothing(file: Path, tmp_path: Path) -> None:
    load(tmp_path / "nader.db", file)
    before = whole(tmp_path / "nader.db", "deep")
    assert [one.added for one in load(tmp_path / "nader.db", file)] == [0, 0, 0]
    assert whole(tmp_path / "nader.db", "deep") == before


def test_a_newer_export_brings_an_older_one_up_to_date(source: Path, file: Path, tmp_path: Path) -> None:
    log = tmp_path / "nader.db"
    export(source, tmp_path / "older.zst", "deep")
    load(log, tmp_path / "older.zst")
    assert [one.name for one in load(log, file) if one.added] == ["run-1", "fork"]
    for name in ("run-1", "fork", "deep"):
        assert whole(log, name)[0] == whole(source, name)[0]


def test_a_run_whose_name_is_taken_is_refused_and_can_be_given_a_prefix(file: Path, tmp_path: Path) -> None:
    run_campaign(tmp_path, ["search.candidates=2", "search.width=2", "seed=9"])
    log = tmp_path / "nader.db"
    before = whole(log, "run-1")
    with pytest.raises(PortableError, match="the log has another 'run-1' than the file"):
        load(log, file)
    with Reader(log) as reader:
        assert [info.name for info in reader.branches()] == ["run-1"]
    assert [one.name for one in load(log, file, "sent-")] == ["sent-run-1", "sent-fork", "sent-deep"]
    assert whole(log, "run-1") == before
    assert verified(tmp_path, "sent-run-1").ok


def test_an_import_that_breaks_off_is_taken_up_by_the_next(
    source: Path, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, appended = tmp_path / "nader.db", Log.append
    calls = 0

    async def failing(self: Log, *args: Any, **options: Any) -> list[Envelope]:
        nonlocal calls
        calls += 1
        if calls > 20:
            raise OSError(28, "No space left on device")
        return await appended(self, *args, **options)

    monkeypatch.setattr(Log, "append", failing)
    with pytest.raises((OSError, PortableError)):
        load(log, file)
    monkeypatch.setattr(Log, "append", appended)
    with Reader(log) as reader:
        assert 0 < reader.head("run-1").position < whole_length(source)
        assert reader.verify_chain("run-1").ok
    load(log, file)
    assert whole(log, "run-1") == whole(source, "run-1")


def whole_length(log: Path) -> int:
    with Reader(log) as reader:
        return reader.head("run-1").position


def _change_payload(values: list[dict[str, Any]]) -> None:
    event = next(v["event"] for v in values if v.get("event", {}).get("type") == "ProposalMade")
    event["payload"] = event["payload"].replace("base", "bass", 1)


def _change_time(values: list[dict[str, Any]]) -> None:
    next(v for v in values if "event" in v)["event"]["time"] += 1.0


def _change_blob(values: list[dict[str, Any]]) -> None:
    next(v for v in values if "text" in v)["text"] += " "


def _drop_event(values: list[dict[str, Any]]) -> None:
    del values[[i for i, v in enumerate(values) if "event" in v][10]]


def _swap_events(values: list[dict[str, Any]]) -> None:
    i = next(i for i, v in enumerate(values) if "event" in v and "event" in values[i + 1])
    values[i], values[i + 1] = values[i + 1], values[i]


def _drop_ack(values: list[dict[str, Any]]) -> None:
    del values[next(i for i, v in enumerate(values) if "ack" in v)]


def _cut_off(values: list[dict[str, Any]]) -> None:
    del values[-5:]


def _drop_end(values: list[dict[str, Any]]) -> None:
    del values[-1]


def _go_on(values: list[dict[str, Any]]) -> None:
    values.append(values[5])


def _other_format(values: list[dict[str, Any]]) -> None:
    values[0]["format"] = "something"


def _newer_format(values: list[dict[str, Any]]) -> None:
    values[0]["version"] = 3


def _older_format(values: list[dict[str, Any]]) -> None:
    values[0]["version"] = 1


def _newer_event(values: list[dict[str, Any]]) -> None:
    next(v for v in values if "event" in v)["event"]["version"] = 99


def _other_head(values: list[dict[str, Any]]) -> None:
    values[0]["branches"][0]["head"][1] = "0" * 64


def _lost_parent(values: list[dict[str, Any]]) -> None:
    values[0]["branches"].pop(0)


def _surrogate(values: list[dict[str, Any]]) -> None:
    next(v for v in values if "event" in v)["event"]["actor"] = "\ud800"


def _wrong_kind(values: list[dict[str, Any]]) -> None:
    event = next(v for v in values if "event" in v)["event"]
    event["correlation"] = 7
    _seal(values, event)


def _late_cause(values: list[dict[str, Any]]) -> None:
    event = next(v for v in values if "event" in v)["event"]
    event["causation"] = 5
    _seal(values, event)


def _repeated_effect(values: list[dict[str, Any]]) -> None:
    events = [v["event"] for v in values if v.get("event", {}).get("branch") == "run-1"]
    keyed = [event for event in events if event["effect_key"]]
    keyed[-1]["effect_key"] = keyed[0]["effect_key"]
    _seal(values, keyed[-1])


def _seal(values: list[dict[str, Any]], event: dict[str, Any]) -> None:
    """Give the event the hash of what it is now, as one who knows the format would."""
    events = [v["event"] for v in values if v.get("event", {}).get("branch") == event["branch"]]
    before = events[event["position"] - 2]["hash"] if event["position"] > 1 else GENESIS
    names = (
        "id",
        "time",
        "actor",
        "type",
        "version",
        "causation",
        "correlation",
        "effect_key",
        "input_digest",
    )
    fields = {name: event[name] for name in names}
    event["hash"] = chain_hash(before, event["position"], run="run-1", payload=event["payload"], **fields)


def _strange_line(values: list[dict[str, Any]]) -> None:
    values.insert(3, {"command": "rm"})


def _empty_line(values: list[dict[str, Any]]) -> None:
    values.insert(3, {})


def _listed_line(values: list[Any]) -> None:
    values.insert(3, [])


def _first_event(values: list[dict[str, Any]], **changes: Any) -> None:
    event = next(v for v in values if "event" in v)["event"]
    event.update(changes)
    _seal(values, event)


def _without_blob(values: list[dict[str, Any]]) -> None:
    """A prompt's text is lost; all that is left agrees."""
    asked = next(v["event"] for v in values if v.get("event", {}).get("type") == "ChatRequested")
    digest = json.loads(asked["payload"])["messages"][0]["digest"]
    values.remove(next(v for v in values if v.get("blob") == digest))


def _ack(values: list[dict[str, Any]], *changed: Any) -> None:
    """The first acknowledgement with another actor, cause or position; None leaves one as it is."""
    ack = next(v["ack"] for v in values if "ack" in v)
    ack[1:] = [old if new is None else new for old, new in zip(ack[1:], changed, strict=True)]


def _header(values: list[dict[str, Any]], index: int, **changes: Any) -> None:
    values[0]["branches"][index].update(changes)


def _told_twice(values: list[dict[str, Any]]) -> None:
    first = values[0]["branches"][0]
    values[0]["branches"].append({**first, "parent": first["name"], "fork_position": 3})


TAMPERED: dict[str, tuple[Callable[[list[dict[str, Any]]], None], str]] = {
    "payload": (_change_payload, r"the event at position \d+ of run-1 was changed"),
    "time": (_change_time, "the event at position 1 of run-1 was changed"),
    "blob": (_change_blob, "the blob [0-9a-f]{12}… was changed"),
    "event taken out": (_drop_event, r"position \d+ of run-1 is missing"),
    "events swapped": (_swap_events, "is missing"),
    "acknowledgement taken out": (_drop_ack, "its last line does not agree"),
    "cut off": (_cut_off, "it is cut off: its last line is missing"),
    "without an end": (_drop_end, "it is cut off"),
    "goes on": (_go_on, "it goes on after its last line"),
    "other format": (_other_format, "is no file of `nader export-log`"),
    "newer format": (_newer_format, "has format 3, and this nader reads format 2: upgrade nader"),
    "older format": (_older_format, "has format 1, and this nader reads format 2: it is of before the first"),
    "newer event": (_newer_event, "version 99, which this nader does not know"),
    "other head": (_other_head, "does not agree|does not end as the header says"),
    "lost parent": (_lost_parent, "the parent of fork is missing"),
    "lone surrogate": (_surrogate, "damaged|was changed"),
    "wrong kind": (_wrong_kind, "has a correlation of a wrong kind"),
    "a cause that comes later": (_late_cause, "names a cause that does not come before it"),
    "an effect twice": (_repeated_effect, "repeats an effect of the history"),
    "strange line": (_strange_line, "a kind that is not known"),
    "empty line": (_empty_line, "a kind that is not known: ''"),
    "a list for a line": (_listed_line, "a kind that is not known: ''"),
    "a branch told twice": (_told_twice, "it tells of run-1 twice"),
    "its own parent": (lambda v: _header(v, 0, parent="run-1"), "the parent of run-1 is missing"),
    "a name that moves": (lambda v: _header(v, 0, name="../up"), r"may be named '../up'"),
    "a name of escapes": (lambda v: _header(v, 0, run="\x1b[2J"), r"may be named '\\x1b\[2J'"),
    "no name": (lambda v: _header(v, 0, name=["run-1"]), "no run or library may be named"),
    "a fork at no position": (lambda v: _header(v, 1, fork_position=-1), "where fork begins and ends"),
    "a head that is no hash": (lambda v: _header(v, 0, head=[3, "x"]), "where run-1 begins and ends"),
    "a fork after its end": (lambda v: _header(v, 1, fork_position=10**6), "fork begins after its own end"),
    "payload of brackets": (lambda v: _first_event(v, payload="[" * 9000), "is of no use: an event of type"),
    "payload of another shape": (lambda v: _first_event(v, payload="{}"), "position 1 of run-1 is of no use"),
    "version 0": (lambda v: _first_event(v, version=0), "which this nader does not know"),
    "a time that is none": (lambda v: _first_event(v, time=1e300), "position 1 of run-1 has a time that is"),
    "a blob taken out": (
        _without_blob,
        r"names a blob that the file does not hold \(\$.messages\[0\].digest",
    ),
    "an ack of nobody": (lambda v: _ack(v, "ghost", None, None), "of a cause that no such agent handles"),
    "an ack of no cause": (lambda v: _ack(v, None, -5, None), "of a cause that no such agent handles"),
    "an ack of what it does not handle": (lambda v: _ack(v, "modifier", 1, None), "no such agent handles"),
    "an ack at no position": (lambda v: _ack(v, None, None, "x"), "is out of its place"),
    "an ack of another position": (lambda v: _ack(v, None, None, 10**6), "is out of its place"),
    "an ack of no branch": (lambda v: v.insert(5, {"ack": ["a", "director", 1, 1]}), "does not tell of"),
}


@pytest.mark.parametrize(("tamper", "said"), TAMPERED.values(), ids=TAMPERED.keys())
def test_a_file_that_was_tampered_with_is_refused_and_nothing_is_written(
    file: Path, tmp_path: Path, tamper: Callable[[list[dict[str, Any]]], None], said: str
) -> None:
    values = lines(file)
    tamper(values)
    write(tmp_path / "bad.zst", values)
    with pytest.raises(PortableError, match=said) as raised:
        load(tmp_path / "nader.db", tmp_path / "bad.zst")
    assert "bad.zst cannot be imported" in str(raised.value)
    with Reader(tmp_path / "nader.db") as reader:
        assert reader.branches() == []


def test_a_line_nested_without_end_is_one_sentence(file: Path, tmp_path: Path) -> None:
    text = zstandard.ZstdDecompressor().stream_reader(file.open("rb")).read()
    first, _, rest = text.partition(b"\n")
    for deep in (first + b"\n" + b'{"blob":' + b"[" * 100_000 + b"\n" + rest, b"[" * 100_000 + b"\n"):
        (tmp_path / "deep.zst").write_bytes(zstandard.ZstdCompressor().compress(deep))
        with pytest.raises(PortableError, match="nested without end"):
            check_file(tmp_path / "deep.zst")


def test_a_prefix_that_makes_no_name_is_refused(file: Path, tmp_path: Path) -> None:
    for prefix in ("../", "library:", "x" * 70):
        with pytest.raises(WorkspaceError, match="cannot be named"):
            load(tmp_path / "nader.db", file, prefix)
    with Reader(tmp_path / "nader.db") as reader:
        assert reader.branches() == []


def test_a_library_whose_name_is_taken_comes_under_the_prefix_and_its_run_finds_it(tmp_path: Path) -> None:
    """The colleague and I have each read a library of one name; both go on, and hers travels on."""
    hers, mine = tmp_path / "hers", tmp_path / "mine"
    for folder, ideas in ((hers, IDEAS), (mine, IDEAS.replace("three to seven", "five to nine"))):
        folder.mkdir()
        (folder / "papers").mkdir()
        (folder / "papers" / "one.txt").write_text(paper(ideas), encoding="utf-8")
        read_library(folder, folder / "papers", "vis")
        run_campaign(folder, (*SMALL, "search.library=['vis']", "search.shipped_inspirations=false"))
    export(hers / "nader.db", tmp_path / "hers.zst", "run-1")
    log = mine / "nader.db"
    before = whole(log, "library:vis"), whole(log, "run-1")
    with pytest.raises(PortableError, match="import it under other names with --prefix"):
        load(log, tmp_path / "hers.zst")
    done = load(log, tmp_path / "hers.zst", "col-")
    assert [one.name for one in done] == ["library:col-vis", "col-run-1"]
    assert [one.added for one in load(log, tmp_path / "hers.zst", "col-")] == [0, 0]
    assert (whole(log, "library:vis"), whole(log, "run-1")) == before
    ideas = {run: _ideas(mine, run) for run in ("run-1", "col-run-1")}
    assert ideas["col-run-1"] == _ideas(hers, "run-1") != ideas["run-1"]
    for run in ("run-1", "col-run-1", "library:vis", "library:col-vis"):
        report = verified(mine, run)
        assert report.ok, report.differences[0].sentence()
    (library,) = verified(mine, "col-run-1").libraries
    assert library.name == "library:col-vis" and library.ok
    with Reader(log) as reader:
        assert rebuild(reader, "col-run-1").ok
    assert {branch.name for branch in export(log, tmp_path / "on.zst", "col-run-1").branches} == {
        "library:col-vis", "col-run-1"
    }  # fmt: skip
    load(tmp_path / "third.db", tmp_path / "on.zst")
    with Reader(tmp_path / "third.db") as reader:
        assert asyncio.run(verify(reader, "col-run-1")).ok
    resume_campaign(mine, "col-run-1", sets=("search.candidates=6",))
    adopted = [e for e in whole(log, "col-run-1")[0] if e.type == "ResultReused"]
    assert [e for e in adopted if e.data()["source"].startswith("run-1:")], "mine, not what was hers"
    report = verified(mine, "col-run-1")
    assert report.ok, [one.sentence() for one in report.differences]


def test_an_import_is_not_the_newest_run_until_it_is_taken_up_here(file: Path, tmp_path: Path) -> None:
    def newest(folder: Path) -> str:
        with Workspace(folder).reader() as reader:
            return find_run(reader).name

    alone, beside = tmp_path / "alone", tmp_path / "beside"
    alone.mkdir()
    load(alone / "nader.db", file)
    assert newest(alone) == "deep", "there is no other"
    run_campaign(beside, [*SMALL, "seed=9"], name="mine")
    load(beside / "nader.db", file, "col-")
    assert newest(beside) == "mine"
    load(beside / "nader.db", file, "col-")
    assert newest(beside) == "mine", "a second import is no work of one's own"
    asyncio.run(fork(Workspace(beside), "col-run-1", 100, name="try"))
    assert newest(beside) == "try"
    resume_campaign(beside, "col-fork")
    assert newest(beside) == "col-fork", "it was taken up here last"
    run_campaign(beside, [*SMALL, "seed=10"], name="next")
    assert newest(beside) == "next"


def test_an_import_that_grew_elsewhere_stays_an_import_and_ones_own_run_that_comes_back_is_ones_own(
    source: Path, file: Path, tmp_path: Path
) -> None:
    log = tmp_path / "nader.db"
    run_campaign(tmp_path, [*SMALL, "seed=9"], name="mine")
    export(source, tmp_path / "older.zst", "deep")  # up to where it needs its parents
    load(log, tmp_path / "older.zst")
    load(log, file)
    export(log, tmp_path / "mine.zst", "mine")
    load(log, tmp_path / "mine.zst")
    with Reader(log) as reader:
        assert find_run(reader).name == "mine"
        assert sorted(reader.imports()) == ["deep", "fork", "run-1"]
        assert reader.imports()["run-1"] == reader.head("run-1").position


def test_a_log_of_before_imports_were_noted_takes_one_in(file: Path, tmp_path: Path) -> None:
    run_campaign(tmp_path, [*SMALL, "seed=9"], name="mine")
    with sqlite3.connect(tmp_path / "nader.db") as connection:
        connection.execute("DROP TABLE imports")
    with Reader(tmp_path / "nader.db") as reader:
        assert reader.imports() == {} and find_run(reader).name == "mine"
    load(tmp_path / "nader.db", file)
    with Reader(tmp_path / "nader.db") as reader:
        assert find_run(reader).name == "mine" and len(reader.imports()) == 3


def test_a_library_that_was_changed_is_not_found_under_another_name(tmp_path: Path) -> None:
    (tmp_path / "papers").mkdir()
    (tmp_path / "papers" / "one.txt").write_text(paper(), encoding="utf-8")
    read_library(tmp_path, tmp_path / "papers", "vis")
    run_campaign(tmp_path, (*SMALL, "search.library=['vis']"))
    with Reader(tmp_path / "nader.db") as reader:
        head, first = reader.head("library:vis"), reader.at("run-1", 1)
        for name, at, digest, found in (
            ("vis", head.position, "0" * 64, "vis"),
            ("gone", head.position, head.hash, "vis"),
            ("gone", head.position + 1, head.hash, "gone"),
            ("gone", head.position, "", "gone"),
        ):
            assert library_branch(reader, f"library:{name}", at, digest, first) == f"library:{found}"


def _ideas(folder: Path, run: str) -> set[str]:
    return {row.text for row in folded(folder, run)[0].knowledge.all()}


def test_a_log_that_has_lost_a_prompt_is_not_exported(source: Path, tmp_path: Path) -> None:
    shutil.copy(source, tmp_path / "nader.db")
    with Reader(source) as reader:
        asked = next(reader.read("run-1", types=["ChatRequested"]))
    lost = asked.data()["messages"][0]["digest"]
    with sqlite3.connect(tmp_path / "nader.db") as connection:
        connection.execute("DELETE FROM blobs WHERE sha256 = ?", (lost,))
    said = (
        rf"lost a blob that the event at position {asked.position} of run-1 names \(\$.messages\[0\].digest"
    )
    with pytest.raises(PortableError, match=said):
        export(tmp_path / "nader.db", tmp_path / "out.zst", "run-1")
    assert not (tmp_path / "out.zst").exists()


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_file_that_is_cut_in_its_bytes_is_refused(file: Path, tmp_path: Path, share: float) -> None:
    data = file.read_bytes()
    (tmp_path / "cut.zst").write_bytes(data[: int(len(data) * share)])
    said = "its last line is not whole|its last line is missing|cut off in its first line"
    with pytest.raises(PortableError, match=f"cannot be imported: .*({said})" if share else "is no file of"):
        check_file(tmp_path / "cut.zst")


def test_a_file_of_another_kind_is_not_called_damaged(tmp_path: Path) -> None:
    (tmp_path / "list.json").write_text('[{"title": "a paper"}]')
    with pytest.raises(PortableError, match=r"is no file of `nader export-log`$"):
        check_file(tmp_path / "list.json")


def test_bytes_that_are_no_archive_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"\x00\xffnonsense" * 1000)
    with pytest.raises(PortableError, match="cannot be imported"):
        check_file(tmp_path / "x")


def test_an_existing_file_is_not_overwritten(source: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(PortableError, match="is there already"):
        export(source, tmp_path / "mine", "run-1")
    assert (tmp_path / "mine").read_text() == "mine"


def test_an_export_that_fails_leaves_no_file(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("nader.portable.exporting._write", full)
    with pytest.raises(PortableError, match="cannot be written: no space left on device"):
        export(source, tmp_path / "out.zst", "run-1")
    assert list(tmp_path.iterdir()) == []


def test_a_run_is_exported_while_another_process_writes_it(source: Path, tmp_path: Path) -> None:
    shutil.copy(source, tmp_path / "nader.db")

    async def main() -> None:
        async with Log.open(tmp_path / "nader.db"):
            export(tmp_path / "nader.db", tmp_path / "out.zst", "run-1")

    asyncio.run(main())
    assert check_file(tmp_path / "out.zst")[0].events
