"""The base designs are what their papers say and stand wherever they are told to."""

import pytest

from nader.graph import (
    BASE_DESIGNS,
    Design,
    Role,
    Site,
    UnknownDesignError,
    base_design,
    cost_at,
    nas_bench_201_design,
    verify,
)
from nader.network import cost, get_skeleton

RESNET = "|nor_conv_3x3~0|+|none~0|nor_conv_3x3~1|+|skip_connect~0|none~1|skip_connect~2|"


@pytest.mark.parametrize("name", BASE_DESIGNS)
@pytest.mark.parametrize("stride", [1, 4])
def test_every_base_design_verifies_in_each_role(name, stride):
    design = base_design(name, stride=stride)
    for role, block in design:
        sites = None
        if role is Role.STEM:
            sites = [
                Site(role, 3, dim, side, side, f"1/{stride}") for dim in (8, 20, 64) for side in (8, 32, 56)
            ]
        verdict = verify(block, role, sites)
        assert verdict.ok, verdict.report()


@pytest.mark.parametrize("name", BASE_DESIGNS)
def test_a_base_design_stands_at_every_width_from_eight(name):
    design = base_design(name)
    widths = range(8, 129)
    assert verify(design.cell, Role.CELL, [Site(Role.CELL, c, c, 8, 8) for c in widths]).ok
    assert verify(
        design.downsample, Role.DOWNSAMPLE, [Site(Role.DOWNSAMPLE, c, 2 * c, 8, 8) for c in widths]
    ).ok


def test_the_base_designs_differ_and_read_back_from_their_text():
    designs = [base_design(name) for name in BASE_DESIGNS]
    assert len({design.digest for design in designs}) == 5
    assert [Design.from_text(design.to_text()) for design in designs] == designs


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        # Two 3x3 convolutions with their normalisations, at C = 64; each convolution has an offset.
        ("resnet-basic", 2 * (9 * 64 * 64 + 64 + 128)),
        # 1x1 to 16, 3x3, 1x1 back to 64.
        ("resnet-bottleneck", 64 * 16 + 16 + 32 + 9 * 16 * 16 + 16 + 32 + 16 * 64 + 64 + 128),
        # Depthwise 7x7, layer normalisation, two linear layers.
        ("convnext", 49 * 64 + 64 + 128 + 64 * 256 + 256 + 256 * 64 + 64),
        # ResNet's plus the two 1x1 convolutions of the gate.
        ("se-resnet", 2 * (9 * 64 * 64 + 64 + 128) + 2 * 64 * 16 + 16 + 64),
        # 1x1 to 16; 1x1 to 24, 3x3 to 32; 1x1 to 8, 5x5 to 8; 1x1 to 8; offset, scale, shift for each.
        (
            "googlenet",
            64 * 16 + 64 * 24 + 9 * 24 * 32 + 64 * 8 + 25 * 8 * 8 + 64 * 8 + 3 * (16 + 24 + 32 + 8 + 8 + 8),
        ),
    ],
)
def test_a_cell_has_the_parameters_worked_out_by_hand(name, parameters):
    params, _ = cost_at(base_design(name).cell, [Site(Role.CELL, 64, 64, 16, 16)], conv_bias=True)
    assert params[0] == parameters


def test_the_resnet_cell_of_nas_bench_201_costs_what_the_benchmark_says():
    measured = cost(nas_bench_201_design(RESNET), get_skeleton("nas-bench-201"), width=16, classes=10)
    assert (round(measured.params / 1e6, 3), round(measured.macs / 1e6, 2)) == (0.559, 78.56)


@pytest.mark.parametrize(
    ("name", "stride", "message"),
    [
        ("resnet-basics", 1, "did you mean 'resnet-basic'?"),
        ("", 1, "There are resnet-basic, resnet-bottleneck, googlenet, convnext, se-resnet."),
        ("../../etc/passwd", 1, "no base design is called '../../etc/passwd'"),
        ("convnext", 2, "stems of stride 1 and 4, not 2"),
    ],
)
def test_an_unknown_design_is_named_with_the_nearest(name, stride, message):
    with pytest.raises(UnknownDesignError) as error:
        base_design(name, stride=stride)
    assert message in str(error.value)
