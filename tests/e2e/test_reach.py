"""How far changed settings reach: a handling that had not begun works under them, one that had ends as it
began. Every log is proved again, also one of before that was so, and one whose acknowledgements are lost.
"""

import asyncio
import itertools
import json
import sqlite3
from collections import Counter

import pytest

from actors.runtime import external
from events import Pending, encode
from events.campaign import Forked
from nader.campaign import Campaign
from nader.changes import settings_changed
from nader.forks import fork
from nader.portable import export_log, import_log
from nader.reach import reach
from nader.settings import load_settings
from nader.workspace import Workspace
from nader.workspace import fold as fold_of
from store import Log
from tests.e2e.campaigns import (
    SMALL,
    check_log,
    events,
    folded,
    resume_campaign,
    run_campaign,
    settings,
    verified,
)
from tests.e2e.simulation import SimulatedBackend
from tests.e2e.test_prompts import BUILT_IN
from tests.servers.openai_server import serve
from tests.servers.scenario import Scenario

COOLER = "llm.temperature=0.125"
"""A changed setting that every question shows; it is 0.7 else."""


@pytest.fixture(scope="module")
def server():
    with serve(Scenario()) as running:
        yield running


@pytest.fixture(scope="module")
def finished(tmp_path_factory, server):
    folder = tmp_path_factory.mktemp("finished")
    run_campaign(folder, settings(server))
    return folder


@pytest.fixture
def workspace(finished, tmp_path):
    with sqlite3.connect(finished / "nader.db") as source, sqlite3.connect(tmp_path / "nader.db") as copy:
        source.backup(copy)
    return tmp_path


def forked(folder, at, *sets, **options):
    return asyncio.run(fork(Workspace(folder), "run-1", at, sets=sets, **options))


def finish(folder, name, **options):
    """Take a run up to its end, and prove its log."""
    assert resume_campaign(folder, name, **options).reason == "completed"
    check_log(folder, name)


def position(folder, type, about=None):
    """Of the last event of a type (about a candidate)."""
    found = [e for e in events(folder, "run-1") if e.type == type and about in (None, e.correlation)]
    return found[-1].position


def questions(folder, name, about):
    """What the Modifier asked for a candidate."""
    log = events(folder, name)
    asked = [e for e in log if e.type == "ChatRequested" and e.correlation == about]
    return [e.event for e in asked if e.actor == "modifier"]


def temperatures(folder, name, about):
    return {question.temperature for question in questions(folder, name, about)}


def last_proposed(folder):
    return next(e.correlation for e in reversed(events(folder, "run-1")) if e.type == "ProposalMade")


# ---- a fork


def test_the_candidate_that_a_run_was_forked_at_is_designed_by_the_forks_own_model(tmp_path, server):
    run_campaign(tmp_path, (*SMALL, "llm.backend=rule-based"))
    candidate = last_proposed(tmp_path)
    at = position(tmp_path, "ProposalMade", candidate)
    name = forked(tmp_path, at, "llm.backend=openai", "llm.model=scripted", f"llm.base_url={server.url}")
    finish(tmp_path, name)
    asked = questions(tmp_path, name, candidate)
    assert asked and {(q.backend, q.model) for q in asked} == {("openai", "scripted")}
    views, _ = folded(tmp_path, name)
    assert views.ledger.by_model()["scripted"].chat_calls > 0


def test_its_temperature_is_the_forks(workspace):
    candidate = last_proposed(workspace)
    at = position(workspace, "ProposalMade", candidate)
    name = forked(workspace, at, COOLER)
    finish(workspace, name)
    assert temperatures(workspace, name, candidate) == {0.125}
    assert temperatures(workspace, "run-1", candidate) == {0.7}


def test_a_design_that_had_begun_ends_as_it_began_and_others_do_not(workspace):
    """Forked at the answer to its first question, with more to ask."""
    log = events(workspace, "run-1")
    asked = [e for e in log if e.type == "ChatRequested" and e.actor == "modifier"]
    several = Counter(e.correlation for e in asked)
    first = next(e for e in asked if several[e.correlation] > 1)
    at = next(e.position for e in log if e.causation == first.position)
    name = forked(workspace, at, COOLER)
    finish(workspace, name)
    own = [q.temperature for q in questions(workspace, name, first.correlation)]
    assert len(own) > 1 and set(own) == {0.7}
    later = [e for e in events(workspace, name) if e.type == "ChatRequested" and e.position > at]
    assert 0.125 in {e.event.temperature for e in later}


