"""A call as the system makes it: retried, limited, within budget, every attempt counted."""

from __future__ import annotations

import anyio
import pytest

from nader.llm import (
    Attempt,
    Budget,
    BudgetExceeded,
    Caps,
    ChatReply,
    ErrorKind,
    Inbox,
    Limiter,
    LLMError,
    OpenAIEmbedder,
    Price,
    Prices,
    RetryPolicy,
    RuleBasedDesigner,
    Spent,
    call,
    call_embed,
    prompt_bound,
)
from nader.llm.connection import Connection
from tests.llm.support import GENEROUS, FakeTime, Played, ask, chat_on
from tests.servers.openai_server import ScriptedServer, serve
from tests.servers.scenario import Fault, FaultKind, Scenario

PRICED = Prices.with_own({"scripted": Price(input=1.0, output=2.0)})
QUICK = RetryPolicy(first_wait_s=0.01, longest_wait_s=0.02, deadline_s=GENEROUS)
REPLY = ChatReply(text="<block>…</block>", model="m", input_tokens=10, output_tokens=5)


def error(kind: ErrorKind, **fields: object) -> LLMError:
    return LLMError(kind, f"{kind}", **fields)  # type: ignore[arg-type]


def test_tokens_of_failed_attempts_are_part_of_the_reply() -> None:
    attempts: list[Attempt] = []
    backend = Played(
        [error(ErrorKind.EMPTY, input_tokens=10, output_tokens=0), error(ErrorKind.SERVER), REPLY]
    )
    time = FakeTime()

    async def run() -> ChatReply:
        return await call(backend, ask(), prices=PRICED, on_attempt=attempts.append, clock=time.clock())

    reply = anyio.run(run)
    assert (reply.input_tokens, reply.output_tokens, reply.attempts) == (20, 5, 3)
    assert reply.cost == pytest.approx((20 * 1 + 5 * 2) / 1e6)
    assert [(a.number, a.outcome) for a in attempts] == [(1, "empty-answer"), (2, "server-error"), (3, "ok")]
    assert [a.wait_s for a in attempts] == [1.0, 2.0, 0.0] and time.waits == [1.0, 2.0]


def test_a_final_failure_carries_the_sum_of_its_attempts() -> None:
    backend = Played([error(ErrorKind.EMPTY, input_tokens=7, output_tokens=1)])
    time = FakeTime()

    async def run() -> None:
        await call(backend, ask(), prices=PRICED, policy=RetryPolicy(attempts=3), clock=time.clock())

    with pytest.raises(LLMError) as caught:
        anyio.run(run)
    assert backend.asked == 3
    assert (caught.value.attempts, caught.value.input_tokens, caught.value.output_tokens) == (3, 21, 3)


@pytest.mark.parametrize(
    "kind",
    [ErrorKind.REFUSAL, ErrorKind.CUT_OFF, ErrorKind.NO_MODEL, ErrorKind.AUTHENTICATION, ErrorKind.QUOTA],
)
def test_what_waiting_does_not_cure_is_not_tried_again(kind: ErrorKind) -> None:
    backend = Played([error(kind)])
    with pytest.raises(LLMError):
        anyio.run(lambda: call(backend, ask(), clock=FakeTime().clock()))
    assert backend.asked == 1


@pytest.mark.parametrize(
    ("attempt", "retry_after", "jitter", "wait"),
    [
        (1, None, 0.5, 1.0),
        (1, None, 0.0, 0.5),
        (3, None, 0.5, 4.0),
        (5, None, 0.999, 60.0),
        (1, 7.0, 0.5, 7.1),
        (1, 0.0, 0.5, 0.0),
        (1, 301.0, 0.5, None),
        (6, None, 0.5, None),
    ],
)
def test_waits_double_and_respect_retry_after(
    attempt: int, retry_after: float | None, jitter: float, wait: float | None
) -> None:
    policy = RetryPolicy(attempts=6, first_wait_s=1.0 if attempt != 5 else 16.0)
    found = policy.wait(attempt, error(ErrorKind.RATE_LIMITED, retry_after=retry_after), jitter)
    assert found == (None if wait is None else pytest.approx(wait))


def test_a_pause_asked_of_one_call_holds_for_all() -> None:
    time = FakeTime()
    clock = time.clock()
    limiter = Limiter(concurrency=2, clock=clock)
    limiter.pause(30.0)

    async def run() -> None:
        await call(Played([REPLY]), ask(), limiter=limiter, clock=clock)

    anyio.run(run)
    assert time.at == 30.0


