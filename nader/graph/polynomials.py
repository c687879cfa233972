"""Normal forms of size expressions: equal text only for expressions of equal value.

An expression is a ratio of polynomials with rational coefficients over B, C, dim, H, W and *floors* (``//``
makes one; so does the final rounding down where it may matter). Without floors the text is equal exactly for
what the rules of algebra make equal: ``C/4*4`` is ``C``, ``(C+dim)*(C-dim)/(C-dim)`` is ``C+dim``. Of floors
two laws are known: whole parts move out (``(C+4)//4`` is ``C//4+1``), and a floor divided by a number is one
floor (``C//2//2`` is ``C//4``). No other law makes floors equal: ``C//2+(C+1)//2`` stays apart from ``C``,
and ``(H//3)//C`` from ``(H/C)//3``. An expression that takes more than MAX_WORK steps to multiply out is told
by its value at a point modulo two primes, with its floors as they are written.
"""

from __future__ import annotations

import hashlib
import math
from fractions import Fraction
from functools import lru_cache
from typing import TypeAlias

from nader.graph.expression import Expression

Monomial: TypeAlias = tuple[tuple[str, int], ...]
Number: TypeAlias = int | Fraction
"""A coefficient: an int where it is whole, because sums of fractions cost several times as much."""
Polynomial: TypeAlias = dict[Monomial, Number]
Ratio: TypeAlias = tuple[Polynomial, Polynomial]

_ONE: Polynomial = {(): 1}
_PRIMES = (2**61 - 1, 2**89 - 1)

MAX_WORK = 100
"""Products and sums of two terms: (H*W+H+W)*(C+dim) takes 35; nothing that a model wrote took more than 5."""


class _Long(Exception):
    """Multiplying out would take more than MAX_WORK steps."""


class _Floors(dict[str, Ratio]):
    """What each floor of one expression is taken of, by name; and the work done on the expression."""

    work = 0

    def spend(self, work: int) -> None:
        """Count steps; raises _Long where they are too many."""
        self.work += work
        if self.work > MAX_WORK:
            raise _Long


@lru_cache(maxsize=4096)
def normal_form(tree: Expression, same_channels: bool = False) -> str:
    """The normal form of an expression's value rounded down; ``same_channels`` reads dim as C."""
    floors = _Floors()
    try:
        ratio = _ratio(tree, same_channels, floors)
        return _print(_floor(ratio, floors))
    except ZeroDivisionError:
        return f"undefined {tree.text}"
    except _Long:
        try:
            return "≈" + ".".join(f"{_value(tree, same_channels, prime):x}" for prime in _PRIMES)
        except ValueError:  # a division by zero
            return f"undefined {tree.text}"


def _value(tree: Expression, same: bool, prime: int) -> int:
    """An expression at the point of `_at_point`, modulo a prime; ValueError where it divides by zero."""
    if tree.op == "number":
        return tree.value.numerator * pow(tree.value.denominator, -1, prime) % prime
    if tree.op == "name":
        return _point("C" if same and tree.text == "dim" else tree.text, prime)
    first, *rest = (_value(operand, same, prime) for operand in tree.operands)
    if tree.op == "neg":
        return -first % prime
    second = rest[0]
    if tree.op in ("+", "-"):
        return (first + second if tree.op == "+" else first - second) % prime
    if tree.op == "*":
        return first * second % prime
    quotient = first * pow(second, -1, prime) % prime
    return quotient if tree.op == "/" else _point(f"[≈{quotient:x}]", prime)