def test_a_reflection_that_was_asked_for_and_not_begun_follows_too(workspace):
    requested = [e for e in events(workspace, "run-1") if e.type == "ReflectionRequested"]
    asked = {e.causation for e in events(workspace, "run-1") if e.type == "ChatRequested"}
    at = next(e.position for e in requested if e.position in asked)
    name = forked(workspace, at, COOLER)
    finish(workspace, name)
    told = [e.event.temperature for e in events(workspace, name) if e.causation == at and "Chat" in e.type
            and hasattr(e.event, "prompt")]  # fmt: skip
    assert told and set(told) == {0.125}


def test_own_prompts_reach_it_too(workspace, tmp_path):
    folder = tmp_path / "prompts"
    folder.mkdir()
    text = BUILT_IN.read_text(encoding="utf-8").replace("# System\n", "# System\n\nBe brief.\n")
    (folder / "modify_cell.md").write_text(text, encoding="utf-8")
    candidate = last_proposed(workspace)
    name = forked(workspace, position(workspace, "ProposalMade", candidate), f"llm.prompts={folder}")
    finish(workspace, name)
    with Workspace(workspace).reader() as log:
        asked = [q for q in questions(workspace, name, candidate) if q.prompt == "modify_cell"]
        assert asked and all(b"Be brief." in log.blob(q.messages[0].digest) for q in asked)


@pytest.mark.parametrize(("change", "taken"), [("search.candidates=6", True), (COOLER, False)])
def test_reuse_takes_the_answers_to_the_same_questions_alone(workspace, change, taken):
    candidate = last_proposed(workspace)
    at = position(workspace, "ProposalMade", candidate)
    name = forked(workspace, at, change, reuse=True)
    finish(workspace, name)
    answers = [
        bool(e.event.reused)
        for e in events(workspace, name)
        if e.type == "ChatCompleted" and e.position > at and e.correlation == candidate
    ]
    assert answers and set(answers) == {taken}


@pytest.mark.parametrize("nth", range(8))
def test_whatever_is_changed_wherever_the_log_is_what_the_code_does(workspace, nth):
    """Also where the Director was to look at an event under the old settings, and did so under the new."""
    head = events(workspace, "run-1")[-1].position
    at = 2 + (head - 2) * nth // 8
    changes = itertools.islice(itertools.cycle(CHANGES), nth, nth + 2)
    for number, sets in enumerate(changes):
        name = forked(workspace, at, *sets, name=f"f{number}")
        finish(workspace, name)
        without_acknowledgements(workspace, name)


CHANGES = (
    ("search.candidates=2", "seed=5"),
    ("search.candidates=8", "search.width=2", "modifier.experiences=1"),
    ("search.empty_rounds=1", "modifier.tries=1", COOLER),
    ("search.lookahead=0", "search.candidates=3"),
)


# ---- a resume


def test_a_resume_with_changed_settings_reaches_what_had_not_begun(tmp_path, server):
    """Paused where one design has just begun and the next waits for its turn."""

    async def pause():
        sets = settings(server, "modifier.concurrency=1")
        async with await Campaign.start(Workspace(tmp_path), load_settings(sets=sets)) as campaign:

            def watch(e):
                if e.type == "ChatRequested" and e.correlation == "r1-1":
                    campaign.pause("stopped by a test", now=True)

            campaign.observe(watch)
            return await campaign.run(SimulatedBackend(2))

    assert asyncio.run(pause()).kind == "paused"
    assert any(e.type == "ProposalMade" and e.correlation == "r1-2" for e in events(tmp_path))
    assert temperatures(tmp_path, None, "r1-2") == set()
    finish(tmp_path, None, sets=(COOLER,))
    assert temperatures(tmp_path, None, "r1-1") == {0.7}
    assert temperatures(tmp_path, None, "r1-2") == {0.125}
    without_acknowledgements(tmp_path)


# ---- proofs


