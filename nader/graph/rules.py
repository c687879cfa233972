"""What each operator does to shapes, and what it needs of them: PyTorch's rules, exactly."""

from __future__ import annotations

import numpy as np

from nader.graph.block import Argument, Node
from nader.graph.errors import ProblemCode
from nader.graph.expression import MAX_VALUE, Expression, Mask, Size
from nader.graph.operators import OPERATORS
from nader.graph.shapes import _TRAINING, MAX_WINDOW, Context, Rule, Tensor

_ONE: tuple[Size, Size] = (1, 1)


def _input(context: Context, node: Node, inputs: list[Tensor]) -> Tensor:
    values = context.values
    return Tensor((values["B"], values["C"], values["H"], values["W"]), (False, False, True, True))


def _same(context: Context, node: Node, inputs: list[Tensor]) -> Tensor:
    return inputs[0]


def _output(context: Context, node: Node, inputs: list[Tensor]) -> Tensor:
    return inputs[0]


# --- convolution and pooling ---


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
    reach_h, reach_w = dh * (kh - 1), dw * (kw - 1)
    if not (isinstance(reach_h, int) and isinstance(reach_w, int) and reach_h <= 32 and reach_w <= 32):
        padded = (tensor.sizes[1], context.keep(height + reach_h), context.keep(width + reach_w))
        ok = context.limit(node, padded, ok)
    return (kh, kw), (context.ceil_div(height, sh), context.ceil_div(width, sw)), ok


def _conv(context: Context, node: Node, inputs: list[Tensor]) -> Tensor:
    tensor = inputs[0]
    _image(context, node, tensor)
    channels, ok = _fixed(context, node, tensor, 1)
    out, ok = context.size(node, _expression(node, "out_channels"), "out_channels", ok)
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


def _pool(context: Context, node: Node, inputs: list[Tensor]) -> Tensor:
    tensor = inputs[0]
    _image(context, node, tensor)
    _, (height, width), ok = _window(context, node, tensor, tensor.ok, None)
    return Tensor((*tensor.sizes[:2], height, width), (*tensor.spatial[:2], True, True), ok)


def _adaptive_pool(context: Context, node: Node, inputs: list[Tensor]) -> Tensor:
    tensor = inputs[0]
    _image(context, node, tensor)
    height, width, ok = _pair(context, node, "output_size", _ONE, tensor.ok)
    return Tensor((*tensor.sizes[:2], height, width), (*tensor.spatial[:2], True, True), ok)


# --- layers with weights on other ranks ---


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


def _linear(context: Context, node: Node, inputs: list[Tensor]) -> Tensor:
    tensor = inputs[0]
    channels, ok = _channels_last(context, node, tensor)
    out, ok = context.size(node, _expression(node, "out_channels"), "out_channels", ok)
    ok = context.limit_weights(node, (out, channels), ok)
    return Tensor((*tensor.sizes[:-1], out), (*tensor.spatial[:-1], False), ok)


def _layer_norm(context: Context, node: Node, inputs: list[Tensor]) -> Tensor:
    channels, ok = _channels_last(context, node, inputs[0])
    return Tensor((*inputs[0].sizes[:-1], channels), inputs[0].spatial, ok)


def _batch_norm(context: Context, node: Node, inputs: list[Tensor]) -> Tensor:
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
    good = (values > 1) | ~_TRAINING
    message = "BN has one value for each channel in a training batch and cannot normalise it"
    hint = "Keep the batch in dimension 0, or leave the normalisation out here."
    ok = context.require(node, good, tensor.ok, ProblemCode.SHAPE, message, hint, (), [tensor])
    return tensor if ok is tensor.ok else Tensor(tensor.sizes, tensor.spatial, ok)


# --- several inputs ---


def _both(first: Mask, second: Mask) -> Mask:
    if first is True:
        return second
    return first if second is True else first & second


def _all_ok(inputs: list[Tensor]) -> Mask:
    ok: Mask = True
    for tensor in inputs:
        ok = _both(ok, tensor.ok)
    return ok


