"""Limits hold in every window of a minute, in the order of asking."""

from __future__ import annotations

import random

import anyio
import pytest

from nader.llm import Limiter
from tests.llm.support import FakeTime


def played(limiter: Limiter, time: FakeTime, asks: list[tuple[int, int]]) -> list[tuple[float, int]]:
    """When each (estimate, actual) was admitted, one after the other."""
    sent: list[tuple[float, int]] = []

    async def run() -> None:
        for estimate, actual in asks:
            async with limiter.slot(estimate) as slot:
                sent.append((time.at, actual))
                slot.tokens = actual

    anyio.run(run)
    return sent


def test_requests_per_minute_hold_in_every_window() -> None:
    time = FakeTime()
    sent = played(Limiter(1, requests_per_minute=3, clock=time.clock()), time, [(1, 1)] * 10)
    times = [at for at, _ in sent]
    assert times[:4] == [0, 0, 0, pytest.approx(60.0)]
    assert all(b - a >= 60.0 - 1e-9 for a, b in zip(times, times[3:], strict=False))


def test_tokens_per_minute_count_what_was_really_taken() -> None:
    time = FakeTime()
    sent = played(Limiter(1, tokens_per_minute=1000, clock=time.clock()), time, [(900, 100)] * 4)
    assert [at for at, _ in sent[:2]] == [0, 0] and time.at > 0


def test_a_request_larger_than_the_limit_goes_alone() -> None:
    time = FakeTime()
    sent = played(Limiter(1, tokens_per_minute=100, clock=time.clock()), time, [(500, 500), (10, 10)])
    assert [at for at, _ in sent] == [0, pytest.approx(60.0)]


@pytest.mark.parametrize("seed", range(5))
def test_no_window_ever_holds_more_than_the_limits(seed: int) -> None:
    draw = random.Random(seed)
    time = FakeTime()
    limiter = Limiter(1, requests_per_minute=7, tokens_per_minute=500, clock=time.clock())
    sent: list[tuple[float, int]] = []

    async def run() -> None:
        for _ in range(60):
            time.at += draw.choice([0.0, 0.3, 5.0])
            estimate = draw.randint(1, 400)
            async with limiter.slot(estimate) as slot:
                slot.tokens = draw.randint(1, estimate)
                sent.append((time.at, slot.tokens))

    anyio.run(run)
    for start, _ in sent:
        window = [tokens for at, tokens in sent if start <= at < start + 60.0 - 1e-9]
        assert len(window) <= 7 and sum(window) <= 500


def test_concurrency_holds() -> None:
    inside, most = 0, 0

    async def run() -> None:
        nonlocal inside, most
        limiter = Limiter(3)

        async def one() -> None:
            nonlocal inside, most
            async with limiter.slot(1):
                inside += 1
                most = max(most, inside)
                for _ in range(20):
                    await anyio.sleep(0)
                inside -= 1

        async with anyio.create_task_group() as group:
            for _ in range(20):
                group.start_soon(one)

    anyio.run(run)
    assert most == 3


@pytest.mark.parametrize("name", ["concurrency", "requests_per_minute", "tokens_per_minute"])
def test_a_limit_below_one_is_refused_by_name(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        Limiter(**{name: 0})
