"""No forged, changed, inserted or removed event passes `nader verify`, though the hash chain was made anew
behind it: but for facts of the world, which are listed here and in docs/verify.md.
"""

import asyncio
import json
import random
import re
import sqlite3

import pytest

from actors.modifier import Modifier
from actors.runtime import Runtime
from events import EventError, event_types
from nader.campaign import Campaign
from nader.errors import NaderError
from nader.forks import fork
from nader.proof import verify
from nader.reflection import rederive
from nader.settings import load_settings
from nader.structure import AUTHORS
from nader.workspace import Workspace
from store import StoreError
from tests.conftest import REPOSITORY
from tests.e2e.campaigns import SMALL, events, resume_campaign, run_campaign, verified
from tests.e2e.forging import COLUMNS, Edit, Forgery, another, change_column, leaves, random_edit
from tests.e2e.reading import paper, read_library
from tests.e2e.simulation import SimulatedBackend
from tests.e2e.test_limits import PARALLEL, killed
from tests.e2e.test_limits import settings as model_settings
from tests.servers.openai_server import serve
from tests.servers.scenario import Scenario

SPENT = r"input_tokens|output_tokens|tokens|cost|latency|uncertain_tokens|uncertain_cost|attempts"
FACTS = {
    "ChatAttempted": rf"\$\.({SPENT}|error|message|wait)",
    "ChatCompleted": rf"\$\.({SPENT}|model|finish)",
    "ChatFailed": rf"\$\.({SPENT}|message)",
    "EmbeddingAttempted": rf"\$\.({SPENT}|error|message|wait)",
    "EmbeddingCompleted": rf"\$\.({SPENT})",
    "EmbeddingFailed": rf"\$\.({SPENT}|kind|message)",
    "TrainingStarted": r"\$\.slot",
    "EpochFinished": r"\$\.(epochs|loss|accuracy|rate|seconds)",
    "TrainingCompleted": r"\$\.(device|deterministic)",
    "TrainingFailed": r"\$\.(detail|epochs|seconds)",
    "ResultReused": r"\$\.(source|device|deterministic)",
    "HandlerFailed": r"\$\.(error|traceback)",
    "DesignAbandoned": r"\$\.reason",
    "CampaignStarted": r"\$\.(settings\..*|ground\..*|nader_version)",
    "SettingsChanged": r"\$\.ground\..*",
    "CampaignPaused": r"\$\.reason",
    "CampaignResumed": r"\$\.nader_version",
    "Forked": r"\$\.reuse",
    "ReadingStarted": r"\$\.(source|maximum|settings\..*)",
    "PaperFound": r"\$\.(year|ref|record)",
    "PaperTextRead": r"\$\.(section|first_page|last_page|pages|note)",
    "PaperTextFailed": r"\$\.message",
    "RetrainingRecorded": r"\$\..*",
}
"""What may be changed by itself without a difference: what the world did and nothing else in the log repeats,
and what a person chose and no decision rests on. DesignAbandoned: only the text of an exception.
"""
COMINGS_AND_GOINGS = ("CampaignPaused", "CampaignResumed", "ReadingStarted", "RetrainingRecorded")
"""Events of the operator that any history may have more of, or fewer."""
TRIES = ("HandlerFailed", "ChatAttempted", "EmbeddingAttempted")
"""The last of a series of these may never have been."""


