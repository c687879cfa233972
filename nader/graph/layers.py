"""Shape rules of convolution, pooling, linear layers and normalisation: PyTorch's, exactly."""

from __future__ import annotations

import numpy as np

from nader.graph.block import Node, expression_of
from nader.graph.errors import ProblemCode
from nader.graph.expression import Expression, Mask, Size
from nader.graph.shapes import MAX_WINDOW, TRAINING, Context, Tensor

_ONE: tuple[Size, Size] = (1, 1)


def _image(context: Context, node: Node, tensor: Tensor) -> None:
    if tensor.rank != 4:
        message = (
            f"{node.op} needs an input of 4 dimensions (batch, channels, height, width), got {tensor.rank}."
        )
        raise context.refuse(
            node, ProblemCode.SHAPE, message, "Reshape the tensor to (B, channels, height, width).", [tensor]
        )


def _pair(
    context: Context, node: Node, name: str, default: tuple[Size, Size], ok: Mask
) -> tuple[Size, Size, Mask]:
    argument = node.argument(name)
    if argument is None:
        return *default, ok
    if isinstance(argument, Expression):
        value, ok = context.size(node, argument, name, ok)
        return value, value, ok
    height, ok = context.size(node, argument[0], name, ok)
    width, ok = context.size(node, argument[1], name, ok)
    return height, width, ok


def _window(
    context: Context, node: Node, tensor: Tensor, ok: Mask, strides: tuple[Size, Size] | None
) -> tuple[tuple[Size, Size], tuple[Size, Size], Mask]:
    """Kernel, and the height and width that come out; ``strides``: the default, None for the kernel."""
    kh, kw, ok = _pair(context, node, "kernel_size", _ONE, ok)
    sh, sw, ok = _pair(context, node, "stride", strides or (kh, kw), ok)
    dh, dw, ok = _pair(context, node, "dilation", _ONE, ok) if node.op == "Conv2d" else (1, 1, ok)
    for name, sizes in (("kernel_size", (kh, kw)), ("stride", (sh, sw)), ("dilation", (dh, dw))):
        for size in sizes:
            good = size <= MAX_WINDOW
            if good is not True:
                message, hint = f"{name} is larger than {MAX_WINDOW}", "Use a smaller window."
                ok = context.require(node, good, ok, ProblemCode.SIZE_LIMIT, message, hint)
    height, width = tensor.sizes[2], tensor.sizes[3]
    for size, stride in ((height, sh), (width, sw)):
        if not isinstance(size, int) and size.shape[0] > 1:
            message = f"{node.op} takes steps along a dimension that grows with the batch, which rounds it"
            hint = "Keep the batch in dimension 0, or use stride=1."
            ok = context.require(node, stride == 1, ok, ProblemCode.BATCH, message, hint, (), [tensor])
    reach_h, reach_w = dh * (kh - 1), dw * (kw - 1)
    if not (isinstance(reach_h, int) and isinstance(reach_w, int) and reach_h <= 32 and reach_w <= 32):
        padded = (*tensor.sizes[:2], context.keep(height + reach_h), context.keep(width + reach_w))
        ok = context.limit(node, padded, ok)
    return (kh, kw), (context.ceil_div(height, sh), context.ceil_div(width, sw)), ok


