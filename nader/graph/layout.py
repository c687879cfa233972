"""Places a directed graph on a page: layers from top to bottom, few crossings, straight long edges.

The method of Sugiyama, Tagawa and Toda (1981): layers by longest path, a dummy in every layer that an edge
passes through, orders by barycentres, then positions by coordinate descent under the least distance. A sweep
is linear in nodes, dummies and links, and blocks have tens of nodes. A graph of thousands gets fewer sweeps
and dummies for its shorter edges only: its time is bounded before its beauty.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

Edge = tuple[int, int]
Slot = tuple[int, ...]
"""A node (its number), or the dummy of an edge in a layer (source, target, layer)."""

Near = Mapping[Slot, Sequence[Slot]]
"""Slot → its neighbours in the layer above or below."""

ORDER_SWEEPS = 12
POSITION_SWEEPS = 60
DUMMY_WIDTH = 10.0
MAX_DUMMIES = 500
MAX_STEPS = 20_000
"""Nodes, dummies and links times sweeps, of ordering and again of positions."""


@dataclass(frozen=True)
class Layout:
    """Layer and horizontal centre of every node, and of every bend of an edge, in the widths' unit.

    Attributes:
        layers: node → layer, 0 at the top.
        x: node → centre.
        bends: edge → the (layer, x) it passes through between its ends.
    """

    layers: Mapping[int, int]
    x: Mapping[int, float]
    bends: Mapping[Edge, tuple[tuple[int, float], ...]]


def layered(nodes: Sequence[int], edges: Sequence[Edge], widths: Mapping[int, float], gap: float) -> Layout:
    """Lays out a graph; edges that close a cycle are drawn but do not count for the layers."""
    known = set(nodes)
    pairs = [edge for edge in dict.fromkeys(edges) if known.issuperset(edge) and edge[0] != edge[1]]
    forward = _acyclic(nodes, pairs)
    layer = _layers(nodes, forward)
    spans = _spans(pairs, layer)
    rows: list[list[Slot]] = [[] for _ in range(max(layer.values(), default=0) + 1)]
    for node in nodes:
        rows[layer[node]].append((node,))
    links: list[tuple[Slot, Slot]] = []
    for edge, span in spans.items():
        upper, lower = sorted(edge, key=lambda node: layer[node])
        dummies: list[Slot] = [(*edge, depth) for depth in span]
        for dummy, depth in zip(dummies, span, strict=True):
            rows[depth].append(dummy)
        path: list[Slot] = [(upper,), *dummies, (lower,)]
        links += list(pairwise(path))
    up, down = _neighbours(links)
    rows = _ordered(rows, up, down)
    x = _positions(rows, up, down, lambda slot: widths[slot[0]] if len(slot) == 1 else DUMMY_WIDTH, gap)
    bends = {edge: tuple((depth, x[(*edge, depth)]) for depth in span) for edge, span in spans.items()}
    return Layout(layer, {node: x[(node,)] for node in nodes}, bends)


def _spans(edges: Sequence[Edge], layer: Mapping[int, int]) -> dict[Edge, range]:
    """The layers where an edge has a dummy: those it passes; none for the longest edges of very many."""
    spans = {edge: _span(edge, layer) for edge in edges}
    room = MAX_DUMMIES
    for edge in sorted(edges, key=lambda edge: len(spans[edge])):
        room -= len(spans[edge])
        if room < 0:
            spans[edge] = range(0)
    return spans


def _span(edge: Edge, layer: Mapping[int, int]) -> range:
    low, high = sorted((layer[edge[0]], layer[edge[1]]))
    return range(low + 1, high)


def _acyclic(nodes: Sequence[int], edges: Sequence[Edge]) -> list[Edge]:
    """The edges without those that lead back to a node that is still open in a depth-first walk."""
    outgoing: dict[int, list[int]] = {node: [] for node in nodes}
    for source, target in edges:
        outgoing[source].append(target)
    kept: list[Edge] = []
    state: dict[int, int] = {}
    for start in nodes:
        stack = [(start, iter(outgoing[start]))] if start not in state else []
        state.setdefault(start, 1)
        while stack:
            node, targets = stack[-1]
            for target in targets:
                if state.get(target) == 1:
                    continue
                kept.append((node, target))
                if target not in state:
                    state[target] = 1
                    stack.append((target, iter(outgoing[target])))
                    break
            else:
                state[node] = 2
                stack.pop()
    return kept


def _layers(nodes: Sequence[int], edges: Sequence[Edge]) -> dict[int, int]:
    """The longest path to each node; a node without inputs is placed just above what it feeds."""
    incoming: dict[int, int] = dict.fromkeys(nodes, 0)
    outgoing: dict[int, list[int]] = {node: [] for node in nodes}
    for source, target in edges:
        incoming[target] += 1
        outgoing[source].append(target)
    layer = dict.fromkeys(nodes, 0)
    ready = [node for node in nodes if not incoming[node]]
    for node in ready:
        for target in outgoing[node]:
            layer[target] = max(layer[target], layer[node] + 1)
            incoming[target] -= 1
            if not incoming[target]:
                ready.append(target)
    return layer


def _neighbours(links: Sequence[tuple[Slot, Slot]]) -> tuple[dict[Slot, list[Slot]], dict[Slot, list[Slot]]]:
    up: dict[Slot, list[Slot]] = {}
    down: dict[Slot, list[Slot]] = {}
    for source, target in links:
        up.setdefault(target, []).append(source)
        down.setdefault(source, []).append(target)
    return up, down


def _ordered(rows: list[list[Slot]], up: Near, down: Near) -> list[list[Slot]]:
    """The order of every row with the fewest crossings that alternate barycentre sweeps find."""
    best, fewest = [list(row) for row in rows], _crossings(rows, down)
    size = sum(map(len, rows)) + sum(map(len, down.values()))
    for sweep in range(min(ORDER_SWEEPS, MAX_STEPS // (size + 1))):
        downwards = sweep % 2 == 0
        for at in range(1, len(rows)) if downwards else range(len(rows) - 2, -1, -1):
            _sort(rows[at], rows[at - 1 if downwards else at + 1], up if downwards else down)
        crossings = _crossings(rows, down)
        if crossings < fewest:
            best, fewest = [list(row) for row in rows], crossings
    return best


def _sort(row: list[Slot], fixed: Sequence[Slot], near: Near) -> None:
    """Orders a row by the mean place of each slot's neighbours in a fixed row; long edges go right."""
    place = {slot: number for number, slot in enumerate(fixed)}
    keys: dict[Slot, tuple[float, int]] = {}
    for number, slot in enumerate(row):
        places = [place[other] for other in near.get(slot, ()) if other in place]
        keys[slot] = (sum(places) / len(places) if places else number, len(slot))
    row.sort(key=lambda slot: keys[slot])


