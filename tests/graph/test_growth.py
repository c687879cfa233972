"""How a size grows with the batch, against its values at many batches."""

from random import Random

import numpy as np
import pytest

from nader.graph import expression, growth

PLACE = {"C": 12, "dim": 8, "H": 6, "W": 5}


@pytest.mark.parametrize(
    ("text", "times", "plus"),
    [
        ("B", 1, 0),
        ("2*B-1", 2, -1),
        ("B*H*W", 30, 0),
        ("B*C/4", 3, 0),
        ("B*C//4+C//5", 3, 2),
        ("B/2*2", 1, 0),
        ("B*B/B", 1, 0),
        ("(B*C*B+B*H)//B", 12, 6),
        ("(B*2+1)/2", 1, 0),
        ("7/2", 0, 3),
        ("B/B", 0, 1),
        ("B*(C-12)+1", 0, 1),
        ("B//(C-11)", 1, 0),
    ],
)
def test_an_even_size_is_so_many_times_the_batch_and_a_rest(text, times, plus):
    found = growth(expression(text), PLACE)
    assert found.even
    assert (int(found.times), int(found.plus)) == (times, plus)


@pytest.mark.parametrize(
    "text",
    [
        "B*B", "B//2", "B/2", "(B+1)//2", "1+B//128", "1+B//1000000", "B*H/4", "1/B", "C-B", "B-B*B",
        "C/(B+1)", "B/(C-12)", "B*B//H", "(B//7)*7",
    ],
)  # fmt: skip
def test_a_size_that_rounds_the_batch_or_multiplies_it_by_itself_is_uneven(text):
    assert not growth(expression(text), PLACE).even


def test_each_place_has_its_own_answer():
    found = growth(expression("B*C//4"), PLACE | {"C": np.array([[4, 6, 8]], np.int64)})
    assert found.even.tolist() == [[True, False, True]]
    assert found.times[0, [0, 2]].tolist() == [1, 2]


def random_text(rng, depth=3):
    if depth == 0 or rng.random() < 0.2:
        return rng.choice(["B", "B", "C", "H", "W", "1", "2", "3", "4", "1.5"])
    operator = rng.choice("+-*/") if rng.random() < 0.7 else "//"
    return f"({random_text(rng, depth - 1)}{operator}{random_text(rng, depth - 1)})"


def test_what_is_called_even_is_even_at_every_batch():
    rng, even, uneven = Random(5), 0, 0
    for _ in range(6_000):
        tree = expression(random_text(rng))
        if "B" not in tree.variables:
            continue
        found = growth(tree, PLACE)
        batches = (1, 2, 3, 4, 5, 11, 64, 256, 997, 10**6 + 3)
        try:
            values = [tree.integer({"B": batch, **PLACE}) for batch in batches]
        except ZeroDivisionError:
            assert not found.even
            continue
        if found.even:
            even += 1
            assert values == [int(found.times) * batch + int(found.plus) for batch in batches], tree
        else:
            uneven += 1
    assert even > 400
    assert uneven > 400
