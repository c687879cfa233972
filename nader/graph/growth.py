"""How a size grows with the batch: evenly, as ``times·B + plus`` with whole numbers, or in another way.

A size is looked at as a sum of powers of B whose coefficients are numbers at each site. Rounding down must
leave alone what has B in it, and B may be divided by only where it stands alone: then the sum is what the
expression gives for every batch, however large, not only for those that were tried.

Why trying a few batches is enough for all the rest. A size that grows evenly is c0 + c1·(B-1), with c0 >= 1
and c1 >= 0. Sums and products of such sizes, and their exact quotients by numbers, are sums of
c_k·binomial(B-1, k) with whole c_k >= 0. `Context.limit` bounds the elements of a tensor, at the largest
batch tried, by 2^32, and binomial(255, 5) is more: so k <= 4, and five batches in a row decide whether two
such sizes are equal, or one is a multiple of a number, at all batches.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from nader.graph.expression import MAX_VALUE, Expression, Mask, Size
from nader.graph.sites import BATCHES

Ratio: TypeAlias = tuple[Any, Any]
Terms: TypeAlias = dict[int, Ratio]
"""Power of B → its coefficient, a ratio in whole numbers, over the sites."""


@dataclass(frozen=True, eq=False)
class Growth:
    """A size as ``times·B + plus``, over the sites; where ``even`` is False the other two mean nothing."""

    even: Mask
    times: Size
    plus: Size


def growth(tree: Expression, values: Mapping[str, Size]) -> Growth:
    """How the expression, rounded down, grows with B; ``values`` gives C, dim, H and W."""
    reader = _Terms(values)
    terms = reader.floor(reader.of(tree))
    times, plus = (terms.get(power, (0, 1))[0] for power in (1, 0))
    reader.require(times >= 0)
    return Growth(reader.even, times, plus)


def divides_at_every_batch(have: Size, want: Size) -> NDArray[np.bool_]:
    """Where one product of sizes is a multiple of another at every batch, if it is at each of BATCHES.

    The quotient must itself be a sum of c_k·binomial(B-1, k) with c_k >= 0, of a degree that all the batches
    tried decide. Gives bool [1, sites].
    """
    quotient = np.asarray(have, object) // np.asarray(want, object)
    differences, degree = _differences(quotient)
    last = sum(math.comb(BATCHES[-1] - 1, k) * row for k, row in enumerate(differences))
    good = (last == quotient[-1]) & (degree + _differences(np.asarray(want, object))[1] < len(BATCHES))
    return np.atleast_2d(np.asarray(good & np.all(np.stack(differences) >= 0, axis=0), bool))


def _differences(values: NDArray[np.object_]) -> tuple[list[Any], Any]:
    """The c_k of values at batches in a row, and the last k that is not zero."""
    rows = values[:-1]
    found: list[Any] = []
    degree: Any = 0
    while len(rows):
        found.append(rows[0])
        degree = np.where(rows[0] != 0, len(found) - 1, degree)
        rows = rows[1:] - rows[:-1]
    return found, degree


class _Terms:
    """One expression on its way to a sum of powers of B; ``even``: the sites where that is what it is."""

    def __init__(self, values: Mapping[str, Size]) -> None:
        self.values = values
        self.even: Mask = True

    def require(self, good: Any) -> None:
        """Where it does not hold, the expression counts as uneven."""
        if good is not True:
            self.even = self.even & (good if isinstance(good, np.ndarray) else bool(good))

    def of(self, tree: Expression) -> Terms:
        """The expression's exact value."""
        if tree.op == "number":
            return _kept({0: (tree.value.numerator, tree.value.denominator)})
        if tree.op == "name":
            return {1: (1, 1)} if tree.text == "B" else {0: (self.values[tree.text], 1)}
        first = self.of(tree.operands[0])
        if tree.op == "neg":
            return {power: (-top, bottom) for power, (top, bottom) in first.items()}
        second = self.of(tree.operands[1])
        if tree.op in ("+", "-"):
            sign = 1 if tree.op == "+" else -1
            return self._sum(first, {power: (sign * top, low) for power, (top, low) in second.items()})
        if tree.op == "*":
            return self._product(first, second)
        quotient = self._product(first, self._inverse(second))
        return quotient if tree.op == "/" else self.floor(quotient)

    def floor(self, terms: Terms) -> Terms:
        """Rounded down, which must change nothing but the part without B."""
        for power, (top, bottom) in terms.items():
            if power == 1:
                self.require(top % bottom == 0)
            elif power != 0:
                self.require(top == 0)
        return _kept({p: (top // bottom, 1) for p, (top, bottom) in terms.items() if p in (0, 1)})

    def _inverse(self, terms: Terms) -> Terms:
        """One over a single power of B; anything else is no sum of powers."""
        if len(terms) != 1:
            self.even = False
            return {}
        ((power, (top, bottom)),) = terms.items()
        self.require(top != 0)
        return {-power: (bottom, np.where(top == 0, 1, top) if isinstance(top, np.ndarray) else top)}

    def _sum(self, first: Terms, second: Terms) -> Terms:
        result = dict(first)
        for power, (top, bottom) in second.items():
            top2, bottom2 = result.get(power, (0, 1))
            if bottom is bottom2 or (isinstance(bottom, int) and bottom == 1 == bottom2):
                result[power] = self._lowest(top + top2, bottom)
            else:
                result[power] = self._lowest(top * bottom2 + top2 * bottom, bottom * bottom2)
        return _kept(result)

    def _product(self, first: Terms, second: Terms) -> Terms:
        result: Terms = {}
        for one, (top, bottom) in first.items():
            for two, (top2, bottom2) in second.items():
                term = {one + two: self._lowest(top * top2, bottom * bottom2)}
                result = self._sum(result, term) if one + two in result else result | term
        return _kept(result)

    def _lowest(self, top: Any, bottom: Any) -> Ratio:
        """In lowest terms over a positive number, and within 31 bits, so that products fit in 64."""
        if not (isinstance(bottom, int) and bottom == 1):
            common = np.gcd(top, bottom) * np.where(np.asarray(bottom) < 0, -1, 1)
            top, bottom = top // common, bottom // common
        fits = (abs(top) <= MAX_VALUE) & (bottom <= MAX_VALUE)
        if np.all(fits):
            return _plain(top), _plain(bottom)
        self.require(np.asarray(fits))
        return _plain(np.where(fits, top, 1)), _plain(np.where(fits, bottom, 1))


def _plain(value: Any) -> Any:
    return value if isinstance(value, np.ndarray) and value.ndim else int(value)


def _kept(terms: Terms) -> Terms:
    """Without the powers that are zero everywhere."""
    return {power: ratio for power, ratio in terms.items() if not np.all(ratio[0] == 0)}
