"""Draws a block as an SVG picture, from its input at the top to its output at the bottom."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from html import escape
from itertools import pairwise

from nader.graph.block import Block, Node, print_argument
from nader.graph.layout import Layout, layered
from nader.graph.sites import Site
from nader.graph.verify import resolve

_FAMILIES = (
    ("#e8eaed", "#5f6b7a", ("input", "output")),
    ("#d6e6fb", "#2b6cb0", ("Conv2d", "Linear")),
    ("#e6defa", "#6b46c1", ("BN", "LN")),
    ("#fdecc8", "#a86a10", ("ReLU", "GELU", "Sigmoid", "softmax")),
    (
        "#d5f0e3",
        "#2f855a",
        ("AvgPool2d", "MaxPool2d", "AdaptiveAvgPool2d", "AdaptiveMaxPool2d", "mean", "max", "sum"),
    ),
    ("#fbd9dd", "#c53030", ("Add", "Mul", "Multiply", "concat")),
    ("#f0f2f5", "#7b8794", ("permute", "repeat", "reshape", "DropPath")),
)
COLOURS: dict[str, tuple[str, str]] = {op: (fill, line) for fill, line, ops in _FAMILIES for op in ops}
"""Operator → fill and outline, one pair for each family: weights, normalisation, activation, and so on."""

_MARGIN, _GAP, _LAYER_GAP, _LINE = 16.0, 20.0, 26.0, 14.0
_NAME_ADVANCE, _ARGS_ADVANCE = 7.6, 6.05
_SANS = 'font-family="Helvetica,Arial,sans-serif"'
_MONO = 'font-family="Menlo,Consolas,DejaVu Sans Mono,monospace"'
_EDGE = "#68727f"
_SHORT = {"stride": "s", "dilation": "d", "groups": "g"}
_ORDERED = frozenset({"concat", "Multiply"})


@dataclass(frozen=True)
class _Box:
    """What is written in a node: its operator, its arguments in short, the shape it gives."""

    node: Node
    args: str
    shape: str

    @property
    def width(self) -> float:
        text = max(len(self.args), len(self.shape)) * _ARGS_ADVANCE
        return max(54.0, len(self.node.op) * _NAME_ADVANCE + 20, text + 18)

    @property
    def height(self) -> float:
        return 25.0 + _LINE * (bool(self.args) + bool(self.shape))


@dataclass(frozen=True)
class _Page:
    """The block laid out: where each box and each layer is, in pixels."""

    block: Block
    boxes: dict[int, _Box]
    layout: Layout

    @cached_property
    def rows(self) -> list[tuple[float, float]]:
        """Top and bottom of every layer."""
        heights = [0.0] * (max(self.layout.layers.values(), default=0) + 1)
        for index, box in self.boxes.items():
            heights[self.layout.layers[index]] = max(heights[self.layout.layers[index]], box.height)
        tops = [_MARGIN + sum(heights[:row]) + row * _LAYER_GAP for row in range(len(heights))]
        return [(top, top + height) for top, height in zip(tops, heights, strict=True)]

    def span(self, index: int) -> tuple[float, float, float]:
        """Centre, top and bottom of a box."""
        top, bottom = self.rows[self.layout.layers[index]]
        middle, half = (top + bottom) / 2, self.boxes[index].height / 2
        return self.layout.x[index] + _MARGIN, middle - half, middle + half


def to_svg(block: Block, *, site: Site | None = None) -> str:
    """The block as an SVG document; with a site, each operation shows the shape it gives (without batch).

    Any block can be drawn, also a wrong one. Raises BlockError where it does not fit the site that is given.
    """
    shapes: dict[int, str] = {}
    if site is not None:
        shapes = {node.index: "×".join(map(str, node.out_shape[1:])) for node in resolve(block, site)}
    boxes = {node.index: _Box(node, _short(node), shapes.get(node.index, "")) for node in block.nodes}
    layout = layered(list(boxes), block.edges, {index: box.width for index, box in boxes.items()}, _GAP)
    page = _Page(block, boxes, layout)
    edges = [x for bends in layout.bends.values() for _, x in bends]
    right = max([layout.x[index] + box.width / 2 for index, box in boxes.items()] + edges, default=0.0)
    width, height, title = right + 2 * _MARGIN, page.rows[-1][1] + _MARGIN, escape(block.name)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}"'
            f' viewBox="0 0 {width:.0f} {height:.0f}" role="img" aria-label="{title}">',
            f"<title>{title}</title>",
            f'<rect width="{width:.0f}" height="{height:.0f}" rx="6" fill="#ffffff"/>',
            *_draw_edges(page),
            *(_draw_box(box, *page.span(index)) for index, box in boxes.items()),
            "</svg>\n",
        ]
    )


def _short(node: Node) -> str:
    """The arguments in few characters: Conv2d(out_channels=C,kernel_size=3,groups=C) shows "3×3 → C, g=C"."""
    values = {key: print_argument(value) for key, value in node.args}
    if node.op == "Conv2d":
        rest = [f"{_SHORT[key]}={values[key]}" for key in _SHORT if values.get(key, "1") != "1"]
        return ", ".join(
            [f"{_pair(values.get('kernel_size', '?'))} → {values.get('out_channels', '?')}", *rest]
        )
    if node.op == "Linear":
        return f"→ {values.get('out_channels', '?')}"
    if "kernel_size" in values:
        stride = values.get("stride", values["kernel_size"])
        return _pair(values["kernel_size"]) + (f", s={stride}" if stride != "1" else "")
    if "output_size" in values:
        return _pair(values["output_size"])
    if len(values) == 1 and node.op in ("permute", "repeat", "reshape"):
        return ", ".join(next(iter(values.values())).strip("()").rstrip(",").split(","))
    return ", ".join(f"{key}={value}" for key, value in values.items())


def _pair(text: str) -> str:
    return text.strip("()").replace(",", "×") if text.startswith("(") else f"{text}×{text}"


def _draw_box(box: _Box, x: float, top: float, bottom: float) -> str:
    fill, line = COLOURS.get(box.node.op, ("#ffffff", "#c53030"))
    radius = 12 if box.node.op in ("input", "output") else 5
    parts = [
        f"<g><title>{escape(str(box.node))}</title>"
        f'<rect x="{x - box.width / 2:.1f}" y="{top:.1f}" width="{box.width:.1f}" height="{bottom - top:.1f}"'
        f' rx="{radius}" fill="{fill}" stroke="{line}"/>',
        _text(box.node.op, x, top + 16.8, f'{_SANS} font-size="12.5" font-weight="600" fill="#1a202c"'),
    ]
    for text, colour in ((box.args, "#39434f"), (box.shape, line)):
        if text:
            top += _LINE
            parts.append(_text(text, x, top + 16.2, f'{_MONO} font-size="10" fill="{colour}"'))
    return "".join([*parts, "</g>"])


def _text(text: str, x: float, y: float, style: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="middle" {style}>{escape(text)}</text>'


def _draw_edges(page: _Page) -> Iterator[str]:
    """Edges as smooth paths with a tip; where the order of the inputs matters, each has its number."""
    layout = page.layout
    into: dict[int, list[tuple[int, int]]] = {target: [] for target in page.boxes}
    for edge in layout.bends:
        into[edge[1]].append(edge)
    for target, edges in into.items():
        box, inputs = page.boxes[target], list(dict.fromkeys(page.block.inputs_of(target)))
        ordered = box.node.op in _ORDERED and len(inputs) > 1
        step = min(22.0 if ordered else 18.0, (box.width - 8) / max(1, len(edges)))
        edges.sort(key=lambda edge: layout.bends[edge][-1][1] if layout.bends[edge] else layout.x[edge[0]])
        for place, edge in enumerate(edges):
            x, top, bottom = page.span(target)
            x += (place - (len(edges) - 1) / 2) * step
            downwards = layout.layers[edge[0]] <= layout.layers[target]
            path = _smooth([*_route(page, edge, downwards), (x, top - 6 if downwards else bottom + 6)])
            yield f'<path d="{path}" fill="none" stroke="{_EDGE}" stroke-width="1.3"/>'
            yield _tip(x, top if downwards else bottom, downwards)
            if ordered:
                number = str(inputs.index(edge[0]) + 1)
                yield _text(number, x + 7, top - 5, f'{_SANS} font-size="8.5" fill="{_EDGE}"')


def _route(page: _Page, edge: tuple[int, int], downwards: bool) -> list[tuple[float, float]]:
    """Where an edge leaves its source and enters and leaves each layer that it passes."""
    x, top, bottom = page.span(edge[0])
    points = [(x, bottom if downwards else top)]
    bends = page.layout.bends[edge]
    for row, bend in bends if downwards else bends[::-1]:
        ends = page.rows[row] if downwards else page.rows[row][::-1]
        points += [(bend + _MARGIN, y) for y in ends]
    return points


def _smooth(points: list[tuple[float, float]]) -> str:
    """A path of curves that leave and arrive vertically; straight where two points stand above each other."""
    path = [f"M{points[0][0]:.1f},{points[0][1]:.1f}"]
    for (x, y), (to_x, to_y) in pairwise(points):
        middle = (y + to_y) / 2
        straight = abs(x - to_x) < 0.5
        path.append(
            f"L{to_x:.1f},{to_y:.1f}"
            if straight
            else f"C{x:.1f},{middle:.1f} {to_x:.1f},{middle:.1f} {to_x:.1f},{to_y:.1f}"
        )
    return " ".join(path)


def _tip(x: float, y: float, downwards: bool) -> str:
    back = y - 7 if downwards else y + 7
    return (
        f'<path d="M{x:.1f},{y:.1f} L{x - 3.6:.1f},{back:.1f} L{x + 3.6:.1f},{back:.1f} Z" fill="{_EDGE}"/>'
    )
