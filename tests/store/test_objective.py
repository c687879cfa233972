"""Objectives: what reads, what does not, and what they are worth."""

import math
from dataclasses import dataclass

import pytest

from store.projections.objective import ObjectiveError, parse_objective


@dataclass
class Figures:
    validation: float | None = 90.0
    params: int | None = 2_000_000
    macs: int | None = 500_000_000
    latency_ms: float | None = None
    peak_memory: int | None = 300_000_000


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("validation", 90.0),
        ("  validation  ", 90.0),
        ("validation - 0.5*params_m", 89.0),
        ("validation-2 * gmacs", 89.0),
        ("params_m*-1", None),
        ("-params_m", -2.0),
        ("+validation", 90.0),
        ("validation - 1e-1*memory_mb + 3*gmacs", 61.5),
        ("2*validation + validation*3", 450.0),
        (".5*validation", 45.0),
        ("validation - latency_ms", -math.inf),
    ],
)
def test_an_objective_is_a_sum_of_figures_with_factors(text: str, value: float | None) -> None:
    if value is None:
        with pytest.raises(ObjectiveError):
            parse_objective(text)
    else:
        assert parse_objective(text).value(Figures()) == pytest.approx(value)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "a figure is missing"),
        ("validation +", "a figure is missing"),
        ("3", "a figure is missing"),
        ("2*3", "a figure is missing"),
        ("accuracy", "'accuracy' is no figure"),
        ("validation params_m", "'params_m' stands where + or - was expected"),
        ("validation * params_m", "a figure is missing"),
        ("validation*", "a factor is missing"),
        ("validation - params_m *", "a factor is missing"),
        ("2*validation*3", "'*' stands where"),
        ("validation**2", "'2' stands where"),
        ("validation / 2", "'/' has no meaning"),
        ("__import__('os')", "has no meaning"),
        ("(validation)", "'(' has no meaning"),
    ],
)
def test_what_does_not_read_is_named(text: str, part: str) -> None:
    with pytest.raises(ObjectiveError) as caught:
        parse_objective(text)
    assert part in str(caught.value)
