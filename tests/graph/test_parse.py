"""Reading blocks: what models really write is read, with a note; what has no meaning is refused, at once."""

import json

import pytest
from hypothesis import given

from nader.graph import (
    Block,
    BlockError,
    Design,
    ProblemCode,
    Role,
    check,
    from_nas_bench_201,
    make_node,
    parse,
    parse_all,
    print_block,
)
from tests.conftest import shared_data
from tests.graph.strategies import drafts

RESIDUAL = """##Residual##
0:input
1:output
2:Conv2d(out_channels=C,kernel_size=3)
3:BN
4:ReLU
5:Add
0->2
2->3
3->4
0->5
4->5
5->1
"""


def problems_of(text):
    with pytest.raises(BlockError) as caught:
        parse(text)
    return caught.value.problems


def block(*lines):
    return "##b##\n" + "\n".join(lines)


def test_a_plain_block_is_read_without_notes_and_printed_as_it_was():
    read = parse(RESIDUAL)
    assert read.name == "Residual"
    assert read.inputs_of(5) == (0, 4)
    assert read.notes == ()
    assert print_block(read) == str(read) == RESIDUAL


@pytest.mark.parametrize(
    ("written", "read_as"),
    [
        ("###Residual###", "##Residual##"),
        ("## Residual ##", "##Residual##"),
        ("##Residual", "##Residual##"),
        ("# Residual #", "##Residual##"),
        ("2: conv2D( C , 3 )", "2:Conv2d(out_channels=C,kernel_size=3)"),
        ("2:nn.Conv2d(out_channels=C, kernel_size=3, padding=1)", "2:Conv2d(out_channels=C,kernel_size=3)"),
        ("2:Conv2d(out_channels=C,kernel_size=3,padding='same')", "2:Conv2d(out_channels=C,kernel_size=3)"),
        ("3:BatchNorm2d()", "3:BN"),
        ("3: bn  # normalise", "3:BN"),
        ("3:BN // normalise", "3:BN"),
        ("- 3:BN", "3:BN"),
        ("4:relu,", "4:ReLU"),
        ("0 -> 2", "0->2"),
        ("0 --> 2", "0->2"),
        ("0→2", "0->2"),
        ("0=>2;", "0->2"),
        ("(0)->[2]", "0->2"),
        ("* 0->2", "0->2"),
        ("0->2 # the first", "0->2"),
    ],
)
def test_a_line_in_other_words_reads_as_the_plain_one(written, read_as):
    text = RESIDUAL.replace(f"{read_as}\n", f"{written}\n")
    assert text != RESIDUAL
    assert parse(text) == parse(RESIDUAL)


@pytest.mark.parametrize(
    "edges",
    [
        ["0->2->3->4->5->1", "0->5"],
        ["0->2,5", "2->3", "3->4", "4->5->1"],
        ["0->2, 2->3, 3->4", "0,4->5", "5->1"],
        ["0->(2, 5)", "2->3->4", "4->5", "5->1"],
        ["0->2;2->3;3->4;0->5;4->5;5->1"],
        ["0->2", "2->3", "3->4", "0->5", "4->5", "5->1", "0->5"],
    ],
)
def test_edges_in_chains_and_groups_are_the_edges_they_stand_for(edges):
    nodes = RESIDUAL.split("0->2")[0]
    read = parse(nodes + "\n".join(edges))
    assert set(read.edges) == set(parse(RESIDUAL).edges)
    assert read.notes


def test_a_note_says_what_was_written_how_it_was_read_and_where():
    (note,) = parse(RESIDUAL.replace("##Residual##", "###Residual###")).notes
    assert str(note) == "line 1: '###Residual###' was read as ##Residual##"
    text = RESIDUAL.replace("out_channels=C,kernel_size=3", "out_channels=C,kernel_size=3,group=C")
    (note,) = parse(text).notes
    assert (note.line, note.written, note.read_as) == (4, "group=", "groups=")


