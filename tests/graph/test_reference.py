"""The language's definition for prompts is complete, true to the operator table, and its examples verify."""

import re

import pytest

from nader.graph import OPERATORS, Role, Site, check, language_reference, parse, verify
from nader.graph.arguments import read_operation
from nader.graph.describe import Place, describe_shape
from nader.graph.reference import HEAD, MEANINGS, ROLES


def test_every_operator_and_every_role_is_explained():
    assert set(MEANINGS) == set(OPERATORS)
    assert set(ROLES) == set(Role)


@pytest.mark.parametrize("role", Role)
def test_every_operator_is_given_as_it_is_called(role):
    text = language_reference(role)
    for operator in OPERATORS.values():
        assert f"- `{operator.signature}` (" in text
    assert ROLES[role] in text
    assert not any(ROLES[other] in text for other in Role if other is not role)


@pytest.mark.parametrize("role", Role)
def test_every_example_verifies_in_its_role(role):
    examples = re.findall(r"```\n(.*?)```", language_reference(role), re.DOTALL)
    assert len(examples) >= 2
    for text in examples:
        verdict = check(text, role)
        assert verdict.ok, verdict.report()
        assert not verdict.block.notes


def test_a_stem_of_a_quarter_is_among_the_examples():
    texts = re.findall(r"```\n(.*?)```", language_reference(Role.STEM), re.DOTALL)
    quarter = [Site(Role.STEM, 3, 32, 64, 64, "1/4")]
    assert [verify(parse(text), Role.STEM, quarter).ok for text in texts].count(True) == 1


def test_every_operator_takes_as_many_inputs_as_the_definition_says():
    text = language_reference("cell")
    for name, phrase in [
        ("Add", "2 or more inputs"),
        ("Multiply", "2 inputs"),
        ("BN", "1 input"),
        ("input", "no input"),
    ]:
        assert re.search(rf"`{name}[^`]*` \({phrase}\)", text)


def chain(*operations):
    """The operations one after the other between input and output."""
    nodes = ["0:input", "1:output", *(f"{i}:{op}" for i, op in enumerate(operations, start=2))]
    path = [0, *range(2, len(operations) + 2), 1]
    return "##b##\n" + "\n".join(nodes) + "\n" + "->".join(map(str, path)) + "\n"


def graph(*lines):
    return "##b##\n0:input\n1:output\n" + "\n".join(lines) + "\n"


def shape(*operations, role="cell"):
    """What the verifier infers for the last of the operations."""
    context = check(chain(*operations), role).context
    tensor = context.tensors[len(operations) + 1]
    return describe_shape(tensor.sizes, tensor.spatial, context.sites, Place())


def gated(*operations):
    """A cell whose input is multiplied by what the operations make of it."""
    last = len(operations) + 2
    nodes = [f"{i}:{op}" for i, op in enumerate(operations, start=2)]
    path = "->".join(map(str, [0, *range(2, last), last, 1]))
    return graph(*nodes, f"{last}:Mul", path, f"0->{last}")


HALF = "AvgPool2d(kernel_size=2)"

