"""Local embeddings: hashed word 1- and 2-grams, the same on every machine and for ever."""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

import numpy as np

from nader.llm.types import EmbedReply

_WORD = re.compile(r"[a-z0-9]+")
# Words that carry no idea in a sentence about architecture.
_STOP = frozenset(
    [
        "a",
        "an",
        "and",
        "are",
        "as",
        "at",
        "be",
        "between",
        "by",
        "can",
        "could",
        "each",
        "for",
        "from",
        "has",
        "have",
        "in",
        "into",
        "is",
        "it",
        "its",
        "may",
        "more",
        "of",
        "on",
        "or",
        "such",
        "than",
        "that",
        "the",
        "their",
        "then",
        "these",
        "this",
        "to",
        "use",
        "used",
        "uses",
        "using",
        "via",
        "was",
        "which",
        "while",
        "will",
        "with",
        "within",
    ]
)


class HashedNgrams:
    """Embeds texts by hashing their words and word pairs to signed positions.

    Words are lower-cased and lose a plural or verbal ending; a position's weight is 1 + ln(count). A text
    without words gets the vector of the empty word, never zero (a zero vector has no direction to compare).
    """

    def __init__(self, dimension: int = 1024) -> None:
        if dimension < 2:
            raise ValueError(f"an embedding needs at least 2 dimensions, not {dimension}.")
        self.name = f"hashed-ngrams-{dimension}"
        self._dimension = dimension

    @property
    def dimension(self) -> int:
        """Length of every vector."""
        return self._dimension

    def vectors(self, texts: Sequence[str]) -> np.ndarray:
        """float32 [len(texts), dimension], rows of unit length."""
        out = np.zeros((len(texts), self._dimension), dtype=np.float32)
        for row, text in zip(out, texts, strict=True):
            for gram, count in Counter(_grams(text)).items():
                place, sign = _place(gram, self._dimension)
                row[place] += sign * (1.0 + math.log(count))
            if not row.any():
                row[_place("", self._dimension)[0]] = 1.0
        out /= np.linalg.norm(out, axis=1, keepdims=True) if len(texts) else 1.0
        return out

    async def embed(self, texts: Sequence[str]) -> np.ndarray:
        """As `vectors`; never fails."""
        return self.vectors(texts)

    async def embed_counted(self, texts: Sequence[str]) -> EmbedReply:
        """As `embed`; costs nothing."""
        return EmbedReply(vectors=self.vectors(texts), model=self.name, cost=0.0)

    async def aclose(self) -> None:
        """Nothing to give back."""


def _grams(text: str) -> list[str]:
    words = [_stem(word) for word in _WORD.findall(text.lower()) if word not in _STOP]
    return words + [f"{a} {b}" for a, b in pairwise(words)]


def _stem(word: str) -> str:
    for ending in ("ings", "ing", "ies", "ers", "ed", "es", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 4:
            return word[: -len(ending)]
    return word


@lru_cache(maxsize=65536)
def _place(gram: str, dimension: int) -> tuple[int, float]:
    number = int.from_bytes(hashlib.blake2b(gram.encode(), digest_size=8).digest(), "big")
    return (number >> 1) % dimension, 1.0 if number & 1 else -1.0