@pytest.mark.parametrize(
    ("written", "printed"),
    [
        ("Conv2d(kernel_size=3,groups=C,out_channels=C)", "Conv2d(out_channels=C,kernel_size=3,groups=C)"),
        (
            "Conv2d(C, kernel_size=[3,1], stride=(1, 2))",
            "Conv2d(out_channels=C,kernel_size=(3,1),stride=(1,2))",
        ),
        ("Linear(out_features=C // 2)", "Linear(out_channels=C//2)"),
        ("mean(dim=(2,3), keepdim=True)", "mean(dim=(2,3))"),
        ("mean(2, 3)", "mean(dim=(2,3))"),
        ("max(axis=-1)", "max(dim=-1)"),
        ("softmax(-1)", "softmax(dim=-1)"),
        ("cat(dim=1)", "concat(dim=1)"),
        ("matmul", "Multiply"),
        ("reshape((B, C, -1))", "reshape(B,C,-1)"),
        ("reshape(shape=[B, H*W, C])", "reshape(B,H*W,C)"),
        ("reshape((B+1)*C)", "reshape((B+1)*C)"),
        ("permute(dims=(0,2,3,1))", "permute(0,2,3,1)"),
        ("DropPath(p=0.30)", "DropPath(prob=0.3)"),
        ("DropPath", "DropPath"),
        ("Linear(C × 2 − 1)", "Linear(out_channels=C*2-1)"),
        ("AdaptiveAvgPool2d(1)", "AdaptiveAvgPool2d(output_size=1)"),
        ("AdaptiveAvgPool2d(output_size=(H//2, W//2))", "AdaptiveAvgPool2d(output_size=(H//2,W//2))"),
        ("torch.nn.functional.gelu()", "GELU"),
    ],
)
def test_an_operation_is_read_liberally_and_printed_one_way(written, printed):
    read = parse(block("0:input", f"7:{written}"))
    assert str(read.node(7)) == f"7:{printed}"
    assert parse(print_block(read)) == read


def test_ids_that_are_no_numbers_become_the_lowest_free_ones_with_a_note():
    read = parse(
        block("0:input", "2:BN", "2a:ReLU", "99999999999:output", "0->2", "2->2a", "2a->99999999999")
    )
    assert [node.index for node in read.nodes] == [0, 2, 1, 3]
    assert read.edges == ((0, 2), (2, 1), (1, 3))
    assert [(note.line, note.read_as) for note in read.notes] == [(4, "node 1"), (5, "node 3")]
    assert parse(print_block(read)) == read


def test_prose_and_fences_round_a_block_are_left_out():
    text = f"Here is the block:\n\n```text\n{RESIDUAL}```\nIt adds 1->2 shortcuts: see above."
    read = parse(text)
    assert read == parse(RESIDUAL)
    assert any("fence" in note.read_as for note in read.notes)
    assert parse("Sure!\n" + RESIDUAL) == parse(RESIDUAL)


