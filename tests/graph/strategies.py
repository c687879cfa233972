"""Random blocks, right and wrong, and equivalent rewritings of them, for property tests.

Everything is drawn from a ``random.Random``: `blocks` and `drafts` wrap it for hypothesis (which shrinks it),
and long profiles seed one themselves. Nothing here looks at the verifier, so nothing it wrongly refuses is
missing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from random import Random

from hypothesis import strategies as st

from nader.graph import OPERATORS, Block, Node, Role, Site, make_node
from nader.graph.block import Argument, print_argument
from nader.graph.expression import Expression, expression
from nader.graph.operators import Kind

CHANNELS = [
    "C",
    "dim",
    "C/2",
    "C*2",
    "C//4",
    "C/4",
    "8",
    "6",
    "C+dim",
    "dim/2",
    "C/3",
    "(C+4)//4*4",
    "1",
    "dim//2*2",
]
KERNELS = ["1", "2", "3", "3", "5", "(3,1)", "(1,5)", "(2,3)", "7"]
NUMBERS = [
    "0",
    "1",
    "2",
    "3",
    "-1",
    "4",
    "C",
    "dim",
    "H",
    "W",
    "B",
    "H*W",
    "C/2",
    "C*H",
    "H-1",
    "B*H",
    "C-dim",
    "B/2",
    "B*B",
    "(B+1)//2",
    "B*C/2",
    "B*B/B",
]


@dataclass(frozen=True)
class Shape:
    """What the generator believes of a tensor: its kind, its channels, and how much smaller its sides are."""

    # map (B,c,h,w), vector (B,c), pooled (B,c,1,1), last (B,h,w,c), tokens (B,h*w,c), rows (B,c,h*w), pairs
    kind: str
    channels: str = "C"
    scale: int = 1


@dataclass
class Builder:
    """A block being grown."""

    rng: Random
    nodes: list[Node] = field(default_factory=list)
    edges: list[tuple[int, int]] = field(default_factory=list)
    shapes: dict[int, Shape] = field(default_factory=dict)

    def add(self, shape: Shape, op: str, /, *inputs: int, **arguments: object) -> int:
        index = len(self.nodes)
        texts = {name: _argument(value) for name, value in arguments.items()}
        self.nodes.append(make_node(index, op, **texts))
        self.edges += [(source, index) for source in inputs]
        self.shapes[index] = shape
        return index

    def sides(self, scale: int) -> tuple[str, str]:
        if scale == 1:
            return "H", "W"
        return f"(H+{scale - 1})//{scale}", f"(W+{scale - 1})//{scale}"


def _argument(value: object) -> int | str | tuple[int | str, ...]:
    if isinstance(value, str) and value.startswith("(") and "," in value:
        return tuple(part.strip() for part in value[1:-1].split(","))
    assert isinstance(value, int | str | tuple)
    return value


def _conv(b: Builder, at: int, channels: str | None = None, stride: int = 1) -> int:
    shape = b.shapes[at]
    out = channels or b.rng.choice(CHANNELS)
    arguments: dict[str, object] = {"out_channels": out, "kernel_size": b.rng.choice(KERNELS)}
    if stride > 1 or b.rng.random() < 0.5:
        arguments["stride"] = stride
    if b.rng.random() < 0.2:
        arguments["dilation"] = b.rng.choice(["2", "3", "(1,2)"])
    if b.rng.random() < 0.3:
        arguments["groups"] = b.rng.choice(["1", "2", "4", shape.channels, "C", "3"])
    return b.add(Shape("map", out, shape.scale * stride), "Conv2d", at, **arguments)


def _unary(b: Builder, at: int) -> int:
    return b.add(b.shapes[at], b.rng.choice(["ReLU", "GELU", "Sigmoid", "BN", "BN", "DropPath"]), at)


def _pool(b: Builder, at: int) -> int:
    op = b.rng.choice(["AvgPool2d", "MaxPool2d"])
    return b.add(b.shapes[at], op, at, kernel_size=b.rng.choice(KERNELS), stride=1)


def _shrink(b: Builder, at: int) -> int:
    shape = b.shapes[at]
    if b.rng.random() < 0.5:
        return _conv(b, at, stride=2)
    op = b.rng.choice(["AvgPool2d", "MaxPool2d"])
    smaller = Shape("map", shape.channels, shape.scale * 2)
    if b.rng.random() < 0.5:
        return b.add(smaller, op, at, kernel_size=2)
    return b.add(smaller, op, at, kernel_size=b.rng.choice(KERNELS), stride=2)


def _squeeze(b: Builder, at: int) -> int:
    shape = b.shapes[at]
    if b.rng.random() < 0.6:
        op = b.rng.choice(["AdaptiveAvgPool2d", "AdaptiveMaxPool2d"])
        return b.add(Shape("pooled", shape.channels), op, at, output_size=b.rng.choice(["1", "(1,1)"]))
    op = b.rng.choice(["mean", "max", "sum"])
    return b.add(Shape("pooled", shape.channels), op, at, dim=b.rng.choice([(2, 3), (-1, -2), (3, 2)]))


def _resize(b: Builder, at: int) -> int:
    shape = b.shapes[at]
    height, width = b.sides(shape.scale if b.rng.random() < 0.7 else 1)
    scale = shape.scale if height == b.sides(shape.scale)[0] else 1
    return b.add(Shape("map", shape.channels, scale), "AdaptiveAvgPool2d", at, output_size=(height, width))


def _reduced(b: Builder, at: int) -> int:
    """One dimension made 1, then spread again by broadcasting against the tensor itself."""
    shape = b.shapes[at]
    dim = b.rng.choice([1, 2, 3, -1, -3, 0] if shape.kind in ("map", "last") else [1, -1])
    low = b.add(shape, b.rng.choice(["mean", "max", "sum"]), at, dim=dim)
    return b.add(shape, b.rng.choice(["Add", "Mul"]), *b.rng.sample([low, at], 2))


def _softmax(b: Builder, at: int) -> int:
    return b.add(b.shapes[at], "softmax", at, dim=b.rng.choice([1, -1, 0]))


def _to_last(b: Builder, at: int) -> int:
    return b.add(Shape("last", b.shapes[at].channels, b.shapes[at].scale), "permute", at, dims=(0, 2, 3, 1))


def _from_last(b: Builder, at: int) -> int:
    dims = b.rng.choice([(0, 3, 1, 2), (0, -1, 1, 2)])
    return b.add(Shape("map", b.shapes[at].channels, b.shapes[at].scale), "permute", at, dims=dims)


def _linear(b: Builder, at: int) -> int:
    out = b.rng.choice(CHANNELS)
    return b.add(Shape(b.shapes[at].kind, out, b.shapes[at].scale), "Linear", at, out_channels=out)


def _layer_norm(b: Builder, at: int) -> int:
    return b.add(b.shapes[at], "LN", at)


def _flatten(b: Builder, at: int) -> int:
    shape = b.shapes[at]
    height, width = b.sides(shape.scale)
    size = b.rng.choice([f"({height})*({width})", "-1"])
    batch = "B" if size == "-1" else b.rng.choice(["B", "-1"])
    return b.add(
        Shape("rows", shape.channels, shape.scale), "reshape", at, shape=(batch, shape.channels, size)
    )


def _unflatten(b: Builder, at: int) -> int:
    shape = b.shapes[at]
    size = (b.rng.choice(["B", "-1"]), shape.channels, *b.sides(shape.scale))
    return b.add(Shape("map", shape.channels, shape.scale), "reshape", at, shape=size)


def _turn(b: Builder, at: int) -> int:
    shape = b.shapes[at]
    kind = "tokens" if shape.kind == "rows" else "rows"
    return b.add(Shape(kind, shape.channels, shape.scale), "permute", at, dims=(0, 2, 1))


def _attend(b: Builder, at: int) -> int:
    """Tokens (B,n,c): softmax(x xᵀ) x."""
    shape = b.shapes[at]
    turned = b.add(Shape("rows", shape.channels, shape.scale), "permute", at, dims=(0, 2, 1))
    pairs = b.add(Shape("pairs", "1", shape.scale), "Multiply", at, turned)
    weights = b.add(Shape("pairs", "1", shape.scale), "softmax", pairs, dim=-1)
    return b.add(shape, "Multiply", weights, at)


def _to_vector(b: Builder, at: int) -> int:
    channels = b.shapes[at].channels
    return b.add(Shape("vector", channels), "reshape", at, shape=(b.rng.choice(["B", "-1"]), channels))


def _from_vector(b: Builder, at: int) -> int:
    channels = b.shapes[at].channels
    return b.add(Shape("pooled", channels), "reshape", at, shape=("B", channels, 1, 1))


def _spread(b: Builder, at: int) -> int:
    shape = b.shapes[at]
    return b.add(Shape("map", shape.channels), "repeat", at, sizes=(1, 1, "H", "W"))


def _shuffle(b: Builder, at: int) -> int:
    """Channel shuffle: (B,c,h,w) → (B,g,c/g,h,w) → swapped → (B,c,h,w)."""
    shape = b.shapes[at]
    groups = b.rng.choice(["2", "4", "3"])
    height, width = b.sides(shape.scale)
    inner = f"({shape.channels})/{groups}"
    wide = b.add(shape, "reshape", at, shape=("B", groups, inner, height, width))
    if b.rng.random() < 0.3:
        wide = b.add(shape, b.rng.choice(["BN", "ReLU"]), wide)
    swapped = b.add(shape, "permute", wide, dims=(0, 2, 1, 3, 4))
    return b.add(shape, "reshape", swapped, shape=(b.rng.choice(["B", "-1"]), shape.channels, height, width))


def _gate(b: Builder, at: int) -> int:
    """A pooled tensor gates a map of the same channels."""
    shape = b.shapes[at]
    maps = [i for i, s in b.shapes.items() if s.kind == "map" and s.channels == shape.channels]
    if not maps:
        return _conv(b, at)
    other = b.rng.choice(maps)
    return b.add(b.shapes[other], b.rng.choice(["Mul", "Add"]), *b.rng.sample([at, other], 2))


def _join(b: Builder, at: int) -> int:
    """Add or concat with other tensors believed to fit."""
    shape = b.shapes[at]
    others = [i for i, s in b.shapes.items() if i != at and s.kind == shape.kind and s.scale == shape.scale]
    equal = [i for i in others if b.shapes[i].channels == shape.channels]
    if equal and b.rng.random() < 0.6:
        count = b.rng.choice([1, 1, 2])
        return b.add(shape, b.rng.choice(["Add", "Mul"]), at, *b.rng.sample(equal, min(count, len(equal))))
    if others and shape.kind in ("map", "last", "tokens", "vector"):
        other = b.rng.choice(others)
        axis = b.rng.choice([1, -3]) if shape.kind == "map" else -1
        both = f"({shape.channels})+({b.shapes[other].channels})"
        return b.add(Shape(shape.kind, both, shape.scale), "concat", at, other, dim=axis)
    return _unary(b, at)


_Step = Callable[[Builder, int], int]

STEPS: dict[str, list[_Step]] = {
    "map": [
        _conv, _conv, _unary, _unary, _pool, _shrink, _squeeze, _resize, _reduced, _softmax,
        _to_last, _flatten, _shuffle, _join, _join,
    ],
    "pooled": [_conv, _unary, _to_vector, _gate, _gate, _softmax, _spread, _join],
    "vector": [_linear, _unary, _layer_norm, _from_vector, _softmax, _join, _reduced],
    "last": [_linear, _layer_norm, _from_last, _from_last, _unary, _reduced, _softmax, _join],
    "rows": [_turn, _unflatten, _unary, _softmax, _reduced, _linear, _layer_norm],
    "tokens": [_turn, _linear, _layer_norm, _attend, _unary, _softmax, _join, _reduced],
    "pairs": [_softmax, _unary],
}  # fmt: skip


def _as_map(b: Builder, at: int, channels: str, scale: int) -> int:
    """Bring a tensor to (B, channels, H/scale, W/scale), or to something that broadcasts to it."""
    shape = b.shapes[at]
    if shape.kind == "tokens":
        at = _turn(b, at)
    if b.shapes[at].kind == "rows":
        at = _unflatten(b, at)
    elif shape.kind == "last":
        at = _from_last(b, at)
    elif shape.kind == "vector":
        at = _from_vector(b, at)
    elif shape.kind == "pairs":
        at = b.add(Shape("pooled", "1"), "mean", at, dim=(1, 2))
        at = b.add(Shape("pooled", "1"), "reshape", at, shape=("B", 1, 1, 1))
    shape = b.shapes[at]
    if shape.kind == "map" and shape.scale < scale:
        at = b.add(
            Shape("map", shape.channels, scale), "AvgPool2d", at, kernel_size=2, stride=scale // shape.scale
        )
    elif shape.kind == "map" and shape.scale > scale:
        height, width = b.sides(scale)
        at = b.add(Shape("map", shape.channels, scale), "AdaptiveAvgPool2d", at, output_size=(height, width))
    if b.shapes[at].channels != channels:
        kind = b.shapes[at].kind
        at = b.add(Shape(kind, channels, scale), "Conv2d", at, out_channels=channels, kernel_size=1)
    return at


def random_block(
    rng: Random, role: Role = Role.CELL, scale: int | None = None, steps: int | None = None
) -> Block:
    """A block that is mostly right; ``scale`` is the stem's (1 or 4)."""
    b = Builder(rng)
    b.add(Shape("map", "C"), "input")
    for _ in range(rng.randint(0, 10) if steps is None else steps):
        ends = [i for i in b.shapes if all(source != i for source, _ in b.edges)] or [0]
        at = rng.choice(ends) if rng.random() < 0.7 else rng.choice(list(b.shapes))
        rng.choice(STEPS[b.shapes[at].kind])(b, at)
    target = {Role.CELL: 1, Role.DOWNSAMPLE: 2, Role.STEM: scale or 1}[role]
    channels = rng.choice(["C", "dim"]) if role is Role.CELL else "dim"
    ends = [i for i in b.shapes if all(source != i for source, _ in b.edges)]
    maps = [_as_map(b, at, channels, target) for at in ends]
    wide = [i for i in maps if b.shapes[i].kind == "map"]
    if not wide:
        maps.append(_as_map(b, 0, channels, target))
        if maps[-1] == 0 and rng.random() < 0.5:
            maps[-1] = b.add(b.shapes[0], "ReLU", 0)
    last = (
        maps[0]
        if len(maps) == 1
        else b.add(Shape("map", channels, target), rng.choice(["Add", "Mul"]), *maps)
    )
    b.add(b.shapes[last], "output", last)
    return Block("random", tuple(b.nodes), tuple(dict.fromkeys(b.edges)))


