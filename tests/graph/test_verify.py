"""The verifier: what it accepts and refuses, what it says, and at which sites."""

import math
import re
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nader.graph import (
    Block,
    BlockError,
    Node,
    ProblemCode,
    Role,
    Site,
    Sites,
    check,
    make_node,
    parse,
    probe_sites,
    resolve,
    verify,
)
from tests.conftest import REPOSITORY
from tests.graph.strategies import ROLES, random_draft, random_site, randoms


def chain(*operations):
    """The operations one after the other between input and output."""
    nodes = ["0:input", "1:output", *(f"{i}:{op}" for i, op in enumerate(operations, start=2))]
    path = [0, *range(2, len(operations) + 2), 1]
    return "##b##\n" + "\n".join(nodes) + "\n" + "->".join(map(str, path)) + "\n"


def graph(*lines):
    return "##b##\n0:input\n1:output\n" + "\n".join(lines) + "\n"


CELLS = [
    ("BN", "ReLU"),
    ("Conv2d(C,3)",),
    ("Conv2d(C*2,(3,1),groups=C)", "Conv2d(dim,(1,3))"),
    ("Conv2d(C/3*2,2,dilation=2)", "Conv2d(C,5)"),
    ("AvgPool2d(3,1)", "MaxPool2d(50,1)"),
    ("permute(0,2,3,1)", "LN", "Linear(C*4)", "GELU", "Linear(C)", "permute(0,3,1,2)"),
    ("permute(0,-2,-1,1)", "LN", "permute(0,-1,1,2)"),
    ("reshape(B,C,H*W)", "softmax(dim=-1)", "reshape(B,C,H,W)"),
    ("reshape(B,C,-1)", "BN", "reshape(-1,C,H,W)"),
    ("reshape(B,C,H*W)", "Linear(H*W)", "reshape(B,C,H,W)"),
    ("reshape(B,4,C/4,H,W)", "permute(0,2,1,3,4)", "BN", "reshape(B,C,H,W)"),
    ("reshape(B*C,1,H,W)", "Conv2d(1,3)", "BN", "reshape(B,C,H,W)"),
    ("AdaptiveAvgPool2d((H,1))", "softmax(2)", "repeat(1,1,1,W)"),
    ("AdaptiveMaxPool2d((2*H,W))", "MaxPool2d((2,1))"),
    ("AdaptiveAvgPool2d(1)", "BN", "repeat(1,1,H,W)"),
    ("mean(dim=(2,3))", "reshape(B,C)", "LN", "Linear(C)", "BN", "reshape(B,C,1,1)", "repeat(1,1,H,W)"),
    ("mean(dim=0)", "repeat(B,1,1,1)"),
    ("sum(dim=0)", "BN", "repeat(B,1,1,1)"),
    ("max(dim=(1,2,3))", "repeat(1,C,H,W)"),
    ("repeat(2,1,1,1,1)", "mean(0)", "reshape(B,C,H,W)"),
    (),
    ("DropPath", "DropPath(prob=0)"),
]


@pytest.mark.parametrize("operations", CELLS, ids=" ".join)
def test_a_cell_that_runs_is_accepted(operations):
    verdict = check(chain(*operations), Role.CELL)
    assert verdict.ok, verdict.report()
    assert verdict.ok_sites.all()
    assert verdict.report() == ""
    assert bool(verdict)


