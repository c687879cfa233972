"""Exact nearest neighbours among recorded vectors, by cosine similarity, filtered by position and round.

A small pool is scanned with numpy, which is quickest there. A large one is searched by sqlite-vec, in an
in-memory database of apsw's own SQLite (many builds of Python cannot load an extension into theirs), or
scanned too where that cannot be loaded. Either way the similarities that are handed out are computed here in
float64 and rounded, so that both give the same answer in the same order.

Cost model: one query is asked several times over (for each role of block, for each candidate made from one
inspiration), so its products with the rows are kept and only rows added since are multiplied. They are made
by numpy's own loop: a BLAS of several threads lets those spin for some 20 ms after each product, and 1,500 ×
1,024 numbers take 0.3 ms.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float32]

_SPARE = 16
"""Candidates asked for beyond k, among which float32 may have misjudged the order."""
_MOST = 4096
"""sqlite-vec's limit on k."""
_DIGITS = 6
_DOUBT = 1e-5
"""How far float32 sums may be off: rows that are as near as that to the last one wanted are all looked at
exactly.
Equal vectors need not have equal float32 sums, and there are many: one suggestion, several experiences.
"""
_ANY = (1 << 62) - 1
_QUERIES = 256
"""Queries whose products are kept."""
_SCANNED = 2048
"""Rows up to which a scan takes less time than entering the last rows into sqlite-vec."""


def unit(vector: npt.ArrayLike) -> Vector:
    """The vector at length 1, float32; a zero vector stays zero."""
    plain = np.asarray(vector, dtype=np.float64)
    length = float(np.sqrt((plain * plain).sum()))
    return (plain / length if length > 0 else plain).astype(np.float32)


K = TypeVar("K", bound=str | tuple[str, int])
"""What a row is known by; equals come in order of it."""


@dataclass(frozen=True, slots=True)
class _Row(Generic[K]):
    key: K
    position: int
    round: int
    kind: str
    role: str


