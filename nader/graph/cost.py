"""Parameters and multiply-accumulates of a block in closed form, at many sites at once.

Parameters: Conv2d and Linear have weights and a bias, BN and LN a scale and a shift. Multiply-accumulates (MACs), for
one image: Conv2d out·(in/groups)·kh·kw at each output position, Linear out·in at each, Multiply n·k·m for each matrix.
Bias, normalisation, activation, pooling and element-wise operations are not counted, as is the custom of the
paper's tools.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nader.graph.block import Block, Node
from nader.graph.errors import BlockError
from nader.graph.expression import Expression, Size
from nader.graph.shapes import Context, Tensor, infer
from nader.graph.sites import Site, Sites
from nader.graph.structure import structure

CONV_BIAS = True
"""Whether Conv2d has a bias."""


def cost_at(block: Block, sites: Sequence[Site]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Parameters and MACs for one image, int64 [sites] each.

    Values at sites where the block does not work mean nothing. Raises BlockError where it works at none.
    """
    table = sites if isinstance(sites, Sites) else Sites(sites)
    graph = structure(block)
    context = infer(block, graph.order, table, graph.blocked)
    problems = (*graph.problems, *context.problems)
    if graph.problems or len(context.tensors) < len(block.nodes):
        raise BlockError(problems)
    return costs(context)


def costs(context: Context) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Parameters and MACs of an inferred block, int64 [sites] each."""
    parameters: Any = 0
    macs: Any = 0
    for node in context.block.nodes:
        if node.op in ("Conv2d", "Linear", "BN", "LN", "Multiply"):
            inputs = [context.tensors[source] for source in context.block.inputs_of(node.index)]
            more_parameters, more_macs = _cost(context, node, inputs, context.tensors[node.index])
            parameters, macs = parameters + more_parameters, macs + more_macs
    count = len(context.sites)
    return _column(parameters, count), _column(macs, count)


def _column(value: Any, count: int) -> NDArray[np.int64]:
    return np.broadcast_to(np.atleast_2d(np.asarray(value, np.int64))[0], (count,))


def _cost(context: Context, node: Node, inputs: list[Tensor], output: Tensor) -> tuple[Any, Any]:
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
    return out * (fan_in + CONV_BIAS), _elements(output) * fan_in


def _window(context: Context, node: Node) -> Any:
    value = node.argument("kernel_size")
    items = value if isinstance(value, tuple) else (value, value)
    height, width = (_one(context.value(node, item, "kernel_size")[0]) for item in items if item is not None)
    return height * width


def _argument(context: Context, node: Node, name: str, default: int) -> Any:
    value = node.argument(name)
    return _one(context.value(node, value, name)[0]) if isinstance(value, Expression) else default


def _one(size: Size) -> Any:
    """A size for one image: the row of batch size 1."""
    return size if isinstance(size, int) else size[:1]


def _elements(tensor: Tensor) -> Any:
    total: Any = 1
    for size in tensor.sizes:
        total = total * _one(size)
    return total
