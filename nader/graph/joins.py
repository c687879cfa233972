"""Shape rules of operations with several inputs: PyTorch's, exactly."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from nader.graph.block import Node
from nader.graph.dimensions import axes_of
from nader.graph.errors import ProblemCode
from nader.graph.expression import Mask, Size
from nader.graph.shapes import Context, Tensor

_RESIZE = " AdaptiveAvgPool2d changes height and width; output_size=(H,W) gives those of the block's input."


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
    hint: str | Callable[[], str],
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


def _way_back(inputs: list[Tensor]) -> str:
    """A sentence on how maps come to one height and width, where some of the inputs differ in it."""
    for axis in (2, 3):
        met: Size = 1
        for tensor in inputs:
            if tensor.rank != 4 or not tensor.spatial[axis]:
                continue
            size = tensor.sizes[axis]
            if isinstance(size, int) and size == 1:
                continue
            if not (isinstance(met, int) and met == 1) and size is not met and not np.all(size == met):
                return _RESIZE
            met = size
    return ""


def _spatial_of(inputs: list[Tensor], rank: int) -> tuple[bool, ...]:
    if all(tensor.rank == rank for tensor in inputs) and len({tensor.spatial for tensor in inputs}) == 1:
        return inputs[0].spatial
    return tuple(
        any(tensor.rank >= rank - axis and tensor.spatial[axis - rank] for tensor in inputs)
        for axis in range(rank)
    )


def broadcast(context: Context, node: Node, inputs: list[Tensor]) -> Tensor:
    """Add and Mul: the broadcast shape of all inputs."""
    fix = "Give the inputs equal sizes, or 1 where one is to be repeated; a 1x1 Conv2d changes the channels."

    def hint() -> str:
        return fix + _way_back(inputs)

    message = f"The inputs of {node.op} do not fit each other"
    sizes, ok = _aligned(context, node, [t.sizes for t in inputs], _all_ok(inputs), inputs, message, hint)
    return Tensor(sizes, _spatial_of(inputs, len(sizes)), ok)


def matmul(context: Context, node: Node, inputs: list[Tensor]) -> Tensor:
    """(..., n, k) and (..., k, m) → (..., n, m)."""
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


def concat(context: Context, node: Node, inputs: list[Tensor]) -> Tensor:
    """Shapes that are equal but for one dimension, which adds up."""
    hint = "Give all inputs the same number of dimensions, and equal sizes except in the concatenated one."
    rank = inputs[0].rank
    if any(tensor.rank != rank for tensor in inputs):
        message = "The inputs of concat have different numbers of dimensions."
        raise context.refuse(node, ProblemCode.SHAPE, message, hint, inputs)
    (axis,) = axes_of(context, node, inputs[0], inputs)
    ok = _all_ok(inputs)
    total = inputs[0].sizes[axis]
    good: Mask = True
    for tensor in inputs[1:]:
        total = context.keep(total + tensor.sizes[axis])
        for at, (first, second) in enumerate(zip(inputs[0].sizes, tensor.sizes, strict=True)):
            if at != axis and first is not second:
                good = good & (first == second)
    message = f"The inputs of concat differ in a dimension other than {axis}"

    def resize() -> str:
        return hint + _way_back(inputs)

    ok = context.require(node, good, ok, ProblemCode.SHAPE, message, resize, (), inputs)
    sizes = (*inputs[0].sizes[:axis], total, *inputs[0].sizes[axis + 1 :])
    return Tensor(sizes, _spatial_of(inputs, rank), ok)
