"""Inspirations are retrieved near what helped, far from what hurt, and from where nobody has been."""

import math
import random

import numpy as np

from actors.retrieval import DRAWN, NEAR, UNEXPLORED, Past, Retrieved, retrieve
from nader.settings import SearchSettings


def unit(*values):
    vector = np.array(values, dtype=np.float32)
    return vector / np.linalg.norm(vector)


HELPED, HURT, ELSEWHERE = unit(1, 0, 0), unit(0, 1, 0), unit(0, 0, 1)


def knowledge():
    rng = np.random.default_rng(0)
    rows = []
    for centre in (HELPED, HURT, ELSEWHERE):
        for _ in range(20):
            rows.append(unit(*(centre + 0.15 * rng.standard_normal(3))))
    return np.stack(rows).astype(np.float32)


def levels(picked):
    return {level: [p.index for p in picked if p.level == level] for level in (NEAR, UNEXPLORED, DRAWN)}


def test_two_fifths_are_near_a_success_and_three_tenths_unexplored():
    picked = levels(
        retrieve(
            knowledge(), range(60), [Past(HELPED, 1.5), Past(HURT, -2.0)], SearchSettings(), random.Random(0)
        )
    )
    assert len(picked[NEAR]) == 4 and all(index < 20 for index in picked[NEAR])
    assert len(picked[UNEXPLORED]) == 3 and all(index >= 40 for index in picked[UNEXPLORED])
    assert len(picked[DRAWN]) == 3


def test_nothing_is_drawn_from_beside_a_failure():
    for seed in range(30):
        picked = retrieve(knowledge(), range(60), [Past(HURT, -2.0)], SearchSettings(), random.Random(seed))
        assert not [p.index for p in picked if 20 <= p.index < 40]


def test_a_training_that_failed_counts_as_a_failure_and_no_design_as_tried():
    """A suggestion without a design is neither: what is like it is not unexplored, and may be drawn."""
    drawn, search = set(), SearchSettings()
    for seed in range(30):
        past = [Past(HURT, -math.inf), Past(HELPED, 0.0)]
        picked = levels(retrieve(knowledge(), range(60), past, search, random.Random(seed)))
        assert not picked[NEAR] and all(index >= 40 for index in picked[UNEXPLORED])
        drawn |= set(picked[DRAWN])
    assert not {index for index in drawn if 20 <= index < 40}
    assert {index for index in drawn if index < 20}


def test_only_available_ones_are_retrieved_and_none_twice():
    available = list(range(0, 60, 3))
    picked = [
        p.index
        for p in retrieve(knowledge(), available, [Past(HELPED, 1.0)], SearchSettings(), random.Random(3))
    ]
    assert len(set(picked)) == 10 and set(picked) <= set(available)


def test_with_no_past_they_are_drawn_at_random_and_by_seed():
    first = retrieve(knowledge(), range(60), [], SearchSettings(), random.Random(5))
    assert first == retrieve(knowledge(), range(60), [], SearchSettings(), random.Random(5))
    assert first != retrieve(knowledge(), range(60), [], SearchSettings(), random.Random(6))


def test_when_little_is_left_all_of_it_is_taken():
    picked = retrieve(knowledge(), [4, 9], [Past(HURT, -1.0)], SearchSettings(), random.Random(0))
    assert sorted(p.index for p in picked) == [4, 9]


def test_what_is_kept_of_one_round_does_not_answer_for_more_inspirations():
    few, many = np.eye(3, 8, dtype=np.float32), np.eye(8, dtype=np.float32)
    past = [Past(many[1], 1.0), Past(many[1], 1.0)]
    for rows in (few, many, few, many):
        found = retrieve(rows, range(len(rows)), past, SearchSettings(retrieved=2), random.Random(0))
        assert found[0] == Retrieved(1, NEAR)


def test_the_shares_and_the_distance_from_failures_are_settings():
    past = [Past(HELPED, 1.5), Past(HURT, -2.0)]
    search = SearchSettings(retrieved=20, near_success=0.1, unexplored=0.6)
    picked = levels(retrieve(knowledge(), range(60), past, search, random.Random(0)))
    assert {level: len(found) for level, found in picked.items()} == {NEAR: 2, UNEXPLORED: 12, DRAWN: 6}
    bold = SearchSettings(near_success=0.0, unexplored=0.0, near_failure=1.0)
    drawn = [retrieve(knowledge(), range(60), past, bold, random.Random(seed)) for seed in range(10)]
    assert any(20 <= p.index < 40 for picked in drawn for p in picked), "failures are not kept away from"
    crowded = SearchSettings(near_success=0.8, unexplored=0.8)
    assert len(retrieve(knowledge(), range(60), past, crowded, random.Random(0))) == 10


def test_a_suggestion_that_changed_nothing_is_neither_near_nor_kept_away_from():
    neutral = [Past(HURT, 0.0)]
    drawn = [
        levels(retrieve(knowledge(), range(60), neutral, SearchSettings(), random.Random(s)))
        for s in range(10)
    ]
    assert not any(picked[NEAR] for picked in drawn)
    assert any(20 <= index < 40 for picked in drawn for index in picked[DRAWN])
    assert not any(20 <= index < 40 for picked in drawn for index in picked[UNEXPLORED]), "it has been tried"


def test_what_points_away_from_all_that_was_tried_is_further_from_it_than_what_is_at_right_angles():
    rows = np.stack([unit(0, 1, 0), unit(-1, 0, 0), unit(0, 0, 1)])
    search = SearchSettings(retrieved=1, near_success=0.0, unexplored=1.0)
    for gain in (1.0, 0.0, -1.0):
        found = retrieve(rows, range(3), [Past(HELPED, gain)], search, random.Random(0))
        assert found == [Retrieved(1, UNEXPLORED)], "no failure so far is not a failure at right angles"


def test_without_a_failure_nothing_is_kept_away_from_one():
    search = SearchSettings(retrieved=5, near_success=0.0, unexplored=0.0, near_failure=-0.5)
    found = retrieve(knowledge(), range(60), [Past(HELPED, 1.0)], search, random.Random(0))
    assert len({p.index for p in found}) == 5
