"""What PyTorch itself says of a block: an interpreter that shares no code with verifier or builder."""

from __future__ import annotations

import ast
import math
import re
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

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


class TooLarge(Exception):
    """The tensors are beyond what a test should allocate; nothing is said of the block."""


MOST_ELEMENTS, MOST_WORK = 2**20, 2**28


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
def _parsed(source: str) -> ast.expr:
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

    return whole(_parsed(source))


def _pair(value: Value) -> tuple[int, int]:
    if isinstance(value, int):
        return value, value
    if len(value) != 2:
        raise Refused("a pair was needed")
    return value  # type: ignore[return-value]


def _positive(*values: int) -> None:
    if any(value < 1 for value in values):
        raise Refused("a size below one")


def _allowed(*factors: int, most: int = MOST_ELEMENTS) -> None:
    if math.prod(factors) > most:
        raise TooLarge


def _same(x: torch.Tensor, kernel: tuple[int, int], dilation: tuple[int, int], value: float) -> torch.Tensor:
    """Pads by dilation * (kernel - 1) along each side, the odd one at the end."""
    rows, columns = (d * (k - 1) for k, d in zip(kernel, dilation, strict=True))
    _allowed(x.shape[0], x.shape[1], x.shape[2] + rows, x.shape[3] + columns)
    _allowed(x.numel(), *kernel, most=MOST_WORK)
    return F.pad(x, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2), value=value)


@dataclass
class Interpreter:
    """Runs a graph for one site, making layers at the first run and keeping them, as a module would."""

    graph: Graph
    C: int
    dim: int
    H: int
    W: int
    layers: dict[int, nn.Module] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.order = _topological_order(self.graph)
        self.inputs = self.graph.all_inputs()

    def __call__(self, x: torch.Tensor, training: bool) -> torch.Tensor:
        variables = {"B": x.shape[0], "C": self.C, "dim": self.dim, "H": self.H, "W": self.W}
        values: dict[int, torch.Tensor] = {}
        sides: dict[int, Sides] = {}
        for index in self.order:
            operation, sources = self.graph.nodes[index]
            inputs = [values[source] for source in self.inputs[index]]
            before = [sides[source] for source in self.inputs[index]]
            if operation in ("Linear", "LN") and before[0][-1:] == (True,):
                raise Refused(f"{operation} over a side of the map")
            if operation == "input":
                values[index] = x
            elif (
                operation == "DropPath"
            ):  # its drawing is random: the identity has the same shape and gradient
                values[index] = inputs[0] * 1
            else:
                arguments = {name: evaluate(source, variables) for name, source in sources.items()}
                if operation == "reshape":
                    _only_a_written_minus_one(sources["shape"], arguments["shape"])
                values[index] = self._run(index, operation, inputs, arguments, training)
            sides[index] = _sides(operation, sources, before, values[index].dim())
            _allowed(*values[index].shape)
            if 0 in values[index].shape:
                raise Refused("a tensor with no elements")
            if operation == "output":
                return values[index]
        raise Refused("no output")

    def _layer(self, index: int, make: type[nn.Module], *args: object, **kwargs: object) -> nn.Module:
        if index not in self.layers:
            self.layers[index] = make(*args, **kwargs)
        return self.layers[index]

    def _run(
        self, index: int, op: str, xs: list[torch.Tensor], a: dict[str, Value], training: bool
    ) -> torch.Tensor:
        x = xs[0]
        if op.endswith("2d") and x.dim() != 4:
            raise Refused(f"{op} needs (B, C, H, W)")
        match op:
            case "output":
                return x
            case "Conv2d":
                kernel, stride = _pair(a["kernel_size"]), _pair(a.get("stride", 1))
                dilation, groups = _pair(a.get("dilation", 1)), a.get("groups", 1)
                _positive(*kernel, *stride, *dilation, groups, a["out_channels"])  # type: ignore[arg-type]
                _allowed(x.numel(), a["out_channels"], *kernel, most=MOST_WORK)  # type: ignore[arg-type]
                layer = self._layer(
                    index,
                    nn.Conv2d,
                    x.shape[1],
                    a["out_channels"],
                    kernel,
                    stride,
                    0,
                    dilation,
                    groups,
                    bias=False,
                )
                return layer(_same(x, kernel, dilation, 0.0))
            case "Linear":
                _positive(a["out_channels"])  # type: ignore[arg-type]
                _allowed(x.numel(), a["out_channels"], most=MOST_WORK)  # type: ignore[arg-type]
                return self._layer(index, nn.Linear, x.shape[-1], a["out_channels"])(x)
            case "BN":
                layer = self._layer(index, _AnyBatchNorm, x.shape[1])
                return layer.train(training)(x)
            case "LN":
                return self._layer(index, nn.LayerNorm, x.shape[-1])(x)
            case "MaxPool2d" | "AvgPool2d":
                kernel = _pair(a["kernel_size"])
                stride = _pair(a.get("stride", a["kernel_size"]))
                _positive(*kernel, *stride)
                if op == "MaxPool2d":
                    return F.max_pool2d(_same(x, kernel, (1, 1), float("-inf")), kernel, stride)
                total = F.avg_pool2d(_same(x, kernel, (1, 1), 0.0), kernel, stride)
                return total / F.avg_pool2d(_same(torch.ones_like(x), kernel, (1, 1), 0.0), kernel, stride)
            case "AdaptiveAvgPool2d" | "AdaptiveMaxPool2d":
                size = _pair(a["output_size"])
                _positive(*size)
                _allowed(x.shape[0], x.shape[1], *size)
                return (F.adaptive_avg_pool2d if "Avg" in op else F.adaptive_max_pool2d)(x, size)
            case _:
                return _function(op, xs, a)


