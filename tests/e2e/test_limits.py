"""Limits that hold whatever happens to the process, by the server's own count; and a server that is away."""

import asyncio
import os
import signal
import subprocess
import sys
import time

import pytest

from nader.campaign import Campaign
from nader.errors import SettingsError
from nader.forks import fork
from nader.hours import seconds_run
from nader.reflection import go_on, rederive
from nader.settings import load_settings
from nader.workspace import Workspace, fold
from tests.conftest import REPOSITORY
from tests.e2e.campaigns import (
    check_log,
    events,
    folded,
    resume_campaign,
    run_campaign,
    settings,
    verified,
)
from tests.e2e.simulation import SimulatedBackend
from tests.servers.openai_server import serve
from tests.servers.scenario import Fault, FaultKind, Scenario

CAP = 0.4
"""US dollars: about nine calls of PARALLEL at their most."""
PARALLEL = (
    "llm.model=gpt-4o", "llm.max_tokens=800", "llm.concurrency=16", "search.width=16", "search.candidates=16",
    "modifier.concurrency=16", f"budget.money={CAP}",
)  # fmt: skip
FREE_TIME = 120.0
"""Seconds after which a test gives up waiting."""


@pytest.fixture(autouse=True)
def key(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-anything")


def charged(server):
    """US dollars by the server's own count, at gpt-4o's price."""
    stats = server.stats()
    return (stats["prompt_tokens"] * 2.5 + stats["completion_tokens"] * 10) / 1e6


def spent(folder, run="run-1"):
    """US dollars that the ledger knows of, and the most that it does not."""
    total = folded(folder, run)[0].ledger.totals()
    return total.cost, total.uncertain_cost


# ---- what is paid for and never heard of


def stopped_now(folder, server, first):
    """Run until six calls are in flight, then stop without waiting for any."""

    async def main():
        if first:
            chosen = load_settings(sets=settings(server, *PARALLEL))
            opened = await Campaign.start(Workspace(folder), chosen)
        else:
            opened = await Campaign.resume(Workspace(folder))
        async with opened as campaign:

            async def stop():
                while server.in_flight < 6:
                    await asyncio.sleep(0.01)
                campaign.pause("twice Ctrl-C", now=True)

            stopper = asyncio.create_task(stop())
            ending = await campaign.run(SimulatedBackend())
            stopper.cancel()
            return ending

    return asyncio.run(main())


def test_the_money_cap_holds_through_stops_that_wait_for_nothing(tmp_path):
    with serve(Scenario(models=("gpt-4o",), delay_s=0.3)) as server:
        for number in range(9):
            ending = stopped_now(tmp_path, server, first=number == 0)
            time.sleep(0.5)  # the server finishes what nobody reads
            cost, uncertain = spent(tmp_path)
            assert charged(server) <= cost + uncertain <= CAP
        assert charged(server) > CAP / 20, "it did cost something"
    assert ending.reason.startswith("budget:")


def test_a_call_that_was_broken_off_is_told_once_at_its_most_and_the_answer_later_at_its_price(tmp_path):
    with serve(Scenario(models=("gpt-4o",), delay_s=0.3)) as server:
        stopped_now(tmp_path, server, first=True)
        told = [e for e in events(tmp_path) if e.type == "ChatAttempted"]
        assert len(told) >= 6 and {e.event.error for e in told} == {"cancelled"}
        most = sum(e.event.uncertain_cost for e in told)
        assert spent(tmp_path) == (pytest.approx(spent(tmp_path)[0]), pytest.approx(most))
        resume_campaign(tmp_path, sets=("budget.money=50",))
    check_log(tmp_path)
    assert [e for e in events(tmp_path) if e.type == "ChatAttempted"] == told, "a stop in order loses nothing"
    views, _ = folded(tmp_path)
    answers = [e.event for e in events(tmp_path) if e.type == "ChatCompleted"]
    assert views.ledger.totals().uncertain_cost == pytest.approx(most)
    assert views.ledger.totals().cost == pytest.approx(sum(a.cost for a in answers))


def driver(folder, verb, sets=(), *more):
    """A campaign in a process of its own."""
    command = [sys.executable, "-m", "tests.e2e.driver", verb, str(folder), *more]
    for pair in sets:
        command += ["--set", pair]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    return subprocess.Popen(
        command, cwd=REPOSITORY, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )


def killed(folder, server, verb, sets=()):
    """Kill a campaign when six calls are in flight; whether it lived that long."""
    process = driver(folder, verb, sets)
    deadline = time.monotonic() + FREE_TIME
    while server.in_flight < 6 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    _, said = process.communicate(timeout=FREE_TIME)
    assert "Traceback" not in said, said
    while server.in_flight and time.monotonic() < deadline:  # it finishes what nobody reads
        time.sleep(0.01)
    assert not server.in_flight
    return process.returncode == -signal.SIGKILL


def test_the_money_cap_holds_through_kills(tmp_path):
    with serve(Scenario(models=("gpt-4o",), delay_s=0.6)) as server:
        assert killed(tmp_path, server, "start", settings(server, *PARALLEL))
        for _ in range(3):
            before = charged(server)
            lived = killed(tmp_path, server, "resume")
            _, uncertain = spent(tmp_path)
            assert uncertain > before * 0.9, "what the killed process had under way is counted"
            if not lived:
                break
        assert charged(server) <= CAP
        resume_campaign(tmp_path)
        cost, uncertain = spent(tmp_path)
        assert charged(server) <= cost + uncertain <= CAP + 0.3
    lost = [e.event for e in events(tmp_path) if e.type == "ChatAttempted" and e.event.error == "lost"]
    assert len(lost) >= 6 and all(e.uncertain_tokens > 800 and e.uncertain_cost > 0 for e in lost)


def test_a_campaign_forked_from_one_that_was_killed_counts_what_was_under_way(tmp_path):
    with serve(Scenario(models=("gpt-4o",), delay_s=0.6)) as server:
        assert killed(tmp_path, server, "start", settings(server, *PARALLEL))
        asyncio.run(fork(Workspace(tmp_path), "run-1", folded(tmp_path)[1].head, name="branch"))
        asyncio.run(fork(Workspace(tmp_path), "run-1", 2, name="early"))
    assert folded(tmp_path, "branch")[0].ledger.totals().uncertain_cost >= charged(server)
    assert folded(tmp_path, "early")[0].ledger.totals().uncertain_cost == 0
    assert spent(tmp_path)[1] == 0, "the parent itself books it when it is taken up"


def test_a_pause_in_order_is_followed_by_no_lost_calls(tmp_path):
    with serve(Scenario(models=("gpt-4o",))) as server:
        assert run_campaign(tmp_path, settings(server, *PARALLEL, "budget.money=0.1")).kind == "paused"
        for _ in range(3):
            assert resume_campaign(tmp_path).kind == "paused"
    assert not [e for e in events(tmp_path) if e.type == "ChatAttempted"]


def test_a_server_that_fails_before_a_kill_leaves_its_tries_in_the_ledger(tmp_path):
    """Tokens of earlier tries count, though their question has no end in that process."""
    faults = (Fault(kind=FaultKind.EMPTY_CHOICES, every=1),)
    with serve(Scenario(models=("gpt-4o",), faults=faults)) as server:
        sets = settings(server, "llm.model=gpt-4o", "llm.concurrency=1")
        driver(tmp_path, "start", sets, "--kill", "ChatAttempted:3").communicate(timeout=FREE_TIME)
        counted = server.stats()
    total = folded(tmp_path)[0].ledger.totals()
    tries = [e.event for e in events(tmp_path) if e.type == "ChatAttempted"]
    assert len(tries) == 3 and total.input_tokens == sum(e.input_tokens for e in tries) > 0
    assert total.input_tokens <= counted["prompt_tokens"]
    with serve(Scenario(models=("gpt-4o",))) as server:
        resume_campaign(tmp_path, sets=(f"llm.base_url={server.url}",))
        after = server.stats()
    check_log(tmp_path)
    views, _ = folded(tmp_path)
    assert views.ledger.totals().input_tokens == total.input_tokens + after["prompt_tokens"]


# ---- a server that is away


@pytest.mark.parametrize("kind", [FaultKind.UNAVAILABLE, FaultKind.RATE_LIMITED, FaultKind.RESET])
def test_an_outage_pauses_the_campaign_and_goes_on_with_the_open_questions(tmp_path, kind):
    with serve(Scenario(faults=(Fault(kind=kind, every=1),))) as server:
        chosen = settings(server, "llm.retries=1", "search.width=8", "search.candidates=8")
        ending = run_campaign(tmp_path, chosen)
        asked = server.stats()["chat"]
        again = resume_campaign(tmp_path)
        assert server.stats()["chat"] - asked <= 2 * 8, "the streak is known: no question is given up again"
    assert ending.kind == again.kind == "paused"
    assert ending.reason.startswith("outage: 3 calls in a row ended without an answer")
    log = events(tmp_path)
    assert len([e for e in log if e.type == "ChatFailed"]) == 2
    assert log[-1].type == "CampaignPaused" and not [e for e in log if e.type == "CampaignFinished"]
    with serve(Scenario()) as server:
        assert resume_campaign(tmp_path, sets=(f"llm.base_url={server.url}",)).reason == "completed"
    check_log(tmp_path)
    assert len([e for e in events(tmp_path) if e.type == "ChatFailed"]) == 2


def test_a_server_that_is_not_there_pauses_the_campaign(tmp_path):
    with serve(Scenario()) as server:
        chosen = settings(server, "llm.retries=1")
    ending = run_campaign(tmp_path, chosen)
    assert ending.kind == "paused" and "with connection (no connection" in ending.reason


def test_a_passing_fault_costs_its_candidate_and_pauses_nothing(tmp_path):
    with serve(Scenario(faults=(Fault(kind=FaultKind.UNAVAILABLE, at=(3, 5)),))) as server:
        ending = run_campaign(tmp_path, settings(server, "llm.retries=0", "llm.concurrency=1"))
    assert ending.reason == "completed"
    assert len([e for e in events(tmp_path) if e.type == "ChatFailed"]) == 2


def test_without_the_setting_every_call_fails_by_itself(tmp_path):
    with serve(Scenario(faults=(Fault(kind=FaultKind.UNAVAILABLE, every=1),))) as server:
        ending = run_campaign(tmp_path, settings(server, "llm.retries=0", "llm.outage_after=0"))
    assert (ending.kind, ending.reason) == ("finished", "exhausted")


def test_embeddings_that_are_away_pause_the_campaign_though_the_chat_answers(tmp_path):
    embedder = ("llm.embedder=openai", "llm.embedding_model=scripted", "llm.embedding_dimension=64")
    fault = Fault(kind=FaultKind.UNAVAILABLE, endpoint="embeddings", every=1)
    with serve(Scenario(faults=(fault,))) as server:
        ending = run_campaign(tmp_path, settings(server, "llm.retries=0", *embedder))
    assert ending.kind == "paused" and ending.reason.startswith("outage: ")
    with serve(Scenario()) as server:
        assert resume_campaign(tmp_path, sets=(f"llm.base_url={server.url}",)).reason == "completed"
    views, _ = folded(tmp_path)
    assert views.knowledge.count() == len(views.knowledge.matrix()[0]) > 90, "no inspiration is lost to it"


# ---- models that are not there


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (("llm.model=rihgt",), "lists no model 'rihgt'; it lists right; set llm.model to one of these, or "),
        (("llm.models={reflector = 'gone'}",), "set llm.models.reflector to one of these"),
        (("llm.embedder=openai", "llm.embedding_model=gone"), "no model 'gone'; .* set llm.embedding_model "),
    ],
)
def test_a_misspelt_model_is_told_before_anything_begins(tmp_path, changes, sentence):
    with serve(Scenario(models=("right",))) as server:
        with pytest.raises(SettingsError, match=sentence):
            run_campaign(tmp_path, settings(server, "llm.model=right", *changes))
        assert not (tmp_path / "nader.db").exists()
        assert server.stats()["chat"] == server.stats()["embeddings"] == 0
        assert run_campaign(tmp_path, settings(server, "llm.model=right")).reason == "completed"


