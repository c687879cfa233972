"""What PyTorch itself says of a block: an interpreter that shares no code with verifier or builder."""

from __future__ import annotations

import ast
import math
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from tests.network.reading import (
    Graph,
    Refused,
    Value,
    evaluate,
    grows_evenly,
    items_of,
    only_a_written_minus_one,
    topological_order,
    variables_of,
)


class TooLarge(Exception):
    """The tensors are beyond what a test should allocate; nothing is said of the block."""


MOST_ELEMENTS, MOST_WORK = 2**20, 2**28


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
    sides: dict[int, set[tuple[int, int]]] = field(default_factory=dict)
    """The heights and widths that each node with a stride met."""
    channels_last: bool = True
    """Whether LN and Linear along a side of the map are refused: the language asks it, PyTorch does not."""
    elements: dict[int, dict[int, int]] = field(default_factory=dict)
    """How many elements each node gave, by the size of the batch."""

    def __post_init__(self) -> None:
        self.order = topological_order(self.graph)
        self.inputs = self.graph.all_inputs()

    def __call__(self, x: torch.Tensor, training: bool) -> torch.Tensor:
        variables = {"B": x.shape[0], "C": self.C, "dim": self.dim, "H": self.H, "W": self.W}
        values: dict[int, torch.Tensor] = {}
        sides: dict[int, Sides] = {}
        for index in self.order:
            operation, sources = self.graph.nodes[index]
            inputs = [values[source] for source in self.inputs[index]]
            before = [sides[source] for source in self.inputs[index]]
            if self.channels_last and operation in ("Linear", "LN") and before[0][-1:] == (True,):
                raise Refused(f"{operation} over a side of the map")
            if operation == "input":
                values[index] = x
            elif (
                operation == "DropPath"
            ):  # its drawing is random: the identity has the same shape and gradient
                values[index] = inputs[0] * 1
            else:
                arguments = {name: evaluate(source, variables) for name, source in sources.items()}
                if operation in ("Conv2d", "MaxPool2d", "AvgPool2d") and inputs[0].dim() == 4:
                    self.sides.setdefault(index, set()).add(tuple(inputs[0].shape[2:]))
                if operation == "reshape":
                    only_a_written_minus_one(sources["shape"], arguments["shape"])
                values[index] = self._run(index, operation, inputs, arguments, training)
            sides[index] = _sides(operation, sources, before, values[index].dim())
            _allowed(*values[index].shape)
            self.elements.setdefault(index, {})[x.shape[0]] = values[index].numel()
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
        return tuple(variables_of(ast.unparse(item)) in ({"H"}, {"W"}) for item in items_of(sources["shape"]))
    widest = [(False,) * (rank - len(sides)) + sides for sides in before]
    return tuple(map(any, zip(*widest, strict=True)))


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


def broadcast_size(xs: list[torch.Tensor]) -> int:
    """Elements of what the tensors broadcast to."""
    return math.prod(np.broadcast_shapes(*(tuple(x.shape) for x in xs)))


def _batch_rules(run: Interpreter) -> None:
    """What the language asks of the batch and PyTorch does not: nothing that has it in it is rounded."""
    places = (("C", run.C), ("dim", run.dim), ("H", run.H), ("W", run.W))
    for index, (operation, sources) in run.graph.nodes.items():
        for item in items_of(sources.get({"reshape": "shape", "repeat": "sizes"}.get(operation, ""), "1")):
            if not grows_evenly(ast.unparse(item), places):
                raise Refused(f"{operation} by a size that does not grow evenly with the batch")
        stride = sources.get("stride", "1" if operation == "Conv2d" else sources.get("kernel_size"))
        for axis, sides in enumerate(zip(*run.sides.get(index, ()), strict=True)):
            if len(set(sides)) > 1 and _pair(evaluate(stride or "1", dict(places)))[axis] > 1:
                raise Refused(f"{operation} in steps along a dimension that grows with the batch")


LARGE_BATCH, MOST_FOR_AN_IMAGE = 256, 2**18
"""The language limits what a large batch takes too: a test says nothing from far below that limit on."""


def _in_a_large_batch(run: Interpreter) -> int:
    """Elements of the largest tensor for each image of a large batch, as they grow from the batches tried."""
    most = 0
    for counts in run.elements.values():
        first, last = min(counts), max(counts)
        power = math.log(counts[last] / counts[first]) / math.log(last / first) if last > first else 1.0
        most = max(most, int(counts[first] * (LARGE_BATCH / first) ** power / LARGE_BATCH))
    return most


Batches = tuple[tuple[int, bool], ...]
"""Sizes of batches, and whether they are trained on."""
USUAL: Batches = ((2, True), (3, True), (1, False))
UNUSUAL: Batches = ((7, True), (97, False))
"""For what only a larger batch shows, such as ceil(B / 4) in a shape."""


def complaint(
    graph: Graph,
    C: int,
    dim: int,
    H: int,
    W: int,
    stride: int,
    batches: Batches = USUAL,
    channels_last: bool = True,
) -> str | None:
    """Why the block does not run at this place, forward and backward in training and forward in evaluation;
    None where it does and its output is (B, dim, H/stride, W/stride), rounded up, for every batch."""
    try:
        run = Interpreter(graph, C, dim, H, W, channels_last=channels_last)
        for batch, training in batches:
            x = torch.randn(batch, C, H, W, requires_grad=training)
            y = run(x, training)
            if y.shape != (batch, dim, -(-H // stride), -(-W // stride)):
                return f"output {tuple(y.shape)} for a batch of {batch}"
            if training:
                y.sum().backward()
        _batch_rules(run)
        if _in_a_large_batch(run) > MOST_FOR_AN_IMAGE:
            raise TooLarge
    except (Refused, RuntimeError, ValueError, IndexError, TypeError) as error:
        return f"{type(error).__name__}: {error}".splitlines()[0][:300]
    return None
