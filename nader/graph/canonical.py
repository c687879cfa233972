"""The canonical form of a block and its digest: equal exactly for blocks that are the same graph.

Two blocks are the same when one can be renumbered into the other such that operations, their arguments
(defaults filled in, in any order, equal in value, dimensions counted from the front) and edges agree; the
order of inputs counts for concat and Multiply only. Names, notes and node order do not matter. Nothing is
merged: two convolutions of the same input, each with its weights, are not one convolution used twice. In a
cell dim always equals C; `digest` reads dim as C there when it is told the role.

Colour refinement settles almost every block. What is left splits into independent parts (identical parallel
branches are separate parts). Where a part has many equal nodes they are told apart by what lies how far from
them; what is symmetric even so is settled by trying each of its equal nodes, except those that an
automorphism already found maps to one another.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TypeAlias

from nader.graph.block import Block, Node
from nader.graph.errors import GraphError, Problem, ProblemCode
from nader.graph.expression import Expression
from nader.graph.operators import OPERATORS, Kind
from nader.graph.polynomials import normal_form
from nader.graph.sites import Role

MAX_WORK = 60_000
MANY = 16
"""Equal nodes of one part above which a look at distances costs less than trying each."""
_PLACE = [b"%d:" % place for place in range(1_026)]

Colour: TypeAlias = bytes
_Edges: TypeAlias = list[list[tuple[int, int]]]  # vertex → [(other vertex, position of the input or 0)]


class SymmetryError(GraphError):
    """A graph so symmetric, and without any symmetry that helps, that comparing it would take too long.

    Attributes:
        problem: the same as a problem of the block, for reports.
    """

    def __init__(self) -> None:
        message = "The block is too symmetric to be compared with others in reasonable time."
        self.problem = Problem(
            ProblemCode.SIZE_LIMIT, message, hint="Use fewer nodes that could change places with one another."
        )
        super().__init__(message)

    def __reduce__(self) -> tuple[type[SymmetryError], tuple[()]]:
        return type(self), ()


@lru_cache(maxsize=1024)
def digest(block: Block, role: Role | str | None = None) -> str:
    """SHA-256 (hex) of the canonical form; with the role of a cell, dim counts as C."""
    return hashlib.sha256(canonical_form(block, role).encode()).hexdigest()


def canonical_form(block: Block, role: Role | str | None = None) -> str:
    """Text that two blocks share exactly if they are the same graph."""
    graph = _Graph(block, role is not None and Role(role) is Role.CELL)
    order = _Search(graph).order()
    rank = {vertex: position for position, vertex in enumerate(order)}
    lines = []
    for vertex in order:
        inputs = sorted((position, rank[source]) for source, position in graph.into[vertex])
        lines.append(f"{graph.labels[vertex]}<{','.join(f'{p}:{r}' for p, r in inputs)}")
    return "\n".join(lines)


def node_label(node: Node, rank: int | None = None, same_channels: bool = False) -> str:
    """What a node is, apart from its place: operator and normalised arguments.

    ``rank`` (the number of dimensions of its input) lets negative dimensions be counted from the front.
    """
    operator = OPERATORS.get(node.op)
    if operator is None:
        return f"{node.op}?"
    parts: list[str] = []
    for parameter in operator.parameters:
        value = node.argument(parameter.name)
        if value is None and parameter.default == "kernel_size":
            value = node.argument("kernel_size")
        if value is None:
            parts.append(_default(parameter.kind, parameter.default))
            continue
        items = (value,) if isinstance(value, Expression) else value
        if parameter.kind in (Kind.DIM, Kind.DIMS) or parameter.name == "dims":
            numbers = [_from_front(item, rank) for item in items]
            parts.append(",".join(sorted(numbers) if parameter.kind is Kind.DIMS else numbers))
        elif parameter.kind is Kind.PROBABILITY:
            parts.append(str(items[0].value))
        else:
            forms = [normal_form(item, same_channels) for item in items]
            parts.append(",".join(forms * 2 if parameter.kind is Kind.PAIR and len(forms) == 1 else forms))
    return f"{node.op}({';'.join(parts)})"


def _default(kind: Kind, default: str | None) -> str:
    if kind is Kind.PROBABILITY:
        value = OPERATORS["DropPath"].parameters[0].default or "0"
        from fractions import Fraction

        return str(Fraction(value))
    return f"{default},{default}" if kind is Kind.PAIR else str(default)


def _from_front(item: Expression, rank: int | None) -> str:
    number = item.constant
    if number is None:
        return f"?{item.text}"
    return str(number + rank if rank is not None and -rank <= number < 0 else number)


def ranks(block: Block) -> Mapping[int, int]:
    """The number of dimensions of each node's output, where it can be told; no sizes are needed for it."""
    found: dict[int, int] = {}
    for index in block.order:
        node = block.by_index.get(index)
        inputs = [found[source] for source in block.inputs_of(index) if source in found]
        if node is None:
            continue
        if node.op == "input":
            found[index] = 4
        elif node.op in ("reshape", "repeat", "permute") and node.args:
            value = node.args[0][1]
            found[index] = 1 if isinstance(value, Expression) else len(value)
        elif inputs:
            found[index] = max(inputs)
    return found


