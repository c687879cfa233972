"""A block being drawn up: operations and wires that are added, moved and taken away until it is a `Block`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Self

from nader.graph.block import Argument, Block, Node, make_node
from nader.graph.operators import OPERATORS

INPUT, OUTPUT = 0, 1


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation as written: name and arguments, (keyword, expression) with "" for a positional one."""

    name: str
    args: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        if not self.args:
            return self.name
        return f"{self.name}({','.join(f'{key}={text}' if key else text for key, text in self.args)})"

    def get(self, key: str, default: str = "") -> str:
        """The expression of argument `key`, or `default` where it was not written."""
        return dict(self.args).get(key, default)

    def having(self, **changes: str) -> Operation:
        """The same operation with some arguments changed or added."""
        return replace(self, args=tuple({**dict(self.args), **changes}.items()))


def conv(channels: str, kernel: int | str, *, dilation: int = 1, groups: str = "1") -> Operation:
    """A stride-1 convolution, writing only what differs from the language's defaults."""
    args = [("out_channels", channels), ("kernel_size", str(kernel))]
    if dilation != 1:
        args.append(("dilation", str(dilation)))
    if groups != "1":
        args.append(("groups", groups))
    return Operation("Conv2d", tuple(args))


def positional(name: str, *expressions: str) -> Operation:
    """An operation whose arguments are positional: permute, repeat, reshape."""
    return Operation(name, tuple(("", text) for text in expressions))


def keyed(name: str, **args: object) -> Operation:
    """An operation with keyword arguments: `keyed("mean", dim=1)`."""
    return Operation(name, tuple((key, str(value)) for key, value in args.items()))


BN, LN, ADD, MUL, SIGMOID = (Operation(name) for name in ("BN", "LN", "Add", "Mul", "Sigmoid"))
RELU, GELU, MATMUL = (Operation(name) for name in ("ReLU", "GELU", "Multiply"))
CHANNELS_LAST, CHANNELS_FIRST = (
    positional("permute", "0", "2", "3", "1"),
    positional("permute", "0", "3", "1", "2"),
)


class Sketch:
    """Operations by key and the ordered inputs of each; key 0 is the block's input and key 1 its output."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.operations: dict[int, Operation] = {INPUT: Operation("input"), OUTPUT: Operation("output")}
        self.inputs: dict[int, list[int]] = {INPUT: [], OUTPUT: []}

    def copy(self) -> Self:
        """An independent sketch of the same graph."""
        twin = self.__class__.__new__(self.__class__)
        twin.__dict__.update(self.__dict__)
        twin.operations = dict(self.operations)
        twin.inputs = {node: list(sources) for node, sources in self.inputs.items()}
        return twin

    def add(self, operation: Operation, *inputs: int) -> int:
        """Adds an operation fed by `inputs`, in that order; returns its key."""
        node = max(self.operations) + 1
        self.operations[node] = operation
        self.inputs[node] = list(inputs)
        return node

    def chain(self, start: int, *operations: Operation) -> int:
        """Adds operations one after the other on top of `start`; returns the last."""
        for operation in operations:
            start = self.add(operation, start)
        return start

    def users(self, node: int) -> list[int]:
        """The operations that take `node` as an input."""
        return [user for user, sources in self.inputs.items() if node in sources]

    def rewire(self, users: Iterable[int], old: int, new: int) -> None:
        """Lets `users` take `new` wherever they took `old`."""
        for user in users:
            self.inputs[user] = [new if source == old else source for source in self.inputs[user]]

    def after(self, node: int, build: Callable[[int], int]) -> int:
        """Builds something on top of `node` and hands its result to all that used `node` before."""
        users = self.users(node)
        result = build(node)
        self.rewire(users, node, result)
        return result

    def replace(self, node: int, build: Callable[[int], int]) -> int:
        """Builds something on the input of the one-input operation `node` and puts it in its place."""
        users = self.users(node)
        result = build(self.inputs[node][0])
        self.rewire(users, node, result)
        del self.operations[node], self.inputs[node]
        return result

    def drop(self, node: int) -> None:
        """Takes a one-input operation out; what used it takes its input."""
        self.replace(node, lambda source: source)

    def order(self) -> list[int]:
        """The operations that lead to the output, each after its inputs."""
        done: dict[int, None] = {INPUT: None}
        pending = [OUTPUT]
        while pending:
            node = pending[-1]
            missing = [source for source in self.inputs[node] if source not in done]
            if missing:
                pending.extend(missing)
            else:
                pending.pop()
                done.setdefault(node)
        return list(done)

    def tidy(self) -> None:
        """Removes what leads nowhere, and sums and products left with a single input."""
        for node in [n for n in self.order() if self.operations[n].name in ("Add", "Mul", "concat")]:
            if len(self.inputs[node]) == 1:
                self.drop(node)
        alive = self.order()
        self.operations = {node: self.operations[node] for node in (INPUT, OUTPUT, *alive)}
        self.inputs = {node: self.inputs[node] for node in self.operations}

    def block(self) -> Block:
        """The graph as a `Block`, numbered in topological order; raises ExpressionError for a bad size."""
        inner = [node for node in self.order() if node not in (INPUT, OUTPUT)]
        index = {INPUT: 0, OUTPUT: 1} | {node: place for place, node in enumerate(inner, start=2)}
        edges = [(index[source], index[node]) for node in (*inner, OUTPUT) for source in self.inputs[node]]
        nodes = [
            Node(index[node], self.operations[node].name, _arguments(self.operations[node]))
            for node in (INPUT, OUTPUT, *inner)
        ]
        return Block(self.name, tuple(nodes), tuple(dict.fromkeys(edges)))


@lru_cache(maxsize=1024)
def _arguments(operation: Operation) -> tuple[tuple[str, Argument], ...]:
    if not operation.args:
        return ()
    if not operation.args[0][0]:
        name = OPERATORS[operation.name].parameters[0].name
        return make_node(0, operation.name, **{name: tuple(text for _, text in operation.args)}).args
    return make_node(0, operation.name, **{name: _pair(text) for name, text in operation.args}).args


def _pair(text: str) -> str | tuple[str, ...]:
    """A pair is written (a,b); anything else is one expression."""
    return tuple(text[1:-1].split(",")) if "," in text else text
