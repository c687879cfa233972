"""The rule-based designer: valid, varied, and a function of the messages alone."""

from __future__ import annotations

import json
from collections import Counter
from fractions import Fraction

import anyio
import pytest

import prompts
from nader.graph import Role, check, digest, parse, print_block, verify
from nader.graph.edit import EDITS, apply_edit, edit_named_in
from nader.graph.library import BASE_DESIGNS, base_design
from nader.literature import seed_inspirations
from nader.llm import LLMError, RuleBasedDesigner
from nader.llm.rules import RULES, answer_prompt
from nader.llm.rules.ideas import cell_edits_named_in, sentence_for
from nader.llm.rules.mending import mend
from prompts import parse_answer
from tests.conftest import shared_data
from tests.llm.support import ask

CELLS = {name: print_block(base_design(name).cell) for name in BASE_DESIGNS}


def answered(prompt: str, **values: str) -> prompts.Answer:
    """The designer's answer, read as any model's would be."""
    return parse_answer(prompt, answer_prompt(ask(prompt, values=values).messages))


def test_it_answers_every_prompt_of_a_campaign_in_the_form_asked_for() -> None:
    for name in prompts.NAMES:
        if name != "direct_code":
            assert answered(name, inspirations="[a] Add a skip connection.\n[b] Be bold."), name


def test_it_says_that_it_is_no_language_model() -> None:
    reply = anyio.run(lambda: RuleBasedDesigner().chat(ask()))
    assert (reply.model, reply.cost, reply.input_tokens, reply.output_tokens) == ("rule-based", 0.0, 0, 0)


def test_it_has_no_rule_for_code_and_none_for_messages_of_another_make() -> None:
    assert set(RULES) == set(prompts.NAMES) - {"direct_code"}
    with pytest.raises(LLMError, match="no rule for the prompt 'direct_code'"):
        answer_prompt(ask("direct_code").messages)
    with pytest.raises(LLMError, match="this package's prompts only"):
        answer_prompt([prompts.Message(role="user", content="Hello")])


def test_the_same_messages_give_the_same_answer() -> None:
    for name in RULES:
        request = ask(name, values={"inspirations": "[a] x\n[b] dilation\n[c] gelu"})
        assert answer_prompt(request.messages) == answer_prompt(request.messages)


@pytest.mark.parametrize("base", CELLS)
def test_the_seed_inspirations_give_valid_cells_of_at_least_twelve_kinds(base: str) -> None:
    kinds: Counter[str] = Counter()
    seen = set()
    before = digest(parse(CELLS[base]))
    for inspiration in seed_inspirations():
        text = answered("modify_cell", block=CELLS[base], inspiration=inspiration.text).text
        block = parse(text)
        assert verify(block, Role.CELL).ok, text
        assert digest(block) != before
        kind = edit_named_in(inspiration.text)
        if kind is not None and block.name.endswith(kind.replace("-", "_")):
            kinds[kind] += 1
        seen.add(digest(block))
    assert len(kinds) >= 12 and len(seen) >= 15, kinds


EDITS_OF_SEEDS = """
add-layer: vgg-two-small nin-pointwise-layers
asymmetric-convolution: slak-strips inception3-asymmetric gcn-crossed-pairs acnet-skeleton
batch-norm: pyramid-no-relu-before-add batchnorm-after-every-conv
bottleneck: resnet-bottleneck
channel-scale: rezero-scaled-branch cait-layer-scale
channel-shuffle: shufflenet-group-pointwise
dense-connection: densenet-dense-concat dla-aggregate-stages
depthwise-separable: darts-two-separable nasnet-mixed-cell mobilenet-depthwise-separable
    xception-separable-stack efficientnet2-fused shufflenet2-balanced-branches ghostnet-cheap-features
    cpvt-position-by-conv
dilation: dilated-context drn-smooth-dilation deeplab3-rates
efficient-channel-attention: eca-no-reduction
extra-skip: resnet-identity-skip dpn-add-and-concat mixer-alternate
gated-unit: highway-gated-skip focal-modulation hornet-recursive-gates starnet-star-operation
    gmlp-spatial-gating
gelu: gelu-for-relu
global-context: gcnet-global-context
grouped-convolution: resnext-grouped regnet-group-width igc-two-partitions resnest-split-attention
inverted-bottleneck: mobilenet2-inverted-bottleneck mobilenet2-linear-projection efficientnet-mbconv
    fasternet-partial-conv vit-mlp-expansion coatnet-depthwise-then-attention convnext2-response-norm
larger-kernel: convnext-large-depthwise replknet-very-large convmixer-isotropic
layer-norm: swin-two-residuals layernorm-for-batchnorm
multi-scale: mixconv-kernels res2net-hierarchy sknet-select
none: earlyconv-stem allconv-stride inception3-parallel-reduction antialias-blur
    bagoftricks-avgpool-shortcut
parallel-add: fractal-paths shakeshake-two-branches repvgg-parallel-add dbb-diverse
parallel-concat: cspnet-partial-transform squeezenet-fire inceptionnext-split googlenet-four-branches
    inception4-residual
pooled-attention: nonlocal-self-attention botnet-attention-in-bottleneck
pooling-branch: octave-low-frequency gather-excite-local pspnet-pyramid strip-pooling metaformer-pooling
pre-activation: preact-order
remove-branch: shufflenet2-fewer-branches repvgg-plain-at-last
remove-layer: convnext-fewer-activations convnext-single-norm
spatial-gate: residual-attention-mask van-large-kernel-attention scse-pointwise-gate
squeeze-and-excitation: parnet-parallel-shallow mobilenet3-se-in-expansion senet-recalibrate
    senet-before-branch cbam-channel-then-space cbam-max-descriptor bam-parallel-gates
    coordinate-two-axes nfnet-without-norm
stochastic-depth: stochastic-depth
swish: swish-gated-activation
wider-middle: wrn-wider-inside
"""
"""What each shipped idea asks of a cell, as read by a person; `none`: about the change of resolution."""


