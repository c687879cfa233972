"""Edits that reweigh a feature map by what it contains: gates, pooled context and attention."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from nader.graph.edit.plan import Plan, share
from nader.graph.edit.registry import Draft, edit
from nader.graph.sketch import ADD, BN, LN, MATMUL, MUL, SIGMOID, conv, keyed, positional

_POOL = keyed("AdaptiveAvgPool2d", output_size=1)
_NO_MAP = "no operation of the cell gives a feature map to reweigh"


@edit(
    "squeeze-and-excitation",
    "Gate every channel by a small bottleneck on the globally pooled map",
    source="Hu, Shen and Sun, Squeeze-and-Excitation Networks, CVPR 2018",
    absent=_NO_MAP,
)
def squeeze_and_excitation(plan: Plan) -> Iterator[Draft]:
    for reduction, place in product((4, 2, 8), plan.anchors()):
        draft = plan.grown(place, _excite, plan.channels(place), reduction)
        yield draft, f"squeeze-and-excitation with reduction {reduction} after {plan.label[place]}"


def _excite(plan: Plan, node: int, channels: str, reduction: int) -> int:
    squeeze = (_POOL, conv(share(channels, reduction), 1), plan.activation())
    return plan.add(MUL, node, plan.chain(node, *squeeze, conv(channels, 1), SIGMOID))


@edit(
    "efficient-channel-attention",
    "Gate every channel by its neighbours in the pooled channel vector, with a handful of weights",
    source="Wang et al., ECA-Net: Efficient Channel Attention for Deep CNNs, CVPR 2020",
    absent=_NO_MAP,
)
def efficient_channel_attention(plan: Plan) -> Iterator[Draft]:
    for kernel, place in product((3, 5), plan.anchors()):
        draft = plan.grown(place, _attend_to_neighbours, kernel)
        yield draft, f"efficient channel attention over {kernel} neighbours after {plan.label[place]}"


def _attend_to_neighbours(plan: Plan, node: int, kernel: int) -> int:
    swap = positional("permute", "0", "2", "1", "3")
    return plan.add(MUL, node, plan.chain(node, _POOL, swap, conv("1", f"({kernel},1)"), swap, SIGMOID))


@edit(
    "spatial-gate",
    "Gate every position by a convolution over the channels' mean and maximum",
    source="Woo et al., CBAM: Convolutional Block Attention Module, ECCV 2018",
    absent=_NO_MAP,
)
def spatial_gate(plan: Plan) -> Iterator[Draft]:
    for kernel, place in product((7, 3, 5), plan.anchors()):
        yield (
            plan.grown(place, _gate_positions, kernel),
            f"a {kernel}x{kernel} spatial gate after {plan.label[place]}",
        )


def _gate_positions(plan: Plan, node: int, kernel: int) -> int:
    summary = [plan.add(keyed(name, dim=1), node) for name in ("mean", "max")]
    both = plan.add(keyed("concat", dim=1), *summary)
    return plan.add(MUL, node, plan.chain(both, conv("1", kernel), SIGMOID))


@edit(
    "gated-unit",
    "Multiply a layer by a sigmoid gate computed from the same input by a 1x1 convolution",
    source="Dauphin et al., Language Modeling with Gated Convolutional Networks, ICML 2017",
    absent="no convolution of the cell goes from feature map to feature map",
)
def gated_unit(plan: Plan) -> Iterator[Draft]:
    for node in [*plan.convs(), *plan.convs(spatial=False)]:
        draft = plan.grown(plan.layer_end(node), _gate_by, plan.inputs[node][0], plan.channels(node))
        yield draft, f"a 1x1 sigmoid gate on the layer of {plan.label[node]}"


def _gate_by(plan: Plan, node: int, source: int, channels: str) -> int:
    return plan.add(MUL, node, plan.chain(source, conv(channels, 1), SIGMOID))


@edit(
    "global-context",
    "Add to every position one context vector, gathered by softmax attention over all positions",
    source="Cao et al., GCNet: Non-local Networks Meet Squeeze-Excitation Networks and Beyond, ICCVW 2019",
    absent=_NO_MAP,
)
def global_context(plan: Plan) -> Iterator[Draft]:
    for reduction, place in product((4, 2), plan.anchors()):
        draft = plan.grown(place, _add_context, plan.channels(place), reduction)
        yield draft, f"a global context vector with reduction {reduction} added after {plan.label[place]}"


def _add_context(plan: Plan, node: int, channels: str, reduction: int) -> int:
    weights = plan.chain(node, conv("1", 1), positional("reshape", "B", "H*W", "1"), keyed("softmax", dim=1))
    values = plan.add(positional("reshape", "B", channels, "H*W"), node)
    gathered = plan.chain(
        plan.add(MATMUL, values, weights),
        positional("permute", "0", "2", "1"),
        keyed("Linear", out_channels=share(channels, reduction)),
        LN,
        plan.activation(),
        keyed("Linear", out_channels=channels),
        positional("reshape", "B", channels, "1", "1"),
    )
    return plan.add(ADD, node, gathered)


@edit(
    "pooled-attention",
    "Let every position attend to a small pooled version of the map, as a residual branch",
    source="Wang et al., Pyramid Vision Transformer, ICCV 2021",
    absent=_NO_MAP,
)
def pooled_attention(plan: Plan) -> Iterator[Draft]:
    for side, place in product((4, 2), plan.anchors()):
        draft = plan.grown(place, _attend_to_pooled, plan.channels(place), side)
        yield draft, f"attention to a {side}x{side} pooled map after {plan.label[place]}"


def _attend_to_pooled(plan: Plan, node: int, channels: str, side: int) -> int:
    narrow, positions, turn = share(channels, 2), str(side * side), positional("permute", "0", "2", "1")
    query = plan.chain(node, conv(narrow, 1), positional("reshape", "B", narrow, "H*W"), turn)
    pooled = plan.add(keyed("AdaptiveAvgPool2d", output_size=side), node)
    key = plan.chain(pooled, conv(narrow, 1), positional("reshape", "B", narrow, positions))
    value = plan.chain(pooled, conv(channels, 1), positional("reshape", "B", channels, positions), turn)
    weights = plan.chain(plan.add(MATMUL, query, key), keyed("softmax", dim=2))
    mixed = plan.add(MATMUL, weights, value)
    return plan.add(ADD, node, plan.chain(mixed, turn, positional("reshape", "B", channels, "H", "W"), BN))


@edit(
    "channel-scale",
    "Scale every channel of a residual branch by a learned number of its own",
    source="Touvron et al., Going deeper with Image Transformers (LayerScale), ICCV 2021",
    absent=_NO_MAP,
)
def channel_scale(plan: Plan) -> Iterator[Draft]:
    for place in plan.anchors():
        scale = conv(plan.channels(place), 1, groups=plan.channels(place))
        yield (
            plan.grown(place, Plan.chain, scale),
            f"a learned scale for each channel after {plan.label[place]}",
        )