SHAPES = [
    ("input", "(B, C, H, W)", "(B, C, H, W)", ["ReLU"]),
    ("Conv2d", "ceil(h/stride), ceil(w/stride)", "(B, 2*C, ceil(H/2), ceil(W/2))", ["Conv2d(2*C,3,2)"]),
    ("Conv2d", "keeps the size whatever the kernel and the dilation", "(B, C, H, W)", ["Conv2d(C,4,1,3)"]),
    (
        "Conv2d",
        "Kernel, stride and dilation may be pairs",
        "(B, C, ceil(H/2), W)",
        ["Conv2d(C,(1,7),(2,1),(2,3))"],
    ),
    ("Linear", "(…, c) to (…, out_channels)", "(B, H, W, 4*C)", ["permute(0,2,3,1)", "Linear(4*C)"]),
    ("Linear", "on (B, C)", "(B, C/4)", ["mean(dim=(2,3))", "reshape(B,C)", "Linear(C//4)"]),
    ("Linear", "(B, length, C)", "(B, H*W, C)", ["reshape(B,C,H*W)", "permute(0,2,1)", "Linear(C)"]),
    ("AvgPool2d", "ceil(h/stride), ceil(w/stride)", "(B, C, ceil(H/2), ceil(W/2))", ["AvgPool2d(3,2)"]),
    ("AvgPool2d", "Write stride=1 to keep the size", "(B, C, H, W)", ["AvgPool2d(2,1)"]),
    (
        "AvgPool2d",
        "without it the stride is the kernel size",
        "(B, C, ceil(H/4), ceil(W/4))",
        ["AvgPool2d(4)"],
    ),
    ("AvgPool2d", "Both may be pairs", "(B, C, H, ceil(W/2))", ["AvgPool2d((1,3),(1,2))"]),
    ("MaxPool2d", "the same sizes as AvgPool2d", "(B, C, ceil(H/2), ceil(W/2))", ["MaxPool2d(2)"]),
    ("MaxPool2d", "the same sizes as AvgPool2d", "(B, C, H, ceil(W/2))", ["MaxPool2d((1,3),(1,2))"]),
    ("AdaptiveAvgPool2d", "(output_size=1) gives (B, c, 1, 1)", "(B, C, 1, 1)", ["AdaptiveAvgPool2d(1)"]),
    (
        "AdaptiveAvgPool2d",
        "(output_size=(H,1)) gives (B, c, H, 1)",
        "(B, C, H, 1)",
        ["AdaptiveAvgPool2d((H,1))"],
    ),
    ("AdaptiveAvgPool2d", "after pooling or a stride", "(B, C, H, W)", [HALF, "AdaptiveAvgPool2d((H,W))"]),
    ("AdaptiveAvgPool2d", "The sides may also grow", "(B, C, 2*H, W)", ["AdaptiveAvgPool2d((2*H,W))"]),
    (
        "AdaptiveMaxPool2d",
        "the same sizes as AdaptiveAvgPool2d",
        "(B, C, H, W)",
        [HALF, "AdaptiveMaxPool2d((H,W))"],
    ),
    ("mean", "mean(dim=1) of (B, c, h, w) is (B, 1, h, w)", "(B, 1, H, W)", ["mean(dim=1)"]),
    ("mean", "mean(dim=(2,3)) is (B, c, 1, 1)", "(B, C, 1, 1)", ["mean(dim=(2,3))"]),
    ("max", "one dimension or several, which stay with size 1", "(B, 1, 1, 1)", ["max(dim=(1,2,3))"]),
    ("sum", "one dimension or several, which stay with size 1", "(B, 1, H, W)", ["sum(dim=1)"]),
    ("softmax", "the shape stays", "(B, C, H, W)", ["softmax(dim=1)"]),
    ("ReLU", "any shape", "(B, C, H*W)", ["reshape(B,C,H*W)", "ReLU"]),
    ("GELU", "any shape", "(B, C, H*W)", ["reshape(B,C,H*W)", "GELU"]),
    ("Sigmoid", "any shape", "(B, C, H*W)", ["reshape(B,C,H*W)", "Sigmoid"]),
    ("BN", "(B, c, h, w)", "(B, C, H, W)", ["BN"]),
    ("BN", "(B, c, length)", "(B, C, H*W)", ["reshape(B,C,H*W)", "BN"]),
    ("BN", "or (B, c)", "(B, C)", ["mean((2,3))", "reshape(B,C)", "BN"]),
    ("LN", "permute(0,2,3,1), LN", "(B, C, H, W)", ["permute(0,2,3,1)", "LN", "permute(0,3,1,2)"]),
    ("DropPath", "any shape", "(B, C, H*W)", ["reshape(B,C,H*W)", "DropPath"]),
    ("permute", "permute(0,2,3,1) turns (B, C, H, W) into", "(B, H, W, C)", ["permute(0,2,3,1)"]),
    (
        "repeat",
        "repeat(1,1,2,2) of (B, c, h, w) is (B, c, 2*h, 2*w)",
        "(B, C, 2*H, 2*W)",
        ["repeat(1,1,2,2)"],
    ),
    (
        "repeat",
        "repeat(1,1,H,W) of (B, c, 1, 1) is (B, c, H, W)",
        "(B, C, H, W)",
        ["mean((2,3))", "repeat(1,1,H,W)"],
    ),
    ("reshape", "reshape(B,C,H*W)", "(B, C, H*W)", ["reshape(B,C,H*W)"]),
    ("reshape", "One size may be -1", "(B, C, H*W)", ["reshape(B,C,-1)"]),
    ("Sizes", "counted from 0, or from the end by -1", "(B, C, H, 1)", ["mean(dim=-1)"]),
    ("Sizes", "(B, C, H, W) has the channels in dimension 1", "(B, 1, H, W)", ["max(dim=1)"]),
    ("Sizes", "`C//4`, `4*C`", "(B, 4*C, H, W)", ["Conv2d(C//4,1)", "Conv2d(4*C,1)"]),
    ("Sizes", "`C//4`, `4*C`", "(B, C/4, H, W)", ["Conv2d(C//4,1)"]),
]
"""(operator or heading, what is said of it, the shape that follows, operations that show it)"""