WRONG = [
    (("Conv2d(C,3,2)",), ProblemCode.OUTPUT_SHAPE, "(B, C, ceil(H/2), ceil(W/2))"),
    (("Conv2d(C/2,3)",), ProblemCode.OUTPUT_SHAPE, "(B, C/2, H, W)"),
    (("permute(0,1,3,2)",), ProblemCode.OUTPUT_SHAPE, "(B, C, W, H)"),
    (("permute(0,2,3,1)",), ProblemCode.OUTPUT_SHAPE, "(B, H, W, C)"),
    (("mean(dim=1)",), ProblemCode.OUTPUT_SHAPE, "(B, 1, H, W)"),
    (("reshape(B,C,H*W)",), ProblemCode.OUTPUT_SHAPE, "3 dimensions"),
    (("Conv2d(C,3,groups=5)",), ProblemCode.GROUPS, "groups=5 must divide the input channels"),
    (("Conv2d(10,1)", "Conv2d(C,3,groups=5)"), ProblemCode.GROUPS, "groups=5 must divide the out_channels"),
    (("LN",), ProblemCode.CHANNELS_LAST, "permute(0,2,3,1)"),
    (("Linear(C)",), ProblemCode.CHANNELS_LAST, "must be the channels"),
    (("AdaptiveAvgPool2d(1)", "Linear(C)"), ProblemCode.CHANNELS_LAST, "(B, C, 1, 1)"),
    (("reshape(B,C,H,W)", "LN"), ProblemCode.CHANNELS_LAST, "must be the channels"),
    (("reshape(C,B,H,W)", "BN", "reshape(B,C,H,W)"), ProblemCode.BATCH, "change with the batch size"),
    (("permute(1,2,3,0)", "Linear(4)"), ProblemCode.BATCH, "change with the batch size"),
    (("mean(dim=(0,2,3))", "BN", "repeat(B,1,H,W)"), ProblemCode.SHAPE, "one value for each channel"),
    (("reshape(2,C,H,W)",), ProblemCode.SHAPE, "changes the number of elements"),
    (("reshape(4,B/4,C,H,W)", "reshape(B,C,H,W)"), ProblemCode.BATCH, "does not grow evenly"),
    (("repeat(B*B,1,1,1)", "mean(dim=0)", "repeat(B,1,1,1)"), ProblemCode.BATCH, "repetitions=B*B does not"),
    (("repeat((B+1)//2,1,1,1)", "mean(dim=0)", "repeat(B,1,1,1)"), ProblemCode.BATCH, "does not grow evenly"),
    (("repeat(1+B//128,1,1,1)",), ProblemCode.BATCH, "1+B//128 does not grow evenly"),
    (("repeat(1+B//1000,1,1,1)",), ProblemCode.BATCH, "1+B//1000 does not grow evenly"),
    (("repeat(B,1,1,1)", "reshape(B*B,C,H,W)", "reshape(B,B,C,H,W)"), ProblemCode.BATCH, "size=B*B does not"),
    (
        ("permute(2,1,0,3)", "MaxPool2d(1,(1024,1))", "max(dim=2)", "permute(2,1,0,3)", "repeat(B,1,1,1)"),
        ProblemCode.BATCH,
        "which rounds it",
    ),
    (("reshape(B/2,2,C,H,W)", "reshape(B,C,H,W)"), ProblemCode.BATCH, "does not grow evenly"),
    (("reshape(0,C,H,W)",), ProblemCode.SHAPE, "Write B for the batch size"),
    (("reshape(-1,-1,H,W)",), ProblemCode.SHAPE, "more than one -1"),
    (("reshape(-1,C+1,H,W)",), ProblemCode.SHAPE, "cannot be shared out"),
    (("Conv2d(C-dim,3)",), ProblemCode.SHAPE, "out_channels=C-dim must be at least 1 (got 0)"),
    (("Conv2d(C,H-W-1)",), ProblemCode.SHAPE, "kernel_size=H-W-1 must be at least 1"),
    (("Conv2d(C/(C-dim),3)",), ProblemCode.SHAPE, "must be at least 1"),
    (("Conv2d(C,0)",), ProblemCode.SHAPE, "kernel_size=0 must be at least 1"),
    (("Conv2d(C,3,groups=0)",), ProblemCode.SHAPE, "groups=0 must be at least 1"),
    (("AdaptiveAvgPool2d(0)",), ProblemCode.SHAPE, "output_size=0"),
    (("repeat(1,1,0,1)",), ProblemCode.SHAPE, "repetitions=0"),
    (("repeat(1,2)",), ProblemCode.SHAPE, "2 numbers of repetitions for an input of 4"),
    (("permute(0,2,1)",), ProblemCode.SHAPE, "each of the 4 dimensions"),
    (("permute(0,1,2,2)",), ProblemCode.SHAPE, "each of the 4 dimensions"),
    (("permute(0,1,2,4)",), ProblemCode.SHAPE, "each of the 4 dimensions"),
    (("softmax(4)",), ProblemCode.SHAPE, "names dimension 4, but its input has 4"),
    (("mean(dim=(1,-3))",), ProblemCode.SHAPE, "names a dimension twice"),
    (("reshape(B,C,H*W)", "Conv2d(C,3)"), ProblemCode.SHAPE, "needs an input of 4 dimensions"),
    (("reshape(-1)", "BN"), ProblemCode.SHAPE, "2 to 5 dimensions"),
    (("Conv2d(C*C*C,1)", "Conv2d(C,1)"), ProblemCode.SIZE_LIMIT, "more than"),
    (("Conv2d(C*C*C*C*C*C*C*C,1)", "Conv2d(C,1)"), ProblemCode.SIZE_LIMIT, "larger than any tensor"),
    (("repeat(1,1,99999,99999)", "AdaptiveAvgPool2d((H,W))"), ProblemCode.SIZE_LIMIT, "more than"),
    (("Conv2d(C,2000)",), ProblemCode.SIZE_LIMIT, "kernel_size is larger than 1024"),
    (("Conv2d(C,1000,1,1000)",), ProblemCode.SIZE_LIMIT, "more than"),
]


