"""Every edit gives another verified cell, or says why not: of any cell, and of what edits made of it."""

import random
from collections import Counter

import pytest

from nader.graph import (
    BASE_DESIGNS,
    EDITS,
    Role,
    Site,
    apply_edit,
    base_design,
    cost_at,
    digest,
    edit_named_in,
    edits_named_in,
    from_nas_bench_201,
    matching_downsample,
    matching_stem,
    parse,
    parse_all,
    print_block,
    verify,
)
from nader.graph.edit.plan import plainly, share, times
from tests.graph.strategies import random_block

EVEN = [Site(Role.CELL, c, c, h, w) for c in (8, 16, 48, 64, 120) for h, w in ((32, 32), (9, 14), (2, 2))]
RESNET = base_design("resnet-basic").cell
PLAIN = parse("##Plain##\n0:input\n1:output\n2:Conv2d(out_channels=C,kernel_size=1)\n0->2->1")


def operators(block):
    return Counter(node.op for node in block.nodes)


def edited(kind, block=RESNET, variant=0):
    result = apply_edit(block, kind, variant=variant)
    assert result.block is not None, result.reason
    return result.block


def assert_sound(result, before):
    """A result as promised: verified at every even width, another function, printable; or a reason."""
    assert result.reason
    if result.block is None:
        return
    verdict = verify(result.block, Role.CELL, EVEN)
    assert verdict.ok, verdict.report()
    assert digest(result.block) != digest(before)
    assert parse(print_block(result.block)) == result.block


@pytest.mark.parametrize("base", BASE_DESIGNS)
@pytest.mark.parametrize("kind", EDITS)
def test_an_edit_gives_another_verified_cell_or_a_reason(kind, base):
    cell = base_design(base).cell
    for variant in range(4):
        assert_sound(apply_edit(cell, kind, variant=variant), cell)


def test_there_are_more_than_two_dozen_kinds_and_nearly_all_apply_to_the_resnet_cell():
    fail = {kind for kind in EDITS if apply_edit(RESNET, kind).block is None}
    assert len(EDITS) >= 30
    assert fail == {"batch-norm", "remove-branch"}


def test_every_kind_applies_to_some_base_cell_or_to_an_edited_one():
    cells = [base_design(name).cell for name in BASE_DESIGNS] + [edited("parallel-add")]
    assert all(any(apply_edit(cell, kind).block for cell in cells) for kind in EDITS)


def test_edits_of_one_cell_differ_from_each_other():
    made = [apply_edit(RESNET, kind).block for kind in EDITS]
    digests = [digest(block) for block in made if block is not None]
    assert len(set(digests)) == len(digests)


def test_variants_pick_other_places_or_sizes_and_begin_again():
    made = [digest(edited("squeeze-and-excitation", variant=n)) for n in range(6)]
    assert len(set(made)) == 6
    reasons = [apply_edit(RESNET, "squeeze-and-excitation", variant=n).reason for n in range(40)]
    assert reasons[0] in reasons[1:]


def test_an_edit_is_the_same_every_time():
    for kind in EDITS:
        assert apply_edit(RESNET, kind, variant=1) == apply_edit(RESNET, kind, variant=1)


def chain(block, seed, length):
    """Random edits one on top of the other; the blocks on the way."""
    rng = random.Random(seed)
    done = [block]
    while len(done) <= length:
        result = apply_edit(done[-1], rng.choice(list(EDITS)), variant=rng.randrange(4))
        assert_sound(result, done[-1])
        if result.block is not None:
            done.append(result.block)
    return done


@pytest.mark.parametrize("base", BASE_DESIGNS)
def test_edits_apply_to_the_results_of_edits(base):
    blocks = chain(base_design(base).cell, base, 12)
    assert len({digest(block) for block in blocks}) >= 10


NAS_CELLS = [
    "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|",
    "|skip_connect~0|+|skip_connect~0|skip_connect~1|+|skip_connect~0|skip_connect~1|skip_connect~2|",
    "|avg_pool_3x3~0|+|none~0|avg_pool_3x3~1|+|none~0|none~1|nor_conv_1x1~2|",
    "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_1x1~2|",
]


@pytest.mark.parametrize("arch", NAS_CELLS)
def test_edits_apply_to_cells_of_nas_bench_201(arch):
    chain(from_nas_bench_201(arch), arch, 8)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(60))