def conv(context: Context, node: Node, inputs: list[Tensor]) -> Tensor:
    """(B, c, h, w) → (B, out_channels, ceil(h/stride), ceil(w/stride)); groups divide both channels."""
    tensor = inputs[0]
    _image(context, node, tensor)
    channels, ok = _fixed(context, node, tensor, 1)
    out, ok = context.size(node, expression_of(node, "out_channels"), "out_channels", ok)
    kernel, (height, width), ok = _window(context, node, tensor, ok, _ONE)
    argument = node.argument("groups")
    groups: Size = 1
    if isinstance(argument, Expression):
        groups, ok = context.size(node, argument, "groups", ok)
        for what, size in (("input channels", channels), ("out_channels", out)):
            if size is groups or (isinstance(groups, int) and groups == 1):
                continue
            good = size % groups == 0
            if good is not True:
                message = f"groups={argument} must divide the {what}"
                hint = "Use groups that divide both the input channels and out_channels, or groups=1."
                ok = context.require(
                    node, good, ok, ProblemCode.GROUPS, message, hint, (size, groups), [tensor]
                )
    ok = context.limit_weights(node, (out, channels // groups, *kernel), ok)
    return Tensor((tensor.sizes[0], out, height, width), (False, False, True, True), ok)


def pool(context: Context, node: Node, inputs: list[Tensor]) -> Tensor:
    """(B, c, h, w) → (B, c, ceil(h/stride), ceil(w/stride))."""
    tensor = inputs[0]
    _image(context, node, tensor)
    _, (height, width), ok = _window(context, node, tensor, tensor.ok, None)
    return Tensor((*tensor.sizes[:2], height, width), (*tensor.spatial[:2], True, True), ok)


def adaptive_pool(context: Context, node: Node, inputs: list[Tensor]) -> Tensor:
    """(B, c, h, w) → (B, c, output_size)."""
    tensor = inputs[0]
    _image(context, node, tensor)
    height, width, ok = _pair(context, node, "output_size", _ONE, tensor.ok)
    return Tensor((*tensor.sizes[:2], height, width), (*tensor.spatial[:2], True, True), ok)


def _fixed(context: Context, node: Node, tensor: Tensor, axis: int) -> tuple[Size, Mask]:
    """The size of an axis that weights hang on, and where it does not change with the batch."""
    size = tensor.sizes[axis]
    if isinstance(size, int) or size.shape[0] == 1:
        return size, tensor.ok
    message = f"The weights of {node.op} would change with the batch size (dimension {axis % tensor.rank})"
    hint = "Keep the batch in dimension 0, apart from the channels."
    first = size[:1]
    ok = context.require(node, size == first, tensor.ok, ProblemCode.BATCH, message, hint, (), [tensor])
    return context.keep(first), ok


def _channels_last(context: Context, node: Node, tensor: Tensor) -> tuple[Size, Mask]:
    if tensor.spatial[-1]:
        message = f"{node.op} works on the last dimension, which must be the channels, not a side of the map."
        hint = (
            "Put permute(0,2,3,1) before it and permute(0,3,1,2) after it, or use BN or a 1x1 Conv2d instead."
            if tensor.rank == 4
            else "Permute the channels to the last dimension before it, and back after it."
        )
        raise context.refuse(node, ProblemCode.CHANNELS_LAST, message, hint, [tensor])
    return _fixed(context, node, tensor, -1)


def linear(context: Context, node: Node, inputs: list[Tensor]) -> Tensor:
    """(..., c) → (..., out_channels)."""
    tensor = inputs[0]
    channels, ok = _channels_last(context, node, tensor)
    out, ok = context.size(node, expression_of(node, "out_channels"), "out_channels", ok)
    ok = context.limit_weights(node, (out, channels), ok)
    return Tensor((*tensor.sizes[:-1], out), (*tensor.spatial[:-1], False), ok)


def layer_norm(context: Context, node: Node, inputs: list[Tensor]) -> Tensor:
    """Any shape with the channels last."""
    channels, ok = _channels_last(context, node, inputs[0])
    return Tensor((*inputs[0].sizes[:-1], channels), inputs[0].spatial, ok)


def batch_norm(context: Context, node: Node, inputs: list[Tensor]) -> Tensor:
    """2 to 5 dimensions with the channels in dimension 1 and more than one value of each in training."""
    tensor = inputs[0]
    if not 2 <= tensor.rank <= 5:
        message = (
            f"BN needs an input of 2 to 5 dimensions with the channels in dimension 1, got {tensor.rank}."
        )
        raise context.refuse(
            node, ProblemCode.SHAPE, message, "Reshape the tensor to (B, channels, ...).", [tensor]
        )
    channels, ok = _fixed(context, node, tensor, 1)
    tensor = Tensor((tensor.sizes[0], channels, *tensor.sizes[2:]), tensor.spatial, ok)
    if tensor.sizes[0] is context.values["B"]:
        return tensor
    values: Size = tensor.sizes[0]
    for size in tensor.sizes[2:]:
        values = np.minimum(values * size, 2)
    good = (values > 1) | ~TRAINING
    message = "BN has one value for each channel in a training batch and cannot normalise it"
    hint = "Keep the batch in dimension 0, or leave the normalisation out here."
    ok = context.require(node, good, tensor.ok, ProblemCode.SHAPE, message, hint, (), [tensor])
    return tensor if ok is tensor.ok else Tensor(tensor.sizes, tensor.spatial, ok)