@pytest.mark.parametrize(("operations", "code", "said"), WRONG, ids=lambda value: str(value)[:60])
def test_a_cell_that_does_not_run_is_one_problem_that_says_why(operations, code, said):
    verdict = check(chain(*operations), Role.CELL)
    assert not verdict.ok
    assert not verdict.ok_sites.all()
    assert verdict.problems[0].code is code
    assert said in verdict.report()


JOINS = [
    (("2:Conv2d(C/2,1)", "3:concat(dim=1)", "4:Conv2d(C,1)", "0->2", "0,2->3", "3->4->1"), None),
    (("2:AdaptiveAvgPool2d(1)", "3:Sigmoid", "4:Mul", "0->2->3", "0,3->4->1"), None),
    (("2:mean(dim=0)", "3:Add", "0->2", "0,2->3->1"), None),
    (("2:mean(dim=(1,2))", "3:reshape(B,1,1,W)", "4:Add", "0->2->3", "3,0->4->1"), None),
    (("2:max(dim=(0,1))", "3:reshape(H,W)", "4:Mul", "0->2->3", "3,0->4->1"), None),
    (("2:permute(0,1,3,2)", "3:Multiply", "4:Multiply", "0->2", "0,2->3", "3,0->4->1"), None),
    (("2:Conv2d(C/2,1)", "3:Add", "0->2", "0,2->3->1"), ProblemCode.SHAPE),
    (("2:permute(0,2,3,1)", "3:Add", "0->2", "0,2->3->1"), ProblemCode.SHAPE),
    (("2:MaxPool2d(2)", "3:concat(dim=1)", "0->2", "0,2->3->1"), ProblemCode.SHAPE),
    (("2:reshape(B,C,-1)", "3:concat(dim=1)", "0->2", "0,2->3->1"), ProblemCode.SHAPE),
    (("2:ReLU", "3:Multiply", "0->2", "0,2->3->1"), ProblemCode.SHAPE),
    (("2:ReLU", "3:concat(dim=4)", "0->2", "0,2->3->1"), ProblemCode.SHAPE),
    (("2:reshape(-1)", "3:Multiply", "0->2", "0,2->3->1"), ProblemCode.SHAPE),
]


@pytest.mark.parametrize(("lines", "code"), JOINS, ids=lambda value: str(value)[:60])
def test_several_inputs_must_fit_each_other_by_torchs_rules(lines, code):
    verdict = check(graph(*lines), Role.CELL)
    assert [problem.code for problem in verdict.problems] == ([] if code is None else [code]), (
        verdict.report()
    )
    if code is not None:
        assert len(verdict.problems[0].shapes) == 2