def _crossings(rows: Sequence[Sequence[Slot]], down: Near) -> int:
    """How many pairs of links cross."""
    total = 0
    for upper, lower in pairwise(rows):
        place = {slot: number for number, slot in enumerate(lower)}
        ends: list[int] = []
        for slot in upper:
            mine = [place[other] for other in down.get(slot, ()) if other in place]
            total += sum(len(ends) - bisect_right(ends, end) for end in mine)
            for end in mine:
                insort(ends, end)
    return total


def _positions(
    rows: Sequence[Sequence[Slot]], up: Near, down: Near, width: Callable[[Slot], float], gap: float
) -> dict[Slot, float]:
    """Centres near those of the neighbours; chains and long edges stand straight, as one segment each."""
    segment = _segments(rows, up, down)
    apart: dict[tuple[int, int], float] = {}
    for row in rows:
        for left, right in pairwise(row):
            pair = segment[left], segment[right]
            apart[pair] = max(apart.get(pair, 0.0), (width(left) + width(right)) / 2 + gap)
    lefts: dict[int, list[tuple[int, float]]] = {number: [] for number in segment.values()}
    rights: dict[int, list[tuple[int, float]]] = {number: [] for number in segment.values()}
    for (one, other), distance in apart.items():
        lefts[other].append((one, distance))
        rights[one].append((other, distance))
    order = _left_to_right(lefts, rights)
    x: dict[int, float] = {}
    for number in order:
        x[number] = max((x[other] + distance for other, distance in lefts[number]), default=0.0)
    pulls: dict[int, list[int]] = {number: [] for number in order}
    for source, targets in down.items():
        for target in targets:
            if segment[source] != segment[target]:
                pulls[segment[source]].append(segment[target])
                pulls[segment[target]].append(segment[source])
    size = len(order) + len(apart) + sum(map(len, pulls.values()))
    for sweep in range(min(POSITION_SWEEPS, MAX_STEPS * 3 // (size + 1))):
        for number in order if sweep % 2 else reversed(order):
            low = max((x[other] + distance for other, distance in lefts[number]), default=-math.inf)
            high = min((x[other] - distance for other, distance in rights[number]), default=math.inf)
            near = pulls[number]
            wanted = sum(x[other] for other in near) / len(near) if near else x[number]
            x[number] = min(max(wanted, low), high)
    least = min((x[segment[slot]] - width(slot) / 2 for row in rows for slot in row), default=0.0)
    return {slot: x[number] - least for slot, number in segment.items()}


def _segments(rows: Sequence[Sequence[Slot]], up: Near, down: Near) -> dict[Slot, int]:
    """Slots that share one centre, by number: the dummies of an edge, and chains of nodes."""
    segment = {slot: number for number, slot in enumerate(slot for row in rows for slot in row)}
    for upper, lower in pairwise(rows):
        place = {slot: number for number, slot in enumerate(lower)}
        starts: list[int] = []  # of the links taken, which do not cross: their ends ascend as they do
        ends: list[int] = []
        links = [
            (at, place[target], slot, target)
            for at, slot in enumerate(upper)
            for target in down.get(slot, ())
            if target in place
        ]
        for dummies in (True, False):
            for at, end, slot, target in links:
                both = len(slot) > 1 and len(target) > 1
                alone = _nodes(down.get(slot, ())) == [target] and _nodes(up.get(target, ())) == [slot]
                if not (both if dummies else alone):
                    continue
                number = bisect_left(starts, at)
                before = number == 0 or ends[number - 1] < end
                behind = number == len(starts) or (starts[number] > at and ends[number] > end)
                if before and behind:
                    starts.insert(number, at)
                    ends.insert(number, end)
                    segment[target] = segment[slot]
    return segment


def _nodes(slots: Iterable[Slot]) -> list[Slot]:
    return [slot for slot in slots if len(slot) == 1]


def _left_to_right(
    lefts: Mapping[int, Sequence[tuple[int, float]]], rights: Mapping[int, Sequence[tuple[int, float]]]
) -> list[int]:
    """The segments, each after those to its left."""
    missing = {number: len(found) for number, found in lefts.items()}
    ready = [number for number, count in missing.items() if not count]
    for number in ready:
        for right, _ in rights[number]:
            missing[right] -= 1
            if not missing[right]:
                ready.append(right)
    return ready
