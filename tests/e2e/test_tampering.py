"""`nader verify` names the place where a log, or the code, is not what it was."""

import gc
import json
import sqlite3

import pytest

import actors.director
import nader.proof
import prompts
from actors.proposer import Proposer
from events import EventError, canonical_json, chain_hash
from nader.workspace import Workspace, fold
from tests.e2e.campaigns import events, run_campaign, verified

TRIGGERS = ("events_are_never_changed", "events_are_never_deleted")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    run_campaign(folder)
    return folder


@pytest.fixture
def log(finished, tmp_path):
    """A copy of the finished campaign's log, its triggers taken off, as a forger would have it."""
    with sqlite3.connect(finished / "nader.db") as source, sqlite3.connect(tmp_path / "nader.db") as copy:
        source.backup(copy)
        for trigger in TRIGGERS:
            copy.execute(f"DROP TRIGGER {trigger}")
    return tmp_path


def position_of(folder, type, nth=0):
    return [e for e in events(folder) if e.type == type][nth].position


def rehash(connection):
    """Make the chain whole again after a change: what a careful forger does."""
    rows = connection.execute("SELECT rowid, * FROM events ORDER BY place").fetchall()
    names = [c[0] for c in connection.execute("SELECT rowid, * FROM events LIMIT 0").description]
    previous = "0" * 64
    for number, row in enumerate(rows, 1):
        r = dict(zip(names, row, strict=True))
        hash = chain_hash(
            previous, number, r["id"], "run-1", r["time"], r["actor"], r["type"], r["version"],
            r["causation"], r["correlation"], r["effect_key"], r["input_digest"], r["payload"],
        )  # fmt: skip
        connection.execute(
            "UPDATE events SET prev_hash = ?, hash = ? WHERE place = ?", (previous, hash, r["place"])
        )
        previous = hash


def payload_at(connection, position):
    return connection.execute(
        "SELECT payload FROM events WHERE (place & 1099511627775) = ?", (position,)
    ).fetchone()[0]


def set_payload(connection, position, text):
    connection.execute("UPDATE events SET payload = ? WHERE (place & 1099511627775) = ?", (text, position))


def test_an_untouched_log_verifies(log):
    report = verified(log)
    assert report.ok and report.handlers > 20 and report.unfinished == 0


def test_who_verifies_many_logs_in_one_process_keeps_the_garbage_of_none(log, monkeypatch):
    monkeypatch.setattr(nader.proof, "_FROZEN_AT_MOST", 0)
    counts = []
    for _ in range(6):
        verified(log)
        counts.append(len(gc.get_objects()))
    each = len(events(log))
    assert max(counts[2:]) < counts[1] + each, "what a log's events took has been given back"


def test_one_byte_changed_in_a_payload_is_found_by_the_chain(log):
    position = position_of(log, "ParentChosen")
    with sqlite3.connect(log / "nader.db") as connection:
        set_payload(connection, position, payload_at(connection, position).replace("base", "bAse", 1))
    report = verified(log)
    assert not report.ok and report.chain.position == position


def test_a_changed_decision_with_a_repaired_chain_is_found_by_the_replay(log):
    position = position_of(log, "ParentChosen")
    with sqlite3.connect(log / "nader.db") as connection:
        payload = json.loads(payload_at(connection, position))
        payload["reason"] = "because"
        set_payload(connection, position, canonical_json(payload))
        rehash(connection)
    report = verified(log)
    assert report.chain.ok and not report.ok
    first = report.differences[0]
    assert (first.position, first.actor, first.event_type) == (position, "proposer", "ParentChosen")
    assert (first.kind, first.path, first.recorded) == ("changed", "$.reason", "because")
    assert first.causes[0] == f"{position} ParentChosen" and first.causes[1].endswith("RoundOpened")


def test_a_removed_event_is_found_by_the_chain(log):
    position = position_of(log, "DraftAccepted")
    with sqlite3.connect(log / "nader.db") as connection:
        connection.execute("DELETE FROM events WHERE (place & 1099511627775) = ?", (position,))
    report = verified(log)
    assert not report.chain.ok and report.chain.position == position


def test_an_event_removed_without_a_gap_is_found_by_the_replay(log):
    last = max(e.position for e in events(log))
    cause = next(e for e in events(log) if e.position == last).causation
    with sqlite3.connect(log / "nader.db") as connection:
        connection.execute("DELETE FROM events WHERE (place & 1099511627775) = ?", (last,))
    report = verified(log)
    assert report.chain.ok, "a cut-off tail is what a chain cannot show"
    first = report.differences[0]
    assert (first.kind, first.event_type, first.position) == ("missing", "CampaignFinished", cause)


