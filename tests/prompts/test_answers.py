"""Answers as models write them: read where they can be read, asked for again where not."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import prompts
from nader.graph import check
from prompts import AnswerError, json_schema, parse_answer, repair_messages
from prompts.answers import LONGEST
from tests.conftest import shared_data

BLOCK = "##New##\n0:input\n1:output\n2:Conv2d(C,3)\n0->2\n2->1"
OTHER = "##Old##\n0:input\n1:output\n2:ReLU\n0->2\n2->1"

BLOCKS = [
    ("tagged", f"<block>\n{BLOCK}\n</block>"),
    ("upper-case tags", f"<BLOCK>\n{BLOCK}\n</Block>"),
    ("fence inside the tag", f"<block>\n```text\n{BLOCK}\n```\n</block>"),
    ("tag inside a fence", f"```\n<block>\n{BLOCK}\n</block>\n```"),
    ("fence alone", f"Here it is:\n```\n{BLOCK}\n```\nI hope it helps."),
    ("tilde fence", f"~~~graph\n{BLOCK}\n~~~"),
    ("bare", f"I add a convolution.\n\n{BLOCK}\n\nThis keeps the shape."),
    ("thoughts first", f"<think>maybe {OTHER}\n</think>\n<block>\n{BLOCK}\n</block>"),
    ("thoughts whose opening is part of the template", f"perhaps {OTHER}</think>\n{BLOCK}"),
    ("thinking tag", f"<thinking>\n<block>\n{OTHER}\n</block>\n</thinking>\n<block>\n{BLOCK}\n</block>"),
    ("the last of several", f"<block>\n{OTHER}\n</block>\nNo, better:\n<block>\n{BLOCK}\n</block>"),
    ("a tag mentioned in passing", f"I write a <block> now.\n<block>\n{BLOCK}\n</block>"),
    ("never closed", f"Done.\n<block>\n{BLOCK}"),
    ("words around it in the tag", f"<block>\nThe block is:\n{BLOCK}\n</block>"),
    ("escaped arrows", "<block>\n" + BLOCK.replace(">", "&gt;") + "\n</block>"),
    ("old block repeated before", f"The old one:\n{OTHER}\n\nThe new one:\n{BLOCK}"),
    ("tag named after the role", f"<cell>\n{BLOCK}\n</cell>"),
    ("thoughts after", f"<block>\n{BLOCK}\n</block>\n<reasoning>\nKept the skip.\n</reasoning>"),
    ("thoughts after, cut off", f"<block>\n{BLOCK}\n</block>\n<think>\nIs {OTHER}"),
    ("thoughts before and after", f"<think>a</think><block>\n{BLOCK}\n</block><thought>b</thought>"),
    ("thoughts that mention their tag", f"<think>no <think>, {OTHER}</think><block>\n{BLOCK}\n</block>"),
    ("thoughts within thoughts", f"<thinking><think>{OTHER}</thinking></think><block>\n{BLOCK}\n</block>"),
    ("thoughts in the tag", f"<block>\n<think>so {OTHER}</think>\n{BLOCK}\n</block>"),
    ("all of it as thoughts", f"<reasoning>\nI add.\n<block>\n{BLOCK}\n</block>\n</reasoning>"),
    ("all of it as thoughts, and a word", f"<Reasoning>\n<block>\n{BLOCK}\n</block>\n</Reasoning> Done."),
    ("old block quoted in its own tag", f"<block>\n{OTHER}\n</block> becomes\n<block>\n{BLOCK}\n</block>"),
    ("the new part shown after", f"<block>\n{BLOCK}\n</block> New:\n<block>\n##New##\n2:BN\n0->2\n</block>"),
    ("the same, bare", f"{BLOCK}\n\nThe new part:\n\n##New##\n2:BN\n0->2"),
    ("JSON, then thoughts", json.dumps({"text": BLOCK}) + "<thought>fine</thought>"),
    ("JSON", json.dumps({"text": BLOCK})),
    ("windows lines", f"<block>\r\n{BLOCK}\r\n</block>".replace("\r\n", "\n")),
]


@pytest.mark.parametrize("text", [t for _, t in BLOCKS], ids=[n for n, _ in BLOCKS])
def test_a_block_is_found_in_what_models_write(text: str) -> None:
    assert parse_answer("modify_cell", text).text == BLOCK


@pytest.mark.parametrize(
    ("header", "found"),
    [("###New###", True), ("## New ##", True), ("**##New##**", True), ("# New", False)],
)
def test_headers_as_models_write_them(header: str, found: bool) -> None:
    text = BLOCK.replace("##New##", header)
    assert parse_answer("repair", f"<block>\n{text}\n</block>").text == text
    if found:
        assert parse_answer("repair", f"Here:\n\n{text}\n\nBye.").text.endswith("2->1")


@pytest.mark.parametrize("arrow", ["->", "-->", "--->", "=>", "==>", "→", "⟶", "⇒", " → ", " -> "])
def test_every_arrow_that_the_language_reads_is_an_edge_in_an_answer(arrow: str) -> None:
    text = BLOCK.replace("->", arrow)
    assert [p.code for p in check(text, "cell").problems] == []
    old = f"Old:\n<block>\n{OTHER}\n</block>\nNew:\n"
    for answer in (text, f"```\n{text}\n```", f"<block>\n{text}\n</block>"):
        assert parse_answer("modify_cell", answer).text == text
    assert parse_answer("modify_cell", f"{old}<block>\n{text}\n</block>").text == text
    assert parse_answer("modify_cell", f"{OTHER}\n\n{text}").text == text


def test_edges_to_a_group_of_nodes_are_edges() -> None:
    text = "##New##\n0:input\n1:output\n2:BN\n3:ReLU\n4:Add\n0→(2,3)\n(2,3)→4→1"
    assert not check(text, "cell").problems
    assert parse_answer("modify_cell", f"Here:\n\n{text}\n\nBye.").text == text


def test_thoughts_alone_are_no_answer_and_no_tip() -> None:
    for prompt, text in (
        ("reflect_success", "<think>Keep the skip.</think>"),
        ("modify_cell", f"<think>maybe {OTHER}</think>"),
        ("modify_cell", f"<think>maybe <block>\n{OTHER}\n</block> but"),
        ("judge_relevance", "<reasoning>yes</reasoning>"),
    ):
        with pytest.raises(AnswerError, match="empty after its reasoning"):
            parse_answer(prompt, text)


@pytest.mark.parametrize(
    "text",
    [
        f"<stem>\n{OTHER}\n</stem>\n<downsample>\n{BLOCK}\n</downsample>",
        f"<downsample>\n{BLOCK}\n</downsample>\n<stem>\n```\n{OTHER}\n```\n</stem>",
        f"{OTHER}\n\n{BLOCK}",
        f"```\n{OTHER}\n```\nand\n```\n{BLOCK}\n```",
        f"<stem>\n{OTHER}\n</stem>\n\n{BLOCK.replace('New', 'New_downsample')}",
        json.dumps({"stem": OTHER, "downsample": BLOCK}),
    ],
)
def test_stem_and_downsample_are_told_apart(text: str) -> None:
    pair = parse_answer("design_stem_and_downsample", text)
    assert pair.stem == OTHER and pair.downsample.replace("New_downsample", "New") == BLOCK


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("<ranking>b, a, c</ranking>", ("b", "a", "c")),
        ("<ranking>\n```\nb\na\n```\n</ranking>", ("b", "a")),
        ("<ranking>[b], [a]</ranking>", ("b", "a")),
        ("<ranking>b > a > b</ranking>", ("b", "a")),
        ("<response>b,a</response>", ("b", "a")),
        ("I rank them so: b, a, c", ("b", "a", "c")),
        ('{"ids": ["b", "a", "b"]}', ("b", "a")),
        ('```json\n{"ids": ["b", "c"], "why": "so"}\n```', ("b", "c")),
        ("<think>a, b</think><ranking>c, x, b</ranking>", ("c", "b")),
        ("<ranking>a, b</ranking><reasoning>c is worse</reasoning>", ("a", "b")),
        ('{"reason": "c is worse", "ids": ["a", "b"]}', ("a", "b")),
        ('{"ranking": ["b", "a"]}', ("b", "a")),
        ("Depth, width and gates:\n\n1. [b] because it adds a, c\n   twice.\n2. [a] is simple", ("b", "a")),
        ("- **b**: adds a gate\n- **c**: none yet", ("b", "c")),
        ("2) b\n1) a", ("b", "a")),
        ("- [a] is weak\n- [b] is strong\n\nSo: b, a", ("b", "a")),
    ],
)
def test_rankings(text: str, ids: tuple[str, ...]) -> None:
    assert parse_answer("rank_inspirations", text, ids={"a", "b", "c"}).ids == ids


def test_numeric_ids_in_json_are_text() -> None:
    assert parse_answer("rank_inspirations", '{"ids": [3, 1]}', ids={"1", "3"}).ids == ("3", "1")


@pytest.mark.parametrize(
    ("text", "relevant"),
    [
        ("<reason>New.</reason><verdict>yes</verdict>", True),
        ("<verdict>No.</verdict>", False),
        ("<reason>no</reason>\n<VERDICT> YES </VERDICT>", True),
        ("It concerns losses only.\n\nVerdict: no", False),
        (
            "Yes, it adds a gate.\nIt is about a new structure of the block and nothing else.",
            True,
        ),
        ('{"reason": "gate", "relevant": true}', True),
        ("<think>no no no</think>yes", True),
        ("##response## yes", True),
        ("<verdict>yes</verdict>\n<thought>no doubt</thought>", True),
        ("<reasoning>New. <verdict>yes</verdict></reasoning>", True),
    ],
)
def test_verdicts(text: str, relevant: bool) -> None:
    assert parse_answer("judge_relevance", text).relevant is relevant


def test_a_judgement_keeps_its_reason() -> None:
    answer = parse_answer("judge_modification", "<reason>Node 4 is new.</reason><verdict>yes</verdict>")
    assert (answer.follows, answer.reason) == (True, "Node 4 is new.")


@pytest.mark.parametrize(
    ("text", "items"),
    [
        (
            "<inspiration>Add a gate.</inspiration>\n<inspiration>Add\n a skip.</inspiration>",
            ("Add a gate.", "Add a skip."),
        ),
        ("1. Add a gate.\n2. Add a skip.", ("Add a gate.", "Add a skip.")),
        ("- **Add** a gate.\n- Add a gate.", ("Add a gate.",)),
        ("<inspiration>none</inspiration>", ()),
        ("None.", ()),
        ('{"inspirations": ["Add a gate."]}', ("Add a gate.",)),
        ('{"inspirations": []}', ()),
    ],
)
def test_inspirations(text: str, items: tuple[str, ...]) -> None:
    assert parse_answer("extract_inspirations", text).inspirations == items


def test_a_tip_is_one_line_and_a_suggestion_is_short() -> None:
    assert parse_answer("reflect_invalid", "Because…\n<tip>Use\n LN  last.</tip>").text == "Use LN last."
    assert parse_answer("reflect_success", "Keep the skip.").text == "Keep the skip."
    long = "Keep the skip connection. " + "word " * 60
    assert parse_answer("reflect_loss", f"<tip>{long}</tip>").text == "Keep the skip connection."
    with pytest.raises(AnswerError, match="has 60 words, and may have 50"):
        parse_answer("reflect_loss", f"<tip>{'word ' * 60}</tip>")


@pytest.mark.parametrize(
    "text",
    [
        "**Tip:** Do x twice.",
        "**Tip: Do x twice.**",
        "<tip>**Tip**: Do x twice.</tip>",
        "### Tip\nDo **x** twice.",
        "Suggestion: Do x twice.",
        '{"tip": "Do x twice."}',
        '```json\n{"text": "**Tip:** Do x twice."}\n```',
        '{"suggestion": "Do x twice."}',
    ],
)
@pytest.mark.parametrize("name", ["reflect_invalid", "reflect_loss"])
def test_a_tip_comes_without_its_markup(text: str, name: str) -> None:
    assert parse_answer(name, text).text == "Do x twice."


def test_a_suggestion_in_json_may_be_no_longer_than_one_in_a_tag() -> None:
    with pytest.raises(AnswerError, match="has 60 words, and may have 50"):
        parse_answer("reflect_loss", json.dumps({"tip": "word " * 60}))


def test_json_under_the_names_of_the_tags_is_read() -> None:
    assert parse_answer("judge_relevance", '{"reason": "r", "verdict": "no"}').relevant is False
    assert parse_answer("judge_modification", '{"verdict": "yes"}').follows is True
    assert parse_answer("propose_freely", '{"proposal": ["Add a gate."]}').proposals == ("Add a gate.",)
    assert parse_answer("extract_inspirations", '{"inspiration": []}').inspirations == ()


def test_code_is_taken_from_tag_or_fence() -> None:
    code = "import torch\n\nclass Cell:\n    def forward(self, x):\n        return x"
    for text in (
        f"<code>\n{code}\n</code>",
        f"<code>\n```python\n{code}\n```\n</code>",
        f"So:\n```python\n{code}\n```",
    ):
        assert parse_answer("direct_code", text).text == code + "\n"


@pytest.mark.parametrize(
    ("prompt", "text", "complaint"),
    [
        ("modify_cell", "I cannot do that.", "The answer holds no block"),
        ("modify_cell", "##Only a header##\nand words", "The answer holds no block"),
        ("modify_cell", "", "The answer is empty after its reasoning"),
        ("modify_cell", "<think>I was still thinking and then", "The answer is empty after its reasoning"),
        ("modify_cell", "x" * (LONGEST + 1), "far more than asked for"),
        ("design_stem_and_downsample", f"<stem>{OTHER}</stem>", "lacks the downsample block"),
        ("design_stem_and_downsample", "Sorry.", "lacks the stem and the downsample block"),
        ("rank_inspirations", "All are good.", "holds no ranking"),
        ("rank_inspirations", "<ranking>x, y</ranking>", "names none of the ids given"),
        ("judge_relevance", "It depends.", "neither yes nor no"),
        ("judge_relevance", "<verdict>perhaps</verdict>", "neither yes nor no"),
        ("propose_freely", "I have no idea.", "holds no proposal"),
        ("extract_inspirations", "The paper is long.", "holds no inspiration"),
        ("direct_code", "```\nx = 1\n```", "holds no Python code"),
        ("reflect_invalid", "word " * 200, "holds no tip"),
    ],
)
def test_an_answer_of_another_form_is_asked_for_again_by_saying_the_form(
    prompt: str, text: str, complaint: str
) -> None:
    with pytest.raises(AnswerError) as caught:
        parse_answer(prompt, text, ids={"a"})
    assert complaint in str(caught.value)
    assert prompts.ANSWERS[prompts.load(prompt).answer].ask in str(caught.value)


def test_a_repair_turn_shows_the_end_of_the_answer_and_the_complaint() -> None:
    answer, again = repair_messages("long " * 5000 + "end", AnswerError("The answer holds no block."))
    assert answer.role == "assistant" and answer.content.endswith("end") and len(answer.content) < 7000
    assert again.role == "user" and again.content.startswith("The answer holds no block.")
    assert repair_messages("", AnswerError("Empty."))[0].content == "(empty)"


@pytest.mark.parametrize("name", prompts.NAMES)
def test_schemas_are_what_structured_output_accepts(name: str) -> None:
    schema = json_schema(name)
    if schema is None:
        assert prompts.load(name).answer in {"block", "stem_and_downsample", "code", "tip", "suggestion"}
        return
    assert schema["additionalProperties"] is False and schema["required"] == list(schema["properties"])
    assert schema["required"][0] == "reason", (
        "a schema leaves no room to think but in a field before the answer"
    )
    assert not {"default", "minItems", "minLength", "$ref"} & set(
        json.dumps(schema).replace('"', " ").split()
    )


ALPHABET = st.sampled_from(
    ["<block>", "</block>", "<think>", "</think>", "```", "##a##", "\n", "0->1", "1:output", "{", "}", '"',
     "yes", "no", "<verdict>", "</verdict>", "<ranking>", "- x", ",", "&lt;", "\x00", "é", "a", " ", "###",
     "<stem>", "->"]
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.lists(ALPHABET, max_size=40).map("".join), st.sampled_from(prompts.NAMES))
def test_any_text_gives_a_typed_answer_or_an_answer_error(text: str, name: str) -> None:
    try:
        answer = parse_answer(name, text)
    except AnswerError:
        return
    assert isinstance(answer, prompts.ANSWERS[prompts.load(name).answer].model)


@pytest.mark.parametrize(
    "text",
    ["<block>" * 50_000, "<think>" * 50_000, "</think>" * 40_000, "<think></think>" * 25_000,
     "<think>" + "<block>" * 50_000 + "</think>", "→" * 300_000,
     "`" * 300_000, "#" * 300_000, "a," * 150_000, "0-" * 150_000, "[" * 300_000,
     "- " * 150_000, "0" * 300_000, "##" + " " * 300_000, "a. " * 100_000, "<tip>" + "a " * 150_000,
     "> " * 150_000,
     '{"ids":' * 40_000, "<" * 300_000, "\n" * 300_000, "##a" * 100_000, " \t" * 150_000],
    ids=lambda text: repr(text[:8]),
)  # fmt: skip
def test_repetitive_text_is_read_in_bounded_steps(text: str) -> None:
    for name in prompts.NAMES:
        try:
            parse_answer(name, text)
        except AnswerError:
            continue


def test_real_drafts_come_back_whole_from_a_chatty_answer() -> None:
    drafts = json.loads(shared_data("data/nader-official/llm_drafts.json").read_text())
    for draft in drafts:
        text = draft["blocks"]["base_block"].strip().removesuffix("```").strip()
        for answer in (
            f"<block>\n{text}\n</block>",
            f"So:\n```\n{text}\n```\nDone.",
            f"It is:\n\n{text}\n\nDone.",
        ):
            found = parse_answer("modify_cell", answer).text
            assert found.splitlines()[-1].strip() == text.splitlines()[-1].strip()
            assert found.splitlines()[0].strip() == text.splitlines()[0].strip()
