"""The steps that compute a block at one site: what the module and the printed source are both made of.

Padding. A convolution or a pooling with kernel k, dilation d and any stride is padded along each axis of the
map by d * (k - 1) in all: half of it, rounded down, at the start, and the rest at the end. So stride 1 keeps
the size, stride s gives ceil(size / s), odd kernels are centred, and the odd pixel of an even kernel lies at
the right or the bottom. Max pooling pads with minus infinity and average pooling divides by the pixels that
exist: padding never counts. Where padding evenly on both sides reads the same pixels, the layer does it
itself; otherwise `Step.pad` says what to pad before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from nader.graph import Block, BlockError, ResolvedNode, Site, expression, growth, resolve
from nader.network.errors import DesignError

Number: TypeAlias = int | float | bool | tuple[int, ...]

WINDOWED = ("Conv2d", "MaxPool2d", "AvgPool2d")
_NAMES = {
    "Conv2d": "conv",
    "MaxPool2d": "maxpool",
    "AvgPool2d": "avgpool",
    "AdaptiveAvgPool2d": "avgpool",
    "AdaptiveMaxPool2d": "maxpool",
}
_BATCH_NORMS = {2: "BatchNorm1d", 3: "BatchNorm1d", 4: "BatchNorm2d", 5: "BatchNorm3d"}


@dataclass(frozen=True)
class Layer:
    """A layer with its arguments: a class of torch.nn, or DropPath."""

    kind: str
    arguments: tuple[tuple[str, Number], ...] = ()


@dataclass(frozen=True)
class Extent:
    """A size that may grow with the batch, `times * batch + plus`; `written` in Python where it can be."""

    times: int
    plus: int
    written: str


@dataclass(frozen=True)
class Step:
    """One node of a block, ready to run.

    `layer` is set for what keeps weights or state, and for pooling; else the operator is a function of its
    `inputs` with `dims` (concat, mean, max, sum, softmax, permute) or `extents` (repeat, reshape). `pad` is
    (left, right, top, bottom), as torch.nn.functional.pad takes it, where the layer cannot pad by itself.
    """

    node: int
    op: str
    inputs: tuple[int, ...]
    layer: Layer | None = None
    pad: tuple[int, int, int, int] | None = None
    dims: tuple[int, ...] = ()
    extents: tuple[Extent, ...] = ()

    @property
    def name(self) -> str:
        """What the layer is called in the module and in the source: conv2, bn3."""
        return f"{_NAMES.get(self.op, self.op.lower())}{self.node}"


def lower(block: Block, site: Site, *, conv_bias: bool = False) -> tuple[Step, ...]:
    """The steps of a block at a site, in an order in which they can run; the first is the input.

    Raises DesignError, with the problems, where the block is not valid there.
    """
    try:
        resolved = resolve(block, site)
    except BlockError as error:
        raise DesignError(str(error), error.problems) from None
    return tuple(_step(node, site, conv_bias) for node in resolved)


def _step(node: ResolvedNode, site: Site, conv_bias: bool) -> Step:
    op, inputs = node.op, node.inputs
    if op in WINDOWED:
        return _windowed(node, conv_bias)
    if op in ("repeat", "reshape"):
        return Step(node.index, op, inputs, extents=_extents(node, site))
    if op in ("concat", "mean", "max", "sum", "softmax", "permute"):
        return Step(node.index, op, inputs, dims=_tuple(node.attrs["dims" if op == "permute" else "dim"]))
    return Step(node.index, op, inputs, layer=_layer(node))


def _layer(node: ResolvedNode) -> Layer | None:
    """The layer of a node that is not windowed; None where the operator is a plain function."""
    attrs = node.attrs
    shape = node.in_shapes[0] if node.in_shapes else ()
    match node.op:
        case "Linear":
            sizes = (("in_features", shape[-1]), ("out_features", _integer(attrs["out_channels"])))
            return Layer("Linear", sizes)
        case "BN":
            return Layer(_BATCH_NORMS[len(shape)], (("num_features", shape[1]),))
        case "LN":
            return Layer("LayerNorm", (("normalized_shape", shape[-1]),))
        case "AdaptiveAvgPool2d" | "AdaptiveMaxPool2d":
            return Layer(node.op, (("output_size", _square(_pair(attrs["output_size"]))),))
        case "DropPath":
            return Layer("DropPath", (("prob", float(attrs["prob"])),))  # type: ignore[arg-type]
    return None


def _windowed(node: ResolvedNode, conv_bias: bool) -> Step:
    """A convolution or a pooling, with its padding."""
    attrs, shape = node.attrs, node.in_shapes[0]
    kernel, stride = _pair(attrs["kernel_size"]), _pair(attrs["stride"])
    dilation = _pair(attrs.get("dilation", (1, 1)))
    sides = [
        _padding(size, k, s, d) for size, k, s, d in zip(shape[2:4], kernel, stride, dilation, strict=True)
    ]
    even = all(before == after for before, after in sides)
    padding = (sides[0][0], sides[1][0]) if even else (0, 0)
    pad = None if even else (*sides[1], *sides[0])
    shared: tuple[tuple[str, Number], ...] = (("kernel_size", _square(kernel)), ("stride", _square(stride)))
    if any(padding):
        shared = (*shared, ("padding", _square(padding)))
    if node.op == "Conv2d":
        arguments: tuple[tuple[str, Number], ...] = (
            ("in_channels", shape[1]),
            ("out_channels", _integer(attrs["out_channels"])),
            *shared,
        )
        if dilation != (1, 1):
            arguments = (*arguments, ("dilation", _square(dilation)))
        if attrs.get("groups", 1) != 1:
            arguments = (*arguments, ("groups", _integer(attrs["groups"])))
        arguments = (*arguments, ("bias", conv_bias))
    else:
        arguments = shared
        if node.op == "AvgPool2d" and any(padding):
            arguments = (*arguments, ("count_include_pad", False))
    return Step(node.index, node.op, node.inputs, layer=Layer(node.op, arguments), pad=pad)


def _padding(size: int, kernel: int, stride: int, dilation: int) -> tuple[int, int]:
    """(before, after) along one side by the rule of this module; even wherever that reads the same pixels."""
    total = dilation * (kernel - 1)
    before = total // 2
    outputs = -(-size // stride)
    if (size + 2 * before - total - 1) // stride + 1 == outputs:
        return before, before  # what the rule pads beyond this, no window reads
    return before, total - before


def _extents(node: ResolvedNode, site: Site) -> tuple[Extent, ...]:
    """The sizes of a reshape or repeat as they grow with the batch."""
    values = {"C": site.C, "dim": site.dim, "H": site.H, "W": site.W}
    found = []
    for size in node.expressions:
        grows = growth(size, values)
        if not grows.even:
            raise DesignError(f"node {node.index}: {size} does not grow evenly with the batch")
        python = expression(size.text.replace("//", "/").replace("/", "//"))
        reads = growth(python, values)  # as Python does, which rounds at every division
        same = reads.even and (reads.times, reads.plus) == (grows.times, grows.plus)
        found.append(Extent(int(grows.times), int(grows.plus), python.text if same else ""))
    return tuple(found)


def _integer(value: object) -> int:
    assert isinstance(value, int)
    return int(value)


def _tuple(value: object) -> tuple[int, ...]:
    return tuple(int(v) for v in value) if isinstance(value, tuple) else (_integer(value),)


def _pair(value: object) -> tuple[int, int]:
    pair = _tuple(value)
    return (pair[0], pair[-1])


def _square(pair: tuple[int, int]) -> int | tuple[int, int]:
    """One number for a pair of equals, as torch reads it."""
    return pair[0] if pair[0] == pair[1] else pair