VERDICTS = [
    ("Exactly one, with nothing before it", False, graph("2:input", "2->1")),
    ("Exactly one, with nothing before it", False, graph("2:input", "3:Add", "0,2->3->1")),
    ("exactly one input and nothing after it", False, graph("2:BN", "0->2->1", "0->1")),
    ("exactly one input and nothing after it", False, graph("2:BN", "3:Add", "0->2->1->3")),
    ("groups must divide both c and out_channels", True, chain("Conv2d(C//2,3,groups=8)", "Conv2d(C,1)")),
    ("groups must divide both c and out_channels", False, chain("Conv2d(C,3,groups=7)")),
    ("groups must divide both c and out_channels", False, chain("Conv2d(C//3,3,groups=32)", "Conv2d(C,1)")),
    ("groups=C on C channels is a depthwise convolution", True, chain("Conv2d(C,3,groups=C)")),
    ("never on (B, C, H, W)", False, chain("Linear(out_channels=C)")),
    ("without it the stride is the kernel size", False, chain("AvgPool2d(kernel_size=3)")),
    ("Their shapes are equal, or broadcast", True, graph("2:mean((2,3))", "3:Add", "0->2->3", "0->3->1")),
    ("Their shapes are equal, or broadcast", False, graph("2:Conv2d(2*C,1)", "3:Add", "0->2->3", "0->3->1")),
    ("the same rule for the shapes as Add", True, gated("mean((2,3))")),
    ("the same rule for the shapes as Add", False, gated("Conv2d(2*C,1)")),
    (
        "(…, n, k) and the second (…, k, m): (…, n, m)",
        True,
        chain("reshape(B,C,H*W)", "reshape(B,C,H,W)"),
    ),
    (
        "(…, n, k) and the second (…, k, m): (…, n, m)",
        True,
        graph(
            "2:permute(0,1,3,2)", "3:Multiply", "4:Multiply", "0->2", "0->3", "2->3", "3->4", "0->4", "4->1"
        ),
    ),
    (
        "the order of the factors",
        False,
        graph(
            "2:permute(0,1,3,2)", "3:Multiply", "4:Multiply", "0->2", "2->3", "0->3", "3->4", "0->4", "4->1"
        ),
    ),
    (
        "concat(dim=1) joins channels",
        True,
        graph("2:BN", "3:concat(dim=1)", "4:Conv2d(C,1)", "0->2,3", "2->3->4->1"),
    ),
    (
        "all other sizes are equal",
        False,
        graph(f"2:{HALF}", "3:concat(dim=1)", "4:Conv2d(C,1)", "0->2,3", "2->3->4->1"),
    ),
    ("Softmax along one dimension", False, chain("softmax(dim=(2,3))")),
    ("Mul with a Sigmoid is a gate", True, gated("Sigmoid")),
    ("must not be the height or width of a map", False, chain("LN")),
    ("must not be the height or width of a map", False, chain("permute(0,3,1,2)", "LN", "permute(0,2,3,1)")),
    ("only on a branch that is added", True, graph("2:BN", "3:DropPath", "4:Add", "0->2->3->4", "0->4->1")),
    ("gives H and W back only where they are even", False, chain(HALF, "repeat(1,1,2,2)")),
    ("One size may be -1", False, chain("reshape(B,-1,-1)", "reshape(B,C,H,W)")),
    ("Gives the same elements", False, chain("reshape(B,C,H)", "reshape(B,C,H,W)")),
    ("its output has the shape of its input", True, chain("BN")),
    ("its output has the shape of its input", False, chain(HALF)),
    ("dim = C", True, chain("Conv2d(dim,1)")),
    ("if it is brought back to them", True, chain(HALF, "AdaptiveAvgPool2d(output_size=(H,W))")),
    ("directed graph without cycles", False, graph("2:Add", "3:BN", "0->2->3->2", "3->1")),
    ("a whole number that no other node has", False, graph("2:BN", "2:ReLU", "0->2->1")),
    ("`source->target`", False, graph("2:BN", "0->2->1", "2->9")),
    ("Nothing else", False, graph("2:BN", "this is where the branch begins to be", "0->2->1")),
    ("Every node leads to the output", False, graph("2:BN", "3:BN", "0->2->1", "0->3")),
    ("is reached from the input", False, graph("2:BN", "3:BN", "4:Add", "0->2->4", "3->4->1")),
    ("takes exactly as many inputs", False, graph("2:BN", "3:BN", "0->2,3", "2->3->1")),
    ("one node may feed many", True, graph("2:BN", "3:ReLU", "4:Add", "0->2->4", "0->3->4->1")),
    ("Two nodes have at most one edge", False, graph("2:Add", "0->2", "0->2", "2->1")),
    ("`H*W`", True, chain("reshape(B,C,H*W)", "reshape(B,C,H,W)")),
    ("in reshape and repeat, `B`", True, chain("mean(dim=0)", "repeat(B,1,1,1)")),
    ("in reshape and repeat, `B`", False, chain("Conv2d(B,1)", "Conv2d(C,1)")),
    ("`/` divides exactly", True, chain("Conv2d(C/5*5,1)")),
    ("`//` rounds down", False, chain("Conv2d(C//5*5,1)")),
    ("not whole at the end is rounded down", True, chain("Conv2d(C/5,1)", "Conv2d(C,1)")),
    ("what has `B` in it is never rounded", False, chain("reshape(B*C/7,7,H,W)", "reshape(B,C,H,W)")),
    ("A size is at least 1", False, chain("Conv2d(C-48,1)", "Conv2d(C,1)")),
    ("write `C`, never 64", False, chain("Conv2d(64,3)")),
    ("H and W may be odd", False, chain("reshape(B,C,H//2,2,W)", "reshape(B,C,H,W)")),
]
"""(what is said, whether the block verifies as a cell, the block)"""

