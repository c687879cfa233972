"""The hash chain finds what was done to a log behind its back, and names the place."""

import re
import sqlite3
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from events.envelope import GENESIS, Pending, chain_hash
from store import Break, CorruptedError, Log, Reader
from tests.store.logs import make_log, run

BASE = 1 << 40
FIELDS = ["id", "time", "actor", "type", "version", "causation", "correlation"]
FIELDS += ["effect_key", "input_digest", "payload"]


def tamper(path: Path, *statements: str) -> None:
    """Change a closed log as someone with an SQLite shell would: triggers dropped first."""
    with sqlite3.connect(path) as connection:
        for trigger in ("events_are_never_changed", "events_are_never_deleted"):
            connection.execute(f"DROP TRIGGER {trigger}")
        for statement in statements:
            assert connection.execute(statement).rowcount > 0, f"no row was touched by {statement}"
    connection.close()


def rehash(path: Path, position: int) -> None:
    """Give an edited row of branch main the hash that its content has now."""
    with sqlite3.connect(path) as connection:
        row = connection.execute(
            f"SELECT prev_hash, {', '.join(FIELDS)} FROM events WHERE place = ?", (BASE + position,)
        ).fetchone()
        digest = chain_hash(row[0], position, row[1], "run", *row[2:])
        connection.execute("UPDATE events SET hash = ? WHERE place = ?", (digest, BASE + position))
    connection.close()


CASES: list[tuple[str, list[str], int, Break]] = [
    (
        "one byte of a payload",
        ["UPDATE events SET payload = '{\"n\":9}' WHERE place = {5}"],
        5,
        Break.CHANGED,
    ),
    ("the first event", ["UPDATE events SET payload = '{}' WHERE place = {1}"], 1, Break.CHANGED),
    ("the last event", ["UPDATE events SET actor = 'eve' WHERE place = {10}"], 10, Break.CHANGED),
    ("the time", ["UPDATE events SET time = time + 1e-3 WHERE place = {3}"], 3, Break.CHANGED),
    ("the cause", ["UPDATE events SET causation = 1 WHERE place = {3}"], 3, Break.CHANGED),
    ("the type", ["UPDATE events SET type = 'Other' WHERE place = {7}"], 7, Break.CHANGED),
    *(
        (
            f"{field}, from nothing to {value!r}",
            [f"UPDATE events SET {field} = '{value}' WHERE place = {{3}}"],
            3,
            Break.CHANGED,
        )
        for field in ("correlation", "input_digest")
        for value in ("None", "-", "+", "")
    ),
    (
        "a key, from something to nothing",
        ["UPDATE events SET effect_key = NULL WHERE place = {3}"],
        3,
        Break.CHANGED,
    ),
    ("a digest", ["UPDATE events SET input_digest = 'x' WHERE place = {7}"], 7, Break.CHANGED),
    ("the hash itself", [f"UPDATE events SET hash = '{'a' * 64}' WHERE place = {{6}}"], 6, Break.CHANGED),
    ("a link back", [f"UPDATE events SET prev_hash = '{'a' * 64}' WHERE place = {{6}}"], 6, Break.CHANGED),
    ("an event removed", ["DELETE FROM events WHERE place = {4}"], 4, Break.MISSING),
    ("three events removed", ["DELETE FROM events WHERE place BETWEEN {4} AND {6}"], 4, Break.MISSING),
    ("the first removed", ["DELETE FROM events WHERE place = {1}"], 1, Break.MISSING),
    (
        "an event removed and the gap closed",
        [
            "DELETE FROM events WHERE place = {4}",
            "UPDATE events SET place = place - 1000 WHERE place > {4}",
            "UPDATE events SET place = place + 999 WHERE place < {0}",
        ],
        4,
        Break.CHANGED,
    ),
    (
        "two events swapped",
        [
            "UPDATE events SET place = 7 WHERE place = {4}",
            "UPDATE events SET place = {4} WHERE place = {5}",
            "UPDATE events SET place = {5} WHERE place = 7",
        ],
        4,
        Break.CHANGED,
    ),
]


@pytest.mark.parametrize(("what", "statements", "position", "broken"), CASES, ids=[c[0] for c in CASES])
def test_the_check_names_what_was_done_and_where(
    tmp_path: Path, what: str, statements: list[str], position: int, broken: Break
) -> None:
    path = make_log(tmp_path / "a.db", 10)

    def places(s: str) -> str:
        return re.sub(r"\{(\d+)\}", lambda m: str(BASE + int(m.group(1))), s)

    tamper(path, *map(places, statements))
    with Reader(path) as reader:
        report = reader.verify_chain("main")
    assert (report.broken, report.position) == (broken, position)
    assert not report.ok and report.events == position - 1 == report.head.position
    assert f"position {position}" in report.detail


def test_an_event_rewritten_with_its_hash_is_found_at_the_event_after_it(tmp_path: Path) -> None:
    path = make_log(tmp_path / "a.db", 10)
    tamper(path, f"UPDATE events SET payload = '{{}}' WHERE place = {BASE + 5}")
    rehash(path, 5)
    with Reader(path) as reader:
        report = reader.verify_chain("main")
    assert (report.broken, report.position) == (Break.OUT_OF_ORDER, 6)
    assert "the event at position 6" in report.detail and "the event before it" in report.detail