def _aligned(
    context: Context,
    node: Node,
    shapes: list[tuple[Size, ...]],
    ok: Mask,
    inputs: list[Tensor],
    message: str,
    hint: str,
) -> tuple[tuple[Size, ...], Mask]:
    """The broadcast shape of several; a size fits another that is equal or where one of the two is 1."""
    result = shapes[0]
    good: Mask = True
    for shape in shapes[1:]:
        longer, shorter = (result, shape) if len(result) >= len(shape) else (shape, result)
        lead = len(longer) - len(shorter)
        sizes = list(longer[:lead])
        for first, second in zip(longer[lead:], shorter, strict=True):
            if first is second or (isinstance(second, int) and second == 1):
                sizes.append(first)
            elif isinstance(first, int) and first == 1:
                sizes.append(second)
            elif isinstance(first, int) and isinstance(second, int):
                good = good & (first == second)
                sizes.append(first)
            else:
                good = good & ((first == second) | (first == 1) | (second == 1))
                sizes.append(context.keep(np.where(first == 1, second, first)))
        result = tuple(sizes)
    return result, context.require(node, good, ok, ProblemCode.SHAPE, message, hint, (), inputs)


def _spatial_of(inputs: list[Tensor], rank: int) -> tuple[bool, ...]:
    if all(tensor.rank == rank for tensor in inputs) and len({tensor.spatial for tensor in inputs}) == 1:
        return inputs[0].spatial
    return tuple(
        any(tensor.rank >= rank - axis and tensor.spatial[axis - rank] for tensor in inputs)
        for axis in range(rank)
    )


def _broadcast(context: Context, node: Node, inputs: list[Tensor]) -> Tensor:
    hint = "Give the inputs equal sizes, or 1 where one is to be repeated; a 1x1 Conv2d changes the channels."
    message = f"The inputs of {node.op} do not fit each other"
    sizes, ok = _aligned(context, node, [t.sizes for t in inputs], _all_ok(inputs), inputs, message, hint)
    return Tensor(sizes, _spatial_of(inputs, len(sizes)), ok)


def _matmul(context: Context, node: Node, inputs: list[Tensor]) -> Tensor:
    first, second = inputs
    hint = "Give inputs (..., n, k) and (..., k, m); permute or reshape them before."
    if first.rank < 2 or second.rank < 2:
        message = "Multiply is the matrix product and needs inputs of at least 2 dimensions."
        raise context.refuse(node, ProblemCode.SHAPE, message, hint, inputs)
    ok = _all_ok(inputs)
    inner, other = first.sizes[-1], second.sizes[-2]
    if inner is not other:
        message = "Multiply is the matrix product (..., n, k) by (..., k, m); here the two k differ"
        ok = context.require(node, inner == other, ok, ProblemCode.SHAPE, message, hint, (), inputs)
    leading = [first.sizes[:-2], second.sizes[:-2]]
    message = "The leading sizes of the inputs of Multiply do not fit each other"
    sizes, ok = _aligned(context, node, leading, ok, inputs, message, hint)
    rank = len(sizes) + 2
    spatial = (False,) * (rank - 2) + (first.spatial[-2], second.spatial[-1])
    return Tensor((*sizes, first.sizes[-2], second.sizes[-1]), spatial, ok)


def _concat(context: Context, node: Node, inputs: list[Tensor]) -> Tensor:
    hint = "Give all inputs the same number of dimensions, and equal sizes except in the concatenated one."
    rank = inputs[0].rank
    if any(tensor.rank != rank for tensor in inputs):
        message = "The inputs of concat have different numbers of dimensions."
        raise context.refuse(node, ProblemCode.SHAPE, message, hint, inputs)
    (axis,) = _axes(context, node, inputs[0], inputs)
    ok = _all_ok(inputs)
    total = inputs[0].sizes[axis]
    good: Mask = True
    for tensor in inputs[1:]:
        total = context.keep(total + tensor.sizes[axis])
        for at, (first, second) in enumerate(zip(inputs[0].sizes, tensor.sizes, strict=True)):
            if at != axis and first is not second:
                good = good & (first == second)
    message = f"The inputs of concat differ in a dimension other than {axis}"
    ok = context.require(node, good, ok, ProblemCode.SHAPE, message, hint, (), inputs)
    sizes = (*inputs[0].sizes[:axis], total, *inputs[0].sizes[axis + 1 :])
    return Tensor(sizes, _spatial_of(inputs, rank), ok)


