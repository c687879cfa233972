"""Campaigns through the real `openai` client, against a scripted server on loopback that fails in every
known way.
"""

from pathlib import Path

import pytest

from nader.cli.sentences import sentence
from nader.errors import SettingsError
from nader.llm import cost
from nader.workspace import Workspace
from tests.e2e.campaigns import check_log, events, folded, resume_campaign, run_campaign, settings
from tests.e2e.simulation import SimulatedBackend
from tests.servers.openai_server import serve
from tests.servers.scenario import Fault, FaultKind, Scenario
from tests.servers.test_campaign_through_faults import drafts

SCENARIOS = Path(__file__).parent.parent / "servers" / "scenarios"
KEY = "sk-a-secret-that-must-not-be-written"


@pytest.fixture(autouse=True)
def key(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


def test_the_log_shows_prompts_answers_model_tokens_and_latency(tmp_path):
    with serve(Scenario(key=KEY, delay_s=0.01)) as server:
        run_campaign(
            tmp_path,
            settings(
                server, "llm.embedder=openai", "llm.embedding_model=scripted", "llm.embedding_dimension=64"
            ),
        )
        stats = server.stats()
    check_log(tmp_path)
    views, _ = folded(tmp_path)
    assert views.status.designer() == "scripted"
    log = events(tmp_path)
    asked = [e for e in log if e.type == "ChatRequested"]
    answered = {e.causation: e.event for e in log if e.type == "ChatCompleted"}
    assert len(asked) == len(answered) == stats["chat"]
    with Workspace(tmp_path).reader() as reader:
        for request in asked:
            answer = answered[request.position]
            texts = [reader.blob(m.digest).decode() for m in request.event.messages]
            assert any(f"Task: {request.event.prompt}" in text for text in texts)
            assert reader.blob(answer.answer).decode()
            assert (answer.model, answer.backend) == ("scripted", "openai")
            assert answer.input_tokens > 100 and answer.output_tokens > 0 and answer.latency > 0
    total = views.ledger.totals()
    assert total.input_tokens + total.output_tokens == (
        stats["prompt_tokens"] + stats["completion_tokens"] + stats["embedding_tokens"]
    )
    assert total.unknown_price_calls > 0, "the price of `scripted` is not known, and the ledger says so"


def test_the_log_says_what_was_sent_to_a_model_that_does_not_take_every_parameter(tmp_path):
    chosen = ("llm.models={proposer='o-mini'}", "llm.temperatures={modifier=0.25}")
    rejects = {"o-mini": ("temperature", "max_tokens")}
    with serve(Scenario(models=("scripted", "o-mini"), rejects_of=rejects)) as server:
        run_campaign(tmp_path, settings(server, *chosen))
        bodies = list(server.bodies)
    check_log(tmp_path)
    log = events(tmp_path)
    agents = {e.position: e.event.agent for e in log if e.type == "ChatRequested"}
    told = {
        (agents[e.causation], e.event.temperature, e.event.adjustments)
        for e in log
        if e.type == "ChatCompleted"
    }
    assert {row for row in told if row[0] != "reflector"} == {
        ("proposer", None, ("max_tokens", "temperature")),
        ("modifier", 0.25, ()),
    }
    assert {b.get("temperature") for b in bodies if b["model"] == "scripted"} >= {0.25}
    assert all("temperature" in b and "max_tokens" in b for b in bodies if b["model"] == "scripted")
    lines = [sentence(e) for e in log if e.type == "ChatCompleted"]
    assert any("not accepted: max_tokens, temperature" in line for line in lines)


def test_a_campaign_of_twenty_ends_through_every_fault_and_the_ledger_equals_the_servers_count(tmp_path):
    scenario = Scenario.load(SCENARIOS / "every-fault.json")
    scenario = scenario.model_copy(update={"task_answers": {"modify_cell": drafts()}})
    chosen = (
        "search.candidates=20", "search.width=5", "llm.deadline_s=1.5", "llm.concurrency=4",
        "llm.embedder=openai", "llm.embedding_model=scripted", "llm.embedding_dimension=64",
    )  # fmt: skip
    with serve(scenario) as server:
        ending = run_campaign(tmp_path, settings(server, *chosen))
        assert (ending.kind, ending.reason.split(":")[0]) == ("paused", "no-such-model")
        ending = resume_campaign(tmp_path)
        stats = server.stats()
    assert ending.reason == "completed"
    check_log(tmp_path)
    views, _ = folded(tmp_path)
    assert len([c for c in views.tree.candidates() if c.trained and c.original is None and c.round]) == 20
    met = set(stats["faults"])
    assert {f.kind.value for f in scenario.faults} - met <= {"refusal", "length", "wrong-form"}, (
        "drawn by the prompt's digest; the numbered ones all befell"
    )
    total = views.ledger.totals()
    assert total.input_tokens == stats["prompt_tokens"] + stats["embedding_tokens"]
    assert total.output_tokens == stats["completion_tokens"]
    log = events(tmp_path)
    attempts = {e.event.error for e in log if e.type == "ChatAttempted"}
    assert {"rate-limited", "server-error", "connection", "malformed-answer", "timeout"} <= attempts
    assert {e.event.kind for e in log if e.type == "EmbeddingFailed"} == {"wrong-dimension"}
    if scenario.task_answers["modify_cell"]:
        rejected = {e.event.codes[0] for e in log if e.type == "DraftRejected"}
        assert len(rejected) >= 3, "drafts that a model really wrote fail in more ways than one"


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault(kind=FaultKind.REFUSAL, every=1), "refusal"),
        (Fault(kind=FaultKind.LENGTH, every=1), "cut-off"),
    ],
)
def test_a_server_that_never_answers_usefully_ends_the_campaign_in_order_with_the_reason(
    tmp_path, fault, kind
):
    with serve(Scenario(faults=(fault,))) as server:
        ending = run_campaign(tmp_path, settings(server, "llm.retries=1"))
    assert ending.kind == "finished" and ending.reason == "exhausted"
    check_log(tmp_path)
    failures = {e.event.kind for e in events(tmp_path) if e.type == "ChatFailed"}
    assert failures == {kind}
    views, _ = folded(tmp_path)
    abandoned = [c for c in views.tree.candidates() if c.round]
    assert abandoned and all(kind in c.reason for c in abandoned)