def test_long_chains_of_edits_stay_sound(seed):
    chain(base_design(BASE_DESIGNS[seed % 5]).cell, seed, 20)


def assert_edits_of_a_random_block_are_sound(seed):
    block = random_block(random.Random(seed), Role.CELL)
    works = verify(block, Role.CELL, EVEN).ok
    for kind in EDITS:
        result = apply_edit(block, kind, variant=seed % 3)
        if works:
            assert_sound(result, block)


@pytest.mark.parametrize("seed", range(12))
def test_edits_apply_to_any_block(seed):
    assert_edits_of_a_random_block_are_sound(seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12, 300))
def test_edits_apply_to_any_of_many_blocks(seed):
    assert_edits_of_a_random_block_are_sound(seed)


def test_edits_apply_to_real_designs(shared):
    for path in sorted((shared / "data/nader-official/blocks").glob("blocks-*.txt")):
        cell = parse_all(path.read_text())[0]
        if verify(cell, Role.CELL, EVEN).ok:
            for kind in list(EDITS)[::3]:
                assert_sound(apply_edit(cell, kind), cell)


def test_a_cell_that_needs_other_widths_is_edited_for_those():
    cell = parse(
        "##Tens##\n0:input\n1:output\n2:Conv2d(out_channels=C,kernel_size=3,groups=5)\n3:BN\n0->2->3->1"
    )
    assert not verify(cell, Role.CELL, EVEN).ok_sites.all()
    result = apply_edit(cell, "squeeze-and-excitation")
    assert result.block is not None
    tens = [Site(Role.CELL, c, c, 8, 8) for c in (80, 20)]
    assert verify(result.block, Role.CELL, tens).ok


def test_channels_that_add_up_over_and_over_do_not_grow_into_long_sums():
    nodes = "\n".join(f"{n}:concat(dim=1)\n{n - 1}->{n}\n{n - 2}->{n}" for n in range(4, 12))
    cell = parse(
        f"##Sums##\n0:input\n1:output\n2:Conv2d(out_channels=C-C//3,kernel_size=1)\n3:ReLU\n0->2\n0->3\n{nodes}\n"
        "12:Conv2d(out_channels=C,kernel_size=1)\n11->12->1"
    )
    for kind in EDITS:
        assert_sound(apply_edit(cell, kind, variant=3), cell)


def test_a_cell_that_works_nowhere_is_not_edited():
    cell = parse("##Odd##\n0:input\n1:output\n2:Conv2d(out_channels=C,kernel_size=3,groups=11)\n0->2->1")
    result = apply_edit(cell, "gelu")
    assert result.block is None
    assert "too few widths" in result.reason


def test_an_unknown_kind_is_a_key_error():
    with pytest.raises(KeyError):
        apply_edit(RESNET, "warp-drive")


@pytest.mark.parametrize(
    ("kind", "cell", "reason"),
    [
        ("gelu", "convnext", "gelu: the cell has no ReLU"),
        ("stochastic-depth", "googlenet", "no residual branch that a skip goes past"),
        ("layer-norm", "convnext", "no batch normalisation of a feature map"),
        ("batch-norm", "resnet-basic", "every layer of it is normalised"),
        ("remove-branch", "resnet-basic", "no sum of the cell has a branch to spare"),
    ],
)
def test_an_edit_that_cannot_be_says_why(kind, cell, reason):
    result = apply_edit(base_design(cell).cell, kind)
    assert result.block is None
    assert reason in result.reason


def test_squeeze_and_excitation_makes_the_se_resnet_cell_of_the_resnet_cell():
    assert digest(edited("squeeze-and-excitation")) == digest(base_design("se-resnet").cell)


def test_pre_activation_is_the_order_of_the_identity_mappings_paper():
    expected = parse(
        "##Pre##\n0:input\n1:output\n2:BN\n3:ReLU\n4:Conv2d(out_channels=C,kernel_size=3)\n5:BN\n6:ReLU\n"
        "7:Conv2d(out_channels=C,kernel_size=3)\n8:Add\n0->2->3->4->5->6->7->8\n0->8\n8->1"
    )
    assert digest(edited("pre-activation")) == digest(expected)


def test_batch_normalisation_comes_after_a_layer_that_has_none():
    assert operators(edited("batch-norm", PLAIN))["BN"] == 1
    assert apply_edit(edited("batch-norm", PLAIN), "batch-norm").block is None


