"""A verified cell taken apart for editing: what its operations are and how many channels flow between."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Concatenate, ParamSpec

from nader.graph.block import Block, Node, print_argument
from nader.graph.expression import expression
from nader.graph.operators import OPERATORS, Kind
from nader.graph.polynomials import normal_form
from nader.graph.sites import Site
from nader.graph.sketch import (
    ADD,
    BN,
    CHANNELS_FIRST,
    CHANNELS_LAST,
    GELU,
    INPUT,
    LN,
    OUTPUT,
    RELU,
    Operation,
    Sketch,
    conv,
    positional,
)
from nader.graph.verify import resolve

P = ParamSpec("P")
_PLAIN = ("C", "2*C", "3*C", "4*C", "C//2", "C//4", "C//8", "C//16")
Shape = tuple[int, ...]
ACTIVATIONS = frozenset({"ReLU", "GELU"})
_LONGEST = 60
"""Characters; a longer sum of channels is written as a multiple of C that is right at the two sites."""
_AFTER_CONV = frozenset({"BN", "LN", "ReLU", "GELU", "Sigmoid"})


class Plan(Sketch):
    """A sketch that knows the shapes of the cell it was made from, at two sites of that cell.

    Facts are those of the original cell: ask before drawing. Nodes that the edit adds have no recorded shape.
    """

    def __init__(self, block: Block, sites: Sequence[Site]) -> None:
        super().__init__(block.name)
        key = _keys(block)
        for node in block.nodes:
            self.operations[key[node.index]] = _operation(node)
            self.inputs[key[node.index]] = [key[source] for source in block.inputs_of(node.index)]
        self.label = {key[node.index]: f"node {node.index} ({node.op})" for node in block.nodes}
        self.label[INPUT], self.label[OUTPUT] = "the input", "the output"
        self.shapes: tuple[dict[int, Shape], ...] = tuple(
            {key[node.index]: node.out_shape for node in resolve(block, site)} for site in sites
        )
        self.sites = tuple(sites)
        self.original = self.order()
        self._known: dict[int, str] = {}

    # Facts of the original cell.

    def is_map(self, node: int) -> bool:
        """Whether `node` gives a feature map (B, channels, H, W) of the input's height and width."""
        return all(
            len(shapes[node]) == 4
            and shapes[node][0] == shapes[INPUT][0]
            and shapes[node][2:] == (site.H, site.W)
            for shapes, site in zip(self.shapes, self.sites, strict=True)
        )

    def width(self, node: int) -> tuple[int, ...]:
        """The number of channels of the map `node` at each site."""
        return tuple(shapes[node][1] for shapes in self.shapes)

    def same(self, one: int, other: int) -> bool:
        """Whether both are feature maps of the same width."""
        return self.is_map(one) and self.is_map(other) and self.width(one) == self.width(other)

    def channels(self, node: int) -> str:
        """The number of channels of the map `node`, as an expression."""
        if node not in self._known:
            self._known[node] = plainly(self._channels(node))
        return self._known[node]

    def _channels(self, node: int) -> str:
        operation, sources = self.operations[node], self.inputs[node]
        if node == INPUT:
            return "C"
        if operation.name == "Conv2d":
            return operation.get("out_channels")
        maps = [source for source in sources if self.is_map(source)]
        for source in maps:
            if self.width(source) == self.width(node):
                return self.channels(source)
        if operation.name == "concat" and len(maps) == len(sources):
            total = "+".join(self.channels(source) for source in sources)
            if len(total) <= _LONGEST:
                return total
        first, second = self.width(node)
        slope, rest = divmod(second - first, self.sites[1].C - self.sites[0].C)
        if rest == 0 and slope >= 0:
            constant = first - slope * self.sites[0].C
            text = "C" if slope == 1 else f"{slope}*C"
            return str(constant) if slope == 0 else text if constant == 0 else f"{text}{constant:+d}"
        return f"C*{first}//{self.sites[0].C}"

    def ancestors(self, node: int) -> set[int]:
        """All that `node` is computed from."""
        seen: set[int] = set()
        pending = list(self.inputs[node])
        while pending:
            source = pending.pop()
            if source not in seen:
                seen.add(source)
                pending.extend(self.inputs[source])
        return seen

    def is_skip(self, node: int, addition: int) -> bool:
        """Whether the sum `addition` takes `node` past another of its inputs that is computed from it."""
        return any(node in self.ancestors(other) for other in self.inputs[addition] if other != node)

    def skips_past(self, node: int, addition: int) -> bool:
        """Whether another input of the sum `addition` is a skip past `node`."""
        return any(other in self.ancestors(node) for other in self.inputs[addition] if other != node)

    def has_weights(self) -> bool:
        """Whether a convolution or a linear layer still leads to the output."""
        return any(self.operations[node].name in ("Conv2d", "Linear") for node in self.order())

    # Places to edit.

    def tail(self) -> int:
        """What the output takes."""
        return self.inputs[OUTPUT][0]

    def maps(self) -> list[int]:
        """All feature maps but the output itself, in topological order, the input first.

        Maps whose number of channels does not follow C, such as a gate's single channel, do not count.
        """
        return [
            node
            for node in self.original
            if node != OUTPUT and self.is_map(node) and len(set(self.width(node))) == len(self.sites)
        ]

    def convs(self, *, dense: bool | None = None, spatial: bool = True) -> list[int]:
        """Stride-1 convolutions from map to map, 1x1 or not (`spatial`), in one group or not (`dense`)."""
        maps = self.maps()
        return [
            node
            for node in maps
            if self.operations[node].name == "Conv2d"
            and self.inputs[node][0] in maps
            and self.operations[node].get("stride", "1") in ("1", "(1,1)")
            and (self.operations[node].get("kernel_size") not in ("1", "(1,1)")) == spatial
            and (dense is None or dense == (self.operations[node].get("groups", "1") == "1"))
        ]

    def units(self) -> list[int]:
        """The ends of the cell's layers: maps that no normalisation or activation follows."""
        return [
            node
            for node in self.maps()
            if node != INPUT
            and self.operations[node].name not in ("Sigmoid", "permute", "reshape")
            and not any(self.operations[user].name in _AFTER_CONV for user in self.users(node))
        ]

    def branch_ends(self) -> list[int]:
        """What flows into the cell's sums besides their skips, the outermost sum first."""
        ends = [
            node
            for addition in reversed(self.maps())
            if self.operations[addition].name == "Add"
            for node in self.inputs[addition]
            if node != INPUT and node in self.maps() and not self.is_skip(node, addition)
        ]
        return list(dict.fromkeys(ends))

    def anchors(self) -> list[int]:
        """Places for new operations: ends of residual branches, what the output takes, then other layers."""
        outer = [self.tail()] if self.tail() in self.maps() and self.tail() != INPUT else []
        places = list(dict.fromkeys([*self.branch_ends(), *outer, *reversed(self.units())]))
        # A place that was edited before comes after those that were not, so that repeated edits spread out.
        return sorted(places or [INPUT], key=lambda node: self.operations[node].name == "Mul")[:6]

    def layer_end(self, node: int) -> int:
        """The normalisation that belongs to the convolution `node`, or `node` itself."""
        users = self.users(node)
        return users[0] if len(users) == 1 and self.operations[users[0]].name == "BN" else node

    # Changed copies.

    def grown(
        self, place: int, build: Callable[Concatenate[Plan, int, P], int], *args: P.args, **kwargs: P.kwargs
    ) -> Plan:
        """A copy in which all that used `place` takes `build(copy, place, …)` instead."""
        draft = self.copy()
        draft.after(place, lambda node: build(draft, node, *args, **kwargs))
        return draft

    def swapped(
        self, node: int, build: Callable[Concatenate[Plan, int, P], int], *args: P.args, **kwargs: P.kwargs
    ) -> Plan:
        """A copy with `build(copy, input of node, …)` in the place of the one-input operation `node`."""
        draft = self.copy()
        draft.replace(node, lambda source: build(draft, source, *args, **kwargs))
        return draft

    # The cell's own habits.

    def activation(self) -> Operation:
        """The activation that the cell uses most, ReLU where it has none."""
        found = Counter(op.name for op in self.operations.values() if op.name in ACTIVATIONS)
        return GELU if found["GELU"] > found["ReLU"] else RELU

    def norms(self) -> tuple[Operation, ...]:
        """The cell's normalisation of a feature map: BN, or LN over the channels where it has only that."""
        found = Counter(op.name for op in self.operations.values())
        return (CHANNELS_LAST, LN, CHANNELS_FIRST) if found["LN"] and not found["BN"] else (BN,)

    def layer(
        self, channels: str, kernel: int | str, *, groups: str = "1", dilation: int = 1
    ) -> tuple[Operation, ...]:
        """Convolution, normalisation, activation in the cell's own habit."""
        return (conv(channels, kernel, groups=groups, dilation=dilation), *self.norms(), self.activation())

    def residual(self, node: int, *operations: Operation) -> int:
        """`node` plus a branch of `operations` on it."""
        return self.add(ADD, self.chain(node, *operations), node)


