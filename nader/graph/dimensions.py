"""Shape rules of operations on dimensions, from mean to reshape: PyTorch's, exactly."""

from __future__ import annotations

import numpy as np

from nader.graph.block import Argument, Node, items_of
from nader.graph.errors import ProblemCode
from nader.graph.expression import MAX_VALUE, Expression, Mask, Size
from nader.graph.growth import divides_at_every_batch
from nader.graph.shapes import Context, Tensor


def axes_of(context: Context, node: Node, tensor: Tensor, shown: list[Tensor]) -> tuple[int, ...]:
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


def reduce(context: Context, node: Node, inputs: list[Tensor]) -> Tensor:
    """mean, max and sum: the dimensions named become 1."""
    tensor = inputs[0]
    axes = axes_of(context, node, tensor, inputs)
    sizes = tuple(1 if axis in axes else size for axis, size in enumerate(tensor.sizes))
    return Tensor(sizes, tensor.spatial, tensor.ok)


def softmax(context: Context, node: Node, inputs: list[Tensor]) -> Tensor:
    """Any shape with that dimension."""
    axes_of(context, node, inputs[0], inputs)
    return inputs[0]


def permute(context: Context, node: Node, inputs: list[Tensor]) -> Tensor:
    """The dimensions in another order."""
    tensor = inputs[0]
    dims = [item.constant for item in items_of(node, "dims")]
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


def repeat(context: Context, node: Node, inputs: list[Tensor]) -> Tensor:
    """Each size as often as said; more numbers than dimensions add dimensions in front."""
    tensor = inputs[0]
    items = items_of(node, "sizes")
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


def reshape(context: Context, node: Node, inputs: list[Tensor]) -> Tensor:
    """The sizes named, if they hold as many elements for every batch size."""
    tensor = inputs[0]
    items = items_of(node, "shape")
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
        if isinstance(want, np.ndarray) and want.shape[0] > 1:
            good = divides_at_every_batch(have, want)
            ok = context.require(node, good, ok, ProblemCode.SHAPE, message, hint, (), inputs)
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