STRUCTURE = [
    (("2:BN", "0->2"), [ProblemCode.ARITY]),
    (("2:Add", "0->2->1"), [ProblemCode.ARITY]),
    (("2:BN", "3:ReLU", "0->2,3", "2,3->1"), [ProblemCode.ARITY]),
    (("2:BN", "3:ReLU", "4:Multiply", "5:GELU", "0->2,3,5", "2,3,5->4->1"), [ProblemCode.ARITY]),
    (("2:BN", "3:Add", "4:ReLU", "0->3->4->2->3", "2->1"), [ProblemCode.CYCLE]),
    (("2:BN", "3:ReLU", "4:GELU", "0->2->1", "2->3->4"), [ProblemCode.UNUSED_NODE]),
    (("2:BN", "3:ReLU", "0->2->1", "0->3", "1->3"), [ProblemCode.ARITY] * 2 + [ProblemCode.UNUSED_NODE]),
    (("2:BN", "3:ReLU", "0->2->1"), [ProblemCode.UNUSED_NODE]),
    (("2:BN", "3:input", "0->2->1"), [ProblemCode.ARITY, ProblemCode.UNUSED_NODE]),
    (
        ("2:BN", "3:Add", "0->2", "2,0->3->1", "1->0"),
        [ProblemCode.CYCLE, ProblemCode.ARITY, ProblemCode.ARITY],
    ),
]


@pytest.mark.parametrize(("lines", "codes"), STRUCTURE, ids=lambda value: str(value)[:60])
def test_a_graph_that_is_none_is_refused(lines, codes):
    verdict = check(graph(*lines), Role.CELL)
    assert sorted(problem.code for problem in verdict.problems) == sorted(codes), verdict.report()
    assert not verdict.ok_sites.any()


def test_a_cycle_is_shown_whole():
    (problem,) = check(graph("2:BN", "3:Add", "4:ReLU", "0->3->4->2->3", "2->1"), Role.CELL).problems
    assert "2->3->4->2" in problem.message


def test_an_unused_part_is_one_problem_at_its_end():
    (problem,) = check(graph("2:BN", "3:ReLU", "4:GELU", "0->2->1", "2->3->4"), Role.CELL).problems
    assert problem.node == 4
    assert "lead to it: 3" in problem.message


def test_a_failure_blocks_only_what_follows_it():
    text = graph(
        "2:LN", "3:Conv2d(C,3)", "4:softmax(7)", "5:Conv2d(C,3,groups=5)", "6:Add", "7:BN",
        "0->2->3", "0->4", "0->5", "3,4,5->6->7->1",
    )  # fmt: skip
    verdict = check(text, Role.CELL)
    assert [(problem.node, problem.code) for problem in verdict.problems] == [
        (2, ProblemCode.CHANNELS_LAST),
        (4, ProblemCode.SHAPE),
        (5, ProblemCode.GROUPS),
    ]
    assert [problem.line for problem in verdict.problems] == [4, 6, 7]


def test_problems_of_reading_and_of_meaning_come_together():
    verdict = check(graph("2:Conv2d(q,3)", "3:LN", "4:Add", "0->2", "0->3", "2,3->4->1"), Role.CELL)
    assert [problem.code for problem in verdict.problems] == [ProblemCode.SYNTAX, ProblemCode.CHANNELS_LAST]
    assert verdict.problems[0].line == 4


def test_a_report_is_a_numbered_list_for_a_model():
    report = check(chain("LN"), Role.CELL).report()
    assert report == (
        "The block has 1 problem:\n1. [channels-last] node 2:LN, line 4: LN works on the last dimension, "
        "which must be the channels, not a side of the map. Input shapes: (B, C, H, W). Fix: Put "
        "permute(0,2,3,1) before it and permute(0,3,1,2) after it, or use BN or a 1x1 Conv2d instead."
    )


