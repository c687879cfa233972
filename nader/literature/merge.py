"""Near-duplicates among inspirations: found by words or by vectors, merged into the first of them.

Comparing each text with each other takes n² steps. By words, the index looks only at texts that share one of
a few words: two sets whose Jaccard similarity is at least t must share one of the first `n - ceil(t n) + 1`
elements of any fixed order (prefix filter). By vectors it is one matrix product a block.
"""

import math
import re
from collections.abc import Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict

from nader.literature.papers import Inspiration

DEFAULT_THRESHOLD = 0.55
DEFAULT_COSINE = 0.9
_BLOCK = 512
# Words that join others, or with which nearly every inspiration begins: two texts are not alike for them.
_FILLERS = frozenset(
    """a an the of to in for and or with by on at from into as that which is are be can this it its their each
    use uses used using utilize utilizes utilizing utilization employ employs employing employment
    adopt adopting apply applying application incorporate incorporates incorporating
    integrate integrating integration
    introduce introducing implement implementing""".split()  # noqa: SIM905
)
# Texts that differ in one of these say different things, however many words they share.
_OPPOSITES = (
    (
        "larger large bigger increase wider deeper more",
        "smaller small reduce decrease narrower shallower fewer less",
    ),
    ("before first", "after last"),
    ("add adding", "remove removing without drop"),
    ("parallel", "sequence sequential"),
    ("max maximum", "average mean"),
    ("channel", "spatial"),
    ("relu", "gelu"),
    ("batch", "layer"),
    ("depthwise", "grouped dilated"),
)
_SIDES = tuple(tuple(frozenset(side.split()) for side in pair) for pair in _OPPOSITES)


class Merge(BaseModel):
    """An inspiration that says what another says already.

    duplicate: the later one; into: id of the earlier one; similarity: 0 to 1, by the measure that was used.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    duplicate: Inspiration
    into: str
    similarity: float


class Merged(BaseModel):
    """What is left after merging, in order, and what was merged into what."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kept: tuple[Inspiration, ...]
    merges: tuple[Merge, ...]


class _Words:
    """What of a text is compared: stems of its words, the numbers in it, the sides it takes."""

    __slots__ = ("numbers", "sides", "stems")

    def __init__(self, text: str) -> None:
        words = {word for word in re.findall(r"[^\W_]+", text.casefold()) if word not in _FILLERS}
        self.stems = frozenset(map(_stem, words))
        self.numbers = frozenset(word for word in words if any(c.isdigit() for c in word))
        self.sides = tuple((not words.isdisjoint(one), not words.isdisjoint(other)) for one, other in _SIDES)

    def similarity(self, other: "_Words", least: float = 0.0) -> float:
        """Jaccard similarity of the words, or 0 if below `least` or if the two differ in number or side."""
        shared = len(self.stems & other.stems)
        similarity = shared / (len(self.stems) + len(other.stems) - shared) if shared else 0.0
        if similarity < least or self.numbers != other.numbers or self._opposes(other):
            return 0.0
        return similarity

    def _opposes(self, other: "_Words") -> bool:
        """Whether the two name a pair of opposites and no side of it in common."""
        pairs = zip(self.sides, other.sides, strict=True)
        return any(any(a) and any(b) and not (a[0] and b[0]) and not (a[1] and b[1]) for a, b in pairs)


def _stem(word: str) -> str:
    for ending in (
        "ization",
        "isation",
        "ations",
        "ation",
        "izing",
        "ing",
        "ions",
        "ion",
        "ed",
        "es",
        "s",
        "e",
    ):
        if word.endswith(ending) and len(word) - len(ending) >= 4:
            return word[: -len(ending)]
    return word


def word_similarity(one: str, other: str) -> float:
    """How alike two inspirations are by their words, 0 to 1: Jaccard of stems, joining words left out.

    Texts that name different numbers (3x3, 7x7) or opposite things (before, after) are not alike.
    """
    return _Words(one).similarity(_Words(other))