class _Graph:
    """A block as numbered vertices with labels and positioned edges."""

    def __init__(self, block: Block, same_channels: bool) -> None:
        number = {node.index: vertex for vertex, node in enumerate(block.nodes)}
        known = ranks(block)
        self.labels: list[str] = []
        for node in block.nodes:
            inputs = block.inputs_of(node.index)
            rank = max((known[source] for source in inputs if source in known), default=None)
            self.labels.append(node_label(node, rank, same_channels))
        self.into: _Edges = [[] for _ in block.nodes]
        self.out: _Edges = [[] for _ in block.nodes]
        for node in block.nodes:
            operator = OPERATORS.get(node.op)
            ordered = operator is not None and operator.fewest > 1 and not operator.commutative
            for at, source in enumerate(block.inputs_of(node.index), start=1):
                if source in number:
                    position = at if ordered else 0
                    self.into[number[node.index]].append((number[source], position))
                    self.out[number[source]].append((number[node.index], position))
        self.order = [number[index] for index in block.order if index in number]

    def colours(self) -> list[Colour]:
        """A first colour for each vertex: what leads to it and what it leads to, hashed along the graph."""
        start = [_hash(label.encode()) for label in self.labels]
        up, down = list(start), list(start)
        for vertex in self.order:
            up[vertex] = _mixed(start[vertex], up, self.into[vertex])
        for vertex in reversed(self.order):
            down[vertex] = _mixed(up[vertex], down, self.out[vertex])
        return down


def _hash(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=16).digest()


def _mixed(own: Colour, colours: Sequence[Colour], edges: Sequence[tuple[int, int]]) -> Colour:
    parts = sorted(b"%d:" % position + colours[vertex] for vertex, position in edges)
    return _hash(own + b"|" + b"".join(parts))