POOLED = ("AvgPool2d(2)", "repeat(1,1,2,2)")
"""Comes back to the height and the width where they are even."""


def test_the_shape_shown_is_that_of_the_place_named():
    (problem,) = check(chain(*POOLED), Role.CELL).problems
    assert problem.message.endswith("at 2 of 5 places of the network, such as C=240, dim=240, H=17, W=13.")
    assert problem.shapes == ("(B, C, 18, 14)",)
    assert problem.hint.endswith(
        "AdaptiveAvgPool2d(output_size=(H,W)) brings a map to that height and width."
    )


@pytest.mark.parametrize("join", ["Add", "Mul", "concat(dim=1)"])
def test_inputs_of_different_sides_are_shown_at_the_place_named_and_the_way_back_is_told(join):
    text = graph("2:AvgPool2d(2)", "3:repeat(1,1,2,2)", f"4:{join}", "0->2->3", "3,0->4->1")
    problem = check(text, Role.CELL).problems[0]
    assert "such as C=240, dim=240, H=17, W=13" in problem.message
    assert problem.shapes == ("(B, C, 18, 14)", "(B, C, H, W)")
    assert "output_size=(H,W) gives those of the block's input" in problem.hint


def test_inputs_of_equal_sides_are_not_sent_to_pooling():
    for lines in (
        ("2:Conv2d(C/2,1)", "3:Add", "0->2", "0,2->3->1"),
        ("2:AdaptiveAvgPool2d(1)", "3:Conv2d(C/2,1)", "4:Mul", "0->2->3", "0,3->4->1"),
    ):
        (problem,) = check(graph(*lines), Role.CELL).problems
        assert "AdaptiveAvgPool2d" not in problem.hint


def test_a_number_that_differs_by_place_names_its_place_where_all_places_fail():
    (problem,) = check(chain("Conv2d(C*5-H*3,1)", "LN"), Role.CELL).problems
    assert problem.shapes == ("(B, 144, H, W) where C=48, dim=48, H=32, W=32",)
    (problem,) = check(chain("Conv2d(C,3,groups=11)"), Role.CELL).problems
    assert "(got 48 and 11 where C=48, dim=48, H=32, W=32)" in problem.message
    (problem,) = check(chain("Conv2d(7,1)", "Conv2d(C,3,groups=5)"), Role.CELL).problems
    assert "(got 7 and 5)" in problem.message, "what is the same at all places needs none"


def test_a_shape_is_not_shown_for_a_place_where_the_tensor_does_not_exist():
    text = chain("Conv2d(C,1,groups=H)", "Conv2d(C*5-H*3,1)", "LN")
    first, second = check(text, Role.CELL).problems
    assert "(got 48 and 32)" in first.message and "such as C=48, dim=48, H=32, W=32" in first.message
    assert second.shapes == ("(B, 696, H, W) where C=144, dim=144, H=8, W=12",)


@settings(max_examples=150, deadline=None)
@given(randoms(), st.sampled_from(ROLES))
def test_the_shapes_of_a_report_are_those_that_the_place_alone_gives(rng, kind):
    role, scale = kind
    block = random_draft(rng, role, scale)
    sites = [random_site(rng, role, scale) for _ in range(4)]
    for problem in verify(block, role, sites).problems:
        told = re.search(
            r"C=(\d+), dim=(\d+), H=(\d+), W=(\d+)", " ".join([problem.message, *problem.shapes])
        )
        if told is None:
            continue
        site = next(s for s in sites if [s.C, s.dim, s.H, s.W] == [int(n) for n in told.groups()])
        names = {"C": site.C, "dim": site.dim, "H": site.H, "W": site.W, "ceil": math.ceil}
        alone = [
            p
            for p in verify(block, role, [site]).problems
            if (p.node, p.code) == (problem.node, problem.code)
        ]
        assert alone, problem
        values = [tuple(_numbers(shape, names) for shape in p.shapes) for p in alone]
        assert tuple(_numbers(shape, names) for shape in problem.shapes) in values