# --- dimensions ---


def _axes(context: Context, node: Node, tensor: Tensor, shown: list[Tensor]) -> tuple[int, ...]:
    """The dimensions an operation names, counted from 0; refused where there are none such, or one twice."""
    argument: Argument | None = node.argument("dim")
    items = (argument,) if isinstance(argument, Expression) else argument or ()
    axes = [item.constant if item.constant is not None else tensor.rank for item in items]
    wrong = [axis for axis in axes if not -tensor.rank <= axis < tensor.rank]
    if wrong:
        named = items[axes.index(wrong[0])]
        message = f"{node.op} names dimension {named}, but its input has {tensor.rank} dimensions."
        hint = f"Use a dimension from {-tensor.rank} to {tensor.rank - 1}."
        raise context.refuse(node, ProblemCode.SHAPE, message, hint, shown)
    counted = tuple(axis % tensor.rank for axis in axes)
    if len(set(counted)) < len(counted):
        message = f"{node.op} names a dimension twice."
        raise context.refuse(node, ProblemCode.SHAPE, message, "Name each dimension once.", shown)
    return counted


def _reduce(context: Context, node: Node, inputs: list[Tensor]) -> Tensor:
    tensor = inputs[0]
    axes = _axes(context, node, tensor, inputs)
    sizes = tuple(1 if axis in axes else size for axis, size in enumerate(tensor.sizes))
    return Tensor(sizes, tensor.spatial, tensor.ok)


def _softmax(context: Context, node: Node, inputs: list[Tensor]) -> Tensor:
    _axes(context, node, inputs[0], inputs)
    return inputs[0]


def _permute(context: Context, node: Node, inputs: list[Tensor]) -> Tensor:
    tensor = inputs[0]
    dims = [item.constant for item in _items(node, "dims")]
    counted = [dim % tensor.rank for dim in dims if dim is not None and -tensor.rank <= dim < tensor.rank]
    if sorted(counted) != list(range(tensor.rank)) or len(dims) != tensor.rank:
        message = f"permute must name each of the {tensor.rank} dimensions of its input once."
        example = (
            ",".join(str(axis) for axis in (0, *range(2, tensor.rank), 1)[: tensor.rank])
            if tensor.rank > 1
            else "0"
        )
        raise context.refuse(
            node, ProblemCode.SHAPE, message, f"Write, for example, permute({example}).", inputs
        )
    return Tensor(
        tuple(tensor.sizes[axis] for axis in counted),
        tuple(tensor.spatial[axis] for axis in counted),
        tensor.ok,
    )


def _repeat(context: Context, node: Node, inputs: list[Tensor]) -> Tensor:
    tensor = inputs[0]
    items = _items(node, "sizes")
    lead = len(items) - tensor.rank
    if lead < 0:
        message = (
            f"repeat names {len(items)} numbers of repetitions for an input of {tensor.rank} dimensions."
        )
        raise context.refuse(node, ProblemCode.SHAPE, message, "Give one for each dimension.", inputs)
    ok = tensor.ok
    sizes: list[Size] = []
    for at, item in enumerate(items):
        times, ok = context.size(node, item, "repetitions", ok)
        if at >= lead:
            size = tensor.sizes[at - lead]
            times, ok = (
                (size, ok)
                if isinstance(times, int) and times == 1
                else _large(context, node, times * size, ok)
            )
        sizes.append(times)
    return Tensor(tuple(sizes), (False,) * lead + tensor.spatial, ok)


def _large(context: Context, node: Node, size: Size, ok: Mask) -> tuple[Size, Mask]:
    """A computed size, and where it is one a tensor may have (elsewhere it is replaced by 1)."""
    if float(np.max(size)) <= MAX_VALUE:
        return context.keep(size if isinstance(size, int) else np.asarray(size, np.int64)), ok
    good = size <= MAX_VALUE
    message = "The output has more elements than a tensor may have"
    ok = context.require(node, good, ok, ProblemCode.SIZE_LIMIT, message, "Make the tensor smaller.")
    return context.keep(np.where(good, size, 1).astype(np.int64)), ok