ROLE_VERDICTS = [
    (Role.STEM, "to (B, dim, H, W)", True, ["Conv2d(dim,3)"]),
    (Role.STEM, "quarters rounded up, where a scale of 1/4", True, ["Conv2d(dim,3,4)"]),
    (Role.STEM, "to (B, dim, H/4, W/4)", False, ["Conv2d(dim,3,2)"]),
    (Role.STEM, "Its last channels are dim, not C", False, ["Conv2d(C,3)"]),
    (Role.DOWNSAMPLE, "to (B, dim, H/2, W/2), halves of odd sizes rounded up", True, ["Conv2d(dim,3,2)"]),
    (Role.DOWNSAMPLE, "to (B, dim, H/2, W/2)", False, ["Conv2d(dim,3)"]),
    (Role.DOWNSAMPLE, "odd sizes rounded up", False, ["Conv2d(dim,3)", "AdaptiveAvgPool2d((H//2,W//2))"]),
    (
        Role.DOWNSAMPLE,
        "AdaptiveAvgPool2d(output_size=((H+1)//2,(W+1)//2)) gives them",
        True,
        ["Conv2d(dim,3)", "AdaptiveAvgPool2d(output_size=((H+1)//2,(W+1)//2))"],
    ),
    (Role.DOWNSAMPLE, "Its last channels are dim, not C", False, ["Conv2d(C,3,2)"]),
]

GATED_DOWNSAMPLE = graph(
    "2:Conv2d(out_channels=dim,kernel_size=3,stride=2)", "3:AdaptiveAvgPool2d(output_size=1)",
    "4:Conv2d(out_channels=dim,kernel_size=1)", "5:Sigmoid", "6:Mul", "0->2->6", "0->3->4->5->6->1",
)  # fmt: skip
CROOKED_DOWNSAMPLE = GATED_DOWNSAMPLE.replace("output_size=1", "output_size=(H,W)")