class NearDuplicates:
    """The texts seen so far, and which of them a new one nearly repeats; deterministic across processes."""

    def __init__(self, threshold: float = DEFAULT_THRESHOLD) -> None:
        if not 0 < threshold <= 1:
            raise ValueError(f"a similarity is above 0 and at most 1, not {threshold}")
        self.threshold = threshold
        self._ids: list[str] = []
        self._words: list[_Words] = []
        self._places: dict[str, list[int]] = {}

    def __len__(self) -> int:
        return len(self._ids)

    def find(self, text: str) -> tuple[str, float] | None:
        """Id and similarity of the most similar text that reaches the threshold, the earliest of equals."""
        wanted = _Words(text)
        candidates = {place for stem in self._prefix(wanted) for place in self._places.get(stem, ())}
        best: tuple[float, int] | None = None
        least, most = self.threshold * len(wanted.stems), len(wanted.stems) / self.threshold
        for place in candidates:
            if not least <= len(self._words[place].stems) <= most:
                continue
            similarity = wanted.similarity(self._words[place], self.threshold)
            if similarity >= self.threshold and (best is None or (similarity, -place) > best):
                best = (similarity, -place)
        return (self._ids[-best[1]], best[0]) if best else None

    def add(self, id: str, text: str) -> None:
        """Enters a text under an id; it is not compared with those there."""
        place, found = len(self._ids), _Words(text)
        self._ids.append(id)
        self._words.append(found)
        for stem in self._prefix(found):
            self._places.setdefault(stem, []).append(place)

    def _prefix(self, found: _Words) -> list[str]:
        count = len(found.stems) - math.ceil(self.threshold * len(found.stems)) + 1
        # Any fixed order serves. Long words are rare ones, so few texts share them.
        return sorted(found.stems, key=lambda stem: (-len(stem), stem))[:count]


def merge_near_duplicates(
    inspirations: Sequence[Inspiration],
    *,
    threshold: float | None = None,
    vectors: np.ndarray | None = None,
    known: Sequence[Inspiration] = (),
    known_vectors: np.ndarray | None = None,
) -> Merged:
    """Merges each inspiration into the most similar earlier one that was kept, or into one of `known`.

    Without vectors, similarity is that of words (threshold 0.55); with them, float arrays (n, d) and (m, d),
    it is the cosine (threshold 0.9), and a zero vector is like nothing. The `known` are neither compared with
    each other nor returned. Raises ValueError where the arrays do not fit the lists.
    """
    if vectors is None:
        return _by_words(inspirations, DEFAULT_THRESHOLD if threshold is None else threshold, known)
    given = _unit(vectors, len(inspirations))
    there = _unit(known_vectors, len(known)) if known_vectors is not None else given[:0]
    if len(there) != len(known) or there.shape[1] != given.shape[1]:
        raise ValueError(
            f"known: {len(known)} inspirations with vectors {there.shape}, new ones {given.shape}"
        )
    return _by_vectors(inspirations, given, DEFAULT_COSINE if threshold is None else threshold, known, there)


def _by_words(new: Sequence[Inspiration], threshold: float, known: Sequence[Inspiration]) -> Merged:
    index = NearDuplicates(threshold)
    for one in known:
        index.add(one.id, one.text)
    kept, merges = [], []
    for one in new:
        if (found := index.find(one.text)) is not None:
            merges.append(Merge(duplicate=one, into=found[0], similarity=found[1]))
        else:
            index.add(one.id, one.text)
            kept.append(one)
    return Merged(kept=tuple(kept), merges=tuple(merges))


def _unit(vectors: np.ndarray, count: int) -> np.ndarray:
    array = np.asarray(vectors, dtype=np.float32)
    if array.ndim != 2 or len(array) != count:
        raise ValueError(f"{count} inspirations need vectors (n={count}, d), not {array.shape}")
    norms = np.linalg.norm(array, axis=1, keepdims=True)
    return np.divide(array, norms, out=np.zeros_like(array), where=norms > 0)


def _by_vectors(
    new: Sequence[Inspiration],
    given: np.ndarray,
    threshold: float,
    known: Sequence[Inspiration],
    there: np.ndarray,
) -> Merged:
    everything = np.concatenate([there, given])
    ids = [one.id for one in (*known, *new)]
    standing = np.zeros(len(ids), dtype=bool)
    standing[: len(known)] = True
    kept: list[Inspiration] = []
    merges: list[Merge] = []
    for start in range(0, len(new), _BLOCK):
        end = min(start + _BLOCK, len(new))
        cosines = given[start:end] @ everything[: len(known) + end].T
        for row, one in zip(cosines, new[start:end], strict=True):
            # Those not kept, itself and later ones among them, cannot be merged into.
            place = int(np.argmax(np.where(standing[: len(row)], row, -2.0))) if len(row) else 0
            if standing[place] and row[place] >= threshold:
                merges.append(Merge(duplicate=one, into=ids[place], similarity=min(1.0, float(row[place]))))
            else:
                standing[len(known) + len(kept) + len(merges)] = True
                kept.append(one)
    return Merged(kept=tuple(kept), merges=tuple(merges))
