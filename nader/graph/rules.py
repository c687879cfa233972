"""Infers every shape of a block by the rule of each operator."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from nader.graph.block import Block, Node
from nader.graph.dimensions import permute, reduce, repeat, reshape, softmax
from nader.graph.joins import broadcast, concat, matmul
from nader.graph.layers import adaptive_pool, batch_norm, conv, layer_norm, linear, pool
from nader.graph.operators import OPERATORS
from nader.graph.shapes import MAX_PROBLEMS, Context, Refused, Tensor
from nader.graph.sites import Sites

Rule = Callable[[Context, Node, list[Tensor]], Tensor]


def _input(context: Context, node: Node, inputs: list[Tensor]) -> Tensor:
    values = context.values
    return Tensor((values["B"], values["C"], values["H"], values["W"]), (False, False, True, True))


def _same(context: Context, node: Node, inputs: list[Tensor]) -> Tensor:
    return inputs[0]


RULES: dict[str, Rule] = {
    "input": _input,
    "output": _same,
    "Conv2d": conv,
    "Linear": linear,
    "AvgPool2d": pool,
    "MaxPool2d": pool,
    "AdaptiveAvgPool2d": adaptive_pool,
    "AdaptiveMaxPool2d": adaptive_pool,
    "Add": broadcast,
    "Mul": broadcast,
    "Multiply": matmul,
    "concat": concat,
    "mean": reduce,
    "max": reduce,
    "sum": reduce,
    "softmax": softmax,
    "ReLU": _same,
    "GELU": _same,
    "Sigmoid": _same,
    "BN": batch_norm,
    "LN": layer_norm,
    "DropPath": _same,
    "permute": permute,
    "repeat": repeat,
    "reshape": reshape,
}

assert RULES.keys() == OPERATORS.keys()


def infer(block: Block, order: Iterable[int], sites: Sites, blocked: Iterable[int] = ()) -> Context:
    """Infer every tensor, in topological order; nodes in ``blocked``, and all that need them, have none.

    Stops after MAX_PROBLEMS: nobody reads more.
    """
    context = Context(sites, block)
    skip = set(blocked)
    for index in order:
        if index in skip or len(context.problems) >= MAX_PROBLEMS:
            continue
        node = block.by_index[index]
        inputs = [context.tensors.get(source) for source in block.inputs_of(index)]
        known = [tensor for tensor in inputs if tensor is not None]
        if len(known) < len(inputs):
            continue
        try:
            tensor = RULES[node.op](context, node, known)
            ok = context.limit(node, tensor.sizes, tensor.ok)
            context.tensors[index] = tensor if ok is tensor.ok else Tensor(tensor.sizes, tensor.spatial, ok)
        except Refused:
            continue
    return context
