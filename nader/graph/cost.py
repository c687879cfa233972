"""Parameters and multiply-accumulates of a block in closed form, at many sites at once.

Parameters: Conv2d and Linear have weights, Linear has a bias too (so has Conv2d with ``conv_bias``, as in the
networks published with NADER; NAS-Bench-201's have none), BN and LN a scale and a shift.

Multiply-accumulates (MACs) are for one image. Conv2d: out·(in/groups)·kh·kw at each output position;
Linear: out·in at each; Multiply: n·k·m for each matrix. That is all for `Counting.PRODUCTS`, which gives
the counts published with NAS-Bench-201. The counts published with NADER also hold normalisation and average
pooling, as the tool behind them (thop) reckons: see `Counting.THOP`.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nader.graph.block import Block, Node
from nader.graph.errors import BlockError
from nader.graph.expression import Expression, Size
from nader.graph.rules import infer
from nader.graph.shapes import Context, Tensor
from nader.graph.sites import Site, Sites
from nader.graph.structure import structure
from nader.graph.verify import Verdict


class Counting(StrEnum):
    """What counts as multiply-accumulates.

    PRODUCTS: convolutions, linear layers and matrix products, without bias.
    THOP: also 4 for each element that BN or LN normalises, 1 for each output of AvgPool2d, 1 for each
    element that goes into or comes out of AdaptiveAvgPool2d. Reproduces the counts published with NADER.
    """

    PRODUCTS = "products"
    THOP = "thop"


def cost_at(
    block: Block,
    sites: Sequence[Site],
    counting: Counting = Counting.PRODUCTS,
    *,
    conv_bias: bool = False,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Parameters and MACs for one image, int64 [sites] each.

    Where the block does not work at a site, its numbers there mean nothing.
    Raises BlockError where it works at none.
    """
    table = sites if isinstance(sites, Sites) else Sites(sites)
    graph = structure(block)
    context = infer(block, graph.order, table, graph.blocked)
    if graph.problems or len(context.tensors) < len(block.nodes):
        raise BlockError((*graph.problems, *context.problems))
    return _costs(context, counting, conv_bias)


def cost_of(
    verdict: Verdict, counting: Counting = Counting.PRODUCTS, *, conv_bias: bool = False
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """As `cost_at`, of a block without problems, from the tensors that `verify` has already inferred.

    Raises BlockError for a block with problems.
    """
    if verdict.problems:
        raise BlockError(verdict.problems)
    return _costs(verdict.context, counting, conv_bias)


def _costs(
    context: Context, counting: Counting, conv_bias: bool
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    parameters: Any = 0
    macs: Any = 0
    for node in context.block.nodes:
        if node.op in _WEIGHTED:
            inputs = [context.tensors[source] for source in context.block.inputs_of(node.index)]
            more_parameters, more_macs = _cost(context, node, inputs, context.tensors[node.index], conv_bias)
            parameters, macs = parameters + more_parameters, macs + more_macs
        if counting is Counting.THOP and node.op in _THOP:
            source = context.tensors[context.block.inputs_of(node.index)[0]]
            macs = macs + _thop(node, source, context.tensors[node.index])
    count = len(context.sites)
    return _column(parameters, count), _column(macs, count)


_WEIGHTED = frozenset(("Conv2d", "Linear", "BN", "LN", "Multiply"))
_THOP = frozenset(("BN", "LN", "AvgPool2d", "AdaptiveAvgPool2d"))


def _column(value: Any, count: int) -> NDArray[np.int64]:
    return np.broadcast_to(np.atleast_2d(np.asarray(value, np.int64))[0], (count,))


def _cost(
    context: Context, node: Node, inputs: list[Tensor], output: Tensor, conv_bias: bool
) -> tuple[Any, Any]:
    first = inputs[0].sizes
    if node.op in ("BN", "LN"):
        return 2 * _one(first[1 if node.op == "BN" else -1]), 0
    if node.op == "Multiply":
        return 0, _elements(output) * _one(first[-1])
    if node.op == "Linear":
        channels, out = _one(first[-1]), _one(output.sizes[-1])
        return out * (channels + 1), _elements(output) * channels
    out = _one(output.sizes[1])
    groups = _argument(context, node, "groups", 1)
    fan_in = _one(first[1]) // groups * _window(context, node)
    return out * (fan_in + conv_bias), _elements(output) * fan_in


def _thop(node: Node, source: Tensor, output: Tensor) -> Any:
    if node.op in ("BN", "LN"):
        return 4 * _elements(source)
    if node.op == "AvgPool2d":
        return _elements(output)
    return _elements(source) + _elements(output)


def _window(context: Context, node: Node) -> Any:
    value = node.argument("kernel_size")
    items = value if isinstance(value, tuple) else (value, value)
    height, width = (_one(context.value(item).value) for item in items if item is not None)
    return height * width


def _argument(context: Context, node: Node, name: str, default: int) -> Any:
    value = node.argument(name)
    return _one(context.value(value).value) if isinstance(value, Expression) else default


def _one(size: Size) -> Any:
    """A size for one image: the row of batch size 1."""
    return size if isinstance(size, int) else size[:1]


def _elements(tensor: Tensor) -> Any:
    total: Any = 1
    for size in tensor.sizes:
        total = total * _one(size)
    return total