def without_acknowledgements(folder, run=None):
    """They are an index, not a truth: without them the log is the same, and nothing is done twice."""
    with sqlite3.connect(folder / "nader.db") as connection:
        connection.execute("DELETE FROM acks")
    assert verified(folder, run).differences == ()
    head = events(folder, run)[-1].position
    resume_campaign(folder, run)
    assert events(folder, run)[-1].position == head
    resume_campaign(folder, run, sets=("search.candidates=9",))
    check_log(folder, run)
    opened = [e.event.round for e in events(folder, run) if e.type == "RoundOpened"]
    assert opened == list(range(1, len(opened) + 1)), "no round is opened twice"


def test_an_exported_fork_is_proved_elsewhere(workspace, tmp_path):
    name = forked(workspace, position(workspace, "ProposalMade", "r1-1"), COOLER, "seed=9")
    finish(workspace, name)
    with Workspace(workspace).reader() as reader:
        export_log(reader, [name], tmp_path / "file")
    elsewhere = Workspace(tmp_path / "elsewhere")
    elsewhere.create()

    async def bring():
        log = await Log.open(elsewhere.log, create=True)
        await import_log(log, tmp_path / "file", "")
        await log.close()

    asyncio.run(bring())
    check_log(elsewhere.path, name)


def of_before(folder, at, sets, version=2, **fields):
    """A fork as an older version made it: its changed settings hold for later causes alone."""

    async def make():
        log = await Log.open(folder / "nader.db")
        changed, _ = settings_changed(fold_of(log, "run-1", at)[0], sets, log, "run-1", at)
        type_name, _, payload = encode(changed)
        data = json.loads(payload)
        del data["pending"]
        old = Pending("operator", type_name, version, json.dumps(data | fields, sort_keys=True))
        forked = external(Forked(parent="run-1", at=at, open_requests="reissue", reuse=False))
        await log.create_branch("old", "run-1", "run-1", at, first=[forked, old])
        await log.close()

    asyncio.run(make())
    return "old"


def test_a_log_of_before_is_proved_by_the_rule_of_before(workspace):
    candidate = last_proposed(workspace)
    at = position(workspace, "ProposalMade", candidate)
    name = of_before(workspace, at, (COOLER, "search.candidates=7"))
    finish(workspace, name)
    assert temperatures(workspace, name, candidate) == {0.7}
    later = [e for e in events(workspace, name) if e.type == "ChatRequested" and e.position > at]
    assert {e.event.temperature for e in later} == {0.7, 0.125}


@pytest.mark.parametrize(("version", "pending"), [(2, True), (3, False)])
def test_a_log_that_gives_itself_the_other_rule_is_no_log_of_ours(workspace, version, pending):
    at = position(workspace, "DesignReady", "r1-1")
    name = of_before(workspace, at, (COOLER,), version, pending=pending)
    found = verified(workspace, name).differences
    assert [(d.event_type, d.path) for d in found] == [("SettingsChanged", "$.pending")]


def test_a_handling_under_other_settings_than_those_in_force_is_a_difference(workspace, monkeypatch):
    """The same log, held to the rule of before: only one of the two rules is what the log shows."""
    candidate = last_proposed(workspace)
    name = forked(workspace, position(workspace, "ProposalMade", candidate), COOLER)
    finish(workspace, name)
    monkeypatch.setattr("store.projections.status.Status.changes_for_pending", lambda self, after: ())
    found = verified(workspace, name).differences[0]
    assert (found.actor, found.path, found.recorded, found.computed) == (
        "modifier", "$.temperature", 0.125, 0.7,
    )  # fmt: skip


# ---- what the command says


def test_what_is_undone_at_a_fork_is_told_by_whether_it_had_begun(workspace):
    def told(at):
        with Workspace(workspace).reader() as log:
            return reach(log, "run-1", at)

    assert told(1).pending == ("what is known at the start",) and not told(1).begun
    opened = position(workspace, "RoundOpened", "round-1")
    assert told(opened).pending == ("the proposals of round-1",)
    candidate = last_proposed(workspace)
    at = position(workspace, "ProposalMade", candidate)
    assert f"the design of {candidate}" in told(at).pending
    asked = next(e for e in events(workspace, "run-1") if e.causation == at)
    assert f"the design of {candidate}" in told(asked.position).begun
    assert f"the design of {candidate}" not in str(told(position(workspace, "DesignReady", candidate)))
    head = events(workspace, "run-1")[-1].position
    assert told(head).begun == told(head).pending == ()