class VectorIndex(Generic[K]):
    """Unit vectors of one dimension and one embedder, with what they are filtered by."""

    def __init__(self, dimension: int, *, scanned: int = _SCANNED) -> None:
        """`scanned`: rows up to which numpy scans them."""
        self.dimension = dimension
        self._scanned = scanned
        self._rows: list[_Row[K]] = []
        self._vectors: Vector = np.empty((64, dimension), dtype=np.float32)
        """One row each, with room to grow."""
        self._marks: npt.NDArray[np.int64] = np.empty((64, 4), dtype=np.int64)
        """Position, round and codes of kind and role of each row."""
        self._codes: dict[str, int] = {}
        self._products: OrderedDict[bytes, Vector] = OrderedDict()
        """The last queries, each with its products with the first rows, float32 (rows then,)."""
        self._indexed = 0
        self._database: Any = None
        self._loadable = True

    def __len__(self) -> int:
        return len(self._rows)

    def add(
        self,
        key: K,
        vector: npt.ArrayLike,
        position: int,
        *,
        round: int = 0,
        kind: str = "",
        role: str = "",
    ) -> None:
        """Enter a vector. A zero vector is near nothing and is left out."""
        row = unit(vector)
        if row.shape != (self.dimension,):
            raise ValueError(
                f"the vector of {key} has shape {row.shape}; this index holds {self.dimension} numbers each"
            )
        if not row.any():
            return
        number = len(self._rows)
        if number == len(self._vectors):
            self._vectors = np.concatenate([self._vectors, np.empty_like(self._vectors)])
            self._marks = np.concatenate([self._marks, np.empty_like(self._marks)])
        self._vectors[number] = row
        self._marks[number] = position, round, self._code(kind), self._code(role)
        self._rows.append(_Row(key, position, round, kind, role))

    def _code(self, name: str) -> int:
        return self._codes.setdefault(name, len(self._codes))

    def nearest(
        self,
        vector: npt.ArrayLike,
        k: int,
        upto: int | None = None,
        *,
        visible: int | None = None,
        kind: str | None = None,
        role: str | None = None,
    ) -> list[tuple[K, float]]:
        """(key, cosine similarity) of the k nearest rows that pass the filters, by (−similarity, key)."""
        query = unit(vector)
        if k <= 0 or not self._rows or query.shape != (self.dimension,) or not query.any():
            return []
        position = _ANY if upto is None else upto
        round = _ANY if visible is None else visible
        wanted = k + _SPARE
        scored: list[tuple[K, float]] | None = None
        if len(self._rows) > self._scanned and wanted <= _MOST and self._searchable():
            found = self._by_extension(query, wanted, position, round, kind, role)
            scored = self._scored(query, found)
            if len(found) == wanted and scored[-1][1] > scored[k - 1][1] - _DOUBT:
                scored = None  # as many as there are, all as near as the last one wanted: some may be missing
        if scored is None:
            scored = self._scored(query, self._by_scan(query, k, position, round, kind, role))
        return scored[:k]

    def _scored(self, query: Vector, numbers: list[int]) -> list[tuple[K, float]]:
        """Rows with the similarity that counts, in the order that counts."""
        exact = query.astype(np.float64)
        scored = [
            (self._rows[n].key, round_off(float(self._vectors[n].astype(np.float64) @ exact)))
            for n in numbers
        ]
        scored.sort(key=lambda pair: (-pair[1], pair[0]))
        return scored

    def _searchable(self) -> bool:
        """Whether sqlite-vec can be had."""
        if self._database is None and self._loadable:
            self._database = _open(self.dimension)
            self._loadable = self._database is not None
        return self._loadable

    def _by_extension(
        self, query: Vector, k: int, position: int, round: int, kind: str | None, role: str | None
    ) -> list[int]:
        new = [
            (n, self._vectors[n].tobytes(), row.position, row.round, row.kind, row.role)
            for n, row in enumerate(self._rows[self._indexed :], self._indexed)
        ]
        if new:
            with self._database:  # one transaction
                self._database.executemany(
                    "INSERT INTO vectors (rowid, embedding, position, round, kind, role) "
                    "VALUES (?,?,?,?,?,?)",
                    new,
                )
            self._indexed = len(self._rows)
        sql = "SELECT rowid FROM vectors WHERE embedding MATCH ? AND k = ? AND position <= ? AND round <= ?"
        arguments: list[Any] = [query.tobytes(), k, position, round]
        for name, value in (("kind", kind), ("role", role)):
            if value is not None:
                sql += f" AND {name} = ?"
                arguments.append(value)
        return [int(number) for (number,) in self._database.execute(sql, arguments)]

    def _by_scan(
        self, query: Vector, k: int, position: int, round: int, kind: str | None, role: str | None
    ) -> list[int]:
        size = len(self._rows)
        marks = self._marks[:size]
        passes = (marks[:, 0] <= position) & (marks[:, 1] <= round)
        for column, name in ((2, kind), (3, role)):
            if name is not None:
                passes &= marks[:, column] == self._codes.get(name, -1)
        numbers = np.flatnonzero(passes)
        similar = self._similar(query)[numbers]
        if len(numbers) > k:
            least = np.partition(similar, len(similar) - k)[len(similar) - k]
            numbers = numbers[similar >= least - _DOUBT]
        found: list[int] = numbers.tolist()
        return found

    def _similar(self, query: Vector) -> Vector:
        """The products of a query with every row, float32 (rows,)."""
        name, size = query.tobytes(), len(self._rows)
        known = self._products.pop(name, None)
        if known is None or len(known) < size:
            first = 0 if known is None else len(known)
            added = product(self._vectors[first:size], query)
            known = added if known is None else np.concatenate([known, added])
        self._products[name] = known
        if len(self._products) > _QUERIES:
            self._products.popitem(last=False)
        return known


def product(rows: Vector, vector: Vector) -> Vector:
    """Each row's product with a vector, float32 (n,): the same whatever rows stand beside it, on one
    thread.
    """
    result: Vector = np.einsum("nd,d->n", rows, vector)
    return result


def round_off(similarity: float) -> float:
    """A similarity at the precision at which two are told apart."""
    return round(similarity, _DIGITS) + 0.0


def _open(dimension: int) -> Any:
    """An in-memory database with an empty vector table; None where sqlite-vec cannot be loaded."""
    try:
        import apsw
        import sqlite_vec

        database = apsw.Connection(":memory:")
        database.enable_load_extension(True)
        database.load_extension(sqlite_vec.loadable_path())
        database.execute(
            f"CREATE VIRTUAL TABLE vectors USING vec0(embedding float[{dimension}], "
            "position integer, round integer, kind text, role text)"
        )
    except Exception:  # missing, built for another machine, or a dimension it does not take: numpy does it
        return None
    return database
