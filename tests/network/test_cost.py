"""The closed form says what the built module has: golden figures, and a count of the real thing."""

import itertools
from collections import defaultdict

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from nader.graph import Counting, Design, Role, Site, cost_at, parse
from nader.network import (
    Cost,
    Skeleton,
    SkeletonError,
    build,
    build_network,
    cost,
    get_skeleton,
    search_width,
    to_source,
)
from tests.network.designs import (
    ACC76,
    OPTIMAL,
    at_some_width,
    designs,
    published,
    random_design,
    resnet_cell,
)

DIGITS = get_skeleton("digits")
DIGITS_AS_NADER = DIGITS.model_copy(
    update={"conv_bias": True, "counting": Counting.THOP, "head": "gap-linear"}
)


def _counted(design: Design, skeleton: Skeleton, width: int, classes: int) -> Cost:
    """Parameters and MACs of the built module, counted while it runs on one image."""
    network = build_network(design, skeleton, width, classes).eval()
    extra, calls = 0, defaultdict(itertools.count)

    def hook(layer: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        nonlocal extra
        if isinstance(layer, nn.modules.batchnorm._BatchNorm | nn.LayerNorm):
            extra += 4 * inputs[0].numel()
        elif isinstance(layer, nn.AvgPool2d) and next(calls[layer]) == 0:  # a second call gives the divisor
            extra += output.numel()
        elif isinstance(layer, nn.AdaptiveAvgPool2d):
            extra += inputs[0].numel() + output.numel()

    for layer in network.modules():
        layer.register_forward_hook(hook)
    image = skeleton.image
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        network(torch.zeros(1, image.channels, image.height, image.width))
    macs = counter.get_total_flops() // 2
    if skeleton.counting is Counting.THOP:
        height, wide = skeleton.sides()[-1]
        macs += extra + skeleton.channels(width)[-1] * (height * wide + 1)
    return Cost(sum(parameter.numel() for parameter in network.parameters()), macs)


def test_the_published_costs_of_nader_are_met_to_the_digits_given():
    skeleton = get_skeleton("nader")
    best = cost(published(OPTIMAL), skeleton, 16, 100)
    assert (f"{best.params / 1e6:.4f}", f"{best.macs / 1e9:.4f}") == ("1.2973", "0.1878")
    designed = cost(published(ACC76), skeleton, 20, 100)
    assert (f"{designed.params / 1e6:.4f}", f"{designed.macs / 1e9:.4f}") == ("1.4081", "0.1931")


def test_the_published_costs_of_the_nas_bench_201_resnet_cell_are_met():
    found = cost(resnet_cell(), get_skeleton("nas-bench-201"), 16, 10)
    assert (f"{found.params / 1e6:.3f}", f"{found.macs / 1e6:.2f}") == ("0.559", "78.56")
    assert _counted(resnet_cell(), get_skeleton("nas-bench-201"), 16, 10) == found


@pytest.mark.parametrize("skeleton", [DIGITS, DIGITS_AS_NADER], ids=["products", "thop"])
@pytest.mark.parametrize("name", designs())
def test_the_closed_form_is_the_built_modules_count(name, skeleton):
    built = at_some_width(designs()[name], skeleton)
    found = cost(built.design, skeleton, built.width, 10)
    assert found == _counted(built.design, skeleton, built.width, 10)


@pytest.mark.parametrize("skeleton", [DIGITS, DIGITS_AS_NADER], ids=["products", "thop"])
def test_the_closed_form_is_the_built_modules_count_on_random_designs(skeleton):
    for seed in range(8):
        built = at_some_width(random_design(seed, skeleton), skeleton)
        found = cost(built.design, skeleton, built.width, 10)
        assert found == _counted(built.design, skeleton, built.width, 10), built.design.to_text()


def test_the_number_of_classes_counts():
    ten, hundred = (cost(resnet_cell(), get_skeleton("nas-bench-201"), 16, classes) for classes in (10, 100))
    assert hundred.params - ten.params == 90 * 64 + 90
    assert hundred.macs - ten.macs == 90 * 64


@pytest.mark.parametrize("operation", ["Conv2d(out_channels=C,kernel_size=3)", "Linear(out_channels=C)"])
@pytest.mark.parametrize("bias", [{}, {"conv_bias": True}, {"conv_bias": False}])
def test_a_block_costs_what_its_module_has_unless_told_otherwise(operation, bias):
    around = ("permute(0,2,3,1)", operation, "permute(0,3,1,2)") if "Linear" in operation else (operation,)
    nodes = [f"{index}:{text}" for index, text in enumerate(around, start=2)]
    path = "->".join(map(str, (0, *range(2, 2 + len(around)), 1)))
    block = parse("\n".join(["##x##", "0:input", "1:output", *nodes, path]))
    site = Site(Role.CELL, 8, 8, 8, 8)
    built = sum(parameter.numel() for parameter in build(block, site, **bias).parameters())
    assert cost_at(block, [site], **bias)[0].tolist() == [built]


@pytest.mark.parametrize("classes", [0, -5])
def test_a_network_without_classes_costs_nothing_that_could_be_told(classes):
    design, skeleton = resnet_cell(), get_skeleton("digits")
    for work in (
        lambda: cost(design, skeleton, 4, classes),
        lambda: search_width(design, skeleton, classes),
        lambda: build_network(design, skeleton, 4, classes),
        lambda: to_source(design, skeleton, 4, classes),
    ):
        with pytest.raises(SkeletonError, match=f"needs at least 1 class, got {classes}"):
            work()
