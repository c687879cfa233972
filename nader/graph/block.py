"""The block: a named directed graph of operations, as an immutable value."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeAlias

from nader.graph.expression import Expression, expression
from nader.graph.operators import OPERATORS, Kind

Argument: TypeAlias = Expression | tuple[Expression, ...]


@dataclass(frozen=True)
class Note:
    """A liberty the reader took: what was written, how it was read, and on which line (from 1)."""

    line: int
    written: str
    read_as: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.written!r} was read as {self.read_as}"


@dataclass(frozen=True)
class Node:
    """One operation: its index in the text, its canonical operator name, its arguments in signature order."""

    index: int
    op: str
    args: tuple[tuple[str, Argument], ...] = ()

    def argument(self, name: str) -> Argument | None:
        """The argument as written, or None where it is left to its default."""
        return next((value for key, value in self.args if key == name), None)

    @cached_property
    def operation(self) -> str:
        """The operation as it is printed, without the index."""
        operator = OPERATORS.get(self.op)
        if operator and operator.parameters and operator.parameters[0].kind is Kind.LIST and self.args:
            value = self.args[0][1]
            items = value if isinstance(value, tuple) else (value,)
            return f"{self.op}({','.join(map(str, items))})"
        if not self.args:
            return self.op
        return f"{self.op}({','.join(f'{name}={print_argument(value)}' for name, value in self.args)})"

    def __str__(self) -> str:
        return f"{self.index}:{self.operation}"


def expression_of(node: Node, name: str) -> Expression:
    """An argument that is one size; for nodes whose arguments are checked."""
    value = node.argument(name)
    assert isinstance(value, Expression), f"{node} has no {name}"
    return value


def items_of(node: Node, name: str) -> tuple[Expression, ...]:
    """An argument as a list of sizes; empty if it is not given."""
    value = node.argument(name)
    return (value,) if isinstance(value, Expression) else value or ()


def print_argument(value: Argument) -> str:
    """An argument as it is written in a block."""
    if isinstance(value, Expression):
        return value.text
    return f"({','.join(map(str, value))}{',' if len(value) == 1 else ''})"


def make_node(index: int, op: str, /, **arguments: int | str | tuple[int | str, ...]) -> Node:
    """A node from plain values: ``make_node(2, "Conv2d", out_channels="C/4", kernel_size=3)``.

    Raises ValueError for an unknown operator or parameter, ExpressionError for a bad expression.
    """
    operator = OPERATORS.get(op)
    if operator is None:
        raise ValueError(f"{op!r} is not an operator of the block language")
    unknown = set(arguments) - {parameter.name for parameter in operator.parameters}
    if unknown:
        raise ValueError(f"{op} has no parameter {', '.join(sorted(unknown))}: {operator.signature}")
    args: list[tuple[str, Argument]] = []
    for parameter in operator.parameters:
        if parameter.name in arguments:
            value = arguments[parameter.name]
            items = tuple(expression(str(v)) for v in value) if isinstance(value, tuple) else None
            args.append((parameter.name, expression(str(value)) if items is None else items))
    return Node(index, op, tuple(args))


MAX_NAME = 120


def clean_name(text: str) -> str:
    """What can stand as a name between ``##`` and ``##``: printable, without ``#``, of limited length."""
    printable = "".join(character for character in text if character.isprintable() and character != "#")
    return printable.strip()[:MAX_NAME].strip()


@dataclass(frozen=True)
class Block:
    """A block: nodes and edges in the order they were written.

    The order of the edges into a node is the order of its inputs, which matters for concat and Multiply.
    ``notes`` (how the text was read) and ``lines`` (node index → line of text) take no part in equality.
    A block may be wrong (cycles, shapes that do not fit): `verify` says so.
    Raises ValueError for a name that a header line could not hold.
    """

    name: str
    nodes: tuple[Node, ...]
    edges: tuple[tuple[int, int], ...]
    notes: tuple[Note, ...] = field(default=(), compare=False, repr=False)
    lines: Mapping[int, int] = field(default_factory=dict, compare=False, repr=False, hash=False)

    @cached_property
    def _hash(self) -> int:
        return hash((self.name, self.nodes, self.edges))

    def __hash__(self) -> int:
        return self._hash  # computed once: blocks are the keys of caches

    def __post_init__(self) -> None:
        if not self.name or clean_name(self.name) != self.name:
            raise ValueError(f"{self.name[:60]!r} cannot be the name of a block")

    @cached_property
    def by_index(self) -> Mapping[int, Node]:
        """Nodes by their index."""
        return {node.index: node for node in self.nodes}

    @cached_property
    def _inputs(self) -> Mapping[int, tuple[int, ...]]:
        inputs: dict[int, list[int]] = {node.index: [] for node in self.nodes}
        for source, target in self.edges:
            inputs.setdefault(target, []).append(source)
        return {index: tuple(sources) for index, sources in inputs.items()}

    @cached_property
    def _outputs(self) -> Mapping[int, tuple[int, ...]]:
        outputs: dict[int, list[int]] = {node.index: [] for node in self.nodes}
        for source, target in self.edges:
            outputs.setdefault(source, []).append(target)
        return {index: tuple(targets) for index, targets in outputs.items()}

    def inputs_of(self, index: int) -> tuple[int, ...]:
        """Indices of the nodes that feed this one, in the order of the edges."""
        return self._inputs.get(index, ())

    def outputs_of(self, index: int) -> tuple[int, ...]:
        """Indices of the nodes that this one feeds, in the order of the edges."""
        return self._outputs.get(index, ())

    def node(self, index: int) -> Node:
        """The node with that index; KeyError if there is none."""
        return self.by_index[index]

    @cached_property
    def order(self) -> tuple[int, ...]:
        """Node indices in topological order (nodes on a cycle, and after one, are left out)."""
        waiting = {node.index: len(self.inputs_of(node.index)) for node in self.nodes}
        ready = [index for index, count in waiting.items() if count == 0]
        done: list[int] = []
        for index in ready:
            done.append(index)
            for target in self.outputs_of(index):
                if target in waiting:
                    waiting[target] -= 1
                    if waiting[target] == 0:
                        ready.append(target)
        return tuple(done)

    def replace(
        self,
        *,
        name: str | None = None,
        nodes: Iterable[Node] | None = None,
        edges: Iterable[tuple[int, int]] | None = None,
    ) -> Block:
        """A copy with another name (what of it a header can hold), other nodes or edges, without notes."""
        return Block(
            self.name if name is None else clean_name(name) or "block",
            self.nodes if nodes is None else tuple(nodes),
            self.edges if edges is None else tuple(edges),
        )

    def __str__(self) -> str:
        from nader.graph.printing import print_block

        return print_block(self)

    def _repr_svg_(self) -> str:
        """The picture that notebooks show."""
        from nader.graph.draw import to_svg

        return to_svg(self)