def test_every_seed_inspiration_is_read_as_the_edit_it_names() -> None:
    expected = {
        f"seed-{name}": kind
        for kind, names in (
            line.split(": ") for line in EDITS_OF_SEEDS.strip().replace("\n    ", " ").split("\n")
        )
        for name in names.split()
    }
    named = {seed.id: next(iter(cell_edits_named_in(seed.text)), "none") for seed in seed_inspirations()}
    assert named == expected


def test_an_idea_about_resolution_is_not_passed_off_as_an_edit_of_the_cell() -> None:
    idea = "In the shortcut of a downsampling block use average pooling of stride 2."
    request = ask(values={"block": CELLS["resnet-basic"], "inspiration": idea})
    assert "names no edit" in answer_prompt(request.messages)


@pytest.mark.parametrize(
    ("idea", "detail"),
    [
        ("Add a pooling branch: 3x3 max pooling beside the convolution.", "MaxPool2d"),
        ("Add a pooling branch: average pooling beside the convolution.", "AvgPool2d"),
        ("Multiply by a 3x3 spatial gate.", "kernel_size=3"),
        ("Multiply by a 7x7 spatial gate.", "kernel_size=7"),
    ],
)
def test_the_size_and_the_pooling_an_idea_names_are_kept(idea: str, detail: str) -> None:
    before = CELLS["convnext"].count(detail)
    for spelling in (idea, idea.replace("x", "×"), f"{idea} Please."):
        text = answered("modify_cell", block=CELLS["convnext"], inspiration=spelling).text
        assert text.count(detail) > before, text


def test_a_named_edit_is_the_one_applied() -> None:
    block = parse(CELLS["resnet-basic"])
    text = answered(
        "modify_cell", block=CELLS["resnet-basic"], inspiration="Use squeeze-and-excitation."
    ).text
    forms = {
        digest(b) for v in range(3) if (b := apply_edit(block, "squeeze-and-excitation", variant=v).block)
    }
    assert digest(parse(text)) in forms


def test_a_suggestion_that_names_nothing_gets_some_edit_and_says_so() -> None:
    request = ask(values={"block": CELLS["resnet-basic"], "inspiration": "Make it better, please."})
    text = answer_prompt(request.messages)
    assert "names no edit" in text and verify(parse(parse_answer("modify_cell", text).text), Role.CELL).ok


@pytest.mark.parametrize("kind", EDITS)
def test_every_kind_has_a_sentence_that_names_it(kind: str) -> None:
    assert edit_named_in(sentence_for(kind)) == kind


@pytest.mark.parametrize("scale", ["1", "1/4"])
@pytest.mark.parametrize("base", CELLS)
def test_stem_and_downsample_verify_in_their_roles(base: str, scale: str) -> None:
    pair = answered("design_stem_and_downsample", cell=CELLS[base], stem_scale=scale)
    assert check(pair.stem, Role.STEM).ok and check(pair.downsample, Role.DOWNSAMPLE).ok
    assert ("stride=4" in pair.stem or pair.stem.count("stride=2") == 2) is (scale == "1/4")


def test_ranking_puts_applicable_new_and_successful_edits_first() -> None:
    ideas = "\n".join(
        ["[n] Train for longer.", "[d] Use dilation.", "[g] Use GELU.", "[s] Use squeeze-and-excitation."]
    )
    told = "- -0.50 points: Use dilation. Lesson: no.\n- +0.70 points: Use GELU. Lesson: yes."
    ids = answered(
        "rank_inspirations", block=CELLS["resnet-basic"], inspirations=ideas, experience=told, count="4"
    ).ids
    assert set(ids[:2]) == {"g", "s"} and ids[2:] == ("d", "n")


def test_ranking_spreads_kinds_and_returns_as_many_as_asked() -> None:
    ideas = "\n".join(f"[{i}] {text}" for i, text in enumerate(["Use GELU."] * 4 + ["Use dilation."]))
    ids = answered("rank_inspirations", block=CELLS["resnet-basic"], inspirations=ideas, count="2").ids
    assert len(ids) == 2 and "4" in ids