def test_batch_normalisation_takes_the_place_of_layer_normalisation():
    block = edited("batch-norm", base_design("convnext").cell)
    assert operators(block)["LN"] == 0
    assert operators(block)["BN"] == 1


@pytest.mark.parametrize(
    ("kind", "more", "fewer"),
    [
        (
            "squeeze-and-excitation",
            {"Conv2d": 2, "Sigmoid": 1, "Mul": 1, "AdaptiveAvgPool2d": 1, "ReLU": 1},
            {},
        ),
        (
            "efficient-channel-attention",
            {"Conv2d": 1, "permute": 2, "Sigmoid": 1, "Mul": 1, "AdaptiveAvgPool2d": 1},
            {},
        ),
        ("spatial-gate", {"mean": 1, "max": 1, "concat": 1, "Conv2d": 1, "Sigmoid": 1, "Mul": 1}, {}),
        ("gated-unit", {"Conv2d": 1, "Sigmoid": 1, "Mul": 1}, {}),
        ("channel-scale", {"Conv2d": 1}, {}),
        ("depthwise-separable", {"Conv2d": 1, "BN": 1, "ReLU": 1}, {}),
        ("bottleneck", {"Conv2d": 2, "BN": 2, "ReLU": 2}, {}),
        ("inverted-bottleneck", {"Conv2d": 2, "BN": 2, "ReLU": 2}, {}),
        ("larger-kernel", {}, {}),
        ("dilation", {}, {}),
        ("grouped-convolution", {}, {}),
        ("channel-shuffle", {"reshape": 2, "permute": 1}, {}),
        ("asymmetric-convolution", {"Conv2d": 1, "BN": 1}, {}),
        ("multi-scale", {"Conv2d": 2, "Add": 2, "BN": 1}, {}),
        ("parallel-add", {"Conv2d": 1, "BN": 1, "Add": 1}, {}),
        ("parallel-concat", {"Conv2d": 1, "concat": 1}, {}),
        ("pooling-branch", {"AvgPool2d": 1, "Conv2d": 1, "BN": 1, "Add": 1}, {}),
        ("extra-skip", {"Add": 1}, {}),
        ("dense-connection", {"concat": 1, "Conv2d": 1, "BN": 1}, {}),
        ("stochastic-depth", {"DropPath": 1}, {}),
        ("gelu", {"GELU": 2}, {"ReLU": 2}),
        ("swish", {"Sigmoid": 2, "Mul": 2}, {"ReLU": 2}),
        ("layer-norm", {"LN": 2, "permute": 4}, {"BN": 2}),
        ("pre-activation", {}, {"ReLU": 0}),
        ("remove-layer", {}, {"Conv2d": 1, "BN": 1}),
        ("add-layer", {"Conv2d": 1, "BN": 1, "ReLU": 1}, {}),
        ("wider-middle", {}, {}),
    ],
)
def test_an_edit_adds_and_takes_away_what_its_name_says(kind, more, fewer):
    before, after = operators(RESNET), operators(edited(kind))
    assert after - before == Counter(more)
    assert before - after == Counter({op: count for op, count in fewer.items() if count})


@pytest.mark.parametrize(
    ("kind", "sign"),
    [
        ("depthwise-separable", -1),
        ("bottleneck", -1),
        ("grouped-convolution", -1),
        ("asymmetric-convolution", -1),
        ("remove-layer", -1),
        ("dilation", 0),
        ("gelu", 0),
        ("extra-skip", 0),
        ("stochastic-depth", 0),
        ("larger-kernel", 1),
        ("wider-middle", 1),
        ("add-layer", 1),
    ],
)
def test_an_edit_makes_the_cell_as_cheap_or_dear_as_its_idea(kind, sign):
    site = [Site(Role.CELL, 64, 64, 16, 16)]
    before, after = (int(cost_at(block, site)[0][0]) for block in (RESNET, edited(kind)))
    assert (after > before) - (after < before) == sign


def test_remove_branch_undoes_what_parallel_add_did():
    both = edited("parallel-add")
    undone = {digest(apply_edit(both, "remove-branch", variant=n).block) for n in range(4)}
    assert digest(RESNET) in undone