def _numbers(shape, names):
    """A described shape as numbers at one place, for a batch of 2."""
    return eval(re.sub(r" at B=\d+", "", shape.partition(" where ")[0]), names | {"B": 2})


# --- roles ---


@pytest.mark.parametrize(
    ("role", "scale", "operations", "code"),
    [
        (Role.STEM, None, ("Conv2d(dim,3)", "BN"), None),
        (Role.STEM, None, ("Conv2d(dim,7,2)", "MaxPool2d(3,2)"), None),
        (Role.STEM, Fraction(1, 4), ("Conv2d(dim,4,4)",), None),
        (Role.STEM, Fraction(1, 4), ("Conv2d(dim,3)",), ProblemCode.SCALE),
        (Role.STEM, None, ("Conv2d(dim,3,2)",), ProblemCode.SCALE),
        (Role.STEM, None, ("Conv2d(C,3)",), ProblemCode.OUTPUT_SHAPE),
        (Role.DOWNSAMPLE, None, ("Conv2d(dim,3,2)",), None),
        (Role.DOWNSAMPLE, None, ("Conv2d(dim,1)", "AvgPool2d(2)"), None),
        (Role.DOWNSAMPLE, None, ("Conv2d(dim,3)",), ProblemCode.SCALE),
        (Role.DOWNSAMPLE, None, ("Conv2d(dim,3,4)",), ProblemCode.SCALE),
        (Role.DOWNSAMPLE, None, ("MaxPool2d(2)",), ProblemCode.OUTPUT_SHAPE),
    ],
)
def test_stem_and_downsample_have_their_scale(role, scale, operations, code):
    verdict = verify(parse(chain(*operations)), role, scale=scale)
    assert [problem.code for problem in verdict.problems] == ([] if code is None else [code]), (
        verdict.report()
    )


def test_sites_say_what_they_are():
    assert Site(Role.STEM, 3, 16, 33, 30, Fraction(1, 4)).output_shape == (16, 9, 8)
    assert Site(Role.DOWNSAMPLE, 16, 32, 33, 30).output_shape == (32, 17, 15)
    assert Site(Role.CELL, 16, 16, 33, 30).output_shape == (16, 33, 30)
    with pytest.raises(ValueError, match="at least 1"):
        Site(Role.CELL, 0, 16, 8, 8)
    with pytest.raises(ValueError, match="a downsample has scale 1/2"):
        Site(Role.DOWNSAMPLE, 16, 32, 8, 8, Fraction(1, 4))
    with pytest.raises(ValueError, match="at least one site"):
        Sites([])
    for role in Role:
        assert any(site.H % 2 for site in probe_sites(role))
        assert any(site.H != site.W for site in probe_sites(role))
        assert all((site.dim == site.C) == (role is Role.CELL) for site in probe_sites(role))


def test_sites_of_another_role_are_a_mistake_of_the_caller():
    with pytest.raises(ValueError, match="a stem cannot be verified at sites of cell"):
        verify(parse(chain("BN")), Role.STEM, [Site(Role.CELL, 8, 8, 8, 8)])


def widths(*channels):
    return [Site(Role.CELL, c, c, 8, 8) for c in channels]


def test_what_fails_at_some_widths_is_reported_with_the_widths_that_work():
    verdict = verify(parse(chain("Conv2d(C,3,groups=4)")), Role.CELL, widths(4, 6, 8, 10))
    assert verdict.ok_sites.tolist() == [True, False, True, False]
    (problem,) = verdict.problems
    assert problem.code is ProblemCode.GROUPS
    assert "at 2 of 4 places of the network, such as C=6" in problem.message


def test_sizes_that_agree_by_chance_at_one_width_do_not_pass_at_the_others():
    verdict = verify(parse(chain("permute(0,2,1,3)", "Conv2d(8,1)")), Role.CELL, widths(4, 8))
    assert verdict.ok_sites.tolist() == [False, True]