def test_line_numbers_are_those_of_the_text():
    (problem,) = problems_of("prose\n\n```\n" + RESIDUAL.replace("3:BN", "3:Foo") + "```")
    assert problem.line == 8


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("2:Frobnicate", ProblemCode.UNKNOWN_OPERATOR, "'Frobnicate' is not an operation"),
        ("2:Conv2D3(C,3)", ProblemCode.UNKNOWN_OPERATOR, "Did you mean Conv2d?"),
        ("2:SiLU", ProblemCode.UNKNOWN_OPERATOR, "The activations are ReLU, GELU and Sigmoid"),
        ("2:Identity()", ProblemCode.UNKNOWN_OPERATOR, "connect its edges directly"),
        ("2:input2", ProblemCode.UNKNOWN_OPERATOR, "A block has one input"),
        ("2:Conv2d(C)", ProblemCode.ARGUMENT, "Conv2d needs kernel_size"),
        ("2:Conv2d(out_channels=C,kernel_size=3,bias=0)", ProblemCode.ARGUMENT, "no argument 'bias'"),
        ("2:Conv2d(C,3,1,1,1,1)", ProblemCode.ARGUMENT, "at most 5 arguments, got 6"),
        ("2:Conv2d(C,kernel_size=3,out_channels=4)", ProblemCode.ARGUMENT, "given twice"),
        ("2:Conv2d(out_channels=C,3)", ProblemCode.ARGUMENT, "after a named argument"),
        ("2:Conv2d(C,(3,3,3))", ProblemCode.ARGUMENT, "one size or a pair, got 3"),
        ("2:Conv2d((C,C),3)", ProblemCode.ARGUMENT, "out_channels takes a size"),
        ("2:Conv2d(C//r,3)", ProblemCode.SYNTAX, "'r' is not a known size"),
        ("2:Conv2d(C,3,groups=B)", ProblemCode.BATCH, "depends on the batch size"),
        ("2:mean", ProblemCode.ARGUMENT, "mean needs dim"),
        ("2:mean(dim=C)", ProblemCode.ARGUMENT, "plain numbers"),
        ("2:mean(dim=1,keepdim=False)", ProblemCode.ARGUMENT, "always keeps the dimension"),
        ("2:softmax(dim=(1,2))", ProblemCode.ARGUMENT, "dim takes a dimension"),
        ("2:DropPath(prob=1)", ProblemCode.ARGUMENT, "up to, not including, 1"),
        ("2:ReLU(inplace=True)", ProblemCode.ARGUMENT, "no argument 'inplace'"),
        ("2:reshape()", ProblemCode.ARGUMENT, "reshape needs sizes"),
        ("2:Conv2d(C,3", ProblemCode.SYNTAX, "is not an operation"),
        ("2:Conv2d(C,,3)", ProblemCode.SYNTAX, "An argument is empty"),
        ("2:", ProblemCode.SYNTAX, "is not an operation"),
        ("hello there", ProblemCode.SYNTAX, "neither a node nor an edge"),
        ("0->reshape(1)", ProblemCode.SYNTAX, "is not an edge"),
        ("0->", ProblemCode.SYNTAX, "is not an edge"),
        ("0->9", ProblemCode.UNDEFINED_NODE, "names node 9, which is not defined"),
        ("0:BN", ProblemCode.SYNTAX, "Node 0 is defined twice (first on line 2)"),
    ],
)
def test_a_line_without_meaning_is_one_problem_with_its_line(line, code, said):
    (problem,) = problems_of(block("0:input", "1:output", line))
    assert problem.code is code
    assert problem.line == 4
    assert said in str(problem)


def test_every_problem_of_a_text_is_reported_at_once_in_the_order_of_its_lines():
    found = problems_of(block("0:input", "1:Foo", "2:Conv2d(q,3)", "gibberish", "0->7"))
    assert [problem.line for problem in found] == [3, 4, 5, 6]
    with pytest.raises(BlockError) as caught:
        parse(block("0:input", "1:Foo", "2:Bar"))
    assert str(caught.value).startswith(
        "The block has 2 problems:\n1. [unknown operator] node 1:Foo, line 3: "
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "holds no block"),
        ("just prose\nin two lines", "holds no block"),
        ("##a##\n0:input\n##b##\n0:input", "holds 2 blocks (a, b)"),
        ("##a##\n" * 100, "more than 16 blocks"),
        ("x" * 70_000, "more than 65536 characters"),
        (block(*(f"{i}:BN" for i in range(300))), "more than 256 nodes"),
        (block("0:input", *(f"0->{i}" for i in range(1_200))), "more than 1024 edges"),
        (block("0:input", "1:reshape(" + ",".join("C" * 20) + ")"), "more than 16 arguments"),
        (block("0:input", "1:" + "x" * 1_500), "longer than 1000 characters"),
        (block("0:input", "1:" + "x" * 2_500), "longer than 2000 characters"),
    ],
)
def test_what_is_no_single_block_of_sensible_size_is_refused(text, said):
    assert said in str(problems_of(text)[0])