def test_stochastic_depth_stands_on_a_branch_that_a_skip_goes_past():
    for base in BASE_DESIGNS:
        block = apply_edit(base_design(base).cell, "stochastic-depth").block
        if block is not None:
            drop = next(node.index for node in block.nodes if node.op == "DropPath")
            (addition,) = block.outputs_of(drop)
            assert block.node(addition).op == "Add"
            assert 0 in block.inputs_of(addition)


@pytest.mark.parametrize("base", BASE_DESIGNS)
def test_matching_surroundings_verify_and_follow_the_style_of_the_cell(base):
    cell = base_design(base).cell
    smooth = apply_edit(cell, "gelu").block or cell
    for stride in (1, 4):
        stem, downsample = matching_stem(smooth, stride=stride), matching_downsample(smooth)
        sites = [Site(Role.STEM, 3, dim, 32, 32, f"1/{stride}") for dim in (8, 20, 64)]
        assert verify(stem, Role.STEM, sites).ok
        assert verify(downsample, Role.DOWNSAMPLE).ok
        assert "ReLU" not in operators(stem) | operators(downsample)
    assert ("LN" in operators(matching_stem(cell))) == (base == "convnext")
    assert ("concat" in operators(matching_downsample(cell))) == (base == "googlenet")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Recalibrate channels with squeeze-and-excitation.", "squeeze-and-excitation"),
        ("Use depthwise-separable convolutions to save weights", "depthwise-separable"),
        ("An INVERTED BOTTLENECK widens the middle", "inverted-bottleneck"),
        ("A bottleneck of 1×1 convolutions", "bottleneck"),
        ("Dilated convolutions see further", "dilation"),
        ("replace ReLU with GELU", "gelu"),
        ("Normalise with LayerNorm", "layer-norm"),
        ("Full pre-activation order keeps the identity clean", "pre-activation"),
        ("A spatial attention map", "spatial-gate"),
        ("Group convolutions raise the cardinality", "grouped-convolution"),
        ("Factorize a 3x3 into 1x3 and 3x1", "asymmetric-convolution"),
        ("Drop the residual branch at random (stochastic depth)", "stochastic-depth"),
        ("Parallel branches whose outputs are concatenated, as in Inception", "parallel-concat"),
        ("Add a parallel branch as RepVGG does", "parallel-add"),
        ("One more shortcut from the input", "extra-skip"),
        ("Self-attention over a pooled map", "pooled-attention"),
        ("Use a different loss for the detector", None),
        ("", None),
    ],
)
def test_a_sentence_names_its_edit(text, kind):
    assert edit_named_in(text) == kind


def test_a_sentence_may_name_several_edits_the_most_exact_first():
    named = edits_named_in("An inverted bottleneck with squeeze-and-excitation and a skip")
    assert named == ("squeeze-and-excitation", "inverted-bottleneck", "extra-skip")


def test_the_name_of_an_edit_names_it():
    for kind in EDITS:
        assert kind in edits_named_in(kind)


@pytest.mark.parametrize(
    ("channels", "parts", "text"),
    [
        ("C", 4, "C//4"),
        ("C//4", 2, "C//8"),
        ("C/4", 4, "C//16"),
        ("4*C", 2, "2*C"),
        ("C*4", 4, "C"),
        ("2*C", 4, "2*C//4"),
        ("C-C//4", 2, "(C-C//4)//2"),
    ],
)
def test_a_share_of_channels_is_written_plainly(channels, parts, text):
    assert share(channels, parts) == text


@pytest.mark.parametrize(
    ("channels", "factor", "text"),
    [("C", 2, "2*C"), ("2*C", 2, "4*C"), ("C", 1, "C"), ("C//2", 4, "4*(C//2)")],
)
def test_a_multiple_of_channels_is_written_plainly(channels, factor, text):
    assert times(channels, factor) == text


@pytest.mark.parametrize(
    ("channels", "text"),
    [
        ("C//4+C-C//4-2*(C//8)+C//8+C//8", "C"),
        ("C*2", "2*C"),
        ("dim", "C"),
        ("C//2//2", "C//4"),
        ("C-C//4", "C-C//4"),
    ],
)
def test_channels_are_written_in_short_where_the_value_is_the_same_at_every_width(channels, text):
    assert plainly(channels) == text


def test_an_edit_after_concatenated_branches_writes_their_sum_plainly():
    assert "out_channels=C//4,kernel_size=1" in print_block(
        edited("squeeze-and-excitation", base_design("googlenet").cell)
    )
