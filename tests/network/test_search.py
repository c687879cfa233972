"""The width search: the largest width at which a design works within both limits."""

import pytest

from nader.graph import Design, base_design, parse
from nader.network import (
    DesignError,
    Limits,
    NoWidthError,
    build_network,
    cost,
    get_skeleton,
    search_width,
    verify_block,
    verify_design,
)
from tests.network.designs import ACC76, OPTIMAL, published, random_design, resnet_cell

DIGITS = get_skeleton("digits")

SHUFFLE = """##Shuffle##
0:input
1:output
2:Conv2d(out_channels=C/2,kernel_size=1,groups=6)
3:BN
4:Conv2d(out_channels=C,kernel_size=1)
0->2->3->4->1
"""
BROKEN = """##Broken##
0:input
1:output
2:Conv2d(out_channels=C/2,kernel_size=3)
3:Add
0->2->3
0->3->1
"""


def _with_cell(text: str) -> Design:
    base = base_design("resnet-basic")
    return Design(parse(text), base.stem, base.downsample)


def test_the_widths_of_the_paper_are_found():
    skeleton = get_skeleton("nader")
    assert search_width(published(OPTIMAL), skeleton, 100).width == 16
    assert search_width(published(ACC76), skeleton, 100).width == 20


@pytest.mark.parametrize(
    "limits", [Limits(params=60_000, macs=400_000), Limits(params=9_000), Limits(macs=200_000)]
)
def test_the_width_is_the_one_that_trying_every_width_finds(limits):
    for seed in range(12):
        design = random_design(seed, DIGITS)
        best = None
        for width in DIGITS.widths.all():
            try:
                network = build_network(design, DIGITS, width, 10)
            except DesignError:
                continue
            params = sum(parameter.numel() for parameter in network.parameters())
            found = cost(design, DIGITS, width, 10)
            assert params == found.params
            if found.within(limits):
                best = width
        if best is None:
            with pytest.raises(NoWidthError):
                search_width(design, DIGITS, 10, limits)
        else:
            choice = search_width(design, DIGITS, 10, limits)
            assert (choice.width, choice.cost) == (best, cost(design, DIGITS, best, 10))


def test_limits_are_inclusive_and_open_where_unset():
    exact = cost(resnet_cell(), DIGITS, 8, 10)
    limits = Limits(params=exact.params, macs=exact.macs)
    assert search_width(resnet_cell(), DIGITS, 10, limits).width == 8
    assert search_width(resnet_cell(), DIGITS, 10, Limits()).width == DIGITS.widths.all()[-1]
    with pytest.raises(ValueError, match="greater than 0"):
        Limits(params=0)


def test_a_design_that_fails_only_at_some_widths_says_which_and_gets_one_of_the_others():
    design = _with_cell(SHUFFLE)
    verdict = verify_design(design, DIGITS)
    assert verdict.ok
    assert verdict.widths == (12, 24, 36, 48, 60)
    assert verdict.notes[-1] == "The cell block works at 5 of 16 widths (12, 24, 36, 48, 60)."
    assert "groups=6 must divide" in verdict.report()
    for width in DIGITS.widths.all():
        if width in verdict.widths:
            build_network(design, DIGITS, width, 10)
        else:
            with pytest.raises(DesignError, match="groups=6"):
                build_network(design, DIGITS, width, 10)
    assert search_width(design, DIGITS, 10, Limits(params=100_000)).width in verdict.widths


def test_a_design_that_works_nowhere_has_no_width_and_says_why():
    design = _with_cell(BROKEN)
    verdict = verify_design(design, DIGITS)
    assert not verdict.ok
    assert verdict.problems
    assert verdict.report().startswith("The cell block does not work:\n1. [shape] node 3:Add")
    with pytest.raises(
        NoWidthError, match="works at no width of the skeleton digits:\nThe cell block does not"
    ):
        search_width(design, DIGITS, 10)


def test_blocks_that_share_no_width_are_told_so():
    twelve, eight = SHUFFLE, SHUFFLE.replace("groups=6", "groups=8")
    base = base_design("resnet-basic")
    down = parse(eight.replace("out_channels=C,", "out_channels=dim,stride=2,"))
    skeleton = DIGITS.model_copy(update={"widths": DIGITS.widths.model_copy(update={"largest": 40})})
    verdict = verify_design(Design(parse(twelve), base.stem, down), skeleton)
    assert not verdict.ok
    assert verdict.report().endswith(
        "Each block works at some widths, but no width works for all three of them."
    )


def test_limits_too_tight_for_the_smallest_width_are_told_with_the_figures():
    with pytest.raises(
        NoWidthError,
        match=r"at 4, the smallest width .* M parameters, .* M MACs; the limits are 0.001 M parameters",
    ):
        search_width(resnet_cell(), DIGITS, 10, Limits(params=1_000))


def test_one_block_is_verified_by_itself_at_every_width():
    from nader.graph import Role

    verdict = verify_block(parse(SHUFFLE), Role.CELL, DIGITS)
    assert verdict.ok
    assert verdict.widths == (12, 24, 36, 48, 60)
    assert not verify_block(parse(BROKEN), Role.CELL, DIGITS).ok