Sides = tuple[bool, ...]
"""For each axis whether it is the height or the width of a map: LN and Linear do not work along these."""


def _sides(operation: str, sources: dict[str, str], before: list[Sides], rank: int) -> Sides:
    """Which axes of a result are sides of the map."""
    if operation == "input":
        return (False, False, True, True)
    if operation == "Conv2d":
        return (False, False, True, True)
    if operation.endswith("Pool2d"):
        return (*before[0][:2], True, True)
    if operation == "Linear":
        return (*before[0][:-1], False)
    if operation == "Multiply":
        return (False,) * (rank - 2) + (before[0][-2], before[1][-1])
    if operation == "permute":
        order = evaluate(sources["dims"], {})
        assert isinstance(order, tuple)
        return tuple(before[0][int(axis)] for axis in order)  # type: ignore[arg-type]
    if operation == "repeat":
        return (False,) * (rank - len(before[0])) + before[0]
    if operation == "reshape":
        shape = _parsed(sources["shape"])
        items = shape.elts if isinstance(shape, ast.Tuple | ast.List) else [shape]
        return tuple(_variables(ast.unparse(item)) in ({"H"}, {"W"}) for item in items)
    widest = [(False,) * (rank - len(sides)) + sides for sides in before]
    return tuple(map(any, zip(*widest, strict=True)))


def _only_a_written_minus_one(source: str, shape: Value) -> None:
    """A size may be below one only where -1 is written: `dim-C` that happens to be -1 is a mistake."""
    parsed = _parsed(source)
    items = parsed.elts if isinstance(parsed, ast.Tuple | ast.List) else [parsed]
    sizes = shape if isinstance(shape, tuple) else (shape,)
    if any(size < 1 and ast.unparse(item) != "-1" for item, size in zip(items, sizes, strict=True)):  # type: ignore[operator]
        raise Refused("a size below one")


@lru_cache(maxsize=50_000)
def _variables(source: str) -> set[str]:
    """The variables of an expression."""
    return {node.id for node in ast.walk(_parsed(source)) if isinstance(node, ast.Name)}


class _AnyBatchNorm(nn.BatchNorm2d):
    """BatchNorm1d, 2d and 3d in one."""

    def _check_input_dim(self, input: torch.Tensor) -> None:
        if not 2 <= input.dim() <= 5:  # what BatchNorm1d, 2d and 3d take between them
            raise Refused(f"BN over {input.dim()} axes")


def _function(op: str, xs: list[torch.Tensor], a: dict[str, Value]) -> torch.Tensor:
    x = xs[0]
    if op in ("Add", "Mul"):
        _allowed(broadcast_size(xs))
    match op:
        case "Add":
            return sum(xs[1:], x)
        case "Mul":
            for other in xs[1:]:
                x = x * other
            return x
        case "Multiply":
            if min(y.dim() for y in xs) < 2:
                raise Refused("Multiply needs matrices")
            _allowed(math.prod(x.shape[:-1]), *xs[1].shape, most=MOST_WORK)
            return torch.matmul(*xs)
        case "concat":
            return torch.cat(xs, dim=a["dim"])  # type: ignore[arg-type]
        case "mean" | "sum" | "max":
            reduce = {"mean": torch.mean, "sum": torch.sum, "max": torch.amax}[op]
            return reduce(x, dim=a["dim"], keepdim=True)  # type: ignore[operator]
        case "softmax":
            return torch.softmax(x, dim=a["dim"])  # type: ignore[arg-type]
        case "ReLU":
            return F.relu(x)
        case "GELU":
            return F.gelu(x)
        case "Sigmoid":
            return torch.sigmoid(x)
        case "permute":
            return x.permute(a["dims"])  # type: ignore[arg-type]
        case "repeat":
            _positive(*a["sizes"])  # type: ignore[misc]
            _allowed(x.numel(), *a["sizes"])  # type: ignore[misc]
            return x.repeat(a["sizes"])  # type: ignore[arg-type]
        case "reshape":
            return x.reshape(a["shape"])  # type: ignore[arg-type]
    raise Refused(f"unknown operation {op}")


def _topological_order(graph: Graph) -> list[int]:
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
            if "B" in _variables(source) and operation not in ("reshape", "repeat"):
                raise Refused(f"{operation} hangs on the batch size")
            if name in ("dim", "dims") and _variables(source):
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


def broadcast_size(xs: list[torch.Tensor]) -> int:
    """Elements of what the tensors broadcast to."""
    return math.prod(np.broadcast_shapes(*(tuple(x.shape) for x in xs)))


Batches = tuple[tuple[int, bool], ...]
"""Sizes of batches, and whether they are trained on."""
USUAL: Batches = ((2, True), (3, True), (1, False))
UNUSUAL: Batches = ((7, True), (97, False))
"""For what only a larger batch shows, such as ceil(B / 4) in a shape."""


def complaint(
    graph: Graph, C: int, dim: int, H: int, W: int, stride: int, batches: Batches = USUAL
) -> str | None:
    """Why the block does not run at this place, forward and backward in training and forward in evaluation;
    None where it does and its output is (B, dim, H/stride, W/stride), rounded up, for every batch."""
    try:
        run = Interpreter(graph, C, dim, H, W)
        for batch, training in batches:
            x = torch.randn(batch, C, H, W, requires_grad=training)
            y = run(x, training)
            if y.shape != (batch, dim, -(-H // stride), -(-W // stride)):
                return f"output {tuple(y.shape)} for a batch of {batch}"
            if training:
                y.sum().backward()
    except (Refused, RuntimeError, ValueError, IndexError, TypeError) as error:
        return f"{type(error).__name__}: {error}".splitlines()[0][:300]
    return None