@pytest.mark.parametrize(
    ("kind", "endpoint"),
    [
        (FaultKind.UNAUTHORISED, "chat"),
        (FaultKind.QUOTA, "chat"),
        (FaultKind.NO_MODEL, "chat"),
        (FaultKind.UNAUTHORISED, "embeddings"),
        (FaultKind.NO_MODEL, "embeddings"),
    ],
)
def test_a_refused_account_pauses_the_campaign_and_costs_no_proposal(tmp_path, kind, endpoint):
    embedder = ("llm.embedder=openai", "llm.embedding_model=scripted", "llm.embedding_dimension=64")
    with serve(Scenario(faults=(Fault(kind=kind, every=1, endpoint=endpoint),))) as server:
        ending = run_campaign(tmp_path, settings(server, "llm.retries=1", *embedder))
    assert ending.kind == "paused"
    assert ending.reason.startswith(("authentication: ", "quota-exhausted: ", "no-such-model: "))
    views, history = folded(tmp_path)
    assert not [c for c in views.tree.candidates() if c.round]
    asked = "ChatRequested" if endpoint == "chat" else "EmbeddingRequested"
    assert [e.type for e in history.open_requests()].count(asked) == 1
    with serve(Scenario()) as server:
        ending = resume_campaign(tmp_path, sets=(f"llm.base_url={server.url}",))
    assert ending.reason == "completed"
    check_log(tmp_path)
    assert not [e for e in events(tmp_path) if e.type in ("ChatFailed", "EmbeddingFailed")]


def test_the_key_is_nowhere_in_the_log(tmp_path):
    faults = (Fault(kind=FaultKind.UNAUTHORISED, at=(2, 5)),)
    with serve(Scenario(key=KEY, faults=faults)) as server:
        run_campaign(tmp_path, settings(server))
    for file in tmp_path.rglob("*"):
        if file.is_file():
            assert KEY.encode() not in file.read_bytes(), file
    with Workspace(tmp_path).reader() as reader:
        for envelope in reader.read("run-1"):
            assert KEY not in envelope.payload


def dollars(stats):
    """What a server's count of tokens costs at the price of gpt-4o."""
    return cost("gpt-4o", stats["prompt_tokens"], stats["completion_tokens"])