def _ratio(tree: Expression, same: bool, floors: _Floors) -> Ratio:
    if tree.op == "number":
        return _constant(tree.value), _ONE
    if tree.op == "name":
        monomial: Monomial = (("C" if same and tree.text == "dim" else tree.text, 1),)
        return {monomial: 1}, _ONE
    first = _ratio(tree.operands[0], same, floors)
    if tree.op == "neg":
        return _scale(first[0], -1), first[1]
    second = _ratio(tree.operands[1], same, floors)
    sizes = [len(part) for part in (*first, *second)]
    floors.spend(max(sizes[:2]) * max(sizes[2:]) + sum(sizes))
    if tree.op in ("+", "-"):
        other = second[0] if tree.op == "+" else _scale(second[0], -1)
        if first[1] == second[1]:
            return _reduce(_add(first[0], other), first[1], floors)
        top = _add(_mul(first[0], second[1]), _mul(other, first[1]))
        return _reduce(top, _mul(first[1], second[1]), floors)
    if tree.op == "*":
        return _reduce(_mul(first[0], second[0]), _mul(first[1], second[1]), floors)
    quotient = _reduce(_mul(first[0], second[1]), _mul(first[1], second[0]), floors)
    return quotient if tree.op == "/" else _floor(quotient, floors)


def _constant(value: Fraction) -> Polynomial:
    return {(): _plain(value)} if value else {}


def _plain(value: Number) -> Number:
    return value.numerator if value.denominator == 1 else value


def _over(one: Number, other: Number) -> Number:
    return one if other == 1 else _plain(Fraction(one) / other)


def _add(first: Polynomial, second: Polynomial) -> Polynomial:
    result = dict(first)
    for monomial, coefficient in second.items():
        total = result.get(monomial, 0) + coefficient
        if total:
            result[monomial] = total
        else:
            result.pop(monomial, None)
    return result


def _scale(polynomial: Polynomial, factor: Number) -> Polynomial:
    return {monomial: _plain(value * factor) for monomial, value in polynomial.items()} if factor else {}


def _mul(first: Polynomial, second: Polynomial) -> Polynomial:
    if first == _ONE:
        return second
    if second == _ONE:
        return first
    result: Polynomial = {}
    for one, a in first.items():
        for two, b in second.items():
            monomial = _times(one, two)
            result[monomial] = result.get(monomial, 0) + a * b
    return {monomial: coefficient for monomial, coefficient in result.items() if coefficient}


def _times(first: Monomial, second: Monomial, sign: int = 1) -> Monomial:
    if not second:
        return first
    powers = dict(first)
    for name, power in second:
        powers[name] = powers.get(name, 0) + sign * power
    return tuple(sorted((name, power) for name, power in powers.items() if power))


def _reduce(top: Polynomial, bottom: Polynomial, floors: _Floors) -> Ratio:
    """In lowest terms as far as needed: the denominator is 1, or several terms that do not divide the rest.

    A denominator of one term goes into the numerator (negative powers).
    """
    if not bottom:
        raise ZeroDivisionError
    if bottom == _ONE or not top:
        return top, _ONE
    common = _content(bottom)
    lead = bottom[max(bottom)] if len(bottom) == 1 else _factor(bottom)
    top = {_times(monomial, common, -1): _over(value, lead) for monomial, value in top.items()}
    bottom = {_times(monomial, common, -1): _over(value, lead) for monomial, value in bottom.items()}
    if len(bottom) == 1:
        return top, _ONE
    lift = _content(top)
    quotient = _divide({_times(monomial, lift, -1): c for monomial, c in top.items()}, bottom, floors)
    if quotient is None:
        return top, bottom
    return {_times(monomial, lift): c for monomial, c in quotient.items()}, _ONE


def _factor(polynomial: Polynomial) -> Number:
    """What to divide by so that the coefficients are whole and coprime, and the last is positive."""
    tops = math.gcd(*(value.numerator for value in polynomial.values()))
    bottoms = math.lcm(*(value.denominator for value in polynomial.values()))
    return _plain(Fraction(tops if polynomial[max(polynomial)] > 0 else -tops, bottoms))


