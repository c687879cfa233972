"""The rules by which a parent is chosen, each on a tree small enough to check by eye."""

import random

import pytest

from actors.selection import Node, choose_parent

#            base 80
#       a 85        b 83       c 70
#    d 88   e 84   f 82
TREE = [
    Node("base", None, 0, 80.0, (0, 0)),
    Node("a", "base", 1, 85.0, (1, 1)),
    Node("b", "base", 1, 83.0, (1, 2)),
    Node("c", "base", 1, 70.0, (1, 3)),
    Node("d", "a", 2, 88.0, (2, 1)),
    Node("e", "a", 2, 84.0, (2, 2)),
    Node("f", "b", 2, 82.0, (3, 1)),
]


def choose(strategy, expansions, round=1, nodes=TREE):
    return choose_parent(strategy, nodes, expansions, round, random.Random(1)).parent


@pytest.mark.parametrize(
    ("expansions", "expected"),
    [
        ({"base": 1, "a": 1}, "d"),
        ({"base": 1, "a": 1, "d": 1}, "b"),
        ({"base": 1, "a": 1, "d": 1, "b": 1}, "base"),
        ({}, "d"),
        ({"d": 1}, "a"),
    ],
)
def test_depth_first_takes_the_end_of_an_improving_chain_and_backs_up(expansions, expected):
    assert choose("dfs", expansions) == expected


@pytest.mark.parametrize(
    ("expansions", "expected"),
    [
        ({}, "base"),
        ({"base": 1}, "a"),
        ({"base": 1, "a": 1}, "b"),
        ({"base": 1, "a": 1, "b": 1}, "d"),
        ({"base": 1, "a": 1, "b": 1, "d": 1}, "base"),
    ],
)
def test_breadth_first_takes_the_least_worked_on_then_the_shallowest(expansions, expected):
    assert choose("bfs", expansions) == expected


def test_mixed_goes_deep_in_odd_rounds_and_wide_in_even_ones():
    assert choose("mixed", {"base": 1}, round=3) == choose("dfs", {"base": 1})
    assert choose("mixed", {"base": 1}, round=4) == choose("bfs", {"base": 1})


def test_greedy_takes_the_most_accurate_and_random_any():
    assert choose("greedy", {}) == "d"
    drawn = {choose_parent("random", TREE, {}, 1, random.Random(seed)).parent for seed in range(60)}
    assert drawn == {node.id for node in TREE}


def test_a_child_of_a_worse_node_is_on_no_improving_chain():
    nodes = [*TREE, Node("g", "c", 2, 99.0, (4, 1))]
    assert choose("dfs", {"d": 1, "a": 1, "b": 1}, nodes=nodes) == "base"


@pytest.mark.parametrize(
    ("strategy", "spent", "expected"),
    [
        ("dfs", {"base"}, "d"),
        ("dfs", {"base", "d", "a"}, "b"),
        ("bfs", {"base"}, "d"),
        ("greedy", {"d"}, "a"),
        ("dfs", {"base", "a", "b", "d"}, "e"),
        ("bfs", {"base", "a", "b", "d"}, "e"),
        ("greedy", {"base", "a", "b", "c", "d", "e", "f"}, "d"),
    ],
)
def test_a_node_that_has_had_every_idea_gives_way_to_another(strategy, spent, expected):
    choice = choose_parent(strategy, TREE, {"base": 3, "a": 1, "b": 1}, 1, random.Random(0), spent)
    assert choice.parent == expected


def test_before_any_result_the_root_is_the_only_choice():
    for strategy in ("dfs", "bfs", "mixed", "greedy", "random"):
        assert choose(strategy, {"base": 3}, nodes=[Node("base", None, 0, None, (0, 0))]) == "base"


def test_the_order_of_the_nodes_after_the_root_decides_nothing():
    for seed in range(20):
        rest = TREE[1:]
        random.Random(seed).shuffle(rest)
        for strategy in ("dfs", "bfs", "greedy"):
            assert choose(strategy, {"base": 1}, nodes=[TREE[0], *rest]) == choose(strategy, {"base": 1})


def test_the_reason_names_the_rule():
    choice = choose_parent("dfs", TREE, {}, 1, random.Random(0))
    assert choice.reason == "depth first: the end of an improving chain, depth 2 (88.00)"
