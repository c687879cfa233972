"""NAS-Bench-201's strings become the cells they stand for."""

import csv
from collections import Counter, defaultdict
from functools import cache
from itertools import combinations, product

import networkx as nx
import pytest

from nader.graph import (
    ArchitectureError,
    Role,
    digest,
    from_nas_bench_201,
    nas_bench_201_design,
    parse,
    print_block,
    verify,
)
from nader.graph.nasbench import OPERATIONS, parse_nas_bench_201

ALL = [f"|{a}~0|+|{b}~0|{c}~1|+|{d}~0|{e}~1|{f}~2|" for a, b, c, d, e, f in product(OPERATIONS, repeat=6)]
RESNET = "|nor_conv_3x3~0|+|none~0|nor_conv_3x3~1|+|skip_connect~0|none~1|skip_connect~2|"


@cache
def converted():
    """Every string's block, in the order of ALL."""
    return [from_nas_bench_201(arch) for arch in ALL]


def benchmark_form(arch, *, zero):
    """The benchmark's own string form of a cell; `zero`: an operation on zeros alone is written #, too."""
    nodes = ["0"]
    for edges in parse_nas_bench_201(arch):
        terms = []
        for operation, source in edges:
            if zero and (operation == "none" or nodes[source] == "#"):
                terms.append("#")
            elif operation == "skip_connect":
                terms.append(nodes[source])
            else:
                terms.append(f"({nodes[source]})@{operation}")
        nodes.append("+".join(sorted(terms)))
    return nodes[-1]


def folded_form(arch):
    """The same with zeros left out of sums altogether; None where nothing is left."""
    nodes = ["0"]
    for edges in parse_nas_bench_201(arch):
        kept = [
            (operation, nodes[source]) for operation, source in edges if operation != "none" and nodes[source]
        ]
        terms = sorted(
            value if operation == "skip_connect" else f"({value})@{operation}" for operation, value in kept
        )
        nodes.append("+".join(terms) or None)
    return nodes[-1]


def unrolled(block):
    """The folded form read off a converted block, node by node."""
    forms = {}
    for index in block.order:
        node = block.node(index)
        inputs = [forms[source] for source in block.inputs_of(index)]
        match node.op:
            case "input":
                forms[index] = ["0"]
            case "Add":
                forms[index] = [term for value in inputs for term in value]
            case "ReLU":
                forms[index] = [f"({'+'.join(sorted(inputs[0]))})@"]
            case "Conv2d":
                kernel = str(node.argument("kernel_size"))
                forms[index] = [f"{inputs[0][0]}nor_conv_{kernel}x{kernel}"]
            case "AvgPool2d":
                forms[index] = [f"({'+'.join(sorted(inputs[0]))})@avg_pool_3x3"]
            case "BN" | "repeat" | "output":
                forms[index] = inputs[0]
            case "reshape" | "LN":
                return None
    return "+".join(sorted(forms[block.order[-1]]))


def test_the_resnet_cell_reads_as_a_residual_branch():
    assert print_block(from_nas_bench_201(RESNET)) == (
        "##NASBench201##\n0:input\n1:output\n2:ReLU\n3:Conv2d(out_channels=C,kernel_size=3)\n4:BN\n5:ReLU\n"
        "6:Conv2d(out_channels=C,kernel_size=3)\n7:BN\n8:Add\n0->2\n2->3\n3->4\n4->5\n5->6\n6->7\n0->8\n7->8\n8->1\n"
    )


def test_every_string_converts_to_a_block_that_verifies():
    blocks = converted()
    assert len(blocks) == 15_625
    for block in blocks[::25]:
        verdict = verify(block, Role.CELL)
        assert verdict.ok, verdict.report()
        assert parse(print_block(block)) == block


@pytest.mark.slow
def test_every_converted_block_verifies_and_prints_to_itself():
    for block in converted():
        assert verify(block, Role.CELL).ok
        assert parse(print_block(block)) == block


def test_the_benchmarks_own_string_form_finds_its_published_numbers_of_cells():
    assert len({benchmark_form(arch, zero=False) for arch in ALL}) == 12_751
    assert len({benchmark_form(arch, zero=True) for arch in ALL}) == 6_466