# ---- logs to forge


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    """One log with a finished run, a paused and resumed one with failures, forks, a reflection, a library."""
    folder = tmp_path_factory.mktemp("forged")
    run_campaign(folder, SMALL, SimulatedBackend(failing=0.2), "plain")
    middle = events(folder, "plain")[len(events(folder, "plain")) // 2].position
    for name, options in (("reusing", {"reuse": True}), ("cancelling", {"cancel": True})):
        sets = ("search.candidates=6",) if name == "cancelling" else ()
        asyncio.run(fork(Workspace(folder), "plain", middle, name=name, sets=sets, **options))
        resume_campaign(folder, name)
    with pytest.MonkeyPatch.context() as patch:
        quick(patch)
        raising(patch, {"r1-1": 1, "r1-2": 3})
        paused(folder, "troubled")
        # A number on which the end rests, so that the change cannot be left out unnoticed.
        resume_campaign(folder, "troubled", sets=("search.candidates=6",))
    asyncio.run(rederive(Workspace(folder), "troubled"))
    (folder / "papers").mkdir()
    for number in range(2):
        text = paper(title=f"A Study of Wider Views {number}")
        (folder / "papers" / f"{number}.txt").write_text(text, encoding="utf-8")
    read_library(folder, folder / "papers", "papers")
    return folder


BRANCHES = ("plain", "reusing", "cancelling", "troubled", "troubled-reflect-1", "library:papers")


def quick(patch):
    original = Runtime.__init__

    def without_pauses(self, *arguments, **options):
        original(self, *arguments, **{**options, "backoff": lambda attempt: 0.0})

    patch.setattr(Runtime, "__init__", without_pauses)


def raising(patch, left):
    """Let the Modifier raise for some candidates, so many times each, after its first question."""
    original = Modifier._record

    async def record(self, task, *arguments):
        await original(self, task, *arguments)
        if left.get(task.proposal.candidate, 0) > 0:
            left[task.proposal.candidate] -= 1
            raise ZeroDivisionError("something nobody thought of")

    patch.setattr(Modifier, "_record", record)


def paused(folder, name):
    async def main():
        settings = load_settings(sets=SMALL)
        async with await Campaign.start(Workspace(folder), settings, name) as campaign:
            campaign.observe(lambda e: e.type == "CandidateTrained" and campaign.pause("enough", now=True))
            await campaign.run(SimulatedBackend())

    asyncio.run(main())


@pytest.mark.parametrize("branch", BRANCHES)
def test_the_logs_that_are_to_be_forged_verify(workspace, branch):
    report = verified(workspace, branch)
    assert report.ok, [d.sentence() for d in report.differences]
    assert report.failed == (branch.startswith("troubled")), "r1-2 was given up"


def test_every_event_type_has_its_authors():
    assert set(AUTHORS) == set(event_types())


# ---- one random edit


@pytest.mark.parametrize("branch", BRANCHES)
def test_no_random_edit_passes_but_of_facts_of_the_world(workspace, tmp_path, branch):
    hunt(workspace, tmp_path, branch, 40, seed=len(branch))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("branch", BRANCHES)
def test_no_random_edit_of_a_thousand_passes_but_of_facts_of_the_world(workspace, tmp_path, branch, seed):
    hunt(workspace, tmp_path, branch, 1000, seed=100 + seed)


def hunt(workspace, folder, branch, count, seed):
    forgery, rng = Forgery(workspace / "nader.db", branch), random.Random(seed)
    for _ in range(count):
        edit, acks = random_edit(forgery, rng), rng.random() < 0.5
        forgery.write(edit, folder / "nader.db", acks=acks)
        if passes(folder, branch):
            assert is_lawful(forgery, edit), (edit, list(forgery.row(edit.position).items()), f"acks {acks}")


def passes(folder, branch):
    """Whether a log verifies. One that cannot be read at all is refused with a sentence."""
    try:
        with Workspace(folder).reader() as log:
            return asyncio.run(verify(log, branch)).ok
    except (NaderError, EventError, StoreError):
        return False


@pytest.mark.slow
@pytest.mark.parametrize("branch", BRANCHES)
def test_no_event_type_can_be_changed_in_any_column_or_leaf_or_removed_or_doubled(
    workspace, tmp_path, branch
):
    forgery, rng = Forgery(workspace / "nader.db", branch), random.Random(5)
    for kind in sorted({row["type"] for row in forgery.rows}):
        rows = [row for row in forgery.rows if row["type"] == kind]
        row = rows[len(rows) // 2]
        position, last = row["position"], forgery.rows[-1]["position"]
        edits = [change_column(row, column, rng) for column in COLUMNS]
        for path, value in leaves(json.loads(row["payload"])):
            edits.append(Edit("change", position, path, value=another(value, rng)))
        edits += [Edit("remove", position), Edit("insert", position, other=position)]
        edits += [Edit("insert", position, other=last, keep_key=keep) for keep in (False, True)]
        for edit in filter(None, edits):
            forgery.write(edit, tmp_path / "nader.db", acks=False)
            if passes(tmp_path, branch):
                assert is_lawful(forgery, edit), (edit, row)


# ---- what the world may have done


def is_lawful(forgery, edit):
    """Whether the program itself, in another world, may have written the edited log."""
    row = forgery.row(edit.position)
    kind, last = row["type"], forgery.rows[-1]["position"]
    if edit.kind == "change":
        facts = FACTS.get(kind, "(?!)")
        unhashed = (
            edit.path == "seq"
        )  # the order in which the file was written: no position, not in the chain
        return edit.path in ("id", "time") or unhashed or re.fullmatch(facts, edit.path) is not None
    if edit.kind == "remove":
        following = forgery.rows[edit.position - forgery.fork :]
        return (
            edit.position == last
            or kind in COMINGS_AND_GOINGS
            or (kind in TRIES and not any(same_series(row, other) for other in following))
            or may_lack_its_last_epoch(row, following)
            or ends_a_reflection(forgery, row, following)
        )
    if edit.kind == "insert":
        # A training may have been started twice over, where no epoch lies between that would be missing.
        return kind in (*COMINGS_AND_GOINGS, "TrainingStarted")
    return exchangeable(forgery, edit.position, edit.other)


def same_series(row, other):
    return (other["type"], other["causation"]) == (row["type"], row["causation"])


def ends_a_reflection(forgery, row, following):
    """A reflection has no end of its own: the last event of a handling may be still to come, where no
    acknowledgement tells that it came. The report counts it as unfinished.
    """
    again = any(r["type"] == "ReflectionRequested" and r["actor"] == "operator" for r in forgery.rows)
    return again and row["actor"] == "reflector" and not any(same_handling(row, r) for r in following)


def same_handling(row, other):
    return (other["actor"], other["causation"]) == (row["actor"], row["causation"])


def may_lack_its_last_epoch(row, following):
    """Of a training that failed, or of which no later event tells, the last epoch may never have been."""
    if row["type"] not in ("EpochFinished", "TrainingStarted"):
        return False
    rest = [other for other in following if other["causation"] == row["causation"]]
    return not any(other["type"] in ("EpochFinished", "TrainingCompleted") for other in rest)


def exchangeable(forgery, first, second):
    """Whether two events may have come in the other order: nothing between them rests on what moves."""
    rows = [forgery.row(position) for position in range(first, second + 1)]
    asked = {row["position"]: (row["actor"], row["causation"]) for row in forgery.rows}
    moved, arrived, between = rows[0], rows[-1], rows[1:-1]
    pairs = [(moved, other) for other in rows[1:]] + [(other, arrived) for other in between]
    return not any(rests_on(later, earlier, asked) for earlier, later in pairs)


def rests_on(later, earlier, asked):
    """Whether one event must come after another, by itself."""
    handling = (later["actor"], later["causation"])
    return (
        later["causation"] == earlier["position"]
        or (later["causation"] is not None and handling == (earlier["actor"], earlier["causation"]))
        or (later["causation"] == earlier["causation"] is not None and later["actor"] == "training")
        or asked.get(earlier["causation"]) == handling  # an answer, and what its asker does next
        or (later["actor"] == earlier["actor"] and later["actor"] in ("director", "proposer", "librarian"))
        or (later["actor"] == earlier["actor"] == "operator" and not found_together(later, earlier))
    )


def found_together(one, other):
    """Whether both are papers of one source, which may list them in any order."""
    return one["type"] == other["type"] == "PaperFound"


# ---- forgeries that were found to pass once


def forge(workspace, folder, branch, *edits):
    """A log with one edit after another."""
    source = workspace / "nader.db"
    for number, edit in enumerate(edits, 1):
        forgery = Forgery(source, branch)
        source = folder / ("nader.db" if number == len(edits) else f"step-{number}.db")
        forgery.write(edit(forgery), source, acks=False)
    return verify_in(folder, branch)


def verify_in(folder, branch):
    with Workspace(folder).reader() as log:
        return asyncio.run(verify(log, branch))


def at(forgery, kind, nth=0):
    return [row for row in forgery.rows if row["type"] == kind][nth]["position"]


@pytest.mark.parametrize("path", ["$.epochs", "$.loss", "$.losses[0]", "$.losses[2]"])
def test_a_result_taken_from_another_run_is_whole_in_itself(workspace, tmp_path, path):
    """Its source lies outside this run's history, so that only what it says itself can show an edit."""

    def longer(forgery):
        number = 4 if path == "$.epochs" else 0.125
        return Edit("change", at(forgery, "ResultReused"), path=path, value=number)

    report = forge(workspace, tmp_path, "troubled", longer)
    assert not report.ok


def test_a_result_of_another_hand_is_extra(workspace, tmp_path):
    def better(forgery):
        row = forgery.row(at(forgery, "CandidateTrained"))
        row |= {"actor": "supervisor", "causation": None, "effect_key": None, "input_digest": None}
        return Edit("insert", row["position"], other=forgery.rows[-1]["position"])

    report = forge(workspace, tmp_path, "plain", better)
    assert ("extra", "supervisor", "CandidateTrained") in [
        (d.kind, d.actor, d.event_type) for d in report.differences
    ]


def test_a_second_end_of_a_request_is_extra(workspace, tmp_path):
    def second(forgery):
        position = at(forgery, "TrainingCompleted")
        return Edit("insert", position, other=position)

    first, *_ = forge(workspace, tmp_path, "plain", second).differences
    assert (first.kind, first.event_type) == ("extra", "TrainingCompleted")


@pytest.mark.parametrize(
    "kind", ["ChatCompleted", "TrainingCompleted", "DraftAccepted", "RoundClosed", "TrainingRequested"]
)
def test_a_finished_campaign_leaves_nothing_in_the_middle(workspace, tmp_path, kind):
    """Also where no acknowledgement tells that the handling was done."""
    report = forge(workspace, tmp_path, "plain", lambda f: Edit("remove", at(f, kind)))
    assert "missing" in {d.kind for d in report.differences}


def test_a_cause_that_is_its_own_effect_ends_in_a_difference(workspace, tmp_path):
    def circle(forgery):
        position = at(forgery, "ParentChosen")
        return Edit("change", position, "causation", value=position)

    report = forge(workspace, tmp_path, "plain", circle)
    assert ("causation", "ParentChosen") in [(d.path, d.event_type) for d in report.differences]


def test_a_failure_for_good_exempts_nothing(workspace, tmp_path):
    """A handling that claims to have been given up is still compared in what it did."""

    def failed(forgery):
        return Edit("change", at(forgery, "HandlerFailed"), "$.final", value=True)

    def design(forgery):
        return Edit("change", at(forgery, "DraftAccepted"), "$.attempt", value=9)

    report = forge(workspace, tmp_path, "troubled", failed, design)
    assert {"$.final", "$.attempt"} <= {d.path for d in report.differences}


@pytest.mark.parametrize("what", ["changed", "missing"])
def test_a_prompt_that_is_lost_or_is_another_is_named(workspace, tmp_path, what):
    forgery = Forgery(workspace / "nader.db", "plain")
    position = at(forgery, "ChatRequested")
    digest = json.loads(forgery.row(position)["payload"])["messages"][0]["digest"]
    with sqlite3.connect(workspace / "nader.db") as source, sqlite3.connect(tmp_path / "nader.db") as copy:
        source.backup(copy)
        if what == "changed":
            change = "UPDATE blobs SET data = ?, size = 13, codec = 'plain' WHERE sha256 = ?"
            copy.execute(change, (b"forged prompt", digest))
        else:
            copy.execute("DELETE FROM blobs WHERE sha256 = ?", (digest,))
    (found,) = [d for d in verify_in(tmp_path, "plain").differences if d.recorded == digest]
    assert (found.kind, found.position, found.path) == (what, position, "$.messages[0].digest")


# ---- what a killed process may have spent


@pytest.fixture(scope="module")
def killed_run(tmp_path_factory):
    """A run that was killed with questions under way, a fork that cancels them, the run taken up again."""
    folder = tmp_path_factory.mktemp("killed")
    with pytest.MonkeyPatch.context() as patch, serve(Scenario(models=("gpt-4o",), delay_s=0.6)) as server:
        patch.setenv("OPENAI_API_KEY", "sk-anything")
        assert killed(folder, server, "start", model_settings(server, *PARALLEL))
        at = events(folder, "run-1")[-1].position
        asyncio.run(fork(Workspace(folder), "run-1", at, name="mine", cancel=True, sets=("seed=5",)))
        asyncio.run(taken_up(folder, "llm.prices={'gpt-4o' = [5.0, 20.0]}"))
    return folder


async def taken_up(folder, *sets):
    async with await Campaign.resume(Workspace(folder), "run-1", sets):
        """And left without a word."""


def losses(forgery):
    return [row["position"] for row in forgery.rows if row["type"] == "ChatAttempted"]


KILLED = ("run-1", "mine")


@pytest.mark.parametrize("branch", KILLED)
def test_what_was_lost_in_a_kill_verifies_and_so_does_a_log_that_leaves_it_out(killed_run, tmp_path, branch):
    assert len(losses(Forgery(killed_run / "nader.db", branch))) >= 6
    for report in (
        verify_in(killed_run, branch),
        forge(killed_run, tmp_path, branch, lambda forgery: Edit("remove", losses(forgery)[0])),
    ):
        assert report.ok, [d.sentence() for d in report.differences]


@pytest.mark.parametrize("branch", KILLED)
def test_what_was_lost_in_a_kill_is_held_to_the_most_that_its_question_may_take(killed_run, tmp_path, branch):
    forgery, rng = Forgery(killed_run / "nader.db", branch), random.Random(3)
    position = losses(forgery)[-1]
    for path, value in leaves(json.loads(forgery.row(position)["payload"])):
        edit = Edit("change", position, path, value=another(value, rng))
        differences = forge(killed_run, tmp_path, branch, lambda _, edit=edit: edit).differences
        told = (position, path) in [(d.position, d.path) for d in differences]
        assert told != (path == "$.message"), path


@pytest.mark.parametrize("branch", KILLED)
def test_a_second_loss_of_a_question_or_one_in_another_place_is_extra(killed_run, tmp_path, branch):
    forgery = Forgery(killed_run / "nader.db", branch)
    first, last = losses(forgery)[0], forgery.rows[-1]["position"]
    for edit in (
        Edit("insert", first, other=first),
        Edit("insert", first, other=last),
        Edit("change", losses(forgery)[1], "causation", value=forgery.row(first)["causation"]),
    ):
        differences = forge(killed_run, tmp_path, branch, lambda _, edit=edit: edit).differences
        assert ("extra", "ChatAttempted") in [(d.kind, d.event_type) for d in differences], edit


@pytest.mark.parametrize(("branch", "lawful"), [("mine", True), ("run-1", False)])
def test_another_version_of_nader_may_have_listed_another_price(
    killed_run, tmp_path, monkeypatch, branch, lawful
):
    """The fork's price is that of the version's list; the run was taken up with one of its own."""
    cost = Edit(
        "change", losses(Forgery(killed_run / "nader.db", branch))[-1], "$.uncertain_cost", value=0.125
    )
    assert not forge(killed_run, tmp_path, branch, lambda _: cost).ok
    monkeypatch.setattr("nader.__version__", "999.0")
    assert forge(killed_run, tmp_path, branch, lambda _: cost).ok == lawful


def test_a_loss_where_nobody_took_the_run_up_is_extra(killed_run, tmp_path):
    """One for every open question stands before; the same once more after the next coming and going."""
    paused = "CampaignPaused"
    forgery = Forgery(killed_run / "nader.db", "run-1")
    first, resumed = losses(forgery)[0], at(forgery, "CampaignResumed")
    assert paused not in [row["type"] for row in forgery.rows]
    again = [Edit("insert", resumed, other=forgery.rows[-1]["position"])]
    again.append(Edit("insert", first, other=again[0].other + 1))
    edits = [lambda _, edit=edit: edit for edit in again]
    assert forge(killed_run, tmp_path, "run-1", *edits).ok, "a second kill may have lost it a second time"
    differences = forge(killed_run, tmp_path, "run-1", *edits, edits[1]).differences
    assert [(d.kind, d.event_type) for d in differences] == [("extra", "ChatAttempted")]


# ---- logs that a process left in the middle


@pytest.mark.parametrize("nth", range(12))
def test_a_log_that_ends_anywhere_verifies(workspace, tmp_path, nth):
    check_cut(workspace, tmp_path, "plain", nth, 12)


@pytest.mark.slow
@pytest.mark.parametrize("branch", BRANCHES)
def test_every_beginning_of_a_log_verifies(workspace, tmp_path, branch):
    forgery = Forgery(workspace / "nader.db", branch)
    for nth in range(len(forgery.rows)):
        check_cut(workspace, tmp_path, branch, nth, len(forgery.rows))


def check_cut(workspace, folder, branch, nth, count):
    """What `kill -9` leaves: events up to some append, and acknowledgements up to there (or none at all)."""
    forgery = Forgery(workspace / "nader.db", branch)
    last = forgery.rows[(nth + 1) * len(forgery.rows) // count - 1]["position"]
    place = forgery.branch << 40 | last
    (folder / "nader.db").unlink(missing_ok=True)
    with sqlite3.connect(workspace / "nader.db") as source, sqlite3.connect(folder / "nader.db") as copy:
        source.backup(copy)
        copy.execute("DROP TRIGGER events_are_never_deleted")
        copy.execute("DELETE FROM events WHERE place > ? AND place >> 40 = ?", (place, forgery.branch))
        copy.execute("DELETE FROM acks WHERE branch = ? AND position > ?", (forgery.branch, last))
    end = last - forgery.fork - 1
    kinds = [row["type"] for row in forgery.rows[max(end - 1, 0) : end + 1]]
    if kinds[-1] in ENDS_NO_APPEND or kinds == ["Forked", "SettingsChanged"]:
        return
    report = verify_in(folder, branch)
    assert report.ok, (last, [d.sentence() for d in report.differences])


ENDS_NO_APPEND = ("Forked", "CampaignResumed", "InspirationRecorded", "ReflectionRequested", "ChatCancelled")
"""Types whose events other events are appended with, in one transaction: no process stops behind them."""


def test_the_documented_facts_are_those_that_pass():
    """docs/verify.md has a row for every type that FACTS has."""
    text = (REPOSITORY / "docs" / "verify.md").read_text(encoding="utf-8")
    missing = [kind for kind in FACTS if f"`{kind}`" not in text]
    assert not missing