def test_a_model_that_goes_away_pauses_and_another_goes_on(tmp_path):
    with serve(Scenario(models=("right",), faults=(Fault(kind=FaultKind.NO_MODEL, every=4),))) as server:
        ending = run_campaign(tmp_path, settings(server, "llm.model=right"))
        assert ending.kind == "paused" and ending.reason.startswith("no-such-model: ")
    with serve(Scenario(models=("other",))) as server:
        sets = (f"llm.base_url={server.url}", "llm.model=other")
        with pytest.raises(SettingsError, match="lists no model 'right'"):
            resume_campaign(tmp_path, sets=sets[:1])
        assert resume_campaign(tmp_path, sets=sets).reason == "completed"
    assert not [e for e in events(tmp_path) if e.type == "ChatFailed"]
    check_log(tmp_path)
    assert "other" in folded(tmp_path)[0].ledger.by_model()


def test_questions_left_open_for_one_back_end_are_put_to_the_one_that_is_named_now(tmp_path):
    with serve(Scenario(faults=(Fault(kind=FaultKind.UNAUTHORISED, every=1),))) as server:
        assert run_campaign(tmp_path, settings(server)).kind == "paused"
    asked = [e for e in events(tmp_path) if e.type == "ChatRequested"]
    assert asked and not [e for e in events(tmp_path) if e.type == "ChatCompleted"]
    assert resume_campaign(tmp_path, sets=("llm.backend=rule-based",)).reason == "completed"
    assert not [e for e in events(tmp_path) if e.type in ("ChatFailed", "DesignAbandoned")]
    ends = {e.causation: e.event.backend for e in events(tmp_path) if e.type == "ChatCompleted"}
    assert {ends[e.position] for e in asked} == {"rule-based"}
    assert verified(tmp_path).ok
    check_log(tmp_path)


