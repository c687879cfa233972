"""The ledger, event by event: tries and ends, processes that come and go, calls whose price nobody knows."""

from __future__ import annotations

from typing import Any

import pytest

from events import Envelope, Event, encode
from events.campaign import CampaignPaused, CampaignResumed, Forked
from events.llm import (
    CANCELLED,
    LOST,
    ChatAttempted,
    ChatCompleted,
    ChatFailed,
    ChatRequested,
    EmbeddingAttempted,
    EmbeddingCompleted,
    EmbeddingRequested,
)
from events.reflection import ReflectionRequested
from store.projections.ledger import Ledger

RESUMED = CampaignResumed(nader_version="1")
PAUSED = CampaignPaused(reason="Ctrl-C")
FORKED = Forked(parent="run-1", at=2, open_requests="reissue", reuse=False)
AGAIN = ReflectionRequested(candidate="c", round=1)


def fold(*story: tuple[Event, int | None] | Event) -> Ledger:
    """A ledger over events, each alone or with the position of its cause, at positions from 1."""
    ledger = Ledger()
    for position, told in enumerate(story, 1):
        event, cause = told if isinstance(told, tuple) else (told, None)
        name, version, payload = encode(event)
        envelope = Envelope(
            position, position, f"id-{position}", "run", "run", 0.0, "someone", name, version, cause, None,
            None, None, "", "", payload,
        )  # fmt: skip
        if name in ledger.HANDLES:
            ledger.handlers[name](envelope)
    return ledger


def chat() -> ChatRequested:
    return ChatRequested(
        agent="modifier", prompt="repair", prompt_version=1, prompt_digest="", messages=(), backend="openai",
        model="m", temperature=0.0, max_tokens=100,
    )  # fmt: skip


def vectors() -> EmbeddingRequested:
    return EmbeddingRequested(agent="reader", texts="", count=1, embedder="e", dimension=2)


def attempt(error: str = "timeout", **took: Any) -> ChatAttempted:
    return ChatAttempted(attempt=1, error=error, message="", wait=0.0, **took)


def completed(**took: Any) -> ChatCompleted:
    return ChatCompleted(
        **{"answer": "", "model": "m-2025", "backend": "openai", "finish": "stop", "input_tokens": 0,
           "output_tokens": 0, "cost": 0.0, "latency": 0.0, "attempts": 1} | took
    )  # fmt: skip


def test_an_end_tells_the_sum_of_its_tries_and_before_it_they_stand_alone() -> None:
    tried = attempt("empty-answer", input_tokens=7, output_tokens=1, cost=0.1, latency=1.0)
    end = completed(input_tokens=17, output_tokens=3, cost=0.3, latency=4.0)
    ledger = fold(chat(), (tried, 1), (end, 1))
    assert (ledger.totals(2).input_tokens, ledger.totals(2).cost) == (7, 0.1)
    whole = ledger.totals()
    assert (whole.input_tokens, whole.output_tokens, whole.cost, whole.wait_seconds) == (17, 3, 0.3, 4.0)
    assert set(ledger.by_model(2)) == {"m"} and set(ledger.by_model()) == {"m-2025"}


def test_what_an_earlier_process_spent_on_a_question_stays_spent() -> None:
    tried = attempt(uncertain_tokens=100, uncertain_cost=0.5, input_tokens=7)
    end = completed(input_tokens=10)
    ledger = fold(chat(), (tried, 1), PAUSED, RESUMED, (tried, 1), (end, 1))
    assert ledger.totals().uncertain_cost == 0.5 and ledger.totals().input_tokens == 17


@pytest.mark.parametrize(
    ("told", "open_"),
    [
        ((), [1, 2]),
        ((PAUSED,), []),
        ((PAUSED, RESUMED), [1, 2]),
        (((attempt(CANCELLED, uncertain_tokens=9), 1),), [2]),
        ((RESUMED, (attempt(LOST, uncertain_tokens=9), 1)), [1, 2]),
        ((FORKED,), []),
        ((PAUSED, FORKED), []),
        ((FORKED, (attempt(LOST, uncertain_tokens=9), 1)), []),
        ((FORKED, (attempt(LOST, uncertain_tokens=9), 1), RESUMED), [1, 2]),
        ((FORKED, AGAIN, (attempt(LOST, uncertain_tokens=9), 1)), [1, 2]),
        (((completed(), 1),), [2]),
        (((attempt(), 1),), [1, 2]),
    ],
)
def test_questions_of_a_process_that_left_without_a_word_are_unaccounted_for(
    told: tuple[Any, ...], open_: list[int]
) -> None:
    # The story begins where a process is at work: positions 1 and 2 are asked before it, and asked again.
    ledger = fold(chat(), vectors(), RESUMED, *told)
    assert [request.position for request in ledger.unaccounted()] == open_


def test_what_is_booked_as_lost_is_not_told_by_a_later_end() -> None:
    lost = attempt(LOST, uncertain_tokens=300, uncertain_cost=0.7)
    ledger = fold(chat(), RESUMED, (lost, 1), (completed(input_tokens=5, cost=0.1), 1))
    assert (ledger.totals().uncertain_cost, ledger.totals().cost) == (0.7, 0.1)


def test_tries_for_vectors_count_as_those_of_questions_do() -> None:
    tried = EmbeddingAttempted(attempt=1, error="timeout", message="", wait=0.0, uncertain_tokens=50)
    end = EmbeddingCompleted(
        vectors="", embedder="e", dimension=2, count=1, tokens=9, cost=None, latency=1.0, uncertain_tokens=50
    )
    assert fold(vectors(), (tried, 1)).totals().uncertain_tokens == 50
    total = fold(vectors(), (tried, 1), (end, 1)).totals()
    assert (total.input_tokens, total.uncertain_tokens, total.unknown_price_calls) == (9, 50, 1)


@pytest.mark.parametrize(("tokens", "calls"), [(0, 0), (12, 1)])
def test_a_failure_is_a_call_of_unknown_price_only_if_it_took_something(tokens: int, calls: int) -> None:
    failed = ChatFailed(kind="no-such-model", message="", attempts=1, input_tokens=tokens, cost=None)
    assert fold(chat(), (failed, 1)).totals().unknown_price_calls == calls
