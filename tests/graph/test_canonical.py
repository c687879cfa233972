"""The digest: equal for blocks that are the same graph, and only for those."""

import itertools
import pickle
import time
from random import Random

import networkx as nx
import pytest
from hypothesis import given, settings

from nader.graph import (
    Block,
    Design,
    DuplicateIndex,
    ProblemCode,
    Role,
    SymmetryError,
    canonical,
    canonical_form,
    digest,
    expression,
    make_node,
    parse,
)
from nader.graph.polynomials import normal_form
from tests.graph.isomorphism import isomorphic
from tests.graph.strategies import mutate, random_block, random_draft, randoms, rewritten

BASE = """##a##
0:input
1:output
2:Conv2d(out_channels=C,kernel_size=3)
3:Conv2d(out_channels=C,kernel_size=3)
4:Add
5:ReLU
0->2
0->3
2->4
3->4
4->5
5->1
"""


def changed(*pairs):
    text = BASE
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    return parse(text)


@pytest.mark.parametrize(
    "pairs",
    [
        [("##a##", "##another name##")],
        [("5:ReLU", "9:ReLU"), ("4->5", "4->9"), ("5->1", "9->1")],
        [
            (
                "2:Conv2d(out_channels=C,kernel_size=3)",
                "2:Conv2d(kernel_size=(3,3),groups=1,out_channels=C*2-C,stride=1)",
            )
        ],
        [("2->4\n3->4", "3->4\n2->4")],
        [("0:input\n1:output", "1:output\n0:input")],
        [("kernel_size=3", "kernel_size=6/2"), ("out_channels=C", "out_channels=C*H//H")],
    ],
)
def test_other_words_for_the_same_graph_have_the_same_digest(pairs):
    assert digest(changed(*pairs)) == digest(parse(BASE))


@pytest.mark.parametrize(
    "pairs",
    [
        [("5:ReLU", "5:GELU")],
        [("4:Add", "4:Mul")],
        [("3:Conv2d(out_channels=C,kernel_size=3)", "3:Conv2d(out_channels=C,kernel_size=(3,1))")],
        [("3:Conv2d(out_channels=C,kernel_size=3)", "3:Conv2d(out_channels=C,kernel_size=3,groups=C)")],
        [("0->3\n", "2->3\n")],
        [("3:Conv2d(out_channels=C,kernel_size=3)", "3:Conv2d(out_channels=dim,kernel_size=3)")],
    ],
)
def test_another_graph_has_another_digest(pairs):
    assert digest(changed(*pairs)) != digest(parse(BASE))


def pair(op, *edges):
    nodes = f"##x##\n0:input\n1:output\n2:ReLU\n3:GELU\n4:{op}\n0->2,3\n"
    return digest(parse(nodes + "\n".join(edges) + "\n4->1\n"))


def test_the_order_of_inputs_counts_for_concat_and_the_matrix_product_only():
    for op, counts in (("Add", False), ("Mul", False), ("concat(dim=1)", True), ("Multiply", True)):
        assert (pair(op, "2->4", "3->4") != pair(op, "3->4", "2->4")) is counts


def test_two_convolutions_are_not_one_used_twice():
    twice = "##x##\n0:input\n1:output\n2:BN\n3:ReLU\n4:GELU\n5:Add\n0->2\n2->3,4\n3,4->5->1\n"
    two = "##x##\n0:input\n1:output\n2:BN\n3:ReLU\n4:GELU\n5:Add\n6:BN\n0->2->3\n0->6->4\n3,4->5->1\n"
    assert digest(parse(twice)) != digest(parse(two))


def test_dimensions_are_counted_from_the_front():
    one = "##x##\n0:input\n1:output\n2:mean(dim=(2,3))\n3:Mul\n0->2\n0,2->3->1\n"
    assert digest(parse(one)) == digest(parse(one.replace("(2,3)", "(-1,-2)")))
    assert digest(parse(one)) != digest(parse(one.replace("(2,3)", "(1,2)")))
    low = "##x##\n0:input\n1:output\n2:reshape(B,C,-1)\n3:softmax(2)\n4:reshape(B,C,H,W)\n0->2->3->4->1\n"
    assert digest(parse(low)) == digest(parse(low.replace("softmax(2)", "softmax(-1)")))


def test_a_default_written_out_is_no_difference_and_another_value_is():
    text = "##x##\n0:input\n1:output\n2:MaxPool2d(3)\n3:DropPath\n0->2->3->1\n"
    assert digest(parse(text)) == digest(
        parse(text.replace("(3)", "(3,(3,3))").replace("Path", "Path(0.20)"))
    )
    assert digest(parse(text)) != digest(parse(text.replace("(3)", "(3,1)")))
    assert digest(parse(text)) != digest(parse(text.replace("Path", "Path(0.3)")))


