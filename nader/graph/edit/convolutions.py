"""Edits that change what a convolution is: its kernel, its groups, or the small layers it is made of."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import product

from nader.graph.edit.plan import Plan, share, times
from nader.graph.edit.registry import Draft, edit
from nader.graph.sketch import ADD, Operation, conv, positional

_NO_MAP = "no operation of the cell gives a feature map to build on"
LARGEST_KERNEL = 11
LARGEST_DILATION = 4


def _kernel(operation: Operation) -> int | None:
    """The side of a square kernel written as a number, else None."""
    found = re.fullmatch(r"(\d+)|\((\d+),\2\)", operation.get("kernel_size"))
    return None if found is None else int(found[1] or found[2])


def _squares(plan: Plan, *, dense: bool | None = None) -> Iterator[tuple[int, int]]:
    """The spatial convolutions with a square kernel, each with its side; undivided ones first."""
    nodes = plan.convs(dense=True) + plan.convs(dense=False) if dense is None else plan.convs(dense=dense)
    for node in nodes:
        side = _kernel(plan.operations[node])
        if side is not None:
            yield node, side


Layers = tuple[Operation, ...]


def _remade(plan: Plan, name: str, *makers: Callable[[str], Layers]) -> Iterator[Draft]:
    """Drafts with new layers, made for so many channels, as a residual branch, where none can be remade."""
    for make, place in product(makers, plan.anchors()[:2]):
        layers = make(plan.channels(place))
        yield (
            plan.grown(place, Plan.residual, *layers),
            f"{name} as a residual layer after {plan.label[place]}",
        )


@edit(
    "depthwise-separable",
    "Split a convolution into one over space for each channel and one over channels at each position",
    source="Howard et al., MobileNets, 2017 (arXiv 1704.04861); Chollet, Xception, CVPR 2017",
    absent=_NO_MAP,
)
def depthwise_separable(plan: Plan) -> Iterator[Draft]:
    for between, (node, side) in product((True, False), list(_squares(plan, dense=True))):
        middle = (*plan.norms(), plan.activation()) if between else ()
        wide = plan.channels(plan.inputs[node][0])
        depthwise = plan.operations[node].having(out_channels=wide, groups=wide)
        draft = plan.swapped(node, Plan.chain, depthwise, *middle, conv(plan.channels(node), 1))
        yield draft, f"{plan.label[node]} made depthwise {side}x{side} and pointwise"
    yield from _remade(
        plan,
        "a depthwise separable convolution",
        lambda wide: (conv(wide, 3, groups=wide), *plan.norms(), conv(wide, 1), *plan.norms()),
    )


@edit(
    "bottleneck",
    "Narrow the channels by a 1x1 convolution, convolve, and widen them again",
    source="He et al., Deep Residual Learning for Image Recognition, CVPR 2016",
    absent=_NO_MAP,
)
def bottleneck(plan: Plan) -> Iterator[Draft]:
    for ratio, (node, side) in product((2, 4), list(_squares(plan, dense=True))):
        layers = _narrowed(plan, plan.channels(node), ratio, side)
        yield (
            plan.swapped(node, Plan.chain, *layers),
            f"{plan.label[node]} made a bottleneck of ratio {ratio}",
        )
    yield from _remade(plan, "a bottleneck", lambda wide: (*_narrowed(plan, wide, 2, 3), *plan.norms()))


def _narrowed(plan: Plan, channels: str, ratio: int, side: int) -> Layers:
    narrow = share(channels, ratio)
    return (*plan.layer(narrow, 1), *plan.layer(narrow, side), conv(channels, 1))


@edit(
    "inverted-bottleneck",
    "Widen the channels by a 1x1 convolution, convolve each by itself, and narrow them again",
    source="Sandler et al., MobileNetV2: Inverted Residuals and Linear Bottlenecks, CVPR 2018",
    absent=_NO_MAP,
)
def inverted_bottleneck(plan: Plan) -> Iterator[Draft]:
    for factor, (node, side) in product((2, 4, 3), list(_squares(plan, dense=True))):
        layers = _widened(plan, plan.channels(plan.inputs[node][0]), factor, side, plan.channels(node))
        done = f"{plan.label[node]} made an inverted bottleneck of factor {factor}"
        yield plan.swapped(node, Plan.chain, *layers), done
    yield from _remade(
        plan,
        "an inverted bottleneck",
        lambda channels: (*_widened(plan, channels, 2, 3, channels), *plan.norms()),
        lambda channels: (*_widened(plan, channels, 4, 3, channels), *plan.norms()),
    )


def _widened(plan: Plan, channels: str, factor: int, side: int, result: str) -> Layers:
    wide = times(channels, factor)
    return (*plan.layer(wide, 1), *plan.layer(wide, side, groups=wide), conv(result, 1))


@edit(
    "larger-kernel",
    "Let a convolution see further by a larger kernel",
    source="Ding et al., Scaling Up Your Kernels to 31x31 (RepLKNet), CVPR 2022",
    absent=_NO_MAP,
)
def larger_kernel(plan: Plan) -> Iterator[Draft]:
    for step, (node, side) in product((2, 4), list(_squares(plan))):
        if side + step <= LARGEST_KERNEL:
            draft = plan.copy()
            draft.operations[node] = draft.operations[node].having(kernel_size=str(side + step))
            yield draft, f"kernel {side} to {side + step} in {plan.label[node]}"
    if not plan.convs():
        yield from _remade(
            plan, "a 7x7 depthwise convolution", lambda wide: (conv(wide, 7, groups=wide), *plan.norms())
        )


@edit(
    "dilation",
    "Spread a kernel over a wider field without adding weights",
    source="Yu and Koltun, Multi-Scale Context Aggregation by Dilated Convolutions, ICLR 2016",
    absent=_NO_MAP,
)
def dilation(plan: Plan) -> Iterator[Draft]:
    for step, node in product((1, 2), plan.convs()):
        now = plan.operations[node].get("dilation", "1")
        if now.isdigit() and int(now) + step <= LARGEST_DILATION:
            draft = plan.copy()
            draft.operations[node] = draft.operations[node].having(dilation=str(int(now) + step))
            yield draft, f"dilation {now} to {int(now) + step} in {plan.label[node]}"
    if not plan.convs():
        yield from _remade(
            plan,
            "a dilated depthwise convolution",
            lambda wide: (conv(wide, 3, dilation=2, groups=wide), *plan.norms()),
        )


@edit(
    "grouped-convolution",
    "Divide a convolution's channels into groups that do not mix",
    source="Xie et al., Aggregated Residual Transformations for Deep Neural Networks (ResNeXt), CVPR 2017",
    absent=_NO_MAP,
)
def grouped_convolution(plan: Plan) -> Iterator[Draft]:
    for groups, node in product(
        ("4", "2", "8"), plan.convs(dense=True) + plan.convs(dense=True, spatial=False)
    ):
        draft = plan.copy()
        draft.operations[node] = draft.operations[node].having(groups=groups)
        yield draft, f"{groups} groups in {plan.label[node]}"
    if not plan.convs(dense=True):
        yield from _remade(
            plan, "a grouped convolution", lambda wide: (conv(wide, 3, groups="4"), *plan.norms())
        )


@edit(
    "channel-shuffle",
    "Divide a convolution's channels into groups and interleave the groups after it",
    source="Zhang et al., ShuffleNet: An Extremely Efficient Convolutional Neural Network, CVPR 2018",
    absent="every convolution of the cell is divided into groups already",
)
def channel_shuffle(plan: Plan) -> Iterator[Draft]:
    for groups, node in product(("4", "2"), plan.convs(dense=True) + plan.convs(dense=True, spatial=False)):
        channels = plan.channels(node)
        shuffle = (
            positional("reshape", "B", groups, share(channels, int(groups)), "H", "W"),
            positional("permute", "0", "2", "1", "3", "4"),
            positional("reshape", "B", channels, "H", "W"),
        )
        draft = plan.grown(plan.layer_end(node), Plan.chain, *shuffle)
        draft.operations[node] = draft.operations[node].having(groups=groups)
        yield draft, f"{groups} groups in {plan.label[node]}, shuffled after it"


@edit(
    "asymmetric-convolution",
    "Convolve along the height and along the width, one after the other or beside the square kernel",
    source="Szegedy et al., Rethinking the Inception Architecture, CVPR 2016; Ding et al., ACNet, ICCV 2019",
    absent=_NO_MAP,
)
def asymmetric_convolution(plan: Plan) -> Iterator[Draft]:
    for node, side in list(_squares(plan)):
        first = plan.operations[node].having(kernel_size=f"({side},1)")
        second = first.having(kernel_size=f"(1,{side})", **_inner_groups(plan, node))
        draft = plan.swapped(node, Plan.chain, first, *plan.norms(), second)
        yield draft, f"{plan.label[node]} made {side}x1 and 1x{side}"
    for node, side in list(_squares(plan)):
        sides = [plan.operations[node].having(kernel_size=size) for size in (f"({side},1)", f"(1,{side})")]
        draft = plan.swapped(node, _beside, plan.operations[node], *sides)
        yield draft, f"{side}x1 and 1x{side} convolutions added beside {plan.label[node]}"
    if not plan.convs():
        yield from _remade(
            plan,
            "a pair of depthwise 5x1 and 1x5 convolutions",
            lambda wide: (conv(wide, "(5,1)", groups=wide), conv(wide, "(1,5)", groups=wide), *plan.norms()),
        )


def _inner_groups(plan: Plan, node: int) -> dict[str, str]:
    """The groups of a second convolution from the channels of `node` to as many."""
    groups = plan.operations[node].get("groups")
    return {"groups": plan.channels(node)} if groups and groups == plan.channels(plan.inputs[node][0]) else {}


def _beside(plan: Plan, source: int, *operations: Operation) -> int:
    return plan.add(ADD, *(plan.add(operation, source) for operation in operations))


@edit(
    "multi-scale",
    "Look at a feature map with several depthwise kernels at once",
    source="Tan and Le, MixConv: Mixed Depthwise Convolutional Kernels, BMVC 2019",
    absent=_NO_MAP,
)
def multi_scale(plan: Plan) -> Iterator[Draft]:
    for sides, place in product(((3, 5), (3, 5, 7)), plan.anchors()):
        draft = plan.grown(place, _scales, plan.channels(place), sides)
        yield draft, f"depthwise kernels {', '.join(map(str, sides))} side by side after {plan.label[place]}"


def _scales(plan: Plan, node: int, channels: str, sides: tuple[int, ...]) -> int:
    together = plan.add(ADD, *(plan.add(conv(channels, side, groups=channels), node) for side in sides))
    return plan.add(ADD, node, plan.chain(together, *plan.norms()))