def test_free_proposals_are_of_different_kinds_and_avoid_what_was_tried() -> None:
    history = "- +0.10 points: Use dilation. Lesson: fine."
    told = answered("propose_freely", block=CELLS["resnet-basic"], history=history, count="12").proposals
    kinds = [edit_named_in(text) for text in told]
    assert len(set(kinds)) == 12 and "dilation" not in kinds


def test_it_reads_papers_for_sentences_that_name_an_edit() -> None:
    section = (
        "We train for 90 epochs with a large batch on eight machines. "
        "Our block places a squeeze-and-excitation gate after the second convolution of the branch. "
        "We further replace the standard convolution by a depthwise separable one in every block."
    )
    assert len(answered("extract_inspirations", section=section).inspirations) == 2
    assert answered("extract_inspirations", section="Nothing is said here.").inspirations == ()
    assert answered("judge_relevance", title="A network with dilated convolution", abstract="").relevant
    assert not answered("judge_relevance", title="A survey of annotation costs", abstract="").relevant


def test_judging_tells_the_named_edit_from_another() -> None:
    block = parse(CELLS["resnet-basic"])
    gelu = apply_edit(block, "gelu").block
    assert gelu is not None
    values = {"block": CELLS["resnet-basic"], "modified": print_block(gelu)}
    assert answered("judge_modification", suggestion="Use GELU.", **values).follows
    assert not answered("judge_modification", suggestion="Use dilation.", **values).follows
    values["modified"] = values["block"]
    assert not answered("judge_modification", suggestion="Use GELU.", **values).follows


FAULTY = [
    ("two inputs", "0:input\n1:output\n2:BN\n3:Conv2d(C,3)\n0->2\n0->3\n3->2\n2->1"),
    ("unused node", "0:input\n1:output\n2:BN\n3:ReLU\n0->2\n2->1\n0->3"),
    ("channels first before LN", "0:input\n1:output\n2:Conv2d(C,3)\n3:LN\n0->2\n2->3\n3->1"),
    ("wrong width", "0:input\n1:output\n2:Conv2d(2*C,3)\n0->2\n2->1"),
    ("groups", "0:input\n1:output\n2:Conv2d(C,3,groups=7)\n0->2\n2->1"),
    ("undefined node", "0:input\n1:output\n2:BN\n0->2\n2->1\n9->1"),
]


@pytest.mark.parametrize(("fault", "body"), FAULTY, ids=[f for f, _ in FAULTY])
def test_a_common_fault_is_mended(fault: str, body: str) -> None:
    draft = f"##Draft##\n{body}"
    problems = check(draft, Role.CELL).report()
    assert problems
    assert check(answered("repair", draft=draft, problems=problems).text, Role.CELL).ok


@pytest.mark.parametrize("role", ["cell", "stem", "downsample"])
def test_what_cannot_be_mended_is_replaced_by_a_plain_block(role: str) -> None:
    text = answered(
        "repair", draft="##X##\nno graph at all", problems="1. [syntax] all of it", role=role
    ).text
    assert check(text, Role(role)).ok


def test_a_stem_that_cannot_be_mended_is_replaced_by_one_of_the_scale_asked_for() -> None:
    for scale in ("1", "1/4"):
        told = {"draft": "##X##\nno graph", "problems": "1. [syntax] C/4 is no node", "role": "stem"}
        block = parse(answered("repair", scale=scale, **told).text)
        assert verify(block, Role.STEM, scale=Fraction(scale)).ok


def test_a_repair_of_an_unchanged_cell_changes_it() -> None:
    text = answered("repair", draft=CELLS["convnext"], problems="This block is the one to be modified.").text
    assert digest(parse(text)) != digest(parse(CELLS["convnext"]))


def test_tips_tell_the_remedy_without_node_numbers() -> None:
    report = check(f"##X##\n{FAULTY[2][1]}", Role.CELL).report()
    tip = answered("reflect_invalid", problems=report).text
    assert "Avoid this fault" in tip and "node 3" not in tip
    loss = answered(
        "reflect_loss", inspiration="Use dilation.", parent_accuracy="91.2", child_accuracy="90.1"
    ).text
    assert "dilation" in loss and "lowered validation accuracy from 91.2 to 90.1" in loss
    assert len(loss.split()) <= prompts.forms.WORDS_OF_A_SUGGESTION


def test_real_faulty_drafts_are_mended_or_left_and_every_repair_verifies() -> None:
    drafts = json.loads(shared_data("data/nader-official/llm_drafts.json").read_text())
    counts: Counter[str] = Counter()
    for draft in drafts:
        text = draft["blocks"]["base_block"]
        verdict = check(text, Role.CELL)
        if verdict.ok:
            continue
        counts["mended" if mend(text, Role.CELL) else "not mended"] += 1
        repaired = answered("repair", draft=text, problems=verdict.report()).text
        assert check(repaired, Role.CELL).ok, repaired
    assert counts["mended"] >= 20, counts
