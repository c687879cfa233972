"""Nearest neighbours: exact, filtered, and the same with sqlite-vec as with numpy."""

import numpy as np
import pytest

from store.projections.vectors import VectorIndex, unit


def filled(scanned: int, rows: int = 300, dimension: int = 16) -> VectorIndex[str]:
    chance = np.random.default_rng(5)
    index: VectorIndex[str] = VectorIndex(dimension, scanned=scanned)
    for n, vector in enumerate(chance.normal(size=(rows, dimension))):
        index.add(f"k{n:03d}", vector, n, round=n % 7, kind="abc"[n % 3], role="xy"[n % 2])
    return index


@pytest.mark.parametrize("scanned", [0, 9999])
@pytest.mark.parametrize(
    "filters",
    [
        {},
        {"upto": 100},
        {"visible": 3},
        {"visible": -1},
        {"kind": "b"},
        {"role": "x", "kind": "a"},
        {"upto": 150, "visible": 2, "kind": "c", "role": "y"},
        {"kind": "none"},
    ],
)
def test_the_nearest_are_those_of_a_plain_scan(scanned: int, filters: dict[str, object]) -> None:
    chance = np.random.default_rng(5)
    vectors = [unit(v).astype(np.float64) for v in chance.normal(size=(300, 16))]
    index = filled(scanned)
    for _ in range(5):
        query = chance.normal(size=16)
        exact = unit(query).astype(np.float64)
        wanted = [
            (f"k{n:03d}", round(float(v @ exact), 6))
            for n, v in enumerate(vectors)
            if n <= filters.get("upto", 999)
            and n % 7 <= filters.get("visible", 99)
            and filters.get("kind", "abc"[n % 3]) == "abc"[n % 3]
            and filters.get("role", "xy"[n % 2]) == "xy"[n % 2]
        ]
        wanted.sort(key=lambda pair: (-pair[1], pair[0]))
        assert index.nearest(query, 10, **filters) == wanted[:10]


def test_equal_vectors_come_in_order_of_their_keys() -> None:
    for scanned in (0, 99):
        index: VectorIndex[str] = VectorIndex(4, scanned=scanned)
        for key in ("c", "a", "b", "z"):
            index.add(key, [1, 0, 0, 1] if key != "z" else [0, 1, 0, 0], 1)
        assert index.nearest([2, 0, 0, 2], 3) == [("a", 1.0), ("b", 1.0), ("c", 1.0)]


def test_rows_added_after_a_query_are_found() -> None:
    for scanned in (0, 99):
        index: VectorIndex[str] = VectorIndex(2, scanned=scanned)
        index.add("a", [1, 0], 1)
        assert index.nearest([0, 1], 5) == [("a", 0.0)]
        index.add("b", [0, 3], 2)
        assert index.nearest([0, 1], 5) == [("b", 1.0), ("a", 0.0)]
        assert index.nearest([0, 1], 5, upto=1) == [("a", 0.0)]


def test_zero_vectors_are_near_nothing_and_wrong_sizes_are_refused() -> None:
    index: VectorIndex[str] = VectorIndex(3)
    index.add("zero", [0, 0, 0], 1)
    index.add("one", [1, 0, 0], 1)
    assert index.nearest([1, 1, 0], 9) == [("one", 0.707107)]
    assert index.nearest([0, 0, 0], 9) == [] == index.nearest([1, 0], 9) == index.nearest([1, 0, 0], 0)
    with pytest.raises(ValueError, match="the vector of two has shape"):
        index.add("two", [1, 0], 1)


def test_more_neighbours_than_the_extension_gives_are_still_given() -> None:
    index = filled(0, rows=5000, dimension=2)
    assert len(index.nearest([1, 1], 4500)) == 4500


def test_without_the_extension_a_large_pool_is_scanned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("store.projections.vectors._open", lambda dimension: None)
    assert filled(0).nearest(np.ones(16), 5) == filled(9999).nearest(np.ones(16), 5)


def test_the_extension_is_used_where_it_can_be_loaded() -> None:
    pytest.importorskip("apsw")
    pytest.importorskip("sqlite_vec")
    index = filled(0)
    index.nearest(np.ones(16), 5)
    assert index._database is not None
    small = filled(9999)
    small.nearest(np.ones(16), 5)
    assert small._database is None


@pytest.mark.parametrize("scanned", [0, 9999])
@pytest.mark.parametrize("dimension", [3, 64, 1000])
def test_as_of_a_position_a_full_index_answers_as_a_partial_one_did(scanned: int, dimension: int) -> None:
    """With many equal vectors, whose order must not hang on how many rows there are."""
    chance = np.random.default_rng(dimension)
    few = chance.normal(size=(3, dimension))
    rows = [(f"k{chance.integers(10**6):06d}-{n}", few[chance.integers(3)], n) for n in range(200)]
    whole: VectorIndex[str] = VectorIndex(dimension, scanned=scanned)
    for row in rows:
        whole.add(*row, round=row[2] // 20)
    for upto in (1, 7, 50, 100, 163, 199):
        part: VectorIndex[str] = VectorIndex(dimension, scanned=scanned)
        for row in rows[: upto + 1]:
            part.add(*row, round=row[2] // 20)
        for vector in few:
            for k in (1, 5, 30):
                assert whole.nearest(vector, k, upto) == part.nearest(vector, k)
                visible = upto // 40
                assert whole.nearest(vector, k, upto, visible=visible) == part.nearest(
                    vector, k, visible=visible
                )