@lru_cache(maxsize=1024)
def plainly(channels: str) -> str:
    """A shorter expression of the same value at every width, where there is one: "C" for "C//4+C-C//4"."""
    value = normal_form(expression(channels), same_channels=True)
    return next((text for text in _PLAIN if normal_form(expression(text)) == value), channels)


def share(channels: str, parts: int) -> str:
    """A `parts`-th of a number of channels, rounded down: share("C//2", 4) is "C//8"."""
    if channels == "C":
        return f"C//{parts}"
    if (nested := re.fullmatch(r"C//?(\d+)", channels)) is not None:
        return f"C//{int(nested[1]) * parts}"
    if (multiple := _multiple(channels)) is not None:
        return times("C", multiple // parts) if multiple % parts == 0 else f"{channels}//{parts}"
    return f"({channels})//{parts}"


def times(channels: str, factor: int) -> str:
    """A multiple of a number of channels: times("2*C", 2) is "4*C"."""
    if factor == 1:
        return channels
    if channels == "C":
        return f"{factor}*C"
    if (multiple := _multiple(channels)) is not None:
        return f"{factor * multiple}*C"
    return f"{factor}*({channels})"


def _multiple(channels: str) -> int | None:
    found = re.fullmatch(r"(\d+)\*C|C\*(\d+)", channels)
    return None if found is None else int(found[1] or found[2])


def _operation(node: Node) -> Operation:
    parameters = OPERATORS[node.op].parameters
    if parameters and parameters[0].kind is Kind.LIST:
        value = node.args[0][1]
        return positional(node.op, *map(str, value if isinstance(value, tuple) else (value,)))
    return Operation(node.op, tuple((name, print_argument(value)) for name, value in node.args))


def _keys(block: Block) -> dict[int, int]:
    """Sketch keys of the block's nodes: 0 for the input, 1 for the output."""
    inner = (node.index for node in block.nodes if node.op not in ("input", "output"))
    ends = {
        node.index: INPUT if node.op == "input" else OUTPUT
        for node in block.nodes
        if node.op in ("input", "output")
    }
    return ends | {index: key for key, index in enumerate(inner, start=2)}