class _Search:
    """Finds the canonical order of the vertices of one graph."""

    def __init__(self, graph: _Graph) -> None:
        self.graph = graph
        self.near = [[u for u, _ in (*graph.into[v], *graph.out[v])] for v in range(len(graph.labels))]
        self.work = 0
        self.choices = 0

    def order(self) -> list[int]:
        vertices = list(range(len(self.graph.labels)))
        return self._settle(vertices, dict(enumerate(self.graph.colours())), vertices, exact=True)[1]

    def _settle(
        self, vertices: list[int], colours: dict[int, Colour], changed: list[int], exact: bool
    ) -> tuple[bytes, list[int]]:
        """Certificate and order of a set of vertices, independent of the rest given their colours.

        ``changed``: where the colours changed since they were last refined. ``exact``: of all orders the
        colours leave open, the one of least certificate; else any one of them.
        """
        cells = self._refine(vertices, colours, changed)
        single = sorted((colour, cell[0]) for colour, cell in cells.items() if len(cell) == 1)
        order = [vertex for _, vertex in single]
        certificate = [colour for colour, _ in single]
        if len(single) < len(vertices):
            tied = [vertex for vertex in vertices if len(cells[colours[vertex]]) > 1]
            settled = [self._part(part, colours, exact) for part in self._parts(tied, colours, cells)]
            for part_certificate, part_order in sorted(settled):
                certificate.append(part_certificate)
                order += part_order
        return _hash(b"\0".join(certificate)), order

    def _refine(
        self, vertices: list[int], colours: dict[int, Colour], changed: list[int]
    ) -> dict[Colour, list[int]]:
        """Split the cells of the vertices until equal colours see equal neighbours; returns the cells."""
        inside = set(vertices)
        cells = _cells(vertices, colours)
        stale = {other for vertex in changed for other in self.near[vertex]} & inside
        while stale:
            touched = {colours[vertex] for vertex in stale if len(cells[colours[vertex]]) > 1}
            seen = [
                (colour, {vertex: self._seen(vertex, colours) for vertex in cells[colour]})
                for colour in touched
            ]
            self._spend(sum(len(views) for _, views in seen))
            stale = set()
            for colour, views in seen:
                if len(set(views.values())) > 1:
                    del cells[colour]
                    for vertex, view in views.items():
                        colours[vertex] = _hash(colour + view)
                        cells.setdefault(colours[vertex], []).append(vertex)
                        stale.update(self.near[vertex])
            stale &= inside
        return cells

    def _spend(self, work: int) -> None:
        self.work += work
        if self.work > MAX_WORK:
            raise SymmetryError

    def _seen(self, vertex: int, colours: Mapping[int, Colour]) -> bytes:
        """The colours of the neighbours of a vertex, with the place of each edge that has one."""
        before = sorted([_PLACE[place] + colours[other] for other, place in self.graph.into[vertex]])
        after = sorted([_PLACE[place] + colours[other] for other, place in self.graph.out[vertex]])
        return b"".join((b"<", *before, b">", *after))

    def _parts(
        self, tied: list[int], colours: dict[int, Colour], cells: Mapping[Colour, list[int]]
    ) -> list[list[int]]:
        """The tied vertices in connected parts; edges between cells joined all to all do not connect."""
        inside = set(tied)
        linked: dict[int, list[int]] = {vertex: [] for vertex in tied}
        for vertex in tied:
            near = [(u, (colours[u], p)) for u, p in self.graph.out[vertex] if u in inside]
            counts = Counter(kind for _, kind in near)
            for other, kind in near:
                if counts[kind] < len(cells[kind[0]]):
                    linked[vertex].append(other)
                    linked[other].append(vertex)
        return _components(linked)

    def _part(self, part: list[int], colours: dict[int, Colour], exact: bool) -> tuple[bytes, list[int]]:
        """Certificate and order of one connected part, found by setting one of its equal vertices apart.

        Every vertex of the smallest cell is tried, but for those that an automorphism maps to one already
        tried. Two orders with one certificate are such an automorphism; one order for each vertex, found
        without trying alternatives further down, usually shows it.
        """
        cells = _cells(part, colours)
        tied = [(len(cell), colour) for colour, cell in cells.items() if len(cell) > 1]
        if not tied:
            order = sorted(part, key=colours.__getitem__)
            return _hash(b"\0".join(colours[vertex] for vertex in order)), order
        size, colour = min(tied)
        if size > MANY:
            distant = self._by_distance(part, colours, cells[colour])
            if distant is not None:
                certificate, order = self._settle(part, distant, cells[colour], exact)
                return _hash(certificate + self._edges(order)), order
        first, *others = cells[colour]
        self.choices += 1
        chosen = self.choices
        best = self._apart(part, colours, first, exact)
        if not exact:
            return _hash(best[0]), best[1]
        forced = self.choices == chosen  # nothing was left open, so one order is as good as the least
        orbit = {vertex: vertex for vertex in part}
        seen = {best[0]: best[1]}
        tried = [first]
        for vertex in others:
            if any(_root(orbit, vertex) == _root(orbit, other) for other in tried):
                continue
            chosen = self.choices
            least = self._apart(part, colours, vertex, exact=False)
            if self._merge(orbit, seen, least):
                continue
            if len(tried) == 1 and not forced:
                self._merge(orbit, seen, self._apart(part, colours, first, exact=False))
                if _root(orbit, vertex) == _root(orbit, first):
                    continue
            tried.append(vertex)
            if self.choices != chosen:
                least = self._apart(part, colours, vertex, exact=True)
                self._merge(orbit, seen, least)
            best = min(best, least)
        return _hash(best[0]), best[1]

    def _by_distance(
        self, part: list[int], colours: Mapping[int, Colour], cell: Sequence[int]
    ) -> dict[int, Colour] | None:
        """Colours that tell a cell's equal vertices apart by the colours at each distance from them, in the
        part; None where they are alike in that too."""
        inside = set(part)
        near = {vertex: [other for other in self.near[vertex] if other in inside] for vertex in part}
        self._spend(len(cell) * len(part) // 4)
        marked = dict(colours)
        for vertex in cell:
            left, layer, layers = inside - {vertex}, [vertex], [colours[vertex]]
            while layer:
                layer = list({other for vertex in layer for other in near[vertex]} & left)
                left -= set(layer)
                layers.append(b"".join(sorted([colours[other] for other in layer])))
            marked[vertex] = _hash(b"far".join(layers))
        return marked if len({marked[vertex] for vertex in cell}) > 1 else None

    def _apart(
        self, part: list[int], colours: dict[int, Colour], vertex: int, exact: bool
    ) -> tuple[bytes, list[int]]:
        """Certificate (edges within the part included) and order of a part once a vertex is set apart."""
        marked = dict(colours)
        marked[vertex] = _hash(b"apart" + colours[vertex])
        certificate, order = self._settle(part, marked, [vertex], exact)
        return certificate + self._edges(order), order

    def _edges(self, order: list[int]) -> bytes:
        """The edges among ordered vertices, as text that depends on the order only."""
        rank = {vertex: position for position, vertex in enumerate(order)}
        lines = []
        for vertex in order:
            inputs = sorted((place, rank[u]) for u, place in self.graph.into[vertex] if u in rank)
            lines.append(",".join(f"{place}:{position}" for place, position in inputs))
        return ";".join(lines).encode()

    @staticmethod
    def _merge(orbit: dict[int, int], seen: dict[bytes, list[int]], found: tuple[bytes, list[int]]) -> bool:
        """Remember an order; if one of the same certificate was seen, join what that automorphism maps."""
        certificate, order = found
        if certificate not in seen:
            seen[certificate] = order
            return False
        for one, two in zip(seen[certificate], order, strict=True):
            orbit[_root(orbit, one)] = _root(orbit, two)
        return True


def _cells(vertices: list[int], colours: Mapping[int, Colour]) -> dict[Colour, list[int]]:
    cells: dict[Colour, list[int]] = {}
    for vertex in vertices:
        cells.setdefault(colours[vertex], []).append(vertex)
    return cells


def _components(linked: Mapping[int, list[int]]) -> list[list[int]]:
    left, parts = set(linked), []
    for start in linked:
        if start not in left:
            continue
        left.discard(start)
        part = [start]
        for vertex in part:
            for other in linked[vertex]:
                if other in left:
                    left.discard(other)
                    part.append(other)
        parts.append(part)
    return parts


def _root(orbit: dict[int, int], vertex: int) -> int:
    while orbit[vertex] != vertex:
        orbit[vertex] = orbit[orbit[vertex]]
        vertex = orbit[vertex]
    return vertex