NOT_OF_SHAPES = (
    "Its text has three parts",
    "Each Conv2d, Linear, BN and LN has weights of its own",
    "Maximum over windows",
    "so write",
    "At most",
    "The result of the block",
    "Sum of its inputs, element by element",
    "one line with the block's name",
    "1. 2. 3.",
)
"""Sentences on values, weights and form, which no verdict shows; the limits are tested with the verifier."""


def said(about):
    """What the definition says of an operator, or at its head."""
    return MEANINGS.get(about, HEAD)


@pytest.mark.parametrize(("about", "claim", "expected", "operations"), SHAPES, ids=str)
def test_the_shapes_that_the_definition_tells_are_those_the_verifier_infers(
    about, claim, expected, operations
):
    assert claim in plain(said(about))
    assert shape(*operations) == expected


@pytest.mark.parametrize(("claim", "good", "text"), VERDICTS, ids=lambda value: str(value)[:40])
def test_what_the_definition_claims_is_what_the_verifier_holds(claim, good, text):
    assert claim in plain(language_reference(Role.CELL))
    verdict = check(text, Role.CELL)
    assert verdict.ok == good, verdict.report()


@pytest.mark.parametrize(
    ("role", "claim", "good", "operations"), ROLE_VERDICTS, ids=lambda value: str(value)[:40]
)
def test_what_the_definition_claims_of_a_role_is_what_the_verifier_holds(role, claim, good, operations):
    assert claim in plain(ROLES[role])
    assert check(chain(*operations), role).ok == good


def test_branches_of_a_downsample_block_may_have_a_side_of_1_and_no_other_where_they_meet():
    assert "or have 1 there, as a gate pooled to (B, dim, 1, 1) has" in ROLES[Role.DOWNSAMPLE]
    assert check(GATED_DOWNSAMPLE, Role.DOWNSAMPLE).ok
    assert not check(CROOKED_DOWNSAMPLE, Role.DOWNSAMPLE).ok


def plain(text):
    return " ".join(text.split())


def test_no_sentence_of_the_definition_stands_untested():
    tested = [claim for _, claim, *_ in SHAPES] + [claim for claim, *_ in VERDICTS]
    tested += [claim for _, claim, *_ in ROLE_VERDICTS] + ["or have 1 there", *NOT_OF_SHAPES]
    body = HEAD.partition("# The block language")[2].replace("## Sizes", "").replace("## Operations", "")
    texts = [*MEANINGS.values(), *ROLES.values(), plain(body)]
    sentences = [s for text in texts for s in re.split(r"(?<=[.;]) (?=[A-Z`0-9])", plain(text)) if s]
    assert len(sentences) > 60
    assert [s for s in sentences if not any(claim in s or s in claim for claim in tested)] == []


@pytest.mark.parametrize("role", Role)
def test_every_operation_that_the_definition_writes_out_is_one_of_the_language(role):
    text = re.sub(r"- `[^`]*`", "", language_reference(role).partition("Examples:")[0])
    names = "|".join(OPERATORS)
    written = re.findall(rf"\b((?:{names})\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\))", text)
    assert len(written) > 12
    for operation in written:
        _, _, notes = read_operation(operation)
        assert not notes, operation


def test_a_definition_for_two_roles_says_what_is_common_once():
    both, stem = language_reference(Role.STEM, Role.DOWNSAMPLE), language_reference(Role.STEM)
    assert both.count("# The block language") == both.count("## Operations") == 1
    assert ROLES[Role.STEM] in both and ROLES[Role.DOWNSAMPLE] in both
    assert both.startswith(stem.rstrip())
    for role in (Role.STEM, Role.DOWNSAMPLE):
        for text in re.findall(r"```\n(.*?)```", language_reference(role), re.DOTALL):
            assert text in both


def test_a_way_back_to_the_height_and_the_width_is_told():
    for role in Role:
        assert "AdaptiveAvgPool2d(output_size=(H,W)) brings any map to" in plain(language_reference(role))
