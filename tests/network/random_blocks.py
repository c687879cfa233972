"""Random blocks, most of them plausible, and single edits that break or change them."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import torch

from tests.network.oracle import Interpreter, TooLarge
from tests.network.reading import Graph, Refused, Value, evaluate

SIZES = (
    "B", "C", "dim", "H", "W", "H*W", "C/2", "C//2", "dim/2", "2*C", "C*2", "C/4", "2*dim", "C*H",
    "C*W", "C*H*W", "B*C", "B*H", "B*H*W", "B*C*H*W", "C+dim", "dim-C", "C-1", "H/2", "W/2", "H//2",
    "W//2", "H*W/4", "C/2*2", "(C+dim)/2", "C*C", "1", "2", "3", "4", "6", "8", "-1", "0",
)  # fmt: skip
ODD_BATCHES = (
    "B*B", "(B+1)//2", "1+B//128", "B*B//B", "B/B", "B/2*2", "B*C/2", "B*H*W//4", "B*C*W//3", "2*B-1",
    "B+1", "C*B/C", "100*B", "3-B", "(B+C)/2", "B//C*C", "H*(B*W)//2", "B*(C//2)",
)  # fmt: skip
"""Sizes with the batch in them: whole multiples of it, at some places or at all, and rounded ones."""
CHANNELS = (
    "C", "C", "C", "dim", "dim", "C/2", "C//2", "2*C", "C/4", "dim/2", "C+dim", "4", "1", "C-2",
    "C/3*3",
)  # fmt: skip
USUAL_SHAPES = ("B C H W", "B C H*W", "B -1", "B C", "B C 1 1", "B H W C", "-1 C", "B H*W C", "B -1 H W")
UNARY = (
    "ReLU", "GELU", "Sigmoid", "BN", "LN", "DropPath", "BN", "ReLU",
)  # fmt: skip
OPERATIONS = (
    "Conv2d", "Conv2d", "Conv2d", "unary", "unary", "unary", "Linear", "pool", "pool", "adaptive",
    "Add", "Add", "Mul", "Mul", "Multiply", "concat", "concat", "reduce", "softmax", "permute",
    "permute", "repeat", "reshape", "reshape",
)  # fmt: skip


@dataclass
class _Grower:
    """Adds nodes one at a time, keeping the tensor each gives at one place, so that shapes are known."""

    rng: random.Random
    C: int
    dim: int
    H: int
    W: int
    graph: Graph = field(init=False)
    values: dict[int, torch.Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.graph = Graph({0: ("input", {}), 1: ("output", {})}, [(0, 1)])
        self.runner = Interpreter(self.graph, self.C, self.dim, self.H, self.W)
        self.graph.edges.clear()
        self.values[0] = torch.zeros(2, self.C, self.H, self.W)
        self.variables = {"B": 2, "C": self.C, "dim": self.dim, "H": self.H, "W": self.W}
        self.known: dict[int, list[str]] = {}
        self.odd: dict[int, list[str]] = {}
        for source in SIZES:
            value = evaluate(source, self.variables)
            assert isinstance(value, int)
            self.known.setdefault(value, []).append(source)
        for source in ODD_BATCHES:
            value = evaluate(source, self.variables)
            assert isinstance(value, int)
            self.odd.setdefault(value, []).append(source)

    def add(self, operation: str, inputs: list[int], **arguments: str) -> int | None:
        """The new node; None where PyTorch refuses it."""
        index = len(self.graph.nodes)
        values: dict[str, Value] = {}
        try:
            values = {name: evaluate(source, self.variables) for name, source in arguments.items()}
            if operation == "DropPath":
                result = self.values[inputs[0]]
            else:
                result = self.runner._run(index, operation, [self.values[i] for i in inputs], values, True)
        except (Refused, TooLarge, RuntimeError, ValueError, IndexError, TypeError):
            return None
        if not 0 < result.numel() < 20_000:
            return None
        self.graph.nodes[index] = (operation, arguments)
        self.graph.edges += [(source, index) for source in inputs]
        self.values[index] = result.detach()
        return index

    def size(self, value: int) -> str:
        """An expression of that value, right in general more often than by chance."""
        names = self.known.get(value, [])
        if value in self.odd and self.rng.random() < 0.06:
            return self.rng.choice(self.odd[value])
        telling = [name for name in names if name.strip("-").isdigit() is False]
        if telling and self.rng.random() < 0.85:
            return self.rng.choice(telling)
        return self.rng.choice([*names, str(value)])

    def pick(self) -> int:
        """A node to go on from: the newest ones more often."""
        nodes = list(self.values)
        return nodes[max(0, len(nodes) - 1 - int(self.rng.expovariate(0.7)))]

    def grow(self) -> int | None:
        rng, source = self.rng, self.pick()
        x = self.values[source]
        operation = rng.choice(OPERATIONS)
        match operation:
            case "unary":
                name = rng.choice(UNARY)
                return self.add(name, [source])
            case "Conv2d":
                return self.add("Conv2d", [source], **self.convolution(x))
            case "Linear":
                return self.add(
                    "Linear", [source], out_channels=rng.choice([*CHANNELS, self.size(x.shape[-1])])
                )
            case "pool":
                name, kernel = (
                    rng.choice(("AvgPool2d", "MaxPool2d")),
                    rng.choice(("2", "3", "(3, 2)", "5", "1")),
                )
                return self.add(
                    name, [source], kernel_size=kernel, stride=rng.choice(("1", "1", "2", "(1, 2)"))
                )
            case "adaptive":
                name = rng.choice(("AdaptiveAvgPool2d", "AdaptiveMaxPool2d"))
                return self.add(
                    name, [source], output_size=rng.choice(("1", "1", "(H, W)", "(H, 1)", "2", "(H//2, W)"))
                )
            case "Add" | "Mul" | "Multiply" | "concat":
                return self.joined(operation, source)
            case "reduce":
                dims = rng.choice((rng.randrange(-x.dim(), x.dim()), *[None] * 2))
                text = (
                    str(dims)
                    if dims is not None
                    else rng.choice(("(2, 3)", "(1, 2)", "(-1, -2)", "(0,)", "1", "2"))
                )
                return self.add(rng.choice(("mean", "max", "sum")), [source], dim=text)
            case "softmax":
                return self.add("softmax", [source], dim=str(rng.randrange(-x.dim(), x.dim())))
            case "permute":
                return self.add("permute", [source], dims=_listed(self.permutation(x.dim())))
            case "repeat" if rng.random() < 0.5:
                return self.through_the_batch(source)
            case "repeat":
                factors = [
                    rng.choice(("1", "1", "1", "2", self.size(rng.choice((2, self.H))))) for _ in x.shape
                ]
                return self.add("repeat", [source], sizes=_listed(factors))
        return self.add("reshape", [source], shape=_listed(self.new_shape(x)))

    def through_the_batch(self, source: int) -> int | None:
        """Repeated along the batch, made one image (a mean, most times), and as many images again."""
        x, rng = self.values[source], self.rng
        rest = ["1"] * (x.dim() - 1)
        factor = rng.choice((*ODD_BATCHES, "B", "2*B"))
        if rng.random() < 0.8:
            many = self.add("repeat", [source], sizes=_listed([factor, *rest]))
        else:
            rest_of_shape = [self.size(value) for value in x.shape[1:]]
            many = self.add("reshape", [source], shape=_listed([factor, *rest_of_shape]))
        if many is None or rng.random() < 0.2:
            return many
        one = self.add(rng.choice(("mean", "max", "sum")), [many], dim="0")
        if one is None or rng.random() < 0.3:
            return one
        return self.add("repeat", [one], sizes=_listed([rng.choice(("B", "B", *ODD_BATCHES)), *rest]))

    def convolution(self, x: torch.Tensor) -> dict[str, str]:
        rng = self.rng
        arguments = {
            "out_channels": rng.choice([*CHANNELS, *([self.size(x.shape[1])] * 3)]) if x.dim() == 4 else "C",
            "kernel_size": rng.choice(("1", "3", "3", "2", "4", "5", "(1, 3)", "(3, 1)")),
            "stride": rng.choice(("1", "1", "1", "1", "2", "(2, 1)")),
        }
        if rng.random() < 0.2:
            arguments["dilation"] = rng.choice(("2", "3", "(1, 2)"))
        if rng.random() < 0.4:
            arguments["groups"] = rng.choice((arguments["out_channels"], "C", "dim", "2", "4", "C/2"))
        return arguments

    def joined(self, operation: str, source: int) -> int | None:
        others = [i for i in self.values if i != source] or [source]
        inputs = [source, self.rng.choice(others)]
        if operation != "Multiply" and self.rng.random() < 0.2:
            inputs.append(self.rng.choice([i for i in self.values if i not in inputs] or [source]))
        if len(set(inputs)) < len(inputs):
            return None
        self.rng.shuffle(inputs)
        if operation != "concat":
            return self.add(operation, inputs)
        rank = self.values[source].dim()
        return self.add(
            "concat", inputs, dim=self.rng.choice(("1", "1", "-1", str(self.rng.randrange(rank))))
        )

    def permutation(self, rank: int) -> list[str]:
        if rank == 4 and self.rng.random() < 0.7:
            return list(self.rng.choice(("0231", "0312", "0132", "0213")))
        order = list(range(1, rank))
        self.rng.shuffle(order)
        order.insert(0 if self.rng.random() < 0.9 else self.rng.randrange(rank), 0)
        return list(map(str, order))

    def new_shape(self, x: torch.Tensor) -> list[str]:
        """A shape with as many elements: two axes joined, one split, one added or dropped, or all new."""
        rng, shape = self.rng, list(x.shape)
        if rng.random() < 0.25:
            return rng.choice(USUAL_SHAPES).split()
        for _ in range(rng.choice((1, 1, 2))):
            at = rng.randrange(1 if rng.random() < 0.9 else 0, len(shape)) if len(shape) > 1 else 0
            change = rng.random()
            if change < 0.4 and at + 1 < len(shape):
                shape[at : at + 2] = [shape[at] * shape[at + 1]]
            elif change < 0.75 and len(shape) < 6:
                factors = [f for f in (2, 3, 4, self.H, self.W) if shape[at] % f == 0]
                if factors:
                    factor = rng.choice(factors)
                    shape[at : at + 1] = rng.choice(
                        ([factor, shape[at] // factor], [shape[at] // factor, factor])
                    )
            elif change < 0.85 and len(shape) < 6:
                shape.insert(at + 1, 1)
            elif 1 in shape:
                shape.remove(1)
        sources = [self.size(value) for value in shape] or ["1"]
        if rng.random() < 0.25:
            sources[rng.randrange(len(sources))] = "-1"
        return sources

    def finish(self, stride: int) -> None:
        """Joins every loose end into an output of the right shape, mostly."""
        rng = self.rng
        loose = [i for i in self.values if all(source != i for source, _ in self.graph.edges)] or [0]
        ends = [end for i in loose if (end := self.brought_to_shape(i, stride)) is not None]
        if len(ends) > 1:
            together = self.add(rng.choice(("Add", "Mul", "Add")), ends)
            ends = [ends[-1] if together is None else together]
        self.graph.edges.append((ends[0] if ends else loose[-1], 1))

    def brought_to_shape(self, index: int, stride: int) -> int | None:
        wanted = (2, self.dim, self.H // stride, self.W // stride)
        x = self.values[index]
        if tuple(x.shape) == wanted or self.rng.random() < 0.02:
            return index
        if x.dim() != 4:
            step = self.add("reshape", [index], shape="(B, -1, 1, 1,)")
            index = index if step is None else step
        elif tuple(x.shape[2:]) != wanted[2:] and x.shape[2:] != (1, 1):
            size = "(H, W)" if stride == 1 else f"(H/{stride}, W/{stride})"
            step = self.add("AdaptiveAvgPool2d", [index], output_size=size)
            index = index if step is None else step
        if self.values[index].dim() == 4 and self.values[index].shape[1] != self.dim:
            step = self.add("Conv2d", [index], out_channels="dim", kernel_size="1")
            index = index if step is None else step
        if tuple(self.values[index].shape) == (2, self.dim, 1, 1) and wanted[2:] != (1, 1):
            rows, columns = ("H", "W") if stride == 1 else (f"H/{stride}", f"W/{stride}")
            step = self.add("repeat", [index], sizes=f"(1, 1, {rows}, {columns})")
            index = index if step is None else step
        return index


def _parts(value: str) -> list[str]:
    """The items of a tuple; the value itself where it is none."""
    if "," not in value:
        return [value]
    return [part.strip() for part in value[1:-1].split(",") if part.strip()]


def _listed(parts: list[str]) -> str:
    return "(" + "".join(part + ", " for part in parts) + ")"


def random_graph(rng: random.Random, stride: int = 1, most: int = 10) -> Graph:
    """A graph that runs at the place it was grown for, more often than not also elsewhere."""
    C = rng.choice((2, 4, 4, 6, 8))
    dim = C if stride == 1 and rng.random() < 0.5 else rng.choice((2, 4, 6, 8))
    grower = _Grower(rng, C, dim, 4 * rng.choice((1, 1, 2)), 4 * rng.choice((1, 1, 2)))
    for _ in range(rng.randint(1, most)):
        grower.grow()
    grower.finish(stride)
    return grower.graph


def edited(rng: random.Random, graph: Graph) -> Graph:
    """The graph after one small change: an argument, an operation, an edge or a node."""
    nodes, edges = {i: (op, dict(args)) for i, (op, args) in graph.nodes.items()}, list(graph.edges)
    index = rng.choice([i for i in nodes if i > 1] or [0])
    arguments = nodes[index][1]
    match rng.randrange(7):
        case 0 | 1 if arguments:
            name = rng.choice(list(arguments))
            parts = _parts(arguments[name])
            tupled = parts != [arguments[name]]
            parts[rng.randrange(len(parts))] = rng.choice(SIZES if rng.random() < 0.8 else ODD_BATCHES)
            arguments[name] = _listed(parts) if tupled else parts[0]
        case 2:
            nodes[index] = (rng.choice(UNARY), {})
        case 3 if edges:
            edges.pop(rng.randrange(len(edges)))
        case 4 if edges:
            at = rng.randrange(len(edges))
            changed = (rng.choice(list(nodes)), edges[at][1])
            if changed not in edges:
                edges[at] = changed
        case 5:
            pair = (rng.choice(list(nodes)), rng.choice(list(nodes)))
            if pair not in edges:
                edges.append(pair)
        case _ if edges:
            at, new = rng.randrange(len(edges)), max(nodes) + 1
            source, target = edges[at]
            nodes[new] = rng.choice(
                [
                    (rng.choice(UNARY), {}),
                    ("Conv2d", {"out_channels": "C", "kernel_size": "3"}),
                    ("mean", {"dim": "1"}),
                    ("permute", {"dims": "(0, 2, 3, 1,)"}),
                    ("Linear", {"out_channels": "dim"}),
                ]
            )
            edges[at : at + 1] = [(source, new), (new, target)]
    return Graph(nodes, edges)


def to_text(graph: Graph, name: str = "block") -> str:
    """The graph in the block language."""
    lines = [f"##{name}##"]
    for index, (operation, arguments) in graph.nodes.items():
        if operation in ("permute", "repeat", "reshape") and arguments:
            (value,) = arguments.values()
            lines.append(f"{index}:{operation}({', '.join(_parts(value))})")
        elif arguments:
            listed = ", ".join(f"{key}={value}" for key, value in arguments.items())
            lines.append(f"{index}:{operation}({listed})")
        else:
            lines.append(f"{index}:{operation}")
    return "\n".join([*lines, *(f"{source}->{target}" for source, target in graph.edges)]) + "\n"