def test_a_block_without_a_header_is_called_block():
    read = parse("0:input\n1:output\n0->1")
    assert read.name == "block"
    assert read.notes


def test_several_blocks_are_read_in_order():
    text = "".join(RESIDUAL.replace("Residual", name) for name in ("a", "b", "c"))
    assert [read.name for read in parse_all(text)] == ["a", "b", "c"]
    design = Design.from_text(text)
    assert (design.cell.name, design.stem.name, design.downsample.name) == ("a", "b", "c")
    assert Design.from_text(design.to_text()) == design
    with pytest.raises(BlockError, match="three blocks"):
        Design.from_text(RESIDUAL)


def test_a_problem_report_survives_pickling_and_is_a_value_error():
    import pickle

    error = BlockError(problems_of("0:input\n1:Foo"))
    assert isinstance(error, ValueError)
    assert pickle.loads(pickle.dumps(error)).problems == error.problems


@pytest.mark.parametrize("name", ["", "a#b", "a\nb", " a", "a\x85b", "a" * 200])
def test_a_name_that_no_header_could_hold_is_refused(name):
    with pytest.raises(ValueError, match="cannot be the name"):
        Block(name, (), ())


def test_a_header_of_odd_characters_gives_a_name_that_reads_back():
    read = parse("##  a\0\u200b \u00a0b ⟶ c  ##\n0:input\n1:output\n0->1")
    assert parse(print_block(read)) == read


def test_nodes_made_in_code_say_what_is_wrong_with_them():
    assert str(make_node(3, "Conv2d", out_channels="C/4", kernel_size=(3, 1))) == (
        "3:Conv2d(out_channels=C/4,kernel_size=(3,1))"
    )
    with pytest.raises(ValueError, match="'conv' is not an operator"):
        make_node(3, "conv")
    with pytest.raises(ValueError, match="has no parameter bias"):
        make_node(3, "Conv2d", bias=1)


@given(drafts())
def test_what_is_printed_reads_back_to_the_same_block(draft):
    read, _ = draft
    assert parse(print_block(read)) == read
    assert parse(print_block(read)).notes == ()


def test_every_published_block_with_one_input_reads_and_reads_back():
    for path in sorted(shared_data("data/nader-official/blocks").glob("*.txt")):
        text = path.read_text()
        if "input1" in text or "DARTSv2_stem" in text:
            continue
        for read in parse_all(text):
            assert parse(print_block(read)) == read, path.name


def test_the_ways_models_spell_are_read():
    texts = [
        text
        for draft in json.loads(shared_data("data/nader-official/llm_drafts.json").read_text())
        for text in draft["blocks"].values()
        if text
    ]
    refused = []
    for text in texts:
        try:
            assert parse(print_block(parse(text))) == parse(text)
        except BlockError as error:
            refused.append({problem.code for problem in error.problems})
    assert len(refused) <= 8, refused


# --- every liberty is told, and nothing is left out in silence ---


def told(text):
    return [(note.line, note.written, note.read_as) for note in parse(text).notes]


@pytest.mark.parametrize(
    ("operation", "written", "read_as"),
    [
        ("Conv2d(out_channels=c,kernel_size=3)", "c", "C"),
        ("Conv2d(out_channels=DIM/2,kernel_size=3)", "DIM/2", "dim/2"),
        ("reshape(batch,C,H,W)", "batch", "B"),
        ("softmax(dim=1.0)", "1.0", "1"),
        ("Conv2d(out_channels=C,kernel_size=3.0)", "3.0", "3"),
        ("mean(dim=+1)", "+1", "1"),
        ("Conv2d(out_channels=(C),kernel_size=3)", "(C)", "C"),
        ("BN # batch norm", "2:BN # batch norm", "2:BN"),
        ("BN // batch norm", "2:BN // batch norm", "2:BN"),
        ("BN;", "2:BN;", "2:BN"),
        ("BN,", "BN,", "BN"),
        ("ReLU()", "ReLU()", "ReLU"),
    ],
)
def test_every_liberty_with_an_operation_leaves_a_note(operation, written, read_as):
    assert told(block("0:input", "1:output", f"2:{operation}", "0->2", "2->1")) == [(4, written, read_as)]