def test_batch_norm_over_single_points_needs_a_batch_only_in_training():
    sites = [Site(Role.CELL, 4, 4, 1, 1)]
    assert verify(parse(chain("BN")), Role.CELL, sites).ok


def test_a_block_made_in_code_is_checked_like_one_that_was_read():
    ends = (Node(0, "input"), Node(1, "output"))
    for node, edges, code in [
        (Node(2, "Conv2d"), ((0, 2), (2, 1)), ProblemCode.ARGUMENT),
        (Node(2, "Nothing"), ((0, 2), (2, 1)), ProblemCode.UNKNOWN_OPERATOR),
        (Node(2, "BN", make_node(2, "softmax", dim=1).args), ((0, 2), (2, 1)), ProblemCode.ARGUMENT),
        (make_node(2, "Linear", out_channels="B"), ((0, 2), (2, 1)), ProblemCode.CHANNELS_LAST),
        (make_node(2, "Conv2d", out_channels="B", kernel_size=1), ((0, 2), (2, 1)), ProblemCode.BATCH),
        (make_node(2, "softmax", dim="H"), ((0, 2), (2, 1)), ProblemCode.SHAPE),
        (Node(2, "BN"), ((0, 2), (2, 1), (2, 7)), ProblemCode.UNDEFINED_NODE),
        (Node(-2, "BN"), ((0, -2), (-2, 1)), ProblemCode.SYNTAX),
        (Node(0, "BN"), ((0, 1),), ProblemCode.SYNTAX),
        (Node(2, "BN"), ((0, 2), (0, 2), (2, 1)), ProblemCode.SYNTAX),
    ]:
        verdict = verify(Block("b", (*ends, node), edges), Role.CELL)
        assert code in [problem.code for problem in verdict.problems], node
    many = Block("b", tuple(Node(i, "BN") for i in range(300)), ())
    assert [problem.code for problem in verify(many, Role.CELL).problems] == [ProblemCode.SIZE_LIMIT]
    assert not verify(Block("b", (), ()), Role.CELL).ok


# --- resolving ---


def test_a_resolved_node_has_every_default_and_every_size_as_a_number():
    text = chain(
        "Conv2d(C*2,(3,1),groups=2)", "reshape(B,-1,H,W)", "mean(dim=(-1,2))", "DropPath", "AvgPool2d(2)"
    )
    text = text.replace("6->1", "6->7->1").replace("6:AvgPool2d(2)", "6:repeat(1,1,H,W)\n7:Conv2d(C,1)")
    site = Site(Role.CELL, 6, 6, 5, 4)
    nodes = {node.index: node for node in resolve(parse(text), site)}
    assert dict(nodes[2].attrs) == {
        "out_channels": 12,
        "kernel_size": (3, 1),
        "stride": (1, 1),
        "dilation": (1, 1),
        "groups": 2,
        "in_channels": 6,
    }
    assert nodes[2].in_shapes == ((2, 6, 5, 4),)
    assert nodes[2].out_shape == (2, 12, 5, 4)
    assert nodes[3].attrs["shape"] == (2, -1, 5, 4)
    assert [item.integer({"B": 7, "C": 6, "dim": 6, "H": 5, "W": 4}) for item in nodes[3].expressions] == [
        7,
        -1,
        5,
        4,
    ]
    assert nodes[4].attrs["dim"] == (3, 2)
    assert nodes[4].out_shape == (2, 12, 1, 1)
    assert nodes[5].attrs["prob"] == 0.2
    assert next(node.index for node in resolve(parse(text), site)) == 0


def test_a_block_that_does_not_work_there_is_not_resolved():
    block = parse(chain("Conv2d(C,3,groups=4)"))
    assert resolve(block, widths(8)[0])
    with pytest.raises(BlockError, match="groups=4 must divide"):
        resolve(block, widths(6)[0])


# --- many sites ---