def test_in_a_cell_dim_is_c():
    one, other = parse(BASE), parse(BASE.replace("=C", "=dim"))
    assert digest(one) != digest(other)
    assert digest(one, Role.CELL) == digest(other, "cell")
    assert digest(one, Role.STEM) != digest(other, Role.STEM)
    assert Design(one, one, one).digest == Design(other, one, one).digest
    assert Design(one, one, one).digest != Design(one, other, one).digest


def test_an_index_finds_the_first_of_equal_designs():
    block = parse(BASE)
    index: DuplicateIndex[int] = DuplicateIndex()
    assert index.find(digest(block)) is None
    assert index.add(digest(block), 7) == 7
    assert index.add(digest(rewritten(Random(1), block)), 8) == 7
    assert index.find(digest(rewritten(Random(2), block))) == 7
    assert len(index) == 1
    assert digest(block) in index


# --- ties ---


def bipartite(neighbours):
    """Sources (ReLU) and sums of some of them (Add), all summed up: a graph without any label to go by."""
    count = len(neighbours)
    nodes = [make_node(0, "input"), make_node(1, "output"), make_node(2, "Add")]
    edges = [(2, 1)]
    for vertex in range(count):
        nodes += [make_node(3 + vertex, "ReLU"), make_node(3 + count + vertex, "Add")]
        edges += [(0, 3 + vertex), (3 + count + vertex, 2)]
        edges += [(3 + other, 3 + count + vertex) for other in neighbours[vertex]]
    return Block("b", tuple(nodes), tuple(edges))


def ring(*lengths):
    neighbours = []
    for length in lengths:
        start = len(neighbours)
        neighbours += [[start + i, start + (i + 1) % length] for i in range(length)]
    return bipartite(neighbours)


def grid(steps):
    """The 4 by 4 torus with these steps to its neighbours and itself."""
    cells = list(itertools.product(range(4), range(4)))
    number = {cell: i for i, cell in enumerate(cells)}
    return bipartite([[number[(r + a) % 4, (c + b) % 4] for a, b in [(0, 0), *steps]] for r, c in cells])


ROOK = [(0, 1), (0, 2), (0, 3), (1, 0), (2, 0), (3, 0)]
SHRIKHANDE = [(0, 1), (0, 3), (1, 0), (3, 0), (1, 1), (3, 3)]


def branches(count, *operations):
    nodes = [make_node(0, "input"), make_node(1, "output"), make_node(2, "Add")]
    edges = [(2, 1)]
    for _ in range(count):
        before = 0
        for op in operations:
            nodes.append(make_node(len(nodes), op))
            edges.append((before, nodes[-1].index))
            before = nodes[-1].index
        edges.append((before, 2))
    return Block("b", tuple(nodes), tuple(edges))


def layers(depth, width):
    """Layers that are joined all to all."""
    nodes, edges, last = [make_node(0, "input")], [], [0]
    for _ in range(depth):
        fresh = [make_node(len(nodes) + i, "Add" if len(last) > 1 else "ReLU") for i in range(width)]
        edges += [(source, node.index) for source in last for node in fresh]
        nodes += fresh
        last = [node.index for node in fresh]
    end = len(nodes)
    nodes += [make_node(end, "Add"), make_node(end + 1, "output")]
    return Block("b", tuple(nodes), (*edges, *((source, end) for source in last), (end, end + 1)))


TIED = {
    "120 equal branches": branches(120, "BN", "ReLU"),
    "layers joined all to all": layers(10, 9),
    "one ring": ring(12),
    "two rings": ring(6, 6),
    "two unequal rings": ring(5, 7),
    "thirty rings": ring(*[4] * 30),
    "a large ring": ring(60),
    "rook's graph": grid(ROOK),
    "Shrikhande graph": grid(SHRIKHANDE),
}


@pytest.mark.parametrize("name", TIED)
def test_a_tie_is_resolved_the_same_however_the_block_is_written(name):
    rng = Random(name)
    assert {digest(rewritten(rng, TIED[name])) for _ in range(3)} == {digest(TIED[name])}


def test_ties_that_look_alike_are_told_apart():
    assert len({digest(block) for block in TIED.values()}) == len(TIED)


# --- against networkx ---


def small_tangle(rng, count=7):
    """A small graph of equal operations: many ties, many near misses."""
    nodes = [make_node(0, "input")]
    edges = []
    for index in range(1, count):
        sources = rng.sample(range(index), min(index, rng.choice([1, 1, 2, 3])))
        op = "BN" if len(sources) == 1 else rng.choice(["Add", "Add", "concat"])
        nodes.append(make_node(index, op, dim=1) if op == "concat" else make_node(index, op))
        edges += [(source, index) for source in sources]
    nodes += [make_node(count, "Add"), make_node(count + 1, "output")]
    used = {source for source, _ in edges}
    edges += [(index, count) for index in range(count) if index not in used or index == 0]
    return Block("b", tuple(nodes), (*edges, (count, count + 1)))