def test_an_inserted_event_is_found(tmp_path: Path) -> None:
    """An event slipped in after 4, whole in itself and chained to 4, with all later ones moved up by one."""
    path = make_log(tmp_path / "a.db", 10)
    tamper(
        path,
        f"UPDATE events SET place = place + 1000 WHERE place > {BASE + 4}",
        f"UPDATE events SET place = place - 999 WHERE place > {BASE + 1000}",
        f"INSERT INTO events SELECT {BASE + 5}, 99, 'forged', time, actor, type, version, causation, "
        f"correlation, 'forged', input_digest, hash, hash, payload FROM events WHERE place = {BASE + 4}",
    )
    rehash(path, 5)
    with Reader(path) as reader:
        report = reader.verify_chain("main")
    assert report.position == 6 and report.broken is not None


def test_a_break_in_shared_history_shows_in_every_fork_that_shares_it(tmp_path: Path) -> None:
    path = make_log(tmp_path / "a.db", 10, forks=[("late", "main", 8), ("early", "main", 3)])
    tamper(path, f"UPDATE events SET payload = '{{}}' WHERE place = {BASE + 5}")
    with Reader(path) as reader:
        assert reader.verify_chain("late").position == 5
        assert reader.verify_chain("early").ok


def test_events_missing_at_a_fork_point_are_found(tmp_path: Path) -> None:
    path = make_log(tmp_path / "a.db", 10, forks=[("fork", "main", 8)])
    tamper(path, f"DELETE FROM events WHERE place > {BASE + 6}")
    with Reader(path) as reader:
        report = reader.verify_chain("fork")
        assert (report.broken, report.position) == (Break.MISSING, 7)
        assert reader.verify_chain("main").ok, "a tail cut off cannot be seen from the log alone"


def test_a_tail_cut_off_shows_against_a_head_kept_elsewhere(tmp_path: Path) -> None:
    path = make_log(tmp_path / "a.db", 10)
    with Reader(path) as reader:
        kept = reader.head("main")
    tamper(path, f"DELETE FROM events WHERE place > {BASE + 6}")
    with Reader(path) as reader:
        assert reader.verify_chain("main").head != kept


def test_events_of_every_shape_hold_their_links(tmp_path: Path) -> None:
    """The check hashes bytes on its own; what the writer hashes as text must come out equal."""

    async def write() -> None:
        async with Log.open(tmp_path / "a.db", create=True) as log:
            await log.create_branch("main", "rún")
            for n, time in enumerate((0.0, 1.5, -2.25, 1e300, 5e-324, 1795672594.0522563, 3)):
                for about, key, digest in (
                    (None, None, None),
                    ("", f"ké{n}", ""),
                    ("None", None, "é\x1f"),
                    ("r1-1", None, None),
                    ("r1-1", f"key {n}", None),
                    (None, f"-{n}", "+"),
                ):
                    made = Pending(
                        "ac\ttör", "Týpe", n, '{"ü":"\x00 🙂"}', n or None, about, key, digest, f"i{n}", time
                    )
                    await log.append("main", [made])
            report = log.verify_chain("main")
            assert report.ok and report.head == log.head("main"), report.detail

    run(write())


def test_a_check_of_a_part_ends_there(tmp_path: Path) -> None:
    path = make_log(tmp_path / "a.db", 10)
    tamper(path, f"UPDATE events SET payload = '{{}}' WHERE place = {BASE + 8}")
    with Reader(path) as reader:
        report = reader.verify_chain("main", upto=7)
        assert report.ok and report.events == 7 and report.head == (7, reader.at("main", 7).hash)
        assert reader.verify_chain("main", upto=0).head == (0, GENESIS)


def test_a_chain_longer_than_a_page_is_checked_to_its_end(tmp_path: Path) -> None:
    path = make_log(tmp_path / "a.db", 4100, forks=[("fork", "main", 2000)], per_fork=4000)
    tamper(path, f"UPDATE events SET payload = '{{}}' WHERE place = {BASE + 4003}")
    with Reader(path) as reader:
        assert reader.verify_chain("main").position == 4003
        report = reader.verify_chain("fork")
        assert report.ok and report.events == 6000


def test_bytes_that_are_no_text_are_found_where_they_are(tmp_path: Path) -> None:
    path = make_log(tmp_path / "a.db", 10)
    tamper(path, f"UPDATE events SET payload = CAST(x'7bff7d' AS TEXT) WHERE place = {BASE + 4}")
    with Reader(path) as reader:
        report = reader.verify_chain("main")
        assert (report.broken, report.position, report.events) == (Break.CHANGED, 4, 3)
        with pytest.raises(CorruptedError, match="is damaged"):
            list(reader.read("main"))


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    position=st.integers(1, 30),
    column=st.sampled_from(FIELDS),
    value=st.sampled_from(["0", "x", "77", "", "é"]),
)
def test_no_edit_of_any_field_goes_unseen(
    tmp_path_factory: pytest.TempPathFactory, position: int, column: str, value: str
) -> None:
    path = make_log(tmp_path_factory.mktemp("edit") / "a.db", 30)
    number: int | str = (
        int(value) if column in ("time", "version", "causation") and value.isdigit() else value
    )
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TRIGGER events_are_never_changed")
        before = connection.execute(
            f"SELECT {column} FROM events WHERE place = ?", (BASE + position,)
        ).fetchone()[0]
        try:
            connection.execute(f"UPDATE events SET {column} = ? WHERE place = ?", (number, BASE + position))
        except sqlite3.IntegrityError:
            return  # the schema's types refuse it
    connection.close()
    with Reader(path) as reader:
        report = reader.verify_chain("main")
    assert report.ok == (before == number) and report.position in (None, position)