@settings(max_examples=150, deadline=None)
@given(randoms(), st.sampled_from(ROLES))
def test_many_sites_at_once_are_judged_as_each_is_alone(rng, kind):
    role, scale = kind
    block = random_draft(rng, role, scale)
    sites = [random_site(rng, role, scale) for _ in range(4)]
    together = verify(block, role, sites)
    assert together.ok_sites.tolist() == [verify(block, role, [site]).ok for site in sites]
    assert together.ok == together.ok_sites.all()


def test_the_example_of_the_documentation_holds():
    page = (REPOSITORY / "docs" / "block-language.md").read_text()
    text = page.split("```\n")[1]
    assert check(text, Role.CELL).ok
    assert parse(text).notes == ()


# --- the batch ---

ONE_PLACE = [Site(Role.CELL, 8, 8, 8, 8)]


@pytest.mark.parametrize(
    "operations",
    [
        ("reshape(B*C,1,H,W)", "BN", "reshape(B,C,H,W)"),
        ("reshape(B*C//4,4,H,W)", "reshape(B,C,H,W)"),
        ("reshape(B*(C//4),4,H,W)", "reshape(B,C,H,W)"),
        ("reshape(B*H*W/4,4,C)", "reshape(B,C,H,W)"),
        ("reshape(B/2*2,C,H,W)",),
        ("reshape(B*B//B,C,H,W)",),
        ("repeat(B/B,1,1,1)",),
        ("repeat(2*B-1,1,1,1)", "mean(dim=0)", "repeat(B,1,1,1)"),
        ("repeat(B,1,1,1)", "reshape(-1,C)", "reshape(B,B,C,H,W)", "mean(dim=0)", "reshape(B,C,H,W)"),
        ("reshape(B*C,-1)", "reshape(B,-1,H,W)"),
    ],
)
def test_a_size_that_grows_evenly_with_the_batch_is_accepted(operations):
    assert check(chain(*operations), Role.CELL, ONE_PLACE).ok


def test_where_the_batch_comes_out_whole_is_said_by_the_place():
    text = chain("reshape(B*C/4,4,H,W)", "reshape(B,C,H,W)")
    verdict = check(text, Role.CELL, [Site(Role.CELL, c, c, 4, 4) for c in (4, 6, 8)])
    assert list(verdict.ok_sites) == [True, False, True]
    assert [problem.code for problem in verdict.problems] == [ProblemCode.BATCH]


def test_a_quotient_that_is_whole_at_the_batches_tried_only_is_refused():
    # B times 24 * 257 * 5 elements fill B + 1 rows for B = 1 to 5 and 256, but not for 10
    places = [Site(Role.CELL, 24, 24, 257, 5)]
    text = chain("reshape(-1)", "reshape(B+1,-1)", "mean(dim=(0,1))", "reshape(1,1,1,1)", "repeat(B,C,H,W)")
    assert not check(text, Role.CELL, places).ok


@pytest.mark.parametrize(
    "operations",
    [
        # a matrix of (B*C*H)² entries is small for one image and has 10^10 for 256
        ("reshape(B*C*H,W)", "permute(1,0)"),
        ("repeat(100*B,1,1,1)", "mean(dim=0)", "repeat(B,1,1,1)"),
    ],
)
def test_memory_is_limited_at_a_large_batch_too(operations):
    site = [Site(Role.CELL, 64, 64, 32, 32)]
    if operations[0].startswith("reshape"):
        text = (
            "##x##\n0:input\n1:output\n2:reshape(B*C*H,W)\n3:permute(1,0)\n4:Multiply\n5:softmax(1)\n"
            "6:Multiply\n7:reshape(B,C,H,W)\n0->2->3\n2,3->4->5\n5,2->6->7->1\n"
        )
    else:
        text = chain(*operations)
    verdict = check(text, Role.CELL, site)
    assert [problem.code for problem in verdict.problems] == [ProblemCode.SIZE_LIMIT]
    assert "for each image of a batch" in verdict.report()
    small = check(text, Role.CELL, [Site(Role.CELL, 2, 2, 4, 4)])
    assert small.ok, small.report()
