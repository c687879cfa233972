"""Size expressions such as ``C/4`` or ``H*W``: read safely, printed, evaluated, one site or many at a time.

Division ``/`` is exact (``C/4*4`` is ``C``) and ``//`` rounds down. Where the language needs a whole number
and the value is not one, it is rounded down as a last step: ``out_channels=C/16`` at C = 20 is 1 channel.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property, lru_cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from nader.graph.errors import GraphError

VARIABLES = ("B", "C", "dim", "H", "W")
MAX_OPERANDS = 32
MAX_DEPTH = 32
MAX_LITERAL = 1_000_000
MAX_TEXT = 400
MAX_VALUE = 2**31 - 1

Size: TypeAlias = int | NDArray[np.int64]
"""A size: one number, or an array over [batch sizes, sites] of int64 (either axis may have length 1)."""

_TOKEN = re.compile(r"\s*(?:(\d+\.\d+|\d+)|([A-Za-z_]\w*)|(//|[-+*/()]))", re.ASCII)
_WORDS = re.compile(r"[A-Za-z]+")
_POWERS = "; powers are not part of the language, write C*C"
_NAMES = {name.lower(): name for name in VARIABLES} | {"batch": "B", "batch_size": "B"}


class ExpressionError(GraphError):
    """A text is not a size expression of the language."""


@dataclass(frozen=True)
class Expression:
    """A size expression; two are equal when they are written alike (see `canonical` for equal in value).

    Build one with `expression`; ``str`` gives text that reads back to an equal expression.
    """

    text: str
    op: str = field(compare=False, repr=False)
    operands: tuple[Expression, ...] = field(compare=False, repr=False, default=())
    value: Fraction = field(compare=False, repr=False, default=Fraction(0))

    def __str__(self) -> str:
        return self.text

    @cached_property
    def variables(self) -> frozenset[str]:
        """Which of B, C, dim, H, W it is written with."""
        return frozenset(_WORDS.findall(self.text))

    @property
    def constant(self) -> int | None:
        """Its value where it is a plain number, rounded down; else None."""
        if self.op == "number":
            return int(self.value)
        if self.op == "neg" and self.operands[0].op == "number":
            return -int(self.operands[0].value)
        return None

    def exact(self, values: Mapping[str, int]) -> Fraction:
        """Its exact value where B, C, dim, H, W are as given; ZeroDivisionError on a division by zero."""
        if self.op == "number":
            return self.value
        if self.op == "name":
            return Fraction(values[self.text])
        left, *rest = (operand.exact(values) for operand in self.operands)
        if self.op == "neg":
            return -left
        right = rest[0]
        if self.op == "+":
            return left + right
        if self.op == "-":
            return left - right
        if self.op == "*":
            return left * right
        return left / right if self.op == "/" else Fraction(left // right)

    def integer(self, values: Mapping[str, int]) -> int:
        """Its value rounded down; ZeroDivisionError on a division by zero."""
        value = self.exact(values)
        return value.numerator // value.denominator


_PRECEDENCE = {"+": 1, "-": 1, "*": 2, "/": 2, "//": 2, "neg": 3, "number": 4, "name": 4}


def _wrap(operand: Expression, at_least: int) -> str:
    return operand.text if _PRECEDENCE[operand.op] >= at_least else f"({operand.text})"


def _binary(op: str, left: Expression, right: Expression) -> Expression:
    level = _PRECEDENCE[op]
    text = f"{_wrap(left, level)}{op}{_wrap(right, level + 1)}"
    return Expression(text, op, (left, right))


def _number(text: str) -> Expression:
    value = Fraction(text)
    if value > MAX_LITERAL:
        raise ExpressionError(f"the number {text[:20]} is too large (at most {MAX_LITERAL})")
    whole = value.denominator == 1
    printed = str(value.numerator) if whole else text.lstrip("0").rstrip("0")
    return Expression(printed if whole or printed[0] != "." else "0" + printed, "number", value=value)


class _Reader:
    """Recursive descent over the tokens of one expression."""

    def __init__(self, text: str) -> None:
        self.source = text
        self.tokens = list(_tokens(text))
        self.at = 0
        self.operands = 0

    def peek(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def next(self) -> str:
        token = self.peek()
        self.at += 1
        return token

    def sum(self, depth: int) -> Expression:
        left = self.product(depth)
        while self.peek() in ("+", "-"):
            left = _binary(self.next(), left, self.product(depth))
        return left

    def product(self, depth: int) -> Expression:
        left = self.unary(depth)
        while self.peek() in ("*", "/", "//"):
            left = _binary(self.next(), left, self.unary(depth))
        return left

    def unary(self, depth: int) -> Expression:
        if depth > MAX_DEPTH:
            raise ExpressionError(f"the expression is nested more than {MAX_DEPTH} deep")
        token = self.next()
        if token == "+":
            return self.unary(depth + 1)
        if token == "-":
            operand = self.unary(depth + 1)
            return Expression(f"-{_wrap(operand, 3)}", "neg", (operand,))
        if token == "(":
            inner = self.sum(depth + 1)
            if self.next() != ")":
                raise ExpressionError(f"a closing parenthesis is missing in {self.source!r}")
            return inner
        return self.operand(token)

    def operand(self, token: str) -> Expression:
        self.operands += 1
        if self.operands > MAX_OPERANDS:
            raise ExpressionError(f"the expression has more than {MAX_OPERANDS} operands")
        if token[:1].isdigit():
            return _number(token)
        name = token if token in VARIABLES else _NAMES.get(token.lower())
        if name is not None:
            return Expression(name, "name")
        if token and (token[0].isalpha() or token[0] == "_"):
            raise ExpressionError(
                f"{token[:40]!r} is not a known size; use {', '.join(VARIABLES)} or a number"
            )
        if not token:
            raise ExpressionError(f"{self.source!r} is not complete")
        raise ExpressionError(f"unexpected {token!r}{_POWERS if token == '*' else ''}")


def _tokens(text: str) -> Iterator[str]:
    at, end = 0, len(text.rstrip())
    while at < end:
        match = _TOKEN.match(text, at)
        if match is None:
            rest = text[at:].strip()
            why = _POWERS if rest[:1] == "^" else ""
            raise ExpressionError(f"unexpected {rest[:12]!r} in {text[:60]!r}{why}")
        yield match.group(match.lastindex or 0)
        at = match.end()


@lru_cache(maxsize=4096)
def expression(text: str) -> Expression:
    """Read a size expression: integers, decimals, B, C, dim, H, W, ``+ - * / //`` and parentheses.

    Raises ExpressionError, with a sentence that names the offending piece.
    """
    if len(text) > MAX_TEXT:
        raise ExpressionError(f"the expression is longer than {MAX_TEXT} characters")
    reader = _Reader(text)
    result = reader.sum(0)
    if reader.at < len(reader.tokens):
        raise ExpressionError(f"unexpected {reader.peek()!r} in {text[:60]!r}")
    return result


def number(value: int) -> Expression:
    """The expression for a whole number."""
    return expression(str(value))


Mask: TypeAlias = bool | NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Evaluated:
    """An expression at every site: its value rounded down, where it is defined, where it fits in 31 bits.

    Where ``defined`` (no division by zero) or ``small`` is False, the value means nothing.
    """

    value: Size
    defined: Mask
    small: Mask


def evaluate(tree: Expression, values: Mapping[str, Size]) -> Evaluated:
    """The value of an expression at every site at once; ``values`` gives B, C, dim, H and W."""
    numerator, denominator, defined, small = _ratio(tree, values)
    value = numerator if isinstance(denominator, int) and denominator == 1 else numerator // denominator
    return Evaluated(value, defined, small)


_Ratio: TypeAlias = tuple[Any, Any, Mask, Mask]


def _ratio(tree: Expression, values: Mapping[str, Size]) -> _Ratio:
    if tree.op == "name":
        return values[tree.text], 1, True, True
    if tree.op == "number":
        return tree.value.numerator, tree.value.denominator, True, True
    n1, d1, defined, small = _ratio(tree.operands[0], values)
    if tree.op == "neg":
        return -n1, d1, defined, small
    n2, d2, defined2, small2 = _ratio(tree.operands[1], values)
    defined, small = defined & defined2, small & small2
    if tree.op in ("/", "//"):
        nonzero = n2 != 0
        if nonzero is not True:
            defined = defined & nonzero
            n2 = np.where(nonzero, n2, 1)
        n1, d1 = n1 * d2, d1 * n2
        if tree.op == "//":
            n1, d1 = n1 // d1, 1
    elif tree.op == "*":
        n1, d1 = n1 * n2, d1 * d2
    elif isinstance(d1, int) and isinstance(d2, int) and d1 == d2 == 1:
        n1 = n1 + n2 if tree.op == "+" else n1 - n2
    else:
        n1, n2, d1 = n1 * d2, n2 * d1, d1 * d2
        n1 = n1 + n2 if tree.op == "+" else n1 - n2
    return _bounded(n1, d1, defined, small)


def _bounded(top: Any, bottom: Any, defined: Mask, small: Mask) -> _Ratio:
    """A ratio in lowest terms, over a positive number; beyond 31 bits it is 1 and no longer ``small``."""
    if not (isinstance(bottom, int) and bottom == 1):
        common = np.gcd(top, bottom) * np.where(np.asarray(bottom) < 0, -1, 1)
        top, bottom = _plain(top // common), _plain(bottom // common)
    for part in (top, bottom):
        fits = _fits(part)
        if fits is not True:
            small = small & fits
            top, bottom = _plain(np.where(fits, top, 1)), _plain(np.where(fits, bottom, 1))
    return top, bottom, defined, small


def _fits(value: Any) -> Mask:
    if not isinstance(value, np.ndarray):
        return bool(-MAX_VALUE <= value <= MAX_VALUE)
    if int(value.max()) <= MAX_VALUE and int(value.min()) >= -MAX_VALUE:
        return True
    return np.asarray((value <= MAX_VALUE) & (value >= -MAX_VALUE))


def _plain(value: Any) -> Any:
    """A plain int where an array is one number everywhere."""
    if np.ndim(value) == 0:
        return int(value)
    if isinstance(value, np.ndarray) and value.dtype == np.int64 and bool((value == 1).all()):
        return 1
    return value
