"""How the Proposer chooses the node of the modification tree to work on (paper §3.3.2): rules as pure
functions.

A node is a candidate whose result may be seen. A node's *expansions* are the rounds that have worked on it,
those whose results are still out included.

- `dfs`, as the reference implementation does: from the root follow improving children, the most accurate
  first; the first node without expansions on the way down is taken, a chain that ends in expanded nodes is
  left for the next child; if every improving node has been expanded, the root.
- `bfs`: the improving node (or root) with the fewest expansions; among those the shallowest, then the most
  accurate.
- `mixed`, a combination as in the paper, which does not say which: odd rounds go deep, even rounds go wide.
- `greedy`: the most accurate node. `random`: any node.
"""

import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Node:
    """A node of the tree as the rules see it."""

    id: str
    parent: str | None
    depth: int
    score: float | None
    """What is maximised; None for the root before its result may be seen."""
    order: tuple[int, int]
    """(round, index): the last tie-break."""


@dataclass(frozen=True)
class Choice:
    """A parent and the sentence that says why it was chosen."""

    parent: str
    reason: str


def choose_parent(
    strategy: str,
    nodes: Sequence[Node],
    expansions: Mapping[str, int],
    round: int,
    rng: random.Random,
    spent: Collection[str] = (),
) -> Choice:
    """The node to work on. `nodes` holds the root first; `expansions` counts rounds a node.

    Nodes in `spent` have no untried idea left and are not taken while another node is there.
    """
    root = nodes[0]
    if len(nodes) == 1:
        return Choice(root.id, "the root is the only node whose result may be seen")
    if strategy == "mixed":
        strategy = "dfs" if round % 2 else "bfs"
    open_nodes = [node for node in nodes if node.id not in spent] or list(nodes)
    if strategy == "random":
        return Choice(rng.choice(open_nodes).id, "drawn at random")
    best = max(open_nodes, key=_rank)
    if strategy == "greedy":
        return Choice(best.id, f"the best node so far ({_figure(best)})")
    improving = [node for node in _improving(nodes) if node in open_nodes]
    if root not in open_nodes and not improving:
        return Choice(
            best.id, f"every improving node has had all ideas; the best of the others ({_figure(best)})"
        )
    if strategy == "bfs":
        chosen = min(
            [n for n in (root, *improving) if n in open_nodes],
            key=lambda n: (expansions.get(n.id, 0), n.depth, _negative_rank(n)),
        )
        times = expansions.get(chosen.id, 0)
        return Choice(
            chosen.id, f"breadth first: worked on {times} times, depth {chosen.depth} ({_figure(chosen)})"
        )
    leaf = _deepest_unexpanded(root, _improving(nodes), {**expansions, **dict.fromkeys(spent, 1)})
    if leaf is None and root not in open_nodes:
        leaf = max(improving, key=_rank)
        return Choice(
            leaf.id, f"depth first: the root has had all ideas; the best improving node ({_figure(leaf)})"
        )
    if leaf is None:
        return Choice(root.id, "depth first: every improving node has been worked on; back to the root")
    return Choice(
        leaf.id, f"depth first: the end of an improving chain, depth {leaf.depth} ({_figure(leaf)})"
    )


def _improving(nodes: Sequence[Node]) -> list[Node]:
    """Nodes better than their parent, by an unbroken chain from the root."""
    kept = {nodes[0].id: nodes[0]}
    for node in sorted(nodes[1:], key=lambda n: n.depth):
        parent = kept.get(node.parent or "")
        if parent is not None and (
            parent.score is None or (node.score is not None and node.score > parent.score)
        ):
            kept[node.id] = node
    return [n for n in kept.values() if n.id != nodes[0].id]


def _deepest_unexpanded(node: Node, improving: Sequence[Node], expansions: Mapping[str, int]) -> Node | None:
    children = sorted((n for n in improving if n.parent == node.id), key=_rank, reverse=True)
    for child in children:
        found = _deepest_unexpanded(child, improving, expansions)
        if found is not None:
            return found
        if not expansions.get(child.id):
            return child
    return None


def _rank(node: Node) -> tuple[float, int, int]:
    return (-1e9 if node.score is None else node.score, -node.order[0], -node.order[1])


def _negative_rank(node: Node) -> tuple[float, int, int]:
    score, *order = _rank(node)
    return (-score, -order[0], -order[1])


def _figure(node: Node) -> str:
    return "no result yet" if node.score is None else f"{node.score:.2f}"
