"""Prices: dated data, own prices first, and honesty about unknown ones."""

from __future__ import annotations

import re

import pytest

from nader.llm import Price, Prices, cost


@pytest.mark.parametrize(
    ("model", "dollars"),
    [
        ("gpt-4o", 2.5 + 10.0),
        ("gpt-4o-2024-08-06", 2.5 + 10.0),
        ("openai/gpt-4o-mini", 0.15 + 0.6),
        ("text-embedding-3-small", 0.02),
        ("gpt-4o-audio", None),
        ("smollm2", None),
        ("", None),
    ],
)
def test_a_million_tokens_each_way(model: str, dollars: float | None) -> None:
    found = cost(model, 10**6, 10**6)
    assert found == (None if dollars is None else pytest.approx(dollars))


def test_own_prices_come_first_and_can_be_free() -> None:
    prices = Prices.with_own({"gpt-4o": Price(input=1.0, output=1.0), "local": Price(input=0.0)})
    assert prices.cost("gpt-4o", 10**6, 0) == pytest.approx(1.0)
    assert prices.cost("local", 10**6, 10**6) == 0.0
    assert prices.cost("gpt-4.1", 10**6, 0) == pytest.approx(2.0)


def test_the_list_says_when_it_was_true() -> None:
    assert re.fullmatch(r"\d{4}-\d{2}-\d{2}", Prices.with_own().as_of)


def test_a_negative_price_is_refused() -> None:
    with pytest.raises(ValueError, match="greater than or equal to 0"):
        Price(input=-1.0)
