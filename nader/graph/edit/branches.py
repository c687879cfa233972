"""Edits that change which paths lead through a cell: parallel branches, skips and what they are joined by."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from nader.graph.edit.plan import Plan, share
from nader.graph.edit.registry import Draft, edit
from nader.graph.sketch import ADD, INPUT, OUTPUT, Operation, conv, keyed

_NO_CONV = "no convolution of the cell goes from feature map to feature map"


def _layers(plan: Plan) -> list[int]:
    """All convolutions from map to map, those with a kernel above 1x1 first."""
    return plan.convs() + plan.convs(spatial=False)


@edit(
    "parallel-add",
    "Give a layer a parallel branch of another kernel and add both",
    source="Ding et al., RepVGG: Making VGG-style ConvNets Great Again, CVPR 2021",
    absent=_NO_CONV,
)
def parallel_add(plan: Plan) -> Iterator[Draft]:
    for choice, node in product(range(3), _layers(plan)):
        channels, source = plan.channels(node), plan.inputs[node][0]
        narrow = plan.channels(source)
        branch, name = (
            ((conv(channels, 1), *plan.norms()), "a 1x1"),
            (
                (conv(narrow, 5, groups=narrow), *plan.norms(), conv(channels, 1), *plan.norms()),
                "a depthwise 5x5",
            ),
            ((conv(channels, 3, dilation=2), *plan.norms()), "a dilated 3x3"),
        )[choice]
        draft = plan.grown(plan.layer_end(node), _add_branch, source, branch)
        yield draft, f"{name} branch added beside the layer of {plan.label[node]}"


def _add_branch(plan: Plan, node: int, source: int, branch: tuple[Operation, ...]) -> int:
    return plan.add(ADD, node, plan.chain(source, *branch))


@edit(
    "parallel-concat",
    "Split a convolution's output channels between parallel kernels and concatenate them",
    source="Szegedy et al., Going Deeper with Convolutions, CVPR 2015",
    absent="no operation of the cell gives a feature map to build on",
)
def parallel_concat(plan: Plan) -> Iterator[Draft]:
    for other, node in product(("5", "1", "3"), _layers(plan)):
        operation = plan.operations[node]
        if not _undivided(plan, node) or operation.get("kernel_size") == other:
            continue
        channels = plan.channels(node)
        part = share(channels, 2)
        first = operation.having(out_channels=f"{channels}-{part}")
        second = operation.having(out_channels=part, kernel_size=other)
        draft = plan.swapped(node, _join, first, second)
        yield draft, f"{plan.label[node]} split between kernels {operation.get('kernel_size')} and {other}"
    if not any(_undivided(plan, node) for node in _layers(plan)):
        for place in plan.anchors()[:2]:
            draft = plan.grown(place, _join_beside, plan.channels(place))
            yield (
                draft,
                f"concatenated 3x3 and 1x1 convolutions as a residual layer after {plan.label[place]}",
            )


def _undivided(plan: Plan, node: int) -> bool:
    return plan.operations[node].get("groups", "1") == "1"


def _join_beside(plan: Plan, node: int, channels: str) -> int:
    part = share(channels, 2)
    both = _join(plan, node, conv(f"{channels}-{part}", 3), conv(part, 1))
    return plan.add(ADD, node, plan.chain(both, *plan.norms()))


def _join(plan: Plan, source: int, *operations: Operation) -> int:
    return plan.add(keyed("concat", dim=1), *(plan.add(operation, source) for operation in operations))


@edit(
    "pooling-branch",
    "Give a layer a parallel branch that pools its input before a 1x1 convolution",
    source="Szegedy et al., Going Deeper with Convolutions, CVPR 2015; Yu et al., MetaFormer, CVPR 2022",
    absent=_NO_CONV,
)
def pooling_branch(plan: Plan) -> Iterator[Draft]:
    for pool, node in product(("AvgPool2d", "MaxPool2d"), _layers(plan)):
        branch = (keyed(pool, kernel_size=3, stride=1), conv(plan.channels(node), 1), *plan.norms())
        draft = plan.grown(plan.layer_end(node), _add_branch, plan.inputs[node][0], branch)
        yield draft, f"a {pool} branch added beside the layer of {plan.label[node]}"


def _skips(plan: Plan) -> Iterator[tuple[int, int]]:
    """Pairs (earlier, later) of maps of one width that no sum joins yet, those past a single layer first."""
    ends = dict.fromkeys(
        [*(plan.layer_end(node) for node in _layers(plan)), *plan.branch_ends(), *plan.units()]
    )
    for end in ends:
        sums = [node for node in (end, *plan.users(end)) if plan.operations[node].name == "Add"]
        joined = {source for addition in sums for source in plan.inputs[addition]}
        before = plan.ancestors(end)
        for start in (INPUT, *plan.units()):
            if start in before and plan.same(start, end) and start not in joined:
                yield start, end


@edit(
    "extra-skip",
    "Add an earlier feature map to a later one of the same width",
    source="He et al., Deep Residual Learning for Image Recognition, CVPR 2016",
    absent="every pair of feature maps of one width is joined by a sum already",
)
def extra_skip(plan: Plan) -> Iterator[Draft]:
    for start, end in _skips(plan):
        draft = plan.grown(end, lambda copy, node, skip: copy.add(ADD, node, skip), start)
        yield draft, f"a skip from {plan.label[start]} added to {plan.label[end]}"


@edit(
    "dense-connection",
    "Concatenate an earlier feature map with a later one and mix both by a 1x1 convolution",
    source="Huang et al., Densely Connected Convolutional Networks, CVPR 2017",
    absent="the cell has no feature map to carry forward",
)
def dense_connection(plan: Plan) -> Iterator[Draft]:
    ends = dict.fromkeys([*plan.branch_ends(), *reversed(plan.units())])
    for start, end in product([INPUT, *plan.units()], ends):
        if start in plan.ancestors(end):
            draft = plan.grown(end, _mix, start, plan.channels(end))
            yield draft, f"{plan.label[start]} concatenated with {plan.label[end]} and mixed"


def _mix(plan: Plan, node: int, earlier: int, channels: str) -> int:
    both = plan.add(keyed("concat", dim=1), earlier, node)
    return plan.chain(both, conv(channels, 1), *plan.norms())


def _branches(plan: Plan) -> list[tuple[int, int]]:
    """The wires (map, sum) that a sum has a skip past, the outermost first."""
    return [
        (node, addition)
        for addition in reversed(plan.original)
        if plan.operations[addition].name == "Add"
        for node in plan.inputs[addition]
        if node != INPUT and not plan.is_skip(node, addition) and plan.skips_past(node, addition)
    ]


@edit(
    "stochastic-depth",
    "Leave a residual branch out at random while training",
    source="Huang et al., Deep Networks with Stochastic Depth, ECCV 2016",
    absent="the cell has no residual branch that a skip goes past",
)
def stochastic_depth(plan: Plan) -> Iterator[Draft]:
    for rate, (node, addition) in product(("0.05", "0.1"), _branches(plan)):
        draft = plan.copy()
        drop = draft.add(keyed("DropPath", prob=rate), node)
        draft.rewire([addition], node, drop)
        yield draft, f"stochastic depth of {rate} on the branch that ends with {plan.label[node]}"


@edit(
    "remove-branch",
    "Take one of the branches of a sum away",
    source="Veit, Wilber and Belongie, Residual Networks Behave Like Ensembles, NeurIPS 2016",
    absent="no sum of the cell has a branch to spare",
)
def remove_branch(plan: Plan) -> Iterator[Draft]:
    for addition in plan.original:
        for node in plan.inputs[addition] if plan.operations[addition].name == "Add" else ():
            if plan.is_skip(node, addition) or not any(
                plan.same(other, addition) for other in _others(plan, node, addition)
            ):
                continue
            draft = plan.copy()
            draft.inputs[addition] = _others(plan, node, addition)
            draft.tidy()
            if draft.inputs[OUTPUT] != [INPUT] and draft.has_weights():
                yield draft, f"the branch that ends with {plan.label[node]} removed"


def _others(plan: Plan, node: int, addition: int) -> list[int]:
    return [other for other in plan.inputs[addition] if other != node]