def agree(one, other):
    assert (
        (digest(one) == digest(other))
        == (canonical_form(one) == canonical_form(other))
        == isomorphic(one, other)
    )


@settings(max_examples=80, deadline=None)
@given(randoms())
def test_digests_are_equal_exactly_for_isomorphic_blocks(rng):
    one = random_draft(rng)
    agree(one, rewritten(rng, one))
    agree(one, rewritten(rng, mutate(rng, one)))
    agree(small_tangle(rng), small_tangle(rng))


@settings(max_examples=120, deadline=None)
@given(randoms())
def test_the_digest_outlives_every_rewriting(rng):
    block = random_draft(rng)
    assert digest(rewritten(rng, block)) == digest(block)


def compare_many(first, last):
    """Tangles of one size, compared by digest and by networkx within each class of equal label counts."""
    classes: dict[str, list[Block]] = {}
    for seed in range(first, last):
        block = small_tangle(Random(seed), 5)
        classes.setdefault("".join(sorted(node.operation for node in block.nodes)), []).append(block)
    pairs = 0
    for group in classes.values():
        for one, other in itertools.combinations(group[:40], 2):
            agree(one, other)
            pairs += 1
    return pairs


def test_small_tangles_agree_with_networkx_pair_by_pair():
    assert compare_many(0, 120) > 300


@pytest.mark.slow
def test_many_small_tangles_agree_with_networkx_pair_by_pair():
    assert sum(compare_many(first, first + 500) for first in range(1_000, 9_000, 500)) > 50_000


@pytest.mark.slow
def test_twenty_thousand_blocks_keep_their_digest_under_rewriting():
    for seed in range(20_000):
        rng = Random(seed)
        block = random_block(rng)
        assert digest(rewritten(rng, block)) == digest(block)
        other = mutate(rng, block)
        assert (digest(other) == digest(block)) == isomorphic(block, other)


def test_the_order_of_inputs_counts_for_no_other_operation_even_in_a_block_that_is_wrong():
    text = "##x##\n0:input\n1:output\n2:ReLU\n3:BN\n2->0\n3->0\n0->1\n"
    assert digest(parse(text)) == digest(parse(text.replace("2->0\n3->0", "3->0\n2->0")))


# --- bounds ---


def test_random_regular_graphs_have_a_digest_and_are_told_apart():
    found = set()
    for seed in (1, 2):
        graph = nx.random_regular_graph(3, 120, seed=seed)
        block = bipartite([[vertex, *graph[vertex]] for vertex in range(120)])
        began = time.process_time()
        found.add(digest(block))
        assert time.process_time() - began < 0.3  # a tenth of it on a quiet machine
        assert digest(rewritten(Random(seed), block)) == digest(block)
    assert len(found) == 2


def test_nodes_at_equal_distances_are_still_tried():
    one, other = ring(20, 20), ring(40)
    assert digest(one) != digest(other)
    for block in (one, other):
        assert {digest(rewritten(Random(seed), block)) for seed in range(3)} == {digest(block)}


def test_a_block_that_would_take_too_long_is_a_problem_of_size(monkeypatch):
    monkeypatch.setattr(canonical, "MAX_WORK", 500)
    with pytest.raises(SymmetryError, match="too symmetric to be compared") as caught:
        canonical_form(grid(ROOK))
    assert caught.value.problem.code is ProblemCode.SIZE_LIMIT
    assert "Fix: " in str(caught.value.problem)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_expressions_too_long_to_multiply_out_are_compared_by_value():
    sums = [
        f"({first}+{number}*{second})"
        for number, (first, second) in enumerate(itertools.combinations(("C", "dim", "H", "W"), 2), start=2)
    ]
    text = "+".join(f"1/{one}" for one in sums)
    turned = "+".join(f"2/({one}*2)" for one in reversed(sums))
    form = normal_form(expression(text))
    assert form.startswith("≈")
    assert normal_form(expression(turned)) == form
    assert normal_form(expression(f"{text}+1")) != form
    assert normal_form(expression(f"({text})//1")) != form
    assert normal_form(expression(text.replace("dim", "C")), True) == normal_form(expression(text), True)
    assert normal_form(expression(f"{text}+1/(C-C)")).startswith("undefined")


@pytest.mark.parametrize(
    ("one", "other"),
    [("C/4*4", "C"), ("(C+dim)*(C-dim)/(C-dim)", "C+dim"), ("(C+4)//4", "C//4+1"), ("C//2//2", "C//4")],
)
def test_the_laws_that_make_expressions_equal(one, other):
    assert normal_form(expression(one)) == normal_form(expression(other))


@pytest.mark.parametrize(("one", "other"), [("C//2+(C+1)//2", "C"), ("(H//3)//C", "(H/C)//3")])
def test_equalities_of_floors_that_are_not_known(one, other):
    assert normal_form(expression(one)) != normal_form(expression(other))