def _reshape(context: Context, node: Node, inputs: list[Tensor]) -> Tensor:
    tensor = inputs[0]
    items = _items(node, "shape")
    free = [at for at, item in enumerate(items) if item.constant == -1]
    if len(free) > 1:
        message = "reshape has more than one -1."
        raise context.refuse(node, ProblemCode.SHAPE, message, "Write at most one -1.", inputs)
    ok = tensor.ok
    sizes: list[Size] = []
    for at, item in enumerate(items):
        if item.constant == 0:
            message = "reshape names a size of 0, which does not stand for a size that is kept."
            raise context.refuse(node, ProblemCode.SHAPE, message, "Write B for the batch size.", inputs)
        size, ok = (1, ok) if at in free else context.size(node, item, "size", ok)
        sizes.append(size)
    before, after = _cancelled(list(tensor.sizes), sizes)
    have, want = _product(before), _product(after)
    hint = "The sizes must multiply to as many elements as the input has, for every batch size B."
    if free:
        message = "The elements of the input cannot be shared out over the sizes of reshape"
        if not (isinstance(want, int) and want == 1):
            ok = context.require(node, have % want == 0, ok, ProblemCode.SHAPE, message, hint, (), inputs)
        sizes[free[0]], ok = _large(context, node, np.maximum(have // want, 1), ok)
    elif have is not want:
        message = "reshape changes the number of elements"
        ok = context.require(node, have == want, ok, ProblemCode.SHAPE, message, hint, (), inputs)
    return Tensor(tuple(sizes), tuple(_is_side(item) for item in items), ok)


def _cancelled(first: list[Size], second: list[Size]) -> tuple[list[Size], list[Size]]:
    """Both without the sizes they share, and without ones."""
    left = [size for size in second if not (isinstance(size, int) and size == 1)]
    kept: list[Size] = []
    for size in first:
        at = next(
            (
                i
                for i, other in enumerate(left)
                if other is size or (isinstance(size, int) and isinstance(other, int) and size == other)
            ),
            None,
        )
        if at is not None:
            left.pop(at)
        elif not (isinstance(size, int) and size == 1):
            kept.append(size)
    return kept, left


def _product(sizes: list[Size]) -> Size:
    """The product; in whole numbers of any length where 64 bits might not do."""
    result: Size = 1
    for size in sizes:
        result = result * size
        if float(np.max(result)) > 2**31:
            result = np.asarray(result, object) if np.asarray(result).dtype != object else result
    return result


def _is_side(item: Expression) -> bool:
    """Whether a size of a reshape names a side of the map: H or W, perhaps scaled by numbers."""
    names = item.variables & {"H", "W"}
    return len(item.variables) == 1 and len(names) == 1


# --- arguments ---


def _expression(node: Node, name: str) -> Expression:
    value = node.argument(name)
    assert isinstance(value, Expression), f"{node} has no {name}"
    return value


def _items(node: Node, name: str) -> tuple[Expression, ...]:
    value = node.argument(name)
    return (value,) if isinstance(value, Expression) else value or ()


RULES: dict[str, Rule] = {
    "input": _input,
    "output": _output,
    "Conv2d": _conv,
    "Linear": _linear,
    "AvgPool2d": _pool,
    "MaxPool2d": _pool,
    "AdaptiveAvgPool2d": _adaptive_pool,
    "AdaptiveMaxPool2d": _adaptive_pool,
    "Add": _broadcast,
    "Mul": _broadcast,
    "Multiply": _matmul,
    "concat": _concat,
    "mean": _reduce,
    "max": _reduce,
    "sum": _reduce,
    "softmax": _softmax,
    "ReLU": _same,
    "GELU": _same,
    "Sigmoid": _same,
    "BN": _batch_norm,
    "LN": _layer_norm,
    "DropPath": _same,
    "permute": _permute,
    "repeat": _repeat,
    "reshape": _reshape,
}

assert RULES.keys() == OPERATORS.keys()
