"""NAS-Bench-201's 15,625 cells as blocks (Dong and Yang, ICLR 2020, arXiv 2001.00326)."""

from __future__ import annotations

import re

from nader.graph.block import Block
from nader.graph.design import Design
from nader.graph.errors import GraphError
from nader.graph.library import base_design
from nader.graph.sketch import ADD, BN, INPUT, OUTPUT, RELU, Operation, Sketch, conv, keyed, positional

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
"""The benchmark's five operations; a `nor_conv` is ReLU, convolution, batch normalisation."""

_IDENTITY = positional("repeat", "1", "1", "1", "1")
_FORM = "|op~0|+|op~0|op~1|+|op~0|op~1|op~2|"


class ArchitectureError(GraphError):
    """A text that is not a NAS-Bench-201 cell; the message says what is wrong with it."""


def parse_nas_bench_201(arch: str) -> tuple[tuple[tuple[str, int], ...], ...]:
    """The (operation, source node) pairs of the cell's nodes 1, 2 and 3; raises ArchitectureError."""
    if not isinstance(arch, str):
        raise TypeError(f"a NAS-Bench-201 cell is a str, not {type(arch).__name__}")
    groups = arch.strip().split("+")
    nodes = []
    for place, group in enumerate(groups, start=1):
        pairs = re.fullmatch(r"\|((?:[a-z0-9_]+~[0-9]\|)+)", group.strip())
        if pairs is None or len(groups) != 3:
            raise ArchitectureError(f"not a NAS-Bench-201 cell: {arch[:120]!r}; one reads {_FORM}")
        edges = [part.split("~") for part in pairs[1].rstrip("|").split("|")]
        if [int(source) for _, source in edges] != list(range(place)):
            raise ArchitectureError(
                f"node {place} of {arch[:120]!r} must take nodes 0 to {place - 1}, each once, in order"
            )
        for operation, _ in edges:
            if operation not in OPERATIONS:
                raise ArchitectureError(
                    f"unknown operation {operation!r} in {arch[:120]!r}; there are {', '.join(OPERATIONS)}"
                )
        nodes.append(tuple((operation, int(source)) for operation, source in edges))
    return tuple(nodes)


def from_nas_bench_201(arch: str) -> Block:
    """The cell that a NAS-Bench-201 string stands for; raises ArchitectureError.

    `none` is folded: an edge that carries zeros is left out, and so is all that is computed from zeros alone
    (in the benchmark a `nor_conv` of zeros is a learned constant, which is dropped with it). `skip_connect`
    is a wire. 341 of the strings have no path left from input to output; they become one block, which
    ignores its input and gives every element one learned number that starts at zero.
    """
    sketch = Sketch("NASBench201")
    nodes: list[int | None] = [INPUT]
    for edges in parse_nas_bench_201(arch):
        terms = [
            _apply(sketch, operation, start)
            for operation, source in edges
            if operation != "none" and (start := nodes[source]) is not None
        ]
        nodes.append(_sum(sketch, terms) if terms else None)
    result = nodes[-1]
    sketch.inputs[OUTPUT] = [_zero(sketch) if result is None else result]
    return sketch.block()


def nas_bench_201_design(arch: str) -> Design:
    """The cell with the benchmark's stem and reduction block around it; raises ArchitectureError."""
    around = base_design("resnet-basic")
    return Design(from_nas_bench_201(arch), around.stem, around.downsample)


def _sum(sketch: Sketch, terms: list[int]) -> int:
    """The sum of the terms; one that comes again goes by an identity, as two nodes share at most one edge."""
    different = list(dict.fromkeys(terms))
    again = [sketch.add(_IDENTITY, term) for term in different for _ in range(terms.count(term) - 1)]
    return terms[0] if len(terms) == 1 else sketch.add(ADD, *different, *again)


def _apply(sketch: Sketch, operation: str, source: int) -> int:
    if operation == "skip_connect":
        return source
    if operation == "avg_pool_3x3":
        return sketch.add(keyed("AvgPool2d", kernel_size=3, stride=1), source)
    kernel = 1 if operation == "nor_conv_1x1" else 3
    return sketch.chain(source, RELU, conv("C", kernel), BN)


def _zero(sketch: Sketch) -> int:
    """Layer normalisation over an axis of size 1 leaves only its learned offset, which starts at zero."""
    spread, gather = positional("reshape", "B", "C", "H", "W", "1"), positional("reshape", "B", "C", "H", "W")
    return sketch.chain(INPUT, spread, Operation("LN"), gather)