def test_every_fault_is_survived_and_the_ledger_equals_the_servers_count() -> None:
    kinds = [k for k in FaultKind if k not in {FaultKind.QUOTA, FaultKind.UNAUTHORISED, FaultKind.NO_MODEL}]
    skipped = {FaultKind.WRONG_DIMENSION, FaultKind.WRONG_COUNT, FaultKind.LARGE, FaultKind.WRONG_FORM}
    faults = tuple(
        Fault(kind=kind, at=(2 * i + 1,), seconds=600)
        for i, kind in enumerate(k for k in kinds if k not in skipped)
    )
    booked = [0, 0]

    async def run(server: ScriptedServer) -> None:
        backend = chat_on(server)
        for number in range(30):
            request = ask(values={"inspiration": f"idea {number}"}, deadline_s=2.0)
            try:
                told: ChatReply | LLMError = await call(backend, request, policy=QUICK)
            except LLMError as failed:
                told = failed
            booked[0] += told.input_tokens
            booked[1] += told.output_tokens
        await backend.aclose()

    with serve(Scenario(faults=faults)) as server:
        anyio.run(run, server)
        stats = server.stats()
    assert set(stats["faults"]) == {f.kind.value for f in faults}
    assert booked == [stats["prompt_tokens"], stats["completion_tokens"]]


def test_the_money_cap_holds_with_sixteen_calls_in_flight() -> None:
    request = ask(max_tokens=200)
    most = (prompt_bound(request) * 1.0 + 200 * 2.0) / 1e6
    budget = Budget(Caps(money=most * 6.5))
    ended: list[str] = []

    async def run(server: ScriptedServer) -> None:
        backend = chat_on(server)
        limiter = Limiter(concurrency=16)

        async def one(number: int) -> None:
            asked = request.model_copy(update={"key": str(number)})
            try:
                await call(backend, asked, budget=budget, limiter=limiter, prices=PRICED, policy=QUICK)
                ended.append("ok")
            except BudgetExceeded as full:
                assert full.resource == "money" and full.scope == "campaign"
                ended.append("full")

        async with anyio.create_task_group() as group:
            for number in range(200):
                group.start_soon(one, number)
        await backend.aclose()

    with serve(Scenario(delay_s=0.02)) as server:
        anyio.run(run, server)
        stats = server.stats()
    charged = (stats["prompt_tokens"] * 1.0 + stats["completion_tokens"] * 2.0) / 1e6
    assert charged == pytest.approx(budget.spent.money) and charged <= most * 6.5
    assert 1 < stats["max_in_flight"] <= 16
    assert budget.reserved.money == pytest.approx(0.0)
    assert "full" in ended and "ok" in ended and len(ended) == 200
    # Calls in flight are waited for: nothing is refused while their reservations could still come back.
    assert budget.spent.money > most * 5.5 - 1e-12


def test_a_role_has_its_own_cap_and_the_cap_counts_tokens() -> None:
    budget = Budget(roles={"modifier": Caps(tokens=1)})
    with pytest.raises(BudgetExceeded, match="the modifier's cap on tokens is reached: 0 tokens of 1 tokens"):
        anyio.run(lambda: call(Played([REPLY]), ask(), budget=budget))
    anyio.run(lambda: call(Played([REPLY]), ask(role="reader"), budget=budget, clock=FakeTime().clock()))
    assert budget.spent_by("reader").tokens == 15 and budget.spent.tokens == 15


def test_the_time_cap_shortens_the_last_call_and_then_holds() -> None:
    budget = Budget(Caps(time=0.3))

    async def run(server: ScriptedServer) -> None:
        backend = chat_on(server)
        with pytest.raises(LLMError) as late:
            await call(backend, ask(), budget=budget, policy=RetryPolicy(attempts=1))
        assert late.value.kind is ErrorKind.TIMEOUT
        with pytest.raises(BudgetExceeded, match="cap on time"):
            await call(backend, ask(), budget=budget)
        await backend.aclose()

    with serve(Scenario(delay_s=600)) as server:
        anyio.run(run, server)


def test_what_a_server_may_have_charged_silently_counts_against_the_cap() -> None:
    request = ask(max_tokens=100)
    budget = Budget(Caps(money=1.0))
    backend = Played([error(ErrorKind.TIMEOUT), REPLY])

    async def run() -> ChatReply:
        return await call(backend, request, budget=budget, prices=PRICED, clock=FakeTime().clock())

    reply = anyio.run(run)
    assert reply.input_tokens == 10 and reply.uncertain_tokens == prompt_bound(request) + 100
    assert budget.spent.money == pytest.approx((reply.cost or 0) + reply.uncertain_cost)


def test_an_answer_without_usage_counts_at_its_most_against_the_cap() -> None:
    request = ask(max_tokens=100)
    budget = Budget(Caps(tokens=10**6))
    silent = ChatReply(text="x", model="m", usage_known=False)
    reply = anyio.run(lambda: call(Played([silent]), request, budget=budget, clock=FakeTime().clock()))
    assert reply.input_tokens == 0 and reply.uncertain_tokens == prompt_bound(request) + 100
    assert budget.spent.tokens == reply.uncertain_tokens