def _content(polynomial: Polynomial) -> Monomial:
    """The largest monomial (with powers of any sign) that divides every term."""
    names = {name for monomial in polynomial for name, _ in monomial}
    powers = ((name, min(dict(monomial).get(name, 0) for monomial in polynomial)) for name in sorted(names))
    return tuple((name, power) for name, power in powers if power)


def _divide(top: Polynomial, bottom: Polynomial, floors: _Floors) -> Polynomial | None:
    """The quotient if the division of polynomials leaves no rest, else None."""
    names = sorted({name for p in (top, bottom) for monomial in p for name, _ in monomial})

    def order(monomial: Monomial) -> tuple[int, ...]:
        powers = dict(monomial)
        return tuple(powers.get(name, 0) for name in names)

    lead = max(bottom, key=order)
    rest = dict(top)
    quotient: Polynomial = {}
    while rest:
        floors.spend(len(bottom))
        first = max(rest, key=order)
        factor = _times(first, lead, -1)
        if any(power < 0 for _, power in factor):
            return None
        coefficient = _over(rest[first], bottom[lead])
        quotient[factor] = coefficient
        rest = _add(rest, _mul({factor: -coefficient}, bottom))
    return quotient


def _floor(ratio: Ratio, floors: _Floors) -> Ratio:
    """The ratio rounded down: its whole part, and one floor for what is left."""
    top, bottom = ratio
    if bottom != _ONE:
        return _floor_of(ratio, floors)
    whole: Polynomial = {}
    left: Polynomial = {}
    for monomial, coefficient in _unnested(top, floors).items():
        down = math.floor(coefficient) if all(power > 0 for _, power in monomial) else 0
        if down:
            whole[monomial] = down
        if coefficient != down:
            left[monomial] = coefficient - down
    if not left or left.keys() == {()}:
        return whole, _ONE
    return _add(whole, _floor_of((left, _ONE), floors)[0]), _ONE


def _unnested(top: Polynomial, floors: _Floors) -> Polynomial:
    """``floor((floor(x) + whole)/n)`` is ``floor((x + whole)/n)``: write it the second way."""
    while True:
        multiple = math.lcm(*(coefficient.denominator for coefficient in top.values())) if top else 1
        if multiple == 1 or any(power < 0 for monomial in top for _, power in monomial):
            return top
        names = [name for monomial in top for name, _ in monomial if name in floors]
        if len(names) != 1 or floors[names[0]][1] != _ONE:
            return top
        monomial: Monomial = ((names[0], 1),)
        if top.get(monomial, 0) != Fraction(1, multiple):
            return top
        others = {key: value for key, value in top.items() if key != monomial}
        top = _add(others, _scale(floors[names[0]][0], Fraction(1, multiple)))


def _floor_of(ratio: Ratio, floors: _Floors) -> Ratio:
    name = f"[{_print(ratio)}]"
    floors[name] = ratio
    return {((name, 1),): 1}, _ONE


def _print(ratio: Ratio) -> str:
    top, bottom = ratio
    if bottom != _ONE:
        return "~" + ".".join(
            f"{_at_point(top, prime) * pow(_at_point(bottom, prime), -1, prime) % prime:x}"
            for prime in _PRIMES
        )
    terms = (
        f"{coefficient}" + "".join(f"*{name}^{power}" for name, power in monomial)
        for monomial, coefficient in sorted(top.items())
    )
    return "+".join(terms) or "0"


def _at_point(polynomial: Polynomial, prime: int) -> int:
    """Its value modulo a prime at a fixed point: equal ratios agree there, others by a chance of 2^-60."""
    total = 0
    for monomial, coefficient in polynomial.items():
        term = coefficient.numerator * pow(coefficient.denominator, -1, prime)
        for name, power in monomial:
            term = term * pow(_point(name, prime), power, prime) % prime
        total += term
    return total % prime


@lru_cache(maxsize=4096)
def _point(name: str, prime: int) -> int:
    """The number that stands for a size, or for a floor."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:16], "big") % prime