# --- single edits that may break a block ---


def mutate(rng: Random, block: Block) -> Block:
    """One small edit, which may or may not break the block."""
    edit = rng.choice(
        [
            _edit_argument,
            _edit_argument,
            _edit_argument,
            _edit_edge,
            _drop_edge,
            _add_edge,
            _swap_op,
            _bypass,
            _insert,
        ]
    )
    return edit(rng, block)


def _replace_node(block: Block, node: Node) -> Block:
    return block.replace(nodes=[node if old.index == node.index else old for old in block.nodes])


def _edit_argument(rng: Random, block: Block) -> Block:
    nodes = [node for node in block.nodes if OPERATORS[node.op].parameters]
    if not nodes:
        return _insert(rng, block)
    node = rng.choice(nodes)
    parameter = rng.choice(OPERATORS[node.op].parameters)
    value = node.argument(parameter.name)
    fresh: Argument
    if isinstance(value, tuple) and len(value) > 0:
        items = list(value)
        move = rng.choice(["change", "drop", "add", "swap"])
        at = rng.randrange(len(items))
        if move == "change" or len(items) == 1:
            items[at] = _random_item(rng, node.op)
        elif move == "drop" and parameter.kind is not Kind.PAIR:
            items.pop(at)
        elif move == "add" and parameter.kind is not Kind.PAIR:
            items.insert(at, _random_item(rng, node.op))
        else:
            other = rng.randrange(len(items))
            items[at], items[other] = items[other], items[at]
        fresh = tuple(items)
    elif parameter.kind is Kind.PROBABILITY:
        fresh = expression(rng.choice(["0", "0.5", "0.1"]))
    elif parameter.kind in (Kind.DIM, Kind.DIMS):
        fresh = expression(rng.choice(["0", "1", "2", "3", "4", "-1", "-2", "-4", "-5"]))
    else:
        fresh = expression(
            rng.choice([*CHANNELS, "0", "-1", "2", "3", "4", "5", "H", "W", "H*W", "C-4", "C/(H-W)"])
        )
    args = dict(node.args) | {parameter.name: fresh}
    ordered = tuple((p.name, args[p.name]) for p in OPERATORS[node.op].parameters if p.name in args)
    return _replace_node(block, Node(node.index, node.op, ordered))