def test_a_converted_block_unrolls_to_the_string_it_came_from():
    disconnected = 0
    for arch, block in zip(ALL, converted(), strict=True):
        expected, found = folded_form(arch), unrolled(block)
        disconnected += expected is None
        flat = None if expected is None else "+".join(sorted(_split(expected)))
        assert found == flat, arch
    assert disconnected == 341


def test_cells_that_the_benchmark_takes_for_one_are_one_form_once_converted():
    """The published numbers, from the converted blocks: they differ by the zeros that stand in sums as #."""
    for zero, published in ((False, 12_751), (True, 6_466)):
        forms = defaultdict(set)
        for arch, block in zip(ALL, converted(), strict=True):
            forms[benchmark_form(arch, zero=zero)].add(unrolled(block))
        assert len(forms) == published
        assert all(len(found) == 1 for found in forms.values())
        assert len(set().union(*forms.values())) == 4_930


def _split(form):
    """The summands of a string form, at the outermost level."""
    depth, parts = 0, [""]
    for letter in form:
        depth += (letter == "(") - (letter == ")")
        if letter == "+" and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return parts


def test_cells_without_a_path_become_one_block_that_verifies():
    blocks = {digest(b) for a, b in zip(ALL, converted(), strict=True) if folded_form(a) is None}
    assert len(blocks) == 1


def _labelled(block):
    graph = nx.DiGraph()
    graph.add_nodes_from((node.index, {"label": node.operation}) for node in block.nodes)
    graph.add_edges_from(block.edges)
    return graph


def _agree(blocks):
    """Compares digests with networkx on every pair of blocks with equal counts of labels."""
    groups = {}
    for block in blocks:
        groups.setdefault(tuple(sorted(Counter(n.operation for n in block.nodes).items())), []).append(block)
    pairs = 0
    for group in groups.values():
        known = [(digest(block), _labelled(block)) for block in group]
        for (one, graph), (other, another) in combinations(known, 2):
            same = nx.is_isomorphic(graph, another, node_match=lambda a, b: a["label"] == b["label"])
            assert same == (one == other)
            pairs += 1
    return pairs


def test_digests_agree_with_networkx():
    assert _agree(converted()[7::78]) > 100


@pytest.mark.slow
def test_digests_agree_with_networkx_on_two_thousand_cells():
    assert _agree(converted()[3::8]) > 10_000


def test_digests_give_the_number_of_isomorphism_classes():
    """6,334: sharing counts (two convolutions are not one used twice), order and names do not."""
    assert len(set(map(digest, converted()))) == 6_334


@pytest.mark.parametrize(
    ("arch", "message"),
    [
        ("", "not a NAS-Bench-201 cell"),
        ("|none~0|+|none~0|none~1|", "one reads |op~0|+|op~0|op~1|+|op~0|op~1|op~2|"),
        ("|nor_conv_5x5~0|+|none~0|none~1|+|none~0|none~1|none~2|", "unknown operation 'nor_conv_5x5'"),
        ("|none~0|+|none~1|none~0|+|none~0|none~1|none~2|", "node 2 of"),
        ("|none~0|+|none~0|none~1|+|none~0|none~1|none~3|", "must take nodes 0 to 2, each once, in order"),
        ("none~0+none~0|none~1+none~0|none~1|none~2", "not a NAS-Bench-201 cell"),
        ("|none~0|+" * 10_000, "not a NAS-Bench-201 cell"),
    ],
)
def test_what_is_not_a_cell_is_refused_with_its_fault(arch, message):
    with pytest.raises(ArchitectureError) as error:
        from_nas_bench_201(arch)
    assert message in str(error.value)
    assert len(str(error.value)) < 400


def test_the_design_of_a_cell_has_the_benchmarks_surroundings():
    design = nas_bench_201_design(RESNET)
    assert design.cell == from_nas_bench_201(RESNET)
    assert [node.op for node in design.stem.nodes] == ["input", "output", "Conv2d", "BN"]
    assert "AvgPool2d" in {node.op for node in design.downsample.nodes}


def test_the_published_table_holds_exactly_these_strings(shared):
    with (shared / "data/nas-bench-201/table.csv").open() as file:
        assert {row["arch"] for row in csv.DictReader(file)} == set(ALL)