def test_a_cap_reached_between_tries_keeps_what_the_first_took_and_is_no_try() -> None:
    request = ask(max_tokens=100)
    budget = Budget(Caps(tokens=prompt_bound(request) + 105))
    attempts: list[Attempt] = []
    backend = Played([error(ErrorKind.EMPTY, input_tokens=10, output_tokens=0), REPLY])

    async def run() -> None:
        await call(backend, request, budget=budget, on_attempt=attempts.append, clock=FakeTime().clock())

    with pytest.raises(BudgetExceeded) as caught:
        anyio.run(run)
    assert (caught.value.attempts, caught.value.input_tokens, backend.asked) == (1, 10, 1)
    assert [attempt.outcome for attempt in attempts] == ["empty-answer"]


def test_a_money_cap_without_a_price_is_refused_and_without_a_cap_tokens_count() -> None:
    with pytest.raises(LLMError) as caught:
        anyio.run(lambda: call(Played([REPLY]), ask(), budget=Budget(Caps(money=1.0))))
    assert caught.value.kind is ErrorKind.UNKNOWN_PRICE
    reply = anyio.run(lambda: call(Played([REPLY]), ask(), budget=Budget(), clock=FakeTime().clock()))
    assert reply.cost is None and reply.input_tokens == 10


def test_a_cancelled_call_lets_go_of_its_reservation() -> None:
    budget = Budget(Caps(tokens=10**6))

    async def run(server: ScriptedServer) -> None:
        backend = chat_on(server)
        limiter = Limiter(concurrency=1)
        async with anyio.create_task_group() as group:
            for _ in range(2):
                group.start_soon(lambda: call(backend, ask(), budget=budget, limiter=limiter))
            while not server.stats()["chat"]:
                await anyio.sleep(0.01)
            group.cancel_scope.cancel()
        await backend.aclose()

    with serve(Scenario(delay_s=600)) as server:
        anyio.run(run, server)
    # The one that was sent may have been charged for; the one that waited was not.
    assert budget.reserved == Spent(0.0, 0, 0.0)
    assert budget.spent.tokens == prompt_bound(ask()) + ask().max_tokens


def test_rules_and_people_are_free_and_have_no_deadline(tmp_path: object) -> None:
    budget = Budget(Caps(money=0.0, tokens=0))
    reply = anyio.run(lambda: call(RuleBasedDesigner(), ask(), budget=budget))
    assert (reply.model, reply.cost, reply.input_tokens) == ("rule-based", 0.0, 0)
    assert Inbox.kind == "inbox"


def test_embeddings_are_counted_retried_and_checked() -> None:
    faults = (
        Fault(kind=FaultKind.SERVER_ERROR, at=(1,), endpoint="embeddings"),
        Fault(kind=FaultKind.WRONG_DIMENSION, at=(3,), endpoint="embeddings"),
        Fault(kind=FaultKind.WRONG_COUNT, at=(4,), endpoint="embeddings"),
    )

    async def run(server: ScriptedServer) -> None:
        embedder = OpenAIEmbedder(Connection(server.url), "scripted")
        with pytest.raises(LLMError, match="not known yet"):
            _ = embedder.dimension
        reply = await call_embed(embedder, ["a skip connection", ""], policy=QUICK, prices=PRICED)
        assert reply.vectors.shape == (2, 64) and embedder.dimension == 64 and reply.attempts == 2
        assert reply.input_tokens == 4 == server.stats()["embedding_tokens"]
        assert reply.cost == pytest.approx(4e-6)
        with pytest.raises(LLMError, match="dimension 63, not 64"):
            await call_embed(embedder, ["x"], policy=QUICK)
        with pytest.raises(LLMError, match="asked for 2 vectors, got 1"):
            await call_embed(embedder, ["x", "y"], policy=QUICK)
        other = OpenAIEmbedder(Connection(server.url), "scripted", dimension=32)
        assert (await other.embed(["x"])).shape == (1, 32)
        many = await embedder.embed([f"text {i}" for i in range(600)])
        assert many.shape == (600, 64)
        await embedder.aclose()

    with serve(Scenario(faults=faults)) as server:
        anyio.run(run, server)


def test_a_model_of_one_size_is_asked_without_a_dimension_and_held_to_it() -> None:
    async def run(server: ScriptedServer) -> None:
        fitting = OpenAIEmbedder(Connection(server.url), "scripted", dimension=64)
        assert (await call_embed(fitting, ["x"], policy=QUICK)).vectors.shape == (1, 64)
        other = OpenAIEmbedder(Connection(server.url), "scripted", dimension=32)
        with pytest.raises(LLMError, match="dimension 64, not 32"):
            await call_embed(other, ["x"], policy=QUICK)

    with serve(Scenario(rejects=("dimensions",))) as server:
        anyio.run(run, server)
