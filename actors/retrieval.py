"""How the Proposer retrieves inspirations at different distances from what helped and what hurt (paper
§3.3.2).

Some near the suggestions that raised accuracy and away from those that lowered it, some as far as possible
from all that was tried, the rest drawn at random from what is not near a failure; `search.near_success` and
its neighbours say how many. Used ones of the same parent are never retrieved again.
"""

import random
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nader.settings import SearchSettings
from store.projections.vectors import product

Vectors = npt.NDArray[np.float32]

NEAR, UNEXPLORED, DRAWN = "near-success", "unexplored", "drawn"
_KEPT = 512
"""Suggestions whose similarities are kept from one round to the next."""
_kept: "OrderedDict[int, tuple[Vectors, Vectors, Vectors]]" = OrderedDict()
"""(rows, suggestion, similarities) by the identity of the suggestion; all of the same rows. Both are held
here, and so stay themselves.
"""


@dataclass(frozen=True)
class Past:
    """A suggestion that was tried, and what it gained in validation accuracy (percentage points): more than 0
    helped, less hurt, and 0 did neither.
    """

    vector: Vectors
    gain: float


@dataclass(frozen=True)
class Retrieved:
    """An inspiration's place in the list of ids, and why it was retrieved."""

    index: int
    level: str


def retrieve(
    vectors: Vectors,
    available: Sequence[int],
    past: Sequence[Past],
    search: SearchSettings,
    rng: random.Random,
) -> list[Retrieved]:
    """Indices into `vectors` (float32 (n, d), unit rows) of at most `search.retrieved` inspirations, all from
    `available`.
    """
    count = search.retrieved
    left = list(available)
    picked: list[Retrieved] = []

    def take(index: int, level: str) -> None:
        left.remove(index)
        picked.append(Retrieved(index, level))

    if past and len(left) > count:
        helped, hurt, level = (
            _closest(vectors, [p.vector for p in past if _sign(p.gain) == sign]) for sign in (1, -1, 0)
        )
        if helped is not None:
            near = -helped if hurt is None else search.failure_weight * hurt - helped
            for index in _lowest(near, left, round(search.near_success * count)):
                take(index, NEAR)
        tried = np.maximum.reduce([found for found in (helped, hurt, level) if found is not None])
        for index in _lowest(tried, left, min(round(search.unexplored * count), count - len(picked))):
            take(index, UNEXPLORED)
        safe = [i for i in left if hurt is None or hurt[i] < search.near_failure]
        for index in rng.sample(safe, min(len(safe), count - len(picked))):
            take(index, DRAWN)
    for index in rng.sample(left, min(len(left), count - len(picked))):
        take(index, DRAWN if past else UNEXPLORED)
    return picked


def _lowest(figures: Vectors, among: Sequence[int], count: int) -> list[int]:
    """The `count` of ascending indices with the lowest figures; of equal ones (to six digits) the first."""
    places = np.asarray(among)
    order = np.argsort(np.round(figures[places].astype(np.float64), 6), kind="stable")
    return [int(index) for index in places[order[:count]]]


def _sign(gain: float) -> int:
    return (gain > 0) - (gain < 0)


def _closest(rows: Vectors, others: Sequence[Vectors]) -> Vectors | None:
    """Each row's highest cosine similarity to any of the others, −1 to 1, float32 (n,); None where there are
    none: that is no similarity of 0, which is nearer than many a suggestion.
    """
    if not others:
        return None
    result: Vectors = np.full(len(rows), -np.inf, dtype=np.float32)
    for other in {id(other): other for other in others}.values():  # one suggestion is tried on many parents
        np.maximum(result, _similarities(rows, other), out=result)
    return result


def _similarities(rows: Vectors, other: Vectors) -> Vectors:
    """Each row's cosine similarity to one suggestion, float32 (n,); every round asks for those of the rounds
    before it again.
    """
    found = _kept.pop(id(other), None)
    if found is None or found[0] is not rows:
        if found is not None:
            _kept.clear()  # more inspirations are known by now
        found = rows, other, product(rows, other)
        if len(_kept) >= _KEPT:
            _kept.popitem(last=False)
    _kept[id(other)] = found
    return found[2]