def test_comments_bullets_and_headings_leave_notes():
    text = "##b##\nNodes:\n0:input\n1:output\n- 2:BN\n# the edges\n0->2\n2->1\n"
    assert told(text) == [
        (2, "Nodes:", "a heading"),
        (5, "- 2:BN", "2:BN"),
        (6, "# the edges", "a comment"),
    ]
    assert parse(text).edges == ((0, 2), (2, 1))


def test_a_plain_block_leaves_no_note():
    assert not told(
        block("0:input", "1:output", "2:Conv2d(out_channels=C/4*3, kernel_size=(3, 1))", "0->2", "2->1")
    )


NODES = "##b##\n0:input\n1:output\n2:BN\n"


@pytest.mark.parametrize(
    "text",
    [
        f"```\n{NODES}```\nEdges:\n```\n0->2\n2->1\n```\n",
        f"```\n{NODES}```\n0->2\n2->1\n",
        f"Nodes:\n```\n{NODES}```\nand these edges:\n- 0->2\n- 2->1\n",
    ],
)
def test_edges_in_another_fence_or_after_it_are_read(text):
    assert parse(text).edges == ((0, 2), (2, 1))


def test_what_stands_outside_the_fence_is_told():
    text = f"Here it is.\nAs you asked.\n\n```\n{NODES}0->2\n2->1\n```\nThe edge 3->4 is gone.\n0->1\n"
    assert parse(text).edges == ((0, 2), (2, 1))
    outside = "nothing: it stands outside the code fence that holds the block"
    assert [note for note in told(text) if note[2] == outside] == [
        (1, "Here it is.", outside),
        (12, "The edge 3->4 is gone.", outside),
    ]


def test_prose_after_the_last_edge_is_a_note():
    text = (
        f"{NODES}0->2\n2->1\n\nThis block normalises the input.\nNote: it is the path 0 -> 2 that does it.\n"
    )
    assert parse(text).edges == ((0, 2), (2, 1))
    assert [note[0] for note in told(text) if note[2] == "prose after the block"] == [8, 9]


@pytest.mark.parametrize(
    "text",
    [
        f"{NODES}0->2\nThis block normalises the input.\n2->1\n",  # what follows may hang on it
        f"{NODES}This block has no edges at all.\n",
        f"{NODES}0->2\n2->1\n3 - > 1\n",  # an edge that went wrong
        f"{NODES}0->2\n2->1\n3:Frobnicate the whole input\n",
    ],
)
def test_a_line_that_could_have_meant_something_is_a_problem(text):
    assert problems_of(text)


@pytest.mark.parametrize(
    "operation",
    ["Conv2d(out_channels=C,kernel_size=3.7)", "Conv2d(out_channels=2.5,kernel_size=3)", "reshape(B,C,2.5,W)",
     "Conv2d(out_channels=C,kernel_size=3,groups=1.5)", "MaxPool2d(kernel_size=3,stride=1.2)"],
)  # fmt: skip
def test_a_number_with_a_fraction_is_no_size(operation):
    verdict = check(block("0:input", "1:output", f"2:{operation}", "0->2", "2->1"), Role.CELL)
    (problem,) = verdict.problems
    assert problem.code is ProblemCode.ARGUMENT
    assert (problem.node, problem.line) == (2, 4)
    assert "is not a whole number" in problem.message


def test_what_is_no_text_is_said_so():
    with pytest.raises(TypeError, match="the text of a block is a str, not NoneType"):
        parse(None)
    with pytest.raises(TypeError, match="a NAS-Bench-201 cell is a str, not NoneType"):
        from_nas_bench_201(None)