# ---- time


def test_a_cap_on_the_time_that_one_agent_waits_holds_for_that_agent_and_more_goes_on(tmp_path):
    with serve(Scenario(delay_s=0.1)) as server:
        hours = 0.35 / 3600
        ending = run_campaign(tmp_path, settings(server, f"budget.hours_per_agent={{modifier = {hours}}}"))
        assert ending.kind == "paused" and ending.reason.startswith("budget: the modifier's cap on time")
        waited = folded(tmp_path)[0].ledger.by_agent()["modifier"].wait_seconds
        assert 0.1 < waited < 0.35 + 0.5
        assert resume_campaign(tmp_path).reason.startswith("budget: the modifier's cap on time")
        again = folded(tmp_path)[0].ledger.by_agent()["modifier"].wait_seconds
        assert again == waited, "what an earlier process waited counts"
        ending = resume_campaign(tmp_path, sets=("budget.hours_per_agent={modifier = 1}",))
    assert ending.reason == "completed"
    check_log(tmp_path)


def test_the_cap_on_hours_holds_for_a_reflection_and_more_hours_go_on(tmp_path):
    with serve(Scenario()) as server:
        run_campaign(tmp_path, settings(server))
    with Workspace(tmp_path).reader() as reader:
        worked = seconds_run(reader, "run-1", fold(reader, "run-1")[1])
    with serve(Scenario(delay_s=1.0)) as server:
        sets = (f"llm.base_url={server.url}", f"budget.hours={(worked + 0.3) / 3600}")
        report = asyncio.run(rederive(Workspace(tmp_path), "run-1", sets))
        assert report.ending.kind == "paused" and "hours of running" in report.ending.reason
        more = asyncio.run(go_on(Workspace(tmp_path), report.branch, ("budget.hours=1",)))
    assert more.ending.kind == "finished" and more.reflected == more.candidates


def test_a_fork_of_a_campaign_that_ended_in_order_books_nothing_for_questions_that_were_open_there(tmp_path):
    with serve(Scenario(models=("gpt-4o",))) as server:
        run_campaign(tmp_path, settings(server, *PARALLEL, "search.candidates=2"))
        asked = next(e.position for e in events(tmp_path) if e.type == "ChatRequested")
        asyncio.run(fork(Workspace(tmp_path), "run-1", asked, name="branch"))
        resume_campaign(tmp_path, "branch")
    check_log(tmp_path)
    assert not [e for e in events(tmp_path, "branch") if e.type == "ChatAttempted"]