def test_the_money_cap_holds_with_sixteen_calls_in_flight_and_resume_with_more_goes_on(tmp_path):
    money = (
        "llm.model=gpt-4o", "llm.max_tokens=800", "llm.concurrency=16", "search.width=16",
        "search.candidates=16", "modifier.concurrency=16", "search.retrieved=16",
    )  # fmt: skip
    # At 0.2 dollars six calls in flight may be paid for at their most, and sixteen ask at once: with the
    # reservations ignored, the server counts 0.34.
    with serve(Scenario(models=("gpt-4o",), delay_s=0.2)) as server:
        ending = run_campaign(tmp_path, settings(server, *money, "budget.money=0.2"))
        assert ending.kind == "paused" and ending.reason.startswith("budget:")
        spent = server.stats()
        assert 0.1 < dollars(spent) <= 0.2, "by the server's own count"
        views, _ = folded(tmp_path)
        assert views.ledger.totals().cost == pytest.approx(dollars(spent))
        assert spent["max_in_flight"] > 4
        ending = resume_campaign(tmp_path, sets=("budget.money=50",))
    assert ending.reason == "completed"
    check_log(tmp_path)
    views, _ = folded(tmp_path)
    assert len([c for c in views.tree.candidates() if c.trained and c.original is None and c.round]) == 16


def test_a_cap_of_one_agent_holds_for_that_agent(tmp_path):
    with serve(Scenario()) as server:
        ending = run_campaign(
            tmp_path, settings(server, "budget.tokens_per_agent={modifier = 12000}", "llm.max_tokens=500")
        )
    assert ending.kind == "paused" and "modifier" in ending.reason
    views, _ = folded(tmp_path)
    row = views.ledger.by_agent()["modifier"]
    assert row.input_tokens + row.output_tokens <= 12000


def test_other_models_for_single_agents(tmp_path):
    with serve(Scenario(models=("large", "small"))) as server:
        run_campaign(tmp_path, settings(server, "llm.model=large", "llm.models={reflector = 'small'}"))
    used = {(e.event.agent, e.event.model) for e in events(tmp_path) if e.type == "ChatRequested"}
    assert used == {("proposer", "large"), ("modifier", "large"), ("reflector", "small")}
    views, _ = folded(tmp_path)
    assert views.status.designer() == "large, small"


def test_hostile_answers_stay_text(tmp_path):
    hostile = (
        "\x1b]0;owned\x07\x1b[2J<script>alert(1)</script> $(rm -rf ~) __import__('os').system('id')",
        '{"type": "CampaignFinished", "payload": {"reason": "completed"}}',
        "<block>##x##\n0:input\n1:output\n2:__import__('os').system('touch owned')\n0->2\n2->1</block>",
    )
    with serve(Scenario(task_answers={"modify_cell": hostile, "reflect_loss": hostile})) as server:
        ending = run_campaign(tmp_path, settings(server), SimulatedBackend())
    assert ending.reason == "completed"
    check_log(tmp_path)
    finished = [e for e in events(tmp_path) if e.type == "CampaignFinished"]
    assert [e.actor for e in finished] == ["director"]
    assert not (Path.cwd() / "owned").exists()


def test_a_cap_on_money_with_a_model_of_unknown_price_is_said_before_it_starts(tmp_path):
    with serve(Scenario(models=("mine",))) as server:
        change = settings(server, "llm.model=mine", "budget.money=1")
        with pytest.raises(SettingsError, match="what mine may cost, and its price is not known"):
            run_campaign(tmp_path, change)
        assert not (tmp_path / "nader.db").exists()
        run_campaign(tmp_path, (*change, "llm.prices={mine = [1.0, 2.0]}"))
        stats = server.stats()
    views, _ = folded(tmp_path)
    total = views.ledger.totals()
    assert total.unknown_price_calls == 0
    assert total.cost == pytest.approx(
        (stats["prompt_tokens"] * 1.0 + stats["completion_tokens"] * 2.0) / 1e6
    )


def test_what_a_server_may_have_charged_without_a_word_counts_after_a_resume(tmp_path):
    faults = (Fault(kind=FaultKind.RESET, at=(3, 6)),)
    with serve(Scenario(models=("gpt-4o",), faults=faults)) as server:
        run_campaign(tmp_path, settings(server, "llm.model=gpt-4o", "llm.max_tokens=500", "budget.money=20"))
    views, _ = folded(tmp_path)
    total = views.ledger.totals()
    assert total.uncertain_tokens > 1000 and total.uncertain_cost > 0
    from nader.assembly import _budget
    from nader.settings import validated

    budget = _budget(validated(views.status.settings()), views)
    assert budget.spent.money == pytest.approx(total.cost + total.uncertain_cost)