def _random_item(rng: Random, op: str) -> Expression:
    if op in ("permute", "mean", "max", "sum"):
        return expression(rng.choice(["0", "1", "2", "3", "4", "-1", "-2"]))
    numbers = NUMBERS if op in ("reshape", "repeat") else [n for n in NUMBERS if "B" not in n]
    return expression(rng.choice(numbers))


def _edit_edge(rng: Random, block: Block) -> Block:
    if not block.edges:
        return block
    edges = list(block.edges)
    at = rng.randrange(len(edges))
    source, target = edges[at]
    other = rng.choice(block.nodes).index
    edges[at] = (other, target) if rng.random() < 0.7 else (source, other)
    return block.replace(edges=dict.fromkeys(edges))


def _drop_edge(rng: Random, block: Block) -> Block:
    if not block.edges:
        return block
    edges = list(block.edges)
    edges.pop(rng.randrange(len(edges)))
    return block.replace(edges=edges)


def _add_edge(rng: Random, block: Block) -> Block:
    several = [node.index for node in block.nodes if OPERATORS[node.op].most is None] or [
        block.nodes[-1].index
    ]
    edge = (rng.choice(block.nodes).index, rng.choice(several))
    return block.replace(edges=dict.fromkeys([*block.edges, edge]))


_PLAIN = ["ReLU", "GELU", "Sigmoid", "BN", "LN", "DropPath", "Add", "Mul", "Multiply"]


