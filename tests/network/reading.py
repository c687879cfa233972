"""Reads blocks and their sizes for the oracle, without the language's own reader."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise

Value = int | tuple["Value", ...]

ONE_INPUT = {
    "Conv2d", "Linear", "AvgPool2d", "MaxPool2d", "AdaptiveAvgPool2d", "AdaptiveMaxPool2d", "mean", "max",
    "sum", "softmax", "ReLU", "GELU", "Sigmoid", "BN", "LN", "DropPath", "permute", "repeat", "reshape",
}  # fmt: skip
PARAMETERS: dict[str, tuple[str, ...]] = {
    "Conv2d": ("out_channels", "kernel_size", "stride", "dilation", "groups"),
    "Linear": ("out_channels",),
    "AvgPool2d": ("kernel_size", "stride"),
    "MaxPool2d": ("kernel_size", "stride"),
    "AdaptiveAvgPool2d": ("output_size",),
    "AdaptiveMaxPool2d": ("output_size",),
    "concat": ("dim",), "mean": ("dim",), "max": ("dim",), "sum": ("dim",), "softmax": ("dim",),
    "DropPath": ("prob",),
    "permute": ("dims",), "repeat": ("sizes",), "reshape": ("shape",),
    "Add": (), "Mul": (), "Multiply": (), "ReLU": (), "GELU": (), "Sigmoid": (), "BN": (), "LN": (),
    "input": (), "output": (),
}  # fmt: skip
VARIADIC = {"permute", "repeat", "reshape"}
NAMES = {name.lower(): name for name in PARAMETERS}


class Refused(Exception):
    """The block breaks a rule of the language that PyTorch knows nothing of, such as an unused node."""


@dataclass
class Graph:
    """A block as plain data: `nodes[index] = (operation, {parameter: source of its value})`."""

    nodes: dict[int, tuple[str, dict[str, str]]]
    edges: list[tuple[int, int]]

    def all_inputs(self) -> dict[int, list[int]]:
        """The inputs of every node, in the order of the edges."""
        inputs: dict[int, list[int]] = {index: [] for index in self.nodes}
        for source, target in self.edges:
            inputs[target].append(source)
        return inputs


def read(text: str) -> Graph:
    """Reads the plain form of a block; anything it does not know is Refused."""
    nodes: dict[int, tuple[str, dict[str, str]]] = {}
    edges: list[tuple[int, int]] = []
    numbers: dict[str, int] = {}
    for raw in text.splitlines():
        line = raw.split(" #")[0].strip()
        if not line or line.startswith(("##", "```")):
            continue
        if re.fullmatch(r"\w+(\s*->\s*\w+)+", line):
            chain = [_number(numbers, name) for name in re.findall(r"\w+", line)]
            edges += [pair for pair in pairwise(chain) if pair not in edges]
        elif node := re.fullmatch(r"(\w+)\s*:\s*(\w+)\s*(?:\((.*)\))?", line):
            if _number(numbers, node[1]) in nodes:
                raise Refused(f"node {node[1]} stands twice")
            nodes[_number(numbers, node[1])] = _operation(node[2], node[3] or "")
        else:
            raise Refused(f"not a line of the language: {line!r}")
    return Graph(nodes, edges)


def _number(numbers: dict[str, int], name: str) -> int:
    """The index of a node; one for each that is no number, such as 2a."""
    return int(name) if name.isdigit() else numbers.setdefault(name, 10**6 + len(numbers))


@lru_cache(maxsize=50_000)
def _operation(name: str, source: str) -> tuple[str, dict[str, str]]:
    """The canonical name and the arguments by name; callers do not change them."""
    if name.lower() not in NAMES:
        raise Refused(f"unknown operation {name}")
    operation = NAMES[name.lower()]
    try:
        call = ast.parse(f"f({source})", mode="eval").body
    except SyntaxError:
        raise Refused(f"arguments cannot be read: {source}") from None
    assert isinstance(call, ast.Call)
    names, arguments = PARAMETERS[operation], {}
    if operation in VARIADIC:
        whole = (
            call.args[0] if len(call.args) == 1 and isinstance(call.args[0], ast.Tuple | ast.List) else None
        )
        parts = call.args if whole is None else whole.elts
        arguments[names[0]] = "(" + "".join(ast.unparse(part) + "," for part in parts) + ")"
    else:
        for position, argument in enumerate(call.args):
            if position >= len(names):
                raise Refused(f"{operation} takes {len(names)} arguments")
            arguments[names[position]] = ast.unparse(argument)
    for keyword in call.keywords:
        key = {"group": "groups"}.get(str(keyword.arg), str(keyword.arg))
        if key == "keepdim" and operation in ("mean", "max", "sum"):
            continue  # they always do
        if key not in names:
            raise Refused(f"{operation} has no argument {key}")
        arguments[key] = ast.unparse(keyword.value)
    return operation, arguments


@lru_cache(maxsize=10_000)
def parsed(source: str) -> ast.expr:
    return ast.parse(source, mode="eval").body


def evaluate(source: str, variables: dict[str, int]) -> Value:
    """The value of an expression: exact fractions inside, rounded down at the end."""
    return _value(source, tuple(variables.items()))


@lru_cache(maxsize=50_000)
def _value(source: str, items: tuple[tuple[str, int], ...]) -> Value:
    variables = dict(items)

    def value(node: ast.expr) -> Fraction:
        match node:
            case ast.Constant(value=int() as number):
                return Fraction(number)
            case ast.Constant(value=float() as number):
                return Fraction(str(number))
            case ast.Name(id=name) if name in variables:
                return Fraction(variables[name])
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return -value(operand)
            case ast.BinOp(left=left, op=op, right=right):
                a, b = value(left), value(right)
                if isinstance(op, ast.Div | ast.FloorDiv) and b == 0:
                    raise Refused("division by zero")
                match op:
                    case ast.Add():
                        return a + b
                    case ast.Sub():
                        return a - b
                    case ast.Mult():
                        return a * b
                    case ast.Div():
                        return a / b
                    case ast.FloorDiv():
                        return Fraction(a // b)
        raise Refused(f"not an expression: {ast.unparse(node)}")

    def whole(node: ast.expr) -> Value:
        if isinstance(node, ast.Tuple | ast.List):
            return tuple(whole(element) for element in node.elts)
        number = value(node)
        return number.numerator // number.denominator

    return whole(parsed(source))


def items_of(source: str) -> list[ast.expr]:
    """The items of a tuple; the expression itself where it is none."""
    whole = parsed(source)
    return whole.elts if isinstance(whole, ast.Tuple | ast.List) else [whole]


def only_a_written_minus_one(source: str, shape: Value) -> None:
    """A size may be below one only where -1 is written: `dim-C` that happens to be -1 is a mistake."""
    sizes = shape if isinstance(shape, tuple) else (shape,)
    if any(
        size < 1 and ast.unparse(item) != "-1" for item, size in zip(items_of(source), sizes, strict=True)
    ):  # type: ignore[operator]
        raise Refused("a size below one")


SOME_BATCHES = (*range(1, 13), 64, 97, 128, 256, 257, 1_000, 4_099, 65_536, 10**6 + 3, 10**9 + 7, 10**15)


@lru_cache(maxsize=50_000)
def grows_evenly(source: str, places: tuple[tuple[str, int], ...]) -> bool:
    """Whether a size is `times * B + plus` for every batch, as the language asks: by trying many."""
    if "B" not in variables_of(source):
        return True
    values = [evaluate(source, {"B": batch, **dict(places)}) for batch in SOME_BATCHES]
    one, two = values[:2]
    return two >= one and all(  # type: ignore[operator]
        value == one + (batch - 1) * (two - one)  # type: ignore[operator]
        for batch, value in zip(SOME_BATCHES, values, strict=True)
    )


@lru_cache(maxsize=50_000)
def variables_of(source: str) -> set[str]:
    """The variables of an expression."""
    return {node.id for node in ast.walk(parsed(source)) if isinstance(node, ast.Name)}


def topological_order(graph: Graph) -> list[int]:
    """An order in which to run the nodes; Refused where the graph itself is no block."""
    kinds = [operation for operation, _ in graph.nodes.values()]
    if kinds.count("input") != 1 or kinds.count("output") != 1:
        raise Refused("one input and one output are needed")
    if any(end not in graph.nodes for edge in graph.edges for end in edge):
        raise Refused("an edge to a node that does not exist")
    inputs = graph.all_inputs()
    for index, (operation, arguments) in graph.nodes.items():
        count = len(inputs[index])
        wanted = {"input": (0, 0), "output": (1, 1), "Multiply": (2, 2)}.get(operation, (2, 10**6))
        if operation in ONE_INPUT:
            wanted = (1, 1)
        if not wanted[0] <= count <= wanted[1]:
            raise Refused(f"{operation} with {count} inputs")
        optional = {"stride", "dilation", "groups", "prob"}
        if missing := set(PARAMETERS[operation]) - set(arguments) - optional:
            raise Refused(f"{operation} without {missing}")
        for name, source in arguments.items():
            if "B" in variables_of(source) and operation not in ("reshape", "repeat"):
                raise Refused(f"{operation} hangs on the batch size")
            whole = (item.value for item in items_of(source) if isinstance(item, ast.Constant))
            if name != "prob" and any(value != int(value) for value in whole):  # type: ignore[arg-type]
                raise Refused(f"{operation} by a number that is not whole")
            if name in ("dim", "dims") and variables_of(source):
                raise Refused(f"{operation} takes dimensions as plain numbers")
    order: list[int] = []
    while len(order) < len(graph.nodes):
        ready = [i for i in graph.nodes if i not in order and all(j in order for j in inputs[i])]
        if not ready:
            raise Refused("a cycle")
        order += ready
    (start,) = (i for i, (operation, _) in graph.nodes.items() if operation == "input")
    (end,) = (i for i, (operation, _) in graph.nodes.items() if operation == "output")
    if _reach(graph.edges, start) != set(graph.nodes):
        raise Refused("a node the input does not reach")
    if _reach([(target, source) for source, target in graph.edges], end) != set(graph.nodes):
        raise Refused("a node that does not reach the output")
    return order


def _reach(edges: list[tuple[int, int]], start: int) -> set[int]:
    seen, todo = {start}, [start]
    while todo:
        here = todo.pop()
        for source, target in edges:
            if source == here and target not in seen:
                seen.add(target)
                todo.append(target)
    return seen
