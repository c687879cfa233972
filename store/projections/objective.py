"""What a search maximises: a sum of figures of a candidate, each with a factor, written as text.

`validation - 0.5*params_m - 2*gmacs` is read by a parser of its own; text from a settings file is never
evaluated.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

DEFAULT = "validation"


class Figures(Protocol):
    """What an objective looks at."""

    @property
    def validation(self) -> float | None: ...
    @property
    def params(self) -> int | None: ...
    @property
    def macs(self) -> int | None: ...
    @property
    def latency_ms(self) -> float | None: ...
    @property
    def peak_memory(self) -> int | None: ...


class ObjectiveError(ValueError):
    """The text of an objective that does not read; the message says where and what may stand there."""


def _scaled(value: float | None, scale: float) -> float | None:
    return None if value is None else value / scale


TERMS: Mapping[str, Callable[[Figures], float | None]] = {
    "validation": lambda c: c.validation,
    "params_m": lambda c: _scaled(c.params, 1e6),
    "gmacs": lambda c: _scaled(c.macs, 1e9),
    "latency_ms": lambda c: c.latency_ms,
    "memory_mb": lambda c: _scaled(c.peak_memory, 1e6),
}
"""Validation accuracy in percent, millions of parameters, 10^9 MACs, milliseconds of one forward pass,
megabytes at peak.
"""


@dataclass(frozen=True)
class Objective:
    """A parsed objective; greater is better."""

    text: str
    terms: tuple[tuple[float, str], ...]
    """(factor, name of the figure)."""

    def value(self, figures: Figures) -> float:
        """The objective of a candidate; −inf while a figure that it needs is not known."""
        total = 0.0
        for factor, name in self.terms:
            figure = TERMS[name](figures)
            if figure is None:
                return -math.inf
            total += factor * figure
        return total


_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?)|(?P<name>\w+)|(?P<sign>[-+*]))"
)


@lru_cache(maxsize=32)
def parse_objective(text: str) -> Objective:
    """Read `term (+|-) term …`, where a term is a figure or `number * figure` (in either order).

    Raises ObjectiveError.
    """
    tokens = _tokens(text)
    terms: list[tuple[float, str]] = []
    at = 0
    while at < len(tokens) or not terms:
        factor = 1.0
        if terms or (at < len(tokens) and tokens[at] in "+-"):
            if tokens[at] not in ("+", "-"):
                raise ObjectiveError(f"{text!r}: {tokens[at]!r} stands where + or - was expected")
            factor = -1.0 if tokens[at] == "-" else 1.0
            at += 1
        term = tokens[at : at + 3] if tokens[at + 1 : at + 2] == ["*"] else tokens[at : at + 1]
        terms.append(_term(text, term, factor))
        at += len(term)
    return Objective(text, tuple(terms))


def _tokens(text: str) -> list[str]:
    tokens, at = [], 0
    end = len(text.rstrip())
    while at < end:
        match = _TOKEN.match(text, at)
        if match is None:
            raise ObjectiveError(f"{text!r}: {text[at:].strip()[0]!r} has no meaning in an objective")
        tokens.append(match.group().strip())
        at = match.end()
    return tokens


def _term(text: str, tokens: list[str], factor: float) -> tuple[float, str]:
    names = [token for token in tokens if token in TERMS]
    numbers = [token for token in tokens if token[0].isdigit() or token[0] == "."]
    if (
        len(names) != 1
        or len(tokens) == 2
        or len(names) + len(numbers) != len([t for t in tokens if t != "*"])
    ):
        wrong = next((t for t in tokens if t not in TERMS and t not in numbers and t != "*"), "")
        lacking = "a figure is missing" if len(names) != 1 else "a factor is missing beside '*'"
        found = f"{wrong!r} is no figure" if wrong else lacking
        raise ObjectiveError(
            f"{text!r}: {found}; an objective adds up {', '.join(TERMS)}, each with a factor"
        )
    return factor * (float(numbers[0]) if numbers else 1.0), names[0]