def _swap_op(rng: Random, block: Block) -> Block:
    nodes = [node for node in block.nodes if not node.args and node.op not in ("input", "output")]
    if not nodes:
        return _insert(rng, block)
    return _replace_node(block, Node(rng.choice(nodes).index, rng.choice(_PLAIN)))


def _bypass(rng: Random, block: Block) -> Block:
    """Take a node out and connect what it fed to its first input."""
    nodes = [
        node
        for node in block.nodes
        if node.op not in ("input", "output") and block.inputs_of(node.index)[:1] not in ((), (node.index,))
    ]
    if not nodes:
        return block
    gone = rng.choice(nodes).index
    first = block.inputs_of(gone)[0]
    edges = [
        (first if source == gone else source, target) for source, target in block.edges if target != gone
    ]
    return block.replace(
        nodes=[node for node in block.nodes if node.index != gone], edges=dict.fromkeys(edges)
    )


_ORDERS = [(0, 1, 3, 2), (0, 2, 3, 1), (1, 0, 2, 3), (0, 2, 1)]
_REPEATS = [(1, 2, 1, 1), (1, 1, 1, 1, 1), (2, 1, 1, 1), (1, 1)]
_RESHAPES: list[tuple[int | str, ...]] = [("B", "C", "H", "W"), ("B", -1), (-1, "C"), ("B", "C", "W", "H")]