def test_an_inserted_event_is_found_by_the_replay(log):
    with sqlite3.connect(log / "nader.db") as connection:
        columns = [c[1] for c in connection.execute("PRAGMA table_info(events)")]
        cause = position_of(log, "RoundOpened")
        template = connection.execute(
            "SELECT * FROM events WHERE type = 'ParentChosen' ORDER BY place LIMIT 1"
        ).fetchone()
        row = dict(zip(columns, template, strict=True))
        place, seq = connection.execute("SELECT max(place), max(seq) FROM events").fetchone()
        row |= {
            "place": place + 1,
            "seq": seq + 1,
            "id": "forged",
            "effect_key": "f" * 64,
            "causation": cause,
        }
        connection.execute(
            f"INSERT INTO events VALUES ({','.join('?' * len(columns))})", [row[c] for c in columns]
        )
        rehash(connection)
    report = verified(log)
    assert report.chain.ok
    extra = [d for d in report.differences if d.kind == "extra"]
    assert [(d.actor, d.event_type) for d in extra] == [("proposer", "ParentChosen")]
    assert extra[0].position == max(e.position for e in events(log))


@pytest.mark.parametrize("change", ["version = 99", "time = -1", "time = 1e300"])
def test_an_epoch_that_no_version_wrote_is_told_though_no_handler_looks_at_epochs(log, change):
    position = position_of(log, "EpochFinished", 3)
    with sqlite3.connect(log / "nader.db") as connection:
        connection.execute(f"UPDATE events SET {change} WHERE (place & 1099511627775) = ?", (position,))
        rehash(connection)
    with pytest.raises(EventError, match="EpochFinished version 99" if "99" in change else f"{position} has"):
        verified(log)


def test_a_fold_without_epochs_differs_in_nothing_that_a_decision_may_rest_on(finished):
    with Workspace(finished).reader() as reader:
        whole, history = fold(reader, "run-1")
        less, shorter = fold(reader, "run-1", epochs=False)
        early, _ = fold(reader, "run-1", history.head // 2, epochs=False)
        assert less.state() == whole.state() and early.state() == whole.state(history.head // 2)
    assert (shorter.head, shorter.events, shorter.acks) == (history.head, history.events, history.acks)
    assert gc.isenabled()


def test_an_agents_changed_rule_is_found_where_it_first_decides_otherwise(finished, monkeypatch):
    monkeypatch.setattr("actors.proposer.choose_parent", changed_rule)
    report = verified(finished)
    assert report.chain.ok
    first = report.differences[0]
    assert (first.position, first.event_type, first.path) == (
        position_of(finished, "ParentChosen"),
        "ParentChosen",
        "$.reason",
    )


def changed_rule(strategy, nodes, *_, **__):
    from actors.selection import Choice

    return Choice(nodes[0].id, "another rule")


def test_a_changed_prompt_is_found_at_the_first_question_asked_with_it(finished, monkeypatch):
    load = prompts.load

    def changed(name):
        template = load(name)
        return template if name != "modify_cell" else edited(template)

    monkeypatch.setattr(prompts, "load", changed)
    report = verified(finished)
    first = report.differences[0]
    asked = next(e for e in events(finished) if e.type == "ChatRequested" and e.event.prompt == "modify_cell")
    assert (first.position, first.event_type) == (asked.position, "ChatRequested")
    assert {d.actor for d in report.differences} == {"modifier"}


def edited(template):
    import dataclasses

    return dataclasses.replace(template, user=template.user.replace("cell", "block", 1))


def test_a_draw_of_chance_added_to_one_handler_changes_that_handler_alone(finished, monkeypatch):
    original = Proposer._choose_parent

    async def with_a_draw(self, ctx, opened, settings):
        ctx.rng("parent", settings.seed).random()
        ctx.rng("something new", settings.seed).random()
        return await original(self, ctx, opened, settings)

    monkeypatch.setattr(Proposer, "_choose_parent", with_a_draw)
    assert verified(finished).ok, "keyed chance: a draw for another purpose moves nothing"

    async def moved(self, ctx, opened, settings):
        drawn = ctx.rng

        def shifted(purpose, seed):
            rng = drawn(purpose, seed)
            if purpose == "inspirations":
                rng.random()
            return rng

        ctx.rng = shifted
        return await original(self, ctx, opened, settings)

    monkeypatch.setattr(Proposer, "_choose_parent", moved)
    report = verified(finished)
    assert {d.actor for d in report.differences} == {"proposer"}
    # The first thing made of that draw is the question that ranks what was retrieved.
    asked = next(
        e for e in events(finished) if e.type == "ChatRequested" and e.event.prompt == "rank_inspirations"
    )
    assert report.differences[0].position == asked.position


def test_a_handler_that_emits_more_than_it_did_is_missing_an_event(finished, monkeypatch):
    original = actors.director.Director.on_start

    async def twice(self, ctx, started):
        await original(self, ctx, started)
        await original(self, ctx, started)

    monkeypatch.setattr(actors.director.Director, "on_start", twice)
    report = verified(finished)
    assert (report.differences[0].kind, report.differences[0].event_type) == ("missing", "BaseDesigned")