def _insert(rng: Random, block: Block) -> Block:
    if not block.edges:
        return block
    at = rng.randrange(len(block.edges))
    source, target = block.edges[at]
    index = max(node.index for node in block.nodes) + 1
    node = rng.choice(
        [
            make_node(index, "BN"),
            make_node(index, "LN"),
            make_node(index, "ReLU"),
            make_node(index, "Linear", out_channels=rng.choice(CHANNELS)),
            make_node(index, "mean", dim=rng.choice([0, 1, 2, -1])),
            make_node(index, "softmax", dim=rng.choice([1, 4])),
            make_node(index, "permute", dims=rng.choice(_ORDERS)),
            make_node(index, "repeat", sizes=rng.choice(_REPEATS)),
            make_node(index, "reshape", shape=rng.choice(_RESHAPES)),
            make_node(index, "AdaptiveAvgPool2d", output_size=rng.choice(["1", "1", "H", (1, "W")])),
            make_node(index, "MaxPool2d", kernel_size=3, stride=rng.choice([1, 2])),
        ]
    )  # fmt: skip
    edges = list(block.edges)
    edges[at : at + 1] = [(source, index), (index, target)]
    return block.replace(nodes=[*block.nodes, node], edges=edges)


def random_draft(rng: Random, role: Role = Role.CELL, scale: int | None = None) -> Block:
    """A block, in half of the cases with one to three edits."""
    block = random_block(rng, role, scale)
    for _ in range(rng.choice([0, 0, 0, 1, 1, 2, 3])):
        block = mutate(rng, block)
    return block


# --- sites ---


def random_site(rng: Random, role: Role = Role.CELL, scale: int | None = None) -> Site:
    """A small site: few channels, odd and even sides down to 1."""
    channels = 3 if role is Role.STEM else rng.choice([2, 4, 6, 8, 12])
    dim = channels if role is Role.CELL else rng.choice([4, 6, 8, 12, 2 * channels])
    height, width = rng.choice([1, 2, 3, 4, 5, 6, 7, 8]), rng.choice([1, 2, 3, 4, 5, 6, 8])
    if rng.random() < 0.4:
        width = height
    return Site(role, channels, dim, height, width, Fraction(1, scale) if scale else None)


# --- rewritings that must not change the digest ---


def rewritten(rng: Random, block: Block) -> Block:
    """The same block in other words: renumbered, renamed, reordered, defaults written out or left out."""
    indices = [node.index for node in block.nodes]
    fresh = rng.sample(range(2 * len(indices) + 5), len(indices))
    renumber = dict(zip(indices, fresh, strict=True))
    nodes = [_reworded(rng, block, node, renumber[node.index]) for node in block.nodes]
    rng.shuffle(nodes)
    ordered = {node.index for node in block.nodes if node.op in ("concat", "Multiply")}
    groups = {node.index: [edge for edge in block.edges if edge[1] == node.index] for node in block.nodes}
    for index, group in groups.items():
        if index not in ordered:
            rng.shuffle(group)
    order = rng.sample(list(groups), len(groups))
    edges = [(renumber[s], renumber[t]) for index in order for s, t in groups[index]]
    return Block(f"name{rng.randrange(100)}", tuple(nodes), tuple(edges))


def with_arguments_shuffled(rng: Random, block: Block) -> str:
    """The block's text with the named arguments of every operation in another order."""
    lines = [f"##{block.name}##"]
    for node in block.nodes:
        named = len(node.args) > 1 and OPERATORS[node.op].parameters[0].kind is not Kind.LIST
        args = [f"{name}={print_argument(value)}" for name, value in rng.sample(node.args, len(node.args))]
        lines.append(f"{node.index}:{node.op}({', '.join(args)})" if named else str(node))
    return "\n".join([*lines, *(f"{source}->{target}" for source, target in block.edges)])


def _reworded(rng: Random, block: Block, node: Node, index: int) -> Node:
    args: dict[str, Argument] = dict(node.args)
    for parameter in OPERATORS[node.op].parameters:
        value = args.get(parameter.name)
        if value is None and parameter.default not in (None, "kernel_size") and rng.random() < 0.5:
            args[parameter.name] = expression(str(parameter.default))
        elif value is None and parameter.default == "kernel_size" and rng.random() < 0.5:
            args[parameter.name] = args["kernel_size"]
        elif isinstance(value, Expression):
            if str(value) == parameter.default and rng.random() < 0.5:
                del args[parameter.name]
            elif parameter.kind is Kind.PAIR and rng.random() < 0.3:
                args[parameter.name] = (value, value)
            elif parameter.kind in (Kind.SIZE, Kind.PAIR):
                args[parameter.name] = respelled(rng, value)
        elif isinstance(value, tuple) and parameter.kind is Kind.DIMS:
            args[parameter.name] = tuple(rng.sample(value, len(value)))
        elif isinstance(value, tuple) and parameter.name in ("shape", "sizes"):
            args[parameter.name] = tuple(
                item if item.constant == -1 else respelled(rng, item) for item in value
            )
    ordered = tuple((p.name, args[p.name]) for p in OPERATORS[node.op].parameters if p.name in args)
    return Node(index, node.op, ordered)


def respelled(rng: Random, value: Expression) -> Expression:
    """Another expression of the same value."""
    text = str(value)
    pattern = rng.choice(
        ["{}", "1*({})", "({})*2/2", "0+({})", "({})-C+C", "(({})*H)/H", "({})//1", "dim-(dim-({}))"]
    )
    if pattern == "({})//1":
        return expression(f"({text})//1")
    if value.op in ("*", "+"):
        left, right = value.operands
        text = f"({right}){value.op}({left})"
    elif value.op == "/" and value.operands[1].constant:
        text = f"1/({value.operands[1]})*({value.operands[0]})"
    return expression(pattern.format(text) if len(text) < 120 else text)


# --- hypothesis ---

ROLES = ((Role.CELL, None), (Role.STEM, 1), (Role.STEM, 4), (Role.DOWNSAMPLE, None))


def randoms() -> st.SearchStrategy[Random]:
    """A source of randomness that hypothesis controls and shrinks."""
    return st.randoms(use_true_random=False)


@st.composite
def blocks(draw: st.DrawFn, role: Role = Role.CELL, scale: int | None = None) -> Block:
    """Blocks that are mostly right."""
    return random_block(draw(randoms()), role, scale)


@st.composite
def drafts(draw: st.DrawFn) -> tuple[Block, Site]:
    """A block, right or wrong, and a small site of its role."""
    rng = draw(randoms())
    role, scale = draw(st.sampled_from(ROLES))
    return random_draft(rng, role, scale), random_site(rng, role, scale)
